/* A wider float than any hash here covers. */
/* expect: DLOAD_KEY must be one of */
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY double
#else
#define DLOAD_KEY long double
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
