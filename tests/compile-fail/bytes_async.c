/* How much memory a loader needs is known where it takes all of it in the beginning. */
/* langs: c */
/* expect: negative */
#define DLOAD_NAME  a
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_ASYNC 0
#endif
#include "dataloader.h"

extern char memory[DLOAD_BYTES(a, DLOAD_NO_CACHE, 4)];
