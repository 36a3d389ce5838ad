/* What the tests of loaders in a libuv loop share: a loop with a loader in it, requests that know
 * where they were answered, callbacks of libuv that ask. */
#ifndef DLOAD_TESTS_UV_H
#define DLOAD_TESTS_UV_H

#include "test_loader.h"
#define DLOAD_UV_NAME tl
#include "adapters/dataloader_uv.h"

#define LOCKED (TEST_LOCK != DLOAD_LOCK_NONE)

/* ---- a loop with a loader in it ---- */

struct world {
    uv_loop_t loop;
    uv_thread_t thread; /* the loop's */
    dload_uv u;
    tl l;
    tl_config cfg;
    struct fake_env f;
    struct recorder r;
    size_t n_closed;
    dload_status closed;
    /* a thread that answers */
    uv_thread_t worker;
    tl_batch *given;
    unsigned work_ms;
    bool worked; /* atomic: the thread is through */
    bool worked_at_close;
};
static struct world world;

struct ask {
    struct request req;
    struct world *x;
    bool in_loop; /* done() ran in the loop's thread */
    uint64_t started_ns, done_ns;
    void (*after)(struct ask *a);
    dload_status started;
};
static struct ask asks[1000];

static inline int setup(void **state)
{
    struct world *x = &world;
    memset(x, 0, sizeof *x);
    memset(asks, 0, sizeof asks);
    fake_env_init_real(&x->f);
    equal(uv_loop_init(&x->loop), 0);
    x->thread = uv_thread_self();
    x->cfg = tl_config_default();
    x->cfg.fetch = rec_fetch;
    x->cfg.ctx = &x->r;
    x->cfg.env = &x->f.env;
    *state = x;
    return 0;
}

static inline void open_world(struct world *x)
{
    must_ok(tl_uv_init(&x->u, &x->loop, &x->l, &x->cfg));
    x->u.data = x;
}

static inline void run_loop(struct world *x)
{
    equal(uv_run(&x->loop, UV_RUN_DEFAULT), 0);
}

static inline void on_closed(dload_uv *u, dload_status status)
{
    struct world *x = u->data;
    x->n_closed++;
    x->closed = status;
    x->worked_at_close = __atomic_load_n(&x->worked, __ATOMIC_RELAXED);
}

/* Closes what is idle by now; the loop must have nothing left. */
static inline int teardown(void **state)
{
    struct world *x = *state;
    if (x->u.ops != NULL && x->n_closed == 0) {
        must_ok(dload_uv_close(&x->u, DLOAD_DRAIN, 0, on_closed));
        run_loop(x);
        must(x->closed, DLOAD_OK);
        equal(x->n_closed, 1);
    }
    equal(uv_loop_close(&x->loop), 0);
    fake_env_check(&x->f);
    return 0;
}

static inline void ask_done(struct request *req)
{
    struct ask *a = req->ctx;
    uv_thread_t self = uv_thread_self();
    a->in_loop = uv_thread_equal(&self, &a->x->thread) != 0;
    a->done_ns = real_ns();
    if (a->after) {
        a->after(a);
    }
}

static inline void ask(struct world *x, struct ask *a, uint64_t key)
{
    a->x = x;
    a->req.key = key;
    a->req.then = ask_done;
    a->req.ctx = a;
    memset(&a->req.w, 0, sizeof a->req.w);
    a->req.w.done = request_done;
    a->req.w.ctx = &a->req;
    a->started_ns = real_ns();
    a->started = tl_start(&x->l, key, &a->req.w);
}

static inline void answered(const struct ask *a, uint64_t value)
{
    request_must(&a->req, value);
    assert_true(a->in_loop);
}

static inline dload_stats uv_stats(struct world *x)
{
    dload_stats s;
    must_ok(tl_stats(&x->l, &s));
    return s;
}

/* ---- callbacks of libuv and of requests ---- */

static inline void close_timer(uv_timer_t *t)
{
    uv_close((uv_handle_t *)t, NULL);
}

static inline void timer_asks(uv_timer_t *t)
{
    struct ask *a = t->data;
    ask(&world, a, (uint64_t)(a - asks) + 1);
    close_timer(t);
}

static inline void timer_finishes(uv_timer_t *t)
{
    rec_finish(&world.r);
    close_timer(t);
}

static inline void ask_next(struct ask *a)
{
    struct ask *next = a + 10;
    a->after = NULL;
    ask(a->x, next, a->req.key + 10);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif /* DLOAD_TESTS_UV_H */
