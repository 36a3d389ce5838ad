/* Without DLOAD_KEY there is nothing to make. */
/* expect: DLOAD_KEY is missing */
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY uint64_t
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
