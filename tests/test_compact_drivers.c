/* The table of cases (drivers/table.h) on DLOAD_COMPACT: what callers see is the same. */
/* locks: CUSTOM NONE */
#define TEST_COMPACT  1
#define DLOAD_COMPACT 1 /* of the first loader, which is the one that is looked at */
#include "test_drivers.c"
