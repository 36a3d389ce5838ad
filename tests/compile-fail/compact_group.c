/* A slot has no room for a group. */
/* expect: DLOAD_COMPACT does not know groups */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#ifndef CONTROL
#define DLOAD_GROUP 1
#endif
#include "dataloader.h"
