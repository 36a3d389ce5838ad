/* dataloader.h after the system's headers: under a strict -std=c11 they have hidden the monotonic
 * clock by then, and asking for it would come too late. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DLOAD_NAME  late
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#include "dataloader.h"
#define USE_NAME late
#include "use.h"

int main(void)
{
    return late_use(1, 2);
}
