/* >>evict -- who leaves when room is needed: policies on slot numbers.
 *
 * A hit changes at most two bits in its own slot's meta word (LRU moves a link); everything else
 * happens when an entry comes or goes. The rules are the textbook ones, to the letter, so that miss
 * counts can be compared with published ones: FIFO, CLOCK (second chance), LRU, SIEVE (Zhang et al.,
 * NSDI 2024; it can freeze on traces where most entries are seen twice), S3-FIFO (Yang et al., SOSP
 * 2023, promotion at two uses). The one of our own is in adaptive.h.
 */
#ifndef DLOAD_I_EVICT_H
#define DLOAD_I_EVICT_H

#include "port.h"
#include "group.h"
#include "ghost.h"
#include "fifo.h"
#include "past.h"

/* The meta word of a slot; see the slot's type. The uses have a byte to themselves, the only one that a
 * reader without the lock may write: a store that comes late then changes nothing but a count. */
#define DLOAD_I_META_USES    0xffu
#define DLOAD_I_META_MAIN    0x100u
#define DLOAD_I_META_EXPIRES 0x200u
#define DLOAD_I_META_PINNED  0x400u  /* in no queue: the policy does not know of it */
#define DLOAD_I_META_DRAWN   0x800u  /* with DLOAD_REFRESH: to be refreshed early */
#define DLOAD_I_META_REASON  12u     /* three bits from there on: see weight.h */
#define DLOAD_I_META_ERROR   0x8000u /* next to the epoch: one comparison finds both */
#define DLOAD_I_EPOCH_ONE    0x10000u
#define DLOAD_I_EPOCH_MASK   0xffff0000u

/* LRU and SIEVE move entries from the middle, and keep their order in links: head is the newest side,
 * tail the oldest. */
typedef struct dload_i_list {
    uint32_t head, tail;
} dload_i_list;

typedef struct dload_i_link {
    uint32_t newer, older; /* slots, or DLOAD_I_NO_SLOT */
} dload_i_link;

/* The queues of the others; S3-FIFO has both, and its meta bit says which one an entry is in. */
#define DLOAD_I_SMALL 0u
#define DLOAD_I_MAIN  1u

typedef struct dload_i_evict {
    dload_i_fifos queues; /* FIFO, CLOCK, S3-FIFO */
    dload_i_link *links;  /* LRU, SIEVE: by slot; else NULL */
    dload_i_list list;
    char *meta;          /* meta word of slot 0; */
    size_t stride_bytes; /* ... and from one to the next */
    uint32_t kind;       /* DLOAD_EVICT_NONE .. ADAPTIVE; AUTO is resolved at init */
    uint32_t max_uses;   /* where a hit stops counting: 0, 1 or 3 */
    uint32_t main_limit;
    uint32_t hand; /* SIEVE: where it goes on; DLOAD_I_NO_SLOT = at the tail */
    dload_i_ghost ghost;
    /* the full hash of a slot's key, for what ADAPTIVE remembers */
    uint64_t (*hash_of)(const void *slot, const uint64_t *hash_key);
    const uint64_t *hash_key;   /* NULL = a hash without a secret */
    dload_i_adaptive *adaptive; /* ADAPTIVE's; else NULL */
} dload_i_evict;

DLOAD_I_INLINE uint32_t *dload_i_meta(const dload_i_evict *e, uint32_t slot)
{
    return (uint32_t *)(void *)(e->meta + (size_t)slot * e->stride_bytes);
}

/* Readers may count a use meanwhile: every access is atomic, none needs an order. */
DLOAD_I_INLINE uint32_t dload_i_meta_of(const dload_i_evict *e, uint32_t slot)
{
    return DLOAD_I_LOAD_RELAXED(dload_i_meta(e, slot));
}

DLOAD_I_INLINE void dload_i_meta_set(const dload_i_evict *e, uint32_t slot, uint32_t meta)
{
    DLOAD_I_STORE_RELAXED(dload_i_meta(e, slot), meta);
}

/* The byte of a meta word that counts uses. */
DLOAD_I_INLINE uint8_t *dload_i_uses(uint32_t *meta)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (uint8_t *)meta + 3;
#else
    return (uint8_t *)meta;
#endif
}

/* Counts one use, up to max; written only when it changes, so that a popular entry's line stays clean. */
DLOAD_I_INLINE void dload_i_count_use(uint32_t *meta, uint32_t seen, uint32_t max)
{
    if (DLOAD_I_UNLIKELY((seen & DLOAD_I_META_USES) < max))
        DLOAD_I_STORE_RELAXED(dload_i_uses(meta), (uint8_t)((seen & DLOAD_I_META_USES) + 1));
}

/* AUTO: tiny caches do better with CLOCK, all others with S3-FIFO (see the traces' regret table). */
DLOAD_I_LOCAL uint32_t dload_i_evict_kind(uint32_t asked, uint32_t cap)
{
    if (asked != DLOAD_EVICT_AUTO)
        return asked;
    return cap < 256 ? DLOAD_EVICT_CLOCK : DLOAD_EVICT_S3FIFO;
}

DLOAD_I_INLINE uint32_t dload_i_ghost_limit(uint32_t kind, uint32_t cap)
{
    return kind == DLOAD_EVICT_S3FIFO ? (uint32_t)((uint64_t)cap * 9 / 10) : 0;
}

DLOAD_I_INLINE bool dload_i_evict_has_links(uint32_t kind)
{
    return kind == DLOAD_EVICT_LRU || kind == DLOAD_EVICT_SIEVE;
}

DLOAD_I_INLINE bool dload_i_evict_has_queues(uint32_t kind)
{
    return kind != DLOAD_EVICT_NONE && !dload_i_evict_has_links(kind);
}

/* Sets up everything but queues, links, meta and the ghost's memory. */
DLOAD_I_LOCAL void dload_i_evict_init(dload_i_evict *e, uint32_t kind, uint32_t cap)
{
    e->kind = kind;
    e->max_uses = kind == DLOAD_EVICT_S3FIFO || kind == DLOAD_EVICT_ADAPTIVE ? 3
                  : kind == DLOAD_EVICT_CLOCK || kind == DLOAD_EVICT_SIEVE   ? 1
                                                                             : 0;
    e->list.head = e->list.tail = DLOAD_I_NO_SLOT;
    e->main_limit = cap - (cap / 10 > 1 ? cap / 10 : 1);
    e->hand = DLOAD_I_NO_SLOT;
}

DLOAD_I_LOCAL void dload_i_list_push(dload_i_evict *e, uint32_t slot)
{
    e->links[slot].newer = DLOAD_I_NO_SLOT;
    e->links[slot].older = e->list.head;
    if (e->list.head != DLOAD_I_NO_SLOT)
        e->links[e->list.head].newer = slot;
    else
        e->list.tail = slot;
    e->list.head = slot;
}

DLOAD_I_LOCAL void dload_i_list_cut(dload_i_evict *e, uint32_t slot)
{
    dload_i_link link = e->links[slot];
    if (link.newer != DLOAD_I_NO_SLOT)
        e->links[link.newer].older = link.older;
    else
        e->list.head = link.older;
    if (link.older != DLOAD_I_NO_SLOT)
        e->links[link.older].newer = link.newer;
    else
        e->list.tail = link.newer;
}

/* A hit under LRU. */
DLOAD_I_LOCAL void dload_i_lru_touch(dload_i_evict *e, uint32_t slot)
{
    if (e->list.head == slot)
        return;
    dload_i_list_cut(e, slot);
    dload_i_list_push(e, slot);
}

/* A new entry; its meta word has no uses and no main bit. */
DLOAD_I_INLINE void dload_i_evict_insert(dload_i_evict *e, uint32_t asked, uint32_t slot,
                                         bool was_ghost)
{
    if (e->kind == DLOAD_EVICT_NONE)
        return;
    if (asked == DLOAD_EVICT_ADAPTIVE)
        e->adaptive->since[slot] = e->adaptive->now;
    if (dload_i_evict_has_links(asked)) {
        dload_i_list_push(e, slot);
        return;
    }
    if (was_ghost)
        dload_i_meta_set(e, slot, dload_i_meta_of(e, slot) | DLOAD_I_META_MAIN);
    dload_i_fifo_push(&e->queues, was_ghost ? DLOAD_I_MAIN : DLOAD_I_SMALL, slot);
}

/* An entry goes, whatever the reason. */
DLOAD_I_INLINE void dload_i_evict_remove(dload_i_evict *e, uint32_t asked, uint32_t slot)
{
    if (e->kind == DLOAD_EVICT_NONE)
        return;
    if (dload_i_evict_has_links(asked)) {
        if (e->hand == slot)
            e->hand = e->links[slot].newer;
        dload_i_list_cut(e, slot);
        return;
    }
    bool in_main = (dload_i_meta_of(e, slot) & DLOAD_I_META_MAIN) != 0;
    dload_i_fifo_cut(&e->queues, in_main ? DLOAD_I_MAIN : DLOAD_I_SMALL, slot);
}

/* The same for a policy's choice, which in a queue is the oldest. */
DLOAD_I_INLINE void dload_i_evict_pop(dload_i_evict *e, uint32_t asked, uint32_t slot)
{
    if (dload_i_evict_has_links(asked))
        dload_i_evict_remove(e, asked, slot);
    else
        dload_i_fifo_pop(&e->queues, (dload_i_meta_of(e, slot) & DLOAD_I_META_MAIN) != 0);
}

/* Brings the entry after next of a queue near: by the time it is asked for, its line and its group's are
 * there. Who is rotated on the way there was brought before. */
DLOAD_I_INLINE void dload_i_evict_prefetch(const dload_i_evict *e, uint32_t which)
{
    uint32_t slot = dload_i_fifo_ahead(&e->queues, which, 2);
    DLOAD_I_PREFETCH(dload_i_meta(e, slot));
    DLOAD_I_PREFETCH(&e->queues.groups[slot / DLOAD_I_GROUP_SLOTS]);
}

DLOAD_I_LOCAL uint32_t dload_i_clock_victim(dload_i_evict *e)
{
    for (;;) {
        uint32_t slot = dload_i_fifo_oldest(&e->queues, DLOAD_I_SMALL);
        dload_i_evict_prefetch(e, DLOAD_I_SMALL);
        uint32_t meta = dload_i_meta_of(e, slot);
        if ((meta & DLOAD_I_META_USES) == 0)
            return slot;
        dload_i_meta_set(e, slot, meta & ~DLOAD_I_META_USES);
        dload_i_fifo_pop(&e->queues, DLOAD_I_SMALL);
        dload_i_fifo_push(&e->queues, DLOAD_I_SMALL, slot);
    }
}

DLOAD_I_LOCAL uint32_t dload_i_sieve_victim(dload_i_evict *e)
{
    uint32_t slot = e->hand != DLOAD_I_NO_SLOT ? e->hand : e->list.tail;
    for (;;) {
        uint32_t meta = dload_i_meta_of(e, slot);
        if ((meta & DLOAD_I_META_USES) == 0)
            break;
        dload_i_meta_set(e, slot, meta & ~DLOAD_I_META_USES);
        uint32_t newer = e->links[slot].newer;
        slot = newer != DLOAD_I_NO_SLOT ? newer : e->list.tail;
    }
    e->hand = slot; /* removing it moves the hand on */
    return slot;
}

/* From main: used entries go round again, with one use less. */
DLOAD_I_LOCAL uint32_t dload_i_main_victim(dload_i_evict *e)
{
    for (;;) {
        uint32_t slot = dload_i_fifo_oldest(&e->queues, DLOAD_I_MAIN);
        dload_i_evict_prefetch(e, DLOAD_I_MAIN);
        uint32_t meta = dload_i_meta_of(e, slot);
        if ((meta & DLOAD_I_META_USES) == 0)
            return slot;
        dload_i_meta_set(e, slot, meta - 1);
        dload_i_fifo_pop(&e->queues, DLOAD_I_MAIN);
        dload_i_fifo_push(&e->queues, DLOAD_I_MAIN, slot);
    }
}

/* From small, whose entries with two uses are promoted until one has fewer, even when main grows past
 * its limit meanwhile; only when small runs empty is main asked. Who leaves small is to be remembered. */
DLOAD_I_LOCAL uint32_t dload_i_s3fifo_victim(dload_i_evict *e, bool *remember)
{
    dload_i_fifos *qs = &e->queues;
    if (qs->q[DLOAD_I_MAIN].n > e->main_limit)
        return dload_i_main_victim(e);
    while (qs->q[DLOAD_I_SMALL].n != 0) {
        uint32_t slot = dload_i_fifo_oldest(qs, DLOAD_I_SMALL);
        dload_i_evict_prefetch(e, DLOAD_I_SMALL);
        uint32_t meta = dload_i_meta_of(e, slot);
        if ((meta & DLOAD_I_META_USES) < 2) {
            *remember = true;
            return slot;
        }
        dload_i_meta_set(e, slot, (meta & ~DLOAD_I_META_USES) | DLOAD_I_META_MAIN);
        dload_i_fifo_pop(qs, DLOAD_I_SMALL);
        dload_i_fifo_push(qs, DLOAD_I_MAIN, slot);
    }
    return dload_i_main_victim(e);
}

#endif /* DLOAD_I_EVICT_H */
