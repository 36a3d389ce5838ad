/* >>ghost -- the keys that S3-FIFO evicted from its small queue not long ago, as 64-bit hashes.
 *
 * A queue with look-up: a ring of hashes in order of eviction, and an index from hash to position. A
 * hash taken out of the middle leaves a hole; when holes have used up the ring's spare quarter, it
 * is packed, which costs each entry a constant share.
 */
#ifndef DLOAD_I_GHOST_H
#define DLOAD_I_GHOST_H

#include "port.h"

typedef struct dload_i_ghost {
    uint64_t *ring;   /* 0 = hole */
    uint32_t *index;  /* position in the ring + 1; 0 = free; linear probing */
    uint32_t n_ring;  /* size of the ring: limit and a quarter */
    uint32_t n_index; /* size of the index: one and a half times limit */
    uint32_t limit;   /* hashes remembered; 0 = none */
    uint32_t n_live;
    uint32_t first; /* oldest position in use */
    uint32_t span;  /* positions in use, holes included */
} dload_i_ghost;

DLOAD_I_INLINE uint32_t dload_i_ghost_ring_size(uint32_t limit)
{
    return limit == 0 ? 0 : limit + limit / 4 + 4;
}

DLOAD_I_INLINE uint32_t dload_i_ghost_index_size(uint32_t limit)
{
    return limit == 0 ? 0 : limit + limit / 2 + 4;
}

/* ring and index are zeroed memory of the sizes above. */
DLOAD_I_LOCAL void dload_i_ghost_init(dload_i_ghost *g, uint32_t limit, uint64_t *ring,
                                      uint32_t *index)
{
    memset(g, 0, sizeof *g);
    g->ring = ring;
    g->index = index;
    g->limit = limit;
    g->n_ring = dload_i_ghost_ring_size(limit);
    g->n_index = dload_i_ghost_index_size(limit);
}

DLOAD_I_INLINE uint32_t dload_i_ghost_home(const dload_i_ghost *g, uint64_t hash)
{
    return (uint32_t)(((hash >> 32) * g->n_index) >> 32);
}

DLOAD_I_INLINE uint32_t dload_i_ghost_step(const dload_i_ghost *g, uint32_t i)
{
    return i + 1 == g->n_index ? 0 : i + 1;
}

DLOAD_I_LOCAL void dload_i_ghost_link(dload_i_ghost *g, uint32_t pos)
{
    uint32_t i = dload_i_ghost_home(g, g->ring[pos]);
    while (g->index[i] != 0)
        i = dload_i_ghost_step(g, i);
    g->index[i] = pos + 1;
}

/* Closes the gap at i: entries after it move back unless that would pass their home. */
DLOAD_I_LOCAL void dload_i_ghost_unlink(dload_i_ghost *g, uint32_t i)
{
    uint32_t gap = i;
    for (uint32_t j = dload_i_ghost_step(g, i); g->index[j] != 0; j = dload_i_ghost_step(g, j)) {
        uint32_t home = dload_i_ghost_home(g, g->ring[g->index[j] - 1]);
        bool stays = gap < j ? (home > gap && home <= j) : (home > gap || home <= j);
        if (stays)
            continue;
        g->index[gap] = g->index[j];
        gap = j;
    }
    g->index[gap] = 0;
}

/* Where in the index the hash is, or n_index. */
DLOAD_I_LOCAL uint32_t dload_i_ghost_find(const dload_i_ghost *g, uint64_t hash)
{
    uint32_t i = dload_i_ghost_home(g, hash);
    while (g->index[i] != 0) {
        if (g->ring[g->index[i] - 1] == hash)
            return i;
        i = dload_i_ghost_step(g, i);
    }
    return g->n_index;
}

/* Takes a hash out; true when it was there. */
DLOAD_I_LOCAL bool dload_i_ghost_take(dload_i_ghost *g, uint64_t hash)
{
    if (g->n_live == 0)
        return false;
    hash += hash == 0;
    uint32_t i = dload_i_ghost_find(g, hash);
    if (i == g->n_index)
        return false;
    uint32_t pos = g->index[i] - 1;
    dload_i_ghost_unlink(g, i);
    g->ring[pos] = 0;
    g->n_live--;
    return true;
}

DLOAD_I_LOCAL void dload_i_ghost_drop_oldest(dload_i_ghost *g)
{
    while (g->ring[g->first] == 0) {
        g->first = g->first + 1 == g->n_ring ? 0 : g->first + 1;
        g->span--;
    }
    dload_i_ghost_unlink(g, dload_i_ghost_find(g, g->ring[g->first]));
    g->ring[g->first] = 0;
    g->n_live--;
}

DLOAD_I_LOCAL void dload_i_ghost_pack(dload_i_ghost *g)
{
    uint32_t to = g->first;
    uint32_t from = g->first;
    for (uint32_t i = 0; i < g->span; i++) {
        uint64_t hash = g->ring[from];
        g->ring[from] = 0;
        from = from + 1 == g->n_ring ? 0 : from + 1;
        if (hash == 0)
            continue;
        g->ring[to] = hash;
        to = to + 1 == g->n_ring ? 0 : to + 1;
    }
    g->span = g->n_live;
    memset(g->index, 0, g->n_index * sizeof *g->index);
    for (uint32_t i = 0, pos = g->first; i < g->span; i++) {
        dload_i_ghost_link(g, pos);
        pos = pos + 1 == g->n_ring ? 0 : pos + 1;
    }
}

/* Remembers a hash as the newest, forgetting the oldest when full. */
DLOAD_I_LOCAL void dload_i_ghost_add(dload_i_ghost *g, uint64_t hash)
{
    if (g->limit == 0)
        return;
    hash += hash == 0;
    if (g->n_live == g->limit)
        dload_i_ghost_drop_oldest(g);
    if (g->span == g->n_ring)
        dload_i_ghost_pack(g);
    uint32_t pos = g->first + g->span;
    if (pos >= g->n_ring)
        pos -= g->n_ring;
    g->ring[pos] = hash;
    g->span++;
    g->n_live++;
    dload_i_ghost_link(g, pos);
}

#endif /* DLOAD_I_GHOST_H */
