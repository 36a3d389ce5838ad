/* The model of the cache, with a secret in its hash. */
/* locks: NONE */
#define TEST_HASH DLOAD_HASH_SIP
#include "test_cache_model.c"
