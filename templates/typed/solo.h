/* >>solo_batches -- batches under DLOAD_ASYNC 0: keys enter, the function is called, answers leave.
 *
 * Takes the place of ops.h, and of the batch core under it. User code runs in two places, the fetch function and
 * callbacks, and may call the loader there: nothing is half done then. There is no lock; what is taken as one tells
 * interrupt handlers that look (_peek) that something is changing.
 */
#ifndef DLOAD_I_HAVE_SOLO
#define DLOAD_I_HAVE_SOLO

#include "pin.h"
#include "../runtime/solo.h"

#if DLOAD_I_BODIES && !DLOAD_ASYNC

#define DLOAD_I_BATCH  DLOAD_I_FN(batch)
#define DLOAD_I_WAITER DLOAD_I_FN(waiter)

#if DLOAD_STATS
#define DLOAD_I_COUNT(l, field, n) ((void)((l)->core.stats.field += (n)))
#else
#define DLOAD_I_COUNT(l, field, n) ((void)(l), (void)(n))
#endif

/* ---- keys enter ---- */

/* The batch and the place of a key on its way that a request may join; NULL = none. */
DLOAD_I_LOCAL DLOAD_I_BATCH *DLOAD_I_FN(i_flight)(const DLOAD_NAME *l, const DLOAD_I_K *key,
                                                  uint32_t *place)
{
    for (uint32_t k = 0; k < l->core.n_batches; k++) {
        DLOAD_I_BATCH *b = &l->core.batches[k];
        for (uint32_t i = 0; i < b->n_seats; i++) {
            if (!b->seats[i].detached && DLOAD_I_FN(i_same)(&b->own_keys[i], key)) {
                *place = i;
                return b;
            }
        }
    }
    return NULL;
}

/* The batch that collects keys; NULL when all are in use. */
DLOAD_I_LOCAL DLOAD_I_BATCH *DLOAD_I_FN(i_open)(DLOAD_NAME *l)
{
    DLOAD_I_BATCH *b = l->core.last;
    if (b != NULL && b->state == DLOAD_I_OPEN)
        return b;
    for (uint32_t k = 0; k < l->core.n_batches; k++) {
        b = &l->core.batches[k];
        if (b->state != 0)
            continue;
        b->state = DLOAD_I_OPEN;
        b->next = NULL;
        *(l->core.last != NULL ? &l->core.last->next : &l->core.queue) = b;
        l->core.last = b;
        return b;
    }
    return NULL;
}

/* i_ask, with the mutex held. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_ask_held)(DLOAD_NAME *l, const DLOAD_I_K *key,
                                                   uint32_t flags, dload_i_ask *ask)
{
    uint32_t place = 0;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_flight)(l, key, &place);
    if (b != NULL && b->state == DLOAD_I_RUNNING) {
        if ((flags & DLOAD_FRESH) != 0) {
            b->seats[place].detached = true; /* what is being fetched is not fresh enough */
            b = NULL;
        } else if (ask->asker != NULL) {
            return DLOAD_EDEADLK; /* called from its function, which would wait for itself */
        }
    }
    if (b == NULL) {
        b = DLOAD_I_FN(i_open)(l);
        if (b == NULL)
            return DLOAD_EAGAIN;
        place = b->n_seats++;
        memset(&b->seats[place], 0, sizeof b->seats[place]);
        b->seats[place].ttl_ns = DLOAD_I_TTL_DEFAULT;
        b->own_keys[place] = *key;
        if (b->n_seats == l->core.max_batch)
            b->state = DLOAD_I_QUEUED;
        DLOAD_I_COUNT(l, misses, 1u);
    } else {
        DLOAD_I_COUNT(l, joins, 1u);
    }
    dload_i_ask **at = &b->seats[place].first;
    while (*at != NULL)
        at = &(*at)->next;
    *at = ask;
    ask->next = NULL;
    return DLOAD_PENDING;
}

/* A request for a key that is not cached: DLOAD_PENDING, or why it cannot wait. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_ask)(DLOAD_NAME *l, const DLOAD_I_K *key, uint32_t flags,
                                                dload_i_ask *ask)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_status st = DLOAD_I_FN(i_ask_held)(l, key, flags, ask);
    DLOAD_I_LEAVE(l);
    return st;
}

/* ---- answers leave ---- */

/* How long an answer without a value is kept: 0 = not at all. Asks the user. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_error_ttl)(const DLOAD_NAME *l, dload_status status)
{
    if (status == DLOAD_MISSING)
        return l->core.missing_ttl_ns;
    return l->core.error_ttl != NULL ? l->core.error_ttl(l->core.ctx, status) : 0;
}

/* An answer into the cache. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_store_seat)(DLOAD_NAME *l, const DLOAD_I_BATCH *b, uint32_t i,
                                            uint64_t now_ns)
{
    const dload_i_seat *f = &b->seats[i];
    DLOAD_I_FN(item) item;
    item.ttl_ns = f->ttl_ns == DLOAD_I_TTL_DEFAULT ? l->cache.ttl_ns : f->ttl_ns;
    if (item.ttl_ns == 0 || l->cache.n_shards == 0)
        return false;
    item.id = DLOAD_I_FN(i_id)(&l->cache, b->own_keys[i], 0);
    item.value = &b->values[i];
    item.status = f->status;
    item.now_ns = now_ns;
    return DLOAD_I_FN(i_store)(&l->cache, &item) >= 0;
}

/* The answer at place i to all who asked; returns the new end of those who are to be called back. */
DLOAD_I_LOCAL dload_i_ask **DLOAD_I_FN(i_deliver)(DLOAD_NAME *l, const DLOAD_I_BATCH *b, uint32_t i,
                                                  dload_i_ask **ready)
{
    const dload_status status = (dload_status)b->seats[i].status;
    for (dload_i_ask *w = b->seats[i].first, *next = NULL; w != NULL; w = next) {
        dload_i_asker *asker = w->asker;
        DLOAD_I_V *out = NULL;
        next = w->next;
        if (asker == NULL) {
            DLOAD_I_WAITER *waiter = (DLOAD_I_WAITER *)(void *)w; /* its first member */
            waiter->status = status;
            out = &waiter->value;
            w->next = NULL;
            *ready = w;
            ready = &w->next;
        } else {
            out = (DLOAD_I_V *)asker->out + w->at;
            if (asker->statuses != NULL)
                asker->statuses[w->at] = status;
            asker->n_pending--;
            w->asker = NULL;
            if (w != &asker->own) {
                w->next = l->core.spare;
                l->core.spare = w;
            }
        }
        if (status >= 0)
            *out = b->values[i];
    }
    return ready;
}

/* Ends a batch that is out of the queue: keys without an answer get status, and what was fetched is cached. The
 * batch is free again when callbacks run. */
DLOAD_I_NOINLINE void DLOAD_I_FN(i_publish)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status)
{
    bool ran = b->state == DLOAD_I_RUNNING;
    uint64_t rest_ttl_ns = ran ? DLOAD_I_FN(i_error_ttl)(l, status) : 0;
    uint64_t now_ns = DLOAD_TTL && ran ? DLOAD_I_FN(i_now)(&l->cache) : 0;
    dload_i_ask *ready = NULL;
    dload_i_ask **end = &ready;
    DLOAD_I_ACQUIRE(&l->mutex);
    for (uint32_t i = 0; i < b->n_seats; i++) {
        dload_i_seat *f = &b->seats[i];
        if (!f->answered) {
            f->status = status;
            f->ttl_ns = rest_ttl_ns;
        }
        DLOAD_I_COUNT(l, fetch_errors, f->status < 0 && f->status != DLOAD_MISSING);
        end = DLOAD_I_FN(i_deliver)(l, b, i, end);
        if (!ran)
            continue;
        if (f->detached)
            DLOAD_I_COUNT(l, cleared_in_flight, 1u);
        else if (DLOAD_I_FN(i_store_seat)(l, b, i, now_ns))
            DLOAD_I_COUNT(l, stores, 1u);
        else
            DLOAD_I_COUNT(l, store_skipped, f->status >= 0);
    }
    b->n_seats = 0;
    b->state = 0;
    DLOAD_I_LEAVE(l);
    while (ready != NULL) {
        DLOAD_I_WAITER *w = (DLOAD_I_WAITER *)(void *)ready; /* its first member */
        ready = ready->next;
        if (w->done != NULL)
            w->done(w); /* w is the caller's again */
    }
}

/* Takes the batch out that waits longest. */
DLOAD_I_LOCAL DLOAD_I_BATCH *DLOAD_I_FN(i_pop)(DLOAD_NAME *l)
{
    DLOAD_I_BATCH *b = l->core.queue;
    l->core.queue = b->next;
    if (l->core.last == b)
        l->core.last = NULL;
    return b;
}

/* Sends it. Returns how many keys went. */
DLOAD_I_NOINLINE uint32_t DLOAD_I_FN(i_send)(DLOAD_NAME *l, dload_trigger why)
{
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_pop)(l);
    uint32_t n_keys = b->n_seats;
    DLOAD_I_COUNT(l, by_trigger[b->state == DLOAD_I_QUEUED ? DLOAD_BY_SIZE : why], 1u);
    DLOAD_I_COUNT(l, batches, 1u);
    DLOAD_I_COUNT(l, keys, n_keys);
#if DLOAD_STATS
    if (n_keys > l->core.stats.largest_batch)
        l->core.stats.largest_batch = n_keys;
#endif
    (void)why;
    b->state = DLOAD_I_RUNNING;
    b->keys = b->own_keys;
    b->n = n_keys;
    b->ctx = l->core.ctx;
    b->token = l->core.clear_seq;
    l->core.n_running++;
    l->core.n_out++;
    dload_status st = l->core.fetch(b);
    l->core.n_running--;
    if (st == DLOAD_PENDING)
        st = DLOAD_EINVAL; /* nobody could end it */
    DLOAD_I_FN(i_publish)(l, b, st < 0 ? st : DLOAD_MISSING);
    l->core.n_out--; /* only now may the loader be destroyed */
    return n_keys;
}

/* ---- clears ---- */

/* What was sent before brings nothing any more: later loads neither join nor trust it. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_outdate)(DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    uint32_t place = 0;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_flight)(l, &id->key, &place);
    l->core.last_clear[(uint32_t)(id->hash >> 32) % DLOAD_I_SOLO_CLEARS] = ++l->core.clear_seq;
    if (b != NULL && b->state == DLOAD_I_RUNNING)
        b->seats[place].detached =
            true; /* one that is queued will be fetched after this: it stays */
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_outdate_all)(DLOAD_NAME *l)
{
    l->core.clear_seq++;
    for (uint32_t i = 0; i < DLOAD_I_SOLO_CLEARS; i++)
        l->core.last_clear[i] = l->core.clear_seq;
    for (uint32_t k = 0; k < l->core.n_batches; k++) {
        DLOAD_I_BATCH *b = &l->core.batches[k];
        for (uint32_t i = 0; i < b->n_seats && b->state == DLOAD_I_RUNNING; i++)
            b->seats[i].detached = true;
    }
}

/* Is a key on its way: waiting, or being fetched? */
DLOAD_I_LOCAL dload_state DLOAD_I_FN(i_way)(const DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    uint32_t place = 0;
    const DLOAD_I_BATCH *b = DLOAD_I_FN(i_flight)(l, &id->key, &place);
    if (b == NULL)
        return DLOAD_STATE_ABSENT;
    return b->state == DLOAD_I_RUNNING ? DLOAD_STATE_IN_FLIGHT : DLOAD_STATE_QUEUED;
}

/* Was the key cleared since the token was taken? May say yes for a neighbour, and for a key that was cleared 2^31
 * clears ago: then a value is not cached that could have been. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_cleared_since)(const DLOAD_NAME *l, const DLOAD_I_ID *id,
                                               dload_token token)
{
    uint32_t last = l->core.last_clear[(uint32_t)(id->hash >> 32) % DLOAD_I_SOLO_CLEARS];
    return last - (uint32_t)token - 1u < UINT32_C(1) << 31;
}

/* ---- the fetch function's side ---- */

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_answer)(DLOAD_I_BATCH *b, size_t i, dload_status status,
                                                const DLOAD_I_V *value, bool moved, uint64_t ttl_ns)
{
    (void)moved; /* plain values are copied either way */
    if (status >= 0 && value == NULL)
        return DLOAD_EINVAL;
    if (i >= b->n_seats)
        return DLOAD_EBATCH;
    dload_i_seat *f = &b->seats[i];
    if (f->answered)
        return DLOAD_EBUSY;
    if (status >= 0)
        b->values[i] = *value;
    f->status = status;
    f->ttl_ns = ttl_ns;
    f->answered = true;
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_put)(DLOAD_I_BATCH *b, DLOAD_I_K key,
                                               const DLOAD_I_V *value)
{
    struct DLOAD_NAME *l = b->owner;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0 || value == NULL)
        return value == NULL ? DLOAD_EINVAL : st;
    for (uint32_t i = 0; i < b->n_seats; i++) {
        if (DLOAD_I_FN(i_same)(&b->own_keys[i], &key)) /* asked for after all */
            return DLOAD_I_FN(i_answer)(b, i, DLOAD_OK, value, false, DLOAD_I_TTL_DEFAULT);
    }
    DLOAD_I_FN(item) item;
    item.id = DLOAD_I_FN(i_id)(&l->cache, key, 0);
    if (DLOAD_I_FN(i_cleared_since)(l, &item.id, b->token))
        return DLOAD_ECANCELED;
    if (l->cache.n_shards == 0)
        return DLOAD_OK;
    DLOAD_I_V copy = *value;
    item.value = &copy;
    item.status = DLOAD_OK;
    item.ttl_ns = l->cache.ttl_ns;
    item.now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(&l->cache) : 0;
    st = DLOAD_I_FN(i_store)(&l->cache, &item);
    DLOAD_I_COUNT(l, stores, st >= 0);
    return st;
}

#endif /* DLOAD_I_BODIES && !DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_SOLO */
