/* The PostgreSQL store beside others who write to the same rows: deadlocks, and leases that are overtaken. */
/* links: pq */
/* tsan */
#include "test_postgres_faults.h"

/* ---- deadlocks ---- */

enum { N_ROWS = 200 };

static uint32_t n_wrong; /* atomic */

static void upsert_backwards(void *ctx, size_t me)
{
    const uint64_t *keys = ctx;
    dload_store_item items[N_ROWS];
    for (size_t round = 0; round < 30; round++) {
        dload_store_op op;
        for (size_t i = 0; i < N_ROWS; i++) {
            size_t k = me % 2 == 0 ? i : N_ROWS - 1 - i;
            items[i] = pg_item(&keys[k], 8, "v", 1, DLOAD_NEVER);
        }
        dload_store_kind kind = round % 3 == 2 ? DLOAD_STORE_DELETE : DLOAD_STORE_SET;
        if (pg_run(&pg.store, &op, kind, items, N_ROWS) != DLOAD_OK)
            (void)__atomic_add_fetch(&n_wrong, 1, __ATOMIC_RELAXED);
    }
}

static void test_rivals_no_deadlocks_among_us(void **state)
{
    (void)state;
    open_pg(20000, 4);
    n_wrong = 0;
    uint64_t keys[N_ROWS];
    for (size_t i = 0; i < N_ROWS; i++)
        keys[i] = i;
    run_threads(4, upsert_backwards, keys);
    equal(n_wrong, 0);
    equal(pg.n_retries, 0);
    equal(pg_number("SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'"), 0);
    close_pg();
}

static void test_rivals_deadlock_with_others(void **state)
{
    struct errand e;
    (void)state;
    open_pg(20000, 4);
    must_ok(pg_set(&pg.store, "a", 1, "v", 1, DLOAD_NEVER));
    must_ok(pg_set(&pg.store, "b", 1, "v", 1, DLOAD_NEVER));
    PGconn *rival = rival_begin("UPDATE t SET value = 'r' WHERE id = 'b'");
    memset(&e, 0, sizeof e);
    e.kind = DLOAD_STORE_SET;
    e.items[0] = pg_item("b", 1, "w", 1, DLOAD_NEVER);
    e.items[1] = pg_item("a", 1, "w", 1, DLOAD_NEVER);
    e.n = 2;
    equal(pthread_create(&e.thread, NULL, errand_run, &e), 0);
    pg_wait_for(blocked, 1); /* it has a and waits for b */
    PQclear(PQexec(rival,
                   "UPDATE t SET value = 'r' WHERE id = 'a'")); /* until the server gives it up */
    rival_end(rival);
    must_ok(errand_end(&e));
    assert_true(pg.n_retries >= 1);
    must_ok(pg_get(&pg.store, "a", 1, "w", 1));
    must_ok(pg_get(&pg.store, "b", 1, "w", 1));
    close_pg();
}

/* ---- leases that are asked for at the same moment ---- */

/* The key is looked for and not there; before it can be claimed another one has come. */
static void check_overtaken(const char *sql, dload_status want)
{
    struct errand e;
    PGconn *rival = rival_begin(sql);
    dload_store_item item = pg_item("k", 1, NULL, 0, 60 * DLOAD_SECOND);
    item.lease[0] = 1;
    errand_start(&e, DLOAD_STORE_LEASE, item);
    pg_wait_for(blocked, 1);
    rival_end(rival);
    must_ok(errand_end(&e));
    must(e.items[0].status, want);
}

static void test_rivals_overtaken_leases(void **state)
{
    (void)state;
    open_pg(20000, 2);
    must_ok(dload_postgres_store_open(&pg, 0));
    check_overtaken(
        "INSERT INTO t VALUES ('k', NULL, NULL, '0123456789abcdef', now() + interval '1h')",
        DLOAD_EBUSY);
    equal(pg_number("SELECT count(*) FROM t WHERE lease = '0123456789abcdef'"), 1);
    pg_query("DELETE FROM t", NULL, 0);
    check_overtaken("INSERT INTO t VALUES ('k', NULL, 'v', NULL, 'infinity')", DLOAD_OK);
    must_ok(pg_get(&pg.store, "k", 1, "v", 1));
    pg_query("DELETE FROM t", NULL, 0);
    check_overtaken("INSERT INTO t VALUES ('k', NULL, 'v', NULL, now())", DLOAD_MISSING);
    close_pg();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rivals_no_deadlocks_among_us, setup),
        cmocka_unit_test_setup(test_rivals_deadlock_with_others, setup),
        cmocka_unit_test_setup(test_rivals_overtaken_leases, setup),
    };
    return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
