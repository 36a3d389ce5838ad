/* A misspelt clock. */
/* expect: DLOAD_CLOCK must be */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_CLOCK DLOAD_CLOCK_PRECISE
#else
#define DLOAD_CLOCK DLOAD_CLOCK_FINE
#endif
#include "dataloader.h"
