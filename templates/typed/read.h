/* >>read -- a hit without the lock.
 *
 * A reader copies the entry between two looks at the sequence number of its group: even and the same, and
 * key, value and expiry belong together. What it finds that way is a hit, whatever else happens to the
 * table meanwhile. What it does not find proves nothing: an error, an entry that may have expired, or a
 * writer in the way, and the caller looks again under the lock. A key of which there is no trace
 * (DLOAD_MISSING) may be on its way in, unless the caller holds the mutex under which keys come in. Nothing shared is written but the entry's count of uses, and that only when it changes.
 *
 * Table memory stays what it is until the cache is destroyed, grown out of or not, and so do the bytes of
 * string keys: a reader that comes late reads something old, and then finds the sequence changed.
 * tests/models/read.pml is this protocol, with what it rests on taken out bit by bit.
 */
#ifndef DLOAD_I_HAVE_READ
#define DLOAD_I_HAVE_READ

#include "weight.h"

#if DLOAD_I_BODIES && DLOAD_I_LOCKLESS

#define DLOAD_I_READ_TRIES 16u /* then the lock: writers must not starve a reader */
#define DLOAD_I_READ_BYTES \
    512u /* of values that fit between two looks; larger ones take the lock */

/* Is this the entry's key, in memory that may be changing? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_reads_as)(const DLOAD_I_SLOT *e, const DLOAD_I_ID *id)
{
#if DLOAD_GROUP
    if (DLOAD_I_LOAD_ACQUIRE(&e->group) != id->group)
        return false;
#endif
#if DLOAD_I_IS_STRING
    const char *ptr = DLOAD_I_LOAD_ACQUIRE(&e->key.ptr);
    return DLOAD_I_LOAD_ACQUIRE(&e->key.hash_hi) == (uint32_t)(id->hash >> 32) &&
           DLOAD_I_LOAD_ACQUIRE(&e->key.len) == id->key.len &&
           (id->key.len == 0 || dload_i_words_same(ptr, id->key.ptr, id->key.len));
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    return dload_i_words_same(&e->key, &id->key, sizeof e->key);
#else
    DLOAD_I_K key;
    __atomic_load(&e->key, &key, __ATOMIC_ACQUIRE);
    return DLOAD_I_FN(i_same)(&key, &id->key);
#endif
}

/* May the entry be read as it is: of this epoch, a value, surely not expired? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_surely_fresh)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                               const DLOAD_I_SLOT *e, uint32_t meta)
{
    uint32_t differs = meta ^ DLOAD_I_LOAD_RELAXED(&s->epoch);
    if (DLOAD_I_UNLIKELY(differs >= DLOAD_I_META_ERROR))
        return false;
#if DLOAD_TTL
    if ((meta & DLOAD_I_META_EXPIRES) != 0) {
        uint32_t expiry = DLOAD_I_LOAD_ACQUIRE(&e->expiry);
        uint64_t turned = DLOAD_I_LOAD_RELAXED(&s->tick);
#if DLOAD_CLOCK == DLOAD_CLOCK_MANUAL
        uint64_t tick = turned;
#else
        uint64_t tick = DLOAD_I_FN(i_now)(c) >> DLOAD_I_TICK_SHIFT;
#endif
        return tick - turned <= DLOAD_I_WHEEL_ROUND && (int32_t)((uint32_t)tick - expiry) < 0;
    }
#endif
    (void)c;
    (void)e;
    return true;
}

/* Counts the use, as far as a reader may. False: the policy wants the lock for that. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_used)(DLOAD_I_SHARD *s, DLOAD_I_SLOT *e, uint32_t meta)
{
#if DLOAD_EVICT == DLOAD_EVICT_LRU && DLOAD_TTL
    /* Moving the entry takes the lock, and is done once a tick; see i_touch. */
    (void)e;
    return (meta & DLOAD_I_META_USES) == (uint8_t)DLOAD_I_LOAD_RELAXED(&s->tick);
#elif DLOAD_EVICT == DLOAD_EVICT_LRU
    (void)e;
    (void)meta;
    return s->max_uses == 0;
#else
    dload_i_count_use(&e->meta, meta, DLOAD_I_MAX_USES(s));
    (void)s;
    return true;
#endif
}

/* The entry of a key in one group, if it is there and can be had; DLOAD_MISSING when it is not there,
 * DLOAD_EBUSY when a writer was in the way, DLOAD_PENDING otherwise. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_read_group)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                     const dload_i_group *g, DLOAD_I_SLOT *slots,
                                                     const dload_i_group *groups,
                                                     const DLOAD_I_ID *id, DLOAD_I_V *out)
{
    enum { UNIT = DLOAD_I_UNIT(sizeof(DLOAD_I_V), DLOAD_I_ALIGNOF(DLOAD_I_V)) };
    uint64_t words[DLOAD_I_WORDS_MAX(sizeof(DLOAD_I_V))];
    size_t seq = DLOAD_I_LOAD_ACQUIRE(&g->seq); /* mutant SEQ_READ_LATE */
    if (DLOAD_I_UNLIKELY((seq & 1u) != 0))
        return DLOAD_EBUSY; /* mutant ODD_SEQ_READ */
    for (dload_i_match m = dload_i_find_tag_shared(g, dload_i_tag(id->hash)); dload_i_match_any(m);
         m = dload_i_match_rest(m)) {
        DLOAD_I_SLOT *e = slots + dload_i_match_first(m);
        if (DLOAD_I_UNLIKELY(!DLOAD_I_FN(i_reads_as)(e, id)))
            continue;
        uint32_t meta = DLOAD_I_LOAD_ACQUIRE(&e->meta);
        if (DLOAD_I_UNLIKELY(!DLOAD_I_FN(i_surely_fresh)(c, s, e, meta)))
            return DLOAD_PENDING;
        dload_i_words_load(words, &e->u.value, sizeof(DLOAD_I_V), UNIT);
        /* The same state from first to last, and of the table that is in use: mutant SEQ_NOT_CHECKED. */
        if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&g->seq) != seq ||
                             DLOAD_I_LOAD_RELAXED(&s->groups) != groups))
            return DLOAD_EBUSY;
        if (DLOAD_I_UNLIKELY(!DLOAD_I_FN(i_used)(s, e, meta)))
            return DLOAD_PENDING;
        dload_i_words_give(out, words, sizeof(DLOAD_I_V), UNIT);
#if DLOAD_STATS
        dload_i_stripe_count(c->stripes);
#endif
        return DLOAD_OK;
    }
    return DLOAD_MISSING;
}

/* Keys that live outside their home group. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_read_far)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                     DLOAD_I_ID id, DLOAD_I_V *out)
{
    uint32_t n_groups = DLOAD_I_LOAD_ACQUIRE(&s->n_groups);
    const dload_i_group *groups = DLOAD_I_LOAD_ACQUIRE(&s->groups);
    DLOAD_I_SLOT *slots = DLOAD_I_LOAD_ACQUIRE(&s->slots);
    uint32_t reach = DLOAD_I_LOAD_RELAXED(&s->reach); /* too short while a table grows: no harm */
    uint32_t at = dload_i_home(id.hash, n_groups);
    for (uint32_t tried = 1; tried < n_groups && tried < reach; tried++) {
        if (DLOAD_I_LOAD_RELAXED(&groups[at].over[dload_i_class(id.hash)]) == 0)
            break;
        at = dload_i_next_group(at, n_groups);
        dload_status st = DLOAD_I_FN(i_read_group)(
            c, s, &groups[at], slots + (size_t)at * DLOAD_I_GROUP_SLOTS, groups, &id, out);
        if (st != DLOAD_MISSING)
            return st;
    }
    return DLOAD_MISSING;
}

/* A hit's DLOAD_OK and *out; otherwise nothing is known: DLOAD_EBUSY invites to try again, DLOAD_PENDING
 * says that only the lock will tell, and DLOAD_MISSING that nothing was seen. The number of groups is
 * read first: a table that grows is published in the opposite order, so that no home lies outside. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_read_free)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                    const DLOAD_I_ID *id, DLOAD_I_V *out)
{
    if (sizeof(DLOAD_I_V) > DLOAD_I_READ_BYTES)
        return DLOAD_PENDING;
    uint32_t n_groups = DLOAD_I_LOAD_ACQUIRE(&s->n_groups);
    const dload_i_group *groups = DLOAD_I_LOAD_ACQUIRE(&s->groups);
    DLOAD_I_SLOT *slots = DLOAD_I_LOAD_ACQUIRE(&s->slots);
    uint32_t at = dload_i_home(id->hash, n_groups);
    const dload_i_group *g = &groups[at];
    dload_status st = DLOAD_I_FN(i_read_group)(c, s, g, slots + (size_t)at * DLOAD_I_GROUP_SLOTS,
                                               groups, id, out);
    if (DLOAD_I_LIKELY(st != DLOAD_MISSING))
        return st;
    if (DLOAD_I_LOAD_RELAXED(&g->over[dload_i_class(id->hash)]) == 0)
        return DLOAD_MISSING;
    return DLOAD_I_FN(i_read_far)(c, s, *id, out);
}

#endif /* DLOAD_I_BODIES && DLOAD_I_LOCKLESS */
#endif /* DLOAD_I_HAVE_READ */
