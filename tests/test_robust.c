/* Arguments and answers that are wrong: an error is a value, never a crash, and the loader works
 * afterwards. */
/* locks: NONE SPIN PTHREAD */
#include "test_loader.h"

/* ---- configurations ---- */

static void refused(struct fixture *x, tl_config cfg)
{
    tl l;
    must(tl_init(&l, &cfg), DLOAD_EINVAL);
    equal(x->f.n_live, 0);
}

static void test_robust_configurations(void **state)
{
    struct fixture *x = *state;
    tl_config good = x->cfg, bad;
    tl l;
    must(tl_init(&l, NULL), DLOAD_EINVAL);
    must(tl_init(NULL, &good), DLOAD_EINVAL);
    bad = good;
    bad.fetch = NULL;
    refused(x, bad);
    bad = good;
    bad.ttl_jitter_pct = 91;
    refused(x, bad);
    bad.ttl_jitter_pct = UINT32_MAX;
    refused(x, bad);
    bad = good;
    bad.max_batch = ((size_t)1 << 20) + 1;
    refused(x, bad);
    bad.max_batch = SIZE_MAX;
    refused(x, bad);
    dload_env half = x->f.env;
    half.free = NULL; /* memory that cannot be given back */
    bad = good;
    bad.env = &half;
    refused(x, bad);
    half = x->f.env;
    half.alloc = NULL;
    refused(x, bad);
}

/* Sizes at the edges either work, or are refused before anything was allocated for good. */
static void test_robust_sizes(void **state)
{
    struct fixture *x = *state;
    static const size_t sizes[] = {
        1, 2, 100, UINT32_MAX, SIZE_MAX / 2, SIZE_MAX / 4, SIZE_MAX - 2, SIZE_MAX / 2 + 1};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (int field = 0; field < 4; field++) {
            tl l;
            tl_config cfg = x->cfg;
            size_t *at[] = {&cfg.capacity, &cfg.max_queue, &cfg.max_in_flight, &cfg.shards};
            if (field == 0 && sizes[i] == UINT32_MAX) {
                continue; /* 4 G entries may well be had on a large machine */
            }
            *at[field] = sizes[i];
            dload_status st = tl_init(&l, &cfg);
            if (st == DLOAD_OK) {
                uint64_t out = 0;
                must_ok(tl_load(&l, 1, &out));
                equal(out, 10);
                must_ok(tl_close(&l, DLOAD_FAIL, 0));
                must_ok(tl_destroy(&l));
            } else {
                assert_true(st == DLOAD_EINVAL || st == DLOAD_ENOMEM || st == DLOAD_ETOOBIG);
            }
            fake_env_check(&x->f);
        }
    }
}

static void test_robust_times(void **state)
{
    struct fixture *x = *state;
    static const uint64_t times[] = {1, DLOAD_NEVER, DLOAD_NEVER - 1, DLOAD_NEVER - 2,
                                     UINT64_C(1) << 63};
    for (size_t i = 0; i < COUNT(times); i++) {
        tl_config cfg = tl_config_default();
        cfg.fetch = rec_fetch;
        cfg.ctx = &x->r;
        cfg.env = &x->f.env;
        cfg.ttl_ns = cfg.missing_ttl_ns = cfg.timeout_ns = cfg.run_limit_ns = times[i];
        cfg.settle_ns = cfg.max_age_ns = i ? times[i] : 1;
        x->cfg = cfg;
        fixture_open(x);
        static struct request a;
        uint64_t out = 0;
        memset(&a, 0, sizeof a);
        must(request_start(x, &a, 1), DLOAD_PENDING);
        (void)tl_next_deadline(&x->l);
        must_ok(tl_process(&x->l, x->f.now_ns));
        must_ok(tl_dispatch(&x->l, NULL));
        request_must(&a, 10);
        dload_status st = tl_load(&x->l, 2, &out);
        assert_true(st == DLOAD_OK || (times[i] == 1 && st == DLOAD_ETIMEDOUT));
        must_ok(tl_process(&x->l, DLOAD_NEVER));
        must_ok(tl_process(&x->l, 0));
        text_clear(&x->r.calls);
        fixture_close(x);
        fake_env_check(&x->f);
        x->f.now_ns = DLOAD_SECOND;
    }
}

static void test_robust_zeros_are_defaults(void **state)
{
    struct fixture *x = *state;
    tl_config zero;
    memset(&zero, 0, sizeof zero);
    zero.fetch = rec_fetch;
    zero.ctx = &x->r;
    tl l; /* with the host's environment, too */
    uint64_t out = 0;
    must_ok(tl_init(&l, &zero));
    must_ok(tl_load(&l, 1, &out));
    equal(out, 10);
    must_ok(tl_close(&l, DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&l));
    tl_config d = tl_config_default();
    equal(d.capacity, 4096);
    equal(d.max_batch, 100);
    equal(d.max_in_flight, 4);
    equal(d.max_queue, 65536);
    equal(d.timeout_ns, 30 * DLOAD_SECOND);
    equal(d.run_limit_ns, 60 * DLOAD_SECOND);
    equal(d.ttl_ns, DLOAD_NEVER);
}

/* ---- arguments ---- */

static void test_robust_null_arguments(void **state)
{
    struct fixture *x = *state;
    uint64_t key = 1, out = 0;
    dload_status st[2] = {DLOAD_EBUSY, DLOAD_EBUSY};
    fixture_open(x);
    must(tl_load(&x->l, 1, NULL), DLOAD_EINVAL);
    must_ok(tl_prime(&x->l, 2, &out, 0));
    must(tl_load(&x->l, 2, NULL), DLOAD_EINVAL); /* a hit, too */
    must(tl_load_many(&x->l, NULL, 1, &out, st), DLOAD_EINVAL);
    must(tl_load_many(&x->l, &key, 1, NULL, st), DLOAD_EINVAL);
    must(tl_start(&x->l, 1, NULL), DLOAD_EINVAL);
    must(tl_cancel(&x->l, NULL), DLOAD_EINVAL);
    must(tl_prime(&x->l, 1, NULL, 0), DLOAD_EINVAL);
    must(tl_prime_many(&x->l, NULL, &out, 1, 0, NULL), DLOAD_EINVAL);
    must(tl_prime_many(&x->l, &key, NULL, 1, 0, NULL), DLOAD_EINVAL);
    must(tl_put_if(&x->l, 1, NULL, tl_token(&x->l)), DLOAD_EINVAL);
    must(tl_peek(&x->l, 1, NULL, NULL), DLOAD_EINVAL);
    must(tl_clear_many(&x->l, NULL, 1), DLOAD_EINVAL);
    must(tl_stats(&x->l, NULL), DLOAD_EINVAL);
    must(tl_close(&x->l, (dload_close_mode)7, 0), DLOAD_EINVAL);
    text_must(&x->r.calls, "");
    load_must(x, 1, 10); /* a bad close did not close it */
}

static void test_robust_cancel_of_strangers(void **state)
{
    struct fixture *x = *state;
    static struct request a;
    tl_waiter never;
    memset(&a, 0, sizeof a);
    memset(&never, 0, sizeof never);
    fixture_open(x);
    must(tl_cancel(&x->l, &never), DLOAD_EBUSY); /* it was not started, so it cannot be withdrawn */
    must(request_start(x, &a, 1), DLOAD_PENDING);
    must_ok(tl_cancel(&x->l, &a.w));
    must(tl_cancel(&x->l, &a.w), DLOAD_EBUSY);
    must(request_start(x, &a, 1), DLOAD_PENDING); /* and may be used again */
    dispatch(x);
    request_must(&a, 10);
    must(tl_cancel(&x->l, &a.w), DLOAD_EBUSY);
}

/* ---- fetch functions that misbehave ---- */

static dload_status odd_status;

static dload_status fetch_odd(tl_batch *b)
{
    (void)b;
    return odd_status;
}

static void test_robust_odd_statuses(void **state)
{
    struct fixture *x = *state;
    /* Neither OK, nor PENDING, nor an error of a known name: what to make of a positive number? */
    static const int statuses[] = {DLOAD_STALE,     2,           1000,        INT32_MAX, -500, -999,
                                   DLOAD_EUSER - 1, -2147483647, DLOAD_EFETCH};
    x->cfg.fetch = fetch_odd;
    fixture_open(x);
    for (size_t i = 0; i < COUNT(statuses); i++) {
        uint64_t out = 77;
        odd_status = (dload_status)statuses[i];
        dload_status st = tl_load(&x->l, 1, &out);
        assert_true(st < 0 && st != DLOAD_PENDING); /* there is no value: never a success */
        equal(out, 77);
        if (statuses[i] < 0) {
            must(st, (dload_status)statuses[i]);
        }
        dload_state there;
        must(tl_peek(&x->l, 1, &there, &out), DLOAD_MISSING);
        equal(there, DLOAD_STATE_ABSENT);
    }
}

static void answer_wrongly(struct recorder *r, tl_batch *b)
{
    uint64_t value = 5;
    must(tl_batch_set(b, b->n, &value), DLOAD_EBATCH);
    must(tl_batch_set(b, SIZE_MAX, &value), DLOAD_EBATCH);
    must(tl_batch_fail(b, b->n, DLOAD_EFETCH), DLOAD_EBATCH);
    must(tl_batch_set(b, 0, NULL), DLOAD_EINVAL);
    must(tl_batch_fail(b, 0, DLOAD_OK), DLOAD_EINVAL);
    must(tl_batch_fail(b, 0, DLOAD_STALE), DLOAD_EINVAL);
    must(tl_batch_fail(b, 0, DLOAD_PENDING), DLOAD_EINVAL);
    must(tl_batch_put(b, 5, NULL), DLOAD_EINVAL);
    must_ok(tl_batch_set(b, 0, &value));
    value = 6;
    must(tl_batch_set(b, 0, &value), DLOAD_EBUSY); /* the first answer wins */
    must(tl_batch_set_ttl(b, 0, &value, 0), DLOAD_EBUSY);
    must(tl_batch_fail(b, 0, DLOAD_EFETCH), DLOAD_EBUSY);
    must_ok(tl_batch_fail(b, 1, DLOAD_EBACKEND));
    must(tl_batch_set(b, 1, &value), DLOAD_EBUSY);
    rec_script(r, b->keys[0], ANSWER_NOTHING, 0, DLOAD_OK);
    rec_script(r, b->keys[1], ANSWER_NOTHING, 0, DLOAD_OK);
}

static void test_robust_wrong_answers(void **state)
{
    struct fixture *x = *state;
    uint64_t out[3] = {0};
    dload_status st[3];
    fixture_open(x);
    x->r.act = answer_wrongly;
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2, 3}, 3, out, st));
    must_ok(st[0]);
    equal(out[0], 5);
    must(st[1], DLOAD_EBACKEND);
    must_ok(st[2]);
    equal(out[2], 30);
    x->r.act = NULL;
    load_must(x, 1, 5);
}

static void done_inside(struct recorder *r, tl_batch *b)
{
    rec_give_all(r, b);
    must_ok(tl_batch_done(b, DLOAD_OK)); /* before the function has even returned PENDING */
}

static dload_status fetch_done_inside(tl_batch *b)
{
    done_inside(b->ctx, b);
    return DLOAD_PENDING;
}

static void test_robust_done_before_pending(void **state)
{
    struct fixture *x = *state;
    static struct request a;
    memset(&a, 0, sizeof a);
    x->cfg.fetch = fetch_done_inside;
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    request_must(&a, 10);
    load_must(x, 2, 20);
}

/* A pending batch without env->wait: nobody could ever finish it while a blocking call waits here.
 * */
static void test_robust_nobody_to_wait_with(void **state)
{
    struct fixture *x = *state;
    uint64_t out = 77;
    if (TEST_LOCK != DLOAD_LOCK_NONE) {
        x->cfg.timeout_ns = 1000; /* these wait by themselves, on a clock that moves when read */
        x->f.step_ns = 1;
    }
    x->f.env.wait = NULL;
    x->r.result = DLOAD_PENDING;
    fixture_open(x);
    must(tl_load(&x->l, 1, &out), TEST_LOCK == DLOAD_LOCK_NONE ? DLOAD_EAGAIN : DLOAD_ETIMEDOUT);
    equal(out, 77);
    rec_finish(&x->r);
    x->r.result = DLOAD_OK;
    must_ok(tl_load(&x->l, 1, &out)); /* what came afterwards was kept */
    equal(out, 10);
}

/* ---- the end ---- */

static void test_robust_destroy(void **state)
{
    struct fixture *x = *state;
    static struct request a;
    memset(&a, 0, sizeof a);
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    must(tl_destroy(&x->l), DLOAD_EBUSY); /* a waiter is out */
    x->r.result = DLOAD_PENDING;
    dispatch(x);
    must(tl_destroy(&x->l), DLOAD_EBUSY); /* a batch is out */
    x->r.result = DLOAD_OK;
    load_must(x, 2, 20); /* and it stays usable */
    rec_finish(&x->r);
    request_must(&a, 10);
    must_ok(tl_close(&x->l, DLOAD_FAIL, 0));
    must_ok(tl_close(&x->l, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&x->l));
    x->open = false;
}

static void test_robust_after_close(void **state)
{
    struct fixture *x = *state;
    static struct request a;
    uint64_t out[2], value = 5;
    dload_status st[2];
    memset(&a, 0, sizeof a);
    fixture_open(x);
    load_must(x, 1, 10);
    must_ok(tl_close(&x->l, DLOAD_DRAIN, 0));
    /* Nothing may be loaded any more, a hit no more than a miss; and nothing crashes. */
    must(tl_load(&x->l, 2, out), DLOAD_ECLOSED);
    must(tl_load_many(&x->l, (uint64_t[]){2, 3}, 2, out, st), DLOAD_ECLOSED);
    must(request_start(x, &a, 2), DLOAD_ECLOSED);
    (void)tl_prime(&x->l, 9, &value, 0);
    must_ok(tl_clear(&x->l, 1));
    must_ok(tl_clear_all(&x->l));
    must_ok(tl_dispatch(&x->l, NULL));
    must_ok(tl_process(&x->l, x->f.now_ns));
    (void)stats_of(x);
    equal(tl_next_deadline(&x->l), DLOAD_NEVER);
}

static void close_inside(struct recorder *r, tl_batch *b)
{
    struct fixture *x = r->act_ctx;
    (void)b;
    r->act = NULL;
    dload_status st = tl_close(&x->l, DLOAD_DRAIN, 0); /* it cannot wait for the batch it is in */
    assert_true(st == DLOAD_EBUSY || st == DLOAD_EDEADLK || st == DLOAD_OK);
    must(tl_destroy(&x->l), DLOAD_EBUSY);
}

static void test_robust_close_inside_fetch(void **state)
{
    struct fixture *x = *state;
    uint64_t out = 0;
    fixture_open(x);
    x->r.act = close_inside;
    x->r.act_ctx = x;
    must_ok(tl_load(&x->l, 1, &out));
    equal(out, 10);
}

/* ---- a text for every status ---- */

static void test_robust_status_texts(void **state)
{
    (void)state;
#define CHECK_TEXT(name, value, text)                            \
    assert_string_equal(dload_status_name(DLOAD_##name), #name); \
    assert_string_equal(dload_strerror(DLOAD_##name), text);
    DLOAD_I_STATUS_MAP(CHECK_TEXT)
    assert_string_equal(dload_status_name((dload_status)(DLOAD_EUSER - 5)), "EUSER");
    assert_string_equal(dload_status_name((dload_status)-999), "unknown");
    assert_string_equal(dload_status_name((dload_status)77), "unknown");
    assert_non_null(dload_strerror((dload_status)INT32_MIN + 1));
    assert_true(strlen(dload_strerror(DLOAD_EAGAIN)) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("configurations out of range", test_robust_configurations),
        RULE("sizes at the edges", test_robust_sizes),
        RULE("times at the edges", test_robust_times),
        RULE("zeros are defaults", test_robust_zeros_are_defaults),
        RULE("NULL arguments", test_robust_null_arguments),
        RULE("cancelling what is not waiting", test_robust_cancel_of_strangers),
        RULE("statuses that no function should return", test_robust_odd_statuses),
        RULE("answers to keys that are not there, or twice", test_robust_wrong_answers),
        RULE("done before pending", test_robust_done_before_pending),
        RULE("pending without a way to wait", test_robust_nobody_to_wait_with),
        RULE("destroy while something is out", test_robust_destroy),
        RULE("calls after a close", test_robust_after_close),
        RULE("close from inside the fetch function", test_robust_close_inside_fetch),
        RULE("a text for every status", test_robust_status_texts),
    };
    return cmocka_run_group_tests_name("robust " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
