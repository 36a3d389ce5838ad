/* Without DLOAD_NAME there is nothing to make. */
/* expect: DLOAD_NAME is missing */
#ifdef CONTROL
#define DLOAD_NAME things
#endif
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#include "dataloader.h"
