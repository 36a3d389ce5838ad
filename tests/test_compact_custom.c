/* Critical sections of the user around a compact table: tasks come between wherever none is entered. */
#define TEST_COMPACT  1
#define DLOAD_COMPACT 1
#include "test_custom.c"
