/* Threads on a compact table, under a critical section of the user. */
/* locks: CUSTOM */
/* tsan */
#define TEST_COMPACT  1
#define DLOAD_COMPACT 1 /* of the first loader */
#include "test_threads.c"
