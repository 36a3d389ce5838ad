/* See string.h. */
#ifndef DLOAD_TESTS_INTTYPES_H
#define DLOAD_TESTS_INTTYPES_H

#include <stdint.h>

#if UINTPTR_MAX > 0xffffffffu
#define PRIu64 "lu"
#define PRIx64 "lx"
#else
#define PRIu64 "llu"
#define PRIx64 "llx"
#endif

#endif /* DLOAD_TESTS_INTTYPES_H */
