/* Networks that lose everything and say nothing, servers that stand still: found out by silence, within a bound. */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#include "test_redis_tracking.h"

static struct redis_server rs;

/* Stands between us and the server; a pair that is mute takes what comes, both ways, and hands nothing on. */
static struct relay {
    char path[96];
    int fd, stop[2];
    uint32_t mute; /* a bit for each pair, in the order of their coming */
    pthread_t thread;
} relay;

enum { PAIRS = 16 };

static int relay_connect(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", rs.path);
    if (connect(fd, (struct sockaddr *)(void *)&at, sizeof at) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* Moves what is there from one to the other; false at the end of either. */
static bool relay_move(int from, int to, bool mute)
{
    char bytes[8192];
    ssize_t n = recv(from, bytes, sizeof bytes, 0);
    return n > 0 && (mute || send(to, bytes, (size_t)n, MSG_NOSIGNAL) == n);
}

static void *relay_run(void *arg)
{
    struct pollfd p[2 + 2 * PAIRS];
    nfds_t n = 2;
    (void)arg;
    p[0] = (struct pollfd){relay.fd, POLLIN, 0};
    p[1] = (struct pollfd){relay.stop[0], POLLIN, 0};
    while (poll(p, n, -1) >= 0 && p[1].revents == 0) {
        for (nfds_t i = 2; i < n; i++) {
            bool mute = (__atomic_load_n(&relay.mute, __ATOMIC_ACQUIRE) >> ((i - 2) / 2) & 1) != 0;
            nfds_t other = i % 2 == 0 ? i + 1 : i - 1;
            if (p[i].fd >= 0 && p[i].revents != 0 && !relay_move(p[i].fd, p[other].fd, mute)) {
                (void)close(p[i].fd);
                (void)close(p[other].fd);
                p[i].fd = p[other].fd = -1;
            }
        }
        if (p[0].revents != 0 && n + 2 <= COUNT(p)) {
            p[n] = (struct pollfd){accept(relay.fd, NULL, NULL), POLLIN, 0};
            p[n + 1] = (struct pollfd){relay_connect(), POLLIN, 0};
            n += 2;
        }
    }
    for (nfds_t i = 2; i < n; i++) {
        if (p[i].fd >= 0)
            (void)close(p[i].fd);
    }
    return NULL;
}

static void relay_start(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(relay.path, sizeof relay.path, "%s/relay.sock", rs.folder);
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", relay.path);
    (void)unlink(relay.path);
    relay.mute = 0;
    relay.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    equal(pipe(relay.stop), 0);
    equal(bind(relay.fd, (struct sockaddr *)(void *)&at, sizeof at), 0);
    equal(listen(relay.fd, 8), 0);
    equal(pthread_create(&relay.thread, NULL, relay_run, NULL), 0);
}

static void relay_stop(void)
{
    equal(write(relay.stop[1], "", 1), 1);
    equal(pthread_join(relay.thread, NULL), 0);
    (void)close(relay.fd);
    (void)close(relay.stop[0]);
    (void)close(relay.stop[1]);
}

static struct world {
    dload_redis_server server;
    dload_redis_tracking tracking;
    struct cache cache;
    dload_redis_conn d;
} w;

/* The listening connection is the relay's first pair, the one that reads its second. */
static void begin(const char *path, const dload_redis_listen_config *cfg)
{
    dload_redis_config where = {.path = path, .pause_ns = 1000000, .connect_timeout_ns = 300000000};
    memset(&w, 0, sizeof w);
    cache_init(&w.cache);
    must_ok(dload_redis_server_init(&w.server, &where, NULL, 0));
    must_ok(dload_redis_tracking_init(&w.tracking, &w.server, cfg));
    dload_redis_tracking_add(&w.tracking, &w.cache.sink);
    must_ok(dload_redis_tracking_start(&w.tracking));
    must_ok(dload_redis_tracking_wait(&w.tracking, 20 * DLOAD_SECOND));
    assert_true(cache_load(&w.cache, &w.d, &w.server, 1) >= 0);
    must_ok(dload_redis_tracking_barrier(&w.tracking, 20 * DLOAD_SECOND));
    assert_true(cache_load(&w.cache, &w.d, &w.server, 1) >= 0);
    assert_true(cache_has(&w.cache, 1));
}

static dload_redis_listen_stats end(void)
{
    dload_redis_listen_stats stats;
    (void)dload_redis_close(&w.d, DLOAD_OK, NULL);
    dload_redis_tracking_stop(&w.tracking);
    dload_redis_tracking_stats(&w.tracking, &stats);
    dload_redis_tracking_end(&w.tracking);
    dload_redis_server_end(&w.server);
    return stats;
}

static void outside(const char *request, const char *want)
{
    char answer[64];
    assert_true(redis_server_ask(&rs, request, answer, sizeof answer));
    assert_memory_equal(answer, want, strlen(want));
}

/* How long the cache goes on holding key 1, and how late this thread was at most meanwhile. */
static uint64_t held_ns(uint64_t *late_ns)
{
    const uint64_t from_ns = real_ns();
    uint64_t before_ns = from_ns;
    *late_ns = 0;
    while (cache_has(&w.cache, 1) && real_ns() - from_ns < 30 * DLOAD_SECOND) {
        sleep_ms(1);
        uint64_t gap_ns = real_ns() - before_ns;
        *late_ns = gap_ns > *late_ns ? gap_ns : *late_ns;
        before_ns += gap_ns;
    }
    return real_ns() - from_ns;
}

/* With the defaults: an old value is served for three seconds at most. How far a machine that is busy with
 * something else may be behind that is taken from how late we are ourselves. */
static void test_tracking_silent_is_bounded(void **state)
{
    uint64_t late_ns = 0;
    (void)state;
    relay_start();
    begin(relay.path, NULL);
    __atomic_store_n(&relay.mute, 1u, __ATOMIC_RELEASE);
    outside("INCR k1\r\n", ":");
    uint64_t old_ns = held_ns(&late_ns);
    printf(
        "test_tracking_silent_is_bounded: an old value for %.2f s, this thread late by %.0f ms\n",
        (double)old_ns / 1e9, (double)late_ns / 1e6);
    assert_true(old_ns < 3 * DLOAD_SECOND + 20 * late_ns);
    must_ok(dload_redis_tracking_wait(&w.tracking, 20 * DLOAD_SECOND)); /* by another pair */
    dload_redis_listen_stats stats = end();
    equal(stats.n_up, 2);
    assert_string_equal(stats.last_error, "redis: closed"); /* our own end, after that */
    relay_stop();
}

/* Again and again, faster; and a barrier that is asked for meanwhile ends when the silence is found out. */
static void test_tracking_silent_again(void **state)
{
    const dload_redis_listen_config fast = {.ping_ns = 20000000, .silent_ns = 200000000};
    uint64_t late_ns = 0;
    (void)state;
    relay_start();
    for (uint32_t round = 0; round < 3; round++) {
        begin(relay.path, &fast);
        /* Whichever pair listens now: all of them are mute. */
        __atomic_store_n(&relay.mute, 0xffffffffu >> (32 - PAIRS), __ATOMIC_RELEASE);
        outside("INCR k1\r\n", ":");
        must_ok(dload_redis_tracking_barrier(&w.tracking, 20 * DLOAD_SECOND));
        assert_false(cache_has(&w.cache, 1));
        (void)held_ns(&late_ns);
        assert_true(cache_count(&w.cache, &w.cache.n_down) >= 1);
        dload_redis_listen_stats stats = end();
        assert_true(stats.n_lost >= 1);
        relay_stop();
        relay_start();
    }
    relay_stop();
}

/* A server that stands still takes connections and answers none of them. */
static void test_tracking_stopped_server(void **state)
{
    const dload_redis_listen_config fast = {.ping_ns = 20000000, .silent_ns = 200000000};
    (void)state;
    begin(rs.path, &fast);
    (void)kill(rs.pid, SIGSTOP);
    for (int i = 0; i < 20000 && cache_count(&w.cache, &w.cache.n_down) == 0; i++)
        sleep_ms(1);
    equal(cache_count(&w.cache, &w.cache.n_down), 1);
    assert_false(cache_has(&w.cache, 1));
    (void)kill(rs.pid, SIGCONT);
    must_ok(dload_redis_tracking_wait(&w.tracking, 20 * DLOAD_SECOND));
    assert_true(cache_load(&w.cache, &w.d, &w.server, 1) >= 0);
    (void)end();
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tracking_silent_is_bounded),
        cmocka_unit_test(test_tracking_silent_again),
        cmocka_unit_test(test_tracking_stopped_server),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
