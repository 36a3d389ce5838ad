/* What the function answered goes to the store: values for as long as in the cache, errors and missing keys only
 * where a policy keeps them, nothing else; at the end of batches that take their time, too. */
/* locks: NONE SPIN PTHREAD */
#include "test_store_loader.h"

/* A blob, encoded values, and a grouped key. */
#define DLOAD_NAME  bl
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_GROUP 1
#define DLOAD_STORE 1
#include "dataloader.h"

struct boxed {
    char *text;
};
static bool boxed_copy(struct boxed *to, const struct boxed *from);
static void boxed_free(struct boxed *v);
#define DLOAD_NAME              xl
#define DLOAD_KEY               int32_t
#define DLOAD_VALUE             struct boxed
#define DLOAD_VALUE_COPY(to, v) boxed_copy((to), (v))
#define DLOAD_VALUE_FREE(v)     boxed_free(v)
#define DLOAD_LOCK              TEST_LOCK
#define DLOAD_STORE             1
#include "dataloader.h"

static size_t n_boxes;

static bool boxed_make(struct boxed *v, const char *text, size_t n)
{
    v->text = malloc(n + 1);
    memcpy(v->text, text, n);
    v->text[n] = '\0';
    (void)__atomic_add_fetch(&n_boxes, 1, __ATOMIC_RELAXED);
    return true;
}

static bool boxed_copy(struct boxed *to, const struct boxed *from)
{
    return boxed_make(to, from->text, strlen(from->text));
}

static void boxed_free(struct boxed *v)
{
    free(v->text);
    (void)__atomic_sub_fetch(&n_boxes, 1, __ATOMIC_RELAXED);
}

/* ---- plain values ---- */

static void errors_are_not_written(void **state)
{
    struct fixture *x = *state;
    uint64_t keys[] = {1, 2, 3, 4}, out[4];
    dload_status st[4];
    fixture_open(x);
    rec_script(&x->r, 2, ANSWER_FAIL, 0, DLOAD_EFETCH);
    rec_script(&x->r, 3, ANSWER_FAIL, 0, DLOAD_MISSING);
    rec_script(&x->r, 4, ANSWER_NOTHING, 0, DLOAD_OK);
    must_ok(tl_load_many(&x->l, keys, 4, out, st));
    equal(script.n_keys[DLOAD_STORE_SET], 1);
    assert_true(script_has(&script, "tl:1"));
    x->r.result = DLOAD_EFETCH; /* the batch fails */
    rec_script(&x->r, 9, ANSWER_NOTHING, 0, DLOAD_OK);
    must(tl_load(&x->l, 9, out), DLOAD_EFETCH);
    equal(script.n_keys[DLOAD_STORE_SET], 1);
}

static uint64_t keeps_fetch_errors(void *ctx, dload_status status)
{
    (void)ctx;
    return status == DLOAD_EFETCH ? 10 * DLOAD_SECOND : 0;
}

static void errors_with_a_ttl_are(void **state)
{
    struct fixture *x = *state;
    uint64_t keys[] = {2, 3, 4, 5}, out[4];
    dload_status st[4];
    x->cfg.missing_ttl_ns = 5 * DLOAD_SECOND;
    x->cfg.error_ttl = keeps_fetch_errors;
    fixture_open(x);
    rec_script(&x->r, 2, ANSWER_FAIL, 0, DLOAD_EFETCH);
    rec_script(&x->r, 3, ANSWER_FAIL, 0, DLOAD_MISSING);
    rec_script(&x->r, 4, ANSWER_NOTHING, 0, DLOAD_OK);
    rec_script(&x->r, 5, ANSWER_FAIL, 0, DLOAD_ETIMEDOUT);
    for (int i = 0; i < 2; i++) {
        must_ok(tl_load_many(&x->l, keys, 4, out, st));
        must(st[0], DLOAD_EFETCH);
        must(st[1], DLOAD_MISSING);
        must(st[2], DLOAD_MISSING);
        must(st[3], DLOAD_ETIMEDOUT);
        equal(script.n_keys[DLOAD_STORE_SET], 3);
        forget(x);
    }
    text_must(&x->r.calls, "B(2,3,4,5) B(5)");
    fixture_close(x);
    x->cfg.error_ttl = NULL; /* who keeps no errors takes none */
    fixture_open(x);
    must_ok(tl_load_many(&x->l, keys, 4, out, st));
    text_must(&x->r.calls, "B(2,5)");
}

static void ttls(void **state)
{
    struct fixture *x = *state;
    x->cfg.ttl_ns = 60 * DLOAD_SECOND;
    fixture_open(x);
    load_must(x, 1, 10);
    equal(script.entries[0].ttl_ns, 60 * DLOAD_SECOND);
    forget(x);
    script.says_left_ns = 2 * DLOAD_SECOND; /* less than the value's own */
    load_must(x, 1, 10);
    x->f.now_ns += 1500 * DLOAD_MILLISECOND;
    load_must(x, 1, 10);
    equal(x->r.n_calls, 1);
    equal(script.n_ops[DLOAD_STORE_GET], 2);
    x->f.now_ns += 1500 * DLOAD_MILLISECOND;
    script.says_left_ns = 0;
    load_must(x, 1, 10);
    equal(script.n_ops[DLOAD_STORE_GET], 3);
    fixture_close(x);
    x->cfg.ttl_ns = DLOAD_SECOND; /* its own is shorter than the stored one's */
    x->cfg.store_ttl_ns = 30 * DLOAD_SECOND;
    fixture_open(x);
    load_must(x, 1, 10);
    x->f.now_ns += 1100 * DLOAD_MILLISECOND;
    load_must(x, 1, 10);
    equal(script.n_ops[DLOAD_STORE_GET], 5);
    equal(x->r.n_calls, 1);
    load_must(x, 2, 20);
    equal(script.entries[1].ttl_ns, 30 * DLOAD_SECOND);
}

static void own_ttl(struct recorder *r, tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = rec_value(r, b->keys[i]);
        rec_script(r, b->keys[i], ANSWER_NOTHING, 0, DLOAD_OK);
        must_ok(tl_batch_set_ttl(b, i, &value, (b->keys[i] - 1) * DLOAD_SECOND));
    }
}

static void ttls_of_answers(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2, 3};
    x->cfg.store_ttl_ns = 30 * DLOAD_SECOND;
    fixture_open(x);
    x->r.act = own_ttl;
    load_all_must(x, keys, 3);
    equal(script.n, 2); /* the first is not to be kept */
    equal(script.entries[0].ttl_ns, DLOAD_SECOND);
    equal(script.entries[1].ttl_ns, 2 * DLOAD_SECOND);
}

static void what_was_not_asked_for_is_not(void **state)
{
    struct fixture *x = *state;
    uint64_t value = 7;
    fixture_open(x);
    x->r.extra[0] = 50;
    x->r.n_extra = 1;
    load_must(x, 1, 10);
    must_ok(tl_prime(&x->l, 60, &value, 0));
    equal(script.n, 1);
}

/* Batches that end later: what they answered meanwhile is stored at the end, though it is in the cache, was
 * evicted or replaced long ago. */
static void batches_that_take_their_time(void **state)
{
    struct fixture *x = *state;
    struct text log = {{0}, 0};
    struct request reqs[3] = {{.log = &log}, {.log = &log}, {.log = &log}};
    const uint64_t keys[] = {1, 2, 3};
    fixture_open(x);
    x->r.result = DLOAD_PENDING;
    request_start_all(x, reqs, keys, 3);
    equal(dispatch(x), 3);
    tl_batch *b = rec_take(&x->r, 0);
    uint64_t value = 10;
    must_ok(tl_batch_set(b, 0, &value));
    text_must(&log, "1=10");
    equal(script.n, 0);
    must_ok(tl_prime(&x->l, 2, &value, 0)); /* whatever comes for 2 is older */
    value = 20;
    must_ok(tl_batch_set(b, 1, &value));
    must_ok(tl_clear(&x->l, 1));
    value = 30;
    must_ok(tl_batch_set(b, 2, &value));
    must_ok(tl_batch_done(b, DLOAD_OK));
    equal(script.n, 1);
    assert_true(script_has(&script, "tl:3"));
    x->r.result = DLOAD_OK;
    forget(x);
    load_must(x, 3, 30);
}

static void given_up(void **state)
{
    struct fixture *x = *state;
    uint64_t out, value = 10;
    x->cfg.run_limit_ns = DLOAD_SECOND;
    fixture_open(x);
    x->r.result = DLOAD_PENDING;
    struct request req = {0};
    must(request_start(x, &req, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    tl_batch *b = rec_take(&x->r, 0);
    x->f.now_ns += 2 * DLOAD_SECOND;
    must_ok(tl_process(&x->l, x->f.now_ns));
    request_must_fail(&req, DLOAD_ETIMEDOUT);
    must(tl_batch_set(b, 0, &value), DLOAD_ECANCELED);
    must_ok(tl_batch_done(b, DLOAD_OK));
    equal(script.n_ops[DLOAD_STORE_SET], 0);
    x->r.result = DLOAD_OK;
    must_ok(tl_load(&x->l, 1, &out));
}

/* ---- blobs, in groups ---- */

static size_t bl_calls;

static dload_status bl_fetch(bl_batch *b)
{
    bl_calls++;
    for (size_t i = 0; i < b->n; i++) {
        if (b->keys[i].len == 0) {
            dload_blob none = {NULL, 0};
            must_ok(bl_batch_set(b, i, &none));
        } else if (b->keys[i].ptr[0] == 'e') {
            must_ok(bl_batch_set_bytes(b, i, "", 0));
        } else {
            must_ok(bl_batch_set_bytes(b, i, b->keys[i].ptr, b->keys[i].len));
        }
    }
    return DLOAD_OK;
}

static void blobs(void **state)
{
    struct fixture *x = *state;
    bl l;
    bl_config cfg = bl_config_default();
    static char big[65536];
    memset(big, 'B', sizeof big);
    memcpy(big, "\r\n\0%s{}'\"", 10);
    const dload_str keys[] = {{NULL, 0}, {"e", 1}, {"a:b\0c", 5}, {big, sizeof big}};
    cfg.fetch = bl_fetch;
    cfg.env = &x->f.env;
    cfg.store = &script.store;
    must_ok(bl_init(&l, &cfg));
    bl_calls = 0;
    for (int round = 0; round < 2; round++) {
        for (uint64_t group = 0; group < 2; group++) {
            dload_blob out[4];
            dload_status st[4];
            dload_call call = {.group = group};
            must_ok(bl_load_many_with(&l, keys, 4, &call, out, st));
            for (size_t i = 0; i < 4; i++) {
                must_ok(st[i]);
                equal(out[i].len, i < 2 ? 0 : keys[i].len);
                assert_true((out[i].ptr == NULL) == (i == 0));
                assert_true(i < 2 || memcmp(out[i].ptr, keys[i].ptr, keys[i].len) == 0);
                dload_blob_release(&out[i]);
            }
        }
        must_ok(bl_clear_all_local(&l));
    }
    equal(bl_calls, 2);
    equal(script.n, 8);
    assert_true(script_has(&script, "bl:1:e"));
    must_ok(bl_clear_group(&l, 1)); /* one group's keys alone */
    equal(script.n, 4);
    must_ok(bl_clear_in(&l, keys[1], 0));
    assert_false(script_has(&script, "bl:0:e"));
    equal(script.n, 3);
    must_ok(bl_close(&l, DLOAD_DRAIN, 0));
    must_ok(bl_destroy(&l));
}

/* ---- encoded ---- */

static size_t encode_fails, decode_fails;

static dload_status xl_encode(void *ctx, const struct boxed *v, void *bytes, size_t cap, size_t *n)
{
    (void)ctx;
    *n = strlen(v->text);
    if (encode_fails) {
        return DLOAD_EINVAL;
    }
    if (*n <= cap) {
        memcpy(bytes, v->text, *n);
    }
    return DLOAD_OK;
}

static dload_status xl_decode(void *ctx, const void *bytes, size_t n, struct boxed *v)
{
    (void)ctx;
    if (decode_fails) {
        return DLOAD_EDECODE;
    }
    (void)boxed_make(v, bytes, n);
    return DLOAD_OK;
}

static size_t xl_calls;

static dload_status xl_fetch(xl_batch *b)
{
    xl_calls++;
    for (size_t i = 0; i < b->n; i++) {
        char text[4000];
        memset(text, 'x', sizeof text);
        struct boxed v;
        (void)boxed_make(&v, text, (size_t)b->keys[i]);
        must_ok(xl_batch_move(b, i, &v));
    }
    return DLOAD_OK;
}

static void encoded(void **state)
{
    struct fixture *x = *state;
    xl l;
    xl_config cfg = xl_config_default();
    const int32_t keys[] = {3, 3999, 256, 257, 0};
    cfg.fetch = xl_fetch;
    cfg.env = &x->f.env;
    cfg.store = &script.store;
    must(xl_init(&l, &cfg), DLOAD_EINVAL); /* who cannot encode cannot store */
    cfg.encode = xl_encode;
    must(xl_init(&l, &cfg), DLOAD_EINVAL);
    cfg.decode = xl_decode;
    must_ok(xl_init(&l, &cfg));
    xl_calls = 0;
    for (int round = 0; round < 4; round++) {
        struct boxed out[5];
        dload_status st[5];
        encode_fails = round == 2;
        decode_fails = round == 2;
        must_ok(xl_load_many(&l, keys, 5, out, st));
        for (size_t i = 0; i < 5; i++) {
            must_ok(st[i]);
            equal(strlen(out[i].text), keys[i]);
            boxed_free(&out[i]);
        }
        must_ok(xl_clear_all_local(&l));
    }
    equal(xl_calls, 2);
    equal(script.n, 5);
    dload_stats s = {0};
    must_ok(xl_stats(&l, &s));
    equal(s.store_refused, 5);
    equal(s.store_errors, 5);
    equal(s.store_hits, 10);
    must_ok(xl_close(&l, DLOAD_DRAIN, 0));
    must_ok(xl_destroy(&l));
    equal(n_boxes, 0);
}

/* Behind a channel that tells only of what was read from the store: what was fetched is cached when the store has
 * it, and one that the store did not take never is. */
static void only_what_the_store_had_is_cached(void **state)
{
    struct fixture *x = *state;
    dload_sink sink = {0};
    uint64_t value = 0;
    dload_state peeked = DLOAD_STATE_ABSENT;
    fixture_open(x);
    must_ok(tl_sink(&x->l, &sink));
    sink.only_reads(sink.ctx);
    sink.up(sink.ctx);
    must_ok(tl_load(&x->l, 1, &value));
    must(tl_peek(&x->l, 1, &peeked, NULL), DLOAD_MISSING);
    must_ok(tl_load(&x->l, 1, &value));
    must_ok(tl_peek(&x->l, 1, &peeked, &value));
    equal(value, rec_value(&x->r, 1));
    text_must(&x->r.calls, "B(1)");
    script.fails[DLOAD_STORE_SET] = DLOAD_EBACKEND;
    for (int i = 0; i < 2; i++) {
        must_ok(tl_load(&x->l, 2, &value));
        equal(value, rec_value(&x->r, 2));
        must(tl_peek(&x->l, 2, &peeked, NULL), DLOAD_MISSING);
        text_must(&x->r.calls, "B(2)");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_RULE("behind tracking only what the store had is cached",
                   only_what_the_store_had_is_cached),
        STORE_RULE("46 errors are not written", errors_are_not_written),
        STORE_RULE("46 unless they have a TTL", errors_with_a_ttl_are),
        STORE_RULE("TTLs", ttls),
        STORE_RULE("TTLs of answers", ttls_of_answers),
        STORE_RULE("what was not asked for is not written", what_was_not_asked_for_is_not),
        STORE_RULE("batches that take their time", batches_that_take_their_time),
        STORE_RULE("batches given up are not written", given_up),
        STORE_RULE("blobs in groups", blobs),
        STORE_RULE("encoded values", encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
