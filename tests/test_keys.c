/* Rules 26, 57, 59 and 60: what may be a key, who owns its bytes, and values that look like none.
 * */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_NAME  sl
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"

#define DLOAD_NAME  dl
#define DLOAD_KEY   double
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"

#define DLOAD_NAME  pl
#define DLOAD_KEY   DLOAD_ID128
#define DLOAD_VALUE const char *
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"

#include "support.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct fake_env env;
static size_t n_calls;
static size_t n_keys;

static int setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    n_calls = n_keys = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_env_check(&env);
    return 0;
}

/* ---- strings ---- */

/* The value of a string key: so different for different bytes that a mix-up shows. */
static uint64_t digest(dload_str s)
{
    uint64_t h = s.len * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < s.len; i++) {
        h = (h ^ (unsigned char)s.ptr[i]) * 0x100000001b3u;
    }
    return h;
}

static dload_status fetch_digests(sl_batch *b)
{
    n_calls++;
    n_keys += b->n;
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = digest(b->keys[i]);
        must_ok(sl_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

static void sl_open(sl *l, size_t max_batch)
{
    sl_config cfg = sl_config_default();
    cfg.fetch = fetch_digests;
    cfg.env = &env.env;
    cfg.max_batch = max_batch;
    must_ok(sl_init(l, &cfg));
}

static void sl_end(sl *l)
{
    must_ok(sl_close(l, DLOAD_FAIL, 0));
    must_ok(sl_destroy(l));
}

/* A key in memory of its own, of exactly its size, so that a sanitizer sees one byte too far. */
static dload_str copy_of(const void *bytes, size_t len)
{
    char *p = malloc(len ? len : 1);
    assert_non_null(p);
    if (len) {
        memcpy(p, bytes, len);
    }
    return (dload_str){p, len};
}

static void drop(dload_str s)
{
    memset((void *)(uintptr_t)s.ptr, 0x55, s.len);
    free((void *)(uintptr_t)s.ptr);
}

static void load_digest(sl *l, const void *bytes, size_t len)
{
    dload_str key = copy_of(bytes, len);
    uint64_t want = digest(key), got = 0;
    must_ok(sl_load(l, key, &got));
    equal(got, want);
    drop(key);
}

static void test_keys_ordinary_strings(void **state)
{
    (void)state;
    static char longest[65537];
    static const struct {
        const char *bytes;
        size_t len;
    } keys[] = {
        {"", 0},          {"\0", 1},
        {"\0\0", 2},      {"a", 1},
        {"a\0", 2},       {"a\0b", 3},
        {"a\0c", 3},      {"\xff\xfe\xfd", 3},
        {"\xc0\x80", 2},  {"\xed\xa0\x80", 3},
        {"%s%n", 4},      {"'; DROP TABLE t; --", 19},
        {"a\r\nb", 4},    {" ", 1},
        {longest, 65536}, {longest, 65535},
    };
    sl l;
    memset(longest, 'x', sizeof longest);
    sl_open(&l, 100);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT(keys); i++) {
            load_digest(&l, keys[i].bytes, keys[i].len);
        }
        equal(n_calls, COUNT(keys)); /* the second round is all hits */
    }
    dload_str null_empty = {NULL, 0};
    uint64_t out;
    must_ok(sl_load(&l, null_empty, &out));
    equal(n_calls, COUNT(keys)); /* the same as "" */
    must(sl_load(&l, (dload_str){NULL, 3}, &out), DLOAD_EKEY);
    dload_str too_long = {longest, sizeof longest};
    must(sl_load(&l, too_long, &out), DLOAD_ETOOBIG);
    sl_end(&l);
}

/* Keys that differ in one byte only, at every place, for lengths around words and vectors. */
static void test_keys_differ_in_one_byte(void **state)
{
    (void)state;
    char buf[70];
    sl l;
    sl_open(&l, 100);
    size_t keys = 0;
    for (size_t len = 1; len <= sizeof buf; len++) {
        memset(buf, 'k', sizeof buf);
        load_digest(&l, buf, len);
        keys++;
        for (size_t at = 0; at < len; at++) {
            buf[at] = 'K';
            load_digest(&l, buf, len);
            buf[at] = 'k';
            keys++;
        }
    }
    equal(n_keys, keys);
    sl_end(&l);
}

static void test_keys_string_limit(void **state)
{
    (void)state;
    sl l;
    sl_config cfg = sl_config_default();
    cfg.fetch = fetch_digests;
    cfg.env = &env.env;
    cfg.max_key_bytes = 5;
    must_ok(sl_init(&l, &cfg));
    uint64_t out[3];
    dload_status st[3];
    must_ok(sl_load(&l, dload_str_from("12345"), out));
    must(sl_load(&l, dload_str_from("123456"), out), DLOAD_ETOOBIG);
    must(sl_prime(&l, dload_str_from("123456"), out, 0), DLOAD_ETOOBIG);
    dload_str keys[] = {dload_str_from("1"), dload_str_from("123456"), dload_str_from("3")};
    must_ok(sl_load_many(&l, keys, 3, out, st));
    must_ok(st[0]);
    must(st[1], DLOAD_ETOOBIG);
    must_ok(st[2]);
    equal(out[2], digest(keys[2]));
    sl_end(&l);
}

struct sl_request {
    sl_waiter w;
    uint64_t want;
    size_t n_done;
};

static void sl_done(sl_waiter *w)
{
    struct sl_request *q = w->ctx;
    must_ok(w->status);
    equal(w->value, q->want);
    q->n_done++;
}

static void test_keys_freed_after_start(void **state)
{
    (void)state;
    static struct sl_request q[200];
    sl l;
    memset(q, 0, sizeof q);
    sl_open(&l, 50);
    for (size_t i = 0; i < COUNT(q); i++) {
        char buf[64];
        memset(buf, (int)('a' + i % 26), sizeof buf);
        dload_str key = copy_of(buf, i % sizeof buf);
        q[i].want = digest(key);
        q[i].w.done = sl_done;
        q[i].w.ctx = &q[i];
        must(sl_start(&l, key, &q[i].w), DLOAD_PENDING);
        drop(key); /* overwritten and freed before anything was sent */
    }
    must_ok(sl_dispatch(&l, NULL));
    for (size_t i = 0; i < COUNT(q); i++) {
        equal(q[i].n_done, 1);
    }
    /* What is cached does not live in the caller's memory either. */
    size_t calls = n_calls;
    for (size_t i = 0; i < COUNT(q); i++) {
        char buf[64];
        memset(buf, (int)('a' + i % 26), sizeof buf);
        load_digest(&l, buf, i % sizeof buf);
    }
    equal(n_calls, calls);
    sl_end(&l);
}

static void test_keys_primed_and_cleared_strings(void **state)
{
    (void)state;
    sl l;
    sl_open(&l, 100);
    uint64_t value = 5, out = 0;
    for (int round = 0; round < 3; round++) {
        dload_str key = copy_of("a\0primed key", 12);
        must_ok(sl_prime(&l, key, &value, 0));
        drop(key);
        key = copy_of("a\0primed key", 12);
        must_ok(sl_load(&l, key, &out));
        equal(out, 5);
        must_ok(sl_clear(&l, key));
        drop(key);
    }
    equal(n_calls, 0);
    load_digest(&l, "a\0primed key", 12);
    equal(n_calls, 1);
    sl_end(&l);
}

static void test_keys_composite(void **state)
{
    (void)state;
    /* "a:b" + "c" and "a" + "b:c" are different keys. */
    static const char *const fields[][2] = {
        {"a:b", "c"}, {"a", "b:c"}, {"", "a:b:c"}, {"a:b:c", ""}};
    char buf[4][64];
    dload_str key[4];
    for (size_t i = 0; i < 4; i++) {
        dload_key_enc e = dload_key_enc_begin(buf[i], sizeof buf[i]);
        dload_key_enc_str(&e, dload_str_from(fields[i][0]));
        dload_key_enc_str(&e, dload_str_from(fields[i][1]));
        must_ok(dload_key_enc_end(&e, &key[i]));
        for (size_t j = 0; j < i; j++) {
            assert_false(key[i].len == key[j].len && !memcmp(key[i].ptr, key[j].ptr, key[i].len));
        }
    }
    dload_key_enc a = dload_key_enc_begin(buf[0], sizeof buf[0]);
    dload_key_enc b = dload_key_enc_begin(buf[1], sizeof buf[1]);
    dload_key_enc_u64(&a, 1);
    dload_key_enc_i64(&b, 1);
    must_ok(dload_key_enc_end(&a, &key[0]));
    must_ok(dload_key_enc_end(&b, &key[1]));
    assert_memory_not_equal(key[0].ptr, key[1].ptr, key[0].len);
    /* Too small is said, with the size it takes, and not one byte too many is written. */
    char *tight = malloc(17);
    dload_key_enc c = dload_key_enc_begin(tight, 17);
    dload_key_enc_u64(&c, 7);
    dload_key_enc_u64(&c, 8);
    must(dload_key_enc_end(&c, &key[0]), DLOAD_ETOOBIG);
    equal(c.n_bytes, 18);
    free(tight);
}

/* ---- floating point ---- */

static dload_status fetch_doubles(dl_batch *b)
{
    n_calls++;
    n_keys += b->n;
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = (uint64_t)(b->keys[i] * 4);
        must_ok(dl_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

static void dl_done(dl_waiter *w)
{
    (*(size_t *)w->ctx)++;
}

static void test_keys_doubles(void **state)
{
    (void)state;
    dl l;
    dl_config cfg = dl_config_default();
    cfg.fetch = fetch_doubles;
    cfg.env = &env.env;
    must_ok(dl_init(&l, &cfg));
    uint64_t out[4] = {77, 77, 77, 77}, value = 1;
    dload_status st[4];
    double nan_key = (double)NAN;
    dload_state s;
    must(dl_load(&l, nan_key, out), DLOAD_EKEY);
    equal(out[0], 77);
    must(dl_prime(&l, nan_key, &value, 0), DLOAD_EKEY);
    must(dl_prime_error(&l, nan_key, DLOAD_MISSING, DLOAD_NEVER), DLOAD_EKEY);
    must(dl_peek(&l, nan_key, &s, out), DLOAD_EKEY);
    must(dl_clear(&l, nan_key), DLOAD_EKEY);
    must(dl_put_if(&l, nan_key, &value, dl_token(&l)), DLOAD_EKEY);
    size_t n_done = 0;
    dl_waiter w;
    memset(&w, 0, sizeof w);
    w.done = dl_done;
    w.ctx = &n_done;
    must(dl_start(&l, nan_key, &w), DLOAD_EKEY);
    /* -0.0 and 0.0 are one key, in a batch, in the cache, and when it is cleared. */
    must_ok(dl_load_many(&l, (double[]){-0.0, 0.0, nan_key, 1.5}, 4, out, st));
    equal(n_keys, 2);
    must_ok(st[0]);
    must_ok(st[1]);
    must(st[2], DLOAD_EKEY);
    must_ok(st[3]);
    equal(out[3], 6);
    must_ok(dl_load(&l, 0.0, out));
    must_ok(dl_load(&l, -0.0, out));
    equal(n_keys, 2);
    must_ok(dl_clear(&l, -0.0));
    must_ok(dl_load(&l, 0.0, out));
    equal(n_keys, 3);
    must_ok(dl_prime(&l, -0.0, &(uint64_t){9}, DLOAD_OVERWRITE));
    must_ok(dl_load(&l, 0.0, out));
    equal(out[0], 9);
    double ordinary[] = {DBL_MIN, DBL_MAX, -DBL_MAX, DBL_TRUE_MIN, -DBL_TRUE_MIN};
    for (size_t i = 0; i < COUNT(ordinary); i++) {
        must_ok(dl_prime(&l, ordinary[i], &(uint64_t){i}, 0));
    }
    must_ok(dl_prime(&l, (double)INFINITY, &value, 0));
    for (size_t i = 0; i < COUNT(ordinary); i++) {
        must_ok(dl_load(&l, ordinary[i], out));
        equal(out[0], i);
    }
    equal(n_keys, 3);
    equal(n_done, 0);
    must_ok(dl_close(&l, DLOAD_FAIL, 0));
    must_ok(dl_destroy(&l));
}

/* ---- 16 bytes, and a value that is NULL ---- */

static dload_status fetch_null_or_missing(pl_batch *b)
{
    n_calls++;
    for (size_t i = 0; i < b->n; i++) {
        const char *none = NULL;
        if (b->keys[i].bytes[15] % 2 == 0) {
            must_ok(pl_batch_set(b, i, &none)); /* known to have no value */
        }
    }
    return DLOAD_OK;
}

static void test_keys_null_is_not_missing(void **state)
{
    (void)state;
    pl l;
    pl_config cfg = pl_config_default();
    cfg.fetch = fetch_null_or_missing;
    cfg.env = &env.env;
    must_ok(pl_init(&l, &cfg));
    dload_id128 even = {{0}}, odd = {{0}};
    odd.bytes[15] = 1;
    const char *out = "not written";
    dload_state s;
    must_ok(pl_load(&l, even, &out));
    assert_null(out);
    must_ok(pl_load(&l, even, &out)); /* a null is cached */
    equal(n_calls, 1);
    must_ok(pl_peek(&l, even, &s, &out));
    equal(s, DLOAD_STATE_READY);
    out = "not written";
    must(pl_load(&l, odd, &out), DLOAD_MISSING);
    assert_string_equal(out, "not written");
    must(pl_peek(&l, odd, &s, &out), DLOAD_MISSING);
    equal(s, DLOAD_STATE_ABSENT);
    /* Sixteen bytes are compared, all of them. */
    for (size_t at = 0; at < 16; at++) {
        dload_id128 other = even;
        other.bytes[at] = 0x80;
        must(pl_peek(&l, other, &s, &out), DLOAD_MISSING);
    }
    must_ok(pl_close(&l, DLOAD_FAIL, 0));
    must_ok(pl_destroy(&l));
}

#define ROW(text, fn)                   \
    {                                   \
        text, fn, setup, teardown, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW("rule 26: a null value is not a missing one", test_keys_null_is_not_missing),
        ROW("rule 57: empty, longest, NUL, any bytes", test_keys_ordinary_strings),
        ROW("rule 57: one byte makes another key", test_keys_differ_in_one_byte),
        ROW("rule 57: the limit is the key's own trouble", test_keys_string_limit),
        ROW("rule 57: composite keys are injective", test_keys_composite),
        ROW("rule 59: NaN is refused, -0.0 is 0.0", test_keys_doubles),
        ROW("rule 60: freed as soon as start returned", test_keys_freed_after_start),
        ROW("rule 60: primed, loaded, cleared from other memory",
            test_keys_primed_and_cleared_strings),
    };
    return cmocka_run_group_tests_name("keys " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
