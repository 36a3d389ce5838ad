/* A pointer to a type that is allowed itself. */
/* expect: DLOAD_KEY must be one of */
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY int
#else
#define DLOAD_KEY int *
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
