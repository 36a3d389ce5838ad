/* Threads need a hosted build. */
/* expect: DLOAD_LOCK_PTHREAD needs a hosted build */
/* flags: -DDLOAD_FREESTANDING=1 -ffreestanding */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_LOCK DLOAD_LOCK_SPIN
#else
#define DLOAD_LOCK DLOAD_LOCK_PTHREAD
#endif
#include "dataloader.h"
