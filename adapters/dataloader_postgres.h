/* dataloader_postgres.h -- a store in PostgreSQL: a second level that many machines share, in one table.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"                     // with or without a loader's parameters
 *     #include "dataloader_postgres.h"            // cc ... -lpq -lpthread
 *
 *     static dload_postgres_store pg;             // where it stays; its first member is the store
 *     dload_postgres_store_config c = {0};
 *     c.pg.url = "postgresql://app@db.example/cache";
 *     c.table = "loader_cache";                   // made when it is missing
 *     c.unlogged = true;                          // a cache need not survive a crash of the server
 *     dload_status st = dload_postgres_store_init(&pg, &c);
 *     if (st == DLOAD_OK)
 *         st = dload_postgres_store_open(&pg, 0); // says now, and not at the first request, what is wrong
 *     if (st == DLOAD_EBACKEND) { char why[200]; dload_postgres_error(&pg.pool, why, sizeof why); ... }
 *
 *     dload_store_item item = {0};
 *     item.key = "user:42"; item.key_bytes = 7;
 *     dload_store_op op = {0};
 *     op.kind = DLOAD_STORE_GET; op.items = &item; op.n = 1;
 *     if (dload_store_run(&pg.store, &op) == DLOAD_OK && item.status == DLOAD_OK)
 *         use(item.value, item.value_bytes);
 *     dload_store_release(&op);
 *     ...
 *     dload_postgres_store_destroy(&pg);
 *
 * WHAT IS STORED  One row for a key: id, value, expires; or, while somebody fetches it, id, lease, expires. id is
 * the key. A key over 2000 bytes is too long for an index: its id is its first 1969 bytes and the SHA-256 of
 * all of it, and the key stands beside it in long_key. Keys up to 1 MiB, values up to 256 MiB; beyond: ETOOBIG.
 * The table may be made by hand; a table of another shape is DLOAD_ELAYOUT, and is not touched.
 *
 * REQUESTS  One statement each, prepared once per connection: keys and values travel as arrays in binary form.
 * Requests over 4096 keys or 16 MiB are cut, and then are several transactions. A LEASE that finds every key takes
 * one statement, otherwise three. Keys are sorted, so that two requests that write the same rows wait for each
 * other instead of dying in a deadlock; where others write to the table in another order, and the server gives
 * one of two up, it is tried again, three times.
 *
 * LEASES  SET, DELETE and CLEAR end leases; a lease is also over when its time has passed by the server's clock.
 * FILL stores nothing then and says ELOCK.
 *
 * TIME  TTLs are measured by the server's calendar clock: when that is set, they move. An expired row is as good
 * as gone; it is removed when its key is written again, and by a walk: after every 1000 keys written the next
 * 2000 rows are looked at (purge_every), by one more statement of whoever wrote. Garbage so stays in
 * proportion to writes; a store that is not written to any more can be purged by dload_postgres_store_purge.
 *
 * THREADS  Any number; each request takes one of max_conns connections, or waits for one.
 *
 * WHEN THE SERVER FAILS  Requests end in time with EBACKEND or ETIMEDOUT. A connection that was lost while it was
 * idle is replaced without notice; one that is lost in the middle of a request is replaced once and the request
 * repeated, but for a FILL: that one may have been done, and the asker is told EBACKEND. While no connection can
 * be made requests fail at once, and the next attempt is due after 50 ms, later up to 5 s.
 * A session that may only read, that of a server that has become a standby, is given up: with several hosts and
 * target_session_attrs=read-write in the url the next one is at the server that took over.
 */
#ifndef DLOAD_POSTGRES_H
#define DLOAD_POSTGRES_H

#include "dataloader_postgres/array.h"

#define DLOAD_POSTGRES_I_MAX_KEY_BYTES ((size_t)1 << 20)
/* The statements of one store. Private. */
#define DLOAD_POSTGRES_I_LOOK    0 /* what is there: a value, a lease, nothing */
#define DLOAD_POSTGRES_I_SET     1
#define DLOAD_POSTGRES_I_DELETE  2
#define DLOAD_POSTGRES_I_RANGE   3 /* CLEAR between two ids */
#define DLOAD_POSTGRES_I_FROM    4 /* ... from one id on */
#define DLOAD_POSTGRES_I_CLAIM   5 /* LEASE of what is not there */
#define DLOAD_POSTGRES_I_FILL    6
#define DLOAD_POSTGRES_I_DROP    7
#define DLOAD_POSTGRES_I_PURGE   8
#define DLOAD_POSTGRES_I_SHAPE   9
#define DLOAD_POSTGRES_I_INDEX   10
#define DLOAD_POSTGRES_I_CREATE  11
#define DLOAD_POSTGRES_I_N_TEXTS 12

/* What a store is made from. Zeros are the defaults, but for pg.url. */
typedef struct dload_postgres_store_config {
    dload_postgres_config pg; /* the server; the store has connections of its own */
    const char *table;  /* default "dload_store"; a letter or _, then letters, digits, _; 63 */
    const char *schema; /* likewise; default: where the server looks (search_path) */
    bool unlogged;      /* make it UNLOGGED: twice as fast to write, empty after a crash */
    bool no_create;     /* a missing table is an error */
    size_t purge_every; /* keys written between two steps of the purge; default 1000;
                               SIZE_MAX = none */
    const dload_store_hooks *hooks; /* see dload_store */
} dload_postgres_store_config;

/* A store. Must not be moved between _init and _destroy. */
typedef struct dload_postgres_store {
    dload_store store; /* what loaders are given */
    dload_postgres pool;
    /* private */
    char *texts; /* all statements */
    size_t texts_bytes;
    dload_postgres_statement statements[DLOAD_POSTGRES_I_N_TEXTS];
    bool no_create;
    size_t purge_every;
    uint32_t usable;    /* atomic: the table was looked at and is ours */
    uint64_t n_written; /* atomic: keys, since the last step of the purge */
    uint64_t n_purged;  /* atomic */
    uint64_t n_retries; /* atomic: requests that the server gave up for another one's sake */
    pthread_mutex_t purge_mutex;
    char purge_at[2048]; /* id from which the next step goes on */
    size_t purge_at_bytes;
} dload_postgres_store;

/* A result of the server's that values of a request lie in. Private. */
typedef struct dload_postgres_kept {
    PGresult *result;
    struct dload_postgres_kept *next;
} dload_postgres_kept;

/* One request on its way, or a part of it. Private. */
typedef struct dload_postgres_job {
    dload_postgres_store *s;
    dload_store_op *op;
    dload_store_item **order; /* the request's items, sorted by key */
    size_t first, n;          /* the part that is worked at: order[first .. first + n - 1] */
    dload_postgres_conn *c;
    uint64_t deadline_ns;
} dload_postgres_job;

#include "dataloader_postgres/table.h"

/* ---- parameters ---- */

/* What a parameter is made of. Private. */
typedef enum dload_postgres_part {
    DLOAD_POSTGRES_I_KEYS,
    DLOAD_POSTGRES_I_VALUES,
    DLOAD_POSTGRES_I_LEASES,
    DLOAD_POSTGRES_I_TTLS
} dload_postgres_part;

/* Microseconds for the server, -1 = no end. Never 0, and never more than 200 years: beyond, its arithmetic
 * rounds. */
DLOAD_I_LOCAL int64_t dload_postgres_i_us(uint64_t ttl_ns)
{
    const uint64_t most_us = UINT64_C(200) * 366 * 86400 * 1000000;
    uint64_t us = ttl_ns / DLOAD_MICROSECOND;
    if (ttl_ns == DLOAD_NEVER || us > most_us)
        return -1;
    return us != 0 ? (int64_t)us : 1;
}

DLOAD_I_LOCAL bool dload_postgres_i_part(const dload_postgres_job *j, dload_postgres_part part,
                                         dload_postgres_bytes *b)
{
    const dload_env *env = j->s->store.env;
    size_t n_bytes = 0;
    for (size_t i = 0; i < j->n; i++) {
        const dload_store_item *item = j->order[j->first + i];
        n_bytes += part == DLOAD_POSTGRES_I_KEYS     ? item->key_bytes
                   : part == DLOAD_POSTGRES_I_VALUES ? item->value_bytes
                   : part == DLOAD_POSTGRES_I_LEASES ? 16
                                                     : 8;
    }
    if (!dload_postgres_i_array(
            b, env, part == DLOAD_POSTGRES_I_TTLS ? DLOAD_POSTGRES_I_INT8 : DLOAD_POSTGRES_I_BYTEA,
            j->n, n_bytes))
        return false;
    for (size_t i = 0; i < j->n; i++) {
        const dload_store_item *item = j->order[j->first + i];
        if (part == DLOAD_POSTGRES_I_KEYS) {
            dload_postgres_i_element(b, item->key, item->key_bytes);
        } else if (part == DLOAD_POSTGRES_I_VALUES) {
            dload_postgres_i_element(b, item->value, item->value_bytes);
        } else if (part == DLOAD_POSTGRES_I_LEASES) {
            dload_postgres_i_put32(b, 16);
            dload_postgres_i_put64(b, item->lease[0]);
            dload_postgres_i_put64(b, item->lease[1]);
        } else {
            dload_postgres_i_element64(b, (uint64_t)dload_postgres_i_us(item->ttl_ns));
        }
    }
    return true;
}

/* Runs one statement over the job's part, with these arrays. */
DLOAD_I_LOCAL dload_status dload_postgres_i_run_part(dload_postgres_job *j, int which,
                                                     const dload_postgres_part *parts, int n_parts,
                                                     PGresult **out)
{
    const dload_env *env = j->s->store.env;
    dload_postgres_bytes b[4] = {{NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}};
    dload_postgres_values v;
    dload_status st = DLOAD_OK;
    memset(&v, 0, sizeof v);
    for (int i = 0; i < n_parts && st == DLOAD_OK; i++) {
        if (!dload_postgres_i_part(j, parts[i], &b[i]))
            st = DLOAD_ENOMEM;
        v.value[i] = b[i].at;
        v.n_bytes[i] = (int)b[i].n_bytes;
    }
    for (int attempt = 0; st == DLOAD_OK; attempt++) {
        st = dload_postgres_i_ask(j->c, &j->s->statements[which], &v, j->deadline_ns, out);
        if (attempt == 3 || j->c->pg == NULL || strncmp(j->c->sqlstate, "40", 2) != 0)
            break;
        st =
            DLOAD_OK; /* given up for another one's sake: a deadlock, which the other has left now */
        (void)__atomic_add_fetch(&j->s->n_retries, 1, __ATOMIC_RELAXED);
    }
    for (int i = 0; i < n_parts; i++)
        dload_postgres_i_free_bytes(&b[i], env);
    return st;
}

/* The item that a row of a result speaks of; NULL = it is none of ours. */
DLOAD_I_LOCAL dload_store_item *dload_postgres_i_item(const dload_postgres_job *j,
                                                      const PGresult *r, int row)
{
    int64_t place = 0;
    if (!dload_postgres_i_int(r, row, 0, &place) || place < 1 || (uint64_t)place > j->n)
        return NULL;
    return j->order[j->first + (size_t)place - 1];
}

/* ---- reading ---- */

/* A row of LOOK: place, value, lease, expires, now. */
DLOAD_I_LOCAL void dload_postgres_i_row(const dload_postgres_job *j, const PGresult *r, int row)
{
    dload_store_item *item = dload_postgres_i_item(j, r, row);
    if (item == NULL || PQgetlength(r, row, 3) != 8 || PQgetlength(r, row, 4) != 8)
        return;
    const int64_t expires_us = (int64_t)dload_postgres_i_get(PQgetvalue(r, row, 3), 8);
    const int64_t now_us = (int64_t)dload_postgres_i_get(PQgetvalue(r, row, 4), 8);
    const uint64_t left_us = expires_us > now_us ? (uint64_t)expires_us - (uint64_t)now_us : 1;
    const bool endless = expires_us == INT64_MAX || left_us > UINT64_MAX / DLOAD_MICROSECOND;
    const uint64_t left_ns = endless ? DLOAD_NEVER : left_us * DLOAD_MICROSECOND;
    if (PQgetisnull(r, row, 1) == 0) {
        const int n_bytes = PQgetlength(r, row, 1);
        item->value = n_bytes != 0 ? PQgetvalue(r, row, 1) : NULL;
        item->value_bytes = (size_t)n_bytes;
        item->ttl_ns = left_ns;
        item->status = DLOAD_OK;
    } else if (j->op->kind == DLOAD_STORE_LEASE && PQgetlength(r, row, 2) == 16) {
        const char *lease = PQgetvalue(r, row, 2);
        if (dload_postgres_i_get(lease, 8) == item->lease[0] &&
            dload_postgres_i_get(lease + 8, 8) == item->lease[1]) {
            item->status = DLOAD_MISSING; /* it is ours */
        } else {
            item->ttl_ns = left_ns;
            item->status = DLOAD_EBUSY;
        }
    }
}

/* Asks what is there, and keeps the result for the values in it. */
DLOAD_I_LOCAL dload_status dload_postgres_i_look(dload_postgres_job *j)
{
    static const dload_postgres_part parts[1] = {DLOAD_POSTGRES_I_KEYS};
    const dload_env *env = j->s->store.env;
    PGresult *r = NULL;
    dload_postgres_kept *kept = (dload_postgres_kept *)dload_i_alloc(env, sizeof *kept);
    if (kept == NULL)
        return DLOAD_ENOMEM;
    dload_status st = dload_postgres_i_run_part(j, DLOAD_POSTGRES_I_LOOK, parts, 1, &r);
    if (st == DLOAD_OK && PQnfields(r) != 5) {
        PQclear(r);
        st = DLOAD_EBACKEND;
    }
    if (st != DLOAD_OK) {
        dload_i_free(env, kept, sizeof *kept);
        return st;
    }
    kept->result = r;
    kept->next = (dload_postgres_kept *)j->op->results;
    j->op->results = kept;
    for (int row = 0; row < PQntuples(r); row++)
        dload_postgres_i_row(j, r, row);
    return DLOAD_OK;
}

DLOAD_I_LOCAL dload_status dload_postgres_i_get_part(dload_postgres_job *j)
{
    for (size_t i = 0; i < j->n; i++)
        j->order[j->first + i]->status = DLOAD_MISSING;
    return dload_postgres_i_look(j);
}

/* Are these two keys the same? */
DLOAD_I_LOCAL bool dload_postgres_i_same(const dload_store_item *a, const dload_store_item *b)
{
    return a->key_bytes == b->key_bytes && memcmp(a->key, b->key, a->key_bytes) == 0;
}

/* Looks; claims what nobody has, each key once; and looks again, for what became of the claims. Between the
 * last two the row may be gone, when somebody deleted the key: then it is asked for again soon. */
DLOAD_I_LOCAL dload_status dload_postgres_i_lease_part(dload_postgres_job *j)
{
    static const dload_postgres_part parts[3] = {DLOAD_POSTGRES_I_KEYS, DLOAD_POSTGRES_I_LEASES,
                                                 DLOAD_POSTGRES_I_TTLS};
    const dload_env *env = j->s->store.env;
    const size_t n_bytes = j->n * sizeof *j->order;
    for (size_t i = 0; i < j->n; i++)
        j->order[j->first + i]->status = DLOAD_PENDING;
    dload_status st = dload_postgres_i_look(j);
    if (st != DLOAD_OK)
        return st;
    dload_postgres_job rest = *j, claims = *j;
    dload_store_item **wanted = (dload_store_item **)dload_i_alloc(env, 2 * n_bytes);
    if (wanted == NULL)
        return DLOAD_ENOMEM;
    rest.order = wanted;
    claims.order = wanted + j->n;
    rest.first = rest.n = claims.first = claims.n = 0;
    for (size_t i = 0; i < j->n; i++) {
        dload_store_item *item = j->order[j->first + i];
        if (item->status != DLOAD_PENDING)
            continue;
        if (rest.n == 0 || !dload_postgres_i_same(rest.order[rest.n - 1], item))
            claims.order[claims.n++] = item;
        rest.order[rest.n++] = item;
        item->status = DLOAD_EBUSY;
    }
    if (rest.n != 0) {
        st = dload_postgres_i_run_part(&claims, DLOAD_POSTGRES_I_CLAIM, parts, 3, NULL);
        for (size_t i = 0; i < rest.n; i++) /* what LOOK says of them replaces it */
            rest.order[i]->ttl_ns = DLOAD_MILLISECOND;
        if (st == DLOAD_OK)
            st = dload_postgres_i_look(&rest);
    }
    dload_i_free(env, wanted, 2 * n_bytes);
    return st;
}

/* ---- writing ---- */

/* One step of the walk over the table after so many keys written. Whatever comes of it: the request is done. */
DLOAD_I_LOCAL void dload_postgres_i_wrote(dload_postgres_job *j)
{
    const uint64_t n = __atomic_add_fetch(&j->s->n_written, j->n, __ATOMIC_RELAXED);
    if (j->s->purge_every == SIZE_MAX || n < j->s->purge_every ||
        pthread_mutex_trylock(&j->s->purge_mutex) != 0)
        return;
    __atomic_store_n(&j->s->n_written, 0, __ATOMIC_RELAXED);
    (void)dload_postgres_i_purge_step(j->s, j->c, 2 * j->s->purge_every, j->deadline_ns, NULL);
    (void)pthread_mutex_unlock(&j->s->purge_mutex);
}

/* Of a key that is there twice the last one is stored: a statement may not write a row twice. */
DLOAD_I_LOCAL dload_status dload_postgres_i_set_part(dload_postgres_job *j)
{
    static const dload_postgres_part parts[3] = {DLOAD_POSTGRES_I_KEYS, DLOAD_POSTGRES_I_VALUES,
                                                 DLOAD_POSTGRES_I_TTLS};
    dload_postgres_job once = *j;
    const dload_env *env = j->s->store.env;
    once.first = once.n = 0;
    once.order = (dload_store_item **)dload_i_alloc(env, j->n * sizeof *j->order);
    if (once.order == NULL)
        return DLOAD_ENOMEM;
    for (size_t i = 0; i < j->n; i++) {
        dload_store_item *item = j->order[j->first + i];
        if (once.n != 0 && dload_postgres_i_same(once.order[once.n - 1], item))
            once.n--;
        once.order[once.n++] = item;
        item->status = DLOAD_OK;
    }
    dload_status st = dload_postgres_i_run_part(&once, DLOAD_POSTGRES_I_SET, parts, 3, NULL);
    if (st == DLOAD_OK)
        dload_postgres_i_wrote(&once);
    dload_i_free(env, once.order, j->n * sizeof *j->order);
    return st;
}

DLOAD_I_LOCAL dload_status dload_postgres_i_delete_part(dload_postgres_job *j)
{
    static const dload_postgres_part parts[2] = {DLOAD_POSTGRES_I_KEYS, DLOAD_POSTGRES_I_LEASES};
    const bool drop = j->op->kind == DLOAD_STORE_DROP;
    for (size_t i = 0; i < j->n; i++)
        j->order[j->first + i]->status = DLOAD_OK;
    return dload_postgres_i_run_part(j, drop ? DLOAD_POSTGRES_I_DROP : DLOAD_POSTGRES_I_DELETE,
                                     parts, drop ? 2 : 1, NULL);
}

DLOAD_I_LOCAL dload_status dload_postgres_i_fill_part(dload_postgres_job *j)
{
    static const dload_postgres_part parts[4] = {DLOAD_POSTGRES_I_KEYS, DLOAD_POSTGRES_I_LEASES,
                                                 DLOAD_POSTGRES_I_VALUES, DLOAD_POSTGRES_I_TTLS};
    PGresult *r = NULL;
    for (size_t i = 0; i < j->n; i++)
        j->order[j->first + i]->status = DLOAD_ELOCK;
    dload_status st = dload_postgres_i_run_part(j, DLOAD_POSTGRES_I_FILL, parts, 4, &r);
    if (st != DLOAD_OK)
        return st;
    for (int row = 0; row < PQntuples(r); row++) {
        dload_store_item *item = dload_postgres_i_item(j, r, row);
        if (item != NULL)
            item->status = DLOAD_OK;
    }
    PQclear(r);
    dload_postgres_i_wrote(j);
    return DLOAD_OK;
}

#include "dataloader_postgres/store.h"

#endif /* DLOAD_POSTGRES_H */
