/* >>remove -- entries leave a shard: one by one, because they expired, or because all was cleared.
 *
 * Everything here works on one shard whose lock is held. What has to be released goes back to the
 * caller, who does it unlocked.
 */
#ifndef DLOAD_I_HAVE_REMOVE
#define DLOAD_I_HAVE_REMOVE

#include "table.h"

#if DLOAD_I_BODIES && !DLOAD_COMPACT

/* Who the policy gives up, remembered if it wants that; there is somebody. *hash gets as much of the hash of
 * its key as finding its home takes. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_victim)(DLOAD_I_SHARD *s, uint64_t *hash)
{
    bool remember = false;
    uint32_t slot = dload_i_evict_victim(&s->evict, DLOAD_EVICT, &remember);
    const DLOAD_I_SLOT *e = &s->slots[slot];
    *hash = DLOAD_I_FN(i_home_hash)(s, e);
    if (remember)
        dload_i_ghost_add(&s->evict.ghost,
                          DLOAD_I_IS_STRING ? DLOAD_I_FN(i_hash_of)(e, s->evict.hash_key) : *hash);
    return slot;
}

/* Gives the slot of an entry back that the policy and the counts have let go; hash has what finding its home
 * takes. True when *old is a value that left, for the caller to deal with, unlocked. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_vacate)(DLOAD_I_SHARD *s, uint32_t slot, uint64_t hash,
                                         dload_removal reason, DLOAD_I_FN(removed) * old)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    bool leaves = DLOAD_I_LEAVES && (DLOAD_I_META(e) & DLOAD_I_META_ERROR) == 0;
    dload_i_group *g = &s->groups[slot / DLOAD_I_GROUP_SLOTS];
    dload_i_group_open(g); /* mutant REMOVED_UNSEEN */
    dload_i_give_slot(s->groups, s->n_groups, hash, slot);
    dload_i_group_shut(g);
#if DLOAD_I_IS_STRING
    if (!(DLOAD_ON_REMOVE && leaves)) /* the hook reads them first */
        dload_i_arena_drop(&s->arena, e->key.ptr, e->key.len);
#endif
    if (leaves)
        DLOAD_I_FN(i_leave)(e, reason, old);
    return leaves;
}

/* Takes an entry out. True when *old is a value that left, for the caller to deal with, unlocked. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_remove)(DLOAD_I_SHARD *s, uint32_t slot, dload_removal reason,
                                           DLOAD_I_FN(removed) * old)
{
    const DLOAD_I_SLOT *e = &s->slots[slot];
    const uint32_t meta = DLOAD_I_META(e);
    bool pinned = (meta & DLOAD_I_META_PINNED) != 0;
    s->n_pinned -= pinned;
    if (!pinned)
        dload_i_evict_remove(&s->evict, DLOAD_EVICT, slot);
    bool live = (meta & DLOAD_I_EPOCH_MASK) == s->epoch;
    DLOAD_I_FN(i_unweigh)(s, slot, live);
    s->n_live -= live;
    s->n_live_pinned -= live && pinned;
    s->n_used--;
    if (s->n_used == s->n_live)
        s->since_reap = 0;
    return DLOAD_I_FN(i_vacate)(s, slot, DLOAD_I_FN(i_home_hash)(s, e), reason, old);
}

/* An entry of an older epoch; there is one. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_stale)(DLOAD_I_SHARD *s)
{
    for (;; s->reap_group = dload_i_next_group(s->reap_group, s->n_groups)) {
        uint32_t first = s->reap_group * DLOAD_I_GROUP_SLOTS;
        for (uint32_t i = 0; i < DLOAD_I_GROUP_SLOTS; i++) {
            if (s->groups[s->reap_group].tags[i] != 0 &&
                DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(&s->slots[first + i])))
                return first + i;
        }
    }
}

/* Is there something to remove that nobody asked for: expired, or of an older epoch? May say yes once a
 * tick for nothing. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_untidy)(const DLOAD_I_SHARD *s, uint64_t now_ns)
{
    bool untidy = DLOAD_I_FN(i_n_outdated)(s) != 0;
#if DLOAD_TTL
    untidy =
        untidy || now_ns >> DLOAD_I_TICK_SHIFT > s->wheel.now || !dload_i_wheel_idle(&s->wheel);
#endif
    (void)now_ns;
    return untidy;
}

#if DLOAD_TTL

/* Looks at up to *left slots whose time has come, and removes what expired; the values go to old[].
 * Returns how many values there are, and whether there is more to look at. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_expire)(DLOAD_I_SHARD *s, uint64_t now_ns,
                                            DLOAD_I_FN(removed) * old, uint32_t *left, bool *more)
{
    dload_i_wheel *w = &s->wheel;
    uint32_t n_old = 0;
    bool further = true;
    while (*left > 0 && (further || !dload_i_wheel_idle(w))) {
        if (dload_i_wheel_idle(w)) {
            further = dload_i_wheel_turn(w, now_ns >> DLOAD_I_TICK_SHIFT);
            DLOAD_I_STORE_RELAXED(&s->tick, w->now);
        }
        uint32_t first = 0;
        uint32_t looks = dload_i_wheel_next(w, left, &first);
        for (; looks != 0; looks &= looks - 1) {
            uint32_t slot = first + dload_i_ctz32(looks);
            DLOAD_I_SLOT *e = &s->slots[slot];
            uint64_t end = dload_i_wheel_end(w, slot, e->DLOAD_I_DUE);
            if (s->groups[slot / DLOAD_I_GROUP_SLOTS].tags[slot % DLOAD_I_GROUP_SLOTS] == 0 ||
                (DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) == 0) {
                dload_i_wheel_forget(w, slot); /* its entry went before its time */
            } else if (end > w->now) {
                DLOAD_I_FN(i_rearm)(s, slot, end);
            } else {
                dload_i_wheel_forget(w, slot);
                bool live = (DLOAD_I_META(e) & DLOAD_I_EPOCH_MASK) == s->epoch;
                s->expired += live;
                n_old += DLOAD_I_FN(i_remove)(s, slot,
                                              live ? DLOAD_REMOVED_EXPIRED : DLOAD_REMOVED_CLEARED,
                                              DLOAD_I_LEAVES ? &old[n_old] : NULL);
            }
        }
    }
    *more = further || !dload_i_wheel_idle(w);
    return n_old;
}

#endif

/* Removes up to max entries that expired or belong to an older epoch; their values go to old[], where
 * there is room for max (NULL when nobody wants them). Returns how many values there are; *more says that work is left. */
DLOAD_I_NOINLINE uint32_t DLOAD_I_FN(i_tidy)(DLOAD_I_SHARD *s, uint64_t now_ns,
                                             DLOAD_I_FN(removed) * old, uint32_t max, bool *more)
{
    uint32_t n_old = 0;
    uint32_t left = max;
    *more = false;
#if DLOAD_TTL
    n_old = DLOAD_I_FN(i_expire)(s, now_ns, old, &left, more);
#else
    (void)now_ns;
#endif
    while (DLOAD_I_FN(i_n_outdated)(s) != 0 && left >= DLOAD_I_GROUP_SLOTS) {
        uint32_t first = s->reap_group * DLOAD_I_GROUP_SLOTS;
        for (uint32_t i = first; i < first + DLOAD_I_GROUP_SLOTS; i++) {
            if (s->groups[s->reap_group].tags[i - first] != 0 &&
                DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(&s->slots[i])))
                n_old += DLOAD_I_FN(i_remove)(s, i, DLOAD_REMOVED_CLEARED,
                                              DLOAD_I_LEAVES ? &old[n_old] : NULL);
        }
        s->reap_group = dload_i_next_group(s->reap_group, s->n_groups);
        left -= DLOAD_I_GROUP_SLOTS;
    }
    *more = *more || DLOAD_I_FN(i_n_outdated)(s) != 0;
    return n_old;
}

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_REMOVE */
