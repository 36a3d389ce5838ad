/* >>wheel -- a hierarchical timing wheel on slot numbers.
 *
 * Five levels of 64 buckets; a tick is 2^20 ns, and a bucket of level l spans 64^l ticks. An entry
 * sits on the lowest level whose 64 buckets reach its expiry, and moves down as time comes near
 * (Varghese and Lauck, SOSP 1987). A bucket is a chain of chunks of slot numbers rather than a list
 * through the slots: setting and expiring then touch consecutive memory. where[] finds an entry's
 * place, so that cancelling is exact, and takes the last one of the bucket into the gap.
 *
 * Ticks are 32 bits and wrap. The wheel reaches 2^29 ticks (six days); what expires later waits in
 * rounds of that length.
 */
#ifndef DLOAD_I_WHEEL_H
#define DLOAD_I_WHEEL_H

#include "port.h"
#include "group.h"

#define DLOAD_I_TICK_SHIFT   20u /* ns to ticks */
#define DLOAD_I_WHEEL_LEVELS 5u
#define DLOAD_I_WHEEL_ROUND  (UINT32_C(1) << 29) /* ticks */
#define DLOAD_I_NO_CHUNK     UINT32_MAX
#define DLOAD_I_WHEEL_TODO   (DLOAD_I_WHEEL_LEVELS * 64u) /* the bucket of what is due */

typedef struct dload_i_wheel_chunk {
    uint32_t next; /* chunk */
    uint16_t bucket;
    uint16_t n;       /* slots in use; only the first chunk of a bucket is not full */
    uint32_t slot[1]; /* n_chunk_slots of them */
} dload_i_wheel_chunk;

typedef struct dload_i_wheel {
    uint64_t now;         /* tick everything is measured from; its low half is what expiry has */
    uint32_t n_armed;     /* entries in the wheel */
    uint32_t chunk_slots; /* 1, 2, 6 or 14 */
    uint32_t free_chunk;
    char *chunks;
    uint32_t *where;                     /* by slot: chunk * 16 + place + 1; 0 = not in the wheel */
    const char *expiry;                  /* the expiry tick of slot 0; */
    size_t stride_bytes;                 /* ... and from one to the next */
    uint16_t *rounds;                    /* by slot: rounds to wait once its expiry has come */
    uint64_t used[DLOAD_I_WHEEL_LEVELS]; /* bit b: bucket b is not empty */
    uint32_t first[DLOAD_I_WHEEL_LEVELS * 64u + 1]; /* chunk; the last is what is due */
} dload_i_wheel;

/* ---- sizes ---- */

DLOAD_I_INLINE size_t dload_i_chunk_bytes(uint32_t chunk_slots)
{
    return (size_t)(chunk_slots + 2) * sizeof(uint32_t);
}

/* Enough for cap entries however they spread: every bucket may hold one chunk that is not full, and
 * so may every bucket's worth of what is due. */
DLOAD_I_INLINE uint32_t dload_i_chunks_for(uint32_t cap, uint32_t chunk_slots)
{
    uint64_t n = (uint64_t)cap / chunk_slots + 2 * DLOAD_I_WHEEL_TODO + 2;
    return n < cap ? (uint32_t)n : cap;
}

/* The chunk size that needs the least memory at this capacity. */
DLOAD_I_LOCAL uint32_t dload_i_best_chunk(uint32_t cap)
{
    static const uint8_t sizes[] = {1, 2, 6, 14};
    uint32_t best = 1;
    for (size_t i = 1; i < sizeof sizes; i++) {
        uint32_t size = sizes[i];
        if (dload_i_chunks_for(cap, size) * dload_i_chunk_bytes(size) <
            dload_i_chunks_for(cap, best) * dload_i_chunk_bytes(best))
            best = size;
    }
    return best;
}

DLOAD_I_INLINE dload_i_wheel_chunk *dload_i_chunk_at(const dload_i_wheel *w, uint32_t chunk)
{
    return (dload_i_wheel_chunk *)(void *)(w->chunks +
                                           (size_t)chunk * dload_i_chunk_bytes(w->chunk_slots));
}

DLOAD_I_INLINE uint32_t dload_i_expiry_of(const dload_i_wheel *w, uint32_t slot)
{
    uint32_t tick;
    memcpy(&tick, w->expiry + (size_t)slot * w->stride_bytes, sizeof tick);
    return tick;
}

/* chunks has room for dload_i_chunks_for(cap, chunk_slots) of them; where and rounds are zeroed. */
DLOAD_I_LOCAL void dload_i_wheel_init(dload_i_wheel *w, uint32_t cap, uint64_t now)
{
    w->now = now;
    w->n_armed = 0;
    memset(w->used, 0, sizeof w->used);
    for (uint32_t i = 0; i <= DLOAD_I_WHEEL_TODO; i++)
        w->first[i] = DLOAD_I_NO_CHUNK;
    w->free_chunk = DLOAD_I_NO_CHUNK;
    for (uint32_t i = dload_i_chunks_for(cap, w->chunk_slots); i-- > 0;) {
        dload_i_chunk_at(w, i)->next = w->free_chunk;
        w->free_chunk = i;
    }
}

/* ---- arming and cancelling ---- */

DLOAD_I_LOCAL void dload_i_wheel_link(dload_i_wheel *w, uint32_t bucket, uint32_t slot)
{
    uint32_t at = w->first[bucket];
    if (at == DLOAD_I_NO_CHUNK || dload_i_chunk_at(w, at)->n == w->chunk_slots) {
        uint32_t fresh = w->free_chunk;
        DLOAD_ASSERT(fresh != DLOAD_I_NO_CHUNK);
        dload_i_wheel_chunk *chunk = dload_i_chunk_at(w, fresh);
        w->free_chunk = chunk->next;
        chunk->next = at;
        chunk->bucket = (uint16_t)bucket;
        chunk->n = 0;
        w->first[bucket] = fresh;
        at = fresh;
        if (bucket < DLOAD_I_WHEEL_TODO)
            w->used[bucket / 64] |= UINT64_C(1) << (bucket % 64);
    }
    dload_i_wheel_chunk *chunk = dload_i_chunk_at(w, at);
    w->where[slot] = at * 16 + chunk->n + 1;
    chunk->slot[chunk->n++] = slot;
}

/* The last slot of the bucket's first chunk leaves it; an empty chunk goes back. */
DLOAD_I_LOCAL uint32_t dload_i_wheel_pop(dload_i_wheel *w, uint32_t bucket)
{
    uint32_t at = w->first[bucket];
    dload_i_wheel_chunk *chunk = dload_i_chunk_at(w, at);
    uint32_t slot = chunk->slot[--chunk->n];
    if (chunk->n == 0) {
        w->first[bucket] = chunk->next;
        chunk->next = w->free_chunk;
        w->free_chunk = at;
        if (bucket < DLOAD_I_WHEEL_TODO && w->first[bucket] == DLOAD_I_NO_CHUNK)
            w->used[bucket / 64] &= ~(UINT64_C(1) << (bucket % 64));
    }
    return slot;
}

/* The lowest level on which expiry is fewer than 64 buckets ahead of now. */
DLOAD_I_LOCAL uint32_t dload_i_wheel_bucket(uint32_t now, uint32_t expiry)
{
    for (uint32_t level = 0; level < DLOAD_I_WHEEL_LEVELS; level++) {
        uint32_t shift = level * 6;
        uint32_t ahead = ((expiry >> shift) - (now >> shift)) & (UINT32_MAX >> shift);
        if (ahead < 64)
            return level * 64 + ((expiry >> shift) & 63u);
    }
    return DLOAD_I_WHEEL_TODO; /* not reached: rounds keep expiry within 2^29 ticks */
}

/* Arms the entry in slot, whose expiry tick is set and less than 2^29 + 1 ahead of now. What has expired
 * already is due at once. */
DLOAD_I_LOCAL void dload_i_wheel_arm(dload_i_wheel *w, uint32_t slot)
{
    uint32_t expiry = dload_i_expiry_of(w, slot);
    uint32_t now = (uint32_t)w->now;
    bool due = (int32_t)(expiry - now) <= 0;
    dload_i_wheel_link(w, due ? DLOAD_I_WHEEL_TODO : dload_i_wheel_bucket(now, expiry), slot);
    w->n_armed++;
}

/* Takes the entry out, if it is in. */
DLOAD_I_LOCAL void dload_i_wheel_cancel(dload_i_wheel *w, uint32_t slot)
{
    uint32_t where = w->where[slot];
    if (where == 0)
        return;
    dload_i_wheel_chunk *chunk = dload_i_chunk_at(w, (where - 1) / 16);
    uint32_t last = dload_i_wheel_pop(w, chunk->bucket);
    if (last != slot) {
        chunk->slot[(where - 1) % 16] = last;
        w->where[last] = where;
    }
    w->where[slot] = 0;
    w->n_armed--;
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

DLOAD_I_LOCAL void dload_i_wheel_detach(dload_i_wheel *w, uint32_t bucket)
{
    uint32_t at = w->first[bucket];
    uint32_t last = at;
    for (uint32_t i = at; i != DLOAD_I_NO_CHUNK; i = dload_i_chunk_at(w, i)->next) {
        dload_i_chunk_at(w, i)->bucket = DLOAD_I_WHEEL_TODO;
        last = i;
    }
    dload_i_chunk_at(w, last)->next = w->first[DLOAD_I_WHEEL_TODO];
    w->first[DLOAD_I_WHEEL_TODO] = at;
    w->first[bucket] = DLOAD_I_NO_CHUNK;
    w->used[bucket / 64] &= ~(UINT64_C(1) << (bucket % 64));
}

/* Moves time towards tick, by at most one round, and everything it passes to what is due; a tick in the
 * past is ignored. True when there is further to go: once what is due has been dealt with, call
 * again. Only when nothing is due from before. O(levels + buckets passed). */
DLOAD_I_NOINLINE bool dload_i_wheel_turn(dload_i_wheel *w, uint64_t tick)
{
    if (tick <= w->now)
        return false;
    uint64_t to = tick;
    if (w->n_armed != 0 && tick - w->now > DLOAD_I_WHEEL_ROUND)
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
    w->now = to;
    return to != tick;
}

DLOAD_I_INLINE bool dload_i_wheel_idle(const dload_i_wheel *w)
{
    return w->first[DLOAD_I_WHEEL_TODO] == DLOAD_I_NO_CHUNK;
}

/* The next slot that has expired, taken out of the wheel; DLOAD_I_NO_SLOT when there is none within
 * *budget looks, each of which lowers it. What is not there yet moves to its new bucket. rearm adds
 * one round to a slot's expiry. */
DLOAD_I_NOINLINE uint32_t dload_i_wheel_next(dload_i_wheel *w, uint32_t *budget,
                                             void (*rearm)(void *slots, uint32_t slot), void *slots)
{
    while (*budget > 0 && !dload_i_wheel_idle(w)) {
        (*budget)--;
        /* Chunks from several buckets are chained here, and any of them may be partly full: take from
         * the first one, whose last slot is always valid. */
        uint32_t slot = dload_i_wheel_pop(w, DLOAD_I_WHEEL_TODO);
        w->where[slot] = 0;
        w->n_armed--;
        if ((int32_t)(dload_i_expiry_of(w, slot) - (uint32_t)w->now) <= 0) {
            if (w->rounds[slot] == 0)
                return slot;
            w->rounds[slot]--;
            rearm(slots, slot);
        }
        dload_i_wheel_arm(w, slot);
    }
    return DLOAD_I_NO_SLOT;
}

#endif /* DLOAD_I_WHEEL_H */
