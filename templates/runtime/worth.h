/* >>worth -- for snapshots: what an entry is worth to its policy, and an entry that comes back.
 *
 * Included by the first loader that has DLOAD_SNAPSHOT.
 */
#include "evict.h"

#if DLOAD_SNAPSHOT && !defined(DLOAD_I_WORTH_H)
#define DLOAD_I_WORTH_H

#define DLOAD_I_WORTH_MAX 32u

/* Is the worth of an entry in its meta word? FIFO and LRU have it in the order of their queue alone. */
DLOAD_I_INLINE bool dload_i_worth_in_meta(const dload_i_evict *e)
{
    return e->kind != DLOAD_EVICT_FIFO && e->kind != DLOAD_EVICT_LRU;
}

/* 1 .. DLOAD_I_WORTH_MAX, more is better: the main queue before the small one, then uses. */
DLOAD_I_LOCAL uint8_t dload_i_worth(const dload_i_evict *e, uint32_t slot)
{
    uint32_t meta = dload_i_meta_of(e, slot);
    uint32_t uses = (meta & DLOAD_I_META_USES) < 3 ? meta & DLOAD_I_META_USES : 3;
    return (uint8_t)(1 + uses + ((meta & DLOAD_I_META_MAIN) != 0 ? 4 : 0));
}

/* The worth of the entry that i of n are older than. */
DLOAD_I_LOCAL uint8_t dload_i_worth_at(uint32_t i, uint32_t n)
{
    uint32_t band = i < n ? (uint32_t)((uint64_t)i * DLOAD_I_WORTH_MAX / n) : DLOAD_I_WORTH_MAX - 1;
    return (uint8_t)(band + 1);
}

/* FIFO: the queue from the oldest side on. The last reference to a slot is the one that counts. */
DLOAD_I_LOCAL void dload_i_worth_by_queue(const dload_i_evict *e, uint8_t *worth)
{
    const dload_i_fifos *qs = &e->queues;
    const dload_i_fifo *q = &qs->q[DLOAD_I_SMALL];
    uint32_t n = 0;
    for (uint32_t at = q->tail; at != q->head; n++) {
        if (dload_i_fifo_at_link(at))
            at = qs->refs[at];
        worth[qs->refs[at++]] = dload_i_worth_at(n, q->n + qs->n_stale);
    }
}

/* Where a look through a list has come to, from the newest side on. */
typedef struct dload_i_walk {
    uint32_t next, last; /* slots */
    uint32_t n_seen;
} dload_i_walk;

DLOAD_I_LOCAL void dload_i_walk_begin(dload_i_walk *w)
{
    w->next = w->last = DLOAD_I_NO_SLOT;
    w->n_seen = 0;
}

/* LRU: gives the next n entries of the list, which has n_all, their worth by their place in it. The list may
 * have changed since the last call: when the place is lost, the entries that are left (older than all that
 * were seen) keep none. False at the end. */
DLOAD_I_LOCAL bool dload_i_walk_on(const dload_i_evict *e, dload_i_walk *w, uint8_t *worth,
                                   uint32_t n_all, uint32_t n)
{
    uint32_t slot = w->n_seen == 0 ? e->list.head : w->next;
    if (slot == DLOAD_I_NO_SLOT || (w->n_seen != 0 && e->links[slot].newer != w->last))
        return false;
    for (; n > 0 && slot != DLOAD_I_NO_SLOT; n--) {
        w->n_seen++;
        worth[slot] = dload_i_worth_at(w->n_seen < n_all ? n_all - w->n_seen : 0, n_all);
        w->last = slot;
        slot = e->links[slot].older;
    }
    w->next = slot;
    return slot != DLOAD_I_NO_SLOT;
}

/* ---- coming back ---- */

/* Links the entry at the oldest side. */
DLOAD_I_LOCAL void dload_i_list_put_back(dload_i_evict *e, uint32_t slot)
{
    e->links[slot].older = DLOAD_I_NO_SLOT;
    e->links[slot].newer = e->list.tail;
    if (e->list.tail != DLOAD_I_NO_SLOT)
        e->links[e->list.tail].older = slot;
    else
        e->list.head = slot;
    e->list.tail = slot;
}

/* The same for a queue that has references. */
DLOAD_I_LOCAL void dload_i_fifo_put_back(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    dload_i_fifo *q = &qs->q[which];
    if ((q->tail & DLOAD_I_CHAIN) == 0) {
        if (qs->free_chunk == DLOAD_I_NO_REF)
            dload_i_fifos_pack(qs);
        uint32_t chunk = dload_i_fifo_chunk_take(qs);
        qs->refs[chunk | DLOAD_I_CHAIN] = q->tail;
        q->tail = chunk | DLOAD_I_CHAIN;
    }
    qs->refs[--q->tail] = slot;
    q->n++;
}

/* Takes the newest reference of a queue back, if it is slot's and does not begin a chunk: a head never stands
 * there (but in a queue that nobody has been in). */
DLOAD_I_LOCAL bool dload_i_fifo_take_back(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    dload_i_fifo *q = &qs->q[which];
    if (q->head == q->tail || (q->head & DLOAD_I_CHAIN) < 2 || qs->refs[q->head - 1] != slot)
        return false;
    q->head--;
    q->n--;
    return true;
}

/* An entry that was just inserted is one that was here before: it has its uses and its queue again, and is
 * older than all others. (The first one of a queue stays where it is.) */
DLOAD_I_LOCAL void dload_i_evict_revive(dload_i_evict *e, uint32_t slot, uint32_t uses,
                                        bool in_main)
{
    if (e->kind == DLOAD_EVICT_NONE)
        return;
    uint32_t meta = dload_i_meta_of(e, slot);
    uint32_t which = (meta & DLOAD_I_META_MAIN) != 0 ? DLOAD_I_MAIN : DLOAD_I_SMALL;
    if (e->links != NULL) {
        dload_i_evict_remove(e, e->kind, slot);
        dload_i_list_put_back(e, slot);
    } else if (dload_i_fifo_take_back(&e->queues, which, slot)) {
        bool two = e->kind == DLOAD_EVICT_S3FIFO || e->kind == DLOAD_EVICT_ADAPTIVE;
        which = in_main && two ? DLOAD_I_MAIN : DLOAD_I_SMALL;
        if (e->queues.q[which].head == e->queues.q[which].tail)
            dload_i_fifo_push(&e->queues, which, slot);
        else
            dload_i_fifo_put_back(&e->queues, which, slot);
    }
    meta &= ~(DLOAD_I_META_USES | DLOAD_I_META_MAIN);
    meta |= which == DLOAD_I_MAIN ? DLOAD_I_META_MAIN : 0;
    dload_i_meta_set(e, slot, meta | (uses < e->max_uses ? uses : e->max_uses));
}

#endif /* DLOAD_I_WORTH_H */
