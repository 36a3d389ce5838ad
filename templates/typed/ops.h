/* >>ops -- what the batch core asks of the typed half: batches in memory, the fetch call, answers.
 *
 * The core calls these with the loader's mutex held, but for _i_run, _i_release_at and _i_call.
 */
#ifndef DLOAD_I_HAVE_OPS
#define DLOAD_I_HAVE_OPS

#include "owed.h"
#include "../runtime/drive.h"

#if DLOAD_I_BODIES && DLOAD_ASYNC

#define DLOAD_I_BATCH  DLOAD_I_FN(batch)
#define DLOAD_I_WAITER DLOAD_I_FN(waiter)

/* How many places a batch starts with; doubled up to max_batch. */
#define DLOAD_I_FIRST_PLACES 16u

DLOAD_I_INLINE DLOAD_I_BATCH *DLOAD_I_FN(i_batch)(dload_i_batch *b)
{
    return (DLOAD_I_BATCH *)(void *)b; /* base is the first member */
}

/* Where the arrays of a batch with cap places lie in its one block; returns the block's size. */
DLOAD_I_LOCAL size_t DLOAD_I_FN(i_places)(uint32_t cap, size_t *values_at, size_t *flights_at)
{
    size_t total = 0;
    (void)dload_i_carve(&total, cap, sizeof(DLOAD_I_K));
    *values_at = dload_i_carve(&total, cap, sizeof(DLOAD_I_V));
    *flights_at = dload_i_carve(&total, cap, sizeof(dload_i_flight));
#if DLOAD_I_OWES
    (void)DLOAD_I_FN(i_owed_at)(&total, cap);
#endif
    return total;
}

DLOAD_I_COLD bool DLOAD_I_FN(i_grow_batch)(void *owner, dload_i_batch *base, uint32_t cap)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_batch)(base);
    size_t values_at = 0, flights_at = 0;
    size_t n_bytes = DLOAD_I_FN(i_places)(cap, &values_at, &flights_at);
    char *block = n_bytes == SIZE_MAX ? NULL : (char *)dload_i_alloc(l->core.env, n_bytes);
    if (block == NULL)
        return false;
    if (base->n != 0) { /* no value is there before the batch was sent */
        memcpy(block, b->own_keys, base->n * sizeof(DLOAD_I_K));
        memcpy(block + flights_at, base->flights, base->n * sizeof(dload_i_flight));
    }
    if (base->cap != 0) {
        size_t unused = 0;
        dload_i_free(l->core.env, b->own_keys, DLOAD_I_FN(i_places)(base->cap, &unused, &unused));
    }
    b->own_keys = (DLOAD_I_K *)(void *)block;
    b->values = (DLOAD_I_V *)(void *)(block + values_at);
    base->flights = (dload_i_flight *)(void *)(block + flights_at);
#if DLOAD_I_OWES
    size_t owed_at = flights_at + cap * sizeof(dload_i_flight);
    b->owed = (DLOAD_I_FN(i_owed) *)(void *)(block + DLOAD_I_FN(i_owed_at)(&owed_at, cap));
#endif
    base->cap = cap;
    return true;
}

DLOAD_I_UNUSED static dload_i_batch *DLOAD_I_FN(i_make_batch)(void *owner)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_BATCH *b = (DLOAD_I_BATCH *)dload_i_alloc(l->core.env, sizeof *b);
    if (b == NULL)
        return NULL;
    memset(b, 0, sizeof *b);
    b->owner = l;
    uint32_t cap =
        l->core.max_batch < DLOAD_I_FIRST_PLACES ? l->core.max_batch : DLOAD_I_FIRST_PLACES;
    if (!DLOAD_I_FN(i_grow_batch)(owner, &b->base, cap)) {
        dload_i_free(l->core.env, b, sizeof *b);
        return NULL;
    }
    return &b->base;
}

#if DLOAD_STORE
/* In second.h, locked.h and run_second.h. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_second_give)(DLOAD_I_BATCH *b);
DLOAD_I_LOCAL void DLOAD_I_FN(i_locked_give)(DLOAD_I_BATCH *b);
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_run_second)(DLOAD_NAME *l, DLOAD_I_BATCH *b);
DLOAD_I_LOCAL void DLOAD_I_FN(i_keep_answer)(DLOAD_NAME *l, DLOAD_I_BATCH *b, uint32_t i);
#endif

DLOAD_I_UNUSED static void DLOAD_I_FN(i_unmake_batch)(void *owner, dload_i_batch *base)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_batch)(base);
    size_t unused = 0;
    dload_i_free(l->core.env, b->own_keys, DLOAD_I_FN(i_places)(base->cap, &unused, &unused));
#if DLOAD_STORE
    DLOAD_I_FN(i_second_give)(b);
    DLOAD_I_FN(i_locked_give)(b);
#endif
    dload_i_free(l->core.env, b, sizeof *b);
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_move_key)(dload_i_batch *base, uint32_t to, uint32_t from)
{
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_batch)(base);
    b->own_keys[to] = b->own_keys[from];
}

#if DLOAD_I_IS_STRING
DLOAD_I_UNUSED static void DLOAD_I_FN(i_forget_key)(void *owner, dload_i_batch *base, uint32_t i)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_K *key = &DLOAD_I_FN(i_batch)(base)->own_keys[i];
    dload_i_arena_drop(&l->arena, key->ptr, key->len);
}
#endif

/* How long an answer without a value is kept: 0 = not at all. Asks the user, so no lock is held. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_error_ttl)(const DLOAD_NAME *l, dload_status status)
{
    if (status >= 0 || status == DLOAD_MISSING)
        return l->cfg.missing_ttl_ns; /* what the function left out is missing */
    return l->cfg.error_ttl != NULL ? l->cfg.error_ttl(l->cfg.ctx, status) : 0;
}

#if DLOAD_STORE
/* Is there a second level? Without caching it is not touched. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_has_second)(const DLOAD_NAME *l)
{
    return l->second.store != NULL && l->cache.n_shards != 0;
}
#endif

DLOAD_I_UNUSED static dload_status DLOAD_I_FN(i_run)(void *owner, dload_i_batch *base)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_batch)(base);
    b->keys = b->own_keys;
    b->n = base->n;
    b->ctx = l->cfg.ctx;
#if DLOAD_GROUP
    b->group = base->group;
#endif
    b->deadline_ns = dload_i_add_ns(base->started_ns, l->core.run_limit_ns);
#if DLOAD_STORE
    if (DLOAD_I_FN(i_has_second)(l) || l->locking.locks != NULL)
        return DLOAD_I_FN(i_run_second)(l, b);
#endif
    dload_status st = l->cfg.fetch(b);
    if (st != DLOAD_PENDING) /* afterwards b belongs to whoever ends it */
        base->rest_ttl_ns = DLOAD_I_FN(i_error_ttl)(l, st);
    return st;
}

DLOAD_I_INLINE dload_status DLOAD_I_FN(i_copy_out)(dload_i_batch *base, uint32_t i, void *out)
{
    return DLOAD_I_FN(i_copy)((DLOAD_I_V *)out, &DLOAD_I_FN(i_batch)(base)->values[i]);
}

#if DLOAD_REFRESH
/* In refresh.h: the old value of a key, when there is an answer. */
DLOAD_I_UNUSED static void DLOAD_I_FN(i_keep_at)(void *owner, dload_i_batch *base, uint32_t i);
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_settle_old)(DLOAD_NAME *l, dload_i_batch *base, uint32_t i);
#endif

DLOAD_I_INLINE bool DLOAD_I_FN(i_store_at)(void *owner, dload_i_batch *base, uint32_t i)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_batch)(base);
    dload_i_flight *f = &base->flights[i];
#if DLOAD_REFRESH
    if (DLOAD_I_FN(i_settle_old)(l, base, i))
        return false;
#endif
#if DLOAD_STORE
    DLOAD_I_FN(i_keep_answer)(l, b, i);
    /* What the store never had or did not take could change unheard: mutant untracked_is_cached. */
    if (l->second.only_hits && DLOAD_I_FN(i_has_second)(l) && (f->second & DLOAD_I_SECOND_HIT) == 0)
        return false;
#endif
    uint64_t ttl_ns = f->ttl_ns == DLOAD_I_TTL_DEFAULT ? l->cache.ttl_ns : f->ttl_ns;
    if (ttl_ns == 0 || l->cache.n_shards == 0)
        return false;
    DLOAD_I_FN(item) item;
    item.id.hash = f->hash;
    item.id.key = b->own_keys[i];
#if DLOAD_GROUP
    item.id.group = base->group;
#endif
    item.value = &b->values[i];
    item.status = f->status;
    item.ttl_ns = ttl_ns;
#if DLOAD_CLOCK == DLOAD_CLOCK_ENV
    /* one look at the clock for all answers of a batch */
    item.now_ns = l->core.env->now != NULL ? base->ended_ns : DLOAD_I_FN(i_now)(&l->cache);
#else
    item.now_ns = DLOAD_I_FN(i_now)(&l->cache);
#endif
    dload_status st = DLOAD_I_FN(i_store)(&l->cache, &item);
#if DLOAD_I_OWES
    f->holds = DLOAD_I_FN(i_owe)(b, i, &item, st);
    return st >= 0;
#else
    if (st < 0)
        return false;
#if DLOAD_I_OWNED
    /* The value moved into the cache; what had to go takes its place until the mutex is released. */
    f->holds = item.garbage;
    if (item.garbage)
        b->values[i] = item.old.value;
#endif
    return true;
#endif
}

#if DLOAD_I_LEAVES
DLOAD_I_UNUSED static void DLOAD_I_FN(i_release_at)(dload_i_batch *base, uint32_t i)
{
    base->flights[i].holds = 0;
#if DLOAD_I_OWES
    DLOAD_I_FN(i_settle)(DLOAD_I_FN(i_batch)(base), i);
#else
    DLOAD_I_FN(i_release)(&DLOAD_I_FN(i_batch)(base)->values[i]);
#endif
}
#endif

DLOAD_I_UNUSED static void DLOAD_I_FN(i_publish)(dload_i_core *c, dload_i_batch *base,
                                                 const dload_i_publishing *how,
                                                 dload_i_ready *ready)
{
    const dload_i_typed typed = {
        sizeof(DLOAD_I_V),
        DLOAD_I_FN(i_copy_out),
        DLOAD_I_FN(i_store_at),
#if DLOAD_REFRESH
        DLOAD_I_FN(i_keep_at),
#else
        NULL,
#endif
    };
    dload_i_publish_each(c, base, how, typed, ready);
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_call)(dload_i_waiter *base)
{
    DLOAD_I_WAITER *w = (DLOAD_I_WAITER *)(void *)base; /* base is the first member */
    w->status = (dload_status)base->status;
    if (w->done != NULL)
        w->done(w);
}

#if DLOAD_HASH == DLOAD_HASH_SIP && DLOAD_GROUP
DLOAD_I_UNUSED static uint64_t DLOAD_I_FN(i_mark)(const void *owner, uint64_t group)
{
    return dload_i_sip_mark(((const DLOAD_NAME *)owner)->cache.hash_key, group);
}
#endif

DLOAD_I_UNUSED static const dload_i_ops *DLOAD_I_FN(i_ops)(void)
{
    static const dload_i_ops ops = {
        DLOAD_I_FN(i_make_batch),
        DLOAD_I_FN(i_unmake_batch),
        DLOAD_I_FN(i_grow_batch),
        DLOAD_I_FN(i_move_key),
#if DLOAD_I_IS_STRING
        DLOAD_I_FN(i_forget_key),
#else
        NULL,
#endif
        DLOAD_I_FN(i_run),
        DLOAD_I_FN(i_publish),
#if DLOAD_I_LEAVES
        DLOAD_I_FN(i_release_at),
#else
        NULL,
#endif
        DLOAD_I_FN(i_call),
#if DLOAD_HASH == DLOAD_HASH_SIP && DLOAD_GROUP
        DLOAD_I_FN(i_mark),
#else
        NULL,
#endif
    };
    return &ops;
}

#endif /* DLOAD_I_BODIES && DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_OPS */
