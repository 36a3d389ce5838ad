/* >>pin -- what is pinned, and what all of it weighs: the public calls; and what a cache has counted. */
#ifndef DLOAD_I_HAVE_PIN
#define DLOAD_I_HAVE_PIN

#include "many.h"

#if DLOAD_I_BODIES

/* Pins the entry of a key, or lets it go again. DLOAD_MISSING when there is none. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_pin)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id, bool pinned)
{
    dload_status st = DLOAD_MISSING;
    if (c->n_shards == 0)
        return st;
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, id->hash);
    DLOAD_I_ACQUIRE(&s->lock);
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    if (e != NULL && DLOAD_I_FN(i_valid)(c, s, e)) {
        DLOAD_I_FN(i_pin_slot)(s, DLOAD_I_FN(i_slot_of)(s, e), pinned);
        st = DLOAD_OK;
    }
    DLOAD_I_RELEASE(&s->lock);
    return st;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_cache_pin)(DLOAD_I_CACHE *c, uint64_t group, DLOAD_I_K key,
                                                   bool pinned)
{
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, c->max_key_bytes);
    if (st < 0)
        return st;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(c, key, group);
    return DLOAD_I_FN(i_pin)(c, &id, pinned);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_pin)(DLOAD_I_CACHE *c, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_cache_pin)(c, 0, key, true);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_unpin)(DLOAD_I_CACHE *c, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_cache_pin)(c, 0, key, false);
}

DLOAD_I_API dload_status DLOAD_I_FN(pin)(DLOAD_NAME *l, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_cache_pin)(&l->cache, 0, key, true);
}

DLOAD_I_API dload_status DLOAD_I_FN(unpin)(DLOAD_NAME *l, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_cache_pin)(&l->cache, 0, key, false);
}

#if DLOAD_GROUP

DLOAD_I_API dload_status DLOAD_I_FN(cache_pin_in)(DLOAD_I_CACHE *c, DLOAD_I_K key, uint64_t group)
{
    return DLOAD_I_FN(i_cache_pin)(c, group, key, true);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_unpin_in)(DLOAD_I_CACHE *c, DLOAD_I_K key, uint64_t group)
{
    return DLOAD_I_FN(i_cache_pin)(c, group, key, false);
}

DLOAD_I_API dload_status DLOAD_I_FN(pin_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group)
{
    return DLOAD_I_FN(i_cache_pin)(&l->cache, group, key, true);
}

DLOAD_I_API dload_status DLOAD_I_FN(unpin_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group)
{
    return DLOAD_I_FN(i_cache_pin)(&l->cache, group, key, false);
}

#endif /* DLOAD_GROUP */

#if DLOAD_I_WEIGHED

DLOAD_I_API uint64_t DLOAD_I_FN(cache_weight)(DLOAD_I_CACHE *c)
{
    uint64_t weight = 0;
    for (uint32_t i = 0; i < c->n_shards && !DLOAD_I_FORKED(c); i++) {
        DLOAD_I_ACQUIRE(&c->shard[i].lock);
        weight += c->shard[i].weight;
        DLOAD_I_RELEASE(&c->shard[i].lock);
    }
    return weight;
}

#endif /* DLOAD_I_WEIGHED */

/* Adds what the cache has counted to a loader's counters. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_cache_stats)(DLOAD_I_CACHE *c, dload_stats *stats)
{
    for (uint32_t i = 0; i < c->n_shards; i++) {
        DLOAD_I_SHARD *s = DLOAD_I_SHARD_AT(c, i);
        DLOAD_I_ACQUIRE(&s->lock);
        stats->hits += s->hits;
        stats->evictions += s->evictions;
        stats->expired += s->expired;
        stats->entries += s->n_live;
#if DLOAD_COMPACT
        stats->pinned += s->n_pinned;
#else
        stats->long_probes += s->long_probes;
        stats->pinned += s->n_live_pinned;
#endif
#if DLOAD_I_WEIGHED
        stats->weight += s->weight;
        stats->too_heavy += s->too_heavy;
#endif
        DLOAD_I_RELEASE(&s->lock);
    }
#if DLOAD_I_LOCKLESS && DLOAD_STATS
    if (c->n_shards != 0)
        stats->hits += dload_i_stripe_sum(c->stripes);
#endif
}

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_PIN */
