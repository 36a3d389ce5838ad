/* A pointer to anything. */
/* expect: DLOAD_KEY must be one of */
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY uint64_t
#else
#define DLOAD_KEY void *
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
