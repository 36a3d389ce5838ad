/* >>adaptive -- DLOAD_EVICT_ADAPTIVE: S3-FIFO's two queues with borders that are learned. Ours.
 *
 * New entries come into small; one that was used twice by the time it reaches small's end goes on to
 * main, which gives used entries another round. A hit counts a use and does nothing else. Three things
 * are learned, all of them from misses:
 *
 * HOW LARGE SMALL IS. Each queue remembers what it evicted. A miss that the queue would have spared us,
 *   had it been up to a quarter of the cache larger, asks for room: small's for a larger target, main's
 *   for a smaller one. As in ARC (Megiddo, Modha, FAST 2003) it weighs by how much longer the other
 *   queue's memory is. Beyond a quarter a miss says nothing: in a loop of twice the capacity everything
 *   comes back, and no border would help. Small can become everything (then this is FIFO, which a cache
 *   of some dozen entries or one whose keys are used twice and never again wants) or a hundredth.
 *
 * WHOM MAIN TAKES BACK. A key that comes back replaces main's oldest entry only when that one has been
 *   idle for longer than the key has: LIRS's rule (Jiang, Zhang, SIGMETRICS 2002), read off the times
 *   at which entries went to the newer end of main. Without it a loop flushes main; with it a loop that
 *   does not fit keeps what fits, and a new phase finds a main that has been idle and gives way.
 *
 * THAT IT MIGHT BE WRONG. One in 64 entries that leave small goes to main all the same. Of a loop that is
 *   longer than all memory, those are the ones that are still there when they come round, and main
 *   fills with them (bimodal insertion; Qureshi and others, ISCA 2007). Elsewhere it costs a 64th.
 *
 * The clock is the number of evictions, modulo 2^32; luck gives main no rest that long.
 */
#ifndef DLOAD_I_ADAPTIVE_H
#define DLOAD_I_ADAPTIVE_H

#include "evict.h"

/* ---- its queues ---- */

/* The oldest entry of a queue, just looked up, goes to the newer end of main with so many uses. */
DLOAD_I_LOCAL void dload_i_adaptive_keep(dload_i_evict *e, uint32_t queue, uint32_t slot,
                                         uint32_t uses)
{
    uint32_t meta = dload_i_meta_of(e, slot) & ~DLOAD_I_META_USES;
    dload_i_meta_set(e, slot, meta | DLOAD_I_META_MAIN | uses);
    dload_i_fifo_pop(&e->queues, queue);
    dload_i_fifo_push(&e->queues, DLOAD_I_MAIN, slot);
    e->adaptive->since[slot] = e->adaptive->now;
}

DLOAD_I_INLINE uint32_t dload_i_adaptive_uses(const dload_i_evict *e, uint32_t slot)
{
    return dload_i_meta_of(e, slot) & DLOAD_I_META_USES;
}

/* ---- learning ---- */

/* A miss that a larger queue would have spared us: small gets more or less. */
DLOAD_I_LOCAL void dload_i_adaptive_learn(dload_i_adaptive *a, bool more, uint32_t n_own,
                                          uint32_t n_other)
{
    uint64_t step = DLOAD_I_SHARE_ONE * n_other / n_own;
    if (step < DLOAD_I_SHARE_ONE)
        step = DLOAD_I_SHARE_ONE;
    if (step > DLOAD_I_SHARE_ONE * DLOAD_I_ADAPTIVE_LEAP)
        step = DLOAD_I_SHARE_ONE * DLOAD_I_ADAPTIVE_LEAP;
    if (more)
        a->target = a->target + step < DLOAD_I_SHARE_ONE * a->cap ? a->target + step
                                                                  : DLOAD_I_SHARE_ONE * a->cap;
    else
        a->target = a->target > a->least + step ? a->target - step : a->least;
}

/* Is small, with so many entries more, under its target? Then the next to leave is one of main's. */
DLOAD_I_INLINE bool dload_i_adaptive_main_gives(const dload_i_evict *e, uint32_t n_more)
{
    uint64_t n_small = e->queues.q[DLOAD_I_SMALL].n;
    return n_small == 0 || (e->queues.q[DLOAD_I_MAIN].n != 0 &&
                            DLOAD_I_SHARE_ONE * (n_small + n_more) < e->adaptive->target);
}

/* Has main's oldest entry been idle for longer than a key that was used then? One that was used since it
 * was looked at goes round instead, and the next one stands for main. */
DLOAD_I_LOCAL bool dload_i_adaptive_outlasts(dload_i_evict *e, uint32_t used)
{
    uint32_t slot = dload_i_fifo_oldest(&e->queues, DLOAD_I_MAIN);
    uint32_t uses = dload_i_adaptive_uses(e, slot);
    if (uses != 0) {
        dload_i_adaptive_keep(e, DLOAD_I_MAIN, slot, uses - 1);
        slot = dload_i_fifo_oldest(&e->queues, DLOAD_I_MAIN);
        if (dload_i_adaptive_uses(e, slot) != 0)
            return false;
    }
    uint32_t now = e->adaptive->now;
    return now - e->adaptive->since[slot] > now - used;
}

/* A key is about to come in that was not there. True when its place is in main. */
DLOAD_I_LOCAL bool dload_i_adaptive_meet(dload_i_evict *e, uint64_t hash, bool full)
{
    dload_i_adaptive *a = e->adaptive;
    uint32_t used = 0;
    uint32_t n_small = a->of_small.n_live;
    uint32_t n_main = a->of_main.n_live;
    bool of_small = true;
    uint32_t age = dload_i_past_take(&a->of_small, hash, &used);
    if (age == 0) {
        of_small = false;
        age = dload_i_past_take(&a->of_main, hash, &used);
    }
    a->comes_back = age != 0;
    if (age == 0)
        return false;
    if (age <= a->room)
        dload_i_adaptive_learn(a, of_small, of_small ? n_small : n_main,
                               of_small ? n_main : n_small);
    if (full && e->queues.q[DLOAD_I_MAIN].n != 0 && dload_i_adaptive_main_gives(e, 0))
        a->comes_back = dload_i_adaptive_outlasts(e, used);
    return a->comes_back;
}

/* ---- who leaves ---- */

/* The key's time goes with it: when it came or, in main, when it was last given another round. */
DLOAD_I_LOCAL void dload_i_adaptive_forget(dload_i_evict *e, dload_i_past *past, uint32_t slot)
{
    uint64_t hash = e->hash_of(e->meta + (size_t)slot * e->stride_bytes, e->hash_key);
    dload_i_past_add(past, hash, e->adaptive->since[slot]);
    e->adaptive->now++;
}

DLOAD_I_LOCAL uint32_t dload_i_adaptive_victim(dload_i_evict *e)
{
    dload_i_adaptive *a = e->adaptive;
    for (;;) {
        uint32_t queue =
            dload_i_adaptive_main_gives(e, a->comes_back ? 0 : 1) ? DLOAD_I_MAIN : DLOAD_I_SMALL;
        uint32_t slot = dload_i_fifo_oldest(&e->queues, queue);
        dload_i_evict_prefetch(e, queue);
        uint32_t uses = dload_i_adaptive_uses(e, slot);
        if (queue == DLOAD_I_MAIN) {
            if (uses != 0) {
                dload_i_adaptive_keep(e, queue, slot, uses - 1);
                continue;
            }
            dload_i_adaptive_forget(e, &a->of_main, slot);
            return slot;
        }
        if (uses < 2 && ++a->leaving < DLOAD_I_ADAPTIVE_LUCK) {
            dload_i_adaptive_forget(e, &a->of_small, slot);
            return slot;
        }
        if (uses < 2)
            a->leaving = 0;
        dload_i_adaptive_keep(e, queue, slot, 0);
    }
}

#endif /* DLOAD_I_ADAPTIVE_H */
