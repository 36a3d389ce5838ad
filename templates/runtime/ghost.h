/* >>ghost -- the keys that S3-FIFO evicted from its small queue not long ago, as 64-bit hashes.
 *
 * A queue with look-up: a ring of hashes in the order of eviction, and an index of it. The index is
 * buckets, each one cache line: fifteen words of some bits of a hash and its position, found side by
 * side, and, in four classes, how many hashes wanted to be here and are further on. So a key that is not in the ghost, which
 * is what most are, costs one line and no guess. A hash taken out of the middle leaves a hole in the ring;
 * when holes have used up its spare eighth it is packed, which costs each entry a constant share.
 */
#ifndef DLOAD_I_GHOST_H
#define DLOAD_I_GHOST_H

#include "port.h"
#include "group.h"

#define DLOAD_I_BUCKET      16u /* words of a bucket; the last one is four overflow counts */
#define DLOAD_I_BUCKET_MEAN 11u /* hashes of one when the ghost is full */

typedef struct dload_i_ghost {
    uint64_t *ring;     /* 0 = hole */
    uint32_t *index;    /* words: hash << pos_bits | (position + 1), 0 = free */
    uint32_t n_ring;    /* size of the ring: limit and an eighth */
    uint32_t n_buckets; /* of the index */
    uint32_t pos_bits;  /* that n_ring takes */
    uint32_t limit;     /* hashes remembered; 0 = none */
    uint32_t n_live;
    uint32_t first; /* oldest position in use */
    uint32_t span;  /* positions in use, holes included */
} dload_i_ghost;

DLOAD_I_INLINE uint32_t dload_i_ghost_ring_size(uint32_t limit)
{
    return limit == 0 ? 0 : limit + limit / 8 + 4;
}

DLOAD_I_INLINE uint32_t dload_i_ghost_index_size(uint32_t limit)
{
    return limit == 0 ? 0 : (limit / DLOAD_I_BUCKET_MEAN + 2) * DLOAD_I_BUCKET;
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
    g->n_buckets = dload_i_ghost_index_size(limit) / DLOAD_I_BUCKET;
    while (g->n_ring >> g->pos_bits != 0)
        g->pos_bits++;
}

/* ---- the index ---- */

DLOAD_I_INLINE uint32_t *dload_i_ghost_bucket(const dload_i_ghost *g, uint64_t hash)
{
    return g->index + (size_t)dload_i_home(hash, g->n_buckets) * DLOAD_I_BUCKET;
}

DLOAD_I_INLINE uint32_t *dload_i_ghost_next(const dload_i_ghost *g, uint32_t *bucket)
{
    bucket += DLOAD_I_BUCKET;
    return bucket == g->index + (size_t)g->n_buckets * DLOAD_I_BUCKET ? g->index : bucket;
}

/* How many hashes of this one's class passed over a bucket; stays at DLOAD_I_OVER_MAX once there. */
DLOAD_I_INLINE uint8_t *dload_i_ghost_over(uint32_t *bucket, uint64_t hash)
{
    return (uint8_t *)(bucket + DLOAD_I_BUCKET - 1) + ((hash >> 32) & 3u);
}

/* Brings what looking for a hash begins with near. */
DLOAD_I_INLINE void dload_i_ghost_prefetch(const dload_i_ghost *g, uint64_t hash)
{
    DLOAD_I_PREFETCH(dload_i_ghost_bucket(g, hash));
}

/* Which of a bucket's words are want where mask has ones, a bit each. */
DLOAD_I_INLINE uint32_t dload_i_ghost_match(const uint32_t *bucket, uint32_t mask, uint32_t want)
{
#if DLOAD_I_SSE2
    const __m128i *at = (const __m128i *)(const void *)bucket;
    __m128i ones = _mm_shuffle_epi32(_mm_cvtsi32_si128((int)mask), 0);
    __m128i all = _mm_shuffle_epi32(_mm_cvtsi32_si128((int)want), 0);
    __m128i a = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(at), ones), all);
    __m128i b = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(at + 1), ones), all);
    __m128i c = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(at + 2), ones), all);
    __m128i d = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(at + 3), ones), all);
    __m128i bytes = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
    return (uint32_t)_mm_movemask_epi8(bytes) & 0x7fffu;
#else
    uint32_t found = 0;
    for (uint32_t i = 0; i < DLOAD_I_BUCKET - 1; i++)
        found |= (uint32_t)((bucket[i] & mask) == want) << i;
    return found;
#endif
}

DLOAD_I_INLINE uint32_t dload_i_ghost_word(const dload_i_ghost *g, uint64_t hash, uint32_t pos)
{
    return (uint32_t)hash << g->pos_bits | (pos + 1);
}

DLOAD_I_LOCAL void dload_i_ghost_index(dload_i_ghost *g, uint64_t hash, uint32_t pos)
{
    uint32_t *bucket = dload_i_ghost_bucket(g, hash);
    uint32_t free_ = dload_i_ghost_match(bucket, UINT32_MAX, 0);
    while (DLOAD_I_UNLIKELY(free_ == 0)) {
        uint8_t *over = dload_i_ghost_over(bucket, hash);
        if (*over < DLOAD_I_OVER_MAX)
            ++*over;
        bucket = dload_i_ghost_next(g, bucket);
        free_ = dload_i_ghost_match(bucket, UINT32_MAX, 0);
    }
    bucket[dload_i_ctz32(free_)] = dload_i_ghost_word(g, hash, pos);
}

/* Takes a hash that is at pos out of the index. */
DLOAD_I_LOCAL void dload_i_ghost_unindex(dload_i_ghost *g, uint64_t hash, uint32_t pos)
{
    uint32_t *bucket = dload_i_ghost_bucket(g, hash);
    uint32_t word = dload_i_ghost_word(g, hash, pos);
    uint32_t found = dload_i_ghost_match(bucket, UINT32_MAX, word);
    while (DLOAD_I_UNLIKELY(found == 0)) {
        uint8_t *over = dload_i_ghost_over(bucket, hash);
        if (*over < DLOAD_I_OVER_MAX)
            --*over;
        bucket = dload_i_ghost_next(g, bucket);
        found = dload_i_ghost_match(bucket, UINT32_MAX, word);
    }
    bucket[dload_i_ctz32(found)] = 0;
}

/* ---- the queue ---- */

DLOAD_I_INLINE uint32_t dload_i_ghost_step(const dload_i_ghost *g, uint32_t pos)
{
    return pos + 1 == g->n_ring ? 0 : pos + 1;
}

/* Which of these words, whose bits are those of hash, is in the index for it? */
DLOAD_I_NOINLINE bool dload_i_ghost_take_at(dload_i_ghost *g, uint64_t hash, const uint32_t *bucket,
                                            uint32_t found)
{
    for (; found != 0; found &= found - 1) {
        uint32_t word = bucket[dload_i_ctz32(found)];
        uint32_t pos = (word & ((UINT32_C(1) << g->pos_bits) - 1)) - 1;
        if (word == 0 || g->ring[pos] != hash)
            continue;
        dload_i_ghost_unindex(g, hash, pos);
        g->ring[pos] = 0;
        g->n_live--;
        return true;
    }
    return false;
}

/* Takes a hash out; true when it was there. */
DLOAD_I_LOCAL bool dload_i_ghost_take(dload_i_ghost *g, uint64_t hash)
{
    if (g->n_live == 0)
        return false;
    hash += hash == 0;
    const uint32_t mask = UINT32_MAX << g->pos_bits;
    const uint32_t want = (uint32_t)hash << g->pos_bits;
    uint32_t *bucket = dload_i_ghost_bucket(g, hash);
    for (uint32_t tried = 0; tried < g->n_buckets; tried++) {
        uint32_t found = dload_i_ghost_match(bucket, mask, want);
        if (DLOAD_I_UNLIKELY(found != 0) && dload_i_ghost_take_at(g, hash, bucket, found))
            return true;
        if (DLOAD_I_LIKELY(*dload_i_ghost_over(bucket, hash) == 0))
            return false;
        bucket = dload_i_ghost_next(g, bucket);
    }
    return false;
}

/* Closes the holes and indexes everything anew. */
DLOAD_I_NOINLINE void dload_i_ghost_pack(dload_i_ghost *g)
{
    uint32_t to = g->first;
    uint32_t from = g->first;
    memset(g->index, 0, (size_t)g->n_buckets * DLOAD_I_BUCKET * sizeof *g->index);
    for (uint32_t i = 0; i < g->span; i++) {
        uint64_t hash = g->ring[from];
        g->ring[from] = 0;
        from = dload_i_ghost_step(g, from);
        if (hash == 0)
            continue;
        g->ring[to] = hash;
        dload_i_ghost_index(g, hash, to);
        to = dload_i_ghost_step(g, to);
    }
    g->span = g->n_live;
}

/* The oldest position leaves the ring. */
DLOAD_I_LOCAL void dload_i_ghost_shift(dload_i_ghost *g)
{
    uint64_t hash = g->ring[g->first];
    if (hash != 0) {
        dload_i_ghost_unindex(g, hash, g->first);
        g->ring[g->first] = 0;
        g->n_live--;
    }
    g->first = dload_i_ghost_step(g, g->first);
    g->span--;
    dload_i_ghost_prefetch(g, g->ring[g->first]); /* the next to leave; a hole's does no harm */
}

/* Remembers a hash as the newest, forgetting the oldest when full. */
DLOAD_I_LOCAL void dload_i_ghost_add(dload_i_ghost *g, uint64_t hash)
{
    if (g->limit == 0)
        return;
    hash += hash == 0;
    while (g->n_live == g->limit)
        dload_i_ghost_shift(g);
    if (g->span == g->n_ring)
        dload_i_ghost_pack(g);
    uint32_t pos = g->first + g->span;
    pos = pos >= g->n_ring ? pos - g->n_ring : pos;
    g->ring[pos] = hash;
    dload_i_ghost_index(g, hash, pos);
    g->span++;
    g->n_live++;
}

#endif /* DLOAD_I_GHOST_H */
