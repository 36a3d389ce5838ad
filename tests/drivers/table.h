/* The whole table, what it leaves out and why, and the program that runs it for one driver. */
#ifndef DLOAD_TESTS_DRIVERS_TABLE_H
#define DLOAD_TESTS_DRIVERS_TABLE_H

#include "cases_cache.h"
#include "cases_close.h"
#include "cases_dedupe.h"
#include "cases_dispatch.h"
#include "cases_keys.h"
#include "cases_leaving.h"
#include "cases_numbers.h"
#include "cases_pending.h"
#include "cases_reentry.h"
#include "cases_results.h"

#include <stdio.h>

static const struct {
    const struct test_case *rows;
    size_t n;
} table[] = {
#define ROWS(rows)        \
    {                     \
        rows, COUNT(rows) \
    }
    ROWS(dispatch_cases), ROWS(close_cases),   ROWS(dedupe_cases),  ROWS(results_cases),
    ROWS(pending_cases),  ROWS(cache_cases),   ROWS(reentry_cases), ROWS(leaving_cases),
    ROWS(keys_cases),     ROWS(numbers_cases),
#undef ROWS
};

/* Rules, or rules under some drivers, that no row covers. Of rules that rows cover, these parts are
 * not here: backends (26, 57), stale entries (38), weight instead of a count (42). */
static const struct exception {
    uint8_t rule;
    uint8_t drivers;
    const char *why;
} exceptions[] = {
    {10, ON_FIBER, "what is queued goes when all tasks wait: no time is counted"},
    {40, ON_ALL, "TTLs: test_kept.c; stale values come with config.stale_ns"},
    {41, ON_ALL, "jitter: test_kept.c; it belongs to the cache, whoever asks"},
    {43, ON_ALL, "histories of clears: test_clears.c, test_threads.c; across processes: backends"},
    {44, ON_ALL, "second level"},
    {45, ON_ALL, "second level"},
    {46, ON_ALL, "second level"},
    {47, ON_ALL, "second level"},
    {48, ON_ALL, "second level"},
    {58, ON_ALL, "must not compile: tests/compile-fail"},
};

static unsigned covered[N_RULES + 1], excepted[N_RULES + 1];

static void test_every_row_says_what_it_is(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        for (size_t i = 0; i < table[t].n; i++) {
            const struct test_case *row = &table[t].rows[i];
            assert_true(row->rule != 0 && row->rule <= N_RULES && row->title && row->says &&
                        row->body);
            assert_true(row->drivers != 0 && row->drivers <= ON_ALL);
            if ((row->drivers == ON_ALL) != (row->why == NULL)) {
                fail_msg("rule %d, %s: why is a driver left out?", row->rule, row->title);
            }
        }
    }
}

/* Every rule under every driver is in the table, or is an exception: never both. */
static void test_every_rule_under_every_driver(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        for (size_t i = 0; i < table[t].n; i++) {
            const struct test_case *row = &table[t].rows[i];
            covered[row->rule] |= row->drivers;
        }
    }
    for (size_t i = 0; i < COUNT(exceptions); i++) {
        assert_non_null(exceptions[i].why);
        excepted[exceptions[i].rule] |= exceptions[i].drivers;
    }
    size_t n_bad = 0;
    for (unsigned rule = 1; rule <= N_RULES; rule++) {
        for (unsigned d = 0; d < N_DRIVERS; d++) {
            unsigned bit = 1u << d;
            if (((covered[rule] ^ excepted[rule]) & bit) == 0) {
                bool both = (covered[rule] & bit) != 0;
                print_error("rule %u, %s: %s\n", rule, driver_names[d],
                            both ? "an exception that is none" : "neither a case nor an exception");
                n_bad++;
            }
        }
    }
    equal(n_bad, 0);
}

enum { N_ROWS_MAX = 128, N_NAME = 96 };

static const char *row_name(const struct test_case *row, const char *driver)
{
    static char names[N_ROWS_MAX][N_NAME];
    static size_t n_names;
    assert_true(n_names < N_ROWS_MAX);
    char *name = names[n_names++];
    (void)snprintf(name, N_NAME, "rule %d, %s, %s", row->rule, row->title, driver);
    return name;
}

static int run_table(void)
{
    static struct CMUnitTest tests[N_ROWS_MAX];
    size_t n = 0, d = 0;
    while (driver_bit() >> d != 1) {
        d++;
    }
    for (size_t t = 0; t < COUNT(table); t++) {
        for (size_t i = 0; i < table[t].n; i++) {
            const struct test_case *row = &table[t].rows[i];
            if ((row->drivers & driver_bit()) == 0) {
                continue;
            }
            tests[n++] = (struct CMUnitTest){row_name(row, driver_names[d]), driver_case,
                                             driver_setup, driver_teardown, (void *)(uintptr_t)row};
        }
    }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_every_row_says_what_it_is);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_every_rule_under_every_driver);
    return _cmocka_run_group_tests("drivers", tests, n, NULL, NULL);
}

#endif /* DLOAD_TESTS_DRIVERS_TABLE_H */
