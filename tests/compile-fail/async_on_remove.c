/* Values of a loader where nothing waits have no end of their own. */
/* expect: DLOAD_ASYNC 0 is for plain values */
#define DLOAD_NAME  a
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#ifndef CONTROL
#define DLOAD_ASYNC 0
#endif
#define DLOAD_ON_REMOVE 1
#include "dataloader.h"
