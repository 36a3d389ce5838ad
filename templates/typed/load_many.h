/* >>load_many -- asking for many keys at once.
 *
 * One walk over the keys looks each of them up and puts those that are missing into the open batch, the
 * mutex held from the first of these on; then the call waits for all of them together (drive.h).
 */
#ifndef DLOAD_I_HAVE_LOAD_MANY
#define DLOAD_I_HAVE_LOAD_MANY

#include "load.h"

#if DLOAD_I_BODIES && DLOAD_ASYNC

/* A call for many keys, while it runs. */
typedef struct DLOAD_I_FN(i_many) {
    struct DLOAD_NAME *loader;
    dload_i_parker *parker;
    dload_i_waiter asked;   /* what is asked for the key at hand */
    dload_i_waiter *opened; /* the request for the keys opened last; NULL = none */
    uint32_t room;          /* how many keys can follow into its batch, see dload_i_room_behind */
    uint64_t group;
    uint64_t deadline_ns;
    uint32_t flags;
    bool locked; /* the mutex is held: from the first miss on */
} DLOAD_I_FN(i_many);

/* The key that was asked for is on its way: writes down that the call waits for it. Keys that the call
 * itself opened share one request a batch; so one that stands there alone costs no record. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_wait_in)(DLOAD_I_FN(i_many) * m, size_t position, DLOAD_I_V *out)
{
    dload_i_core *c = &m->loader->core;
    dload_i_batch *b = m->asked.batch;
    dload_i_flight *f = &b->flights[m->asked.place];
    dload_i_waiter *w = m->opened;
    bool joins = f->many != NULL || f->head != NULL || b->state >= DLOAD_I_RUNNING;
    if (joins || w == NULL || w->batch != b || position - w->position > UINT32_MAX) {
        w = dload_i_waiter_take(c, m->parker, out, position);
        w->source_only = m->asked.source_only;
        if (joins) {
            dload_i_wait_for(w, b, m->asked.place);
            return;
        }
        w->many = true;
        w->place = 0;
        dload_i_enlist(w, b);
        m->opened = w;
    }
    f->many = w;
    f->at = (uint32_t)(position - w->position);
    w->place++;
    m->room = DLOAD_REFRESH || DLOAD_I_IS_STRING ? 0 : dload_i_room_behind(c, b);
}

/* A key goes where the one before it went; false when it has to be asked for. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_follow)(DLOAD_I_FN(i_many) * m, const DLOAD_I_ID *id,
                                         size_t position)
{
    dload_i_waiter *w = m->opened;
    if (m->room == 0 || position - w->position > UINT32_MAX ||
        !dload_i_follow(&m->loader->core, w->batch, id->hash))
        return false;
    dload_i_batch *b = w->batch;
    DLOAD_I_FN(i_batch)(b)->own_keys[b->n - 1] = id->key;
    b->flights[b->n - 1].many = w;
    b->flights[b->n - 1].at = (uint32_t)(position - w->position);
#if DLOAD_STORE
    DLOAD_I_FN(i_want)(b, b->n - 1, m->flags);
#endif
    w->place++;
    m->room--;
    return true;
}

/* Takes a call's requests back: what was answered into its statuses, the rest as st. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_collect)(DLOAD_I_FN(i_many) * m, dload_status st)
{
    dload_i_core *c = &m->loader->core;
    dload_i_parker *p = m->parker;
    while (p->first != NULL) {
        dload_i_waiter *w = p->first;
        p->first = w->sib;
        if (w->batch != NULL)
            dload_i_unwait(c, w, st);
        if (!w->many && p->statuses != NULL)
            p->statuses[w->position] = (dload_status)w->status;
        dload_i_waiter_give(c, w);
    }
    p->last = NULL;
    m->opened = NULL;
}

/* Asks once for a key of the call: as _i_ask. The mutex is held. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_ask_one)(DLOAD_I_FN(i_many) * m, const DLOAD_I_ID *id,
                                                 size_t position, DLOAD_I_V *out, bool looked)
{
    m->room = 0;
    if (!dload_i_waiter_reserve(&m->loader->core))
        return DLOAD_ENOMEM;
    m->asked.out = out;
    dload_status st = DLOAD_I_FN(i_ask)(m->loader, id, m->flags, looked, &m->asked);
    if (st == DLOAD_PENDING)
        DLOAD_I_FN(i_wait_in)(m, position, out);
    return st;
}

/* A key of the call that a look did not find: waits for room, where it may, and then as _i_ask. Takes the
 * mutex for the rest of the call. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_ask_miss)(DLOAD_I_FN(i_many) * m, const DLOAD_I_ID *id,
                                                     size_t position, DLOAD_I_V *out)
{
    struct DLOAD_NAME *l = m->loader;
    bool looked = m->locked || !DLOAD_I_THREADED;
    if (!m->locked)
        DLOAD_I_ACQUIRE(&l->mutex);
    m->locked = true;
    dload_status st = DLOAD_I_FN(i_ask_one)(m, id, position, out, looked);
    if (st == DLOAD_EAGAIN && m->parker->first != NULL) {
        /* The queue is full, partly of ours: let those finish first. */
        dload_status waited = dload_i_wait(&l->core, m->parker, m->deadline_ns);
        DLOAD_I_FN(i_collect)(m, waited);
        st = waited < 0 ? waited : DLOAD_I_FN(i_ask_one)(m, id, position, out, false);
    }
    while (st == DLOAD_EAGAIN && (st = dload_i_wait_room(&l->core, m->parker, m->deadline_ns)) >= 0)
        st = DLOAD_I_FN(i_ask_one)(m, id, position, out, false);
    if (st == DLOAD_PENDING)
        DLOAD_I_FN(i_tell)(l);
    return st;
}

/* Asks for one key of the call: a hit's status, why it cannot be, or DLOAD_PENDING with a request in the
 * parker's chain. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_ask_key)(DLOAD_I_FN(i_many) * m, const DLOAD_I_ID *id,
                                                  size_t position, DLOAD_I_V *out)
{
    if ((m->flags & DLOAD_FRESH) == 0) {
        dload_status st = DLOAD_I_FN(i_look)(&m->loader->cache, id, out);
        if (st != DLOAD_PENDING)
            return st;
    }
    if (DLOAD_I_FN(i_follow)(m, id, position))
        return DLOAD_PENDING;
    return DLOAD_I_FN(i_ask_miss)(m, id, position, out);
}

/* Is this about the call, and not about one key's answer? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_of_call)(dload_status st)
{
    return st == DLOAD_ETIMEDOUT || st == DLOAD_EAGAIN || st == DLOAD_ECLOSED ||
           st == DLOAD_ENOMEM || st == DLOAD_EDEADLK;
}

/* Asks for every key; what is answered at once goes into statuses. No batch goes before all are asked
 * for (up to the queue's bound), so that a key that stands there twice is fetched once, cached or not. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_ask_many)(DLOAD_I_FN(i_many) * m, const DLOAD_I_K *keys,
                                                  size_t n, DLOAD_I_V *out, dload_status *statuses)
{
    const DLOAD_I_CACHE *c = &m->loader->cache;
    dload_status result = DLOAD_OK;
    bool far = DLOAD_I_FN(i_is_far)(c);
    DLOAD_I_ID ids[DLOAD_I_MANY];
    dload_status keyed[DLOAD_I_MANY];
    for (size_t i = 0; i < n; i++) {
        size_t at = far ? i % DLOAD_I_MANY : 0;
        if (!far)
            keyed[0] = DLOAD_I_FN(i_identify)(c, m->group, keys[i], &ids[0]);
        else if (at == 0)
            DLOAD_I_FN(i_fetch_ahead)(c, m->group, keys + i, n - i, ids, keyed);
        dload_status st = keyed[at];
        if (st >= 0)
            st = DLOAD_I_FN(i_ask_key)(m, &ids[at], i, &out[i]);
        if (st == DLOAD_PENDING)
            continue;
        if (statuses != NULL)
            statuses[i] = st;
        if (result == DLOAD_OK && DLOAD_I_FN(i_of_call)(st))
            result = st;
    }
    return result;
}

DLOAD_I_API dload_status DLOAD_I_FN(load_many_with)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n,
                                                    const dload_call *call, DLOAD_I_V *out,
                                                    dload_status *statuses)
{
    if ((n != 0 && (keys == NULL || out == NULL)) || !DLOAD_I_FN(i_group_allowed)(call))
        return DLOAD_EINVAL;
    if (n == 0)
        return DLOAD_OK;
    bool forked = DLOAD_I_FORKED(&l->cache);
    if (forked || DLOAD_I_LOAD_RELAXED(&l->core.closed)) {
        dload_status why = forked ? DLOAD_EFORK : DLOAD_ECLOSED;
        for (size_t i = 0; statuses != NULL && i < n; i++)
            statuses[i] = why;
        return why;
    }
    DLOAD_I_SLEEPER z;
    if (!DLOAD_I_FN(i_sleeper_init)(l, &z, true))
        return DLOAD_ENOMEM;
    DLOAD_I_FN(i_many) many;
    many.loader = l;
    many.parker = &z.parker;
    many.parker->statuses = statuses;
    memset(&many.asked, 0, sizeof many.asked);
    many.asked.parker = many.parker;
    many.opened = NULL;
    many.room = 0;
    many.group = call != NULL ? call->group : 0;
    many.flags = call != NULL ? call->flags : 0;
    many.locked = false;
    many.deadline_ns = DLOAD_I_FN(i_deadline)(l, call);
    dload_status result = DLOAD_I_FN(i_ask_many)(&many, keys, n, out, statuses);
    if (many.locked) {
        dload_status st = dload_i_wait(&l->core, &z.parker, many.deadline_ns);
        l->core.stats.timeouts += st == DLOAD_ETIMEDOUT;
        DLOAD_I_FN(i_collect)(&many, st);
        DLOAD_I_LEAVE(l);
        result = result == DLOAD_OK && st < 0 ? st : result;
    }
    DLOAD_I_FN(i_sleeper_end)(&z);
#if DLOAD_I_LEAVES
    for (uint32_t i = 0; many.locked && i < l->cache.n_shards; i++)
        DLOAD_I_FN(i_sweep)
    (&l->cache, DLOAD_I_SHARD_AT(&l->cache, i), DLOAD_I_FN(i_now)(&l->cache), 1);
#endif
    return result;
}

DLOAD_I_API dload_status DLOAD_I_FN(load_many)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n,
                                               DLOAD_I_V *out, dload_status *statuses)
{
    return DLOAD_I_FN(load_many_with)(l, keys, n, NULL, out, statuses);
}

#endif /* DLOAD_I_BODIES && DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_LOAD_MANY */
