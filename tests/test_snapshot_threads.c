/* Threads save while others write, read, clear and restore: every snapshot is whole, and has each key that was
 * there all the time, with a value that it had. */
/* locks: SPIN PTHREAD */
/* tsan */
#define DLOAD_NAME     ints
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_EVICT    DLOAD_EVICT_S3FIFO
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"
#define DLOAD_NAME     lru
#define DLOAD_KEY      DLOAD_STRING
#define DLOAD_VALUE    DLOAD_BLOB
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_EVICT    DLOAD_EVICT_LRU
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#include "test_snapshot.h"

#include <stdio.h>

enum { STEADY = 300, CHURN = 400, WRITERS = 3, SAVERS = 2 };

static ints_cache ints_shared;
static lru_cache lru_shared;
static uint32_t n_saving;

/* Value of key k in round r; from it both can be told. */
static uint64_t value_of(uint64_t k, uint64_t r)
{
    return r * 100000 + k;
}

static void write_ints(uint64_t *seed, uint64_t r)
{
    uint64_t k = rng_below(seed, STEADY), v = value_of(k, r), got = 0;
    must_ok(ints_cache_set(&ints_shared, k, &v, 0)); /* another value for one that stays */
    k = STEADY + rng_below(seed, CHURN);
    v = value_of(k, r);
    if (rng_below(seed, 3)) {
        must_ok(ints_cache_set(&ints_shared, k, &v, rng_below(seed, 2) ? DLOAD_MILLISECOND : 0));
    } else {
        must_ok(ints_cache_delete(&ints_shared, k));
    }
    (void)ints_cache_get(&ints_shared, rng_below(seed, STEADY + CHURN), &got);
}

static void save_ints(void)
{
    struct tape mine;
    ints_cache c;
    size_t n = 0;
    memset(&mine, 0, sizeof mine);
    TAPE_HOW(ints, how, &mine);
    must_ok(ints_cache_save(&ints_shared, &how, &n));
    OPEN(ints, &c, 4096, 4);
    size_t came = 0;
    must_ok(ints_cache_restore(&c, &how, &came));
    assert_true(n >= STEADY && came <= n);
    for (uint64_t k = 0; k < STEADY + CHURN; k++) {
        uint64_t v = 0;
        dload_status st = ints_cache_get(&c, k, &v);
        assert_true(st == DLOAD_OK || (st == DLOAD_MISSING && k >= STEADY));
        assert_true(st != DLOAD_OK || v % 100000 == k);
    }
    must_ok(ints_cache_destroy(&c));
    tape_clear(&mine);
}

static void write_lru(uint64_t *seed, uint64_t r)
{
    char key[32], bytes[64];
    uint64_t k = rng_below(seed, 3000);
    dload_blob b;
    (void)r;
    snprintf(key, sizeof key, "key %u", (unsigned)k);
    memset(bytes, (int)(k % 100), sizeof bytes);
    must_ok(dload_blob_make(&env.env, bytes, 1 + (size_t)(k % 64), &b));
    must_ok(lru_cache_set(&lru_shared, dload_str_from(key), &b, 0));
    dload_blob_release(&b);
    if (lru_cache_get(&lru_shared, dload_str_from(key), &b) >= 0) {
        dload_blob_release(&b);
    }
    if (rng_below(seed, 5000) == 0) {
        must_ok(lru_cache_clear(&lru_shared));
    }
}

static void save_lru(void)
{
    struct tape mine;
    lru_cache c;
    size_t n = 0, came = 0, found = 0;
    memset(&mine, 0, sizeof mine);
    TAPE_HOW(lru, how, &mine);
    must_ok(lru_cache_save(&lru_shared, &how, &n));
    OPEN(lru, &c, 4096, 1);
    must_ok(lru_cache_restore(&c, &how, &came));
    for (unsigned k = 0; k < 3000; k++) {
        char key[32];
        dload_blob b;
        snprintf(key, sizeof key, "key %u", k);
        if (lru_cache_get(&c, dload_str_from(key), &b) >= 0) {
            equal(b.len, 1 + k % 64);
            for (size_t i = 0; i < b.len; i++) {
                assert_true(b.ptr[i] == k % 100);
            }
            dload_blob_release(&b);
            found++;
        }
    }
    equal(found, came);
    must_ok(lru_cache_destroy(&c));
    mine.at = 0; /* what is there stays; nobody minds */
    must_ok(lru_cache_restore(&lru_shared, &how, &came));
    tape_clear(&mine);
}

struct job {
    uint64_t seed;
    void (*write)(uint64_t *seed, uint64_t r);
    void (*save)(void);
    size_t n_saves;
};

static void body(void *ctx, size_t i)
{
    const struct job *job = ctx;
    uint64_t seed = job->seed + i * 7919;
    if (i < SAVERS) {
        for (size_t k = 0; k < job->n_saves; k++) {
            job->save();
        }
        (void)__atomic_sub_fetch(&n_saving, 1, __ATOMIC_RELEASE);
        return;
    }
    for (uint64_t r = 1; __atomic_load_n(&n_saving, __ATOMIC_ACQUIRE) != 0; r++) {
        job->write(&seed, r);
    }
}

static void test_integers(void **state)
{
    (void)state;
    struct job job = {test_seed("snapshots of integers"), write_ints, save_ints, scaled(60)};
    fake_env_init_real(&env);
    OPEN(ints, &ints_shared, 4096, 4); /* room for all: nobody is evicted */
    for (uint64_t k = 0; k < STEADY; k++) {
        uint64_t v = value_of(k, 0);
        must_ok(ints_cache_set(&ints_shared, k, &v, 0));
    }
    n_saving = SAVERS;
    run_threads(SAVERS + WRITERS, body, &job);
    must_ok(ints_cache_destroy(&ints_shared));
    fake_env_check(&env);
}

static void test_strings(void **state)
{
    (void)state;
    struct job job = {test_seed("snapshots of strings"), write_lru, save_lru, scaled(40)};
    fake_env_init_real(&env);
    OPEN(lru, &lru_shared, 1000, 4); /* evicts all the time */
    n_saving = SAVERS;
    run_threads(SAVERS + WRITERS, body, &job);
    must_ok(lru_cache_destroy(&lru_shared));
    fake_env_check(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_strings),
    };
    return cmocka_run_group_tests_name("snapshot_threads", tests, NULL, NULL);
}
