/* What leaves a compact table is told, once, and why. */
/* locks: CUSTOM NONE */
#define TEST_COMPACT  1
#define DLOAD_COMPACT 1 /* of the first loader, which is the one that is looked at */
#include "test_removed.c"
