/* For cores without a libc: what the suites use of it, bodies in libc.c and mem.c. */
#ifndef DLOAD_TESTS_STRING_H
#define DLOAD_TESTS_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t n_bytes);
void *memmove(void *to, const void *from, size_t n_bytes);
void *memset(void *to, int byte, size_t n_bytes);
int memcmp(const void *a, const void *b, size_t n_bytes);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strstr(const char *s, const char *part);

#endif /* DLOAD_TESTS_STRING_H */
