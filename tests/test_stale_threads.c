/* Old values among threads. Sixty-four threads want a key whose TTL has passed: one of them fetches it, and
 * the fetch function does not return before all others have the old value, so that one who waited would
 * hang the round. Then everything at once: expiry, failures, clears, deadlines, early refreshes. Rules 40
 * and 43. */
/* locks: SPIN PTHREAD */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_REFRESH   1
#include "test_loader.h"

#ifdef TEST_LOCK
#define DLOAD_LOCK TEST_LOCK
#endif
#define DLOAD_NAME    ml
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   uint64_t
#define DLOAD_REFRESH 1
#define DLOAD_CLOCK   DLOAD_CLOCK_MANUAL
#include "dataloader.h"

#include <pthread.h>

enum { N_THREADS = 64, KEY = 7, PATIENCE_MS = 30000 };

#define TICK (UINT64_C(1) << 20)

static size_t add(size_t *n)
{
    return __atomic_add_fetch(n, 1, __ATOMIC_ACQ_REL);
}

static size_t get(const size_t *n)
{
    return __atomic_load_n(n, __ATOMIC_ACQUIRE);
}

/* ---- rounds ---- */

static struct rounds {
    ml l;
    pthread_barrier_t barrier;
    size_t n_rounds;
    size_t n_fetches;
    size_t n_old, n_new, n_wrong; /* answers of this round */
    size_t n_alone;               /* fetches that gave up waiting for the others */
    bool fails;                   /* this round's fetch */
    uint64_t last;                /* the value before this round */
} r;

static dload_status fetch_last(ml_batch *b)
{
    size_t n = add(&r.n_fetches);
    if (n > 1) {
        int ms = 0;
        while (get(&r.n_old) < N_THREADS - 1 && ms < PATIENCE_MS) {
            sleep_ms(1);
            ms++;
        }
        r.n_alone += ms == PATIENCE_MS;
    }
    const uint64_t value = n;
    return r.fails ? DLOAD_EFETCH : ml_batch_set(b, 0, &value);
}

static void one_round(size_t round, bool leads)
{
    if (leads) {
        must_ok(ml_process(&r.l, round * 1000 * TICK));
        r.n_old = r.n_new = 0;
        r.fails = round % 4 == 3;
    }
    pthread_barrier_wait(&r.barrier);
    uint64_t got = 0;
    dload_status st = ml_load(&r.l, KEY, &got);
    if (st == DLOAD_STALE && got == r.last) {
        add(&r.n_old);
    } else if (st == DLOAD_OK && got == round + 1) {
        add(&r.n_new);
    } else {
        add(&r.n_wrong);
    }
    pthread_barrier_wait(&r.barrier);
    if (leads) {
        /* one fetch for each round, and one for the first value */
        r.n_wrong += get(&r.n_fetches) != round + 1;
        r.n_wrong += r.n_new != (r.fails ? 0 : 1);
        r.n_wrong += r.n_old != (r.fails ? N_THREADS : N_THREADS - 1);
        r.last = r.fails ? r.last : round + 1;
    }
    pthread_barrier_wait(&r.barrier);
}

static void all_rounds(void *ctx, size_t i)
{
    (void)ctx;
    for (size_t round = 1; round <= r.n_rounds; round++) {
        one_round(round, i == 0);
    }
}

static void one_fetches_and_nobody_else_waits(void **state)
{
    (void)state;
    struct fake_env f;
    fake_env_init_real(&f);
    memset(&r, 0, sizeof r);
    r.n_rounds = scaled(100);
    ml_config cfg = ml_config_default();
    cfg.env = &f.env;
    cfg.fetch = fetch_last;
    cfg.ttl_ns = 1000 * TICK; /* a round's time */
    cfg.stale_ns = cfg.stale_error_ns = 100000 * TICK;
    cfg.timeout_ns = cfg.run_limit_ns = DLOAD_NEVER;
    must_ok(ml_init(&r.l, &cfg));
    uint64_t got = 0;
    must_ok(ml_load(&r.l, KEY, &got));
    r.last = got;
    pthread_barrier_init(&r.barrier, NULL, N_THREADS);
    run_threads(N_THREADS, all_rounds, NULL);
    pthread_barrier_destroy(&r.barrier);
    equal(r.n_alone, 0);
    equal(r.n_wrong, 0);
    dload_stats s = {0};
    must_ok(ml_stats(&r.l, &s));
    equal(s.refreshes, r.n_rounds);
    equal(s.joins, 0);
    equal(s.stale_hits, r.n_rounds * (N_THREADS - 1));
    equal(s.served_on_error, r.n_rounds / 4);
    equal(s.loads, 1 + r.n_rounds * N_THREADS);
    must_ok(ml_close(&r.l, DLOAD_DRAIN, 0));
    must_ok(ml_destroy(&r.l));
    fake_env_check(&f);
}

/* ---- everything at once ---- */

enum { N_KEYS = 8, N_LOADERS = 12 };

static struct storm {
    tl l;
    uint64_t stamp;           /* the last fetch's number; atomic */
    uint64_t floor_[N_KEYS];  /* older values than this were cleared; atomic */
    size_t n_stale, n_errors; /* answers */
    size_t n_old;             /* values from before a clear */
    size_t n_odd;             /* statuses that nobody should see */
    uint64_t seed;
} g;

static dload_status storm_fetch(tl_batch *b)
{
    uint64_t stamp = __atomic_add_fetch(&g.stamp, 1, __ATOMIC_SEQ_CST);
    uint64_t chance = stamp * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    if (chance % 16 == 0) {
        sleep_ms(1);
    }
    for (size_t i = 0; i < b->n; i++) {
        uint64_t kind = (chance + i * 7) % 16;
        if (kind == 1) {
            (void)tl_batch_fail(b, i, DLOAD_EFETCH);
        } else if (kind != 2) {
            (void)tl_batch_set_ttl(b, i, &stamp, kind == 3 ? 0 : 2 * TICK + (kind << 18));
        }
    }
    return chance % 32 == 5 ? DLOAD_EFETCH : DLOAD_OK;
}

static void storm_load(uint64_t *rand)
{
    uint64_t key = rng_below(rand, N_KEYS);
    uint64_t floor_ = __atomic_load_n(&g.floor_[key], __ATOMIC_SEQ_CST);
    uint64_t got = 0;
    dload_call call = {0};
    if (rng_below(rand, 8) == 0) {
        call.deadline_ns = tl_now(&g.l) + rng_below(rand, 300000);
    }
    call.flags = rng_below(rand, 64) == 0 ? DLOAD_FRESH : 0;
    dload_status st = tl_load_with(&g.l, key, &call, &got);
    if (st >= 0) {
        if (got <= floor_) {
            add(&g.n_old);
        }
        if (st == DLOAD_STALE) {
            add(&g.n_stale);
        }
        if (st == DLOAD_STALE && call.flags != 0) {
            add(&g.n_odd);
        }
    } else if (st == DLOAD_EFETCH) {
        add(&g.n_errors);
    } else if (st != DLOAD_MISSING && st != DLOAD_ETIMEDOUT) {
        add(&g.n_odd);
    }
}

static void storm_clear(uint64_t *rand)
{
    uint64_t key = rng_below(rand, N_KEYS);
    uint64_t seen = __atomic_load_n(&g.stamp, __ATOMIC_SEQ_CST);
    if (rng_below(rand, 8) != 0) {
        must_ok(tl_clear(&g.l, key));
    } else {
        must_ok(tl_clear_all(&g.l));
    }
    uint64_t before = __atomic_load_n(&g.floor_[key], __ATOMIC_SEQ_CST);
    while (before < seen && !__atomic_compare_exchange_n(&g.floor_[key], &before, seen, false,
                                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
}

static void storm_thread(void *ctx, size_t i)
{
    (void)ctx;
    uint64_t rand = g.seed + i;
    for (size_t n = scaled(3000); n > 0; n--) {
        if (rng_below(&rand, 200) == 0) {
            storm_clear(&rand);
        } else if (rng_below(&rand, 100) == 0) {
            must_ok(tl_process(&g.l, tl_now(&g.l)));
        } else if (rng_below(&rand, 50) == 0) {
            sleep_ms(1);
        } else {
            storm_load(&rand);
        }
    }
}

static void nothing_cleared_comes_back_and_nobody_hangs(void **state)
{
    (void)state;
    struct fake_env f;
    fake_env_init_real(&f);
    memset(&g, 0, sizeof g);
    g.seed = test_seed("stale storm");
    tl_config cfg = tl_config_default();
    cfg.env = &f.env;
    cfg.fetch = storm_fetch;
    cfg.stale_ns = 2 * TICK;
    cfg.stale_error_ns = 4 * TICK;
    cfg.refresh_ahead_pct = 100;
    cfg.idle_ttl_ns = 40 * TICK;
    must_ok(tl_init(&g.l, &cfg));
    run_threads(N_LOADERS, storm_thread, NULL);
    equal(g.n_old, 0);
    equal(g.n_odd, 0);
    assert_true(g.n_stale > 0);
    dload_stats s = {0};
    must_ok(tl_stats(&g.l, &s));
    equal(s.hits + s.joins + s.misses, s.loads);
    must_ok(tl_close(&g.l, DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&g.l));
    fake_env_check(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_fetches_and_nobody_else_waits),
        cmocka_unit_test(nothing_cleared_comes_back_and_nobody_hangs),
    };
    return cmocka_run_group_tests_name("stale_threads", tests, NULL, NULL);
}
