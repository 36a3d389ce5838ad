/* What never expires is never past its time. */
/* expect: DLOAD_REFRESH needs DLOAD_TTL 1 */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   int
#define DLOAD_REFRESH 1
#ifndef CONTROL
#define DLOAD_TTL 0
#endif
#include "dataloader.h"
