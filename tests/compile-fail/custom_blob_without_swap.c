/* Reference counts that tasks share, on a core that cannot count for several. */
/* expect: DLOAD_BLOB under DLOAD_LOCK_CUSTOM needs a core with compare-and-swap */
/* flags: -DDLOAD_FREESTANDING=1 -ffreestanding -U__GCC_ATOMIC_INT_LOCK_FREE */
#define DLOAD_NAME things
#define DLOAD_KEY  uint64_t
#ifdef CONTROL
#define DLOAD_VALUE int
#else
#define DLOAD_VALUE DLOAD_BLOB
#endif
#define DLOAD_LOCK            DLOAD_LOCK_CUSTOM
#define DLOAD_CUSTOM_TYPE     char
#define DLOAD_CUSTOM_INIT(p)  ((void)(p))
#define DLOAD_CUSTOM_ENTER(p) ((void)(p))
#define DLOAD_CUSTOM_LEAVE(p) ((void)(p))
#include "dataloader.h"
