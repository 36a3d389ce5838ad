/* >>cache -- the cache: shards, their locks, and the public calls on a cache alone.
 *
 * Shards are locked here, and in removed.h and weight.h where something is given back. What is released
 * is released after the lock is let go.
 */
#ifndef DLOAD_I_HAVE_CACHE
#define DLOAD_I_HAVE_CACHE

#include "store.h"
#include "compact_cache.h"

#if DLOAD_I_BODIES

#if !DLOAD_COMPACT

#define DLOAD_I_TIDY_MAX 32u /* entries that one operation cleans up at most */

DLOAD_I_INLINE DLOAD_I_SHARD *DLOAD_I_FN(i_shard)(const DLOAD_I_CACHE *c, uint64_t hash)
{
#if DLOAD_I_SHARDED
    return &c->shard[(uint32_t)(hash >> 11) & (c->n_shards - 1)];
#else
    (void)hash;
    return c->shard;
#endif
}

/* What is known of a key under its shard's lock: a hit's status, or DLOAD_PENDING. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_look_locked)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                                      DLOAD_I_V *out)
{
    if (DLOAD_I_UNLIKELY(c->n_shards == 0))
        return DLOAD_PENDING;
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, id->hash);
    DLOAD_I_ACQUIRE(&s->lock);
    dload_status st = DLOAD_I_FN(i_read)(c, s, id, out);
    DLOAD_I_RELEASE(&s->lock);
    return st;
}

#if DLOAD_I_LOCKLESS
/* After a look without the lock that found nothing: a few more while a writer is in the way, then one
 * that is sure. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_look_again)(DLOAD_I_CACHE *c, DLOAD_I_ID id,
                                                       DLOAD_I_V *out, dload_status st)
{
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, id.hash);
    for (uint32_t i = 0; i < DLOAD_I_READ_TRIES && st == DLOAD_EBUSY; i++) {
        dload_i_pause();
        st = DLOAD_I_FN(i_read_free)(c, s, &id, out);
    }
    return st == DLOAD_OK ? st : DLOAD_I_FN(i_look_locked)(c, &id, out);
}
#endif

/* Looks a key up and counts the use: a hit's status, or DLOAD_PENDING. With quick, a key that a look without
 * the lock sees nothing of is not looked for again: for callers who hold the loader's mutex, under which all
 * keys come in, or look once more when they do. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_lookup)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                                 DLOAD_I_V *out, bool quick)
{
    (void)quick;
#if DLOAD_I_LOCKLESS
    if (DLOAD_I_UNLIKELY(c->n_shards == 0))
        return DLOAD_PENDING;
    dload_status st = DLOAD_I_FN(i_read_free)(c, DLOAD_I_FN(i_shard)(c, id->hash), id, out);
    if (DLOAD_I_LIKELY(st == DLOAD_OK))
        return DLOAD_OK;
    if (quick && st == DLOAD_MISSING)
        return DLOAD_PENDING;
    return DLOAD_I_FN(i_look_again)(c, *id, out, st);
#elif DLOAD_I_THREADED
    return DLOAD_I_FN(i_look_locked)(c, id, out);
#else
    return DLOAD_I_FN(i_read)(c, &c->one, id, out);
#endif
}

/* The same, quick and not inlined: for the calls where a hit is one answer among others. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_look)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                                 DLOAD_I_V *out)
{
    return DLOAD_I_FN(i_lookup)(c, id, out, true);
}

/* Cleans one shard up, unlocking to release what it removed. With max_rounds 0, to the end. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_sweep)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint64_t now_ns,
                                       uint32_t max_rounds)
{
    DLOAD_I_FN(removed) old[DLOAD_I_TIDY_MAX];
    bool more = true;
    for (uint32_t round = 0; more && (max_rounds == 0 || round < max_rounds); round++) {
        DLOAD_I_ACQUIRE(&s->lock);
        uint32_t n = DLOAD_I_FN(i_tidy)(s, now_ns, old, DLOAD_I_TIDY_MAX, &more);
        DLOAD_I_RELEASE(&s->lock);
        for (uint32_t i = 0; i < n; i++)
            DLOAD_I_FN(i_end)(c, s, &old[i]);
    }
}

/* Puts an item under its shard's lock; releases nothing, so that the loader's mutex may be held. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_store)(DLOAD_I_CACHE *c, DLOAD_I_FN(item) * item)
{
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, item->id.hash);
    DLOAD_I_ACQUIRE(&s->lock);
    dload_status st = DLOAD_I_FN(i_put)(c, s, item);
    DLOAD_I_RELEASE(&s->lock);
    return st;
}

/* Around a store from outside, with no lock held. Before it, values that wait to go make room, a few at
 * a time (where nobody is told and nothing is owned they go under the lock, see _i_put); after it, those
 * that had to leave, and, when st says so, the one that did not get in, which is released here. */
DLOAD_I_INLINE void DLOAD_I_FN(i_before_store)(DLOAD_I_CACHE *c, const DLOAD_I_FN(item) * item)
{
#if DLOAD_I_LEAVES
    DLOAD_I_FN(i_sweep)(c, DLOAD_I_FN(i_shard)(c, item->id.hash), item->now_ns, 1);
#else
    (void)c;
    (void)item;
#endif
}

DLOAD_I_INLINE void DLOAD_I_FN(i_after_store)(DLOAD_I_CACHE *c, DLOAD_I_FN(item) * item,
                                              dload_status st)
{
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, item->id.hash);
    if (st < 0 && item->status >= 0)
        DLOAD_I_FN(i_reject)(c, s, item);
    if (item->garbage)
        DLOAD_I_FN(i_end)(c, s, &item->old);
#if DLOAD_I_KILLS
    if (item->dead)
        DLOAD_I_FN(i_drain)(c, s);
#endif
    (void)s;
}

/* Takes a key out; its value, if any, comes back in *old, for _i_end_of. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_drop)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                      DLOAD_I_FN(removed) * old)
{
    if (c->n_shards == 0)
        return false;
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, id->hash);
    bool has_old = false;
    DLOAD_I_ACQUIRE(&s->lock);
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    if (e != NULL)
        has_old = DLOAD_I_FN(i_remove)(s, DLOAD_I_FN(i_slot_of)(s, e),
                                       DLOAD_I_FN(i_why)(c, s, e, DLOAD_REMOVED_CLEARED), old);
    DLOAD_I_RELEASE(&s->lock);
    return has_old;
}

/* Makes every entry invisible at once: entries carry the epoch they belong to. Returns how many shards
 * have gone through nearly all 2^16 epochs and need _i_full_sweep, unlocked, before the next. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_new_epoch)(DLOAD_I_CACHE *c)
{
    uint32_t n_full = 0;
    for (uint32_t i = 0; i < c->n_shards; i++) {
        DLOAD_I_SHARD *s = &c->shard[i];
        DLOAD_I_ACQUIRE(&s->lock);
        s->since_reap = s->n_used == 0 ? 0 : s->since_reap + 1;
        DLOAD_I_STORE_RELEASE(&s->epoch, s->epoch + DLOAD_I_EPOCH_ONE);
        s->n_live = s->n_live_pinned = 0;
#if DLOAD_I_WEIGHED
        s->weight = s->pinned_weight = 0;
#endif
        n_full += s->since_reap >= 0xff00;
        DLOAD_I_RELEASE(&s->lock);
    }
    return n_full;
}

/* Removes every entry of an older epoch, so that epochs may start over. */
DLOAD_I_NOINLINE void DLOAD_I_FN(i_full_sweep)(DLOAD_I_CACHE *c)
{
    for (uint32_t i = 0; i < c->n_shards; i++)
        DLOAD_I_FN(i_sweep)(c, &c->shard[i], 0, 0);
}

#endif /* !DLOAD_COMPACT */

/* ---- reading and writing ---- */

DLOAD_I_INLINE dload_status DLOAD_I_FN(i_cache_get)(DLOAD_I_CACHE *c, uint64_t group, DLOAD_I_K key,
                                                    DLOAD_I_V *out)
{
    dload_status st = DLOAD_I_FN(i_canon)(&key, c->max_key_bytes);
    if (DLOAD_I_UNLIKELY(st < 0 || out == NULL))
        return out == NULL ? DLOAD_EINVAL : st;
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(c, key, group);
    st = DLOAD_I_FN(i_lookup)(c, &id, out, false);
    return st == DLOAD_PENDING ? DLOAD_MISSING : st;
}

DLOAD_I_HOT dload_status DLOAD_I_FN(cache_get)(DLOAD_I_CACHE *c, DLOAD_I_K key, DLOAD_I_V *out)
{
    return DLOAD_I_FN(i_cache_get)(c, 0, key, out);
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_cache_set)(DLOAD_I_CACHE *c, uint64_t group, DLOAD_I_K key,
                                                   const DLOAD_I_V *value, uint64_t ttl_ns)
{
    if (value == NULL || DLOAD_I_FORKED(c))
        return value == NULL ? DLOAD_EINVAL : DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, c->max_key_bytes);
    if (st < 0 || c->n_shards == 0)
        return st < 0 ? st : DLOAD_EFULL;
    DLOAD_I_V copy;
    st = DLOAD_I_FN(i_copy)(&copy, value);
    if (st < 0)
        return st;
    DLOAD_I_FN(item) item;
    item.id = DLOAD_I_FN(i_id)(c, key, group);
    item.value = &copy;
    item.status = DLOAD_OK;
    item.ttl_ns = ttl_ns != 0 ? ttl_ns : c->ttl_ns;
    item.now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(c) : 0;
    DLOAD_I_FN(i_before_store)(c, &item);
    st = DLOAD_I_FN(i_store)(c, &item);
    DLOAD_I_FN(i_after_store)(c, &item, st);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_set)(DLOAD_I_CACHE *c, DLOAD_I_K key,
                                               const DLOAD_I_V *value, uint64_t ttl_ns)
{
    return DLOAD_I_FN(i_cache_set)(c, 0, key, value, ttl_ns);
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_cache_delete)(DLOAD_I_CACHE *c, uint64_t group,
                                                      DLOAD_I_K key)
{
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, c->max_key_bytes);
    if (st < 0)
        return st;
    DLOAD_I_FN(removed) old;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(c, key, group);
    if (DLOAD_I_FN(i_drop)(c, &id, &old))
        DLOAD_I_FN(i_end)(c, DLOAD_I_FN(i_shard)(c, id.hash), &old);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_delete)(DLOAD_I_CACHE *c, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_cache_delete)(c, 0, key);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_clear)(DLOAD_I_CACHE *c)
{
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    if (DLOAD_I_FN(i_new_epoch)(c) != 0)
        DLOAD_I_FN(i_full_sweep)(c);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_advance)(DLOAD_I_CACHE *c, uint64_t now_ns)
{
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    DLOAD_I_FN(i_set_now)(c, now_ns);
    for (uint32_t i = 0; i < c->n_shards; i++)
        DLOAD_I_FN(i_sweep)(c, DLOAD_I_SHARD_AT(c, i), now_ns, 0);
    return DLOAD_OK;
}

#if DLOAD_GROUP || DLOAD_I_IS_STRING

/* Is an entry among those that a walk removes: of a group, or with a key that begins with prefix? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_is_among)(const DLOAD_I_SLOT *e, uint64_t group,
                                           const dload_str *prefix)
{
#if DLOAD_GROUP
    if (prefix == NULL)
        return e->group == group;
#endif
#if DLOAD_I_IS_STRING
    return e->key.len >= prefix->len &&
           (prefix->len == 0 || memcmp(e->key.ptr, prefix->ptr, prefix->len) == 0);
#endif
    (void)e;
    (void)group;
    (void)prefix;
    return false;
}

/* Removes up to DLOAD_I_TIDY_MAX of them from slot *at on; *at is where to go on, n_slots at the end. Returns
 * how many values there are to release. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_cut_some)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                              uint64_t group, const dload_str *prefix, uint32_t *at,
                                              DLOAD_I_FN(removed) * old)
{
    uint32_t n_slots = s->n_groups * DLOAD_I_GROUP_SLOTS;
    uint32_t n_old = 0;
    for (; *at < n_slots && n_old < DLOAD_I_TIDY_MAX; ++*at) {
        DLOAD_I_SLOT *e = &s->slots[*at];
        if (s->groups[*at / DLOAD_I_GROUP_SLOTS].tags[*at % DLOAD_I_GROUP_SLOTS] == 0 ||
            DLOAD_I_FN(i_is_dead)(DLOAD_I_META(e)) || !DLOAD_I_FN(i_is_among)(e, group, prefix))
            continue;
        dload_removal why = DLOAD_I_FN(i_why)(c, s, e, DLOAD_REMOVED_CLEARED);
        n_old += DLOAD_I_FN(i_remove)(s, *at, why, &old[n_old]);
    }
    return n_old;
}

/* Removes every entry of a group, or, when prefix is not NULL, whose key begins with it. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_clear_some)(DLOAD_I_CACHE *c, uint64_t group,
                                                    const dload_str *prefix)
{
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    for (uint32_t i = 0; i < c->n_shards; i++) {
        DLOAD_I_SHARD *s = &c->shard[i];
        DLOAD_I_FN(removed) old[DLOAD_I_TIDY_MAX];
        uint32_t at = 0;
        uint32_t n_groups = 0;
        bool more = true;
        while (more) {
            DLOAD_I_ACQUIRE(&s->lock);
            if (n_groups != s->n_groups)
                at = 0; /* it grew, and entries moved */
            n_groups = s->n_groups;
            uint32_t n_old = DLOAD_I_FN(i_cut_some)(c, s, group, prefix, &at, old);
            more = at < n_groups * DLOAD_I_GROUP_SLOTS;
            DLOAD_I_RELEASE(&s->lock);
            for (uint32_t k = 0; k < n_old; k++)
                DLOAD_I_FN(i_end)(c, s, &old[k]);
        }
    }
    return DLOAD_OK;
}

#endif /* DLOAD_GROUP || DLOAD_I_IS_STRING */

#if DLOAD_GROUP

DLOAD_I_HOT dload_status DLOAD_I_FN(cache_get_in)(DLOAD_I_CACHE *c, DLOAD_I_K key, uint64_t group,
                                                  DLOAD_I_V *out)
{
    return DLOAD_I_FN(i_cache_get)(c, group, key, out);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_set_in)(DLOAD_I_CACHE *c, DLOAD_I_K key, uint64_t group,
                                                  const DLOAD_I_V *value, uint64_t ttl_ns)
{
    return DLOAD_I_FN(i_cache_set)(c, group, key, value, ttl_ns);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_delete_in)(DLOAD_I_CACHE *c, DLOAD_I_K key,
                                                     uint64_t group)
{
    return DLOAD_I_FN(i_cache_delete)(c, group, key);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_clear_group)(DLOAD_I_CACHE *c, uint64_t group)
{
    return DLOAD_I_FN(i_clear_some)(c, group, NULL);
}

#endif /* DLOAD_GROUP */

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_CACHE */
