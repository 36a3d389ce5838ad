/* ... nor for a weight. */
/* expect: DLOAD_COMPACT counts entries */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#ifndef CONTROL
#define DLOAD_WEIGHT(v) ((uint32_t) * (v))
#endif
#include "dataloader.h"
