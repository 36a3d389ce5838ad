/* The packages in SQLite.
 *
 *   package   one row each: name, version, size and, as in the file, a list of what it depends on
 *   name      every name that a package answers to, its own and those it provides
 */
#define _POSIX_C_SOURCE 200809L
#include "depgraph_stb.h"
#include "depgraph_db.h"
#include "depgraph_progress.h"
#include "depgraph_source.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char schema[] =
    "CREATE TABLE package(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, detail TEXT NOT NULL,"
    "                     size_kib INTEGER NOT NULL, n_depends INTEGER NOT NULL,"
    "                     depends BLOB NOT NULL);"
    "CREATE TABLE name(name TEXT PRIMARY KEY, package INTEGER NOT NULL) WITHOUT ROWID;";

struct row *row_from(sqlite3_stmt *statement, int first)
{
    const char *name = (const char *)sqlite3_column_text(statement, first);
    const char *detail = (const char *)sqlite3_column_text(statement, first + 1);
    const void *depends = sqlite3_column_blob(statement, first + 4);
    size_t n_name = (size_t)sqlite3_column_bytes(statement, first) + 1;
    size_t n_detail = (size_t)sqlite3_column_bytes(statement, first + 1) + 1;
    size_t n_depends = (size_t)sqlite3_column_bytes(statement, first + 4);
    struct row *row = depgraph_realloc(NULL, sizeof *row + n_name + n_detail + n_depends);
    char *bytes = (char *)(row + 1);

    /* The columns are NOT NULL, so there was no memory for their text. */
    if (name == NULL || detail == NULL) {
        fputs("depgraph: sqlite is out of memory\n", stderr);
        exit(2);
    }
    row->refs = 1;
    row->size_kib = (uint64_t)sqlite3_column_int64(statement, first + 2);
    row->n_depends = (uint32_t)sqlite3_column_int64(statement, first + 3);
    row->name = memcpy(bytes, name, n_name);
    row->detail = memcpy(bytes + n_name, detail, n_detail);
    row->depends = bytes + n_name + n_detail;
    if (n_depends > 0) {
        memcpy(bytes + n_name + n_detail, depends, n_depends);
    }
    return row;
}

void row_unref(struct row *row)
{
    if (row != NULL && --row->refs == 0) {
        free(row);
    }
}

bool db_fail(struct db *db, const char *doing)
{
    fprintf(stderr, "depgraph: %s: sqlite says: %s\n", doing, sqlite3_errmsg(db->handle));
    return false;
}

static bool run(struct db *db, const char *sql)
{
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK || db_fail(db, sql);
}

sqlite3_stmt *db_prepare(struct db *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
        SQLITE_OK) {
        db_fail(db, sql);
    }
    return statement;
}

/* The file loses its name as soon as SQLite has opened it, so nothing can be left behind: its blocks
 * are free again when the process ends, by whatever signal. For the moment between the two, signals
 * wait. */
static bool open_nameless(struct db *db)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/depgraph-XXXXXX",
                          folder != NULL && *folder != '\0' ? folder : "/tmp");
    sigset_t all;
    sigset_t before;
    int fd;
    bool ok = false;

    if (length < 0 || (size_t)length >= sizeof path) {
        fprintf(stderr, "depgraph: TMPDIR is too long\n");
        return false;
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    fd = mkstemp(path);
    if (fd >= 0) {
        ok = sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK;
        unlink(path);
        close(fd);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (fd < 0) {
        fprintf(stderr, "depgraph: %s: cannot be made: %s\n", path, strerror(errno));
        return false;
    }
    return ok || db_fail(db, "opening the database");
}

bool db_open(struct db *db)
{
    *db = (struct db){NULL, 0};
    /* No journal: it would be a second file, and there is nothing to recover after a crash. */
    return open_nameless(db) && run(db, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;") &&
           run(db, schema);
}

void db_close(struct db *db)
{
    sqlite3_close(db->handle);
    db->handle = NULL;
}

uint64_t db_bytes(struct db *db)
{
    sqlite3_stmt *statement =
        db_prepare(db, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
    uint64_t n_bytes = 0;

    if (sqlite3_step(statement) == SQLITE_ROW) {
        n_bytes = (uint64_t)sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return n_bytes;
}

static void bind_string(sqlite3_stmt *statement, int at, const char *string)
{
    sqlite3_bind_text(statement, at, string, -1, SQLITE_STATIC);
}

static bool insert_package(struct db *db, sqlite3_stmt *insert, const struct source *s, size_t i)
{
    const struct package *p = &s->packages[i];
    char *depends = NULL;
    bool ok;

    for (size_t k = 0; k < arrlenu(p->depends); k++) {
        const char *name = s->names[p->depends[k].name].key;
        size_t n = strlen(name) + 1;
        memcpy(arraddnptr(depends, n), name, n);
    }
    sqlite3_bind_int64(insert, 1, (sqlite3_int64)i);
    bind_string(insert, 2, s->names[p->name].key);
    sqlite3_bind_text64(insert, 3, p->detail.ptr, p->detail.len, SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_int64(insert, 4, (sqlite3_int64)p->size_kib);
    sqlite3_bind_int64(insert, 5, (sqlite3_int64)arrlenu(p->depends));
    sqlite3_bind_blob64(insert, 6, depends != NULL ? depends : "", arrlenu(depends), SQLITE_STATIC);
    ok = sqlite3_step(insert) == SQLITE_DONE;
    sqlite3_reset(insert);
    arrfree(depends);
    return ok || db_fail(db, "writing a package");
}

static bool insert_name(struct db *db, sqlite3_stmt *insert, const struct name *name)
{
    bind_string(insert, 1, name->key);
    sqlite3_bind_int64(insert, 2, (sqlite3_int64)name->value);
    if (sqlite3_step(insert) != SQLITE_DONE) {
        return db_fail(db, "writing a name");
    }
    sqlite3_reset(insert);
    return true;
}

bool db_fill(struct db *db, const struct source *source, struct progress *progress)
{
    sqlite3_stmt *package = db_prepare(db, "INSERT INTO package VALUES(?, ?, ?, ?, ?, ?)");
    sqlite3_stmt *name = db_prepare(db, "INSERT INTO name VALUES(?, ?)");
    bool ok = package != NULL && name != NULL && run(db, "BEGIN");

    progress_begin(progress, "writing the database", source->nouns);
    for (size_t i = 0; ok && i < arrlenu(source->packages); i++) {
        ok = insert_package(db, package, source, i);
        progress_step(progress, i, arrlenu(source->packages));
    }
    progress_begin(progress, "writing the database", "names");
    for (size_t i = 0; ok && i < shlenu(source->names); i++) {
        if (source->names[i].value != NO_PACKAGE) {
            ok = insert_name(db, name, &source->names[i]);
        }
        progress_step(progress, i, shlenu(source->names));
    }
    progress_end(progress);
    sqlite3_finalize(package);
    sqlite3_finalize(name);
    return ok && run(db, "COMMIT; ANALYZE;");
}
