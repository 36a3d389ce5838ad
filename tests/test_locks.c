/* Named locks of one process: whatever they are called, one holder at a time, who came first is next, and
 * nothing is left of those that nobody holds. */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>

/* Wake-ups can be made to get lost, as by some releases of glibc. */
static int lossy_signal(pthread_cond_t *cond);
#define DLOAD_STORE 1
#include "dataloader.h"
#define pthread_cond_signal(cond) lossy_signal(cond)
#include "adapters/dataloader_locks.h"
#undef pthread_cond_signal
#include "support.h"

#include <stdlib.h>
#include <sys/wait.h>

enum { N_THREADS = 8, N_NAMES = 3 };

static struct shared {
    dload_mutexes m;
    struct fake_env f;
    size_t n_bad;           /* atomic */
    size_t counts[N_NAMES]; /* each under the lock of its name */
    size_t order[N_THREADS], n_order;
    size_t first;  /* atomic: threads below it have been let into the line */
    size_t n_gone; /* atomic: threads that left the line */
    bool lossy;    /* atomic */
} s;

static int lossy_signal(pthread_cond_t *cond)
{
    return __atomic_load_n(&s.lossy, __ATOMIC_RELAXED) ? 0 : pthread_cond_signal(cond);
}

static void bad(bool is_bad)
{
    if (is_bad) {
        __atomic_add_fetch(&s.n_bad, 1, __ATOMIC_RELAXED);
    }
}

static dload_status take(dload_str name, uint64_t timeout_ns, dload_held *held)
{
    return s.m.locks.take(&s.m.locks, name, timeout_ns, held);
}

static dload_status give(dload_held *held)
{
    return s.m.locks.give(&s.m.locks, held);
}

static void begin(void)
{
    memset(&s, 0, sizeof s);
    fake_env_init_real(&s.f);
    must_ok(dload_mutexes_init(&s.m, &s.f.env));
}

static void end(void)
{
    equal(__atomic_load_n(&s.n_bad, __ATOMIC_RELAXED), 0);
    equal(s.f.n_live, 0);
    must_ok(dload_mutexes_destroy(&s.m));
    fake_env_check(&s.f);
}

static dload_str str(const char *ptr, size_t len)
{
    dload_str name = {ptr, len};
    return name;
}

/* ---- one caller ---- */

static void test_any_bytes_are_a_name(void **state)
{
    (void)state;
    begin();
    char *large = malloc(65536);
    assert_non_null(large);
    memset(large, 'x', 65536);
    const dload_str names[] = {str(NULL, 0),        str("", 1),       str("a", 1),
                               str("a\0b", 3),      str("a\0c", 3),   str("../a", 4),
                               str("\r\n%s{}'", 7), str(large, 300),  str(large, 301),
                               str(large, 65535),   str(large, 65536)};
    dload_held held[COUNT(names)], again;
    for (size_t i = 0; i < COUNT(names); i++) {
        must_ok(take(names[i], 0, &held[i]));
    }
    for (size_t i = 0; i < COUNT(names); i++) {
        must(take(names[i], 0, &again), DLOAD_ETIMEDOUT);
        must(s.m.locks.check(&s.m.locks, &again), DLOAD_ELOCK);
        must_ok(s.m.locks.check(&s.m.locks, &held[i]));
    }
    for (size_t i = 0; i < COUNT(names); i++) {
        must_ok(give(&held[i]));
        must(give(&held[i]), DLOAD_ELOCK); /* it is over */
        must_ok(take(names[i], 0, &again));
        must_ok(give(&again));
    }
    must(take(str(NULL, 1), 0, &again), DLOAD_EINVAL);
    must(s.m.locks.take(&s.m.locks, names[0], 0, NULL), DLOAD_EINVAL);
    free(large);
    end();
}

/* Held all at once, so that the table grows, and given back in another order than taken. */
static void test_a_lock_nobody_holds_costs_nothing(void **state)
{
    (void)state;
    begin();
    const size_t n = scaled(10000);
    dload_held *held = calloc(n, sizeof *held);
    dload_held again;
    uint64_t seed = test_seed("locks");
    assert_non_null(held);
    for (uint64_t i = 0; i < n; i++) {
        must_ok(take(str((const char *)&i, sizeof i), 0, &held[i]));
    }
    assert_true(s.f.n_live >= n);
    for (size_t i = n; i > 1; i--) {
        size_t other = (size_t)rng_below(&seed, i);
        dload_held moved = held[i - 1];
        held[i - 1] = held[other];
        held[other] = moved;
    }
    for (uint64_t i = 0; i < n; i++) {
        must(take(str((const char *)&i, sizeof i), 0, &again), DLOAD_ETIMEDOUT);
    }
    for (size_t i = 0; i < n; i++) {
        must_ok(give(&held[i]));
    }
    equal(s.f.n_live, 0);
    for (uint64_t i = 0; i < n; i++) {
        must_ok(take(str((const char *)&i, sizeof i), 0, &again));
        must_ok(give(&again));
    }
    free(held);
    end();
}

static void test_a_deadline_passes(void **state)
{
    (void)state;
    begin();
    dload_held held, other;
    must_ok(take(dload_str_from("a"), 0, &held));
    uint64_t began_ns = real_ns();
    must(take(dload_str_from("a"), 120 * DLOAD_MILLISECOND, &other), DLOAD_ETIMEDOUT);
    assert_true(real_ns() - began_ns >= 120 * DLOAD_MILLISECOND);
    must(dload_mutexes_destroy(&s.m), DLOAD_EBUSY);
    must_ok(give(&held));
    end();
}

static void with_failing_memory(struct fake_env *f)
{
    dload_mutexes m;
    dload_held held[40];
    size_t n_held = 0, n_failed = 0;
    must_ok(dload_mutexes_init(&m, &f->env));
    fake_env_arm(f);
    for (char i = 0; i < (char)COUNT(held); i++) {
        dload_status st = m.locks.take(&m.locks, str(&i, 1), 0, &held[n_held]);
        n_held += st == DLOAD_OK;
        n_failed += st == DLOAD_ENOMEM;
    }
    equal(n_held + n_failed, COUNT(held));
    fake_env_disarm(f);
    while (n_held > 0) {
        must_ok(m.locks.give(&m.locks, &held[--n_held]));
    }
    must_ok(dload_mutexes_destroy(&m));
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("locks", with_failing_memory) > 40);
    dload_env none = *dload_env_default();
    dload_mutexes m;
    none.alloc = NULL;
    must(dload_mutexes_init(&m, &none), DLOAD_EINVAL);
    must(dload_mutexes_init(NULL, NULL), DLOAD_EINVAL);
}

/* ---- several ---- */

static void count_one(void *ctx, size_t i)
{
    const size_t n = *(const size_t *)ctx;
    uint64_t seed = i + 1;
    for (size_t k = 0; k < n; k++) {
        size_t which = (size_t)rng_below(&seed, N_NAMES);
        char name = (char)('a' + which);
        dload_held held;
        bad(take(str(&name, 1), 60 * DLOAD_SECOND, &held) != DLOAD_OK);
        s.counts[which]++;
        bad(give(&held) != DLOAD_OK);
    }
}

static void test_one_holder_at_a_time(void **state)
{
    (void)state;
    begin();
    size_t n = scaled(3000);
    run_threads(N_THREADS, count_one, &n);
    equal(s.counts[0] + s.counts[1] + s.counts[2], N_THREADS * n);
    end();
}

/* A wake-up that never comes costs a tenth of a second, no more. */
static void test_wake_ups_are_lost(void **state)
{
    (void)state;
    begin();
    size_t n = 3;
    __atomic_store_n(&s.lossy, true, __ATOMIC_RELAXED);
    run_threads(4, count_one, &n);
    equal(s.counts[0] + s.counts[1] + s.counts[2], 4 * n);
    end();
}

/* How many wait for the only name there is. */
static size_t n_waiting(void)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&s.m.mutex);
    for (size_t i = 0; i < s.m.n_buckets; i++) {
        const dload_mutexes_i_name *name = s.m.buckets[i];
        for (const dload_mutexes_i_waiter *w = name != NULL ? name->first : NULL; w != NULL;
             w = w->next) {
            n++;
        }
    }
    (void)pthread_mutex_unlock(&s.m.mutex);
    return n;
}

/* Thread 0 holds the lock until the others stand in line, one after the other; every third of them gives up. */
static void stand_in_line(void *ctx, size_t i)
{
    dload_held held;
    (void)ctx;
    while (__atomic_load_n(&s.first, __ATOMIC_ACQUIRE) < i) {
        sleep_ms(1);
    }
    bool gives_up = i % 3 == 2;
    if (i == 0) {
        bad(take(dload_str_from("line"), 0, &held) != DLOAD_OK);
        for (size_t k = 1; k < N_THREADS; k++) {
            __atomic_store_n(&s.first, k, __ATOMIC_RELEASE);
            size_t n = 0;
            while (n < k) { /* who leaves between the two looks is not counted twice */
                n = __atomic_load_n(&s.n_gone, __ATOMIC_ACQUIRE);
                n += n_waiting();
                sleep_ms(n < k);
            }
        }
        sleep_ms(150);
        bad(give(&held) != DLOAD_OK);
        return;
    }
    dload_status st =
        take(dload_str_from("line"), gives_up ? 20 * DLOAD_MILLISECOND : 60 * DLOAD_SECOND, &held);
    bad(st != (gives_up ? DLOAD_ETIMEDOUT : DLOAD_OK));
    if (st == DLOAD_OK) {
        s.order[s.n_order++] = i;
        bad(give(&held) != DLOAD_OK);
    } else {
        __atomic_add_fetch(&s.n_gone, 1, __ATOMIC_RELEASE);
    }
}

static void test_who_came_first_is_next(void **state)
{
    (void)state;
    begin();
    run_threads(N_THREADS, stand_in_line, NULL);
    equal(s.n_order, 5);
    const size_t want[] = {1, 3, 4, 6, 7};
    for (size_t i = 0; i < COUNT(want); i++) {
        equal(s.order[i], want[i]);
    }
    end();
}

/* ---- threads and processes that end ---- */

static void *wait_and_end(void *arg)
{
    dload_held held;
    (void)arg;
    __atomic_store_n(&s.first, 1, __ATOMIC_RELEASE);
    bad(take(dload_str_from("line"), 100 * DLOAD_MILLISECOND, &held) != DLOAD_ETIMEDOUT);
    pthread_testcancel();
    bad(true);
    return NULL;
}

static void test_a_waiting_thread_is_cancelled(void **state)
{
    (void)state;
    begin();
    dload_held held;
    pthread_t thread;
    void *result = NULL;
    must_ok(take(dload_str_from("line"), 0, &held));
    equal(pthread_create(&thread, NULL, wait_and_end, NULL), 0);
    while (__atomic_load_n(&s.first, __ATOMIC_ACQUIRE) == 0) {
        sleep_ms(1);
    }
    equal(pthread_cancel(thread), 0);
    equal(pthread_join(thread, &result), 0);
    assert_true(result == PTHREAD_CANCELED);
    equal(n_waiting(), 0);
    must_ok(give(&held));
    end();
}

static void test_a_child_has_none_of_them(void **state)
{
    (void)state;
    begin();
    dload_held held, other;
    int status = 0;
    must_ok(take(dload_str_from("a"), 0, &held));
    pid_t pid = fork();
    if (pid == 0) {
        bool ok = take(dload_str_from("b"), 0, &other) == DLOAD_ELOCK &&
                  s.m.locks.check(&s.m.locks, &held) == DLOAD_ELOCK && give(&held) == DLOAD_ELOCK &&
                  dload_mutexes_destroy(&s.m) == DLOAD_ELOCK;
        _exit(ok ? 0 : 1);
    }
    equal(waitpid(pid, &status, 0), pid);
    equal(status, 0);
    must_ok(s.m.locks.check(&s.m.locks, &held));
    must_ok(give(&held));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_bytes_are_a_name),
        cmocka_unit_test(test_a_lock_nobody_holds_costs_nothing),
        cmocka_unit_test(test_a_deadline_passes),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_one_holder_at_a_time),
        cmocka_unit_test(test_wake_ups_are_lost),
        cmocka_unit_test(test_who_came_first_is_next),
        cmocka_unit_test(test_a_waiting_thread_is_cancelled),
        cmocka_unit_test(test_a_child_has_none_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
