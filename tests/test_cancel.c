/* Threads that are cancelled while they wait: nobody else may notice. */
/* locks: PTHREAD */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DLOAD_NAME  ct
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"
#include "support.h"

enum { N_THREADS = 8, N_KEYS = 16 };

static ct loader;
static uint32_t stop;
static uint64_t beats[N_THREADS];

static void pause_us(uint64_t us)
{
    struct timespec ts = {0, (long)(us * 1000)};
    nanosleep(&ts, NULL);
}

/* Sleeping is a cancellation point: the thread must get through it all the same. */
static dload_status fetch(ct_batch *b)
{
    pause_us(b->keys[0] * 20);
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 7;
        ct_batch_set(b, i, &value);
    }
    return DLOAD_OK;
}

static void open_loader(size_t capacity)
{
    ct_config cfg = ct_config_default();
    cfg.fetch = fetch;
    cfg.capacity = capacity;
    cfg.max_in_flight = 2;
    cfg.settle_ns = 100 * DLOAD_MICROSECOND;
    assert_int_equal(ct_init(&loader, &cfg), DLOAD_OK);
}

static void *work(void *arg)
{
    size_t id = (size_t)(uintptr_t)arg;
    uint64_t seed = id * 7919 + 1;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint64_t keys[3] = {rng(&seed) % N_KEYS, rng(&seed) % N_KEYS, rng(&seed) % N_KEYS};
        uint64_t out[3] = {0, 0, 0};
        dload_status st[3];
        dload_call call = {0, 0, 0};
        if (rng(&seed) % 8 == 0)
            call.deadline_ns = ct_now(&loader) + rng(&seed) % 300000;
        if (rng(&seed) % 2 == 0) {
            st[0] = ct_load_with(&loader, keys[0], &call, &out[0]);
            if (st[0] == DLOAD_OK && out[0] != keys[0] * 7)
                abort();
        } else {
            ct_load_many_with(&loader, keys, 3, &call, out, st);
            for (size_t i = 0; i < 3; i++) {
                if (st[i] == DLOAD_OK && out[i] != keys[i] * 7)
                    abort();
            }
        }
        if (rng(&seed) % 4 == 0)
            ct_clear(&loader, rng(&seed) % N_KEYS);
        __atomic_add_fetch(&beats[id], 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void start(pthread_t *thread, size_t id)
{
    assert_int_equal(pthread_create(thread, NULL, work, (void *)(uintptr_t)id), 0);
}

/* Everybody makes progress in every second, whoever else is cancelled. */
static void check_beats(uint64_t *last)
{
    for (size_t i = 0; i < N_THREADS; i++) {
        uint64_t now = __atomic_load_n(&beats[i], __ATOMIC_RELAXED);
        assert_true(now != last[i]);
        last[i] = now;
    }
}

static void torture(size_t capacity)
{
    pthread_t threads[N_THREADS];
    uint64_t last[N_THREADS];
    uint64_t seed = test_seed("cancel");
    size_t n_cancelled = 0;
    open_loader(capacity);
    stop = 0;
    memset(beats, 0, sizeof beats);
    memset(last, 0xff, sizeof last);
    for (size_t i = 0; i < N_THREADS; i++)
        start(&threads[i], i);
    uint64_t begin_ns = ct_now(&loader), look_ns = begin_ns;
    while (ct_now(&loader) - begin_ns < 2500 * DLOAD_MILLISECOND) {
        pause_us(300 + rng(&seed) % 700);
        size_t i = rng(&seed) % N_THREADS;
        void *result = NULL;
        assert_int_equal(pthread_cancel(threads[i]), 0);
        assert_int_equal(pthread_join(threads[i], &result), 0);
        n_cancelled += result == PTHREAD_CANCELED;
        start(&threads[i], i);
        if (ct_now(&loader) - look_ns > DLOAD_SECOND) {
            look_ns = ct_now(&loader);
            check_beats(last);
        }
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(n_cancelled > 100);
    /* Requests of the cancelled are gone, and so is every key they had asked for. */
    assert_int_equal(ct_close(&loader, DLOAD_DRAIN, 0), DLOAD_OK);
    assert_int_equal(loader.core.n_flights, 0);
    assert_int_equal(loader.core.n_refs, 0);
    assert_int_equal(ct_destroy(&loader), DLOAD_OK);
    print_message("%zu cancelled\n", n_cancelled);
}

static void test_cancel_cached(void **state)
{
    (void)state;
    torture(N_KEYS / 2);
}

static void test_cancel_uncached(void **state)
{
    (void)state;
    torture(DLOAD_NO_CACHE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_cached),
        cmocka_unit_test(test_cancel_uncached),
    };
    return cmocka_run_group_tests_name("cancel", tests, NULL, NULL);
}
