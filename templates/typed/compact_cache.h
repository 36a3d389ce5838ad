/* >>compact_cache -- the cache on a compact table: what comes in, who leaves for it, from init to destroy.
 *
 * One table, one lock; with DLOAD_LOCK_NONE that is a word which interrupt handlers look at, see busy.h.
 */
#ifndef DLOAD_I_HAVE_COMPACT_CACHE
#define DLOAD_I_HAVE_COMPACT_CACHE

#include "compact.h"

#if DLOAD_I_BODIES && DLOAD_COMPACT

/* ---- the entry that comes in ---- */

/* Who leaves: the hand goes round the slots, and passes by what is pinned, and once by what was used. Every
 * slot has an entry, and not all are pinned. */
DLOAD_I_INLINE uint32_t DLOAD_I_FN(i_victim)(DLOAD_I_SHARD *s)
{
    for (;;) {
        uint32_t slot = s->hand;
        DLOAD_I_SLOT *e = &s->slots[slot];
        s->hand = (uint16_t)(slot + 1 == s->cap ? 0 : slot + 1);
        if ((e->meta & (DLOAD_I_CHAIN_PINNED | DLOAD_I_CHAIN_USED)) == 0)
            return slot;
        if ((e->meta & DLOAD_I_CHAIN_PINNED) == 0)
            e->meta = (uint16_t)(e->meta & ~DLOAD_I_CHAIN_USED);
    }
}

/* A vacant slot: one that is, one whose entry has ended, or whose entry leaves for this. DLOAD_I_CHAIN_END
 * when there is none. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_room)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                          DLOAD_I_FN(item) * item)
{
    if (s->vacant == DLOAD_I_CHAIN_END)
        DLOAD_I_FN(i_expire)(s, dload_i_tick_of(item->now_ns));
#if DLOAD_I_LEAVES
    if (s->vacant == DLOAD_I_CHAIN_END)
        item->garbage = DLOAD_I_FN(i_bury)(s, &item->old);
#endif
    if (s->vacant == DLOAD_I_CHAIN_END && DLOAD_EVICT != DLOAD_EVICT_NONE &&
        s->n_pinned != s->n_live) {
        uint32_t slot = DLOAD_I_FN(i_victim)(s);
        s->evictions++;
        item->garbage = DLOAD_I_FN(i_remove)(s, slot, DLOAD_REMOVED_EVICTED, &item->old);
    }
    (void)c;
    return s->vacant;
}

/* An entry that is there is to have a new value: what it has leaves. Its use and its pin stay. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_reopen)(DLOAD_I_SLOT *e, DLOAD_I_FN(item) * item)
{
    if (DLOAD_I_LEAVES && (e->meta & DLOAD_I_META_ERROR) == 0) {
        DLOAD_I_FN(i_leave)(e, DLOAD_REMOVED_REPLACED, &item->old);
        DLOAD_I_FN(i_leave_key)(&item->old, item);
        item->garbage = true;
    }
    e->meta = (uint16_t)(e->meta & (DLOAD_I_CHAIN_PINNED | DLOAD_I_CHAIN_USED));
}

/* Puts an entry in place of an older one of the same key, or as a new one; evicts when full.
 * DLOAD_OK, and item->value now belongs to the cache; DLOAD_EFULL, and it does not.
 * In either case item->garbage says that item->old is to be released, unlocked. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_put)(DLOAD_I_CACHE *c, DLOAD_I_FN(item) * item)
{
    DLOAD_I_SHARD *s = &c->one;
    item->garbage = false;
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, &item->id);
#if DLOAD_TTL
    uint64_t tick = dload_i_tick_of(item->now_ns);
    if (e != NULL && DLOAD_I_FN(i_ended)(e, tick > s->tick ? tick : s->tick)) {
        s->expired++;
        DLOAD_I_FN(i_discard)(s, DLOAD_I_FN(i_slot_of)(s, e), DLOAD_REMOVED_EXPIRED);
        e = NULL; /* a new one, with neither use nor pin */
    }
#endif
    if (e != NULL) {
        DLOAD_I_FN(i_reopen)(e, item);
    } else {
        uint32_t slot = DLOAD_I_FN(i_room)(c, s, item);
        if (slot == DLOAD_I_CHAIN_END) {
            s->skipped++;
            return DLOAD_EFULL;
        }
        uint16_t *head = DLOAD_I_FN(i_head)(s, item->id.hash);
        e = &s->slots[slot];
        s->vacant = e->next;
        e->key = item->id.key;
        e->next = *head;
        e->meta = 0;
        *head = (uint16_t)slot;
        s->n_live++;
    }
    if (item->status < 0) {
        e->meta = (uint16_t)(e->meta | DLOAD_I_META_ERROR);
        e->u.status = item->status;
    } else {
        e->u.value = *item->value;
    }
#if DLOAD_TTL
    DLOAD_I_FN(i_arm)(c, e, item->now_ns, item->ttl_ns);
#endif
    return DLOAD_OK;
}

/* ---- the functions that stand in for cache.h's ---- */

#define DLOAD_I_TIDY_MAX 32u /* values that one operation releases at most */

DLOAD_I_INLINE DLOAD_I_SHARD *DLOAD_I_FN(i_shard)(const DLOAD_I_CACHE *c, uint64_t hash)
{
    (void)hash;
    return (DLOAD_I_SHARD *)(uintptr_t)&c->one;
}

/* Looks a key up and counts the use: a hit's status, DLOAD_PENDING, or DLOAD_EAGAIN in an interrupt handler
 * that came in while somebody writes. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_look)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                                 DLOAD_I_V *out)
{
    DLOAD_I_SHARD *s = &c->one;
    if (!DLOAD_I_LOOK(&s->lock))
        return DLOAD_EAGAIN;
    dload_status st = DLOAD_I_FN(i_read)(c, s, id, out);
    DLOAD_I_LOOKED(&s->lock);
    return st;
}

DLOAD_I_INLINE dload_status DLOAD_I_FN(i_lookup)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                                 DLOAD_I_V *out, bool quick)
{
    (void)quick;
    return DLOAD_I_FN(i_look)(c, id, out);
}

/* Removes what has ended, and releases what waits for that, unlocked; with max_rounds 0, to the end. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_sweep)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint64_t now_ns,
                                       uint32_t max_rounds)
{
    DLOAD_I_ACQUIRE(&s->lock);
    DLOAD_I_FN(i_expire)(s, dload_i_tick_of(now_ns));
    DLOAD_I_RELEASE(&s->lock);
#if DLOAD_I_LEAVES
    bool more = true;
    for (uint32_t i = 0; more && (max_rounds == 0 || i < max_rounds * DLOAD_I_TIDY_MAX); i++) {
        DLOAD_I_FN(removed) old;
        DLOAD_I_ACQUIRE(&s->lock);
        more = DLOAD_I_FN(i_bury)(s, &old);
        DLOAD_I_RELEASE(&s->lock);
        if (more)
            DLOAD_I_FN(i_end)(c, s, &old);
    }
#endif
    (void)c;
    (void)max_rounds;
}

/* Puts an item under the lock; releases nothing, so that the loader's mutex may be held. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_store)(DLOAD_I_CACHE *c, DLOAD_I_FN(item) * item)
{
    DLOAD_I_ACQUIRE(&c->one.lock);
    dload_status st = DLOAD_I_FN(i_put)(c, item);
    DLOAD_I_RELEASE(&c->one.lock);
    return st;
}

/* Around a store from outside, with no lock held: see cache.h. */
DLOAD_I_INLINE void DLOAD_I_FN(i_before_store)(DLOAD_I_CACHE *c, const DLOAD_I_FN(item) * item)
{
#if DLOAD_I_LEAVES
    DLOAD_I_FN(i_sweep)(c, &c->one, item->now_ns, 1);
#endif
    (void)c;
    (void)item;
}

DLOAD_I_INLINE void DLOAD_I_FN(i_after_store)(DLOAD_I_CACHE *c, DLOAD_I_FN(item) * item,
                                              dload_status st)
{
#if DLOAD_I_LEAVES
    if (st < 0 && item->status >= 0)
        DLOAD_I_FN(i_reject)(c, &c->one, item);
    if (item->garbage)
        DLOAD_I_FN(i_end)(c, &c->one, &item->old);
#endif
    (void)c;
    (void)item;
    (void)st;
}

/* Takes a key out; its value, if any, comes back in *old, for _i_end. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_drop)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                      DLOAD_I_FN(removed) * old)
{
    DLOAD_I_SHARD *s = &c->one;
    bool has_old = false;
    DLOAD_I_ACQUIRE(&s->lock);
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    if (e != NULL)
        has_old = DLOAD_I_FN(i_remove)(s, DLOAD_I_FN(i_slot_of)(s, e),
                                       DLOAD_I_FN(i_why)(c, s, e, DLOAD_REMOVED_CLEARED), old);
    DLOAD_I_RELEASE(&s->lock);
    return has_old;
}

/* Forgets every entry. Not 0: there are values to be released, by _i_full_sweep, unlocked. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_new_epoch)(DLOAD_I_CACHE *c)
{
    bool waiting = false;
    if (c->n_shards != 0) {
        DLOAD_I_ACQUIRE(&c->one.lock);
        waiting = DLOAD_I_FN(i_forget)(&c->one, DLOAD_REMOVED_CLEARED);
        DLOAD_I_RELEASE(&c->one.lock);
    }
    return waiting;
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_full_sweep)(DLOAD_I_CACHE *c)
{
    DLOAD_I_FN(i_sweep)(c, &c->one, 0, 0);
}

/* The policy leaves an entry alone, or no longer: then it is as if it had just come. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_pin_slot)(DLOAD_I_SHARD *s, uint32_t slot, bool pinned)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    if (((e->meta & DLOAD_I_CHAIN_PINNED) != 0) == pinned)
        return;
    e->meta = (uint16_t)((e->meta & ~DLOAD_I_CHAIN_USED) ^ DLOAD_I_CHAIN_PINNED);
    s->n_pinned = (uint16_t)(pinned ? s->n_pinned + 1 : s->n_pinned - 1);
}

/* ---- life ---- */

/* Bytes of the block of a table with cap slots; see DLOAD_I_TABLE_BYTES. */
DLOAD_I_INLINE size_t DLOAD_I_FN(i_table_bytes)(const DLOAD_I_SHARD *s)
{
    return s->cap * sizeof *s->slots + ((size_t)s->mask + 1) * sizeof *s->heads;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_init)(DLOAD_I_CACHE *c,
                                                const DLOAD_I_FN(cache_config) * config)
{
    DLOAD_I_FN(cache_config) cfg;
    memset(&cfg, 0, sizeof cfg);
    if (config != NULL)
        cfg = *config;
    memset(c, 0, sizeof *c);
    DLOAD_I_SHARD *s = &c->one;
    size_t capacity = cfg.capacity != 0 ? cfg.capacity : 4096;
    c->env = cfg.env != NULL ? cfg.env : dload_env_default();
    c->ttl_ns = cfg.ttl_ns != 0 ? cfg.ttl_ns : DLOAD_NEVER;
    c->jitter_part = cfg.ttl_jitter_pct * 41943u >> 6; /* 2^22 / 100: rounded down */
    c->fork_epoch = DLOAD_I_FORK_EPOCH;
#if DLOAD_ON_REMOVE
    c->on_remove = cfg.on_remove;
    c->remove_ctx = cfg.ctx;
#endif
    s->heads = dload_i_no_chains();
    if (!DLOAD_I_LOCK_INIT(&s->lock))
        return DLOAD_ENOMEM;
    c->n_locks = 1;
    if (capacity == DLOAD_NO_CACHE)
        return DLOAD_OK;
    if (cfg.ttl_jitter_pct > 90 || cfg.idle_ttl_ns != 0 || cfg.shards > 256 ||
        capacity > DLOAD_I_COMPACT_MAX || c->env->alloc == NULL || c->env->free == NULL) {
        (void)DLOAD_I_FN(cache_destroy)(c);
        return DLOAD_EINVAL;
    }
    s->cap = (uint16_t)capacity;
    s->mask = (uint16_t)(dload_i_chains(s->cap) - 1);
    s->slots = (DLOAD_I_SLOT *)dload_i_alloc(c->env, DLOAD_I_FN(i_table_bytes)(s));
    if (s->slots == NULL) {
        (void)DLOAD_I_FN(cache_destroy)(c);
        return DLOAD_ENOMEM;
    }
    s->heads = (uint16_t *)(void *)(s->slots + s->cap);
    c->n_shards = 1;
#if DLOAD_TTL
    s->tick = dload_i_tick_of(DLOAD_I_FN(i_time)(c));
    s->soonest = UINT64_MAX;
#endif
    memset(s->heads, 0xff, ((size_t)s->mask + 1) * sizeof *s->heads);
    s->vacant = DLOAD_I_CHAIN_END;
#if DLOAD_I_LEAVES
    s->dead = DLOAD_I_CHAIN_END;
#endif
    for (uint32_t slot = s->cap; slot-- > 0;)
        DLOAD_I_FN(i_give)(s, slot);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_destroy)(DLOAD_I_CACHE *c)
{
    DLOAD_I_SHARD *s = &c->one;
    if (c->n_shards != 0) {
#if DLOAD_I_LEAVES
        DLOAD_I_FN(i_sweep)(c, s, DLOAD_TTL ? DLOAD_I_FN(i_now)(c) : 0, 0);
        if (DLOAD_I_FN(i_forget)(s, DLOAD_REMOVED_DESTROYED))
            DLOAD_I_FN(i_sweep)(c, s, 0, 0);
#endif
        dload_i_free(c->env, s->slots, DLOAD_I_FN(i_table_bytes)(s));
    }
    if (c->n_locks != 0) /* also of a cache that is off: mutant compact_lock_kept */
        DLOAD_I_LOCK_DESTROY(&s->lock);
    s->heads = dload_i_no_chains();
    s->mask = 0;
    c->n_shards = 0;
    c->n_locks = 0;
    return DLOAD_OK;
}

DLOAD_I_API size_t DLOAD_I_FN(cache_len)(DLOAD_I_CACHE *c)
{
    return DLOAD_I_FORKED(c) ? 0 : DLOAD_I_LOAD_RELAXED(&c->one.n_live);
}

DLOAD_I_API size_t DLOAD_I_FN(cache_bytes)(DLOAD_I_CACHE *c)
{
    return c->n_shards == 0 ? 0 : DLOAD_I_FN(i_table_bytes)(&c->one);
}

#endif /* DLOAD_I_BODIES && DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_COMPACT_CACHE */
