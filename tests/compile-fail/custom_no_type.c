/* What a section remembers has no default: a wrong one would be wrong in silence. */
/* expect: needs DLOAD_CUSTOM_TYPE */
#define DLOAD_NAME            things
#define DLOAD_KEY             uint64_t
#define DLOAD_VALUE           int
#define DLOAD_LOCK            DLOAD_LOCK_CUSTOM
#define DLOAD_CUSTOM_INIT(p)  ((void)(p))
#define DLOAD_CUSTOM_ENTER(p) ((void)(p))
#define DLOAD_CUSTOM_LEAVE(p) ((void)(p))
#ifdef CONTROL
#define DLOAD_CUSTOM_TYPE char
#endif
#include "dataloader.h"
