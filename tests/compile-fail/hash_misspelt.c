/* A misspelt hash. */
/* expect: DLOAD_HASH must be */
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#ifdef CONTROL
#define DLOAD_HASH DLOAD_HASH_SIP
#else
#define DLOAD_HASH DLOAD_HASH_SIPHASH
#endif
#include "dataloader.h"
