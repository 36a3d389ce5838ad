/* The implementation: values of 8 bytes, no counters. */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   uint64_t
#define DLOAD_STATS   0
#define DLOAD_LINKAGE DLOAD_LINKAGE_DEFINE
#include "dataloader.h"
