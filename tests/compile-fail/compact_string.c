/* Keys of any length have no room in a slot. */
/* expect: DLOAD_COMPACT has no DLOAD_STRING keys */
#define DLOAD_NAME    things
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#ifdef CONTROL
#define DLOAD_KEY uint64_t
#else
#define DLOAD_KEY DLOAD_STRING
#endif
#include "dataloader.h"
