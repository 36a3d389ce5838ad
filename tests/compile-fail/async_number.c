/* A switch is 0 or 1. */
/* expect: DLOAD_ASYNC must be 0 */
#define DLOAD_NAME  a
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_ASYNC 0
#else
#define DLOAD_ASYNC 2
#endif
#include "dataloader.h"
