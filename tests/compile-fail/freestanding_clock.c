/* Without a host there is no clock. */
/* expect: DLOAD_FREESTANDING has no clock of its own */
/* flags: -DDLOAD_FREESTANDING=1 -ffreestanding */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#else
#define DLOAD_CLOCK DLOAD_CLOCK_COARSE
#endif
#include "dataloader.h"
