/* Rules 18 and 19: a key is fetched once however many threads ask for it. Rule 30: answers from
 * another thread. */
/* locks: CUSTOM SPIN PTHREAD */
#include "test_loader.h"

/* A value whose copying can be made slow, to look into the moment between the end of a fetch and
 * the entry in the cache. */
static bool slow_copy(uint64_t *to, const uint64_t *from);
#define DLOAD_NAME                 slow
#define DLOAD_KEY                  uint64_t
#define DLOAD_VALUE                uint64_t
#define DLOAD_VALUE_COPY(to, from) slow_copy((to), (from))
#define DLOAD_VALUE_FREE(pv)       ((void)(pv))
#define DLOAD_LOCK                 TEST_LOCK
#include "dataloader.h"

#include <pthread.h>
#include <stdlib.h>

static struct shared {
    tl l;
    struct fake_env f;
    size_t n_calls;    /* of the fetch function; atomic */
    size_t n_keys;     /* atomic */
    size_t n_bad;      /* wrong answers; atomic */
    uint64_t n_wanted; /* the fetch function waits until so many loads are in */
    uint32_t *fetched; /* by key, how often; atomic */
} s;

static void bad(bool is_bad)
{
    if (is_bad) {
        __atomic_add_fetch(&s.n_bad, 1, __ATOMIC_RELAXED);
    }
}

static void answer(tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        bad(tl_batch_set(b, i, &value) != DLOAD_OK);
    }
}

static dload_status fetch_counted(tl_batch *b)
{
    __atomic_add_fetch(&s.n_calls, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&s.n_keys, b->n, __ATOMIC_RELAXED);
    for (size_t i = 0; s.fetched && i < b->n; i++) {
        __atomic_add_fetch(&s.fetched[b->keys[i]], 1, __ATOMIC_RELAXED);
    }
    /* Slow enough that all who want to ask have asked; not for ever, should one never come. */
    for (unsigned ms = 0; ms < 20000 && s.n_wanted; ms++) {
        dload_stats st;
        bad(tl_stats(&s.l, &st) != DLOAD_OK);
        if (st.loads >= s.n_wanted) {
            break;
        }
        sleep_ms(1);
    }
    answer(b);
    return DLOAD_OK;
}

static tl_config open_config(dload_status (*fetch)(tl_batch *b))
{
    memset(&s, 0, sizeof s);
    fake_env_init_real(&s.f);
    tl_config cfg = tl_config_default();
    cfg.fetch = fetch;
    cfg.env = &s.f.env;
    return cfg;
}

static void end(void)
{
    must_ok(tl_close(&s.l, DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&s.l));
    fake_env_check(&s.f);
    free(s.fetched);
    s.fetched = NULL;
    equal(s.n_bad, 0);
}

/* ---- rule 18 ---- */

static void load_thousand(void *ctx, size_t i)
{
    const bool *many = ctx;
    static const size_t n = 1000;
    if (*many) {
        uint64_t keys[100], out[100];
        for (size_t part = 0; part < n / 100; part++) {
            for (size_t k = 0; k < 100; k++) {
                keys[k] = part * 100 + (i ? 99 - k : k);
            }
            bad(tl_load_many(&s.l, keys, 100, out, NULL) != DLOAD_OK);
            for (size_t k = 0; k < 100; k++) {
                bad(out[k] != keys[k] * 10);
            }
        }
    } else {
        for (uint64_t key = 0; key < n; key++) {
            uint64_t out = 0;
            bad(tl_load(&s.l, key, &out) != DLOAD_OK || out != key * 10);
        }
    }
}

static void thousand_keys(bool many, size_t max_batch)
{
    for (size_t round = 0; round < scaled(20); round++) {
        tl_config cfg = open_config(fetch_counted);
        cfg.max_batch = max_batch;
        s.fetched = calloc(1000, sizeof *s.fetched);
        must_ok(tl_init(&s.l, &cfg));
        run_threads(2, load_thousand, &many);
        equal(s.n_keys, 1000);
        for (size_t key = 0; key < 1000; key++) {
            equal(s.fetched[key], 1);
        }
        end();
    }
}

static void test_single_flight_two_threads(void **state)
{
    (void)state;
    thousand_keys(false, 100);
    thousand_keys(true, 100);
    thousand_keys(true, 7);
    thousand_keys(false, 1); /* with batching off it holds as well */
    thousand_keys(true, 1);
}

/* ---- rule 19 ---- */

static void load_the_one(void *ctx, size_t i)
{
    (void)ctx;
    (void)i;
    uint64_t out = 0;
    bad(tl_load(&s.l, 7, &out) != DLOAD_OK || out != 70);
}

static void test_single_flight_thousand_threads(void **state)
{
    (void)state;
    for (int caching = 0; caching < 2; caching++) {
        tl_config cfg = open_config(fetch_counted);
        s.n_wanted = 1000;
        cfg.capacity = caching ? 100 : DLOAD_NO_CACHE;
        must_ok(tl_init(&s.l, &cfg));
        run_threads(1000, load_the_one, NULL);
        equal(s.n_calls, 1);
        equal(s.n_keys, 1);
        dload_stats st;
        must_ok(tl_stats(&s.l, &st));
        equal(st.loads, 1000);
        equal(st.misses, 1);
        end();
    }
}

/* An entry that ran out is fetched once, too. */
static void test_single_flight_expired(void **state)
{
    (void)state;
    tl_config cfg = open_config(fetch_counted);
    uint64_t out = 0;
    cfg.ttl_ns = 5 * DLOAD_MILLISECOND;
    must_ok(tl_init(&s.l, &cfg));
    must_ok(tl_load(&s.l, 7, &out));
    sleep_ms(20);
    s.n_wanted = 101;
    run_threads(100, load_the_one, NULL);
    equal(s.n_calls, 2);
    end();
}

/* ---- rule 19: who looked just before the answer was stored looks again ---- */

static slow slow_loader;
static int
    slow_stage; /* 1: the function is done, the next copy is the delivery; 2: it is going on */

static bool slow_copy(uint64_t *to, const uint64_t *from)
{
    *to = *from;
    if (__atomic_load_n(&slow_stage, __ATOMIC_ACQUIRE) == 1) {
        __atomic_store_n(&slow_stage, 2, __ATOMIC_RELEASE);
        sleep_ms(50); /* the other thread misses, and waits for the mutex that is held here */
    }
    return true;
}

static dload_status fetch_once(slow_batch *b)
{
    uint64_t value = b->keys[0] * 10;
    __atomic_add_fetch(&s.n_calls, 1, __ATOMIC_RELAXED);
    bad(slow_batch_set(b, 0, &value) != DLOAD_OK);
    __atomic_store_n(&slow_stage, 1, __ATOMIC_RELEASE);
    return DLOAD_OK;
}

static void load_slowly(void *ctx, size_t i)
{
    (void)ctx;
    uint64_t out = 0;
    while (i == 1 && __atomic_load_n(&slow_stage, __ATOMIC_ACQUIRE) != 2) {
        sleep_ms(1);
    }
    bad(slow_load(&slow_loader, 7, &out) != DLOAD_OK || out != 70);
}

static void test_single_flight_looks_again(void **state)
{
    (void)state;
    (void)open_config(fetch_counted);
    slow_config cfg = slow_config_default();
    cfg.fetch = fetch_once;
    cfg.env = &s.f.env;
    slow_stage = 0;
    must_ok(slow_init(&slow_loader, &cfg));
    run_threads(2, load_slowly, NULL);
    equal(s.n_calls, 1);
    equal(s.n_bad, 0);
    must_ok(slow_close(&slow_loader, DLOAD_DRAIN, 0));
    must_ok(slow_destroy(&slow_loader));
    fake_env_check(&s.f);
}

/* ---- rule 30: another thread finishes ---- */

struct worker {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    tl_batch *queue[64];
    size_t n;
    bool stop;
};

static struct worker worker;

static dload_status fetch_by_worker(tl_batch *b)
{
    pthread_mutex_lock(&worker.mutex);
    bad(worker.n >= COUNT(worker.queue));
    worker.queue[worker.n++] = b;
    pthread_cond_signal(&worker.more);
    pthread_mutex_unlock(&worker.mutex);
    return DLOAD_PENDING;
}

static void *work(void *arg)
{
    (void)arg;
    uint64_t state = 1;
    pthread_mutex_lock(&worker.mutex);
    for (;;) {
        while (!worker.n && !worker.stop) {
            pthread_cond_wait(&worker.more, &worker.mutex);
        }
        if (!worker.n) {
            break;
        }
        size_t at = (size_t)rng_below(&state, worker.n);
        tl_batch *b = worker.queue[at];
        worker.queue[at] = worker.queue[--worker.n];
        pthread_mutex_unlock(&worker.mutex);
        for (size_t i = b->n; i-- > 0;) {
            uint64_t value = b->keys[i] * 10;
            bad(tl_batch_set(b, i, &value) != DLOAD_OK);
        }
        bad(tl_batch_done(b, DLOAD_OK) != DLOAD_OK);
        pthread_mutex_lock(&worker.mutex);
    }
    pthread_mutex_unlock(&worker.mutex);
    return NULL;
}

static void load_random(void *ctx, size_t i)
{
    const size_t *n = ctx;
    uint64_t state = i;
    for (size_t k = 0; k < *n; k++) {
        uint64_t key = rng_below(&state, 5000), out = 0;
        bad(tl_load(&s.l, key, &out) != DLOAD_OK || out != key * 10);
    }
}

static void test_single_flight_worker(void **state)
{
    (void)state;
    pthread_t thread;
    tl_config cfg = open_config(fetch_by_worker);
    cfg.capacity = 500;
    cfg.max_batch = 10;
    memset(&worker, 0, sizeof worker);
    pthread_mutex_init(&worker.mutex, NULL);
    pthread_cond_init(&worker.more, NULL);
    must_ok(tl_init(&s.l, &cfg));
    assert_int_equal(pthread_create(&thread, NULL, work, NULL), 0);
    size_t n = scaled(3000);
    run_threads(6, load_random, &n);
    pthread_mutex_lock(&worker.mutex);
    worker.stop = true;
    pthread_cond_signal(&worker.more);
    pthread_mutex_unlock(&worker.mutex);
    pthread_join(thread, NULL);
    end();
    pthread_cond_destroy(&worker.more);
    pthread_mutex_destroy(&worker.mutex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"rule 18: 2 threads, the same 1,000 keys", test_single_flight_two_threads, NULL, NULL,
         NULL},
        {"rule 19: 1,000 threads, one key", test_single_flight_thousand_threads, NULL, NULL, NULL},
        {"rule 19: at expiry, too", test_single_flight_expired, NULL, NULL, NULL},
        {"rule 19: just before the answer is stored", test_single_flight_looks_again, NULL, NULL,
         NULL},
        {"rule 30: another thread finishes", test_single_flight_worker, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests_name("single flight " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
