/* >>restore -- a snapshot back into a cache.
 *
 * Every block is checked before anything in it is believed. What is there already, or on its way, is newer
 * than the snapshot and stays; what was cleared stays cleared; nothing is evicted.
 */
#ifndef DLOAD_I_HAVE_RESTORE
#define DLOAD_I_HAVE_RESTORE

#include "save.h"

#if DLOAD_I_BODIES && DLOAD_SNAPSHOT

typedef struct DLOAD_I_FN(i_restorer) {
    dload_i_snap in;
    const DLOAD_I_SNAPSHOT *how;
    DLOAD_I_CACHE *c;
    DLOAD_NAME *l; /* whose cache it is; NULL = nobody's */
    uint64_t age_ns;
    uint64_t n; /* entries that came */
} DLOAD_I_FN(i_restorer);

/* Puts an entry as one that was used before, under the locks it takes: true when it is in the cache. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_revive)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_FN(item) * item,
                                        const DLOAD_I_FN(i_picked) * p, dload_status *st)
{
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, &item->id);
    if ((e != NULL && ((DLOAD_I_META(e) ^ s->epoch) & DLOAD_I_EPOCH_MASK) == 0) ||
        (!c->unbounded && s->n_live >= s->cap))
        return false;
#if DLOAD_I_WEIGHED
    if (item->status >= 0 && (uint64_t)(DLOAD_WEIGHT(item->value)) > s->max_weight - s->weight)
        return false; /* what came before it is worth more */
#endif
    *st = DLOAD_I_FN(i_put)(c, s, item);
    if (*st < 0)
        return false;
    e = DLOAD_I_FN(i_locate)(s, &item->id);
    if ((DLOAD_I_META(e) & DLOAD_I_META_PINNED) == 0)
        dload_i_evict_revive(&s->evict, DLOAD_I_FN(i_slot_of)(s, e), p->uses,
                             (p->flags & DLOAD_I_SAVED_MAIN) != 0);
    return true;
}

/* Brings one entry, whose value is ours to give or to release. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_bring_back)(DLOAD_I_FN(i_restorer) * r,
                                                    DLOAD_I_FN(i_picked) * p, uint64_t now_ns)
{
    DLOAD_I_CACHE *c = r->c;
    DLOAD_I_FN(item) item;
    bool error = (p->flags & DLOAD_I_SAVED_ERROR) != 0;
    bool came = false;
    dload_status st = DLOAD_OK;
    item.id = DLOAD_I_FN(i_id)(c, p->key, p->group);
    item.value = &p->value;
    item.status = error ? p->status : DLOAD_OK;
    item.ttl_ns = (p->flags & DLOAD_I_SAVED_EXPIRES) != 0 ? p->left_ns : DLOAD_NEVER;
    item.now_ns = now_ns;
    item.garbage = false;
#if DLOAD_I_KILLS
    item.dead = false;
#endif
    DLOAD_I_FN(i_before_store)(c, &item);
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, item.id.hash);
    if (r->l != NULL)
        DLOAD_I_ACQUIRE(&r->l->mutex);
    if (r->l == NULL || (!DLOAD_I_FN(i_cleared_since)(r->l, &item.id, 0) &&
                         DLOAD_I_FN(i_flight)(r->l, &item.id) == NULL)) {
        DLOAD_I_ACQUIRE(&s->lock);
        came = DLOAD_I_FN(i_revive)(c, s, &item, p, &st);
        DLOAD_I_RELEASE(&s->lock);
    }
    if (r->l != NULL)
        DLOAD_I_LEAVE(r->l);
    if (!came && !error)
        DLOAD_I_FN(i_release)(&p->value);
    DLOAD_I_FN(i_after_store)(c, &item, DLOAD_OK);
    r->n += came;
    return st == DLOAD_EFULL ? DLOAD_OK : st;
}

/* ---- from bytes to an entry ---- */

/* DLOAD_ECORRUPT: what the checksum let pass no save has written. DLOAD_ETOOBIG: longer than allowed here. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_take_key)(DLOAD_I_FN(i_restorer) * r,
                                                  DLOAD_I_FN(i_picked) * p)
{
#if DLOAD_I_IS_STRING
    uint32_t len = 0;
    if (!dload_i_snap_get(&r->in, &len, sizeof len))
        return DLOAD_ECORRUPT;
    p->key.ptr = dload_i_snap_take(&r->in, len);
    p->key.len = len;
    if (p->key.ptr == NULL)
        return DLOAD_ECORRUPT;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_BOOL
    uint8_t byte = 0;
    if (!dload_i_snap_get(&r->in, &byte, sizeof byte))
        return DLOAD_ECORRUPT;
    p->key = (DLOAD_I_K)(byte != 0);
#else
    if (!dload_i_snap_get(&r->in, &p->key, sizeof p->key))
        return DLOAD_ECORRUPT;
#endif
    dload_status st = DLOAD_I_FN(i_canon)(&p->key, r->c->max_key_bytes);
    return st == DLOAD_EKEY ? DLOAD_ECORRUPT : st;
}

/* Makes the value; DLOAD_EDECODE when this one is to be left out. wanted: the key may come in. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_take_value)(DLOAD_I_FN(i_restorer) * r,
                                                    DLOAD_I_FN(i_picked) * p, bool wanted)
{
    dload_i_snap *in = &r->in;
    if ((p->flags & DLOAD_I_SAVED_ERROR) != 0)
        return !dload_i_snap_get(in, &p->status, sizeof p->status) || p->status >= 0 ||
                       p->status == DLOAD_PENDING
                   ? DLOAD_ECORRUPT
                   : DLOAD_OK;
    if (DLOAD_I_VALUE_FORM == 1 && r->how->decode == NULL)
        return dload_i_snap_get(in, &p->value, sizeof p->value) ? DLOAD_OK : DLOAD_ECORRUPT;
    uint64_t len = 0;
    if (!dload_i_snap_get(in, &len, sizeof len))
        return DLOAD_ECORRUPT;
    const char *bytes = dload_i_snap_take(in, len);
    if (bytes == NULL)
        return DLOAD_ECORRUPT;
    if (!wanted)
        return DLOAD_EDECODE;
    if (r->how->decode != NULL)
        return r->how->decode(r->how->ctx, bytes, (size_t)len, &p->value) < 0 ? DLOAD_EDECODE
                                                                              : DLOAD_OK;
#if DLOAD_I_VALUE_IS_BLOB
    p->value.ptr = NULL;
    p->value.len = 0;
    if ((p->flags & DLOAD_I_SAVED_NULL) == 0)
        return dload_blob_make(r->c->env, bytes, (size_t)len, &p->value);
#endif
    return DLOAD_OK;
}

/* One entry of the block, which has been verified. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_take_entry)(DLOAD_I_FN(i_restorer) * r, uint64_t now_ns)
{
    DLOAD_I_FN(i_picked) p;
    uint8_t head[4];
    if (!dload_i_snap_get(&r->in, head, sizeof head) || (head[0] & ~DLOAD_I_SAVED_FLAGS) != 0)
        return DLOAD_ECORRUPT;
    p.flags = head[0];
    p.uses = head[1];
    p.left_ns = p.group = 0;
    p.status = DLOAD_OK;
    bool expires = (p.flags & DLOAD_I_SAVED_EXPIRES) != 0;
    if (expires && !dload_i_snap_get(&r->in, &p.left_ns, sizeof p.left_ns))
        return DLOAD_ECORRUPT;
#if DLOAD_GROUP
    if (!dload_i_snap_get(&r->in, &p.group, sizeof p.group))
        return DLOAD_ECORRUPT;
#endif
    dload_status st = DLOAD_I_FN(i_take_key)(r, &p);
    if (st < 0 && st != DLOAD_ETOOBIG)
        return st;
    /* Without TTLs nothing that expires may come in: it would stay for ever. */
    bool wanted =
        st >= 0 && r->c->n_shards != 0 && (!expires || (DLOAD_TTL && p.left_ns > r->age_ns));
    st = DLOAD_I_FN(i_take_value)(r, &p, wanted);
    if (st == DLOAD_EDECODE || (st >= 0 && !wanted))
        return DLOAD_OK;
    if (st < 0)
        return st;
    p.left_ns -= expires ? r->age_ns : 0;
    return DLOAD_I_FN(i_bring_back)(r, &p, now_ns);
}

/* ---- the whole ---- */

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_restore_all)(DLOAD_I_FN(i_restorer) * r)
{
    dload_i_snap *in = &r->in;
    uint64_t saved_ns = 0;
    dload_status st = dload_i_snap_get_info(in, &saved_ns);
    r->age_ns = dload_i_snap_age(saved_ns, DLOAD_I_FN(i_wall)(r->how));
    while (st >= 0) {
        st = dload_i_snap_next(in);
        if (st < 0)
            break;
        if (in->kind == DLOAD_I_FRAME_ENDS)
            return dload_i_snap_get_total(in);
        uint64_t now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(r->c) : 0;
        for (uint32_t i = 0; i < in->n_entries && st >= 0; i++)
            st = DLOAD_I_FN(i_take_entry)(r, now_ns);
        if (st >= 0 && in->at != in->n_bytes)
            st = DLOAD_ECORRUPT;
    }
    return st;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_restore)(DLOAD_I_CACHE *c, DLOAD_NAME *l,
                                                 const DLOAD_I_SNAPSHOT *how, dload_i_snap *in,
                                                 size_t *n)
{
    if (n != NULL)
        *n = 0;
    if (in->read == NULL || (DLOAD_I_VALUE_FORM == 0 && how->decode == NULL))
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    DLOAD_I_FN(i_restorer) r;
    r.how = how;
    r.c = c;
    r.l = l;
    r.age_ns = r.n = 0;
    int before = DLOAD_I_HOLD();
    dload_status st =
        dload_i_snap_begin(&r.in, c->env, DLOAD_I_FN(i_layout)(how, how->decode != NULL));
    r.in.read = in->read;
    r.in.ctx = in->ctx;
    if (st >= 0)
        st = DLOAD_I_FN(i_restore_all)(&r);
    if (n != NULL)
        *n = (size_t)r.n;
    dload_i_snap_end(&r.in);
    DLOAD_I_UNHOLD(before);
    return st;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_restore_from)(DLOAD_I_CACHE *c, DLOAD_NAME *l,
                                                      const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    dload_i_snap in;
    if (how == NULL)
        return DLOAD_EINVAL;
    memset(&in, 0, sizeof in);
    in.read = how->read;
    in.ctx = how->ctx;
    return DLOAD_I_FN(i_restore)(c, l, how, &in, n);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_restore)(DLOAD_I_CACHE *c, const DLOAD_I_SNAPSHOT *how,
                                                   size_t *n)
{
    return DLOAD_I_FN(i_restore_from)(c, NULL, how, n);
}

DLOAD_I_API dload_status DLOAD_I_FN(restore)(DLOAD_NAME *l, const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    return DLOAD_I_FN(i_restore_from)(&l->cache, l, how, n);
}

#if !DLOAD_FREESTANDING

/* Checks all of the file, then goes back to its beginning and puts what is in it. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_restore_file)(DLOAD_I_CACHE *c, DLOAD_NAME *l,
                                                      const char *path, const DLOAD_I_SNAPSHOT *how,
                                                      size_t *n)
{
    DLOAD_I_SNAPSHOT none;
    dload_i_snap in;
    dload_i_file f;
    memset(&none, 0, sizeof none);
    how = how != NULL ? how : &none;
    if (n != NULL)
        *n = 0;
    if (path == NULL || (DLOAD_I_VALUE_FORM == 0 && how->decode == NULL))
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    int before = DLOAD_I_HOLD();
    dload_status st = dload_i_file_find(&f, c->env, path);
    if (st >= 0) {
        st = dload_i_snap_begin(&in, c->env, DLOAD_I_FN(i_layout)(how, how->decode != NULL));
        in.read = dload_i_file_read;
        in.ctx = &f;
        if (st >= 0)
            st = dload_i_snap_verify(&in);
        dload_i_snap_end(&in);
        if (st >= 0)
            st = dload_i_file_rewind(&f);
        if (st >= 0)
            st = DLOAD_I_FN(i_restore)(c, l, how, &in, n);
    }
    dload_i_file_close(&f);
    DLOAD_I_UNHOLD(before);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_restore_file)(DLOAD_I_CACHE *c, const char *path,
                                                        const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    return DLOAD_I_FN(i_restore_file)(c, NULL, path, how, n);
}

DLOAD_I_API dload_status DLOAD_I_FN(restore_file)(DLOAD_NAME *l, const char *path,
                                                  const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    return DLOAD_I_FN(i_restore_file)(&l->cache, l, path, how, n);
}

#endif

#endif /* DLOAD_I_BODIES && DLOAD_SNAPSHOT */
#endif /* DLOAD_I_HAVE_RESTORE */
