/* The same word twice. */
/* expect: DLOAD_KEY must be one of */
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY int64_t
#else
#define DLOAD_KEY long long
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
