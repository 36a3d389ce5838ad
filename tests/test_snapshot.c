/* Snapshots: what goes out comes back, whatever the keys and the values are. What has become of it meanwhile:
 * test_snapshot_time.c; what is refused: test_snapshot_refused.c; what an entry is worth:
 * test_snapshot_worth.c; files: test_snapshot_crash.c. */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_NAME     ints
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_CLOCK    DLOAD_CLOCK_MANUAL
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

/* The same key and value, other choices: its snapshots are the same. */
#define DLOAD_NAME     other
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_EVICT    DLOAD_EVICT_NONE
#define DLOAD_STATS    0
#define DLOAD_TTL      0
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

struct padded {
    char a;
    double b;
    short c;
};
#define DLOAD_NAME     strs
#define DLOAD_KEY      DLOAD_STRING
#define DLOAD_VALUE    struct padded
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#define DLOAD_NAME     blobs
#define DLOAD_KEY      uint32_t
#define DLOAD_VALUE    DLOAD_BLOB
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_GROUP    1
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#include "test_snapshot.h"

/* A value that owns memory: a text. */
#define TEXT_COPY(to, from) text_copy((to), (from))
#define TEXT_FREE(v)        free(*(v))
static bool text_copy(char **to, char *const *from)
{
    size_t n = strlen(*from) + 1;
    *to = malloc(n);
    return *to != NULL && memcpy(*to, *from, n) != NULL;
}
#define DLOAD_NAME       texts
#define DLOAD_KEY        int
#define DLOAD_VALUE      char *
#define DLOAD_LOCK       TEST_LOCK
#define DLOAD_VALUE_COPY TEXT_COPY
#define DLOAD_VALUE_FREE TEXT_FREE
#define DLOAD_SNAPSHOT   1
#include "dataloader.h"

/* ---- what goes out comes back ---- */

static void test_integers(void **state)
{
    (void)state;
    ints_cache c, d;
    other_cache e;
    const size_t n = 5000;
    OPEN(ints, &c, 8192, 16);
    OPEN(ints, &d, 10000, 2);
    OPEN(other, &e, 8192, 0);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = i * i;
        must_ok(ints_cache_set(&c, i << 40, &v, 0));
    }
    SAVE(ints, &c, &tape, n);
    equal(ints_cache_len(&c), n);
    tape.step = 7;
    RESTORE(ints, &d, &tape, n);
    tape.step = 0;
    RESTORE(other, &e, &tape, n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = 77;
        must_ok(ints_cache_get(&d, i << 40, &v));
        equal(v, i * i);
        must_ok(other_cache_get(&e, i << 40, &v));
        equal(v, i * i);
    }
    RESTORE(ints, &d, &tape, 0); /* all there */
    must_ok(ints_cache_destroy(&c));
    must_ok(ints_cache_destroy(&d));
    must_ok(other_cache_destroy(&e));
}

static void test_strings(void **state)
{
    (void)state;
    static char keys[40][40000];
    strs_cache c, d;
    OPEN(strs, &c, 100, 0);
    OPEN(strs, &d, 100, 0);
    for (size_t i = 0; i < 40; i++) { /* lengths 0, 1, 5, ... 37050: short, longer than a block */
        size_t len = i + i * i * i * 5 / 8;
        memset(keys[i], (int)i, len); /* zero bytes, too */
        struct padded v = {(char)i, (double)i / 3, (short)-i};
        must_ok(strs_cache_set(&c, (dload_str){keys[i], len}, &v, 0));
    }
    SAVE(strs, &c, &tape, 40);
    RESTORE(strs, &d, &tape, 40);
    for (size_t i = 0; i < 40; i++) {
        struct padded v = {0, 0, 0};
        must_ok(strs_cache_get(&d, (dload_str){keys[i], i + i * i * i * 5 / 8}, &v));
        assert_true(v.a == (char)i && v.b == (double)i / 3 && v.c == (short)-i);
    }
    must_ok(strs_cache_destroy(&d));
    strs_cache_config cfg = {.env = &env.env, .max_key_bytes = 1000};
    must_ok(strs_cache_init(&d, &cfg)); /* what is too long there is left out: from 12 on */
    RESTORE(strs, &d, &tape, 12);
    must_ok(strs_cache_destroy(&d));
    must_ok(strs_cache_destroy(&c));
}

static void test_blobs_in_groups(void **state)
{
    (void)state;
    blobs_cache c, d;
    static char bytes[300000];
    const size_t lens[] = {0, 1, 100, 32768, 300000};
    OPEN(blobs, &c, 100, 0);
    OPEN(blobs, &d, 100, 0);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)(i * 7 + i / 256);
    }
    for (uint64_t group = 0; group < 3; group++) {
        for (uint32_t i = 0; i < COUNT(lens); i++) {
            dload_blob b;
            must_ok(dload_blob_make(&env.env, bytes + group,
                                    lens[i] - (lens[i] ? group : 0) * (i == 4), &b));
            must_ok(blobs_cache_set_in(&c, i, group, &b, 0));
            dload_blob_release(&b);
        }
    }
    dload_blob none = {NULL, 0};
    must_ok(blobs_cache_set_in(&c, 9, 9, &none, 0));
    SAVE(blobs, &c, &tape, 16);
    RESTORE(blobs, &d, &tape, 16);
    for (uint64_t group = 0; group < 3; group++) {
        for (uint32_t i = 0; i < COUNT(lens); i++) {
            dload_blob b;
            must_ok(blobs_cache_get_in(&d, i, group, &b));
            equal(b.len, lens[i] - (lens[i] ? group : 0) * (i == 4));
            assert_memory_equal(b.ptr, bytes + group, b.len);
            assert_non_null(b.ptr);
            dload_blob_release(&b);
        }
    }
    must_ok(blobs_cache_get_in(&d, 9, 9, &none));
    assert_null(none.ptr);
    must(blobs_cache_get_in(&d, 9, 8, &none), DLOAD_MISSING);
    must_ok(blobs_cache_destroy(&d));
    must_ok(blobs_cache_destroy(&c));
}

/* What was in a value's padding does not leave the process, where the compiler can see to it. */
static void test_padding(void **state)
{
    (void)state;
#ifdef __has_builtin
#if __has_builtin(__builtin_clear_padding)
    struct tape tapes[2];
    memset(tapes, 0, sizeof tapes);
    for (int i = 0; i < 2; i++) {
        strs_cache c;
        OPEN(strs, &c, 100, 1);
        union {
            struct padded p;
            unsigned char bytes[sizeof(struct padded)];
        } u;
        memset(u.bytes, i ? 0xaa : 0x55, sizeof u.bytes);
        u.p.a = 1;
        u.p.b = 2;
        u.p.c = 3;
        must_ok(strs_cache_set(&c, dload_str_from("k"), &u.p, 0));
        SAVE(strs, &c, &tapes[i], 1);
        must_ok(strs_cache_destroy(&c));
    }
    equal(tapes[0].n, tapes[1].n);
    assert_memory_equal(tapes[0].bytes, tapes[1].bytes, tapes[0].n);
    tape_clear(&tapes[0]);
    tape_clear(&tapes[1]);
#endif
#endif
}

/* ---- values that own memory ---- */

static size_t n_encodes;

static dload_status encode_text(void *ctx, char *const *value, void *bytes, size_t cap, size_t *n)
{
    (void)ctx;
    n_encodes++;
    if (**value == '!') {
        return DLOAD_EUSER; /* this one stays here */
    }
    *n = strlen(*value);
    if (*n <= cap) {
        memcpy(bytes, *value, *n);
    }
    return DLOAD_OK;
}

static dload_status decode_text(void *ctx, const void *bytes, size_t n, char **value)
{
    (void)ctx;
    if (n && *(const char *)bytes == '?') {
        return DLOAD_EUSER;
    }
    *value = calloc(1, n + 1);
    if (n) {
        memcpy(*value, bytes, n);
    }
    return DLOAD_OK;
}

static void test_encoded(void **state)
{
    (void)state;
    static char words[5][70000];
    texts_cache c, d;
    OPEN(texts, &c, 100, 1);
    OPEN(texts, &d, 100, 1);
    memset(words[0], 'x', 3);
    memset(words[1], 'y', 69999); /* longer than a block */
    memset(words[2], '!', 3);
    memset(words[3], '?', 3);
    for (int i = 0; i < 5; i++) {
        char *v = words[i];
        must_ok(texts_cache_set(&c, i, &v, 0));
    }
    TAPE_HOW(texts, how, &tape);
    size_t n = 77;
    must(texts_cache_save(&c, &how, &n), DLOAD_EINVAL);
    must(texts_cache_restore(&d, &how, &n), DLOAD_EINVAL);
    equal(n, 0);
    how.encode = encode_text;
    how.decode = decode_text;
    /* the tape is how.ctx: these two do not look at theirs */
    must_ok(texts_cache_save(&c, &how, &n));
    equal(n, 4);
    must_ok(texts_cache_restore(&d, &how, &n));
    equal(n, 3);
    const int there[] = {0, 1, 4};
    for (size_t i = 0; i < COUNT(there); i++) {
        char *v = NULL;
        must_ok(texts_cache_get(&d, there[i], &v));
        assert_string_equal(v, words[there[i]]);
        free(v);
    }
    tape_rewind(&tape);
    must_ok(texts_cache_restore(&d, &how, &n)); /* decoded, and released again */
    equal(n, 0);
    must_ok(texts_cache_destroy(&c));
    must_ok(texts_cache_destroy(&d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SNAPSHOT_TEST(test_integers),        SNAPSHOT_TEST(test_strings),
        SNAPSHOT_TEST(test_blobs_in_groups), SNAPSHOT_TEST(test_padding),
        SNAPSHOT_TEST(test_encoded),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
