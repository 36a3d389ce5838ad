/* Threads take shards. */
/* expect: DLOAD_COMPACT needs DLOAD_LOCK_NONE or DLOAD_LOCK_CUSTOM */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#ifndef CONTROL
#define DLOAD_LOCK DLOAD_LOCK_PTHREAD
#endif
#include "dataloader.h"
