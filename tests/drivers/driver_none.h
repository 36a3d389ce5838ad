/* No lock, one thread: requests, _dispatch, and blocking calls from the test itself, which pump. */
#ifndef DLOAD_TESTS_DRIVER_NONE_H
#define DLOAD_TESTS_DRIVER_NONE_H

#include "requests.h"

static struct {
    dload_registry registry;
    void (*meanwhile)(struct fixture *x);
    size_t n_out;
} none;

static inline unsigned driver_bit(void)
{
    return ON_NONE;
}

static inline const dload_env *driver_env(struct fixture *x)
{
    return &x->f.env;
}

static inline dload_registry *driver_registry(void)
{
    return &none.registry;
}

/* A blocking call waits: somebody does something, or time passes until its end. */
static inline void none_pump(void *ctx)
{
    struct fixture *x = ctx;
    void (*fn)(struct fixture * x) = none.meanwhile;
    if (fn && x->r.n_pending >= none.n_out) {
        none.meanwhile = NULL;
        fn(x);
    } else if (x->f.last_until != DLOAD_NEVER) {
        clock_set(x, x->f.last_until);
    } else {
        fail_msg("a blocking call waits for ever");
    }
}

static inline void driver_begin(struct fixture *x)
{
    memset(&none, 0, sizeof none);
    dload_registry_init(&none.registry);
    x->f.pump = none_pump;
    x->f.pump_ctx = x;
}

static inline void open_loader(struct fixture *x)
{
    x->cfg.env = driver_env(x);
    x->cfg.registry = driver_registry();
    fixture_open(x);
}

static inline void driver_end(struct fixture *x)
{
    if (x->open) {
        finish_all(x);
        fixture_close(x);
    }
}

static inline void driver_run(void (*body)(struct fixture *x), struct fixture *x)
{
    body(x);
}

static inline void let_go(struct fixture *x)
{
    (void)dispatch(x);
}

/* Not when nothing is due: what has expired must not be found, processed or not. */
static inline void tick(struct fixture *x)
{
    if (tl_next_deadline(&x->l) <= x->f.now_ns) {
        must_ok(tl_process(&x->l, x->f.now_ns));
    }
}

static inline void pass_to(struct fixture *x, uint64_t now_ns)
{
    clock_set(x, now_ns);
    tick(x);
    leave_at_deadlines(x);
}

static inline void give_time(struct fixture *x)
{
    tick(x);
}

static inline void collect(struct fixture *x, size_t i)
{
    assert_true(has_ended(x, i));
    request_results(&callers[i]);
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

static inline void meanwhile(struct fixture *x, size_t n_out, void (*fn)(struct fixture *x))
{
    (void)x;
    none.meanwhile = fn;
    none.n_out = n_out;
}

static inline dload_status close_loader(struct fixture *x, dload_close_mode mode,
                                        uint64_t deadline_ns)
{
    return tl_close(&x->l, mode, deadline_ns);
}

static inline void each_caller(struct fixture *x, size_t n, void (*fn)(struct fixture *x, size_t i))
{
    for (size_t i = 0; i < n; i++) {
        fn(x, i);
    }
}

static inline void walk(struct fixture *x, struct walker *walkers, size_t n)
{
    (void)x;
    walkers_begin(walkers, n);
    while (!walkers_ended(walkers, n)) {
        assert_true(dload_registry_round(&none.registry, NULL));
    }
}

/* Nothing goes while one of them has something else to do. */
static inline void walk_as_crew(struct fixture *x, struct walker *walkers, size_t n)
{
    walk(x, walkers, n);
}

#define DRIVER_LOADER DRIVER_LOADER_BLOCKING
DRIVER_LOADER(tl, uint64_t, uint64_t);

#endif /* DLOAD_TESTS_DRIVER_NONE_H */
