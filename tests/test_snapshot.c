/* Snapshots: what goes out comes back, under every lock; what has expired or was cleared does not. Kinds of
 * keys and what an entry is worth: test_snapshot_worth.c; files: test_snapshot_crash.c. */
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

static struct fake_env env;
static struct tape tape;

static int setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    memset(&tape, 0, sizeof tape);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_env_check(&env);
    tape_clear(&tape);
    return 0;
}

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

/* ---- time ---- */

#define AT(c, ns) must_ok(ints_cache_advance((c), (ns)))
#define S         DLOAD_SECOND

static bool has(ints_cache *c, uint64_t key)
{
    uint64_t v = 0;
    dload_status st = ints_cache_get(c, key, &v);
    assert_true(st == DLOAD_OK || st == DLOAD_MISSING);
    return st == DLOAD_OK;
}

/* Saves c at wall time saved and restores into a new cache at its time now and wall time wall. */
static void carry(ints_cache *c, ints_cache *d, uint64_t now, uint64_t saved, uint64_t wall,
                  size_t want)
{
    TAPE_HOW(ints, how, &tape);
    size_t n = 0;
    tape_clear(&tape);
    how.wall_ns = saved;
    must_ok(ints_cache_save(c, &how, NULL));
    OPEN(ints, d, 100, 1);
    AT(d, now);
    how.wall_ns = wall;
    must_ok(ints_cache_restore(d, &how, &n));
    equal(n, want);
}

static void test_ttl(void **state)
{
    (void)state;
    ints_cache c, d;
    const uint64_t day = 86400 * S, v = 1;
    OPEN(ints, &c, 100, 1);
    AT(&c, 1000 * S);
    must_ok(ints_cache_set(&c, 1, &v, 10 * S));
    must_ok(ints_cache_set(&c, 2, &v, 100 * S));
    must_ok(ints_cache_set(&c, 3, &v, 30 * day)); /* rounds of the wheel */
    must_ok(ints_cache_set(&c, 4, &v, DLOAD_NEVER));
    must_ok(ints_cache_set(&c, 5, &v, 5 * S));
    AT(&c, 1006 * S); /* 5 is gone, 1 has 4 s */
    carry(&c, &d, 50 * day, DLOAD_NEVER, DLOAD_NEVER, 4);
    AT(&d, 50 * day + 4 * S - DLOAD_MILLISECOND * 4);
    assert_true(has(&d, 1));
    AT(&d, 50 * day + 4 * S);
    assert_false(has(&d, 1));
    AT(&d, 50 * day + 94 * S - DLOAD_MILLISECOND * 4);
    assert_true(has(&d, 2));
    AT(&d, 50 * day + 94 * S);
    assert_false(has(&d, 2));
    AT(&d, 80 * day - 6 * S - DLOAD_MILLISECOND * 4);
    assert_true(has(&d, 3));
    AT(&d, 80 * day - 6 * S);
    assert_false(has(&d, 3));
    assert_true(has(&d, 4));
    must_ok(ints_cache_destroy(&d));

    carry(&c, &d, 0, 1 * day, 1 * day + 50 * S, 3); /* 50 s have passed: 1 is gone, 2 has 44 s */
    AT(&d, 44 * S - DLOAD_MILLISECOND * 4);
    assert_true(has(&d, 2));
    AT(&d, 44 * S);
    assert_false(has(&d, 2));
    must_ok(ints_cache_destroy(&d));
    carry(&c, &d, 0, 1 * day, 31 * day, 1); /* a month later */
    must_ok(ints_cache_destroy(&d));
    carry(&c, &d, 0, 2 * day, 1 * day, 4); /* the clock was set back: nothing is known */
    AT(&d, 4 * S);
    assert_false(has(&d, 1));
    must_ok(ints_cache_destroy(&d));
    carry(&c, &d, 0, 1 * day, DLOAD_NEVER, 4);
    must_ok(ints_cache_destroy(&d));
    carry(&c, &d, 0, 0, 0, 4); /* the host's clock: no second has passed */
    must_ok(ints_cache_destroy(&d));
    carry(&c, &d, 0, 1 * S, 0, 1); /* ... and since 1970 some days have */
    must_ok(ints_cache_destroy(&d));

    other_cache o; /* knows no TTL: takes what does not expire, and nothing else */
    OPEN(other, &o, 100, 1);
    RESTORE(other, &o, &tape, 1);
    must_ok(other_cache_destroy(&o));
    must_ok(ints_cache_destroy(&c));
}

/* ---- while others go on ---- */

static struct {
    other_cache *c;
    uint64_t next;
} grower;

static void grow(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 500 && grower.next < 1040000; i++, grower.next++) {
        must_ok(other_cache_set(grower.c, grower.next, &grower.next, 0));
    }
}

static void test_growth_meanwhile(void **state)
{
    (void)state;
    other_cache c, d;
    OPEN(other, &c, DLOAD_UNBOUNDED, 0);
    OPEN(other, &d, DLOAD_UNBOUNDED, 0);
    for (uint64_t i = 0; i < 20000; i++) {
        must_ok(other_cache_set(&c, i, &i, 0));
    }
    grower.c = &c;
    grower.next = 1000000;
    tape.act = grow;
    TAPE_HOW(other, how, &tape);
    size_t n = 0;
    must_ok(other_cache_save(&c, &how, &n));
    assert_true(n >= 20000 && grower.next > 1007000);
    tape.act = NULL;
    must_ok(other_cache_restore(&d, &how, &n));
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t v = 0;
        must_ok(other_cache_get(&d, i, &v));
        equal(v, i);
    }
    must_ok(other_cache_destroy(&c));
    must_ok(other_cache_destroy(&d));
}

/* ---- a loader's cache ---- */

static size_t n_fetched;

static dload_status fetch(ints_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t v = b->keys[i] + 1000;
        n_fetched++;
        if (b->keys[i] % 10 == 9) {
            must_ok(ints_batch_fail(b, i, DLOAD_EFETCH));
        } else if (b->keys[i] % 10 != 8) {
            must_ok(ints_batch_set(b, i, &v));
        }
    }
    return DLOAD_OK;
}

static uint64_t keep_errors(void *ctx, dload_status status)
{
    (void)ctx;
    (void)status;
    return 1000 * S;
}

static void loader_open(ints *l)
{
    ints_config cfg = ints_config_default();
    cfg.fetch = fetch;
    cfg.env = &env.env;
    cfg.missing_ttl_ns = 1000 * S;
    cfg.error_ttl = keep_errors;
    must_ok(ints_init(l, &cfg));
}

static void loader_close(ints *l)
{
    must_ok(ints_close(l, DLOAD_FAIL, 0));
    must_ok(ints_destroy(l));
}

static void test_loader(void **state)
{
    (void)state;
    ints l, m;
    uint64_t v = 0, keys[40], out[40];
    size_t n = 0;
    loader_open(&l);
    loader_open(&m);
    for (uint64_t i = 0; i < 40; i++) {
        keys[i] = i;
    }
    must_ok(ints_load_many(&l, keys, 40, out, NULL));
    TAPE_HOW(ints, how, &tape);
    must_ok(ints_save(&l, &how, &n));
    equal(n, 36); /* 4 failed: that is of the moment; 4 are missing: that is an answer */

    ints_waiter w;
    memset(&w, 0, sizeof w);
    must(ints_start(&m, 3, &w), DLOAD_PENDING);
    must_ok(ints_clear(&m, 4));
    v = 5555;
    must_ok(ints_prime(&m, 5, &v, 0));
    must_ok(ints_restore(&m, &how, &n));
    equal(n, 33); /* not what is on its way, was cleared, or is there */
    must_ok(ints_dispatch(&m, NULL));
    must_ok(w.status);
    n_fetched = 0;
    must_ok(ints_load_many(&m, keys, 40, out, NULL));
    equal(n_fetched, 5); /* 4, and those that failed */
    equal(out[3], 1003);
    equal(out[5], 5555);
    equal(out[6], 1006);
    must(ints_load(&m, 8, &v), DLOAD_MISSING);

    must_ok(ints_clear_all(&m)); /* all that the snapshot has was cleared */
    tape_rewind(&tape);
    must_ok(ints_restore(&m, &how, &n));
    equal(n, 0);
    loader_close(&l);
    loader_close(&m);
}

/* ---- what goes wrong ---- */

static void test_arguments(void **state)
{
    (void)state;
    ints_cache c;
    size_t n = 77;
    ints_snapshot none;
    memset(&none, 0, sizeof none);
    OPEN(ints, &c, 100, 1);
    must(ints_cache_save(&c, NULL, &n), DLOAD_EINVAL);
    must(ints_cache_save(&c, &none, &n), DLOAD_EINVAL);
    must(ints_cache_restore(&c, NULL, &n), DLOAD_EINVAL);
    must(ints_cache_restore(&c, &none, &n), DLOAD_EINVAL);
    must(ints_cache_save_file(&c, NULL, NULL, &n), DLOAD_EINVAL);
    must(ints_cache_restore_file(&c, NULL, NULL, &n), DLOAD_EINVAL);
    must_ok(ints_cache_destroy(&c));
    OPEN(ints, &c, DLOAD_NO_CACHE, 0); /* caching off: nothing to save, nowhere to put it */
    SAVE(ints, &c, &tape, 0);
    ints_cache d;
    OPEN(ints, &d, 100, 1);
    RESTORE(ints, &d, &tape, 0);
    uint64_t v = 1;
    must_ok(ints_cache_set(&d, 1, &v, 0));
    tape_clear(&tape);
    SAVE(ints, &d, &tape, 1);
    RESTORE(ints, &c, &tape, 0);
    must_ok(ints_cache_destroy(&d));
    must_ok(ints_cache_destroy(&c));
}

/* Another version of the value, another key, another value: refused, and nothing is read into it. */
static void test_layout(void **state)
{
    (void)state;
    ints_cache c;
    strs_cache s;
    uint64_t v = 1;
    OPEN(ints, &c, 100, 1);
    OPEN(strs, &s, 100, 1);
    must_ok(ints_cache_set(&c, 1, &v, 0));
    SAVE(ints, &c, &tape, 1);
    TAPE_HOW(ints, how, &tape);
    TAPE_HOW(strs, how_s, &tape);
    how.value_version = 1;
    must(ints_cache_restore(&c, &how, NULL), DLOAD_ELAYOUT);
    tape_rewind(&tape);
    must(strs_cache_restore(&s, &how_s, NULL), DLOAD_ELAYOUT);
    equal(strs_cache_len(&s), 0);
    must_ok(ints_cache_destroy(&c));
    must_ok(strs_cache_destroy(&s));
}

/* What a callback says when it fails is what the call says, wherever it fails. */
static void test_callbacks_fail(void **state)
{
    (void)state;
    ints_cache c, d;
    OPEN(ints, &c, 8000, 1);
    for (uint64_t i = 0; i < 8000; i++) {
        must_ok(ints_cache_set(&c, i, &i, 0));
    }
    SAVE(ints, &c, &tape, 8000);
    const size_t whole = tape.n;
    for (size_t at = 1; at < whole; at += 5000) {
        TAPE_HOW(ints, how, &tape);
        size_t n = 77;
        tape.fail_after = at;
        tape.status = (dload_status)(DLOAD_EUSER - 5);
        tape.at = tape.n = 0;
        must(ints_cache_save(&c, &how, &n), tape.status);
        equal(n, 0);
        tape.n = whole;
        OPEN(ints, &d, 8000, 1);
        must(ints_cache_restore(&d, &how, &n), tape.status);
        equal(n, ints_cache_len(&d));
        must_ok(ints_cache_destroy(&d));
        tape.status = DLOAD_PENDING; /* makes no sense here, and must not look like an answer */
        tape.at = 0;
        OPEN(ints, &d, 8000, 1);
        must(ints_cache_restore(&d, &how, &n), DLOAD_EINVAL);
        must_ok(ints_cache_destroy(&d));
    }
    must_ok(ints_cache_destroy(&c));
}

static void without_memory(struct fake_env *f)
{
    static struct tape t;
    strs_cache c, d;
    strs_cache_config cfg = {.env = &f->env, .capacity = 200};
    char key[6000];
    size_t n = 0;
    must_ok(strs_cache_init(&c, &cfg));
    must_ok(strs_cache_init(&d, &cfg));
    for (int i = 0; i < 100; i++) {
        struct padded v = {1, i, 2};
        memset(key, i, sizeof key);
        must_ok(strs_cache_set(&c, (dload_str){key, (size_t)i * 60}, &v, 0));
    }
    tape_clear(&t);
    TAPE_HOW(strs, how, &t);
    fake_env_arm(f);
    dload_status st = strs_cache_save(&c, &how, &n);
    assert_true(st == DLOAD_OK ? n == 100 : st == DLOAD_ENOMEM && n == 0);
    fake_env_disarm(f);
    if (st == DLOAD_OK) {
        fake_env_arm(f);
        st = strs_cache_restore(&d, &how, &n);
        assert_true(st == DLOAD_OK ? n == 100 : st == DLOAD_ENOMEM && n < 100);
        equal(n, strs_cache_len(&d));
        fake_env_disarm(f);
    }
    must_ok(strs_cache_destroy(&c));
    must_ok(strs_cache_destroy(&d));
    tape_clear(&t);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("snapshot", without_memory) > 5);
}

/* ---- at random ---- */

struct model {
    bool there;
    uint64_t value, end_ns; /* gone from then on */
};

/* Random operations on a cache that is large enough; from time to time it is saved, with the time that passes,
 * and goes on as another one. What it must have is known. */
static void test_random(void **state)
{
    (void)state;
    uint64_t seed = test_seed("snapshot");
    enum { KEYS = 600 };
    static struct model model[KEYS];
    memset(model, 0, sizeof model);
    ints_cache caches[2];
    ints_cache *c = &caches[0];
    uint64_t now = 1000 * S, wall = 1000000 * S;
    OPEN(ints, c, 2 * KEYS, 1);
    AT(c, now);
    for (size_t i = 0; i < scaled(200000); i++) {
        uint64_t k = rng_below(&seed, KEYS), v = rng(&seed), got = 0;
        uint64_t what = rng_below(&seed, 1000);
        if (what < 400) {
            uint64_t ttl = rng_below(&seed, 3) == 0 ? DLOAD_NEVER : 1 + rng_below(&seed, 1000 * S);
            must_ok(ints_cache_set(c, k, &v, ttl));
            model[k] = (struct model){true, v, ttl == DLOAD_NEVER ? DLOAD_NEVER : now + ttl};
        } else if (what < 500) {
            must_ok(ints_cache_delete(c, k));
            model[k].there = false;
        } else if (what < 505) {
            uint64_t step = rng_below(&seed, 200 * S);
            now += step;
            wall += step;
            AT(c, now);
        } else if (what < 506) {
            must_ok(ints_cache_clear(c));
            memset(model, 0, sizeof model);
        } else if (what < 512) {
            TAPE_HOW(ints, how, &tape);
            size_t n_saved = 0, n = 0;
            uint64_t gap = rng_below(&seed, 2) * rng_below(&seed, 300 * S);
            tape_clear(&tape);
            how.wall_ns = wall;
            must_ok(ints_cache_save(c, &how, &n_saved));
            must_ok(ints_cache_destroy(c));
            c = c == &caches[0] ? &caches[1] : &caches[0];
            OPEN(ints, c, 2 * KEYS, 1 + rng_below(&seed, 8));
            wall += gap;
            uint64_t began = rng_below(&seed, 1000000 * S); /* the new process has another clock */
            for (size_t m = 0; m < KEYS; m++) {
                uint64_t end = model[m].end_ns;
                model[m].there = model[m].there && end > now + gap;
                model[m].end_ns = end == DLOAD_NEVER ? end : end - now - gap + began;
            }
            now = began;
            AT(c, now);
            how.wall_ns = wall;
            must_ok(ints_cache_restore(c, &how, &n));
            assert_true(n <= n_saved);
        }
        dload_status st = ints_cache_get(c, k, &got);
        /* ticks are a millisecond, and every save may cut one off */
        bool must_be = model[k].there && model[k].end_ns > now + 20 * DLOAD_MILLISECOND;
        bool may_be = model[k].there && model[k].end_ns > now;
        assert_true(must_be ? st == DLOAD_OK : may_be || st == DLOAD_MISSING);
        if (st == DLOAD_OK) {
            equal(got, model[k].value);
        }
    }
    must_ok(ints_cache_destroy(c));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_integers),         TEST(test_strings),        TEST(test_blobs_in_groups),
        TEST(test_padding),          TEST(test_encoded),        TEST(test_ttl),
        TEST(test_growth_meanwhile), TEST(test_loader),         TEST(test_arguments),
        TEST(test_layout),           TEST(test_callbacks_fail), TEST(test_out_of_memory),
        TEST(test_random),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
