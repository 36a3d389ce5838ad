/* A misspelt policy. */
/* expect: DLOAD_EVICT must be */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#else
#define DLOAD_EVICT DLOAD_EVICT_S3_FIFO
#endif
#include "dataloader.h"
