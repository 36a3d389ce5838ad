/* >>ghost -- the keys that S3-FIFO evicted from its small queue not long ago, as 64-bit hashes.
 *
 * A queue with look-up: a ring of hashes in the order of eviction, and chains through it by hash, each
 * from the newest to older ones. Nothing is unlinked: a position that left the ring, or was used again
 * since, is not older than the one that points at it, and there a chain ends. So forgetting the oldest
 * touches nothing but the ring. A hash taken out of the middle leaves a hole; when holes have used up
 * the ring's spare eighth it is packed, which costs each entry a constant share.
 */
#ifndef DLOAD_I_GHOST_H
#define DLOAD_I_GHOST_H

#include "port.h"

typedef struct dload_i_ghost {
    uint64_t *ring;  /* 0 = hole */
    uint32_t *next;  /* by position: the next older one of its chain + 1; 0 = none */
    uint32_t *head;  /* by hash: the newest of a chain + 1; 0 = none */
    uint32_t n_ring; /* size of ring and next: limit and an eighth */
    uint32_t limit;  /* hashes remembered, and chains; 0 = none */
    uint32_t n_live;
    uint32_t first; /* oldest position in use */
    uint32_t span;  /* positions in use, holes included */
} dload_i_ghost;

DLOAD_I_INLINE uint32_t dload_i_ghost_ring_size(uint32_t limit)
{
    return limit == 0 ? 0 : limit + limit / 8 + 4;
}

/* next and head together */
DLOAD_I_INLINE uint32_t dload_i_ghost_index_size(uint32_t limit)
{
    return limit == 0 ? 0 : dload_i_ghost_ring_size(limit) + limit;
}

/* ring and index are zeroed memory of the sizes above. */
DLOAD_I_LOCAL void dload_i_ghost_init(dload_i_ghost *g, uint32_t limit, uint64_t *ring,
                                      uint32_t *index)
{
    memset(g, 0, sizeof *g);
    g->ring = ring;
    g->limit = limit;
    g->n_ring = dload_i_ghost_ring_size(limit);
    g->next = index;
    g->head = limit == 0 ? index : index + g->n_ring;
}

DLOAD_I_INLINE uint32_t dload_i_ghost_chain(const dload_i_ghost *g, uint64_t hash)
{
    return (uint32_t)(((hash >> 32) * g->limit) >> 32);
}

DLOAD_I_INLINE uint32_t dload_i_ghost_step(const dload_i_ghost *g, uint32_t pos)
{
    return pos + 1 == g->n_ring ? 0 : pos + 1;
}

/* How far a position is from the oldest one; >= span for one that is not in use. */
DLOAD_I_INLINE uint32_t dload_i_ghost_rank(const dload_i_ghost *g, uint32_t pos)
{
    return pos >= g->first ? pos - g->first : pos + g->n_ring - g->first;
}

/* Takes a hash out; true when it was there. */
DLOAD_I_LOCAL bool dload_i_ghost_take(dload_i_ghost *g, uint64_t hash)
{
    if (g->n_live == 0)
        return false;
    hash += hash == 0;
    uint32_t newer = g->span;
    for (uint32_t at = g->head[dload_i_ghost_chain(g, hash)]; at != 0; at = g->next[at - 1]) {
        uint32_t rank = dload_i_ghost_rank(g, at - 1);
        if (rank >= newer)
            return false;
        if (g->ring[at - 1] == hash) {
            g->ring[at - 1] = 0;
            g->n_live--;
            return true;
        }
        newer = rank;
    }
    return false;
}

/* The newest position gets a hash and heads its chain. */
DLOAD_I_LOCAL void dload_i_ghost_write(dload_i_ghost *g, uint32_t pos, uint64_t hash)
{
    uint32_t *head = &g->head[dload_i_ghost_chain(g, hash)];
    g->ring[pos] = hash;
    g->next[pos] = *head;
    *head = pos + 1;
}

/* Closes the holes and chains everything anew. */
DLOAD_I_NOINLINE void dload_i_ghost_pack(dload_i_ghost *g)
{
    uint32_t to = g->first;
    uint32_t from = g->first;
    memset(g->head, 0, g->limit * sizeof *g->head);
    for (uint32_t i = 0; i < g->span; i++) {
        uint64_t hash = g->ring[from];
        g->ring[from] = 0;
        from = dload_i_ghost_step(g, from);
        if (hash == 0)
            continue;
        dload_i_ghost_write(g, to, hash);
        to = dload_i_ghost_step(g, to);
    }
    g->span = g->n_live;
}

/* The oldest position leaves the ring. */
DLOAD_I_LOCAL void dload_i_ghost_shift(dload_i_ghost *g)
{
    g->n_live -= g->ring[g->first] != 0;
    g->ring[g->first] = 0;
    g->first = dload_i_ghost_step(g, g->first);
    g->span--;
}

/* Remembers a hash as the newest, forgetting the oldest when full. */
DLOAD_I_LOCAL void dload_i_ghost_add(dload_i_ghost *g, uint64_t hash)
{
    if (g->limit == 0)
        return;
    while (g->n_live == g->limit)
        dload_i_ghost_shift(g);
    if (g->span == g->n_ring)
        dload_i_ghost_pack(g);
    uint32_t pos = g->first + g->span;
    dload_i_ghost_write(g, pos >= g->n_ring ? pos - g->n_ring : pos, hash + (hash == 0));
    g->span++;
    g->n_live++;
}

#endif /* DLOAD_I_GHOST_H */
