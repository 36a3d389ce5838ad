/* What a loader where nothing waits goes without. */
/* expect: DLOAD_ASYNC 0 does not go with */
#define DLOAD_NAME  a
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#ifndef CONTROL
#define DLOAD_ASYNC 0
#endif
#define DLOAD_GROUP 1
#include "dataloader.h"
