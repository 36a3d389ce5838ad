/* >>weight -- entries that are not all alike: some weigh more, some are not to be evicted.
 *
 * A pinned entry is in no queue of the policy, so that an eviction never meets it and costs the same
 * however many are pinned. A call pins an entry, or a weight of 0 does; a call's pin lasts as long as the
 * entry and whatever value it gets.
 *
 * One heavy value may displace many light ones, under locks that let nobody run: the evicted die where
 * they are. A dead entry is out of the queue, weighs nothing and does not expire, and its tag is not its
 * key's any more, so that nobody finds it; it is in a chain through the weights, and whoever evicted it
 * ends its value once no lock is held. So there is no list that could be too short. Values that are plain
 * and that nobody watches just go.
 *
 * Everything here works on one shard whose lock is held, but for _i_drain.
 */
#ifndef DLOAD_I_HAVE_WEIGHT
#define DLOAD_I_HAVE_WEIGHT

#include "removed.h"

#if DLOAD_I_BODIES && !DLOAD_COMPACT

/* ---- pins ---- */

/* Takes an entry out of its queue, or puts it back as a new one. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_set_pinned)(DLOAD_I_SHARD *s, uint32_t slot, bool pinned)
{
    uint32_t meta = dload_i_meta_of(&s->evict, slot);
    if (((meta & DLOAD_I_META_PINNED) != 0) == pinned)
        return;
    bool live = (meta & DLOAD_I_EPOCH_MASK) == s->epoch;
    if (pinned) {
        dload_i_evict_remove(&s->evict, DLOAD_EVICT, slot);
        dload_i_meta_set(&s->evict, slot, (meta & ~DLOAD_I_META_MAIN) | DLOAD_I_META_PINNED);
        s->n_pinned++;
        s->n_live_pinned += live;
    } else {
        dload_i_meta_set(&s->evict, slot, meta & ~(DLOAD_I_META_PINNED | DLOAD_I_META_USES));
        dload_i_evict_insert(&s->evict, DLOAD_EVICT, slot, false);
        s->n_pinned--;
        s->n_live_pinned -= live;
    }
}

/* What a call asks for. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_pin_slot)(DLOAD_I_SHARD *s, uint32_t slot, bool pinned)
{
#if DLOAD_I_WEIGHED
    uint32_t weight = s->weights[slot];
    if (((weight & DLOAD_I_WEIGHT_PIN) != 0) != pinned) {
        s->weights[slot] = weight ^ DLOAD_I_WEIGHT_PIN;
        weight &= DLOAD_I_WEIGHT_MAX;
        s->pinned_weight = pinned ? s->pinned_weight + weight : s->pinned_weight - weight;
    }
    if (s->weights[slot] == 0 && (DLOAD_I_META(&s->slots[slot]) & DLOAD_I_META_ERROR) == 0)
        pinned = true; /* it weighs nothing */
#endif
    DLOAD_I_FN(i_set_pinned)(s, slot, pinned);
}

/* ---- weights ---- */

/* The entry in slot has a new value: item's. */
DLOAD_I_INLINE void DLOAD_I_FN(i_weigh_in)(DLOAD_I_SHARD *s, uint32_t slot,
                                           const DLOAD_I_FN(item) * item)
{
#if DLOAD_I_WEIGHED
    uint32_t pin = s->weights[slot] & DLOAD_I_WEIGHT_PIN;
    DLOAD_I_FN(i_unweigh)(s, slot, true);
    s->weights[slot] = pin | item->weight;
    s->weight += item->weight;
    s->pinned_weight += pin != 0 ? item->weight : 0;
    DLOAD_I_FN(i_set_pinned)(s, slot, pin != 0 || (item->weight == 0 && item->status >= 0));
#endif
    (void)s;
    (void)slot;
    (void)item;
}

#if DLOAD_I_KILLS

/* The entry in slot, which has a value and is not pinned, dies. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_kill)(DLOAD_I_SHARD *s, uint32_t slot, dload_removal reason)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    dload_i_group *g = &s->groups[slot / DLOAD_I_GROUP_SLOTS];
    uint8_t *tag = &g->tags[slot % DLOAD_I_GROUP_SLOTS];
    bool live = (DLOAD_I_META(e) & DLOAD_I_EPOCH_MASK) == s->epoch;
    dload_i_evict_remove(&s->evict, DLOAD_EVICT, slot);
    DLOAD_I_FN(i_unweigh)(s, slot, live);
    s->n_live -= live;
    s->n_pinned++; /* no queue has it */
    dload_i_group_open(g);
    DLOAD_I_STORE_RELEASE(tag, (uint8_t)(*tag == UINT8_MAX ? 1 : *tag + 1));
    DLOAD_I_META_WRITE(e, ((s->epoch - DLOAD_I_EPOCH_ONE) & DLOAD_I_EPOCH_MASK) |
                              DLOAD_I_META_PINNED | DLOAD_I_META_MAIN |
                              (uint32_t)reason << DLOAD_I_META_REASON);
    dload_i_group_shut(g);
    s->weights[slot] = s->dead;
    s->dead = slot;
    s->n_dead++;
}

/* Takes a dead entry out; there is one. Its value is in *old. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_bury)(DLOAD_I_SHARD *s, DLOAD_I_FN(removed) * old)
{
    uint32_t slot = s->dead;
    s->dead = s->weights[slot];
    s->n_dead--;
    return DLOAD_I_FN(i_remove)(s, slot, DLOAD_I_FN(i_died_of)(DLOAD_I_META(&s->slots[slot])), old);
}

#define DLOAD_I_DRAIN_MAX 16u /* values that one hold of the lock takes out */

/* Ends all that died in s. No lock is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_drain)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s)
{
    DLOAD_I_FN(removed) old[DLOAD_I_DRAIN_MAX];
    bool more = true;
    while (more) {
        uint32_t n_old = 0;
        DLOAD_I_ACQUIRE(&s->lock);
        while (n_old < DLOAD_I_DRAIN_MAX && s->n_dead != 0)
            n_old += DLOAD_I_FN(i_bury)(s, &old[n_old]);
        more = s->n_dead != 0;
        DLOAD_I_RELEASE(&s->lock);
        for (uint32_t i = 0; i < n_old; i++)
            DLOAD_I_FN(i_end)(c, s, &old[i]);
    }
}

#endif /* DLOAD_I_KILLS */

#if DLOAD_I_WEIGHED

/* The policy gives an entry up for its weight. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_evict_weight)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                              uint32_t slot, DLOAD_I_FN(item) * item)
{
    const DLOAD_I_SLOT *e = &s->slots[slot];
    s->evictions += (DLOAD_I_META(e) & DLOAD_I_EPOCH_MASK) == s->epoch;
#if DLOAD_I_KILLS
    if ((DLOAD_I_META(e) & DLOAD_I_META_ERROR) == 0) {
        DLOAD_I_FN(i_kill)(s, slot, DLOAD_I_FN(i_why)(c, s, e, DLOAD_REMOVED_EVICTED));
        item->dead = true;
        return;
    }
#endif
    (void)DLOAD_I_FN(i_remove)(s, slot, DLOAD_REMOVED_EVICTED, NULL);
    (void)c;
    (void)item;
}

/* Can a value of this weight come in, if everything leaves that may? */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_may_weigh)(DLOAD_I_SHARD *s, uint64_t weight)
{
    if (weight > DLOAD_I_WEIGHT_MAX || weight > s->max_weight) {
        s->too_heavy++;
        return DLOAD_ETOOBIG;
    }
    if (weight > s->max_weight - s->pinned_weight)
        return DLOAD_EFULL;
    if (s->evict.kind == DLOAD_EVICT_NONE && weight > s->max_weight - s->weight)
        return DLOAD_EFULL;
    return DLOAD_OK;
}

/* Weighs what comes in, and makes room for it in the place of *at, or beside all others when that is
 * NULL. *at becomes NULL when the policy gave up that very entry, and also when the value cannot come
 * in: then what it was to replace is out of date, and goes. DLOAD_OK, DLOAD_ETOOBIG, DLOAD_EFULL. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_make_light)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                    DLOAD_I_FN(item) * item, DLOAD_I_SLOT **at)
{
    uint64_t weight = item->status < 0 ? 0 : (uint64_t)(DLOAD_WEIGHT(item->value));
    uint32_t own = *at != NULL ? DLOAD_I_FN(i_slot_of)(s, *at) : DLOAD_I_NO_SLOT;
    uint64_t hash = 0;
    dload_removal why = DLOAD_REMOVED_REPLACED;
    if (*at != NULL) {
        why = DLOAD_I_FN(i_why)(c, s, *at, why);
        uint32_t pin = s->weights[own] & DLOAD_I_WEIGHT_PIN;
        DLOAD_I_FN(i_unweigh)(s, own, !DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(*at)));
        s->weights[own] = pin;
    }
    dload_status st = DLOAD_I_FN(i_may_weigh)(s, weight);
    while (st >= 0 && weight > s->max_weight - s->weight) {
        uint32_t slot = DLOAD_I_FN(i_victim)(s, &hash); /* there is one: not all of it is pinned */
        if (slot == own)
            break;
        DLOAD_I_FN(i_evict_weight)(c, s, slot, item);
    }
    bool itself = st >= 0 && weight > s->max_weight - s->weight;
    if (*at != NULL && (st < 0 || itself)) {
        item->garbage = DLOAD_I_FN(i_remove)(s, own, why, &item->old);
        *at = NULL;
    }
    while (st >= 0 && weight > s->max_weight - s->weight)
        DLOAD_I_FN(i_evict_weight)(c, s, DLOAD_I_FN(i_victim)(s, &hash), item);
    item->weight = (uint32_t)weight;
    return st;
}

#endif /* DLOAD_I_WEIGHED */

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_WEIGHT */
