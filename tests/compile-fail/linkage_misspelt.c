/* A misspelt linkage. */
/* expect: DLOAD_LINKAGE must be */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_LINKAGE DLOAD_LINKAGE_DECLARE
#else
#define DLOAD_LINKAGE DLOAD_LINKAGE_EXTERN
#endif
#include "dataloader.h"
