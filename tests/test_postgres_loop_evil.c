/* The PostgreSQL store in a loop of three functions and poll, and a network that cuts, swallows and delays what the server
 * says, at any byte of it: each request ends once and in its time, never by another's answer, and what may be repeated
 * is. */
/* links: pq */
/* tsan */
#include "test_postgres.h"
#include "adapters/dataloader_postgres/loop.h"
#include "servers/postgres_proxy.h"
#include "stores/loop_case.h"

static struct proxy proxy;
static dload_postgres_loop pg;

static const char *url; /* NULL = the proxy's */

static void up(uint64_t timeout_ns, size_t max_conns)
{
    static const dload_postgres_loop_hooks hooks = {mini_watch, mini_timer, mini_wake, &mini};
    dload_postgres_store_config c;
    memset(&c, 0, sizeof c);
    c.pg.url = url != NULL ? url : proxy.url;
    c.pg.timeout_ns = c.pg.connect_ns = timeout_ns;
    c.pg.backoff_ns = c.pg.backoff_max_ns = 1;
    c.pg.max_conns = max_conns;
    c.unlogged = true;
    c.table = "t";
    mini_start();
    must_ok(dload_postgres_loop_init(&pg, &c, &hooks, 0));
    pg.store.break_after = UINT32_MAX;
    n_done = 0;
}

static void down(void)
{
    dload_postgres_loop_end(&pg);
    mini_must_be_free();
}

/* Turns until nothing is pending. */
static void turn(void)
{
    while (dload_postgres_loop_pending(&pg) != 0) {
        mini_turn();
        dload_postgres_loop_process(&pg);
    }
}

static dload_status ask_and_turn(size_t i, dload_store_kind kind)
{
    must(loop_ask(&pg.store, i, kind, 0), DLOAD_PENDING);
    turn();
    dload_store_release(&asks[i].op);
    return asks[i].st;
}

/* ---- at any byte ---- */

static const dload_store_kind script[] = {DLOAD_STORE_GET,   DLOAD_STORE_SET,  DLOAD_STORE_GET,
                                          DLOAD_STORE_LEASE, DLOAD_STORE_GET,  DLOAD_STORE_DELETE,
                                          DLOAD_STORE_FILL,  DLOAD_STORE_DROP, DLOAD_STORE_GET,
                                          DLOAD_STORE_CLEAR, DLOAD_STORE_GET};

enum { N_SCRIPT = (int)(sizeof script / sizeof script[0]) };

static void ask_script(void)
{
    n_done = 0;
    for (size_t i = 0; i < N_SCRIPT; i++)
        must(loop_ask(&pg.store, i, script[i], 0), DLOAD_PENDING);
    turn();
    equal(n_done, N_SCRIPT);
}

/* What every request of the script has to have, and whether all came through. */
static bool check_script(bool repeated)
{
    bool all = true;
    for (size_t i = 0; i < N_SCRIPT; i++) {
        const dload_status st = asks[i].st;
        if (repeated && script[i] != DLOAD_STORE_FILL)
            must_ok(st);
        all = all && st == DLOAD_OK;
        assert_true(st == DLOAD_OK || st == DLOAD_EBACKEND || st == DLOAD_ETIMEDOUT);
        if (st == DLOAD_OK && script[i] == DLOAD_STORE_GET)
            must_be_found(&asks[i]);
        else if (st == DLOAD_OK && script[i] == DLOAD_STORE_FILL)
            must(asks[i].item.status, DLOAD_ELOCK); /* nobody had leased it */
        dload_store_release(&asks[i].op);
    }
    return all;
}

static void prepare_table(void)
{
    pg_query("DROP TABLE IF EXISTS t", NULL, 0);
    up(20 * DLOAD_SECOND, 1);
    for (size_t i = 0; i < N_SCRIPT; i++) {
        if (script[i] == DLOAD_STORE_GET)
            must_ok(ask_and_turn(i, DLOAD_STORE_SET));
    }
    down();
}

/* Answers of a connection that is in use: all but the FILL are repeated on the next one. */
static void test_postgres_loop_cut_answers(void **state)
{
    uint64_t seed =
        test_seed("cut answers"); /* where it begins: other runs have the bytes between */
    size_t n_cut = 0;
    (void)state;
    prepare_table();
    up(20 * DLOAD_SECOND, 1);
    ask_script(); /* prepares */
    (void)check_script(true);
    proxy_arm(&proxy, PROXY_CUTS, SIZE_MAX, 0);
    ask_script();
    (void)check_script(true);
    const size_t n_bytes = proxy_passed(&proxy);
    const size_t step = n_bytes / scaled(200) + 1;
    print_message("# %zu bytes, cut at every %zu.\n", n_bytes, step);
    assert_true(n_bytes > 300);
    for (size_t at = rng_below(&seed, step); at < n_bytes; at += step) {
        const uint64_t before = pg.pg.pool.n_connects;
        proxy_arm(&proxy, PROXY_CUTS, at, 0);
        ask_script();
        n_cut += !check_script(true);
        assert_true(pg.pg.pool.n_connects > before);
        equal(pg.slots[0].state, DLOAD_POSTGRES_LOOP_I_READY);
    }
    assert_true(n_cut > 0); /* FILLs */
    down();
}

/* ... and of one that is being made: requests fail, or are asked on another one; and then all is well. */
static void test_postgres_loop_cut_greetings(void **state)
{
    uint64_t seed = test_seed("cut greetings");
    (void)state;
    prepare_table();
    proxy_arm(&proxy, PROXY_CUTS, SIZE_MAX, 0);
    up(20 * DLOAD_SECOND, 1);
    ask_script();
    const size_t n_bytes = proxy_passed(&proxy);
    (void)check_script(true);
    down();
    const size_t step = n_bytes / scaled(60) + 1;
    print_message("# %zu bytes, cut at every %zu.\n", n_bytes, step);
    for (size_t at = rng_below(&seed, step); at < n_bytes; at += step) {
        up(20 * DLOAD_SECOND, 1);
        proxy_arm(&proxy, PROXY_CUTS, at, 0);
        ask_script();
        (void)check_script(false);
        ask_script();
        (void)check_script(true);
        down();
    }
}

/* Nothing more comes, at whatever byte: requests end in their time, and the next connection is another one. */
static void test_postgres_loop_swallowed(void **state)
{
    uint64_t seed = test_seed("swallowed answers");
    size_t n_late = 0;
    (void)state;
    prepare_table();
    for (size_t i = 0; i < scaled(25); i++) {
        up(25 * DLOAD_MILLISECOND, 1);
        proxy_arm(&proxy, PROXY_SWALLOWS, rng_below(&seed, 1500), 0);
        const uint64_t from_ns = real_ns();
        ask_script();
        n_late += !check_script(false);
        assert_true(real_ns() - from_ns < 10 * DLOAD_SECOND);
        proxy_arm(&proxy, PROXY_CUTS, SIZE_MAX, 0);
        pg.pg.pool.config.timeout_ns = pg.pg.pool.config.connect_ns = 20 * DLOAD_SECOND;
        while (ask_and_turn(0, DLOAD_STORE_GET) != DLOAD_OK)
            continue;
        must_ok(asks[0].item.status);
        down();
    }
    assert_true(n_late > 0);
}

/* Answers that come later than somebody waits for: each request has its own, or none. */
static void test_postgres_loop_late_answers(void **state)
{
    uint64_t seed = test_seed("late answers in a loop");
    size_t n_ok = 0, n_late = 0;
    (void)state;
    prepare_table();
    up(20 * DLOAD_SECOND, 2);
    for (size_t i = 0; i < 40; i++)
        must_ok(ask_and_turn(i, DLOAD_STORE_SET));
    for (size_t round = 0; round < scaled(40); round++) {
        if (round % 2 == 0)
            proxy_arm(&proxy, PROXY_DELAYS, rng_below(&seed, 3000),
                      rng_below(&seed, 12) * DLOAD_MILLISECOND);
        n_done = 0;
        for (size_t i = 0; i < 40; i++)
            must(loop_ask(&pg.store, i, DLOAD_STORE_GET,
                          (1 + rng_below(&seed, 10)) * DLOAD_MILLISECOND),
                 DLOAD_PENDING);
        turn();
        equal(n_done, 40);
        for (size_t i = 0; i < 40; i++) {
            assert_true(asks[i].st == DLOAD_OK || asks[i].st == DLOAD_ETIMEDOUT ||
                        asks[i].st == DLOAD_EBACKEND);
            n_ok += asks[i].st == DLOAD_OK;
            n_late += asks[i].st == DLOAD_ETIMEDOUT;
            if (asks[i].st == DLOAD_OK)
                must_be_found(&asks[i]);
            dload_store_release(&asks[i].op);
        }
    }
    print_message("# %zu in time, %zu late; %zu connections\n", n_ok, n_late, proxy.n_connections);
    assert_true(n_ok > 0 && n_late > 0);
    down();
}

/* Two addresses, of which the first refuses: the second is another socket, which the loop has to be told of. */
static void test_postgres_loop_next_address(void **state)
{
    char two[300];
    (void)state;
    (void)snprintf(two, sizeof two, "host=%s,%s user=postgres dbname=postgres gssencmode=disable",
                   proxy.folder, proxy.folder);
    url = two;
    for (int i = 0; i < 10; i++) {
        const size_t before = proxy.n_connections;
        (void)pthread_mutex_lock(&proxy.mutex);
        proxy.n_refused = 1;
        (void)pthread_mutex_unlock(&proxy.mutex);
        up(20 * DLOAD_SECOND, 1);
        must_ok(ask_and_turn(0, DLOAD_STORE_SET));
        assert_true(mini.n_turns <
                    300); /* it does not go round and round for the first one's sake */
        equal(proxy.n_refused, 0);
        equal(proxy.n_connections, before + 1);
        equal(pg.pg.pool.n_connects, 1);
        down();
    }
    url = NULL;
}

/* A pooler between: nothing is set in a session, and nothing prepared. */
static void test_postgres_loop_pooled(void **state)
{
    (void)state;
    prepare_table();
    up(20 * DLOAD_SECOND, 2);
    pg.pg.pool.config.pooled = true;
    for (int i = 0; i < 3; i++) {
        ask_script();
        (void)check_script(true);
    }
    equal(pg.slots[0].conn.n_prepared, 0);
    equal(pg.slots[0].conn.statement_ms, 0);
    down();
}

static int start(void **state)
{
    return pg_group_setup(state) == 0 && proxy_start(&proxy, server.folder) ? 0 : -1;
}

static int stop(void **state)
{
    proxy_stop(&proxy);
    return pg_group_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postgres_loop_cut_answers),
        cmocka_unit_test(test_postgres_loop_cut_greetings),
        cmocka_unit_test(test_postgres_loop_swallowed),
        cmocka_unit_test(test_postgres_loop_late_answers),
        cmocka_unit_test(test_postgres_loop_next_address),
        cmocka_unit_test(test_postgres_loop_pooled),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
