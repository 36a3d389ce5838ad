/* A test kit that needs no libc: it counts cases and checks and says so through the port. */
#ifndef DLOAD_TESTS_KIT_H
#define DLOAD_TESTS_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct CMUnitTest;

extern size_t kit_n_checks;

/* Runs the cases, prints a TAP line for each and "# name: N cases, M checks" at the end. Returns 0:
 * a check that fails does not come back. */
int kit_run(const char *name, const struct CMUnitTest *tests, size_t n, int (*up)(void **state),
            int (*down)(void **state));

/* Counts; ends the program when ok is false. */
void kit_check(bool ok, const char *what, const char *file, int line);

/* Says which case failed and where, and ends the program with status 1. what: NULL = was said. */
__attribute__((noreturn)) void kit_fail(const char *what, const char *file, int line);

/* A line of output, as printf. */
__attribute__((format(printf, 1, 2))) void kit_print(const char *format, ...);

#endif /* DLOAD_TESTS_KIT_H */
