/* The cache alone, for every kind of key: set, get, get_many, delete, clear, len, bytes; growth;
 * capacities; expiry by a clock that the caller sets. Owned values: test_values.c. */
/* locks: NONE */
/* also plain: DLOAD_NO_SIMD=1 */
#define DLOAD_NAME  kb
#define DLOAD_KEY   bool
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  kc
#define DLOAD_KEY   char
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  ki8
#define DLOAD_KEY   int8_t
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  ku16
#define DLOAD_KEY   uint16_t
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  ki32
#define DLOAD_KEY   int32_t
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  ki64
#define DLOAD_KEY   int64_t
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  ku64
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  ksz
#define DLOAD_KEY   size_t
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  kf
#define DLOAD_KEY   float
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  kd
#define DLOAD_KEY   double
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  ks
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE uint32_t
#include "dataloader.h"
#define DLOAD_NAME  kid
#define DLOAD_KEY   DLOAD_ID128
#define DLOAD_VALUE uint32_t
#include "dataloader.h"

/* No policy: a full cache refuses; and a clock that only _cache_advance moves. */
#define DLOAD_NAME  nospare
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint32_t
#define DLOAD_EVICT DLOAD_EVICT_NONE
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#include "dataloader.h"

#define DLOAD_NAME  nosp
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE uint32_t
#define DLOAD_EVICT DLOAD_EVICT_NONE
#include "dataloader.h"

/* A value larger than most, and one of one byte. */
struct big {
    uint64_t word[25];
};
#define DLOAD_NAME  wide
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct big
#define DLOAD_EVICT DLOAD_EVICT_LRU
#include "dataloader.h"
#define DLOAD_NAME  tiny
#define DLOAD_KEY   uint8_t
#define DLOAD_VALUE uint8_t
#define DLOAD_TTL   0
#include "dataloader.h"

#include "support.h"
#include <stdio.h>
#include <string.h>

static struct fake_env env;

static int setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_env_check(&env);
    return 0;
}

/* ---- one test for each kind of key: KEY(i) are N different keys ---- */

#define OPEN(name, c, cap)                      \
    do {                                        \
        name##_cache_config cfg_;               \
        memset(&cfg_, 0, sizeof cfg_);          \
        cfg_.env = &env.env;                    \
        cfg_.capacity = (cap);                  \
        must_ok(name##_cache_init((c), &cfg_)); \
    } while (0)

#define DEFINE_KIND(name, N, KEY)                                                            \
    static void test_cache_key_##name(void **state)                                          \
    {                                                                                        \
        (void)state;                                                                         \
        name##_cache c;                                                                      \
        name##_key keys[N];                                                                  \
        uint32_t out[N], got = 77;                                                           \
        dload_status st[N];                                                                  \
        size_t hits = 0;                                                                     \
        OPEN(name, &c, DLOAD_UNBOUNDED);                                                     \
        for (size_t i = 0; i < (N); i++) {                                                   \
            keys[i] = KEY(i);                                                                \
            must(name##_cache_get(&c, keys[i], &got), DLOAD_MISSING);                        \
        }                                                                                    \
        equal(got, 77);                                                                      \
        for (uint32_t round = 0; round < 3; round++) {                                       \
            for (uint32_t i = 0; i < (N); i++) {                                             \
                uint32_t v = i + 1000 * round;                                               \
                must_ok(name##_cache_set(&c, keys[i], &v, 0));                               \
            }                                                                                \
            equal(name##_cache_len(&c), N);                                                  \
            must_ok(name##_cache_get_many(&c, keys, N, out, st, &hits));                     \
            equal(hits, N);                                                                  \
            for (uint32_t i = 0; i < (N); i++) {                                             \
                must_ok(st[i]);                                                              \
                equal(out[i], i + 1000 * round);                                             \
                must_ok(name##_cache_get(&c, KEY(i), &got));                                 \
                equal(got, i + 1000 * round);                                                \
            }                                                                                \
        }                                                                                    \
        for (size_t i = 0; i < (N); i += 2) {                                                \
            must_ok(name##_cache_delete(&c, keys[i]));                                       \
            must_ok(name##_cache_delete(&c, keys[i]));                                       \
        }                                                                                    \
        equal(name##_cache_len(&c), (N) / 2);                                                \
        out[0] = 77;                                                                         \
        must_ok(name##_cache_get_many(&c, keys, N, out, st, NULL));                          \
        equal(out[0], 77);                                                                   \
        for (size_t i = 0; i < (N); i++) {                                                   \
            must(st[i], i % 2 ? DLOAD_OK : DLOAD_MISSING);                                   \
        }                                                                                    \
        must_ok(name##_cache_clear(&c));                                                     \
        equal(name##_cache_len(&c), 0);                                                      \
        must(name##_cache_get(&c, keys[1], &got), DLOAD_MISSING);                            \
        assert_true(name##_cache_bytes(&c) > 0 && name##_cache_bytes(&c) <= env.live_bytes); \
        must_ok(name##_cache_destroy(&c));                                                   \
    }

#define KEY_BOOL(i) ((i) != 0)
#define KEY_CHAR(i) ((char)((int)(i)-100))
#define KEY_I8(i)   ((int8_t)((int)(i)-100))
#define KEY_U16(i)  ((uint16_t)((i)*997))
#define KEY_I32(i)  ((int32_t)(INT32_MIN + (int32_t)(i)*9999))
#define KEY_I64(i)  ((int64_t)(i)*INT64_C(-987654321987654))
#define KEY_U64(i)  ((uint64_t)(i) << 56 | (i))
#define KEY_SIZE(i) (SIZE_MAX - (i))
#define KEY_F(i)    ((float)(i) / 3.0f - 5.0f)
#define KEY_D(i)    (-1e300 * (double)(i))
#define KEY_S(i)    dload_str_from(string_key(i))
#define KEY_ID(i)   id_key(i)

static const char *string_key(size_t i)
{
    static char text[256][300];
    memset(text[i], 'x', i);
    snprintf(text[i] + i, sizeof text[i] - i, "%zu", i);
    return text[i];
}

static dload_id128 id_key(size_t i)
{
    dload_id128 id = {{0}};
    id.bytes[i % 16] = (uint8_t)(i / 16 + 1);
    return id;
}

DEFINE_KIND(kb, 2, KEY_BOOL)
DEFINE_KIND(kc, 200, KEY_CHAR)
DEFINE_KIND(ki8, 200, KEY_I8)
DEFINE_KIND(ku16, 256, KEY_U16)
DEFINE_KIND(ki32, 256, KEY_I32)
DEFINE_KIND(ki64, 256, KEY_I64)
DEFINE_KIND(ku64, 256, KEY_U64)
DEFINE_KIND(ksz, 256, KEY_SIZE)
DEFINE_KIND(kf, 256, KEY_F)
DEFINE_KIND(kd, 256, KEY_D)
DEFINE_KIND(ks, 256, KEY_S)
DEFINE_KIND(kid, 256, KEY_ID)

/* ---- sizes ---- */

static void test_cache_grows(void **state)
{
    (void)state;
    ku64_cache c;
    size_t n = scaled(200000);
    uint32_t got = 0;
    OPEN(ku64, &c, DLOAD_UNBOUNDED);
    size_t small = ku64_cache_bytes(&c);
    for (uint64_t key = 0; key < n; key++) {
        uint32_t v = (uint32_t)key * 3;
        must_ok(ku64_cache_set(&c, key, &v, key % 2 ? DLOAD_NEVER : 3600 * DLOAD_SECOND));
        if (key % 1000 == 0) {
            must_ok(ku64_cache_get(&c, key / 2, &got));
            equal(got, (uint32_t)(key / 2) * 3);
        }
    }
    equal(ku64_cache_len(&c), n);
    for (uint64_t key = 0; key < n; key++) {
        must_ok(ku64_cache_get(&c, key, &got));
        equal(got, (uint32_t)key * 3);
    }
    must(ku64_cache_get(&c, n, &got), DLOAD_MISSING);
    assert_true(ku64_cache_bytes(&c) > small);
    /* What had a TTL has kept it. */
    env.now_ns += 3600 * DLOAD_SECOND;
    must_ok(ku64_cache_advance(&c, env.now_ns));
    equal(ku64_cache_len(&c), n / 2);
    must_ok(ku64_cache_destroy(&c));
}

static void test_cache_capacities(void **state)
{
    (void)state;
    static const size_t caps[] = {1, 2, 3, 9, 10, 13, 99, 100, 12345};
    for (size_t i = 0; i < COUNT(caps); i++) {
        wide_cache c;
        struct big v, got = {{0}};
        OPEN(wide, &c, caps[i]);
        size_t blocks = env.n_allocs;
        for (uint64_t key = 0; key < 3 * caps[i]; key++) {
            for (size_t k = 0; k < COUNT(v.word); k++) {
                v.word[k] = key + k;
            }
            must_ok(wide_cache_set(&c, key, &v, 0));
            assert_true(wide_cache_len(&c) <= caps[i]);
        }
        equal(env.n_allocs, blocks); /* bounded tables are allocated once */
        equal(wide_cache_len(&c), caps[i]);
        for (uint64_t key = 2 * caps[i]; key < 3 * caps[i]; key++) {
            must_ok(wide_cache_get(&c, key, &got));
            equal(got.word[24], key + 24);
        }
        must(wide_cache_get(&c, 2 * caps[i] - 1, &got), DLOAD_MISSING);
        must_ok(wide_cache_destroy(&c));
        fake_env_check(&env);
    }
}

static void test_cache_without_ttl(void **state)
{
    (void)state;
    tiny_cache c;
    uint8_t got = 0;
    OPEN(tiny, &c, 300);
    for (unsigned i = 0; i < 256; i++) {
        uint8_t v = (uint8_t)(255 - i);
        must_ok(tiny_cache_set(&c, (uint8_t)i, &v, 0));
    }
    env.now_ns += 1000000 * DLOAD_SECOND;
    for (unsigned i = 0; i < 256; i++) {
        must_ok(tiny_cache_get(&c, (uint8_t)i, &got));
        equal(got, 255 - i);
    }
    must_ok(tiny_cache_destroy(&c));
}

static void test_cache_defaults(void **state)
{
    (void)state;
    ku64_cache c;
    uint32_t v = 5, got = 0;
    must_ok(ku64_cache_init(&c, NULL));
    for (uint64_t key = 0; key < 10000; key++) {
        must_ok(ku64_cache_set(&c, key, &v, 0));
    }
    equal(ku64_cache_len(&c), 4096); /* what the documentation says */
    must_ok(ku64_cache_get(&c, 9999, &got));
    must_ok(ku64_cache_destroy(&c));
}

/* ---- no policy ---- */

static void test_cache_full(void **state)
{
    (void)state;
    nospare_cache c;
    uint32_t v = 1, got = 0;
    OPEN(nospare, &c, 10);
    for (uint64_t key = 0; key < 10; key++) {
        must_ok(nospare_cache_set(&c, key, &v, 0));
    }
    must(nospare_cache_set(&c, 10, &v, 0), DLOAD_EFULL);
    must(nospare_cache_get(&c, 10, &got), DLOAD_MISSING);
    v = 2;
    must_ok(nospare_cache_set(&c, 3, &v, 0)); /* what is there may be replaced */
    must_ok(nospare_cache_get(&c, 3, &got));
    equal(got, 2);
    must_ok(nospare_cache_delete(&c, 0));
    must_ok(nospare_cache_set(&c, 10, &v, DLOAD_SECOND));
    must(nospare_cache_set(&c, 11, &v, 0), DLOAD_EFULL);
    must_ok(nospare_cache_advance(&c, 2 * DLOAD_SECOND)); /* room again */
    must_ok(nospare_cache_set(&c, 11, &v, 0));
    must_ok(nospare_cache_clear(&c));
    for (uint64_t key = 100; key < 110; key++) {
        must_ok(nospare_cache_set(&c, key, &v, 0));
    }
    equal(nospare_cache_len(&c), 10);
    must(nospare_cache_set(&c, 110, &v, 0), DLOAD_EFULL);
    must_ok(nospare_cache_destroy(&c));
}

/* A key that was refused takes no memory with it, however often it comes. */
static void test_cache_refused_keys_leave_nothing(void **state)
{
    (void)state;
    nosp_cache c;
    uint32_t v = 1;
    OPEN(nosp, &c, 10);
    for (size_t i = 0; i < 10; i++) {
        must_ok(nosp_cache_set(&c, KEY_S(i), &v, 0));
    }
    must(nosp_cache_set(&c, KEY_S(200), &v, 0), DLOAD_EFULL);
    size_t bytes = nosp_cache_bytes(&c), live = env.live_bytes;
    for (size_t i = 0; i < 10000; i++) {
        must(nosp_cache_set(&c, KEY_S(100 + i % 100), &v, 0), DLOAD_EFULL);
    }
    assert_true(nosp_cache_bytes(&c) <= bytes + 16384 && env.live_bytes <= live + 16384);
    equal(nosp_cache_len(&c), 10);
    must_ok(nosp_cache_destroy(&c));
}

/* ---- clears ---- */

/* An epoch has 16 bits: entries must not come back when it has gone round. */
static void test_cache_many_clears(void **state)
{
    (void)state;
    ku64_cache c;
    uint32_t v = 1, got = 0;
    OPEN(ku64, &c, 50);
    must_ok(ku64_cache_set(&c, 7, &v, 0));
    for (uint32_t i = 0; i < 200000; i++) {
        must_ok(ku64_cache_clear(&c));
        must(ku64_cache_get(&c, 7, &got), DLOAD_MISSING);
        if (i % 65536 == 65000 || i % 1000 == 999) {
            must_ok(ku64_cache_set(&c, i % 997, &i, 0));
            must_ok(ku64_cache_get(&c, i % 997, &got));
            equal(got, i);
            equal(ku64_cache_len(&c), 1);
        }
    }
    must_ok(ku64_cache_destroy(&c));
}

/* The same without a set in between, which would tidy up: exactly as many clears as epochs. */
static void test_cache_epochs_wrap(void **state)
{
    (void)state;
    ku64_cache c;
    uint32_t v = 1, got = 0;
    OPEN(ku64, &c, 1000);
    for (uint64_t key = 0; key < 100; key++) {
        must_ok(ku64_cache_set(&c, key, &v, 0));
    }
    for (uint32_t i = 0; i < 140000; i++) {
        must_ok(ku64_cache_clear(&c));
        must(ku64_cache_get(&c, i % 100, &got), DLOAD_MISSING);
        equal(ku64_cache_len(&c), 0);
    }
    must_ok(ku64_cache_destroy(&c));
}

static void test_cache_clears_between_sets(void **state)
{
    (void)state;
    ks_cache c;
    uint64_t seed = test_seed("cache clears");
    uint32_t got = 0;
    static uint32_t model[200]; /* value + 1, or 0 */
    memset(model, 0, sizeof model);
    OPEN(ks, &c, 1000);
    for (uint32_t i = 0; i < scaled(100000); i++) {
        size_t key = (size_t)rng_below(&seed, 200);
        uint64_t op = rng_below(&seed, 20);
        if (op == 0) {
            must_ok(ks_cache_clear(&c));
            memset(model, 0, sizeof model);
        } else if (op < 10) {
            must_ok(ks_cache_set(&c, KEY_S(key), &i, 0));
            model[key] = i + 1;
        } else {
            must(ks_cache_get(&c, KEY_S(key), &got), model[key] ? DLOAD_OK : DLOAD_MISSING);
            equal(model[key] ? got + 1 : 0, model[key]);
        }
    }
    must_ok(ks_cache_destroy(&c));
}

/* ---- invalid ---- */

static void test_cache_refuses(void **state)
{
    (void)state;
    kd_cache d;
    ks_cache s;
    uint32_t v = 1, got = 77;
    static char text[70000];
    OPEN(kd, &d, 10);
    double bad = 0.0;
    bad /= bad;
    must(kd_cache_set(&d, bad, &v, 0), DLOAD_EKEY);
    must(kd_cache_get(&d, bad, &got), DLOAD_EKEY);
    must(kd_cache_delete(&d, bad), DLOAD_EKEY);
    equal(kd_cache_len(&d), 0);
    must_ok(kd_cache_destroy(&d));
    OPEN(ks, &s, 10);
    dload_str longest = {text, 65536}, longer = {text, 65537}, none = {NULL, 1};
    must_ok(ks_cache_set(&s, longest, &v, 0));
    must(ks_cache_set(&s, longer, &v, 0), DLOAD_ETOOBIG);
    must(ks_cache_set(&s, none, &v, 0), DLOAD_EKEY);
    must(ks_cache_get(&s, none, &got), DLOAD_EKEY);
    assert_true(ks_cache_get(&s, longer, &got) < 0);
    equal(got, 77);
    equal(ks_cache_len(&s), 1);
    must_ok(ks_cache_destroy(&s));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cache_key_kb),
        TEST(test_cache_key_kc),
        TEST(test_cache_key_ki8),
        TEST(test_cache_key_ku16),
        TEST(test_cache_key_ki32),
        TEST(test_cache_key_ki64),
        TEST(test_cache_key_ku64),
        TEST(test_cache_key_ksz),
        TEST(test_cache_key_kf),
        TEST(test_cache_key_kd),
        TEST(test_cache_key_ks),
        TEST(test_cache_key_kid),
        TEST(test_cache_grows),
        TEST(test_cache_capacities),
        TEST(test_cache_without_ttl),
        TEST(test_cache_defaults),
        TEST(test_cache_full),
        TEST(test_cache_many_clears),
        TEST(test_cache_epochs_wrap),
        TEST(test_cache_refused_keys_leave_nothing),
        TEST(test_cache_clears_between_sets),
        TEST(test_cache_refuses),
    };
    return cmocka_run_group_tests_name("cache " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
