/* >>outside -- the loader's cache from outside: prime, put_if, peek and clear.
 *
 * Whatever comes here takes the loader's mutex first: flights that were sent before are told that what
 * they bring is out of date.
 */
#ifndef DLOAD_I_HAVE_OUTSIDE
#define DLOAD_I_HAVE_OUTSIDE

#include "load_many.h"

#if DLOAD_I_BODIES

#if DLOAD_ASYNC

/* Under the mutex: later loads neither join nor trust what was sent before. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_outdate)(DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    dload_i_note_clear(&l->core, id->hash);
    dload_i_ref *ref = DLOAD_I_FN(i_flight)(l, id);
    if (ref != NULL && ref->batch->state >= DLOAD_I_RUNNING)
        dload_i_detach(&l->core, ref); /* one that is queued will be fetched after this: it stays */
}

/* ... whatever its key. */
DLOAD_I_INLINE void DLOAD_I_FN(i_outdate_all)(DLOAD_NAME *l)
{
    l->core.clear_all_seq = ++l->core.clear_seq; /* flights sent before are joined no more */
}

/* Is a key on its way: waiting, or being fetched? */
DLOAD_I_LOCAL dload_state DLOAD_I_FN(i_way)(DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    const dload_i_ref *ref = DLOAD_I_FN(i_flight)(l, id);
    if (ref == NULL)
        return DLOAD_STATE_ABSENT;
    return ref->batch->state >= DLOAD_I_RUNNING ? DLOAD_STATE_IN_FLIGHT : DLOAD_STATE_QUEUED;
}

#endif /* DLOAD_ASYNC */

/* Is the key cached, for a reader? Counts no use. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_has)(DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, id->hash);
    DLOAD_I_ACQUIRE(&s->lock);
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    bool has = e != NULL && DLOAD_I_FN(i_valid)(&l->cache, s, e);
    DLOAD_I_RELEASE(&s->lock);
    return has;
}

/* The way into the cache of everything that no batch brought: token 0 = unconditionally. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_bring)(DLOAD_NAME *l, uint64_t group, DLOAD_I_K key,
                                               dload_status status, const DLOAD_I_V *value,
                                               uint64_t ttl_ns, uint32_t flags,
                                               const dload_token *token)
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
    item.id = DLOAD_I_FN(i_id)(&l->cache, key, group);
    item.value = &copy;
    item.status = status;
    item.ttl_ns = ttl_ns;
    item.now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(&l->cache) : 0;
    item.garbage = false;
#if DLOAD_I_KILLS
    item.dead = false;
#endif
    bool offered = false;
    DLOAD_I_FN(i_before_store)(&l->cache, &item);
    DLOAD_I_ACQUIRE(&l->mutex);
    if (token != NULL && DLOAD_I_FN(i_cleared_since)(l, &item.id, *token)) {
        st = DLOAD_ECANCELED;
    } else if ((flags & DLOAD_OVERWRITE) != 0 || !DLOAD_I_FN(i_has)(l, &item.id)) {
        DLOAD_I_FN(i_outdate)(l, &item.id);
        st = DLOAD_I_FN(i_store)(&l->cache, &item);
        offered = true;
    }
    if ((flags & DLOAD_PIN) != 0 && st >= 0)
        (void)DLOAD_I_FN(i_pin)(&l->cache, &item.id,
                                true); /* the mutex keeps others from evicting it */
    DLOAD_I_LEAVE(l);
    if (!offered && status >= 0)
        DLOAD_I_FN(i_release)(&copy);
    DLOAD_I_FN(i_after_store)(&l->cache, &item, offered ? st : DLOAD_OK);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(prime)(DLOAD_NAME *l, DLOAD_I_K key, const DLOAD_I_V *value,
                                           uint32_t flags)
{
    return DLOAD_I_FN(i_bring)(l, 0, key, DLOAD_OK, value, l->cache.ttl_ns, flags, NULL);
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

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_prime_error)(DLOAD_NAME *l, uint64_t group, DLOAD_I_K key,
                                                     dload_status status, uint64_t ttl_ns)
{
    if (status >= 0 || status == DLOAD_PENDING || ttl_ns == 0)
        return DLOAD_EINVAL;
    return DLOAD_I_FN(i_bring)(l, group, key, status, NULL, ttl_ns, 0, NULL);
}

DLOAD_I_API dload_status DLOAD_I_FN(prime_error)(DLOAD_NAME *l, DLOAD_I_K key, dload_status status,
                                                 uint64_t ttl_ns)
{
    return DLOAD_I_FN(i_prime_error)(l, 0, key, status, ttl_ns);
}

DLOAD_I_API dload_token DLOAD_I_FN(token)(DLOAD_NAME *l)
{
    if (DLOAD_I_FORKED(&l->cache))
        return 0;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_token token = l->core.clear_seq;
    DLOAD_I_LEAVE(l);
    return token;
}

DLOAD_I_API dload_status DLOAD_I_FN(put_if)(DLOAD_NAME *l, DLOAD_I_K key, const DLOAD_I_V *value,
                                            dload_token token)
{
    return DLOAD_I_FN(i_bring)(l, 0, key, DLOAD_OK, value, l->cache.ttl_ns, DLOAD_OVERWRITE,
                               &token);
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_peek)(DLOAD_NAME *l, uint64_t group, DLOAD_I_K key,
                                              dload_state *state, DLOAD_I_V *out)
{
    if (state == NULL)
        return DLOAD_EINVAL;
    *state = DLOAD_STATE_ABSENT;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0)
        return st;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, key, group);
    st = DLOAD_MISSING;
    bool quiet = DLOAD_I_LOOK(&l->mutex);
    if (l->cache.n_shards != 0) {
        DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, id.hash);
        if (!DLOAD_I_LOOK(&s->lock))
            return DLOAD_EAGAIN; /* then the mutex is not held: DLOAD_I_LOOK takes none */
        const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, &id);
        if (e != NULL && DLOAD_I_FN(i_valid)(&l->cache, s, e)) {
            bool error = (DLOAD_I_META(e) & DLOAD_I_META_ERROR) != 0;
            *state = error ? DLOAD_STATE_ERROR : DLOAD_STATE_READY;
            st = error ? (dload_status)e->u.status : DLOAD_OK;
            if (!error && out != NULL)
                st = DLOAD_I_FN(i_copy)(out, &e->u.value);
        }
#if DLOAD_REFRESH
        else if (e != NULL &&
                 DLOAD_I_FN(i_age)(&l->cache, s, e, DLOAD_I_FN(i_tick)(&l->cache, s)) ==
                     DLOAD_I_AGE_STALE) {
            *state = DLOAD_STATE_STALE;
            st = out != NULL ? DLOAD_I_FN(i_copy)(out, &e->u.value) : DLOAD_OK;
        }
#endif
        DLOAD_I_LOOKED(&s->lock);
    }
    if (*state == DLOAD_STATE_ABSENT && !quiet)
        st = DLOAD_EAGAIN; /* flights are just changing */
    else if (*state == DLOAD_STATE_ABSENT)
        *state = DLOAD_I_FN(i_way)(l, &id);
    DLOAD_I_LOOKED(&l->mutex);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(peek)(DLOAD_NAME *l, DLOAD_I_K key, dload_state *state,
                                          DLOAD_I_V *out)
{
    return DLOAD_I_FN(i_peek)(l, 0, key, state, out);
}

/* ---- clearing ---- */

#if DLOAD_STORE
/* Under the mutex: the store is not asked for the key, nor given it, until it has forgotten it. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_clear_stored)(DLOAD_NAME *l, uint64_t group, const DLOAD_I_ID *id)
{
    char text[DLOAD_I_KEYTEXT_MAX];
    dload_str tail;
    size_t n = DLOAD_I_FN(i_key_text)(text, group, &id->key, &tail);
    dload_i_clear_later(&l->second, id->hash, group, false, text, n, tail);
}

#if DLOAD_GROUP
DLOAD_I_LOCAL void DLOAD_I_FN(i_clear_stored_group)(DLOAD_NAME *l, uint64_t group)
{
    char text[DLOAD_I_KEYTEXT_MAX];
    const dload_str none = {NULL, 0};
    size_t n = DLOAD_I_FN(i_group_text)(text, group);
    dload_i_clear_later(&l->second, 0, group, true, text, n, none);
}
#endif
#endif

/* Tells the store what was cleared: at once, or, where a loop does that, by waking it. */
DLOAD_I_INLINE void DLOAD_I_FN(i_tell_store)(DLOAD_NAME *l)
{
#if DLOAD_STORE
    if (!DLOAD_I_FN(i_has_second)(l) || DLOAD_I_FORKED(&l->cache))
        return;
    if (l->core.wake != NULL) {
        l->core.wake(l->core.wake_ctx);
        return;
    }
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_i_send_clears(&l->second, true);
    DLOAD_I_LEAVE(l);
#endif
    (void)l;
}

/* in_store: where else the key is cleared, though not before _i_tell_store. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_clear)(DLOAD_NAME *l, uint64_t group, DLOAD_I_K key,
                                               bool in_store)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0)
        return st;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, key, group);
    DLOAD_I_FN(removed) old;
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_FN(i_outdate)(l, &id);
    bool has_old = DLOAD_I_FN(i_drop)(&l->cache, &id, &old);
#if DLOAD_STORE
    if (in_store && DLOAD_I_FN(i_has_second)(l))
        DLOAD_I_FN(i_clear_stored)(l, group, &id);
#endif
    DLOAD_I_LEAVE(l);
    (void)in_store;
    if (has_old)
        DLOAD_I_FN(i_end)(&l->cache, DLOAD_I_FN(i_shard)(&l->cache, id.hash), &old);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(clear)(DLOAD_NAME *l, DLOAD_I_K key)
{
    dload_status st = DLOAD_I_FN(i_clear)(l, 0, key, true);
    DLOAD_I_FN(i_tell_store)(l);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(clear_many)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n)
{
    if (n != 0 && keys == NULL)
        return DLOAD_EINVAL;
    dload_status result = DLOAD_OK;
    for (size_t i = 0; i < n; i++) {
        dload_status st = DLOAD_I_FN(i_clear)(l, 0, keys[i], true);
        if (result == DLOAD_OK)
            result = st;
    }
    DLOAD_I_FN(i_tell_store)(l);
    return result;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_clear_all)(DLOAD_NAME *l, bool in_store)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_FN(i_outdate_all)(l);
    uint32_t full = DLOAD_I_FN(i_new_epoch)(&l->cache);
#if DLOAD_STORE
    if (in_store && DLOAD_I_FN(i_has_second)(l))
        dload_i_clear_all_later(&l->second);
#endif
    DLOAD_I_LEAVE(l);
    (void)in_store;
    if (full != 0)
        DLOAD_I_FN(i_full_sweep)(&l->cache);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(clear_all)(DLOAD_NAME *l)
{
    dload_status st = DLOAD_I_FN(i_clear_all)(l, true);
    DLOAD_I_FN(i_tell_store)(l);
    return st;
}

#if DLOAD_STORE

DLOAD_I_API dload_status DLOAD_I_FN(clear_local)(DLOAD_NAME *l, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_clear)(l, 0, key, false);
}

DLOAD_I_API dload_status DLOAD_I_FN(clear_all_local)(DLOAD_NAME *l)
{
    return DLOAD_I_FN(i_clear_all)(l, false);
}

#endif

#if DLOAD_GROUP

/* ---- in a group ---- */

DLOAD_I_API dload_status DLOAD_I_FN(prime_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                              const DLOAD_I_V *value, uint32_t flags)
{
    return DLOAD_I_FN(i_bring)(l, group, key, DLOAD_OK, value, l->cache.ttl_ns, flags, NULL);
}

DLOAD_I_API dload_status DLOAD_I_FN(prime_error_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                                    dload_status status, uint64_t ttl_ns)
{
    return DLOAD_I_FN(i_prime_error)(l, group, key, status, ttl_ns);
}

DLOAD_I_API dload_status DLOAD_I_FN(put_if_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                               const DLOAD_I_V *value, dload_token token)
{
    return DLOAD_I_FN(i_bring)(l, group, key, DLOAD_OK, value, l->cache.ttl_ns, DLOAD_OVERWRITE,
                               &token);
}

DLOAD_I_API dload_status DLOAD_I_FN(peek_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                             dload_state *state, DLOAD_I_V *out)
{
    return DLOAD_I_FN(i_peek)(l, group, key, state, out);
}

DLOAD_I_API dload_status DLOAD_I_FN(clear_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group)
{
    dload_status st = DLOAD_I_FN(i_clear)(l, group, key, true);
    DLOAD_I_FN(i_tell_store)(l);
    return st;
}

#if DLOAD_STORE
DLOAD_I_API dload_status DLOAD_I_FN(clear_local_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group)
{
    return DLOAD_I_FN(i_clear)(l, group, key, false);
}
#endif

DLOAD_I_API dload_status DLOAD_I_FN(clear_group)(DLOAD_NAME *l, uint64_t group)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_i_outdate_group(&l->core, group);
#if DLOAD_STORE
    if (DLOAD_I_FN(i_has_second)(l))
        DLOAD_I_FN(i_clear_stored_group)(l, group);
#endif
    DLOAD_I_LEAVE(l);
    DLOAD_I_FN(i_tell_store)(l);
    /* Entries go without the mutex: what is stored meanwhile was sent after this began. */
    return DLOAD_I_FN(cache_clear_group)(&l->cache, group);
}

#endif /* DLOAD_GROUP */

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_OUTSIDE */
