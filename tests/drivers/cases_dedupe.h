/* Rules 15 to 20: a key is fetched once, however often it is asked for. */
#ifndef DLOAD_TESTS_CASES_DEDUPE_H
#define DLOAD_TESTS_CASES_DEDUPE_H

#include "verbs.h"

static void dedupe_in_a_round(struct fixture *x)
{
    open_loader(x);
    ask(x, 0, 1);
    ask(x, 1, 1);
    ask(x, 2, 1, 2, 1);
    let_go(x);
    must_get(x, 0, 10);
    must_get(x, 1, 10);
    must_get(x, 2, 10, 20, 10);
    calls_must(x, "B(1,2)");
    uint64_t out[4];
    dload_status st[4];
    must_ok(load_many(x, KEYS(3, 4, 3, 3), out, st));
    equal(out[0] + out[1] + out[2] + out[3], 130);
    calls_must(x, "B(3,4)");
}

static void dedupe_joins(struct fixture *x)
{
    open_loader(x);
    ask_pending(x, 0, 1);
    ask(x, 1, 1);
    ask(x, 2, 1);
    equal(dispatch(x), 0);
    for (size_t i = 0; i < 3; i++) {
        must_wait(x, i);
    }
    finish(x);
    for (size_t i = 0; i < 3; i++) {
        must_get(x, i, 10);
    }
    calls_must(x, "B(1)");
    equal(stats_now(x).misses, 1);
    equal(stats_now(x).joins, 2);
    x->r.result = DLOAD_OK;
    load_one(x, 1, 10);
}

static void dedupe_joins_cached(struct fixture *x)
{
    dedupe_joins(x);
    calls_must(x, "");
}

static void dedupe_joins_uncached(struct fixture *x)
{
    x->cfg.capacity = DLOAD_NO_CACHE;
    dedupe_joins(x);
    calls_must(x, "B(1)"); /* it was not kept */
}

static void dedupe_caching_off(struct fixture *x)
{
    enum { A = 1, B = 2, C = 3, D = 4 };
    x->cfg.capacity = DLOAD_NO_CACHE;
    open_loader(x);
    ask(x, 0, A);
    ask(x, 1, C);
    ask(x, 2, D);
    ask(x, 3, C, D, A, A, B);
    let_go(x);
    must_get(x, 0, 10);
    must_get(x, 1, 30);
    must_get(x, 2, 40);
    must_get(x, 3, 30, 40, 10, 10, 20);
    calls_must(x, "B(1,3,4,2)");
    for (uint64_t key = A; key <= D; key++) {
        peek_must(x, key, DLOAD_STATE_ABSENT);
    }
    load_one(x, A, 10);
    calls_must(x, "B(1)");
    equal(stats_now(x).entries, 0);
}

/* ---- many ---- */

/* The same thousand keys for everybody, in another order for every second one. */
static bool next_of_thousand(struct walker *k)
{
    k->n_bad += k->at > 0 && (k->status != DLOAD_OK || k->value != k->key * 10);
    k->key = k->i % 2 ? 999 - k->at : k->at;
    return k->at < 1000;
}

static void dedupe_thousand_keys(struct fixture *x, size_t max_batch)
{
    static struct walker walkers[2];
    memset(walkers, 0, sizeof walkers);
    x->cfg.fetch = fetch_counted;
    x->cfg.max_batch = max_batch;
    x->r.n_keys = 0;
    open_loader(x);
    for (size_t i = 0; i < COUNT(walkers); i++) {
        walkers[i].next = next_of_thousand;
        walkers[i].l = &x->l;
    }
    walk(x, walkers, COUNT(walkers));
    for (size_t i = 0; i < COUNT(walkers); i++) {
        equal(walkers[i].at, 1000);
        equal(walkers[i].n_bad, 0);
    }
    equal(x->r.n_keys, 1000);
    dload_stats s = stats_now(x);
    equal(s.misses, 1000);
    equal(s.hits + s.joins, 1000);
}

static void dedupe_two_callers(struct fixture *x)
{
    dedupe_thousand_keys(x, 100);
}

static void dedupe_two_callers_unbatched(struct fixture *x)
{
    dedupe_thousand_keys(x, 1);
}

/* The call comes back once everybody has asked, so that nobody comes too late to join. */
static void wait_for_everybody(struct recorder *r, tl_batch *b)
{
    const size_t *n = r->act_ctx;
    (void)b;
    for (unsigned ms = 0; stats_now(&fixture).loads < *n && ms < 20000; ms++) {
        sleep_ms(1);
    }
}

static bool next_is_seven(struct walker *k)
{
    k->n_bad += k->at > 0 && (k->status != DLOAD_OK || k->value != 70);
    k->key = 7;
    return k->at < 1;
}

static void dedupe_one_key(struct fixture *x)
{
    size_t n = driver_crowd();
    struct walker *walkers = calloc(n, sizeof *walkers);
    assert_non_null(walkers);
    x->r.act = wait_for_everybody;
    x->r.act_ctx = &n;
    open_loader(x);
    for (size_t i = 0; i < n; i++) {
        walkers[i].next = next_is_seven;
        walkers[i].l = &x->l;
    }
    walk(x, walkers, n);
    for (size_t i = 0; i < n; i++) {
        equal(walkers[i].at, 1);
        equal(walkers[i].n_bad, 0);
    }
    free(walkers);
    x->r.act = NULL;
    calls_must(x, "B(7)");
    dload_stats s = stats_now(x);
    equal(s.loads, n);
    equal(s.misses, 1);
}

static void dedupe_one_key_uncached(struct fixture *x)
{
    x->cfg.capacity = DLOAD_NO_CACHE;
    dedupe_one_key(x);
}

/* ---- clears of what is queued ---- */

static void dedupe_clear_of_queued(struct fixture *x)
{
    open_loader(x);
    for (int all = 0; all < 2; all++) {
        ask(x, 0, 1);
        must_ok(all ? tl_clear_all(&x->l) : tl_clear(&x->l, 1));
        ask(x, 1, 1);
        equal(dispatch(x), 1);
        must_get(x, 0, 10);
        must_get(x, 1, 10);
        load_one(x, 1, 10);
        calls_must(x, "B(1)"); /* it was fetched after the clear, so it is kept */
        must_ok(tl_clear(&x->l, 1));
    }
}

static const struct test_case dedupe_cases[] = {
    CASE(15, ON_ALL, "twice in a round",
         "given 1 is asked for, when it is asked for again, then one key goes and both get it",
         NULL, dedupe_in_a_round),
    CASE(16, ON_ALL, "joins what runs",
         "given 1 is being fetched, when it is asked for, then that waits for the same answer",
         NULL, dedupe_joins_cached),
    CASE(16, ON_ALL, "joins what runs, uncached",
         "given caching is off and 1 is being fetched, when it is asked for, then that joins", NULL,
         dedupe_joins_uncached),
    CASE(
        17, ON_ALL, "caching off, one round",
        "given no cache, when A,C,D and [C,D,A,A,B] come in a round, then B(A,C,D,B), nothing kept",
        NULL, dedupe_caching_off),
    CASE(18, ON_ALL, "2 callers, the same 1,000 keys",
         "given 2 callers, when both load the same 1,000 keys, then exactly 1,000 keys are fetched",
         NULL, dedupe_two_callers),
    CASE(18, ON_ALL, "the same with batching off",
         "given max_batch 1, when both load the same 1,000 keys, then exactly 1,000 are fetched",
         NULL, dedupe_two_callers_unbatched),
    CASE(19, ON_ALL, "1,000 callers, one key",
         "given 1,000 callers, when they load one missing key, then one call and 1,000 values",
         NULL, dedupe_one_key),
    CASE(19, ON_ALL, "1,000 callers, one key, uncached",
         "given no cache, when 1,000 callers load one key, then one call and 1,000 values", NULL,
         dedupe_one_key_uncached),
    CASE(20, ON_ALL, "clear of a queued key",
         "given 1 is queued, when it is cleared and loaded, then one key, both served, and it is "
         "kept",
         NULL, dedupe_clear_of_queued),
};

#endif /* DLOAD_TESTS_CASES_DEDUPE_H */
