/* >>table -- the entries of one shard: compare, expire, find, read.
 *
 * Everything here works on one shard whose lock is held. No user code runs but the REF and COPY
 * hooks of owned values; what has to be released goes back to the caller, who does it unlocked.
 */
#ifndef DLOAD_I_HAVE_TABLE
#define DLOAD_I_HAVE_TABLE

#include "entry.h"

#if DLOAD_I_BODIES && !DLOAD_COMPACT

/* An entry's meta word: readers without the lock may count a use at any time. */
#define DLOAD_I_META(e)           DLOAD_I_LOAD_RELAXED(&(e)->meta)
#define DLOAD_I_META_WRITE(e, to) DLOAD_I_STORE_RELEASE(&(e)->meta, (to))

/* ---- entries ---- */

/* Is this entry the one? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_is)(const DLOAD_I_SLOT *e, const DLOAD_I_ID *id)
{
#if DLOAD_GROUP
    if (e->group != id->group)
        return false;
#endif
#if DLOAD_I_IS_STRING
    const DLOAD_I_K *key = &id->key;
    return e->key.hash_hi == (uint32_t)(id->hash >> 32) && e->key.len == key->len &&
           (key->len == 0 || memcmp(e->key.ptr, key->ptr, key->len) == 0);
#else
    return DLOAD_I_FN(i_same)(&e->key, &id->key);
#endif
}

/* The hash of an entry's key. */
DLOAD_I_UNUSED static uint64_t DLOAD_I_FN(i_hash_of)(const void *slot, const uint64_t *hash_key)
{
    const DLOAD_I_SLOT *e = (const DLOAD_I_SLOT *)slot;
    DLOAD_I_K key;
#if DLOAD_I_IS_STRING
    key.ptr = e->key.ptr;
    key.len = e->key.len;
#else
    key = e->key;
#endif
#if DLOAD_GROUP
    return DLOAD_I_FN(i_hash_in)(hash_key, key, e->group);
#else
    return DLOAD_I_FN(i_hash_in)(hash_key, key, 0);
#endif
}

/* ... or as much of it as finding its home takes. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_home_hash)(const DLOAD_I_SHARD *s, const DLOAD_I_SLOT *e)
{
#if DLOAD_I_IS_STRING
    (void)s;
    return (uint64_t)e->key.hash_hi << 32;
#else
    return DLOAD_I_FN(i_hash_of)(e, s->evict.hash_key);
#endif
}

/* ---- time ---- */

#if DLOAD_TTL

#if DLOAD_REFRESH
#define DLOAD_I_DUE gone /* the field that the wheel goes by */

/* In stale.h: what an entry's times are where there is more than one. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_expired_far)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                                const DLOAD_I_SLOT *e);
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_hold)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_SLOT *e);
DLOAD_I_LOCAL void DLOAD_I_FN(i_arm)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint32_t slot,
                                     uint64_t now_ns, uint64_t ttl_ns);
DLOAD_I_LOCAL void DLOAD_I_FN(i_rearm)(DLOAD_I_SHARD *s, uint32_t slot, uint64_t end);
#else
#define DLOAD_I_DUE expiry

/* Has an entry that expires done so? Exact for any distance between now and the wheel's time. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_expired_far)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                                const DLOAD_I_SLOT *e)
{
    const dload_i_wheel *w = &s->wheel;
    uint64_t tick = DLOAD_I_FN(i_now)(c) >> DLOAD_I_TICK_SHIFT;
    if (tick < w->now)
        tick = w->now; /* the clock went back: time does not */
    return tick >= dload_i_wheel_end(w, (uint32_t)(e - s->slots), e->expiry);
}
#endif

/* The same for a hit: while time has not come to expiry, and ticks compare as 32-bit numbers, the entry
 * is fresh however far its end is, which the wheel knows on a line of its own. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_expired)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_SLOT *e)
{
#if DLOAD_CLOCK == DLOAD_CLOCK_MANUAL
    uint64_t tick = s->tick; /* setting the time turns the wheel */
#else
    uint64_t tick = DLOAD_I_FN(i_now)(c) >> DLOAD_I_TICK_SHIFT;
#endif
    if (DLOAD_I_LIKELY(tick - s->tick <= DLOAD_I_WHEEL_ROUND &&
                       (int32_t)((uint32_t)tick - e->expiry) < 0))
        return false;
#if DLOAD_REFRESH
    return !DLOAD_I_FN(i_hold)(c, s, e);
#else
    return DLOAD_I_FN(i_expired_far)(c, s, e);
#endif
}

#if !DLOAD_REFRESH

/* The slot's end, which was far, has come nearer. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_rearm)(DLOAD_I_SHARD *s, uint32_t slot, uint64_t end)
{
    DLOAD_I_STORE_RELEASE(&s->slots[slot].expiry, dload_i_wheel_arm(&s->wheel, slot, end));
}

/* Sets the expiry of the entry in slot, whose meta is otherwise complete. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_arm)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint32_t slot,
                                     uint64_t now_ns, uint64_t ttl_ns)
{
    if (ttl_ns >= DLOAD_NEVER - 1)
        return;
    uint64_t end_ns = dload_i_add_ns(now_ns, DLOAD_I_FN(i_jitter)(c, ttl_ns));
    DLOAD_I_SLOT *e = &s->slots[slot];
    DLOAD_I_STORE_RELEASE(&e->expiry,
                          dload_i_wheel_arm(&s->wheel, slot, end_ns >> DLOAD_I_TICK_SHIFT));
    DLOAD_I_META_WRITE(e, DLOAD_I_META(e) | DLOAD_I_META_EXPIRES);
}

#endif /* !DLOAD_REFRESH */

#endif /* DLOAD_TTL */

/* ---- finding ---- */

/* Searches on from the home group, which passed the key's class on. */
DLOAD_I_NOINLINE DLOAD_I_SLOT *DLOAD_I_FN(i_find_far)(const DLOAD_I_SHARD *s, DLOAD_I_ID id)
{
    uint32_t at = dload_i_home(id.hash, s->n_groups);
    uint8_t tag = dload_i_tag(id.hash);
    for (uint32_t tried = 1; tried < s->n_groups && tried < s->reach; tried++) {
        at = dload_i_next_group(at, s->n_groups);
        const dload_i_group *g = &s->groups[at];
        for (dload_i_match m = dload_i_find_tag(g, tag); dload_i_match_any(m);
             m = dload_i_match_rest(m)) {
            DLOAD_I_SLOT *e = &s->slots[at * DLOAD_I_GROUP_SLOTS + dload_i_match_first(m)];
            if (DLOAD_I_FN(i_is)(e, &id))
                return e;
        }
        if (g->over[dload_i_class(id.hash)] == 0)
            break;
    }
    return NULL;
}

/* The entry of a key, whatever its epoch and expiry, or NULL. */
DLOAD_I_INLINE DLOAD_I_SLOT *DLOAD_I_FN(i_find)(const DLOAD_I_SHARD *s, const DLOAD_I_ID *id)
{
    uint32_t at = dload_i_home(id->hash, s->n_groups);
    const dload_i_group *g = &s->groups[at];
    for (dload_i_match m = dload_i_find_tag(g, dload_i_tag(id->hash)); dload_i_match_any(m);
         m = dload_i_match_rest(m)) {
        DLOAD_I_SLOT *e = s->slots + (size_t)at * DLOAD_I_GROUP_SLOTS + dload_i_match_first(m);
        if (DLOAD_I_LIKELY(DLOAD_I_FN(i_is)(e, id)))
            return e;
    }
    if (DLOAD_I_LIKELY(g->over[dload_i_class(id->hash)] == 0))
        return NULL;
    return DLOAD_I_FN(i_find_far)(s, *id);
}

/* The same where a call more does not matter: everywhere but on a hit. */
DLOAD_I_NOINLINE DLOAD_I_SLOT *DLOAD_I_FN(i_locate)(const DLOAD_I_SHARD *s, const DLOAD_I_ID *id)
{
    return DLOAD_I_FN(i_find)(s, id);
}

DLOAD_I_INLINE uint32_t DLOAD_I_FN(i_slot_of)(const DLOAD_I_SHARD *s, const DLOAD_I_SLOT *e)
{
    return (uint32_t)(e - s->slots);
}

/* Is the entry there for a reader?*/
DLOAD_I_INLINE bool DLOAD_I_FN(i_valid)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                        const DLOAD_I_SLOT *e)
{
    if (DLOAD_I_UNLIKELY(((DLOAD_I_META(e) ^ s->epoch) & DLOAD_I_EPOCH_MASK) != 0))
        return false;
#if DLOAD_TTL
    if ((DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) != 0 && DLOAD_I_FN(i_expired_far)(c, s, e))
        return false;
#endif
    (void)c;
    return true;
}

/* Where a hit stops counting. */
#if DLOAD_EVICT == DLOAD_EVICT_AUTO
#define DLOAD_I_MAX_USES(s) ((s)->max_uses)
#elif DLOAD_EVICT == DLOAD_EVICT_S3FIFO || DLOAD_EVICT == DLOAD_EVICT_ADAPTIVE
#define DLOAD_I_MAX_USES(s) 3u
#elif DLOAD_EVICT == DLOAD_EVICT_CLOCK || DLOAD_EVICT == DLOAD_EVICT_SIEVE
#define DLOAD_I_MAX_USES(s) 1u
#else
#define DLOAD_I_MAX_USES(s) 0u
#endif

/* Counts a use of the entry, as its policy wants it. */
DLOAD_I_INLINE void DLOAD_I_FN(i_touch)(DLOAD_I_SHARD *s, DLOAD_I_SLOT *e)
{
#if DLOAD_EVICT == DLOAD_EVICT_LRU
    if (s->evict.links != NULL && (DLOAD_I_META(e) & DLOAD_I_META_PINNED) == 0)
        dload_i_lru_touch(&s->evict, DLOAD_I_FN(i_slot_of)(s, e));
#if DLOAD_I_LOCKLESS && DLOAD_TTL
    /* Until the next tick, readers need not come here for this entry. */
    DLOAD_I_STORE_RELAXED(dload_i_uses(&e->meta), (uint8_t)s->tick);
#endif
#else
    dload_i_count_use(&e->meta, DLOAD_I_META(e), DLOAD_I_MAX_USES(s));
#endif
    (void)s;
    (void)e;
}

/* A cleared entry, or a cached error: neither is what a hit usually is. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_read_rare)(DLOAD_I_SHARD *s, DLOAD_I_SLOT *e)
{
    if ((DLOAD_I_META(e) & DLOAD_I_EPOCH_MASK) != s->epoch)
        return DLOAD_PENDING;
    DLOAD_I_FN(i_touch)(s, e);
    DLOAD_I_COUNT_HIT(s);
    return (dload_status)e->u.status;
}

/* A hit: DLOAD_OK and *out, or the cached error. A miss: DLOAD_PENDING. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_read)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                               const DLOAD_I_ID *id, DLOAD_I_V *out)
{
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_find)(s, id);
    if (DLOAD_I_UNLIKELY(e == NULL))
        return DLOAD_PENDING;
    uint32_t meta = DLOAD_I_META(e) ^ s->epoch;
#if DLOAD_TTL
    if ((meta & DLOAD_I_META_EXPIRES) != 0 && DLOAD_I_FN(i_expired)(c, s, e))
        return DLOAD_PENDING;
#endif
    (void)c;
    if (DLOAD_I_UNLIKELY(meta >= DLOAD_I_META_ERROR)) { /* one comparison for both */
        dload_status st = DLOAD_I_FN(i_read_rare)(s, e);
        return st < 0 ? st : DLOAD_ECORRUPT; /* so that compilers see: no success without a value */
    }
    DLOAD_I_FN(i_touch)(s, e);
    DLOAD_I_COUNT_HIT(s);
    return DLOAD_I_FN(i_copy)(out, &e->u.value);
}

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_TABLE */
