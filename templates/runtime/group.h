/* >>group -- thirty-two one-byte tags, and the counters that say when a search may stop: one cache line.
 *
 * A table is an array of groups and, by the same number, an array of slots. A key's home group
 * follows from its hash; when that is full, the next ones are tried. Each group counts, in sixteen
 * classes by hash, the keys that wanted to live in it or passed over it and live further on: a search
 * that finds its class at zero is over. The counters go down on removal, so that a table that has
 * replaced its content many times over searches as short as a fresh one. Nothing ever moves.
 * Thirty-two rather than sixteen, because a larger group overflows less: at 80 % load and after any
 * amount of replacing, 7 % of the keys live outside their home instead of 19 %.
 */
#ifndef DLOAD_I_GROUP_H
#define DLOAD_I_GROUP_H

#include "port.h"
#if defined(__SSE2__) && !DLOAD_NO_SIMD
#include <emmintrin.h>
#define DLOAD_I_SSE2 1
#else
#define DLOAD_I_SSE2 0
#endif
#if defined(__ARM_NEON) && defined(__aarch64__) && !DLOAD_NO_SIMD
#include <arm_neon.h>
#define DLOAD_I_NEON 1
#else
#define DLOAD_I_NEON 0
#endif

#define DLOAD_I_GROUP_SLOTS 32u
#define DLOAD_I_OVER_MAX    255u
#define DLOAD_I_NO_SLOT     UINT32_MAX
#define DLOAD_I_LONG_PROBE  32u /* groups from home; an entry that has to go so far is counted */

typedef struct dload_i_group {
    uint8_t tags[32];  /* 0 = free */
    uint8_t over[16];  /* keys that passed over, by class; stays at 255 once there */
    size_t seq;        /* for readers without a lock: odd while an entry of the group changes */
    uint32_t stale[2]; /* by queue, a bit a slot: see fifo.h */
} dload_i_group;

/* Which of the 32 tags match, a bit each. */
typedef uint32_t dload_i_match;

DLOAD_I_INLINE uint8_t dload_i_tag(uint64_t hash)
{
    uint8_t tag = (uint8_t)hash;
    return (uint8_t)(tag + (tag == 0));
}

DLOAD_I_INLINE uint32_t dload_i_class(uint64_t hash)
{
    return (uint32_t)(hash >> 32) & 15u;
}

/* The high half times the number of groups: any number will do, not only powers of two. */
DLOAD_I_INLINE uint32_t dload_i_home(uint64_t hash, uint32_t n_groups)
{
    return (uint32_t)(((hash >> 32) * n_groups) >> 32);
}

DLOAD_I_INLINE uint32_t dload_i_next_group(uint32_t group, uint32_t n_groups)
{
    return group + 1 == n_groups ? 0 : group + 1;
}

#if DLOAD_I_SSE2

DLOAD_I_INLINE dload_i_match dload_i_match_tags(__m128i lo, __m128i hi, uint8_t tag)
{
    /* one multiplication and one shuffle, where _mm_set1_epi8 takes three shuffles before SSSE3 */
    __m128i all = _mm_shuffle_epi32(_mm_cvtsi32_si128((int)(tag * UINT32_C(0x01010101))), 0);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(lo, all)) |
           (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(hi, all)) << 16;
}

DLOAD_I_INLINE dload_i_match dload_i_find_tag(const dload_i_group *g, uint8_t tag)
{
    return dload_i_match_tags(_mm_load_si128((const __m128i *)(const void *)g->tags),
                              _mm_load_si128((const __m128i *)(const void *)(g->tags + 16)), tag);
}

/* The same while another thread may write a tag: eight at a time, each time atomically. What is read after
 * them is no older than they are (mutant TAG_READ_LATE). */
DLOAD_I_INLINE dload_i_match dload_i_find_tag_shared(const dload_i_group *g, uint8_t tag)
{
    const uint64_t *words = (const uint64_t *)(const void *)g->tags;
    __m128i lo = _mm_set_epi64x((long long)DLOAD_I_LOAD_ACQUIRE(&words[1]),
                                (long long)DLOAD_I_LOAD_ACQUIRE(&words[0]));
    __m128i hi = _mm_set_epi64x((long long)DLOAD_I_LOAD_ACQUIRE(&words[3]),
                                (long long)DLOAD_I_LOAD_ACQUIRE(&words[2]));
    return dload_i_match_tags(lo, hi, tag);
}

#elif DLOAD_I_NEON

DLOAD_I_INLINE dload_i_match dload_i_match_tags(uint8x16_t lo, uint8x16_t hi, uint8_t tag)
{
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t weight = vld1q_u8(weights);
    uint8x16_t all = vdupq_n_u8(tag);
    lo = vandq_u8(vceqq_u8(lo, all), weight);
    hi = vandq_u8(vceqq_u8(hi, all), weight);
    /* three pairwise sums bring eight weighted bytes into one, four times over */
    uint8x16_t sum = vpaddq_u8(lo, hi);
    sum = vpaddq_u8(sum, sum);
    sum = vpaddq_u8(sum, sum);
    return vgetq_lane_u32(vreinterpretq_u32_u8(sum), 0);
}

DLOAD_I_INLINE dload_i_match dload_i_find_tag(const dload_i_group *g, uint8_t tag)
{
    return dload_i_match_tags(vld1q_u8(g->tags), vld1q_u8(g->tags + 16), tag);
}

/* The same while another thread may write a tag: eight at a time, each time atomically. */
DLOAD_I_INLINE dload_i_match dload_i_find_tag_shared(const dload_i_group *g, uint8_t tag)
{
    const uint64_t *words = (const uint64_t *)(const void *)g->tags;
    uint64x2_t lo = vcombine_u64(vcreate_u64(DLOAD_I_LOAD_ACQUIRE(&words[0])),
                                 vcreate_u64(DLOAD_I_LOAD_ACQUIRE(&words[1])));
    uint64x2_t hi = vcombine_u64(vcreate_u64(DLOAD_I_LOAD_ACQUIRE(&words[2])),
                                 vcreate_u64(DLOAD_I_LOAD_ACQUIRE(&words[3])));
    return dload_i_match_tags(vreinterpretq_u8_u64(lo), vreinterpretq_u8_u64(hi), tag);
}

#else

/* Eight tags at once: bytes of x that are zero become 0x80, exactly (the shorter trick borrows), and
 * one multiplication gathers those bits in the top byte. */
DLOAD_I_INLINE uint32_t dload_i_zero_bytes(uint64_t x)
{
    const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t zero = ~(((x & low7) + low7) | x | low7);
    return (uint32_t)(((zero >> 7) * UINT64_C(0x0102040810204080)) >> 56);
}

DLOAD_I_INLINE uint64_t dload_i_tag_word(const uint8_t *p)
{
    uint64_t v = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (unsigned i = 8; i-- > 0;)
        v = (v << 8) | p[i];
#else
    memcpy(&v, p, sizeof v);
#endif
    return v;
}

DLOAD_I_INLINE dload_i_match dload_i_match_tags(uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3,
                                                uint8_t tag)
{
    const uint64_t all = UINT64_C(0x0101010101010101) * tag;
    return dload_i_zero_bytes(w0 ^ all) | dload_i_zero_bytes(w1 ^ all) << 8 |
           dload_i_zero_bytes(w2 ^ all) << 16 | dload_i_zero_bytes(w3 ^ all) << 24;
}

DLOAD_I_INLINE dload_i_match dload_i_find_tag(const dload_i_group *g, uint8_t tag)
{
    return dload_i_match_tags(dload_i_tag_word(g->tags), dload_i_tag_word(g->tags + 8),
                              dload_i_tag_word(g->tags + 16), dload_i_tag_word(g->tags + 24), tag);
}

#if DLOAD_I_WIDE_ATOMICS
DLOAD_I_INLINE uint64_t dload_i_tag_word_shared(const dload_i_group *g, unsigned i)
{
    uint64_t word = DLOAD_I_LOAD_ACQUIRE(&((const uint64_t *)(const void *)g->tags)[i]);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* The same while another thread may write a tag: eight at a time, each time atomically. */
DLOAD_I_INLINE dload_i_match dload_i_find_tag_shared(const dload_i_group *g, uint8_t tag)
{
    return dload_i_match_tags(dload_i_tag_word_shared(g, 0), dload_i_tag_word_shared(g, 1),
                              dload_i_tag_word_shared(g, 2), dload_i_tag_word_shared(g, 3), tag);
}
#endif

#endif

DLOAD_I_INLINE bool dload_i_match_any(dload_i_match m)
{
    return m != 0;
}

DLOAD_I_INLINE uint32_t dload_i_match_first(dload_i_match m)
{
    return dload_i_ctz32(m);
}

DLOAD_I_INLINE dload_i_match dload_i_match_rest(dload_i_match m)
{
    return m & (m - 1);
}

/* Around every change to an entry that readers without a lock must not see half of; the lock is held.
 * What changes in between is stored with release, one word at a time: see read.h. */
DLOAD_I_INLINE void dload_i_group_open(dload_i_group *g)
{
    DLOAD_I_STORE_RELAXED(&g->seq, g->seq + 1);
}

DLOAD_I_INLINE void dload_i_group_shut(dload_i_group *g)
{
    DLOAD_I_STORE_RELEASE(&g->seq, g->seq + 1);
}

/* Takes the first free slot of a group, which is left open: before the tag is there, since what the slot held
 * last would be found by it, and until the caller has written the entry (mutant TAG_BEFORE_OPEN). */
DLOAD_I_INLINE uint32_t dload_i_take_in(dload_i_group *g, dload_i_match free_, uint64_t hash)
{
    uint32_t i = dload_i_match_first(free_);
    dload_i_group_open(g);
    DLOAD_I_STORE_RELEASE(&g->tags[i], dload_i_tag(hash));
    return i;
}

/* Takes the count of a key that lives in group end out of the groups that it passed over from at on. A
 * counter that reached its maximum is no count any more and stays. */
DLOAD_I_NOINLINE void dload_i_give_far(dload_i_group *groups, uint32_t n_groups, uint32_t class_,
                                       uint32_t at, uint32_t end)
{
    for (; at != end; at = dload_i_next_group(at, n_groups)) {
        if (groups[at].over[class_] < DLOAD_I_OVER_MAX)
            DLOAD_I_STORE_RELAXED(&groups[at].over[class_], (uint8_t)(groups[at].over[class_] - 1));
    }
}

/* The same from the home on, however full it is. */
DLOAD_I_NOINLINE uint32_t dload_i_take_far(dload_i_group *groups, uint32_t n_groups, uint64_t hash,
                                           uint32_t reach, uint64_t *n_long)
{
    uint32_t at = dload_i_home(hash, n_groups);
    uint32_t class_ = dload_i_class(hash);
    uint32_t tried = 0;
    for (; tried < n_groups && tried < reach; tried++) {
        dload_i_group *g = &groups[at];
        dload_i_match free_ = dload_i_find_tag(g, 0);
        if (dload_i_match_any(free_)) {
            *n_long += tried >= DLOAD_I_LONG_PROBE;
            return at * DLOAD_I_GROUP_SLOTS + dload_i_take_in(g, free_, hash);
        }
        if (g->over[class_] < DLOAD_I_OVER_MAX)
            DLOAD_I_STORE_RELAXED(&g->over[class_], (uint8_t)(g->over[class_] + 1));
        at = dload_i_next_group(at, n_groups);
    }
    ++*n_long;
    dload_i_give_far(groups, n_groups, class_, dload_i_home(hash, n_groups), at);
    return DLOAD_I_NO_SLOT;
}

/* Takes a free slot for hash and counts it in every group passed over; there is one: tables are never
 * filled beyond 80 %. Its group is left open. */
DLOAD_I_INLINE uint32_t dload_i_take_slot(dload_i_group *groups, uint32_t n_groups, uint64_t hash,
                                          uint32_t reach, uint64_t *n_long)
{
    uint32_t at = dload_i_home(hash, n_groups);
    dload_i_match free_ = dload_i_find_tag(&groups[at], 0);
    if (DLOAD_I_LIKELY(dload_i_match_any(free_)))
        return at * DLOAD_I_GROUP_SLOTS + dload_i_take_in(&groups[at], free_, hash);
    return dload_i_take_far(groups, n_groups, hash, reach, n_long);
}

/* Gives the slot of a key with this hash back. */
DLOAD_I_INLINE void dload_i_give_slot(dload_i_group *groups, uint32_t n_groups, uint64_t hash,
                                      uint32_t slot)
{
    uint32_t home = dload_i_home(hash, n_groups);
    uint32_t end = slot / DLOAD_I_GROUP_SLOTS;
    DLOAD_I_STORE_RELEASE(&groups[end].tags[slot % DLOAD_I_GROUP_SLOTS], 0);
    if (DLOAD_I_UNLIKELY(home != end))
        dload_i_give_far(groups, n_groups, dload_i_class(hash), home, end);
}

/* The groups that a search for the key in slot passes over. */
DLOAD_I_INLINE uint32_t dload_i_groups_passed(uint32_t n_groups, uint64_t hash, uint32_t slot)
{
    uint32_t home = dload_i_home(hash, n_groups);
    uint32_t at = slot / DLOAD_I_GROUP_SLOTS;
    return at >= home ? at - home : at + n_groups - home;
}

/* A table in which nothing is ever found: what a cache that is off looks into. */
DLOAD_I_LOCAL dload_i_group *dload_i_no_groups(void)
{
    static dload_i_group none[1];
    return none;
}

/* How many groups a table for n entries needs to stay under 80 % load; one may be full. */
DLOAD_I_INLINE uint32_t dload_i_groups_for(uint32_t n)
{
    if (n <= DLOAD_I_GROUP_SLOTS)
        return 1;
    uint64_t slots = (uint64_t)n + n / 4 + 1;
    return (uint32_t)((slots + DLOAD_I_GROUP_SLOTS - 1) / DLOAD_I_GROUP_SLOTS);
}

/* ... and how many slots: in a single group the lowest free one is taken, so that n suffice. */
DLOAD_I_INLINE uint32_t dload_i_slots_for(uint32_t n)
{
    return n <= DLOAD_I_GROUP_SLOTS ? n : dload_i_groups_for(n) * DLOAD_I_GROUP_SLOTS;
}

#endif /* DLOAD_I_GROUP_H */
