/* >>drive -- who sends a batch, and when: blocking callers, explicit dispatch, event loops, close.
 *
 * None: a blocking call sends what is queued by itself. Threads: the first caller that has to wait for
 * an open batch leads it, lingers while more keys may come, and sends it; there is no thread of our
 * own (leader/follower; checked as a model, tests/models). Loop: _process and _next_deadline.
 * The mutex is held on entry and on return, and let go whenever user code runs or a caller sleeps.
 */
#ifndef DLOAD_I_DRIVE_H
#define DLOAD_I_DRIVE_H

#include "run.h"

DLOAD_I_LOCAL bool dload_i_runs_here(const dload_i_core *c)
{
    uint64_t self = dload_i_self(c->env);
    for (const dload_i_batch *b = c->running; b != NULL; b = b->next) {
        if (b->in_fetch && b->runner == self)
            return true;
    }
    return false;
}

/* A fetch function that loads must not wait for its own place among the running ones. */
DLOAD_I_LOCAL bool dload_i_may_send(const dload_i_core *c)
{
    return c->n_running < c->max_in_flight || dload_i_runs_here(c);
}

/* Why the open batch would go now by itself; DLOAD_N_TRIGGERS = not yet. */
DLOAD_I_LOCAL dload_trigger dload_i_open_due(const dload_i_core *c, uint64_t now_ns)
{
    const dload_i_batch *b = c->open;
    if (now_ns >= dload_i_add_ns(b->last_key_ns, c->settle_ns))
        return DLOAD_BY_SETTLE;
    if (now_ns >= dload_i_add_ns(b->opened_ns, c->max_age_ns))
        return DLOAD_BY_AGE;
    return DLOAD_N_TRIGGERS;
}

DLOAD_I_LOCAL dload_i_batch *dload_i_queue_pop(dload_i_core *c, dload_i_batch *before)
{
    dload_i_batch **at = before == NULL ? &c->queue : &before->next;
    dload_i_batch *b = *at;
    *at = b->next;
    if (c->queue_tail == b)
        c->queue_tail = before;
    b->next = NULL;
    return b;
}

/* Does any request of this call wait for b? */
DLOAD_I_LOCAL bool dload_i_waits_for(const dload_i_parker *p, const dload_i_batch *b)
{
    for (const dload_i_waiter *w = p->first; w != NULL; w = w->sib) {
        if (w->batch == b)
            return true;
    }
    return false;
}

/* A lone caller does not linger: only when batches have had company lately is there hope of more. */
DLOAD_I_INLINE bool dload_i_lone(const dload_i_core *c)
{
    return c->settle_ns == 0 || (c->company == 0 && c->open->n_calls <= 1);
}

/* The batch that a blocking call should send now, out of the queue; NULL = wait. */
DLOAD_I_NOINLINE dload_i_batch *dload_i_take_due(dload_i_core *c, const dload_i_parker *p,
                                                 uint64_t now_ns)
{
    if (dload_i_parks(c->env))
        return NULL; /* others of this thread go on, and may ask for more */
    if (!c->threaded) {
        if (c->queue == NULL && c->open != NULL)
            dload_i_enqueue(c, DLOAD_BY_IDLE);
        return c->queue != NULL ? dload_i_queue_pop(c, NULL) : NULL;
    }
    if (!dload_i_may_send(c))
        return NULL;
    dload_i_batch *before = NULL;
    for (dload_i_batch *b = c->queue; b != NULL; before = b, b = b->next) {
        if (dload_i_waits_for(p, b))
            return dload_i_queue_pop(c, before);
    }
    if (c->open == NULL || !dload_i_waits_for(p, c->open))
        return NULL;
    dload_trigger why = dload_i_lone(c) ? DLOAD_BY_IDLE : dload_i_open_due(c, now_ns);
    if (why == DLOAD_N_TRIGGERS)
        return NULL;
    before = c->queue_tail;
    dload_i_enqueue(c, why);
    return dload_i_queue_pop(c, before);
}

/* How long a blocking call may sleep; it takes the lead of an open batch that has no leader. */
DLOAD_I_NOINLINE uint64_t dload_i_sleep_until(dload_i_core *c, dload_i_parker *p,
                                              dload_i_batch **led)
{
    /* A batch that is sent while this caller sleeps may hang: mutant FOLLOWER_NO_LIMIT. */
    uint64_t until_ns = dload_i_add_ns(dload_i_add_ns(dload_i_now(c->env), c->run_limit_ns), 1);
    for (const dload_i_batch *b = c->running; b != NULL; b = b->next) {
        uint64_t end_ns = dload_i_add_ns(b->started_ns, c->run_limit_ns);
        if (end_ns < until_ns)
            until_ns = dload_i_add_ns(end_ns, 1);
    }
    dload_i_batch *b = c->open;
    if (b == NULL || !dload_i_waits_for(p, b) || dload_i_parks(c->env))
        return until_ns; /* who is parked cannot send, and so not lead */
    bool place = c->n_running < c->max_in_flight;
    bool may_send = place || p->inside;
    bool other_leads = b->leader != NULL && b->leader != p;
    /* One who may send does not wait for a leader who may not: mutant NESTED_FOLLOWS. */
    if (other_leads && (place || b->leader->inside || !may_send))
        return until_ns;
    b->leader = p;
    *led = b;
    if (may_send) {
        uint64_t settle_ns = dload_i_add_ns(b->last_key_ns, c->settle_ns);
        uint64_t age_ns = dload_i_add_ns(b->opened_ns, c->max_age_ns);
        until_ns = settle_ns < until_ns ? settle_ns : until_ns;
        until_ns = age_ns < until_ns ? age_ns : until_ns;
    }
    return until_ns;
}

/* A sleeper ends without waking up: its thread was cancelled. Its requests leave as at a deadline, and
 * the lead, if it had it, passes on. Without that the others wait for a dead leader: mutant NO_HANDOFF. */
DLOAD_I_UNUSED static void dload_i_give_up(dload_i_parker *p)
{
    dload_i_core *c = (dload_i_core *)p->core;
    for (dload_i_waiter *w = p->first; w != NULL;) {
        dload_i_waiter *next = w->sib;
        if (w->batch != NULL)
            dload_i_unwait(c, w);
        if (p->pooled)
            dload_i_waiter_give(c, w);
        w = next;
    }
    if (c->open != NULL && c->open->leader == p)
        c->open->leader = NULL;
    for (dload_i_batch *b = c->queue; b != NULL; b = b->next) {
        if (b->leader == p)
            b->leader = NULL;
    }
    if (c->closer == p)
        c->closer = NULL;
    dload_i_nudge(c, p);
}

/* Waits until every request of this call is answered: sends what is due, leads, sleeps.
 * DLOAD_OK; DLOAD_ETIMEDOUT or what env->wait said, and then some are not answered. */
DLOAD_I_NOINLINE dload_status dload_i_wait(dload_i_core *c, dload_i_parker *p, uint64_t deadline_ns)
{
    dload_status st = DLOAD_OK;
    dload_i_batch *led = NULL;
    if (!dload_i_nest_wait(c, p))
        return DLOAD_EDEADLK;
    while (p->pending != 0) {
        uint64_t now_ns = dload_i_now(c->env);
        if (now_ns >= deadline_ns) {
            st = DLOAD_ETIMEDOUT;
            break;
        }
        dload_i_abandon_overdue(c, now_ns); /* its place may be ours: mutant TAKE_BEFORE_ABANDON */
        if (p->pending == 0)
            break;
        p->inside = dload_i_runs_here(c);
        dload_i_batch *b = dload_i_take_due(c, p, now_ns);
        if (b != NULL) {
            dload_i_nudge(c, p); /* while this call is busy, somebody else leads what comes next */
            (void)dload_i_run(c, b);
            continue;
        }
        uint64_t until_ns = dload_i_sleep_until(c, p, &led);
        p->asleep = true;
        st = c->sync->park(c->mutex, p, c->env, until_ns < deadline_ns ? until_ns : deadline_ns);
        p->asleep = false;
        /* Somebody else may lead now, or nobody: batches are never freed before destroy. */
        if (led != NULL && led->leader == p)
            led->leader = NULL;
        if (st < 0)
            break;
    }
    dload_i_nest_end(c);
    if (p->pending == 0)
        return DLOAD_OK;
    dload_i_nudge(c, p); /* the lead, if it was ours, passes on */
    return st;
}

/* Callbacks that waited for this thread, in the order of their answers. */
DLOAD_I_LOCAL void dload_i_call_back(dload_i_core *c)
{
    dload_i_ready ready = {c->ready, NULL, 0};
    c->ready = c->ready_tail = NULL;
    dload_i_call_all(c, &ready);
}

/* Sends what is queued now, and only that: what callbacks add is for the next call. Returns keys. */
DLOAD_I_NOINLINE size_t dload_i_dispatch(dload_i_core *c, dload_trigger why)
{
    size_t n_keys = 0;
    if (c->open != NULL)
        dload_i_enqueue(c, why);
    uint32_t n_batches = 0;
    for (const dload_i_batch *b = c->queue; b != NULL; b = b->next)
        n_batches++;
    while (n_batches-- > 0 && c->queue != NULL)
        n_keys += dload_i_run(c, dload_i_queue_pop(c, NULL));
    dload_i_call_back(c);
    return n_keys;
}

/* An event loop's turn at now_ns. */
DLOAD_I_LOCAL void dload_i_process(dload_i_core *c, uint64_t now_ns)
{
    dload_i_call_back(c);
    dload_i_abandon_overdue(c, now_ns);
    if (c->open != NULL) {
        dload_trigger why = dload_i_open_due(c, now_ns);
        if (why != DLOAD_N_TRIGGERS && dload_i_may_send(c))
            dload_i_enqueue(c, why);
    }
    uint32_t n_batches = 0;
    for (const dload_i_batch *b = c->queue; b != NULL; b = b->next)
        n_batches++;
    while (n_batches-- > 0 && c->queue != NULL && dload_i_may_send(c))
        (void)dload_i_run(c, dload_i_queue_pop(c, NULL));
    dload_i_call_back(c);
}

/* When dload_i_process has something to do; a time that has passed means at once. */
DLOAD_I_LOCAL uint64_t dload_i_deadline(const dload_i_core *c)
{
    uint64_t at_ns = DLOAD_NEVER;
    if (c->ready != NULL)
        return 0;
    for (const dload_i_batch *b = c->running; b != NULL && c->run_limit_ns != DLOAD_NEVER;
         b = b->next) {
        uint64_t end_ns = dload_i_add_ns(dload_i_add_ns(b->started_ns, c->run_limit_ns), 1);
        at_ns = end_ns < at_ns ? end_ns : at_ns;
    }
    if (c->n_running >= c->max_in_flight)
        return at_ns; /* a batch has to end first */
    if (c->queue != NULL)
        return c->queue->opened_ns;
    if (c->open != NULL) {
        uint64_t settle_ns = dload_i_add_ns(c->open->last_key_ns, c->settle_ns);
        uint64_t age_ns = dload_i_add_ns(c->open->opened_ns, c->max_age_ns);
        at_ns = settle_ns < at_ns ? settle_ns : at_ns;
        at_ns = age_ns < at_ns ? age_ns : at_ns;
    }
    return at_ns;
}

DLOAD_I_LOCAL void dload_i_expect(dload_i_core *c, uint32_t n)
{
    c->expect = n;
    if (n != 0 && c->open != NULL && c->open->n - c->open->n_dead >= n)
        dload_i_enqueue(c, DLOAD_BY_EXPECT);
}

/* ---- the end ---- */

/* Ends every key that was not sent with status. */
DLOAD_I_LOCAL void dload_i_fail_queued(dload_i_core *c, dload_status status)
{
    if (c->open != NULL)
        dload_i_enqueue(c, DLOAD_BY_CLOSE);
    while (c->queue != NULL) {
        dload_i_batch *b = dload_i_queue_pop(c, NULL);
        dload_i_ready ready = {NULL, NULL, 0};
        dload_i_compact(c, b);
        for (uint32_t i = 0; i < b->n; i++) {
            b->flights[i].status = status;
            dload_i_publish(c, b, i, &ready);
        }
        dload_i_settle_up(c, b, &ready);
        dload_i_batch_give(c, b);
    }
}

/* _close, with the parker of the caller. */
DLOAD_I_LOCAL dload_status dload_i_close(dload_i_core *c, dload_close_mode mode, dload_i_parker *p,
                                         uint64_t deadline_ns)
{
    if (dload_i_runs_here(c))
        return DLOAD_EBUSY; /* from inside the fetch function: it would wait for itself */
    DLOAD_I_STORE_RELAXED(&c->closed, true);
    if (mode == DLOAD_FAIL)
        dload_i_fail_queued(c, DLOAD_ECLOSED);
    else
        while (c->queue != NULL || c->open != NULL)
            (void)dload_i_dispatch(c, DLOAD_BY_CLOSE);
    dload_status st = DLOAD_OK;
    while (c->n_running != 0 && st == DLOAD_OK) {
        uint64_t now_ns = dload_i_now(c->env);
        dload_i_abandon_overdue(c, now_ns);
        if (c->n_running == 0)
            break;
        if (now_ns >= deadline_ns) {
            st = DLOAD_ETIMEDOUT;
            break;
        }
        c->closer = p;
        st = c->sync->park(c->mutex, p, c->env, deadline_ns);
        if (c->closer == p)
            c->closer = NULL;
    }
    /* Nobody is left behind; only a drain that cannot wait here may be called again. */
    while (c->running != NULL && !(mode == DLOAD_DRAIN && st == DLOAD_EAGAIN))
        dload_i_abandon(c, c->running, mode == DLOAD_FAIL ? DLOAD_ECLOSED : DLOAD_ETIMEDOUT);
    dload_i_call_back(c);
    return c->n_running == 0 && st == DLOAD_EAGAIN ? DLOAD_OK : st;
}

#endif /* DLOAD_I_DRIVE_H */
