/* >>policy -- what a cache asks of its policy, whichever that is: was the key here, and who leaves next?
 *
 * asked is DLOAD_EVICT, a constant: a loader compiles the policies that it can have, and no other.
 */
#ifndef DLOAD_I_POLICY_H
#define DLOAD_I_POLICY_H

#include "evict.h"
#include "adaptive.h"

/* Brings what dload_i_evict_meet begins with near. */
DLOAD_I_INLINE void dload_i_evict_prefetch_key(const dload_i_evict *e, uint32_t asked,
                                               uint64_t hash)
{
    if (asked == DLOAD_EVICT_ADAPTIVE) {
        dload_i_past_prefetch(&e->adaptive->of_small, hash);
        dload_i_past_prefetch(&e->adaptive->of_main, hash);
    } else {
        dload_i_ghost_prefetch(&e->ghost, hash);
    }
}

/* A key is about to come in that was not there. True when the policy wants it in main. */
DLOAD_I_INLINE bool dload_i_evict_meet(dload_i_evict *e, uint32_t asked, uint64_t hash, bool full)
{
    if (asked == DLOAD_EVICT_ADAPTIVE)
        return dload_i_adaptive_meet(e, hash, full);
    return dload_i_ghost_take(&e->ghost, hash);
}

/* Who leaves next; the caller removes it, and gives its hash to the ghost when *remember says so. There is at
 * least one entry, and a policy that evicts. */
DLOAD_I_INLINE uint32_t dload_i_evict_victim(dload_i_evict *e, uint32_t asked, bool *remember)
{
    if (asked == DLOAD_EVICT_AUTO) /* see dload_i_evict_kind */
        return e->kind == DLOAD_EVICT_CLOCK ? dload_i_clock_victim(e)
                                            : dload_i_s3fifo_victim(e, remember);
    switch (asked) {
    case DLOAD_EVICT_CLOCK:
        return dload_i_clock_victim(e);
    case DLOAD_EVICT_SIEVE:
        return dload_i_sieve_victim(e);
    case DLOAD_EVICT_S3FIFO:
        return dload_i_s3fifo_victim(e, remember);
    case DLOAD_EVICT_ADAPTIVE:
        return dload_i_adaptive_victim(e);
    case DLOAD_EVICT_LRU:
        return e->list.tail;
    default: /* FIFO */
        dload_i_evict_prefetch(e, DLOAD_I_SMALL);
        return dload_i_fifo_oldest(&e->queues, DLOAD_I_SMALL);
    }
}

#endif /* DLOAD_I_POLICY_H */
