/* See string.h. Conversions: d i u x c s p and %, with 0, a width, a precision of strings, and the
 * lengths hh h l ll z j t. */
#ifndef DLOAD_TESTS_STDIO_H
#define DLOAD_TESTS_STDIO_H

#include <stdarg.h>
#include <stddef.h>

__attribute__((format(printf, 3, 4))) int snprintf(char *to, size_t size, const char *format, ...);
__attribute__((format(printf, 3, 0))) int vsnprintf(char *to, size_t size, const char *format,
                                                    va_list args);
__attribute__((format(printf, 1, 2))) int printf(const char *format, ...);

#endif /* DLOAD_TESTS_STDIO_H */
