/* A program that asks for POSIX itself: no redefinition, the same behaviour. */
#define _POSIX_C_SOURCE 200112L
#include <time.h>

#define DLOAD_NAME  asked
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#include "dataloader.h"
#define USE_NAME asked
#include "use.h"

int main(void)
{
    return asked_use(1, 2);
}
