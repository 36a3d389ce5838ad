/* A misspelt choice is 0 to the preprocessor. */
/* expect: DLOAD_LOCK must be */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_LOCK DLOAD_LOCK_PTHREAD
#else
#define DLOAD_LOCK DLOAD_LOCK_PTHREADS
#endif
#include "dataloader.h"
