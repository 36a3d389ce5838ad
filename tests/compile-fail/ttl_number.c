/* A switch is 0 or 1; a time belongs into the configuration. */
/* expect: DLOAD_TTL must be 0 */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_TTL 1
#else
#define DLOAD_TTL 300
#endif
#include "dataloader.h"
