/* Rules 26, 57, 59 and 60: what may be a key, who owns its bytes, and values that look like none.
 * Rule 58 is tests/compile-fail. */
#ifndef DLOAD_TESTS_CASES_KEYS_H
#define DLOAD_TESTS_CASES_KEYS_H

#include "verbs.h"

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

#include <float.h>
#include <math.h>

DRIVER_LOADER(sl, dload_str, uint64_t);
DRIVER_LOADER(dl, double, uint64_t);
DRIVER_LOADER(pl, dload_id128, const char *);

static size_t n_fetched; /* keys; atomic */
static size_t n_fetches; /* calls; atomic */

static void note_fetch(size_t n)
{
    __atomic_add_fetch(&n_fetched, n, __ATOMIC_RELAXED);
    __atomic_add_fetch(&n_fetches, 1, __ATOMIC_RELAXED);
}

/* ---- a value that is NULL ---- */

static dload_status fetch_null_or_missing(pl_batch *b)
{
    note_fetch(b->n);
    for (size_t i = 0; i < b->n; i++) {
        const char *no_value = NULL;
        if (b->keys[i].bytes[15] % 2 == 0) {
            must_ok(pl_batch_set(b, i, &no_value)); /* known to have no value */
        }
    }
    return DLOAD_OK;
}

static void keys_null_is_not_missing(struct fixture *x)
{
    static pl l;
    pl_config cfg = pl_config_default();
    cfg.fetch = fetch_null_or_missing;
    pl_bring_up(x, &l, &cfg);
    n_fetched = 0;
    dload_id128 even = {{0}}, odd = {{0}};
    odd.bytes[15] = 1;
    const char *out = "not written";
    dload_state s;
    must_ok(pl_get(x, &l, even, &out));
    assert_null(out);
    must_ok(pl_get(x, &l, even, &out)); /* a null is cached */
    equal(n_fetched, 1);
    must_ok(pl_peek(&l, even, &s, &out));
    equal(s, DLOAD_STATE_READY);
    out = "not written";
    must(pl_get(x, &l, odd, &out), DLOAD_MISSING);
    assert_string_equal(out, "not written");
    must(pl_peek(&l, odd, &s, &out), DLOAD_MISSING);
    equal(s, DLOAD_STATE_ABSENT);
    must_ok(pl_clear(&l, even));
    must(pl_peek(&l, even, &s, &out), DLOAD_MISSING);
    pl_take_down(x, &l);
}

/* ---- ordinary keys ---- */

static void keys_numbers(struct fixture *x)
{
    open_loader(x);
    ask(x, 0, 0);
    ask(x, 1, UINT64_MAX, 0, UINT64_C(1) << 63);
    let_go(x);
    must_get(x, 0, 0);
    must_get(x, 1, UINT64_MAX * 10, 0, (UINT64_C(1) << 63) * 10);
    equal(x->r.n_keys, 3);
    load_one(x, 0, 0);
    load_one(x, UINT64_MAX, UINT64_MAX * 10);
    must_ok(tl_clear(&x->l, 0));
    peek_must(x, 0, DLOAD_STATE_ABSENT);
    load_one(x, 0, 0);
    equal(x->r.n_keys, 4);
}

/* So different for different bytes that a mix-up shows. */
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
    note_fetch(b->n);
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = digest(b->keys[i]);
        must_ok(sl_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

enum { LONGEST = 65536 };

static char longest[LONGEST + 1];

static const struct {
    const char *bytes;
    size_t len;
} strings[] = {
    {"", 0},
    {"\0", 1},
    {"\0\0", 2},
    {"a", 1},
    {"a\0", 2},
    {"a\0b", 3},
    {"a\0c", 3},
    {"\xff\xfe\xfd", 3},
    {"\xc0\x80", 2},
    {"\xed\xa0\x80", 3},
    {"%s%n", 4},
    {"'; DROP TABLE t; --", 19},
    {"a\r\nb", 4},
    {" ", 1},
    {longest, LONGEST},
    {longest, LONGEST - 1},
};

static sl strings_l;

static void strings_open(struct fixture *x)
{
    sl_config cfg = sl_config_default();
    memset(longest, 'x', sizeof longest);
    cfg.fetch = fetch_digests;
    n_fetched = n_fetches = 0;
    sl_bring_up(x, &strings_l, &cfg);
}

/* In memory of its own, of exactly its size, so that a sanitizer sees one byte too far. */
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

/* Each caller has every key in memory of its own, and drops it as soon as its load came back. */
static void load_strings(struct fixture *x, size_t caller)
{
    for (size_t i = 0; i < COUNT(strings); i++) {
        size_t at = caller % 2 ? COUNT(strings) - 1 - i : i;
        dload_str key = copy_of(strings[at].bytes, strings[at].len);
        uint64_t want = digest(key), got = 0;
        must_ok(sl_get(x, &strings_l, key, &got));
        equal(got, want);
        drop(key);
    }
}

static void keys_strings(struct fixture *x)
{
    uint64_t out = 0;
    strings_open(x);
    each_caller(x, 4, load_strings);
    equal(n_fetched, COUNT(strings)); /* each of them once */
    must_ok(sl_get(x, &strings_l, (dload_str){NULL, 0}, &out));
    equal(out, digest((dload_str){"", 0}));
    equal(n_fetched, COUNT(strings)); /* the same as "" */
    must(sl_get(x, &strings_l, (dload_str){NULL, 3}, &out), DLOAD_EKEY);
    must(sl_get(x, &strings_l, (dload_str){longest, LONGEST + 1}, &out), DLOAD_ETOOBIG);
    sl_take_down(x, &strings_l);
}

/* ---- strings that do not stay where they were ---- */

struct string_request {
    sl_waiter w;
    uint64_t want;
    uint32_t n_done;
};

static void string_done(sl_waiter *w)
{
    struct string_request *q = w->ctx;
    must_ok(w->status);
    equal(w->value, q->want);
    q->n_done++;
}

static void keys_dropped_after_start(struct fixture *x)
{
    static struct string_request q[COUNT(strings)];
    memset(q, 0, sizeof q);
    strings_open(x);
    for (size_t i = 0; i < COUNT(q); i++) {
        dload_str key = copy_of(strings[i].bytes, strings[i].len);
        q[i].want = digest(key);
        q[i].w.done = string_done;
        q[i].w.ctx = &q[i];
        must(sl_start(&strings_l, key, &q[i].w), DLOAD_PENDING);
        drop(key); /* overwritten and freed before anything was sent */
    }
    must_ok(sl_dispatch(&strings_l, NULL));
    for (size_t i = 0; i < COUNT(q); i++) {
        equal(q[i].n_done, 1);
    }
    equal(n_fetches, 1);
    load_strings(x, 0); /* what is cached does not live there either */
    equal(n_fetches, 1);
    sl_take_down(x, &strings_l);
}

static void keys_dropped_after_load(struct fixture *x)
{
    uint64_t value = 5, out = 0;
    strings_open(x);
    each_caller(x, 3, load_strings);
    must_ok(sl_clear_all(&strings_l));
    for (int round = 0; round < 3; round++) {
        dload_str key = copy_of("a\0primed key", 12);
        must_ok(sl_prime(&strings_l, key, &value, 0));
        drop(key);
        key = copy_of("a\0primed key", 12);
        must_ok(sl_get(x, &strings_l, key, &out));
        equal(out, 5);
        must_ok(sl_clear(&strings_l, key));
        drop(key);
    }
    equal(n_fetched, COUNT(strings));
    each_caller(x, 2, load_strings);
    equal(n_fetched, 2 * COUNT(strings));
    sl_take_down(x, &strings_l);
}

/* ---- floating point ---- */

static dload_status fetch_doubles(dl_batch *b)
{
    note_fetch(b->n);
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = (uint64_t)(b->keys[i] * 4);
        must_ok(dl_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

static dl doubles_l;

static void load_zeros(struct fixture *x, size_t caller)
{
    uint64_t out = 77;
    must_ok(dl_get(x, &doubles_l, caller % 2 ? -0.0 : 0.0, &out));
    equal(out, 0);
}

static void doubles_refused(struct fixture *x)
{
    const double not_a_number = (double)NAN;
    uint64_t out = 77, value = 1;
    dload_state s;
    dl_waiter w;
    memset(&w, 0, sizeof w);
    must(dl_get(x, &doubles_l, not_a_number, &out), DLOAD_EKEY);
    must(dl_get(x, &doubles_l, -not_a_number, &out), DLOAD_EKEY);
    equal(out, 77);
    must(dl_prime(&doubles_l, not_a_number, &value, 0), DLOAD_EKEY);
    must(dl_prime_error(&doubles_l, not_a_number, DLOAD_MISSING, DLOAD_NEVER), DLOAD_EKEY);
    must(dl_peek(&doubles_l, not_a_number, &s, &out), DLOAD_EKEY);
    must(dl_clear(&doubles_l, not_a_number), DLOAD_EKEY);
    must(dl_start(&doubles_l, not_a_number, &w), DLOAD_EKEY);
}

static void keys_doubles(struct fixture *x)
{
    static const double ordinary[] = {DBL_MIN, DBL_MAX, -DBL_MAX, DBL_TRUE_MIN, -DBL_TRUE_MIN, 1.5};
    uint64_t out = 77;
    dl_config cfg = dl_config_default();
    cfg.fetch = fetch_doubles;
    dl_bring_up(x, &doubles_l, &cfg);
    n_fetched = 0;
    doubles_refused(x);
    equal(n_fetched, 0);
    each_caller(x, 4, load_zeros);
    equal(n_fetched, 1);
    must_ok(dl_clear(&doubles_l, -0.0));
    each_caller(x, 2, load_zeros);
    equal(n_fetched, 2);
    out = 9;
    must_ok(dl_prime(&doubles_l, -0.0, &out, DLOAD_OVERWRITE));
    must_ok(dl_get(x, &doubles_l, 0.0, &out));
    equal(out, 9);
    for (uint64_t i = 0; i < COUNT(ordinary); i++) {
        must_ok(dl_prime(&doubles_l, ordinary[i], &i, 0));
    }
    for (uint64_t i = 0; i < COUNT(ordinary); i++) {
        must_ok(dl_get(x, &doubles_l, ordinary[i], &out));
        equal(out, i);
    }
    must_ok(dl_get(x, &doubles_l, 2.5, &out));
    equal(out, 10);
    equal(n_fetched, 3);
    dl_take_down(x, &doubles_l);
}

static const struct test_case keys_cases[] = {
    CASE(26, ON_ALL, "a null value is not a missing one",
         "given keys whose value is NULL and keys without one, then DLOAD_OK and DLOAD_MISSING",
         NULL, keys_null_is_not_missing),
    CASE(57, ON_ALL, "0 and the largest number",
         "given keys 0 and UINT64_MAX, when they are loaded and cleared, then as any other", NULL,
         keys_numbers),
    CASE(57, ON_ALL, "empty, longest, NUL, any bytes",
         "given strings of any bytes, when callers load them, then each is fetched once, none "
         "mixed up",
         NULL, keys_strings),
    CASE(59, ON_ALL, "NaN is refused, -0.0 is 0.0",
         "given NaN, when it is used, then EKEY; given -0.0 and 0.0, when loaded, then one key",
         NULL, keys_doubles),
    CASE(60, ON_ALL, "freed as soon as start returned",
         "given string keys, when they are freed after start, then the function sees their bytes",
         NULL, keys_dropped_after_start),
    CASE(60, ON_ALL, "freed as soon as load returned",
         "given string keys, when they are freed after load or prime, then the cache has their "
         "bytes",
         NULL, keys_dropped_after_load),
};

#endif /* DLOAD_TESTS_CASES_KEYS_H */
