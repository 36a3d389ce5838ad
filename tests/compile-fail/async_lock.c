/* Where nothing waits there is one caller. */
/* expect: DLOAD_ASYNC 0 needs DLOAD_LOCK_NONE */
#define DLOAD_NAME  a
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#ifndef CONTROL
#define DLOAD_ASYNC 0
#endif
#define DLOAD_LOCK DLOAD_LOCK_SPIN
#include "dataloader.h"
