/* Callers that are requests: for drivers under which nobody sleeps (NONE, loop). */
#ifndef DLOAD_TESTS_DRIVERS_REQUESTS_H
#define DLOAD_TESTS_DRIVERS_REQUESTS_H

#include "driver.h"

/* An answer that is there at once calls nobody back. */
static inline void request_begin(struct fixture *x, struct request *q, uint64_t key,
                                 const dload_call *call)
{
    q->key = key;
    q->w.done = request_done;
    q->w.ctx = q;
    dload_status st = tl_start_with(&x->l, key, call, &q->w);
    if (st != DLOAD_PENDING) {
        equal(q->n_done, 0);
        must(q->w.status, st);
        q->n_done = 1;
    }
}

static inline void ask_with(struct fixture *x, size_t i, const uint64_t *keys, size_t n,
                            const dload_call *call)
{
    struct caller *c = caller_make(x, i, keys, n, call);
    for (size_t k = 0; k < n; k++) {
        request_begin(x, &c->q[k], keys[k], &c->call);
    }
}

static inline bool has_ended(struct fixture *x, size_t i)
{
    const struct caller *c = &callers[i];
    (void)x;
    assert_true(c->asked);
    size_t n_done = 0;
    for (size_t k = 0; k < c->n; k++) {
        n_done += c->q[k].n_done;
    }
    assert_true(n_done <= c->n);
    return n_done == c->n;
}

/* Requests of one caller have no status in common. */
static inline void request_results(struct caller *c)
{
    for (size_t k = 0; k < c->n; k++) {
        c->st[k] = c->q[k].w.status;
        if (c->st[k] >= 0) {
            c->out[k] = c->q[k].w.value;
        }
    }
    c->result = c->n == 1 ? c->st[0] : DLOAD_OK;
    c->asked = false;
}

/* A request has no deadline: its owner withdraws it. */
static inline void leave_at_deadlines(struct fixture *x)
{
    for (size_t i = 0; i < N_CALLERS; i++) {
        struct caller *c = &callers[i];
        if (!c->asked || c->call.deadline_ns == 0 || c->call.deadline_ns > x->f.now_ns) {
            continue;
        }
        for (size_t k = 0; k < c->n; k++) {
            if (c->q[k].n_done == 0) {
                must_ok(tl_cancel(&x->l, &c->q[k].w));
                must(c->q[k].w.status, DLOAD_ECANCELED);
                c->q[k].n_done = 1;
            }
        }
    }
}

static inline dload_status leaving_status(void)
{
    return DLOAD_ECANCELED;
}

/* ---- walkers ---- */

static inline void walker_step(struct walker *k)
{
    while (k->next(k)) {
        k->status = tl_start(k->l, k->key, &k->w);
        if (k->status == DLOAD_PENDING) {
            return;
        }
        k->value = k->w.value;
        k->at++;
    }
    k->ended = 1;
}

static inline void walker_done(tl_waiter *w)
{
    struct walker *k = w->ctx;
    k->status = w->status;
    k->value = w->value;
    k->at++;
    walker_step(k);
}

static inline void walkers_begin(struct walker *walkers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        walkers[i].i = i;
        walkers[i].w.done = walker_done;
        walkers[i].w.ctx = &walkers[i];
        walker_step(&walkers[i]);
    }
}

static inline bool walkers_ended(const struct walker *walkers, size_t n)
{
    size_t n_ended = 0;
    for (size_t i = 0; i < n; i++) {
        n_ended += walkers[i].ended;
    }
    return n_ended == n;
}

static inline size_t driver_keys(void)
{
    return 0;
}

static inline size_t driver_crowd(void)
{
    return 1000;
}

static inline dload_stats driver_stats(struct fixture *x)
{
    (void)x;
    dload_stats none;
    memset(&none, 0, sizeof none);
    return none;
}

#endif /* DLOAD_TESTS_DRIVERS_REQUESTS_H */
