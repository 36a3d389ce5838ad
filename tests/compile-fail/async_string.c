/* Keys of a loader where nothing waits have one size. */
/* expect: DLOAD_ASYNC 0 has no DLOAD_STRING keys */
#define DLOAD_NAME  a
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE int
#ifndef CONTROL
#define DLOAD_ASYNC 0
#endif

#include "dataloader.h"
