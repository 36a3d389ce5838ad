/* >>leave -- what an entry leaves behind: its value, and its weight.
 *
 * Everything here works on one shard whose lock is held, like table.h.
 */
#ifndef DLOAD_I_HAVE_LEAVE
#define DLOAD_I_HAVE_LEAVE

#include "api.h"

#if DLOAD_I_BODIES

/* Records what left and why, for _i_end. */
DLOAD_I_INLINE void DLOAD_I_FN(i_leave)(const DLOAD_I_FN(slot) * e, dload_removal reason,
                                        DLOAD_I_FN(removed) * old)
{
    old->value = e->u.value;
#if DLOAD_ON_REMOVE
#if DLOAD_I_IS_STRING
    old->key.ptr = e->key.ptr;
    old->key.len = e->key.len;
#else
    old->key = e->key;
#endif
#if DLOAD_GROUP
    old->group = e->group;
#endif
    old->reason = reason;
    old->stored = true;
#endif
    (void)reason;
}

/* The entry that left a value stays, and its key with it: what is told is the key that the caller gave,
 * which outlives the telling. */
DLOAD_I_INLINE void DLOAD_I_FN(i_leave_key)(DLOAD_I_FN(removed) * old,
                                            const DLOAD_I_FN(item) * item)
{
#if DLOAD_ON_REMOVE
    old->key = item->id.key;
    old->stored = false;
#endif
    (void)old;
    (void)item;
}

#if !DLOAD_COMPACT

/* An entry that was evicted, and whose value waits for its end: see weight.h. Pinned entries are never
 * in the main queue, so that the two bits together are free for it. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_is_dead)(uint32_t meta)
{
    const uint32_t dead = DLOAD_I_META_PINNED | DLOAD_I_META_MAIN;
    return DLOAD_I_KILLS && (meta & dead) == dead;
}

/* Why: not where uses are, since a reader without the lock may count one late (mutant REASON_AMONG_USES). */
DLOAD_I_INLINE dload_removal DLOAD_I_FN(i_died_of)(uint32_t meta)
{
    return (dload_removal)(meta >> DLOAD_I_META_REASON & 7u);
}

/* Is it of an epoch before the last clear_all? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_outdated)(const DLOAD_I_FN(shard) * s, uint32_t meta)
{
    return ((meta ^ s->epoch) & DLOAD_I_EPOCH_MASK) != 0 && !DLOAD_I_FN(i_is_dead)(meta);
}

/* ... and how many are there? */
DLOAD_I_INLINE uint32_t DLOAD_I_FN(i_n_outdated)(const DLOAD_I_FN(shard) * s)
{
#if DLOAD_I_KILLS
    return s->n_used - s->n_live - s->n_dead;
#else
    return s->n_used - s->n_live;
#endif
}

#endif /* !DLOAD_COMPACT */

#if DLOAD_I_WEIGHED
#define DLOAD_I_WEIGHT_MAX 0x7fffffffu
#define DLOAD_I_WEIGHT_PIN 0x80000000u /* beside a weight: a call pinned the entry */
#endif

#if !DLOAD_COMPACT
/* The entry in slot, which is live or not, weighs nothing any more. */
DLOAD_I_INLINE void DLOAD_I_FN(i_unweigh)(DLOAD_I_FN(shard) * s, uint32_t slot, bool live)
{
#if DLOAD_I_WEIGHED
    uint32_t weight = s->weights[slot];
    if (live) {
        s->weight -= weight & DLOAD_I_WEIGHT_MAX;
        s->pinned_weight -= (weight & DLOAD_I_WEIGHT_PIN) != 0 ? weight & DLOAD_I_WEIGHT_MAX : 0;
    }
    s->weights[slot] = 0;
#endif
    (void)s;
    (void)slot;
    (void)live;
}
#endif

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_LEAVE */
