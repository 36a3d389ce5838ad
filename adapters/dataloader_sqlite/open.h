/* dataloader_sqlite/open.h -- opening and closing a connection, its settings, tables and log; a part of
 * dataloader_sqlite.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Here: what is done once with a handle, and what it does after each commit. Not here: its statements and errors
 * (dataloader_sqlite/conn.h); files that are damaged or gone (dataloader_sqlite/file.h).
 */
#ifndef DATALOADER_SQLITE_OPEN_H
#define DATALOADER_SQLITE_OPEN_H

#include "conn.h"

#define DLOAD_SQLITE_I_LOG_PAGES \
    1000 /* in the log, from which on it is copied to the file after each commit */
#define DLOAD_SQLITE_I_LOG_MOST    4000 /* ... from which on that waits for readers */
#define DLOAD_SQLITE_I_LOG_WAIT_NS (50 * DLOAD_MILLISECOND)

/* ---- the schema ---- */

/* What the file has under our names: how much, and which of our texts (bits). */
DLOAD_I_LOCAL int dload_sqlite_i_look(dload_sqlite_i_conn *c, unsigned *n_there, unsigned *ours)
{
    static const char find[] = "SELECT sql FROM main.sqlite_master WHERE lower(tbl_name) IN "
                               "(lower(?1),lower(?1||'_leases')) "
                               "AND sql IS NOT NULL OR lower(name) IN "
                               "(lower(?1),lower(?1||'_leases'),lower(?1||'_expires'))";
    char want[DLOAD_SQLITE_I_SQL_BYTES];
    sqlite3_stmt *st = NULL;
    *n_there = *ours = 0;
    int rc = sqlite3_prepare_v2(c->db, find, -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(st, 1, c->owner->table, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *is = (const char *)sqlite3_column_text(st, 0);
        if (is == NULL && sqlite3_column_type(st, 0) != SQLITE_NULL) {
            rc = SQLITE_NOMEM;
            break;
        }
        ++*n_there;
        for (unsigned i = 0; is != NULL && dload_sqlite_i_schema(i) != NULL; i++) {
            (void)sqlite3_snprintf((int)sizeof want, want, dload_sqlite_i_schema(i),
                                   c->owner->table, c->owner->table);
            if (strcmp(is, want) == 0)
                *ours |= 1u << i;
        }
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Is all that is there ours? Then what is missing may be made. */
DLOAD_I_LOCAL bool dload_sqlite_i_only_ours(unsigned n_there, unsigned ours)
{
    return n_there == (ours & 1) + (ours >> 1 & 1) + (ours >> 2 & 1);
}

/* Makes what is missing. Somebody else may do so at the same time. */
DLOAD_I_LOCAL int dload_sqlite_i_create(dload_sqlite_i_conn *c, unsigned *n_there, unsigned *ours)
{
    char text[DLOAD_SQLITE_I_SQL_BYTES];
    int rc = dload_sqlite_i_exec(c, "BEGIN IMMEDIATE");
    if (rc != SQLITE_OK)
        return rc;
    rc = dload_sqlite_i_look(c, n_there, ours);
    const bool may = dload_sqlite_i_only_ours(*n_there, *ours);
    for (unsigned i = 0; rc == SQLITE_OK && may && dload_sqlite_i_schema(i) != NULL; i++) {
        if ((*ours >> i & 1) != 0)
            continue;
        (void)sqlite3_snprintf((int)sizeof text, text, dload_sqlite_i_schema(i), c->owner->table,
                               c->owner->table);
        rc = dload_sqlite_i_exec(c, text);
    }
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_exec(c, "COMMIT");
    if (rc != SQLITE_OK) {
        if (!sqlite3_get_autocommit(c->db))
            (void)dload_sqlite_i_exec(c, "ROLLBACK");
        return rc;
    }
    return dload_sqlite_i_look(c, n_there, ours);
}

DLOAD_I_LOCAL dload_status dload_sqlite_i_ensure(dload_sqlite_i_conn *c, int *rc)
{
    unsigned n_there = 0, ours = 0;
    *rc = dload_sqlite_i_look(c, &n_there, &ours);
    if (*rc == SQLITE_OK && ours != 7 && dload_sqlite_i_only_ours(n_there, ours))
        *rc = dload_sqlite_i_create(c, &n_there, &ours);
    if (*rc != SQLITE_OK)
        return dload_sqlite_i_status(*rc);
    if (n_there == 3 && ours == 7)
        return DLOAD_OK;
    dload_sqlite_i_log(c->owner, "its table is another program's, or of another version",
                       c->owner->table);
    return DLOAD_ELAYOUT;
}

/* ---- opening and closing ---- */

/* Statements are finalised; the handle is closed unless it is the caller's. */
DLOAD_I_LOCAL void dload_sqlite_i_close(dload_sqlite_i_conn *c)
{
    for (unsigned i = 0; i < DLOAD_SQLITE_I_N_SQL; i++) {
        (void)sqlite3_finalize(c->sql[i]);
        c->sql[i] = NULL;
    }
    for (unsigned i = 0; i < DLOAD_SQLITE_I_N_GETS; i++) {
        (void)sqlite3_finalize(c->gets[i]);
        c->gets[i] = NULL;
    }
    if (c->owner->path == NULL)
        return;
    (void)sqlite3_close_v2(c->db);
    c->db = NULL;
}

/* Switching to WAL needs the file alone for a moment and does not wait for it by itself. */
DLOAD_I_LOCAL int dload_sqlite_i_wal(dload_sqlite_i_conn *c)
{
    char mode[16];
    int rc = SQLITE_BUSY;
    for (int n = 0; (rc & 0xff) == SQLITE_BUSY; n++) {
        rc = dload_sqlite_i_ask(c, "PRAGMA main.journal_mode=WAL", mode, sizeof mode);
        if ((rc & 0xff) == SQLITE_BUSY && !dload_sqlite_i_on_busy(c, n))
            break;
    }
    if (rc == SQLITE_OK && strcmp(mode, "wal") != 0)
        dload_sqlite_i_log(c->owner, "no write-ahead log here: readers wait for writers", mode);
    /* What may only be read may still be read. */
    return (rc & 0xff) == SQLITE_READONLY ? SQLITE_OK : rc;
}

/* After each commit, with how many pages are in the log. Usually as much of it as readers allow is copied to the file
 * and the log begins anew when nobody reads it. With readers all the time nobody ever does not: measured, one reader
 * let the log of an 8 MiB file grow to 160 MiB. So from some size on the next readers are made to wait, shortly:
 * one that was stopped while it read must not stop those who write. */
DLOAD_I_LOCAL int dload_sqlite_i_on_commit(void *ctx, sqlite3 *db, const char *name, int n_pages)
{
    dload_sqlite_i_conn *c = (dload_sqlite_i_conn *)ctx;
    const uint64_t deadline_ns = c->deadline_ns, timeout_ns = c->timeout_ns,
                   napped_ns = c->napped_ns;
    if (n_pages < DLOAD_SQLITE_I_LOG_PAGES) {
        c->log_most = DLOAD_SQLITE_I_LOG_MOST;
        return SQLITE_OK;
    }
    if (n_pages < c->log_most) {
        (void)sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        return SQLITE_OK;
    }
    c->timeout_ns = DLOAD_SQLITE_I_LOG_WAIT_NS;
    c->deadline_ns = dload_i_add_ns(dload_i_now(c->owner->store.env), c->timeout_ns);
    c->napped_ns = 0;
    if (sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_RESTART, NULL, NULL) != SQLITE_OK)
        c->log_most = n_pages + DLOAD_SQLITE_I_LOG_PAGES; /* not each time */
    c->deadline_ns = deadline_ns;
    c->timeout_ns = timeout_ns;
    c->napped_ns += napped_ns;
    return SQLITE_OK; /* the commit stands, whatever became of the log */
}

/* Settings of a handle of our own. */
DLOAD_I_LOCAL int dload_sqlite_i_settle(dload_sqlite_i_conn *c)
{
    static const char *const modes[] = {"NORMAL", "OFF", "NORMAL", "FULL"};
    char text[320], answer[32];
    (void)sqlite3_snprintf((int)sizeof text, text,
                           "PRAGMA cell_size_check=ON;PRAGMA trusted_schema=OFF;"
                           "PRAGMA temp_store=MEMORY;PRAGMA main.cache_size=-%lld;"
                           "PRAGMA main.synchronous=%s;PRAGMA main.journal_size_limit=16777216",
                           (sqlite3_int64)(c->owner->cache_bytes / 1024), modes[c->owner->sync]);
    int rc = dload_sqlite_i_exec(c, text);
    if (rc == SQLITE_OK)
        rc = dload_sqlite_i_wal(c);
    if (rc == SQLITE_OK && c->owner->check) {
        rc = dload_sqlite_i_ask(c, "PRAGMA main.quick_check(1)", answer, sizeof answer);
        if (rc == SQLITE_OK && strcmp(answer, "ok") != 0)
            rc = SQLITE_CORRUPT;
    }
    return rc;
}

/* Opens what is closed. Leaves it closed, and says in *rc what SQLite said, when that fails; a damaged file
 * stays open, so that it can be told from others. */
DLOAD_I_LOCAL dload_status dload_sqlite_i_open(dload_sqlite_i_conn *c, int *rc)
{
    dload_sqlite *q = c->owner;
    char answer[16];
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    *rc = SQLITE_OK;
    if (q->path != NULL) {
        *rc = sqlite3_open_v2(q->path, &c->db, flags, q->vfs);
        if (*rc == SQLITE_OK)
            (void)sqlite3_extended_result_codes(c->db, 1);
        if (*rc == SQLITE_OK)
            *rc = sqlite3_busy_handler(c->db, dload_sqlite_i_on_busy, c);
        if (*rc == SQLITE_OK) {
            sqlite3_progress_handler(c->db, DLOAD_SQLITE_I_PROGRESS, dload_sqlite_i_on_progress, c);
            *rc = dload_sqlite_i_settle(c);
            (void)sqlite3_wal_hook(c->db, dload_sqlite_i_on_commit, c);
        }
    }
    dload_status st = dload_sqlite_i_status(*rc);
    if (st == DLOAD_OK)
        st = dload_sqlite_i_ensure(c, rc);
    if (st == DLOAD_OK) {
        *rc = dload_sqlite_i_ask(c, "PRAGMA main.page_size", answer, sizeof answer);
        st = dload_sqlite_i_status(*rc);
        c->page_bytes = atoi(answer);
        c->looked_ns = dload_i_now(q->store.env);
    }
    if (st != DLOAD_OK && *rc != SQLITE_OK)
        dload_sqlite_i_log(q, "cannot be opened",
                           c->db != NULL ? sqlite3_errmsg(c->db) : sqlite3_errstr(*rc));
    if (st != DLOAD_OK && !dload_sqlite_i_damaged(*rc))
        dload_sqlite_i_close(c);
    return st;
}

/* Was the file removed, or another put in its place? Then what we have open is nobody's any more. */
DLOAD_I_LOCAL bool dload_sqlite_i_moved(dload_sqlite_i_conn *c)
{
    int moved = 0;
    return sqlite3_file_control(c->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
           moved != 0;
}

#endif /* DATALOADER_SQLITE_OPEN_H */
