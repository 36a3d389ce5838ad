/* See string.h. */
#ifndef DLOAD_TESTS_MATH_H
#define DLOAD_TESTS_MATH_H

#define NAN __builtin_nanf("")

#endif /* DLOAD_TESTS_MATH_H */
