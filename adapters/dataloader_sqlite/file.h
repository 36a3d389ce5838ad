/* dataloader_sqlite/file.h -- which thread has which connection, and a file that is damaged or gone; a part of
 * dataloader_sqlite.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Here: lending connections to threads, one writer at a time; reopening, and putting a damaged file aside.
 * Not here: a connection by itself (dataloader_sqlite/conn.h, dataloader_sqlite/open.h); requests (dataloader_sqlite/ops.h, dataloader_sqlite.h).
 */
#ifndef DATALOADER_SQLITE_FILE_H
#define DATALOADER_SQLITE_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "open.h"

#define DLOAD_SQLITE_I_LOOK_NS (100 * DLOAD_MILLISECOND) /* reads look for the file so often */
#ifdef O_CLOEXEC
#define DLOAD_SQLITE_I_O_CLOEXEC O_CLOEXEC
#else
#define DLOAD_SQLITE_I_O_CLOEXEC 0 /* hidden by a strict -std=c11; it is open for a moment only */
#endif

/* ---- who uses a connection ---- */

/* A connection for a request, within its time; NULL = there was none. One request writes at a time: SQLite
 * would have the others ask again and again. */
DLOAD_I_LOCAL dload_sqlite_i_conn *dload_sqlite_i_take(dload_sqlite *q, uint64_t timeout_ns,
                                                       bool writes)
{
    const uint64_t until_ns = dload_i_add_ns(dload_i_clock_precise(NULL), timeout_ns);
    dload_sqlite_i_conn *c = NULL;
    (void)pthread_mutex_lock(&q->mutex);
    for (;;) {
        /* The one used last time is warm: the first free one, not the next. */
        for (uint32_t i = 0; c == NULL && i < q->n_conns && !(writes && q->writing); i++)
            c = !q->conn[i].taken ? &q->conn[i] : NULL;
        if (c != NULL || dload_i_clock_precise(NULL) >= until_ns)
            break;
        dload_threads_i_wait(&q->given, &q->mutex, until_ns);
    }
    if (c != NULL) {
        c->taken = true;
        q->n_taken++;
        q->writing = q->writing || writes;
    }
    (void)pthread_mutex_unlock(&q->mutex);
    if (c != NULL) {
        c->timeout_ns = timeout_ns;
        c->napped_ns = 0;
        c->deadline_ns = dload_i_add_ns(dload_i_now(q->store.env), timeout_ns);
    }
    return c;
}

DLOAD_I_LOCAL void dload_sqlite_i_give(dload_sqlite *q, dload_sqlite_i_conn *c, bool writes)
{
    (void)pthread_mutex_lock(&q->mutex);
    c->taken = false;
    q->n_taken--;
    q->writing = q->writing && !writes;
    (void)pthread_cond_broadcast(&q->given); /* who waits to write and who to read are one line */
    (void)pthread_mutex_unlock(&q->mutex);
}

/* ---- damaged and missing files ---- */

/* Renames the file and its log, by the name that links lead to. The handle that found the damage is open still, so
 * that its file is known to be the one renamed, and so that closing it later touches neither the new file nor the
 * new log. */
DLOAD_I_LOCAL bool dload_sqlite_i_rename(dload_sqlite *q, const char *path)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    const size_t n_bytes = 2 * (strlen(path) + 16);
    char *from = (char *)dload_i_alloc(q->store.env, n_bytes);
    bool ok = from != NULL;
    for (unsigned i = 0; ok && i < sizeof ends / sizeof ends[0]; i++) {
        char *to = from + n_bytes / 2;
        (void)sqlite3_snprintf((int)(n_bytes / 2), from, "%s%s", path, ends[i]);
        (void)sqlite3_snprintf((int)(n_bytes / 2), to, "%s.damaged%s", path, ends[i]);
        ok = rename(from, to) == 0 || i != 0;
    }
    dload_i_free(q->store.env, from, n_bytes);
    return ok;
}

/* One process at a time puts a file aside: under a lock of its folder, which leaves nothing behind and ends with
 * who has it. -1 = it cannot be had. */
DLOAD_I_LOCAL int dload_sqlite_i_lock_folder(dload_sqlite_i_conn *c, const char *path)
{
    const dload_env *env = c->owner->store.env;
    const size_t n_bytes = strlen(path) + 2;
    char *folder = (char *)dload_i_alloc(env, n_bytes);
    if (folder == NULL)
        return -1;
    memcpy(folder, path, n_bytes - 1);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        memcpy(folder, ".", 2);
    else
        slash[slash == folder] = '\0';
    int fd = open(folder, O_RDONLY | DLOAD_SQLITE_I_O_CLOEXEC);
    dload_i_free(env, folder, n_bytes);
    for (int n = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0; n++) {
        if (dload_sqlite_i_on_busy(c, n))
            continue;
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

/* The file is damaged: put it aside, if that is wanted and nobody has done so yet. True: opening may help. */
DLOAD_I_LOCAL bool dload_sqlite_i_put_aside(dload_sqlite_i_conn *c)
{
    dload_sqlite *q = c->owner;
    if (!q->recreate || q->path == NULL || c->db == NULL)
        return false;
    const char *path = sqlite3_db_filename(c->db, "main");
    int fd = path != NULL && path[0] != '\0' ? dload_sqlite_i_lock_folder(c, path) : -1;
    if (fd < 0)
        return false;
    bool ok = true;
    if (!dload_sqlite_i_moved(c)) {
        ok = dload_sqlite_i_rename(q, path);
        dload_sqlite_i_log(q,
                           ok ? "damaged; put aside as .damaged, a new file begins"
                              : "damaged, and cannot be put aside",
                           NULL);
    }
    (void)close(fd);
    return ok;
}

/* A connection that is open and whose file is where it was. */
DLOAD_I_LOCAL dload_status dload_sqlite_i_ready(dload_sqlite_i_conn *c, bool writes)
{
    dload_sqlite *q = c->owner;
    const uint64_t now_ns = dload_i_now(q->store.env);
    int rc = SQLITE_OK;
    if (q->path != NULL && c->db != NULL &&
        (writes || now_ns - c->looked_ns >= DLOAD_SQLITE_I_LOOK_NS)) {
        c->looked_ns = now_ns;
        if (dload_sqlite_i_moved(c)) {
            dload_sqlite_i_log(q, "the file was removed or replaced; opening it anew", NULL);
            dload_sqlite_i_close(c);
        }
    }
    if (c->db != NULL)
        return DLOAD_OK;
    dload_status st = dload_sqlite_i_open(c, &rc);
    if (dload_sqlite_i_damaged(rc)) {
        bool again = dload_sqlite_i_put_aside(c);
        dload_sqlite_i_close(c);
        st = again ? dload_sqlite_i_open(c, &rc) : st;
        if (st != DLOAD_OK)
            dload_sqlite_i_close(c);
    }
    return st;
}

/* What becomes of a connection after SQLite said rc. */
DLOAD_I_LOCAL dload_status dload_sqlite_i_after(dload_sqlite_i_conn *c, int rc)
{
    dload_sqlite *q = c->owner;
    if (rc == SQLITE_OK || !dload_sqlite_i_spoilt(rc))
        return dload_sqlite_i_status(rc);
    dload_sqlite_i_log(q, "a request failed", sqlite3_errstr(rc));
    if (dload_sqlite_i_damaged(rc))
        (void)dload_sqlite_i_put_aside(c);
    dload_sqlite_i_close(c);
    return dload_sqlite_i_status(rc);
}

#endif /* DATALOADER_SQLITE_FILE_H */
