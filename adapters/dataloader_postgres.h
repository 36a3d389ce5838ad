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
 * THREADS  Any number; each request takes one of max_conns connections, or waits for one. In an event loop, where nothing may
 * wait: dataloader_postgres/loop.h.
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

/* How far a walk over the table is. Private. */
typedef struct dload_postgres_cursor {
    char at[2048]; /* the id from which the next step goes on */
    size_t n_bytes;
} dload_postgres_cursor;

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
    uint32_t purging;   /* atomic: somebody's is the cursor */
    dload_postgres_cursor purge;
} dload_postgres_store;

/* A result of the server's that values of a request lie in. Private. */
typedef struct dload_postgres_kept {
    PGresult *result;
    struct dload_postgres_kept *next;
} dload_postgres_kept;

/* Where a request stands: at which statement. Private. */
typedef enum dload_postgres_stage {
    DLOAD_POSTGRES_I_AT_SHAPE, /* is there a table, and is it ours? */
    DLOAD_POSTGRES_I_AT_INDEX, /* ... and its index? */
    DLOAD_POSTGRES_I_AT_CREATE,
    DLOAD_POSTGRES_I_AT_PART, /* no statement: the next part of the items begins */
    DLOAD_POSTGRES_I_AT_LOOK,
    DLOAD_POSTGRES_I_AT_CLAIM, /* LEASE: what nobody has */
    DLOAD_POSTGRES_I_AT_AGAIN, /* ... and what became of that */
    DLOAD_POSTGRES_I_AT_WRITE,
    DLOAD_POSTGRES_I_AT_PURGE, /* after writing: whatever comes of it, the request is done */
    DLOAD_POSTGRES_I_AT_END
} dload_postgres_stage;

/* A request on its way: one statement after the other. Private. */
typedef struct dload_postgres_job {
    dload_postgres_store *s;
    dload_store_op *op; /* NULL = none: only the table is looked at, or purged */
    uint64_t *block;    /* what the items' ttl_ns were; behind that order and scratch */
    size_t block_bytes;
    dload_store_item **order; /* the items that are not too big, sorted by key */
    size_t n_order;
    size_t first, n;            /* the part that is worked at: order[first .. first + n - 1] */
    dload_store_item **scratch; /* a choice of the part: 2 * its items */
    dload_store_item **about;   /* what the statement under way is about */
    size_t n_about;
    dload_store_item **rest; /* LEASE: those that LOOK did not find */
    size_t n_rest;
    dload_postgres_stage stage;
    unsigned n_tries;             /* of the statement, that were given up for another one's sake */
    bool created;                 /* the table was to be made */
    bool purges;                  /* s->purge is ours */
    dload_postgres_cursor *sweep; /* without op: purge all of the table */
    /* the statement under way */
    int which;
    dload_postgres_bytes bytes[4]; /* what v points at */
    dload_postgres_values v;
    char n_rows[8]; /* to purge, in the server's form */
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

/* Writes one array: a column of the items that the statement is about. False = no memory. */
DLOAD_I_LOCAL bool dload_postgres_i_part(const dload_postgres_job *j, dload_postgres_part part,
                                         dload_postgres_bytes *b)
{
    const dload_env *env = j->s->store.env;
    size_t n_bytes = 0;
    for (size_t i = 0; i < j->n_about; i++) {
        const dload_store_item *item = j->about[i];
        n_bytes += part == DLOAD_POSTGRES_I_KEYS     ? item->key_bytes
                   : part == DLOAD_POSTGRES_I_VALUES ? item->value_bytes
                   : part == DLOAD_POSTGRES_I_LEASES ? 16
                                                     : 8;
    }
    if (!dload_postgres_i_array(
            b, env, part == DLOAD_POSTGRES_I_TTLS ? DLOAD_POSTGRES_I_INT8 : DLOAD_POSTGRES_I_BYTEA,
            j->n_about, n_bytes))
        return false;
    for (size_t i = 0; i < j->n_about; i++) {
        const dload_store_item *item = j->about[i];
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

#include "dataloader_postgres/steps.h"
#include "dataloader_postgres/answers.h"
#include "dataloader_postgres/store.h"

#endif /* DLOAD_POSTGRES_H */
