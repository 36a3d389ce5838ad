/* The part of cmocka's interface that our suites use, over kit.h: so the same suites run on cores that
 * have no libc. A check that fails ends the program: what a case left behind would only confuse. */
#ifndef DLOAD_TESTS_CMOCKA_H
#define DLOAD_TESTS_CMOCKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef int (*CMFixtureFunction)(void **state);

struct CMUnitTest {
    const char *name;
    void (*test_func)(void **state);
    CMFixtureFunction setup_func;
    CMFixtureFunction teardown_func;
    void *initial_state;
};

#include "../kit.h"

#define cmocka_unit_test(f) cmocka_unit_test_setup_teardown(f, NULL, NULL)
#define cmocka_unit_test_setup_teardown(f, up, down) \
    cmocka_unit_test_prestate_setup_teardown(f, up, down, NULL)
#define cmocka_unit_test_prestate_setup_teardown(f, up, down, state) \
    {                                                                \
#f, f, up, down, state                                       \
    }
#define cmocka_unit_test_prestate(f, state) \
    cmocka_unit_test_prestate_setup_teardown(f, NULL, NULL, state)

#define cmocka_run_group_tests(tests, up, down) \
    kit_run(#tests, tests, sizeof(tests) / sizeof(tests)[0], up, down)
#define cmocka_run_group_tests_name(name, tests, up, down) \
    kit_run(name, tests, sizeof(tests) / sizeof(tests)[0], up, down)
#define _cmocka_run_group_tests(name, tests, n, up, down) kit_run(name, tests, n, up, down)

#define _fail(file, line) kit_fail(NULL, file, line)
#define fail()            kit_fail("fail()", __FILE__, __LINE__)
#define fail_msg(...) \
    (kit_print(__VA_ARGS__), kit_print("\n"), kit_fail("fail_msg()", __FILE__, __LINE__))
#define print_message(...) kit_print(__VA_ARGS__)
#define print_error(...)   kit_print(__VA_ARGS__)

/* What support.c checks counts, too. */
#define TEST_CHECKED() ((void)kit_n_checks++)

#define KIT_CHECK(c)                     kit_check((c), #c, __FILE__, __LINE__)
#define assert_true(c)                   KIT_CHECK(c)
#define assert_false(c)                  KIT_CHECK(!(c))
#define assert_null(p)                   KIT_CHECK((p) == NULL)
#define assert_non_null(p)               KIT_CHECK((p) != NULL)
#define assert_int_equal(a, b)           KIT_CHECK((a) == (b))
#define assert_int_not_equal(a, b)       KIT_CHECK((a) != (b))
#define assert_ptr_equal(a, b)           KIT_CHECK((const void *)(a) == (const void *)(b))
#define assert_ptr_not_equal(a, b)       KIT_CHECK((const void *)(a) != (const void *)(b))
#define assert_in_range(x, from, to)     KIT_CHECK((x) >= (from) && (x) <= (to))
#define assert_string_equal(a, b)        KIT_CHECK(strcmp((a), (b)) == 0)
#define assert_string_not_equal(a, b)    KIT_CHECK(strcmp((a), (b)) != 0)
#define assert_memory_equal(a, b, n)     KIT_CHECK(memcmp((a), (b), (n)) == 0)
#define assert_memory_not_equal(a, b, n) KIT_CHECK(memcmp((a), (b), (n)) != 0)

#endif /* DLOAD_TESTS_CMOCKA_H */
