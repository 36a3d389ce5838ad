/* >>owed -- what storing a batch's answers leaves to do, until the loader's mutex is free.
 *
 * An answer is stored under the mutex, where nobody may be told and nothing released. What comes of it is
 * noted at the answer's place, and the core comes back to that place later.
 */
#ifndef DLOAD_I_HAVE_OWED
#define DLOAD_I_HAVE_OWED

#include "pin.h"

#if DLOAD_I_BODIES

#define DLOAD_I_OWED_VALUE    1u /* the answer is ours to release */
#define DLOAD_I_OWED_REJECTED 2u /* ... it did not get into the cache */
#define DLOAD_I_OWED_OLD      4u /* a value that left for it */
#define DLOAD_I_OWED_DEAD     8u /* more of them, which the shard has */

/* The value at place i is a copy of the batch's own. True when there is something to do later. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_owe_value)(DLOAD_I_FN(batch) * b, uint32_t i)
{
#if DLOAD_I_OWES
    b->owed[i].todo = DLOAD_I_OWNED ? DLOAD_I_OWED_VALUE : 0;
#endif
    (void)b;
    (void)i;
    return DLOAD_I_OWNED != 0;
}

/* A value left for the key at place i, where no other one is. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_owe_old)(DLOAD_I_FN(batch) * b, uint32_t i,
                                         const DLOAD_I_FN(removed) * old)
{
#if DLOAD_I_OWES
    b->owed[i].old = *old;
    b->owed[i].todo = DLOAD_I_OWED_OLD;
#else
    b->values[i] = old->value;
#endif
    return true;
}

#if DLOAD_I_OWES

/* Where the notes of a batch's cap places lie, after all else in its block. */
DLOAD_I_LOCAL size_t DLOAD_I_FN(i_owed_at)(size_t *total_bytes, uint32_t cap)
{
    return dload_i_carve(total_bytes, cap, sizeof(DLOAD_I_FN(i_owed)));
}

/* Notes what storing item, the answer at place i, came to. True when there is something to do later. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_owe)(DLOAD_I_FN(batch) * b, uint32_t i,
                                     const DLOAD_I_FN(item) * item, dload_status st)
{
    DLOAD_I_FN(i_owed) *owed = &b->owed[i];
    owed->todo = 0;
    if (st < 0 && item->status >= 0)
        owed->todo = DLOAD_I_OWED_VALUE | DLOAD_I_OWED_REJECTED;
    if (item->garbage) {
        owed->old = item->old;
        owed->todo |= DLOAD_I_OWED_OLD;
    }
#if DLOAD_I_KILLS
    if (item->dead)
        owed->todo |= DLOAD_I_OWED_DEAD;
#endif
    return owed->todo != 0;
}

/* Does it. No lock is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_settle)(DLOAD_I_FN(batch) * b, uint32_t i)
{
    DLOAD_I_CACHE *c = &b->owner->cache;
    DLOAD_I_FN(i_owed) *owed = &b->owed[i];
    uint32_t todo = owed->todo;
    owed->todo = 0;
    if ((todo & DLOAD_I_OWED_REJECTED) == 0) {
        if ((todo & DLOAD_I_OWED_VALUE) != 0)
            DLOAD_I_FN(i_release)(&b->values[i]);
        if (todo <= DLOAD_I_OWED_VALUE)
            return; /* it may never have come near the cache */
    }
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, b->base.flights[i].hash);
    if ((todo & DLOAD_I_OWED_REJECTED) != 0) {
        DLOAD_I_FN(item) item;
        item.id.key = b->own_keys[i];
#if DLOAD_GROUP
        item.id.group = b->base.group;
#endif
        item.value = &b->values[i];
        DLOAD_I_FN(i_reject)(c, s, &item);
    }
    if ((todo & DLOAD_I_OWED_OLD) != 0)
        DLOAD_I_FN(i_end)(c, s, &owed->old);
#if DLOAD_I_KILLS
    if ((todo & DLOAD_I_OWED_DEAD) != 0)
        DLOAD_I_FN(i_drain)(c, s);
#endif
}

#endif /* DLOAD_I_OWES */

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_OWED */
