/* dataloader_postgres/loop.h -- the PostgreSQL store in an event loop: many requests under way, and nobody waits.
 *
 * SPDX-License-Identifier: MIT
 *
 * dataloader_postgres/uv.h is this in a libuv loop. For any other loop, three functions of yours are all it takes:
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_postgres/loop.h"            // links: pq, pthread
 *
 *     dload_postgres_loop pg;
 *     dload_postgres_store_config cfg = {0};
 *     dload_postgres_loop_hooks hooks = {watch, timer, wake, my_loop};
 *     cfg.pg.url = "postgresql://app@10.0.0.9/cache";
 *     if (dload_postgres_loop_init(&pg, &cfg, &hooks, 0) != DLOAD_OK)
 *         return complain();
 *     loader_config.store = &pg.store;                 // or requests with op->done by hand
 *     ... whenever a descriptor is ready, the time has come or wake was called:
 *     dload_postgres_loop_process(&pg);                // this calls done of whatever is through
 *     ...
 *     dload_postgres_loop_end(&pg);
 *
 * The table, values, leases, limits, times: all as dataloader_postgres.h says; it sends the same statements.
 *
 * REQUESTS  One with done is DLOAD_PENDING. It goes out in a pipeline, behind others whose answers did not come yet, 16 on
 * a connection; when those connections that there are have so many, one more is made, up to max_conns. Until then it
 * waits in the order of arrival, of queue_cap at the most (then it is DLOAD_EAGAIN), and within its time. Each statement
 * is a transaction of its own: what the server refuses of one request does not touch the next one. Requests that are under
 * way at the same time have no order. One that waits for a row which somebody else has locked holds up those behind
 * it on its connection. Each allocates 320 bytes, 32 for a key, and, until libpq has copied them, its keys and values.
 *
 * WHEN THE SERVER FAILS  A request whose time is over ends, and its answer, should it come, is dropped; its
 * connection gets no new requests meanwhile, and is closed when nobody waits for it any more. Requests on a
 * connection that is lost are repeated once, but for a FILL that was sent: DLOAD_EBACKEND. While no connection can be made
 * requests fail at once. The server is never asked to cancel, because libpq waits for that.
 *
 * WHAT BLOCKS  Looking up the name of a host does, inside libpq: give an address (hostaddr=) where that matters; and so do
 * Kerberos tickets, where the program has some: gssencmode=disable. A request without done blocks its thread, on a
 * connection that is not the loop's.
 *
 * THREADS  Requests may be made by any thread; done is called by the loop's, from _process or _end, with no lock held, and
 * may make requests. _init, _process and _end belong to the loop's thread. In the child of a fork() requests are
 * DLOAD_EFORK, and nothing else may be called: the loop's descriptors are the parent's, too.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_postgres/loop.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_POSTGRES_LOOP_H
#define DLOAD_POSTGRES_LOOP_H

#include "../dataloader_postgres.h"
#include "../dataloader_loop/queue.h"

/* What the loop does for the store. None may call _process itself. */
typedef dload_loop_hooks dload_postgres_loop_hooks;

/* Requests under way on one connection, and statements: each may have a setting before it. */
#define DLOAD_POSTGRES_LOOP_I_DEPTH 16u
#define DLOAD_POSTGRES_LOOP_I_ASKS  64u
/* Bytes of statements that were not answered yet; a connection that has more gets no further request. */
#define DLOAD_POSTGRES_LOOP_I_WINDOW_BYTES ((size_t)1 << 20)

/* A request with done. Private. */
typedef struct dload_postgres_loop_i_job {
    dload_loop_i_job wait; /* first */
    dload_postgres_job job;
    bool again;   /* it was begun on a connection before */
    bool changes; /* a statement of its own may have reached the server */
} dload_postgres_loop_i_job;

/* A statement on its way, with a mark behind it. Private. */
typedef struct dload_postgres_loop_i_ask {
    dload_postgres_loop_i_job *job; /* NULL = a setting, or nobody waits for it any more */
    size_t n_bytes;
    uint64_t preparing; /* it is prepared by this id first, and the server did not say so yet */
    bool setting, may_fail;
} dload_postgres_loop_i_ask;

typedef enum dload_postgres_loop_i_state {
    DLOAD_POSTGRES_LOOP_I_CLOSED,
    DLOAD_POSTGRES_LOOP_I_CONNECTING,
    DLOAD_POSTGRES_LOOP_I_SESSION, /* the session is being set up */
    DLOAD_POSTGRES_LOOP_I_READY
} dload_postgres_loop_i_state;

/* A connection in the loop. Private. */
typedef struct dload_postgres_loop_i_slot {
    dload_postgres_conn conn;
    dload_postgres_loop_i_state state;
    uint64_t until_ns; /* of connecting */
    bool
        retires; /* its prepared statements are gone: it is closed as soon as nobody waits for it */
    /* statements in the order in which they are answered: a ring */
    dload_postgres_loop_i_ask asks[DLOAD_POSTGRES_LOOP_I_ASKS];
    uint32_t head, n_asks, n_jobs;
    size_t n_bytes;
    uint64_t preparing; /* by one of them; one at a time */
    /* what the first of them came to so far */
    dload_status answer; /* PENDING = nothing yet */
    PGresult *result;
    uint32_t n_nothing; /* libpq's NULLs in a row */
    /* what the loop was told */
    int polled; /* a duplicate of the connection's, -1 = none */
    int events, wants;
    bool renewed; /* polled is of the connection before */
} dload_postgres_loop_i_slot;

/* The store. The caller's; it must stay where it is from _init to _end. */
typedef struct dload_postgres_loop {
    dload_store store;       /* hand &pg.store to whoever asks for a store */
    dload_postgres_store pg; /* the table, and requests without done */
    /* private: constant */
    dload_postgres_loop_hooks hooks;
    uint32_t n_slots;
    /* private: the loop's thread */
    dload_postgres_loop_i_slot *slots;
    uint64_t timer_ns;
    bool processes;
    /* private: any thread */
    dload_loop_i_queue queue;
} dload_postgres_loop;

#include "loop_conn.h"

/* ---- requests ---- */

/* dload_store.run: any thread. */
DLOAD_I_LOCAL dload_status dload_postgres_loop_i_run(dload_store *s, dload_store_op *op)
{
    dload_postgres_loop *p = (dload_postgres_loop *)(void *)s;
    const dload_env *env = p->store.env;
    if (op->done == NULL)
        return dload_postgres_i_run(&p->pg.store, op);
    if (p->pg.pool.pid != getpid())
        return DLOAD_EFORK;
    dload_postgres_loop_i_job *job = (dload_postgres_loop_i_job *)dload_i_alloc(env, sizeof *job);
    if (job == NULL)
        return DLOAD_ENOMEM;
    memset(job, 0, sizeof *job);
    job->wait.until_ns = dload_postgres_i_deadline(&p->pg.pool, op->timeout_ns);
    dload_status st = dload_postgres_i_begin(&job->job, &p->pg, op);
    if (st == DLOAD_PENDING)
        st = dload_loop_i_add(&p->queue, &job->wait, &p->hooks);
    if (st != DLOAD_PENDING) {
        dload_postgres_i_end(&job->job);
        dload_i_free(env, job, sizeof *job);
    }
    return st;
}

/* Ends so many of those who wait: nothing can be sent for now. Who asks again in done comes later. */
DLOAD_I_LOCAL void dload_postgres_loop_i_fail(dload_postgres_loop *p, dload_status st)
{
    for (uint32_t n = dload_loop_i_count(&p->queue, true); n != 0; n--) {
        dload_loop_i_job *job = dload_loop_i_next(&p->queue, true, 0);
        if (job == NULL)
            break;
        dload_postgres_loop_i_finish(p, (dload_postgres_loop_i_job *)(void *)job, st);
    }
}

/* Ends what waits, or waits for an answer, longer than it may. */
DLOAD_I_LOCAL void dload_postgres_loop_i_end_late(dload_postgres_loop *p)
{
    const uint64_t now_ns = dload_postgres_i_now();
    for (uint32_t i = 0; i < p->n_slots; i++)
        dload_postgres_loop_i_end_late_asks(p, &p->slots[i], now_ns);
    for (;;) {
        dload_loop_i_job *job = dload_loop_i_next(&p->queue, false, now_ns);
        if (job == NULL)
            break;
        dload_postgres_loop_i_finish(p, (dload_postgres_loop_i_job *)(void *)job, DLOAD_ETIMEDOUT);
    }
}

/* Hands out what waits: by turns, so that no connection has much more than another. */
DLOAD_I_LOCAL void dload_postgres_loop_i_hand_out(dload_postgres_loop *p)
{
    for (bool any = true; any;) {
        any = false;
        for (uint32_t i = 0; i < p->n_slots; i++) {
            dload_postgres_loop_i_slot *slot = &p->slots[i];
            if (!dload_postgres_loop_i_has_room(p, slot))
                continue;
            dload_loop_i_job *job = dload_loop_i_next(&p->queue, true, 0);
            if (job == NULL)
                return;
            dload_postgres_loop_i_give(p, slot, (dload_postgres_loop_i_job *)(void *)job);
            any = true;
        }
    }
}

/* For those who wait still: one connection more, if there may be one; or they fail, if there is none at all. */
DLOAD_I_LOCAL void dload_postgres_loop_i_reach_out(dload_postgres_loop *p)
{
    dload_postgres_loop_i_slot *closed = NULL;
    bool ready = false, stuck = false;
    if (dload_loop_i_count(&p->queue, true) == 0)
        return;
    for (uint32_t i = 0; i < p->n_slots; i++) {
        dload_postgres_loop_i_slot *slot = &p->slots[i];
        if (slot->state == DLOAD_POSTGRES_LOOP_I_CONNECTING ||
            slot->state == DLOAD_POSTGRES_LOOP_I_SESSION)
            return;
        if (slot->state == DLOAD_POSTGRES_LOOP_I_CLOSED)
            closed = closed == NULL ? slot : closed;
        else if (dload_postgres_loop_i_is_stuck(slot))
            stuck = true;
        else
            ready = true;
    }
    if (ready && __atomic_load_n(&p->pg.usable, __ATOMIC_ACQUIRE) == 0)
        return; /* one looks at the table */
    if (closed != NULL && dload_postgres_i_may_connect(&p->pg.pool)) {
        if (!dload_postgres_loop_i_start(closed))
            dload_postgres_loop_i_fail(p, DLOAD_ENOMEM);
    } else if (!ready && !(closed == NULL && stuck)) {
        dload_postgres_loop_i_fail(p, DLOAD_EBACKEND);
    }
}

/* ---- for the loop ---- */

/* When something must be done though nothing is heard. */
DLOAD_I_LOCAL uint64_t dload_postgres_loop_i_deadline(dload_postgres_loop *p)
{
    uint64_t at_ns = DLOAD_NEVER;
    for (uint32_t i = 0; i < p->n_slots; i++) {
        const uint64_t slot_ns = dload_postgres_loop_i_slot_deadline(&p->slots[i]);
        at_ns = slot_ns < at_ns ? slot_ns : at_ns;
    }
    return dload_loop_i_earliest(&p->queue, at_ns);
}

/* Does whatever can be done without waiting, and calls done of requests that are through. To be called when hooks said so;
 * a call too many does no harm. From inside done it does nothing: the call around it goes on. The loop's thread; O(connections +
 * requests). */
DLOAD_I_UNUSED static void dload_postgres_loop_process(dload_postgres_loop *p)
{
    if (p->processes)
        return;
    p->processes = true;
    for (uint32_t i = 0; i < p->n_slots; i++) {
        const dload_status st = dload_postgres_loop_i_listen(p, &p->slots[i]);
        if (st != DLOAD_OK && !dload_postgres_loop_i_any_ready(p))
            dload_postgres_loop_i_fail(p, st); /* there was an attempt to connect */
    }
    dload_postgres_loop_i_end_late(p);
    dload_postgres_loop_i_hand_out(p);
    dload_postgres_loop_i_reach_out(p);
    for (uint32_t i = 0; i < p->n_slots; i++) {
        dload_postgres_loop_i_flush(p, &p->slots[i]);
        dload_postgres_loop_i_watch(p, i);
    }
    uint64_t at_ns = dload_postgres_loop_i_deadline(p);
    if (at_ns != DLOAD_NEVER || p->timer_ns != DLOAD_NEVER) /* the same, too: it may have fired */
        p->hooks.timer(p->hooks.ctx, at_ns);
    p->timer_ns = at_ns;
    p->processes = false;
}

/* Requests that are not through, waiting ones with them. Any thread. */
DLOAD_I_UNUSED static uint32_t dload_postgres_loop_pending(dload_postgres_loop *p)
{
    return dload_loop_i_count(&p->queue, false);
}

/* Ends what waits and what is under way with DLOAD_ECLOSED (done is called), tells the loop to forget descriptors and timer, and
 * refuses what comes. The store can be ended then. Not from inside done. */
DLOAD_I_UNUSED static void dload_postgres_loop_close(dload_postgres_loop *p)
{
    dload_loop_i_close(&p->queue);
    for (uint32_t i = 0; i < p->n_slots; i++) {
        dload_postgres_i_close(&p->slots[i].conn);
        dload_postgres_loop_i_gone(p, &p->slots[i], DLOAD_ECLOSED);
        dload_postgres_loop_i_watch(p, i);
    }
    dload_postgres_loop_i_fail(p, DLOAD_ECLOSED);
    if (p->timer_ns != DLOAD_NEVER)
        p->hooks.timer(p->hooks.ctx, DLOAD_NEVER);
    p->timer_ns = DLOAD_NEVER;
}

/* Closes, if that was not done, and frees what the store has. No other thread may make requests any more. */
DLOAD_I_UNUSED static void dload_postgres_loop_end(dload_postgres_loop *p)
{
    dload_postgres_loop_close(p);
    dload_i_free(p->store.env, p->slots, p->n_slots * sizeof *p->slots);
    dload_loop_i_queue_end(&p->queue);
    dload_postgres_store_destroy(&p->pg);
    memset(p, 0, sizeof *p);
}

/* Makes a store; connects to nothing yet. cfg and statuses as for dload_postgres_store_init; max_conns are those in the loop,
 * and as many again may be made by requests without done. queue_cap: requests that wait at a time; 0 = 1000. hooks are
 * copied; all three are needed. Allocates max_conns * 3 KB, and the texts of its statements. */
DLOAD_I_UNUSED static dload_status dload_postgres_loop_init(dload_postgres_loop *p,
                                                            const dload_postgres_store_config *cfg,
                                                            const dload_postgres_loop_hooks *hooks,
                                                            uint32_t queue_cap)
{
    memset(p, 0, sizeof *p);
    if (hooks == NULL || hooks->watch == NULL || hooks->timer == NULL || hooks->wake == NULL)
        return DLOAD_EINVAL;
    dload_status st = dload_postgres_store_init(&p->pg, cfg);
    if (st != DLOAD_OK)
        return st;
    p->hooks = *hooks;
    p->store = p->pg.store;
    p->store.flags |= DLOAD_STORE_ASYNC;
    p->store.run = dload_postgres_loop_i_run;
    p->timer_ns = DLOAD_NEVER;
    p->n_slots = (uint32_t)p->pg.pool.config.max_conns;
    p->slots =
        (dload_postgres_loop_i_slot *)dload_i_alloc(p->store.env, p->n_slots * sizeof *p->slots);
    if (p->slots == NULL || !dload_loop_i_queue_init(&p->queue, queue_cap)) {
        dload_i_free(p->store.env, p->slots, p->n_slots * sizeof *p->slots);
        dload_postgres_store_destroy(&p->pg);
        return DLOAD_ENOMEM;
    }
    memset(p->slots, 0, p->n_slots * sizeof *p->slots);
    for (uint32_t i = 0; i < p->n_slots; i++) {
        p->slots[i].conn.pool = &p->pg.pool;
        p->slots[i].polled = -1;
        p->slots[i].answer = DLOAD_PENDING;
    }
    return DLOAD_OK;
}

#endif /* DLOAD_POSTGRES_LOOP_H */
