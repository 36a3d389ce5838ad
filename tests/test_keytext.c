/* A loader's key as text in a store: one text a key, one key a text, for every kind of key, with a group and
 * without; texts that no loader writes are no keys. Random; SEED= repeats. */
#define DLOAD_NAME  ku
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#define DLOAD_STORE 1
#include "dataloader.h"

#define DLOAD_NAME  ki
#define DLOAD_KEY   int64_t
#define DLOAD_VALUE int
#define DLOAD_STORE 1
#define DLOAD_GROUP 1
#include "dataloader.h"

#define DLOAD_NAME  kb
#define DLOAD_KEY   int8_t
#define DLOAD_VALUE int
#define DLOAD_STORE 1
#include "dataloader.h"

#define DLOAD_NAME  ko
#define DLOAD_KEY   bool
#define DLOAD_VALUE int
#define DLOAD_STORE 1
#include "dataloader.h"

#define DLOAD_NAME  kf
#define DLOAD_KEY   float
#define DLOAD_VALUE int
#define DLOAD_STORE 1
#include "dataloader.h"

#define DLOAD_NAME  kd
#define DLOAD_KEY   double
#define DLOAD_VALUE int
#define DLOAD_STORE 1
#include "dataloader.h"

#define DLOAD_NAME  ks
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE int
#define DLOAD_STORE 1
#define DLOAD_GROUP 1
#include "dataloader.h"

#define DLOAD_NAME  kx
#define DLOAD_KEY   DLOAD_ID128
#define DLOAD_VALUE int
#define DLOAD_STORE 1
#include "dataloader.h"

#include "support.h"
#include <string.h>

#define LONGEST 4096u /* bytes of a string key here */

/* Writes a key's whole text; returns its length. */
#define TEXT(kind, buf, group, key) \
    join((buf), kind##_i_key_text((buf), (group), (key), &tail_), &tail_)
static dload_str tail_;

static size_t join(char *buf, size_t n, const dload_str *tail)
{
    assert_true(n <= DLOAD_I_KEYTEXT_MAX);
    if (tail->len) {
        memcpy(buf + n, tail->ptr, tail->len);
    }
    return n + tail->len;
}

/* The text of key is this one, and the other way round. */
#define SAME(kind, group_, key_, want)                               \
    do {                                                             \
        char buf_[256];                                              \
        const kind##_key k_ = (key_);                                \
        kind##_key again_;                                           \
        uint64_t g_ = 99;                                            \
        size_t n_ = TEXT(kind, buf_, (group_), &k_);                 \
        equal(n_, sizeof(want) - 1);                                 \
        assert_memory_equal(buf_, want, n_);                         \
        must_ok(kind##_i_text_parse(buf_, n_, 65536, &g_, &again_)); \
        equal(g_, (group_));                                         \
        assert_true(kind##_i_same(&k_, &again_));                    \
    } while (0)

#define NO_KEY(kind, text)                                                                \
    do {                                                                                  \
        kind##_key k_;                                                                    \
        uint64_t g_;                                                                      \
        must(kind##_i_text_parse((text), sizeof(text) - 1, 65536, &g_, &k_), DLOAD_EKEY); \
    } while (0)

static void texts(void **state)
{
    (void)state;
    SAME(ku, 0, UINT64_C(0), "0");
    SAME(ku, 0, UINT64_MAX, "18446744073709551615");
    SAME(ki, 0, INT64_MIN, "0:-9223372036854775808");
    SAME(ki, 7, INT64_MAX, "7:9223372036854775807");
    SAME(ki, UINT64_MAX, (int64_t)-1, "18446744073709551615:-1");
    SAME(kb, 0, (int8_t)-128, "-128");
    SAME(kb, 0, (int8_t)127, "127");
    SAME(ko, 0, true, "1");
    SAME(ko, 0, false, "0");
    SAME(kf, 0, 1.0f, "3f800000");
    SAME(kd, 0, -2.5, "c004000000000000");
    SAME(ks, 3, ((dload_str){"a:b\0c", 5}), "3:a:b\0c");
    SAME(ks, 0, ((dload_str){NULL, 0}), "0:");
    SAME(kx, 0, ((dload_id128){{0, 1, 2, 0xff, 0x10}}), "000102ff100000000000000000000000");
}

static void what_is_no_key(void **state)
{
    (void)state;
    NO_KEY(ku, "");
    NO_KEY(ku, "-1");
    NO_KEY(ku, "+1");
    NO_KEY(ku, " 1");
    NO_KEY(ku, "01");
    NO_KEY(ku, "1a");
    NO_KEY(ku, "18446744073709551616");
    NO_KEY(ku, "100000000000000000000");
    NO_KEY(ki, "1");
    NO_KEY(ki, ":1");
    NO_KEY(ki, "01:1");
    NO_KEY(ki, "1:-0");
    NO_KEY(ki, "1:--1");
    NO_KEY(ki, "1:9223372036854775808");
    NO_KEY(ki, "1:-9223372036854775809");
    NO_KEY(kb, "128");
    NO_KEY(kb, "-129");
    NO_KEY(kb, "256");
    NO_KEY(ko, "2");
    NO_KEY(ko, "01");
    NO_KEY(ko, "");
    NO_KEY(kf, "80000000"); /* -0.0 */
    NO_KEY(kf, "7fc00000"); /* NaN */
    NO_KEY(kf, "3F800000");
    NO_KEY(kf, "3f8");
    NO_KEY(kd, "8000000000000000");
    NO_KEY(kd, "7ff8000000000000");
    NO_KEY(kx, "000102ff10000000000000000000000g");
    NO_KEY(kx, "000102ff1000000000000000000000");
    NO_KEY(ks, "x");
    ks_key k;
    uint64_t g;
    must(ks_i_text_parse("1:abcd", 6, 3, &g, &k), DLOAD_EKEY); /* longer than allowed */
}

/* Two random keys with their groups: as bytes, texts are equal exactly when the keys are. */
#define PAIR(kind, group_a, key_a, group_b, key_b)                                  \
    do {                                                                            \
        static char one_[LONGEST + 64], two_[LONGEST + 64];                         \
        kind##_key a_ = (key_a), b_ = (key_b), again_;                              \
        uint64_t g_ = 0;                                                            \
        if (kind##_i_canon(&a_, LONGEST) < 0 || kind##_i_canon(&b_, LONGEST) < 0) { \
            break;                                                                  \
        }                                                                           \
        size_t n_ = TEXT(kind, one_, (group_a), &a_);                               \
        size_t m_ = TEXT(kind, two_, (group_b), &b_);                               \
        bool same_ = (group_a) == (group_b) && kind##_i_same(&a_, &b_);             \
        assert_true(same_ == (n_ == m_ && memcmp(one_, two_, n_) == 0));            \
        must_ok(kind##_i_text_parse(one_, n_, LONGEST, &g_, &again_));              \
        assert_true(kind##_i_same(&a_, &again_) && g_ == (group_a));                \
    } while (0)

/* Of few values, so that equal ones happen, and of all. */
static uint64_t number(uint64_t *seed)
{
    uint64_t v = rng(seed);
    switch (rng_below(seed, 4)) {
    case 0:
        return v;
    case 1:
        return v % 16;
    case 2:
        return UINT64_MAX - v % 16;
    default:
        return v >> (v & 63);
    }
}

static dload_str bytes(uint64_t *seed, char *buf)
{
    static const char letters[] = {'0', '1', ':', '-', '\0', '\r', '\n', '%', '{', '}', '\'', 'a'};
    size_t n = rng_below(seed, 64) == 0 ? rng_below(seed, LONGEST + 1) : rng_below(seed, 5);
    for (size_t i = 0; i < n; i++) {
        buf[i] = letters[rng_below(seed, sizeof letters)];
    }
    return (dload_str){buf, n};
}

static void one_text_a_key(void **state)
{
    (void)state;
    static char one[LONGEST], two[LONGEST];
    uint64_t seed = test_seed("test_keytext");
    for (size_t i = 0; i < scaled(60000); i++) {
        uint64_t a = number(&seed), b = rng_below(&seed, 4) ? number(&seed) : a;
        uint64_t g = rng_below(&seed, 3), h = rng_below(&seed, 3);
        uint32_t a32 = (uint32_t)a, b32 = (uint32_t)b;
        float fa, fb;
        double da, db;
        memcpy(&fa, &a32, sizeof fa);
        memcpy(&fb, &b32, sizeof fb);
        memcpy(&da, &a, sizeof da);
        memcpy(&db, &b, sizeof db);
        PAIR(ku, 0, a, 0, b);
        PAIR(ki, g, (int64_t)a, h, (int64_t)b);
        PAIR(kb, 0, (int8_t)a, 0, (int8_t)b);
        PAIR(ko, 0, a & 1, 0, b & 1);
        PAIR(kf, 0, fa, 0, fb);
        PAIR(kd, 0, da, 0, db);
        PAIR(ks, g, bytes(&seed, one), h, bytes(&seed, two));
        dload_id128 xa = {{0}}, xb = {{0}};
        memcpy(xa.bytes + 4, &a, sizeof a);
        memcpy(xb.bytes + 4, &b, sizeof b);
        PAIR(kx, 0, xa, 0, xb);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(what_is_no_key),
        cmocka_unit_test(one_text_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
