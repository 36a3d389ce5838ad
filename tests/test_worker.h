/* A memory store behind a script and behind threads, and requests that a test keeps. */
#ifndef DLOAD_TESTS_WORKER_H
#define DLOAD_TESTS_WORKER_H

#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_memory.h"
#include "adapters/dataloader_worker.h"
#include "support.h"

#include <pthread.h>
#include <sched.h>

#include "stores/scripted.h"

struct fixture {
    struct store_case x; /* first: *state is this one */
    struct fake_env f;
    dload_memory m;
    struct scripted s;
    dload_worker w;
};

static inline void stall(struct store_case *x, bool on)
{
    struct fixture *t = x->ctx;
    scripted_set(&t->s.shuts, on ? ALL : 0);
}

static inline int open_as(void **state, size_t n_threads, size_t queue_cap, bool async)
{
    struct fixture *t = calloc(1, sizeof *t);
    dload_memory_config memory;
    dload_worker_config cfg;
    memset(&memory, 0, sizeof memory);
    memset(&cfg, 0, sizeof cfg);
    fake_env_init_real(&t->f);
    memory.env = &t->f.env;
    if (dload_memory_init(&t->m, &memory) != DLOAD_OK)
        return -1;
    scripted_init(&t->s, &t->m.store);
    cfg.inner = &t->s.store;
    cfg.n_threads = n_threads;
    cfg.queue_cap = queue_cap;
    if (dload_worker_init(&t->w, &cfg) != DLOAD_OK)
        return -1;
    t->x.s = &t->w.store;
    t->x.ctx = t;
    t->x.async = async;
    t->x.stall = stall;
    *state = t;
    return 0;
}

static inline int open_blocking(void **state)
{
    return open_as(state, 0, 0, false);
}

static inline int open_async(void **state)
{
    return open_as(state, 0, 0, true);
}

static inline int open_narrow(void **state)
{
    return open_as(state, 1, 3, true);
}

static inline int close_worker(void **state)
{
    struct fixture *t = *state;
    scripted_set(&t->s.shuts, 0); /* a test that failed may have left it so */
    must_ok(dload_worker_destroy(&t->w));
    dload_memory_destroy(&t->m);
    fake_env_check(&t->f);
    free(t);
    return 0;
}

/* ---- requests that a test keeps ---- */

struct asked {
    dload_store_op op;
    dload_store_item item;
    uint32_t n_done; /* atomic */
    dload_status status;
    void (*then)(struct asked *a); /* runs in done */
    struct fixture *t;
    uint32_t order;
};

static uint32_t n_ended; /* atomic: in which order requests ended */

static inline void was_done(dload_store_op *op, dload_status st)
{
    struct asked *a = op->ctx;
    a->status = st;
    a->order = __atomic_add_fetch(&n_ended, 1, __ATOMIC_RELAXED);
    if (a->then != NULL)
        a->then(a);
    (void)__atomic_add_fetch(&a->n_done, 1, __ATOMIC_RELEASE);
}

static inline dload_status ask(struct fixture *t, struct asked *a, dload_store_kind kind,
                               uint64_t timeout_ns)
{
    void (*then)(struct asked *) = a->then;
    memset(a, 0, sizeof *a);
    a->then = then;
    a->t = t;
    a->item = store_item_set(STR("k"), STR("v"), DLOAD_NEVER);
    a->op = store_op(kind, &a->item, 1);
    a->op.done = was_done;
    a->op.ctx = a;
    a->op.timeout_ns = timeout_ns;
    return dload_store_run(&t->w.store, &a->op);
}

static inline bool is_done(const struct asked *a)
{
    return __atomic_load_n(&a->n_done, __ATOMIC_ACQUIRE) != 0;
}

static inline void await(const struct asked *a)
{
    uint64_t start_ns = real_ns();
    while (!is_done(a)) {
        if (real_ns() - start_ns > 20 * DLOAD_SECOND)
            fail_msg("a request is not done");
        sleep_ms(1);
    }
}

static inline size_t n_queued(struct fixture *t)
{
    size_t n;
    dload_worker_queue(&t->w, &n, NULL);
    return n;
}

#endif /* DLOAD_TESTS_WORKER_H */
