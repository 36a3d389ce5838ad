/* dataloader_sqlite/conn.h -- one connection to a file: its statements, errors and time; a part of dataloader_sqlite.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Here: what one sqlite3 handle needs, used by one thread at a time, and the texts of all statements. Not here:
 * opening it (dataloader_sqlite/open.h), what requests do with it (dataloader_sqlite/ops.h), who may use it when
 * (dataloader_sqlite/file.h), and the store itself (dataloader_sqlite.h).
 */
#ifndef DATALOADER_SQLITE_CONN_H
#define DATALOADER_SQLITE_CONN_H

#include "../dataloader_threads/pair.h"

#include <sqlite3.h>
#include <stdio.h>
#include <sys/types.h>

#if SQLITE_VERSION_NUMBER < 3024000
#error "dataloader_sqlite.h: SQLite 3.24 or newer is needed (upsert)"
#endif

#define DLOAD_SQLITE_MAX_CONNECTIONS 16u
#define DLOAD_SQLITE_I_TABLE_BYTES   64u /* of a table's name, with its NUL */
#define DLOAD_SQLITE_I_SQL_BYTES     512u
#define DLOAD_SQLITE_I_N_GETS        9u /* statements that read: 1, 2, 4 ... 256 keys */
#define DLOAD_SQLITE_I_PROGRESS      4000 /* steps of SQLite's machine between two looks at the clock */
#define DLOAD_SQLITE_I_BACK_MS \
    INT64_C(60000) /* a time so far ahead of now: the clock was set back */

/* How durable a write is when it was answered; see PRAGMA synchronous. Killing the process loses nothing with
 * any of them. */
typedef enum dload_sqlite_sync {
    DLOAD_SQLITE_SYNC_DEFAULT = 0, /* NORMAL */
    DLOAD_SQLITE_SYNC_OFF = 1,     /* a power failure may damage the file */
    DLOAD_SQLITE_SYNC_NORMAL = 2,  /* it may undo the last writes, deletes among them */
    DLOAD_SQLITE_SYNC_FULL = 3     /* it undoes nothing; each write waits for the disk */
} dload_sqlite_sync;

/* What each statement is for; the texts are below. Private. */
typedef enum dload_sqlite_i_sql {
    DLOAD_SQLITE_I_BEGIN,
    DLOAD_SQLITE_I_BEGIN_WRITE,
    DLOAD_SQLITE_I_COMMIT,
    DLOAD_SQLITE_I_ROLLBACK,
    DLOAD_SQLITE_I_PUT,
    DLOAD_SQLITE_I_DELETE,
    DLOAD_SQLITE_I_CLEAR_RANGE,
    DLOAD_SQLITE_I_CLEAR_FROM,
    DLOAD_SQLITE_I_CLEAR_ALL,
    DLOAD_SQLITE_I_PURGE,
    DLOAD_SQLITE_I_EVICT,
    DLOAD_SQLITE_I_PAGES,
    DLOAD_SQLITE_I_FREE_PAGES,
    DLOAD_SQLITE_I_LEASE_ANY,
    DLOAD_SQLITE_I_LEASE_TAKE,
    DLOAD_SQLITE_I_LEASE_LOOK,
    DLOAD_SQLITE_I_LEASE_END,
    DLOAD_SQLITE_I_LEASE_DELETE,
    DLOAD_SQLITE_I_LEASE_CLEAR_RANGE,
    DLOAD_SQLITE_I_LEASE_CLEAR_FROM,
    DLOAD_SQLITE_I_LEASE_CLEAR_ALL,
    DLOAD_SQLITE_I_LEASE_PURGE,
    DLOAD_SQLITE_I_N_SQL
} dload_sqlite_i_sql;

struct dload_sqlite;

/* One connection. Private. */
typedef struct dload_sqlite_i_conn {
    struct dload_sqlite *owner;
    sqlite3 *db;                             /* NULL = not open */
    sqlite3_stmt *sql[DLOAD_SQLITE_I_N_SQL]; /* NULL = not prepared yet */
    sqlite3_stmt *gets[DLOAD_SQLITE_I_N_GETS];
    bool taken; /* by a request; under the store's mutex */
    int64_t page_bytes;
    uint64_t looked_ns; /* when the file was last seen in its place */
    int log_most;       /* pages in the log from which on readers are waited for */
    /* of the request that has it */
    uint64_t deadline_ns, timeout_ns, napped_ns;
} dload_sqlite_i_conn;

/* A store in an SQLite file. Must not move between _init and _destroy. */
typedef struct dload_sqlite {
    dload_store store; /* hand &q.store to a configuration, or to dload_store_run */
    /* private: as configured */
    char *path;        /* NULL = the caller's own handle */
    size_t path_bytes; /* with its NUL */
    char *vfs;         /* NULL = the default */
    size_t vfs_bytes;
    char table[DLOAD_SQLITE_I_TABLE_BYTES];
    uint64_t timeout_ns, max_bytes, cache_bytes;
    uint64_t (*wall_ms)(void *ctx);
    void *wall_ctx;
    dload_sqlite_sync sync;
    bool recreate, check;
    pid_t pid; /* whose it is */
    /* private: who uses what */
    pthread_mutex_t mutex;
    pthread_cond_t given; /* a connection was given back */
    bool writing;         /* one of them writes; under the mutex */
    uint32_t n_conns, n_taken;
    uint64_t leases_purged_ms; /* in the write that is going on only */
    dload_sqlite_i_conn conn[DLOAD_SQLITE_MAX_CONNECTIONS];
} dload_sqlite;

/* ---- texts ---- */

/* The version stands in the table's own text, so that user_version stays the caller's. */
DLOAD_I_LOCAL const char *dload_sqlite_i_schema(unsigned which)
{
    static const char *const texts[] = {
        "CREATE TABLE \"%w\" (/* dataloader store, version 1 */ id INTEGER PRIMARY KEY, "
        "key BLOB NOT NULL UNIQUE, expires INTEGER, written INTEGER NOT NULL, value BLOB NOT NULL)",
        "CREATE INDEX \"%w_expires\" ON \"%w\" (expires) WHERE expires IS NOT NULL",
        "CREATE TABLE \"%w_leases\" (/* dataloader store, version 1 */ key BLOB PRIMARY KEY NOT "
        "NULL, "
        "token BLOB NOT NULL, started INTEGER NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID"};
    return which < sizeof texts / sizeof texts[0] ? texts[which] : NULL;
}

/* %w is the table's name, escaped. Whoever is written last has the highest id, so that the lowest are the
 * oldest writes. */
DLOAD_I_LOCAL const char *dload_sqlite_i_text(dload_sqlite_i_sql which)
{
    static const char *const texts[DLOAD_SQLITE_I_N_SQL] = {
        "BEGIN",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "ROLLBACK",
        "INSERT OR REPLACE INTO \"%w\"(key,expires,written,value) VALUES(?1,?2,?3,?4)",
        "DELETE FROM \"%w\" WHERE key=?1",
        "DELETE FROM \"%w\" WHERE key>=?1 AND key<?2",
        "DELETE FROM \"%w\" WHERE key>=?1",
        "DELETE FROM \"%w\"",
        "DELETE FROM \"%w\" WHERE id IN (SELECT id FROM \"%w\" WHERE expires IS NOT NULL "
        "AND expires<=?1 ORDER BY expires LIMIT ?2)",
        "DELETE FROM \"%w\" WHERE id IN (SELECT id FROM \"%w\" ORDER BY id LIMIT ?1)",
        "PRAGMA main.page_count",
        "PRAGMA main.freelist_count",
        "SELECT 1 FROM \"%w_leases\" LIMIT 1",
        "INSERT INTO \"%w_leases\" AS l (key,token,started,expires) VALUES(?1,?2,?3,?4) "
        "ON CONFLICT(key) DO UPDATE SET token=excluded.token,started=excluded.started,"
        "expires=excluded.expires WHERE l.expires<=?3 OR l.started>?5 OR l.token=?2",
        "SELECT token,started,expires FROM \"%w_leases\" WHERE key=?1",
        "DELETE FROM \"%w_leases\" WHERE key=?1 AND token=?2 AND expires>?3 AND started<=?4",
        "DELETE FROM \"%w_leases\" WHERE key=?1",
        "DELETE FROM \"%w_leases\" WHERE key>=?1 AND key<?2",
        "DELETE FROM \"%w_leases\" WHERE key>=?1",
        "DELETE FROM \"%w_leases\"",
        "DELETE FROM \"%w_leases\" WHERE expires<=?1 OR started>?2",
    };
    return texts[which];
}

/* ---- errors ---- */

/* A sentence for the log with SQLite's own words, which name tables and files, never keys or values. */
DLOAD_I_LOCAL void dload_sqlite_i_log(dload_sqlite *q, const char *what, const char *why)
{
    char text[300];
    (void)sqlite3_snprintf((int)sizeof text, text, "%s: %.80s%s%.160s",
                           q->path != NULL ? q->path : "(own handle)", what,
                           why != NULL ? ": " : "", why != NULL ? why : "");
    dload_store_log(&q->store, text);
}

DLOAD_I_LOCAL dload_status dload_sqlite_i_status(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
        return DLOAD_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
        return DLOAD_ETIMEDOUT;
    case SQLITE_NOMEM:
        return DLOAD_ENOMEM;
    case SQLITE_TOOBIG:
        return DLOAD_ETOOBIG;
    case SQLITE_FULL:
        return DLOAD_EFULL;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return DLOAD_EIO;
    default:
        return DLOAD_EBACKEND;
    }
}

DLOAD_I_LOCAL bool dload_sqlite_i_damaged(int rc)
{
    return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

/* Is the connection itself in doubt? A full disk, a lock or a lack of memory say nothing against it. */
DLOAD_I_LOCAL bool dload_sqlite_i_spoilt(int rc)
{
    dload_status st = dload_sqlite_i_status(rc);
    return st == DLOAD_EBACKEND || st == DLOAD_EIO;
}

/* ---- time ---- */

DLOAD_I_LOCAL uint64_t dload_sqlite_i_wall_ms(void *ctx)
{
    struct timespec ts;
    (void)ctx;
#ifdef CLOCK_REALTIME
    (void)clock_gettime(CLOCK_REALTIME, &ts);
#else
    (void)clock_gettime(0, &ts); /* hidden by a strict -std=c11 */
#endif
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

DLOAD_I_LOCAL int64_t dload_sqlite_i_now_ms(const dload_sqlite *q)
{
    return (int64_t)(q->wall_ms(q->wall_ctx) & (uint64_t)INT64_MAX);
}

/* What is left of the request's time. Naps are counted too: a clock of the caller's own may stand still. */
DLOAD_I_LOCAL uint64_t dload_sqlite_i_left_ns(const dload_sqlite_i_conn *c)
{
    uint64_t now_ns = dload_i_now(c->owner->store.env);
    uint64_t left_ns = now_ns < c->deadline_ns ? c->deadline_ns - now_ns : 0;
    uint64_t rest_ns = c->napped_ns < c->timeout_ns ? c->timeout_ns - c->napped_ns : 0;
    return left_ns < rest_ns ? left_ns : rest_ns;
}

/* Somebody else has the file locked: waits a little, longer each time, as long as the request may take. */
DLOAD_I_LOCAL int dload_sqlite_i_on_busy(void *ctx, int n_before)
{
    dload_sqlite_i_conn *c = (dload_sqlite_i_conn *)ctx;
    uint64_t nap_ns = n_before < 6 ? (UINT64_C(100) << n_before) * 1000 : 5 * DLOAD_MILLISECOND;
    uint64_t left_ns = dload_sqlite_i_left_ns(c);
    if (left_ns == 0)
        return 0;
    nap_ns = nap_ns < left_ns ? nap_ns : left_ns;
    dload_i_nap(nap_ns);
    c->napped_ns += nap_ns;
    return 1;
}

/* Ends a statement that takes too long: a clear of very many keys. */
DLOAD_I_LOCAL int dload_sqlite_i_on_progress(void *ctx)
{
    return dload_sqlite_i_left_ns((const dload_sqlite_i_conn *)ctx) == 0;
}

/* ---- statements ---- */

DLOAD_I_LOCAL int dload_sqlite_i_prepare(dload_sqlite_i_conn *c, const char *text,
                                         sqlite3_stmt **to)
{
    return sqlite3_prepare_v3(c->db, text, -1, SQLITE_PREPARE_PERSISTENT, to, NULL);
}

DLOAD_I_LOCAL int dload_sqlite_i_statement(dload_sqlite_i_conn *c, dload_sqlite_i_sql which,
                                           sqlite3_stmt **to)
{
    char text[DLOAD_SQLITE_I_SQL_BYTES];
    int rc = SQLITE_OK;
    if (c->sql[which] == NULL) {
        (void)sqlite3_snprintf((int)sizeof text, text, dload_sqlite_i_text(which), c->owner->table,
                               c->owner->table);
        rc = dload_sqlite_i_prepare(c, text, &c->sql[which]);
    }
    *to = c->sql[which];
    return rc;
}

/* Runs a statement whose parameters are bound; a row that comes back is not looked at. */
DLOAD_I_LOCAL int dload_sqlite_i_finish(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    int end = sqlite3_reset(st);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? end : rc;
}

DLOAD_I_LOCAL int dload_sqlite_i_do(dload_sqlite_i_conn *c, dload_sqlite_i_sql which)
{
    sqlite3_stmt *st = NULL;
    int rc = dload_sqlite_i_statement(c, which, &st);
    return rc == SQLITE_OK ? dload_sqlite_i_finish(st) : rc;
}

/* A number that a statement answers; 0 when it has no row. */
DLOAD_I_LOCAL int dload_sqlite_i_number(dload_sqlite_i_conn *c, dload_sqlite_i_sql which,
                                        int64_t *to)
{
    sqlite3_stmt *st = NULL;
    int rc = dload_sqlite_i_statement(c, which, &st);
    *to = 0;
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *to = sqlite3_column_int64(st, 0);
    int end = sqlite3_reset(st);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? end : rc;
}

/* One text, once. */
DLOAD_I_LOCAL int dload_sqlite_i_exec(dload_sqlite_i_conn *c, const char *text)
{
    return sqlite3_exec(c->db, text, NULL, NULL, NULL);
}

/* The only column of the only row of a statement, as text that fits. */
DLOAD_I_LOCAL int dload_sqlite_i_ask(dload_sqlite_i_conn *c, const char *text, char *answer,
                                     size_t answer_bytes)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(c->db, text, -1, &st, NULL);
    answer[0] = '\0';
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(st);
        const unsigned char *is = rc == SQLITE_ROW ? sqlite3_column_text(st, 0) : NULL;
        if (is != NULL)
            (void)sqlite3_snprintf((int)answer_bytes, answer, "%s", (const char *)is);
        rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    (void)sqlite3_finalize(st);
    return rc;
}

#endif /* DATALOADER_SQLITE_CONN_H */
