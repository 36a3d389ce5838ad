/* >>reach -- how far from its home an entry may live.
 *
 * Whoever knows the hash can choose keys that all want the same place, and each would be put, and looked for,
 * behind all the others: n keys in n * n steps. So no entry is put further than DLOAD_I_REACH groups from
 * its home. A key that finds these full displaces an entry among them, as in a cache of sets: its policy is
 * not asked, since the one that it would choose is somewhere else. Without a policy the key is refused. Keys
 * that nobody chose do not come near this: among 4 million of them, replaced many times, the furthest was 12
 * groups from home. DLOAD_HASH_SIP keeps chosen keys from coming near it, too.
 *
 * Everything here works on one shard whose lock is held.
 */
#ifndef DLOAD_I_HAVE_REACH
#define DLOAD_I_HAVE_REACH

#include "read.h"

#if DLOAD_I_BODIES && !DLOAD_COMPACT

#define DLOAD_I_REACH 128u /* groups from home; see also DLOAD_I_LONG_PROBE */

/* The entry that is to go so that a key at home in group at finds a place; DLOAD_I_NO_SLOT = none may. One of
 * an older epoch, one that was not used, any other: the first of each kind from home on, in a group that has
 * one. Where in the group the search begins changes, so that not the same place is emptied each time. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_nearest_victim)(const DLOAD_I_SHARD *s, uint32_t at)
{
    uint32_t turn = (uint32_t)s->long_probes;
    uint32_t best = DLOAD_I_NO_SLOT;
    for (uint32_t tried = 0; tried < DLOAD_I_REACH && best == DLOAD_I_NO_SLOT; tried++) {
        for (uint32_t i = 0; i < DLOAD_I_GROUP_SLOTS; i++) {
            uint32_t slot = at * DLOAD_I_GROUP_SLOTS + (turn + i) % DLOAD_I_GROUP_SLOTS;
            uint32_t meta = DLOAD_I_META(&s->slots[slot]);
            if (DLOAD_I_FN(i_outdated)(s, meta))
                return slot;
            if (s->evict.kind == DLOAD_EVICT_NONE || (meta & DLOAD_I_META_PINNED) != 0)
                continue;
            bool idle = (meta & DLOAD_I_META_USES) == 0;
            if (best == DLOAD_I_NO_SLOT ||
                (idle && (DLOAD_I_META(&s->slots[best]) & DLOAD_I_META_USES) != 0))
                best = slot;
        }
        at = dload_i_next_group(at, s->n_groups);
    }
    return best;
}

/* The home group is full. DLOAD_PENDING: there is a place within reach. DLOAD_OK: there is now, and
 * item->garbage as in _i_put. DLOAD_EFULL: there is none. */
DLOAD_I_COLD dload_status DLOAD_I_FN(i_reach)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                              DLOAD_I_FN(item) * item)
{
    uint32_t home = dload_i_home(item->id.hash, s->n_groups);
    uint32_t far = 0;
    for (uint32_t at = home; far < DLOAD_I_REACH && far < s->n_groups; far++) {
        if (dload_i_match_any(dload_i_find_tag(&s->groups[at], 0)))
            break;
        at = dload_i_next_group(at, s->n_groups);
    }
    if (far < DLOAD_I_REACH)
        return DLOAD_PENDING;
    s->long_probes++;
    uint32_t slot = DLOAD_I_FN(i_nearest_victim)(s, home);
    if (slot == DLOAD_I_NO_SLOT)
        return DLOAD_EFULL;
    s->evictions += !DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(&s->slots[slot]));
    dload_removal why = DLOAD_I_FN(i_why)(c, s, &s->slots[slot], DLOAD_REMOVED_EVICTED);
    item->garbage = DLOAD_I_FN(i_remove)(s, slot, why, &item->old);
    return DLOAD_OK;
}

/* Is the key's home group full, where keys have been far from home before? The first that finds no place
 * without that is refused: so that this costs nothing where it never comes to that. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_crowded)(const DLOAD_I_SHARD *s, uint64_t hash)
{
    return DLOAD_I_UNLIKELY(s->long_probes != 0) &&
           !dload_i_match_any(dload_i_find_tag(&s->groups[dload_i_home(hash, s->n_groups)], 0));
}

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_REACH */
