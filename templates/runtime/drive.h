/* >>drive -- who sends a batch, and when: blocking callers, explicit dispatch, event loops, close.
 *
 * None: a blocking call sends what is queued by itself. Threads: the first caller that has to wait for
 * an open batch leads it, lingers while more keys may come, and sends it; there is no thread of our
 * own (leader/follower; checked as a model, tests/models). Loop: _process and _next_deadline.
 * The mutex is held on entry and on return, and let go whenever user code runs or a caller sleeps.
 */
#ifndef DLOAD_I_DRIVE_H
#define DLOAD_I_DRIVE_H

#include "crew.h"

/* A fetch function that loads must not wait for its own place among the running ones. */
DLOAD_I_LOCAL bool dload_i_may_send(const dload_i_core *c)
{
    return dload_i_has_place(c) || dload_i_runs_here(c);
}

/* The open batch that this call waits for, or NULL. Its keys share one group, so that there is one. */
DLOAD_I_LOCAL dload_i_batch *dload_i_open_for(const dload_i_core *c, const dload_i_parker *p)
{
    if (c->open == NULL)
        return NULL;
    if (!c->grouped)
        return dload_i_waits_for(p, c->open) ? c->open : NULL;
    for (const dload_i_waiter *w = p->first; w != NULL; w = w->sib) {
        if (w->batch != NULL && w->batch->state == DLOAD_I_OPEN)
            return w->batch;
    }
    return NULL;
}

/* The batch that a blocking call should send now, out of the queue; NULL = wait. */
DLOAD_I_NOINLINE dload_i_batch *dload_i_take_due(dload_i_core *c, const dload_i_parker *p,
                                                 uint64_t now_ns)
{
    /* Under parks others of this thread go on, and may ask for more. */
    if (dload_i_parks(c->env) || (c->bounded && !dload_i_may_send(c)))
        return NULL;
    if (!c->threaded) {
        if (c->queue == NULL) {
            dload_i_batch *b = dload_i_open_for(c, p);
            if (b == NULL)
                return NULL;
            dload_i_enqueue(c, b, DLOAD_BY_IDLE);
        }
        return dload_i_queue_pop(c, NULL);
    }
    dload_i_batch *before = NULL;
    for (dload_i_batch *b = c->queue; b != NULL; before = b, b = b->next) {
        if (dload_i_waits_for(p, b))
            return dload_i_queue_pop(c, before);
    }
    dload_i_batch *b = dload_i_open_for(c, p);
    dload_trigger why = DLOAD_BY_IDLE;
    if (b == NULL)
        return NULL;
    if (c->settle_ns == 0 && b->n_calls != b->n_calls_seen) {
        b->n_calls_seen = b->n_calls; /* one look at the clock a call is enough */
        b->last_key_ns = now_ns;
    }
    if (now_ns < dload_i_due_at(c, b, p, &why))
        return NULL;
    before = c->queue_tail;
    dload_i_enqueue(c, b, why);
    return dload_i_queue_pop(c, before);
}

/* When a sleeper has to look for batches that hang, those included that are sent while it sleeps: mutant
 * FOLLOWER_NO_LIMIT. */
DLOAD_I_NOINLINE uint64_t dload_i_next_look(const dload_i_core *c)
{
    uint64_t until_ns = dload_i_add_ns(dload_i_add_ns(dload_i_now(c->env), c->run_limit_ns), 1);
    for (const dload_i_batch *b = c->running; b != NULL; b = b->next) {
        uint64_t end_ns = dload_i_add_ns(b->started_ns, c->run_limit_ns);
        if (end_ns < until_ns)
            until_ns = dload_i_add_ns(end_ns, 1);
    }
    return until_ns;
}

/* How long a blocking call may sleep; it takes the lead of an open batch that has no leader. */
DLOAD_I_NOINLINE uint64_t dload_i_sleep_until(dload_i_core *c, dload_i_parker *p,
                                              dload_i_batch **led)
{
    uint64_t until_ns = dload_i_next_look(c);
    dload_i_batch *b = dload_i_parks(c->env) ? NULL : dload_i_open_for(c, p);
    if (b == NULL)
        return until_ns; /* who is parked cannot send, and so not lead */
    bool place = dload_i_has_place(c);
    bool may_send = place || p->inside;
    /* A leader of a crew waits for its crew; who is not of it does not: mutant FOLLOWS_CREW. */
    bool other_leads = b->leader != NULL && b->leader != p && (p->in_crew || !b->leader->in_crew);
    /* One who may send does not wait for a leader who may not: mutant NESTED_FOLLOWS. */
    if (other_leads && (place || b->leader->inside || !may_send))
        return until_ns;
    dload_trigger why = DLOAD_BY_IDLE;
    uint64_t due_ns = dload_i_due_at(c, b, p, &why);
    b->leader = p;
    *led = b;
    b->timed = may_send && due_ns < until_ns;
    if (!may_send)
        return until_ns;
    if (!b->lingered)
        b->n_calls_before = b->n_calls;
    b->lingered = 1;
    return b->timed ? due_ns : until_ns;
}

/* A call of _close does not wait any more, if it did. */
DLOAD_I_LOCAL void dload_i_closer_leave(dload_i_core *c, const dload_i_parker *p)
{
    dload_i_parker **at = &c->closers;
    while (*at != NULL && *at != p)
        at = &(*at)->next_in_line;
    if (*at != NULL)
        *at = p->next_in_line;
}

/* A sleeper ends without waking up: its thread was cancelled. Its requests leave as at a deadline, and
 * the lead, if it had it, passes on: otherwise the others wait for a dead leader. */
DLOAD_I_UNUSED static void dload_i_give_up(dload_i_parker *p)
{
    dload_i_core *c = (dload_i_core *)p->core;
    for (dload_i_waiter *w = p->first; w != NULL;) {
        dload_i_waiter *next = w->sib;
        if (w->batch != NULL)
            dload_i_unwait(c, w, DLOAD_ECANCELED);
        if (p->pooled)
            dload_i_waiter_give(c, w);
        w = next;
    }
    for (dload_i_batch *b = c->open; b != NULL; b = b->next) {
        if (b->leader == p) {
            b->leader = NULL; /* mutant LEAD_KEPT */
            b->timed = 0;
        }
    }
    for (dload_i_batch *b = c->queue; b != NULL; b = b->next) {
        if (b->leader == p)
            b->leader = NULL;
    }
    dload_i_line_leave(c, p);
    dload_i_pace_leave(c, p);
    dload_i_crew_desert(c, p);
    dload_i_closer_leave(c, p);
    dload_i_nudge(c, p);
}

/* Sleeps until somebody has something for p, or until_ns; one of a crew counts as parked meanwhile. */
DLOAD_I_LOCAL dload_status dload_i_rest(dload_i_core *c, dload_i_parker *p, uint64_t until_ns)
{
    if (c->owed != NULL) {
        dload_i_core_unlock(c); /* others first; meanwhile anything may have happened */
        dload_i_core_lock(c);
        return DLOAD_OK;
    }
    p->asleep = true;
    dload_status st = c->sync->park(c->mutex, p, c->env, until_ns);
    p->asleep = false;
    dload_i_uncount(c, p);
    return st;
}

/* dload_i_wait, for a call that waits for itself nowhere. */
DLOAD_I_NOINLINE dload_status dload_i_wait_loop(dload_i_core *c, dload_i_parker *p,
                                                uint64_t deadline_ns)
{
    dload_i_batch *led = NULL;
    while (p->pending != 0) {
        uint64_t now_ns = dload_i_now(c->env);
        if (now_ns >= deadline_ns)
            return DLOAD_ETIMEDOUT;
        dload_i_abandon_overdue(c, now_ns); /* its place may be ours: mutant TAKE_BEFORE_ABANDON */
        if (p->pending == 0)
            break;
        p->inside = dload_i_runs_here(c);
        dload_i_batch *b = dload_i_take_due(c, p, now_ns);
        if (b != NULL) {
            dload_i_uncount(c, p);
            /* While this call is busy, somebody else leads: mutant SENDER_KEEPS_LEAD. */
            dload_i_nudge(c, p);
            (void)dload_i_run(c, b);
            continue;
        }
        if (dload_i_crew_park(c, p))
            continue;
        uint64_t until_ns = dload_i_sleep_until(c, p, &led);
        dload_status st = dload_i_rest(c, p, until_ns < deadline_ns ? until_ns : deadline_ns);
        /* Somebody else may lead now, or nobody: batches are never freed before destroy. */
        if (led != NULL && led->leader == p) {
            led->leader = NULL;
            led->timed = 0;
        }
        if (st < 0)
            return st;
    }
    return DLOAD_OK;
}

/* Waits until every request of this call is answered: sends what is due, leads, sleeps.
 * DLOAD_OK; DLOAD_ETIMEDOUT or what env->wait said, and then some are not answered. */
DLOAD_I_NOINLINE dload_status dload_i_wait(dload_i_core *c, dload_i_parker *p, uint64_t deadline_ns)
{
    if (!dload_i_nest_wait(c, p))
        return DLOAD_EDEADLK;
    dload_i_pace_enter(c, p);
    dload_i_crew_enter(c, p);
    dload_status st = dload_i_wait_loop(c, p, deadline_ns);
    if (p->promised)
        c->sync->collect(p); /* mutant NO_COLLECT */
    p->promised = false;
    dload_i_uncount(c, p);
    dload_i_pace_leave(c, p);
    dload_i_nest_end(c);
    if (p->pending == 0)
        return DLOAD_OK;
    dload_i_nudge(c, p); /* the lead, if it was ours, passes on: mutant NO_HANDOFF */
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
    dload_i_enqueue_all(c, why);
    uint32_t n_batches = 0;
    for (const dload_i_batch *b = c->queue; b != NULL; b = b->next)
        n_batches++;
    while (n_batches-- > 0 && c->queue != NULL)
        n_keys += dload_i_run(c, dload_i_queue_pop(c, NULL));
    dload_i_call_back(c);
    return n_keys;
}

/* May this call take room now? Those who wait in line for it come first; calls that may not wait do not
 * stand behind them. */
DLOAD_I_LOCAL bool dload_i_has_turn(const dload_i_core *c, const dload_i_parker *p)
{
    return c->line == NULL || p == NULL || p->has_turn || dload_i_nested(c);
}

/* The queue is full: waits until there is room for a key, where that is wanted. DLOAD_OK, and it is worth
 * asking again; DLOAD_EAGAIN when this call may not wait; DLOAD_ECLOSED, DLOAD_ETIMEDOUT, or what
 * env->wait said. A fetch function never waits here: what fills the queue may wait for it. */
DLOAD_I_COLD dload_status dload_i_wait_room(dload_i_core *c, dload_i_parker *p,
                                            uint64_t deadline_ns)
{
    if (!c->queue_wait || dload_i_nested(c))
        return DLOAD_EAGAIN;
    if (!c->threaded && !dload_i_parks(c->env))
        (void)dload_i_dispatch(c, DLOAD_BY_IDLE); /* nobody else makes room */
    dload_status st = DLOAD_OK;
    dload_i_crew_enter(c, p);
    dload_i_line_enter(c, p);
    while (st >= 0 && !c->closed && (c->line != p || c->n_flights >= c->max_queue)) {
        uint64_t now_ns = dload_i_now(c->env);
        if (now_ns >= deadline_ns) {
            st = DLOAD_ETIMEDOUT;
            break;
        }
        dload_i_abandon_overdue(c, now_ns);
        if ((c->line == p && c->n_flights < c->max_queue) || dload_i_crew_park(c, p))
            continue;
        uint64_t look_ns = dload_i_next_look(c);
        st = dload_i_rest(c, p, look_ns < deadline_ns ? look_ns : deadline_ns);
    }
    dload_i_uncount(c, p);
    dload_i_line_leave(c, p);
    p->has_turn = st >= 0;
    return c->closed ? DLOAD_ECLOSED : st;
}

/* An event loop's turn at now_ns. */
DLOAD_I_LOCAL void dload_i_process(dload_i_core *c, uint64_t now_ns)
{
    dload_i_call_back(c);
    dload_i_abandon_overdue(c, now_ns);
    for (dload_i_batch *b = c->open, *next = NULL; b != NULL && dload_i_may_send(c); b = next) {
        dload_trigger why = DLOAD_BY_SETTLE;
        next = b->next;
        if (now_ns >= dload_i_settled_at(c, b, &why))
            dload_i_enqueue(c, b, why);
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
    if (!dload_i_has_place(c))
        return at_ns; /* a batch has to end first */
    if (c->queue != NULL)
        return c->queue->opened_ns;
    for (const dload_i_batch *b = c->open; b != NULL; b = b->next) {
        dload_trigger why = DLOAD_BY_SETTLE;
        uint64_t due_ns = dload_i_settled_at(c, b, &why);
        at_ns = due_ns < at_ns ? due_ns : at_ns;
    }
    return at_ns;
}

DLOAD_I_LOCAL void dload_i_expect(dload_i_core *c, uint32_t n)
{
    c->expect = n;
    if (n != 0 && c->n_open_keys >= n)
        dload_i_enqueue_all(c, DLOAD_BY_EXPECT);
}

/* ---- the end ---- */

/* Ends every key that was not sent with status. */
DLOAD_I_LOCAL void dload_i_fail_queued(dload_i_core *c, dload_status status)
{
    dload_i_enqueue_all(c, DLOAD_BY_CLOSE);
    while (c->queue != NULL) {
        dload_i_batch *b = dload_i_queue_pop(c, NULL);
        dload_i_ready ready = {NULL, NULL, 0};
        dload_i_compact(c, b);
        dload_i_publishing how = {0, b->n, true, false, status, 0};
        c->ops->publish(c, b, &how, &ready);
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
    for (dload_i_parker *q = c->line; q != NULL; q = q->next_in_line)
        dload_i_wake(c, q);
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
        p->next_in_line = c->closers;
        c->closers = p;
        uint64_t look_ns = dload_i_next_look(c);
        st = dload_i_rest(c, p, look_ns < deadline_ns ? look_ns : deadline_ns);
        dload_i_closer_leave(c, p);
    }
    /* Nobody is left behind; only a drain that cannot wait here may be called again. */
    while (c->running != NULL && !(mode == DLOAD_DRAIN && st == DLOAD_EAGAIN))
        dload_i_abandon(c, c->running, mode == DLOAD_FAIL ? DLOAD_ECLOSED : DLOAD_ETIMEDOUT);
    dload_i_call_back(c);
    return c->n_running == 0 && st == DLOAD_EAGAIN ? DLOAD_OK : st;
}

#endif /* DLOAD_I_DRIVE_H */
