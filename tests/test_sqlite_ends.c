/* What ends entries of the SQLite store: their age, a clock that is set, leases, and the bound of its size. */
/* links: sqlite3 */
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_sqlite.h"
#include "support.h"

#include "test_sqlite.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expired_rows_go),        cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_left_leases_go),         cmocka_unit_test(test_set_revokes),
        cmocka_unit_test(test_leased_meanwhile),       cmocka_unit_test(test_size_bound),
        cmocka_unit_test(test_written_again_is_young), cmocka_unit_test(test_over_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
