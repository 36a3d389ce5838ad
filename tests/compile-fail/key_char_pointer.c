/* A pointer would be compared by address. */
/* expect: DLOAD_KEY must be one of */
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY DLOAD_STRING
#else
#define DLOAD_KEY char *
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
