/* Wake-ups that come without the loader's mutex: nobody's is lost, and nobody touches a call that has
 * returned. The C side of tests/models/wakeup.pml.
 *
 * Sleepers look again by themselves every 100 ms, which would hide a lost wake-up: here such a sleep has no
 * end. Locks and signals take their time now and then, and know whether what they touch still exists. */
/* locks: PTHREAD */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { N_LIVE = 64, N_CALLERS = 5, N_KEYS = 6, N_PENDING = 64, LONG_NS = 90000000, HANGS_S = 30 };

/* ---- what the library calls ---- */

static struct {
    pthread_mutex_t mutex;
    const void *at[N_LIVE];
    uint64_t random;
    bool slow;
} live = {.mutex = PTHREAD_MUTEX_INITIALIZER, .random = 1};

/* Is *from there? Then it becomes to; NULL stands for a free place. */
static bool live_change(const void *from, const void *to)
{
    bool found = false;
    pthread_mutex_lock(&live.mutex);
    for (size_t i = 0; i < N_LIVE && !found; i++) {
        found = live.at[i] == from;
        if (found) {
            live.at[i] = to;
        }
    }
    pthread_mutex_unlock(&live.mutex);
    return found;
}

static void live_must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s of what is gone or in use\n", what);
        abort();
    }
}

/* Lets others get ahead, one time in eight. */
static void dawdle(void)
{
    struct timespec ts = {0, 30000};
    pthread_mutex_lock(&live.mutex);
    live.random = live.random * 6364136223846793005u + 1442695040888963407u;
    bool now = live.slow && live.random >> 61 == 0;
    pthread_mutex_unlock(&live.mutex);
    if (now) {
        int before = 0;
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
        nanosleep(&ts, NULL);
        pthread_setcancelstate(before, &before);
    }
}

static int wake_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
    live_must(live_change(NULL, mutex), "init");
    return pthread_mutex_init(mutex, attr);
}

static int wake_mutex_destroy(pthread_mutex_t *mutex)
{
    live_must(pthread_mutex_trylock(mutex) == 0, "destroy");
    pthread_mutex_unlock(mutex);
    live_must(live_change(mutex, NULL), "destroy");
    return pthread_mutex_destroy(mutex);
}

static int wake_mutex_lock(pthread_mutex_t *mutex)
{
    dawdle();
    live_must(live_change(mutex, mutex), "lock");
    return pthread_mutex_lock(mutex);
}

static int wake_mutex_unlock(pthread_mutex_t *mutex)
{
    live_must(live_change(mutex, mutex), "unlock");
    int rc = pthread_mutex_unlock(mutex);
    dawdle();
    return rc;
}

static int wake_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
    live_must(live_change(NULL, cond), "init");
    return pthread_cond_init(cond, attr);
}

static int wake_cond_destroy(pthread_cond_t *cond)
{
    live_must(live_change(cond, NULL), "destroy");
    return pthread_cond_destroy(cond);
}

static int wake_cond_signal(pthread_cond_t *cond)
{
    live_must(live_change(cond, cond), "signal");
    int rc = pthread_cond_signal(cond);
    dawdle();
    return rc;
}

/* A look at something that may have changed unseen has no end; a deadline that is near has. */
static int wake_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                               const struct timespec *until)
{
    struct timespec now;
    dawdle(); /* between the sleeper's look and its sleep */
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t left_ns =
        (int64_t)(until->tv_sec - now.tv_sec) * 1000000000 + (until->tv_nsec - now.tv_nsec);
    return left_ns >= LONG_NS ? pthread_cond_wait(cond, mutex)
                              : pthread_cond_timedwait(cond, mutex, until);
}

#define pthread_mutex_init     wake_mutex_init
#define pthread_mutex_destroy  wake_mutex_destroy
#define pthread_mutex_lock     wake_mutex_lock
#define pthread_mutex_unlock   wake_mutex_unlock
#define pthread_cond_init      wake_cond_init
#define pthread_cond_destroy   wake_cond_destroy
#define pthread_cond_signal    wake_cond_signal
#define pthread_cond_timedwait wake_cond_timedwait
#include "test_loader.h"
#undef pthread_mutex_init
#undef pthread_mutex_destroy
#undef pthread_mutex_lock
#undef pthread_mutex_unlock
#undef pthread_cond_init
#undef pthread_cond_destroy
#undef pthread_cond_signal
#undef pthread_cond_timedwait

/* ---- fetches that end where they began, or in another thread ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    tl_batch *batches[N_PENDING];
    size_t n;
    bool stop;
} worker = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static tl loader;
static uint32_t stop;

static void answer(tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        must_ok(tl_batch_set(b, i, &value));
    }
}

static dload_status fetch(tl_batch *b)
{
    if (b->keys[0] % 2 != 0) {
        dawdle();
        answer(b);
        return DLOAD_OK;
    }
    pthread_mutex_lock(&worker.mutex);
    assert_true(worker.n < N_PENDING);
    worker.batches[worker.n++] = b;
    pthread_cond_signal(&worker.cond);
    pthread_mutex_unlock(&worker.mutex);
    return DLOAD_PENDING;
}

static void *work(void *arg)
{
    pthread_mutex_lock(&worker.mutex);
    while (!worker.stop || worker.n != 0) {
        if (worker.n == 0) {
            pthread_cond_wait(&worker.cond, &worker.mutex);
            continue;
        }
        tl_batch *b = worker.batches[--worker.n];
        pthread_mutex_unlock(&worker.mutex);
        dawdle();
        answer(b); /* each of them may have been somebody's last */
        must_ok(tl_batch_done(b, DLOAD_OK));
        pthread_mutex_lock(&worker.mutex);
    }
    pthread_mutex_unlock(&worker.mutex);
    return arg;
}

/* ---- callers ---- */

static void *call(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg * 7919 + 1;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint64_t keys[3] = {rng(&seed) % N_KEYS, rng(&seed) % N_KEYS, rng(&seed) % N_KEYS};
        uint64_t out[3] = {0, 0, 0};
        dload_status st[3] = {DLOAD_OK, DLOAD_OK, DLOAD_OK};
        dload_call deadline = {0};
        if (rng(&seed) % 3 == 0) {
            deadline.deadline_ns = tl_now(&loader) + rng(&seed) % 200000;
        }
        size_t n = 1 + rng(&seed) % 3;
        (void)tl_load_many_with(&loader, keys, n, &deadline, out, st);
        for (size_t i = 0; i < n; i++) {
            if (st[i] == DLOAD_OK ? out[i] != keys[i] * 10 : st[i] != DLOAD_ETIMEDOUT) {
                abort();
            }
        }
    }
    return NULL;
}

static void rest(uint64_t ns)
{
    struct timespec ts = {(time_t)(ns / DLOAD_SECOND), (long)(ns % DLOAD_SECOND)};
    nanosleep(&ts, NULL);
}

static void crowd(uint64_t settle_ns, bool cancels)
{
    pthread_t callers[N_CALLERS], ends;
    tl_config cfg = tl_config_default();
    uint64_t seed = test_seed("wakeup");
    cfg.fetch = fetch;
    cfg.capacity = DLOAD_NO_CACHE;
    cfg.max_batch = 2;
    cfg.max_in_flight = 2;
    cfg.settle_ns = settle_ns;
    cfg.run_limit_ns = DLOAD_NEVER;
    must_ok(tl_init(&loader, &cfg));
    live.slow = true;
    live.random = seed;
    worker.stop = false;
    stop = 0;
    assert_int_equal(pthread_create(&ends, NULL, work, NULL), 0);
    for (uintptr_t i = 0; i < N_CALLERS; i++) {
        assert_int_equal(pthread_create(&callers[i], NULL, call, (void *)(seed + i)), 0);
    }
    uint64_t until_ns = tl_now(&loader) + DLOAD_SECOND;
    alarm(HANGS_S);
    while (tl_now(&loader) < until_ns) {
        rest(500 * DLOAD_MICROSECOND);
        size_t i = rng(&seed) % N_CALLERS;
        if (cancels) {
            assert_int_equal(pthread_cancel(callers[i]), 0);
            assert_int_equal(pthread_join(callers[i], NULL), 0);
            assert_int_equal(pthread_create(&callers[i], NULL, call, (void *)(seed + i)), 0);
        }
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < N_CALLERS; i++) {
        assert_int_equal(pthread_join(callers[i], NULL), 0); /* for ever, if a wake-up was lost */
    }
    pthread_mutex_lock(&worker.mutex);
    worker.stop = true;
    pthread_cond_signal(&worker.cond);
    pthread_mutex_unlock(&worker.mutex);
    assert_int_equal(pthread_join(ends, NULL), 0);
    live.slow = false;
    must_ok(tl_close(&loader, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&loader));
    alarm(0);
    live_must(live_change(NULL, NULL), "nothing");
}

static void test_wakeup_at_once(void **state)
{
    (void)state;
    crowd(0, false);
}

static void test_wakeup_settling(void **state)
{
    (void)state;
    crowd(50 * DLOAD_MICROSECOND, false);
}

static void test_wakeup_cancelled(void **state)
{
    (void)state;
    crowd(50 * DLOAD_MICROSECOND, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wakeup_at_once),
        cmocka_unit_test(test_wakeup_settling),
        cmocka_unit_test(test_wakeup_cancelled),
    };
    return cmocka_run_group_tests_name("wakeup", tests, NULL, NULL);
}
