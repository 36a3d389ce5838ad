/* >>run -- the second half of the state machine: batches are sent, answers are published.
 *
 * Every function here is called with the loader's mutex held and holds it again on return; where one
 * lets go in between, because user code runs, it says so. Nothing waits here: that is drive.h.
 */
#ifndef DLOAD_I_RUN_H
#define DLOAD_I_RUN_H

#include "nest.h"
#include "pace.h"

/* ---- answers leave ---- */

/* What one publisher owes once the mutex is released: callbacks, in order, and owned values to release.
 * A chain, not a range: other threads may publish other places of the same batch meanwhile. */
typedef struct dload_i_ready {
    dload_i_waiter *head, *tail;
    uint32_t held; /* place + 1 of the first value to release; 0 = none */
} dload_i_ready;

/* A call has all its answers. */
DLOAD_I_LOCAL void dload_i_answered_all(dload_i_core *c, dload_i_parker *p)
{
    dload_i_uncount(c, p);
    dload_i_pace_leave(c, p);
    if (!p->asleep)
        return; /* it looks by itself */
    if (c->sync->pay == NULL || c->env->wait != NULL) {
        dload_i_wake(c, p);
        return;
    }
    p->promised = p->owed = true; /* nobody else has heard of that yet */
    p->next_owed = c->owed;
    c->owed = p;
}

/* Which places of a batch to publish: those that are answered; with all set, the rest too, as status. */
typedef struct dload_i_publishing {
    uint32_t from, to;
    bool all;
    bool unindexed; /* they are out of the index */
    dload_status status;
    uint64_t ttl_ns; /* how long that is kept */
} dload_i_publishing;

/* What publishing asks of the typed half; constants, where a loop over a batch is compiled. */
typedef struct dload_i_typed {
    size_t value_bytes;
    dload_status (*copy)(dload_i_batch *b, uint32_t i, void *out); /* a value for a waiter */
    bool (*store)(void *owner, dload_i_batch *b, uint32_t i); /* into the cache; false = skipped */
    void (*keep)(void *owner, dload_i_batch *b, uint32_t i);  /* an old value; NULL = never */
} dload_i_typed;

/* The answer at place i goes to everybody who waits for it. */
DLOAD_I_INLINE void dload_i_deliver(dload_i_core *c, dload_i_batch *b, uint32_t i,
                                    dload_i_typed typed, dload_i_ready *ready)
{
    dload_i_flight *f = &b->flights[i];
    dload_i_waiter *listed = f->head;
    dload_i_waiter *w = f->many != NULL ? f->many : listed;
    f->many = f->head = f->tail = NULL; /* all of them leave */
    while (w != NULL) {
        bool many = w->many;
        char *out = (char *)w->out + (many ? f->at * typed.value_bytes : 0);
        int32_t status = f->status;
        if (f->kept != 0 && !w->source_only) {
            status = f->kept == 1 ? DLOAD_STALE : DLOAD_OK;
            c->stats.served_on_error++;
        }
        if (status >= 0 && w->out != NULL) {
            dload_status st = typed.copy(b, i, out);
            if (st < 0)
                status = st;
        }
        if (many) {
            dload_status *statuses = w->parker->statuses;
            if (statuses != NULL)
                statuses[w->position + f->at] = (dload_status)status;
            if (--w->place == 0 && dload_i_delist(w))
                dload_i_answered_all(c, w->parker);
            w = listed;
            continue;
        }
        dload_i_waiter *next = w->next;
        w->status = status;
        bool last = dload_i_delist(w);
        if (w->parker == NULL) {
            w->next = NULL;
            *(ready->tail != NULL ? &ready->tail->next : &ready->head) = w;
            ready->tail = w;
        } else if (last) {
            dload_i_answered_all(c, w->parker);
        }
        w = next;
    }
}

/* Later requests for the key at place i find it elsewhere. */
DLOAD_I_LOCAL void dload_i_unindex(dload_i_core *c, dload_i_batch *b, uint32_t i)
{
    if (!b->flights[i].detached)
        dload_i_ref_remove(c, dload_i_ref_of(c, b, i));
}

/* The same for all of b at once, when nothing else is in the index; false when that does not pay. */
DLOAD_I_LOCAL bool dload_i_unindex_all(dload_i_core *c, const dload_i_batch *b)
{
    if (b->n_detached + b->n_published != 0 || c->n_refs != b->n || c->refs_cap > b->n * 8)
        return false;
    memset(c->refs, 0, c->refs_cap * sizeof *c->refs);
    c->n_refs = 0;
    return true;
}

/* To the waiters, into the cache: the answer at place i, which is out of the index, is known to all at
 * once. */
DLOAD_I_INLINE void dload_i_publish_one(dload_i_core *c, dload_i_batch *b, uint32_t i,
                                        dload_i_typed typed, dload_i_ready *ready)
{
    dload_i_flight *f = &b->flights[i];
    f->published = 1;
    if (f->status < 0 && f->status != DLOAD_MISSING)
        c->stats.fetch_errors++;
    if (f->status < 0 && b->state >= DLOAD_I_RUNNING && typed.keep != NULL)
        typed.keep(c->owner, b, i); /* an old value may do instead */
    dload_i_deliver(c, b, i, typed, ready);
    if (b->state != DLOAD_I_RUNNING)
        return; /* never sent, or given up: nothing to store, and _finish releases */
    if (f->detached || b->token < c->clear_all_seq)
        c->stats
            .cleared_in_flight++; /* fetched before a clear, cached nowhere: mutant CLEARED_STORED */
    else if (typed.store(c->owner, b, i))
        c->stats.stores++;
    else if (f->status >= 0)
        c->stats.store_skipped++;
    if (f->holds) {
        f->holds = 0; /* the chain has it now */
        f->next_held = ready->held;
        ready->held = i + 1;
    }
}

/* The body of dload_i_ops.publish. */
DLOAD_I_INLINE void dload_i_publish_each(dload_i_core *c, dload_i_batch *b,
                                         const dload_i_publishing *how, dload_i_typed typed,
                                         dload_i_ready *ready)
{
    uint32_t n = 0;
    for (uint32_t i = how->from; i < how->to; i++) {
        dload_i_flight *f = &b->flights[i];
        if (f->published || !(f->answered || how->all))
            continue;
        if (!how->unindexed)
            dload_i_unindex(c, b, i);
        if (!f->answered) {
            f->answered = 1;
            f->status = how->status;
            f->ttl_ns = how->ttl_ns;
        }
        dload_i_publish_one(c, b, i, typed, ready);
        n++;
    }
    b->n_published += n;
    dload_i_leave(c, n);
}

/* ---- who may send is told ---- */

/* Wakes p when it sleeps and may send a batch, and is not but: mutant NUDGE_AWAKE. */
DLOAD_I_LOCAL bool dload_i_nudge_sleeper(dload_i_core *c, dload_i_parker *p,
                                         const dload_i_parker *but)
{
    if (p == NULL || p == but || !p->asleep || !(dload_i_has_place(c) || p->inside))
        return false;
    dload_i_wake(c, p);
    return true;
}

/* Wakes one who sleeps for b and may send it, other than but. */
DLOAD_I_LOCAL bool dload_i_nudge_one(dload_i_core *c, dload_i_batch *b, const dload_i_parker *but)
{
    bool woken = dload_i_nudge_sleeper(c, b->leader, but);
    for (uint32_t i = 0; i < b->n && !woken; i++) {
        if (b->flights[i].many != NULL)
            woken = dload_i_nudge_sleeper(c, b->flights[i].many->parker, but);
        for (dload_i_waiter *w = b->flights[i].head; w != NULL && !woken; w = w->next)
            woken = dload_i_nudge_sleeper(c, w->parker, but);
    }
    return woken;
}

/* A batch may go: tell somebody who sleeps and can send it. Without this a batch waits for its callers'
 * next look: mutant NO_HANDOFF. The head of the queue may have callbacks only, or callers who are
 * busy: mutant NUDGE_HEAD_ONLY. */
DLOAD_I_NOINLINE void dload_i_nudge(dload_i_core *c, const dload_i_parker *but)
{
    if (!c->threaded)
        return;
    for (dload_i_batch *b = c->queue; b != NULL; b = b->next) {
        if (dload_i_nudge_one(c, b, but))
            return;
    }
    for (dload_i_batch *b = c->open; b != NULL; b = b->next) {
        /* Who has a timer may go on sleeping, and then another batch needs the place: mutant NUDGE_TIMED. */
        if (dload_i_nudge_one(c, b, but) && !b->timed)
            return;
    }
}

/* ---- what publishing leaves to do ---- */

/* Calls back, without the mutex. */
DLOAD_I_LOCAL void dload_i_call_all(dload_i_core *c, dload_i_ready *ready)
{
    if (ready->head == NULL)
        return;
    c->n_calling++;         /* a callback that loads must not wait for its own batch's place */
    dload_i_nudge(c, NULL); /* nor anybody else: mutant CALL_NO_NUDGE */
    dload_i_core_unlock(c);
    for (dload_i_waiter *w = ready->head; w != NULL;) {
        dload_i_waiter *next = w->next;
        c->ops->call(w); /* w is the caller's again */
        w = next;
    }
    ready->head = ready->tail = NULL;
    dload_i_core_lock(c);
    c->n_calling--;
}

/* In loop mode callbacks are for the loop's thread. */
DLOAD_I_LOCAL void dload_i_defer(dload_i_core *c, dload_i_ready *ready)
{
    if (c->wake == NULL || ready->head == NULL)
        return;
    if (c->ready_tail != NULL)
        c->ready_tail->next = ready->head;
    else
        c->ready = ready->head;
    c->ready_tail = ready->tail;
    ready->head = ready->tail = NULL;
    dload_i_core_unlock(c);
    c->wake(c->wake_ctx);
    dload_i_core_lock(c);
}

/* The function is through with b; but whoever is still settling up for it gives it back last. */
DLOAD_I_LOCAL void dload_i_let_go(dload_i_core *c, dload_i_batch *b)
{
    if (b->n_users != 0)
        b->unwanted = 1;
    else
        dload_i_batch_give(c, b);
}

/* Pays what is owed, without the mutex. A callback may end the batch meanwhile: it is not used again
 * before this is through with it, mutant GIVE_WHILE_USED. */
DLOAD_I_NOINLINE void dload_i_settle_up(dload_i_core *c, dload_i_batch *b, dload_i_ready *ready)
{
    if (b != NULL)
        b->n_users++;
    dload_i_defer(c, ready);
    dload_i_call_all(c, ready);
    if (ready->held != 0) {
        dload_i_core_unlock(c);
        for (uint32_t at = ready->held; at != 0;) {
            uint32_t next = b->flights[at - 1].next_held;
            c->ops->release(b, at - 1);
            at = next;
        }
        dload_i_core_lock(c);
    }
    if (b != NULL && --b->n_users == 0 && b->unwanted) {
        b->unwanted = 0;
        dload_i_batch_give(c, b);
    }
}

/* Publishes what is answered; with all set, the rest too, as status. Lets go of the mutex. */
DLOAD_I_NOINLINE void dload_i_publish_all(dload_i_core *c, dload_i_batch *b, bool all,
                                          dload_status status)
{
    dload_i_ready ready = {NULL, NULL, 0};
    dload_i_publishing how = {0, b->n, all, false, status, all ? b->rest_ttl_ns : 0};
    how.unindexed = all && dload_i_unindex_all(c, b);
    c->ops->publish(c, b, &how, &ready);
    dload_i_settle_up(c, b, &ready);
}

/* ---- batches run ---- */

DLOAD_I_LOCAL void dload_i_running_cut(dload_i_core *c, dload_i_batch *b)
{
    dload_i_batch **at = &c->running;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    b->next = NULL;
    c->n_running--;
}

/* Values that were answered before their batch was given up. Lets go of the mutex. */
DLOAD_I_LOCAL void dload_i_release_lost(dload_i_core *c, dload_i_batch *b)
{
    if (c->ops->release == NULL)
        return;
    dload_i_core_unlock(c);
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->flights[i].holds)
            c->ops->release(b, i);
    }
    dload_i_core_lock(c);
}

/* The function is through with b. Lets go of the mutex; b is gone afterwards. */
DLOAD_I_NOINLINE void dload_i_finish(dload_i_core *c, dload_i_batch *b, dload_status status)
{
    if (b->state == DLOAD_I_RUNNING)
        dload_i_publish_all(c, b, true, status < 0 ? status : DLOAD_MISSING);
    if (b->state == DLOAD_I_RUNNING)
        dload_i_running_cut(c, b);
    else
        dload_i_release_lost(c, b);
    uint32_t n_keys = b->n;
    uint64_t started_ns = b->started_ns;
    dload_i_pace_learn(c, b);
    dload_i_let_go(c, b);
    dload_i_nudge(c, NULL); /* mutant FINISH_NO_NUDGE */
    for (dload_i_parker *p = c->closers; p != NULL; p = p->next_in_line)
        c->sync->unpark(p, c->env);
    bool wake = c->wake != NULL && (c->queue != NULL || c->open != NULL);
    bool hook = c->hooks != NULL && c->hooks->batch_end != NULL;
    if (wake || hook) {
        dload_i_core_unlock(c);
        if (hook) {
            uint64_t run_ns = dload_i_now(c->env) - started_ns;
            c->hooks->batch_end(c->hooks->ctx, n_keys, status, run_ns);
        }
        if (wake)
            c->wake(c->wake_ctx); /* a batch that waited for its turn may go */
        dload_i_core_lock(c);
    }
    c->n_out--; /* only now may the loader be destroyed */
}

/* The part of it that the fetch function runs in: the mutex is held on return only. */
DLOAD_I_INLINE void dload_i_run_fetch(dload_i_core *c, dload_i_batch *b)
{
    dload_i_batch *outer = dload_i_nest_enter(b);
    dload_status status = c->ops->run(c->owner, b);
    dload_i_nest_leave(outer);
    dload_i_core_lock(c);
    DLOAD_I_STORE_RELEASE(&b->in_fetch, (uint8_t)0);
    b->ended_ns = dload_i_now(c->env);
    if (status == DLOAD_PENDING && !b->done) {
        if (b->state == DLOAD_I_RUNNING)
            dload_i_publish_all(c, b, false, DLOAD_OK);
        return;
    }
    dload_i_finish(c, b, status == DLOAD_PENDING ? (dload_status)b->done_status : status);
}

/* dload_i_run, in a thread that cannot be cancelled. */
DLOAD_I_NOINLINE uint32_t dload_i_run_held(dload_i_core *c, dload_i_batch *b)
{
    dload_i_compact(c, b);
    uint32_t n_keys = b->n;
    if (n_keys == 0) { /* everybody cancelled */
        dload_i_batch_give(c, b);
        return 0;
    }
    b->state = DLOAD_I_RUNNING;
    b->token =
        c->clear_seq; /* clears from here on concern what this call returns: mutant TOKEN_LATE */
    DLOAD_I_STORE_RELEASE(&b->runner, dload_i_self(c->env));
    DLOAD_I_STORE_RELEASE(&b->in_fetch, (uint8_t)1); /* after the runner: nest.h reads both */
    b->started_ns = dload_i_now(c->env);
    b->next = c->running;
    c->running = b;
    c->n_running++;
    c->n_out++;
    c->stats.batches++;
    c->stats.keys += n_keys;
    c->stats.by_trigger[b->why]++;
    if (n_keys > c->stats.largest_batch)
        c->stats.largest_batch = n_keys;
    dload_trigger why = (dload_trigger)b->why;
    dload_i_core_unlock(c);
    if (c->hooks != NULL && c->hooks->batch_start != NULL)
        c->hooks->batch_start(c->hooks->ctx, n_keys, why);
    dload_i_run_fetch(c, b);
    return n_keys;
}

/* Sends a batch that is out of the queue: calls the fetch function without the mutex. Returns how many
 * keys went; b is gone, or pending. A cancelled thread would leave the batch out for ever, so that
 * cancellation waits meanwhile. */
DLOAD_I_NOINLINE uint32_t dload_i_run(dload_i_core *c, dload_i_batch *b)
{
    if (c->sync->hold == NULL)
        return dload_i_run_held(c, b);
    int before = c->sync->hold();
    uint32_t n_keys = dload_i_run_held(c, b);
    c->sync->unhold(before);
    return n_keys;
}

/* Gives up a running batch: who waits gets status, its keys can be loaded again, and what its function
 * still answers changes nothing. Lets go of the mutex. */
DLOAD_I_COLD void dload_i_abandon(dload_i_core *c, dload_i_batch *b, dload_status status)
{
    dload_i_ready ready = {NULL, NULL, 0};
    dload_i_publishing how = {0, b->n, true, false, status, 0};
    dload_i_running_cut(c, b);
    b->state = DLOAD_I_LOST; /* mutant ABANDONED_STAYS */
    c->stats.abandoned++;
    c->ops->publish(c, b, &how, &ready);
    dload_i_nudge(c, NULL); /* mutant ABANDON_NO_NUDGE */
    /* The function may end the batch as soon as the mutex is free: b is not used after. */
    dload_i_settle_up(c, NULL, &ready);
}

/* Gives up every batch that ran longer than run_limit_ns. Lets go of the mutex. */
DLOAD_I_COLD void dload_i_abandon_overdue(dload_i_core *c, uint64_t now_ns)
{
    if (c->run_limit_ns == DLOAD_NEVER)
        return;
    dload_i_batch *b = c->running;
    while (b != NULL) {
        bool overdue = now_ns > dload_i_add_ns(b->started_ns, c->run_limit_ns);
        if (overdue)
            dload_i_abandon(c, b, DLOAD_ETIMEDOUT);
        b = overdue ? c->running : b->next; /* the list may have changed meanwhile */
    }
}

/* An answer for place i was recorded by the typed half: from inside the function it is published when
 * that returns, so that a batch costs one walk; afterwards at once. Lets go of the mutex. */
DLOAD_I_LOCAL void dload_i_answered(dload_i_core *c, dload_i_batch *b, uint32_t i)
{
    if (b->in_fetch)
        return;
    b->ended_ns = dload_i_now(c->env);
    dload_i_ready ready = {NULL, NULL, 0};
    dload_i_publishing how = {i, i + 1, false, false, DLOAD_OK, 0};
    c->ops->publish(c, b, &how, &ready);
    dload_i_settle_up(c, b, &ready);
}

/* May place i be answered? DLOAD_OK, DLOAD_EBATCH, DLOAD_EBUSY, or DLOAD_ECANCELED when given up. */
DLOAD_I_LOCAL dload_status dload_i_may_answer(dload_i_core *c, const dload_i_batch *b, size_t i)
{
    if (b->state == DLOAD_I_LOST) {
        c->stats.late_answers++;
        return DLOAD_ECANCELED;
    }
    if (i >= b->n)
        return DLOAD_EBATCH;
    return b->flights[i].answered ? DLOAD_EBUSY : DLOAD_OK;
}

/* _batch_done. Lets go of the mutex; b may be gone. */
DLOAD_I_LOCAL void dload_i_done(dload_i_core *c, dload_i_batch *b, dload_status status)
{
    if (b->in_fetch) {
        b->done = 1;
        b->done_status = status;
    } else {
        b->ended_ns = dload_i_now(c->env);
        dload_i_finish(c, b, status);
    }
}

#endif /* DLOAD_I_RUN_H */
