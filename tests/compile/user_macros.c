/* Words that programs define for themselves must not reach into the header. */
#define NAME      "n"
#define KEY       1
#define VALUE     2
#define K         3
#define V         4
#define T         5
#define N         6
#define LOCK      7
#define EVICT     8
#define CAP       9
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define likely(x) (x)

#define DLOAD_NAME  tidy
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE int
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#include "dataloader.h"

int main(void)
{
    return KEY + VALUE == 3 && N == 6 ? 0 : 1;
}
