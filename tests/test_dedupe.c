/* Rules 15 to 17 and 20: a key is fetched once, however often it is asked for. Rules 18 and 19 need
 * threads: test_single_flight.c. */
/* locks: NONE SPIN PTHREAD */
#include "test_loader.h"

static void test_dedupe_in_a_round(void **state)
{
    struct fixture *x = *state;
    static struct request q[2];
    memset(q, 0, sizeof q);
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 1}, 2);
    equal(dispatch(x), 1);
    text_must(&x->r.calls, "B(1)");
    request_must(&q[0], 10);
    request_must(&q[1], 10);
}

static void join_while_running(struct fixture *x)
{
    static struct request q[3];
    memset(q, 0, sizeof q);
    x->r.result = DLOAD_PENDING;
    fixture_open(x);
    must(request_start(x, &q[0], 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    must(request_start(x, &q[1], 1), DLOAD_PENDING);
    must(request_start(x, &q[2], 1), DLOAD_PENDING);
    equal(dispatch(x), 0);
    equal(q[0].n_done + q[1].n_done + q[2].n_done, 0);
    rec_finish(&x->r);
    for (size_t i = 0; i < 3; i++) {
        request_must(&q[i], 10);
    }
    text_must(&x->r.calls, "B(1)");
    dload_stats s = stats_of(x);
    equal(s.misses, 1);
    equal(s.joins, 2);
}

static void test_dedupe_joins_running(void **state)
{
    join_while_running(*state);
}

static void test_dedupe_joins_running_uncached(void **state)
{
    struct fixture *x = *state;
    x->cfg.capacity = DLOAD_NO_CACHE;
    join_while_running(x);
    x->r.result = DLOAD_OK;
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)"); /* it was not kept */
}

static void test_dedupe_caching_off(void **state)
{
    struct fixture *x = *state;
    static struct request q[3];
    uint64_t out[5] = {0};
    dload_status st[5];
    enum { A = 1, B = 2, C = 3, D = 4 };
    static const uint64_t want[] = {30, 40, 10, 10, 20};
    memset(q, 0, sizeof q);
    x->cfg.capacity = DLOAD_NO_CACHE;
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){A, C, D}, 3);
    must_ok(tl_load_many(&x->l, (uint64_t[]){C, D, A, A, B}, 5, out, st));
    text_must(&x->r.calls, "B(1,3,4,2)");
    request_must(&q[0], 10);
    request_must(&q[1], 30);
    request_must(&q[2], 40);
    for (size_t i = 0; i < 5; i++) {
        must_ok(st[i]);
        equal(out[i], want[i]);
    }
    dload_state kept;
    must(tl_peek(&x->l, A, &kept, NULL), DLOAD_MISSING);
    equal(kept, DLOAD_STATE_ABSENT);
    load_must(x, A, 10);
    text_must(&x->r.calls, "B(1)");
}

static void test_dedupe_clear_of_queued(void **state)
{
    struct fixture *x = *state;
    static struct request q[2];
    memset(q, 0, sizeof q);
    fixture_open(x);
    must(request_start(x, &q[0], 1), DLOAD_PENDING);
    must_ok(tl_clear(&x->l, 1));
    must(request_start(x, &q[1], 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    text_must(&x->r.calls, "B(1)");
    request_must(&q[0], 10);
    request_must(&q[1], 10);
    load_must(x, 1, 10);
    text_must(&x->r.calls, ""); /* it was fetched after the clear, so it is kept */
}

static void test_dedupe_clear_all_of_queued(void **state)
{
    struct fixture *x = *state;
    static struct request q[2];
    memset(q, 0, sizeof q);
    fixture_open(x);
    must(request_start(x, &q[0], 1), DLOAD_PENDING);
    must_ok(tl_clear_all(&x->l));
    must(request_start(x, &q[1], 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    request_must(&q[0], 10);
    request_must(&q[1], 10);
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
}

static void test_dedupe_many_duplicates(void **state)
{
    struct fixture *x = *state;
    uint64_t keys[300], out[300];
    dload_status st[300];
    x->cfg.max_batch = 7;
    fixture_open(x);
    for (size_t i = 0; i < 300; i++) {
        keys[i] = (i * 7) % 10;
    }
    must_ok(tl_load_many(&x->l, keys, 300, out, st));
    equal(x->r.n_keys, 10);
    equal(x->r.n_calls, 2);
    for (size_t i = 0; i < 300; i++) {
        must_ok(st[i]);
        equal(out[i], keys[i] * 10);
    }
    dload_stats s = stats_of(x);
    equal(s.loads, 300);
    equal(s.misses, 10);
    equal(s.hits + s.joins, 290);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("rule 15: twice in a round, one key sent", test_dedupe_in_a_round),
        RULE("rule 16: joins a batch that runs", test_dedupe_joins_running),
        RULE("rule 16: joins it with caching off too", test_dedupe_joins_running_uncached),
        RULE("rule 17: caching off, one round of mixed calls", test_dedupe_caching_off),
        RULE("rule 20: clear of a queued key leaves it queued", test_dedupe_clear_of_queued),
        RULE("rule 20: so does clear_all", test_dedupe_clear_all_of_queued),
        RULE("rule 15: duplicates in one load_many", test_dedupe_many_duplicates),
    };
    return cmocka_run_group_tests_name("dedupe " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
