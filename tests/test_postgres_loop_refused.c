/* The PostgreSQL store in an event loop when the server says no: to one request among others in a pipeline, to all, for a while;
 * rows that somebody else has locked; statements that a session forgot. */
/* links: pq uv */
/* tsan */
#include "test_postgres_loop.h"

/* What is refused in a pipeline touches none before it and none behind it. */
static void test_refused_in_a_pipeline(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND, 1);
    loop_until_ok(0, DLOAD_STORE_SET);
    pg_query("ALTER TABLE t ADD CHECK (value IS NULL OR right(encode(value, 'escape'), 1) <> '3')",
             NULL, 0);
    n_done = 0;
    for (size_t i = 0; i < 60; i++)
        must(loop_ask(&pg.loop.store, i, DLOAD_STORE_SET, 0), DLOAD_PENDING);
    run_loop();
    equal(n_done, 60);
    for (size_t i = 0; i < 60; i++)
        must(asks[i].st, i % 10 == 3 ? DLOAD_EBACKEND : DLOAD_OK);
    equal(pg_number("SELECT count(*) FROM t"), 54);
    equal(pg.loop.pg.pool.n_connects, 1);
    equal(pg.loop.pg.pool.n_losses, 0);
    loop_stop();
}

/* All kinds of requests at once on one connection, each with its own answer. */
static void test_refused_all_kinds(void **state)
{
    static const dload_store_kind kinds[] = {
        DLOAD_STORE_GET,   DLOAD_STORE_SET,  DLOAD_STORE_DELETE, DLOAD_STORE_CLEAR,
        DLOAD_STORE_LEASE, DLOAD_STORE_FILL, DLOAD_STORE_DROP};
    (void)state;
    start_here(20 * DLOAD_SECOND, 1);
    loop_until_ok(LOOP_ASKS - 1, DLOAD_STORE_SET);
    for (size_t round = 0; round < scaled(20); round++) {
        for (size_t i = 0; i < 7 * 20; i++)
            must(loop_ask(&pg.loop.store, i, kinds[i % 7], 0), DLOAD_PENDING);
        run_loop();
        for (size_t i = 0; i < 7 * 20; i++) {
            const dload_store_kind kind = kinds[i % 7];
            const dload_status st = asks[i].item.status;
            must_ok(asks[i].st);
            if (kind == DLOAD_STORE_GET)
                must(st, DLOAD_MISSING);        /* nobody sets these */
            else if (kind == DLOAD_STORE_LEASE) /* BUSY: a CLEAR between its statements */
                assert_true(st == DLOAD_MISSING || st == DLOAD_EBUSY);
            else
                must(st, kind == DLOAD_STORE_FILL ? DLOAD_ELOCK : DLOAD_OK);
            dload_store_release(&asks[i].op);
        }
    }
    loop_stop();
}

/* No schema, and then there is one; no table any more, and then there is one again; a table of another shape. */
static void test_refused_no_table(void **state)
{
    dload_postgres_store_config c = loop_config();
    (void)state;
    c.schema = "later";
    assert_true(start_with(&c));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 20; i++)
            must(loop_ask(&pg.loop.store, i, DLOAD_STORE_SET, 0), DLOAD_PENDING);
        run_loop();
        for (size_t i = 0; i < 20; i++)
            must(asks[i].st, round == 0 ? DLOAD_EBACKEND : DLOAD_OK);
        pg_query("CREATE SCHEMA IF NOT EXISTS later", NULL, 0);
    }
    equal(pg_number("SELECT count(*) FROM later.t"), 20);
    pg_query("DROP TABLE later.t", NULL, 0);
    for (size_t i = 0; i < 20; i++)
        must(loop_ask(&pg.loop.store, i, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    run_loop();
    must(asks[0].st, DLOAD_EBACKEND);
    for (size_t i = 0; i < 20; i++)
        dload_store_release(&asks[i].op); /* the last ones found it made again */
    loop_until_ok(0, DLOAD_STORE_SET);
    pg_query("DROP TABLE later.t; CREATE TABLE later.t (id bytea)", NULL, 0);
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    run_loop();
    must(asks[0].st, DLOAD_EBACKEND); /* no such column: looks at the table again */
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    run_loop();
    must(asks[0].st, DLOAD_ELAYOUT);
    pg_query("DROP SCHEMA later CASCADE", NULL, 0);
    loop_stop();
}

/* Who may not touch the table is told so as a failure, not as a miss; and so is who may not connect. */
static void test_refused_permission(void **state)
{
    char url[256];
    dload_postgres_store_config c = loop_config();
    (void)state;
    start_here(20 * DLOAD_SECOND, 1);
    loop_until_ok(0, DLOAD_STORE_SET);
    loop_stop();
    pg_query("CREATE ROLE app LOGIN PASSWORD 'canary-1'; GRANT ALL ON SCHEMA public TO app", NULL,
             0);
    (void)snprintf(url, sizeof url, "host=%s user=app dbname=postgres password=canary-1",
                   server.folder);
    c.pg.url = url;
    assert_true(start_with(&c));
    for (size_t i = 0; i < 20; i++)
        must(loop_ask(&pg.loop.store, i, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    run_loop();
    for (size_t i = 0; i < 20; i++)
        must(asks[i].st, DLOAD_EBACKEND);
    pg_query("GRANT ALL ON t TO app", NULL, 0);
    loop_until_ok(0, DLOAD_STORE_GET);
    must_be_found(&asks[0]);
    pg_query("ALTER ROLE app NOLOGIN", NULL, 0);
    pg_query("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'",
             NULL, 0);
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    run_loop();
    must(asks[0].st, DLOAD_EBACKEND);
    loop_stop();
    pg_query("DROP OWNED BY app; DROP ROLE app", NULL, 0);
}

/* A row that somebody else has: who waits for it ends in time; those behind it on the connection go on, and nothing of theirs
 * is lost, a FILL neither. */
static void test_refused_a_locked_row(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND, 1);
    for (size_t i = 0; i < 3; i++)
        loop_until_ok(i, DLOAD_STORE_SET);
    loop_until_ok(3, DLOAD_STORE_LEASE);
    dload_store_release(&asks[3].op);
    n_done = 0;
    PGconn *rival = rival_begin("UPDATE t SET value = 'r' WHERE id = 'k1'");
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    must(loop_ask(&pg.loop.store, 1, DLOAD_STORE_SET, 300 * DLOAD_MILLISECOND), DLOAD_PENDING);
    must(loop_ask(&pg.loop.store, 2, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    must(loop_ask(&pg.loop.store, 3, DLOAD_STORE_FILL, 0), DLOAD_PENDING);
    while (!asks[1].done)
        (void)uv_run(&loop, UV_RUN_ONCE);
    must(asks[1].st, DLOAD_ETIMEDOUT);
    equal(n_done, 2);
    must_be_found(&asks[0]);
    must(loop_ask(&pg.loop.store, 4, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    for (int i = 0; i < 5; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    equal(pg.loop.slots[0].n_asks, 3); /* it gets no further one for now */
    rival_end(rival);
    run_loop();
    equal(n_done, 5);
    must_be_found(&asks[2]);
    must_ok(asks[3].st);
    must_ok(asks[3].item.status);
    must_ok(asks[4].st);
    dload_store_release(&asks[4].op);
    equal(pg.loop.pg.pool.n_connects, 1);
    /* with nobody behind it the connection is closed: the server sees that nobody waits any more */
    rival = rival_begin("UPDATE t SET value = 'q' WHERE id = 'k1'");
    must(loop_ask(&pg.loop.store, 1, DLOAD_STORE_SET, 200 * DLOAD_MILLISECOND), DLOAD_PENDING);
    run_loop();
    must(asks[1].st, DLOAD_ETIMEDOUT);
    equal(pg.loop.pg.pool.n_losses, 1);
    pg_wait_for(blocked, 0);
    rival_end(rival);
    loop_stop();
}

/* statement_timeout: the server ends the statement by itself; the connection stays. A request with more time than others
 * has it there, too. */
static void test_refused_by_the_clock(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND, 1);
    loop_until_ok(0, DLOAD_STORE_SET);
    pg_query("ALTER DATABASE postgres SET statement_timeout = 100", NULL, 0);
    loop_stop();
    start_here(300 * DLOAD_MILLISECOND, 1);
    PGconn *rival = rival_begin("UPDATE t SET value = 'r'");
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_SET, 60 * DLOAD_SECOND), DLOAD_PENDING);
    for (uint64_t until_ns = real_ns() + 700 * DLOAD_MILLISECOND; real_ns() < until_ns;)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    assert_false(asks[0].done);
    rival_end(rival);
    run_loop();
    must_ok(asks[0].st);
    pg_query("ALTER DATABASE postgres RESET statement_timeout", NULL, 0);
    loop_stop();
}

/* Makes the one session forget its statements, behind the store's back. */
static void forget_statements(void)
{
    PGconn *c = pg.loop.slots[0].conn.pg;
    bool marked = false;
    equal(pg.loop.slots[0].n_asks, 0);
    assert_true(PQsendQueryParams(c, "DEALLOCATE ALL", 0, NULL, NULL, NULL, NULL, 0) != 0);
    assert_true(PQpipelineSync(c) != 0);
    for (int i = 0; i < 5000 && !marked; i++) {
        (void)PQflush(c);
        assert_true(PQconsumeInput(c) != 0);
        while (!marked && PQisBusy(c) == 0) {
            PGresult *r = PQgetResult(c);
            marked = r != NULL && PQresultStatus(r) == PGRES_PIPELINE_SYNC;
            PQclear(r);
        }
        if (!marked)
            sleep_ms(1);
    }
    assert_true(marked);
}

/* Requests whose statements are not known any more are asked again on another connection, a FILL too. */
static void test_refused_statements_forgotten(void **state)
{
    static const dload_store_kind kinds[] = {DLOAD_STORE_SET, DLOAD_STORE_LEASE, DLOAD_STORE_FILL};
    (void)state;
    start_here(20 * DLOAD_SECOND, 1);
    loop_until_ok(0, DLOAD_STORE_SET);
    loop_until_ok(1, DLOAD_STORE_LEASE);
    dload_store_release(&asks[1].op);
    loop_until_ok(2, DLOAD_STORE_LEASE);
    dload_store_release(&asks[2].op);
    loop_until_ok(2, DLOAD_STORE_FILL); /* FILL is prepared, too */
    assert_true(pg.loop.slots[0].conn.n_prepared >= 4);
    for (int round = 0; round < 2; round++) {
        forget_statements();
        for (size_t i = 0; i < 3; i++) {
            must(loop_ask(&pg.loop.store, i == 2 ? 1 : i == 1 ? 3 : 0, kinds[i], 0), DLOAD_PENDING);
            if (round != 0) /* one by one */
                run_loop();
        }
        run_loop();
        must_ok(asks[0].st);
        must_ok(asks[3].st);
        must_ok(asks[1].st);
        must(asks[1].item.status, round == 0 ? DLOAD_OK : DLOAD_ELOCK);
        dload_store_release(&asks[3].op);
    }
    equal(pg.loop.pg.pool.n_connects, 3);
    equal(pg.loop.pg.pool.n_losses, 0);
    loop_stop();
}

/* Deadlocks with another program: who is given up by the server tries again. */
static void test_refused_deadlock(void **state)
{
    dload_store_item items[2];
    struct loop_ask *a = &asks[0];
    (void)state;
    start_here(20 * DLOAD_SECOND, 1);
    loop_until_ok(1, DLOAD_STORE_SET);
    loop_until_ok(2, DLOAD_STORE_SET);
    PGconn *rival = rival_begin("UPDATE t SET value = 'r' WHERE id = 'k2'");
    memset(a, 0, sizeof *a);
    items[0] = pg_item("k1", 2, "a", 1, DLOAD_NEVER);
    items[1] = pg_item("k2", 2, "b", 1, DLOAD_NEVER);
    a->op.kind = DLOAD_STORE_SET;
    a->op.items = items;
    a->op.n = 2;
    a->op.done = asked;
    a->op.ctx = a;
    must(dload_store_run(&pg.loop.store, &a->op), DLOAD_PENDING);
    while (pg_number(blocked) != 1)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(PQsendQuery(rival, "UPDATE t SET value = 'r' WHERE id = 'k1'") != 0);
    for (int i = 0; i < 5000 && pg.loop.pg.n_retries == 0; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        sleep_ms(1);
    }
    equal(pg.loop.pg.n_retries, 1);
    for (PGresult *r = PQgetResult(rival); r != NULL; r = PQgetResult(rival))
        PQclear(r);
    rival_end(rival);
    run_loop();
    must_ok(a->st);
    equal(pg_number("SELECT count(*) FROM t WHERE value IN ('a', 'b')"), 2);
    loop_stop();
}

/* Writing so many keys purges, in the loop, too: what is over goes. */
static void test_refused_nothing_purges(void **state)
{
    dload_postgres_store_config c = loop_config();
    (void)state;
    c.purge_every = 20;
    assert_true(start_with(&c));
    loop_until_ok(0, DLOAD_STORE_SET);
    pg_query("INSERT INTO t SELECT encode(i::text::bytea, 'escape')::bytea, NULL, '', NULL, "
             "now() - interval '1 day' FROM generate_series(1, 100) AS i",
             NULL, 0);
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < 60; i++)
            must(loop_ask(&pg.loop.store, i, DLOAD_STORE_SET, 0), DLOAD_PENDING);
        run_loop();
        for (size_t i = 0; i < 60; i++)
            must_ok(asks[i].st);
    }
    equal(pg_number("SELECT count(*) FROM t"), 60);
    equal(pg.loop.pg.n_purged, 100);
    equal(pg.loop.pg.purging, 0);
    loop_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refused_in_a_pipeline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_all_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_no_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_permission, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_a_locked_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_by_the_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_statements_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_deadlock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_nothing_purges, setup, teardown),
    };
    return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
