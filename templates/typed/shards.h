/* >>shards -- a cache's shards: how many, where they live, from init to destroy. */
#ifndef DLOAD_I_HAVE_SHARDS
#define DLOAD_I_HAVE_SHARDS

#include "cache.h"

#if DLOAD_I_BODIES && !DLOAD_COMPACT

/* Capacity of shard i of n: equal shares, the remainder to the first ones. */
DLOAD_I_INLINE uint32_t DLOAD_I_FN(i_share)(size_t capacity, uint32_t n, uint32_t i)
{
    return (uint32_t)(capacity / n + (i < capacity % n));
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_shard_init)(DLOAD_I_CACHE *c, uint32_t i, size_t capacity)
{
    DLOAD_I_SHARD *s = &c->shard[i];
    uint32_t cap = c->unbounded ? 48u : DLOAD_I_FN(i_share)(capacity, c->n_shards, i);
    uint32_t kind = c->unbounded ? DLOAD_EVICT_NONE : dload_i_evict_kind(DLOAD_EVICT, cap);
#if DLOAD_TTL
    s->tick = s->wheel.now = DLOAD_I_FN(i_now)(c) >> DLOAD_I_TICK_SHIFT;
#endif
    s->evict.hash_key = DLOAD_I_HASH_KEY(c);
    if (!DLOAD_I_FN(i_shard_alloc)(c->env, s, cap, kind))
        return DLOAD_ENOMEM;
    s->max_uses = kind == DLOAD_EVICT_LRU ? 1 : s->evict.max_uses;
    if (!DLOAD_I_LOCK_INIT(&s->lock)) {
        dload_i_free(c->env, s->block, s->block_bytes);
        s->block = NULL;
        return DLOAD_ENOMEM;
    }
#if DLOAD_I_IS_STRING
    dload_i_arena_init(&s->arena, c->env);
#endif
    return DLOAD_OK;
}

DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_shard_count)(size_t capacity, size_t asked)
{
    size_t n = asked != 0 ? asked : 16u;
    uint32_t n_shards = 1;
    while (DLOAD_I_SHARDED && n_shards * 2 <= n && n_shards < 256 &&
           (asked != 0 ? n_shards * 2 <= capacity : capacity / (n_shards * 2) >= 64))
        n_shards *= 2;
    return n_shards;
}

#if DLOAD_I_SHARDED

/* Shards and the counters of hits without a lock, in one block. */
DLOAD_I_INLINE size_t DLOAD_I_FN(i_shards_bytes)(uint32_t n_shards)
{
    size_t n = 64 + n_shards * sizeof(DLOAD_I_SHARD);
    return n + (DLOAD_I_LOCKLESS && DLOAD_STATS ? DLOAD_I_STRIPES * sizeof(dload_i_stripe) : 0);
}

DLOAD_I_LOCAL bool DLOAD_I_FN(i_carve_shards)(DLOAD_I_CACHE *c, uint32_t n_shards)
{
    size_t n_bytes = DLOAD_I_FN(i_shards_bytes)(n_shards);
    c->block = dload_i_alloc(c->env, n_bytes);
    if (c->block == NULL)
        return false;
    memset(c->block, 0, n_bytes);
    c->shard = (DLOAD_I_SHARD *)(((uintptr_t)c->block + 63) & ~(uintptr_t)63);
#if DLOAD_I_LOCKLESS && DLOAD_STATS
    c->stripes = (dload_i_stripe *)(void *)(c->shard + n_shards);
#endif
    return true;
}

#endif

DLOAD_I_API dload_status DLOAD_I_FN(cache_init)(DLOAD_I_CACHE *c,
                                                const DLOAD_I_FN(cache_config) * config)
{
    DLOAD_I_FN(cache_config) cfg;
    memset(&cfg, 0, sizeof cfg);
    if (config != NULL)
        cfg = *config;
    memset(c, 0, sizeof *c);
    size_t capacity = cfg.capacity != 0 ? cfg.capacity : 4096;
    c->env = cfg.env != NULL ? cfg.env : dload_env_default();
    c->ttl_ns = cfg.ttl_ns != 0 ? cfg.ttl_ns : DLOAD_NEVER;
    c->jitter_pct = cfg.ttl_jitter_pct;
    c->max_key_bytes = cfg.max_key_bytes != 0 ? cfg.max_key_bytes : 65536;
    c->unbounded = capacity == DLOAD_UNBOUNDED;
#if DLOAD_ON_REMOVE
    c->on_remove = cfg.on_remove;
    c->remove_ctx = cfg.ctx;
#endif
    c->fork_epoch = DLOAD_I_FORK_EPOCH;
#if !DLOAD_I_SHARDED
    c->shard = &c->one;
    c->one.groups = dload_i_no_groups();
    c->one.n_groups = 1;
#endif
#if DLOAD_HASH == DLOAD_HASH_SIP
    memcpy(c->hash_key, cfg.hash_key, sizeof c->hash_key);
    if ((c->hash_key[0] | c->hash_key[1]) == 0 && !dload_i_draw_hash_key(c->env, c->hash_key))
        return DLOAD_EINVAL;
#endif
    if (capacity == DLOAD_NO_CACHE)
        return DLOAD_OK;
    if (cfg.ttl_jitter_pct > 90 || (!DLOAD_REFRESH && cfg.idle_ttl_ns != 0) || cfg.shards > 256 ||
        c->max_key_bytes > DLOAD_I_ARENA_MAX || (capacity > (UINT32_C(1) << 30) && !c->unbounded) ||
        (c->env->alloc == NULL) || (c->env->free == NULL))
        return DLOAD_EINVAL;
#if DLOAD_REFRESH
    DLOAD_I_FN(i_set_windows)(c, 0, 0, 0, cfg.idle_ttl_ns);
#endif
    uint32_t n_shards = DLOAD_I_FN(i_shard_count)(capacity, cfg.shards);
#if DLOAD_I_WEIGHED
    if (cfg.max_weight != 0 && c->unbounded)
        return DLOAD_EINVAL; /* only a table of a fixed size has a policy */
    while (cfg.max_weight != 0 && cfg.max_weight < n_shards)
        n_shards /= 2;
#endif
#if DLOAD_I_SHARDED
    if (!DLOAD_I_FN(i_carve_shards)(c, n_shards))
        return DLOAD_ENOMEM;
#endif
    c->n_shards = n_shards;
    for (uint32_t i = 0; i < n_shards; i++) {
        dload_status st = DLOAD_I_FN(i_shard_init)(c, i, capacity);
        if (st < 0) {
            (void)DLOAD_I_FN(cache_destroy)(c);
            return st;
        }
#if DLOAD_I_WEIGHED
        c->shard[i].max_weight = cfg.max_weight == 0
                                     ? UINT64_MAX
                                     : cfg.max_weight / n_shards + (i < cfg.max_weight % n_shards);
#endif
    }
    return DLOAD_OK;
}

/* Ends the values of a shard that nobody uses any more. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_release_all)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s)
{
    for (uint32_t i = 0; DLOAD_I_LEAVES && i < s->n_groups * DLOAD_I_GROUP_SLOTS; i++) {
        if (s->groups[i / DLOAD_I_GROUP_SLOTS].tags[i % DLOAD_I_GROUP_SLOTS] == 0 ||
            (DLOAD_I_META(&s->slots[i]) & DLOAD_I_META_ERROR) != 0)
            continue;
        DLOAD_I_FN(removed) old;
        DLOAD_I_FN(i_leave)(&s->slots[i], DLOAD_REMOVED_DESTROYED, &old);
        DLOAD_I_FN(i_end)(c, s, &old);
    }
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_destroy)(DLOAD_I_CACHE *c)
{
    for (uint32_t i = 0; i < c->n_shards; i++) {
        DLOAD_I_SHARD *s = &c->shard[i];
        if (s->block == NULL)
            continue; /* init did not come so far */
#if DLOAD_ON_REMOVE
        /* While the hook may still enter the cache: what had gone before this. */
        DLOAD_I_FN(i_sweep)(c, s, DLOAD_TTL ? DLOAD_I_FN(i_now)(c) : 0, 0);
#endif
        DLOAD_I_FN(i_release_all)(c, s);
#if DLOAD_I_IS_STRING
        dload_i_arena_destroy(&s->arena);
#endif
        DLOAD_I_FN(i_free_outgrown)(c->env, s);
        dload_i_free(c->env, s->block, s->block_bytes);
        DLOAD_I_LOCK_DESTROY(&s->lock);
    }
#if DLOAD_I_SHARDED
    dload_i_free(c->env, c->block, DLOAD_I_FN(i_shards_bytes)(c->n_shards));
    c->block = NULL;
    c->shard = NULL;
#else
    c->one.groups = dload_i_no_groups();
    c->one.n_groups = 1;
#endif
    c->n_shards = 0;
    return DLOAD_OK;
}

DLOAD_I_API size_t DLOAD_I_FN(cache_len)(DLOAD_I_CACHE *c)
{
    size_t n = 0;
    for (uint32_t i = 0; i < c->n_shards && !DLOAD_I_FORKED(c); i++) {
        DLOAD_I_ACQUIRE(&c->shard[i].lock);
        n += c->shard[i].n_live;
        DLOAD_I_RELEASE(&c->shard[i].lock);
    }
    return n;
}

DLOAD_I_API size_t DLOAD_I_FN(cache_bytes)(DLOAD_I_CACHE *c)
{
    size_t n = 0;
#if DLOAD_I_SHARDED
    if (c->n_shards != 0)
        n = DLOAD_I_FN(i_shards_bytes)(c->n_shards);
#endif
    for (uint32_t i = 0; i < c->n_shards && !DLOAD_I_FORKED(c); i++) {
        DLOAD_I_ACQUIRE(&c->shard[i].lock);
        n += c->shard[i].block_bytes;
#if DLOAD_I_LOCKLESS
        n += c->shard[i].outgrown_bytes;
#endif
#if DLOAD_I_IS_STRING
        n += c->shard[i].arena.n_bytes;
#endif
        DLOAD_I_RELEASE(&c->shard[i].lock);
    }
    return n;
}

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_SHARDS */
