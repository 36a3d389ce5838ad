/* Rules 61 to 63: what is counted. */
#ifndef DLOAD_TESTS_CASES_NUMBERS_H
#define DLOAD_TESTS_CASES_NUMBERS_H

#include "verbs.h"

static void numbers_of_four(struct fixture *x)
{
    open_loader(x);
    for (size_t i = 0; i < 4; i++) {
        ask(x, i, i + 1);
    }
    dload_stats s = stats_now(x);
    equal(s.loads, 4);
    equal(s.batches, 0);
    equal(dispatch(x), 4);
    for (size_t i = 0; i < 4; i++) {
        must_get(x, i, (i + 1) * 10);
    }
    s = stats_now(x);
    equal(s.batches, 1);
    equal(s.keys, 4);
    equal(s.hits, 0);
    equal(s.largest_batch, 4);
    load_one(x, 1, 10);
    ask(x, 0, 2);
    must_get(x, 0, 20);
    s = stats_now(x);
    equal(s.loads, 6);
    equal(s.hits, 2);
    equal(s.misses, 4);
    equal(s.joins, 0);
    equal(s.stores, 4);
    equal(s.entries, 4);
}

/* ---- rule 62 ---- */

/* Some callers ask for some keys, and go. Returns how many keys. */
static size_t ask_some(struct fixture *x, uint64_t *state)
{
    size_t n_callers = 1 + (size_t)rng_below(state, 4), n = 0;
    for (size_t i = 0; i < n_callers; i++) {
        uint64_t key = rng_below(state, 50);
        if (rng_below(state, 2)) {
            ask(x, i, key, key + 1, key);
            n += 3;
        } else {
            ask(x, i, key);
            n++;
        }
    }
    let_go(x);
    for (size_t i = 0; i < n_callers; i++) {
        collect(x, i);
        equal(callers[i].out[0], callers[i].keys[0] * 10);
    }
    return n;
}

static void numbers_add_up(struct fixture *x)
{
    uint64_t seed = test_seed("drivers numbers"), out[2];
    size_t n_loads = 0;
    x->cfg.fetch = fetch_counted;
    x->cfg.capacity = 20;
    open_loader(x);
    for (size_t round = 0; round < scaled(200); round++) {
        uint64_t key = rng_below(&seed, 50);
        switch (rng_below(&seed, 5)) {
        case 0:
            load_one(x, key, key * 10);
            n_loads++;
            break;
        case 1:
            must_ok(load_many(x, KEYS(key, key + 2), out, NULL));
            n_loads += 2;
            break;
        case 2:
            must_ok(key % 5 ? tl_clear(&x->l, key) : tl_clear_all(&x->l));
            break;
        default:
            n_loads += ask_some(x, &seed);
        }
    }
    dload_stats s = stats_now(x);
    equal(s.loads, n_loads);
    equal(s.hits + s.joins + s.misses, n_loads);
    equal(s.keys, x->r.n_keys);
    equal(s.batches, x->r.n_calls);
    equal(s.keys, s.misses); /* nobody left, nothing failed */
    assert_true(s.hits > 0 && s.joins > 0 && s.entries <= 20);
}

enum { N_LOADING = 4, N_READING = 2 };

static struct {
    size_t n_each;
    size_t n_left; /* atomic */
    size_t n_bad;  /* atomic */
} reading;

static void load_or_read(struct fixture *x, size_t i)
{
    uint64_t state = i, last = 0;
    dload_stats s;
    for (size_t n = 0; i < N_LOADING && n < reading.n_each; n++) {
        uint64_t key = rng_below(&state, 300), out = 0;
        if (tl_load(&x->l, key, &out) != DLOAD_OK || out != key * 10) {
            __atomic_add_fetch(&reading.n_bad, 1, __ATOMIC_RELAXED);
        }
    }
    if (i < N_LOADING) {
        __atomic_sub_fetch(&reading.n_left, 1, __ATOMIC_RELEASE);
    }
    while (i >= N_LOADING && __atomic_load_n(&reading.n_left, __ATOMIC_ACQUIRE)) {
        if (tl_stats(&x->l, &s) != DLOAD_OK || s.loads < last) {
            __atomic_add_fetch(&reading.n_bad, 1, __ATOMIC_RELAXED);
        }
        last = s.loads;
    }
}

static void numbers_from_another_thread(struct fixture *x)
{
    x->cfg.fetch = fetch_counted;
    x->cfg.capacity = 100;
    x->cfg.max_in_flight = 4;
    open_loader(x);
    reading.n_each = scaled(5000);
    reading.n_left = N_LOADING;
    reading.n_bad = 0;
    each_caller(x, N_LOADING + N_READING, load_or_read);
    equal(reading.n_bad, 0);
    dload_stats s = stats_now(x);
    equal(s.loads, N_LOADING * reading.n_each);
    equal(s.hits + s.joins + s.misses, s.loads);
    equal(s.keys, x->r.n_keys);
    equal(s.batches, x->r.n_calls);
    assert_true(s.entries <= 100);
}

/* ---- rule 63 ---- */

/* The batches so far went for these reasons, and for no other. */
static void triggers_must(struct fixture *x, const uint64_t want[DLOAD_N_TRIGGERS])
{
    dload_stats s = stats_now(x);
    uint64_t sum = 0;
    for (size_t i = 0; i < DLOAD_N_TRIGGERS; i++) {
        if (s.by_trigger[i] != want[i]) {
            fail_msg("trigger %zu: %" PRIu64 ", not %" PRIu64, i, s.by_trigger[i], want[i]);
        }
        sum += want[i];
    }
    equal(sum, s.batches);
    equal(sum, x->r.n_calls);
}

static void numbers_why(struct fixture *x)
{
    uint64_t want[DLOAD_N_TRIGGERS] = {0};
    x->cfg.max_batch = 2;
    x->cfg.settle_ns = x->cfg.max_age_ns = LONG_NS;
    open_loader(x);
    ask(x, 0, 1);
    ask(x, 1, 2);
    tick(x);
    must_get(x, 0, 10);
    must_get(x, 1, 20);
    want[DLOAD_BY_SIZE]++;
    triggers_must(x, want);
    ask(x, 0, 3);
    equal(dispatch(x), 1);
    must_get(x, 0, 30);
    want[DLOAD_BY_EXPLICIT]++;
    triggers_must(x, want);
    must_ok(tl_expect(&x->l, 1));
    ask(x, 0, 4);
    tick(x);
    must_get(x, 0, 40);
    want[DLOAD_BY_EXPECT]++;
    triggers_must(x, want);
    ask(x, 0, 5);
    must_ok(close_loader(x, DLOAD_DRAIN, 0));
    must_get(x, 0, 50);
    want[DLOAD_BY_CLOSE]++;
    triggers_must(x, want);
}

static void numbers_why_in_time(struct fixture *x)
{
    uint64_t want[DLOAD_N_TRIGGERS] = {0};
    x->cfg.settle_ns = 10 * MS;
    x->cfg.max_age_ns = 15 * MS;
    open_loader(x);
    uint64_t t = tl_now(&x->l);
    ask(x, 0, 1);
    pass_to(x, t + 10 * MS);
    must_get(x, 0, 10);
    want[DLOAD_BY_SETTLE]++;
    triggers_must(x, want);
    t = tl_now(&x->l);
    ask(x, 0, 2);
    pass_to(x, t + 9 * MS);
    ask(x, 1, 3);
    pass_to(x, t + 15 * MS);
    must_get(x, 0, 20);
    must_get(x, 1, 30);
    want[DLOAD_BY_AGE]++;
    triggers_must(x, want);
}

static void numbers_why_idle(struct fixture *x)
{
    uint64_t want[DLOAD_N_TRIGGERS] = {0};
    open_loader(x);
    load_one(x, 1, 10); /* it has nothing else to wait for */
    want[DLOAD_BY_IDLE]++;
    triggers_must(x, want);
    load_one(x, 2, 20);
    want[DLOAD_BY_IDLE]++;
    triggers_must(x, want);
}

static const struct test_case numbers_cases[] = {
    CASE(
        61, ON_ALL, "loads, batches, keys, hits",
        "given A,B,C,D are loaded, dispatched, and A,B loaded again, then 6 loads, 1 batch, 2 hits",
        NULL, numbers_of_four),
    CASE(62, ON_ALL, "hits, joins and misses add up",
         "given any loads and clears, when all is quiet, then hits + joins + misses = loads asked "
         "for",
         NULL, numbers_add_up),
    CASE(62, ON_THREADS, "read from another thread",
         "given threads that load, when others read the counters, then none of these goes back",
         "elsewhere there is one thread", numbers_from_another_thread),
    CASE(63, ON_ALL, "size, explicit, expect, close",
         "given a batch that goes for one of these, then it is counted under that", NULL,
         numbers_why),
    CASE(63, ON_ALL & ~ON_FIBER, "settle, age",
         "given a batch that goes for one of these, then it is counted under that",
         "fibers: what is queued goes when all tasks wait", numbers_why_in_time),
    CASE(63, ON_ALL & ~ON_LOOP, "idle",
         "given a caller that blocks alone, when its batch goes, then it is counted under idle",
         "loop: nothing blocks", numbers_why_idle),
};

#endif /* DLOAD_TESTS_CASES_NUMBERS_H */
