/* >>answer -- the fetch function's side: answering the keys of a batch, and more keys than asked. */
#ifndef DLOAD_I_HAVE_ANSWER
#define DLOAD_I_HAVE_ANSWER

#include "ops.h"

#if DLOAD_I_BODIES

#if DLOAD_ASYNC

/* Records the answer at place i, and publishes it when the function has returned already. With st < 0 there
 * is no value. *moved says that *value is ours whatever happens, and afterwards, whether it is to be released. The
 * mutex is held. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_answer_held)(DLOAD_I_BATCH *b, size_t i,
                                                      dload_status status, const DLOAD_I_V *value,
                                                      bool *moved, uint64_t ttl_ns)
{
    struct DLOAD_NAME *l = b->owner;
    dload_status st = dload_i_may_answer(&l->core, &b->base, i);
    if (st == DLOAD_OK) {
        dload_i_flight *f = &b->base.flights[i];
        if (status >= 0) {
            if (*moved)
                b->values[i] = *value;
            else
                st = DLOAD_I_FN(i_copy)(&b->values[i], value);
            f->holds = DLOAD_I_OWNED && st >= 0;
#if DLOAD_I_OWES
            b->owed[i].todo = f->holds ? DLOAD_I_OWED_VALUE : 0;
#endif
        }
        f->status = st < 0 ? st : status;
        f->ttl_ns = st < 0 ? 0 : ttl_ns;
        f->answered = 1;
        *moved = false;
        dload_i_answered(&l->core, &b->base, (uint32_t)i);
    }
    return st;
}

DLOAD_I_INLINE void DLOAD_I_FN(i_unwanted)(const DLOAD_I_V *value, bool moved)
{
#if DLOAD_I_OWNED
    if (moved) {
        DLOAD_I_V unwanted = *value;
        DLOAD_I_FN(i_release)(&unwanted);
    }
#else
    (void)value;
    (void)moved;
#endif
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_answer_at)(DLOAD_I_BATCH *b, size_t i, dload_status status,
                                                   const DLOAD_I_V *value, bool moved,
                                                   uint64_t ttl_ns)
{
    if (status >= 0 && value == NULL)
        return DLOAD_EINVAL;
    struct DLOAD_NAME *l = b->owner;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_status st = DLOAD_I_FN(i_answer_held)(b, i, status, value, &moved, ttl_ns);
    DLOAD_I_LEAVE(l);
    DLOAD_I_FN(i_unwanted)(value, moved);
    return st;
}

/* The same for the i-th key that the function sees. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_answer)(DLOAD_I_BATCH *b, size_t i, dload_status status,
                                                 const DLOAD_I_V *value, bool moved,
                                                 uint64_t ttl_ns)
{
#if DLOAD_STORE
    if (b->keys != b->own_keys)
        i = i < b->n ? b->places[i] : SIZE_MAX;
#endif
    return DLOAD_I_FN(i_answer_at)(b, i, status, value, moved, ttl_ns);
}

#endif /* DLOAD_ASYNC */

DLOAD_I_API dload_status DLOAD_I_FN(batch_set)(DLOAD_I_BATCH *b, size_t i, const DLOAD_I_V *value)
{
    return DLOAD_I_FN(i_answer)(b, i, DLOAD_OK, value, false, DLOAD_I_TTL_DEFAULT);
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_set_ttl)(DLOAD_I_BATCH *b, size_t i,
                                                   const DLOAD_I_V *value, uint64_t ttl_ns)
{
    return DLOAD_I_FN(i_answer)(b, i, DLOAD_OK, value, false, ttl_ns);
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_move)(DLOAD_I_BATCH *b, size_t i, DLOAD_I_V *value)
{
    return DLOAD_I_FN(i_answer)(b, i, DLOAD_OK, value, true, DLOAD_I_TTL_DEFAULT);
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_fail)(DLOAD_I_BATCH *b, size_t i, dload_status status)
{
    if (status >= 0 || status == DLOAD_PENDING)
        return DLOAD_EINVAL;
    uint64_t ttl_ns = DLOAD_I_FN(i_error_ttl)(b->owner, status);
    return DLOAD_I_FN(i_answer)(b, i, status, NULL, false, ttl_ns);
}

#if DLOAD_I_VALUE_IS_BLOB
DLOAD_I_API dload_status DLOAD_I_FN(batch_set_bytes)(DLOAD_I_BATCH *b, size_t i, const void *bytes,
                                                     size_t n_bytes)
{
    dload_blob blob;
    dload_status st = dload_blob_make(b->owner->core.env, bytes, n_bytes, &blob);
    if (st < 0) {
        (void)DLOAD_I_FN(i_answer)(b, i, st, NULL, false, 0);
        return st;
    }
    return DLOAD_I_FN(i_answer)(b, i, DLOAD_OK, &blob, true, DLOAD_I_TTL_DEFAULT);
}
#endif

#if DLOAD_ASYNC /* otherwise in solo.h */

#if DLOAD_STORE
/* In run_second.h. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_fetched)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                         uint64_t rest_ttl_ns);
DLOAD_I_LOCAL bool DLOAD_I_FN(i_resume)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                        uint64_t rest_ttl_ns);
#endif

/* Was the key, its group or everything cleared after the token was taken? The mutex is held. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_cleared_since)(const DLOAD_NAME *l, const DLOAD_I_ID *id,
                                               uint64_t token)
{
#if DLOAD_GROUP
    if (dload_i_cleared_since(&l->core, dload_i_mark(&l->core, id->group), token))
        return true;
#endif
    return dload_i_cleared_since(&l->core, id->hash, token);
}

/* The place of a key in this batch, or b->n; the mutex is held. The index knows all but the flights
 * that were cleared or published meanwhile: for those every place is looked at. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_place_of)(const DLOAD_I_BATCH *b, const DLOAD_I_ID *id)
{
    const dload_i_core *c = &b->owner->core;
    uint32_t h = dload_i_ref_hash(id->hash);
    for (uint32_t i = h & (c->refs_cap - 1); c->refs[i].batch != NULL;
         i = (i + 1) & (c->refs_cap - 1)) {
        if (c->refs[i].batch == &b->base && c->refs[i].hash == h &&
            DLOAD_I_FN(i_same)(&b->own_keys[c->refs[i].place], &id->key))
            return c->refs[i].place;
    }
    bool all_indexed = b->base.n_detached == 0 && b->base.n_published == 0;
    for (uint32_t i = 0; i < b->base.n && !all_indexed; i++) {
        if (b->base.flights[i].hash == id->hash && DLOAD_I_FN(i_same)(&b->own_keys[i], &id->key))
            return i;
    }
    return b->base.n;
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_put)(DLOAD_I_BATCH *b, DLOAD_I_K key,
                                               const DLOAD_I_V *value)
{
    if (value == NULL)
        return DLOAD_EINVAL;
    struct DLOAD_NAME *l = b->owner;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0 || DLOAD_I_FORKED(&l->cache))
        return st < 0 ? st : DLOAD_EFORK;
    DLOAD_I_FN(item) item;
    DLOAD_I_V copy;
    item.id = DLOAD_I_FN(i_id)(&l->cache, key, b->base.group);
    item.value = &copy;
    item.status = DLOAD_OK;
    item.ttl_ns = l->cache.ttl_ns;
    item.now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(&l->cache) : 0;
    item.garbage = false;
    DLOAD_I_ACQUIRE(&l->mutex);
    uint32_t place = b->base.state == DLOAD_I_LOST ? 0 : DLOAD_I_FN(i_place_of)(b, &item.id);
    if (b->base.state == DLOAD_I_LOST || place < b->base.n) {
        DLOAD_I_LEAVE(l); /* asked for after all */
        return DLOAD_I_FN(i_answer_at)(b, place, DLOAD_OK, value, false, DLOAD_I_TTL_DEFAULT);
    }
    if (DLOAD_I_FN(i_cleared_since)(l, &item.id, b->base.token))
        st = DLOAD_ECANCELED;
    else if (l->cache.n_shards != 0)
        st = DLOAD_I_FN(i_copy)(&copy, value);
    bool copied = st >= 0 && l->cache.n_shards != 0;
    if (copied)
        st = DLOAD_I_FN(i_store)(&l->cache, &item);
    if (copied && st >= 0)
        l->core.stats.stores++;
    DLOAD_I_LEAVE(l);
    if (copied)
        DLOAD_I_FN(i_after_store)(&l->cache, &item, st);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_done)(DLOAD_I_BATCH *b, dload_status status)
{
    struct DLOAD_NAME *l = b->owner;
    if (status == DLOAD_PENDING || DLOAD_I_FORKED(&l->cache))
        return status == DLOAD_PENDING ? DLOAD_EINVAL : DLOAD_EFORK;
    uint64_t ttl_ns = DLOAD_I_FN(i_error_ttl)(l, status);
#if DLOAD_STORE
    if (DLOAD_I_FN(i_has_second)(l) || l->locking.locks != NULL)
        DLOAD_I_FN(i_fetched)(l, b, status, ttl_ns);
    if (DLOAD_I_FN(i_resume)(l, b, status, ttl_ns))
        return DLOAD_OK; /* it goes on with other keys */
#endif
    DLOAD_I_ACQUIRE(&l->mutex);
    b->base.rest_ttl_ns = ttl_ns;
    dload_i_done(&l->core, &b->base, status);
    DLOAD_I_LEAVE(l);
    return DLOAD_OK;
}

DLOAD_I_API bool DLOAD_I_FN(batch_cancelled)(const DLOAD_I_BATCH *b)
{
    return DLOAD_I_LOAD_RELAXED(&b->base.n_waiters) == 0;
}

#endif /* DLOAD_ASYNC */

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_ANSWER */
