/* A struct is never a key. */
/* expect: DLOAD_KEY must be one of */
struct foo {
    int a, b;
};
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY uint64_t
#else
#define DLOAD_KEY struct foo
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
