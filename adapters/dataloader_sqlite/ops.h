/* dataloader_sqlite/ops.h -- what each kind of request does with a connection; a part of dataloader_sqlite.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Here: reading many keys by one statement, writing in one transaction, leases, and what ends entries: age,
 * size, clears. All of it is told a connection that nobody else uses meanwhile, and answers what SQLite said.
 * Not here: opening and errors (dataloader_sqlite/conn.h); threads and the store (dataloader_sqlite.h).
 */
#ifndef DATALOADER_SQLITE_OPS_H
#define DATALOADER_SQLITE_OPS_H

#include "conn.h"

#define DLOAD_SQLITE_I_MAX_GET   256u  /* keys that one statement reads */
#define DLOAD_SQLITE_I_ROOM      4096u /* the first block of values; later ones are larger */
#define DLOAD_SQLITE_I_ROOM_MOST (256u * 1024u)
#define DLOAD_SQLITE_I_PURGE_MORE \
    16 /* expired rows that a write removes, and two for each of its own */
#define DLOAD_SQLITE_I_EVICT_TURNS 64
#define DLOAD_SQLITE_I_LEASES_MS   10000 /* expired leases are looked for so often */

/* ---- values that were read ---- */

/* Bytes of values, in blocks; op->results is the newest one. Private. */
typedef struct dload_sqlite_i_room {
    struct dload_sqlite_i_room *next;
    size_t used_bytes, bytes; /* of what follows */
    size_t pad;               /* what follows begins at a multiple of 16 */
} dload_sqlite_i_room;

DLOAD_I_LOCAL void dload_sqlite_i_release(dload_store *s, dload_store_op *op)
{
    dload_sqlite_i_room *room = (dload_sqlite_i_room *)op->results;
    while (room != NULL) {
        dload_sqlite_i_room *next = room->next;
        dload_i_free(s->env, room, sizeof *room + room->bytes);
        room = next;
    }
    op->results = NULL;
}

/* A place for a value's bytes, aligned as malloc's; NULL = no memory. */
DLOAD_I_LOCAL void *dload_sqlite_i_place(dload_sqlite *q, dload_store_op *op, size_t n_bytes)
{
    dload_sqlite_i_room *room = (dload_sqlite_i_room *)op->results;
    const size_t need = (n_bytes + 15) & ~(size_t)15; /* SQLite's lengths are far from overflow */
    if (room == NULL || room->bytes - room->used_bytes < need) {
        size_t bytes = room == NULL ? DLOAD_SQLITE_I_ROOM : room->bytes * 2;
        bytes = bytes < DLOAD_SQLITE_I_ROOM_MOST ? bytes : DLOAD_SQLITE_I_ROOM_MOST;
        bytes = bytes > need ? bytes : need;
        dload_sqlite_i_room *more =
            (dload_sqlite_i_room *)dload_i_alloc(q->store.env, sizeof *more + bytes);
        if (more == NULL)
            return NULL;
        more->next = room;
        more->used_bytes = 0;
        more->bytes = bytes;
        more->pad = 0;
        op->results = room = more;
    }
    char *p = (char *)(room + 1) + room->used_bytes;
    room->used_bytes += need;
    return p;
}

/* ---- reading ---- */

/* "WITH w(i,k) AS (VALUES(0,?1),(1,?2),...) SELECT ...": of the ways to read n keys the fastest; see the head
 * of dataloader_sqlite.h. Keys beyond those asked for are NULL and match nothing. */
DLOAD_I_LOCAL int dload_sqlite_i_get_statement(dload_sqlite_i_conn *c, unsigned size,
                                               sqlite3_stmt **to)
{
    const unsigned n_keys = 1u << size;
    char text[DLOAD_SQLITE_I_MAX_GET * 12 + DLOAD_SQLITE_I_SQL_BYTES];
    int rc = SQLITE_OK;
    if (c->gets[size] == NULL) {
        size_t at = strlen(strcpy(text, "WITH w(i,k) AS (VALUES"));
        for (unsigned i = 0; i < n_keys; i++) {
            (void)sqlite3_snprintf((int)(sizeof text - at), text + at, "%s(%u,?%u)",
                                   i != 0 ? "," : "", i, i + 1);
            at += strlen(text + at);
        }
        (void)sqlite3_snprintf((int)(sizeof text - at), text + at,
                               ") SELECT w.i,t.expires,t.written,t.value FROM w CROSS JOIN "
                               "main.\"%w\" AS t ON t.key=w.k",
                               c->owner->table);
        rc = dload_sqlite_i_prepare(c, text, &c->gets[size]);
    }
    *to = c->gets[size];
    return rc;
}

/* Is it alive? And for how long yet. A time of writing far ahead of now shows that the clock was set back: then
 * nobody knows how old it is. */
DLOAD_I_LOCAL bool dload_sqlite_i_alive(int64_t now_ms, int64_t written_ms, int64_t expires_ms,
                                        uint64_t *left_ns)
{
    if (expires_ms <= now_ms || written_ms - now_ms > DLOAD_SQLITE_I_BACK_MS)
        return false;
    uint64_t left_ms = (uint64_t)(expires_ms - now_ms);
    *left_ns =
        left_ms < DLOAD_NEVER / DLOAD_MILLISECOND ? left_ms * DLOAD_MILLISECOND : DLOAD_NEVER - 1;
    return true;
}

/* A row: the value of items[which[i]], if it is alive. */
DLOAD_I_LOCAL int dload_sqlite_i_row(dload_sqlite *q, dload_store_op *op, sqlite3_stmt *st,
                                     const size_t *which, unsigned n, int64_t now_ms)
{
    const int64_t i = sqlite3_column_int64(st, 0);
    uint64_t left_ns = DLOAD_NEVER;
    if (i < 0 || i >= (int64_t)n)
        return SQLITE_CORRUPT;
    dload_store_item *item = &op->items[which[i]];
    if (sqlite3_column_type(st, 1) != SQLITE_NULL &&
        !dload_sqlite_i_alive(now_ms, sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 1),
                              &left_ns))
        return SQLITE_OK;
    const void *bytes = sqlite3_column_blob(st, 3);
    const int n_bytes = sqlite3_column_bytes(st, 3);
    if (bytes == NULL && (n_bytes != 0 || sqlite3_column_type(st, 3) != SQLITE_BLOB))
        return sqlite3_column_type(st, 3) == SQLITE_BLOB ? SQLITE_NOMEM : SQLITE_CORRUPT;
    item->value = NULL;
    item->value_bytes = (size_t)n_bytes;
    if (n_bytes != 0) {
        void *to = dload_sqlite_i_place(q, op, (size_t)n_bytes);
        if (to == NULL)
            return SQLITE_NOMEM;
        memcpy(to, bytes, (size_t)n_bytes);
        item->value = to;
    }
    item->ttl_ns = left_ns;
    item->status = DLOAD_OK;
    return SQLITE_OK;
}

/* One statement's worth of keys. */
DLOAD_I_LOCAL int dload_sqlite_i_get_some(dload_sqlite_i_conn *c, dload_store_op *op,
                                          const size_t *which, unsigned n)
{
    sqlite3_stmt *st = NULL;
    unsigned size = 0;
    while (1u << size < n)
        size++;
    int rc = dload_sqlite_i_get_statement(c, size, &st);
    for (unsigned i = 0; rc == SQLITE_OK && i < 1u << size; i++) {
        const dload_store_item *item = i < n ? &op->items[which[i]] : NULL;
        rc = item != NULL
                 ? sqlite3_bind_blob64(st, (int)i + 1, item->key, item->key_bytes, SQLITE_STATIC)
                 : sqlite3_bind_null(st, (int)i + 1);
        if (rc == SQLITE_TOOBIG) /* a key that cannot have been stored */
            rc = sqlite3_bind_null(st, (int)i + 1);
    }
    if (rc != SQLITE_OK)
        return rc;
    const int64_t now_ms = dload_sqlite_i_now_ms(c->owner);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        rc = dload_sqlite_i_row(c->owner, op, st, which, n, now_ms);
        if (rc != SQLITE_OK)
            break;
    }
    int end = sqlite3_reset(st);
    return rc == SQLITE_DONE ? end : rc;
}

/* Reads the keys of all items that are MISSING. */
DLOAD_I_LOCAL int dload_sqlite_i_get(dload_sqlite_i_conn *c, dload_store_op *op)
{
    size_t which[DLOAD_SQLITE_I_MAX_GET];
    unsigned n = 0;
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < op->n; i++) {
        if (op->items[i].status == DLOAD_MISSING)
            which[n++] = i;
        if (n == DLOAD_SQLITE_I_MAX_GET) {
            rc = dload_sqlite_i_get_some(c, op, which, n);
            n = 0;
        }
    }
    return rc == SQLITE_OK && n != 0 ? dload_sqlite_i_get_some(c, op, which, n) : rc;
}

/* ---- transactions ---- */

/* Ends a transaction that went well, or takes it back. SQLite may have done so by itself (disk full, I/O
 * error, no memory): then nothing more may be written, and nothing is left to take back. */
DLOAD_I_LOCAL int dload_sqlite_i_end(dload_sqlite_i_conn *c, int rc)
{
    if (rc == SQLITE_OK && sqlite3_get_autocommit(c->db))
        rc = SQLITE_ABORT;
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_do(c, DLOAD_SQLITE_I_COMMIT);
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(c->db)) {
        c->napped_ns = 0; /* taking back is not refused for lack of time */
        c->deadline_ns = DLOAD_NEVER;
        (void)dload_sqlite_i_do(c, DLOAD_SQLITE_I_ROLLBACK);
    }
    return rc;
}

DLOAD_I_LOCAL int dload_sqlite_i_bind_key(sqlite3_stmt *st, const dload_store_item *item)
{
    return sqlite3_bind_blob64(st, 1, item->key, item->key_bytes, SQLITE_STATIC);
}

/* Runs a statement about one key. */
DLOAD_I_LOCAL int dload_sqlite_i_about(dload_sqlite_i_conn *c, dload_sqlite_i_sql which,
                                       const dload_store_item *item)
{
    sqlite3_stmt *st = NULL;
    int rc = dload_sqlite_i_statement(c, which, &st);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_bind_key(st, item);
    if (rc == SQLITE_TOOBIG)
        return SQLITE_OK; /* a key that cannot have been stored */
    return rc == SQLITE_OK ? dload_sqlite_i_finish(st) : rc;
}

/* ---- what ends entries ---- */

/* Removes at most n_most expired rows, and says how many. */
DLOAD_I_LOCAL int dload_sqlite_i_purge(dload_sqlite_i_conn *c, int64_t now_ms, int64_t n_most,
                                       size_t *n_gone)
{
    sqlite3_stmt *st = NULL;
    int rc = dload_sqlite_i_statement(c, DLOAD_SQLITE_I_PURGE, &st);
    *n_gone = 0;
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 1, now_ms);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 2, n_most);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_finish(st);
    if (rc == SQLITE_OK)
        *n_gone = (size_t)sqlite3_changes(c->db);
    return rc;
}

/* Makes room: what was written first goes first, until the file's pages in use are as few as configured. */
DLOAD_I_LOCAL int dload_sqlite_i_evict(dload_sqlite_i_conn *c, size_t n_written)
{
    const uint64_t max_bytes = c->owner->max_bytes;
    int64_t n_pages = 0, n_free = 0;
    int rc = SQLITE_OK;
    for (int turn = 0; max_bytes != 0 && turn < DLOAD_SQLITE_I_EVICT_TURNS; turn++) {
        sqlite3_stmt *st = NULL;
        rc = dload_sqlite_i_number(c, DLOAD_SQLITE_I_PAGES, &n_pages);
        if (rc == SQLITE_OK)
            rc = dload_sqlite_i_number(c, DLOAD_SQLITE_I_FREE_PAGES, &n_free);
        if (rc != SQLITE_OK || (uint64_t)((n_pages - n_free) * c->page_bytes) <= max_bytes)
            return rc;
        rc = dload_sqlite_i_statement(c, DLOAD_SQLITE_I_EVICT, &st);
        if (rc == SQLITE_OK)
            rc = sqlite3_bind_int64(
                st, 1, (int64_t)(2 * n_written + DLOAD_SQLITE_I_PURGE_MORE) << turn / 4);
        if (rc == SQLITE_OK)
            rc = dload_sqlite_i_finish(st);
        if (rc != SQLITE_OK || sqlite3_changes(c->db) == 0)
            return rc;
    }
    return rc;
}

/* ---- writing ---- */

DLOAD_I_LOCAL int64_t dload_sqlite_i_until_ms(int64_t now_ms, uint64_t ttl_ns)
{
    const uint64_t ttl_ms = ttl_ns / DLOAD_MILLISECOND; /* down: never longer than asked for */
    return now_ms + (int64_t)(ttl_ms != 0 ? ttl_ms : 1);
}

/* Stores one value; DLOAD_ETOOBIG is the item's, not the request's. */
DLOAD_I_LOCAL int dload_sqlite_i_put(dload_sqlite_i_conn *c, dload_store_item *item, int64_t now_ms)
{
    const uint64_t max_bytes = c->owner->max_bytes;
    sqlite3_stmt *st = NULL;
    item->status = DLOAD_ETOOBIG;
    if (max_bytes != 0 && (item->key_bytes > max_bytes / 16 || item->value_bytes > max_bytes / 8))
        return SQLITE_OK;
    int rc = dload_sqlite_i_statement(c, DLOAD_SQLITE_I_PUT, &st);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_bind_key(st, item);
    if (rc == SQLITE_OK)
        rc = item->ttl_ns == DLOAD_NEVER
                 ? sqlite3_bind_null(st, 2)
                 : sqlite3_bind_int64(st, 2, dload_sqlite_i_until_ms(now_ms, item->ttl_ns));
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 3, now_ms);
    if (rc == SQLITE_OK)
        rc = item->value_bytes == 0
                 ? sqlite3_bind_zeroblob(st, 4, 0)
                 : sqlite3_bind_blob64(st, 4, item->value, item->value_bytes, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_finish(st);
    if (rc == SQLITE_TOOBIG && !sqlite3_get_autocommit(c->db))
        return SQLITE_OK; /* over SQLite's own limit, 10^9 bytes; the others go on */
    if (rc == SQLITE_OK)
        item->status = DLOAD_OK;
    return rc;
}

/* Removes everything that begins with a prefix: a range of keys, from the prefix to the next string that does
 * not begin with it. */
DLOAD_I_LOCAL int dload_sqlite_i_clear(dload_sqlite_i_conn *c, const dload_store_item *item,
                                       bool leases)
{
    const dload_sqlite_i_sql range =
        leases ? DLOAD_SQLITE_I_LEASE_CLEAR_RANGE : DLOAD_SQLITE_I_CLEAR_RANGE;
    size_t n_bytes = item->key_bytes;
    sqlite3_stmt *st = NULL;
    if (n_bytes == 0)
        return dload_sqlite_i_do(c, leases ? DLOAD_SQLITE_I_LEASE_CLEAR_ALL
                                           : DLOAD_SQLITE_I_CLEAR_ALL);
    while (n_bytes != 0 && (unsigned char)item->key[n_bytes - 1] == 0xff)
        n_bytes--;
    if (n_bytes == 0) /* nothing comes after such a prefix */
        return dload_sqlite_i_about(
            c, leases ? DLOAD_SQLITE_I_LEASE_CLEAR_FROM : DLOAD_SQLITE_I_CLEAR_FROM, item);
    const dload_env *env = c->owner->store.env;
    char *after = (char *)dload_i_alloc(env, n_bytes);
    if (after == NULL)
        return SQLITE_NOMEM;
    memcpy(after, item->key, n_bytes);
    after[n_bytes - 1] = (char)((unsigned char)after[n_bytes - 1] + 1);
    int rc = dload_sqlite_i_statement(c, range, &st);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_bind_key(st, item);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob64(st, 2, after, n_bytes, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_finish(st);
    dload_i_free(env, after, n_bytes);
    return rc == SQLITE_TOOBIG ? SQLITE_OK : rc;
}

/* ---- leases ---- */

DLOAD_I_LOCAL int dload_sqlite_i_bind_token(sqlite3_stmt *st, const dload_store_item *item)
{
    return sqlite3_bind_blob(st, 2, item->lease, (int)sizeof item->lease, SQLITE_STATIC);
}

/* Ends a lease if it is the asker's; *was says so. A late one has ended already, unless late is allowed. */
DLOAD_I_LOCAL int dload_sqlite_i_lease_end(dload_sqlite_i_conn *c, const dload_store_item *item,
                                           int64_t now_ms, bool late, bool *was)
{
    sqlite3_stmt *st = NULL;
    int rc = dload_sqlite_i_statement(c, DLOAD_SQLITE_I_LEASE_END, &st);
    *was = false;
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_bind_key(st, item);
    if (rc == SQLITE_TOOBIG)
        return SQLITE_OK;
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_bind_token(st, item);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 3, late ? -1 : now_ms);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 4, late ? INT64_MAX : now_ms + DLOAD_SQLITE_I_BACK_MS);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_finish(st);
    *was = rc == SQLITE_OK && sqlite3_changes(c->db) != 0;
    return rc;
}

/* Who has the lease of this key? EBUSY and how long yet, when it is somebody else. */
DLOAD_I_LOCAL int dload_sqlite_i_lease_look(dload_sqlite_i_conn *c, dload_store_item *item,
                                            int64_t now_ms)
{
    sqlite3_stmt *st = NULL;
    uint64_t left_ns = 0;
    int rc = dload_sqlite_i_statement(c, DLOAD_SQLITE_I_LEASE_LOOK, &st);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_bind_key(st, item);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        const void *token = sqlite3_column_blob(st, 0);
        const bool mine = token != NULL && sqlite3_column_bytes(st, 0) == (int)sizeof item->lease &&
                          memcmp(token, item->lease, sizeof item->lease) == 0;
        if (!mine && dload_sqlite_i_alive(now_ms, sqlite3_column_int64(st, 1),
                                          sqlite3_column_int64(st, 2), &left_ns)) {
            item->status = DLOAD_EBUSY;
            item->ttl_ns = left_ns;
        }
        rc = SQLITE_DONE;
    }
    int end = sqlite3_reset(st);
    return rc == SQLITE_DONE ? end : rc;
}

/* Takes the lease of a key, unless somebody else has it. */
DLOAD_I_LOCAL int dload_sqlite_i_lease_take(dload_sqlite_i_conn *c, dload_store_item *item,
                                            int64_t now_ms)
{
    sqlite3_stmt *st = NULL;
    int rc = dload_sqlite_i_statement(c, DLOAD_SQLITE_I_LEASE_TAKE, &st);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_bind_key(st, item);
    if (rc == SQLITE_TOOBIG) {
        item->status = DLOAD_ETOOBIG;
        return SQLITE_OK;
    }
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_bind_token(st, item);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 3, now_ms);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 4, dload_sqlite_i_until_ms(now_ms, item->ttl_ns));
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 5, now_ms + DLOAD_SQLITE_I_BACK_MS);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_finish(st);
    if (rc == SQLITE_OK && sqlite3_changes(c->db) == 0)
        return dload_sqlite_i_lease_look(c, item, now_ms);
    return rc;
}

/* Those whose holder never came back. */
DLOAD_I_LOCAL int dload_sqlite_i_lease_purge(dload_sqlite_i_conn *c, int64_t now_ms)
{
    sqlite3_stmt *st = NULL;
    if ((uint64_t)now_ms - c->owner->leases_purged_ms < DLOAD_SQLITE_I_LEASES_MS)
        return SQLITE_OK;
    c->owner->leases_purged_ms = (uint64_t)now_ms;
    int rc = dload_sqlite_i_statement(c, DLOAD_SQLITE_I_LEASE_PURGE, &st);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 1, now_ms);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 2, now_ms + DLOAD_SQLITE_I_BACK_MS);
    return rc == SQLITE_OK ? dload_sqlite_i_finish(st) : rc;
}

#endif /* DATALOADER_SQLITE_OPS_H */
