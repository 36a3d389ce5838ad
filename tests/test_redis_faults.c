/* The Redis store and what happens to real servers: stopped, killed, restarted, full, asked for a password in between;
 * and several processes that miss the same key. */
/* links: hiredis */
#define _DEFAULT_SOURCE 1
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis.h"

#include "support.h"
#include "servers/redis_server.h"
#include "test_redis.h"

#include <inttypes.h>
#include <sys/mman.h>

/* ---- what hooks are told ---- */

static char logged[1 << 16];
static size_t n_logged, n_ops_told;

static void on_log(void *ctx, const char *store, const char *text)
{
    size_t n = strlen(text);
    (void)ctx;
    (void)store;
    if (n_logged + n + 2 < sizeof logged) {
        memcpy(logged + n_logged, text, n);
        logged[n_logged + n] = '\n';
        n_logged += n + 1;
    }
}

static void on_op(void *ctx, const char *store, dload_store_kind kind, size_t n_keys,
                  dload_status st, uint64_t took_ns)
{
    (void)ctx;
    (void)store;
    (void)kind;
    (void)n_keys;
    (void)st;
    (void)took_ns;
    n_ops_told++;
}

static const dload_store_hooks hooks = {on_op, on_log, NULL};

/* A store that tries again at once. */
static void up_hooked(const char *url, uint64_t timeout_ns)
{
    dload_redis_store_config cfg = {0};
    cfg.server.url = url;
    cfg.server.command_timeout_ns = timeout_ns;
    cfg.server.pause_ns = DLOAD_MILLISECOND;
    cfg.server.pause_max_ns = 10 * DLOAD_MILLISECOND;
    cfg.hooks = &hooks;
    must_ok(dload_redis_store_init(&redis, &cfg, NULL, 0));
    redis.store.break_after = UINT32_MAX;
}

static dload_status get_one(const char *key)
{
    dload_store_item item = {0};
    item.key = key;
    item.key_bytes = strlen(key);
    dload_status st = run(DLOAD_STORE_GET, &item, 1);
    return st == DLOAD_OK ? item.status : st;
}

static dload_status set_one(const char *key, const char *value)
{
    dload_store_item item = {0};
    item.key = key;
    item.key_bytes = strlen(key);
    item.value = value;
    item.value_bytes = strlen(value);
    item.ttl_ns = DLOAD_NEVER;
    dload_status st = run(DLOAD_STORE_SET, &item, 1);
    return st == DLOAD_OK ? item.status : st;
}

/* Until the store answers; a pause after a failed attempt lasts 15 ms at most. */
static dload_status get_soon(const char *key)
{
    dload_status st = DLOAD_EBACKEND;
    for (uint64_t from_ns = real_ns();
         st == DLOAD_EBACKEND && real_ns() - from_ns < 10 * DLOAD_SECOND;) {
        st = get_one(key);
        if (st == DLOAD_EBACKEND)
            sleep_ms(2);
    }
    return st;
}

/* ---- one server ---- */

/* Stopped it takes commands and answers none: each request ends in its time, and what it answers when it goes on is
 * nobody's. */
static void test_redis_stopped(void **state)
{
    const uint64_t timeout_ns = 50 * DLOAD_MILLISECOND;
    (void)state;
    must_ok(do_aside(1, "FLUSHALL"));
    up_hooked(rs.unix_url, timeout_ns);
    must_ok(set_one("a", "1"));
    for (int round = 0; round < 3; round++) {
        equal(kill(rs.pid, SIGSTOP), 0);
        for (int i = 0; i < 3; i++) {
            uint64_t from_ns = real_ns();
            must(get_one("b"), DLOAD_ETIMEDOUT);
            uint64_t took_ns = real_ns() - from_ns;
            assert_true(took_ns >= timeout_ns && took_ns < 20 * timeout_ns);
        }
        equal(kill(rs.pid, SIGCONT), 0);
        dload_status st = DLOAD_ETIMEDOUT; /* it has old connections to close first */
        for (int i = 0; i < 200 && st < 0 && st != DLOAD_MISSING; i++)
            st = get_one("a");
        must_ok(st);
        must(get_one("b"), DLOAD_MISSING);
    }
    dload_redis_store_end(&redis);
}

/* The breaker: a server that does not answer is left alone, and asked again after a while. */
static void test_redis_breaker(void **state)
{
    dload_redis_store_config cfg = {0};
    (void)state;
    cfg.server.url = rs.unix_url;
    cfg.server.command_timeout_ns = 20 * DLOAD_MILLISECOND;
    must_ok(dload_redis_store_init(&redis, &cfg, NULL, 0));
    equal(kill(rs.pid, SIGSTOP), 0);
    for (int i = 0; i < 5; i++)
        assert_true(get_one("a") < 0);
    must(get_one("a"), DLOAD_EBACKEND);
    assert_true(redis.store.stats.refused > 0);
    equal(kill(rs.pid, SIGCONT), 0);
    dload_status st = DLOAD_EBACKEND;
    for (int i = 0; i < 1000 && st < 0; i++) {
        sleep_ms(10);
        st = get_one("a");
    }
    must_ok(st);
    dload_redis_store_end(&redis);
}

/* Killed and started again: a failure at the most, connections that died meanwhile cost nothing, and the log says what
 * happened. */
static void test_redis_killed(void **state)
{
    (void)state;
    up_hooked(rs.unix_url, DLOAD_SECOND);
    must_ok(set_one("a", "1"));
    for (int round = 0; round < 3; round++) {
        n_logged = 0;
        redis_server_kill(&rs);
        must(get_one("a"), DLOAD_EBACKEND);
        must(get_one("a"), DLOAD_EBACKEND); /* a pause, or another attempt */
        assert_true(redis_server_start(&rs));
        must(get_soon("a"), DLOAD_MISSING); /* it keeps nothing */
        must_ok(set_one("a", "2"));
        logged[n_logged] = '\0';
        assert_non_null(strstr(logged, "lost"));
        assert_non_null(strstr(logged, "connected"));
        /* Restarted between two requests: the second sees nothing of it. */
        assert_true(redis_server_restart(&rs));
        must(get_one("a"), DLOAD_MISSING);
    }
    assert_true(n_ops_told > 0);
    dload_redis_store_end(&redis);
}

/* Nobody listens: the first request says so, the next ones at once, attempts are rare. */
static void test_redis_nobody_there(void **state)
{
    dload_redis_store_config cfg = {0};
    (void)state;
    cfg.server.path = "/nowhere/redis.sock";
    cfg.hooks = &hooks;
    must_ok(dload_redis_store_init(&redis, &cfg, NULL, 0));
    redis.store.break_after = UINT32_MAX;
    n_logged = 0;
    uint64_t from_ns = real_ns();
    for (int i = 0; i < 1000; i++)
        must(get_one("a"), DLOAD_EBACKEND);
    uint64_t took_ns = real_ns() - from_ns;
    logged[n_logged] = '\0';
    size_t n_attempts = 0;
    for (const char *p = logged; (p = strchr(p, '\n')) != NULL; p++)
        n_attempts++;
    /* Pauses of 25 ms and more. */
    assert_true(n_attempts >= 1 && n_attempts <= 2 + took_ns / (25 * DLOAD_MILLISECOND));
    dload_redis_store_end(&redis);
}

/* No room: with a policy that evicts nothing SETs are refused, and said so; reading goes on. */
static void test_redis_full(void **state)
{
    (void)state;
    must_ok(do_aside(1, "FLUSHALL"));
    up_hooked(rs.unix_url, 5 * DLOAD_SECOND);
    must_ok(set_one("a", "1"));
    must_ok(do_aside(4, "CONFIG", "SET", "maxmemory", "1"));
    must(set_one("b", "2"), DLOAD_EBACKEND);
    must_ok(get_one("a"));
    dload_store_item item;
    lease_items(&item, 1, 1);
    must(run(DLOAD_STORE_LEASE, &item, 1), DLOAD_EBACKEND);
    logged[n_logged] = '\0';
    assert_non_null(strstr(logged, "refused commands: OOM"));
    must_ok(do_aside(4, "CONFIG", "SET", "maxmemory", "0"));
    must_ok(set_one("b", "2"));
    dload_redis_store_end(&redis);
}

/* Leases may be evicted: their owners store nothing, and are counted; what is stored was filled by who had a lease. */
static void test_redis_evicted_leases(void **state)
{
    enum { N = 400 };
    static char big[20000], keys[N][8];
    static dload_store_item items[N];
    char most[24];
    (void)state;
    must_ok(do_aside(1, "FLUSHALL"));
    up_hooked(rs.unix_url, 20 * DLOAD_SECOND);
    (void)snprintf(most, sizeof most, "%" PRIu64, info("memory", "used_memory:") + 3000000);
    must_ok(do_aside(4, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru"));
    must_ok(do_aside(4, "CONFIG", "SET", "maxmemory", most));
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < N; i++) {
        items[i].key = keys[i];
        items[i].key_bytes = (size_t)snprintf(keys[i], sizeof keys[i], "e%zu", i);
        items[i].ttl_ns = 600 * DLOAD_SECOND;
        items[i].lease[0] = i;
    }
    must_ok(run(DLOAD_STORE_LEASE, items, N));
    for (size_t i = 0; i < N; i++)
        must(items[i].status, DLOAD_MISSING);
    for (size_t i = 0; i < 400; i++) { /* eight megabytes go through three */
        char key[16];
        (void)snprintf(key, sizeof key, "big%zu", i);
        memset(big, 'x', sizeof big - 1);
        must_ok(set_one(key, big));
    }
    /* Somebody else asks for those that were lost, and gets leases of their own. */
    static dload_store_item others[N];
    memcpy(others, items, sizeof others);
    size_t n_second = 0, n_lost = 0;
    for (size_t i = 0; i < N; i++)
        others[i].lease[1] = 7;
    must_ok(run(DLOAD_STORE_LEASE, others, N));
    for (size_t i = 0; i < N; i++) {
        assert_true(others[i].status == DLOAD_MISSING || others[i].status == DLOAD_EBUSY);
        n_second += others[i].status == DLOAD_MISSING;
        items[i].value = "first";
        items[i].value_bytes = 5;
    }
    assert_true(n_second > 0); /* else nothing was evicted */
    must_ok(run(DLOAD_STORE_FILL, items, N));
    for (size_t i = 0; i < N; i++) {
        assert_true(items[i].status == DLOAD_OK || items[i].status == DLOAD_ELOCK);
        n_lost += items[i].status == DLOAD_ELOCK;
        if (others[i].status == DLOAD_MISSING) /* the second has it, or nobody */
            must(items[i].status, DLOAD_ELOCK);
    }
    assert_true(n_lost >= n_second);
    equal(redis.store.stats.leases_lost, n_lost);
    must_ok(do_aside(4, "CONFIG", "SET", "maxmemory", "0"));
    must_ok(do_aside(4, "CONFIG", "SET", "maxmemory-policy", "noeviction"));
    must_ok(do_aside(1, "FLUSHALL"));
    dload_redis_store_end(&redis);
}

/* The password is in no text, whichever way things fail. */
static void test_redis_secrets(void **state)
{
    char url[256], why[160];
    (void)state;
    n_logged = 0;
    up_hooked(rs.url, DLOAD_SECOND);
    must(get_one("absent"), DLOAD_MISSING);
    redis_server_kill(&rs);
    assert_true(get_one("absent") < 0);
    assert_true(redis_server_start(&rs));
    must(get_soon("absent"), DLOAD_MISSING);
    dload_redis_store_end(&redis);
    (void)snprintf(url, sizeof url, "redis://canary:canary@127.0.0.1:%d",
                   rs.port); /* no such user */
    up_hooked(url, DLOAD_SECOND);
    must(get_one("absent"), DLOAD_EBACKEND);
    dload_redis_store_end(&redis);
    up_hooked("redis://:canary@127.0.0.1:1", DLOAD_SECOND);
    must(get_one("absent"), DLOAD_EBACKEND);
    dload_redis_store_end(&redis);
    dload_redis_store_config cfg = {0};
    cfg.server.url = "redis://:canary@host:canary/";
    must(dload_redis_store_init(&redis, &cfg, why, sizeof why), DLOAD_EINVAL);
    assert_null(strstr(why, "canary"));
    logged[n_logged] = '\0';
    assert_true(n_logged > 0);
    assert_null(strstr(logged, "canary"));
}

/* ---- several processes ---- */

enum { N_PROCESSES = 8, N_THREADS_OF_EACH = 8 };

/* Shared between the processes. */
struct herd {
    size_t n_fetches, n_lost, n_wrong, n_served; /* atomic */
    uint32_t go;                                 /* atomic */
    uint64_t hold_ns;
    uint64_t taken_over_ns; /* when the second fetch began */
    pid_t first;            /* atomic: who fetches */
    bool die;               /* the first fetcher waits to be killed */
};

static struct herd *herd;

/* A caller: asks until it has the value, and fetches when it is told to. */
static void load_one(void *ctx, size_t i)
{
    uint64_t backoff_ms = 5, lease = ((uint64_t)getpid() << 8) + i;
    (void)ctx;
    while (__atomic_load_n(&herd->go, __ATOMIC_ACQUIRE) == 0)
        sleep_ms(1);
    for (;;) {
        dload_store_item item = {0};
        dload_store_op op = {0};
        item.key = "herd";
        item.key_bytes = 4;
        item.ttl_ns = herd->hold_ns;
        item.lease[0] = lease;
        item.lease[1] = real_ns();
        op.kind = DLOAD_STORE_LEASE;
        op.items = &item;
        op.n = 1;
        op.timeout_ns = 20 * DLOAD_SECOND;
        dload_status st = dload_store_run(&redis.store, &op);
        dload_status one = st == DLOAD_OK ? item.status : st;
        bool right =
            one == DLOAD_OK && item.value_bytes == 5 && memcmp(item.value, "value", 5) == 0;
        dload_store_release(&op);
        if (one == DLOAD_EBUSY) {
            uint64_t left_ms = item.ttl_ns / DLOAD_MILLISECOND + 1;
            sleep_ms((unsigned)(left_ms < backoff_ms ? left_ms : backoff_ms));
            backoff_ms = backoff_ms < 100 ? 2 * backoff_ms : 200;
            continue;
        }
        if (one == DLOAD_MISSING) {
            size_t nth = __atomic_add_fetch(&herd->n_fetches, 1, __ATOMIC_RELAXED);
            if (nth == 1)
                __atomic_store_n(&herd->first, getpid(), __ATOMIC_RELEASE);
            else if (nth == 2)
                herd->taken_over_ns = real_ns();
            sleep_ms(nth == 1 && herd->die ? 60000 : 20);
            item.value = "value";
            item.value_bytes = 5;
            item.ttl_ns = DLOAD_NEVER;
            op.kind = DLOAD_STORE_FILL;
            st = dload_store_run(&redis.store, &op);
            right = st == DLOAD_OK && (item.status == DLOAD_OK || item.status == DLOAD_ELOCK);
            __atomic_add_fetch(&herd->n_lost, item.status == DLOAD_ELOCK, __ATOMIC_RELAXED);
        }
        __atomic_add_fetch(right ? &herd->n_served : &herd->n_wrong, 1, __ATOMIC_RELAXED);
        return;
    }
}

/* Forks the processes, each with a store of its own. Returns how many were served. */
static void run_herd(uint64_t hold_ns, bool die)
{
    pid_t pids[N_PROCESSES];
    must_ok(do_aside(1, "FLUSHALL"));
    herd = mmap(NULL, sizeof *herd, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(herd != MAP_FAILED);
    herd->hold_ns = hold_ns;
    herd->die = die;
    for (size_t i = 0; i < N_PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            dload_redis_store_config cfg = {0};
            cfg.server.url = rs.unix_url;
            if (dload_redis_store_init(&redis, &cfg, NULL, 0) != DLOAD_OK)
                _exit(1);
            run_threads(N_THREADS_OF_EACH, load_one, NULL);
            dload_redis_store_end(&redis);
            _exit(0);
        }
    }
    __atomic_store_n(&herd->go, 1, __ATOMIC_RELEASE);
    if (die) {
        pid_t first = 0;
        for (int i = 0; i < 10000 && first == 0; i++) {
            sleep_ms(1);
            first = __atomic_load_n(&herd->first, __ATOMIC_ACQUIRE);
        }
        assert_true(first > 0);
        equal(kill(first, SIGKILL), 0);
    }
    for (size_t i = 0; i < N_PROCESSES; i++) {
        int status = 0;
        equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(status == 0 || (die && WIFSIGNALED(status)));
    }
}

/* Sixty-four callers in eight processes miss one key: one fetches. */
static void test_redis_herd(void **state)
{
    (void)state;
    run_herd(10 * DLOAD_SECOND, false);
    equal(herd->n_wrong, 0);
    equal(herd->n_served, N_PROCESSES * N_THREADS_OF_EACH);
    equal(herd->n_fetches, 1 + herd->n_lost);
    equal(herd->n_lost, 0);
    (void)munmap(herd, sizeof *herd);
}

/* The one that fetches is killed: when its lease is over one other does, and serves all the rest. */
static void test_redis_herd_loses_its_first(void **state)
{
    (void)state;
    uint64_t from_ns = real_ns();
    run_herd(600 * DLOAD_MILLISECOND, true);
    equal(herd->n_wrong, 0);
    equal(herd->n_fetches, 2);
    assert_true(herd->n_served >= (N_PROCESSES - 1) * N_THREADS_OF_EACH);
    assert_true(herd->taken_over_ns >=
                from_ns + 500 * DLOAD_MILLISECOND); /* not before it was over */
    assert_true(herd->taken_over_ns < from_ns + 20 * DLOAD_SECOND);
    (void)munmap(herd, sizeof *herd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_stopped),
        cmocka_unit_test(test_redis_breaker),
        cmocka_unit_test(test_redis_killed),
        cmocka_unit_test(test_redis_nobody_there),
        cmocka_unit_test(test_redis_full),
        cmocka_unit_test(test_redis_evicted_leases),
        cmocka_unit_test(test_redis_secrets),
        cmocka_unit_test(test_redis_herd),
        cmocka_unit_test(test_redis_herd_loses_its_first),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
