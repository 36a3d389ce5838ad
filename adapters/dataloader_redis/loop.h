/* dataloader_redis/loop.h -- the Redis store in an event loop: many requests under way, and nobody waits.
 *
 * SPDX-License-Identifier: MIT
 *
 * dataloader_redis/uv.h is this in a libuv loop. For any other loop, three functions of yours are all it takes:
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_redis/loop.h"               // links: hiredis, pthread
 *
 *     dload_redis_loop redis;
 *     dload_redis_store_config cfg = {0};
 *     dload_redis_loop_hooks hooks = {watch, timer, wake, my_loop};
 *     cfg.server.url = "redis://cache.local";
 *     if (dload_redis_loop_init(&redis, &cfg, &hooks, 0, why, sizeof why) != DLOAD_OK)
 *         return complain(why);
 *     loader_config.store = &redis.store;              // or requests with op->done by hand
 *     ... whenever a descriptor is ready, the time has come or wake was called:
 *     dload_redis_loop_process(&redis);                // this calls done of whatever is through
 *     ...
 *     dload_redis_loop_end(&redis);
 *
 * Values, leases, names, limits, failures: all as dataloader_redis.h says.
 *
 * REQUESTS  One with done is DLOAD_PENDING, and goes out on one of max_connections connections as soon as one is free; until
 * then it waits in the order of arrival, of queue_cap at the most (then it is DLOAD_EAGAIN), and within its
 * time. One without done blocks its thread, on a connection that is not the loop's. Looking up a host's name blocks,
 * too: give an address where that matters.
 *
 * THREADS  Requests may be made by any thread; done is called by the loop's, from _process or _end, with no lock held, and
 * may make requests. _init, _process and _end belong to the loop's thread. In the child of a fork() requests are DLOAD_EFORK, and
 * nothing else may be called: the loop's descriptors are the parent's, too.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_redis/loop.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_LOOP_H
#define DLOAD_REDIS_LOOP_H

#include "../dataloader_loop/queue.h"
#include "../dataloader_redis.h"

/* What the loop does for the store. None may call _process itself. */
typedef dload_loop_hooks dload_redis_loop_hooks;

/* A request with done. Private. */
typedef struct dload_redis_loop_i_job {
    dload_loop_i_job wait; /* first */
    dload_redis_i_job job;
} dload_redis_loop_i_job;

/* A connection in the loop. Private. */
typedef struct dload_redis_loop_i_slot {
    dload_redis_link *link;
    dload_redis_loop_i_job *job; /* NULL = idle, or connecting for nobody any more */
    int polled;                  /* a duplicate of the connection's, -1 = none */
    int events;
    bool renewed; /* polled is of the connection before */
} dload_redis_loop_i_slot;

/* The store. The caller's; it must stay where it is from _init to _end. */
typedef struct dload_redis_loop {
    dload_store store;       /* hand &redis.store to whoever asks for a store */
    dload_redis_store redis; /* connects, and runs requests without done; server for tracking */
    /* private: constant */
    dload_redis_loop_hooks hooks;
    uint32_t n_slots;
    dload_redis_link *links;
    dload_redis_loop_i_slot *slots;
    /* private: the loop's thread */
    uint64_t timer_ns;
    bool processes;
    /* private: any thread */
    dload_loop_i_queue queue;
} dload_redis_loop;

/* ---- requests ---- */

/* dload_store.run: any thread. */
DLOAD_I_LOCAL dload_status dload_redis_loop_i_run(dload_store *s, dload_store_op *op)
{
    dload_redis_loop *p = (dload_redis_loop *)(void *)s;
    const dload_env *env = p->store.env;
    if (op->done == NULL)
        return dload_redis_i_run(&p->redis.store, op);
    dload_redis_loop_i_job *job = (dload_redis_loop_i_job *)dload_i_alloc(env, sizeof *job);
    if (job == NULL)
        return DLOAD_ENOMEM;
    dload_status st = dload_redis_i_accept_op(&job->job, &p->redis, op);
    job->wait.until_ns = job->job.until_ns;
    if (st == DLOAD_OK)
        st = dload_loop_i_add(&p->queue, &job->wait, &p->hooks);
    if (st != DLOAD_PENDING)
        dload_i_free(env, job, sizeof *job);
    return st;
}

/* Takes the first of those who wait: that whose time is over, or, with any, whoever it is. */
DLOAD_I_LOCAL dload_redis_loop_i_job *dload_redis_loop_i_next(dload_redis_loop *p, bool any)
{
    return (dload_redis_loop_i_job *)(void *)dload_loop_i_next(&p->queue, any, dload_redis_now());
}

/* A request is through. */
DLOAD_I_LOCAL void dload_redis_loop_i_finish(dload_redis_loop *p, dload_redis_loop_i_job *job,
                                             dload_status st)
{
    dload_store_op *op = job->job.op;
    dload_redis_i_end_walk(&job->job);
    dload_i_free(p->store.env, job, sizeof *job);
    dload_loop_i_ended(&p->queue);
    op->done(op, st);
}

/* ---- connections: the loop's thread ---- */

/* Goes on connecting. DLOAD_OK: ready; DLOAD_PENDING; otherwise there is none for now. */
DLOAD_I_LOCAL dload_status dload_redis_loop_i_enter(dload_redis_loop *p,
                                                    dload_redis_loop_i_slot *slot)
{
    dload_redis_store *r = &p->redis;
    dload_redis_conn *c = &slot->link->conn;
    dload_status st = DLOAD_OK;
    if (c->state == DLOAD_REDIS_CLOSED) {
        if (!dload_redis_i_may_connect(r))
            return DLOAD_EBACKEND;
        slot->link->connect_until_ns =
            dload_i_add_ns(dload_redis_now(), r->server.connect_timeout_ns);
        slot->renewed = true;
        st = dload_redis_start(c, &r->server, NULL, 0);
        c->lean = true;
    }
    if (st == DLOAD_OK)
        st = dload_redis_enter(c, 0); /* what can be done without waiting */
    if (st == DLOAD_PENDING && dload_redis_now() >= slot->link->connect_until_ns)
        st = dload_redis_close(c, DLOAD_ETIMEDOUT, "not connected in time");
    if (st == DLOAD_PENDING)
        return st;
    if (st != DLOAD_ENOMEM)
        dload_redis_i_attempted(r, st == DLOAD_OK);
    dload_store_log(&p->store, st == DLOAD_OK ? "redis: connected" : c->error);
    return st;
}

/* Goes on with a slot's request on a connection that is ready. */
DLOAD_I_LOCAL dload_status dload_redis_loop_i_go_on(dload_redis_loop *p,
                                                    dload_redis_loop_i_slot *slot)
{
    dload_redis_i_job *j = &slot->job->job;
    dload_redis_conn *c = &slot->link->conn;
    dload_status st = dload_redis_i_go_on(j);
    if (st ==
        DLOAD_PENDING) { /* once: other slots have their turn, and poll says when there is more */
        st = dload_redis_step(c);
        if (st == DLOAD_OK)
            st = dload_redis_i_go_on(j);
    }
    if (st == DLOAD_PENDING && dload_redis_now() >= j->until_ns)
        st = dload_redis_close(c, DLOAD_ETIMEDOUT, "no reply in time");
    if (st == DLOAD_OK)
        st = dload_redis_i_conclude(j);
    else if (st != DLOAD_PENDING && c->state == DLOAD_REDIS_CLOSED)
        dload_store_log(&p->store, c->error);
    if (st != DLOAD_PENDING)
        dload_redis_i_trim(&p->redis, slot->link);
    return st;
}

/* Goes on with what a slot does; true: it ended a request, and may have another. */
DLOAD_I_LOCAL bool dload_redis_loop_i_serve(dload_redis_loop *p, dload_redis_loop_i_slot *slot)
{
    dload_redis_conn *c = &slot->link->conn;
    dload_redis_loop_i_job *job = slot->job;
    dload_status st = DLOAD_OK;
    const bool fresh = job != NULL && job->job.l == NULL;
    if ((job == NULL || fresh) && c->state == DLOAD_REDIS_READY && !dload_redis_usable(c)) {
        (void)dload_redis_close(c, DLOAD_EBACKEND, "an idle connection was lost");
        dload_store_log(&p->store, c->error);
    }
    if (job == NULL && c->state == DLOAD_REDIS_CLOSED)
        return false;
    if (fresh && c->state != DLOAD_REDIS_READY)
        st = dload_redis_loop_i_enter(p, slot);
    else if (job == NULL && c->state != DLOAD_REDIS_READY)
        (void)dload_redis_loop_i_enter(p, slot);
    if (job == NULL)
        return false;
    if (st == DLOAD_PENDING && dload_redis_now() >= job->job.until_ns)
        st = DLOAD_ETIMEDOUT; /* the connection goes on for the next one */
    if (st == DLOAD_OK) {
        job->job.l = slot->link;
        st = dload_redis_loop_i_go_on(p, slot);
    }
    if (st == DLOAD_PENDING)
        return false;
    slot->job = NULL;
    dload_redis_loop_i_finish(p, job, st);
    return true;
}

/* Tells the loop what to poll of a slot. */
DLOAD_I_LOCAL void dload_redis_loop_i_watch(dload_redis_loop *p, uint32_t at)
{
    dload_redis_loop_i_slot *slot = &p->slots[at];
    dload_redis_conn *c = &slot->link->conn;
    const bool open = c->state != DLOAD_REDIS_CLOSED;
    if (slot->polled >= 0 && (!open || slot->renewed)) {
        p->hooks.watch(p->hooks.ctx, at, slot->polled, 0);
        (void)close(slot->polled);
        slot->polled = -1;
    }
    if (!open)
        return;
    int events = dload_redis_wants(c);
    if (slot->polled < 0) {
        /* The connection closes its descriptor by itself, at any time; this one lives until the loop let go of it. */
        slot->polled = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
        slot->events = 0;
        slot->renewed = false;
        if (slot->polled < 0) {
            (void)dload_redis_close(c, DLOAD_EBACKEND, "no descriptor left");
            return; /* its request fails when the timer says so, at the latest */
        }
    }
    if (events != slot->events)
        p->hooks.watch(p->hooks.ctx, at, slot->polled, events);
    slot->events = events;
}

/* When something must be done though nothing is heard. */
DLOAD_I_LOCAL uint64_t dload_redis_loop_i_deadline(dload_redis_loop *p)
{
    uint64_t at_ns = DLOAD_NEVER;
    for (uint32_t i = 0; i < p->n_slots; i++) {
        const dload_redis_loop_i_slot *slot = &p->slots[i];
        const dload_redis_conn *c = &slot->link->conn;
        const bool connects = c->state != DLOAD_REDIS_CLOSED && c->state != DLOAD_REDIS_READY;
        if (slot->job != NULL && slot->job->job.until_ns < at_ns)
            at_ns = slot->job->job.until_ns;
        if (connects && slot->link->connect_until_ns < at_ns)
            at_ns = slot->link->connect_until_ns;
    }
    return dload_loop_i_earliest(&p->queue, at_ns);
}

/* ---- for the loop ---- */

/* Does whatever can be done without waiting, and calls done of requests that are through. To be called when hooks said so;
 * a call too many does no harm. From inside done it does nothing: the call around it goes on. The loop's thread; O(connections +
 * waiting requests). */
DLOAD_I_UNUSED static void dload_redis_loop_process(dload_redis_loop *p)
{
    if (p->processes)
        return;
    p->processes = true;
    for (uint32_t i = 0; i < p->n_slots; i++) {
        dload_redis_loop_i_slot *slot = &p->slots[i];
        do {
            if (slot->job == NULL)
                slot->job = dload_redis_loop_i_next(p, true);
        } while (dload_redis_loop_i_serve(p, slot));
    }
    for (;;) {
        dload_redis_loop_i_job *late = dload_redis_loop_i_next(p, false);
        if (late == NULL)
            break;
        dload_redis_loop_i_finish(p, late, DLOAD_ETIMEDOUT);
    }
    for (uint32_t i = 0; i < p->n_slots; i++)
        dload_redis_loop_i_watch(p, i);
    uint64_t at_ns = dload_redis_loop_i_deadline(p);
    if (at_ns != DLOAD_NEVER || p->timer_ns != DLOAD_NEVER) /* the same, too: it may have fired */
        p->hooks.timer(p->hooks.ctx, at_ns);
    p->timer_ns = at_ns;
    p->processes = false;
}

/* Requests that are not through, waiting ones with them. Any thread. */
DLOAD_I_UNUSED static uint32_t dload_redis_loop_pending(dload_redis_loop *p)
{
    return dload_loop_i_count(&p->queue, false);
}

/* Ends what waits and what is under way with DLOAD_ECLOSED (done is called), tells the loop to forget descriptors and timer, and
 * refuses what comes. The store can be ended then. Not from inside done. */
DLOAD_I_UNUSED static void dload_redis_loop_close(dload_redis_loop *p)
{
    dload_loop_i_close(&p->queue);
    for (uint32_t i = 0; i < p->n_slots; i++) {
        dload_redis_loop_i_slot *slot = &p->slots[i];
        dload_redis_loop_i_job *job = slot->job;
        (void)dload_redis_close(&slot->link->conn, DLOAD_ECLOSED, "the store ended");
        dload_redis_loop_i_watch(p, i);
        slot->job = NULL;
        if (job != NULL)
            dload_redis_loop_i_finish(p, job, DLOAD_ECLOSED);
    }
    for (;;) {
        dload_redis_loop_i_job *job = dload_redis_loop_i_next(p, true);
        if (job == NULL)
            break;
        dload_redis_loop_i_finish(p, job, DLOAD_ECLOSED);
    }
    if (p->timer_ns != DLOAD_NEVER)
        p->hooks.timer(p->hooks.ctx, DLOAD_NEVER);
    p->timer_ns = DLOAD_NEVER;
}

/* Closes, if that was not done, and frees what the store has. No other thread may make requests any more. */
DLOAD_I_UNUSED static void dload_redis_loop_end(dload_redis_loop *p)
{
    const dload_env *env = p->store.env;
    if (p->slots != NULL && p->links != NULL)
        dload_redis_loop_close(p);
    for (uint32_t i = 0; i < p->n_slots && p->links != NULL; i++)
        dload_i_free(env, p->links[i].names, p->links[i].names_cap);
    dload_i_free(env, p->links, p->n_slots * sizeof *p->links);
    dload_i_free(env, p->slots, p->n_slots * sizeof *p->slots);
    dload_loop_i_queue_end(&p->queue);
    dload_redis_store_end(&p->redis);
    memset(p, 0, sizeof *p);
}

/* Makes a store; connects to nothing yet. cfg, why and statuses as for dload_redis_store_init; max_connections are those in the
 * loop, and as many again may be made by requests without done. queue_cap: requests that wait at a time; 0 = 1000.
 * hooks are copied; all three are needed. Allocates max_connections * 26 KB. */
DLOAD_I_UNUSED static dload_status dload_redis_loop_init(dload_redis_loop *p,
                                                         const dload_redis_store_config *cfg,
                                                         const dload_redis_loop_hooks *hooks,
                                                         uint32_t queue_cap, char *why,
                                                         size_t why_bytes)
{
    memset(p, 0, sizeof *p);
    if (hooks == NULL || hooks->watch == NULL || hooks->timer == NULL || hooks->wake == NULL)
        return DLOAD_EINVAL;
    dload_status st = dload_redis_store_init(&p->redis, cfg, why, why_bytes);
    if (st != DLOAD_OK)
        return st;
    if (!dload_loop_i_queue_init(&p->queue, queue_cap)) {
        dload_redis_store_end(&p->redis);
        return DLOAD_ENOMEM;
    }
    const dload_env *env = p->redis.store.env;
    p->hooks = *hooks;
    p->store = p->redis.store;
    p->store.flags |= DLOAD_STORE_ASYNC;
    p->store.run = dload_redis_loop_i_run;
    p->timer_ns = DLOAD_NEVER;
    p->n_slots = p->redis.n_links;
    p->links = (dload_redis_link *)dload_i_alloc(env, p->n_slots * sizeof *p->links);
    p->slots = (dload_redis_loop_i_slot *)dload_i_alloc(env, p->n_slots * sizeof *p->slots);
    if (p->links != NULL)
        memset(p->links, 0, p->n_slots * sizeof *p->links);
    if (p->links == NULL || p->slots == NULL) {
        dload_redis_loop_end(p);
        return DLOAD_ENOMEM;
    }
    memset(p->slots, 0, p->n_slots * sizeof *p->slots);
    for (uint32_t i = 0; i < p->n_slots; i++) {
        p->links[i].conn.fd = p->slots[i].polled = -1;
        p->links[i].conn.server = &p->redis.server;
        p->slots[i].link = &p->links[i];
    }
    return DLOAD_OK;
}

#endif /* DLOAD_REDIS_LOOP_H */
