/* >>batch -- the first half of the state machine: batches come and go, keys enter and leave them.
 *
 * Every function here is called with the loader's mutex held and holds it again on return. Nothing waits
 * here, and nothing is sent: that is run.h and drive.h.
 */
#ifndef DLOAD_I_BATCH_H
#define DLOAD_I_BATCH_H

#include "flight.h"

DLOAD_I_INLINE void dload_i_core_lock(dload_i_core *c)
{
    c->sync->lock(c->mutex);
}

DLOAD_I_INLINE void dload_i_core_unlock(dload_i_core *c)
{
    c->sync->unlock(c->mutex);
}

/* ---- batches come and go ---- */

DLOAD_I_NOINLINE dload_i_batch *dload_i_batch_take(dload_i_core *c)
{
    dload_i_batch *b = c->free_;
    if (b != NULL)
        c->free_ = b->next;
    else
        b = c->ops->make(c->owner);
    if (b == NULL)
        return NULL;
    b->next = NULL;
    b->n = b->n_dead = b->n_published = b->n_detached = b->n_waiters = b->n_calls = 0;
    b->state = DLOAD_I_OPEN;
    b->in_fetch = b->done = 0;
    b->leader = b->last_call = NULL;
    return b;
}

DLOAD_I_NOINLINE void dload_i_batch_give(dload_i_core *c, dload_i_batch *b)
{
    if (c->ops->forget != NULL) {
        for (uint32_t i = 0; i < b->n; i++)
            c->ops->forget(c->owner, b, i);
    }
    b->n = 0;
    b->next = c->free_;
    c->free_ = b;
}

/* Closes the gaps that cancelled keys left, keeping the order. The batch has not been sent. */
DLOAD_I_NOINLINE void dload_i_compact(dload_i_core *c, dload_i_batch *b)
{
    if (b->n_dead == 0)
        return;
    uint32_t to = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->flights[i].dead) {
            if (c->ops->forget != NULL)
                c->ops->forget(c->owner, b, i);
            continue;
        }
        if (to != i) {
            dload_i_ref_of(c, b, i)->place = to;
            b->flights[to] = b->flights[i];
            c->ops->move(b, to, i);
            for (dload_i_waiter *w = b->flights[to].head; w != NULL; w = w->next)
                w->place = to;
        }
        to++;
    }
    b->n = to;
    b->n_dead = 0;
}

/* The open batch is complete. */
DLOAD_I_NOINLINE void dload_i_enqueue(dload_i_core *c, dload_trigger why)
{
    dload_i_batch *b = c->open;
    c->open = NULL;
    c->expect = 0;
    b->state = DLOAD_I_QUEUED;
    c->tell_wake = c->wake != NULL;
    b->why = (uint8_t)why;
    b->next = NULL;
    if (c->queue == NULL)
        c->queue = b;
    else
        c->queue_tail->next = b;
    c->queue_tail = b;
    if (b->leader != NULL)
        c->sync->unpark(b->leader, c->env); /* it need not linger any more */
}

/* ---- keys enter ---- */

/* A place in the open batch for a key that is in no flight; commit or leave it. DLOAD_OK,
 * DLOAD_EAGAIN at the queue's bound, DLOAD_ENOMEM. */
DLOAD_I_LOCAL dload_status dload_i_reserve(dload_i_core *c, dload_i_batch **batch, uint32_t *place)
{
    if (c->n_flights >= c->max_queue)
        return DLOAD_EAGAIN;
    if (!dload_i_refs_reserve(c))
        return DLOAD_ENOMEM;
    dload_i_batch *b = c->open;
    if (b == NULL) {
        b = dload_i_batch_take(c);
        if (b == NULL)
            return DLOAD_ENOMEM;
        c->open = b;
    }
    if (b->n == b->cap)
        dload_i_compact(c, b);
    if (b->n == b->cap) {
        uint32_t cap = b->cap * 2 < c->max_batch ? b->cap * 2 : c->max_batch;
        if (!c->ops->grow(c->owner, b, cap))
            return DLOAD_ENOMEM;
    }
    *batch = b;
    *place = b->n;
    return DLOAD_OK;
}

/* The reserved place has its key now. */
DLOAD_I_LOCAL void dload_i_commit(dload_i_core *c, uint64_t hash)
{
    dload_i_batch *b = c->open;
    dload_i_flight *f = &b->flights[b->n];
    memset(f, 0, sizeof *f);
    f->hash = hash;
    f->ttl_ns = DLOAD_I_TTL_DEFAULT;
    f->status = DLOAD_MISSING;
    dload_i_ref ref;
    ref.batch = b;
    ref.hash = dload_i_ref_hash(hash);
    ref.place = b->n;
    dload_i_ref_insert(c, ref);
    c->n_refs++;
    c->n_flights++;
    if (c->settle_ns != 0 || b->n == 0) {
        b->last_key_ns = dload_i_now(c->env);
        if (b->n == 0)
            b->opened_ns = b->last_key_ns;
    }
    if (b->n == 0)
        c->tell_wake = c->wake != NULL;
    if (b->n == 0)
        c->tell_queued = c->hooks != NULL && c->hooks->queued != NULL;
    b->n++;
    uint32_t n_live = b->n - b->n_dead;
    if (n_live >= c->max_batch)
        dload_i_enqueue(c, DLOAD_BY_SIZE);
    else if (c->expect != 0 && n_live >= c->expect)
        dload_i_enqueue(c, DLOAD_BY_EXPECT);
}

/* Nobody is left who would send this batch: mutant DEAD_STAYS_QUEUED. */
DLOAD_I_LOCAL void dload_i_drop_dead(dload_i_core *c, dload_i_batch *b)
{
    if (b->state == DLOAD_I_OPEN) {
        c->open = NULL;
        c->tell_queued = false;
    } else {
        dload_i_batch *before = NULL;
        for (dload_i_batch *q = c->queue; q != b; q = q->next)
            before = q;
        *(before == NULL ? &c->queue : &before->next) = b->next;
        if (c->queue_tail == b)
            c->queue_tail = before;
    }
    dload_i_batch_give(c, b);
}

/* A request gives up. A key that nobody else wants leaves a batch that was not sent. */
DLOAD_I_NOINLINE void dload_i_unwait(dload_i_core *c, dload_i_waiter *w)
{
    dload_i_batch *b = w->batch;
    dload_i_flight *f = &b->flights[w->place];
    uint32_t place = w->place;
    dload_i_unlink(w);
    if (b->state >= DLOAD_I_RUNNING || f->head != NULL)
        return;
    f->dead = 1;
    b->n_dead++;
    c->n_flights--;
    dload_i_ref_remove(c, dload_i_ref_of(c, b, place));
    if (b->n_dead == b->n)
        dload_i_drop_dead(c, b);
}

#endif /* DLOAD_I_BATCH_H */
