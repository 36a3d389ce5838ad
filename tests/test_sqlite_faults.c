/* The SQLite store when the disk fails, is full or locked, or when the file is taken away: each request has a status,
 * what was answered stays answered, and afterwards all is well. */
/* links: sqlite3 */
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_sqlite.h"
#include "support.h"

#include "test_sqlite.h"
#include "test_sqlite_vfs.h"

#include <sys/stat.h>

/* ---- every call of the file system fails once ---- */

enum { N_KEYS = 6 };

/* What a key may hold: the versions that may have been stored last; 0 = nothing. */
struct truth {
    uint64_t may_be[40];
    size_t n;
};

static void known(struct truth *k, uint64_t version)
{
    k->may_be[0] = version;
    k->n = 1;
}

static void perhaps(struct truth *k, uint64_t version)
{
    assert_true(k->n < COUNT(k->may_be));
    k->may_be[k->n++] = version;
}

struct story {
    struct db *t;
    struct truth keys[N_KEYS];
    uint64_t version;
    size_t n_refused; /* requests that failed */
};

static dload_str story_key(size_t k)
{
    static const char *const names[N_KEYS] = {"a", "b", "c", "d", "e", "f"};
    return (dload_str){names[k], 1};
}

/* A value of some size that says its version. */
static dload_str story_value(uint64_t version)
{
    static uint64_t words[900];
    for (size_t i = 0; i < COUNT(words); i++)
        words[i] = version;
    return (dload_str){(const char *)words, version % 3 == 0 ? sizeof words : 8};
}

static void story_write(struct story *s, dload_store_kind kind, size_t first, size_t n)
{
    dload_store_item items[N_KEYS];
    uint64_t version = kind == DLOAD_STORE_SET || kind == DLOAD_STORE_FILL ? ++s->version : 0;
    for (size_t i = 0; i < n; i++) {
        items[i] = store_item_set(story_key(first + i), story_value(version), DLOAD_NEVER);
        items[i].lease[0] = 1;
    }
    dload_store_op op = store_op(kind, items, n);
    dload_status st = dload_store_run(&s->t->q.store, &op);
    s->n_refused += st < 0;
    for (size_t i = 0; i < n; i++) {
        if (st < 0)
            perhaps(&s->keys[first + i], version);
        else if (items[i].status == DLOAD_OK && kind != DLOAD_STORE_DROP)
            known(&s->keys[first + i], version);
        else
            assert_true(items[i].status == DLOAD_OK || items[i].status == DLOAD_ELOCK);
    }
}

/* A value that is read was stored last; when it is told that there is none, there may be none. */
static void story_read(struct story *s, dload_store_kind kind)
{
    dload_store_item items[N_KEYS];
    for (size_t k = 0; k < N_KEYS; k++) {
        items[k] = store_item_lease(story_key(k), 0, DLOAD_SECOND);
        items[k].lease[0] = 1;
    }
    dload_store_op op = store_op(kind, items, N_KEYS);
    dload_status st = dload_store_run(&s->t->q.store, &op);
    s->n_refused += st < 0;
    for (size_t k = 0; st == DLOAD_OK && k < N_KEYS; k++) {
        uint64_t version = 0;
        bool is = false;
        if (items[k].status == DLOAD_OK) {
            memcpy(&version, items[k].value, sizeof version);
            assert_true(store_holds(&items[k], story_value(version)));
        } else {
            must(items[k].status, DLOAD_MISSING);
        }
        for (size_t i = 0; i < s->keys[k].n; i++)
            is = is || s->keys[k].may_be[i] == version;
        if (!is)
            fail_msg("key %zu has version %" PRIu64, k, version);
        known(&s->keys[k], version);
    }
    dload_store_release(&op);
}

static void story_tell(struct story *s)
{
    dload_status st = dload_sqlite_init(&s->t->q, &s->t->cfg);
    s->n_refused += st < 0;
    assert_int_not_equal(st, DLOAD_ELAYOUT); /* it is ours, whatever fails */
    if (st < 0)
        return;
    s->t->q.store.break_after = UINT32_MAX; /* each request is to be tried */
    story_write(s, DLOAD_STORE_SET, 0, 3);
    story_read(s, DLOAD_STORE_LEASE);
    story_write(s, DLOAD_STORE_FILL, 3, 3);
    story_write(s, DLOAD_STORE_DELETE, 1, 3);
    story_read(s, DLOAD_STORE_GET);
    story_write(s, DLOAD_STORE_SET, 0, 6);
    story_write(s, DLOAD_STORE_CLEAR, 5, 1);
    story_read(s, DLOAD_STORE_LEASE);
    story_write(s, DLOAD_STORE_DROP, 5, 1);
    must_ok(dload_sqlite_destroy(&s->t->q));
}

/* One fault in two tellings on the same file; then all must be well again. */
static size_t story_with(struct db *t, enum fault_kind kind, size_t at, bool for_good,
                         size_t *n_refused)
{
    struct story s;
    memset(&s, 0, sizeof s);
    s.t = t;
    db_unlink(t);
    s.t->cfg.vfs = "faults";
    s.t->cfg.n_connections = 1;
    s.t->cfg.timeout_ns = 20 * DLOAD_MILLISECOND;
    s.t->cfg.sync = DLOAD_SQLITE_SYNC_FULL;
    for (size_t k = 0; k < N_KEYS; k++)
        known(&s.keys[k], 0);
    memset(&faults, 0, sizeof faults);
    faults.kind = kind;
    faults.at = at;
    faults.for_good = for_good;
    story_tell(&s);
    story_tell(&s);
    faults.at = 0;
    size_t n_failed = faults.n_failed;
    *n_refused += s.n_refused;
    s.n_refused = 0;
    s.t->cfg.timeout_ns = 0;
    s.t->log.len = 0;
    story_tell(&s);
    equal(s.n_refused, 0);
    equal(db_sql(s.t, "SELECT quick_check='ok' FROM pragma_quick_check(1)"), 1);
    fake_env_check(&t->f);
    return n_failed;
}

static void test_every_call_fails(void **state)
{
    size_t n_runs = 0, n_refused = 0;
    struct db *t = db_new();
    (void)state;
    for (int kind = 0; kind < N_FAULTS; kind++) {
        for (int for_good = 0; for_good < 2; for_good++) {
            /* Each of the first twenty, then ever fewer. */
            for (size_t at = 1;
                 story_with(t, (enum fault_kind)kind, at, for_good != 0, &n_refused) != 0;
                 at += at < 20 ? 1 : at / 6)
                n_runs++;
        }
    }
    print_message("%zu tellings with a fault, %zu requests failed\n", n_runs, n_refused);
    assert_true(n_runs > 200 && n_refused > 200);
    db_free(t);
}

/* A file system without shared memory: no write-ahead log, and everything else as ever. */
static void test_without_a_log(void **state)
{
    struct db *t = db_new();
    struct story s;
    (void)state;
    memset(&s, 0, sizeof s);
    for (size_t k = 0; k < N_KEYS; k++)
        known(&s.keys[k], 0);
    memset(&faults, 0, sizeof faults);
    faults.no_sharing = true;
    t->cfg.vfs = "faults";
    s.t = t;
    story_tell(&s);
    db_log_has(t, "no write-ahead log here: readers wait for writers: delete");
    story_tell(&s);
    faults.no_sharing = false;
    equal(s.n_refused, 0);
    equal(db_sql(t, "SELECT journal_mode='delete' FROM pragma_journal_mode()"), 1);
    db_free(t);
}

/* ---- a full disk ---- */

/* SQLite takes a transaction back by itself when the disk is full: nothing of it may stay, and nothing more be
 * written outside of it. */
static void full_disk(sqlite3 *db, struct db *t)
{
    static char value[3000];
    char sql[64];
    dload_store_item items[100];
    uint64_t keys[100], n_rows = 0;
    t->cfg.path = NULL;
    t->cfg.db = db;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    t->q.store.break_after = UINT32_MAX;
    (void)snprintf(sql, sizeof sql, "PRAGMA max_page_count=%d", 200);
    equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    dload_status st = DLOAD_OK;
    for (uint64_t round = 0; st == DLOAD_OK; round++) {
        for (uint64_t i = 0; i < 10; i++) {
            keys[i] = round * 10 + i;
            items[i] = store_item_set((dload_str){(char *)&keys[i], 8},
                                      (dload_str){value, sizeof value}, DLOAD_NEVER);
        }
        dload_store_op op = store_op(DLOAD_STORE_SET, items, 10);
        st = dload_store_run(&t->q.store, &op);
        n_rows += st == DLOAD_OK ? 10 : 0;
    }
    must(st, DLOAD_EFULL);
    equal(sqlite3_get_autocommit(db), 1);
    assert_true(n_rows > 100 && n_rows % 10 == 0);
    for (uint64_t i = 0; i < 10; i++) { /* none of the last ten is there */
        dload_store_item item = store_item((dload_str){(char *)&keys[i], 8});
        must(store_one(&t->x, DLOAD_STORE_GET, &item), DLOAD_MISSING);
    }
    /* Small ones may fit; room that is made is used. */
    store_clear(&t->x, STR(""));
    dload_store_op op = store_op(DLOAD_STORE_SET, items, 10);
    must_ok(dload_store_run(&t->q.store, &op));
    must_ok(dload_sqlite_destroy(&t->q));
    equal(sqlite3_close(db), SQLITE_OK);
    t->cfg.db = NULL;
    t->cfg.path = t->path;
}

static void test_full_disk(void **state)
{
    struct db *t = db_new();
    sqlite3 *db = NULL;
    (void)state;
    equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    full_disk(db, t);
    equal(sqlite3_open(t->path, &db), SQLITE_OK);
    equal(sqlite3_exec(db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL), SQLITE_OK);
    full_disk(db, t);
    db_free(t);
}

/* ---- locked ---- */

/* Writers give up in time, readers do not care. */
static void test_locked_file(void **state)
{
    struct db *t = db_open();
    (void)state;
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    sqlite3 *db = db_lock(t);
    uint64_t start_ns = real_ns();
    must(db_one(t, DLOAD_STORE_SET, STR("k"), STR("w"), 30 * DLOAD_MILLISECOND), DLOAD_ETIMEDOUT);
    must(db_one(t, DLOAD_STORE_DELETE, STR("k"), STR(""), 30 * DLOAD_MILLISECOND), DLOAD_ETIMEDOUT);
    must(db_one(t, DLOAD_STORE_CLEAR, STR("k"), STR(""), 1), DLOAD_ETIMEDOUT);
    must(db_one(t, DLOAD_STORE_LEASE, STR("no"), STR(""), 1), DLOAD_ETIMEDOUT);
    t->q.timeout_ns = DLOAD_MILLISECOND;
    must(dload_sqlite_purge(&t->q, 1, NULL), DLOAD_ETIMEDOUT);
    assert_true(real_ns() - start_ns >= 60 * DLOAD_MILLISECOND); /* they did wait */
    store_get(&t->x, STR("k"), STR("v"));
    must(db_one(t, DLOAD_STORE_LEASE, STR("k"), STR(""), 0), DLOAD_OK);
    equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    equal(sqlite3_close(db), SQLITE_OK);
    store_set(&t->x, STR("k"), STR("w"), DLOAD_NEVER);
    db_close(t);
}

/* A clock that stands still ends no wait; what was slept does. */
static void test_locked_without_a_clock(void **state)
{
    struct db *t = db_new();
    (void)state;
    fake_env_init(&t->f);
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    sqlite3 *db = db_lock(t);
    must(db_one(t, DLOAD_STORE_SET, STR("k"), STR("w"), 30 * DLOAD_MILLISECOND), DLOAD_ETIMEDOUT);
    equal(sqlite3_close(db), SQLITE_OK);
    must(db_one(t, DLOAD_STORE_SET, STR("k"), STR("w"), 0), DLOAD_OK);
    db_close(t);
}

/* A clear that takes longer than its time is taken back as a whole. */
static void test_long_clear(void **state)
{
    struct db *t = db_new();
    dload_store_item items[1000];
    uint64_t keys[1000];
    (void)state;
    fake_env_init(&t->f);
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    for (uint64_t n = 0; n < 20000; n++) {
        keys[n % 1000] = n << 8 | 'k'; /* they begin with k */
        items[n % 1000] =
            store_item_set((dload_str){(char *)&keys[n % 1000], 8}, STR("v"), DLOAD_NEVER);
        if (n % 1000 == 999)
            store_must(&t->x, DLOAD_STORE_SET, items, 1000);
    }
    t->f.step_ns = DLOAD_MILLISECOND; /* each look at the clock takes so long */
    must(db_one(t, DLOAD_STORE_CLEAR, STR("k"), STR(""), 10 * DLOAD_MILLISECOND), DLOAD_ETIMEDOUT);
    t->f.step_ns = 0;
    equal(db_sql(t, "SELECT count(*) FROM dataloader"), 20000);
    store_clear(&t->x, STR("k"));
    equal(db_sql(t, "SELECT count(*) FROM dataloader"), 0);
    db_close(t);
}

/* Somebody began to read and does not go on: all writes come through, though the log cannot be emptied; when the reader
 * goes, the log is short again. */
static void test_reader_that_stays(void **state)
{
    struct db *t = db_new();
    static char bytes[12000];
    dload_store_item items[10];
    uint64_t keys[10];
    sqlite3 *db = NULL;
    char wal[128];
    struct stat log;
    (void)state;
    (void)snprintf(wal, sizeof wal, "%s-wal", t->path);
    t->cfg.sync = DLOAD_SQLITE_SYNC_OFF;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    for (uint64_t i = 0; i < 10; i++) {
        keys[i] = i;
        items[i] = store_item_set((dload_str){(char *)&keys[i], 8},
                                  (dload_str){bytes, sizeof bytes}, DLOAD_NEVER);
    }
    store_must(&t->x, DLOAD_STORE_SET, items, 10);
    equal(sqlite3_open(t->path, &db), SQLITE_OK);
    equal(sqlite3_exec(db, "BEGIN; SELECT count(*) FROM dataloader", NULL, NULL, NULL), SQLITE_OK);
    for (size_t i = 0; i < 250; i++)
        store_must(&t->x, DLOAD_STORE_SET, items, 10);
    equal(stat(wal, &log), 0);
    assert_true(log.st_size > 5000 * 4096);
    equal(sqlite3_close(db), SQLITE_OK);
    for (size_t i = 0; i < 60; i++)
        store_must(&t->x, DLOAD_STORE_SET, items, 10);
    equal(stat(wal, &log), 0);
    assert_true(log.st_size <= 17 << 20);
    db_close(t);
}

/* ---- what others do to the file ---- */

static void pass_a_look(struct db *t)
{
    t->f.now_ns += DLOAD_SECOND;
}

/* Removed, and made by another process before we notice: we change to the new one. */
static void test_file_is_replaced(void **state)
{
    struct db *t = db_new(), *other = db_new();
    char cmd[600];
    (void)state;
    fake_env_init(&t->f);
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    store_set(&t->x, STR("k"), STR("old"), DLOAD_NEVER);
    must_ok(dload_sqlite_init(&other->q, &other->cfg));
    store_set(&other->x, STR("k"), STR("new"), DLOAD_NEVER);
    must_ok(dload_sqlite_destroy(&other->q));
    (void)snprintf(cmd, sizeof cmd, "rm %s %s-wal %s-shm && cp %s %s", t->path, t->path, t->path,
                   other->path, t->path);
    equal(system(cmd), 0);
    pass_a_look(t);
    store_get(&t->x, STR("k"), STR("new"));
    db_log_has(t, "removed or replaced");
    (void)snprintf(cmd, sizeof cmd, "rm %s %s-wal %s-shm", t->path, t->path, t->path);
    equal(system(cmd), 0);
    store_set(&t->x, STR("k"), STR("newer"), DLOAD_NEVER); /* a write looks at once */
    db_log_has(t, "removed or replaced");
    equal(db_sql(t, "SELECT value=x'6e65776572' FROM dataloader"), 1);
    store_get(&t->x, STR("k"), STR("newer"));
    db_free(other);
    db_close(t);
}

static void test_tables_are_dropped(void **state)
{
    struct db *t = db_open();
    (void)state;
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    (void)db_sql(t, "DROP TABLE dataloader; DROP TABLE dataloader_leases");
    must(db_one(t, DLOAD_STORE_GET, STR("k"), STR(""), 0), DLOAD_EBACKEND);
    db_log_has(t, "a request failed");
    store_lacks(&t->x, STR("k")); /* opened anew, made anew */
    store_set(&t->x, STR("k"), STR("w"), DLOAD_NEVER);
    (void)db_sql(t, "DROP TABLE dataloader; CREATE TABLE dataloader(mine)");
    must(db_one(t, DLOAD_STORE_GET, STR("k"), STR(""), 0), DLOAD_EBACKEND);
    must(db_one(t, DLOAD_STORE_GET, STR("k"), STR(""), 0), DLOAD_ELAYOUT);
    must(db_one(t, DLOAD_STORE_SET, STR("k"), STR("v"), 0), DLOAD_ELAYOUT);
    (void)db_sql(t, "DROP TABLE dataloader");
    store_lacks(&t->x, STR("k"));
    db_close(t);
}

/* Columns that somebody changed the types of do not become other bytes. */
static void test_rows_of_others(void **state)
{
    struct db *t = db_open();
    (void)state;
    (void)db_sql(t,
                 "INSERT INTO dataloader(key,written,value) VALUES(x'61',0,'text'),(x'62',0,12.5),"
                 "(x'63','noon',x'00'),('d',0,x'00')");
    store_get(&t->x, STR("a"), STR("text"));
    store_get(&t->x, STR("b"), STR("12.5"));
    store_get(&t->x, STR("c"), ((dload_str){"", 1}));
    store_lacks(&t->x, STR("d")); /* a text is another key than the same blob */
    (void)db_sql(t,
                 "INSERT INTO dataloader(key,written,expires,value) VALUES(x'65',0,'never',x'00')");
    store_lacks(&t->x, STR("e"));
    db_close(t);
}

static void test_read_only(void **state)
{
    struct db *t = db_open();
    sqlite3 *db = NULL;
    (void)state;
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    must_ok(dload_sqlite_destroy(&t->q));
    equal(sqlite3_open_v2(t->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    t->cfg.path = NULL;
    t->cfg.db = db;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    store_get(&t->x, STR("k"), STR("v"));
    must(db_one(t, DLOAD_STORE_SET, STR("k"), STR("w"), 0), DLOAD_EIO);
    must(db_one(t, DLOAD_STORE_LEASE, STR("l"), STR("w"), 0), DLOAD_EIO);
    must(db_one(t, DLOAD_STORE_DELETE, STR("k"), STR("w"), 0), DLOAD_EIO);
    store_get(&t->x, STR("k"), STR("v"));
    must_ok(dload_sqlite_destroy(&t->q));
    equal(sqlite3_close(db), SQLITE_OK);
    db_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_without_a_log),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_locked_file),
        cmocka_unit_test(test_locked_without_a_clock),
        cmocka_unit_test(test_long_clear),
        cmocka_unit_test(test_reader_that_stays),
        cmocka_unit_test(test_file_is_replaced),
        cmocka_unit_test(test_tables_are_dropped),
        cmocka_unit_test(test_rows_of_others),
        cmocka_unit_test(test_read_only),
    };
    if (faults_in_memory() != SQLITE_OK || faults_register() != SQLITE_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
