/* Snapshots of caches with every kind of key and every policy: the most used survive in a smaller cache, and
 * come back as what they were. */
/* locks: NONE */
#define DLOAD_NAME     ids
#define DLOAD_KEY      DLOAD_ID128
#define DLOAD_VALUE    uint8_t
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"
#define DLOAD_NAME     bools
#define DLOAD_KEY      bool
#define DLOAD_VALUE    uint8_t
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"
#define DLOAD_NAME     doubles
#define DLOAD_KEY      double
#define DLOAD_VALUE    uint8_t
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#define DLOAD_NAME     fifo
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_EVICT    DLOAD_EVICT_FIFO
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"
#define DLOAD_NAME     clck
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_EVICT    DLOAD_EVICT_CLOCK
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"
#define DLOAD_NAME     lru
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_EVICT    DLOAD_EVICT_LRU
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"
#define DLOAD_NAME     sieve
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_EVICT    DLOAD_EVICT_SIEVE
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"
#define DLOAD_NAME     s3fifo
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_EVICT    DLOAD_EVICT_S3FIFO
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#define DLOAD_NAME     adaptive
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_EVICT    DLOAD_EVICT_ADAPTIVE
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#include "test_snapshot.h"

/* ---- keys ---- */

#define KIND(name, N, KEY)                                \
    static void test_key_##name(void **state)             \
    {                                                     \
        (void)state;                                      \
        name##_cache c, d;                                \
        uint8_t v = 0;                                    \
        OPEN(name, &c, 1000, 0);                          \
        OPEN(name, &d, 1000, 0);                          \
        for (int i = 0; i < (N); i++) {                   \
            v = (uint8_t)(i * 3);                         \
            must_ok(name##_cache_set(&c, KEY(i), &v, 0)); \
        }                                                 \
        SAVE(name, &c, &tape, N);                         \
        RESTORE(name, &d, &tape, N);                      \
        for (int i = 0; i < (N); i++) {                   \
            must_ok(name##_cache_get(&d, KEY(i), &v));    \
            equal(v, (uint8_t)(i * 3));                   \
        }                                                 \
        must_ok(name##_cache_destroy(&c));                \
        must_ok(name##_cache_destroy(&d));                \
    }
#define KEY_BOOL(i)   ((i) != 0)
#define KEY_DOUBLE(i) ((double)(i) / 7 - 5)
static dload_id128 id_of(int i)
{
    dload_id128 id = {{0}};
    id.bytes[i % 16] = (uint8_t)(i / 16 + 1);
    return id;
}
KIND(bools, 2, KEY_BOOL)
KIND(doubles, 500, KEY_DOUBLE)
KIND(ids, 500, id_of)

/* ---- capacity and worth ---- */

/* Twenty times the keys of a cache of 1000, a tenth of them asked for all the time. The tenth survives in a
 * cache half as large; then new keys come, and it is still there: it came back as what it was. */
#define POLICY(name, survives)                                                          \
    static void test_worth_##name(void **state)                                         \
    {                                                                                   \
        (void)state;                                                                    \
        name##_cache c, d;                                                              \
        uint64_t v = 0;                                                                 \
        OPEN(name, &c, 1000, 1);                                                        \
        OPEN(name, &d, 500, 1);                                                         \
        for (uint64_t i = 0; i < 20000; i++) {                                          \
            v = i;                                                                      \
            must_ok(name##_cache_set(&c, i + 1000000, &v, 0));                          \
            for (int k = 0; k < 3; k++) {                                               \
                uint64_t hot = (i * 3 + (uint64_t)k) % 100;                             \
                v = hot;                                                                \
                if (name##_cache_get(&c, hot, &v) < 0) {                                \
                    must_ok(name##_cache_set(&c, hot, &v, 0));                          \
                }                                                                       \
            }                                                                           \
        }                                                                               \
        size_t before = 0, after = 0, later = 0;                                        \
        for (uint64_t i = 0; i < 100; i++) {                                            \
            before += name##_cache_get(&c, i, &v) >= 0;                                 \
        }                                                                               \
        assert_true(before >= 90);                                                      \
        SAVE(name, &c, &tape, 1000);                                                    \
        RESTORE(name, &d, &tape, 500);                                                  \
        equal(name##_cache_len(&d), 500);                                               \
        /* 300 newcomers take the places of others: under LRU and FIFO of the oldest */ \
        for (uint64_t i = 0; i < 300; i++) {                                            \
            v = i;                                                                      \
            must_ok(name##_cache_set(&d, 5000000 + i, &v, 0));                          \
        }                                                                               \
        for (uint64_t i = 0; i < 100; i++) {                                            \
            later += name##_cache_get(&d, i, &v) >= 0;                                  \
        }                                                                               \
        RESTORE(name, &d, &tape, 0); /* full: nobody goes for what comes back */        \
        must_ok(name##_cache_destroy(&d));                                              \
        OPEN(name, &d, 500, 1);                                                         \
        RESTORE(name, &d, &tape, 500);                                                  \
        for (uint64_t i = 0; i < 100; i++) {                                            \
            after += name##_cache_get(&d, i, &v) >= 0;                                  \
            if (after && v != i) {                                                      \
                equal(v, i);                                                            \
            }                                                                           \
        }                                                                               \
        if (survives) {                                                                 \
            equal(after, before);                                                       \
            equal(later, before);                                                       \
        }                                                                               \
        must_ok(name##_cache_destroy(&c));                                              \
        must_ok(name##_cache_destroy(&d));                                              \
    }
POLICY(clck, true)
POLICY(lru, true)
POLICY(sieve, true)
POLICY(s3fifo, true)
POLICY(adaptive, true)

/* FIFO and LRU know an order and nothing else: the newest survive, to a 32nd of the queue, and leave last. */
#define ORDER(name)                                                 \
    static void test_order_##name(void **state)                     \
    {                                                               \
        (void)state;                                                \
        name##_cache c, d;                                          \
        uint64_t v = 0;                                             \
        OPEN(name, &c, 1024, 1);                                    \
        OPEN(name, &d, 512, 1);                                     \
        for (uint64_t i = 0; i < 3000; i++) {                       \
            must_ok(name##_cache_set(&c, i, &i, 0));                \
        }                                                           \
        SAVE(name, &c, &tape, 1024);                                \
        RESTORE(name, &d, &tape, 512);                              \
        for (uint64_t i = 0; i < 3000; i++) {                       \
            bool there = name##_cache_get(&d, i, &v) >= 0;          \
            assert_true(i >= 2488 ? there : !there);                \
        }                                                           \
        for (uint64_t i = 0; i < 512; i += 32) {                    \
            for (uint64_t k = i; k < i + 32; k++) {                 \
                must_ok(name##_cache_set(&d, 10000 + k, &k, 0));    \
            }                                                       \
            dload_status gone = name##_cache_get(&d, 2488 + i, &v); \
            must(gone, DLOAD_MISSING);                              \
            if (i + 32 < 512 && DLOAD_EVICT_OF_##name == 0) {       \
                must_ok(name##_cache_get(&d, 2488 + i + 32, &v));   \
            }                                                       \
        }                                                           \
        must_ok(name##_cache_destroy(&c));                          \
        must_ok(name##_cache_destroy(&d));                          \
    }
#define DLOAD_EVICT_OF_fifo 0 /* looking changes nothing */
#define DLOAD_EVICT_OF_lru  1
ORDER(fifo)

static void test_order_lru(void **state)
{
    (void)state;
    lru_cache c, d;
    uint64_t v = 0;
    OPEN(lru, &c, 1024, 1);
    OPEN(lru, &d, 1024, 1);
    for (uint64_t i = 0; i < 1024; i++) {
        must_ok(lru_cache_set(&c, i, &i, 0));
    }
    for (uint64_t i = 1024; i-- > 0;) { /* now 0 is the newest */
        must_ok(lru_cache_get(&c, i, &v));
    }
    SAVE(lru, &c, &tape, 1024);
    RESTORE(lru, &d, &tape, 1024);
    for (uint64_t i = 0; i < 512; i++) {
        must_ok(lru_cache_set(&d, 10000 + i, &i, 0));
    }
    for (uint64_t i = 0; i < 1024; i++) {
        assert_true((lru_cache_get(&d, i, &v) >= 0) == (i < 512));
    }
    must_ok(lru_cache_destroy(&c));
    must_ok(lru_cache_destroy(&d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SNAPSHOT_TEST(test_key_bools),    SNAPSHOT_TEST(test_key_doubles),
        SNAPSHOT_TEST(test_key_ids),      SNAPSHOT_TEST(test_worth_clck),
        SNAPSHOT_TEST(test_worth_lru),    SNAPSHOT_TEST(test_worth_sieve),
        SNAPSHOT_TEST(test_worth_s3fifo), SNAPSHOT_TEST(test_worth_adaptive),
        SNAPSHOT_TEST(test_order_fifo),   SNAPSHOT_TEST(test_order_lru),
    };
    return cmocka_run_group_tests_name("snapshot_worth", tests, NULL, NULL);
}
