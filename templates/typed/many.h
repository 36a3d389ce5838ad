/* >>many -- looking many keys up at once: their memory is on its way before the first is compared.
 *
 * In a table that the processor's caches do not hold, a look-up waits twice: for the line of tags, then
 * for the slot. So keys go in blocks: all are hashed and their tags asked for, then the slots that the
 * tags point at, and only then each is looked up, by the hash that is there (the idea of DRAMHiT, Narayanan
 * et al., EuroSys 2023). In a small table nothing waits, and asking would only cost.
 */
#ifndef DLOAD_I_HAVE_MANY
#define DLOAD_I_HAVE_MANY

#include "shards.h"

#if DLOAD_I_BODIES

#if DLOAD_COMPACT

#define DLOAD_I_MANY 1u

/* A small table is near. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_is_far)(const DLOAD_I_CACHE *c)
{
    (void)c;
    return false;
}

#else

#define DLOAD_I_MANY       16u                   /* keys of a block */
#define DLOAD_I_MANY_BYTES (UINT32_C(512) << 10) /* of slots; a smaller table is near anyway */

/* Is the cache too large to be near? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_is_far)(const DLOAD_I_CACHE *c)
{
    return c->n_shards != 0 && (size_t)DLOAD_I_LOAD_RELAXED(&c->shard[0].n_groups) * c->n_shards *
                                       DLOAD_I_GROUP_SLOTS * sizeof(DLOAD_I_SLOT) >
                                   DLOAD_I_MANY_BYTES;
}

#endif /* DLOAD_COMPACT */

/* What a key is known by, or why it can be no key. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_identify)(const DLOAD_I_CACHE *c, uint64_t group,
                                                   DLOAD_I_K key, DLOAD_I_ID *id)
{
    dload_status st = DLOAD_I_FN(i_canon)(&key, c->max_key_bytes);
    if (st >= 0)
        *id = DLOAD_I_FN(i_id)(c, key, group);
    return st;
}

/* Identifies a block of keys, the first DLOAD_I_MANY of n, and asks for what looking them up will need.
 * Touches nothing that a lock protects, but where reading it without one is allowed. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_fetch_ahead)(const DLOAD_I_CACHE *c, uint64_t group,
                                             const DLOAD_I_K *keys, size_t n, DLOAD_I_ID *ids,
                                             dload_status *statuses)
{
#if DLOAD_COMPACT
    (void)n;
    statuses[0] = DLOAD_I_FN(i_identify)(c, group, keys[0], &ids[0]);
#else
    const dload_i_group *groups[DLOAD_I_MANY];
    const DLOAD_I_SLOT *slots[DLOAD_I_MANY];
    uint8_t tags[DLOAD_I_MANY];
    size_t n_asked = 0;
    size_t n_keys = n < DLOAD_I_MANY ? n : DLOAD_I_MANY;
    for (size_t i = 0; i < n_keys; i++) {
        statuses[i] = DLOAD_I_FN(i_identify)(c, group, keys[i], &ids[i]);
        if (statuses[i] < 0)
            continue;
        uint64_t hash = ids[i].hash;
        const DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, hash);
        uint32_t at = dload_i_home(hash, DLOAD_I_LOAD_ACQUIRE(&s->n_groups));
        groups[n_asked] = DLOAD_I_LOAD_ACQUIRE(&s->groups) + at;
        slots[n_asked] = DLOAD_I_LOAD_ACQUIRE(&s->slots) + (size_t)at * DLOAD_I_GROUP_SLOTS;
        tags[n_asked] = dload_i_tag(hash);
        DLOAD_I_PREFETCH(groups[n_asked++]);
    }
#if DLOAD_I_LOCKLESS || !DLOAD_I_THREADED
    for (size_t i = 0; i < n_asked; i++) {
#if DLOAD_I_LOCKLESS
        dload_i_match m = dload_i_find_tag_shared(groups[i], tags[i]);
#else
        dload_i_match m = dload_i_find_tag(groups[i], tags[i]);
#endif
        if (!dload_i_match_any(m))
            continue;
        const char *slot = (const char *)(slots[i] + dload_i_match_first(m));
        DLOAD_I_PREFETCH(slot);
        DLOAD_I_PREFETCH(slot + sizeof(DLOAD_I_SLOT) - 1);
    }
#endif
    (void)slots;
    (void)tags;
#endif /* DLOAD_COMPACT */
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_get_many)(DLOAD_I_CACHE *c, const DLOAD_I_K *keys,
                                                    size_t n, DLOAD_I_V *out,
                                                    dload_status *statuses, size_t *n_hits)
{
    if (n != 0 && (keys == NULL || out == NULL || statuses == NULL))
        return DLOAD_EINVAL;
    bool far = !DLOAD_I_FORKED(c) && DLOAD_I_FN(i_is_far)(c);
    DLOAD_I_ID ids[DLOAD_I_MANY];
    size_t hits = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = i % DLOAD_I_MANY;
        if (!far) {
            statuses[i] = DLOAD_I_FN(cache_get)(c, keys[i], &out[i]);
        } else {
            if (at == 0)
                DLOAD_I_FN(i_fetch_ahead)(c, 0, keys + i, n - i, ids, statuses + i);
            if (statuses[i] >= 0) {
                dload_status st = DLOAD_I_FN(i_lookup)(c, &ids[at], &out[i], false);
                statuses[i] = st == DLOAD_PENDING ? DLOAD_MISSING : st;
            }
        }
        hits += statuses[i] >= 0;
    }
    if (n_hits != NULL)
        *n_hits = hits;
    return DLOAD_OK;
}

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_MANY */
