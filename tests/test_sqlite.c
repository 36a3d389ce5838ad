/* The SQLite store: what every store must do, and what is special to a file: its tables, its text, who else uses
 * it. What ends entries has a suite of its own, test_sqlite_ends.c. */
/* links: sqlite3 */
/* tsan */
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_sqlite.h"
#include "support.h"

#include "test_sqlite.h"

#include "stores/cases.h"

/* ---- what every store must do ---- */

static int open_pool(void **state)
{
    *state = db_open();
    return 0;
}

/* One connection, and a bound that is never reached. */
static int open_alone(void **state)
{
    struct db *t = db_new();
    t->cfg.n_connections = 1;
    t->cfg.table = "one_only";
    t->cfg.max_bytes = UINT64_C(1) << 30;
    t->cfg.sync = DLOAD_SQLITE_SYNC_OFF;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    *state = t;
    return 0;
}

static int close_db(void **state)
{
    db_close(*state);
    return 0;
}

/* ---- the file and its tables ---- */

static void test_kept_over_restarts(void **state)
{
    struct db *t = db_open();
    (void)state;
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    store_set(&t->x, STR("an hour"), STR("w"), 3600 * DLOAD_SECOND);
    must_ok(dload_sqlite_destroy(&t->q));
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    store_get(&t->x, STR("k"), STR("v"));
    store_get(&t->x, STR("an hour"), STR("w"));
    equal(db_sql(t, "SELECT journal_mode='wal' FROM pragma_journal_mode()"), 1);
    equal(db_sql(t, "PRAGMA user_version"), 0); /* the caller's */
    text_must(&t->log, "");
    db_close(t);
}

static void test_two_tables_in_one_file(void **state)
{
    struct db *t = db_open();
    dload_sqlite other;
    struct store_case x = {0};
    (void)state;
    x.s = &other.store;
    t->cfg.table = "_Other9";
    must_ok(dload_sqlite_init(&other, &t->cfg));
    store_set(&t->x, STR("k"), STR("first"), DLOAD_NEVER);
    store_set(&x, STR("k"), STR("second"), DLOAD_NEVER);
    store_clear(&x, STR(""));
    store_get(&t->x, STR("k"), STR("first"));
    store_lacks(&x, STR("k"));
    must_ok(dload_sqlite_destroy(&other));
    db_close(t);
}

static void must_refuse(struct db *t, const char *sql)
{
    (void)db_sql(t, sql);
    int64_t before = db_sql(t, "SELECT count(*)+sum(length(sql)) FROM sqlite_master");
    must(dload_sqlite_init(&t->q, &t->cfg), DLOAD_ELAYOUT);
    db_log_has(t, "another program's");
    equal(db_sql(t, "SELECT count(*)+sum(length(sql)) FROM sqlite_master"), before);
}

/* Somebody else's table, an older version of ours, half of ours, one more trigger: refused and left alone. */
static void test_foreign_tables_are_refused(void **state)
{
    struct db *t = db_open();
    (void)state;
    must_ok(dload_sqlite_destroy(&t->q));
    must_refuse(t, "CREATE TRIGGER spy AFTER INSERT ON dataloader BEGIN SELECT 1; END");
    (void)db_sql(t, "DROP TRIGGER spy");
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    must_ok(dload_sqlite_destroy(&t->q));
    must_refuse(t, "ALTER TABLE dataloader ADD COLUMN more");
    (void)db_sql(t, "DROP TABLE dataloader"); /* what is left is ours: the rest is made again */
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    must_ok(dload_sqlite_destroy(&t->q));
    must_refuse(t, "DROP TABLE dataloader_leases; CREATE TABLE dataloader_leases(x)");
    must_refuse(t, "DROP TABLE dataloader");
    must_refuse(t, "DROP TABLE dataloader_leases; CREATE TABLE DataLoader(key, value)");
    must_refuse(t, "DROP TABLE dataloader; CREATE VIEW dataloader AS SELECT 1");
    (void)db_sql(t, "DROP VIEW dataloader");
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    db_close(t);
}

static void test_hostile_names_are_refused(void **state)
{
    static const char *const names[] = {"",
                                        "1a",
                                        "a-b",
                                        "a b",
                                        "a\"b",
                                        "a'b",
                                        "a;DROP TABLE x",
                                        "a%s",
                                        "a\n",
                                        "t\xc3\xa4",
                                        "sqlite_x",
                                        "SQLite_y",
                                        "a.b",
                                        "[a]",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct db *t = db_new();
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        t->cfg.table = names[i];
        must(dload_sqlite_init(&t->q, &t->cfg), DLOAD_EINVAL);
    }
    t->cfg.table = "Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa9"; /* 47 bytes */
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    store_get(&t->x, STR("k"), STR("v"));
    must_ok(dload_sqlite_destroy(&t->q));
    t->cfg.table = "select"; /* a word of SQL is a name like others */
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    store_set(&t->x, STR("k"), STR("w"), DLOAD_NEVER);
    store_get(&t->x, STR("k"), STR("w"));
    db_close(t);
}

static void test_configurations(void **state)
{
    struct db *t = db_new();
    dload_sqlite_config cfg = t->cfg;
    (void)state;
    must(dload_sqlite_init(NULL, &cfg), DLOAD_EINVAL);
    must(dload_sqlite_init(&t->q, NULL), DLOAD_EINVAL);
#define REFUSED(field, is, says)                    \
    do {                                            \
        cfg = t->cfg;                               \
        cfg.field = (is);                           \
        must(dload_sqlite_init(&t->q, &cfg), says); \
    } while (0)
    REFUSED(path, NULL, DLOAD_EINVAL);
    REFUSED(path, "", DLOAD_EINVAL);
    REFUSED(path, ":memory:", DLOAD_EINVAL);
    REFUSED(n_connections, 17, DLOAD_EINVAL);
    REFUSED(max_bytes, 1000, DLOAD_EINVAL);
    REFUSED(timeout_ns, DLOAD_NEVER, DLOAD_EINVAL);
    REFUSED(cache_bytes, UINT64_MAX, DLOAD_EINVAL);
    REFUSED(sync, (dload_sqlite_sync)4, DLOAD_EINVAL);
    text_must(&t->log, "");
    REFUSED(path, "/nowhere/at/all.db", DLOAD_EIO);
    db_log_has(t, "/nowhere/at/all.db: cannot be opened: unable to open database file");
    REFUSED(path, t->folder, DLOAD_EIO); /* a folder */
    REFUSED(vfs, "no such vfs", DLOAD_EBACKEND);
    db_free(t);
}

/* A path that begins in the folder where the program is, which then goes elsewhere: the file stays the same. */
static void test_program_changes_its_folder(void **state)
{
    struct db *t = db_new();
    char before[1000];
    (void)state;
    assert_non_null(getcwd(before, sizeof before));
    equal(chdir(t->folder), 0);
    t->cfg.path = "cache.db";
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    equal(chdir(before), 0);
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    sqlite3 *db = db_lock(t);
    equal(sqlite3_exec(db, "DROP TABLE dataloader; CREATE TABLE dataloader(x); COMMIT", NULL, NULL,
                       NULL),
          SQLITE_OK);
    equal(sqlite3_close(db), SQLITE_OK);
    must(db_one(t, DLOAD_STORE_GET, STR("k"), STR(""), 0), DLOAD_EBACKEND);
    must(db_one(t, DLOAD_STORE_GET, STR("k"), STR(""), 0), DLOAD_ELAYOUT); /* of the same file */
    assert_int_equal(access("cache.db", F_OK), -1);
    db_close(t);
}

/* A handle of the caller's, in memory even: not closed, and left alone inside a transaction. */
static void test_own_handle(void **state)
{
    struct db *t = db_new();
    sqlite3 *db = NULL;
    (void)state;
    equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    t->cfg.path = NULL;
    t->cfg.db = db;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    must(db_one(t, DLOAD_STORE_GET, STR("k"), STR(""), 0), DLOAD_EBUSY);
    must(db_one(t, DLOAD_STORE_DELETE, STR("k"), STR(""), 0), DLOAD_EBUSY);
    equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    store_get(&t->x, STR("k"), STR("v"));
    must_ok(dload_sqlite_destroy(&t->q));
    equal(sqlite3_exec(db, "SELECT * FROM dataloader", NULL, NULL, NULL), SQLITE_OK);
    equal(sqlite3_close(db), SQLITE_OK); /* no statement of ours is left */
    db_free(t);
}

/* ---- text ---- */

/* Whatever a key or value says, the file has what it had, and one row more. */
static void test_nothing_is_sql(void **state)
{
    static const char *const texts[] = {"'; DROP TABLE dataloader; --",
                                        "\"; DELETE FROM dataloader; --",
                                        "?1",
                                        "%s%n%w",
                                        ":key",
                                        "\\",
                                        "x' OR '1'='1",
                                        "NULL",
                                        "CAST(x AS BLOB)"};
    struct db *t = db_open();
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        dload_str text = {texts[i], strlen(texts[i])};
        store_set(&t->x, text, text, DLOAD_NEVER);
        store_get(&t->x, text, text);
        equal(db_sql(t, "SELECT count(*) FROM dataloader"), i + 1);
        store_delete(&t->x, STR("' OR 1=1 --"));
        store_clear(&t->x, STR("' OR 1=1 --"));
    }
    equal(db_sql(t, "SELECT count(*) FROM sqlite_master WHERE sql IS NOT NULL"), 3);
    equal(db_sql(t, "SELECT count(*) FROM dataloader WHERE typeof(key)<>'blob'"), 0);
    db_close(t);
}

/* ---- memory ---- */

static void ask_without_memory(struct fake_env *f)
{
    struct db *t = db_new();
    dload_store_item items[3];
    static char value[9000];
    t->cfg.env = &f->env;
    fake_env_arm(f);
    dload_status st = dload_sqlite_init(&t->q, &t->cfg);
    if (st == DLOAD_OK) {
        items[0] = store_item_set(STR("k"), STR("v"), DLOAD_NEVER);
        items[1] = store_item_set(STR("l"), (dload_str){value, sizeof value}, DLOAD_NEVER);
        items[2] = store_item_set(STR("m"), STR("v"), DLOAD_NEVER);
        dload_store_op op = store_op(DLOAD_STORE_SET, items, 3);
        must_ok(dload_store_run(&t->q.store, &op));
        op = store_op(DLOAD_STORE_GET, items, 3);
        st = dload_store_run(&t->q.store, &op);
        assert_true(st == DLOAD_OK || st == DLOAD_ENOMEM);
        dload_store_release(&op);
        op = store_op(DLOAD_STORE_CLEAR, &items[1], 1);
        st = dload_store_run(&t->q.store, &op);
        assert_true(st == DLOAD_OK || st == DLOAD_ENOMEM);
        fake_env_disarm(f);
        store_get(&t->x, STR("k"), STR("v")); /* it works on */
        must_ok(dload_sqlite_destroy(&t->q));
    } else {
        must(st, DLOAD_ENOMEM);
        fake_env_disarm(f);
    }
    db_free(t);
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("requests to SQLite", ask_without_memory) >= 4);
}

/* ---- threads ---- */

/* One connection for several threads, and the first has it for long: the others give up in their time. */
static bool somebody_is_in(struct db *t)
{
    (void)pthread_mutex_lock(&t->q.mutex);
    bool is = t->q.n_taken != 0;
    (void)pthread_mutex_unlock(&t->q.mutex);
    return is;
}

static void ask_while_locked(void *ctx, size_t me)
{
    struct db *t = ctx;
    if (me == 0)
        must(db_one(t, DLOAD_STORE_SET, STR("k"), STR("w"), 500 * DLOAD_MILLISECOND),
             DLOAD_ETIMEDOUT);
    while (me != 0 && !somebody_is_in(t))
        sleep_ms(1);
    if (me != 0)
        must(db_one(t, DLOAD_STORE_GET, STR("k"), STR(""), 5 * DLOAD_MILLISECOND), DLOAD_ETIMEDOUT);
}

static void test_no_connection_is_free(void **state)
{
    struct db *t = db_new();
    (void)state;
    t->cfg.n_connections = 1;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    t->q.store.break_after = UINT32_MAX;
    sqlite3 *db = db_lock(t);
    run_threads(3, ask_while_locked, t);
    equal(sqlite3_close(db), SQLITE_OK);
    must(db_one(t, DLOAD_STORE_GET, STR("k"), STR(""), 0), DLOAD_MISSING);
    db_close(t);
}

/* ---- a child ---- */

static void test_child_is_refused(void **state)
{
    struct db *t = db_open();
    int status = 0;
    (void)state;
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    pid_t pid = fork();
    if (pid == 0) {
        bool ok = true;
        for (int kind = 0; kind < DLOAD_STORE_N_KINDS; kind++)
            ok = ok && db_one(t, (dload_store_kind)kind, STR("k"), STR("w"), 0) == DLOAD_EFORK;
        ok = ok && dload_sqlite_purge(&t->q, 1, NULL) == DLOAD_EFORK;
        ok = ok && dload_sqlite_destroy(&t->q) == DLOAD_EFORK;
        _exit(ok ? 0 : 1);
    }
    equal(waitpid(pid, &status, 0), pid);
    equal(status, 0);
    store_get(&t->x, STR("k"), STR("v"));
    store_set(&t->x, STR("k"), STR("w"), DLOAD_NEVER);
    db_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("sqlite", open_pool, close_db),
        STORE_CASES("sqlite, one connection", open_alone, close_db),
        cmocka_unit_test(test_kept_over_restarts),
        cmocka_unit_test(test_two_tables_in_one_file),
        cmocka_unit_test(test_foreign_tables_are_refused),
        cmocka_unit_test(test_hostile_names_are_refused),
        cmocka_unit_test(test_configurations),
        cmocka_unit_test(test_program_changes_its_folder),
        cmocka_unit_test(test_own_handle),
        cmocka_unit_test(test_nothing_is_sql),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_no_connection_is_free),
        cmocka_unit_test(test_child_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
