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

/* Whoever lets go of the mutex also wakes the callers who were answered under it: mutant
 * DELIVER_NO_WAKE. The chain is taken while the mutex is held (mutant CHAIN_TAKEN_LATE), and a link read
 * before its owner is paid (mutant NEXT_AFTER_PAY). */
DLOAD_I_NOINLINE void dload_i_core_unlock(dload_i_core *c)
{
    dload_i_parker *p = c->owed;
    c->owed = NULL;
    c->sync->unlock(c->mutex);
    while (p != NULL) {
        dload_i_parker *next = p->next_owed;
        c->sync->pay(p); /* p may be gone */
        p = next;
    }
}

/* May one more batch run beside those that do? */
DLOAD_I_INLINE bool dload_i_has_place(const dload_i_core *c)
{
    return c->n_running < c->max_in_flight + c->n_calling;
}

/* A call of a registry's threads does not count as parked any more; see crew.h. */
DLOAD_I_LOCAL void dload_i_uncount(dload_i_core *c, dload_i_parker *p)
{
#if DLOAD_FREESTANDING
    (void)c;
    (void)p; /* no crews there */
#else
    if (p->counted)
        (void)DLOAD_I_SUB_ORDERED(&c->registry->crew, 1u);
    p->counted = false;
#endif
}

/* Wakes a sleeper, who from now on is awake for its crew as well: mutant COUNTED_TOO_LONG. */
DLOAD_I_NOINLINE void dload_i_wake(dload_i_core *c, dload_i_parker *p)
{
    dload_i_uncount(c, p);
    c->sync->unpark(p, c->env);
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
    b->n = b->n_dead = b->n_published = b->n_detached = b->n_waiters = 0;
    b->n_calls = b->n_calls_seen = 0;
    b->state = DLOAD_I_OPEN;
    b->in_fetch = b->done = b->lingered = b->timed = b->goes = 0;
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

/* ---- open batches ---- */

/* The open batch of a group, or NULL. */
DLOAD_I_LOCAL dload_i_batch *dload_i_open_of(const dload_i_core *c, uint64_t group)
{
    if (!c->grouped || c->open == NULL || c->open->group == group)
        return c->open;
    uint32_t mask = c->refs_cap - 1;
    uint32_t hash = dload_i_ref_hash(dload_i_mark(c, group));
    for (uint32_t i = hash & mask; c->refs[i].batch != NULL; i = (i + 1) & mask) {
        if (c->refs[i].place == DLOAD_I_OPEN_PLACE && c->refs[i].batch->group == group)
            return c->refs[i].batch;
    }
    return NULL;
}

DLOAD_I_LOCAL void dload_i_ref_add(dload_i_core *c, dload_i_batch *b, uint32_t place, uint64_t hash)
{
    dload_i_ref ref;
    ref.batch = b;
    ref.hash = dload_i_ref_hash(hash);
    ref.place = place;
    dload_i_ref_insert(c, ref);
    c->n_refs++;
}

/* A batch has its first key. */
DLOAD_I_LOCAL void dload_i_open_add(dload_i_core *c, dload_i_batch *b)
{
    b->next = NULL;
    b->prev = c->open_tail;
    *(c->open_tail == NULL ? &c->open : &c->open_tail->next) = b;
    c->open_tail = b;
    if (c->grouped)
        dload_i_ref_add(c, b, DLOAD_I_OPEN_PLACE, dload_i_mark(c, b->group));
    b->opened_ns = dload_i_now(c->env);
    b->last_key_ns = b->opened_ns;
    c->tell_wake = c->wake != NULL;
    c->tell_queued = c->hooks != NULL && c->hooks->queued != NULL;
}

DLOAD_I_LOCAL void dload_i_open_cut(dload_i_core *c, dload_i_batch *b)
{
    *(b->prev == NULL ? &c->open : &b->prev->next) = b->next;
    *(b->next == NULL ? &c->open_tail : &b->next->prev) = b->prev;
    c->n_open_keys -= b->n - b->n_dead;
    if (c->grouped)
        dload_i_ref_remove(c, dload_i_ref_of(c, b, DLOAD_I_OPEN_PLACE));
    if (c->open == NULL)
        c->expect = 0;
}

/* An open batch is complete. */
DLOAD_I_NOINLINE void dload_i_enqueue(dload_i_core *c, dload_i_batch *b, dload_trigger why)
{
    dload_i_open_cut(c, b);
    b->state = DLOAD_I_QUEUED;
    c->tell_wake = c->wake != NULL;
    b->why = (uint8_t)why;
    b->next = NULL;
    *(c->queue == NULL ? &c->queue : &c->queue_tail->next) = b;
    c->queue_tail = b;
    if (b->leader != NULL)
        dload_i_wake(c, b->leader); /* it need not linger any more: mutant FULL_NO_WAKE */
}

DLOAD_I_LOCAL void dload_i_enqueue_all(dload_i_core *c, dload_trigger why)
{
    while (c->open != NULL)
        dload_i_enqueue(c, c->open, why);
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

/* ---- keys enter ---- */

/* A place in the open batch of a group for a key that is in no flight; commit or unreserve it.
 * DLOAD_OK, DLOAD_EAGAIN at the queue's bound, DLOAD_ENOMEM. */
DLOAD_I_LOCAL dload_status dload_i_reserve(dload_i_core *c, uint64_t group, dload_i_batch **batch,
                                           uint32_t *place)
{
    if (c->n_flights >= c->max_queue)
        return DLOAD_EAGAIN;
    if (!dload_i_refs_reserve(c))
        return DLOAD_ENOMEM;
    dload_i_batch *b = dload_i_open_of(c, group);
    if (b == NULL) {
        b = dload_i_batch_take(c);
        if (b == NULL)
            return DLOAD_ENOMEM;
        b->group = group;
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

/* The key could not be written. */
DLOAD_I_LOCAL void dload_i_unreserve(dload_i_core *c, dload_i_batch *b)
{
    if (b->n == 0)
        dload_i_batch_give(c, b); /* taken for it alone */
}

DLOAD_I_INLINE void dload_i_flight_begin(dload_i_flight *f, uint64_t hash)
{
    memset(f, 0, sizeof *f);
    f->hash = hash;
    f->ttl_ns = DLOAD_I_TTL_DEFAULT;
    f->status = DLOAD_MISSING;
}

/* How many keys can follow the last one into its batch, with no look at anything but the index, while the
 * mutex is not let go of? The one that completes the batch is not among them. */
DLOAD_I_LOCAL uint32_t dload_i_room_behind(const dload_i_core *c, const dload_i_batch *b)
{
    if (b->state != DLOAD_I_OPEN || c->settle_ns != 0 || c->expect != 0 || c->line != NULL ||
        c->tell_queued || c->tell_wake)
        return 0;
    uint32_t room = b->cap - b->n;
    uint32_t to_full = c->max_batch - 1 - (b->n - b->n_dead);
    uint32_t to_bound = c->max_queue - c->n_flights;
    uint32_t to_grow =
        c->refs_cap / 2 - c->n_refs; /* the index; reserving left room for one more */
    room = room < to_full ? room : to_full;
    room = room < to_bound ? room : to_bound;
    return room < to_grow ? room : to_grow;
}

/* One of those; false when the index has a key of its hash, which may be the same. */
DLOAD_I_INLINE bool dload_i_follow(dload_i_core *c, dload_i_batch *b, uint64_t hash)
{
    uint32_t mask = c->refs_cap - 1;
    uint32_t h = dload_i_ref_hash(hash);
    uint32_t i = h & mask;
    for (; c->refs[i].batch != NULL; i = (i + 1) & mask) {
        if (c->refs[i].hash == h)
            return false;
    }
    c->refs[i].batch = b;
    c->refs[i].hash = h;
    c->refs[i].place = b->n;
    dload_i_flight_begin(&b->flights[b->n], hash);
    b->n++;
    c->n_refs++;
    c->n_flights++;
    c->n_open_keys++;
    c->stats.misses++;
    return true;
}

/* The reserved place has its key now. */
DLOAD_I_LOCAL void dload_i_commit(dload_i_core *c, dload_i_batch *b, uint64_t hash)
{
    dload_i_flight_begin(&b->flights[b->n], hash);
    dload_i_ref_add(c, b, b->n, hash);
    c->n_flights++;
    if (b->n == 0)
        dload_i_open_add(c, b);
    else if (c->settle_ns != 0)
        b->last_key_ns = dload_i_now(c->env);
    b->n++;
    c->n_open_keys++;
    if (b->n - b->n_dead >= c->max_batch)
        dload_i_enqueue(c, b, DLOAD_BY_SIZE);
    else if (c->expect != 0 && c->n_open_keys >= c->expect)
        dload_i_enqueue_all(c, DLOAD_BY_EXPECT);
}

/* ---- keys leave ---- */

/* n keys are in no batch any more: there is room for whoever waits longest for it. Without this they wait
 * for their next look: mutant ROOM_NO_WAKE. */
DLOAD_I_LOCAL void dload_i_leave(dload_i_core *c, uint32_t n)
{
    bool was_full = n != 0 && c->n_flights >= c->max_queue;
    c->n_flights -= n;
    if (was_full && c->line != NULL)
        dload_i_wake(c, c->line);
}

/* A call waits for room behind those who came before it. */
DLOAD_I_LOCAL void dload_i_line_enter(dload_i_core *c, dload_i_parker *p)
{
    p->in_line = true;
    p->next_in_line = NULL;
    *(c->line == NULL ? &c->line : &c->line_tail->next_in_line) = p;
    c->line_tail = p;
}

/* ... and does not any more: what room is left is for the next. */
DLOAD_I_LOCAL void dload_i_line_leave(dload_i_core *c, dload_i_parker *p)
{
    if (!p->in_line)
        return;
    p->in_line = false;
    dload_i_parker *before = NULL;
    for (dload_i_parker *q = c->line; q != p; q = q->next_in_line)
        before = q;
    *(before == NULL ? &c->line : &before->next_in_line) = p->next_in_line;
    if (c->line_tail == p)
        c->line_tail = before;
    if (c->line != NULL && c->n_flights < c->max_queue)
        dload_i_wake(c, c->line); /* mutant LINE_NO_NEXT */
}

/* Nobody is left who would send this batch: mutant DEAD_STAYS_QUEUED. */
DLOAD_I_LOCAL void dload_i_drop_dead(dload_i_core *c, dload_i_batch *b)
{
    if (b->state == DLOAD_I_OPEN) {
        dload_i_open_cut(c, b);
        if (c->open == NULL)
            c->tell_queued = false;
    } else {
        dload_i_batch *before = NULL;
        for (dload_i_batch *q = c->queue; q != b; q = q->next)
            before = q;
        (void)dload_i_queue_pop(c, before);
    }
    dload_i_batch_give(c, b);
}

/* A key that nobody wants leaves a batch that was not sent. */
DLOAD_I_LOCAL void dload_i_unwant(dload_i_core *c, dload_i_batch *b, uint32_t place)
{
    dload_i_flight *f = &b->flights[place];
    if (b->state >= DLOAD_I_RUNNING || f->head != NULL || f->many != NULL)
        return;
    f->dead = 1;
    b->n_dead++;
    c->n_open_keys -= b->state == DLOAD_I_OPEN;
    dload_i_leave(c, 1);
    dload_i_ref_remove(c, dload_i_ref_of(c, b, place));
    if (b->n_dead == b->n)
        dload_i_drop_dead(c, b);
}

/* A request gives up: with many, all its keys that were not answered, which get status. */
DLOAD_I_NOINLINE void dload_i_unwait(dload_i_core *c, dload_i_waiter *w, dload_status status)
{
    dload_i_batch *b = w->batch;
    uint32_t place = w->place;
    w->status = status;
    if (!w->many) {
        dload_i_unlink(w);
        dload_i_unwant(c, b, place);
        return;
    }
    (void)dload_i_delist(w);
    for (uint32_t i = 0; i < b->n; i++) { /* b may end with its last key, and then b->n is 0 */
        dload_i_flight *f = &b->flights[i];
        if (f->many != w)
            continue;
        f->many = NULL;
        if (w->parker->statuses != NULL)
            w->parker->statuses[w->position + f->at] = status;
        dload_i_unwant(c, b, i);
    }
}

#endif /* DLOAD_I_BATCH_H */
