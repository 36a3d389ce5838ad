/* Rules 32 to 39 and 42: what a loader keeps, and what makes it forget. */
#ifndef DLOAD_TESTS_CASES_CACHE_H
#define DLOAD_TESTS_CASES_CACHE_H

#include "verbs.h"

/* ---- what is there, what is cleared ---- */

static void cache_overlapping(struct fixture *x)
{
    uint64_t out[3];
    open_loader(x);
    must_ok(load_many(x, KEYS(1, 2), out, NULL));
    ask(x, 0, 1, 3);
    let_go(x);
    must_get(x, 0, 10, 30);
    must_ok(load_many(x, KEYS(1, 2, 3), out, NULL));
    equal(out[0] + out[1] + out[2], 60);
    calls_must(x, "B(1,2) B(3)");
}

static void cache_clear(struct fixture *x)
{
    uint64_t out[2];
    open_loader(x);
    must_ok(load_many(x, KEYS(1, 2), out, NULL));
    must_ok(tl_clear(&x->l, 1));
    x->r.version = 1;
    must_ok(load_many(x, KEYS(1, 2), out, NULL));
    calls_must(x, "B(1,2) B(1)");
    equal(out[0], 11);
    equal(out[1], 20);
    must_ok(tl_clear(&x->l, 12345)); /* absent is no error */
    must_ok(tl_clear(&x->l, 1));
    must_ok(tl_clear(&x->l, 1));
    must_ok(tl_clear_many(&x->l, KEYS(1, 2, 777)));
    must_ok(tl_clear_many(&x->l, NULL, 0));
    ask(x, 0, 1);
    ask(x, 1, 2);
    let_go(x);
    must_get(x, 0, 11);
    must_get(x, 1, 21);
    calls_must(x, "B(1,2)");
}

static void cache_clear_all(struct fixture *x)
{
    uint64_t out[3];
    open_loader(x);
    for (uint64_t round = 0; round < 3; round++) {
        x->r.version = round;
        must_ok(load_many(x, KEYS(1, 2, 3), out, NULL));
        equal(out[0] + out[1] + out[2], 60 + 3 * round);
        calls_must(x, "B(1,2,3)");
        must_ok(tl_clear_all(&x->l));
        for (uint64_t key = 1; key <= 3; key++) {
            peek_must(x, key, DLOAD_STATE_ABSENT);
        }
        equal(stats_now(x).entries, 0);
    }
}

#ifndef TEST_COMPACT /* there it is O(capacity), as its manual says */

/* The best of five: how long a clear_all of n entries takes. */
static uint64_t clear_all_ns(struct fixture *x, uint64_t n)
{
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < 5; round++) {
        for (uint64_t key = 0; key < n; key++) {
            must_ok(tl_prime(&x->l, key, &key, 0));
        }
        equal(stats_now(x).entries, n);
        uint64_t start = real_ns();
        must_ok(tl_clear_all(&x->l));
        uint64_t took = real_ns() - start;
        best = took < best ? took : best;
    }
    return best;
}

static void cache_clear_all_is_cheap(struct fixture *x)
{
    x->cfg.capacity = 100000;
    open_loader(x);
    uint64_t few = clear_all_ns(x, 100), many = clear_all_ns(x, 50000);
    /* 500 times the entries; a walk over them takes hundreds of microseconds at the very least. */
    if (many > 20 * few + 50 * DLOAD_MICROSECOND) {
        fail_msg("clear_all of 100: %" PRIu64 " ns, of 50,000: %" PRIu64 " ns", few, many);
    }
}

#endif

/* ---- cleared while in flight ---- */

static void end_second(struct fixture *x, tl_batch *second, bool fails)
{
    uint64_t value = 11;
    must_ok(fails ? tl_batch_fail(second, 0, DLOAD_EFETCH) : tl_batch_set(second, 0, &value));
    must_ok(tl_batch_done(second, DLOAD_OK));
    if (fails) {
        must_fail(x, 1, DLOAD_EFETCH);
    } else {
        must_get(x, 1, 11);
    }
}

static void end_first(struct fixture *x, tl_batch *first, bool fails)
{
    uint64_t value = 10;
    must_ok(fails ? tl_batch_fail(first, 0, EMINE) : tl_batch_set(first, 0, &value));
    must_ok(tl_batch_done(first, DLOAD_OK));
    if (fails) {
        must_fail(x, 0, EMINE);
    } else {
        must_get(x, 0, 10);
    }
}

/* Bits of how: the first fails, the second fails, the second ends first, clear_all. */
static void clear_in_flight_as(struct fixture *x, unsigned how)
{
    bool second_fails = (how & 2) != 0, second_first = (how & 4) != 0;
    ask_pending(x, 0, 1);
    must_ok(how & 8 ? tl_clear_all(&x->l) : tl_clear(&x->l, 1));
    ask_pending(x, 1, 1);
    calls_must(x, "B(1) B(1)");
    tl_batch *first = take_pending(x, 0), *second = take_pending(x, 0);
    if (second_first) {
        end_second(x, second, second_fails);
        must_wait(x, 0);
        end_first(x, first, (how & 1) != 0);
    } else {
        end_first(x, first, (how & 1) != 0);
        must_wait(x, 1);
        peek_must(x, 1, DLOAD_STATE_IN_FLIGHT); /* the first is cached nowhere */
        end_second(x, second, second_fails);
    }
    x->r.result = DLOAD_OK;
    if (second_fails) {
        peek_must(x, 1, DLOAD_STATE_ABSENT);
    } else {
        load_one(x, 1, 11);
        calls_must(x, "");
    }
    must_ok(tl_clear_all(&x->l));
}

static void cache_clear_in_flight(struct fixture *x)
{
    open_loader(x);
    for (unsigned how = 0; how < 16; how++) {
        clear_in_flight_as(x, how);
    }
    assert_true(stats_now(x).cleared_in_flight >= 16);
}

/* ---- brought from outside ---- */

static void cache_prime(struct fixture *x)
{
    uint64_t value = 100;
    open_loader(x);
    must_ok(tl_prime(&x->l, 1, &value, 0));
    load_one(x, 1, 100);
    value = 200;
    must_ok(tl_prime(&x->l, 1, &value, 0));
    load_one(x, 1, 100);
    must_ok(tl_prime(&x->l, 1, &value, DLOAD_OVERWRITE));
    ask(x, 0, 1);
    must_get(x, 0, 200); /* at once */
    dload_status st[3];
    const uint64_t keys[3] = {1, 2, 3}, values[3] = {7, 8, 9};
    must_ok(tl_prime_many(&x->l, keys, values, 3, 0, st));
    load_one(x, 1, 200);
    load_one(x, 2, 8);
    load_one(x, 3, 9);
    calls_must(x, "");
}

static void cache_prime_in_flight(struct fixture *x)
{
    uint64_t value = 100;
    open_loader(x);
    ask_pending(x, 0, 1);
    must_ok(tl_prime(&x->l, 1, &value, 0));
    load_one(x, 1, 100);
    must_wait(x, 0);
    finish(x);
    must_get(x, 0, 10); /* what was fetched goes to who asked, and is cached nowhere */
    load_one(x, 1, 100);
    calls_must(x, "B(1)");
}

static void cache_prime_error(struct fixture *x)
{
    open_loader(x);
    must_ok(tl_prime_error(&x->l, 1, DLOAD_EBACKEND, DLOAD_NEVER));
    must(load_status(x, 1), DLOAD_EBACKEND);
    ask(x, 0, 1);
    must_fail(x, 0, DLOAD_EBACKEND); /* at once */
    must_ok(tl_prime_error(&x->l, 2, DLOAD_MISSING, DLOAD_SECOND));
    must(load_status(x, 2), DLOAD_MISSING);
    calls_must(x, "");
    peek_must(x, 1, DLOAD_STATE_ERROR);
    pass_to(x, tl_now(&x->l) + 2 * DLOAD_SECOND);
    load_one(x, 2, 20);
    must(load_status(x, 1), DLOAD_EBACKEND);
    must_ok(tl_clear(&x->l, 1));
    load_one(x, 1, 10);
    must(tl_prime_error(&x->l, 3, DLOAD_OK, DLOAD_NEVER), DLOAD_EINVAL);
    must(tl_prime_error(&x->l, 3, DLOAD_PENDING, DLOAD_NEVER), DLOAD_EINVAL);
    load_one(x, 3, 30);
}

/* ---- peek ---- */

static void cache_peek(struct fixture *x)
{
    uint64_t out = 77;
    dload_state s;
    open_loader(x);
    must(tl_peek(&x->l, 1, &s, &out), DLOAD_MISSING);
    equal(s, DLOAD_STATE_ABSENT);
    x->r.result = DLOAD_PENDING;
    ask(x, 0, 1);
    must(tl_peek(&x->l, 1, &s, &out), DLOAD_MISSING);
    equal(s, DLOAD_STATE_QUEUED);
    equal(dispatch(x), 1);
    must_be_out(x, 1);
    must(tl_peek(&x->l, 1, &s, &out), DLOAD_MISSING);
    equal(s, DLOAD_STATE_IN_FLIGHT);
    equal(out, 77);
    finish(x);
    must_get(x, 0, 10);
    must_ok(tl_peek(&x->l, 1, &s, &out));
    equal(s, DLOAD_STATE_READY);
    equal(out, 10);
    must_ok(tl_peek(&x->l, 1, &s, NULL));
    must_ok(tl_prime_error(&x->l, 2, DLOAD_EDECODE, DLOAD_NEVER));
    must(tl_peek(&x->l, 2, &s, &out), DLOAD_EDECODE);
    equal(s, DLOAD_STATE_ERROR);
    equal(stats_now(x).loads, 1); /* the one that was asked */
    equal(stats_now(x).hits, 0);
    calls_must(x, "B(1)");
}

/* How many of eight old keys outlive others, when they were looked at or loaded before. */
static unsigned outliving(struct fixture *x, bool peeks, bool loads)
{
    enum { N_OLD = 8, N = 64 };
    unsigned n_there = 0;
    must_ok(tl_clear_all(&x->l));
    for (uint64_t key = 0; key < N; key++) {
        must_ok(tl_prime(&x->l, key, &key, 0));
    }
    for (uint64_t n = 0; n < N_OLD * 3; n++) {
        if (peeks) {
            peek_must(x, n % N_OLD, DLOAD_STATE_READY);
        }
        if (loads) {
            load_one(x, n % N_OLD, n % N_OLD);
        }
    }
    for (uint64_t key = N; key < N + N / 2; key++) {
        must_ok(tl_prime(&x->l, key, &key, 0));
    }
    for (uint64_t key = 0; key < N_OLD; key++) {
        dload_state s;
        n_there += tl_peek(&x->l, key, &s, NULL) == DLOAD_OK;
    }
    return n_there;
}

static void cache_peek_is_no_use(struct fixture *x)
{
    x->cfg.capacity = 64;
    x->cfg.shards = 1;
    open_loader(x);
    equal(outliving(x, false, false), 0);
    equal(outliving(x, true, false), 0);
    equal(outliving(x, false, true), 8); /* what a use would do */
}

/* ---- hits ---- */

static void cache_hit_costs_nothing(struct fixture *x)
{
    x->cfg.settle_ns = DLOAD_SECOND;
    open_loader(x);
    ask(x, 0, 1);
    let_go(x);
    must_get(x, 0, 10);
    load_one(x, 1, 10); /* of everything once before it is counted */
    calls_must(x, "B(1)");
    size_t n_allocs = x->f.n_allocs, n_waits = x->f.n_waits;
    dload_stats before = stats_now(x);
    static struct request q;
    memset(&q, 0, sizeof q);
    must_ok(request_start(x, &q, 1));
    must_ok(q.w.status);
    equal(q.w.value, 10);
    equal(q.n_done, 0); /* no callback: the answer is there already */
    equal(tl_next_deadline(&x->l), DLOAD_NEVER);
    load_one(x, 1, 10);
    uint64_t out[3];
    must_ok(tl_load_many(&x->l, KEYS(1, 1, 1), out, NULL));
    equal(tl_next_deadline(&x->l), DLOAD_NEVER);
    equal(dispatch(x), 0);
    equal(x->f.n_allocs, n_allocs);
    equal(x->f.n_waits, n_waits);
    equal(stats_now(x).hits, before.hits + 5);
    equal(stats_now(x).batches, before.batches);
    calls_must(x, "");
}

/* ---- bounds ---- */

static void capacity_of(struct fixture *x, size_t capacity)
{
    uint64_t keys[250], out[250];
    for (uint64_t round = 0; round < 4; round++) {
        for (uint64_t i = 0; i < 250; i++) {
            keys[i] = round * 100 + i;
        }
        must_ok(load_many(x, keys, 250, out, NULL));
        for (uint64_t i = 0; i < 250; i++) {
            equal(out[i], keys[i] * 10);
        }
        size_t n_here = 0;
        for (uint64_t key = 0; key < 600; key++) {
            dload_state s;
            n_here += tl_peek(&x->l, key, &s, NULL) == DLOAD_OK;
        }
        assert_true(n_here <= capacity);
        equal(stats_now(x).entries, n_here);
    }
    assert_true(stats_now(x).evictions > 0);
}

static void cache_capacity(struct fixture *x)
{
    static const size_t capacities[] = {1, 2, 3, 10, 100};
    x->cfg.fetch = fetch_counted;
    for (size_t c = 0; c < COUNT(capacities); c++) {
        x->cfg.capacity = capacities[c];
        open_loader(x);
        capacity_of(x, capacities[c]);
        close_for_next(x);
    }
}

static void cache_queue_limit(struct fixture *x)
{
    x->cfg.max_queue = 4 + driver_keys();
    x->cfg.capacity = 1; /* flights are not in the cache */
    x->r.result = DLOAD_PENDING;
    open_loader(x);
    for (size_t i = 0; i < 4; i++) {
        ask(x, i, i + 1);
    }
    ask(x, 4, 5);
    must_fail(x, 4, DLOAD_EAGAIN);
    ask(x, 5, 1); /* a join takes no room */
    equal(dispatch(x), 4);
    must_be_out(x, 1);
    ask(x, 4, 5);
    must_fail(x, 4, DLOAD_EAGAIN);
    finish(x);
    for (size_t i = 0; i < 4; i++) {
        must_get(x, i, (i + 1) * 10);
    }
    must_get(x, 5, 10);
    ask(x, 4, 5);
    must_wait(x, 4);
    equal(dispatch(x), 1);
    must_be_out(x, 1);
    finish(x);
    must_get(x, 4, 50);
    calls_must(x, "B(1,2,3,4) B(5)");
}

static const struct test_case cache_cases[] = {
    CASE(32, ON_ALL, "only what is not there is fetched",
         "given A,B were loaded, when A,C and A,B,C are, then B(A,B), B(C), nothing", NULL,
         cache_overlapping),
    CASE(33, ON_ALL, "clear one; absent is no error",
         "given A and B are cached, when A is cleared and both loaded, then B(A)", NULL,
         cache_clear),
    CASE(34, ON_ALL, "clear_all",
         "given entries, when all are cleared, then everything is fetched again", NULL,
         cache_clear_all),
#ifndef TEST_COMPACT
    CASE(34, ON_ALL, "clear_all costs the same for any size",
         "given 500 times the entries, when all are cleared, then it takes no longer", NULL,
         cache_clear_all_is_cheap),
#endif
    CASE(35, ON_ALL, "clear in flight",
         "given 1 in flight, when it is cleared and loaded, then a second fetch whose entry "
         "survives",
         NULL, cache_clear_in_flight),
    CASE(36, ON_ALL, "prime",
         "given a primed key, when it is loaded, then no call; primed again only with OVERWRITE",
         NULL, cache_prime),
    CASE(
        36, ON_ALL, "prime in flight",
        "given 1 in flight, when it is primed, then the fetch serves its waiters and is not cached",
        NULL, cache_prime_in_flight),
    CASE(37, ON_ALL, "prime an error",
         "given a primed error, when its key is loaded, then it fails with that, no call", NULL,
         cache_prime_error),
    CASE(38, ON_ALL, "peek",
         "given a key on its way, when it is peeked at, then absent, queued, in flight, ready, "
         "error",
         NULL, cache_peek),
    CASE(38, ON_ALL, "peek is no use",
         "given a full cache, when keys are peeked at, then others are evicted as if they were not",
         NULL, cache_peek_is_no_use),
    CASE(39, ON_ALL, "a hit costs nothing",
         "given a cached key, when it is loaded, then at once: no memory, no batch, no timer", NULL,
         cache_hit_costs_nothing),
    CASE(42, ON_ALL, "never above capacity",
         "given a capacity, when more keys are loaded, then never more entries than that", NULL,
         cache_capacity),
    CASE(
        42, ON_ALL, "flights are bounded by the queue",
        "given max_queue keys on their way, when another is asked for, then EAGAIN; joins are free",
        NULL, cache_queue_limit),
};

#endif /* DLOAD_TESTS_CASES_CACHE_H */
