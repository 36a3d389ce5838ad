/* Without DLOAD_VALUE there is nothing to make. */
/* expect: DLOAD_VALUE is missing */
#define DLOAD_NAME things
#define DLOAD_KEY  uint64_t
#ifdef CONTROL
#define DLOAD_VALUE int
#endif
#include "dataloader.h"
