/* Named locks by a PostgreSQL server's advisory locks: one holder among threads and processes, gone with its
 * session, noticed when lost. */
/* links: pq */
/* tsan */
#include "test_postgres.h"
#include "adapters/dataloader_postgres_lock.h"

static dload_postgres_locks pg;
static struct fake_env memory;

static void open_locks(dload_postgres_locks *l, uint64_t timeout_ns)
{
    dload_postgres_config c;
    memset(&c, 0, sizeof c);
    c.url = server.url;
    c.env = &memory.env;
    c.max_conns = 8;
    c.timeout_ns = c.connect_ns = timeout_ns;
    must_ok(dload_postgres_locks_init(l, &c));
}

static int setup(void **state)
{
    (void)state;
    fake_env_init_real(&memory);
    open_locks(&pg, 20 * DLOAD_SECOND);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dload_postgres_locks_destroy(&pg);
    fake_env_check(&memory);
    return 0;
}

static dload_status take_of(dload_postgres_locks *l, const char *name, uint64_t timeout_ns,
                            dload_held *held)
{
    memset(held, 0, sizeof *held);
    return l->locks.take(&l->locks, dload_str_from(name), timeout_ns, held);
}

static dload_status take(const char *name, uint64_t timeout_ns, dload_held *held)
{
    return take_of(&pg, name, timeout_ns, held);
}

static dload_status check(dload_held *held)
{
    return pg.locks.check(&pg.locks, held);
}

static dload_status give(dload_held *held)
{
    return pg.locks.give(&pg.locks, held);
}

static uint64_t n_locks(void)
{
    return pg_number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted");
}

static void test_postgres_lock_excludes(void **state)
{
    dload_held a, b, c;
    (void)state;
    must_ok(take("one", 0, &a));
    must(take("one", 0, &b), DLOAD_ETIMEDOUT);
    uint64_t from_ns = real_ns();
    must(take("one", 100 * DLOAD_MILLISECOND, &b), DLOAD_ETIMEDOUT);
    assert_true(real_ns() - from_ns >= 99 * DLOAD_MILLISECOND);
    must_ok(take("two", 0, &c));
    equal(n_locks(), 2);
    must_ok(check(&a));
    must_ok(give(&a));
    must(give(&a), DLOAD_ELOCK);
    must(check(&a), DLOAD_ELOCK);
    must_ok(take("one", 0, &b));
    must_ok(give(&b));
    must_ok(give(&c));
    equal(n_locks(), 0);
    equal(pg.pool.n_losses, 0);
}

/* The same lock as the manual's statement takes, by which other programs join. */
static void test_postgres_lock_is_the_manuals(void **state)
{
    dload_held a;
    (void)state;
    PGconn *c = PQconnectdb(server.url);
    PQclear(PQexec(
        c, "SELECT pg_advisory_lock(('x' || encode(substr(sha256('dataloader:users'), 1, 8), "
           "'hex'))::bit(64)::int8)"));
    must(take("dataloader:users", 0, &a), DLOAD_ETIMEDOUT);
    must_ok(take("dataloader:user", 0, &a));
    must_ok(give(&a));
    PQfinish(c);
    must_ok(take("dataloader:users", 20 * DLOAD_SECOND, &a));
    must_ok(give(&a));
}

static void test_postgres_lock_names(void **state)
{
    static const struct {
        const char *ptr;
        size_t len;
    } names[] = {{"", 0},         {"\0", 1}, {"\0\0", 2}, {"'); DROP", 8},
                 {"\xff\xfe", 2}, {"a", 1},  {"%s", 2}};
    dload_held held[COUNT(names)], other;
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        dload_str name = {names[i].ptr, names[i].len};
        must_ok(pg.locks.take(&pg.locks, name, 0, &held[i]));
        must(pg.locks.take(&pg.locks, name, 0, &other), DLOAD_ETIMEDOUT);
    }
    equal(n_locks(), COUNT(names));
    for (size_t i = 0; i < COUNT(names); i++)
        must_ok(give(&held[i]));
    char *huge = calloc(1, 1 << 20);
    dload_str name = {huge, 1 << 20};
    must_ok(pg.locks.take(&pg.locks, name, 0, &other));
    must_ok(give(&other));
    free(huge);
    name.ptr = NULL;
    must(pg.locks.take(&pg.locks, name, 0, &other), DLOAD_EINVAL);
}

static void test_postgres_lock_more_than_connections(void **state)
{
    dload_held held[9];
    char name[8];
    (void)state;
    for (size_t i = 0; i < 9; i++) {
        (void)snprintf(name, sizeof name, "n%zu", i);
        must(take(name, 0, &held[i]), i < 8 ? DLOAD_OK : DLOAD_ELOCK);
    }
    must_ok(give(&held[3]));
    must_ok(take("n8", 0, &held[3]));
    for (size_t i = 0; i < 8; i++)
        must_ok(give(&held[i]));
}

/* ---- many ---- */

static struct {
    uint64_t n; /* under the lock only, and no atomic */
    uint32_t n_bad;
} many;

static void count_under_lock(void *ctx, size_t me)
{
    (void)ctx;
    (void)me;
    for (int i = 0; i < 25; i++) {
        dload_held h;
        if (take("counter", 60 * DLOAD_SECOND, &h) != DLOAD_OK) {
            (void)__atomic_add_fetch(&many.n_bad, 1, __ATOMIC_RELAXED);
            continue;
        }
        uint64_t n = __atomic_load_n(&many.n, __ATOMIC_RELAXED);
        sched_yield();
        __atomic_store_n(&many.n, n + 1, __ATOMIC_RELAXED);
        if (give(&h) != DLOAD_OK)
            (void)__atomic_add_fetch(&many.n_bad, 1, __ATOMIC_RELAXED);
    }
}

static void test_postgres_lock_many_threads(void **state)
{
    (void)state;
    memset(&many, 0, sizeof many);
    run_threads(8, count_under_lock, NULL);
    equal(many.n_bad, 0);
    equal(many.n, 200);
}

/* A holder that is killed: the next one gets the lock as soon as the server sees it. */
static void test_postgres_lock_of_the_dead(void **state)
{
    int ready[2];
    dload_held h;
    char c;
    (void)state;
    equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        static dload_postgres_locks own;
        open_locks(&own, 20 * DLOAD_SECOND);
        if (take_of(&own, "dead", 0, &h) != DLOAD_OK || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            sleep_ms(1000);
    }
    equal(read(ready[0], &c, 1), 1);
    must(take("dead", 0, &h), DLOAD_ETIMEDOUT);
    server_end(pid, SIGKILL);
    must_ok(take("dead", 20 * DLOAD_SECOND, &h));
    must_ok(give(&h));
    (void)close(ready[0]);
    (void)close(ready[1]);
}

/* A child of fork has no locks, and whatever it does leaves the parent's alone. */
static void test_postgres_lock_fork(void **state)
{
    dload_held a, b;
    int status = 0;
    (void)state;
    must_ok(take("parent", 0, &a));
    pid_t pid = fork();
    if (pid == 0) {
        bool ok = check(&a) == DLOAD_ELOCK && give(&a) == DLOAD_ELOCK &&
                  take("child", 0, &b) == DLOAD_ELOCK;
        dload_postgres_locks_destroy(&pg);
        _exit(ok ? 0 : 1);
    }
    equal(waitpid(pid, &status, 0), pid);
    equal(status, 0);
    must_ok(check(&a));
    must(take("parent", 0, &b), DLOAD_ETIMEDOUT);
    must_ok(give(&a));
}

/* ---- lost ---- */

static void test_postgres_lock_lost_sessions(void **state)
{
    dload_held a, b;
    (void)state;
    must_ok(take("gone", 0, &a));
    must_ok(check(&a));
    pg_query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'", NULL, 0);
    must(check(&a), DLOAD_ELOCK);
    must_ok(take("gone", 20 * DLOAD_SECOND,
                 &b)); /* somebody else has it, and we know that we have not */
    must(give(&a), DLOAD_ELOCK);
    must_ok(check(&b));
    must_ok(give(&b));
    /* the session lives, the lock does not: a pooler that swapped it looks like that */
    must_ok(take("gone", 0, &a));
    dload_postgres_conn *c = a.impl;
    PQsetnonblocking(c->pg, 0);
    PQclear(PQexec(c->pg, "SELECT pg_advisory_unlock_all()"));
    PQsetnonblocking(c->pg, 1);
    must(check(&a), DLOAD_ELOCK);
    must(give(&a), DLOAD_ELOCK);
    /* sessions that ended while nothing was held are replaced without a word */
    must_ok(take("gone", 0, &a));
    must_ok(give(&a));
    pg_query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
             "'dataloader'",
             NULL, 0);
    must_ok(take("gone", 0, &a));
    must_ok(give(&a));
}

static void test_postgres_lock_server_killed(void **state)
{
    dload_held a;
    (void)state;
    must_ok(take("k", 0, &a));
    postgres_kill(&server);
    must(check(&a), DLOAD_ELOCK);
    must(give(&a), DLOAD_ELOCK);
    must(take("k", 0, &a), DLOAD_ELOCK);
    assert_true(postgres_start(&server));
    dload_status st = DLOAD_ELOCK;
    for (int i = 0; i < 1000 && st != DLOAD_OK; i++) { /* after the backoff */
        st = take("k", 0, &a);
        sleep_ms(10);
    }
    must_ok(st);
    must_ok(give(&a));
}

/* A server that does not answer: lost, in time. */
static void test_postgres_lock_server_stopped(void **state)
{
    dload_postgres_locks own;
    dload_held a, b, c;
    (void)state;
    open_locks(&own, 300 * DLOAD_MILLISECOND);
    must_ok(take_of(&own, "k", 0, &a));
    must_ok(take_of(&own, "l", 0, &b));
    postgres_signal(&server, SIGSTOP);
    dload_status checked = own.locks.check(&own.locks, &a);
    dload_status given = own.locks.give(&own.locks, &b);
    dload_status taken = take_of(&own, "m", 100 * DLOAD_MILLISECOND, &c);
    postgres_signal(&server, SIGCONT);
    must(checked, DLOAD_ELOCK);
    must(given, DLOAD_ELOCK);
    must(taken, DLOAD_ELOCK);
    must(own.locks.give(&own.locks, &a), DLOAD_ELOCK);
    must_ok(take("k", 20 * DLOAD_SECOND, &a)); /* the server saw the sessions end */
    must_ok(take("l", 20 * DLOAD_SECOND, &b));
    must_ok(give(&a));
    must_ok(give(&b));
    dload_postgres_locks_destroy(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_postgres_lock_excludes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_lock_is_the_manuals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_lock_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_lock_more_than_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_lock_many_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_lock_of_the_dead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_lock_fork, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_lock_lost_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_lock_server_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_lock_server_stopped, setup, teardown),
    };
    return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
