/* A key of nothing. */
/* expect: DLOAD_KEY must be one of */
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY int
#else
#define DLOAD_KEY
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
