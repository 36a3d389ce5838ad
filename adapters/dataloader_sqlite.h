/* dataloader_sqlite.h -- a second level in an SQLite file: kept over restarts, shared by processes of one machine.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_NAME  quotes
 *     #define DLOAD_KEY   DLOAD_STRING
 *     #define DLOAD_VALUE double
 *     #define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_sqlite.h"               // and link with -lsqlite3
 *
 *     static dload_sqlite q;
 *     dload_sqlite_config file = {0};
 *     file.path = "/var/cache/quotes.db";
 *     file.max_bytes = 256 << 20;
 *     dload_status st = dload_sqlite_init(&q, &file);
 *     quotes_config cfg = quotes_config_default();
 *     cfg.store = &q.store;
 *     ...
 *     quotes_destroy(&l);
 *     dload_sqlite_destroy(&q);
 *
 * THE FILE  Two tables of their own, "dataloader" and "dataloader_leases" unless config.table says so, beside which
 * others may live in the same file. A table of that name that is not exactly ours is refused (DLOAD_ELAYOUT) and
 * left alone; of those that are ours, what is missing is made. Write-ahead log: readers and a writer do not wait for each other, writers wait for one another, in
 * this process and in others, as long as the request may take. Use a local file system. A key and a
 * value are blobs; a row has the times (wall clock, ms) when it was written and when it ends. Rows lie in a table by
 * number, with an index of the keys: keys in the primary key (WITHOUT ROWID) read 100 byte values a quarter faster, but
 * took three times the file and five times the time to read from 1000 bytes on.
 *
 * BATCHES  A GET reads all keys by one statement, a join with the list of keys, at most 256 at a time. Measured, 100 keys of
 * 10,000 with 100 byte values: 610 ns a key; IN (?,...) 740, a loop of selects in one transaction 940, one key at
 * a time 2900. A SET, a DELETE, a CLEAR is one transaction.
 *
 * WHAT ENDS ENTRIES  An entry past its end is a miss, and each write removes some of those (two for each key it
 * writes and 16 more); who only reads may call dload_sqlite_purge. With config.max_bytes, the file's pages in use stay
 * under that size: what was written first goes first. Space is used again, the file does not shrink; the log beside
 * it takes about 16 MiB at most, more only while somebody does not end reading. A clock that is set back by more than a minute ends the entries written "later".
 *
 * LEASES  A table, so that processes fetch a key once. SET and DELETE and CLEAR revoke them: a fetch that began before
 * cannot overwrite what came after.
 *
 * THREADS  Requests from any thread, several at a time; each takes one of config.n_connections. They block: in an event
 * loop put a worker thread around this store. Values of a GET are copies, valid until dload_store_release.
 *
 * PROCESSES  Any number may share a file, and be killed at any time. After fork() the child may not use its parent's
 * store: every request there is DLOAD_EFORK, and nothing of SQLite is touched.
 *
 * WHO MAY WRITE THE FILE decides what loaders read: keep it in a folder of the program's own. SQLite makes it with mode
 * 0644 less the umask. Keys and values are parameters, never text of a statement; what is deleted may stay in
 * unused pages until they are used again.
 *
 * WHAT CAN FAIL  Each failure is a status of the request, never of the process, and what it wrote is taken back:
 *   DLOAD_ETIMEDOUT  somebody had the file locked all the time, or the clear was too large for op->timeout_ns
 *   DLOAD_EFULL      the disk is full        DLOAD_ENOMEM   no memory
 *   DLOAD_EIO        the file cannot be opened, read or written
 *   DLOAD_EBACKEND   anything else: the file is damaged, or a table is missing
 * After EIO and EBACKEND the connection is closed and opened anew for the next request. A file that was removed or
 * replaced is noticed at the next write, and within 100 ms by reads: the new one is opened, or made.
 * With config.recreate a damaged file is renamed to <path>.damaged (its log likewise) and a new one begun.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_sqlite.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DATALOADER_SQLITE_H
#define DATALOADER_SQLITE_H

#if DLOAD_FREESTANDING
#error "dataloader_sqlite.h: files need a host; it does not go with DLOAD_FREESTANDING 1"
#endif

#include "dataloader_sqlite/file.h"
#include "dataloader_sqlite/ops.h"

#define DLOAD_SQLITE_I_TIMEOUT_NS (5 * DLOAD_SECOND)
#define DLOAD_SQLITE_I_MIN_BYTES  (1024u * 1024u)

/* How a store is made. Zero it; all but path (or db) may stay 0. Strings are copied. */
typedef struct dload_sqlite_config {
    /* The file; made when it is not there, its folder is not. Not empty, not ":memory:"; one that begins with "file:"
     * is a URI where SQLite was built so. */
    const char *path;
    /* Instead of path: a handle of the caller's, which nobody else may use while a request runs and which must be
     * outside of a transaction then. It stays the caller's: settings, journal mode and busy handler are as found,
     * op->timeout_ns is not heeded, and it is not closed. */
    sqlite3 *db;
    const char *table; /* [A-Za-z_][A-Za-z0-9_]*, at most 47 bytes; NULL = "dataloader" */
    const char *vfs;   /* of SQLite; NULL = the default one */
    /* Requests that run at the same time; 0 = 4, at most 16. Each keeps pages of its own in memory, cache_bytes at
     * most (0 = 32 MiB), and reads them again after another one's write: 1 is best for few threads that write
     * much, and a reader waits behind a writer then. */
    uint32_t n_connections;
    uint64_t cache_bytes;
    dload_sqlite_sync sync; /* what a power failure may undo */
    uint64_t timeout_ns;    /* of requests that have none of their own; 0 = 5 s */
    /* Of pages in use, those of other tables in the file too; 0 = no bound, at least 1 MiB. Values over an eighth
     * of it, keys over a sixteenth are DLOAD_ETOOBIG. */
    uint64_t max_bytes;
    bool recreate; /* a damaged file is put aside; only for a file with nothing else in it */
    bool check;    /* quick_check whenever the file is opened; reads all of it */
    /* Clock and memory; NULL = the host's. SQLite's own memory is not of it. */
    const dload_env *env;
    const dload_store_hooks *hooks; /* NULL = none; must outlive the store */
    uint64_t (*wall_ms)(void *ctx); /* milliseconds since 1970; NULL = the system's */
    void *wall_ctx;
} dload_sqlite_config;

/* ---- requests ---- */

/* Reads; and for LEASE, in the same look at the file, who has the leases of what is not there. */
DLOAD_I_LOCAL int dload_sqlite_i_read(dload_sqlite_i_conn *c, dload_store_op *op)
{
    const bool leases = op->kind == DLOAD_STORE_LEASE;
    const bool one = !leases && op->n <= DLOAD_SQLITE_I_MAX_GET; /* statement */
    int64_t any = 0;
    int rc = one ? SQLITE_OK : dload_sqlite_i_do(c, DLOAD_SQLITE_I_BEGIN);
    for (size_t i = 0; i < op->n; i++)
        op->items[i].status = DLOAD_MISSING;
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_get(c, op);
    if (rc == SQLITE_OK && leases)
        rc = dload_sqlite_i_number(c, DLOAD_SQLITE_I_LEASE_ANY, &any);
    for (size_t i = 0; rc == SQLITE_OK && any != 0 && i < op->n; i++) {
        if (op->items[i].status == DLOAD_MISSING)
            rc = dload_sqlite_i_lease_look(c, &op->items[i], dload_sqlite_i_now_ms(c->owner));
        rc = rc == SQLITE_TOOBIG ? SQLITE_OK : rc;
    }
    return one ? rc : dload_sqlite_i_end(c, rc);
}

/* Leases of what the read before found neither a value nor a holder of. */
DLOAD_I_LOCAL int dload_sqlite_i_lease(dload_sqlite_i_conn *c, dload_store_op *op)
{
    int rc = dload_sqlite_i_do(c, DLOAD_SQLITE_I_BEGIN_WRITE);
    if (rc != SQLITE_OK)
        return rc;
    const int64_t now_ms = dload_sqlite_i_now_ms(c->owner);
    rc = dload_sqlite_i_get(c, op); /* somebody may have filled it in since */
    for (size_t i = 0; rc == SQLITE_OK && i < op->n; i++) {
        if (op->items[i].status == DLOAD_MISSING)
            rc = dload_sqlite_i_lease_take(c, &op->items[i], now_ms);
    }
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_lease_purge(c, now_ms);
    return dload_sqlite_i_end(c, rc);
}

/* One key of a request that writes. Leases: there are some, which may have to be revoked. */
DLOAD_I_LOCAL int dload_sqlite_i_write_one(dload_sqlite_i_conn *c, dload_store_kind kind,
                                           dload_store_item *item, int64_t now_ms, bool leases)
{
    int rc = SQLITE_OK;
    bool was = false;
    item->status = DLOAD_OK;
    switch (kind) {
    case DLOAD_STORE_SET:
        if (leases)
            rc = dload_sqlite_i_about(c, DLOAD_SQLITE_I_LEASE_DELETE, item);
        return rc == SQLITE_OK ? dload_sqlite_i_put(c, item, now_ms) : rc;
    case DLOAD_STORE_DELETE:
        rc = dload_sqlite_i_about(c, DLOAD_SQLITE_I_DELETE, item);
        return rc == SQLITE_OK && leases
                   ? dload_sqlite_i_about(c, DLOAD_SQLITE_I_LEASE_DELETE, item)
                   : rc;
    case DLOAD_STORE_CLEAR:
        rc = dload_sqlite_i_clear(c, item, false);
        return rc == SQLITE_OK && leases ? dload_sqlite_i_clear(c, item, true) : rc;
    case DLOAD_STORE_FILL:
        item->status = DLOAD_ELOCK;
        rc = dload_sqlite_i_lease_end(c, item, now_ms, false, &was);
        return rc == SQLITE_OK && was ? dload_sqlite_i_put(c, item, now_ms) : rc;
    default:
        return dload_sqlite_i_lease_end(c, item, now_ms, true, &was);
    }
}

DLOAD_I_LOCAL int dload_sqlite_i_write(dload_sqlite_i_conn *c, dload_store_op *op)
{
    const bool stores = op->kind == DLOAD_STORE_SET || op->kind == DLOAD_STORE_FILL;
    size_t n_gone = 0;
    int64_t any = 0;
    int rc = dload_sqlite_i_do(c, DLOAD_SQLITE_I_BEGIN_WRITE);
    if (rc != SQLITE_OK)
        return rc;
    const int64_t now_ms = dload_sqlite_i_now_ms(c->owner); /* it may have waited for long */
    rc = dload_sqlite_i_number(c, DLOAD_SQLITE_I_LEASE_ANY, &any);
    for (size_t i = 0; rc == SQLITE_OK && i < op->n; i++)
        rc = dload_sqlite_i_write_one(c, op->kind, &op->items[i], now_ms, any != 0);
    if (rc == SQLITE_OK && stores)
        rc = dload_sqlite_i_purge(c, now_ms, (int64_t)(2 * op->n) + DLOAD_SQLITE_I_PURGE_MORE,
                                  &n_gone);
    if (rc == SQLITE_OK && stores)
        rc = dload_sqlite_i_evict(c, op->n);
    return dload_sqlite_i_end(c, rc);
}

/* One connection, one transaction, in what is left of the request's time. */
DLOAD_I_LOCAL dload_status dload_sqlite_i_turn(dload_sqlite *q, dload_store_op *op, bool writes,
                                               uint64_t left_ns)
{
    dload_sqlite_i_conn *c = dload_sqlite_i_take(q, left_ns, writes);
    if (c == NULL)
        return DLOAD_ETIMEDOUT;
    dload_status st = dload_sqlite_i_ready(c, writes);
    if (st == DLOAD_OK && !sqlite3_get_autocommit(c->db))
        st = DLOAD_EBUSY; /* the caller's own handle, inside a transaction */
    if (st == DLOAD_OK && !writes)
        st = dload_sqlite_i_after(c, dload_sqlite_i_read(c, op));
    else if (st == DLOAD_OK && op->kind == DLOAD_STORE_LEASE)
        st = dload_sqlite_i_after(c, dload_sqlite_i_lease(c, op));
    else if (st == DLOAD_OK)
        st = dload_sqlite_i_after(c, dload_sqlite_i_write(c, op));
    dload_sqlite_i_give(q, c, writes);
    return st;
}

DLOAD_I_LOCAL dload_status dload_sqlite_i_run(dload_store *s, dload_store_op *op)
{
    dload_sqlite *q = (dload_sqlite *)(void *)s;
    const bool reads = op->kind == DLOAD_STORE_GET || op->kind == DLOAD_STORE_LEASE;
    if (op->kind >= DLOAD_STORE_N_KINDS)
        return DLOAD_EINVAL;
    if (getpid() != q->pid)
        return DLOAD_EFORK;
    const uint64_t timeout_ns = op->timeout_ns != 0 ? op->timeout_ns : q->timeout_ns;
    const uint64_t start_ns = dload_i_clock_precise(NULL);
    dload_status st = dload_sqlite_i_turn(q, op, !reads, timeout_ns);
    bool missing = false;
    for (size_t i = 0; st == DLOAD_OK && op->kind == DLOAD_STORE_LEASE && i < op->n; i++)
        missing = missing || op->items[i].status == DLOAD_MISSING;
    if (missing) {
        const uint64_t passed_ns = dload_i_clock_precise(NULL) - start_ns;
        st = dload_sqlite_i_turn(q, op, true, passed_ns < timeout_ns ? timeout_ns - passed_ns : 1);
    }
    if (st != DLOAD_OK)
        dload_sqlite_i_release(s, op);
    return st;
}

/* ---- beginning and end ---- */

DLOAD_I_LOCAL bool dload_sqlite_i_name_ok(const char *name)
{
    size_t n_bytes = 0;
    for (; name[n_bytes] != '\0'; n_bytes++) {
        const char ch = name[n_bytes];
        const bool letter = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_';
        if (!letter && !(n_bytes != 0 && ch >= '0' && ch <= '9'))
            return false;
        if (n_bytes >= 47)
            return false;
    }
    return n_bytes != 0 && sqlite3_strnicmp(name, "sqlite_", 7) != 0;
}

DLOAD_I_LOCAL dload_status dload_sqlite_i_check(const dload_sqlite_config *config)
{
    const char *path = config->path;
    if ((path == NULL) == (config->db == NULL))
        return DLOAD_EINVAL;
    if (path != NULL && (path[0] == '\0' || strcmp(path, ":memory:") == 0 || strlen(path) > 4000))
        return DLOAD_EINVAL;
    if (config->table != NULL && !dload_sqlite_i_name_ok(config->table))
        return DLOAD_EINVAL;
    if (config->n_connections > DLOAD_SQLITE_MAX_CONNECTIONS ||
        (unsigned)config->sync > (unsigned)DLOAD_SQLITE_SYNC_FULL)
        return DLOAD_EINVAL;
    if (config->max_bytes != 0 && config->max_bytes < DLOAD_SQLITE_I_MIN_BYTES)
        return DLOAD_EINVAL;
    if (config->cache_bytes > UINT64_C(1) << 40)
        return DLOAD_EINVAL;
    if (config->timeout_ns == DLOAD_NEVER)
        return DLOAD_EINVAL; /* nobody waits for ever */
    return DLOAD_OK;
}

/* A copy of a text; NULL = none, or no memory. */
DLOAD_I_LOCAL char *dload_sqlite_i_copy(const dload_env *env, const char *text, size_t *n_bytes)
{
    *n_bytes = text != NULL ? strlen(text) + 1 : 0;
    char *copy = text != NULL ? (char *)dload_i_alloc(env, *n_bytes) : NULL;
    if (copy != NULL)
        memcpy(copy, text, *n_bytes);
    return copy;
}

DLOAD_I_LOCAL void dload_sqlite_i_free_texts(dload_sqlite *q)
{
    dload_i_free(q->store.env, q->path, q->path_bytes);
    dload_i_free(q->store.env, q->vfs, q->vfs_bytes);
    q->path = q->vfs = NULL;
}

DLOAD_I_LOCAL void dload_sqlite_i_set_up(dload_sqlite *q, const dload_sqlite_config *config)
{
    memset(q, 0, sizeof *q);
    q->store.name = "sqlite";
    q->store.flags = DLOAD_STORE_TTL | DLOAD_STORE_BATCH | DLOAD_STORE_LEASES;
    q->store.env = config->env != NULL ? config->env : dload_env_default();
    q->store.run = dload_sqlite_i_run;
    q->store.release = dload_sqlite_i_release;
    q->store.hooks = config->hooks;
    (void)sqlite3_snprintf((int)sizeof q->table, q->table, "%s",
                           config->table != NULL ? config->table : "dataloader");
    q->timeout_ns = config->timeout_ns != 0 ? config->timeout_ns : DLOAD_SQLITE_I_TIMEOUT_NS;
    q->max_bytes = config->max_bytes;
    q->cache_bytes = config->cache_bytes != 0 ? config->cache_bytes : 32u << 20;
    q->wall_ms = config->wall_ms != NULL ? config->wall_ms : dload_sqlite_i_wall_ms;
    q->wall_ctx = config->wall_ctx;
    q->sync = config->sync;
    q->recreate = config->recreate;
    q->check = config->check;
    q->pid = getpid();
    q->n_conns = config->n_connections != 0 ? config->n_connections : 4;
    if (config->db != NULL || sqlite3_threadsafe() == 0)
        q->n_conns = 1; /* SQLite built without mutexes: not even two connections go at a time */
    for (uint32_t i = 0; i < q->n_conns; i++)
        q->conn[i].owner = q;
    q->conn[0].db = config->db;
}

/* From now on by its full name: a program may change its folder before another connection is opened. */
DLOAD_I_LOCAL void dload_sqlite_i_full_path(dload_sqlite *q)
{
    const char *full = q->path != NULL && strncmp(q->path, "file:", 5) != 0
                           ? sqlite3_db_filename(q->conn[0].db, "main")
                           : NULL;
    size_t n_bytes = 0;
    char *copy = full != NULL ? dload_sqlite_i_copy(q->store.env, full, &n_bytes) : NULL;
    if (copy == NULL)
        return;
    dload_i_free(q->store.env, q->path, q->path_bytes);
    q->path = copy;
    q->path_bytes = n_bytes;
}

/* Ends a store: closes its connections. No request may be running, and what GETs brought must have been
 * released. Returns DLOAD_OK; DLOAD_EINVAL; DLOAD_EBUSY, and nothing happened: a request runs; DLOAD_EFORK in a
 * child process, where nothing is touched. */
DLOAD_I_UNUSED static dload_status dload_sqlite_destroy(dload_sqlite *q)
{
    if (q == NULL)
        return DLOAD_EINVAL;
    if (getpid() != q->pid)
        return DLOAD_EFORK;
    (void)pthread_mutex_lock(&q->mutex);
    bool busy = q->n_taken != 0;
    (void)pthread_mutex_unlock(&q->mutex);
    if (busy)
        return DLOAD_EBUSY;
    for (uint32_t i = 0; i < q->n_conns; i++) {
        if (q->conn[i].db != NULL)
            dload_sqlite_i_close(&q->conn[i]);
    }
    (void)pthread_mutex_destroy(&q->mutex);
    (void)pthread_cond_destroy(&q->given);
    dload_sqlite_i_free_texts(q);
    return DLOAD_OK;
}

/* Makes a store, and the file when it is not there; opens one connection, others when they are needed.
 * Returns DLOAD_OK; DLOAD_EINVAL: see the fields' ranges; DLOAD_ENOMEM; DLOAD_EIO: it cannot be opened or written;
 * DLOAD_ELAYOUT: there is a table of that name which is not ours; DLOAD_ETIMEDOUT: somebody has it locked;
 * DLOAD_EBACKEND: it is damaged, or no SQLite file (config.recreate puts it aside). hooks->log is told why. After a
 * failure there is nothing to destroy. Allocates: texts from env; the rest is SQLite's. */
DLOAD_I_UNUSED static dload_status dload_sqlite_init(dload_sqlite *q,
                                                     const dload_sqlite_config *config)
{
    if (q == NULL || config == NULL)
        return DLOAD_EINVAL;
    dload_status st = dload_sqlite_i_check(config);
    if (st != DLOAD_OK)
        return st;
    dload_sqlite_i_set_up(q, config);
    q->path = dload_sqlite_i_copy(q->store.env, config->path, &q->path_bytes);
    q->vfs = dload_sqlite_i_copy(q->store.env, config->vfs, &q->vfs_bytes);
    if ((config->path != NULL && q->path == NULL) || (config->vfs != NULL && q->vfs == NULL) ||
        !dload_threads_i_pair_init(&q->mutex, &q->given)) {
        dload_sqlite_i_free_texts(q);
        return DLOAD_ENOMEM;
    }
    dload_sqlite_i_conn *c = dload_sqlite_i_take(q, q->timeout_ns, true);
    int rc = SQLITE_OK;
    st = config->db != NULL ? dload_sqlite_i_open(c, &rc) : dload_sqlite_i_ready(c, true);
    dload_sqlite_i_give(q, c, true);
    if (st == DLOAD_OK)
        dload_sqlite_i_full_path(q);
    else
        (void)dload_sqlite_destroy(q);
    return st;
}

/* Removes expired entries, at most n_most of them in one transaction, and says in *n_gone (may be NULL) how
 * many. Writes do so by themselves, so this is for programs that hardly write. Returns
 * DLOAD_OK; what requests return. Any thread. */
DLOAD_I_UNUSED static dload_status dload_sqlite_purge(dload_sqlite *q, size_t n_most,
                                                      size_t *n_gone)
{
    size_t gone = 0;
    if (q == NULL || n_most > INT32_MAX)
        return DLOAD_EINVAL;
    if (getpid() != q->pid)
        return DLOAD_EFORK;
    dload_sqlite_i_conn *c = dload_sqlite_i_take(q, q->timeout_ns, true);
    if (c == NULL)
        return DLOAD_ETIMEDOUT;
    dload_status st = dload_sqlite_i_ready(c, true);
    if (st == DLOAD_OK) {
        int rc = dload_sqlite_i_do(c, DLOAD_SQLITE_I_BEGIN_WRITE);
        if (rc == SQLITE_OK) {
            rc = dload_sqlite_i_purge(c, dload_sqlite_i_now_ms(q), (int64_t)n_most, &gone);
            rc = dload_sqlite_i_end(c, rc);
        }
        st = dload_sqlite_i_after(c, rc);
    }
    dload_sqlite_i_give(q, c, true);
    if (n_gone != NULL)
        *n_gone = st == DLOAD_OK ? gone : 0;
    return st;
}

#endif /* DATALOADER_SQLITE_H */
