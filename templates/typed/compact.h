/* >>compact -- the table of DLOAD_COMPACT: slots and chains. Finds, expires, removes.
 *
 * It stands in for table.h, remove.h, weight.h, reach.h and store.h, and has the same functions for those above.
 * Where ticks have 44 bits nothing ever wraps, so that nobody has to come by in time: an entry past its end is
 * no hit, and its place is found when one is needed, or by _advance.
 *
 * Everything here works with the lock held. What has to be released goes back to the caller, who does it
 * unlocked; a value for which there is no way back just now waits in a chain of the dead.
 */
#ifndef DLOAD_I_HAVE_COMPACT
#define DLOAD_I_HAVE_COMPACT

#include "removed.h"
#include "../runtime/chains.h"

#if DLOAD_I_BODIES && DLOAD_COMPACT

#define DLOAD_I_META(e) ((uint32_t)(e)->meta)

/* ---- finding ---- */

/* Where the link to the first slot of a hash's chain is. */
DLOAD_I_INLINE uint16_t *DLOAD_I_FN(i_head)(const DLOAD_I_SHARD *s, uint64_t hash)
{
    return &s->heads[(uint32_t)(hash >> 32) & s->mask];
}

/* The entry of a key, expired or not, or NULL. */
DLOAD_I_NOINLINE DLOAD_I_SLOT *DLOAD_I_FN(i_locate)(const DLOAD_I_SHARD *s, const DLOAD_I_ID *id)
{
    for (uint32_t at = *DLOAD_I_FN(i_head)(s, id->hash); at != DLOAD_I_CHAIN_END;) {
        DLOAD_I_SLOT *e = &s->slots[at];
        if (DLOAD_I_FN(i_same)(&e->key, &id->key))
            return e;
        at = e->next;
    }
    return NULL;
}

DLOAD_I_INLINE uint32_t DLOAD_I_FN(i_slot_of)(const DLOAD_I_SHARD *s, const DLOAD_I_SLOT *e)
{
    return (uint32_t)(e - s->slots);
}

/* ---- time ---- */

#if DLOAD_TTL

/* Has an entry ended by tick? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_ended)(const DLOAD_I_SLOT *e, uint64_t tick)
{
    uint32_t meta = e->meta;
    if ((meta & DLOAD_I_CHAIN_ENDS) == 0)
        return false;
    return tick >= ((uint64_t)(meta & DLOAD_I_END_HIGH) << 32 | e->end);
}

/* Now, in ticks; a clock that went back does not take time along. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_tick)(const DLOAD_I_CACHE *c)
{
    uint64_t tick = dload_i_tick_of(DLOAD_I_FN(i_time)(c));
    return tick > c->one.tick ? tick : c->one.tick;
}

/* Sets the end of an entry that has none. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_arm)(DLOAD_I_CACHE *c, DLOAD_I_SLOT *e, uint64_t now_ns,
                                     uint64_t ttl_ns)
{
    if (ttl_ns >= DLOAD_NEVER - 1)
        return;
    uint64_t end = dload_i_tick_of(dload_i_add_ns(now_ns, DLOAD_I_FN(i_jitter)(c, ttl_ns)));
    e->end = (uint32_t)end;
    e->meta = (uint16_t)(e->meta | DLOAD_I_CHAIN_ENDS | (uint32_t)(end >> 32));
    if (end < c->one.soonest)
        c->one.soonest = end;
}

#endif /* DLOAD_TTL */

/* Is the entry there for a reader? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_valid)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                        const DLOAD_I_SLOT *e)
{
    (void)c;
    (void)s;
    (void)e;
#if DLOAD_TTL
    return (e->meta & DLOAD_I_CHAIN_ENDS) == 0 || !DLOAD_I_FN(i_ended)(e, DLOAD_I_FN(i_tick)(c));
#else
    return true;
#endif
}

/* The reason that goes with an entry: whoever comes to remove it, it had expired before that, or not. */
DLOAD_I_INLINE dload_removal DLOAD_I_FN(i_why)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                               const DLOAD_I_SLOT *e, dload_removal reason)
{
    return DLOAD_ON_REMOVE && !DLOAD_I_FN(i_valid)(c, s, e) ? DLOAD_REMOVED_EXPIRED : reason;
}

/* ---- reading ---- */

/* A hit: DLOAD_OK and *out, or the cached error. A miss: DLOAD_PENDING. An interrupt handler may be here while
 * the program is anywhere but between DLOAD_I_ACQUIRE and DLOAD_I_RELEASE: it writes a bit that says "used", and a
 * counter, and so may the program, which then loses one of the two. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_read)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                              const DLOAD_I_ID *id, DLOAD_I_V *out)
{
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    if (e == NULL || !DLOAD_I_FN(i_valid)(c, s, e))
        return DLOAD_PENDING;
#if DLOAD_EVICT == DLOAD_EVICT_CLOCK
    e->meta = (uint16_t)(e->meta | DLOAD_I_CHAIN_USED);
#endif
    DLOAD_I_COUNT_HIT(s);
    if ((e->meta & DLOAD_I_META_ERROR) != 0) {
        dload_status st = (dload_status)e->u.status;
        return st < 0 ? st : DLOAD_ECORRUPT; /* so that compilers see: no success without a value */
    }
    return DLOAD_I_FN(i_copy)(out, &e->u.value);
}

/* ---- removing ---- */

/* Takes a slot out of its chain, and out of the counts. */
DLOAD_I_LOCAL DLOAD_I_SLOT *DLOAD_I_FN(i_unlink)(DLOAD_I_SHARD *s, uint32_t slot)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    uint16_t *link = DLOAD_I_FN(i_head)(s, DLOAD_I_FN(i_hash)(e->key));
    while (*link != slot)
        link = &s->slots[*link].next;
    *link = e->next;
    s->n_live--;
    s->n_pinned = (uint16_t)(s->n_pinned - ((e->meta & DLOAD_I_CHAIN_PINNED) != 0));
    return e;
}

DLOAD_I_INLINE void DLOAD_I_FN(i_give)(DLOAD_I_SHARD *s, uint32_t slot)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    e->meta = DLOAD_I_META_ERROR;
    e->next = s->vacant;
    s->vacant = (uint16_t)slot;
}

/* Takes an entry out. True when *old is a value that left, for the caller to deal with, unlocked. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_remove)(DLOAD_I_SHARD *s, uint32_t slot, dload_removal reason,
                                           DLOAD_I_FN(removed) * old)
{
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_unlink)(s, slot);
    bool leaves = DLOAD_I_LEAVES && (e->meta & DLOAD_I_META_ERROR) == 0;
    if (leaves)
        DLOAD_I_FN(i_leave)(e, reason, old);
    DLOAD_I_FN(i_give)(s, slot);
    return leaves;
}

/* The same where nobody takes the value: it waits. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_discard)(DLOAD_I_SHARD *s, uint32_t slot, dload_removal reason)
{
#if DLOAD_I_LEAVES
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_unlink)(s, slot);
    if ((e->meta & DLOAD_I_META_ERROR) == 0) {
        e->meta = (uint16_t)reason;
        e->next = s->dead;
        s->dead = (uint16_t)slot;
        return;
    }
    DLOAD_I_FN(i_give)(s, slot);
#else
    (void)DLOAD_I_FN(i_remove)(s, slot, reason, NULL);
#endif
}

#if DLOAD_I_LEAVES
/* One of those that wait: false when there is none, otherwise *old is for the caller to deal with. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_bury)(DLOAD_I_SHARD *s, DLOAD_I_FN(removed) * old)
{
    uint32_t slot = s->dead;
    if (slot == DLOAD_I_CHAIN_END)
        return false;
    const DLOAD_I_SLOT *e = &s->slots[slot];
    s->dead = e->next;
    DLOAD_I_FN(i_leave)(e, (dload_removal)e->meta, old);
    DLOAD_I_FN(i_give)(s, slot);
    return true;
}
#endif

/* Time has come to tick: what has ended goes. Looks at each slot, but only when one may have ended. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_expire)(DLOAD_I_SHARD *s, uint64_t tick)
{
#if DLOAD_TTL
    if (tick > s->tick)
        s->tick = tick;
    if (s->tick < s->soonest)
        return;
    uint64_t soonest = UINT64_MAX;
    for (uint32_t slot = 0; slot < s->cap; slot++) {
        const DLOAD_I_SLOT *e = &s->slots[slot];
        if ((e->meta & DLOAD_I_CHAIN_ENDS) == 0)
            continue;
        uint64_t end = (uint64_t)(e->meta & DLOAD_I_END_HIGH) << 32 | e->end;
        if (end <= s->tick) {
            s->expired++;
            DLOAD_I_FN(i_discard)(s, slot, DLOAD_REMOVED_EXPIRED);
        } else if (end < soonest) {
            soonest = end;
        }
    }
    s->soonest = soonest;
#endif
    (void)s;
    (void)tick;
}

/* Forgets every entry; values that have to be released wait. True when there are such. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_forget)(DLOAD_I_SHARD *s, dload_removal reason)
{
#if DLOAD_I_LEAVES
    for (uint32_t i = 0; i <= s->mask; i++) {
        while (s->heads[i] != DLOAD_I_CHAIN_END)
            DLOAD_I_FN(i_discard)(s, s->heads[i], reason);
    }
    return s->dead != DLOAD_I_CHAIN_END;
#else
    memset(s->heads, 0xff, ((size_t)s->mask + 1) * sizeof *s->heads);
    s->n_live = s->n_pinned = s->hand = 0;
    s->vacant = DLOAD_I_CHAIN_END;
    for (uint32_t slot = s->cap; slot-- > 0;)
        DLOAD_I_FN(i_give)(s, slot);
    (void)reason;
    return false;
#endif
}

#endif /* DLOAD_I_BODIES && DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_COMPACT */
