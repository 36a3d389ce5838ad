/* An event loop in one thread: requests, config.wake, _process, a timer at _next_deadline. A loader
 * gets a turn only when it has woken the loop or its timer is over, as in a loop that sleeps. */
#ifndef DLOAD_TESTS_DRIVER_LOOP_H
#define DLOAD_TESTS_DRIVER_LOOP_H

#include "requests.h"

/* A loader in the loop. */
struct loop_member {
    void *l; /* NULL = no longer */
    dload_status (*process)(void *l, uint64_t now_ns);
    uint64_t (*next_deadline)(void *l);
    size_t n_wakes; /* not served yet */
    uint64_t timer_ns;
};

static struct {
    struct loop_member members[8];
    size_t n_members;
    void (*meanwhile)(struct fixture *x);
    size_t n_out;
} loop;

static inline unsigned driver_bit(void)
{
    return ON_LOOP;
}

static inline const dload_env *driver_env(struct fixture *x)
{
    return &x->f.env;
}

static inline dload_registry *driver_registry(void)
{
    return NULL;
}

static inline void loop_wake(void *ctx)
{
    ((struct loop_member *)ctx)->n_wakes++;
}

static inline struct loop_member *loop_add(void *l, dload_status (*process)(void *, uint64_t),
                                           uint64_t (*next_deadline)(void *))
{
    assert_true(loop.n_members < COUNT(loop.members));
    struct loop_member *m = &loop.members[loop.n_members++];
    *m = (struct loop_member){l, process, next_deadline, 0, DLOAD_NEVER};
    return m;
}

static inline void loop_remove(const void *l)
{
    for (size_t i = 0; i < loop.n_members; i++) {
        if (loop.members[i].l == l) {
            loop.members[i].l = NULL;
        }
    }
}

/* One turn; was there anything to do? */
static inline bool loop_turn(struct fixture *x)
{
    bool any = false;
    for (size_t i = 0; i < loop.n_members; i++) {
        struct loop_member *m = &loop.members[i];
        if (!m->l || (m->n_wakes == 0 && x->f.now_ns < m->timer_ns)) {
            continue;
        }
        any = true;
        m->n_wakes = 0;
        must_ok(m->process(m->l, x->f.now_ns));
        m->timer_ns = m->next_deadline(m->l);
    }
    return any;
}

static inline void tick(struct fixture *x)
{
    size_t n_turns = 0;
    while (loop_turn(x)) {
        if (++n_turns > 10000) {
            fail_msg("a loop without end");
        }
    }
}

/* Nothing is due: somebody does something, or time passes until the next timer or until_ns. */
static inline void loop_sleep(struct fixture *x, uint64_t until_ns)
{
    void (*fn)(struct fixture * x) = loop.meanwhile;
    if (fn && x->r.n_pending >= loop.n_out) {
        loop.meanwhile = NULL;
        fn(x);
        return;
    }
    for (size_t i = 0; i < loop.n_members; i++) {
        const struct loop_member *m = &loop.members[i];
        until_ns = m->l && m->timer_ns < until_ns ? m->timer_ns : until_ns;
    }
    if (until_ns == DLOAD_NEVER) {
        fail_msg("the loop would sleep for ever");
    }
    clock_set(x, until_ns);
}

/* Nobody sleeps in a loop's thread but the loop. */
static inline dload_status loop_no_wait(void *ctx, const uint32_t *word, uint32_t seen,
                                        uint64_t until_ns)
{
    (void)ctx;
    (void)word;
    (void)seen;
    (void)until_ns;
    return DLOAD_EAGAIN;
}

static inline void driver_begin(struct fixture *x)
{
    memset(&loop, 0, sizeof loop);
    x->f.env.wait = loop_no_wait;
    x->f.env.wake = NULL;
}

#define DRIVER_LOADER(T, K, V)                                                 \
    static inline dload_status T##_loop_process(void *l, uint64_t now_ns)      \
    {                                                                          \
        return T##_process((T *)l, now_ns);                                    \
    }                                                                          \
    static inline uint64_t T##_loop_deadline(void *l)                          \
    {                                                                          \
        return T##_next_deadline((T *)l);                                      \
    }                                                                          \
    static inline void T##_bring_up(struct fixture *x, T *l, T##_config *cfg)  \
    {                                                                          \
        cfg->env = driver_env(x);                                              \
        cfg->wake = loop_wake;                                                 \
        cfg->wake_ctx = loop_add(l, T##_loop_process, T##_loop_deadline);      \
        must_ok(T##_init(l, cfg));                                             \
    }                                                                          \
    static inline void T##_take_down(struct fixture *x, T *l)                  \
    {                                                                          \
        (void)x;                                                               \
        must_ok(T##_close(l, DLOAD_FAIL, 0));                                  \
        must_ok(T##_destroy(l));                                               \
        loop_remove(l);                                                        \
    }                                                                          \
    static inline void T##_loop_done(T##_waiter *w)                            \
    {                                                                          \
        *(bool *)w->ctx = true;                                                \
    }                                                                          \
    static inline dload_status T##_get(struct fixture *x, T *l, K key, V *out) \
    {                                                                          \
        bool done = false;                                                     \
        T##_waiter w;                                                          \
        memset(&w, 0, sizeof w);                                               \
        w.done = T##_loop_done;                                                \
        w.ctx = &done;                                                         \
        done = T##_start(l, key, &w) != DLOAD_PENDING || done;                 \
        tick(x);                                                               \
        assert_true(done);                                                     \
        if (w.status >= 0) {                                                   \
            *out = w.value;                                                    \
        }                                                                      \
        return w.status;                                                       \
    }                                                                          \
    struct T##_has_driver

DRIVER_LOADER(tl, uint64_t, uint64_t);

static inline void open_loader(struct fixture *x)
{
    tl_bring_up(x, &x->l, &x->cfg);
    x->open = true;
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
    if (x->cfg.settle_ns != 0) {
        (void)dispatch(x);
    }
    tick(x);
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
    if (!has_ended(x, i)) {
        tick(x);
    }
    assert_true(has_ended(x, i));
    request_results(&callers[i]);
}

static inline bool loop_all_done(const struct request *q, size_t n)
{
    size_t n_done = 0;
    for (size_t i = 0; i < n; i++) {
        n_done += q[i].n_done;
    }
    return n_done == n;
}

static inline dload_status load_many_with(struct fixture *x, const uint64_t *keys, size_t n,
                                          const dload_call *call, uint64_t *out, dload_status *st)
{
    struct request *q = calloc(n + 1, sizeof *q);
    uint64_t deadline_ns = call && call->deadline_ns ? call->deadline_ns : DLOAD_NEVER;
    assert_non_null(q);
    for (size_t i = 0; i < n; i++) {
        request_begin(x, &q[i], keys[i], call);
    }
    for (tick(x); !loop_all_done(q, n); tick(x)) {
        for (size_t i = 0; i < n && x->f.now_ns >= deadline_ns; i++) {
            if (q[i].n_done == 0) {
                must_ok(tl_cancel(&x->l, &q[i].w));
                q[i].n_done = 1;
            }
        }
        if (!loop_all_done(q, n)) {
            loop_sleep(x, deadline_ns);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (q[i].w.status >= 0) {
            out[i] = q[i].w.value;
        }
        if (st) {
            st[i] = q[i].w.status;
        }
    }
    free(q);
    return DLOAD_OK;
}

static inline dload_status load_with(struct fixture *x, uint64_t key, const dload_call *call,
                                     uint64_t *out)
{
    dload_status st = DLOAD_OK;
    (void)load_many_with(x, &key, 1, call, out, &st);
    return st;
}

static inline void meanwhile(struct fixture *x, size_t n_out, void (*fn)(struct fixture *x))
{
    (void)x;
    loop.meanwhile = fn;
    loop.n_out = n_out;
}

static inline dload_status close_loader(struct fixture *x, dload_close_mode mode,
                                        uint64_t deadline_ns)
{
    for (;;) {
        dload_status st = tl_close(&x->l, mode, deadline_ns);
        tick(x);
        if (st != DLOAD_EAGAIN) {
            return st;
        }
        loop_sleep(x, deadline_ns != 0 ? deadline_ns : DLOAD_NEVER);
    }
}

static inline void each_caller(struct fixture *x, size_t n, void (*fn)(struct fixture *x, size_t i))
{
    for (size_t i = 0; i < n; i++) {
        fn(x, i);
    }
}

static inline void walk(struct fixture *x, struct walker *walkers, size_t n)
{
    walkers_begin(walkers, n);
    while (!walkers_ended(walkers, n)) {
        assert_true(loop_turn(x));
    }
}

/* Nothing goes while one of them has something else to do. */
static inline void walk_as_crew(struct fixture *x, struct walker *walkers, size_t n)
{
    walk(x, walkers, n);
}

#endif /* DLOAD_TESTS_DRIVER_LOOP_H */
