/* Where each rule of the behaviour is tested. All 63 are here; a rule that names a file must be
 * named in that file, and a rule that cannot be tested yet says what it waits for. */
/* locks: NONE */
#define DLOAD_NAME  unused_loader
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISPATCH "test_dispatch.c"
#define DEDUPE   "test_dedupe.c"
#define FLIGHT   "test_single_flight.c"
#define RESULTS  "test_results.c"
#define KEPT     "test_kept.c"
#define CLEARS   "test_clears.c"
#define REENTRY  "test_reentry.c"
#define KEYS     "test_keys.c"
#define STATS    "test_stats.c"

/* Either where (a file beside this one, which says "rule N") or later (what it waits for). */
static const struct rule {
    int number;
    const char *what;
    const char *where;
    const char *later;
} rules[] = {
    {1, "load, dispatch: one call", DISPATCH, NULL},
    {2, "one batch in order of first request", DISPATCH, NULL},
    {3, "load_many of nothing", DISPATCH, NULL},
    {4, "load_many answers in the order asked", DISPATCH, NULL},
    {5, "dispatch of nothing", DISPATCH, NULL},
    {6, "a dispatched key is never sent again", DISPATCH, NULL},
    {7, "dispatch reports keys", DISPATCH, NULL},
    {8, "a full batch goes at once", DISPATCH, NULL},
    {9, "batches of max_batch", DISPATCH, NULL},
    {10, "settle and age", DISPATCH, NULL},
    {11, "expect", DISPATCH, NULL},
    {12, "dispatch inside load", DISPATCH, NULL},
    {13, "close drains or fails", DISPATCH, NULL},
    {14, "batching off", DISPATCH, NULL},
    {15, "twice in a round", DEDUPE, NULL},
    {16, "joins what runs, also uncached", DEDUPE, NULL},
    {17, "caching off in one round", DEDUPE, NULL},
    {18, "2 threads, the same 1,000 keys", FLIGHT, NULL},
    {19, "1,000 threads, one key", FLIGHT, NULL},
    {20, "clear of a queued key", DEDUPE, NULL},
    {21, "unanswered is missing", RESULTS, NULL},
    {22, "a failed key alone", RESULTS, NULL},
    {23, "a failed call spares what was answered", RESULTS, NULL},
    {24, "a retry fetches again", RESULTS, NULL},
    {25, "error caching is a policy", RESULTS, NULL},
    {26, "null is not missing", KEYS, NULL},
    {27, "extra keys are cached", RESULTS, NULL},
    {28, "values reach their callers in any order", RESULTS, NULL},
    {29, "a status per key and one of the call", RESULTS, NULL},
    {30, "pending keys complete one by one", RESULTS, NULL},
    {31, "endless batches are abandoned", RESULTS, NULL},
    {32, "only what is not there is fetched", KEPT, NULL},
    {33, "clear one", CLEARS, NULL},
    {34, "clear all, at a cost that does not grow", CLEARS, NULL},
    {35, "clear while in flight", CLEARS, NULL},
    {36, "prime", KEPT, NULL},
    {37, "prime an error", KEPT, NULL},
    {38, "peek", KEPT, NULL},
    {39, "a hit costs nothing", KEPT, NULL},
    {40, "TTL (stale windows: with stale_ns)", KEPT, NULL},
    {41, "jitter", KEPT, NULL},
    {42, "capacity in entries (in weight: with DLOAD_WEIGHT)", KEPT, NULL},
    {43, "no older fetch after a clear, in process", CLEARS, NULL},
    {44, "the backend is asked once per dispatch", NULL, "second level: test_backend.c"},
    {45, "a backend's failure is a miss", NULL, "second level: test_backend.c"},
    {46, "errors are not written to it", NULL, "second level: test_backend.c"},
    {47, "caching off: never touched", NULL, "second level: test_backend.c"},
    {48, "its values carry a header", NULL, "second level: test_backend.c"},
    {49, "the function loads another key", REENTRY, NULL},
    {50, "waiting for oneself is a deadlock", REENTRY, NULL},
    {51, "callbacks, hooks and destructors call anything", REENTRY, NULL},
    {52, "a callback's load is in a new batch", REENTRY, NULL},
    {53, "cancelled before dispatch", REENTRY, NULL},
    {54, "a deadline is one's own", REENTRY, NULL},
    {55, "everybody left", REENTRY, NULL},
    {56, "one batch per level (loop mode)", REENTRY, NULL},
    {57, "0, empty, longest, NUL, any bytes", KEYS, NULL},
    {58, "a wrong key type does not compile", "compile-fail/load_many_narrow_keys.c", NULL},
    {59, "NaN and -0.0", KEYS, NULL},
    {60, "a string key may be freed at once", KEYS, NULL},
    {61, "loads, batches, keys, hits", STATS, NULL},
    {62, "consistent from another thread", STATS, NULL},
    {63, "why a batch went", STATS, NULL},
};

static void test_rules_all_have_a_place(void **state)
{
    (void)state;
    equal(COUNT(rules), 63);
    for (size_t i = 0; i < COUNT(rules); i++) {
        equal(rules[i].number, i + 1);
        assert_true((rules[i].where == NULL) != (rules[i].later == NULL));
    }
}

static char *read_whole(const char *name)
{
    FILE *f = fopen(test_path(name), "r");
    if (!f) {
        fail_msg("%s is not there", name);
    }
    size_t cap = 200000;
    char *text = malloc(cap);
    assert_non_null(text);
    size_t n = fread(text, 1, cap - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static void test_rules_are_named_where_they_are_tested(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rules); i++) {
        const struct rule *r = &rules[i];
        if (!r->where) {
            print_message("rule %d waits: %s\n", r->number, r->later);
            continue;
        }
        char *text = read_whole(r->where), want[32];
        snprintf(want, sizeof want, "\"rule %d: ", r->number);
        /* What must not compile has no table of tests; being there is what counts. */
        if (strncmp(r->where, "test_", 5) == 0 && !strstr(text, want)) {
            fail_msg("%s does not test %s...\"", r->where, want);
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_all_have_a_place),
        cmocka_unit_test(test_rules_are_named_where_they_are_tested),
    };
    return cmocka_run_group_tests_name("rules " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
