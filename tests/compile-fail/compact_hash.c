/* SipHash takes 64-bit arithmetic. */
/* expect: DLOAD_COMPACT has a hash of its own */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#ifndef CONTROL
#define DLOAD_HASH DLOAD_HASH_SIP
#endif
#include "dataloader.h"
