/* The wheel's tests where a block is read lane by lane. */
/* locks: NONE */
#define DLOAD_NO_SIMD 1
#include "test_wheel.c"
