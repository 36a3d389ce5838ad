/* Rules 61 to 63: what is counted. */
/* locks: NONE SPIN PTHREAD */
#include "test_loader.h"

static void test_stats_batch_of_four(void **state)
{
    struct fixture *x = *state;
    static struct request q[4], again[2];
    memset(q, 0, sizeof q);
    memset(again, 0, sizeof again);
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2, 3, 4}, 4);
    dload_stats s = stats_of(x);
    equal(s.loads, 4);
    equal(s.batches, 0);
    dispatch(x);
    s = stats_of(x);
    equal(s.batches, 1);
    equal(s.keys, 4);
    equal(s.hits, 0);
    equal(s.largest_batch, 4);
    must_ok(request_start(x, &again[0], 1));
    must_ok(request_start(x, &again[1], 2));
    s = stats_of(x);
    equal(s.loads, 6);
    equal(s.hits, 2);
    equal(s.misses, 4);
    equal(s.joins, 0);
    equal(s.stores, 4);
    equal(s.entries, 4);
}

static void test_stats_everything(void **state)
{
    struct fixture *x = *state;
    static struct request q[4];
    uint64_t out[6];
    memset(q, 0, sizeof q);
    x->cfg.capacity = 3;
    x->cfg.ttl_ns = DLOAD_SECOND;
    fixture_open(x);
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2, 3, 4, 5, 1}, 6, out, NULL));
    dload_stats s = stats_of(x);
    equal(s.loads, 6);
    equal(s.misses, 5);
    equal(s.joins, 1);
    equal(s.keys, 5);
    equal(s.entries, 3);
    equal(s.evictions, 2);
    equal(s.store_skipped, 0);
    equal(s.stores, 5);
    x->f.now_ns += 2 * DLOAD_SECOND;
    must_ok(tl_process(&x->l, x->f.now_ns));
    s = stats_of(x);
    equal(s.expired, 3);
    equal(s.entries, 0);
    x->r.result = DLOAD_PENDING;
    request_start_all(x, q, (uint64_t[]){11, 12}, 2);
    must_ok(tl_cancel(&x->l, &q[1].w));
    dispatch(x);
    must_ok(tl_clear(&x->l, 11));
    rec_finish(&x->r);
    s = stats_of(x);
    equal(s.cancelled, 1);
    equal(s.cleared_in_flight, 1);
    equal(s.entries, 0);
    equal(s.hits + s.joins + s.misses, s.loads);
    x->r.result = DLOAD_EFETCH;
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    must(tl_load(&x->l, 1, out), DLOAD_EFETCH);
    equal(stats_of(x).fetch_errors, 1);
}

static void test_stats_triggers(void **state)
{
    struct fixture *x = *state;
    static struct request q[12];
    memset(q, 0, sizeof q);
    x->cfg.max_batch = 2;
    x->cfg.settle_ns = DLOAD_SECOND;
    x->cfg.max_age_ns = DLOAD_SECOND + DLOAD_MILLISECOND;
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2}, 2);
    must_ok(tl_process(&x->l, x->f.now_ns));
    equal(stats_of(x).by_trigger[DLOAD_BY_SIZE], 1);
    must(request_start(x, &q[2], 3), DLOAD_PENDING);
    x->f.now_ns += DLOAD_SECOND;
    must_ok(tl_process(&x->l, x->f.now_ns));
    equal(stats_of(x).by_trigger[DLOAD_BY_SETTLE], 1);
    must(request_start(x, &q[3], 4), DLOAD_PENDING);
    equal(dispatch(x), 1);
    equal(stats_of(x).by_trigger[DLOAD_BY_EXPLICIT], 1);
    must_ok(tl_expect(&x->l, 1));
    must(request_start(x, &q[4], 5), DLOAD_PENDING);
    must_ok(tl_process(&x->l, x->f.now_ns));
    equal(stats_of(x).by_trigger[DLOAD_BY_EXPECT], 1);
    /* A caller that blocks, alone: nothing else has to be waited for. */
    load_must(x, 6, 60);
    equal(stats_of(x).by_trigger[DLOAD_BY_IDLE], 1);
    must(request_start(x, &q[5], 7), DLOAD_PENDING);
    must_ok(tl_close(&x->l, DLOAD_DRAIN, 0));
    dload_stats s = stats_of(x);
    equal(s.by_trigger[DLOAD_BY_CLOSE], 1);
    uint64_t sum = 0;
    for (size_t i = 0; i < DLOAD_N_TRIGGERS; i++) {
        sum += s.by_trigger[i];
    }
    equal(sum, s.batches);
    equal(sum, x->r.n_calls);
}

static void test_stats_prometheus(void **state)
{
    struct fixture *x = *state;
    static char buf[16384];
    size_t n = 0, again = 0;
    fixture_open(x);
    load_must(x, 1, 10);
    load_must(x, 1, 10);
    load_must(x, 1, 10);
    dload_stats s = stats_of(x);
    memset(buf, '#', sizeof buf);
    must_ok(dload_stats_prometheus(&s, "quotes", buf, sizeof buf, &n));
    assert_true(n > 0 && n < sizeof buf);
    equal(strlen(buf), n);
    assert_non_null(strstr(buf, "quotes"));
    assert_non_null(strstr(buf, "hits"));
    assert_non_null(strstr(buf, " 2\n"));
    assert_int_equal(buf[n - 1], '\n');
    /* Too small a buffer is said, with the size it takes, and nothing is written past its end. */
    for (size_t cap = 0; cap < n; cap += n / 7 + 1) {
        memset(buf, '#', sizeof buf);
        assert_true(dload_stats_prometheus(&s, "quotes", buf, cap, &again) < 0);
        equal(again, n);
        for (size_t i = cap; i < sizeof buf; i++) {
            assert_int_equal(buf[i], '#');
        }
    }
}

/* ---- read from another thread (with a lock; without one there is none) ---- */

#if TEST_LOCK != DLOAD_LOCK_NONE

enum { N_READERS = 2, N_LOADERS = 4 };

struct shared {
    tl l;
    size_t per_thread;
    size_t n_left;
    size_t n_bad;
};

static dload_status fetch_plain(tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        (void)tl_batch_set(b, i, &value);
    }
    return DLOAD_OK;
}

static void load_or_read(void *ctx, size_t i)
{
    struct shared *s = ctx;
    if (i >= N_LOADERS) {
        uint64_t last = 0;
        while (__atomic_load_n(&s->n_left, __ATOMIC_ACQUIRE)) {
            dload_stats st;
            bool ok = tl_stats(&s->l, &st) == DLOAD_OK && st.loads >= last;
            last = st.loads;
            if (!ok) {
                __atomic_add_fetch(&s->n_bad, 1, __ATOMIC_RELAXED);
            }
        }
        return;
    }
    uint64_t state = i;
    for (size_t n = 0; n < s->per_thread; n++) {
        uint64_t key = rng_below(&state, 300), out = 0;
        if (tl_load(&s->l, key, &out) != DLOAD_OK || out != key * 10) {
            __atomic_add_fetch(&s->n_bad, 1, __ATOMIC_RELAXED);
        }
    }
    __atomic_sub_fetch(&s->n_left, 1, __ATOMIC_RELEASE);
}

static void test_stats_from_another_thread(void **state)
{
    (void)state;
    static struct shared s;
    struct fake_env f;
    fake_env_init_real(&f);
    memset(&s, 0, sizeof s);
    tl_config cfg = tl_config_default();
    cfg.fetch = fetch_plain;
    cfg.env = &f.env;
    cfg.capacity = 100;
    must_ok(tl_init(&s.l, &cfg));
    s.per_thread = scaled(20000);
    s.n_left = N_LOADERS;
    run_threads(N_LOADERS + N_READERS, load_or_read, &s);
    dload_stats st;
    must_ok(tl_stats(&s.l, &st));
    equal(s.n_bad, 0);
    equal(st.loads, N_LOADERS * s.per_thread);
    equal(st.hits + st.joins + st.misses, st.loads);
    assert_true(st.entries <= 100);
    must_ok(tl_close(&s.l, DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&s.l));
    fake_env_check(&f);
}

#endif /* TEST_LOCK */

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("rule 61: loads, batches, keys, hits", test_stats_batch_of_four),
        RULE("rule 61: the other counters", test_stats_everything),
#if TEST_LOCK != DLOAD_LOCK_NONE
        RULE("rule 62: consistent from another thread", test_stats_from_another_thread),
#endif
        RULE("rule 63: why a batch went", test_stats_triggers),
        RULE("stats as Prometheus text", test_stats_prometheus),
    };
    return cmocka_run_group_tests_name("stats " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
