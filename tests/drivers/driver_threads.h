/* A caller is a thread, under any lock (CUSTOM counts as SPIN), that sleeps as the lock lets it sleep.
 *
 * Nothing here depends on who is how fast. A caller alone sends its own batch at once; so that
 * callers meet, the one place among the running batches (max_in_flight 1) is taken by a batch of the
 * driver's own, the plug, until let_go or until a blocking call of the test itself. With a settle
 * time there is no plug: callers wait for that. "Its keys are queued" is seen in the counters.
 */
#ifndef DLOAD_TESTS_DRIVER_THREADS_H
#define DLOAD_TESTS_DRIVER_THREADS_H

#include "driver.h"

#include <sched.h>

enum { OWN_KEYS = 990000, PATIENCE_S = 30 };

static struct {
    dload_status (*fetch)(tl_batch *b); /* the case's */
    bool plugged;
    tl_batch *plug;
    tl_waiter plug_w;
    size_t n_plugs, n_unplugged;
    dload_stats base; /* when the case began */
    pthread_t helper; /* see meanwhile */
    bool has_helper;
    uint32_t stop_helper; /* atomic */
    void (*meanwhile)(struct fixture *x);
    size_t n_out;
    dload_registry registry;
    pthread_barrier_t all_joined;
    bool ending; /* the case is over */
} threads;

static inline unsigned driver_bit(void)
{
    return TEST_LOCK == DLOAD_LOCK_PTHREAD ? ON_PTHREAD : ON_SPIN;
}

static inline uint64_t threads_self(void *ctx)
{
    (void)ctx;
    const dload_env *host = dload_env_default();
    return host->self(host->ctx);
}

static inline const dload_env *driver_env(struct fixture *x)
{
    return &x->f.env;
}

static inline dload_registry *driver_registry(void)
{
    return &threads.registry;
}

/* Some time for others; not for ever. At the end of a case the process ends with it: threads stand on
 * what the next case uses. */
static inline void threads_pause(uint64_t began_ns, size_t *n_rounds, const char *what)
{
    if (++*n_rounds < 100) {
        (void)sched_yield();
        return;
    }
    sleep_ms(1);
    if (real_ns() - began_ns < PATIENCE_S * DLOAD_SECOND) {
        return;
    }
    if (threads.ending) {
        print_error("%s: still waiting after %d s\n", what, PATIENCE_S);
        abort();
    }
    fail_msg("%s: still waiting after %d s", what, PATIENCE_S);
}

/* ---- the plug ---- */

static inline dload_status threads_fetch(tl_batch *b)
{
    if (b->keys[0] < OWN_KEYS) {
        return threads.fetch(b);
    }
    if (threads.plugged && !threads.plug) {
        threads.plug = b;
        return DLOAD_PENDING;
    }
    for (size_t i = 0; i < b->n; i++) {
        must_ok(tl_batch_set_ttl(b, i, &b->keys[i], 0));
    }
    return DLOAD_OK;
}

static inline void plug(struct fixture *x)
{
    if (threads.plugged) {
        return;
    }
    equal(x->cfg.max_in_flight, 1);
    memset(&threads.plug_w, 0, sizeof threads.plug_w);
    threads.plug = NULL;
    threads.plugged = true;
    dload_status st = tl_start(&x->l, OWN_KEYS + threads.n_plugs, &threads.plug_w);
    if (st == DLOAD_ECLOSED) {
        threads.plugged = false;
        return;
    }
    must(st, DLOAD_PENDING);
    (void)dispatch(x);
    assert_non_null(threads.plug);
    threads.n_plugs++;
}

static inline void unplug(struct fixture *x)
{
    (void)x;
    if (!threads.plugged) {
        return;
    }
    threads.plugged = false;
    threads.n_unplugged++;
    uint64_t value = 0;
    (void)tl_batch_set_ttl(threads.plug, 0, &value, 0); /* refused when the loader was closed */
    must_ok(tl_batch_done(threads.plug, DLOAD_OK));
}

static inline size_t driver_keys(void)
{
    return 1;
}

static inline size_t driver_crowd(void)
{
    return 1000;
}

static inline dload_stats driver_stats(struct fixture *x)
{
    (void)x;
    dload_stats own = threads.base;
    own.loads += threads.n_plugs;
    own.misses += threads.n_plugs;
    own.batches += threads.n_plugs;
    own.keys += threads.n_plugs;
    own.by_trigger[DLOAD_BY_EXPLICIT] += threads.n_plugs;
    own.store_skipped += threads.n_unplugged;
    return own;
}

/* ---- callers ---- */

static inline void *threads_caller(void *arg)
{
    caller_load(arg);
    return NULL;
}

static inline bool has_ended(struct fixture *x, size_t i)
{
    (void)x;
    assert_true(callers[i].asked);
    return __atomic_load_n(&callers[i].ended, __ATOMIC_ACQUIRE) != 0;
}

static inline void threads_ask(struct fixture *x, size_t i, const uint64_t *keys, size_t n,
                               const dload_call *call)
{
    struct caller *c = caller_make(x, i, keys, n, call);
    uint64_t before = stats_of(x).loads;
    uint64_t began_ns = real_ns();
    size_t n_rounds = 0;
    assert_int_equal(pthread_create(&c->thread, NULL, threads_caller, c), 0);
    /* Counted under the mutex that it holds until it sleeps. */
    while (!has_ended(x, i) && stats_of(x).loads < before + n) {
        threads_pause(began_ns, &n_rounds, "a caller asks");
    }
}

static inline void ask_with(struct fixture *x, size_t i, const uint64_t *keys, size_t n,
                            const dload_call *call)
{
    if (x->cfg.settle_ns == 0) {
        plug(x);
    }
    threads_ask(x, i, keys, n, call);
}

static inline void collect(struct fixture *x, size_t i)
{
    uint64_t began_ns = real_ns();
    size_t n_rounds = 0;
    while (!has_ended(x, i)) {
        threads_pause(began_ns, &n_rounds, "a caller comes back");
    }
    assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
    callers[i].asked = false;
}

static inline dload_status leaving_status(void)
{
    return DLOAD_ETIMEDOUT;
}

/* ---- life ---- */

static inline void driver_begin(struct fixture *x)
{
    memset(&threads, 0, sizeof threads);
    dload_registry_init(&threads.registry);
    x->f.env.wait = TEST_WAIT; /* the lock's own way of sleeping */
    x->f.env.wake = TEST_WAKE;
    x->f.env.self = threads_self;
    x->cfg.max_in_flight = 1; /* for cases that ask: what the plug takes is all there is */
}

/* Two callers in one batch: from here on a caller waits for company. */
static inline void find_company(struct fixture *x)
{
    static const uint64_t keys[2] = {OWN_KEYS + 8000, OWN_KEYS + 8001};
    plug(x);
    threads_ask(x, 0, &keys[0], 1, NULL);
    threads_ask(x, 1, &keys[1], 1, NULL);
    unplug(x); /* ends first: it had no company */
    (void)dispatch(x);
    collect(x, 0);
    collect(x, 1);
}

static inline void open_loader(struct fixture *x)
{
    threads.fetch = x->cfg.fetch;
    x->cfg.fetch = threads_fetch;
    x->cfg.env = driver_env(x);
    must_ok(tl_init(&x->l, &x->cfg));
    x->cfg.fetch = threads.fetch;
    x->open = true;
    memset(&threads.base, 0, sizeof threads.base);
    threads.n_plugs = threads.n_unplugged = 0;
    if (x->cfg.settle_ns != 0 && x->cfg.max_batch > 1) {
        find_company(x);
        threads.base = stats_of(x);
        threads.n_plugs = threads.n_unplugged = 0;
    }
}

static inline void threads_end_helper(void)
{
    __atomic_store_n(&threads.stop_helper, 1, __ATOMIC_RELEASE);
    if (threads.has_helper) {
        assert_int_equal(pthread_join(threads.helper, NULL), 0);
    }
    threads.has_helper = false;
}

/* Who still waits is let go by the close, also when the case failed with a batch in its hands. */
static inline void driver_end(struct fixture *x)
{
    threads.ending = true;
    if (!x->open) {
        return;
    }
    threads_end_helper();
    finish_all(x);
    unplug(x);
    dload_status st = tl_close(&x->l, DLOAD_FAIL, 1);
    for (size_t i = 0; i < N_CALLERS; i++) {
        if (callers[i].asked) {
            collect(x, i);
        }
    }
    x->open = false;
    must_ok(st);
    must_ok(tl_destroy(&x->l));
}

static inline void driver_run(void (*body)(struct fixture *x), struct fixture *x)
{
    body(x);
}

/* ---- what moves ---- */

static inline void let_go(struct fixture *x)
{
    if (x->cfg.settle_ns != 0) {
        (void)dispatch(x);
    }
    unplug(x);
}

static inline void tick(struct fixture *x)
{
    (void)x;
}

static inline void pass_to(struct fixture *x, uint64_t now_ns)
{
    unplug(x); /* its time would run out as well */
    clock_set(x, now_ns);
}

/* A thread looks every 100 ms at the latest, under SPIN every 50 us. */
static inline void give_time(struct fixture *x)
{
    (void)x;
    sleep_ms(TEST_LOCK == DLOAD_LOCK_SPIN ? 3 : 120);
}

static inline dload_status load_with(struct fixture *x, uint64_t key, const dload_call *call,
                                     uint64_t *out)
{
    unplug(x);
    dload_status st = tl_load_with(&x->l, key, call, out);
    threads_end_helper();
    return st;
}

static inline dload_status load_many_with(struct fixture *x, const uint64_t *keys, size_t n,
                                          const dload_call *call, uint64_t *out, dload_status *st)
{
    unplug(x);
    dload_status result = tl_load_many_with(&x->l, keys, n, call, out, st);
    threads_end_helper();
    return result;
}

static inline void *threads_helper(void *arg)
{
    struct fixture *x = arg;
    while (n_pending(x) < threads.n_out) {
        if (__atomic_load_n(&threads.stop_helper, __ATOMIC_ACQUIRE)) {
            return NULL;
        }
        sleep_ms(1);
    }
    threads.meanwhile(x);
    return NULL;
}

static inline void meanwhile(struct fixture *x, size_t n_out, void (*fn)(struct fixture *x))
{
    assert_false(threads.has_helper);
    threads.meanwhile = fn;
    threads.n_out = n_out;
    threads.stop_helper = 0;
    threads.has_helper = true;
    assert_int_equal(pthread_create(&threads.helper, NULL, threads_helper, x), 0);
}

static inline dload_status close_loader(struct fixture *x, dload_close_mode mode,
                                        uint64_t deadline_ns)
{
    assert_false(threads.plugged); /* close cases have a settle time */
    dload_status st = tl_close(&x->l, mode, deadline_ns);
    threads_end_helper();
    return st;
}

/* ---- callers of their own ---- */

struct threads_each {
    struct fixture *x;
    void (*fn)(struct fixture *x, size_t i);
};

static inline void threads_each_one(void *ctx, size_t i)
{
    const struct threads_each *e = ctx;
    e->fn(e->x, i);
}

static inline void each_caller(struct fixture *x, size_t n, void (*fn)(struct fixture *x, size_t i))
{
    struct threads_each e = {x, fn};
    unplug(x);
    run_threads(n, threads_each_one, &e);
}

static inline void threads_walk_one(void *ctx, size_t i)
{
    struct walker *k = &((struct walker *)ctx)[i];
    k->i = i;
    while (k->next(k)) {
        k->status = tl_load(k->l, k->key, &k->value);
        k->at++;
    }
    k->ended = 1;
}

static inline void walk(struct fixture *x, struct walker *walkers, size_t n)
{
    unplug(x);
    run_threads(n, threads_walk_one, walkers);
}

static inline void threads_walk_crew(void *ctx, size_t i)
{
    must_ok(dload_registry_join(&threads.registry));
    (void)pthread_barrier_wait(&threads.all_joined); /* before the first of them loads */
    threads_walk_one(ctx, i);
    must_ok(dload_registry_leave(&threads.registry)); /* the others do not wait for it */
}

static inline void walk_as_crew(struct fixture *x, struct walker *walkers, size_t n)
{
    unplug(x);
    assert_int_equal(pthread_barrier_init(&threads.all_joined, NULL, (unsigned)n), 0);
    run_threads(n, threads_walk_crew, walkers);
    (void)pthread_barrier_destroy(&threads.all_joined);
}

#define DRIVER_LOADER DRIVER_LOADER_BLOCKING
DRIVER_LOADER(tl, uint64_t, uint64_t);

#endif /* DLOAD_TESTS_DRIVER_THREADS_H */
