/* >>control -- a loader's life, its triggers and its counters. */
#ifndef DLOAD_I_HAVE_CONTROL
#define DLOAD_I_HAVE_CONTROL

#include "outside.h"

#if DLOAD_I_BODIES && DLOAD_ASYNC

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
#if DLOAD_FREESTANDING /* not every core multiplies */
    for (int i = 0, n = cfg->max_age_ns == 0 ? 10 : 0; i < n; i++)
        cfg->max_age_ns = dload_i_add_ns(cfg->max_age_ns, cfg->settle_ns);
#else
    if (cfg->max_age_ns == 0)
        cfg->max_age_ns = cfg->settle_ns > DLOAD_NEVER / 10 ? DLOAD_NEVER : 10 * cfg->settle_ns;
#endif
    cfg->env = cfg->env != NULL ? cfg->env : dload_env_default();
    if (cfg->max_batch > (UINT32_C(1) << 20) || cfg->max_queue > (UINT32_C(1) << 30) ||
        cfg->max_in_flight > (UINT32_C(1) << 20) || cfg->refresh_ahead_pct > 1000 ||
        (!DLOAD_REFRESH &&
         (cfg->stale_ns | cfg->stale_error_ns | cfg->refresh_ahead_pct | cfg->idle_ttl_ns) != 0) ||
        cfg->env->alloc == NULL || cfg->env->free == NULL)
        return DLOAD_EINVAL;
    return DLOAD_OK;
}

/* Checks the configuration, and prepares the second level. DLOAD_EINVAL also for a store's name, or values
 * that cannot be stored. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_second_init)(DLOAD_NAME *l)
{
    dload_status st = DLOAD_I_FN(i_configure)(&l->cfg);
#if DLOAD_STORE
    dload_i_second *s = &l->second;
    DLOAD_I_FN(config) *cfg = &l->cfg;
    const char *name = cfg->store_name != NULL ? cfg->store_name : DLOAD_I_TEXT_OF(DLOAD_NAME);
    const uint64_t form = cfg->encode != NULL ? 3u : DLOAD_I_VALUE_FORM;
    uint64_t part[6];
    if (st < 0)
        return st;
    bool named = dload_i_store_named(s, name); /* a sink needs it without a store */
    if (!named && (cfg->store != NULL || cfg->store_name != NULL))
        return DLOAD_EINVAL;
    cfg->store_name = NULL; /* copied */
    if (cfg->locks != NULL) {
        bool own = cfg->lock_name != NULL;
        st = dload_i_locking_init(&l->locking, cfg->locks,
                                  own ? "" : "dataloader:", own ? cfg->lock_name : name,
                                  cfg->lock_stripes, cfg->lock_wait_ns);
        cfg->lock_name = NULL; /* copied, too */
        if (st < 0 || cfg->wake != NULL)
            return DLOAD_EINVAL;
    }
    if (cfg->store == NULL)
        return st;
    if (form == 0 || (cfg->encode == NULL) != (cfg->decode == NULL))
        return DLOAD_EINVAL;
    s->store = cfg->store;
    s->core = &l->core;
    s->timeout_ns = cfg->store_timeout_ns != 0 ? cfg->store_timeout_ns : DLOAD_SECOND;
    if (s->timeout_ns > cfg->run_limit_ns)
        s->timeout_ns = cfg->run_limit_ns; /* a batch that waits longer is given up anyway */
    s->is_async = cfg->wake != NULL && (cfg->store->flags & DLOAD_STORE_ASYNC) != 0;
    if ((s->store->flags & DLOAD_STORE_LEASES) != 0 && cfg->store_lease_ns != DLOAD_NEVER) {
        s->lease_ns = cfg->store_lease_ns != 0 ? cfg->store_lease_ns : 10 * DLOAD_SECOND;
        if (!dload_i_draw_hash_key(cfg->env, s->leases))
            return DLOAD_EINVAL;
    }
    part[0] = DLOAD_I_KEY_KIND;
    part[1] = DLOAD_I_IS_STRING ? 0 : sizeof(DLOAD_I_K);
    part[2] = form;
    part[3] = form == 1 ? sizeof(DLOAD_I_V) : 0;
    part[4] = DLOAD_GROUP;
    part[5] = cfg->store_version;
    s->layout = dload_i_sum(0, part, sizeof part);
#endif
    return st;
}

/* How callers meet. Tasks that cannot wait do not lead, follow or linger: each sends for itself. */
DLOAD_I_INLINE void DLOAD_I_FN(i_set_company)(dload_i_core *c)
{
    c->bounded = DLOAD_I_THREADED;
#if DLOAD_LOCK == DLOAD_LOCK_CUSTOM
    c->threaded = c->env->wait != NULL;
#else
    c->threaded = DLOAD_I_THREADED;
#endif
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
    dload_status st = DLOAD_I_FN(i_second_init)(l);
    if (st < 0)
        return st;
    DLOAD_I_FN(cache_config) cache;
    memset(&cache, 0, sizeof cache);
    cache.env = l->cfg.env;
    cache.capacity = l->cfg.capacity;
#if DLOAD_I_WEIGHED
    cache.max_weight = l->cfg.max_weight;
#endif
#if DLOAD_ON_REMOVE
    cache.on_remove = l->cfg.on_remove;
    cache.ctx = l->cfg.ctx;
#endif
    cache.shards = l->cfg.shards;
    cache.ttl_ns = l->cfg.ttl_ns;
    cache.ttl_jitter_pct = l->cfg.ttl_jitter_pct;
    cache.idle_ttl_ns = l->cfg.idle_ttl_ns;
    cache.max_key_bytes = l->cfg.max_key_bytes;
#if DLOAD_HASH == DLOAD_HASH_SIP
    memcpy(cache.hash_key, l->cfg.hash_key, sizeof cache.hash_key);
    memset(l->cfg.hash_key, 0, sizeof l->cfg.hash_key); /* one copy of a secret is enough */
#endif
    st = DLOAD_I_FN(cache_init)(&l->cache, &cache);
    if (st < 0)
        return st;
#if DLOAD_REFRESH
    DLOAD_I_FN(i_set_windows)
    (&l->cache, l->cfg.stale_ns, l->cfg.stale_error_ns, l->cfg.refresh_ahead_pct,
     l->cfg.idle_ttl_ns);
#endif
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
    c->fork_now = DLOAD_I_FORK_NOW;
    c->fork_epoch = l->cache.fork_epoch;
    DLOAD_I_FN(i_set_company)(c);
    c->grouped = DLOAD_GROUP;
    c->queue_wait = l->cfg.queue_wait;
    c->wake = l->cfg.wake;
    c->wake_ctx = l->cfg.wake_ctx;
    c->registry = l->cfg.registry;
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
#if DLOAD_STORE
    busy = busy || l->second.n_out != 0;
#endif
    DLOAD_I_LEAVE(l);
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
#if DLOAD_STORE
    dload_i_second_end(&l->second);
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
#if DLOAD_STORE
    if (l->second.store != NULL && !l->second.is_async)
        dload_i_send_clears(&l->second, true);
#endif
    DLOAD_I_LEAVE(l);
    DLOAD_I_FN(i_sleeper_end)(&z);
    return st;
}

DLOAD_I_API uint64_t DLOAD_I_FN(now)(const DLOAD_NAME *l)
{
    return dload_i_now(l->core.env);
}

/* ---- triggers ---- */

#if DLOAD_STORE
/* A loop's turn at the second level: sends clears, and goes on with batches that the store has told of, but
 * for those whose first half has not returned. The mutex is held, and let go. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_process_second)(DLOAD_NAME *l)
{
    dload_i_second *s = &l->second;
    if (s->store == NULL)
        return;
    dload_i_send_clears(s, false);
    for (;;) {
        dload_i_letter **at = &s->got;
        while (*at != NULL && (*at)->batch->in_fetch)
            at = &(*at)->next;
        dload_i_letter *t = *at;
        if (t == NULL)
            return;
        *at = t->next;
        dload_i_batch *base = t->batch;
        if (base->state == DLOAD_I_RUNNING) {
            DLOAD_I_FN(i_batch)(base)->got = t;
        } else {
            DLOAD_I_LEAVE(l);
            dload_store_release(&t->op);
            DLOAD_I_ACQUIRE(&l->mutex);
            dload_i_letter_give(s, t);
        }
        dload_i_go_on(&l->core, base);
    }
}
#endif

DLOAD_I_API dload_status DLOAD_I_FN(dispatch)(DLOAD_NAME *l, size_t *n_keys)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    size_t n = dload_i_dispatch(&l->core, DLOAD_BY_EXPLICIT);
#if DLOAD_STORE
    DLOAD_I_FN(i_process_second)(l);
    dload_i_call_back(&l->core);
#endif
    DLOAD_I_LEAVE(l);
    if (n_keys != NULL)
        *n_keys = n;
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(process)(DLOAD_NAME *l, uint64_t now_ns)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
#if DLOAD_STORE
    DLOAD_I_FN(i_process_second)(l);
#endif
    dload_i_process(&l->core, now_ns);
    DLOAD_I_LEAVE(l);
    return DLOAD_I_FN(cache_advance)(&l->cache, now_ns);
}

DLOAD_I_API uint64_t DLOAD_I_FN(next_deadline)(DLOAD_NAME *l)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_NEVER;
    DLOAD_I_ACQUIRE(&l->mutex);
    uint64_t at_ns = dload_i_deadline(&l->core);
#if DLOAD_STORE
    uint64_t clears_ns = dload_i_clears_at(&l->second);
    at_ns = clears_ns < at_ns ? clears_ns : at_ns;
    at_ns = l->second.got != NULL ? 0 : at_ns;
#endif
    DLOAD_I_LEAVE(l);
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
    DLOAD_I_LEAVE(l);
    return DLOAD_OK;
}

/* ---- counters ---- */

DLOAD_I_API dload_status DLOAD_I_FN(stats)(DLOAD_NAME *l, dload_stats *stats)
{
    if (stats == NULL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    *stats = l->core.stats;
    DLOAD_I_FN(i_cache_stats)(&l->cache, stats);
#if DLOAD_STORE
    stats->store_unsent = l->second.n_unsent + dload_i_all_unsent(&l->second);
#endif
    DLOAD_I_LEAVE(l);
    stats->loads = stats->hits + stats->joins + stats->misses;
    return DLOAD_OK;
}

#endif /* DLOAD_I_BODIES && DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_CONTROL */
