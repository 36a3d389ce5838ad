/* A section that is entered and never left. */
/* expect: needs DLOAD_CUSTOM_ENTER(p) and DLOAD_CUSTOM_LEAVE(p) */
#define DLOAD_NAME            things
#define DLOAD_KEY             uint64_t
#define DLOAD_VALUE           int
#define DLOAD_LOCK            DLOAD_LOCK_CUSTOM
#define DLOAD_CUSTOM_TYPE     char
#define DLOAD_CUSTOM_INIT(p)  ((void)(p))
#define DLOAD_CUSTOM_ENTER(p) ((void)(p))
#ifdef CONTROL
#define DLOAD_CUSTOM_LEAVE(p) ((void)(p))
#endif
#include "dataloader.h"
