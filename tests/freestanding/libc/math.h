/* See string.h. */
#ifndef DLOAD_TESTS_MATH_H
#define DLOAD_TESTS_MATH_H

#define NAN      __builtin_nanf("")
#define INFINITY __builtin_inff()
#define isnan(x) __builtin_isnan(x)

#endif /* DLOAD_TESTS_MATH_H */
