/* The SQLite store behind threads: what every store must do, asked with done, and at once by threads that find it
 * locked. */
/* links: sqlite3 */
/* tsan */
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_sqlite.h"
#include "adapters/dataloader_worker.h"
#include "support.h"

#include "test_sqlite.h"

#include "stores/cases.h"

static dload_worker worker;

static int open_worker(void **state)
{
    struct db *t = db_open();
    dload_worker_config cfg = {0};
    cfg.inner = &t->q.store;
    cfg.n_threads = 3;
    must_ok(dload_worker_init(&worker, &cfg));
    t->x.s = &worker.store;
    t->x.async = true;
    *state = t;
    return 0;
}

static int close_worker(void **state)
{
    must_ok(dload_worker_close(&worker, DLOAD_DRAIN));
    dload_worker_destroy(&worker);
    db_close(*state);
    return 0;
}

/* Writers wait for a lock in their threads; who asks does not, and readers do not wait behind them. */
static void count_done(dload_store_op *op, dload_status st)
{
    uint32_t *n = op->ctx;
    must(st, op->kind == DLOAD_STORE_SET ? DLOAD_ETIMEDOUT : DLOAD_OK);
    (void)__atomic_add_fetch(n, 1, __ATOMIC_RELEASE);
}

static void test_locked_behind_threads(void **state)
{
    struct db *t = *state;
    dload_store_item items[3];
    dload_store_op ops[3];
    uint32_t n_done[2] = {0, 0};
    sqlite3 *db = db_lock(t);
    for (size_t i = 0; i < 3; i++) {
        items[i] = store_item_set(STR("k"), STR("v"), DLOAD_NEVER);
        ops[i] = store_op(i != 2 ? DLOAD_STORE_SET : DLOAD_STORE_GET, &items[i], 1);
        ops[i].timeout_ns = 300 * DLOAD_MILLISECOND;
        ops[i].done = count_done;
        ops[i].ctx = &n_done[i / 2];
        must(dload_store_run(&worker.store, &ops[i]), DLOAD_PENDING);
    }
    while (__atomic_load_n(&n_done[1], __ATOMIC_ACQUIRE) == 0)
        sleep_ms(1);
    must(items[2].status, DLOAD_MISSING);
    while (__atomic_load_n(&n_done[0], __ATOMIC_ACQUIRE) != 2)
        sleep_ms(1);
    dload_store_release(&ops[2]);
    equal(sqlite3_close(db), SQLITE_OK);
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    store_get(&t->x, STR("k"), STR("v"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("sqlite, with done", open_worker, close_worker),
        cmocka_unit_test_setup_teardown(test_locked_behind_threads, open_worker, close_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
