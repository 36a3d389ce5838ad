/* Interrupt handlers read a compact table, whatever they interrupt: here signals stand for interrupts, which
 * another thread sends to the one that works on the table, as fast as they are taken. A handler never sees half
 * of a value, never waits, and nothing that it does is felt. */
/* locks: NONE */
/* also plain: TEST_SOLO=1 */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#define WORDS 48
typedef struct wide {
    uint32_t words[WORDS]; /* all alike but for the first, which is the key */
} wide;
#define DLOAD_NAME    isr
#define DLOAD_KEY     uint32_t
#define DLOAD_VALUE   wide
#define DLOAD_CLOCK   DLOAD_CLOCK_MANUAL
#define DLOAD_COMPACT 1
#ifdef TEST_SOLO /* a loader where nothing waits */
#define DLOAD_ASYNC 0
#endif
#include "dataloader.h"
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 40u

static isr_cache cache;
static isr loader;

/* What the handler does and saw; it is the only one that writes while it is on. */
static struct {
    uint64_t seed;
    bool peeks;
    uint64_t n_torn, n_other;
    uint64_t n_hits, n_misses, n_busy;
} handler;

static sig_atomic_t handled;

static bool is_whole(const wide *v, uint32_t key)
{
    bool whole = v->words[0] == key;
    for (size_t i = 2; i < WORDS; i++) {
        whole = whole && v->words[i] == v->words[1];
    }
    return whole;
}

static wide whole(uint32_t key, uint32_t word)
{
    wide v;
    for (size_t i = 0; i < WORDS; i++) {
        v.words[i] = word;
    }
    v.words[0] = key;
    return v;
}

static void on_signal(int number)
{
    (void)number;
    for (int i = 0; i < 4; i++) {
        uint32_t key = (uint32_t)rng_below(&handler.seed, KEYS);
        wide got;
        dload_status st;
        if (handler.peeks) {
            dload_state state = DLOAD_STATE_READY;
            st = isr_peek(&loader, key, &state, &got);
            handler.n_other += st == DLOAD_OK && state != DLOAD_STATE_READY;
            handler.n_other += st == DLOAD_EAGAIN && state != DLOAD_STATE_ABSENT;
        } else {
            st = isr_cache_get(&cache, key, &got);
        }
        handler.n_torn += st == DLOAD_OK && !is_whole(&got, key);
        handler.n_hits += st == DLOAD_OK;
        handler.n_misses += st == DLOAD_MISSING;
        handler.n_busy += st == DLOAD_EAGAIN;
        handler.n_other += st != DLOAD_OK && st != DLOAD_MISSING && st != DLOAD_EAGAIN;
    }
    __atomic_store_n(&handled, handled + 1, __ATOMIC_RELAXED);
}

/* While it runs nothing changes, and whoever looks is told. */
static dload_status fetch(isr_batch *b)
{
    dload_state s = DLOAD_STATE_ABSENT;
    must(isr_peek(&loader, b->keys[0], &s, NULL), DLOAD_MISSING);
    equal(s, DLOAD_STATE_IN_FLIGHT);
    for (size_t i = 0; i < b->n; i++) {
        wide v = whole(b->keys[i], b->keys[i] + 1);
        must_ok(isr_batch_set(b, i, &v));
    }
    return DLOAD_OK;
}

/* ---- the storm ---- */

static struct {
    pthread_t from, to;
    int stop;
} storm;

static void *send_signals(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&storm.stop, __ATOMIC_RELAXED)) {
        sig_atomic_t before = __atomic_load_n(&handled, __ATOMIC_RELAXED);
        (void)pthread_kill(storm.to, SIGUSR1);
        for (int i = 0; i < 2000 && __atomic_load_n(&handled, __ATOMIC_RELAXED) == before; i++) {
            dload_i_pause();
        }
    }
    return NULL;
}

static void storm_begin(uint64_t seed, bool peeks)
{
    struct sigaction act;
    memset(&handler, 0, sizeof handler);
    handler.seed = seed;
    handler.peeks = peeks;
    memset(&act, 0, sizeof act);
    act.sa_handler = on_signal;
    act.sa_flags = SA_RESTART;
    assert_int_equal(sigaction(SIGUSR1, &act, NULL), 0);
    storm.stop = 0;
    storm.to = pthread_self();
    assert_int_equal(pthread_create(&storm.from, NULL, send_signals, NULL), 0);
}

static void storm_end(void)
{
    __atomic_store_n(&storm.stop, 1, __ATOMIC_RELAXED);
    assert_int_equal(pthread_join(storm.from, NULL), 0);
    (void)signal(SIGUSR1, SIG_IGN);
    equal(handler.n_torn, 0);
    equal(handler.n_other, 0);
    printf("# %u interrupts' reads: %u hits, %u misses, %u busy\n",
           (unsigned)(handler.n_hits + handler.n_misses + handler.n_busy), (unsigned)handler.n_hits,
           (unsigned)handler.n_misses, (unsigned)handler.n_busy);
}

/* Did handlers come everywhere often enough? Asked between operations; gives up after 30 s. */
static bool seen_enough(uint64_t start_ns)
{
    if (handler.n_busy >= scaled(1000) && handler.n_hits >= scaled(1000) &&
        handler.n_misses >= scaled(100)) {
        return true;
    }
    if (real_ns() - start_ns > 30 * DLOAD_SECOND) {
        fail_msg("no handler came while something was written: %u busy, %u hits",
                 (unsigned)handler.n_busy, (unsigned)handler.n_hits);
    }
    return false;
}

/* ---- what is interrupted ---- */

/* The program's own view: what it wrote last, when it is there. */
static uint32_t written[KEYS];

static void own_look(uint32_t key)
{
    wide got;
    dload_status st = isr_cache_get(&cache, key, &got);
    if (st == DLOAD_OK) {
        assert_true(is_whole(&got, key));
        equal(got.words[1], written[key]);
    } else {
        must(st, DLOAD_MISSING); /* never busy: the program does not interrupt itself */
    }
}

static void cache_step(uint64_t *seed, uint64_t *now_ns)
{
    uint32_t key = (uint32_t)rng_below(seed, KEYS);
    uint64_t op = rng_below(seed, 100);
    if (op < 50) {
        wide v = whole(key, (uint32_t)rng(seed));
        written[key] = v.words[1];
        must_ok(isr_cache_set(&cache, key, &v, op < 25 ? 50 * DLOAD_MILLISECOND : DLOAD_NEVER));
    } else if (op < 70) {
        own_look(key);
    } else if (op < 90) {
        must_ok(isr_cache_delete(&cache, key));
    } else if (op < 94) {
        dload_status st = isr_cache_pin(&cache, key);
        assert_true(st == DLOAD_OK || st == DLOAD_MISSING);
        st = isr_cache_unpin(&cache, key);
        assert_true(st == DLOAD_OK || st == DLOAD_MISSING);
    } else if (op < 99) {
        *now_ns += 10 * DLOAD_MILLISECOND;
        must_ok(isr_cache_advance(&cache, *now_ns));
    } else {
        must_ok(isr_cache_clear(&cache));
    }
    assert_true(isr_cache_len(&cache) <= 16);
}

static void test_interrupted_cache(void **state)
{
    (void)state;
    uint64_t seed = test_seed("interrupted cache"), now_ns = 0;
    isr_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = 16;
    must_ok(isr_cache_init(&cache, &cfg));
    storm_begin(rng(&seed), false);
    uint64_t start_ns = real_ns();
    for (size_t i = 0; i % 64 != 0 || !seen_enough(start_ns); i++) {
        cache_step(&seed, &now_ns);
    }
    storm_end();
    must_ok(isr_cache_destroy(&cache));
}

static void loader_step(uint64_t *seed)
{
    uint32_t keys[12];
    wide out[12];
    for (size_t i = 0; i < COUNT(keys); i++) {
        keys[i] = (uint32_t)rng_below(seed, KEYS);
    }
    must_ok(isr_load_many(&loader, keys, COUNT(keys), out, NULL));
    for (size_t i = 0; i < COUNT(keys); i++) {
        assert_true(is_whole(&out[i], keys[i]));
    }
    must_ok(isr_clear(&loader, keys[0]));
    isr_waiter w;
    memset(&w, 0, sizeof w);
    if (isr_start(&loader, keys[1], &w) == DLOAD_PENDING) {
        must_ok(isr_dispatch(&loader, NULL));
        must_ok(w.status);
    }
    if (rng_below(seed, 50) == 0) {
        must_ok(isr_clear_all(&loader));
    }
}

static void test_interrupted_loader(void **state)
{
    (void)state;
    uint64_t seed = test_seed("interrupted loader");
    isr_config cfg = isr_config_default();
    cfg.fetch = fetch;
    cfg.capacity = 20;
    cfg.max_batch = 5;
    must_ok(isr_init(&loader, &cfg));
    storm_begin(rng(&seed), true);
    uint64_t start_ns = real_ns();
    for (size_t i = 0; i % 16 != 0 || !seen_enough(start_ns); i++) {
        loader_step(&seed);
    }
    storm_end();
    must_ok(isr_close(&loader, DLOAD_DRAIN, 0));
    must_ok(isr_destroy(&loader));
}

/* ---- a reader in the middle of a write, for certain ---- */

static void test_busy_while_written(void **state)
{
    (void)state;
    isr_cache_config cfg;
    wide v = whole(1, 2), got;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = 4;
    must_ok(isr_cache_init(&cache, &cfg));
    must_ok(isr_cache_set(&cache, 1, &v, 0));
    dload_i_busy_begin(&cache.one.lock); /* as every writer does first */
    must(isr_cache_get(&cache, 1, &got), DLOAD_EAGAIN);
    must(isr_cache_get(&cache, 2, &got), DLOAD_EAGAIN);
    dload_i_busy_end(&cache.one.lock);
    must_ok(isr_cache_get(&cache, 1, &got));
    must_ok(isr_cache_destroy(&cache));
}

/* What is cached can be said while requests are just changing; what is not, cannot. */
static void test_busy_while_asked(void **state)
{
    (void)state;
    isr_config cfg = isr_config_default();
    wide v = whole(1, 2), got;
    dload_state s;
    cfg.fetch = fetch;
    cfg.capacity = 4;
    must_ok(isr_init(&loader, &cfg));
    must_ok(isr_prime(&loader, 1, &v, 0));
    dload_i_busy_begin(&loader.mutex);
    must_ok(isr_peek(&loader, 1, &s, &got));
    equal(s, DLOAD_STATE_READY);
    must(isr_peek(&loader, 2, &s, &got), DLOAD_EAGAIN);
    equal(s, DLOAD_STATE_ABSENT);
    dload_i_busy_end(&loader.mutex);
    must(isr_peek(&loader, 2, &s, &got), DLOAD_MISSING);
    must_ok(isr_close(&loader, DLOAD_DRAIN, 0));
    must_ok(isr_destroy(&loader));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_busy_while_written),
        cmocka_unit_test(test_busy_while_asked),
        cmocka_unit_test(test_interrupted_cache),
        cmocka_unit_test(test_interrupted_loader),
    };
    return cmocka_run_group_tests_name("compact interrupt", tests, NULL, NULL);
}
