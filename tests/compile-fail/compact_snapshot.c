/* Snapshots walk the other table. */
/* expect: DLOAD_COMPACT has no snapshots */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#ifndef CONTROL
#define DLOAD_SNAPSHOT 1
#endif
#include "dataloader.h"
