/* The policy without its prefix. */
/* expect: DLOAD_EVICT must be */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_EVICT DLOAD_EVICT_LRU
#else
#define DLOAD_EVICT LRU
#endif
#include "dataloader.h"
