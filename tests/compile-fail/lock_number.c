/* A number beyond the choices. */
/* expect: DLOAD_LOCK must be */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_LOCK DLOAD_LOCK_SPIN
#else
#define DLOAD_LOCK 9
#endif
#include "dataloader.h"
