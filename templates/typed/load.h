/* >>load -- asking for a key: blocking, and without.
 *
 * A hit never gets past the shard's lock. A miss joins a flight or opens one, under the loader's mutex,
 * and then waits (drive.h) or is called back.
 */
#ifndef DLOAD_I_HAVE_LOAD
#define DLOAD_I_HAVE_LOAD

#include "refresh.h"

#if DLOAD_I_BODIES && DLOAD_ASYNC

#define DLOAD_I_SLEEPER DLOAD_I_FN(sleeper)

#if DLOAD_STORE
/* dload_i_give_up of a call that a loop knows of. The mutex is held. */
DLOAD_I_UNUSED static void DLOAD_I_FN(i_give_up)(dload_i_parker *p)
{
    DLOAD_I_SLEEPER *z = (DLOAD_I_SLEEPER *)(void *)p; /* its first member */
    DLOAD_NAME *l = (DLOAD_NAME *)((dload_i_core *)p->core)->owner;
    dload_i_blocked_leave(&l->second, &z->blocked);
    dload_i_give_up(p);
}
#endif

/* A place to sleep for one call of this thread, which from now on can be cancelled there only. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_sleeper_init)(DLOAD_NAME *l, DLOAD_I_SLEEPER *z, bool pooled)
{
    memset(&z->parker, 0, sizeof z->parker);
    if (!DLOAD_I_COND_INIT(&z->cond))
        return false;
    z->parker.os = &z->cond;
    z->parker.give_up = dload_i_give_up;
    z->parker.core = &l->core;
    z->parker.pooled = pooled;
    z->parker.cancel_before = DLOAD_I_HOLD();
#if DLOAD_STORE
    if (l->second.is_async) {
        z->parker.give_up = DLOAD_I_FN(i_give_up);
        DLOAD_I_ACQUIRE(&l->mutex);
        dload_i_blocked_enter(&l->second, &z->blocked);
        DLOAD_I_LEAVE(l);
    }
#endif
    return true;
}

DLOAD_I_INLINE void DLOAD_I_FN(i_sleeper_end)(DLOAD_I_SLEEPER *z)
{
#if DLOAD_STORE
    DLOAD_NAME *l = (DLOAD_NAME *)((dload_i_core *)z->parker.core)->owner;
    if (l->second.is_async) {
        DLOAD_I_ACQUIRE(&l->mutex);
        dload_i_blocked_leave(&l->second, &z->blocked);
        DLOAD_I_LEAVE(l);
    }
#endif
    DLOAD_I_COND_DESTROY(&z->cond);
    DLOAD_I_UNHOLD(z->parker.cancel_before);
}

DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_deadline)(const DLOAD_NAME *l, const dload_call *call)
{
    if (call != NULL && call->deadline_ns != 0)
        return call->deadline_ns;
    if (l->cfg.timeout_ns == DLOAD_NEVER)
        return DLOAD_NEVER;
    return dload_i_add_ns(dload_i_now(l->core.env), l->cfg.timeout_ns);
}

/* A group that nobody would look at must not be lost in silence. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_group_allowed)(const dload_call *call)
{
    return DLOAD_GROUP || call == NULL || call->group == 0;
}

/* The flight of a key that a new request may join, or NULL; the mutex is held. */
DLOAD_I_LOCAL dload_i_ref *DLOAD_I_FN(i_flight)(DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    dload_i_core *c = &l->core;
    if (c->n_refs == 0)
        return NULL;
    uint32_t mask = c->refs_cap - 1;
    uint32_t h = dload_i_ref_hash(id->hash);
    for (uint32_t i = h & mask; c->refs[i].batch != NULL; i = (i + 1) & mask) {
        dload_i_ref *ref = &c->refs[i];
#if DLOAD_GROUP
        if (ref->place == DLOAD_I_OPEN_PLACE || ref->batch->group != id->group)
            continue;
#endif
        if (ref->hash == h && dload_i_joinable(c, ref->batch) &&
            DLOAD_I_FN(i_same)(&DLOAD_I_FN(i_batch)(ref->batch)->own_keys[ref->place], &id->key))
            return ref;
    }
    return NULL;
}

/* A key into the open batch of its group; the mutex is held. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_enter)(DLOAD_NAME *l, const DLOAD_I_ID *id,
                                               dload_i_batch **batch, uint32_t *place)
{
#if DLOAD_GROUP
    uint64_t group = id->group;
#else
    uint64_t group = 0;
#endif
    dload_status st = dload_i_reserve(&l->core, group, batch, place);
    if (st < 0)
        return st;
    DLOAD_I_K *own = &DLOAD_I_FN(i_batch)(*batch)->own_keys[*place];
#if DLOAD_I_IS_STRING
    if (!dload_i_arena_put(&l->arena, id->key.ptr, id->key.len, &own->ptr)) {
        dload_i_unreserve(&l->core, *batch);
        return DLOAD_ENOMEM;
    }
    own->len = id->key.len;
#else
    *own = id->key;
#endif
    dload_i_commit(&l->core, *batch, id->hash);
    return DLOAD_OK;
}

#if DLOAD_STORE
/* A key that was not sent is wanted as flags say. */
DLOAD_I_INLINE void DLOAD_I_FN(i_want)(dload_i_batch *b, uint32_t place, uint32_t flags)
{
    if ((flags & DLOAD_FRESH) != 0)
        b->flights[place].second |= DLOAD_I_SECOND_FRESH;
}
#endif

/* Says for what w has to wait, in w->batch and w->place: DLOAD_PENDING, and the caller enlists it. Or an
 * answer at once: a hit, or why it cannot wait. The mutex is held; looked says that the key was not in
 * the cache since it is. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_ask)(DLOAD_NAME *l, const DLOAD_I_ID *id, uint32_t flags,
                                                bool looked, dload_i_waiter *w)
{
    dload_i_core *c = &l->core;
    if (c->closed)
        return DLOAD_ECLOSED;
#if DLOAD_REFRESH
    dload_status old = DLOAD_I_FN(i_old)(l, id, &flags, &looked, w);
    if (old != DLOAD_PENDING)
        return old;
#endif
    /* Between a look without the mutex and taking it, the answer may have come. */
    if (!looked && (flags & DLOAD_FRESH) == 0) {
        dload_status hit = DLOAD_I_FN(i_look)(&l->cache, id, (DLOAD_I_V *)w->out);
        if (hit != DLOAD_PENDING)
            return hit;
    }
    dload_i_ref *ref = DLOAD_I_FN(i_flight)(l, id);
    if (ref != NULL && (flags & DLOAD_FRESH) != 0 && ref->batch->state >= DLOAD_I_RUNNING) {
        dload_i_detach(c, ref); /* what is being fetched is not fresh enough */
        ref = NULL;
    }
    if (ref != NULL) {
        if (w->parker != NULL && dload_i_is_own(c, ref->batch))
            return DLOAD_EDEADLK;
        c->stats.joins++;
#if DLOAD_STORE
        DLOAD_I_FN(i_want)(ref->batch, ref->place, flags);
#endif
        w->batch = ref->batch;
        w->place = ref->place;
        return DLOAD_PENDING;
    }
    if (!dload_i_has_turn(c, w->parker))
        return DLOAD_EAGAIN;
    dload_i_batch *b = NULL;
    uint32_t place = 0;
    dload_status st = DLOAD_I_FN(i_enter)(l, id, &b, &place);
    if (st < 0)
        return st;
#if DLOAD_STORE
    DLOAD_I_FN(i_want)(b, place, flags);
#endif
    w->batch = b;
    w->place = place;
    if (w->parker != NULL)
        w->parker->has_turn = false;
    c->stats.misses++;
    return DLOAD_PENDING;
}

/* The same for one key, with w enlisted. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_ask_for)(DLOAD_NAME *l, const DLOAD_I_ID *id,
                                                 uint32_t flags, bool looked, dload_i_waiter *w)
{
    dload_status st = DLOAD_I_FN(i_ask)(l, id, flags, looked, w);
    if (st == DLOAD_PENDING)
        dload_i_wait_for(w, w->batch, w->place);
    return st;
}

/* Tells the hook of a new open batch, and the loop that it has something to do; lets go of the mutex. */
DLOAD_I_INLINE void DLOAD_I_FN(i_tell)(DLOAD_NAME *l)
{
    dload_i_core *c = &l->core;
    if (DLOAD_I_LIKELY(!c->tell_queued && !c->tell_wake))
        return;
    bool queued = c->tell_queued;
    bool wake = c->tell_wake;
    c->tell_queued = c->tell_wake = false;
    DLOAD_I_LEAVE(l);
    if (wake)
        c->wake(c->wake_ctx);
    if (queued)
        c->hooks->queued(c->hooks->ctx);
    DLOAD_I_ACQUIRE(&l->mutex);
}

/* ---- one key ---- */

DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_load_miss)(DLOAD_NAME *l, DLOAD_I_ID id,
                                                      const dload_call *call, DLOAD_I_V *out)
{
    DLOAD_I_SLEEPER z;
    dload_i_waiter w;
    if (!DLOAD_I_FN(i_sleeper_init)(l, &z, false))
        return DLOAD_ENOMEM;
    memset(&w, 0, sizeof w);
    w.out = out;
    w.parker = &z.parker;
    z.parker.first = z.parker.last = &w;
    DLOAD_I_ACQUIRE(&l->mutex);
    uint32_t flags = call != NULL ? call->flags : 0;
    dload_status st = DLOAD_I_FN(i_ask_for)(l, &id, flags, !DLOAD_I_THREADED, &w);
    uint64_t deadline_ns =
        st == DLOAD_PENDING || st == DLOAD_EAGAIN ? DLOAD_I_FN(i_deadline)(l, call) : 0;
    while (st == DLOAD_EAGAIN && (st = dload_i_wait_room(&l->core, &z.parker, deadline_ns)) >= 0)
        st = DLOAD_I_FN(i_ask_for)(l, &id, flags, false, &w);
    l->core.stats.timeouts += st == DLOAD_ETIMEDOUT;
    if (st == DLOAD_PENDING) {
        DLOAD_I_FN(i_tell)(l);
        st = dload_i_wait(&l->core, &z.parker, deadline_ns);
        if (w.batch != NULL) {
            l->core.stats.timeouts += st == DLOAD_ETIMEDOUT;
            dload_i_unwait(&l->core, &w, st);
        } else {
            st = (dload_status)w.status;
        }
    }
    DLOAD_I_LEAVE(l);
    DLOAD_I_FN(i_sleeper_end)(&z);
#if DLOAD_I_LEAVES
    if (l->cache.n_shards != 0)
        DLOAD_I_FN(i_sweep)
    (&l->cache, DLOAD_I_FN(i_shard)(&l->cache, id.hash), DLOAD_I_FN(i_now)(&l->cache), 1);
#endif
    return st;
}

DLOAD_I_HOT dload_status DLOAD_I_FN(load_with)(DLOAD_NAME *l, DLOAD_I_K key, const dload_call *call,
                                               DLOAD_I_V *out)
{
    if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&l->core.closed) || out == NULL))
        return out == NULL ? DLOAD_EINVAL : DLOAD_ECLOSED;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (DLOAD_I_UNLIKELY(st < 0 || !DLOAD_I_FN(i_group_allowed)(call)))
        return st < 0 ? st : DLOAD_EINVAL;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, key, call != NULL ? call->group : 0);
    if (call == NULL || (call->flags & DLOAD_FRESH) == 0) {
        st = DLOAD_I_FN(i_lookup)(&l->cache, &id, out, true);
        if (DLOAD_I_LIKELY(st != DLOAD_PENDING))
            return st;
    }
    return DLOAD_I_FN(i_load_miss)(l, id, call, out);
}

DLOAD_I_HOT dload_status DLOAD_I_FN(load)(DLOAD_NAME *l, DLOAD_I_K key, DLOAD_I_V *out)
{
    return DLOAD_I_FN(load_with)(l, key, NULL, out);
}

/* ---- without blocking ---- */

DLOAD_I_API dload_status DLOAD_I_FN(start_with)(DLOAD_NAME *l, DLOAD_I_K key,
                                                const dload_call *call, DLOAD_I_WAITER *w)
{
    if (w == NULL || !DLOAD_I_FN(i_group_allowed)(call))
        return DLOAD_EINVAL;
    uint32_t flags = call != NULL ? call->flags : 0;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    memset(&w->base, 0, sizeof w->base);
    if (DLOAD_I_FORKED(&l->cache))
        st = DLOAD_EFORK;
    else if (st >= 0 && DLOAD_I_LOAD_RELAXED(&l->core.closed))
        st = DLOAD_ECLOSED;
    if (st >= 0) {
        DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, key, call != NULL ? call->group : 0);
        st = (flags & DLOAD_FRESH) != 0 ? DLOAD_PENDING
                                        : DLOAD_I_FN(i_look)(&l->cache, &id, &w->value);
        if (st == DLOAD_PENDING) {
            w->base.out = &w->value;
            w->status = DLOAD_PENDING;
            DLOAD_I_ACQUIRE(&l->mutex);
            st = DLOAD_I_FN(i_ask_for)(l, &id, flags, !DLOAD_I_THREADED, &w->base);
            if (st == DLOAD_PENDING)
                DLOAD_I_FN(i_tell)(l);
            DLOAD_I_LEAVE(l);
            if (st == DLOAD_PENDING)
                return st; /* done() may have run already: w is not touched any more */
        }
    }
    w->status = st;
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(start)(DLOAD_NAME *l, DLOAD_I_K key, DLOAD_I_WAITER *w)
{
    return DLOAD_I_FN(start_with)(l, key, NULL, w);
}

DLOAD_I_API dload_status DLOAD_I_FN(cancel)(DLOAD_NAME *l, DLOAD_I_WAITER *w)
{
    if (w == NULL || DLOAD_I_FORKED(&l->cache))
        return w == NULL ? DLOAD_EINVAL : DLOAD_EFORK;
    dload_status st = DLOAD_EBUSY;
    DLOAD_I_ACQUIRE(&l->mutex);
    if (w->base.batch != NULL) {
        dload_i_unwait(&l->core, &w->base, DLOAD_ECANCELED);
        w->status = DLOAD_ECANCELED;
        l->core.stats.cancelled++;
        st = DLOAD_OK;
    }
    DLOAD_I_LEAVE(l);
    return st;
}

#endif /* DLOAD_I_BODIES && DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_LOAD */
