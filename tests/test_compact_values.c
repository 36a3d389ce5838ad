/* Owned values in a compact table: each is released once, and not too soon. */
/* locks: CUSTOM NONE */
#define TEST_COMPACT  1
#define DLOAD_COMPACT 1 /* of the first loader, which is the one that is looked at */
#include "test_values.c"
