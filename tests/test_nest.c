/* Fetch functions that load, in several threads: circles are told at once, chains are not. */
/* locks: SPIN PTHREAD */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <string.h>

#define DLOAD_NAME  nl
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"
#include "support.h"

enum { N_MAX = 3 };

/* n loaders; the fetch function of each loads key 1 (and with many, a key of its own first) from the
 * next, once every function is running. */
static struct ring {
    size_t n;
    bool closed; /* the last one loads from the first */
    bool many;
    uint32_t n_running; /* atomic */
    nl loader[N_MAX];
    dload_status said[N_MAX]; /* what the nested load returned */
    dload_status got[N_MAX];  /* what the outer load returned */
} ring;

static void meet(void)
{
    __atomic_add_fetch(&ring.n_running, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&ring.n_running, __ATOMIC_ACQUIRE) < ring.n)
        dload_i_pause();
}

static dload_status fetch(nl_batch *b)
{
    size_t i = (size_t)((nl *)b->ctx - ring.loader);
    uint64_t value = 0;
    if (b->keys[0] == 1) {
        meet();
        if (i + 1 < ring.n || ring.closed) {
            nl *next = &ring.loader[(i + 1) % ring.n];
            if (ring.many) {
                const uint64_t keys[3] = {10 + i, 1, 20 + i};
                uint64_t out[3];
                dload_status st[3];
                (void)nl_load_many(next, keys, 3, out, st);
                ring.said[i] = st[1];
            } else {
                ring.said[i] = nl_load(next, 1, &value);
            }
            if (ring.said[i] < 0)
                return ring.said[i];
        }
    }
    for (size_t k = 0; k < b->n; k++) {
        value = b->keys[k] + 100;
        nl_batch_set(b, k, &value);
    }
    return DLOAD_OK;
}

static void *outer(void *arg)
{
    size_t i = (size_t)((nl *)arg - ring.loader);
    uint64_t value = 0;
    ring.got[i] = nl_load(&ring.loader[i], 1, &value);
    return NULL;
}

static uint64_t go(size_t n, bool closed, bool many)
{
    pthread_t threads[N_MAX];
    memset(&ring, 0, sizeof ring);
    ring.n = n;
    ring.closed = closed;
    ring.many = many;
    for (size_t i = 0; i < n; i++) {
        nl_config cfg = nl_config_default();
        cfg.fetch = fetch;
        cfg.ctx = &ring.loader[i];
        cfg.timeout_ns = 8 * DLOAD_SECOND;
        assert_int_equal(nl_init(&ring.loader[i], &cfg), DLOAD_OK);
    }
    uint64_t begin_ns = nl_now(&ring.loader[0]);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, outer, &ring.loader[i]), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    uint64_t took_ns = nl_now(&ring.loader[0]) - begin_ns;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(nl_close(&ring.loader[i], DLOAD_DRAIN, 0), DLOAD_OK);
        assert_int_equal(nl_destroy(&ring.loader[i]), DLOAD_OK);
    }
    return took_ns;
}

static void expect_circle(size_t n, bool many)
{
    for (int round = 0; round < 50; round++) {
        uint64_t took_ns = go(n, true, many);
        size_t n_told = 0;
        for (size_t i = 0; i < n; i++) {
            n_told += ring.said[i] == DLOAD_EDEADLK;
            assert_int_equal(ring.got[i], DLOAD_EDEADLK); /* passed on by every function */
        }
        assert_true(n_told >= 1);
        assert_true(took_ns < 4 * DLOAD_SECOND); /* long before any deadline */
    }
}

static void test_nest_two_threads(void **state)
{
    (void)state;
    expect_circle(2, false);
}

static void test_nest_three_threads(void **state)
{
    (void)state;
    expect_circle(3, false);
}

static void test_nest_many(void **state)
{
    (void)state;
    expect_circle(2, true);
    expect_circle(3, true);
}

/* The same without the last arrow: everybody waits for somebody, and everybody is served. */
static void test_nest_chain(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        go(3, false, round % 2 == 0);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(ring.got[i], DLOAD_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nest_two_threads),
        cmocka_unit_test(test_nest_three_threads),
        cmocka_unit_test(test_nest_many),
        cmocka_unit_test(test_nest_chain),
    };
    return cmocka_run_group_tests_name("nest " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
