/* A second level is for larger machines. */
/* expect: DLOAD_COMPACT has no second level */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#ifndef CONTROL
#define DLOAD_STORE 1
#endif
#include "dataloader.h"
