/* >>fifo -- first in, first out, of slot numbers: what FIFO, CLOCK and S3-FIFO keep their order in.
 *
 * A queue is a chain of chunks, each one cache line: fifteen slot numbers and the position of the next
 * chunk. So an entry costs 4.3 bytes, and whoever comes or goes touches memory that the one before it has
 * touched. Both queues of S3-FIFO take their chunks from one pool.
 *
 * What leaves from anywhere but the tail (a delete, an expiry) leaves its reference behind, stale.
 * References to one slot stand in the order in which they came, so the stale ones are always the older
 * ones: knowing how many a slot has is knowing which they are, even when the slot has a new entry
 * since. A bit in the slot's group says that there is one; how many more there are stands in a small
 * table. When the chunks or that table run out, all stale references are taken out at once. Both have
 * room for a share of the capacity, so that each removal pays a constant share of it.
 */
#ifndef DLOAD_I_FIFO_H
#define DLOAD_I_FIFO_H

#include "port.h"
#include "group.h"

#define DLOAD_I_CHAIN      15u /* references of a chunk; the word after them is its successor */
#define DLOAD_I_NO_REF     UINT32_MAX
#define DLOAD_I_QUEUES     2u /* of one pool, at most: as many as a group has masks */
#define DLOAD_I_MORE_SHARE 32u

typedef struct dload_i_fifo {
    uint32_t tail; /* position of the oldest reference */
    uint32_t head; /* ... and of where the next one goes; = tail: there is none */
    uint32_t n;    /* entries: references that are not stale */
} dload_i_fifo;

/* Stale references of a slot beyond the one that its group's bit stands for. */
typedef struct dload_i_more {
    uint32_t id; /* slot * 2 + queue + 1; 0 = free */
    uint32_t n;
} dload_i_more;

typedef struct dload_i_fifos {
    uint32_t *refs;        /* chunks of 16 words; a position is an index of it */
    dload_i_group *groups; /* whose bits say which slots have stale references */
    uint32_t free_chunk;   /* position; linked through its last word */
    uint32_t n_stale;
    dload_i_more *more;
    uint32_t more_size;
    uint32_t n_more;
    dload_i_fifo q[DLOAD_I_QUEUES];
} dload_i_fifos;

/* ---- sizes, for cap entries ---- */

DLOAD_I_INLINE uint32_t dload_i_fifo_chunks(uint32_t cap)
{
    /* Each queue has a chunk that is not full at both ends; a sixteenth is for stale references. */
    return (cap + cap / 16 + 16) / DLOAD_I_CHAIN + 1 + 2 * DLOAD_I_QUEUES;
}

DLOAD_I_INLINE uint32_t dload_i_fifo_more_size(uint32_t cap)
{
    return cap / DLOAD_I_MORE_SHARE + 4;
}

/* ---- chunks ---- */

DLOAD_I_INLINE bool dload_i_fifo_at_link(uint32_t pos)
{
    return (pos & DLOAD_I_CHAIN) == DLOAD_I_CHAIN;
}

DLOAD_I_LOCAL void dload_i_fifo_chunk_give(dload_i_fifos *qs, uint32_t chunk)
{
    qs->refs[chunk | DLOAD_I_CHAIN] = qs->free_chunk;
    qs->free_chunk = chunk;
}

DLOAD_I_LOCAL uint32_t dload_i_fifo_chunk_take(dload_i_fifos *qs)
{
    uint32_t chunk = qs->free_chunk;
    DLOAD_ASSERT(chunk != DLOAD_I_NO_REF);
    qs->free_chunk = qs->refs[chunk | DLOAD_I_CHAIN];
    return chunk;
}

/* refs, with room for dload_i_fifo_chunks(cap) chunks, and more are zeroed. */
DLOAD_I_LOCAL void dload_i_fifos_init(dload_i_fifos *qs, uint32_t cap, uint32_t *refs,
                                      dload_i_more *more, dload_i_group *groups)
{
    qs->refs = refs;
    qs->groups = groups;
    qs->more = more;
    qs->more_size = dload_i_fifo_more_size(cap);
    qs->n_more = 0;
    qs->n_stale = 0;
    qs->free_chunk = DLOAD_I_NO_REF;
    for (uint32_t i = dload_i_fifo_chunks(cap); i-- > 0;)
        dload_i_fifo_chunk_give(qs, i * (DLOAD_I_CHAIN + 1));
    for (uint32_t i = 0; i < DLOAD_I_QUEUES; i++) {
        qs->q[i].tail = qs->q[i].head = dload_i_fifo_chunk_take(qs);
        qs->q[i].n = 0;
    }
}

/* ---- stale references ---- */

/* Where the count of a slot is, or where it would be. The table is never full. */
DLOAD_I_LOCAL dload_i_more *dload_i_more_at(const dload_i_fifos *qs, uint32_t id)
{
    uint32_t at = (uint32_t)(((uint64_t)(id * UINT32_C(0x9e3779b1)) * qs->more_size) >> 32);
    while (qs->more[at].id != 0 && qs->more[at].id != id)
        at = at + 1 == qs->more_size ? 0 : at + 1;
    return &qs->more[at];
}

/* Is the oldest reference to slot in queue which a stale one? Then it no longer counts. */
DLOAD_I_NOINLINE bool dload_i_stale_drop(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    uint32_t *mask = &qs->groups[slot / DLOAD_I_GROUP_SLOTS].stale[which];
    uint32_t bit = UINT32_C(1) << (slot % DLOAD_I_GROUP_SLOTS);
    if ((*mask & bit) == 0)
        return false;
    qs->n_stale--;
    if (qs->n_more != 0) {
        dload_i_more *more = dload_i_more_at(qs, slot * 2 + which + 1);
        if (more->n != 0) {
            more->n--;
            return true;
        }
    }
    *mask &= ~bit;
    return true;
}

/* Takes the stale references out of one queue. */
DLOAD_I_LOCAL void dload_i_fifo_pack(dload_i_fifos *qs, uint32_t which)
{
    dload_i_fifo *q = &qs->q[which];
    uint32_t from = q->tail;
    uint32_t to = from;
    while (from != q->head) {
        if (dload_i_fifo_at_link(from))
            from = qs->refs[from];
        uint32_t slot = qs->refs[from++];
        if (dload_i_stale_drop(qs, which, slot))
            continue;
        if (dload_i_fifo_at_link(to))
            to = qs->refs[to];
        qs->refs[to++] = slot;
    }
    uint32_t last = q->head & ~DLOAD_I_CHAIN;
    for (uint32_t chunk = to & ~DLOAD_I_CHAIN; chunk != last;) {
        uint32_t next = qs->refs[chunk | DLOAD_I_CHAIN];
        if (chunk != (to & ~DLOAD_I_CHAIN))
            dload_i_fifo_chunk_give(qs, chunk);
        chunk = next;
    }
    if (last != (to & ~DLOAD_I_CHAIN))
        dload_i_fifo_chunk_give(qs, last);
    q->head = to;
}

DLOAD_I_COLD void dload_i_fifos_pack(dload_i_fifos *qs)
{
    for (uint32_t i = 0; i < DLOAD_I_QUEUES; i++)
        dload_i_fifo_pack(qs, i);
    DLOAD_ASSERT(qs->n_stale == 0);
    memset(qs->more, 0, qs->more_size * sizeof *qs->more);
    qs->n_more = 0;
}

/* The newest reference to slot, which is not stale, becomes so. */
DLOAD_I_NOINLINE void dload_i_stale_add(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    uint32_t *mask = &qs->groups[slot / DLOAD_I_GROUP_SLOTS].stale[which];
    uint32_t bit = UINT32_C(1) << (slot % DLOAD_I_GROUP_SLOTS);
    if ((*mask & bit) != 0) {
        uint32_t id = slot * 2 + which + 1;
        dload_i_more *more = dload_i_more_at(qs, id);
        if (more->id == 0 && qs->n_more + 1 > qs->more_size / 4 * 3) {
            dload_i_fifos_pack(qs);
            *mask |= bit;
        } else {
            qs->n_more += more->id == 0;
            more->id = id;
            more->n++;
        }
    } else {
        *mask |= bit;
    }
    qs->n_stale++;
}

/* ---- coming and going ---- */

/* The head's chunk is full: another one. */
DLOAD_I_NOINLINE uint32_t dload_i_fifo_extend(dload_i_fifos *qs, dload_i_fifo *q)
{
    if (qs->free_chunk == DLOAD_I_NO_REF)
        dload_i_fifos_pack(qs);
    if (!dload_i_fifo_at_link(q->head))
        return q->head;
    uint32_t chunk = dload_i_fifo_chunk_take(qs);
    qs->refs[q->head] = chunk;
    return chunk;
}

DLOAD_I_INLINE void dload_i_fifo_push(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    dload_i_fifo *q = &qs->q[which];
    uint32_t at = q->head;
    if (DLOAD_I_UNLIKELY(dload_i_fifo_at_link(at)))
        at = dload_i_fifo_extend(qs, q);
    qs->refs[at] = slot;
    q->head = at + 1;
    q->n++;
}

/* The tail's chunk has been read: on to the next. */
DLOAD_I_NOINLINE uint32_t dload_i_fifo_next(dload_i_fifos *qs, dload_i_fifo *q)
{
    uint32_t next = qs->refs[q->tail];
    dload_i_fifo_chunk_give(qs, q->tail & ~DLOAD_I_CHAIN);
    q->tail = next;
    return next;
}

/* The oldest entry of a queue that has one. */
DLOAD_I_INLINE uint32_t dload_i_fifo_oldest(dload_i_fifos *qs, uint32_t which)
{
    dload_i_fifo *q = &qs->q[which];
    for (;; q->tail++) {
        uint32_t at = q->tail;
        if (DLOAD_I_UNLIKELY(dload_i_fifo_at_link(at)))
            at = dload_i_fifo_next(qs, q);
        uint32_t slot = qs->refs[at];
        if (DLOAD_I_LIKELY(qs->n_stale == 0) || !dload_i_stale_drop(qs, which, slot))
            return slot;
    }
}

/* Takes out what dload_i_fifo_oldest has just returned. */
DLOAD_I_INLINE void dload_i_fifo_pop(dload_i_fifos *qs, uint32_t which)
{
    qs->q[which].tail++;
    qs->q[which].n--;
}

/* Takes an entry out that may not be the oldest. */
DLOAD_I_NOINLINE void dload_i_fifo_cut_far(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    if (dload_i_fifo_oldest(qs, which) != slot)
        dload_i_stale_add(qs, which, slot);
    else
        qs->q[which].tail++;
    qs->q[which].n--;
}

/* Takes an entry out, wherever it stands. */
DLOAD_I_INLINE void dload_i_fifo_cut(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    uint32_t at = qs->q[which].tail;
    if (DLOAD_I_LIKELY(qs->n_stale == 0 && !dload_i_fifo_at_link(at) && qs->refs[at] == slot))
        dload_i_fifo_pop(qs, which);
    else
        dload_i_fifo_cut_far(qs, which, slot);
}

/* Who is the n-th oldest, more or less: for prefetching alone. The last of a chunk stands in for those
 * after it, and what is stale has a line, too. */
DLOAD_I_INLINE uint32_t dload_i_fifo_ahead(const dload_i_fifos *qs, uint32_t which, uint32_t n)
{
    uint32_t at = qs->q[which].tail;
    uint32_t last = at | DLOAD_I_CHAIN;
    at = at + n < last ? at + n : last - 1;
    return qs->refs[at];
}

#endif /* DLOAD_I_FIFO_H */
