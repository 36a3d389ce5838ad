/* Options of calls and corners of the interface that no rule names: DLOAD_FRESH, a call larger than
 * the queue, cancelled string keys, owned values of abandoned batches, pools, layouts, clocks. */
/* locks: CUSTOM NONE SPIN PTHREAD */
#include "test_loader.h"

#define DLOAD_NAME  cl
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_CLOCK DLOAD_CLOCK_COARSE
#include "dataloader.h"

#define DLOAD_NAME  lru
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_EVICT DLOAD_EVICT_LRU
#include "dataloader.h"

/* ---- DLOAD_FRESH ---- */

static void test_calls_fresh(void **state)
{
    struct fixture *x = *state;
    static struct request q[2];
    memset(q, 0, sizeof q);
    dload_call fresh = {.flags = DLOAD_FRESH};
    uint64_t out = 0;
    fixture_open(x);
    load_must(x, 1, 10);
    x->r.version = 1;
    must_ok(tl_load_with(&x->l, 1, &fresh, &out));
    equal(out, 11);
    load_must(x, 1, 11); /* and it replaced what was cached */
    x->r.version = 2;
    must_ok(tl_load_many_with(&x->l, (uint64_t[]){1, 1}, 2, &fresh, (uint64_t[2]){0}, NULL));
    text_must(&x->r.calls, "B(1) B(1) B(1)"); /* once for the two of one call */
    load_must(x, 1, 12);
    /* What is queued is fresh enough, what is being fetched is not. */
    x->r.result = DLOAD_PENDING;
    must(request_start(x, &q[0], 5), DLOAD_PENDING);
    q[1].key = 5;
    q[1].w.done = request_done;
    q[1].w.ctx = &q[1];
    must(tl_start_with(&x->l, 5, &fresh, &q[1].w), DLOAD_PENDING);
    equal(dispatch(x), 1);
    rec_finish(&x->r);
    request_must(&q[0], 52);
    request_must(&q[1], 52);
    text_must(&x->r.calls, "B(5)");
    memset(q, 0, sizeof q);
    must(request_start(x, &q[0], 6), DLOAD_PENDING);
    equal(dispatch(x), 1);
    q[1].key = 6;
    q[1].w.done = request_done;
    q[1].w.ctx = &q[1];
    must(tl_start_with(&x->l, 6, &fresh, &q[1].w), DLOAD_PENDING);
    equal(dispatch(x), 1);
    text_must(&x->r.calls, "B(6) B(6)");
    tl_batch *second = rec_take(&x->r, 1);
    x->r.version = 3;
    rec_give_all(&x->r, second);
    must_ok(tl_batch_done(second, DLOAD_OK));
    x->r.version = 2;
    rec_finish(&x->r); /* the older one ends last, and is cached nowhere */
    request_must(&q[0], 62);
    request_must(&q[1], 63);
    load_must(x, 6, 63);
}

/* ---- many keys ---- */

static void test_calls_larger_than_the_queue(void **state)
{
    struct fixture *x = *state;
    uint64_t keys[50], out[50];
    dload_status st[50];
    x->cfg.max_queue = 8;
    x->cfg.max_batch = 5;
    fixture_open(x);
    for (uint64_t i = 0; i < 50; i++) {
        keys[i] = i % 40;
    }
    must_ok(tl_load_many(&x->l, keys, 50, out, st));
    for (uint64_t i = 0; i < 50; i++) {
        must_ok(st[i]);
        equal(out[i], keys[i] * 10);
    }
    equal(x->r.n_keys, 40);
}

static void test_calls_many_at_the_deadline(void **state)
{
    struct fixture *x = *state;
    uint64_t out[4] = {7, 7, 7, 7};
    dload_status st[4];
    fixture_open(x);
    must_ok(tl_prime(&x->l, 1, &(uint64_t){10}, 0));
    x->r.result = DLOAD_PENDING;
    dload_call call = {.deadline_ns = x->f.now_ns + DLOAD_MILLISECOND};
    must(tl_load_many_with(&x->l, (uint64_t[]){1, 2, 3, 2}, 4, &call, out, st), DLOAD_ETIMEDOUT);
    must_ok(st[0]); /* a hit costs no time */
    equal(out[0], 10);
    for (size_t i = 1; i < 4; i++) {
        must(st[i], DLOAD_ETIMEDOUT);
        equal(out[i], 7);
    }
    assert_true(tl_batch_cancelled(x->r.pending[0]));
    rec_finish(&x->r);
    x->r.result = DLOAD_OK;
    load_must(x, 3, 30);
    text_must(&x->r.calls, "B(2,3)");
}

static void test_calls_expect_more_than_a_batch(void **state)
{
    struct fixture *x = *state;
    static struct request q[4];
    memset(q, 0, sizeof q);
    x->cfg.max_batch = 4;
    x->cfg.settle_ns = x->cfg.max_age_ns = DLOAD_SECOND;
    fixture_open(x);
    must_ok(tl_expect(&x->l, SIZE_MAX));
    request_start_all(x, q, (uint64_t[]){1, 2, 3, 4}, 4);
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "B(1,2,3,4)");
    must_ok(tl_expect(&x->l, 0)); /* nothing is expected after all */
}

/* ---- strings and blobs ---- */

struct blob_request {
    cl_waiter w;
    size_t n_done;
};

static cl_batch *blob_batch;

static dload_status keep_blob_batch(cl_batch *b)
{
    blob_batch = b;
    return DLOAD_PENDING;
}

static void blob_done(cl_waiter *w)
{
    ((struct blob_request *)w->ctx)->n_done++;
    if (w->status >= 0) {
        dload_blob_release(&w->value);
    }
}

static void blob_start(cl *l, struct blob_request *q, const char *key)
{
    memset(q, 0, sizeof *q);
    q->w.done = blob_done;
    q->w.ctx = q;
    must(cl_start(l, dload_str_from(key), &q->w), DLOAD_PENDING);
}

/* The clock of the cache is the system's here, so its TTL passes in real time. */
static void test_calls_strings_and_blobs(void **state)
{
    struct fixture *x = *state;
    static struct blob_request q[4];
    cl l;
    cl_config cfg = cl_config_default();
    cfg.fetch = keep_blob_batch;
    cfg.env = &x->f.env;
    cfg.ttl_ns = 300 * DLOAD_MILLISECOND;
    cfg.ttl_jitter_pct = 10;
    x->f.env.random = NULL; /* a fixed sequence */
    must_ok(cl_init(&l, &cfg));
    blob_start(&l, &q[0], "a key that is cancelled before it was sent");
    blob_start(&l, &q[1], "another");
    blob_start(&l, &q[2], "");
    blob_start(&l, &q[3], "a key that goes with the loader");
    must_ok(cl_cancel(&l, &q[0].w));
    must_ok(cl_dispatch(&l, NULL));
    equal(blob_batch->n, 3);
    must_ok(cl_batch_set_bytes(blob_batch, 0, "bytes", 5));
    equal(q[1].n_done, 1);
    dload_blob got;
    dload_state s;
    must_ok(cl_load(&l, dload_str_from("another"), &got));
    equal(got.len, 5);
    dload_blob_release(&got);
    sleep_ms(320);
    must(cl_peek(&l, dload_str_from("another"), &s, NULL), DLOAD_MISSING);
    /* Answered from inside the function's time, but given up before it ended: released all the
     * same. */
    must(cl_close(&l, DLOAD_FAIL, x->f.now_ns + 1), DLOAD_ETIMEDOUT);
    must(cl_batch_set_bytes(blob_batch, 1, "late", 4), DLOAD_ECANCELED);
    must_ok(cl_batch_done(blob_batch, DLOAD_OK));
    equal(q[2].n_done + q[3].n_done, 2);
    must(q[3].w.status, DLOAD_ECLOSED);
    must_ok(cl_close(&l, DLOAD_FAIL, 0));
    must_ok(cl_destroy(&l));
    must_ok(cl_destroy(&l)); /* once more is nothing */
}

static dload_status answer_then_outlive(lru_batch *b)
{
    struct fixture *x = b->ctx;
    dload_status st = lru_batch_set_bytes(b, 0, "kept", 4);
    must_ok(st);
    /* The loop's turn comes while the function still runs, and finds it over its limit. */
    x->f.now_ns += 10 * DLOAD_SECOND;
    must_ok(lru_process(b->owner, x->f.now_ns));
    return DLOAD_OK;
}

static void test_calls_given_up_while_running(void **state)
{
    struct fixture *x = *state;
    lru l;
    lru_config cfg = lru_config_default();
    dload_blob out;
    dload_status st[2];
    dload_blob outs[2];
    cfg.fetch = answer_then_outlive;
    cfg.ctx = x;
    cfg.env = &x->f.env;
    cfg.run_limit_ns = DLOAD_SECOND;
    must_ok(lru_init(&l, &cfg));
    (void)lru_load_many(&l, (uint64_t[]){1, 2}, 2, outs, st);
    must_ok(st[0]); /* it was answered in time */
    dload_blob_release(&outs[0]);
    must(st[1], DLOAD_ETIMEDOUT);
    dload_state s;
    must(lru_peek(&l, 1, &s, &out), DLOAD_MISSING); /* but what is given up is not cached */
    must_ok(lru_close(&l, DLOAD_FAIL, 0));
    must_ok(lru_destroy(&l));
}

/* After a clear of a full cache what is dead leaves before what is alive, owned or not. */
static void test_calls_dead_leave_first(void **state)
{
    struct fixture *x = *state;
    lru_cache c;
    lru_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &x->f.env;
    cfg.capacity = 200;
    cfg.shards = 1;
    must_ok(lru_cache_init(&c, &cfg));
    dload_blob v, got;
    must_ok(dload_blob_make(&x->f.env, "v", 1, &v));
    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t key = 0; key < 200; key++) {
            must_ok(lru_cache_set(&c, 1000 * round + key, &v, 0));
            must_ok(lru_cache_get(&c, 1000 * round, &got)); /* the first stays in use */
            dload_blob_release(&got);
        }
        equal(lru_cache_len(&c), 200);
        must_ok(lru_cache_clear(&c));
    }
    equal(lru_cache_len(&c), 0);
    dload_blob_release(&v);
    must_ok(lru_cache_destroy(&c));
}

/* ---- layout, pools, texts ---- */

static void test_calls_layout(void **state)
{
    struct fixture *x = *state;
    tl l;
    must(tl_init_checked(&l, &x->cfg, sizeof x->cfg - 8, 0), DLOAD_ELAYOUT);
    must(tl_init_checked(&l, &x->cfg, sizeof x->cfg, 12345), DLOAD_ELAYOUT);
}

/* A pool hands on everything but memory. */
static void test_calls_pool_is_an_env(void **state)
{
    struct fixture *x = *state;
    static _Alignas(16) char block[64 * 1024];
    dload_pool pool;
    x->f.env.self = NULL;
    dload_pool_init(&pool, block, sizeof block, &x->f.env);
    x->cfg.env = &pool.env;
    x->cfg.capacity = 100;
    x->cfg.ttl_ns = DLOAD_SECOND;
    x->cfg.ttl_jitter_pct = 50;
    x->cfg.timeout_ns = DLOAD_SECOND;
    x->r.result = DLOAD_PENDING;
    fixture_open(x);
    uint64_t out = 0, before = x->f.random, start = x->f.now_ns;
    equal(tl_now(&x->l), start);
    must(tl_load(&x->l, 1, &out), DLOAD_ETIMEDOUT); /* the parent's wait moves the parent's clock */
    assert_true(x->f.now_ns >= start + DLOAD_SECOND && x->f.n_waits > 0);
    rec_finish(&x->r);
    assert_true(x->f.random != before); /* its chance shortens TTLs */
    equal(x->f.n_live, 0);
    fixture_close(x);
    dload_pool host;
    dload_pool_init(&host, block, sizeof block, NULL);
    assert_true(host.env.now(host.env.ctx) > 0);
    assert_true(!host.env.self || host.env.self(host.env.ctx) != 0);
}

static void test_calls_label_is_escaped(void **state)
{
    (void)state;
    dload_stats s;
    char buf[8192];
    memset(&s, 0, sizeof s);
    must_ok(dload_stats_prometheus(&s, "a\"b\\c\nd", buf, sizeof buf, NULL));
    assert_non_null(strstr(buf, "{loader=\"a\\\"b\\\\c\\nd\"}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("fresh: not from the cache", test_calls_fresh),
        RULE("a call larger than the queue", test_calls_larger_than_the_queue),
        RULE("load_many at its deadline", test_calls_many_at_the_deadline),
        RULE("expect more than a batch holds", test_calls_expect_more_than_a_batch),
        RULE("cancelled strings, late blobs", test_calls_strings_and_blobs),
        RULE("given up while the function runs", test_calls_given_up_while_running),
        RULE("what is dead leaves first", test_calls_dead_leave_first),
        RULE("layout", test_calls_layout),
        RULE("a pool hands on everything but memory", test_calls_pool_is_an_env),
        RULE("a label is escaped", test_calls_label_is_escaped),
    };
    return cmocka_run_group_tests_name("calls " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
