/* What the suites of the SQLite store share: a store on a file in a folder of its own, a clock that is moved, and a
 * log that is kept. A program includes dataloader.h with DLOAD_STORE 1, the adapter and support.h before. */
#ifndef DLOAD_TESTS_SQLITE_H
#define DLOAD_TESTS_SQLITE_H

#include "servers/server.h"
#include "stores/store_case.h"

#include <pthread.h>

struct db {
    struct store_case x; /* first: *state is this one */
    dload_sqlite q;
    dload_sqlite_config cfg;
    dload_store_hooks hooks;
    struct fake_env f;
    pthread_mutex_t mutex; /* of the log */
    struct text log;
    uint64_t wall_ms; /* of cfg.wall_ms = db_wall; atomic */
    char folder[64], path[96];
};

static inline void db_on_log(void *ctx, const char *store, const char *text)
{
    struct db *t = ctx;
    assert_string_equal(store, "sqlite");
    (void)pthread_mutex_lock(&t->mutex);
    if (t->log.len < 4000)
        text_add(&t->log, "%s\n", text);
    (void)pthread_mutex_unlock(&t->mutex);
}

static inline uint64_t db_wall(void *ctx)
{
    struct db *t = ctx;
    return __atomic_load_n(&t->wall_ms, __ATOMIC_RELAXED);
}

/* A folder, and a configuration of a file in it; nothing is opened. */
static inline struct db *db_new(void)
{
    struct db *t = calloc(1, sizeof *t);
    assert_non_null(t);
    assert_true(server_folder(t->folder, sizeof t->folder));
    (void)snprintf(t->path, sizeof t->path, "%s/cache.db", t->folder);
    (void)pthread_mutex_init(&t->mutex, NULL);
    fake_env_init_real(&t->f);
    t->wall_ms = UINT64_C(1800000000000);
    t->hooks.log = db_on_log;
    t->hooks.ctx = t;
    t->cfg.path = t->path;
    t->cfg.env = &t->f.env;
    t->cfg.hooks = &t->hooks;
    t->cfg.wall_ctx = t;
    t->x.s = &t->q.store;
    t->x.ctx = t;
    return t;
}

static inline struct db *db_open(void)
{
    struct db *t = db_new();
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    return t;
}

/* Removes the folder; the store must be destroyed. */
static inline void db_free(struct db *t)
{
    fake_env_check(&t->f);
    server_remove(t->folder);
    (void)pthread_mutex_destroy(&t->mutex);
    free(t);
}

static inline void db_close(struct db *t)
{
    must_ok(dload_sqlite_destroy(&t->q));
    db_free(t);
}

/* Removes the file and whatever lies beside it, so that the folder can be used again. */
static inline void db_unlink(struct db *t)
{
    static const char *const ends[] = {"",         "-wal",         "-shm",        "-journal",
                                       ".damaged", ".damaged-wal", ".damaged-shm"};
    char name[128];
    for (size_t i = 0; i < COUNT(ends); i++) {
        (void)snprintf(name, sizeof name, "%s%s", t->path, ends[i]);
        (void)unlink(name);
    }
}

/* Runs SQL by a handle of its own, and answers its first number. */
static inline int64_t db_sql(struct db *t, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    int64_t number = -1;
    equal(sqlite3_open(t->path, &db), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 10000);
    while (*sql != '\0') {
        int rc = sqlite3_prepare_v2(db, sql, -1, &st, &sql);
        if (rc == SQLITE_OK && st == NULL)
            break;
        if (rc == SQLITE_OK)
            rc = sqlite3_step(st);
        if (rc == SQLITE_ROW)
            number = sqlite3_column_int64(st, 0);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            fail_msg("%s", sqlite3_errmsg(db));
        (void)sqlite3_finalize(st);
    }
    equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

/* One request for one key; what it says, the request or the key. */
static inline dload_status db_one(struct db *t, dload_store_kind kind, dload_str key,
                                  dload_str value, uint64_t timeout_ns)
{
    dload_store_item item = store_item_set(key, value, DLOAD_NEVER);
    dload_store_op op = store_op(kind, &item, 1);
    op.timeout_ns = timeout_ns;
    dload_status st = dload_store_run(&t->q.store, &op);
    dload_store_release(&op);
    return st < 0 ? st : item.status;
}

static inline void db_log_has(struct db *t, const char *words)
{
    if (strstr(t->log.buf, words) == NULL)
        fail_msg("not logged: %s\n%s", words, t->log.buf);
    text_clear(&t->log);
}

/* Somebody else has the file locked for writing, until the handle is closed. */
static inline sqlite3 *db_lock(struct db *t)
{
    sqlite3 *db = NULL;
    equal(sqlite3_open(t->path, &db), SQLITE_OK);
    equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

#endif /* DLOAD_TESTS_SQLITE_H */
