/* Rules 21 to 31: who gets which answer, and what is kept of it. */
/* locks: NONE SPIN PTHREAD */
#include "test_loader.h"

#define EMINE (dload_status)(DLOAD_EUSER - 7)

static void test_results_unanswered(void **state)
{
    struct fixture *x = *state;
    uint64_t out[3] = {0, 77, 0};
    dload_status st[3];
    fixture_open(x);
    rec_script(&x->r, 2, ANSWER_NOTHING, 0, DLOAD_OK);
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2, 3}, 3, out, st));
    must_ok(st[0]);
    must(st[1], DLOAD_MISSING);
    must_ok(st[2]);
    equal(out[0], 10);
    equal(out[1], 77); /* not written */
    equal(out[2], 30);
}

static void test_results_failed_key(void **state)
{
    struct fixture *x = *state;
    uint64_t out[3] = {0};
    dload_status st[3];
    static struct request q[2];
    memset(q, 0, sizeof q);
    fixture_open(x);
    rec_script(&x->r, 2, ANSWER_FAIL, 0, EMINE);
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2, 3}, 3, out, st));
    must_ok(st[0]);
    must(st[1], EMINE);
    must_ok(st[2]);
    equal(out[0] + out[2], 40);
    must(request_start(x, &q[0], 2), DLOAD_PENDING);
    must(request_start(x, &q[1], 4), DLOAD_PENDING);
    dispatch(x);
    request_must_fail(&q[0], EMINE);
    request_must(&q[1], 40);
}

static void answer_first_only(struct recorder *r, tl_batch *b)
{
    uint64_t value = rec_value(r, b->keys[0]);
    must_ok(tl_batch_set(b, 0, &value));
    for (size_t i = 0; i < b->n && r->n_answers < COUNT(r->answers); i++) {
        rec_script(r, b->keys[i], ANSWER_NOTHING, 0, DLOAD_OK);
    }
    r->act = NULL;
}

static void test_results_call_fails(void **state)
{
    struct fixture *x = *state;
    uint64_t out[3] = {0};
    dload_status st[3];
    fixture_open(x);
    x->r.act = answer_first_only;
    x->r.result = DLOAD_EFETCH;
    (void)tl_load_many(&x->l, (uint64_t[]){1, 2, 3}, 3, out, st);
    must_ok(st[0]);
    must(st[1], DLOAD_EFETCH);
    must(st[2], DLOAD_EFETCH);
    equal(out[0], 10);
    text_must(&x->r.calls, "B(1,2,3)");
    /* Rule 24: what failed is fetched again, what was answered is not. */
    x->r.result = DLOAD_OK;
    x->r.n_answers = 0;
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2, 3}, 3, out, st));
    text_must(&x->r.calls, "B(2,3)");
    equal(out[1] + out[2], 50);
}

static void test_results_retry(void **state)
{
    struct fixture *x = *state;
    uint64_t out = 77;
    fixture_open(x);
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    x->r.result = DLOAD_EBACKEND;
    for (size_t i = 0; i < 3; i++) {
        must(tl_load(&x->l, 1, &out), DLOAD_EBACKEND);
        text_must(&x->r.calls, "B(1)");
    }
    equal(out, 77);
    equal(stats_of(x).fetch_errors, 3);
    x->r.result = DLOAD_OK;
    x->r.n_answers = 0;
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
}

static uint64_t keep_some_errors(void *ctx, dload_status status)
{
    (void)ctx;
    switch ((int)status) {
    case DLOAD_EUSER - 1:
        return DLOAD_NEVER;
    case DLOAD_EUSER - 2:
        return DLOAD_SECOND;
    default:
        return 0;
    }
}

static void test_results_error_policy(void **state)
{
    struct fixture *x = *state;
    uint64_t out = 0;
    fixture_open(x);
    /* By default all are dropped. */
    static const int codes[] = {DLOAD_EUSER - 1, DLOAD_EUSER - 2, DLOAD_EUSER - 3, DLOAD_EFETCH};
    for (size_t i = 0; i < COUNT(codes); i++) {
        rec_script(&x->r, i, ANSWER_FAIL, 0, (dload_status)codes[i]);
        must(tl_load(&x->l, i, &out), (dload_status)codes[i]);
        must(tl_load(&x->l, i, &out), (dload_status)codes[i]);
    }
    text_must(&x->r.calls, "B(0) B(0) B(1) B(1) B(2) B(2) B(3) B(3)");
    fixture_close(x);

    x->cfg.error_ttl = keep_some_errors;
    fixture_open(x);
    for (size_t i = 0; i < COUNT(codes); i++) {
        must(tl_load(&x->l, i, &out), (dload_status)codes[i]);
        must(tl_load(&x->l, i, &out), (dload_status)codes[i]);
    }
    text_must(&x->r.calls, "B(0) B(1) B(2) B(2) B(3) B(3)");
    x->f.now_ns += 2 * DLOAD_SECOND;
    for (size_t i = 0; i < COUNT(codes); i++) {
        must(tl_load(&x->l, i, &out), (dload_status)codes[i]);
    }
    text_must(&x->r.calls, "B(1) B(2) B(3)");
    /* A kept error goes with a clear like a value. */
    x->r.n_answers = 0;
    must_ok(tl_clear(&x->l, 0));
    load_must(x, 0, 0);
}

static void test_results_negative_ttl(void **state)
{
    struct fixture *x = *state;
    uint64_t out;
    dload_state kept;
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    rec_script(&x->r, 2, ANSWER_FAIL, 0, DLOAD_MISSING);
    fixture_open(x);
    must(tl_load(&x->l, 1, &out), DLOAD_MISSING);
    must(tl_load(&x->l, 1, &out), DLOAD_MISSING);
    text_must(&x->r.calls, "B(1) B(1)"); /* off by default */
    fixture_close(x);

    x->cfg.missing_ttl_ns = DLOAD_SECOND;
    fixture_open(x);
    for (uint64_t key = 1; key <= 2; key++) {
        must(tl_load(&x->l, key, &out), DLOAD_MISSING);
        must(tl_load(&x->l, key, &out), DLOAD_MISSING);
        must(tl_peek(&x->l, key, &kept, NULL), DLOAD_MISSING);
        equal(kept, DLOAD_STATE_ERROR);
    }
    text_must(&x->r.calls, "B(1) B(2)");
    x->f.now_ns += DLOAD_SECOND + 2 * DLOAD_MILLISECOND;
    x->r.n_answers = 0;
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
}

static void test_results_extra_keys(void **state)
{
    struct fixture *x = *state;
    uint64_t out;
    fixture_open(x);
    x->r.extra[0] = 8;
    x->r.extra[1] = 9;
    x->r.n_extra = 2;
    load_must(x, 1, 10);
    load_must(x, 8, 80);
    load_must(x, 9, 90);
    text_must(&x->r.calls, "B(1)");
    /* An extra key that was asked for is an answer to nobody else. */
    x->r.n_extra = 0;
    must_ok(tl_load(&x->l, 2, &out));
    equal(out, 20);
}

/* Works through the batch in a random order and looks its keys up by value, as a function does that
 * sorts a copy; every caller must still have its own. */
static void answer_shuffled(struct recorder *r, tl_batch *b)
{
    uint64_t state = r->n_calls;
    size_t order[64];
    assert_true(b->n <= COUNT(order));
    for (size_t i = 0; i < b->n; i++) {
        size_t j = (size_t)rng_below(&state, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = rec_value(r, b->keys[order[i]]);
        must_ok(tl_batch_set(b, order[i], &value));
        must(tl_batch_set(b, order[i], &(uint64_t){666}), DLOAD_EBUSY); /* the first answer wins */
        must(tl_batch_fail(b, order[i], DLOAD_EFETCH), DLOAD_EBUSY);
    }
}

static dload_status fetch_shuffled(tl_batch *b)
{
    struct recorder *r = b->ctx;
    r->n_calls++;
    answer_shuffled(r, b);
    return DLOAD_EFETCH; /* of every key not yet answered: none */
}

static void test_results_any_order(void **state)
{
    struct fixture *x = *state;
    uint64_t keys[64], out[64];
    dload_status st[64];
    x->cfg.fetch = fetch_shuffled;
    x->cfg.max_batch = 64;
    fixture_open(x);
    for (uint64_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < 64; i++) {
            keys[i] = round * 100 + (i * 37) % 64;
        }
        must_ok(tl_load_many(&x->l, keys, 64, out, st));
        for (size_t i = 0; i < 64; i++) {
            must_ok(st[i]);
            equal(out[i], keys[i] * 10);
        }
    }
}

static void test_results_many_with_one_bad(void **state)
{
    struct fixture *x = *state;
    uint64_t out[4] = {0};
    dload_status st[4];
    fixture_open(x);
    rec_script(&x->r, 2, ANSWER_FAIL, 0, EMINE);
    /* The call worked; what the keys say is theirs. */
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2, 3, 2}, 4, out, st));
    must_ok(st[0]);
    must(st[1], EMINE);
    must_ok(st[2]);
    must(st[3], EMINE);
    /* A call that did not work says so itself, and of every key it left. */
    must_ok(tl_close(&x->l, DLOAD_DRAIN, 0));
    must(tl_load_many(&x->l, (uint64_t[]){7, 8}, 2, out, st), DLOAD_ECLOSED);
    must(st[0], DLOAD_ECLOSED);
    must(st[1], DLOAD_ECLOSED);
    must(tl_load_many(&x->l, (uint64_t[]){7, 8}, 2, out, NULL), DLOAD_ECLOSED);
}

static void test_results_pending(void **state)
{
    struct fixture *x = *state;
    static struct request q[4];
    uint64_t value = 30;
    memset(q, 0, sizeof q);
    fixture_open(x);
    x->r.result = DLOAD_PENDING;
    request_start_all(x, q, (uint64_t[]){1, 2, 3, 3}, 4);
    equal(dispatch(x), 3);
    tl_batch *b = rec_take(&x->r, 0);
    /* One key of three, the last: its waiters are woken at once, the others are not. */
    must_ok(tl_batch_set(b, 2, &value));
    request_must(&q[2], 30);
    request_must(&q[3], 30);
    equal(q[0].n_done + q[1].n_done, 0);
    load_must(x, 3, 30);
    must_ok(tl_batch_fail(b, 0, EMINE));
    request_must_fail(&q[0], EMINE);
    equal(q[1].n_done, 0);
    must_ok(tl_batch_done(b, DLOAD_OK));
    request_must_fail(&q[1], DLOAD_MISSING);
    /* The end may say what happened to the rest. */
    memset(q, 0, sizeof q);
    request_start_all(x, q, (uint64_t[]){11, 12}, 2);
    equal(dispatch(x), 2);
    b = rec_take(&x->r, 0);
    value = 110;
    must_ok(tl_batch_set(b, 0, &value));
    must_ok(tl_batch_done(b, DLOAD_EBACKEND));
    request_must(&q[0], 110);
    request_must_fail(&q[1], DLOAD_EBACKEND);
}

static void test_results_pending_out_of_order(void **state)
{
    struct fixture *x = *state;
    static struct request q[3];
    memset(q, 0, sizeof q);
    fixture_open(x);
    x->r.result = DLOAD_PENDING;
    for (size_t i = 0; i < 3; i++) {
        must(request_start(x, &q[i], i), DLOAD_PENDING);
        equal(dispatch(x), 1);
    }
    equal(x->r.n_pending, 3);
    for (size_t i = 3; i-- > 0;) {
        tl_batch *b = rec_take(&x->r, i);
        rec_give_all(&x->r, b);
        must_ok(tl_batch_done(b, DLOAD_OK));
        request_must(&q[i], i * 10);
    }
}

static void test_results_abandoned(void **state)
{
    struct fixture *x = *state;
    static struct request a, b;
    uint64_t out;
    dload_state kept;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    x->cfg.timeout_ns = DLOAD_SECOND;
    x->cfg.run_limit_ns = 5 * DLOAD_SECOND;
    x->r.result = DLOAD_PENDING;
    fixture_open(x);
    uint64_t start = x->f.now_ns;
    must(request_start(x, &a, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    /* A blocking caller leaves at its own deadline; the batch stays. */
    must(tl_load(&x->l, 1, &out), DLOAD_ETIMEDOUT);
    assert_true(x->f.now_ns >= start + DLOAD_SECOND && x->f.now_ns < start + 2 * DLOAD_SECOND);
    equal(a.n_done, 0);
    equal(x->r.n_calls, 1);
    uint64_t due = tl_next_deadline(&x->l);
    assert_true(due >= start + 5 * DLOAD_SECOND && due <= start + 5 * DLOAD_SECOND + 1);
    x->f.now_ns = due;
    must_ok(tl_process(&x->l, x->f.now_ns));
    request_must_fail(&a, DLOAD_ETIMEDOUT);
    equal(stats_of(x).abandoned, 1);
    assert_true(tl_batch_cancelled(x->r.pending[0]));
    /* The key can be loaded again while the old batch is still out. */
    x->r.version = 1;
    must(request_start(x, &b, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    tl_batch *fresh = rec_take(&x->r, 1);
    rec_give_all(&x->r, fresh);
    must_ok(tl_batch_done(fresh, DLOAD_OK));
    request_must(&b, 11);
    /* What comes late changes nothing. */
    tl_batch *old = rec_take(&x->r, 0);
    uint64_t value = 666;
    (void)tl_batch_set(old, 0, &value);
    (void)tl_batch_put(old, 2, &value);
    (void)tl_batch_done(old, DLOAD_OK);
    x->r.result = DLOAD_OK;
    load_must(x, 1, 11);
    must(tl_peek(&x->l, 2, &kept, NULL), DLOAD_MISSING);
    assert_true(stats_of(x).late_answers >= 1);
    equal(a.n_done + b.n_done, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("rule 21: an unanswered key alone is missing", test_results_unanswered),
        RULE("rule 22: a failed key alone has its status", test_results_failed_key),
        RULE("rule 23: a failed call spares what was answered", test_results_call_fails),
        RULE("rule 24: a retry fetches again", test_results_retry),
        RULE("rule 25: errors are dropped, kept, or kept for a time", test_results_error_policy),
        RULE("rule 25: missing has a TTL of its own", test_results_negative_ttl),
        RULE("rule 27: extra keys are cached", test_results_extra_keys),
        RULE("rule 28: values reach their callers in any order", test_results_any_order),
        RULE("rule 29: a status per key, and one of the call", test_results_many_with_one_bad),
        RULE("rule 30: pending keys complete one by one", test_results_pending),
        RULE("rule 30: pending batches end in any order", test_results_pending_out_of_order),
        RULE("rule 31: an endless batch is abandoned", test_results_abandoned),
    };
    return cmocka_run_group_tests_name("results " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
