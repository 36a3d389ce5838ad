/* Rules 33 to 35 and 43: clearing one key or all, also while they are being fetched. With threads:
 * test_threads.c. */
/* locks: CUSTOM NONE SPIN PTHREAD */
#include "test_loader.h"

static dload_state state_of(struct fixture *x, uint64_t key)
{
    dload_state s = (dload_state)99;
    (void)tl_peek(&x->l, key, &s, NULL);
    return s;
}

static void test_clears_clear(void **state)
{
    struct fixture *x = *state;
    uint64_t out[2];
    fixture_open(x);
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2}, 2, out, NULL));
    must_ok(tl_clear(&x->l, 1));
    x->r.version = 1;
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2}, 2, out, NULL));
    text_must(&x->r.calls, "B(1,2) B(1)");
    equal(out[0], 11);
    equal(out[1], 20);
    must_ok(tl_clear(&x->l, 12345));
    must_ok(tl_clear(&x->l, 1));
    must_ok(tl_clear(&x->l, 1));
    must_ok(tl_clear_many(&x->l, (uint64_t[]){1, 2, 777}, 3));
    must_ok(tl_clear_many(&x->l, NULL, 0));
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2}, 2, out, NULL));
    text_must(&x->r.calls, "B(1,2)");
}

static void test_clears_clear_all(void **state)
{
    struct fixture *x = *state;
    uint64_t out[3];
    fixture_open(x);
    for (int round = 0; round < 3; round++) {
        must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2, 3}, 3, out, NULL));
        text_must(&x->r.calls, "B(1,2,3)");
        must_ok(tl_clear_all(&x->l));
        for (uint64_t key = 1; key <= 3; key++) {
            equal(state_of(x, key), DLOAD_STATE_ABSENT);
        }
        equal(stats_of(x).entries, 0);
    }
}

/* The best of five: how long a clear_all of n entries takes. */
static uint64_t clear_all_ns(struct fixture *x, uint64_t n)
{
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < 5; round++) {
        for (uint64_t key = 0; key < n; key++) {
            must_ok(tl_prime(&x->l, key, &key, 0));
        }
        uint64_t start = real_ns();
        must_ok(tl_clear_all(&x->l));
        uint64_t took = real_ns() - start;
        best = took < best ? took : best;
    }
    return best;
}

static void test_clears_clear_all_is_cheap(void **state)
{
    struct fixture *x = *state;
    x->cfg.capacity = 60000;
    fixture_open(x);
    uint64_t few = clear_all_ns(x, 100);
    uint64_t many = clear_all_ns(x, 50000);
    /* 500 times the entries; a walk over them would take hundreds of microseconds at the very least. */
    if (many > 20 * few + 50 * DLOAD_MICROSECOND) {
        fail_msg("clear_all of 100: %" PRIu64 " ns, of 50,000: %" PRIu64 " ns", few, many);
    }
}

/* Rule 35, the second fetch ending with a value or an error, before or after the first. */
static void clear_in_flight(struct fixture *x, bool second_fails, bool second_first, bool all)
{
    static struct request a, b;
    uint64_t v1 = 10, v2 = 11;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    x->r.result = DLOAD_PENDING;
    must(request_start(x, &a, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    must_ok(all ? tl_clear_all(&x->l) : tl_clear(&x->l, 1));
    must(request_start(x, &b, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    text_must(&x->r.calls, "B(1) B(1)");
    for (int turn = 0; turn < 2; turn++) {
        if ((turn == 0) == second_first) {
            tl_batch *second = rec_take(&x->r, x->r.n_pending - 1);
            must_ok(second_fails ? tl_batch_fail(second, 0, DLOAD_EFETCH)
                                 : tl_batch_set(second, 0, &v2));
            must_ok(tl_batch_done(second, DLOAD_OK));
            equal(b.n_done, 1);
        } else {
            tl_batch *first = rec_take(&x->r, 0);
            must_ok(tl_batch_set(first, 0, &v1));
            must_ok(tl_batch_done(first, DLOAD_OK));
            request_must(&a, 10);
        }
    }
    x->r.result = DLOAD_OK;
    if (second_fails) {
        request_must_fail(&b, DLOAD_EFETCH);
        equal(state_of(x, 1), DLOAD_STATE_ABSENT);
    } else {
        request_must(&b, 11);
        load_must(x, 1, 11);
        text_must(&x->r.calls, "");
    }
    must_ok(tl_clear_all(&x->l));
}

static void test_clears_clear_in_flight(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    for (unsigned i = 0; i < 8; i++) {
        clear_in_flight(x, (i & 1) != 0, (i & 2) != 0, (i & 4) != 0);
    }
    assert_true(stats_of(x).cleared_in_flight >= 8);
}

static void test_clears_first_fails_second_stays(void **state)
{
    struct fixture *x = *state;
    static struct request a, b;
    uint64_t value = 11;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    fixture_open(x);
    x->r.result = DLOAD_PENDING;
    must(request_start(x, &a, 1), DLOAD_PENDING);
    dispatch(x);
    must_ok(tl_clear(&x->l, 1));
    must(request_start(x, &b, 1), DLOAD_PENDING);
    dispatch(x);
    text_must(&x->r.calls, "B(1) B(1)");
    tl_batch *second = rec_take(&x->r, 1);
    must_ok(tl_batch_set(second, 0, &value));
    must_ok(tl_batch_done(second, DLOAD_OK));
    must_ok(tl_batch_done(rec_take(&x->r, 0), DLOAD_EFETCH));
    request_must_fail(&a, DLOAD_EFETCH);
    request_must(&b, 11);
    load_must(x, 1, 11);
    text_must(&x->r.calls, "");
}

static void test_clears_put_if(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    uint64_t v = 100;
    dload_token t = tl_token(&x->l);
    must_ok(tl_put_if(&x->l, 1, &v, t));
    load_must(x, 1, 100);
    t = tl_token(&x->l);
    must_ok(tl_clear(&x->l, 1));
    must(tl_put_if(&x->l, 1, &v, t), DLOAD_ECANCELED);
    must_ok(tl_put_if(&x->l, 1, &v, tl_token(&x->l)));
    t = tl_token(&x->l);
    must_ok(tl_clear_all(&x->l));
    must(tl_put_if(&x->l, 1, &v, t), DLOAD_ECANCELED);
    must(tl_put_if(&x->l, 9, &v, t), DLOAD_ECANCELED);
    equal(state_of(x, 1), DLOAD_STATE_ABSENT);
}

static void clear_then_put(struct recorder *r, tl_batch *b)
{
    struct fixture *x = r->act_ctx;
    uint64_t value = 666;
    must_ok(tl_clear(&x->l, 8));
    must(tl_batch_put(b, 8, &value), DLOAD_ECANCELED);
    must_ok(tl_clear(&x->l, b->keys[0]));
    r->act = NULL;
}

static void test_clears_extra_key_cleared_meanwhile(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    x->r.act = clear_then_put;
    x->r.act_ctx = x;
    load_must(x, 1, 10);
    equal(state_of(x, 8), DLOAD_STATE_ABSENT);
    equal(state_of(x, 1), DLOAD_STATE_ABSENT);
    text_must(&x->r.calls, "B(1)");
    load_must(x, 1, 10);
    load_must(x, 8, 80);
    text_must(&x->r.calls, "B(1) B(8)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("rule 33: clear one; absent is no error", test_clears_clear),
        RULE("rule 34: clear_all, everything is fetched again", test_clears_clear_all),
        RULE("rule 34: clear_all costs the same for any size", test_clears_clear_all_is_cheap),
        RULE("rule 35: clear while in flight", test_clears_clear_in_flight),
        RULE("rule 35: the first's failure spares the second's",
             test_clears_first_fails_second_stays),
        RULE("rule 43: put_if after a clear", test_clears_put_if),
        RULE("rule 43: extra keys after a clear", test_clears_extra_key_cleared_meanwhile),
    };
    return cmocka_run_group_tests_name("clears " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
