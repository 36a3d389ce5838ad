/* >>group -- sixteen one-byte tags, and the counters that say when a search may stop.
 *
 * A table is an array of groups and, by the same number, an array of slots. A key's home group
 * follows from its hash; when that is full, the next ones are tried. Each group counts, in eight
 * classes by hash, the keys that wanted to live in it or passed over it and live further on: a search
 * that finds its class at zero is over. The counters go down on removal, so that a table that has
 * replaced its content many times over searches as short as a fresh one. Nothing ever moves.
 */
#ifndef DLOAD_I_GROUP_H
#define DLOAD_I_GROUP_H

#include "port.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#define DLOAD_I_SSE2 1
#else
#define DLOAD_I_SSE2 0
#endif
#if defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define DLOAD_I_NEON 1
#else
#define DLOAD_I_NEON 0
#endif

#define DLOAD_I_GROUP_SLOTS 16u
#define DLOAD_I_OVER_MAX    255u
#define DLOAD_I_NO_SLOT     UINT32_MAX

/* Half a cache line. */
typedef struct dload_i_group {
    uint8_t tags[16]; /* 0 = free */
    uint8_t over[8];  /* keys that passed over, by class; stays at 255 once there */
    uint32_t seq;     /* for readers without a lock: odd while the group changes */
    uint32_t spare;
} dload_i_group;

/* One bit (SSE2) or one nibble (NEON) or one byte (SWAR) for each of 16 tags. */
#if DLOAD_I_SSE2
typedef uint32_t dload_i_match;
#define DLOAD_I_MATCH_SHIFT 0
#else
typedef struct dload_i_match_swar {
    uint64_t lo, hi;
} dload_i_match;
#endif

DLOAD_I_INLINE uint8_t dload_i_tag(uint64_t hash)
{
    uint8_t tag = (uint8_t)hash;
    return (uint8_t)(tag + (tag == 0));
}

DLOAD_I_INLINE uint32_t dload_i_class(uint64_t hash)
{
    return (uint32_t)(hash >> 32) & 7u;
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

DLOAD_I_INLINE dload_i_match dload_i_find_tag(const dload_i_group *g, uint8_t tag)
{
    __m128i tags = _mm_load_si128((const __m128i *)(const void *)g->tags);
    /* one multiplication and one shuffle, where _mm_set1_epi8 takes three shuffles before SSSE3 */
    __m128i all = _mm_shuffle_epi32(_mm_cvtsi32_si128((int)(tag * UINT32_C(0x01010101))), 0);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, all));
}

DLOAD_I_INLINE bool dload_i_match_any(dload_i_match m)
{
    return m != 0;
}

DLOAD_I_INLINE uint32_t dload_i_match_first(dload_i_match m)
{
    return (uint32_t)__builtin_ctz(m);
}

DLOAD_I_INLINE dload_i_match dload_i_match_rest(dload_i_match m)
{
    return m & (m - 1);
}

#else

/* Bytes of x that are zero, as 0x80 in their place: exact, unlike the shorter trick with a borrow. */
DLOAD_I_INLINE uint64_t dload_i_zero_bytes(uint64_t x)
{
    const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f);
    return ~(((x & low7) + low7) | x | low7);
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

DLOAD_I_INLINE dload_i_match dload_i_find_tag(const dload_i_group *g, uint8_t tag)
{
    dload_i_match m;
#if DLOAD_I_NEON
    uint8x16_t eq = vceqq_u8(vld1q_u8(g->tags), vdupq_n_u8(tag));
    uint64x2_t bits = vreinterpretq_u64_u8(vandq_u8(eq, vdupq_n_u8(0x80)));
    m.lo = vgetq_lane_u64(bits, 0);
    m.hi = vgetq_lane_u64(bits, 1);
#else
    const uint64_t all = UINT64_C(0x0101010101010101) * tag;
    m.lo = dload_i_zero_bytes(dload_i_tag_word(g->tags) ^ all);
    m.hi = dload_i_zero_bytes(dload_i_tag_word(g->tags + 8) ^ all);
#endif
    return m;
}

DLOAD_I_INLINE bool dload_i_match_any(dload_i_match m)
{
    return (m.lo | m.hi) != 0;
}

DLOAD_I_INLINE uint32_t dload_i_match_first(dload_i_match m)
{
    return m.lo != 0 ? dload_i_ctz64(m.lo) >> 3 : 8u + (dload_i_ctz64(m.hi) >> 3);
}

DLOAD_I_INLINE dload_i_match dload_i_match_rest(dload_i_match m)
{
    if (m.lo != 0)
        m.lo &= m.lo - 1;
    else
        m.hi &= m.hi - 1;
    return m;
}

#endif

/* Takes a free slot for hash and counts it in every group passed over. There is one: tables are never
 * filled beyond 80 %. */
DLOAD_I_LOCAL uint32_t dload_i_take_slot(dload_i_group *groups, uint32_t n_groups, uint64_t hash)
{
    uint32_t at = dload_i_home(hash, n_groups);
    uint32_t class_ = dload_i_class(hash);
    for (uint32_t tried = 0; tried < n_groups; tried++) {
        dload_i_group *g = &groups[at];
        dload_i_match free_ = dload_i_find_tag(g, 0);
        if (dload_i_match_any(free_)) {
            uint32_t i = dload_i_match_first(free_);
            g->tags[i] = dload_i_tag(hash);
            return at * DLOAD_I_GROUP_SLOTS + i;
        }
        if (g->over[class_] < DLOAD_I_OVER_MAX)
            g->over[class_]++;
        at = dload_i_next_group(at, n_groups);
    }
    return DLOAD_I_NO_SLOT;
}

/* Gives a slot back and takes its count out of the groups it had passed over. A counter that reached
 * its maximum is no count any more and stays. */
DLOAD_I_LOCAL void dload_i_give_slot(dload_i_group *groups, uint32_t n_groups, uint64_t hash,
                                     uint32_t slot)
{
    uint32_t at = dload_i_home(hash, n_groups);
    uint32_t class_ = dload_i_class(hash);
    uint32_t end = slot / DLOAD_I_GROUP_SLOTS;
    groups[end].tags[slot % DLOAD_I_GROUP_SLOTS] = 0;
    for (; at != end; at = dload_i_next_group(at, n_groups)) {
        if (groups[at].over[class_] < DLOAD_I_OVER_MAX)
            groups[at].over[class_]--;
    }
}

/* A table in which nothing is ever found: what a cache that is off looks into. */
DLOAD_I_LOCAL dload_i_group *dload_i_no_groups(void)
{
    static dload_i_group none[1];
    return none;
}

/* How many groups a table for n entries needs to stay under 80 % load. */
DLOAD_I_INLINE uint32_t dload_i_groups_for(uint32_t n)
{
    uint64_t slots = (uint64_t)n + n / 4 + 1;
    return (uint32_t)((slots + DLOAD_I_GROUP_SLOTS - 1) / DLOAD_I_GROUP_SLOTS);
}

#endif /* DLOAD_I_GROUP_H */
