/* The model of the cache on DLOAD_COMPACT: TTLs of any length, jumps of any size. */
/* locks: CUSTOM NONE */
#define TEST_COMPACT  1
#define DLOAD_COMPACT 1 /* of the first loader, which is the one that is looked at */
#include "test_cache_model.c"
