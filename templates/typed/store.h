/* >>store -- a shard's memory: its layout, its growth, and the entry that comes in.
 *
 * Everything here works on one shard whose lock is held, like table.h.
 */
#ifndef DLOAD_I_HAVE_STORE
#define DLOAD_I_HAVE_STORE

#include "reach.h"

#if DLOAD_I_BODIES && !DLOAD_COMPACT

/* ---- memory ---- */

/* At the end of a block that a table has grown out of, where readers have no lock: they may look at it
 * until the shard is destroyed. */
typedef struct DLOAD_I_FN(i_outgrown) {
    void *next; /* the end of the block before */
    size_t n_bytes;
} DLOAD_I_FN(i_outgrown);

/* A reader without the lock may come to a slot before any key does, and what memory held before may look
 * like one, whose bytes are long gone: mutant SLOTS_NOT_ZEROED. */
DLOAD_I_INLINE void DLOAD_I_FN(i_blank_slots)(DLOAD_I_SLOT *slots, size_t n_slots)
{
#if DLOAD_I_IS_STRING && DLOAD_I_LOCKLESS
    memset(slots, 0, n_slots * sizeof *slots);
#endif
    (void)slots;
    (void)n_slots;
}

/* One block for all arrays of a shard of cap entries. False when there is no memory; then the shard is
 * as it was. The old block, if any, stays the caller's. */
DLOAD_I_COLD bool DLOAD_I_FN(i_shard_alloc)(const dload_env *env, DLOAD_I_SHARD *s, uint32_t cap,
                                            uint32_t kind)
{
    uint32_t n_groups = dload_i_groups_for(cap);
    size_t n_slots = dload_i_slots_for(cap);
    uint32_t ghosts = dload_i_ghost_limit(kind, cap);
    size_t total = 0;
    size_t slots_at = dload_i_carve(&total, n_slots, sizeof(DLOAD_I_SLOT));
    size_t links_at =
        dload_i_carve(&total, dload_i_evict_has_links(kind) ? n_slots : 0, sizeof(dload_i_link));
    bool queues = dload_i_evict_has_queues(kind);
#if DLOAD_TTL
    size_t n_blocks = dload_i_wheel_blocks_for(n_slots);
    size_t blocks_at = dload_i_carve(&total, n_blocks, sizeof(dload_i_wheel_block));
#endif
    size_t zeroed_at = dload_i_carve(&total, n_groups, sizeof(dload_i_group));
    size_t refs_at = dload_i_carve(&total, queues ? dload_i_fifo_chunks(cap) : 0,
                                   (DLOAD_I_CHAIN + 1) * sizeof(uint32_t));
    size_t more_at =
        dload_i_carve(&total, queues ? dload_i_fifo_more_size(cap) : 0, sizeof(dload_i_more));
    size_t ghost_at =
        dload_i_carve(&total, dload_i_ghost_pieces(ghosts), sizeof(dload_i_ghost_bucket));
    bool adaptive = DLOAD_EVICT == DLOAD_EVICT_ADAPTIVE && kind == DLOAD_EVICT_ADAPTIVE;
    size_t adaptive_at = dload_i_carve(&total, adaptive, sizeof(dload_i_adaptive));
    size_t words_at = dload_i_carve(&total, adaptive ? dload_i_adaptive_words(cap, n_slots) : 0,
                                    sizeof(uint32_t));
#if DLOAD_TTL
    size_t lanes_at = dload_i_carve(&total, n_blocks, DLOAD_I_WHEEL_LANES * sizeof(uint32_t));
#endif
#if DLOAD_I_WEIGHED
    size_t weights_at = dload_i_carve(&total, n_slots, sizeof(uint32_t));
#endif
    const size_t more = 64 + sizeof(DLOAD_I_FN(i_outgrown));
    if (total > SIZE_MAX - more)
        return false;
    char *block = (char *)dload_i_alloc(env, total + more);
    if (block == NULL)
        return false;
    char *base = (char *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    memset(base + zeroed_at, 0, total - zeroed_at);
    s->block = block;
    s->block_bytes = total + more;
    s->n_groups = n_groups;
    s->groups = (dload_i_group *)(void *)(base + zeroed_at);
    s->slots = (DLOAD_I_SLOT *)(void *)(base + slots_at);
    DLOAD_I_FN(i_blank_slots)(s->slots, n_slots);
    s->cap = cap;
    s->reach = DLOAD_I_REACH;
    s->reap_group = 0;
    s->evict.links =
        dload_i_evict_has_links(kind) ? (dload_i_link *)(void *)(base + links_at) : NULL;
    if (queues)
        dload_i_fifos_init(&s->evict.queues, cap, (uint32_t *)(void *)(base + refs_at),
                           (dload_i_more *)(void *)(base + more_at), s->groups);
    s->evict.meta = base + slots_at;
    s->evict.stride_bytes = sizeof(DLOAD_I_SLOT);
    s->evict.hash_of = DLOAD_I_FN(i_hash_of);
    dload_i_evict_init(&s->evict, kind, cap);
    dload_i_ghost_init(&s->evict.ghost, ghosts, base + ghost_at);
    s->evict.adaptive = adaptive ? (dload_i_adaptive *)(void *)(base + adaptive_at) : NULL;
    if (adaptive)
        dload_i_adaptive_init(s->evict.adaptive, (uint32_t *)(void *)(base + words_at), cap);
#if DLOAD_TTL
    s->wheel.blocks = (dload_i_wheel_block *)(void *)(base + blocks_at);
    s->wheel.lanes = (uint32_t *)(void *)(base + lanes_at);
    dload_i_wheel_init(&s->wheel, n_slots, s->wheel.now);
#endif
#if DLOAD_I_WEIGHED
    s->weights = (uint32_t *)(void *)(base + weights_at);
#endif
    return true;
}

/* Gives the shard's block back, or keeps it for readers. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_outgrow)(const dload_env *env, DLOAD_I_SHARD *s)
{
#if DLOAD_I_LOCKLESS
    DLOAD_I_FN(i_outgrown) last = {s->outgrown, s->block_bytes};
    memcpy((char *)s->block + s->block_bytes - sizeof last, &last, sizeof last);
    s->outgrown = (char *)s->block + s->block_bytes - sizeof last;
    s->outgrown_bytes += s->block_bytes;
    (void)env;
#else
    dload_i_free(env, s->block, s->block_bytes);
#endif
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_free_outgrown)(const dload_env *env, DLOAD_I_SHARD *s)
{
#if DLOAD_I_LOCKLESS
    while (s->outgrown != NULL) {
        DLOAD_I_FN(i_outgrown) last;
        memcpy(&last, s->outgrown, sizeof last);
        dload_i_free(env, (char *)s->outgrown + sizeof last - last.n_bytes, last.n_bytes);
        s->outgrown = last.next;
    }
#endif
    (void)env;
    (void)s;
}

/* The shard lives in wide's memory from now on. Published so that a reader who sees the new number of
 * groups also sees the new arrays: mutant GROWN_BACKWARDS. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_move_in)(const dload_env *env, DLOAD_I_SHARD *s,
                                         const DLOAD_I_SHARD *wide)
{
    DLOAD_I_FN(i_outgrow)(env, s);
    DLOAD_I_STORE_RELAXED(&s->reach, wide->reach);
    DLOAD_I_STORE_RELEASE(&s->slots, wide->slots);
    DLOAD_I_STORE_RELEASE(&s->groups, wide->groups);
    DLOAD_I_STORE_RELEASE(&s->n_groups, wide->n_groups);
    s->cap = wide->cap;
    s->reap_group = wide->reap_group;
    s->block = wide->block;
    s->block_bytes = wide->block_bytes;
    s->evict = wide->evict;
#if DLOAD_I_WEIGHED
    s->weights = wide->weights;
#endif
#if DLOAD_TTL
    s->wheel = wide->wheel;
#endif
}

/* Doubles an unbounded shard: every entry finds a place in a table twice the size. */
DLOAD_I_COLD bool DLOAD_I_FN(i_grow)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s)
{
    DLOAD_I_SHARD wide; /* readers go on in the old table until the new one is complete */
    memset(&wide, 0, sizeof wide);
#if DLOAD_TTL
    wide.wheel.now = s->wheel.now;
#endif
    if (s->cap > (UINT32_C(1) << 29) ||
        !DLOAD_I_FN(i_shard_alloc)(c->env, &wide, s->cap * 2, DLOAD_EVICT_NONE))
        return false;
    wide.evict.hash_key = s->evict.hash_key;
    uint32_t n_slots = s->n_groups * DLOAD_I_GROUP_SLOTS;
    for (uint32_t i = 0; i < n_slots; i++) {
        if (s->groups[i / DLOAD_I_GROUP_SLOTS].tags[i % DLOAD_I_GROUP_SLOTS] == 0)
            continue;
        const DLOAD_I_SLOT *e = &s->slots[i];
        uint64_t hash = DLOAD_I_FN(i_hash_of)(e, s->evict.hash_key);
        uint32_t slot =
            dload_i_take_far(wide.groups, wide.n_groups, hash, UINT32_MAX, &wide.long_probes);
        wide.slots[slot] = *e;
        uint32_t far = dload_i_groups_passed(wide.n_groups, hash, slot);
        wide.reach = far < wide.reach ? wide.reach : far + 1;
#if DLOAD_I_WEIGHED
        wide.weights[slot] = s->weights[i];
#endif
#if DLOAD_TTL
        if ((DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) != 0)
            wide.slots[slot].DLOAD_I_DUE = dload_i_wheel_arm(
                &wide.wheel, slot, dload_i_wheel_end(&s->wheel, i, e->DLOAD_I_DUE));
#endif
        dload_i_group_shut(&wide.groups[slot / DLOAD_I_GROUP_SLOTS]);
    }
    DLOAD_I_FN(i_move_in)(c->env, s, &wide);
    return true;
}

/* ... for an entry that finds no room. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_grow_for)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                  DLOAD_I_FN(item) * item)
{
    if (!DLOAD_I_FN(i_grow)(c, s))
        return DLOAD_ENOMEM;
    return DLOAD_I_FN(i_reach)(c, s, item) == DLOAD_EFULL ? DLOAD_EFULL : DLOAD_OK;
}

/* ---- the entry that comes in ---- */

/* The words of a live slot, as readers without the lock want them written. */
DLOAD_I_INLINE void DLOAD_I_FN(i_write_value)(DLOAD_I_SLOT *e, const DLOAD_I_V *value)
{
#if DLOAD_I_LOCKLESS
    dload_i_words_store(&e->u.value, value, sizeof *value,
                        DLOAD_I_UNIT(sizeof *value, DLOAD_I_ALIGNOF(DLOAD_I_V)));
#else
    e->u.value = *value;
#endif
}

DLOAD_I_INLINE void DLOAD_I_FN(i_write_key)(DLOAD_I_SLOT *e, const DLOAD_I_ID *id,
                                            const char *bytes)
{
#if DLOAD_GROUP
    DLOAD_I_STORE_RELEASE(&e->group, id->group);
#endif
#if DLOAD_I_IS_STRING
    DLOAD_I_STORE_RELEASE(&e->key.ptr, bytes);
    DLOAD_I_STORE_RELEASE(&e->key.len, (uint32_t)id->key.len);
    DLOAD_I_STORE_RELEASE(&e->key.hash_hi, (uint32_t)(id->hash >> 32));
#elif !DLOAD_I_LOCKLESS
    e->key = id->key;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    dload_i_words_store(&e->key, &id->key, sizeof e->key, 8);
#else
    __atomic_store(&e->key, (DLOAD_I_K *)(uintptr_t)&id->key, __ATOMIC_RELEASE);
#endif
    (void)bytes;
}

/* Writes what the entry is; its key and the rest of its meta word are there. */
DLOAD_I_INLINE void DLOAD_I_FN(i_fill)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint32_t slot,
                                       const DLOAD_I_FN(item) * item)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    if (item->status < 0) {
        DLOAD_I_META_WRITE(e, DLOAD_I_META(e) | DLOAD_I_META_ERROR);
        DLOAD_I_STORE_RELEASE(&e->u.status, item->status);
    } else {
        DLOAD_I_FN(i_write_value)(e, item->value);
    }
#if DLOAD_TTL
    DLOAD_I_FN(i_arm)(c, s, slot, item->now_ns, item->ttl_ns);
#endif
    DLOAD_I_FN(i_weigh_in)(s, slot, item);
    (void)c;
}

/* An entry that is there is to have a new value: what it has leaves, and its group is open from now on. Its
 * uses stay: writing is not reading. */
DLOAD_I_NOINLINE void DLOAD_I_FN(i_reopen)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint32_t slot,
                                           DLOAD_I_FN(item) * item)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    uint32_t meta = DLOAD_I_META(e);
    if (DLOAD_I_LEAVES && (meta & DLOAD_I_META_ERROR) == 0) {
        DLOAD_I_FN(i_leave)(e, DLOAD_I_FN(i_why)(c, s, e, DLOAD_REMOVED_REPLACED), &item->old);
        DLOAD_I_FN(i_leave_key)(&item->old, item); /* the entry keeps its own */
        item->garbage = true;
    }
    uint32_t keep = DLOAD_I_META_USES | DLOAD_I_META_MAIN | DLOAD_I_META_PINNED;
    bool cleared = (meta & DLOAD_I_EPOCH_MASK) != s->epoch;
    if (cleared) {
        s->n_live++; /* an entry from before a clear_all comes back to life, as a new one */
        DLOAD_I_FN(i_unweigh)(s, slot, false);
        if ((meta & DLOAD_I_META_PINNED) != 0)
            s->n_pinned--;
        else
            dload_i_evict_remove(&s->evict, DLOAD_EVICT, slot);
        keep = 0;
    }
    dload_i_group *g = &s->groups[slot / DLOAD_I_GROUP_SLOTS];
    dload_i_group_open(g); /* mutant REPLACED_UNSEEN */
    DLOAD_I_META_WRITE(e, (meta & keep) | s->epoch);
    if (cleared)
        dload_i_evict_insert(&s->evict, DLOAD_EVICT, slot, false);
    (void)c;
}

/* The policy's choice leaves. Nothing is cleared: every entry is live. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_evict)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                       DLOAD_I_FN(item) * item)
{
    uint64_t hash = 0;
    uint32_t slot = DLOAD_I_FN(i_victim)(s, &hash);
    dload_removal why = DLOAD_I_FN(i_why)(c, s, &s->slots[slot], DLOAD_REMOVED_EVICTED);
    dload_i_evict_pop(&s->evict, DLOAD_EVICT, slot);
    DLOAD_I_FN(i_unweigh)(s, slot, true);
    item->garbage = DLOAD_I_FN(i_vacate)(s, slot, hash, why, &item->old);
    s->n_live--;
    s->n_used--;
    s->evictions++;
}

/* Room for one more entry: at capacity somebody leaves, and where too many keys want the same place.
 * DLOAD_EFULL when nobody may, DLOAD_ENOMEM. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_make_room)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                   DLOAD_I_FN(item) * item)
{
    if (DLOAD_I_UNLIKELY(DLOAD_I_FN(i_crowded)(s, item->id.hash))) {
        dload_status st = DLOAD_I_FN(i_reach)(c, s, item);
        if (st == DLOAD_EFULL && c->unbounded && s->n_used > s->cap / 2)
            return DLOAD_I_FN(i_grow_for)(c, s, item); /* it may be the table that is small */
        if (st != DLOAD_PENDING)
            return st;
    }
    if (s->n_used < s->cap)
        return DLOAD_OK;
#if DLOAD_I_KILLS
    if (s->n_dead != 0) {
        item->garbage = DLOAD_I_FN(i_bury)(s, &item->old);
        return DLOAD_OK;
    }
#endif
    if (s->n_used > s->n_live) { /* what was cleared goes before anything that is there */
        item->garbage =
            DLOAD_I_FN(i_remove)(s, DLOAD_I_FN(i_stale)(s), DLOAD_REMOVED_CLEARED, &item->old);
        return DLOAD_OK;
    }
    if (c->unbounded)
        return DLOAD_I_FN(i_grow_for)(c, s, item);
    if (s->evict.kind == DLOAD_EVICT_NONE || s->n_pinned == s->n_used)
        return DLOAD_EFULL;
    DLOAD_I_FN(i_evict)(c, s, item);
    return DLOAD_OK;
}

/* A place for an entry that is not there, with its key; evicts when full. *slot, whose group is open from
 * now on. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_make_entry)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                    DLOAD_I_FN(item) * item, uint32_t *slot)
{
    const char *bytes = NULL;
#if DLOAD_I_IS_STRING
    if (!dload_i_arena_put(&s->arena, item->id.key.ptr, item->id.key.len, &bytes))
        return DLOAD_ENOMEM;
#endif
    bool was_ghost = dload_i_evict_meet(&s->evict, DLOAD_EVICT, item->id.hash, s->n_used >= s->cap);
    dload_status st = DLOAD_I_FN(i_make_room)(c, s, item);
    uint32_t at = DLOAD_I_NO_SLOT;
    if (DLOAD_I_LIKELY(st >= 0)) {
        at = dload_i_take_slot(s->groups, s->n_groups, item->id.hash, s->reach, &s->long_probes);
        if (DLOAD_I_UNLIKELY(at == DLOAD_I_NO_SLOT))
            st = DLOAD_EFULL;
    }
    if (DLOAD_I_UNLIKELY(st < 0)) {
#if DLOAD_I_IS_STRING
        dload_i_arena_drop(&s->arena, bytes, item->id.key.len);
#endif
        return st;
    }
    DLOAD_I_SLOT *e = &s->slots[at];
    DLOAD_I_FN(i_write_key)(e, &item->id, bytes);
    DLOAD_I_META_WRITE(e, s->epoch);
    s->n_used++;
    s->n_live++;
    dload_i_evict_insert(&s->evict, DLOAD_EVICT, at, was_ghost);
    *slot = at;
    return DLOAD_OK;
}

/* Puts an entry in place of an older one of the same key, or as a new one; evicts when full.
 * DLOAD_OK, and item->value now belongs to the cache; DLOAD_EFULL, DLOAD_ENOMEM or, while changes of keys may
 * go unheard, DLOAD_ECANCELED, and it does not.
 * In either case item->garbage says that item->old is to be released, unlocked. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_put)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                DLOAD_I_FN(item) * item)
{
    dload_status st = DLOAD_OK;
    uint32_t slot = 0;
    bool more = false;
    item->garbage = false;
#if DLOAD_I_KILLS
    item->dead = false;
#endif
#if DLOAD_STORE
    if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&c->deaf)))
        return DLOAD_ECANCELED; /* mutant DEAF_CACHES */
#endif
    if (!DLOAD_I_LEAVES && DLOAD_I_UNLIKELY(DLOAD_I_FN(i_untidy)(s, item->now_ns)))
        (void)DLOAD_I_FN(i_tidy)(s, item->now_ns, NULL, DLOAD_I_GROUP_SLOTS, &more);
    dload_i_evict_prefetch_key(&s->evict, DLOAD_EVICT, item->id.hash);
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_find)(s, &item->id);
#if DLOAD_I_WEIGHED
    st = DLOAD_I_FN(i_make_light)(c, s, item, &e);
#endif
    if (e != NULL && st >= 0) {
        slot = DLOAD_I_FN(i_slot_of)(s, e);
        DLOAD_I_FN(i_reopen)(c, s, slot, item); /* mutant REPLACED_UNSEEN */
    } else if (st >= 0) {
        st = DLOAD_I_FN(i_make_entry)(c, s, item, &slot);
    }
    if (DLOAD_I_UNLIKELY(st < 0)) {
        s->skipped++;
        return st;
    }
    DLOAD_I_FN(i_fill)(c, s, slot, item);
    dload_i_group_shut(&s->groups[slot / DLOAD_I_GROUP_SLOTS]);
    return DLOAD_OK;
}

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_STORE */
