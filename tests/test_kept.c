/* Rules 32 and 36 to 42: what a loader keeps, and for how long. What makes it forget:
 * test_clears.c. */
/* locks: NONE SPIN PTHREAD */
#include "test_loader.h"

static dload_state state_of(struct fixture *x, uint64_t key)
{
    dload_state s = (dload_state)99;
    (void)tl_peek(&x->l, key, &s, NULL);
    return s;
}

static void test_kept_overlapping(void **state)
{
    struct fixture *x = *state;
    enum { A = 1, B = 2, C = 3 };
    uint64_t out[3];
    fixture_open(x);
    must_ok(tl_load_many(&x->l, (uint64_t[]){A, B}, 2, out, NULL));
    must_ok(tl_load_many(&x->l, (uint64_t[]){A, C}, 2, out, NULL));
    must_ok(tl_load_many(&x->l, (uint64_t[]){A, B, C}, 3, out, NULL));
    text_must(&x->r.calls, "B(1,2) B(3)");
    equal(out[0] + out[1] + out[2], 60);
}

static void test_kept_prime(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    must_ok(tl_prime(&x->l, 1, &(uint64_t){100}, 0));
    load_must(x, 1, 100);
    must_ok(tl_prime(&x->l, 1, &(uint64_t){200}, 0));
    load_must(x, 1, 100);
    must_ok(tl_prime(&x->l, 1, &(uint64_t){300}, DLOAD_OVERWRITE));
    load_must(x, 1, 300);
    dload_status st[3];
    must_ok(tl_prime_many(&x->l, (uint64_t[]){1, 2, 3}, (uint64_t[]){7, 8, 9}, 3, 0, st));
    for (size_t i = 0; i < 3; i++) {
        must_ok(st[i]);
    }
    must_ok(tl_prime_many(&x->l, NULL, NULL, 0, 0, NULL));
    load_must(x, 1, 300);
    load_must(x, 2, 8);
    load_must(x, 3, 9);
    text_must(&x->r.calls, "");
}

static void test_kept_prime_in_flight(void **state)
{
    struct fixture *x = *state;
    static struct request a;
    memset(&a, 0, sizeof a);
    fixture_open(x);
    x->r.result = DLOAD_PENDING;
    must(request_start(x, &a, 1), DLOAD_PENDING);
    dispatch(x);
    must_ok(tl_prime(&x->l, 1, &(uint64_t){100}, 0));
    rec_finish(&x->r);
    request_must(&a, 10); /* what was fetched goes to who asked, and is cached nowhere */
    load_must(x, 1, 100);
    text_must(&x->r.calls, "B(1)");
}

static void test_kept_prime_error(void **state)
{
    struct fixture *x = *state;
    uint64_t out = 77;
    fixture_open(x);
    must_ok(tl_prime_error(&x->l, 1, DLOAD_EBACKEND, DLOAD_NEVER));
    must(tl_load(&x->l, 1, &out), DLOAD_EBACKEND);
    equal(out, 77);
    must_ok(tl_prime_error(&x->l, 2, DLOAD_MISSING, DLOAD_SECOND));
    must(tl_load(&x->l, 2, &out), DLOAD_MISSING);
    text_must(&x->r.calls, "");
    equal(state_of(x, 1), DLOAD_STATE_ERROR);
    x->f.now_ns += 2 * DLOAD_SECOND;
    load_must(x, 2, 20);
    must(tl_load(&x->l, 1, &out), DLOAD_EBACKEND);
    must_ok(tl_clear(&x->l, 1));
    load_must(x, 1, 10);
    must(tl_prime_error(&x->l, 3, DLOAD_OK, DLOAD_NEVER), DLOAD_EINVAL);
    must(tl_prime_error(&x->l, 3, DLOAD_STALE, DLOAD_NEVER), DLOAD_EINVAL);
    must(tl_prime_error(&x->l, 3, DLOAD_PENDING, DLOAD_NEVER), DLOAD_EINVAL);
    load_must(x, 3, 30);
}

static void test_kept_peek(void **state)
{
    struct fixture *x = *state;
    static struct request a;
    uint64_t out = 77;
    dload_state s;
    memset(&a, 0, sizeof a);
    fixture_open(x);
    must(tl_peek(&x->l, 1, &s, &out), DLOAD_MISSING);
    equal(s, DLOAD_STATE_ABSENT);
    x->r.result = DLOAD_PENDING;
    must(request_start(x, &a, 1), DLOAD_PENDING);
    must(tl_peek(&x->l, 1, &s, &out), DLOAD_MISSING);
    equal(s, DLOAD_STATE_QUEUED);
    dispatch(x);
    must(tl_peek(&x->l, 1, &s, &out), DLOAD_MISSING);
    equal(s, DLOAD_STATE_IN_FLIGHT);
    equal(out, 77);
    rec_finish(&x->r);
    must_ok(tl_peek(&x->l, 1, &s, &out));
    equal(s, DLOAD_STATE_READY);
    equal(out, 10);
    must_ok(tl_peek(&x->l, 1, &s, NULL));
    must_ok(tl_prime_error(&x->l, 2, DLOAD_EDECODE, DLOAD_NEVER));
    must(tl_peek(&x->l, 2, &s, &out), DLOAD_EDECODE);
    equal(s, DLOAD_STATE_ERROR);
    dload_stats st = stats_of(x);
    equal(st.loads, 1); /* the one that was started */
    equal(st.hits, 0);
    equal(x->r.n_calls, 1);
}

static void test_kept_hit_costs_nothing(void **state)
{
    struct fixture *x = *state;
    static struct request a;
    memset(&a, 0, sizeof a);
    x->cfg.settle_ns = DLOAD_SECOND;
    fixture_open(x);
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    size_t allocs = x->f.n_allocs, waits = x->f.n_waits;
    dload_stats before = stats_of(x);
    must_ok(request_start(x, &a, 1));
    must_ok(a.w.status);
    equal(a.w.value, 10);
    equal(a.n_done, 0); /* no callback: the answer is there already */
    load_must(x, 1, 10);
    equal(tl_next_deadline(&x->l), DLOAD_NEVER);
    equal(dispatch(x), 0);
    equal(x->f.n_allocs, allocs);
    equal(x->f.n_waits, waits);
    dload_stats after = stats_of(x);
    equal(after.hits, before.hits + 2);
    equal(after.batches, before.batches);
    text_must(&x->r.calls, "");
}

static void test_kept_ttl(void **state)
{
    struct fixture *x = *state;
    uint64_t ttl = 100 * DLOAD_MILLISECOND;
    x->cfg.ttl_ns = ttl;
    fixture_open(x);
    uint64_t start = x->f.now_ns;
    load_must(x, 1, 10);
    x->r.version = 1;
    /* A tick is about a millisecond; it may end an entry early by so much, and never late. */
    x->f.now_ns = start + ttl - 3 * DLOAD_MILLISECOND;
    load_must(x, 1, 10);
    x->f.now_ns = start + ttl;
    equal(state_of(x, 1), DLOAD_STATE_ABSENT);
    load_must(x, 1, 11);
    text_must(&x->r.calls, "B(1) B(1)");
    /* A hit does not renew it. */
    x->f.now_ns += ttl / 2;
    load_must(x, 1, 11);
    x->f.now_ns += ttl / 2;
    load_must(x, 1, 11);
    text_must(&x->r.calls, "B(1)");
    /* 10 years, and a clock that goes back. */
    x->f.now_ns += UINT64_C(10) * 365 * 86400 * DLOAD_SECOND;
    load_must(x, 1, 11);
    load_must(x, 1, 11);
    text_must(&x->r.calls, "B(1)");
    x->f.now_ns -= 86400 * DLOAD_SECOND;
    load_must(x, 1, 11);
}

static void set_with_ttl(struct recorder *r, tl_batch *b)
{
    static const uint64_t ttls[] = {0, 20 * DLOAD_MILLISECOND, DLOAD_NEVER};
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = rec_value(r, b->keys[i]);
        must_ok(tl_batch_set_ttl(b, i, &value, ttls[b->keys[i] % 3]));
    }
}

static dload_status fetch_with_ttl(tl_batch *b)
{
    struct recorder *r = b->ctx;
    r->n_calls++;
    set_with_ttl(r, b);
    return DLOAD_OK;
}

static void test_kept_ttl_of_one_key(void **state)
{
    struct fixture *x = *state;
    uint64_t out[3];
    x->cfg.ttl_ns = 5 * DLOAD_SECOND;
    x->cfg.fetch = fetch_with_ttl;
    fixture_open(x);
    must_ok(tl_load_many(&x->l, (uint64_t[]){0, 1, 2}, 3, out, NULL));
    equal(out[1], 10);
    equal(state_of(x, 0), DLOAD_STATE_ABSENT); /* 0 = deliver, do not cache */
    equal(state_of(x, 1), DLOAD_STATE_READY);
    equal(state_of(x, 2), DLOAD_STATE_READY);
    x->f.now_ns += 20 * DLOAD_MILLISECOND;
    equal(state_of(x, 1), DLOAD_STATE_ABSENT);
    x->f.now_ns += UINT64_C(100) * 365 * 86400 * DLOAD_SECOND;
    must_ok(tl_process(&x->l, x->f.now_ns));
    equal(state_of(x, 2), DLOAD_STATE_READY);
    equal(stats_of(x).expired, 1);
    load_must(x, 0, 0);
    equal(x->r.n_calls, 2);
}

/* When each of n equal TTLs of a second ended, in ms; from a fresh loader. */
static void jittered(struct fixture *x, uint32_t pct, uint64_t seed, uint64_t *ms, size_t n)
{
    fake_env_init(&x->f);
    x->f.random = seed;
    x->cfg.env = &x->f.env;
    x->cfg.ttl_ns = DLOAD_SECOND;
    x->cfg.ttl_jitter_pct = pct;
    fixture_open(x);
    uint64_t start = x->f.now_ns;
    for (uint64_t key = 0; key < n; key++) {
        must_ok(tl_prime(&x->l, key, &key, 0));
        ms[key] = 0;
    }
    for (uint64_t t = 1; t <= 1003; t++) {
        x->f.now_ns = start + t * DLOAD_MILLISECOND;
        for (uint64_t key = 0; key < n; key++) {
            if (!ms[key] && state_of(x, key) == DLOAD_STATE_ABSENT) {
                ms[key] = t;
            }
        }
    }
    fixture_close(x);
    fake_env_check(&x->f);
}

static void test_kept_jitter(void **state)
{
    struct fixture *x = *state;
    uint64_t none[50], some[50], again[50], other[50];
    jittered(x, 0, 1, none, 50);
    jittered(x, 20, 1, some, 50);
    jittered(x, 20, 1, again, 50);
    jittered(x, 20, 2, other, 50);
    size_t shorter = 0, differ = 0, differ_seed = 0;
    for (size_t i = 0; i < 50; i++) {
        assert_true(none[i] >= 997 && none[i] <= 1000);
        assert_true(some[i] >= 797 && some[i] <= 1000);
        equal(some[i], again[i]);
        shorter += some[i] < 990;
        differ += some[i] != some[0];
        differ_seed += some[i] != other[i];
    }
    assert_true(shorter >= 35 && differ >= 40 && differ_seed >= 40);
}

static void test_kept_capacity(void **state)
{
    struct fixture *x = *state;
    static const size_t caps[] = {1, 2, 3, 10, 100};
    for (size_t c = 0; c < COUNT(caps); c++) {
        x->cfg.capacity = caps[c];
        fixture_open(x);
        uint64_t keys[250], out[250];
        for (uint64_t round = 0; round < 4; round++) {
            for (uint64_t i = 0; i < 250; i++) {
                keys[i] = round * 100 + i;
            }
            text_clear(&x->r.calls);
            must_ok(tl_load_many(&x->l, keys, 250, out, NULL));
            for (uint64_t i = 0; i < 250; i++) {
                equal(out[i], keys[i] * 10);
            }
            size_t here = 0;
            for (uint64_t key = 0; key < 600; key++) {
                here += state_of(x, key) == DLOAD_STATE_READY;
            }
            assert_true(here <= caps[c]);
            equal(stats_of(x).entries, here);
        }
        assert_true(stats_of(x).evictions > 0);
        fixture_close(x);
        fake_env_check(&x->f);
    }
}

static void test_kept_queue_limit(void **state)
{
    struct fixture *x = *state;
    static struct request q[8];
    uint64_t out;
    memset(q, 0, sizeof q);
    x->cfg.max_queue = 4;
    x->cfg.capacity = 1; /* flights are not in the cache */
    x->r.result = DLOAD_PENDING;
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2, 3, 4}, 4);
    must(request_start(x, &q[4], 5), DLOAD_EAGAIN);
    must(request_start(x, &q[5], 1), DLOAD_PENDING); /* a join takes no room */
    equal(dispatch(x), 4);
    must(request_start(x, &q[6], 5), DLOAD_EAGAIN);
    must(tl_load(&x->l, 5, &out), DLOAD_EAGAIN);
    rec_finish(&x->r);
    request_must(&q[0], 10);
    request_must(&q[5], 10);
    must(request_start(x, &q[7], 5), DLOAD_PENDING);
    equal(q[4].n_done + q[6].n_done, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("rule 32: only what is not there is fetched", test_kept_overlapping),
        RULE("rule 36: prime, and prime over", test_kept_prime),
        RULE("rule 36: prime of a key in flight", test_kept_prime_in_flight),
        RULE("rule 37: prime an error", test_kept_prime_error),
        RULE("rule 38: peek", test_kept_peek),
        RULE("rule 39: a hit costs nothing", test_kept_hit_costs_nothing),
        RULE("rule 40: fresh until the TTL passes, never after", test_kept_ttl),
        RULE("rule 40: a TTL of its own for a key", test_kept_ttl_of_one_key),
        RULE("rule 41: jitter shortens, deterministically", test_kept_jitter),
        RULE("rule 42: never above capacity", test_kept_capacity),
        RULE("rule 42: flights are bounded by the queue", test_kept_queue_limit),
    };
    return cmocka_run_group_tests_name("kept " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
