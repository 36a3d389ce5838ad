/* A switch is 0 or 1. */
/* expect: DLOAD_COMPACT must be 0 or 1 */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_COMPACT 1
#else
#define DLOAD_COMPACT 2
#endif
#include "dataloader.h"
