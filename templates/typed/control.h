/* >>control -- a loader's life, its cache from outside, its triggers and its counters. */
#ifndef DLOAD_I_HAVE_CONTROL
#define DLOAD_I_HAVE_CONTROL

#include "load.h"

#if DLOAD_I_BODIES

/* ---- life ---- */

DLOAD_I_API DLOAD_I_FN(config) DLOAD_I_FN(config_default)(void)
{
    DLOAD_I_FN(config) cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = 4096;
    cfg.ttl_ns = DLOAD_NEVER;
    cfg.max_batch = 100;
    cfg.max_in_flight = 4;
    cfg.max_queue = 65536;
    cfg.timeout_ns = 30 * DLOAD_SECOND;
    cfg.run_limit_ns = 60 * DLOAD_SECOND;
    cfg.max_key_bytes = 65536;
    return cfg;
}

/* Zeros become defaults. DLOAD_EINVAL when a field is out of its range. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_configure)(DLOAD_I_FN(config) * cfg)
{
    const DLOAD_I_FN(config) def = DLOAD_I_FN(config_default)();
    if (cfg->fetch == NULL)
        return DLOAD_EINVAL;
    cfg->max_batch = cfg->max_batch != 0 ? cfg->max_batch : def.max_batch;
    cfg->max_in_flight = cfg->max_in_flight != 0 ? cfg->max_in_flight : def.max_in_flight;
    cfg->max_queue = cfg->max_queue != 0 ? cfg->max_queue : def.max_queue;
    cfg->timeout_ns = cfg->timeout_ns != 0 ? cfg->timeout_ns : def.timeout_ns;
    cfg->run_limit_ns = cfg->run_limit_ns != 0 ? cfg->run_limit_ns : def.run_limit_ns;
    if (cfg->max_age_ns == 0)
        cfg->max_age_ns = cfg->settle_ns > DLOAD_NEVER / 10 ? DLOAD_NEVER : 10 * cfg->settle_ns;
    cfg->env = cfg->env != NULL ? cfg->env : dload_env_default();
    if (cfg->max_batch > (UINT32_C(1) << 20) || cfg->max_queue > (UINT32_C(1) << 30) ||
        cfg->max_in_flight > (UINT32_C(1) << 20) || cfg->env->alloc == NULL ||
        cfg->env->free == NULL)
        return DLOAD_EINVAL;
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(init_checked)(DLOAD_NAME *l, const DLOAD_I_FN(config) * config,
                                                  size_t config_bytes, uint64_t fingerprint)
{
    if (l == NULL || config == NULL)
        return DLOAD_EINVAL;
    if (config_bytes != sizeof *config || fingerprint != DLOAD_I_FINGERPRINT)
        return DLOAD_ELAYOUT;
    memset(l, 0, sizeof *l);
    l->cfg = *config;
    dload_status st = DLOAD_I_FN(i_configure)(&l->cfg);
    if (st < 0)
        return st;
    DLOAD_I_FN(cache_config) cache;
    memset(&cache, 0, sizeof cache);
    cache.env = l->cfg.env;
    cache.capacity = l->cfg.capacity;
    cache.shards = l->cfg.shards;
    cache.ttl_ns = l->cfg.ttl_ns;
    cache.ttl_jitter_pct = l->cfg.ttl_jitter_pct;
    cache.max_key_bytes = l->cfg.max_key_bytes;
    st = DLOAD_I_FN(cache_init)(&l->cache, &cache);
    if (st < 0)
        return st;
    if (!DLOAD_I_LOCK_INIT(&l->mutex)) {
        (void)DLOAD_I_FN(cache_destroy)(&l->cache);
        return DLOAD_ENOMEM;
    }
#if DLOAD_I_IS_STRING
    dload_i_arena_init(&l->arena, l->cfg.env);
#endif
    dload_i_core *c = &l->core;
    c->ops = DLOAD_I_FN(i_ops)();
    c->sync = DLOAD_I_SYNC;
    c->env = l->cfg.env;
    c->hooks = l->cfg.hooks;
    c->owner = l;
    c->mutex = &l->mutex;
    c->max_batch = (uint32_t)l->cfg.max_batch;
    c->max_in_flight = (uint32_t)l->cfg.max_in_flight;
    c->max_queue = (uint32_t)l->cfg.max_queue;
    c->settle_ns = l->cfg.settle_ns;
    c->max_age_ns = l->cfg.max_age_ns;
    c->run_limit_ns = l->cfg.run_limit_ns;
    c->threaded = DLOAD_I_THREADED;
    c->wake = l->cfg.wake;
    c->wake_ctx = l->cfg.wake_ctx;
    if (l->cfg.registry != NULL)
        dload_i_registry_add(l->cfg.registry, c);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(destroy)(DLOAD_NAME *l)
{
    dload_i_core *c = &l->core;
    if (c->ops == NULL)
        return DLOAD_OK; /* never initialised, or destroyed before */
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    bool busy = c->n_out != 0 || c->ready != NULL || c->open != NULL || c->queue != NULL;
    DLOAD_I_RELEASE(&l->mutex);
    if (busy)
        return DLOAD_EBUSY;
    if (l->cfg.registry != NULL)
        dload_i_registry_remove(l->cfg.registry, c);
    while (c->free_ != NULL) {
        dload_i_batch *b = c->free_;
        c->free_ = b->next;
        c->ops->unmake(l, b);
    }
    while (c->waiter_blocks != NULL) {
        dload_i_waiter_block *block = c->waiter_blocks;
        c->waiter_blocks = block->next;
        dload_i_free(c->env, block, sizeof *block);
    }
    dload_i_free(c->env, c->refs, c->refs_cap * sizeof *c->refs);
#if DLOAD_I_IS_STRING
    dload_i_arena_destroy(&l->arena);
#endif
    DLOAD_I_LOCK_DESTROY(&l->mutex);
    (void)DLOAD_I_FN(cache_destroy)(&l->cache);
    memset(c, 0, sizeof *c);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(close)(DLOAD_NAME *l, dload_close_mode mode,
                                           uint64_t deadline_ns)
{
    if (mode != DLOAD_DRAIN && mode != DLOAD_FAIL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_call call;
    memset(&call, 0, sizeof call);
    call.deadline_ns = deadline_ns;
    DLOAD_I_SLEEPER z;
    if (!DLOAD_I_FN(i_sleeper_init)(l, &z, false))
        return DLOAD_ENOMEM;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_status st = dload_i_close(&l->core, mode, &z.parker, DLOAD_I_FN(i_deadline)(l, &call));
    DLOAD_I_RELEASE(&l->mutex);
    DLOAD_I_FN(i_sleeper_end)(&z);
    return st;
}

DLOAD_I_API uint64_t DLOAD_I_FN(now)(const DLOAD_NAME *l)
{
    return dload_i_now(l->core.env);
}

/* ---- triggers ---- */

DLOAD_I_API dload_status DLOAD_I_FN(dispatch)(DLOAD_NAME *l, size_t *n_keys)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    size_t n = dload_i_dispatch(&l->core, DLOAD_BY_EXPLICIT);
    DLOAD_I_RELEASE(&l->mutex);
    if (n_keys != NULL)
        *n_keys = n;
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(process)(DLOAD_NAME *l, uint64_t now_ns)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_i_process(&l->core, now_ns);
    DLOAD_I_RELEASE(&l->mutex);
    return DLOAD_I_FN(cache_advance)(&l->cache, now_ns);
}

DLOAD_I_API uint64_t DLOAD_I_FN(next_deadline)(DLOAD_NAME *l)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_NEVER;
    DLOAD_I_ACQUIRE(&l->mutex);
    uint64_t at_ns = dload_i_deadline(&l->core);
    DLOAD_I_RELEASE(&l->mutex);
    return at_ns;
}

DLOAD_I_API dload_status DLOAD_I_FN(expect)(DLOAD_NAME *l, size_t n)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    if (n > l->core.max_batch)
        n = l->core.max_batch; /* a full batch goes anyway */
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_i_expect(&l->core, (uint32_t)n);
    DLOAD_I_FN(i_tell)(l);
    DLOAD_I_RELEASE(&l->mutex);
    return DLOAD_OK;
}

/* ---- the cache from outside ---- */

/* Under the mutex: later loads neither join nor trust what was sent before. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_outdate)(DLOAD_NAME *l, uint64_t hash, const DLOAD_I_K *key)
{
    dload_i_note_clear(&l->core, hash);
    dload_i_ref *ref = DLOAD_I_FN(i_flight)(l, hash, key);
    if (ref != NULL && ref->batch->state >= DLOAD_I_RUNNING)
        dload_i_detach(&l->core, ref); /* one that is queued will be fetched after this: it stays */
}

/* Is the key cached, for a reader? Counts no use. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_has)(DLOAD_NAME *l, uint64_t hash, const DLOAD_I_K *key)
{
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, hash);
    DLOAD_I_ACQUIRE(&s->lock);
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, hash, key);
    bool has = e != NULL && DLOAD_I_FN(i_valid)(&l->cache, s, e);
    DLOAD_I_RELEASE(&s->lock);
    return has;
}

/* The way into the cache of everything that no batch brought: token 0 = unconditionally. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_bring)(DLOAD_NAME *l, DLOAD_I_K key, dload_status status,
                                               const DLOAD_I_V *value, uint64_t ttl_ns,
                                               uint32_t flags, const dload_token *token)
{
    if (status >= 0 && value == NULL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0 || l->cache.n_shards == 0)
        return st;
    DLOAD_I_V copy;
    if (status >= 0 && (st = DLOAD_I_FN(i_copy)(&copy, value)) < 0)
        return st;
    DLOAD_I_FN(item) item;
    item.hash = DLOAD_I_FN(i_hash)(key);
    item.key = key;
    item.value = &copy;
    item.status = status;
    item.ttl_ns = ttl_ns;
    item.now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(&l->cache) : 0;
    item.garbage = false;
    bool stored = false;
    DLOAD_I_FN(i_before_store)(&l->cache, &item);
    DLOAD_I_ACQUIRE(&l->mutex);
    if (token != NULL && dload_i_cleared_since(&l->core, item.hash, *token)) {
        st = DLOAD_ECANCELED;
    } else if ((flags & DLOAD_OVERWRITE) != 0 || !DLOAD_I_FN(i_has)(l, item.hash, &key)) {
        DLOAD_I_FN(i_outdate)(l, item.hash, &key);
        st = DLOAD_I_FN(i_store)(&l->cache, &item);
        stored = st >= 0;
    }
    DLOAD_I_RELEASE(&l->mutex);
    if (!stored && status >= 0)
        DLOAD_I_FN(i_release)(&copy);
    DLOAD_I_FN(i_after_store)(&item);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(prime)(DLOAD_NAME *l, DLOAD_I_K key, const DLOAD_I_V *value,
                                           uint32_t flags)
{
    return DLOAD_I_FN(i_bring)(l, key, DLOAD_OK, value, l->cache.ttl_ns, flags, NULL);
}

DLOAD_I_API dload_status DLOAD_I_FN(prime_many)(DLOAD_NAME *l, const DLOAD_I_K *keys,
                                                const DLOAD_I_V *values, size_t n, uint32_t flags,
                                                dload_status *statuses)
{
    if (n != 0 && (keys == NULL || values == NULL))
        return DLOAD_EINVAL;
    dload_status result = DLOAD_OK;
    for (size_t i = 0; i < n; i++) {
        dload_status st = DLOAD_I_FN(prime)(l, keys[i], &values[i], flags);
        if (statuses != NULL)
            statuses[i] = st;
        if (result == DLOAD_OK)
            result = st;
    }
    return result;
}

DLOAD_I_API dload_status DLOAD_I_FN(prime_error)(DLOAD_NAME *l, DLOAD_I_K key, dload_status status,
                                                 uint64_t ttl_ns)
{
    if (status >= 0 || status == DLOAD_PENDING || ttl_ns == 0)
        return DLOAD_EINVAL;
    return DLOAD_I_FN(i_bring)(l, key, status, NULL, ttl_ns, 0, NULL);
}

DLOAD_I_API dload_token DLOAD_I_FN(token)(DLOAD_NAME *l)
{
    if (DLOAD_I_FORKED(&l->cache))
        return 0;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_token token = l->core.clear_seq;
    DLOAD_I_RELEASE(&l->mutex);
    return token;
}

DLOAD_I_API dload_status DLOAD_I_FN(put_if)(DLOAD_NAME *l, DLOAD_I_K key, const DLOAD_I_V *value,
                                            dload_token token)
{
    return DLOAD_I_FN(i_bring)(l, key, DLOAD_OK, value, l->cache.ttl_ns, DLOAD_OVERWRITE, &token);
}

DLOAD_I_API dload_status DLOAD_I_FN(peek)(DLOAD_NAME *l, DLOAD_I_K key, dload_state *state,
                                          DLOAD_I_V *out)
{
    if (state == NULL)
        return DLOAD_EINVAL;
    *state = DLOAD_STATE_ABSENT;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0)
        return st;
    uint64_t hash = DLOAD_I_FN(i_hash)(key);
    st = DLOAD_MISSING;
    DLOAD_I_ACQUIRE(&l->mutex);
    if (l->cache.n_shards != 0) {
        DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, hash);
        DLOAD_I_ACQUIRE(&s->lock);
        const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, hash, &key);
        if (e != NULL && DLOAD_I_FN(i_valid)(&l->cache, s, e)) {
            bool error = (e->meta & DLOAD_I_META_ERROR) != 0;
            *state = error ? DLOAD_STATE_ERROR : DLOAD_STATE_READY;
            st = error ? (dload_status)e->u.status : DLOAD_OK;
            if (!error && out != NULL)
                st = DLOAD_I_FN(i_copy)(out, &e->u.value);
        }
        DLOAD_I_RELEASE(&s->lock);
    }
    if (*state == DLOAD_STATE_ABSENT) {
        const dload_i_ref *ref = DLOAD_I_FN(i_flight)(l, hash, &key);
        if (ref != NULL)
            *state =
                ref->batch->state >= DLOAD_I_RUNNING ? DLOAD_STATE_IN_FLIGHT : DLOAD_STATE_QUEUED;
    }
    DLOAD_I_RELEASE(&l->mutex);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(clear)(DLOAD_NAME *l, DLOAD_I_K key)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0)
        return st;
    uint64_t hash = DLOAD_I_FN(i_hash)(key);
    DLOAD_I_V old;
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_FN(i_outdate)(l, hash, &key);
    bool has_old = DLOAD_I_FN(i_drop)(&l->cache, hash, &key, &old);
    DLOAD_I_RELEASE(&l->mutex);
    if (has_old)
        DLOAD_I_FN(i_release)(&old);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(clear_many)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n)
{
    if (n != 0 && keys == NULL)
        return DLOAD_EINVAL;
    dload_status result = DLOAD_OK;
    for (size_t i = 0; i < n; i++) {
        dload_status st = DLOAD_I_FN(clear)(l, keys[i]);
        if (result == DLOAD_OK)
            result = st;
    }
    return result;
}

DLOAD_I_API dload_status DLOAD_I_FN(clear_all)(DLOAD_NAME *l)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    l->core.clear_all_seq = ++l->core.clear_seq; /* flights sent before are joined no more */
    uint32_t full = DLOAD_I_FN(i_new_epoch)(&l->cache);
    DLOAD_I_RELEASE(&l->mutex);
    if (full != 0)
        DLOAD_I_FN(i_full_sweep)(&l->cache);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(stats)(DLOAD_NAME *l, dload_stats *stats)
{
    if (stats == NULL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    *stats = l->core.stats;
    for (uint32_t i = 0; i < l->cache.n_shards; i++) {
        DLOAD_I_SHARD *s = &l->cache.shard[i];
        DLOAD_I_ACQUIRE(&s->lock);
        stats->hits += s->hits;
        stats->evictions += s->evictions;
        stats->expired += s->expired;
        stats->entries += s->n_live;
        DLOAD_I_RELEASE(&s->lock);
    }
    DLOAD_I_RELEASE(&l->mutex);
    stats->loads = stats->hits + stats->joins + stats->misses;
    return DLOAD_OK;
}

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_CONTROL */
