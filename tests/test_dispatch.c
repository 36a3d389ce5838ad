/* Rules 1 to 14: when a batch goes, and what is in it. */
/* locks: NONE SPIN PTHREAD */
#include "test_loader.h"

#define LONG_NS (3600 * DLOAD_SECOND)

static void test_dispatch_one(void **state)
{
    struct fixture *x = *state;
    static struct request a;
    memset(&a, 0, sizeof a);
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    equal(a.n_done, 0);
    equal(dispatch(x), 1);
    request_must(&a, 10);
    text_must(&x->r.calls, "B(1)");
    /* The blocking way gives the same. */
    load_must(x, 2, 20);
    text_must(&x->r.calls, "B(2)");
}

static void test_dispatch_order_of_request(void **state)
{
    struct fixture *x = *state;
    static struct request q[3];
    memset(q, 0, sizeof q);
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2}, 2);
    equal(dispatch(x), 2);
    request_must(&q[0], 10);
    request_must(&q[1], 20);
    text_must(&x->r.calls, "B(1,2)");
    memset(q, 0, sizeof q);
    request_start_all(x, q, (uint64_t[]){9, 3, 7}, 3);
    equal(dispatch(x), 3);
    text_must(&x->r.calls, "B(9,3,7)");
}

static void test_dispatch_many_of_nothing(void **state)
{
    struct fixture *x = *state;
    uint64_t key = 1, out = 77;
    dload_status st = DLOAD_EBUSY;
    fixture_open(x);
    must_ok(tl_load_many(&x->l, &key, 0, &out, &st));
    must_ok(tl_load_many(&x->l, NULL, 0, NULL, NULL));
    equal(out, 77);
    must(st, DLOAD_EBUSY);
    text_must(&x->r.calls, "");
}

static void test_dispatch_many_in_order_asked(void **state)
{
    struct fixture *x = *state;
    uint64_t out[3] = {0};
    dload_status st[3];
    fixture_open(x);
    for (int backwards = 0; backwards < 2; backwards++) {
        x->r.backwards = backwards != 0;
        must_ok(tl_clear_all(&x->l));
        must_ok(tl_load_many(&x->l, (uint64_t[]){3, 1, 2}, 3, out, st));
        text_must(&x->r.calls, "B(3,1,2)");
        for (size_t i = 0; i < 3; i++) {
            must_ok(st[i]);
        }
        equal(out[0], 30);
        equal(out[1], 10);
        equal(out[2], 20);
    }
}

static void test_dispatch_of_nothing(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    equal(dispatch(x), 0);
    must_ok(tl_dispatch(&x->l, NULL));
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "");
    equal(stats_of(x).batches, 0);
}

static void test_dispatch_never_twice(void **state)
{
    struct fixture *x = *state;
    static struct request a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    must(request_start(x, &b, 2), DLOAD_PENDING);
    equal(dispatch(x), 1);
    equal(dispatch(x), 0);
    text_must(&x->r.calls, "B(1) B(2)");
}

static void test_dispatch_counts_keys(void **state)
{
    struct fixture *x = *state;
    static struct request q[5];
    memset(q, 0, sizeof q);
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2, 1, 1, 2}, 5);
    equal(dispatch(x), 2);
    for (size_t i = 0; i < 5; i++) {
        request_must(&q[i], i == 1 || i == 4 ? 20 : 10);
    }
    text_must(&x->r.calls, "B(1,2)");
}

static void test_dispatch_full_batch_goes_at_once(void **state)
{
    struct fixture *x = *state;
    static struct request q[3];
    memset(q, 0, sizeof q);
    x->cfg.max_batch = 2;
    x->cfg.settle_ns = LONG_NS;
    x->cfg.max_age_ns = LONG_NS;
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2, 3}, 3);
    assert_true(tl_next_deadline(&x->l) <= x->f.now_ns);
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "B(1,2)");
    request_must(&q[0], 10);
    request_must(&q[1], 20);
    equal(q[2].n_done, 0);
    /* The third waits for its own trigger, and no less. */
    uint64_t due = tl_next_deadline(&x->l);
    equal(due, x->f.now_ns + LONG_NS);
    x->f.now_ns = due - 1;
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "");
    x->f.now_ns = due;
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "B(3)");
    request_must(&q[2], 30);
}

static void test_dispatch_splits_at_max_batch(void **state)
{
    struct fixture *x = *state;
    static struct request q[21];
    uint64_t keys[21], out[21];
    dload_status st[21];
    memset(q, 0, sizeof q);
    x->cfg.max_batch = 5;
    fixture_open(x);
    for (size_t i = 0; i < 21; i++) {
        keys[i] = i;
    }
    static const char want[] =
        "B(0,1,2,3,4) B(5,6,7,8,9) B(10,11,12,13,14) B(15,16,17,18,19) B(20)";
    request_start_all(x, q, keys, 21);
    equal(dispatch(x), 21);
    text_must(&x->r.calls, want);
    for (size_t i = 0; i < 21; i++) {
        request_must(&q[i], i * 10);
    }
    must_ok(tl_clear_all(&x->l));
    must_ok(tl_load_many(&x->l, keys, 21, out, st));
    text_must(&x->r.calls, want);
    for (size_t i = 0; i < 21; i++) {
        must_ok(st[i]);
        equal(out[i], i * 10);
    }
    equal(stats_of(x).largest_batch, 5);
}

static void test_dispatch_settles(void **state)
{
    struct fixture *x = *state;
    static struct request q[8];
    uint64_t start = x->f.now_ns, settle = 10 * DLOAD_MILLISECOND;
    memset(q, 0, sizeof q);
    x->cfg.settle_ns = settle;
    x->cfg.max_age_ns = 35 * DLOAD_MILLISECOND;
    fixture_open(x);
    must(request_start(x, &q[0], 1), DLOAD_PENDING);
    equal(tl_next_deadline(&x->l), start + settle);
    /* Each new key starts the wait again. */
    x->f.now_ns = start + 9 * DLOAD_MILLISECOND;
    must(request_start(x, &q[1], 2), DLOAD_PENDING);
    equal(tl_next_deadline(&x->l), x->f.now_ns + settle);
    x->f.now_ns = start + 18 * DLOAD_MILLISECOND;
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "");
    /* A key that is there already is not a new one. */
    must(request_start(x, &q[2], 1), DLOAD_PENDING);
    equal(tl_next_deadline(&x->l), start + 9 * DLOAD_MILLISECOND + settle);
    must(request_start(x, &q[3], 3), DLOAD_PENDING);
    x->f.now_ns = start + 27 * DLOAD_MILLISECOND;
    must(request_start(x, &q[4], 4), DLOAD_PENDING);
    /* The oldest key is 35 ms old before the newest is 10: age bounds the sum. */
    equal(tl_next_deadline(&x->l), start + 35 * DLOAD_MILLISECOND);
    x->f.now_ns = start + 35 * DLOAD_MILLISECOND;
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "B(1,2,3,4)");
    equal(stats_of(x).by_trigger[DLOAD_BY_AGE], 1);
    /* Without company the next one settles by itself. */
    must(request_start(x, &q[5], 5), DLOAD_PENDING);
    x->f.now_ns += settle;
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "B(5)");
    equal(stats_of(x).by_trigger[DLOAD_BY_SETTLE], 1);
    equal(tl_next_deadline(&x->l), DLOAD_NEVER);
}

static void test_dispatch_expect(void **state)
{
    struct fixture *x = *state;
    static struct request q[8];
    memset(q, 0, sizeof q);
    x->cfg.settle_ns = LONG_NS;
    x->cfg.max_age_ns = LONG_NS;
    fixture_open(x);
    must_ok(tl_expect(&x->l, 3));
    request_start_all(x, q, (uint64_t[]){1, 2, 1}, 3);
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, ""); /* two distinct keys are not three */
    must(request_start(x, &q[3], 3), DLOAD_PENDING);
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "B(1,2,3)");
    equal(stats_of(x).by_trigger[DLOAD_BY_EXPECT], 1);
    /* It was for one batch: the next settles again. */
    request_start_all(x, &q[4], (uint64_t[]){4, 5, 6, 7}, 4);
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "");
    /* Announced late, when they are there already: at once. */
    must_ok(tl_expect(&x->l, 4));
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "B(4,5,6,7)");
}

static void dispatch_in_hook(void *ctx)
{
    struct fixture *x = ctx;
    must_ok(tl_dispatch(&x->l, NULL));
}

static void test_dispatch_inside_load(void **state)
{
    struct fixture *x = *state;
    static struct request a;
    uint64_t out = 0;
    dload_hooks hooks = {.queued = dispatch_in_hook, .ctx = x};
    memset(&a, 0, sizeof a);
    x->cfg.hooks = &hooks;
    x->cfg.settle_ns = LONG_NS;
    x->cfg.max_age_ns = LONG_NS;
    fixture_open(x);
    dload_status st = request_start(x, &a, 1);
    text_must(&x->r.calls, "B(1)");
    if (st == DLOAD_PENDING) {
        request_must(&a, 10);
    } else {
        must_ok(st);
        equal(a.w.value, 10);
        equal(a.n_done, 0);
    }
    load_must(x, 2, 20);
    text_must(&x->r.calls, "B(2)");
    must_ok(tl_load_many(&x->l, (uint64_t[]){2}, 1, &out, NULL));
    equal(out, 20);
    /* The hook sees a batch's first key, so the other two of these come in a batch of their own. */
    uint64_t outs[3];
    must_ok(tl_load_many(&x->l, (uint64_t[]){3, 4, 5}, 3, outs, NULL));
    equal(outs[0] + outs[1] + outs[2], 120);
    equal(x->r.n_keys, 5);
    fixture_close(x);
}

/* What a close does to one key that is queued and one that is in flight. */
static void test_dispatch_close_drain(void **state)
{
    struct fixture *x = *state;
    static struct request q[2];
    uint64_t out;
    memset(q, 0, sizeof q);
    x->cfg.settle_ns = LONG_NS;
    x->cfg.max_age_ns = LONG_NS;
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2}, 2);
    must_ok(tl_close(&x->l, DLOAD_DRAIN, 0));
    text_must(&x->r.calls, "B(1,2)");
    request_must(&q[0], 10);
    request_must(&q[1], 20);
    equal(stats_of(x).by_trigger[DLOAD_BY_CLOSE], 1);
    static struct request late;
    memset(&late, 0, sizeof late);
    must(request_start(x, &late, 3), DLOAD_ECLOSED);
    must(tl_load(&x->l, 3, &out), DLOAD_ECLOSED);
    equal(late.n_done, 0);
    must_ok(tl_close(&x->l, DLOAD_DRAIN, 0));
    must_ok(tl_close(&x->l, DLOAD_FAIL, 0));
    equal(q[0].n_done, 1);
    text_must(&x->r.calls, "");
}

static void test_dispatch_close_fail(void **state)
{
    struct fixture *x = *state;
    static struct request q[2];
    memset(q, 0, sizeof q);
    x->cfg.settle_ns = LONG_NS;
    x->cfg.max_age_ns = LONG_NS;
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2}, 2);
    must_ok(tl_close(&x->l, DLOAD_FAIL, 0));
    text_must(&x->r.calls, "");
    request_must_fail(&q[0], DLOAD_ECLOSED);
    request_must_fail(&q[1], DLOAD_ECLOSED);
    must_ok(tl_close(&x->l, DLOAD_FAIL, 0));
    must_ok(tl_close(&x->l, DLOAD_DRAIN, 0));
    equal(q[0].n_done, 1);
}

static void finish_in_pump(void *ctx)
{
    struct fixture *x = ctx;
    x->f.now_ns += DLOAD_MILLISECOND;
    if (x->r.n_pending) {
        rec_finish(&x->r);
    }
}

static void test_dispatch_close_waits_for_batches(void **state)
{
    struct fixture *x = *state;
    static struct request q[2];
    memset(q, 0, sizeof q);
    x->r.result = DLOAD_PENDING;
    x->f.pump = finish_in_pump;
    x->f.pump_ctx = x;
    fixture_open(x);
    must(request_start(x, &q[0], 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    must(request_start(x, &q[1], 2), DLOAD_PENDING);
    must_ok(tl_close(&x->l, DLOAD_DRAIN, 0));
    request_must(&q[0], 10);
    request_must(&q[1], 20);
    text_must(&x->r.calls, "B(1) B(2)");
}

static void close_at_deadline(struct fixture *x, dload_close_mode mode, dload_status queued,
                              dload_status running)
{
    static struct request q[2];
    memset(q, 0, sizeof q);
    x->r.result = DLOAD_PENDING;
    fixture_open(x);
    must(request_start(x, &q[0], 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    must(request_start(x, &q[1], 2), DLOAD_PENDING);
    /* Nobody finishes the batch: the close comes back at its deadline, and nobody is left behind.
     * */
    uint64_t deadline = x->f.now_ns + DLOAD_SECOND;
    must(tl_close(&x->l, mode, deadline), DLOAD_ETIMEDOUT);
    assert_true(x->f.now_ns >= deadline && x->f.now_ns <= deadline + 100 * DLOAD_MILLISECOND);
    request_must_fail(&q[0], running);
    request_must_fail(&q[1], queued);
    /* But the function still has its batch. */
    must(tl_destroy(&x->l), DLOAD_EBUSY);
    while (x->r.n_pending) {
        (void)tl_batch_done(rec_take(&x->r, 0), DLOAD_OK);
    }
    equal(q[0].n_done + q[1].n_done, 2);
    fixture_close(x);
    fake_env_check(&x->f);
}

static void test_dispatch_close_at_deadline(void **state)
{
    struct fixture *x = *state;
    close_at_deadline(x, DLOAD_DRAIN, DLOAD_ETIMEDOUT, DLOAD_ETIMEDOUT);
    close_at_deadline(x, DLOAD_FAIL, DLOAD_ECLOSED, DLOAD_ECLOSED);
}

static void test_dispatch_without_batching(void **state)
{
    struct fixture *x = *state;
    static struct request q[3];
    memset(q, 0, sizeof q);
    x->cfg.max_batch = 1;
    x->cfg.settle_ns = LONG_NS; /* means nothing when one key is a full batch */
    x->cfg.max_age_ns = LONG_NS;
    fixture_open(x);
    load_must(x, 1, 10);
    request_start_all(x, q, (uint64_t[]){2, 3, 2}, 3);
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "B(1) B(2) B(3)");
    request_must(&q[0], 20);
    request_must(&q[1], 30);
    request_must(&q[2], 20);
    /* Still deduplicated while in flight. */
    static struct request a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    x->r.result = DLOAD_PENDING;
    must(request_start(x, &a, 5), DLOAD_PENDING);
    must_ok(tl_process(&x->l, x->f.now_ns));
    must(request_start(x, &b, 5), DLOAD_PENDING);
    equal(dispatch(x), 0);
    rec_finish(&x->r);
    request_must(&a, 50);
    request_must(&b, 50);
    text_must(&x->r.calls, "B(5)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("rule 1: load, dispatch: one call", test_dispatch_one),
        RULE("rule 2: one batch in order of first request", test_dispatch_order_of_request),
        RULE("rule 3: load_many of nothing", test_dispatch_many_of_nothing),
        RULE("rule 4: load_many answers in the order asked", test_dispatch_many_in_order_asked),
        RULE("rule 5: dispatch of nothing", test_dispatch_of_nothing),
        RULE("rule 6: a dispatched key is never sent again", test_dispatch_never_twice),
        RULE("rule 7: dispatch reports keys, not calls", test_dispatch_counts_keys),
        RULE("rule 8: a full batch goes at once", test_dispatch_full_batch_goes_at_once),
        RULE("rule 9: batches of max_batch, results in order", test_dispatch_splits_at_max_batch),
        RULE("rule 10: settling and its bound", test_dispatch_settles),
        RULE("rule 11: expect(3), the third key dispatches", test_dispatch_expect),
        RULE("rule 12: a hook that dispatches inside load", test_dispatch_inside_load),
        RULE("rule 13: close(DRAIN) delivers, then refuses", test_dispatch_close_drain),
        RULE("rule 13: close(FAIL) fails what is queued", test_dispatch_close_fail),
        RULE("rule 13: close waits for what runs", test_dispatch_close_waits_for_batches),
        RULE("rule 13: ... up to its deadline", test_dispatch_close_at_deadline),
        RULE("rule 14: max_batch 1, still one call a key", test_dispatch_without_batching),
    };
    return cmocka_run_group_tests_name("dispatch " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
