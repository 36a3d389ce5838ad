/* >>save -- a cache into a snapshot, while other calls go on.
 *
 * First every entry's worth is noted, a byte a slot; then the slots are gone through once for each worth,
 * the highest first, so that whoever reads the snapshot into a smaller cache may stop when it is full.
 * Entries are picked under their shard's lock, a few at a time, and written without it. Entries never change
 * their slot (but for a cache that grows, whose entries are worth the same): whoever is there all the time is
 * found.
 *
 * An entry: flags, uses and two bytes 0; the rest of its TTL in ns, if it expires; its group, if the loader
 * has them; the key, a string's length (4 bytes) before it; the value, a blob's or an encoded one's length
 * (8 bytes) before it, or the status of an error.
 */
#ifndef DLOAD_I_HAVE_SAVE
#define DLOAD_I_HAVE_SAVE

#include "control.h"

#if DLOAD_I_BODIES && DLOAD_SNAPSHOT

#define DLOAD_I_SNAPSHOT DLOAD_I_FN(snapshot)

/* Flags of an entry. */
#ifndef DLOAD_I_SAVED_EXPIRES
#define DLOAD_I_SAVED_EXPIRES 1u
#define DLOAD_I_SAVED_ERROR   2u
#define DLOAD_I_SAVED_MAIN    4u
#define DLOAD_I_SAVED_NULL    8u /* a blob without bytes */
#define DLOAD_I_SAVED_FLAGS   15u
#define DLOAD_I_SCAN_SLOTS    256u /* looked at under one lock */
#endif

/* An entry on its way out. Private. */
typedef struct DLOAD_I_FN(i_picked) {
    DLOAD_I_V value;
    uint64_t left_ns, group;
    DLOAD_I_K key; /* a string's bytes are in the saver's keys, one after the other */
    int32_t status;
    uint8_t flags, uses;
} DLOAD_I_FN(i_picked);

typedef struct DLOAD_I_FN(i_saver) {
    dload_i_snap out;
    const DLOAD_I_SNAPSHOT *how;
    DLOAD_I_CACHE *c;
    uint8_t *worth; /* by slot, shard after shard; 0 = nothing to write; NULL = all the same */
    size_t n_worth;
    char *keys; /* of the picks, when they are strings */
    size_t keys_cap, keys_len;
    size_t key_wanted; /* a key of so many bytes found no room there */
    uint32_t n_picks;
    uint32_t has[DLOAD_I_WORTH_MAX + 1]; /* how many entries there are of each worth */
    DLOAD_I_FN(i_picked) picks[DLOAD_I_TIDY_MAX];
} DLOAD_I_FN(i_saver);

/* What must be the same on both sides. How it is locked, evicted and counted need not be. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_layout)(const DLOAD_I_SNAPSHOT *how, bool encoded)
{
    uint64_t form = encoded ? 3u : DLOAD_I_VALUE_FORM;
    uint64_t part[6];
    part[0] = DLOAD_I_KEY_KIND;
    part[1] = DLOAD_I_IS_STRING ? 0 : sizeof(DLOAD_I_K);
    part[2] = form;
    part[3] = form == 1 ? sizeof(DLOAD_I_V) : 0;
    part[4] = DLOAD_GROUP;
    part[5] = how->value_version;
    return dload_i_sum(0, part, sizeof part);
}

DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_wall)(const DLOAD_I_SNAPSHOT *how)
{
    if (how->wall_ns != 0)
        return how->wall_ns;
    return dload_i_clock_wall();
}

/* ---- what an entry is worth ---- */

/* Notes the worth of a shard's entries; *worth is where its slots begin. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_weigh)(DLOAD_I_FN(i_saver) * v, DLOAD_I_SHARD *s, uint8_t *worth)
{
    uint32_t n_slots = s->n_groups * DLOAD_I_GROUP_SLOTS;
    dload_i_walk walk;
    dload_i_walk_begin(&walk);
    bool in_meta = dload_i_worth_in_meta(&s->evict);
    for (bool more = !in_meta; more;) {
        DLOAD_I_ACQUIRE(&s->lock);
        if (s->evict.links != NULL) {
            more = dload_i_walk_on(&s->evict, &walk, worth, s->n_used, DLOAD_I_SCAN_SLOTS);
        } else {
            dload_i_worth_by_queue(&s->evict, worth);
            more = false;
        }
        DLOAD_I_RELEASE(&s->lock);
    }
    for (uint32_t at = 0; at < n_slots; at += DLOAD_I_GROUP_SLOTS) {
        DLOAD_I_ACQUIRE(&s->lock);
        for (uint32_t i = at; i < at + DLOAD_I_GROUP_SLOTS; i++) {
            if (s->groups[at / DLOAD_I_GROUP_SLOTS].tags[i - at] == 0)
                worth[i] = 0; /* gone since it was seen in the queue */
            else if (in_meta)
                worth[i] = dload_i_worth(&s->evict, i);
            else if (worth[i] == 0)
                worth[i] = 1;
        }
        DLOAD_I_RELEASE(&s->lock);
        for (uint32_t i = at; i < at + DLOAD_I_GROUP_SLOTS; i++)
            v->has[worth[i]]++;
    }
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_weigh_all)(DLOAD_I_FN(i_saver) * v)
{
    DLOAD_I_CACHE *c = v->c;
    v->has[1] = 1;
    if (c->unbounded || DLOAD_EVICT == DLOAD_EVICT_NONE || c->n_shards == 0)
        return DLOAD_OK; /* nothing is known of them */
    for (uint32_t i = 0; i < c->n_shards; i++)
        v->n_worth += (size_t)c->shard[i].n_groups * DLOAD_I_GROUP_SLOTS;
    v->worth = (uint8_t *)dload_i_alloc(c->env, v->n_worth);
    if (v->worth == NULL)
        return DLOAD_ENOMEM;
    memset(v->worth, 0, v->n_worth);
    uint8_t *worth = v->worth;
    for (uint32_t i = 0; i < c->n_shards; i++) {
        DLOAD_I_FN(i_weigh)(v, &c->shard[i], worth);
        worth += (size_t)c->shard[i].n_groups * DLOAD_I_GROUP_SLOTS;
    }
    return DLOAD_OK;
}

/* ---- picking, with the shard's lock held ---- */

#if DLOAD_TTL
/* ns until the entry's TTL ends; 0 = it has, DLOAD_NEVER = it does not. Exact, like i_expired_far. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_left)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                          const DLOAD_I_SLOT *e, uint64_t now_ns)
{
    (void)c;
#if DLOAD_REFRESH
    if (now_ns >> DLOAD_I_TICK_SHIFT >= DLOAD_I_FN(i_gone)(s, e))
        return 0;
    if (e->end >= DLOAD_I_LAST_TICK - c->keep_ticks)
        return DLOAD_NEVER; /* it goes when nobody reads it */
    uint64_t end_ns = e->end << DLOAD_I_TICK_SHIFT;
#else
    uint64_t end_ns = dload_i_wheel_end(&s->wheel, (uint32_t)(e - s->slots), e->expiry)
                      << DLOAD_I_TICK_SHIFT;
#endif
    return end_ns > now_ns ? end_ns - now_ns : 0;
}
#endif

/* Makes room for a string key's bytes after those of the other picks, or says how much is wanted. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_pick_key)(DLOAD_I_FN(i_saver) * v, DLOAD_I_FN(i_picked) * p,
                                          const DLOAD_I_SLOT *e)
{
#if DLOAD_I_IS_STRING
    p->key.ptr = NULL;
    p->key.len = e->key.len;
    if (e->key.len > v->keys_cap - v->keys_len) {
        v->key_wanted = e->key.len;
        return false;
    }
    if (e->key.len != 0)
        memcpy(v->keys + v->keys_len, e->key.ptr, e->key.len);
    v->keys_len += e->key.len;
#else
    (void)v;
    p->key = e->key;
#endif
    return true;
}

/* Picks the entry in slot, if there is one to be saved. False when it has to be asked for again. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_pick)(DLOAD_I_FN(i_saver) * v, DLOAD_I_SHARD *s, uint32_t slot,
                                      uint64_t now_ns, dload_status *st)
{
    const DLOAD_I_SLOT *e = &s->slots[slot];
    DLOAD_I_FN(i_picked) *p = &v->picks[v->n_picks];
    if (s->groups[slot / DLOAD_I_GROUP_SLOTS].tags[slot % DLOAD_I_GROUP_SLOTS] == 0)
        return true;
    uint32_t meta = DLOAD_I_META(e);
    bool error = (meta & DLOAD_I_META_ERROR) != 0;
    if (((meta ^ s->epoch) & DLOAD_I_EPOCH_MASK) != 0 || (error && e->u.status != DLOAD_MISSING))
        return true;
    p->flags = (uint8_t)((error ? DLOAD_I_SAVED_ERROR : 0) |
                         ((meta & DLOAD_I_META_MAIN) != 0 ? DLOAD_I_SAVED_MAIN : 0));
    p->uses = (uint8_t)(meta & DLOAD_I_META_USES);
    p->left_ns = p->group = 0;
#if DLOAD_TTL
    if ((meta & DLOAD_I_META_EXPIRES) != 0) {
        p->left_ns = DLOAD_I_FN(i_left)(v->c, s, e, now_ns);
        p->flags |= p->left_ns != DLOAD_NEVER ? DLOAD_I_SAVED_EXPIRES : 0;
        if (p->left_ns == 0)
            return true;
    }
#endif
    (void)now_ns;
#if DLOAD_GROUP
    p->group = e->group;
#endif
    if (!DLOAD_I_FN(i_pick_key)(v, p, e))
        return false;
    if (error)
        p->status = e->u.status;
    else
        *st = DLOAD_I_FN(i_copy)(&p->value, &e->u.value);
    if (*st >= 0)
        v->n_picks++;
    return true;
}

/* ---- writing, without a lock ---- */

DLOAD_I_LOCAL void DLOAD_I_FN(i_put_front)(dload_i_snap *out, const DLOAD_I_FN(i_picked) * p)
{
    uint8_t head[4];
    head[0] = p->flags;
    head[1] = p->uses;
    head[2] = head[3] = 0;
    dload_i_snap_put(out, head, sizeof head);
    if ((p->flags & DLOAD_I_SAVED_EXPIRES) != 0)
        dload_i_snap_put(out, &p->left_ns, sizeof p->left_ns);
#if DLOAD_GROUP
    dload_i_snap_put(out, &p->group, sizeof p->group);
#endif
#if DLOAD_I_IS_STRING
    uint32_t len = (uint32_t)p->key.len;
    dload_i_snap_put(out, &len, sizeof len);
    dload_i_snap_put(out, p->key.ptr, p->key.len);
#else
    dload_i_snap_put(out, &p->key, sizeof p->key);
#endif
}

DLOAD_I_LOCAL size_t DLOAD_I_FN(i_front_bytes)(const DLOAD_I_FN(i_picked) * p)
{
    size_t n = 4 + ((p->flags & DLOAD_I_SAVED_EXPIRES) != 0 ? sizeof p->left_ns : 0);
    n += DLOAD_GROUP ? sizeof p->group : 0;
#if DLOAD_I_IS_STRING
    return n + sizeof(uint32_t) + p->key.len;
#else
    return n + sizeof p->key;
#endif
}

/* An entry whose value the user encodes, straight into the block. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_write_encoded)(DLOAD_I_FN(i_saver) * v,
                                                       const DLOAD_I_FN(i_picked) * p, size_t front)
{
    dload_i_snap *out = &v->out;
    size_t before = front + sizeof(uint64_t);
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        if (n > DLOAD_I_FRAME_MAX)
            return DLOAD_OK; /* left out */
        dload_status st = dload_i_snap_room(out, before + n);
        if (st < 0)
            return st == DLOAD_ETOOBIG ? DLOAD_OK : st;
        size_t cap = out->cap_bytes - sizeof(dload_i_frame) - out->n_bytes - before;
        n = 0;
        if (v->how->encode(v->how->ctx, &p->value, dload_i_snap_tail(out) + before, cap, &n) < 0)
            return DLOAD_OK;
        if (n > cap)
            continue;
        uint64_t n_bytes = n;
        DLOAD_I_FN(i_put_front)(out, p);
        dload_i_snap_put(out, &n_bytes, sizeof n_bytes);
        out->n_bytes += n;
        out->n_entries++;
        return DLOAD_OK;
    }
    return DLOAD_OK; /* it did not keep its word */
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_write_pick)(DLOAD_I_FN(i_saver) * v,
                                                    DLOAD_I_FN(i_picked) * p)
{
    dload_i_snap *out = &v->out;
    bool error = (p->flags & DLOAD_I_SAVED_ERROR) != 0;
    size_t front = DLOAD_I_FN(i_front_bytes)(p);
    if (!error && v->how->encode != NULL)
        return DLOAD_I_FN(i_write_encoded)(v, p, front);
#if DLOAD_I_VALUE_IS_BLOB
    uint64_t len = error ? 0 : p->value.len;
    const void *bytes = error ? NULL : p->value.ptr;
    size_t n = sizeof len + (size_t)len;
    if (!error && bytes == NULL)
        p->flags |= DLOAD_I_SAVED_NULL;
    if (len > DLOAD_I_FRAME_MAX)
        return DLOAD_OK; /* left out */
#else
    size_t n = sizeof p->value;
#endif
    dload_status st = dload_i_snap_room(out, front + (error ? sizeof p->status : n));
    if (st < 0)
        return st == DLOAD_ETOOBIG ? DLOAD_OK : st;
    DLOAD_I_FN(i_put_front)(out, p);
    if (error) {
        dload_i_snap_put(out, &p->status, sizeof p->status);
    } else {
#if DLOAD_I_VALUE_IS_BLOB
        dload_i_snap_put(out, &len, sizeof len);
        dload_i_snap_put(out, bytes, (size_t)len);
#else
        DLOAD_I_CLEAR_PADDING(&p->value);
        dload_i_snap_put(out, &p->value, n);
#endif
    }
    out->n_entries++;
    return DLOAD_OK;
}

/* Writes and releases what was picked. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_write_picks)(DLOAD_I_FN(i_saver) * v, dload_status st)
{
    size_t at = 0;
    for (uint32_t i = 0; i < v->n_picks; i++) {
        DLOAD_I_FN(i_picked) *p = &v->picks[i];
#if DLOAD_I_IS_STRING
        p->key.ptr = v->keys + at;
        at += p->key.len;
#endif
        if (st >= 0)
            st = DLOAD_I_FN(i_write_pick)(v, p);
        if ((p->flags & DLOAD_I_SAVED_ERROR) == 0)
            DLOAD_I_FN(i_release)(&p->value);
    }
    (void)at;
    v->n_picks = 0;
    v->keys_len = 0;
    if (st < 0 || v->key_wanted <= v->keys_cap)
        return st;
    dload_i_free(v->c->env, v->keys, v->keys_cap);
    v->keys_cap = v->key_wanted < 2048 ? 2048 : v->key_wanted;
    v->keys = (char *)dload_i_alloc(v->c->env, v->keys_cap);
    if (v->keys != NULL)
        return st;
    v->keys_cap = 0;
    return DLOAD_ENOMEM;
}

/* ---- the whole ---- */

/* Goes through a shard for the entries of one worth; worth is where its slots begin, or NULL. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_save_shard)(DLOAD_I_FN(i_saver) * v, DLOAD_I_SHARD *s,
                                                    const uint8_t *worth, uint32_t wanted)
{
    dload_status st = DLOAD_OK;
    uint32_t n_groups = 0;
    uint32_t at = 0;
    for (bool more = true; more && st >= 0;) {
        uint64_t now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(v->c) : 0;
        DLOAD_I_ACQUIRE(&s->lock);
        if (n_groups != s->n_groups)
            at = 0; /* it grew, and entries moved */
        n_groups = s->n_groups;
        uint32_t n_slots = n_groups * DLOAD_I_GROUP_SLOTS;
        uint32_t end = n_slots - at < DLOAD_I_SCAN_SLOTS ? n_slots : at + DLOAD_I_SCAN_SLOTS;
        for (; at < end && v->n_picks < DLOAD_I_TIDY_MAX && st >= 0; at++) {
            if ((worth == NULL || worth[at] == wanted) &&
                !DLOAD_I_FN(i_pick)(v, s, at, now_ns, &st))
                break;
        }
        more = at < n_slots;
        DLOAD_I_RELEASE(&s->lock);
        st = DLOAD_I_FN(i_write_picks)(v, st);
        while (worth != NULL && at < n_slots && worth[at] != wanted)
            at++;
    }
    return st;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_save_all)(DLOAD_I_FN(i_saver) * v)
{
    DLOAD_I_CACHE *c = v->c;
    dload_status st = dload_i_snap_put_info(&v->out, DLOAD_I_FN(i_wall)(v->how));
    if (st >= 0)
        st = DLOAD_I_FN(i_weigh_all)(v);
    for (uint32_t wanted = DLOAD_I_WORTH_MAX; wanted > 0; wanted--) {
        const uint8_t *worth = v->worth;
        for (uint32_t i = 0; i < c->n_shards && st >= 0 && v->has[wanted] != 0; i++) {
            st = DLOAD_I_FN(i_save_shard)(v, &c->shard[i], worth, wanted);
            if (worth != NULL)
                worth += (size_t)c->shard[i].n_groups * DLOAD_I_GROUP_SLOTS;
        }
    }
    return st >= 0 ? dload_i_snap_put_total(&v->out) : st;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_save)(DLOAD_I_CACHE *c, const DLOAD_I_SNAPSHOT *how,
                                              dload_status (*write)(void *, const void *, size_t),
                                              void *ctx, size_t *n)
{
    if (n != NULL)
        *n = 0;
    if (write == NULL || (DLOAD_I_VALUE_FORM == 0 && how->encode == NULL))
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    DLOAD_I_FN(i_saver) *v = (DLOAD_I_FN(i_saver) *)dload_i_alloc(c->env, sizeof *v);
    if (v == NULL)
        return DLOAD_ENOMEM;
    memset(v, 0, sizeof *v);
    int before = DLOAD_I_HOLD();
    v->c = c;
    v->how = how;
    dload_status st =
        dload_i_snap_begin(&v->out, c->env, DLOAD_I_FN(i_layout)(how, how->encode != NULL));
    v->out.write = write;
    v->out.ctx = ctx;
    if (st >= 0)
        st = DLOAD_I_FN(i_save_all)(v);
    if (n != NULL && st >= 0)
        *n = (size_t)v->out.n_total;
    dload_i_snap_end(&v->out);
    dload_i_free(c->env, v->worth, v->n_worth);
    dload_i_free(c->env, v->keys, v->keys_cap);
    dload_i_free(c->env, v, sizeof *v);
    DLOAD_I_UNHOLD(before);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_save)(DLOAD_I_CACHE *c, const DLOAD_I_SNAPSHOT *how,
                                                size_t *n)
{
    return how != NULL ? DLOAD_I_FN(i_save)(c, how, how->write, how->ctx, n) : DLOAD_EINVAL;
}

DLOAD_I_API dload_status DLOAD_I_FN(save)(DLOAD_NAME *l, const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    return DLOAD_I_FN(cache_save)(&l->cache, how, n);
}

#if !DLOAD_FREESTANDING

DLOAD_I_API dload_status DLOAD_I_FN(cache_save_file)(DLOAD_I_CACHE *c, const char *path,
                                                     const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    DLOAD_I_SNAPSHOT none;
    dload_i_file f;
    memset(&none, 0, sizeof none);
    if (path == NULL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    int before = DLOAD_I_HOLD();
    dload_status st = dload_i_file_create(&f, c->env, path);
    if (st >= 0) {
        st = DLOAD_I_FN(i_save)(c, how != NULL ? how : &none, dload_i_file_write, &f, n);
        st = dload_i_file_commit(&f, st);
    } else {
        dload_i_file_close(&f);
    }
    DLOAD_I_UNHOLD(before);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(save_file)(DLOAD_NAME *l, const char *path,
                                               const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    return DLOAD_I_FN(cache_save_file)(&l->cache, path, how, n);
}

#endif

#endif /* DLOAD_I_BODIES && DLOAD_SNAPSHOT */
#endif /* DLOAD_I_HAVE_SAVE */
