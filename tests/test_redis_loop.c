/* The Redis store in an event loop: what every store must do, with requests that are pending; the loop's turns, its life, servers
 * that stop and go, and the end of it all. */
/* links: hiredis uv */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis/uv.h"

#include "support.h"
#include "servers/redis_server.h"
#include "stores/cases.h"
#define redis redis_aside /* of test_redis.h: not used here */
#include "test_redis.h"
#undef redis
#include "stores/loop_case.h"

static uv_loop_t loop;
static dload_redis_uv uv_redis;

static bool loop_start(void *cfg)
{
    equal(uv_loop_init(&loop), 0);
    return dload_redis_uv_init(&uv_redis, &loop, cfg, NULL, 0) == DLOAD_OK;
}

static void was_closed(dload_redis_uv *u)
{
    u->data = NULL;
}

/* Closes in the loop's thread, and sees that nothing of it is left there. */
static void loop_stop(void)
{
    uv_redis.data = &uv_redis;
    dload_redis_uv_close(&uv_redis, was_closed);
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
        continue;
    assert_null(uv_redis.data);
    equal(uv_loop_close(&loop), 0);
}

/* ---- the table of all stores: a loop in a thread of its own ---- */

static struct store_case shared_case;

static void stall(struct store_case *x, bool on)
{
    (void)x;
    (void)kill(rs.pid, on ? SIGSTOP : SIGCONT);
}

static int up_apart(void **state, bool async)
{
    static dload_redis_store_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.server.url = rs.unix_url;
    cfg.chunk = async ? 7 : 0;
    cfg.max_connections = async ? 3 : 0;
    must_ok(do_aside(1, "FLUSHALL"));
    apart_up(&loop, loop_start, loop_stop, &cfg);
    memset(&shared_case, 0, sizeof shared_case);
    shared_case.s = &uv_redis.loop.store;
    shared_case.async = async;
    shared_case.stall = stall;
    *state = &shared_case;
    return 0;
}

static int up_async(void **state)
{
    return up_apart(state, true);
}

static int up_blocking(void **state)
{
    return up_apart(state, false);
}

static int down_apart(void **state)
{
    (void)state;
    apart_down();
    return 0;
}

/* ---- one thread ---- */

static dload_status ask(size_t i, dload_store_kind kind, uint64_t timeout_ns)
{
    return loop_ask(&uv_redis.loop.store, i, kind, timeout_ns);
}

static void start_here(uint64_t timeout_ns)
{
    dload_redis_store_config cfg = {0};
    cfg.server.url = rs.unix_url;
    cfg.server.command_timeout_ns = timeout_ns;
    cfg.server.pause_ns = cfg.server.pause_max_ns = DLOAD_MILLISECOND;
    cfg.max_connections = 2;
    must_ok(do_aside(1, "FLUSHALL"));
    assert_true(loop_start(&cfg));
    uv_redis.loop.store.break_after = UINT32_MAX;
    n_done = 0;
}

/* Hundreds at a time on two connections: the loop runs until all are through, and not for longer. */
static void test_redis_loop_many(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND);
    equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* nothing to do: it does not hold the loop */
    for (size_t i = 0; i < LOOP_ASKS; i++)
        must(ask(i, DLOAD_STORE_SET, 0), DLOAD_PENDING);
    equal(n_done, 0); /* never from inside run */
    equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    equal(n_done, LOOP_ASKS);
    for (size_t i = 0; i < LOOP_ASKS; i++) {
        must_ok(asks[i].st);
        must_ok(asks[i].item.status);
        must(ask(i, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    }
    equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    equal(n_done, 2 * LOOP_ASKS);
    for (size_t i = 0; i < LOOP_ASKS; i++) {
        must_be_found(&asks[i]);
    }
    equal(uv_redis.loop.store.stats.ops[DLOAD_STORE_GET], LOOP_ASKS);
    equal(uv_redis.loop.store.stats.hits, LOOP_ASKS);
    loop_stop();
}

/* The queue is bounded. */
static void test_redis_loop_full(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND);
    uv_redis.loop.queue.cap = 10;
    for (size_t i = 0; i < 10; i++)
        must(ask(i, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    must(ask(10, DLOAD_STORE_GET, 0), DLOAD_EAGAIN);
    equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    equal(n_done, 10);
    for (size_t i = 0; i < 10; i++)
        dload_store_release(&asks[i].op);
    loop_stop();
}

/* A server that answers nothing: those under way and those that wait end in their time, and the loop with them; later all is well. */
static void test_redis_loop_stopped(void **state)
{
    (void)state;
    start_here(80 * DLOAD_MILLISECOND);
    must(ask(0, DLOAD_STORE_SET, 0), DLOAD_PENDING);
    equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    must_ok(asks[0].st);
    for (int round = 0; round < 2; round++) {
        n_done = 0;
        equal(kill(rs.pid, SIGSTOP), 0);
        uint64_t from_ns = real_ns();
        for (size_t i = 0; i < 8; i++)
            must(ask(i, DLOAD_STORE_GET, i == 7 ? 30 * DLOAD_MILLISECOND : 0), DLOAD_PENDING);
        equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
        equal(n_done, 8);
        for (size_t i = 0; i < 8; i++)
            must(asks[i].st, DLOAD_ETIMEDOUT);
        assert_true(real_ns() - from_ns >= 80 * DLOAD_MILLISECOND);
        assert_true(real_ns() - from_ns < 10 * DLOAD_SECOND);
        equal(kill(rs.pid, SIGCONT), 0);
        dload_status st = DLOAD_ETIMEDOUT;
        for (int i = 0; i < 500 && st != DLOAD_OK; i++) {
            must(ask(0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
            equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
            st = asks[0].st;
            if (st == DLOAD_OK)
                must_ok(asks[0].item.status);
            dload_store_release(&asks[0].op);
        }
        must_ok(st);
    }
    loop_stop();
}

/* Killed, with requests under way, and started again. */
static void test_redis_loop_killed(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND);
    for (int round = 0; round < 3; round++) {
        n_done = 0;
        for (size_t i = 0; i < 4; i++)
            must(ask(i, DLOAD_STORE_GET, 0), DLOAD_PENDING);
        if (round != 0)
            (void)uv_run(&loop, UV_RUN_NOWAIT); /* some are sent */
        redis_server_kill(&rs);
        equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
        equal(n_done, 4);
        for (size_t i = 0; i < 4; i++) {
            assert_true(asks[i].st == DLOAD_EBACKEND || asks[i].st == DLOAD_OK);
            dload_store_release(&asks[i].op);
        }
        assert_true(redis_server_start(&rs));
        dload_status st = DLOAD_EBACKEND;
        for (int i = 0; i < 2000 && st != DLOAD_OK; i++) {
            must(ask(0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
            equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
            st = asks[0].st;
            dload_store_release(&asks[0].op);
            if (st != DLOAD_OK)
                sleep_ms(1);
        }
        must_ok(st);
    }
    loop_stop();
}

/* Closed with requests under way and waiting: each is told, once. */
static void test_redis_loop_closed(void **state)
{
    (void)state;
    for (int turns = 0; turns < 4; turns++) {
        start_here(20 * DLOAD_SECOND);
        equal(kill(rs.pid, SIGSTOP), 0);
        for (size_t i = 0; i < 20; i++)
            must(ask(i, i % 5 == 0 ? DLOAD_STORE_CLEAR : DLOAD_STORE_GET, 0), DLOAD_PENDING);
        for (int i = 0; i < turns; i++)
            (void)uv_run(&loop, UV_RUN_NOWAIT);
        loop_stop();
        equal(kill(rs.pid, SIGCONT), 0);
        equal(n_done, 20);
        for (size_t i = 0; i < 20; i++)
            must(asks[i].st, DLOAD_ECLOSED);
    }
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
    must(dload_store_run(&uv_redis.loop.store, op), DLOAD_PENDING);
}

static void test_redis_loop_in_a_row(void **state)
{
    (void)state;
    start_here(20 * DLOAD_SECOND);
    n_left = scaled(1000);
    must(ask(0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    asks[0].op.then = ask_again; /* where dload_store_run keeps done */
    equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    equal(n_left, 0);
    loop_stop();
}

/* Without memory a request fails or not, and nothing is lost. */
static void without_memory(struct fake_env *f)
{
    dload_redis_store_config cfg = {0};
    cfg.server.url = rs.unix_url;
    cfg.server.env = &f->env;
    cfg.max_connections = 1;
    cfg.server.command_timeout_ns = 100 * DLOAD_MILLISECOND;
    equal(uv_loop_init(&loop), 0);
    fake_env_arm(f);
    dload_status st = dload_redis_uv_init(&uv_redis, &loop, &cfg, NULL, 0);
    bool made = st == DLOAD_OK;
    n_done = 0;
    if (made) {
        size_t n = 0;
        for (size_t i = 0; i < 3; i++) {
            st = ask(i, i == 2 ? DLOAD_STORE_CLEAR : DLOAD_STORE_GET, 0);
            assert_true(st == DLOAD_PENDING || st == DLOAD_ENOMEM);
            n += st == DLOAD_PENDING;
        }
        while (n_done < n)
            (void)uv_run(&loop, UV_RUN_ONCE);
        for (size_t i = 0; i < 3; i++)
            dload_store_release(&asks[i].op);
    }
    fake_env_disarm(f);
    if (made)
        loop_stop();
    else
        equal(uv_loop_close(&loop), 0);
}

static void test_redis_loop_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("a Redis store in a loop", without_memory) >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("redis in a loop, with done", up_async, down_apart),
        STORE_CASES("redis in a loop, blocking", up_blocking, down_apart),
        cmocka_unit_test(test_redis_loop_many),
        cmocka_unit_test(test_redis_loop_full),
        cmocka_unit_test(test_redis_loop_stopped),
        cmocka_unit_test(test_redis_loop_killed),
        cmocka_unit_test(test_redis_loop_closed),
        cmocka_unit_test(test_redis_loop_in_a_row),
        cmocka_unit_test(test_redis_loop_without_memory),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
