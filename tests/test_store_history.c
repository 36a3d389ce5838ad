/* A source that changes, a store that is slow and fails, threads that load and clear: no load that began after a
 * clear had returned yields what was there before it, from the cache, the store or the function. Blocking, and
 * with a loop whose store completes requests later, in any order. SEED= repeats the choices. */
/* locks: SPIN PTHREAD */
#define DLOAD_I_RETRY_NS (100 * DLOAD_MICROSECOND) /* or one clear that failed is the whole test */
#include "test_store_loader.h"
#include <sched.h>

#define N_KEYS    12u
#define N_THREADS 6u

/* Versions are the upper half of a value, its key the lower one. */
static uint32_t current[N_KEYS];  /* what the source has; atomic */
static uint32_t promised[N_KEYS]; /* ... at least, by clears that returned; atomic */

static void dawdle(uint64_t *seed)
{
    for (uint64_t n = rng_below(seed, 4); n-- > 0;) {
        (void)sched_yield();
    }
}

static __thread uint64_t own_seed;

static dload_status source(tl_batch *b)
{
    uint64_t values[64];
    assert_true(b->n <= COUNT(values));
    for (size_t i = 0; i < b->n; i++) {
        uint32_t version = __atomic_load_n(&current[b->keys[i]], __ATOMIC_SEQ_CST);
        values[i] = (uint64_t)version << 32 | b->keys[i];
    }
    dawdle(&own_seed); /* what was read grows old */
    for (size_t i = 0; i < b->n; i++) {
        must_ok(tl_batch_set(b, i, &values[i]));
    }
    return DLOAD_OK;
}

static void check(uint64_t key, uint64_t value, uint32_t at_least)
{
    uint32_t version = (uint32_t)(value >> 32);
    if ((uint32_t)value != key || version < at_least) {
        fail_msg("key %" PRIu64 ": got %" PRIu64 " of version %u, but %u was promised", key,
                 value & UINT32_MAX, version, at_least);
    }
}

static void promise(uint64_t key, uint32_t version)
{
    uint32_t old = __atomic_load_n(&promised[key], __ATOMIC_SEQ_CST);
    while (old < version && !__atomic_compare_exchange_n(&promised[key], &old, version, false,
                                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
}

static bool by_request; /* loads do not block: the loop answers them */

struct asked {
    tl_waiter w;
    uint32_t ended; /* atomic */
};

static void asked_done(tl_waiter *w)
{
    struct asked *a = w->ctx;
    __atomic_store_n(&a->ended, 1, __ATOMIC_RELEASE);
}

static void load(struct fixture *x, const uint64_t *keys, size_t n, uint64_t *out)
{
    struct asked a[4] = {0};
    dload_status st[4];
    if (!by_request) {
        must_ok(tl_load_many(&x->l, keys, n, out, st));
        for (size_t i = 0; i < n; i++) {
            must_ok(st[i]);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        a[i].w.done = asked_done;
        a[i].w.ctx = &a[i];
        st[i] = tl_start(&x->l, keys[i], &a[i].w);
    }
    for (size_t i = 0; i < n; i++) {
        while (st[i] == DLOAD_PENDING && !__atomic_load_n(&a[i].ended, __ATOMIC_ACQUIRE)) {
            (void)sched_yield();
        }
        must_ok(a[i].w.status);
        out[i] = a[i].w.value;
    }
}

/* One step of somebody: loads, or writes and clears. */
static void step(struct fixture *x, uint64_t *seed)
{
    uint64_t keys[4], out[4];
    uint32_t least[4], versions[4];
    size_t n = 1 + rng_below(seed, 4);
    uint64_t what = rng_below(seed, 64);
    uint64_t first = rng_below(seed, N_KEYS);
    for (size_t i = 0; i < n; i++) {
        keys[i] = (first + i) % N_KEYS;
        least[i] = __atomic_load_n(&promised[keys[i]], __ATOMIC_SEQ_CST);
    }
    if (what < 48) {
        load(x, keys, n, out);
        for (size_t i = 0; i < n; i++) {
            check(keys[i], out[i], least[i]);
        }
        return;
    }
    if (what < 52) {
        must_ok(tl_clear_all_local(&x->l));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        versions[i] = __atomic_add_fetch(&current[keys[i]], 1, __ATOMIC_SEQ_CST);
    }
    must_ok(what == 63  ? tl_clear_all(&x->l)
            : what < 60 ? tl_clear_many(&x->l, keys, n)
                        : tl_clear(&x->l, keys[0]));
    for (size_t i = 0; i < (what >= 60 && what < 63 ? 1 : n); i++) {
        promise(keys[i], versions[i]);
    }
}

static void slow_store(struct script_store *t, dload_store_op *op)
{
    (void)t;
    (void)op;
    dawdle(&own_seed);
}

static uint64_t seed_of_all;
static uint32_t n_working; /* atomic */

static void worker(void *ctx, size_t i)
{
    struct fixture *x = ctx;
    uint64_t seed = seed_of_all + i;
    own_seed = seed * 31;
    for (size_t n = scaled(1500); n-- > 0;) {
        step(x, &seed);
    }
    (void)__atomic_sub_fetch(&n_working, 1, __ATOMIC_SEQ_CST);
}

static void open_history(struct fixture *x, const char *who)
{
    seed_of_all = test_seed(who);
    memset(current, 0, sizeof current);
    memset(promised, 0, sizeof promised);
    fake_env_init_real(&x->f);
    x->cfg.fetch = source;
    x->cfg.capacity = 8; /* so that the store is asked */
    x->cfg.max_batch = 8;
    script.act = slow_store;
    script.fails_1_in = 10;
    script.seed = seed_of_all;
    fixture_open(x);
}

static bool has_seen_all(struct fixture *x)
{
    dload_stats s = stats_of(x);
    return s.store_hits > 0 && s.store_writes > 0 && s.store_deletes > 0 && s.store_errors > 0;
}

/* Where threads hardly run beside each other, a clear that failed may bar the store nearly all the time: then they do
 * it again, until there was something to go wrong. */
static void run_history(struct fixture *x, size_t n, void (*body)(void *ctx, size_t i))
{
    for (int round = 0; round < 20 && (round == 0 || !has_seen_all(x)); round++) {
        n_working = N_THREADS;
        run_threads(n, body, x);
        seed_of_all += 1000;
    }
}

static void close_history(struct fixture *x)
{
    assert_true(has_seen_all(x));
    equal(stats_of(x).store_refused, 0);
}

static void threads(void **state)
{
    struct fixture *x = *state;
    open_history(x, "test_store_history threads");
    run_history(x, N_THREADS, worker);
    close_history(x);
}

/* ---- a loop and a store's thread beside them ---- */

static void no_wake(void *ctx)
{
    (void)ctx;
}

static void looped(void *ctx, size_t i)
{
    struct fixture *x = ctx;
    uint64_t seed = seed_of_all + i;
    own_seed = seed * 31;
    if (i < N_THREADS) {
        worker(ctx, i);
        return;
    }
    while (__atomic_load_n(&n_working, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&script.mutex);
        size_t n = script.n_waiting;
        pthread_mutex_unlock(&script.mutex);
        if (i == N_THREADS) {
            must_ok(tl_process(&x->l, tl_now(&x->l)));
            (void)sched_yield();
        } else if (n) {
            script_complete(&script, rng_below(&seed, n));
        } else {
            (void)sched_yield();
        }
    }
}

static void settle(struct fixture *x)
{
    do {
        must_ok(tl_process(&x->l, tl_now(&x->l)));
        while (script.n_waiting) {
            script_complete(&script, 0);
        }
    } while (tl_next_deadline(&x->l) != DLOAD_NEVER);
}

static void threads_and_a_loop(void **state)
{
    struct fixture *x = *state;
    by_request = true;
    x->cfg.wake = no_wake;
    script.late = true;
    open_history(x, "test_store_history loop");
    run_history(x, N_THREADS + 2, looped);
    script.fails_1_in = 0;
    settle(x);
    close_history(x);
    by_request = false;
}

/* Threads that block beside the loop. */
static void sleepers_and_a_loop(void **state)
{
    struct fixture *x = *state;
    x->cfg.wake = no_wake;
    script.late = true;
    open_history(x, "test_store_history sleepers");
    run_history(x, N_THREADS + 2, looped);
    script.fails_1_in = 0;
    settle(x);
    close_history(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_RULE("threads", threads),
        STORE_RULE("threads and a loop", threads_and_a_loop),
        STORE_RULE("sleepers and a loop", sleepers_and_a_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
