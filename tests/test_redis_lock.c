/* Named locks on a real Redis server: one holder at a time among threads and processes, and what happens to locks whose
 * holders, servers or keys are gone. */
/* links: hiredis */
/* tsan */
#define _DEFAULT_SOURCE 1
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis_lock.h"

#include "support.h"
#include "servers/redis_server.h"
#include "test_redis.h"

#include <sys/mman.h>

static dload_redis_locks locks;

static void up_locks(uint64_t hold_ns)
{
    up();
    must_ok(dload_redis_locks_init(&locks, &redis, hold_ns));
}

static dload_status take(dload_str name, uint64_t timeout_ns, dload_held *held)
{
    return locks.locks.take(&locks.locks, name, timeout_ns, held);
}

static dload_status check(dload_held *held)
{
    return locks.locks.check(&locks.locks, held);
}

static dload_status give(dload_held *held)
{
    return locks.locks.give(&locks.locks, held);
}

static dload_str named(const char *name)
{
    return dload_str_from(name);
}

static void test_redis_lock_excludes(void **state)
{
    dload_held a, b;
    (void)state;
    up_locks(0);
    must_ok(take(named("x"), 0, &a));
    must_ok(check(&a));
    must(take(named("x"), 0, &b), DLOAD_ETIMEDOUT);
    assert_null(b.impl);
    uint64_t from_ns = real_ns();
    must(take(named("x"), 60 * DLOAD_MILLISECOND, &b), DLOAD_ETIMEDOUT);
    assert_true(real_ns() - from_ns >= 60 * DLOAD_MILLISECOND);
    assert_true(real_ns() - from_ns < 5 * DLOAD_SECOND);
    must_ok(take(named("y"), 0, &b));
    must_ok(give(&b));
    must_ok(give(&a));
    must(give(&a), DLOAD_ELOCK);
    must(check(&a), DLOAD_ELOCK);
    must_ok(take(named("x"), 0, &b));
    must_ok(give(&b));
    must(dload_redis_locks_init(&locks, &redis, 1), DLOAD_EINVAL);
    dload_redis_store_end(&redis);
}

/* Names are bytes: no two that differ are one, and none is a key of the store. */
static void test_redis_lock_names(void **state)
{
    static char big[100000];
    dload_str names[9];
    static const char *const texts[] = {"", "a", "a}lock", "{a", "a%7D", "*", "a\r\nDEL a"};
    dload_held held[COUNT(names)], other;
    (void)state;
    up_locks(0);
    memset(big, '}', sizeof big);
    for (size_t i = 0; i < COUNT(texts); i++)
        names[i] = named(texts[i]);
    names[7].ptr = "a\0b", names[7].len = 3;
    names[8].ptr = big, names[8].len = sizeof big;
    for (size_t i = 0; i < COUNT(names); i++)
        must_ok(take(names[i], 0, &held[i]));
    for (size_t i = 0; i < COUNT(names); i++)
        must(take(names[i], 0, &other), DLOAD_ETIMEDOUT);
    dload_store_item all = {0};
    all.key = "";
    must_ok(run(DLOAD_STORE_CLEAR, &all, 1)); /* locks are no keys */
    for (size_t i = 0; i < COUNT(names); i++) {
        must_ok(check(&held[i]));
        must_ok(give(&held[i]));
    }
    dload_str none = {NULL, 1};
    must(take(none, 0, &other), DLOAD_EINVAL);
    dload_str huge = {big, ((size_t)1 << 20) + 1};
    must(take(huge, 0, &other), DLOAD_EINVAL);
    redisReply *r = ask_aside(1, "DBSIZE");
    equal(r->integer, 0);
    freeReplyObject(r);
    dload_redis_store_end(&redis);
}

/* Whatever ends a lock early, its holder hears of at the next question, and takes nobody else's away. */
static void test_redis_lock_lost(void **state)
{
    static const char *const how[] = {"DEL", "expiry", "FLUSHALL", "restart"};
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(how); i++) {
        dload_held a, b;
        up_locks(60 * DLOAD_MILLISECOND);
        must_ok(take(named("x"), 0, &a));
        if (i / 2 == 0) {
            must_ok(do_aside(2, "DEL", "{dload:x}lock"));
        } else if (i / 2 == 1) {
            must_ok(take(named("x"), 20 * DLOAD_SECOND, &b)); /* waits for it */
            must_ok(give(&b));
        } else if (i / 2 == 2) {
            must_ok(do_aside(1, "FLUSHALL"));
        } else {
            assert_true(redis_server_restart(&rs));
        }
        locks.hold_ns = 30 * DLOAD_SECOND;
        must_ok(take(named("x"), 0, &b));
        if (i % 2 == 0)
            must(check(&a), DLOAD_ELOCK);
        must(give(&a), DLOAD_ELOCK);
        must_ok(check(&b)); /* is still the other's */
        must_ok(give(&b));
        dload_redis_store_end(&redis);
    }
}

/* Who checks in time keeps it for longer than it lasts. */
static void test_redis_lock_prolonged(void **state)
{
    dload_held a, b;
    (void)state;
    up_locks(DLOAD_SECOND);
    must_ok(take(named("x"), 0, &a));
    for (int i = 0; i < 15; i++) {
        sleep_ms(100);
        must_ok(check(&a));
        must(take(named("x"), 0, &b), DLOAD_ETIMEDOUT);
    }
    must_ok(give(&a));
    dload_redis_store_end(&redis);
}

/* No server, or one that does not answer: not a lock, in time. */
static void test_redis_lock_no_server(void **state)
{
    dload_held a, b;
    (void)state;
    up_locks(0);
    redis.server.command_timeout_ns = 50 * DLOAD_MILLISECOND;
    must_ok(take(named("x"), 0, &a));
    equal(kill(rs.pid, SIGSTOP), 0);
    uint64_t from_ns = real_ns();
    must(check(&a), DLOAD_ELOCK);
    must(take(named("x"), 10 * DLOAD_SECOND, &b), DLOAD_ELOCK);
    assert_true(real_ns() - from_ns < 5 * DLOAD_SECOND);
    equal(kill(rs.pid, SIGCONT), 0);
    dload_status st = DLOAD_ELOCK;
    for (int i = 0; i < 500 && st != DLOAD_OK; i++) {
        st = check(&a);
        sleep_ms(1);
    }
    must_ok(st);
    redis_server_kill(&rs);
    must(give(&a), DLOAD_ELOCK);
    must(take(named("x"), 10 * DLOAD_SECOND, &b), DLOAD_ELOCK);
    assert_true(redis_server_start(&rs));
    st = DLOAD_ELOCK;
    for (int i = 0; i < 5000 && st != DLOAD_OK; i++) {
        st = take(named("x"), 0, &b);
        sleep_ms(1);
    }
    must_ok(st);
    must_ok(do_aside(2, "SCRIPT", "FLUSH")); /* scripts are sent again */
    must_ok(check(&b));
    must_ok(give(&b));
    dload_redis_store_end(&redis);
}

static void without_memory(struct fake_env *f)
{
    dload_held a;
    dload_redis_store_config cfg = {0};
    cfg.server.url = rs.unix_url;
    cfg.server.env = &f->env;
    must_ok(dload_redis_store_init(&redis, &cfg, NULL, 0));
    must_ok(dload_redis_locks_init(&locks, &redis, 0));
    fake_env_arm(f);
    dload_status st = take(named("x"), 0, &a);
    fake_env_disarm(f);
    assert_true(st == DLOAD_OK || st == DLOAD_ENOMEM);
    if (st == DLOAD_OK)
        must_ok(give(&a));
    else
        assert_null(a.impl);
    dload_redis_store_end(&redis);
}

static void test_redis_lock_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("locks in Redis", without_memory) >= 2);
}

/* ---- many ---- */

/* Shared between processes. */
struct crowd {
    uint32_t n_inside;      /* atomic */
    size_t n_bad, n_counts; /* atomic; under the lock */
    uint32_t holds;         /* atomic: the one to be killed has it */
};

static struct crowd *crowd;

static void one_at_a_time(void *ctx, size_t i)
{
    (void)ctx;
    (void)i;
    for (size_t k = 0; k < scaled(15); k++) {
        dload_held held;
        if (take(named("crowd"), 60 * DLOAD_SECOND, &held) != DLOAD_OK) {
            __atomic_add_fetch(&crowd->n_bad, 1, __ATOMIC_RELAXED);
            return;
        }
        bool alone = __atomic_add_fetch(&crowd->n_inside, 1, __ATOMIC_RELAXED) == 1;
        crowd->n_counts++;
        (void)__atomic_sub_fetch(&crowd->n_inside, 1, __ATOMIC_RELAXED);
        bool ok = give(&held) == DLOAD_OK;
        __atomic_add_fetch(&crowd->n_bad, !alone || !ok, __ATOMIC_RELAXED);
    }
}

static void make_crowd(void)
{
    crowd = mmap(NULL, sizeof *crowd, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(crowd != MAP_FAILED);
}

static pid_t in_a_process(void (*body)(void *ctx, size_t i), size_t n_threads)
{
    pid_t pid = fork();
    if (pid == 0) {
        dload_redis_store_config cfg = {0};
        cfg.server.url = rs.unix_url;
        cfg.server.command_timeout_ns = 20 * DLOAD_SECOND;
        if (dload_redis_store_init(&redis, &cfg, NULL, 0) != DLOAD_OK ||
            dload_redis_locks_init(&locks, &redis, 600 * DLOAD_MILLISECOND) != DLOAD_OK)
            _exit(1);
        if (n_threads == 1)
            body(NULL, 0);
        else
            run_threads(n_threads, body, NULL);
        dload_redis_store_end(&redis);
        _exit(0);
    }
    return pid;
}

static void test_redis_lock_crowd(void **state)
{
    pid_t pids[4];
    (void)state;
    must_ok(do_aside(1, "FLUSHALL"));
    make_crowd();
    for (size_t i = 0; i < COUNT(pids); i++)
        pids[i] = in_a_process(one_at_a_time, 4);
    for (size_t i = 0; i < COUNT(pids); i++) {
        int status = 0;
        equal(waitpid(pids[i], &status, 0), pids[i]);
        equal(status, 0);
    }
    equal(crowd->n_bad, 0);
    equal(crowd->n_counts, COUNT(pids) * 4 * scaled(15));
    (void)munmap(crowd, sizeof *crowd);
}

static void hold_for_ever(void *ctx, size_t i)
{
    dload_held held;
    (void)ctx;
    (void)i;
    if (take(named("crowd"), 0, &held) == DLOAD_OK)
        __atomic_store_n(&crowd->holds, 1, __ATOMIC_RELEASE);
    sleep_ms(60000);
}

/* Its holder is killed: when its time is over the next one has it. */
static void test_redis_lock_holder_killed(void **state)
{
    dload_held held;
    (void)state;
    make_crowd();
    up_locks(0);
    pid_t pid = in_a_process(hold_for_ever, 1);
    for (int i = 0; i < 10000 && __atomic_load_n(&crowd->holds, __ATOMIC_ACQUIRE) == 0; i++)
        sleep_ms(1);
    equal(crowd->holds, 1);
    must(take(named("crowd"), 0, &held), DLOAD_ETIMEDOUT);
    server_end(pid, SIGKILL);
    must_ok(take(named("crowd"), 20 * DLOAD_SECOND, &held));
    must_ok(give(&held));
    (void)munmap(crowd, sizeof *crowd);
    dload_redis_store_end(&redis);
}

/* The child of a fork has nothing that it could give away. */
static void test_redis_lock_fork(void **state)
{
    dload_held held, other;
    int status = 0;
    (void)state;
    up_locks(0);
    must_ok(take(named("x"), 0, &held));
    pid_t pid = fork();
    if (pid == 0) {
        bool ok = check(&held) == DLOAD_ELOCK && take(named("y"), 0, &other) == DLOAD_ELOCK &&
                  give(&held) == DLOAD_ELOCK;
        dload_redis_store_end(&redis);
        _exit(ok ? 0 : 1);
    }
    equal(waitpid(pid, &status, 0), pid);
    equal(status, 0);
    must_ok(check(&held));
    must_ok(give(&held));
    dload_redis_store_end(&redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_lock_excludes),
        cmocka_unit_test(test_redis_lock_names),
        cmocka_unit_test(test_redis_lock_lost),
        cmocka_unit_test(test_redis_lock_prolonged),
        cmocka_unit_test(test_redis_lock_no_server),
        cmocka_unit_test(test_redis_lock_without_memory),
        cmocka_unit_test(test_redis_lock_crowd),
        cmocka_unit_test(test_redis_lock_holder_killed),
        cmocka_unit_test(test_redis_lock_fork),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
