/* What a Redis server says of changed keys reaches the cache; what it cannot say any more empties it. */
/* links: hiredis ssl crypto */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_REDIS_TLS 1
#include "test_redis_tracking.h"
#include "adapters/dataloader_redis.h"

#include <sys/wait.h>

static struct redis_server rs = {.password = "canary", .tls = true};

/* One program: a cache, who tells it, a connection to read by. */
static struct world {
    dload_redis_server server;
    dload_redis_tracking tracking;
    struct cache cache;
    dload_redis_conn d;
} w;

static int start(void **state)
{
    (void)state;
    return redis_server_start(&rs) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    redis_server_stop(&rs);
    return 0;
}

static void begin_at(const char *url)
{
    dload_redis_config where = {.url = url, .pause_ns = 1000000};
    memset(&w, 0, sizeof w);
    cache_init(&w.cache);
    must_ok(dload_redis_server_init(&w.server, &where, NULL, 0));
    must_ok(dload_redis_tracking_init(&w.tracking, &w.server, NULL));
    dload_redis_tracking_add(&w.tracking, &w.cache.sink);
    must_ok(dload_redis_tracking_start(&w.tracking));
    must_ok(dload_redis_tracking_wait(&w.tracking, 20 * DLOAD_SECOND));
    equal(cache_count(&w.cache, &w.cache.n_up), 1);
}

static void begin(void)
{
    begin_at(rs.unix_url);
}

static void end(void)
{
    (void)dload_redis_close(&w.d, DLOAD_OK, NULL);
    dload_redis_tracking_end(&w.tracking);
    dload_redis_server_end(&w.server);
    assert_false(w.cache.up); /* who ends it says so */
}

static void outside(const char *request, const char *want)
{
    char answer[512];
    assert_true(redis_server_ask(&rs, request, answer, sizeof answer));
    if (strncmp(answer, want, strlen(want)) != 0)
        fail_msg("%s gave %s", request, answer);
}

static dload_redis_listen_stats stats(void)
{
    dload_redis_listen_stats s;
    dload_redis_tracking_stats(&w.tracking, &s);
    return s;
}

static void cached(size_t i)
{
    must_ok(dload_redis_tracking_wait(&w.tracking, 20 * DLOAD_SECOND));
    assert_true(cache_load(&w.cache, &w.d, &w.server, i) >= 0);
    must_ok(dload_redis_tracking_barrier(&w.tracking, 0));
    assert_true(cache_load(&w.cache, &w.d, &w.server, i) >= 0);
    assert_true(cache_has(&w.cache, i));
}

/* Whoever changes a key, however: it is gone from the cache when the barrier is through. */
static void test_tracking_changes_are_heard(void **state)
{
    static const char *const changes[][2] = {
        {"SET k1 5\r\n", "+OK"},
        {"DEL k1\r\n", ":1"},
        {"INCR k1\r\n", ":1"}, /* it was missing: that is tracked, too */
        {"EVAL \"return redis.call('SET',KEYS[1],'7')\" 1 k1\r\n", "+OK"},
        {"MSET k2 1 k1 8 k3 1\r\n", "+OK"},
        {"RENAME k2 k1\r\n", "+OK"},
        {"EXPIRE k1 100\r\n", ":1"},
        {"FLUSHALL\r\n", "+OK"},
    };
    (void)state;
    begin();
    for (size_t i = 0; i < COUNT(changes); i++) {
        cached(1);
        outside(changes[i][0], changes[i][1]);
        must_ok(dload_redis_tracking_barrier(&w.tracking, 0));
        assert_false(cache_has(&w.cache, 1));
    }
    cached(1);
    outside("SET k9 1\r\n", "+OK"); /* nobody read that one */
    must_ok(dload_redis_tracking_barrier(&w.tracking, 0));
    assert_true(cache_has(&w.cache, 1));
    equal(stats().n_all, 1);
    equal(stats().n_ignored, 0);
    equal(stats().n_lost, 0);
    end();
}

static void test_tracking_expiry_is_heard(void **state)
{
    (void)state;
    begin();
    outside("SET k4 1 PX 30\r\n", "+OK");
    must_ok(dload_redis_tracking_barrier(&w.tracking, 0));
    if (cache_load(&w.cache, &w.d, &w.server, 4) == 1) {
        for (int i = 0; i < 10000 && cache_has(&w.cache, 4); i++)
            sleep_ms(1);
        assert_false(cache_has(&w.cache, 4));
    }
    end();
}

/* Our own writes come back to us, and the barrier waits for them: never a value from before the write. */
static void test_tracking_own_writes_are_read(void **state)
{
    (void)state;
    begin();
    for (size_t n = 0; n < scaled(3000); n++) {
        size_t i = n % 8;
        (void)cache_load(&w.cache, &w.d, &w.server, i);
        int64_t version = ask(&w.d, &w.server, "INCR", i);
        assert_true(version > 0);
        must_ok(dload_redis_tracking_barrier(&w.tracking, 0));
        equal(cache_load(&w.cache, &w.d, &w.server, i), version);
    }
    assert_true(stats().n_barriers >= scaled(3000));
    end();
}

/* Anybody may PUBLISH where the server speaks: it comes as text, and text is no key. */
static void test_tracking_forged_messages(void **state)
{
    (void)state;
    begin();
    cached(1);
    outside("PUBLISH __redis__:invalidate k1\r\n", ":1");
    outside("PUBLISH __redis__:invalidate \"\"\r\n", ":1");
    outside("PUBLISH __redis__:invalidate \"*1\\r\\n$2\\r\\nk1\\r\\n\"\r\n", ":1");
    outside("EVAL \"return redis.call('PUBLISH','__redis__:invalidate',string.rep('k',1048576))\" "
            "0\r\n",
            ":1");
    must_ok(dload_redis_tracking_barrier(&w.tracking, 0));
    assert_true(cache_has(&w.cache, 1));
    equal(stats().n_ignored, 4);
    equal(stats().n_lost, 0);
    end();
}

/* The server forgets what a connection read when that ends, and says nothing: we must see it, idle or not. */
static void test_tracking_data_connection_is_lost(void **state)
{
    (void)state;
    begin();
    for (int round = 0; round < 20; round++) {
        cached(1);
        uint64_t n_all = cache_count(&w.cache, &w.cache.n_all);
        outside("CLIENT KILL TYPE normal SKIPME yes\r\n", ":1");
        for (int i = 0; i < 10000 && cache_count(&w.cache, &w.cache.n_all) == n_all; i++)
            sleep_ms(1);
        assert_true(cache_count(&w.cache, &w.cache.n_all) > n_all);
        assert_false(cache_has(&w.cache, 1));
        assert_false(dload_redis_usable(&w.d));
    }
    equal(stats().n_lost, 0);
    equal(stats().n_data_lost, 20); /* by poll; that it is closed afterwards is no second loss */
    cached(1);
    (void)dload_redis_close(&w.d, DLOAD_ETIMEDOUT, "given up");
    for (int i = 0; i < 10000 && cache_has(&w.cache, 1); i++)
        sleep_ms(1);
    assert_false(cache_has(&w.cache, 1));
    end();
}

static void test_tracking_listening_connection_is_lost(void **state)
{
    (void)state;
    begin();
    for (uint64_t round = 1; round <= 20; round++) {
        cached(1);
        outside("CLIENT KILL TYPE pubsub\r\n", ":1");
        for (int i = 0; i < 10000 && cache_count(&w.cache, &w.cache.n_up) == round; i++)
            sleep_ms(1);
        equal(cache_count(&w.cache, &w.cache.n_up), round + 1);
        equal(cache_count(&w.cache, &w.cache.n_down), round);
        assert_false(dload_redis_usable(&w.d)); /* it is redirected to one that is gone */
    }
    cached(1);
    outside("INCR k1\r\n", ":");
    must_ok(dload_redis_tracking_barrier(&w.tracking, 0));
    assert_false(cache_has(&w.cache, 1));
    assert_null(strstr(stats().last_error, "canary"));
    end();
}

static void test_tracking_server_is_restarted(void **state)
{
    (void)state;
    begin();
    cached(1);
    redis_server_kill(&rs);
    for (int i = 0; i < 10000 && cache_count(&w.cache, &w.cache.n_down) == 0; i++)
        sleep_ms(1);
    equal(cache_count(&w.cache, &w.cache.n_down), 1);
    must_ok(
        dload_redis_tracking_barrier(&w.tracking, 0)); /* nothing is cached: nothing to wait for */
    equal(cache_load(&w.cache, &w.d, &w.server, 1), -1);
    assert_true(redis_server_start(&rs));
    cached(1);
    outside("INCR k1\r\n", ":1");
    must_ok(dload_redis_tracking_barrier(&w.tracking, 0));
    assert_false(cache_has(&w.cache, 1));
    assert_true(stats().n_failed != 0);
    end();
}

/* More connections than are polled, and sinks that come and go meanwhile. */
static void test_tracking_many(void **state)
{
    enum { N = 100 };
    static dload_redis_conn d[N];
    static struct cache more[20];
    (void)state;
    begin();
    memset(d, 0, sizeof d);
    for (size_t i = 0; i < N; i++)
        assert_true(ask(&d[i], &w.server, "GET", i % CACHE_KEYS) >= 0);
    for (size_t i = 0; i < COUNT(more); i++) {
        cache_init(&more[i]);
        dload_redis_tracking_add(&w.tracking, &more[i].sink);
        assert_true(ask(&d[i], &w.server, "INCR", 3) > 0);
        if (i % 2 == 1)
            dload_redis_tracking_remove(&w.tracking, &more[i - 1].sink);
    }
    must_ok(dload_redis_tracking_wait(&w.tracking, 20 * DLOAD_SECOND));
    for (size_t i = 0; i < COUNT(more); i++) {
        equal(more[i].n_up,
              i % 2 == 0 ? more[i].n_down : 1); /* one that left before it was up: 0 */
        equal(cache_count(&more[i], &more[i].n_down) <= 1, 1);
    }
    uint64_t n_all = cache_count(&w.cache, &w.cache.n_all);
    outside("CLIENT KILL TYPE normal SKIPME yes\r\n", ":100");
    for (int i = 0; i < 10000 && cache_count(&w.cache, &w.cache.n_all) == n_all; i++)
        sleep_ms(1);
    assert_true(cache_count(&w.cache, &w.cache.n_all) > n_all);
    for (size_t i = 0; i < N; i++)
        (void)dload_redis_close(&d[i], DLOAD_OK, NULL);
    end();
}

/* A child has no thread: it gives up what it has and disturbs nobody. */
static void test_tracking_fork(void **state)
{
    int status = 0;
    (void)state;
    begin();
    cached(1);
    pid_t pid = fork();
    if (pid == 0) {
        dload_redis_drop(&w.d);
        dload_redis_tracking_end(&w.tracking);
        _exit(0);
    }
    equal(waitpid(pid, &status, 0), pid);
    equal(status, 0);
    assert_true(cache_has(&w.cache, 1));
    outside("INCR k1\r\n", ":");
    must_ok(dload_redis_tracking_barrier(&w.tracking, 0));
    assert_false(cache_has(&w.cache, 1));
    equal(stats().n_lost, 0);
    equal(cache_count(&w.cache, &w.cache.n_all), 0);
    end();
}

/* Both connections over TLS. */
static void test_tracking_tls(void **state)
{
    (void)state;
    begin_at(rs.tls_url);
    for (int round = 0; round < 5; round++) {
        cached(1);
        outside("INCR k1\r\n", ":");
        must_ok(dload_redis_tracking_barrier(&w.tracking, 0));
        assert_false(cache_has(&w.cache, 1));
        cached(1);
        outside("CLIENT KILL TYPE normal SKIPME yes\r\n", ":1");
        for (int i = 0; i < 10000 && cache_has(&w.cache, 1); i++)
            sleep_ms(1);
        assert_false(cache_has(&w.cache, 1));
    }
    equal(stats().n_lost, 0);
    end();
}

static dload_status get(dload_redis_store *redis, uint64_t timeout_ns)
{
    dload_store_item item = {.key = "k7", .key_bytes = 2};
    dload_store_op op = {.kind = DLOAD_STORE_GET, .items = &item, .n = 1, .timeout_ns = timeout_ns};
    dload_status st = dload_store_run(&redis->store, &op);
    dload_store_release(&op);
    return st;
}

/* A store's connection that was begun before the listening one was lost, and is gone on with afterwards: it must not read
 * for a listener that is gone. */
static void test_tracking_begun_before(void **state)
{
    dload_redis_store_config where = {
        .server = {.url = rs.unix_url, .pause_ns = 1000000}, .prefix = "", .max_connections = 1};
    dload_redis_store redis;
    dload_redis_tracking t;
    struct cache c;
    (void)state;
    cache_init(&c);
    must_ok(dload_redis_store_init(&redis, &where, NULL, 0));
    must_ok(dload_redis_tracking_init(&t, &redis.server, NULL));
    dload_redis_tracking_add(&t, &c.sink);
    must_ok(dload_redis_tracking_start(&t));
    must_ok(dload_redis_tracking_wait(&t, 20 * DLOAD_SECOND));
    /* Says hello, and has no time for the answer, unless it was kept from running until that was there. */
    dload_status begun = get(&redis, 1);
    assert_true(begun == DLOAD_ETIMEDOUT || begun == DLOAD_OK);
    outside("CLIENT KILL TYPE pubsub\r\n", ":1");
    for (int i = 0; i < 10000 && cache_count(&c, &c.n_up) == 1; i++)
        sleep_ms(1);
    equal(cache_count(&c, &c.n_up), 2);
    must_ok(get(&redis, 10 * DLOAD_SECOND));
    uint64_t n_key = cache_count(&c, &c.n_key);
    outside("INCR k7\r\n", ":");
    must_ok(dload_redis_tracking_barrier(&t, 0));
    equal(cache_count(&c, &c.n_key), n_key + 1);
    dload_redis_tracking_end(&t);
    dload_redis_store_end(&redis);
}

static void test_tracking_refused(void **state)
{
    dload_redis_config where = {.path = rs.path, .password = "canary"};
    dload_redis_listen_config bad = {.ping_ns = 5, .silent_ns = 5};
    dload_redis_server s;
    dload_redis_tracking t, u;
    (void)state;
    must_ok(dload_redis_server_init(&s, &where, NULL, 0));
    must(dload_redis_tracking_init(&t, &s, &bad), DLOAD_EINVAL);
    must_ok(dload_redis_tracking_init(&t, &s, NULL));
    must(dload_redis_tracking_init(&u, &s, NULL), DLOAD_EINVAL);
    must(dload_redis_tracking_wait(&t, 1000000), DLOAD_ETIMEDOUT);
    must_ok(dload_redis_tracking_barrier(&t, 0));
    must_ok(dload_redis_tracking_start(&t));
    must(dload_redis_tracking_start(&t), DLOAD_EBUSY);
    dload_redis_tracking_stop(&t);
    dload_redis_tracking_stop(&t);
    must_ok(dload_redis_tracking_start(&t));
    must_ok(dload_redis_tracking_wait(&t, 20 * DLOAD_SECOND));
    dload_redis_tracking_end(&t);
    assert_null(s.watch);
    dload_redis_server_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tracking_changes_are_heard),
        cmocka_unit_test(test_tracking_expiry_is_heard),
        cmocka_unit_test(test_tracking_own_writes_are_read),
        cmocka_unit_test(test_tracking_forged_messages),
        cmocka_unit_test(test_tracking_data_connection_is_lost),
        cmocka_unit_test(test_tracking_listening_connection_is_lost),
        cmocka_unit_test(test_tracking_server_is_restarted),
        cmocka_unit_test(test_tracking_many),
        cmocka_unit_test(test_tracking_fork),
        cmocka_unit_test(test_tracking_tls),
        cmocka_unit_test(test_tracking_begun_before),
        cmocka_unit_test(test_tracking_refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
