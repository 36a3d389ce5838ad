/* The PostgreSQL store in an event loop: the loop's turns, its life, servers that stop and go, and the end of it all. What
 * every store must do: test_postgres_loop_cases.c; what a server refuses: test_postgres_loop_refused.c. */
/* links: pq uv */
/* tsan */
#include "test_postgres_loop.h"

/* ---- turns ---- */

/* Hundreds at a time on two connections, many of them under way at once: the loop runs until all are through, and not for
 * longer. */
static void test_postgres_loop_many(void **state)
{
    size_t most = 0;
    (void)state;
    start_here(20 * DLOAD_SECOND, 2);
    equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* nothing to do: it does not hold the loop */
    equal(pg.loop.pg.pool.n_connects, 0);
    for (size_t i = 0; i < LOOP_ASKS; i++)
        must(loop_ask(&pg.loop.store, i, DLOAD_STORE_SET, 0), DLOAD_PENDING);
    equal(n_done, 0); /* never from inside run */
    while (uv_run(&loop, UV_RUN_ONCE) != 0) {
        size_t n_out = 0;
        for (uint32_t i = 0; i < pg.loop.n_slots; i++)
            n_out += pg.loop.slots[i].n_jobs;
        most = n_out > most ? n_out : most;
    }
    equal(n_done, LOOP_ASKS);
    print_message("# %zu at once\n", most);
    assert_true(most > 2 && most <= 2 * DLOAD_POSTGRES_LOOP_I_DEPTH);
    for (size_t i = 0; i < LOOP_ASKS; i++) {
        must_ok(asks[i].st);
        must_ok(asks[i].item.status);
        must(loop_ask(&pg.loop.store, i, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    }
    run_loop();
    equal(n_done, 2 * LOOP_ASKS);
    for (size_t i = 0; i < LOOP_ASKS; i++)
        must_be_found(&asks[i]);
    equal(pg.loop.store.stats.ops[DLOAD_STORE_GET], LOOP_ASKS);
    equal(pg.loop.store.stats.hits, LOOP_ASKS);
    equal(pg.loop.pg.pool.n_connects, 2);
    equal(pg.loop.pg.pool.n_losses, 0);
    equal(pg_number("SELECT count(*) FROM t"), LOOP_ASKS);
    loop_stop();
}

/* A request without done waits in its thread, on a connection that is not the loop's. */
static void test_postgres_loop_blocking(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND, 2);
    must_ok(pg_set(&pg.loop.store, "k", 1, "v", 1, DLOAD_NEVER));
    must_ok(pg_get(&pg.loop.store, "k", 1, "v", 1));
    equal(pg.loop.pg.pool.n_connects, 1);
    equal(pg.loop.slots[0].state, DLOAD_POSTGRES_LOOP_I_CLOSED);
    run_loop();
    loop_stop();
}

/* The queue is bounded. */
static void test_postgres_loop_full(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND, 2);
    pg.loop.queue.cap = 10;
    for (size_t i = 0; i < 10; i++)
        must(loop_ask(&pg.loop.store, i, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    must(loop_ask(&pg.loop.store, 10, DLOAD_STORE_GET, 0), DLOAD_EAGAIN);
    run_loop();
    equal(n_done, 10);
    for (size_t i = 0; i < 10; i++)
        dload_store_release(&asks[i].op);
    loop_stop();
}

/* done asks for the next: a thousand in a row. */
static size_t n_left;

static void ask_again(dload_store_op *op, dload_status st)
{
    must_ok(st);
    dload_store_release(op);
    if (--n_left == 0)
        return;
    op->done = ask_again;
    must(dload_store_run(&pg.loop.store, op), DLOAD_PENDING);
}

static void test_postgres_loop_in_a_row(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND, 2);
    n_left = scaled(1000);
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    asks[0].op.then = ask_again; /* where dload_store_run keeps done */
    run_loop();
    equal(n_left, 0);
    loop_stop();
}

/* ---- a server that stops, and goes ---- */

static size_t n_ticks;

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    n_ticks++;
}

/* A server that answers nothing: those under way and those that wait end in their time, while the loop goes on with
 * whatever else it has; later all is well. Connections are made, too, while it is stopped. */
static void test_postgres_loop_stopped(void **state)
{
    uv_timer_t timer;
    (void)state;
    start_here(200 * DLOAD_MILLISECOND, 2);
    equal(uv_timer_init(&loop, &timer), 0);
    loop_until_ok(0, DLOAD_STORE_SET);
    for (int round = 0; round < 3; round++) {
        n_done = n_ticks = 0;
        postgres_signal(&server, SIGSTOP);
        equal(uv_timer_start(&timer, on_tick, 2, 2), 0);
        uint64_t from_ns = real_ns();
        for (size_t i = 0; i < 40; i++)
            must(loop_ask(&pg.loop.store, i, DLOAD_STORE_GET, i == 7 ? 60 * DLOAD_MILLISECOND : 0),
                 DLOAD_PENDING);
        while (n_done < 40)
            (void)uv_run(&loop, UV_RUN_ONCE);
        assert_true(real_ns() - from_ns < 10 * DLOAD_SECOND);
        for (size_t i = 0; i < 40; i++)
            assert_true(asks[i].st == DLOAD_ETIMEDOUT || asks[i].st == DLOAD_EBACKEND);
        must(asks[7].st, DLOAD_ETIMEDOUT);
        print_message("# %zu ticks of 2 ms meanwhile\n", n_ticks);
        assert_true(n_ticks >= 10);
        equal(uv_timer_stop(&timer), 0);
        postgres_signal(&server, SIGCONT);
        loop_until_ok(0, DLOAD_STORE_GET);
        must_ok(asks[0].item.status);
        dload_store_release(&asks[0].op);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    loop_stop();
}

/* Killed, with requests of all kinds under way, and started again; nobody ever finds another one's value. */
static void test_postgres_loop_killed(void **state)
{
    uint64_t seed = test_seed("kill -9 in a loop");
    (void)state;
    start_here(20 * DLOAD_SECOND, 2);
    for (int round = 0; round < 4; round++) {
        n_done = 0;
        for (size_t i = 0; i < 40; i++)
            must(loop_ask(&pg.loop.store, i,
                          (dload_store_kind)rng_below(&seed, DLOAD_STORE_N_KINDS), 0),
                 DLOAD_PENDING);
        for (int i = 0; i < round; i++)
            (void)uv_run(&loop, UV_RUN_NOWAIT); /* some are sent */
        postgres_kill(&server);
        run_loop();
        equal(n_done, 40);
        for (size_t i = 0; i < 40; i++) {
            const dload_store_kind kind = asks[i].op.kind;
            assert_true(asks[i].st == DLOAD_EBACKEND || asks[i].st == DLOAD_OK);
            if (asks[i].st == DLOAD_OK && asks[i].item.status == DLOAD_OK &&
                (kind == DLOAD_STORE_GET || kind == DLOAD_STORE_LEASE))
                must_be_found(&asks[i]);
            dload_store_release(&asks[i].op);
        }
        assert_true(postgres_start(&server));
        for (size_t i = 0; i < 40; i++) {
            loop_until_ok(i, DLOAD_STORE_GET);
            if (asks[i].item.status == DLOAD_OK)
                must_be_found(&asks[i]);
            dload_store_release(&asks[i].op);
            if (i % 2 == 0) /* for the next round */
                loop_until_ok(i, DLOAD_STORE_SET);
        }
    }
    loop_stop();
}

static const char end_all[] = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                              "WHERE application_name = 'dataloader'";

/* The server ends its sessions: idle ones are replaced without notice, and what is under way is repeated; but a FILL that
 * may have been done is not. */
static void test_postgres_loop_sessions_end(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND, 1);
    loop_until_ok(0, DLOAD_STORE_SET);
    loop_until_ok(1, DLOAD_STORE_LEASE);
    dload_store_release(&asks[1].op);
    pg_query(end_all, NULL, 0); /* idle */
    n_done = 0;
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    run_loop();
    must_be_found(&asks[0]);
    /* under way: they wait for a lock */
    PGconn *rival = rival_begin("LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    must(loop_ask(&pg.loop.store, 1, DLOAD_STORE_FILL, 0), DLOAD_PENDING);
    must(loop_ask(&pg.loop.store, 2, DLOAD_STORE_SET, 0), DLOAD_PENDING);
    while (pg_number(blocked) != 1)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    pg_query(end_all, NULL, 0);
    rival_end(rival);
    run_loop();
    equal(n_done, 4);
    must_be_found(&asks[0]);
    must(asks[1].st, DLOAD_EBACKEND);
    must_ok(asks[2].st);
    equal(pg.loop.pg.pool.n_connects, 3);
    equal(pg_number("SELECT count(*) FROM t WHERE value = 'k2'"), 1);
    equal(pg_number("SELECT count(*) FROM t WHERE value = 'k1'"), 0);
    loop_stop();
}

/* What is repeated is repeated once. */
static void test_postgres_loop_repeats_once(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND, 1);
    loop_until_ok(0, DLOAD_STORE_SET);
    PGconn *rival = rival_begin("UPDATE t SET value = 'r'");
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_SET, 0), DLOAD_PENDING);
    for (int times = 0; times < 2; times++) {
        while (pg_number(blocked) != 1)
            (void)uv_run(&loop, UV_RUN_NOWAIT);
        assert_false(asks[0].done);
        pg_query(end_all, NULL, 0);
        pg_wait_for(blocked, 0);
    }
    for (int i = 0; i < 500 && !asks[0].done; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        sleep_ms(10);
    }
    assert_true(asks[0].done);
    must(asks[0].st, DLOAD_EBACKEND);
    rival_end(rival);
    loop_stop();
}

/* No server: requests fail at once, none waits for its time. */
static void test_postgres_loop_no_server(void **state)
{
    (void)state;
    postgres_kill(&server);
    start_here(20 * DLOAD_SECOND, 2);
    pg.loop.pg.pool.config.backoff_ns = pg.loop.pg.pool.config.backoff_max_ns = 60 * DLOAD_SECOND;
    uint64_t from_ns = real_ns();
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 20; i++)
            must(loop_ask(&pg.loop.store, i, DLOAD_STORE_GET, 0), DLOAD_PENDING);
        run_loop();
        for (size_t i = 0; i < 20; i++)
            must(asks[i].st, DLOAD_EBACKEND);
    }
    assert_true(real_ns() - from_ns < 10 * DLOAD_SECOND);
    equal(n_done, 60);
    pg.loop.store.break_after = 5; /* the breaker: not even the loop hears of it */
    pg.loop.store.break_ns = 60 * DLOAD_SECOND;
    pg.loop.store.n_failed = 4;
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    run_loop();
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_GET, 0), DLOAD_EBACKEND);
    equal(pg.loop.store.stats.refused, 1);
    loop_stop();
    assert_true(postgres_start(&server));
}

/* ---- the end ---- */

/* Closed with requests under way and waiting: each is told, once. */
static void test_postgres_loop_closed(void **state)
{
    (void)state;
    for (int turns = 0; turns < 6; turns++) {
        start_here(20 * DLOAD_SECOND, 2);
        if (turns % 2 != 0)
            loop_until_ok(0, DLOAD_STORE_SET);
        n_done = 0;
        postgres_signal(&server, SIGSTOP);
        for (size_t i = 0; i < 60; i++)
            must(loop_ask(&pg.loop.store, i, i % 5 == 0 ? DLOAD_STORE_CLEAR : DLOAD_STORE_GET, 0),
                 DLOAD_PENDING);
        for (int i = 0; i < turns; i++)
            (void)uv_run(&loop, UV_RUN_NOWAIT);
        loop_stop();
        postgres_signal(&server, SIGCONT);
        equal(n_done, 60);
        for (size_t i = 0; i < 60; i++)
            must(asks[i].st, DLOAD_ECLOSED);
    }
}

static void test_postgres_loop_fork(void **state)
{
    int status = 0;
    (void)state;
    start_here(20 * DLOAD_SECOND, 2);
    loop_until_ok(0, DLOAD_STORE_SET);
    pid_t pid = fork();
    if (pid == 0)
        _exit(loop_ask(&pg.loop.store, 1, DLOAD_STORE_GET, 0) == DLOAD_EFORK ? 0 : 1);
    equal(waitpid(pid, &status, 0), pid);
    equal(status, 0);
    loop_until_ok(0, DLOAD_STORE_GET);
    must_be_found(&asks[0]);
    loop_stop();
}

/* Without memory a request fails or not, and nothing is lost. */
static void without_memory(struct fake_env *f)
{
    dload_postgres_store_config cfg = loop_config();
    cfg.pg.env = &f->env;
    cfg.pg.max_conns = 1;
    equal(uv_loop_init(&loop), 0);
    fake_env_arm(f);
    dload_status st = dload_postgres_uv_init(&pg, &loop, &cfg);
    bool made = st == DLOAD_OK;
    n_done = 0;
    if (made) {
        static const dload_store_kind kinds[] = {DLOAD_STORE_SET, DLOAD_STORE_GET,
                                                 DLOAD_STORE_LEASE, DLOAD_STORE_CLEAR};
        size_t n = 0;
        for (size_t i = 0; i < COUNT(kinds); i++) {
            st = loop_ask(&pg.loop.store, i, kinds[i], 300 * DLOAD_MILLISECOND);
            assert_true(st == DLOAD_PENDING || st == DLOAD_ENOMEM);
            n += st == DLOAD_PENDING;
        }
        while (n_done < n)
            (void)uv_run(&loop, UV_RUN_ONCE);
        for (size_t i = 0; i < COUNT(kinds); i++)
            dload_store_release(&asks[i].op);
    }
    fake_env_disarm(f);
    if (made)
        loop_stop();
    else
        equal(uv_loop_close(&loop), 0);
}

static void test_postgres_loop_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("a PostgreSQL store in a loop", without_memory) >= 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_postgres_loop_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_blocking, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_in_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_sessions_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_repeats_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_no_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_fork, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_loop_without_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
