/* >>ghost -- the keys that S3-FIFO evicted from its small queue not long ago.
 *
 * A queue with look-up, and the look-up is all there is. Each key gets the time of its eviction, a count,
 * and lives in a bucket of two cache lines: fifteen marks, 32 bits of hashes, and fifteen times, looked at side
 * by side. The queue is a window of times: a key older than its first is forgotten without being touched, and
 * whoever comes next takes its place. What a full bucket passed on, always its oldest key, it knows by time
 * as well: when the last of those is forgotten nobody looks further any more. So a key that is not in
 * the ghost, which is what most are, costs one line, and remembering another two.
 *
 * A key that is taken out leaves a hole in the window: a bit for each time says whether its key is still
 * there, so that exactly the oldest goes when one too many is. When holes have used up the spare
 * quarter of those bits, times are counted anew without them, which costs each entry a constant share.
 *
 * Keys are told apart by bucket and mark: one look in 2^28 takes one for another, which then comes into the
 * main queue too early, and nothing else.
 */
#ifndef DLOAD_I_GHOST_H
#define DLOAD_I_GHOST_H

#include "port.h"
#include "group.h"

#define DLOAD_I_BUCKET 15u /* keys of a bucket */

typedef struct dload_i_ghost_bucket {
    uint32_t marks[DLOAD_I_BUCKET];
    uint32_t passed;                    /* the latest time of a key that found no room here */
    uint32_t times[DLOAD_I_BUCKET + 1]; /* 0 = free; the last one is not used */
} dload_i_ghost_bucket;

typedef struct dload_i_ghost {
    dload_i_ghost_bucket *buckets;
    uint64_t *there;  /* a bit each time: its key has not been taken */
    uint32_t *before; /* scratch of _recount: how many bits before each word */
    uint32_t n_buckets;
    uint32_t n_bits;   /* the longest window */
    uint32_t limit;    /* keys remembered; 0 = none */
    uint32_t n_live;   /* keys there */
    uint32_t first;    /* the window: its oldest time, ... */
    uint32_t next;     /* ... and the one after its newest */
    uint32_t first_at; /* the bit of first */
} dload_i_ghost;

DLOAD_I_INLINE uint32_t dload_i_ghost_buckets(uint32_t limit)
{
    return limit == 0 ? 0 : limit / 21 * 2 + 3; /* full by 70 % */
}

/* 64-bit words of bits; as many 32-bit words of scratch. */
DLOAD_I_INLINE uint32_t dload_i_ghost_words(uint32_t limit)
{
    return limit == 0 ? 0 : limit / 64 + limit / 256 + 2;
}

/* How many pieces of memory a ghost takes, each a bucket's size. */
DLOAD_I_INLINE size_t dload_i_ghost_pieces(uint32_t limit)
{
    size_t n_words = dload_i_ghost_words(limit);
    return dload_i_ghost_buckets(limit) +
           (n_words * (sizeof(uint64_t) + sizeof(uint32_t)) + sizeof(dload_i_ghost_bucket) - 1) /
               sizeof(dload_i_ghost_bucket);
}

/* memory is zeroed, for as many pieces as above, and aligned to 64 bytes. */
DLOAD_I_LOCAL void dload_i_ghost_init(dload_i_ghost *g, uint32_t limit, void *memory)
{
    uint32_t n_words = dload_i_ghost_words(limit);
    memset(g, 0, sizeof *g);
    g->n_buckets = dload_i_ghost_buckets(limit);
    g->buckets = (dload_i_ghost_bucket *)memory;
    g->there = (uint64_t *)(void *)(g->buckets + g->n_buckets);
    g->before = (uint32_t *)(void *)(g->there + n_words);
    g->n_bits = n_words * 64;
    g->limit = limit;
    g->first = g->next = 1; /* so that 0 is a time long gone */
}

/* ---- one bucket ---- */

DLOAD_I_INLINE uint32_t dload_i_ghost_mark(uint64_t hash)
{
    return (uint32_t)(hash ^ hash >> 28);
}

DLOAD_I_INLINE dload_i_ghost_bucket *dload_i_ghost_home(const dload_i_ghost *g, uint64_t hash)
{
    return &g->buckets[dload_i_home(hash, g->n_buckets)];
}

DLOAD_I_INLINE dload_i_ghost_bucket *dload_i_ghost_further(const dload_i_ghost *g,
                                                           dload_i_ghost_bucket *b)
{
    return b + 1 == g->buckets + g->n_buckets ? g->buckets : b + 1;
}

/* Brings what looking for a hash begins with near. */
DLOAD_I_INLINE void dload_i_ghost_prefetch(const dload_i_ghost *g, uint64_t hash)
{
    DLOAD_I_PREFETCH(dload_i_ghost_home(g, hash)->marks);
}

/* Is a time before the window? Times stay below 2^31, so that their differences have signs. */
DLOAD_I_INLINE bool dload_i_ghost_gone(const dload_i_ghost *g, uint32_t time)
{
    return time < g->first;
}

#if DLOAD_I_SSE2
/* The signs of sixteen numbers, a bit each, but for the last one's. */
DLOAD_I_INLINE uint32_t dload_i_ghost_signs(__m128i a, __m128i b, __m128i c, __m128i d)
{
    __m128i bytes = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
    return (uint32_t)_mm_movemask_epi8(bytes) & 0x7fffu;
}
#endif

/* Which marks of a bucket are this one: a bit each. */
DLOAD_I_INLINE uint32_t dload_i_ghost_match(const dload_i_ghost_bucket *b, uint32_t mark)
{
#if DLOAD_I_SSE2
    const __m128i *at = (const __m128i *)(const void *)b->marks;
    __m128i all = _mm_shuffle_epi32(_mm_cvtsi32_si128((int)mark), 0);
    return dload_i_ghost_signs(
        _mm_cmpeq_epi32(_mm_load_si128(at), all), _mm_cmpeq_epi32(_mm_load_si128(at + 1), all),
        _mm_cmpeq_epi32(_mm_load_si128(at + 2), all), _mm_cmpeq_epi32(_mm_load_si128(at + 3), all));
#else
    uint32_t found = 0;
    for (uint32_t i = 0; i < DLOAD_I_BUCKET; i++)
        found |= (uint32_t)(b->marks[i] == mark) << i;
    return found;
#endif
}

/* Which places of a bucket are free: a bit each. */
DLOAD_I_INLINE uint32_t dload_i_ghost_free(const dload_i_ghost *g, const dload_i_ghost_bucket *b)
{
#if DLOAD_I_SSE2
    const __m128i *at = (const __m128i *)(const void *)b->times;
    __m128i all = _mm_shuffle_epi32(_mm_cvtsi32_si128((int)g->first), 0);
    return dload_i_ghost_signs(
        _mm_sub_epi32(_mm_load_si128(at), all), _mm_sub_epi32(_mm_load_si128(at + 1), all),
        _mm_sub_epi32(_mm_load_si128(at + 2), all), _mm_sub_epi32(_mm_load_si128(at + 3), all));
#else
    uint32_t free_ = 0;
    for (uint32_t i = 0; i < DLOAD_I_BUCKET; i++)
        free_ |= (uint32_t)dload_i_ghost_gone(g, b->times[i]) << i;
    return free_;
#endif
}

/* ---- the window ---- */

/* The bit of a time in the window. */
DLOAD_I_INLINE uint32_t dload_i_ghost_bit(const dload_i_ghost *g, uint32_t time)
{
    uint32_t at = g->first_at + (time - g->first);
    return at >= g->n_bits ? at - g->n_bits : at;
}

/* The oldest key leaves the window, and the holes before it. */
DLOAD_I_INLINE void dload_i_ghost_forget(dload_i_ghost *g)
{
    uint32_t at = g->first_at;
    uint32_t n_holes = 0;
    while ((g->there[at / 64] >> (at % 64) & 1) == 0) {
        at = at + 1 == g->n_bits ? 0 : at + 1;
        n_holes++;
    }
    g->there[at / 64] ^= UINT64_C(1) << (at % 64);
    g->first_at = at + 1 == g->n_bits ? 0 : at + 1;
    g->first += n_holes + 1;
    g->n_live--;
}

DLOAD_I_LOCAL uint32_t dload_i_count_bits(uint64_t x)
{
    x -= (x >> 1) & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + ((x >> 2) & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (uint32_t)((x * UINT64_C(0x0101010101010101)) >> 56);
}

/* How many keys are there that went before time. */
DLOAD_I_LOCAL uint32_t dload_i_ghost_rank(const dload_i_ghost *g, uint32_t time)
{
    uint32_t rank[2];
    uint32_t at[2] = {g->first_at, dload_i_ghost_bit(g, time)};
    for (int i = 0; i < 2; i++) {
        uint64_t below = (UINT64_C(1) << (at[i] % 64)) - 1;
        rank[i] = g->before[at[i] / 64] + dload_i_count_bits(g->there[at[i] / 64] & below);
    }
    return at[1] >= at[0] ? rank[1] - rank[0] : g->n_live - rank[0] + rank[1];
}

/* What a time will be when there are no holes before it. */
DLOAD_I_LOCAL uint32_t dload_i_ghost_anew(const dload_i_ghost *g, uint32_t time)
{
    return dload_i_ghost_gone(g, time) ? 0 : 1 + dload_i_ghost_rank(g, time);
}

/* Counts times anew, from 1, without holes. O(limit). */
DLOAD_I_COLD void dload_i_ghost_recount(dload_i_ghost *g)
{
    uint32_t n_words = g->n_bits / 64;
    g->before[0] = 0;
    for (uint32_t i = 1; i < n_words; i++)
        g->before[i] = g->before[i - 1] + dload_i_count_bits(g->there[i - 1]);
    for (uint32_t i = 0; i < g->n_buckets; i++) {
        dload_i_ghost_bucket *b = &g->buckets[i];
        for (uint32_t j = 0; j < DLOAD_I_BUCKET; j++)
            b->times[j] = dload_i_ghost_anew(g, b->times[j]);
        b->passed = dload_i_ghost_anew(g, b->passed);
    }
    memset(g->there, 0, n_words * sizeof *g->there);
    g->first = 1;
    g->first_at = 0;
    g->next = 1 + g->n_live;
    for (uint32_t i = 0; i < g->n_live; i++)
        g->there[i / 64] |= UINT64_C(1) << (i % 64);
}

/* ---- the queue ---- */

/* Takes a hash out; true when it was there. */
DLOAD_I_LOCAL bool dload_i_ghost_take(dload_i_ghost *g, uint64_t hash)
{
    if (g->limit == 0)
        return false;
    uint32_t mark = dload_i_ghost_mark(hash);
    dload_i_ghost_bucket *b = dload_i_ghost_home(g, hash);
    for (uint32_t tried = 0; tried < g->n_buckets; tried++) {
        uint32_t found = dload_i_ghost_match(b, mark);
        for (; DLOAD_I_UNLIKELY(found != 0); found &= found - 1) {
            uint32_t *time = &b->times[dload_i_ctz32(found)];
            if (dload_i_ghost_gone(g, *time))
                continue;
            uint32_t at = dload_i_ghost_bit(g, *time);
            g->there[at / 64] &= ~(UINT64_C(1) << (at % 64));
            g->n_live--;
            *time = 0;
            return true;
        }
        if (DLOAD_I_LIKELY(dload_i_ghost_gone(g, b->passed)))
            return false;
        b = dload_i_ghost_further(g, b);
    }
    return false;
}

/* A key finds no room in its home: the oldest key of each bucket on the way gives way to a younger one. So
 * those that live away from home are the old ones, of whom a bucket soon need not know any more. */
DLOAD_I_NOINLINE void dload_i_ghost_squeeze(const dload_i_ghost *g, dload_i_ghost_bucket *b,
                                            uint32_t mark, uint32_t time)
{
    uint32_t free_ = 0;
    for (; (free_ = dload_i_ghost_free(g, b)) == 0; b = dload_i_ghost_further(g, b)) {
        uint32_t oldest = 0;
        for (uint32_t i = 1; i < DLOAD_I_BUCKET; i++)
            oldest = b->times[i] < b->times[oldest] ? i : oldest;
        if (b->times[oldest] < time) {
            uint32_t gives_way[2] = {b->marks[oldest], b->times[oldest]};
            b->marks[oldest] = mark;
            b->times[oldest] = time;
            mark = gives_way[0];
            time = gives_way[1];
        }
        b->passed = b->passed > time ? b->passed : time;
    }
    b->marks[dload_i_ctz32(free_)] = mark;
    b->times[dload_i_ctz32(free_)] = time;
}

/* Remembers a hash as the newest, forgetting the oldest when full. */
DLOAD_I_LOCAL void dload_i_ghost_add(dload_i_ghost *g, uint64_t hash)
{
    if (g->limit == 0)
        return;
    if (DLOAD_I_LIKELY(g->n_live == g->limit))
        dload_i_ghost_forget(g);
    if (DLOAD_I_UNLIKELY(g->next - g->first == g->n_bits || g->next > (uint32_t)INT32_MAX))
        dload_i_ghost_recount(g);
    uint32_t time = g->next;
    uint32_t mark = dload_i_ghost_mark(hash);
    dload_i_ghost_bucket *b = dload_i_ghost_home(g, hash);
    uint32_t free_ = dload_i_ghost_free(g, b);
    uint32_t at = dload_i_ghost_bit(g, time);
    g->n_live++;
    g->next = time + 1;
    g->there[at / 64] |= UINT64_C(1) << (at % 64);
    if (DLOAD_I_LIKELY(free_ != 0)) {
        b->marks[dload_i_ctz32(free_)] = mark;
        b->times[dload_i_ctz32(free_)] = time;
    } else {
        dload_i_ghost_squeeze(g, b, mark, time);
    }
}

#endif /* DLOAD_I_GHOST_H */
