/* The SQLite store: what every store must do, and what is special to a file: its tables, its size, its age, who
 * else uses it. */
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

/* ---- age ---- */

static struct db *open_with_clock(void)
{
    struct db *t = db_new();
    t->cfg.wall_ms = db_wall;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    return t;
}

static void test_expired_rows_go(void **state)
{
    struct db *t = open_with_clock();
    dload_store_item items[100];
    struct store_bytes b = {{NULL}, 0};
    size_t n_gone = 0;
    (void)state;
    for (size_t i = 0; i < 100; i++)
        items[i] = store_item_set(store_key_of(&b, i), STR("v"), (1 + i / 50) * DLOAD_SECOND);
    store_must(&t->x, DLOAD_STORE_SET, items, 100);
    store_set(&t->x, STR("stays"), STR("v"), DLOAD_NEVER);
    t->wall_ms += 999;
    store_get(&t->x, store_key_of(&b, 0), STR("v"));
    t->wall_ms += 1;
    store_lacks(&t->x, store_key_of(&b, 0));                  /* expired is missing ... */
    equal(db_sql(t, "SELECT count(*) FROM dataloader"), 101); /* ... though the row is there */
    store_set(&t->x, STR("new"), STR("v"), DLOAD_NEVER);
    equal(db_sql(t, "SELECT count(*) FROM dataloader"), 102 - 18);
    store_get(&t->x, store_key_of(&b, 50), STR("v"));
    must_ok(dload_sqlite_purge(&t->q, 10, &n_gone));
    equal(n_gone, 10);
    must_ok(dload_sqlite_purge(&t->q, 1000, &n_gone));
    equal(n_gone, 50 - 28);
    must_ok(dload_sqlite_purge(&t->q, 1000, NULL));
    t->wall_ms += 1000;
    must_ok(dload_sqlite_purge(&t->q, 1000, &n_gone));
    equal(n_gone, 50);
    equal(db_sql(t, "SELECT count(*) FROM dataloader"), 2);
    store_get(&t->x, STR("stays"), STR("v"));
    must(dload_sqlite_purge(NULL, 1, NULL), DLOAD_EINVAL);
    store_free_bytes(&b);
    db_close(t);
}

/* The clock goes back: nothing lives an hour longer for it, and no lease is held an hour longer. */
static void test_clock_set_back(void **state)
{
    struct db *t = open_with_clock();
    dload_store_item item = store_item_lease(STR("leased"), 1, 10 * DLOAD_SECOND);
    (void)state;
    store_set(&t->x, STR("k"), STR("v"), 10 * DLOAD_SECOND);
    store_set(&t->x, STR("for ever"), STR("v"), DLOAD_NEVER);
    must(store_one(&t->x, DLOAD_STORE_LEASE, &item), DLOAD_MISSING);
    t->wall_ms -= 30 * 1000; /* less than a minute: clocks are corrected so */
    store_get(&t->x, STR("k"), STR("v"));
    t->wall_ms -= 3600 * 1000;
    store_lacks(&t->x, STR("k"));
    store_get(&t->x, STR("for ever"), STR("v"));
    dload_store_item other = store_item_lease(STR("leased"), 2, 10 * DLOAD_SECOND);
    must(store_one(&t->x, DLOAD_STORE_LEASE, &other), DLOAD_MISSING);
    item = store_item_lease(STR("leased"), 1, DLOAD_NEVER);
    must(store_one(&t->x, DLOAD_STORE_FILL, &item), DLOAD_ELOCK);
    t->wall_ms += UINT64_C(3600000) * 24 * 365 * 10; /* and forward: all that may end has ended */
    store_lacks(&t->x, STR("k"));
    other = store_item_lease(STR("leased"), 2, DLOAD_NEVER);
    must(store_one(&t->x, DLOAD_STORE_FILL, &other), DLOAD_ELOCK);
    db_close(t);
}

/* Leases of holders that never came back do not stay. */
static void test_left_leases_go(void **state)
{
    struct db *t = open_with_clock();
    struct store_bytes b = {{NULL}, 0};
    (void)state;
    for (size_t i = 0; i < 50; i++) {
        dload_store_item item = store_item_lease(store_key_of(&b, i), 1, DLOAD_SECOND);
        must(store_one(&t->x, DLOAD_STORE_LEASE, &item), DLOAD_MISSING);
    }
    equal(db_sql(t, "SELECT count(*) FROM dataloader_leases"), 50);
    t->wall_ms += 60 * 1000;
    dload_store_item item = store_item_lease(STR("k"), 1, DLOAD_SECOND);
    must(store_one(&t->x, DLOAD_STORE_LEASE, &item), DLOAD_MISSING);
    equal(db_sql(t, "SELECT count(*) FROM dataloader_leases"), 1);
    store_free_bytes(&b);
    db_close(t);
}

/* Who sets a key has the last word, not who fetched it before. */
static void test_set_revokes(void **state)
{
    struct db *t = db_open();
    dload_store_item item = store_item_lease(STR("k"), 1, 10 * DLOAD_SECOND);
    (void)state;
    must(store_one(&t->x, DLOAD_STORE_LEASE, &item), DLOAD_MISSING);
    store_set(&t->x, STR("k"), STR("new"), DLOAD_NEVER);
    item = store_item_lease(STR("k"), 1, DLOAD_NEVER);
    must(store_one(&t->x, DLOAD_STORE_FILL, &item), DLOAD_ELOCK);
    store_get(&t->x, STR("k"), STR("new"));
    db_close(t);
}

/* Between the look that found nothing and the lease somebody else took it, and fills or not: no second one is told to
 * fetch. The clock is asked in between, and there it happens. */
struct meanwhile {
    struct db *other;
    dload_sqlite *self;
    bool on, fills;
    uint32_t n_asked;
};

static uint64_t fill_meanwhile(void *ctx)
{
    struct meanwhile *m = ctx;
    if (m->on && ++m->n_asked == 2) { /* the first is before the look */
        m->on = false;
        must(dload_sqlite_destroy(m->self), DLOAD_EBUSY); /* a request is running */
        dload_store_item item = store_item_lease(STR("k"), 2, DLOAD_SECOND);
        must(store_one(&m->other->x, DLOAD_STORE_LEASE, &item), DLOAD_MISSING);
        item = store_item_lease(STR("k"), 2, DLOAD_NEVER);
        item.value = "v";
        item.value_bytes = 1;
        if (m->fills)
            must_ok(store_one(&m->other->x, DLOAD_STORE_FILL, &item));
    }
    return db_wall(m->other);
}

static void lease_meanwhile(bool fills)
{
    struct db *t = open_with_clock(), *late = db_new();
    struct meanwhile m = {t, &late->q, false, fills, 0};
    dload_store_item item = store_item_lease(STR("another"), 1, DLOAD_SECOND);
    late->cfg.path = t->path;
    late->cfg.wall_ms = fill_meanwhile;
    late->cfg.wall_ctx = &m;
    must_ok(dload_sqlite_init(&late->q, &late->cfg));
    must(store_one(&t->x, DLOAD_STORE_LEASE, &item),
         DLOAD_MISSING); /* so that leases are looked for */
    m.on = true;
    item = store_item_lease(STR("k"), 3, DLOAD_SECOND);
    dload_store_op op = store_op(DLOAD_STORE_LEASE, &item, 1);
    must_ok(dload_store_run(&late->q.store, &op));
    assert_false(m.on);
    if (fills)
        assert_true(store_holds(&item, STR("v")));
    else
        must(item.status, DLOAD_EBUSY);
    dload_store_release(&op);
    db_close(late);
    db_close(t);
}

static void test_leased_meanwhile(void **state)
{
    (void)state;
    lease_meanwhile(true);
    lease_meanwhile(false);
}

/* ---- size ---- */

static dload_str number_key(const uint64_t *number)
{
    return (dload_str){(const char *)number, sizeof *number};
}

/* Whatever sizes come: the pages in use stay under the bound, and what came last is there. */
static void test_size_bound(void **state)
{
    struct db *t = db_new();
    uint64_t seed = test_seed("sizes");
    static char value[200000];
    dload_store_item items[20];
    uint64_t keys[20], number = 0;
    (void)state;
    t->cfg.max_bytes = 2 << 20;
    t->cfg.sync = DLOAD_SQLITE_SYNC_OFF;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    memset(value, 'v', sizeof value);
    for (size_t round = scaled(200); round > 0; round--) {
        size_t most = rng_below(&seed, 4) == 0 ? 50000 : 2000;
        for (size_t i = 0; i < 20; i++) {
            keys[i] = number++;
            items[i] = store_item_set(number_key(&keys[i]),
                                      (dload_str){value, rng_below(&seed, most)}, DLOAD_NEVER);
        }
        store_must(&t->x, DLOAD_STORE_SET, items, 20);
        must_ok(items[19].status);
        dload_str last = {value, items[19].value_bytes};
        store_get(&t->x, number_key(&keys[19]), last);
        if (round % 20 == 1) {
            int64_t n = db_sql(t, "SELECT (SELECT page_count FROM pragma_page_count()) - "
                                  "(SELECT freelist_count FROM pragma_freelist_count())");
            assert_true(n * 4096 <= 2 << 20);
        }
    }
    /* The oldest went, in order. */
    equal(db_sql(t, "SELECT max(id)-min(id)+1-count(*) FROM dataloader"), 0);
    assert_true(db_sql(t, "SELECT count(*) FROM dataloader") > 20);
    /* Too large for such a store, alone or by its key. */
    must(db_one(t, DLOAD_STORE_SET, STR("big"), (dload_str){value, 262145 - 0}, 0), DLOAD_ETOOBIG);
    db_close(t);
}

/* What is written again is young again. */
static void test_written_again_is_young(void **state)
{
    struct db *t = db_new();
    static char bytes[20000];
    dload_str value = {bytes, sizeof bytes};
    (void)state;
    t->cfg.max_bytes = 1 << 20;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    for (uint64_t i = 0; i < 200; i++) {
        store_set(&t->x, number_key(&i), value, DLOAD_NEVER);
        store_set(&t->x, STR("again"), STR("v"), DLOAD_NEVER);
    }
    store_get(&t->x, STR("again"), STR("v"));
    uint64_t first = 0;
    store_lacks(&t->x, number_key(&first));
    db_close(t);
}

/* Over SQLite's own limit, here a low one: that key alone fails, and what cannot be there is not. */
static void test_over_the_limit(void **state)
{
    struct db *t = db_new();
    sqlite3 *db = NULL;
    static char bytes[50000];
    dload_str large = {bytes, sizeof bytes};
    dload_store_item items[3];
    (void)state;
    equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    t->cfg.path = NULL;
    t->cfg.db = db;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    (void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 40000);
    items[0] = store_item_set(STR("a"), STR("v"), DLOAD_NEVER);
    items[1] = store_item_set(STR("b"), large, DLOAD_NEVER);
    items[2] = store_item_set(STR("c"), STR("v"), DLOAD_NEVER);
    store_must(&t->x, DLOAD_STORE_SET, items, 3);
    must_ok(items[0].status);
    must(items[1].status, DLOAD_ETOOBIG);
    must_ok(items[2].status);
    store_get(&t->x, STR("a"), STR("v"));
    store_lacks(&t->x, STR("b"));
    store_get(&t->x, STR("c"), STR("v"));
    store_lacks(&t->x, large);
    must(db_one(t, DLOAD_STORE_SET, large, STR("v"), 0), DLOAD_ETOOBIG);
    must(db_one(t, DLOAD_STORE_LEASE, large, STR(""), 0), DLOAD_ETOOBIG);
    must(db_one(t, DLOAD_STORE_FILL, large, STR("v"), 0), DLOAD_ELOCK);
    must_ok(db_one(t, DLOAD_STORE_DROP, large, STR(""), 0));
    must_ok(db_one(t, DLOAD_STORE_DELETE, large, STR(""), 0));
    must_ok(db_one(t, DLOAD_STORE_CLEAR, large, STR(""), 0));
    store_get(&t->x, STR("a"), STR("v"));
    must_ok(dload_sqlite_destroy(&t->q));
    equal(sqlite3_close(db), SQLITE_OK);
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
        cmocka_unit_test(test_expired_rows_go),
        cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_left_leases_go),
        cmocka_unit_test(test_set_revokes),
        cmocka_unit_test(test_leased_meanwhile),
        cmocka_unit_test(test_size_bound),
        cmocka_unit_test(test_written_again_is_young),
        cmocka_unit_test(test_over_the_limit),
        cmocka_unit_test(test_nothing_is_sql),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_no_connection_is_free),
        cmocka_unit_test(test_child_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
