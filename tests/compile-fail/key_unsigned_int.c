/* Two words whose first is allowed by itself. */
/* expect: DLOAD_KEY must be one of */
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY unsigned
#else
#define DLOAD_KEY unsigned int
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
