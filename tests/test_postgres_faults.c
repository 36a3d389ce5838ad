/* The PostgreSQL store when the server is killed, stopped, slow, refuses, or is asked by a child of fork. Who else
 * writes to the same rows has a suite of its own, test_postgres_rivals.c. */
/* links: pq */
/* tsan */
#include "test_postgres_faults.h"

/* ---- lost connections ---- */

static void test_faults_restart_between_requests(void **state)
{
    (void)state;
    open_pg(20000, 2);
    must_ok(pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER));
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            pg_query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
                "'dataloader'",
                NULL, 0);
        else
            postgres_kill(&server);
        assert_true(i == 0 || postgres_start(&server));
        must_ok(pg_get(&pg.store, "k", 1, "v", 1)); /* nobody was told no */
        must_ok(pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER));
    }
    equal(pg.store.stats.errors, 0);
    assert_non_null(strstr(logged.text, "connection lost"));
    close_pg();
}

static void test_faults_lost_in_the_middle(void **state)
{
    struct errand e;
    (void)state;
    open_pg(20000, 2);
    must_ok(pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER));
    /* a SET is done again */
    PGconn *rival = rival_begin("UPDATE t SET value = 'r'");
    errand_start(&e, DLOAD_STORE_SET, pg_item("k", 1, "w", 1, DLOAD_NEVER));
    end_blocked();
    pg_wait_for(blocked, 1);
    rival_end(rival);
    must_ok(errand_end(&e));
    must_ok(pg_get(&pg.store, "k", 1, "w", 1));
    equal(pg.pool.n_connects, 2);
    /* ... once */
    rival = rival_begin("UPDATE t SET value = 'r'");
    errand_start(&e, DLOAD_STORE_SET, pg_item("k", 1, "x", 1, DLOAD_NEVER));
    end_blocked();
    end_blocked();
    must(errand_end(&e), DLOAD_EBACKEND);
    rival_end(rival);
    /* a FILL is not: it may have been done, and then a second one would say that the lease was lost */
    must(pg_lease(&pg.store, DLOAD_STORE_LEASE, "l", 1, NULL, 60 * DLOAD_SECOND), DLOAD_MISSING);
    rival = rival_begin("UPDATE t SET expires = expires WHERE lease IS NOT NULL");
    dload_store_item fill = pg_item("l", 1, "f", 1, DLOAD_NEVER);
    fill.lease[0] = 1;
    fill.lease[1] = ~UINT64_C(1);
    errand_start(&e, DLOAD_STORE_FILL, fill);
    end_blocked();
    must(errand_end(&e), DLOAD_EBACKEND);
    rival_end(rival);
    must(pg_get(&pg.store, "l", 1, NULL, 0), DLOAD_MISSING);
    must_ok(pg_lease(&pg.store, DLOAD_STORE_FILL, "l", 1, "f", DLOAD_NEVER));
    close_pg();
}

/* kill -9 while four threads write and read; what is read is always what that key was given. */
static struct {
    bool over; /* atomic */
    size_t n_good, n_failed;
    uint32_t n_wrong;
    uint64_t longest_ns;
} storm;

static void storm_body(void *ctx, size_t me)
{
    uint64_t seed = *(uint64_t *)ctx + me;
    while (!__atomic_load_n(&storm.over, __ATOMIC_ACQUIRE)) {
        uint64_t keys[3];
        dload_store_item items[3];
        dload_store_op op;
        bool set = rng_below(&seed, 2) == 0;
        for (size_t i = 0; i < 3; i++) {
            keys[i] = rng_below(&seed, 100);
            items[i] = pg_item(&keys[i], 8, set ? &keys[i] : NULL, set ? 8 : 0, DLOAD_NEVER);
        }
        uint64_t from_ns = real_ns();
        dload_status st = pg_run(&pg.store, &op, set ? DLOAD_STORE_SET : DLOAD_STORE_GET, items, 3);
        uint64_t took_ns = real_ns() - from_ns;
        for (size_t i = 0; i < 3 && st == DLOAD_OK && !set; i++) {
            bool ok = items[i].status == DLOAD_MISSING ||
                      (items[i].status == DLOAD_OK && items[i].value_bytes == 8 &&
                       memcmp(items[i].value, &keys[i], 8) == 0);
            if (!ok)
                (void)__atomic_add_fetch(&storm.n_wrong, 1, __ATOMIC_RELAXED);
        }
        dload_store_release(&op);
        (void)__atomic_add_fetch(st == DLOAD_OK ? &storm.n_good : &storm.n_failed, 1,
                                 __ATOMIC_RELAXED);
        if (took_ns > __atomic_load_n(&storm.longest_ns, __ATOMIC_RELAXED))
            __atomic_store_n(&storm.longest_ns, took_ns, __ATOMIC_RELAXED);
        if (st != DLOAD_OK)
            sleep_ms(1);
    }
}

static void *storm_threads(void *ctx)
{
    run_threads(4, storm_body, ctx);
    return NULL;
}

static void storm_until_good(size_t more)
{
    size_t want = __atomic_load_n(&storm.n_good, __ATOMIC_RELAXED) + more;
    for (int i = 0; i < 4000 && __atomic_load_n(&storm.n_good, __ATOMIC_RELAXED) < want; i++)
        sleep_ms(5);
    assert_true(__atomic_load_n(&storm.n_good, __ATOMIC_RELAXED) >= want);
}

static void test_faults_killed_in_the_middle(void **state)
{
    uint64_t seed = test_seed("kill -9");
    pthread_t threads;
    (void)state;
    open_pg(5000, 4);
    memset(&storm, 0, sizeof storm);
    equal(pthread_create(&threads, NULL, storm_threads, &seed), 0);
    for (int i = 0; i < 2; i++) {
        storm_until_good(200);
        postgres_kill(&server);
        assert_true(postgres_start(&server));
    }
    storm_until_good(200);
    __atomic_store_n(&storm.over, true, __ATOMIC_RELEASE);
    (void)pthread_join(threads, NULL);
    print_message("# %zu requests good, %zu failed, the longest took %.0f ms\n", storm.n_good,
                  storm.n_failed, (double)storm.longest_ns / 1e6);
    equal(storm.n_wrong, 0);
    assert_true(storm.n_failed > 0);
    equal(pg_number("SELECT count(*) FROM t WHERE value <> id"), 0);
    close_pg();
}

/* A server that became a standby: its sessions may only read. They are given up, not kept. */
static void test_faults_read_only(void **state)
{
    (void)state;
    open_pg(20000, 1);
    must_ok(pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER));
    close_pg();
    pg_query("ALTER DATABASE postgres SET default_transaction_read_only = on", NULL, 0);
    open_pg(20000, 1);
    must_ok(pg_get(&pg.store, "k", 1, "v", 1));
    must(pg_set(&pg.store, "k", 1, "w", 1, DLOAD_NEVER), DLOAD_EBACKEND);
    pg_query("ALTER DATABASE postgres RESET default_transaction_read_only", NULL, 0);
    must_ok(pg_set(&pg.store, "k", 1, "w", 1, DLOAD_NEVER));
    must_ok(pg_get(&pg.store, "k", 1, "w", 1));
    equal(pg.pool.n_connects, 3);
    close_pg();
}

/* ---- slow, stopped, silent ---- */

/* A server that stops and goes on: each request ends in time, and no answer is taken for another one's. */
static void test_faults_stopped(void **state)
{
    dload_store_op op;
    (void)state;
    open_pg(20000, 2);
    for (uint64_t i = 0; i < 20; i++)
        must_ok(pg_set(&pg.store, &i, 8, &i, 8, DLOAD_NEVER));
    for (uint64_t i = 0; i < 10; i++) {
        uint64_t next = i + 1;
        dload_store_item item = pg_item(&i, 8, NULL, 0, 0);
        memset(&op, 0, sizeof op);
        op.kind = DLOAD_STORE_GET;
        op.items = &item;
        op.n = 1;
        op.timeout_ns = 30 * DLOAD_MILLISECOND;
        postgres_signal(&server, SIGSTOP);
        uint64_t from_ns = real_ns();
        dload_status st = dload_store_run(&pg.store, &op);
        uint64_t took_ns = real_ns() - from_ns;
        postgres_signal(&server, SIGCONT);
        dload_store_release(&op);
        assert_true(st == DLOAD_ETIMEDOUT || st == DLOAD_EBACKEND);
        assert_true(took_ns < 10 * DLOAD_SECOND);
        do { /* while connecting is held back nothing can be had */
            st = pg_get(&pg.store, &next, 8, &next, 8);
        } while (st == DLOAD_EBACKEND || st == DLOAD_ETIMEDOUT);
        must_ok(st);
    }
    close_pg();
}

/* Somebody holds a row: the request ends in time, and the server does not go on with it. */
static void test_faults_timeout(void **state)
{
    (void)state;
    open_pg(300, 2);
    must_ok(pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER));
    PGconn *rival = rival_begin("UPDATE t SET value = 'r'");
    must(pg_set(&pg.store, "k", 1, "w", 1, DLOAD_NEVER), DLOAD_ETIMEDOUT);
    pg_wait_for(blocked, 0); /* while the row is still held */
    must_ok(pg_set(&pg.store, "other", 5, "w", 1, DLOAD_NEVER));
    rival_end(rival);
    must_ok(pg_get(&pg.store, "k", 1, "r", 1));
    close_pg();
    /* a request may have less time than others: the server sees that nobody waits any more */
    open_pg(60000, 2);
    rival = rival_begin("UPDATE t SET value = 'q'");
    dload_store_item hasty = pg_item("k", 1, "w", 1, DLOAD_NEVER);
    dload_store_op op;
    memset(&op, 0, sizeof op);
    op.kind = DLOAD_STORE_SET;
    op.items = &hasty;
    op.n = 1;
    op.timeout_ns = 200 * DLOAD_MILLISECOND;
    must(dload_store_run(&pg.store, &op), DLOAD_ETIMEDOUT);
    pg_wait_for(blocked, 0);
    rival_end(rival);
    close_pg();
    /* ... or more */
    open_pg(300, 2);
    rival = rival_begin("UPDATE t SET value = 's'");
    struct errand e;
    memset(&e, 0, sizeof e);
    e.kind = DLOAD_STORE_SET;
    e.items[0] = pg_item("k", 1, "w", 1, DLOAD_NEVER);
    e.n = 1;
    e.timeout_ns = 60 * DLOAD_SECOND;
    equal(pthread_create(&e.thread, NULL, errand_run, &e), 0);
    sleep_ms(700);
    equal(__atomic_load_n(&e.over, __ATOMIC_ACQUIRE), 0);
    rival_end(rival);
    must_ok(errand_end(&e));
    must_ok(pg_get(&pg.store, "k", 1, "w", 1));
    close_pg();
}

/* All connections are in use: the next request waits, as long as it may. */
static void test_faults_no_connection_free(void **state)
{
    struct errand e;
    dload_store_op op;
    dload_store_item item = pg_item("k", 1, NULL, 0, 0);
    (void)state;
    open_pg(20000, 1);
    must_ok(pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER));
    PGconn *rival = rival_begin("UPDATE t SET value = 'r'");
    errand_start(&e, DLOAD_STORE_SET, pg_item("k", 1, "w", 1, DLOAD_NEVER));
    pg_wait_for(blocked, 1);
    memset(&op, 0, sizeof op);
    op.items = &item;
    op.n = 1;
    op.timeout_ns = 50 * DLOAD_MILLISECOND;
    must(dload_store_run(&pg.store, &op), DLOAD_ETIMEDOUT);
    dload_store_release(&op);
    equal(pg.pool.n_losses, 0);
    rival_end(rival);
    must_ok(errand_end(&e));
    must_ok(pg_get(&pg.store, "k", 1, "w", 1));
    equal(pg.pool.n_connects, 1);
    close_pg();
}

/* ---- who may not ---- */

static void check_no_secret(const char *url, dload_status want_init, dload_status want)
{
    dload_postgres_store_config c;
    dload_postgres_store s;
    char error[400] = "";
    memset(&c, 0, sizeof c);
    memset(&logged, 0, sizeof logged);
    c.pg.url = url;
    c.pg.log = pg_logged;
    c.pg.log_ctx = &logged;
    c.pg.timeout_ns = 5 * DLOAD_SECOND;
    dload_status st = dload_postgres_store_init(&s, &c);
    must(st, want_init);
    if (st != DLOAD_OK)
        return;
    must(dload_postgres_store_open(&s, 0), want);
    dload_postgres_error(&s.pool, error, sizeof error);
    dload_postgres_store_destroy(&s);
    if (want != DLOAD_OK)
        assert_true(strlen(error) > 10 && strlen(logged.text) > 10);
    assert_null(strstr(error, "canary"));
    assert_null(strstr(logged.text, "canary"));
}

static void test_faults_passwords(void **state)
{
    char url[256];
    (void)state;
    pg_query("CREATE ROLE app LOGIN PASSWORD 'canary-1'; GRANT ALL ON SCHEMA public TO app", NULL,
             0);
    static const struct {
        const char *format;
        dload_status init, open;
    } cases[] = {
        {"host=%s user=app dbname=postgres password=canary-1", DLOAD_OK, DLOAD_OK},
        {"postgresql://app:canary-1@/postgres?host=%s", DLOAD_OK, DLOAD_OK},
        {"host=%s user=app dbname=postgres password=canary-2", DLOAD_OK, DLOAD_EBACKEND},
        {"postgresql://app:c%%61nary-2@/postgres?host=%s", DLOAD_OK, DLOAD_EBACKEND},
        {"host=%s user=app dbname=canary-3 password=canary-3", DLOAD_OK, DLOAD_EBACKEND},
        {"host=%s user=canary-4 dbname=postgres password=canary-4", DLOAD_OK, DLOAD_EBACKEND},
        {"postgresql://app:canary-5@nowhere.invalid/%s", DLOAD_OK, DLOAD_EBACKEND},
        {"postgresql://app:canary-6@[bad/%s", DLOAD_EINVAL, DLOAD_OK},
        {"mysql://app:canary-7@%s", DLOAD_EINVAL, DLOAD_OK},
        {"host=%s password='canary-8", DLOAD_EINVAL, DLOAD_OK},
        {"host=%s pass=canary-9", DLOAD_EINVAL, DLOAD_OK},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        (void)snprintf(url, sizeof url, cases[i].format, server.folder);
        check_no_secret(url, cases[i].init, cases[i].open);
    }
    /* who may not touch the table is told so as a failure, not as a miss */
    open_pg(20000, 1);
    must_ok(pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER));
    close_pg();
    dload_postgres_store_config c;
    memset(&c, 0, sizeof c);
    c.table = "t";
    c.pg.url = url;
    (void)snprintf(url, sizeof url, cases[0].format, server.folder);
    pg_open(&pg, &c);
    must(pg_get(&pg.store, "k", 1, NULL, 0), DLOAD_EBACKEND);
    dload_postgres_store_destroy(&pg);
    pg_query("DROP OWNED BY app; DROP ROLE app", NULL, 0);
}

/* ---- no server ---- */

static void test_faults_breaker(void **state)
{
    (void)state;
    postgres_kill(&server);
    open_pg(20000, 2);
    pg.store.break_after = 5;
    pg.store.break_ns = 10 * DLOAD_SECOND;
    for (int i = 0; i < 5; i++)
        must(pg_get(&pg.store, "k", 1, NULL, 0), DLOAD_EBACKEND);
    equal(pg.store.stats.refused, 0);
    for (int i = 0; i < 100; i++)
        must(pg_get(&pg.store, "k", 1, NULL, 0), DLOAD_EBACKEND);
    equal(pg.store.stats.refused, 100);
    assert_true(postgres_start(&server));
    pg.store.closed_until_ns = 1; /* those ten seconds are over */
    dload_status st = DLOAD_EBACKEND;
    for (int i = 0; i < 1000 && st == DLOAD_EBACKEND; i++) {
        st = pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER);
        pg.store.closed_until_ns = 1;
        sleep_ms(5);
    }
    must_ok(st);
    must_ok(pg_get(&pg.store, "k", 1, "v", 1));
    close_pg();
}

/* ---- fork, memory ---- */

static void test_faults_fork(void **state)
{
    int status = 0;
    (void)state;
    open_pg(20000, 2);
    must_ok(pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER));
    pid_t pid = fork();
    if (pid == 0) {
        dload_store_item item = pg_item("k", 1, NULL, 0, 0);
        dload_store_op op;
        bool ok = pg_run(&pg.store, &op, DLOAD_STORE_GET, &item, 1) == DLOAD_EFORK;
        dload_postgres_store_destroy(&pg);
        _exit(ok ? 0 : 1);
    }
    equal(waitpid(pid, &status, 0), pid);
    equal(status, 0);
    must_ok(pg_get(&pg.store, "k", 1, "v", 1));
    equal(pg.pool.n_connects, 1);
    close_pg();
}

static void ask_all_kinds(size_t *n_ok, size_t *n_failed)
{
    static const dload_store_kind kinds[] = {
        DLOAD_STORE_SET,  DLOAD_STORE_GET,  DLOAD_STORE_DELETE, DLOAD_STORE_LEASE,
        DLOAD_STORE_FILL, DLOAD_STORE_DROP, DLOAD_STORE_CLEAR};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        dload_store_item items[3] = {pg_item("a", 1, "1", 1, DLOAD_SECOND),
                                     pg_item("b", 1, "2", 1, DLOAD_SECOND),
                                     pg_item("a", 1, "3", 1, DLOAD_SECOND)};
        dload_store_op op;
        dload_status st = pg_run(&pg.store, &op, kinds[i], items, 3);
        assert_true(st == DLOAD_OK || st == DLOAD_ENOMEM);
        *(st == DLOAD_OK ? n_ok : n_failed) += 1;
        dload_store_release(&op);
    }
}

static void test_faults_no_memory(void **state)
{
    size_t n_ok = 0, n_failed = 0, at = 0;
    (void)state;
    open_pg(20000, 1);
    ask_all_kinds(&n_ok, &n_failed);
    equal(n_failed, 0);
    for (at = 1; n_ok != 0 && at < 100; at++) {
        n_ok = n_failed = 0;
        memory.fail_at = at;
        fake_env_arm(&memory);
        ask_all_kinds(&n_ok, &n_failed);
        fake_env_disarm(&memory);
        if (n_failed == 0)
            break;
        equal(n_failed, 1);
    }
    assert_true(at > 20 && at < 100);
    n_ok = n_failed = 0;
    ask_all_kinds(&n_ok, &n_failed);
    equal(n_failed, 0);
    close_pg();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_faults_restart_between_requests, setup),
        cmocka_unit_test_setup(test_faults_lost_in_the_middle, setup),
        cmocka_unit_test_setup(test_faults_killed_in_the_middle, setup),
        cmocka_unit_test_setup(test_faults_read_only, setup),
        cmocka_unit_test_setup(test_faults_stopped, setup),
        cmocka_unit_test_setup(test_faults_timeout, setup),
        cmocka_unit_test_setup(test_faults_no_connection_free, setup),
        cmocka_unit_test_setup(test_faults_passwords, setup),
        cmocka_unit_test_setup(test_faults_breaker, setup),
        cmocka_unit_test_setup(test_faults_fork, setup),
        cmocka_unit_test_setup(test_faults_no_memory, setup),
    };
    return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
