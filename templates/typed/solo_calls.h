/* >>solo_calls -- the calls of a loader with DLOAD_ASYNC 0: from init to destroy.
 *
 * Takes the place of load.h, load_many.h and control.h.
 */
#ifndef DLOAD_I_HAVE_SOLO_CALLS
#define DLOAD_I_HAVE_SOLO_CALLS

#include "solo.h"

#if DLOAD_I_BODIES && !DLOAD_ASYNC

/* ---- blocking ---- */

/* Asks for one key of a blocking call: a hit's status, why it cannot be, or DLOAD_PENDING. Where there is no room
 * what waits longest is sent. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_ask_key)(DLOAD_NAME *l, dload_i_asker *asker,
                                                 const DLOAD_I_K *key, size_t at)
{
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, *key, 0);
    for (;;) {
        dload_status st = DLOAD_PENDING;
        if (l->core.closed)
            return DLOAD_ECLOSED;
        if ((asker->flags & DLOAD_FRESH) == 0)
            st = DLOAD_I_FN(i_look)(&l->cache, &id, (DLOAD_I_V *)asker->out + at);
        if (st != DLOAD_PENDING)
            return st;
        dload_i_ask *ask = asker->own.asker == NULL ? &asker->own : l->core.spare;
        if (ask != NULL) {
            dload_i_ask *next = ask->next;
            ask->asker = asker;
            ask->at = at;
            st = DLOAD_I_FN(i_ask)(l, key, asker->flags, ask);
            if (st == DLOAD_PENDING) {
                asker->n_pending++;
                if (ask != &asker->own)
                    l->core.spare = next;
                return st;
            }
            ask->asker = NULL;
            if (st != DLOAD_EAGAIN)
                return st;
        }
        if (l->core.queue == NULL)
            return DLOAD_EAGAIN; /* all that there is runs, and this is called from there */
        (void)DLOAD_I_FN(i_send)(l, DLOAD_BY_IDLE);
    }
}

DLOAD_I_API dload_status DLOAD_I_FN(load_many_with)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n,
                                                    const dload_call *call, DLOAD_I_V *out,
                                                    dload_status *statuses)
{
    if ((n != 0 && (keys == NULL || out == NULL)) || (call != NULL && call->group != 0))
        return DLOAD_EINVAL;
    dload_status result = DLOAD_OK;
    dload_i_asker asker;
    asker.own.asker = NULL;
    asker.out = out;
    asker.statuses = statuses;
    asker.n_pending = 0;
    asker.flags = call != NULL ? call->flags : 0;
    for (size_t i = 0; i < n; i++) {
        DLOAD_I_K key = keys[i];
        dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
        if (st >= 0)
            st = DLOAD_I_FN(i_ask_key)(l, &asker, &key, i);
        if (st == DLOAD_PENDING)
            continue;
        if (statuses != NULL)
            statuses[i] = st;
        /* About the call, and not about one key's answer? */
        if (result == DLOAD_OK &&
            (st == DLOAD_EAGAIN || st == DLOAD_ECLOSED || st == DLOAD_EDEADLK))
            result = st;
    }
    while (asker.n_pending != 0)
        (void)DLOAD_I_FN(i_send)(l, DLOAD_BY_IDLE);
    return result;
}

DLOAD_I_API dload_status DLOAD_I_FN(load_many)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n,
                                               DLOAD_I_V *out, dload_status *statuses)
{
    return DLOAD_I_FN(load_many_with)(l, keys, n, NULL, out, statuses);
}

DLOAD_I_API dload_status DLOAD_I_FN(load_with)(DLOAD_NAME *l, DLOAD_I_K key, const dload_call *call,
                                               DLOAD_I_V *out)
{
    dload_status status = DLOAD_EINVAL;
    (void)DLOAD_I_FN(load_many_with)(l, &key, 1, call, out, &status);
    return status;
}

DLOAD_I_API dload_status DLOAD_I_FN(load)(DLOAD_NAME *l, DLOAD_I_K key, DLOAD_I_V *out)
{
    return DLOAD_I_FN(load_with)(l, key, NULL, out);
}

/* ---- without blocking ---- */

DLOAD_I_API dload_status DLOAD_I_FN(start_with)(DLOAD_NAME *l, DLOAD_I_K key,
                                                const dload_call *call, DLOAD_I_WAITER *w)
{
    if (w == NULL || (call != NULL && call->group != 0))
        return DLOAD_EINVAL;
    uint32_t flags = call != NULL ? call->flags : 0;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st >= 0 && l->core.closed)
        st = DLOAD_ECLOSED;
    if (st >= 0) {
        DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, key, 0);
        st = (flags & DLOAD_FRESH) != 0 ? DLOAD_PENDING
                                        : DLOAD_I_FN(i_look)(&l->cache, &id, &w->value);
        w->base.asker = NULL;
        if (st == DLOAD_PENDING)
            st = DLOAD_I_FN(i_ask)(l, &key, flags, &w->base);
    }
    w->status = st;
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(start)(DLOAD_NAME *l, DLOAD_I_K key, DLOAD_I_WAITER *w)
{
    return DLOAD_I_FN(start_with)(l, key, NULL, w);
}

/* The key at place i of a batch that was not sent is not wanted any more. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_unseat)(DLOAD_NAME *l, DLOAD_I_BATCH *b, uint32_t i)
{
    for (b->n_seats--; i < b->n_seats; i++) {
        b->seats[i] = b->seats[i + 1];
        b->own_keys[i] = b->own_keys[i + 1];
    }
    if (b->n_seats != 0)
        return;
    DLOAD_I_BATCH **at = &l->core.queue;
    DLOAD_I_BATCH *before = NULL;
    for (; *at != b; at = &before->next)
        before = *at;
    *at = b->next;
    if (l->core.last == b)
        l->core.last = before;
    b->state = 0;
}

DLOAD_I_API dload_status DLOAD_I_FN(cancel)(DLOAD_NAME *l, DLOAD_I_WAITER *w)
{
    if (w == NULL)
        return DLOAD_EINVAL;
    for (uint32_t k = 0; k < l->core.n_batches; k++) {
        DLOAD_I_BATCH *b = &l->core.batches[k];
        for (uint32_t i = 0; i < b->n_seats; i++) {
            dload_i_ask **at = &b->seats[i].first;
            while (*at != NULL && *at != &w->base)
                at = &(*at)->next;
            if (*at == NULL)
                continue;
            *at = w->base.next;
            w->status = DLOAD_ECANCELED;
            DLOAD_I_COUNT(l, cancelled, 1u);
            if (b->seats[i].first == NULL && b->state != DLOAD_I_RUNNING) {
                DLOAD_I_ACQUIRE(&l->mutex);
                DLOAD_I_FN(i_unseat)(l, b, i);
                DLOAD_I_LEAVE(l);
            }
            return DLOAD_OK;
        }
    }
    return DLOAD_EBUSY;
}

/* ---- triggers ---- */

/* Sends what is queued now, and only that. Returns how many keys went. */
DLOAD_I_LOCAL size_t DLOAD_I_FN(i_dispatch)(DLOAD_NAME *l, dload_trigger why)
{
    size_t n_keys = 0;
    uint32_t n_batches = 0;
    for (const DLOAD_I_BATCH *b = l->core.queue; b != NULL; b = b->next)
        n_batches++;
    if (l->core.last != NULL)
        l->core.last->state = DLOAD_I_QUEUED; /* what callbacks add goes into another */
    while (n_batches-- > 0 && l->core.queue != NULL && l->core.queue->state == DLOAD_I_QUEUED)
        n_keys += DLOAD_I_FN(i_send)(l, why);
    return n_keys;
}

DLOAD_I_API dload_status DLOAD_I_FN(dispatch)(DLOAD_NAME *l, size_t *n_keys)
{
    size_t n = DLOAD_I_FN(i_dispatch)(l, DLOAD_BY_EXPLICIT);
    if (n_keys != NULL)
        *n_keys = n;
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(process)(DLOAD_NAME *l, uint64_t now_ns)
{
    (void)DLOAD_I_FN(i_dispatch)(l, DLOAD_BY_SETTLE);
    return DLOAD_I_FN(cache_advance)(&l->cache, now_ns);
}

DLOAD_I_API uint64_t DLOAD_I_FN(now)(const DLOAD_NAME *l)
{
    return dload_i_now(l->cache.env);
}

/* ---- life ---- */

DLOAD_I_API DLOAD_I_FN(config) DLOAD_I_FN(config_default)(void)
{
    DLOAD_I_FN(config) cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = 4096;
    cfg.ttl_ns = DLOAD_NEVER;
    cfg.max_batch = 100;
    return cfg;
}

/* A part of the loader's block. */
DLOAD_I_LOCAL void *DLOAD_I_FN(i_part)(char **at, size_t n_bytes)
{
    void *part = *at;
    *at += DLOAD_I_BLOCK_UP(n_bytes);
    return part;
}

/* Batches, their places, and one request for each place, in one block. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_lay_out)(DLOAD_NAME *l, uint32_t n_batches, uint32_t max_batch)
{
    const size_t n_places = (size_t)n_batches * max_batch;
    const size_t n_bytes = DLOAD_I_SOLO_PARTS(sizeof(DLOAD_I_K), sizeof(DLOAD_I_V),
                                              sizeof(DLOAD_I_BATCH), n_batches, n_places);
    const size_t place_bytes = sizeof(DLOAD_I_K) + sizeof(DLOAD_I_V) + sizeof(DLOAD_I_BATCH) +
                               sizeof(dload_i_seat) + sizeof(dload_i_ask);
    char *at =
        n_places > SIZE_MAX / 2 / place_bytes ? NULL : (char *)dload_i_alloc(l->cache.env, n_bytes);
    if (at == NULL)
        return false;
    memset(at, 0, n_bytes);
    l->core.block = at;
    l->core.block_bytes = n_bytes;
    DLOAD_I_V *values = (DLOAD_I_V *)DLOAD_I_FN(i_part)(&at, n_places * sizeof *values);
    dload_i_seat *seats = (dload_i_seat *)DLOAD_I_FN(i_part)(&at, n_places * sizeof *seats);
    l->core.batches = (DLOAD_I_BATCH *)DLOAD_I_FN(i_part)(&at, n_batches * sizeof *l->core.batches);
    dload_i_ask *asks = (dload_i_ask *)DLOAD_I_FN(i_part)(&at, n_places * sizeof *asks);
    DLOAD_I_K *keys = (DLOAD_I_K *)DLOAD_I_FN(i_part)(&at, n_places * sizeof *keys);
    for (size_t i = 0; i < n_places; i++) {
        asks[i].next = l->core.spare;
        l->core.spare = &asks[i];
    }
    for (uint32_t k = 0; k < n_batches; k++) {
        DLOAD_I_BATCH *b = &l->core.batches[k];
        b->own_keys = keys + (size_t)k * max_batch;
        b->values = values + (size_t)k * max_batch;
        b->seats = seats + (size_t)k * max_batch;
        b->owner = l;
    }
    l->core.n_batches = n_batches;
    l->core.max_batch = max_batch;
    return true;
}

DLOAD_I_API dload_status DLOAD_I_FN(init_checked)(DLOAD_NAME *l, const DLOAD_I_FN(config) * config,
                                                  size_t config_bytes, uint64_t fingerprint)
{
    if (l == NULL || config == NULL)
        return DLOAD_EINVAL;
    if (config_bytes != sizeof *config || fingerprint != DLOAD_I_FINGERPRINT)
        return DLOAD_ELAYOUT;
    memset(l, 0, sizeof *l);
    const dload_env *env = config->env != NULL ? config->env : dload_env_default();
    const size_t max_batch = config->max_batch != 0 ? config->max_batch : 100;
    const size_t max_queue = config->max_queue != 0 ? config->max_queue : max_batch;
    uint32_t n_batches = 1;
    for (size_t left = max_queue; left != 0 && n_batches <= DLOAD_I_SOLO_MAX; n_batches++)
        left -= left < max_batch ? left : max_batch; /* no division: not every core has one */
    if (config->fetch == NULL || max_batch > (UINT32_C(1) << 20) || n_batches > DLOAD_I_SOLO_MAX ||
        env->alloc == NULL || env->free == NULL)
        return DLOAD_EINVAL;
    DLOAD_I_FN(cache_config) cache;
    memset(&cache, 0, sizeof cache);
    cache.env = env;
    cache.capacity = config->capacity;
#if DLOAD_I_WEIGHED
    cache.max_weight = config->max_weight;
#endif
    cache.ttl_ns = config->ttl_ns;
    cache.ttl_jitter_pct = config->ttl_jitter_pct;
#if DLOAD_HASH == DLOAD_HASH_SIP
    memcpy(cache.hash_key, config->hash_key, sizeof cache.hash_key);
#endif
    dload_status st = DLOAD_I_FN(cache_init)(&l->cache, &cache);
    if (st < 0)
        return st;
    if (!DLOAD_I_FN(i_lay_out)(l, n_batches, (uint32_t)max_batch)) {
        (void)DLOAD_I_FN(cache_destroy)(&l->cache);
        return DLOAD_ENOMEM;
    }
    l->core.fetch = config->fetch;
    l->core.ctx = config->ctx;
    l->core.error_ttl = config->error_ttl;
    l->core.missing_ttl_ns = config->missing_ttl_ns;
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(close)(DLOAD_NAME *l, dload_close_mode mode,
                                           uint64_t deadline_ns)
{
    (void)deadline_ns; /* nothing waits */
    if (mode != DLOAD_DRAIN && mode != DLOAD_FAIL)
        return DLOAD_EINVAL;
    if (l->core.n_running != 0)
        return DLOAD_EBUSY; /* from inside a fetch function */
    l->core.closed = true;
    while (l->core.queue != NULL) {
        if (mode == DLOAD_DRAIN)
            (void)DLOAD_I_FN(i_send)(l, DLOAD_BY_CLOSE);
        else
            DLOAD_I_FN(i_publish)(l, DLOAD_I_FN(i_pop)(l), DLOAD_ECLOSED);
    }
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(destroy)(DLOAD_NAME *l)
{
    if (l->core.block == NULL)
        return DLOAD_OK; /* never initialised, or destroyed before */
    if (l->core.n_out != 0 || l->core.queue != NULL)
        return DLOAD_EBUSY;
    dload_i_free(l->cache.env, l->core.block, l->core.block_bytes);
    (void)DLOAD_I_FN(cache_destroy)(&l->cache);
    memset(&l->core, 0, sizeof l->core);
    return DLOAD_OK;
}

#if DLOAD_STATS
DLOAD_I_API dload_status DLOAD_I_FN(stats)(DLOAD_NAME *l, dload_stats *stats)
{
    if (stats == NULL)
        return DLOAD_EINVAL;
    *stats = l->core.stats;
    DLOAD_I_FN(i_cache_stats)(&l->cache, stats);
    stats->loads = stats->hits + stats->joins + stats->misses;
    return DLOAD_OK;
}
#endif

#endif /* DLOAD_I_BODIES && !DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_SOLO_CALLS */
