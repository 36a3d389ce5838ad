/* >>wheel -- when entries expire: a hierarchical timing wheel on blocks of slots.
 *
 * Each slot has a lane, four bytes that say when its entry expires. Sixteen lanes are a block, one cache
 * line, and it is blocks that sit on the wheel, each at a tick no later than the first of its lanes: five
 * levels of 64 buckets, where a tick is 2^20 ns and a bucket of level l spans 64^l ticks. A block sits on
 * the lowest level whose 64 buckets reach its tick, and moves down as time comes near (Varghese and
 * Lauck, SOSP 1987).
 *
 * So arming an entry writes its lane, and moves its block only when it is the first to expire there.
 * Nothing is ever cancelled: when a block's tick has come its lanes are read again, and the table says
 * which of those that are due belong to an entry. Each lane is looked at for nothing at most once each
 * time it was written. Memory is what init was given, whatever the entries do.
 *
 * Ticks are 44 bits, and compare as 32. What expires more than 2^29 ticks (six days) ahead is far: its lane
 * has the high bits of its tick, and until it comes near its slot's expiry is a tick at which it is still
 * fresh, of which the low bits are the missing ones.
 */
#ifndef DLOAD_I_WHEEL_H
#define DLOAD_I_WHEEL_H

#include "port.h"
#include "group.h"

#define DLOAD_I_TICK_SHIFT   20u /* ns to ticks */
#define DLOAD_I_WHEEL_LEVELS 5u
#define DLOAD_I_WHEEL_ROUND  (UINT32_C(1) << 29)          /* ticks: the longest step of time */
#define DLOAD_I_WHEEL_TODO   (DLOAD_I_WHEEL_LEVELS * 64u) /* the bucket of what time has come to */
#define DLOAD_I_WHEEL_LANES  16u                          /* slots a block */
#define DLOAD_I_FAR_SHIFT    13u /* bits of its tick that a far lane lacks */
#define DLOAD_I_NO_BLOCK     UINT32_MAX
#define DLOAD_I_LIST_END     (UINT32_C(1) << 31) /* | bucket: nothing comes after */

typedef struct dload_i_wheel_block {
    uint32_t tick; /* none of its lanes expires before it */
    uint32_t next; /* block, or DLOAD_I_LIST_END | bucket; DLOAD_I_NO_BLOCK = not on the wheel */
    uint32_t prev; /* block; of a bucket's first one, the last */
} dload_i_wheel_block;

/* A lane is 0 when nothing expires; with bit 0, the tick's low 31 bits; without, and then it is not 0,
 * the tick's bits from DLOAD_I_FAR_SHIFT on. */
typedef struct dload_i_wheel {
    uint64_t
        now; /* tick everything is measured from; written relaxed, for readers without a lock */
    uint32_t n_on;   /* blocks on the wheel */
    uint32_t *lanes; /* by slot */
    dload_i_wheel_block *blocks;
    uint64_t used[DLOAD_I_WHEEL_LEVELS];            /* bit b: bucket b is not empty */
    uint32_t first[DLOAD_I_WHEEL_LEVELS * 64u + 1]; /* block; the last bucket is _TODO */
} dload_i_wheel;

/* ---- sizes ---- */

DLOAD_I_INLINE size_t dload_i_wheel_blocks_for(size_t n_slots)
{
    return (n_slots + DLOAD_I_WHEEL_LANES - 1) / DLOAD_I_WHEEL_LANES;
}

/* blocks has room for dload_i_wheel_blocks_for(n_slots); lanes has as many lines of zeros. */
DLOAD_I_LOCAL void dload_i_wheel_init(dload_i_wheel *w, size_t n_slots, uint64_t now)
{
    w->now = now;
    w->n_on = 0;
    memset(w->used, 0, sizeof w->used);
    for (uint32_t i = 0; i <= DLOAD_I_WHEEL_TODO; i++)
        w->first[i] = DLOAD_I_NO_BLOCK;
    for (size_t i = 0; i < dload_i_wheel_blocks_for(n_slots); i++)
        w->blocks[i].next = DLOAD_I_NO_BLOCK;
}

/* ---- blocks in buckets ---- */

/* The lowest level on which tick, which is ahead of now, is fewer than 64 buckets ahead; its bucket there. */
DLOAD_I_INLINE uint32_t dload_i_wheel_bucket(uint32_t now, uint32_t tick)
{
    uint32_t level = 0;
    uint32_t shift = 0;
    for (uint32_t ahead = tick - now; ahead >= 64; ahead >>= 6) {
        level++;
        shift += 6;
    }
    if ((((tick >> shift) - (now >> shift)) & (UINT32_MAX >> shift)) >=
        64) { /* by what was cut off */
        level++;
        shift += 6;
    }
    return level * 64 + ((tick >> shift) & 63u);
}

/* Puts a block that is not on the wheel there, for tick. */
DLOAD_I_INLINE void dload_i_wheel_link(dload_i_wheel *w, uint32_t block, uint32_t tick)
{
    uint32_t now = (uint32_t)w->now;
    uint32_t bucket = DLOAD_I_WHEEL_TODO;
    if ((int32_t)(tick - now) > 0) {
        bucket = dload_i_wheel_bucket(now, tick);
        w->used[bucket / 64] |= UINT64_C(1) << (bucket % 64);
    }
    dload_i_wheel_block *b = &w->blocks[block];
    uint32_t first = w->first[bucket];
    b->tick = tick;
    if (first == DLOAD_I_NO_BLOCK) {
        b->prev = block;
        b->next = DLOAD_I_LIST_END | bucket;
    } else {
        b->prev = w->blocks[first].prev;
        b->next = first;
        w->blocks[first].prev = block;
    }
    w->first[bucket] = block;
    w->n_on++;
}

/* Takes the first block of _TODO from the wheel. */
DLOAD_I_INLINE void dload_i_wheel_pop(dload_i_wheel *w, uint32_t block)
{
    dload_i_wheel_block *b = &w->blocks[block];
    bool is_last = (b->next & DLOAD_I_LIST_END) != 0;
    w->first[DLOAD_I_WHEEL_TODO] = is_last ? DLOAD_I_NO_BLOCK : b->next;
    if (!is_last)
        w->blocks[b->next].prev = b->prev;
    b->next = DLOAD_I_NO_BLOCK;
    w->n_on--;
}

DLOAD_I_LOCAL void dload_i_wheel_unlink(dload_i_wheel *w, uint32_t block)
{
    dload_i_wheel_block *b = &w->blocks[block];
    dload_i_wheel_block *before = &w->blocks[b->prev];
    bool is_last = (b->next & DLOAD_I_LIST_END) != 0;
    w->n_on--;
    if ((before->next & DLOAD_I_LIST_END) != 0) { /* it is the first: before is the last */
        uint32_t bucket = before->next & ~DLOAD_I_LIST_END;
        w->first[bucket] = is_last ? DLOAD_I_NO_BLOCK : b->next;
        if (!is_last)
            w->blocks[b->next].prev = b->prev;
        else if (bucket < DLOAD_I_WHEEL_TODO)
            w->used[bucket / 64] &= ~(UINT64_C(1) << (bucket % 64));
    } else {
        before->next = b->next;
        uint32_t after = is_last ? w->first[b->next & ~DLOAD_I_LIST_END] : b->next;
        w->blocks[after].prev = b->prev;
    }
    b->next = DLOAD_I_NO_BLOCK;
}

/* All blocks of a bucket that has some go to the end of _TODO. */
DLOAD_I_LOCAL void dload_i_wheel_detach(dload_i_wheel *w, uint32_t bucket)
{
    uint32_t first = w->first[bucket];
    uint32_t last = w->blocks[first].prev;
    uint32_t head = w->first[DLOAD_I_WHEEL_TODO];
    w->blocks[last].next = DLOAD_I_LIST_END | DLOAD_I_WHEEL_TODO;
    if (head == DLOAD_I_NO_BLOCK) {
        w->first[DLOAD_I_WHEEL_TODO] = first;
    } else {
        w->blocks[w->blocks[head].prev].next = first;
        w->blocks[first].prev = w->blocks[head].prev;
        w->blocks[head].prev = last;
    }
    w->first[bucket] = DLOAD_I_NO_BLOCK;
    w->used[bucket / 64] &= ~(UINT64_C(1) << (bucket % 64));
}

/* ---- entries ---- */

/* Arms the slot for end, a tick of which at most 44 bits are used, whatever it was armed for before. Returns
 * what the slot's expiry is to be: the low bits of a tick at which it has expired if it is near, and before
 * which it is fresh in any case, as seen within a round from the wheel's time. */
DLOAD_I_NOINLINE uint32_t dload_i_wheel_arm_any(dload_i_wheel *w, uint32_t slot, uint64_t end)
{
    const uint64_t low = (UINT64_C(1) << DLOAD_I_FAR_SHIFT) - 1;
    uint32_t block = slot / DLOAD_I_WHEEL_LANES;
    uint64_t tick = end > w->now ? end : w->now;
    if (DLOAD_I_LIKELY(tick - w->now <= DLOAD_I_WHEEL_ROUND + low)) {
        w->lanes[slot] = (uint32_t)(tick << 1 | 1);
    } else {
        w->lanes[slot] = (uint32_t)(end >> DLOAD_I_FAR_SHIFT << 1);
        tick = ((w->now + DLOAD_I_WHEEL_ROUND) & ~low) | (end & low);
    }
    if (w->blocks[block].next != DLOAD_I_NO_BLOCK) {
        if (DLOAD_I_LIKELY((int32_t)((uint32_t)tick - w->blocks[block].tick) >= 0))
            return (uint32_t)tick;
        dload_i_wheel_unlink(w, block);
    }
    dload_i_wheel_link(w, block, (uint32_t)tick);
    return (uint32_t)tick;
}

/* The same; most of the time the block is on the wheel for an earlier tick. */
DLOAD_I_INLINE uint32_t dload_i_wheel_arm(dload_i_wheel *w, uint32_t slot, uint64_t end)
{
    const dload_i_wheel_block *b = &w->blocks[slot / DLOAD_I_WHEEL_LANES];
    if (DLOAD_I_UNLIKELY(b->next == DLOAD_I_NO_BLOCK || end - w->now > DLOAD_I_WHEEL_ROUND ||
                         (int32_t)((uint32_t)end - b->tick) < 0))
        return dload_i_wheel_arm_any(w, slot, end);
    w->lanes[slot] = (uint32_t)(end << 1 | 1);
    return (uint32_t)end;
}

/* The slot's lane is of no entry: it will not be asked for again. */
DLOAD_I_INLINE void dload_i_wheel_forget(dload_i_wheel *w, uint32_t slot)
{
    w->lanes[slot] = 0;
}

/* The tick for which the slot was armed, exactly, or the one at which that had passed already. */
DLOAD_I_INLINE uint64_t dload_i_wheel_end(const dload_i_wheel *w, uint32_t slot, uint32_t expiry)
{
    const uint32_t low = (UINT32_C(1) << DLOAD_I_FAR_SHIFT) - 1;
    uint32_t lane = w->lanes[slot];
    if ((lane & 1) == 0 && lane != 0)
        return (uint64_t)(lane >> 1) << DLOAD_I_FAR_SHIFT | (expiry & low);
    return w->now + (uint64_t)(int64_t)(int32_t)(expiry - (uint32_t)w->now);
}

/* ---- time ---- */

/* Which of a level's buckets time passes over on its way from now to tick. */
DLOAD_I_LOCAL uint64_t dload_i_wheel_passed(uint32_t level, uint32_t now, uint32_t tick)
{
    uint32_t shift = level * 6;
    uint32_t from = now >> shift;
    uint32_t steps = ((tick >> shift) - from) & (UINT32_MAX >> shift);
    if (steps >= 64)
        return UINT64_MAX;
    if (steps == 0)
        return 0;
    uint64_t run = (UINT64_C(1) << steps) - 1;
    uint32_t turn = (from + 1) & 63u;
    return turn == 0 ? run : (run << turn) | (run >> (64 - turn));
}

DLOAD_I_INLINE bool dload_i_wheel_idle(const dload_i_wheel *w)
{
    return w->first[DLOAD_I_WHEEL_TODO] == DLOAD_I_NO_BLOCK;
}

/* Moves time towards tick, by at most one round, and everything it passes to what is to be looked at; a
 * tick in the past is ignored. True when there is further to go: once the looks are done, call again. Only
 * when the wheel is idle. O(levels + buckets passed). */
DLOAD_I_NOINLINE bool dload_i_wheel_turn(dload_i_wheel *w, uint64_t tick)
{
    if (tick <= w->now)
        return false;
    uint64_t to = tick;
    if (w->n_on != 0 && tick - w->now > DLOAD_I_WHEEL_ROUND)
        to = w->now + DLOAD_I_WHEEL_ROUND; /* ticks compare as 32-bit numbers: no longer steps */
    for (uint32_t level = 0; level < DLOAD_I_WHEEL_LEVELS; level++) {
        uint64_t due = w->used[level];
        if (due != 0)
            due &= dload_i_wheel_passed(level, (uint32_t)w->now, (uint32_t)to);
        while (due != 0) {
            dload_i_wheel_detach(w, level * 64 + dload_i_ctz64(due));
            due &= due - 1;
        }
    }
    DLOAD_I_STORE_RELAXED(&w->now, to);
    return to != tick;
}

/* Reads a block's lanes: a bit for each that is due or far, and in *ahead how many ticks ahead the first of
 * the others is, 0 when there is none. */
#if DLOAD_I_SSE2

/* The smaller numbers of two vectors. */
DLOAD_I_INLINE __m128i dload_i_wheel_min(__m128i a, __m128i b)
{
    __m128i less = _mm_cmpgt_epi32(a, b);
    return _mm_or_si128(_mm_and_si128(less, b), _mm_andnot_si128(less, a));
}

/* Four lanes: which need no look; and *key orders those that are due later by their distance, as signed
 * numbers, with INT32_MAX for the others. */
DLOAD_I_INLINE __m128i dload_i_wheel_four(const uint32_t *lanes, __m128i now_lane, __m128i *key)
{
    __m128i lane = _mm_load_si128((const __m128i *)(const void *)lanes);
    __m128i gap = _mm_sub_epi32(lane, now_lane);
    __m128i is_near = _mm_srai_epi32(_mm_slli_epi32(lane, 31), 31);
    __m128i later = _mm_and_si128(_mm_cmpgt_epi32(gap, _mm_setzero_si128()), is_near);
    *key = _mm_add_epi32(_mm_and_si128(gap, later), _mm_set1_epi32(INT32_MAX));
    return _mm_or_si128(later, _mm_cmpeq_epi32(lane, _mm_setzero_si128()));
}

DLOAD_I_INLINE uint32_t dload_i_wheel_read(const uint32_t *lanes, uint32_t now, uint32_t *ahead)
{
    const __m128i now_lane = _mm_set1_epi32((int32_t)(now << 1 | 1));
    __m128i key[4];
    __m128i a = dload_i_wheel_four(lanes, now_lane, &key[0]);
    __m128i b = dload_i_wheel_four(lanes + 4, now_lane, &key[1]);
    __m128i c = dload_i_wheel_four(lanes + 8, now_lane, &key[2]);
    __m128i d = dload_i_wheel_four(lanes + 12, now_lane, &key[3]);
    __m128i others = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
    __m128i least =
        dload_i_wheel_min(dload_i_wheel_min(key[0], key[1]), dload_i_wheel_min(key[2], key[3]));
    least = dload_i_wheel_min(least, _mm_shuffle_epi32(least, 0x4e));
    least = dload_i_wheel_min(least, _mm_shuffle_epi32(least, 0xb1));
    *ahead = ((uint32_t)_mm_cvtsi128_si32(least) - (uint32_t)INT32_MAX) / 2;
    return (uint32_t)_mm_movemask_epi8(others) ^ 0xffffu;
}

#else

DLOAD_I_INLINE uint32_t dload_i_wheel_read(const uint32_t *lanes, uint32_t now, uint32_t *ahead)
{
    uint32_t looks = 0;
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < DLOAD_I_WHEEL_LANES; i++) {
        uint32_t lane = lanes[i];
        uint32_t gap = lane - (now << 1 | 1);
        bool later = (int32_t)gap > 0 && (lane & 1) != 0;
        looks |= (uint32_t)(!later && lane != 0) << i;
        least = later && gap < least ? gap : least;
    }
    *ahead = least == UINT32_MAX ? 0 : least / 2;
    return looks;
}

#endif

/* The next slots to look at: a bit each from *first on, or 0 when there is none within *budget looks, each of
 * which lowers it. Who gives a whole block's worth gets further. The caller asks for the end of each slot,
 * and before the next call forgets it or, when that has not come yet, arms it again. */
DLOAD_I_NOINLINE uint32_t dload_i_wheel_next(dload_i_wheel *w, uint32_t *budget, uint32_t *first)
{
    uint32_t now = (uint32_t)w->now;
    while (*budget > 0 && !dload_i_wheel_idle(w)) {
        uint32_t block = w->first[DLOAD_I_WHEEL_TODO];
        const dload_i_wheel_block *b = &w->blocks[block];
        if ((b->next & DLOAD_I_LIST_END) == 0)
            DLOAD_I_PREFETCH(w->lanes + (size_t)b->next * DLOAD_I_WHEEL_LANES);
        (*budget)--;
        if ((int32_t)(b->tick - now) > 0) { /* to a lower level */
            dload_i_wheel_pop(w, block);
            dload_i_wheel_link(w, block, b->tick);
            continue;
        }
        *first = block * DLOAD_I_WHEEL_LANES;
        uint32_t ahead = 0;
        uint32_t looks = dload_i_wheel_read(w->lanes + *first, now, &ahead);
        for (uint32_t rest = looks & (looks - 1); rest != 0; rest &= rest - 1) {
            if (*budget == 0)
                return 0; /* the block is looked at all at once, the next time */
            (*budget)--;
        }
        dload_i_wheel_pop(w, block);
        if (ahead != 0)
            dload_i_wheel_link(w, block, now + ahead);
        if (looks != 0)
            return looks;
    }
    return 0;
}

#endif /* DLOAD_I_WHEEL_H */
