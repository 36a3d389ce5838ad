/* A switch is 0 or 1. */
/* expect: DLOAD_STATS must be 0 */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_STATS 0
#else
#define DLOAD_STATS 2
#endif
#include "dataloader.h"
