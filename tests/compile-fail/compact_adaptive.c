/* The policies with a memory take more of it than there is. */
/* expect: DLOAD_COMPACT knows DLOAD_EVICT_NONE, _FIFO, _CLOCK and _AUTO */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#ifndef CONTROL
#define DLOAD_EVICT DLOAD_EVICT_ADAPTIVE
#endif
#include "dataloader.h"
