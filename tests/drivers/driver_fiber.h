/* A caller is a task that is parked in a blocking call (adapters/dataloader_fiber.h). The test is a
 * task as well, so that it decides when all of them wait, which is when batches go.
 */
#ifndef DLOAD_TESTS_DRIVER_FIBER_H
#define DLOAD_TESTS_DRIVER_FIBER_H

#include "driver.h"
#include "adapters/dataloader_fiber.h"

static struct {
    dload_fiber_sched sched;
    void (*body)(struct fixture *x);
    uint32_t n_signals; /* what the test waits on for others to have had their turn */
    size_t n_out;
    void (*meanwhile)(struct fixture *x);
    bool has_helper, stop_helper;
    bool over; /* the test has come to its end */
} fibers;

static inline unsigned driver_bit(void)
{
    return ON_FIBER;
}

static inline const dload_env *driver_env(struct fixture *x)
{
    (void)x;
    return dload_fiber_env(&fibers.sched);
}

static inline dload_registry *driver_registry(void)
{
    return dload_fiber_registry(&fibers.sched);
}

/* ---- turns ---- */

static inline void fibers_signal(void *arg)
{
    (void)arg;
    const dload_env *env = dload_fiber_env(&fibers.sched);
    fibers.n_signals++;
    env->wake(env->ctx, &fibers.n_signals);
}

/* Every task that was made goes on until it waits; nothing is sent. A task behind them wakes this
 * one, so that the scheduler never finds all of them waiting. */
static inline void fibers_let_others_begin(void)
{
    const dload_env *env = dload_fiber_env(&fibers.sched);
    uint32_t seen = fibers.n_signals;
    must_ok(dload_fiber_spawn(&fibers.sched, fibers_signal, NULL));
    while (fibers.n_signals == seen) {
        must_ok(env->wait(env->ctx, &fibers.n_signals, seen, DLOAD_NEVER));
    }
}

static inline void tick(struct fixture *x)
{
    (void)x;
    dload_fiber_yield(&fibers.sched);
}

static inline void let_go(struct fixture *x)
{
    tick(x);
}

static inline void give_time(struct fixture *x)
{
    tick(x);
}

static inline void pass_to(struct fixture *x, uint64_t now_ns)
{
    clock_set(x, now_ns);
    tick(x);
    tick(x);
}

/* ---- life ---- */

/* All tasks wait, the test among them: time passes. */
static inline void fibers_pump(void *ctx)
{
    struct fixture *x = ctx;
    if (x->f.last_until == DLOAD_NEVER) {
        fail_msg("every task waits, and nothing will come");
    }
    clock_set(x, x->f.last_until);
}

static inline void driver_begin(struct fixture *x)
{
    memset(&fibers, 0, sizeof fibers);
    dload_fiber_config cfg = {.env = &x->f.env, .stack_bytes = 262144};
    x->f.pump = fibers_pump;
    x->f.pump_ctx = x;
    must_ok(dload_fiber_init(&fibers.sched, &cfg));
}

static inline void open_loader(struct fixture *x)
{
    x->cfg.env = driver_env(x);
    x->cfg.registry = driver_registry();
    fixture_open(x);
}

static inline bool has_ended(struct fixture *x, size_t i)
{
    (void)x;
    assert_true(callers[i].asked);
    return callers[i].ended != 0;
}

static inline void collect(struct fixture *x, size_t i)
{
    for (size_t n_turns = 0; !has_ended(x, i); n_turns++) {
        if (n_turns > 1000) {
            fail_msg("caller %zu does not come back", i);
        }
        tick(x);
    }
    callers[i].asked = false;
}

/* Who still waits is let go by the close. */
static inline void fibers_script(void *arg)
{
    struct fixture *x = arg;
    fibers.body(x);
    fibers.stop_helper = true;
    fibers.over = true;
    if (!x->open) {
        return;
    }
    finish_all(x);
    must_ok(tl_close(&x->l, DLOAD_FAIL, 0));
    for (size_t i = 0; i < N_CALLERS; i++) {
        if (callers[i].asked) {
            collect(x, i);
        }
    }
    must_ok(tl_destroy(&x->l));
    x->open = false;
}

static inline void driver_run(void (*body)(struct fixture *x), struct fixture *x)
{
    fibers.body = body;
    must_ok(dload_fiber_spawn(&fibers.sched, fibers_script, x));
    must_ok(dload_fiber_run(&fibers.sched));
}

static inline void driver_end(struct fixture *x)
{
    (void)x;
    if (fibers.over) { /* else it failed, and its tasks stay where they were */
        must_ok(dload_fiber_destroy(&fibers.sched));
    }
}

/* ---- callers ---- */

static inline void fibers_caller(void *arg)
{
    caller_load(arg);
}

static inline void ask_with(struct fixture *x, size_t i, const uint64_t *keys, size_t n,
                            const dload_call *call)
{
    struct caller *c = caller_make(x, i, keys, n, call);
    must_ok(dload_fiber_spawn(&fibers.sched, fibers_caller, c));
    fibers_let_others_begin();
}

static inline dload_status leaving_status(void)
{
    return DLOAD_ETIMEDOUT;
}

static inline dload_status load_with(struct fixture *x, uint64_t key, const dload_call *call,
                                     uint64_t *out)
{
    return tl_load_with(&x->l, key, call, out);
}

static inline dload_status load_many_with(struct fixture *x, const uint64_t *keys, size_t n,
                                          const dload_call *call, uint64_t *out, dload_status *st)
{
    return tl_load_many_with(&x->l, keys, n, call, out, st);
}

static inline void fibers_helper(void *arg)
{
    struct fixture *x = arg;
    while (x->r.n_pending < fibers.n_out && !fibers.stop_helper) {
        dload_fiber_yield(&fibers.sched);
    }
    if (!fibers.stop_helper) {
        fibers.meanwhile(x);
    }
    fibers.has_helper = false;
}

static inline void meanwhile(struct fixture *x, size_t n_out, void (*fn)(struct fixture *x))
{
    assert_false(fibers.has_helper);
    fibers.meanwhile = fn;
    fibers.n_out = n_out;
    fibers.stop_helper = false;
    fibers.has_helper = true;
    must_ok(dload_fiber_spawn(&fibers.sched, fibers_helper, x));
}

static inline dload_status close_loader(struct fixture *x, dload_close_mode mode,
                                        uint64_t deadline_ns)
{
    return tl_close(&x->l, mode, deadline_ns);
}

/* ---- callers of their own ---- */

struct fibers_each {
    struct fixture *x;
    void (*fn)(struct fixture *x, size_t i);
    size_t i;
    size_t *n_left;
};

static inline void fibers_each_one(void *arg)
{
    const struct fibers_each *e = arg;
    e->fn(e->x, e->i);
    --*e->n_left;
}

static inline void each_caller(struct fixture *x, size_t n, void (*fn)(struct fixture *x, size_t i))
{
    struct fibers_each *all = calloc(n, sizeof *all);
    size_t n_left = n;
    assert_non_null(all);
    for (size_t i = 0; i < n; i++) {
        all[i] = (struct fibers_each){x, fn, i, &n_left};
        must_ok(dload_fiber_spawn(&fibers.sched, fibers_each_one, &all[i]));
    }
    while (n_left) {
        tick(x);
    }
    free(all);
}

static inline void fibers_walk_one(void *arg)
{
    struct walker *k = arg;
    while (k->next(k)) {
        k->status = tl_load(k->l, k->key, &k->value);
        k->at++;
    }
    k->ended = 1;
}

static inline void walk(struct fixture *x, struct walker *walkers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        walkers[i].i = i;
        must_ok(dload_fiber_spawn(&fibers.sched, fibers_walk_one, &walkers[i]));
    }
    for (size_t i = 0; i < n; i++) {
        while (!walkers[i].ended) {
            tick(x);
        }
    }
}

/* Nothing goes while one of them has something else to do. */
static inline void walk_as_crew(struct fixture *x, struct walker *walkers, size_t n)
{
    walk(x, walkers, n);
}

static inline size_t driver_keys(void)
{
    return 0;
}

static inline size_t driver_crowd(void)
{
    return DLOAD_FIBER_I_TSAN ? 300 : 1000; /* it keeps megabytes for each */
}

static inline dload_stats driver_stats(struct fixture *x)
{
    (void)x;
    dload_stats none;
    memset(&none, 0, sizeof none);
    return none;
}

#define DRIVER_LOADER DRIVER_LOADER_BLOCKING
DRIVER_LOADER(tl, uint64_t, uint64_t);

#endif /* DLOAD_TESTS_DRIVER_FIBER_H */
