/* dataloader_redis/clear.h -- removing all keys that begin with something; a part of dataloader_redis.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * SCAN promises every name that is there from its begin to its end. Leases go first, in a walk of their own: else
 * somebody could fill a value behind the walk by a lease that the walk had not come to, with what was fetched
 * before the clear. After the first walk no old lease is left, and what was filled until then the second one finds.
 */
#ifndef DLOAD_REDIS_OPS_H
#error "dataloader_redis/clear.h: include dataloader_redis.h instead"
#endif

#ifndef DLOAD_REDIS_CLEAR_H
#define DLOAD_REDIS_CLEAR_H

#define DLOAD_REDIS_I_PAGE 1000u

/* The pattern of all names, of leases or of values, whose keys begin with the item's. *cap bytes at the result are
 * for dload_i_free; NULL: no memory. */
DLOAD_I_LOCAL char *dload_redis_i_pattern(dload_redis_i_job *j, const dload_store_item *item,
                                          bool leases, size_t *n_bytes, size_t *cap)
{
    const dload_str prefix = j->r->prefix;
    const bool all = prefix.len + item->key_bytes == 0;
    size_t name_bytes = 0;
    const char *name = dload_redis_i_name(j, item, &name_bytes);
    *cap = 2 * name_bytes + 16;
    char *pattern = name != NULL ? (char *)dload_i_alloc(j->r->store.env, *cap) : NULL;
    if (pattern == NULL)
        return NULL;
    char *p = pattern;
    if (leases)
        *p++ = '{';
    if (!all)
        p += dload_redis_i_put_glob(p, name + 1, name_bytes);
    *p++ = '*';
    if (leases) {
        memcpy(p, DLOAD_REDIS_I_BEHIND, DLOAD_REDIS_I_BEHIND_BYTES);
        p += DLOAD_REDIS_I_BEHIND_BYTES;
    }
    *n_bytes = (size_t)(p - pattern);
    return pattern;
}

/* Is this found name one of ours? Patterns also match names that other programs made. */
DLOAD_I_LOCAL bool dload_redis_i_ours(const dload_redis_store *r, bool leases,
                                      const redisReply *name)
{
    const char *p = name->str;
    size_t n = name->len, key_bytes = 0;
    if (leases) {
        if (n < 1 + DLOAD_REDIS_I_BEHIND_BYTES)
            return false;
        p += 1;
        n -= 1 + DLOAD_REDIS_I_BEHIND_BYTES;
    }
    return dload_redis_key_of_name(r->prefix.ptr, p, n, NULL, &key_bytes);
}

/* Begins to remove the names of a page that are ours, in *n_sent commands. False: a name is no string. */
DLOAD_I_LOCAL bool dload_redis_i_unlink_page(dload_redis_i_job *j, bool leases,
                                             const redisReply *page, size_t *n_sent)
{
    dload_redis_conn *c = &j->l->conn;
    size_t n = 0;
    for (size_t i = 0; i < page->elements; i++) {
        if (page->element[i]->type != REDIS_REPLY_STRING)
            return false;
        n += dload_redis_i_ours(j->r, leases, page->element[i]);
    }
    *n_sent = j->clustered ? 2 * n : n != 0;
    if (n != 0 && !j->clustered) {
        (void)dload_redis_begin(c, 1 + n);
        (void)dload_redis_text(c, "UNLINK");
    }
    for (size_t i = 0; i < page->elements && n != 0; i++) {
        if (!dload_redis_i_ours(j->r, leases, page->element[i]))
            continue;
        if (j->clustered) {
            (void)dload_redis_begin(c, 1);
            (void)dload_redis_text(c, "ASKING");
            (void)dload_redis_begin(c, 2);
            (void)dload_redis_text(c, "UNLINK");
        }
        (void)dload_redis_arg(c, page->element[i]->str, page->element[i]->len);
    }
    return true;
}

/* Looks at a reply to SCAN: [cursor, [name, ...]]. */
DLOAD_I_LOCAL bool dload_redis_i_read_page(dload_redis_i_job *j, dload_redis_i_walk *w,
                                           const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return false;
    const redisReply *cursor = reply->element[0], *page = reply->element[1];
    if (cursor->type != REDIS_REPLY_STRING || cursor->len == 0 || cursor->len >= sizeof w->cursor ||
        page->type != REDIS_REPLY_ARRAY)
        return false;
    for (size_t i = 0; i < cursor->len; i++) {
        if (cursor->str[i] < '0' || cursor->str[i] > '9')
            return false;
    }
    memcpy(w->cursor, cursor->str, cursor->len);
    w->cursor[cursor->len] = '\0';
    return dload_redis_i_unlink_page(j, w->pass == 0, page, &w->n_owed);
}

/* Asks for the next page, when there is one; DLOAD_ETIMEDOUT: the time is over. */
DLOAD_I_LOCAL dload_status dload_redis_i_scan(dload_redis_i_job *j, dload_redis_i_walk *w)
{
    dload_redis_conn *c = &j->l->conn;
    if (dload_redis_now() >= j->until_ns)
        return dload_redis_close(c, DLOAD_ETIMEDOUT, "a clear took too long");
    (void)dload_redis_begin(c, 6);
    (void)dload_redis_text(c, "SCAN");
    (void)dload_redis_text(c, w->cursor);
    (void)dload_redis_text(c, "MATCH");
    (void)dload_redis_arg(c, w->pattern, w->pattern_bytes);
    (void)dload_redis_text(c, "COUNT");
    (void)dload_redis_number(c, DLOAD_REDIS_I_PAGE);
    w->scans = true;
    return c->state == DLOAD_REDIS_READY ? dload_redis_i_send(c) : c->status;
}

/* Takes the reply to a SCAN: removes what is on the page, and asks for the next one in the same write. */
DLOAD_I_LOCAL dload_status dload_redis_i_take_page(dload_redis_i_job *j, dload_redis_i_walk *w,
                                                   const redisReply *reply)
{
    if (w->said != DLOAD_OK) {
        memcpy(w->cursor, "0", 2); /* the walk is over */
        return DLOAD_OK;
    }
    if (!dload_redis_i_read_page(j, w, reply))
        return dload_redis_close(&j->l->conn, DLOAD_EBACKEND,
                                 "a reply of another kind than asked for");
    return strcmp(w->cursor, "0") != 0 ? dload_redis_i_scan(j, w) : dload_redis_i_send(&j->l->conn);
}

/* Takes a reply, to UNLINK (on a cluster to ASKING and UNLINK) or to SCAN. DLOAD_PENDING: none came. */
DLOAD_I_LOCAL dload_status dload_redis_i_take_of_walk(dload_redis_i_job *j, dload_redis_i_walk *w)
{
    redisReply *reply = NULL;
    bool ok = true;
    dload_status st = dload_redis_next(&j->l->conn, &reply);
    if (st != DLOAD_OK)
        return st;
    const bool unlinks = w->n_owed != 0, error = reply->type == REDIS_REPLY_ERROR;
    const bool asks = unlinks && j->clustered && w->n_owed % 2 == 0;
    if (unlinks)
        w->n_owed--;
    else
        w->scans = false;
    if (asks) {
        ok = reply->type == REDIS_REPLY_STATUS;
    } else if (error && unlinks && j->clustered &&
               (dload_redis_i_begins(reply, "ASK ") || dload_redis_i_begins(reply, "MOVED "))) {
        j->gone = true;
    } else if (error) {
        w->said = dload_redis_i_refusal(j, reply);
        memcpy(w->cursor, "0", 2); /* the walk is over */
    } else if (unlinks) {
        ok = reply->type == REDIS_REPLY_INTEGER;
    } else {
        st = dload_redis_i_take_page(j, w, reply);
    }
    dload_redis_reply_free(reply);
    if (!ok)
        return dload_redis_close(&j->l->conn, DLOAD_EBACKEND,
                                 "a reply of another kind than asked for");
    return st;
}

/* Gives back what a walk has. */
DLOAD_I_LOCAL void dload_redis_i_end_walk(dload_redis_i_job *j)
{
    if (j->walk.pattern != NULL)
        dload_i_free(j->r->store.env, j->walk.pattern, j->walk.pattern_cap);
    j->walk.pattern = NULL;
}

/* Begins a walk. */
DLOAD_I_LOCAL dload_status dload_redis_i_begin_walk(dload_redis_i_job *j, dload_redis_i_walk *w)
{
    w->pattern = dload_redis_i_pattern(j, &j->op->items[0], w->pass == 0, &w->pattern_bytes,
                                       &w->pattern_cap);
    if (w->pattern == NULL)
        return DLOAD_ENOMEM;
    memcpy(w->cursor, "0", 2);
    w->begun = true;
    return dload_redis_i_scan(j, w);
}

/* CLEAR: removes leases, then values, whose keys begin with the first item's; as far as is possible without waiting. Returns
 * DLOAD_OK when it is through; DLOAD_PENDING; otherwise it has failed. */
DLOAD_I_LOCAL dload_status dload_redis_i_go_on_clearing(dload_redis_i_job *j)
{
    dload_redis_i_walk *w = &j->walk;
    dload_status st = DLOAD_OK;
    while (st == DLOAD_OK && w->pass < 2) {
        if (w->n_owed != 0 || w->scans) {
            st = dload_redis_i_take_of_walk(j, w);
        } else if (w->begun) {
            dload_redis_i_end_walk(j);
            w->begun = false;
            w->pass = w->said == DLOAD_OK ? w->pass + 1 : 2;
        } else {
            st = dload_redis_i_begin_walk(j, w);
        }
    }
    for (size_t i = 0; i < j->op->n && st == DLOAD_OK; i++)
        j->op->items[i].status = i == 0 ? w->said : DLOAD_EINVAL; /* there is one prefix */
    return st;
}

#endif /* DLOAD_REDIS_CLEAR_H */
