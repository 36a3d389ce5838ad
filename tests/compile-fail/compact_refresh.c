/* A slot has room for one time. */
/* expect: DLOAD_COMPACT knows one time of an entry */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#ifndef CONTROL
#define DLOAD_REFRESH 1
#endif
#include "dataloader.h"
