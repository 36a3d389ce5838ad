/* A loader in a libuv loop in front of PostgreSQL: queries in libuv's thread pool, its second level asked by worker threads, or
 * by the loop itself, which never waits for the server. */
/* links: pq uv */
/* tsan */
#define DLOAD_STORE 1
#define DLOAD_NAME  users
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#include "dataloader.h"
#define DLOAD_UV_NAME users
#include "adapters/dataloader_uv.h"
#include "test_postgres.h"
#define DLOAD_POSTGRES_NAME users
#define DLOAD_POSTGRES_KEY  DLOAD_POSTGRES_INT8
#include "adapters/dataloader_postgres_fetch.h"
#include "adapters/dataloader_postgres/uv.h"
#include "adapters/dataloader_worker.h"

enum { N_ASKS = 1000 };

static struct {
    uv_loop_t loop;
    uv_timer_t timer;
    dload_uv u;
    users l;
    dload_postgres pool;
    dload_postgres_store store;
    dload_worker worker;
    dload_postgres_uv in_loop; /* instead of the two */
    bool no_threads;
    dload_postgres_query query;
    uint32_t n_queries; /* atomic */
    users_waiter asks[N_ASKS];
    size_t n_done, n_missing, n_wrong, n_ticks;
    size_t n_waits; /* for so many done() the loop is run */
    bool closed;
} x;

static dload_status row(users_batch *b, size_t i, const PGresult *r, int at)
{
    int64_t age = 0;
    return dload_postgres_int(r, at, 1, &age) ? users_batch_set(b, i, &age) : DLOAD_EDECODE;
}

/* In libuv's pool. */
static dload_status select_users(users_batch *b)
{
    (void)__atomic_add_fetch(&x.n_queries, 1, __ATOMIC_RELAXED);
    return users_postgres_fetch(b, &x.pool, &x.query, row);
}

/* In the loop's thread. */
static dload_status fetch(users_batch *b)
{
    return users_uv_work(&x.u, b, select_users);
}

static void on_done(users_waiter *w)
{
    uint64_t key = (uint64_t)(w - x.asks);
    x.n_done++;
    x.n_missing += w->status == DLOAD_MISSING;
    x.n_wrong += !(key < 900 ? w->status == DLOAD_OK && w->value == (int64_t)key * 7
                             : w->status == DLOAD_MISSING);
}

static void on_closed(dload_uv *u, dload_status st)
{
    (void)u;
    x.closed = st == DLOAD_OK;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    x.n_ticks++;
}

static void ask_all(void)
{
    x.n_done = x.n_missing = x.n_wrong = 0;
    memset(x.asks, 0, sizeof x.asks);
    for (uint64_t key = 0; key < N_ASKS; key++) {
        x.asks[key].done = on_done;
        dload_status st = users_start(&x.l, key, &x.asks[key]);
        if (st != DLOAD_PENDING) /* a hit, or MISSING, has been answered here */
            on_done(&x.asks[key]);
    }
    while (x.n_done < N_ASKS && uv_run(&x.loop, UV_RUN_ONCE) != 0)
        continue;
    equal(x.n_done, N_ASKS);
    equal(x.n_wrong, 0);
}

/* The second level: threads that wait for the server, or the loop. */
static dload_store *open_second(const dload_postgres_store_config *c)
{
    dload_worker_config w;
    if (x.no_threads) {
        must_ok(dload_postgres_uv_init(&x.in_loop, &x.loop, c));
        return &x.in_loop.loop.store;
    }
    memset(&w, 0, sizeof w);
    must_ok(dload_postgres_store_init(&x.store, c));
    w.inner = &x.store.store;
    w.n_threads = 2;
    must_ok(dload_worker_init(&x.worker, &w));
    return &x.worker.store;
}

static int setup_with(bool no_threads)
{
    dload_postgres_config p;
    dload_postgres_store_config s;
    users_config c = users_config_default();
    memset(&x, 0, sizeof x);
    memset(&p, 0, sizeof p);
    memset(&s, 0, sizeof s);
    x.no_threads = no_threads;
    equal(uv_loop_init(&x.loop), 0);
    p.url = s.pg.url = server.url;
    p.timeout_ns = s.pg.timeout_ns = p.connect_ns = s.pg.connect_ns = 20 * DLOAD_SECOND;
    must_ok(dload_postgres_init(&x.pool, &p));
    x.query.sql = "SELECT id, age FROM users WHERE id = ANY($1)";
    c.fetch = fetch;
    c.max_batch = 100;
    c.store = open_second(&s);
    c.store_timeout_ns = 20 * DLOAD_SECOND;
    equal(uv_timer_init(&x.loop, &x.timer), 0);
    must_ok(users_uv_init(&x.u, &x.loop, &x.l, &c));
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(false);
}

static int setup_in_loop(void **state)
{
    (void)state;
    pg_query("DROP TABLE IF EXISTS dload_store", NULL, 0);
    return setup_with(true);
}

static void on_store_closed(dload_postgres_uv *u)
{
    u->data = u;
}

static int teardown(void **state)
{
    (void)state;
    must_ok(dload_uv_close(&x.u, DLOAD_DRAIN, 0, on_closed));
    while (!x.closed)
        (void)uv_run(&x.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&x.timer, NULL);
    if (x.no_threads)
        dload_postgres_uv_close(&x.in_loop, on_store_closed);
    equal(uv_run(&x.loop, UV_RUN_DEFAULT), 0);
    assert_true(x.closed);
    equal(uv_loop_close(&x.loop), 0);
    if (x.no_threads) {
        assert_ptr_equal(x.in_loop.data, &x.in_loop);
    } else {
        must_ok(dload_worker_close(&x.worker, DLOAD_DRAIN));
        must_ok(dload_worker_destroy(&x.worker));
        dload_postgres_store_destroy(&x.store);
    }
    dload_postgres_destroy(&x.pool);
    return 0;
}

static void test_uv_batches_and_second_level(void **state)
{
    (void)state;
    ask_all();
    equal(x.n_missing, 100);
    equal(x.n_queries, N_ASKS / 100);
    /* what was found is stored, perhaps later */
    for (int i = 0;
         i < 500 && pg_number("SELECT count(*) FROM dload_store WHERE lease IS NULL") < 900; i++) {
        (void)uv_run(&x.loop, UV_RUN_NOWAIT);
        sleep_ms(10);
    }
    equal(pg_number("SELECT count(*) FROM dload_store WHERE lease IS NULL"), 900);
    must_ok(users_clear_all_local(&x.l));
    x.n_queries = 0;
    ask_all(); /* from the second level, but for what is missing in both */
    equal(x.query.n_rows, 900);
    assert_true(x.n_queries >= 1 && x.n_queries <= N_ASKS / 100);
}

/* No thread asks the second level: many keys go out in a request, and requests in a pipeline. */
static void test_uv_second_level_in_the_loop(void **state)
{
    const dload_store_stats *stats = &x.in_loop.loop.store.stats;
    test_uv_batches_and_second_level(state);
    equal(stats->hits, 900);
    assert_true(stats->ops[DLOAD_STORE_LEASE] + stats->ops[DLOAD_STORE_GET] <= 2 * N_ASKS / 100);
    equal(x.in_loop.loop.pg.pool.n_losses, 0);
}

/* The server stops, and it is the loop itself that has it go on: if anything in it waited for the server, it would wait for
 * ever. */
static void on_continue(uv_timer_t *timer)
{
    if (++x.n_ticks == 60) {
        postgres_signal(&server, SIGCONT);
        (void)uv_timer_stop(timer);
    }
}

static void test_uv_second_level_stopped(void **state)
{
    (void)state;
    ask_all();
    must_ok(users_clear_all_local(&x.l));
    postgres_signal(&server, SIGSTOP); /* until the loop has counted to 60 */
    equal(uv_timer_start(&x.timer, on_continue, 5, 5), 0);
    ask_all();
    equal(x.n_ticks, 60);
}

/* A query that takes half a second, in libuv's pool: the loop's timer goes on ringing. */
static void test_uv_loop_goes_on(void **state)
{
    (void)state;
    must_ok(users_clear_all(&x.l));
    x.query.sql = "SELECT id, age FROM users, pg_sleep(0.5) WHERE id = ANY($1)";
    equal(uv_timer_start(&x.timer, on_tick, 5, 5), 0);
    ask_all();
    print_message("# %zu ticks of 5 ms meanwhile\n", x.n_ticks);
    assert_true(x.n_ticks >= 30);
}

static int group_setup(void **state)
{
    if (pg_group_setup(state) != 0)
        return -1;
    pg_query("CREATE TABLE users AS SELECT i::int8 AS id, i * 7 AS age FROM generate_series(0, "
             "899) AS i",
             NULL, 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_uv_batches_and_second_level, setup, teardown),
        cmocka_unit_test_setup_teardown(test_uv_second_level_in_the_loop, setup_in_loop, teardown),
        cmocka_unit_test_setup_teardown(test_uv_second_level_stopped, setup_in_loop, teardown),
        cmocka_unit_test_setup_teardown(test_uv_loop_goes_on, setup, teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, pg_group_teardown);
}
