/* See string.h. The heap is what the linker script leaves. */
#ifndef DLOAD_TESTS_STDLIB_H
#define DLOAD_TESTS_STDLIB_H

#include <stddef.h>

void *malloc(size_t n_bytes);
void *calloc(size_t n, size_t bytes);
void *realloc(void *p, size_t n_bytes);
void free(void *p);
__attribute__((noreturn)) void abort(void);

/* The environment is what -DKIT_ENVIRONMENT="NAME=value\0..." says. */
char *getenv(const char *name);

/* Decimal, below 2^32. */
unsigned long long strtoull(const char *s, char **end, int base);
void qsort(void *base, size_t n, size_t bytes, int (*compare)(const void *a, const void *b));

#endif /* DLOAD_TESTS_STDLIB_H */
