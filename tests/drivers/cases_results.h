/* Rules 21 to 25 and 27 to 29: who gets which answer, and what is kept of it. Rule 26 is in
 * cases_keys.h. */
#ifndef DLOAD_TESTS_CASES_RESULTS_H
#define DLOAD_TESTS_CASES_RESULTS_H

#include "verbs.h"

/* ---- missing and failed keys ---- */

static void results_unanswered(struct fixture *x)
{
    uint64_t out[3] = {0, 77, 0};
    dload_status st[3];
    open_loader(x);
    rec_script(&x->r, 2, ANSWER_NOTHING, 0, DLOAD_OK);
    must_ok(load_many(x, KEYS(1, 2, 3), out, st));
    must_ok(st[0]);
    must(st[1], DLOAD_MISSING);
    must_ok(st[2]);
    equal(out[0], 10);
    equal(out[1], 77); /* not written */
    equal(out[2], 30);
    ask(x, 0, 2);
    ask(x, 1, 4);
    let_go(x);
    must_fail(x, 0, DLOAD_MISSING);
    must_get(x, 1, 40);
}

static void results_failed_key(struct fixture *x)
{
    uint64_t out[3] = {0, 77, 0};
    dload_status st[3];
    open_loader(x);
    rec_script(&x->r, 2, ANSWER_FAIL, 0, EMINE);
    must_ok(load_many(x, KEYS(1, 2, 3), out, st));
    must_ok(st[0]);
    must(st[1], EMINE);
    must_ok(st[2]);
    equal(out[0] + out[1] + out[2], 10 + 77 + 30);
    ask(x, 0, 2);
    ask(x, 1, 2);
    ask(x, 2, 4);
    let_go(x);
    must_fail(x, 0, EMINE);
    must_fail(x, 1, EMINE);
    must_get(x, 2, 40);
    calls_must(x, "B(1,2,3) B(2,4)");
}

/* ---- failed calls ---- */

static void answer_first_only(struct recorder *r, tl_batch *b)
{
    uint64_t value = rec_value(r, b->keys[0]);
    must_ok(tl_batch_set(b, 0, &value));
    for (size_t i = 0; i < b->n; i++) {
        rec_script(r, b->keys[i], ANSWER_NOTHING, 0, DLOAD_OK);
    }
    r->act = NULL;
}

static void results_call_fails(struct fixture *x)
{
    uint64_t out[3] = {0};
    dload_status st[3];
    open_loader(x);
    x->r.act = answer_first_only;
    x->r.result = DLOAD_EFETCH;
    ask(x, 0, 1);
    ask(x, 1, 2);
    ask(x, 2, 3);
    let_go(x);
    must_get(x, 0, 10);
    must_fail(x, 1, DLOAD_EFETCH);
    must_fail(x, 2, DLOAD_EFETCH);
    calls_must(x, "B(1,2,3)");
    peek_must(x, 1, DLOAD_STATE_READY);
    peek_must(x, 2, DLOAD_STATE_ABSENT);
    equal(stats_now(x).fetch_errors, 2);
    /* What failed is fetched again, what was answered is not. */
    x->r.result = DLOAD_OK;
    x->r.n_answers = 0;
    must_ok(load_many(x, KEYS(1, 2, 3), out, st));
    calls_must(x, "B(2,3)");
    equal(out[0] + out[1] + out[2], 60);
}

static void results_retry(struct fixture *x)
{
    open_loader(x);
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    x->r.result = DLOAD_EBACKEND;
    for (size_t i = 0; i < 3; i++) {
        must(load_status(x, 1), DLOAD_EBACKEND);
        calls_must(x, "B(1)");
        ask(x, 0, 1);
        let_go(x);
        must_fail(x, 0, DLOAD_EBACKEND);
        calls_must(x, "B(1)");
    }
    x->r.result = DLOAD_OK;
    x->r.n_answers = 0;
    load_one(x, 1, 10);
    calls_must(x, "B(1)");
}

/* ---- which errors are kept ---- */

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

/* Keys 0 to 3 fail, each with another status; each is loaded twice. */
static void load_failing_twice(struct fixture *x)
{
    static const int codes[] = {DLOAD_EUSER - 1, DLOAD_EUSER - 2, DLOAD_EUSER - 3, DLOAD_EFETCH};
    x->r.n_answers = 0;
    for (size_t i = 0; i < COUNT(codes); i++) {
        rec_script(&x->r, i, ANSWER_FAIL, 0, (dload_status)codes[i]);
        must(load_status(x, i), (dload_status)codes[i]);
        must(load_status(x, i), (dload_status)codes[i]);
    }
}

static void results_errors_dropped(struct fixture *x)
{
    open_loader(x);
    load_failing_twice(x);
    calls_must(x, "B(0) B(0) B(1) B(1) B(2) B(2) B(3) B(3)");
    equal(stats_now(x).entries, 0);
}

static void results_errors_kept(struct fixture *x)
{
    x->cfg.error_ttl = keep_some_errors;
    open_loader(x);
    load_failing_twice(x);
    calls_must(x, "B(0) B(1) B(2) B(2) B(3) B(3)");
    peek_must(x, 0, DLOAD_STATE_ERROR);
    pass_to(x, tl_now(&x->l) + 2 * DLOAD_SECOND);
    load_failing_twice(x);
    calls_must(x, "B(1) B(2) B(2) B(3) B(3)");
    /* A kept error goes with a clear like a value. */
    x->r.n_answers = 0;
    must_ok(tl_clear(&x->l, 0));
    load_one(x, 0, 0);
}

static void results_missing_kept(struct fixture *x)
{
    x->cfg.missing_ttl_ns = DLOAD_SECOND;
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    rec_script(&x->r, 2, ANSWER_FAIL, 0, DLOAD_MISSING);
    open_loader(x);
    for (uint64_t key = 1; key <= 2; key++) {
        must(load_status(x, key), DLOAD_MISSING);
        must(load_status(x, key), DLOAD_MISSING);
        peek_must(x, key, DLOAD_STATE_ERROR);
    }
    calls_must(x, "B(1) B(2)");
    pass_to(x, tl_now(&x->l) + DLOAD_SECOND + 2 * MS);
    x->r.n_answers = 0;
    load_one(x, 1, 10);
    calls_must(x, "B(1)");
}

static void results_missing_dropped(struct fixture *x)
{
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    open_loader(x);
    must(load_status(x, 1), DLOAD_MISSING);
    must(load_status(x, 1), DLOAD_MISSING);
    calls_must(x, "B(1) B(1)");
}

/* ---- more and other orders ---- */

static void results_extra_keys(struct fixture *x)
{
    open_loader(x);
    x->r.extra[0] = 8;
    x->r.extra[1] = 9;
    x->r.n_extra = 2;
    ask(x, 0, 1);
    let_go(x);
    must_get(x, 0, 10);
    load_one(x, 8, 80);
    load_one(x, 9, 90);
    calls_must(x, "B(1)");
    equal(stats_now(x).hits, 2);
}

/* Works through the batch in a random order, and tries to answer twice. */
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
        uint64_t value = rec_value(r, b->keys[order[i]]), wrong = 666;
        must_ok(tl_batch_set(b, order[i], &value));
        must(tl_batch_set(b, order[i], &wrong), DLOAD_EBUSY); /* the first answer wins */
        must(tl_batch_fail(b, order[i], DLOAD_EFETCH), DLOAD_EBUSY);
    }
}

static dload_status fetch_shuffled(tl_batch *b)
{
    struct recorder *r = b->ctx;
    record_call(r, b, false);
    answer_shuffled(r, b);
    return DLOAD_EFETCH; /* of every key not yet answered: none */
}

static void results_any_order(struct fixture *x)
{
    uint64_t keys[64], out[64];
    dload_status st[64];
    x->cfg.fetch = fetch_shuffled;
    x->cfg.max_batch = 64;
    open_loader(x);
    for (uint64_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < 64; i++) {
            keys[i] = round * 100 + (i * 37) % 64;
        }
        must_ok(load_many(x, keys, 64, out, st));
        for (size_t i = 0; i < 64; i++) {
            must_ok(st[i]);
            equal(out[i], keys[i] * 10);
        }
    }
    must_ok(tl_clear_all(&x->l));
    for (size_t i = 0; i < 20; i++) {
        ask(x, i, (i * 7) % 20, i);
    }
    let_go(x);
    for (size_t i = 0; i < 20; i++) {
        must_get(x, i, (i * 7) % 20 * 10, i * 10);
    }
}

/* ---- load_many ---- */

static void results_status_per_key(struct fixture *x)
{
    uint64_t out[4] = {0};
    dload_status st[4];
    open_loader(x);
    rec_script(&x->r, 2, ANSWER_FAIL, 0, EMINE);
    must_ok(load_many(x, KEYS(1, 2, 3, 2), out, st)); /* the call worked */
    must_ok(st[0]);
    must(st[1], EMINE);
    must_ok(st[2]);
    must(st[3], EMINE);
    ask(x, 0, 2, 4);
    let_go(x);
    collect(x, 0);
    must_ok(callers[0].result);
    must(callers[0].st[0], EMINE);
    must_ok(callers[0].st[1]);
}

static void pass_to_deadline(struct fixture *x)
{
    clock_set(x, tl_now(&x->l) + 5 * MS);
}

static void results_status_of_call(struct fixture *x)
{
    uint64_t out[2] = {77, 77};
    dload_status st[2];
    open_loader(x);
    ask_pending(x, 0, 1);
    dload_call call = {.deadline_ns = tl_now(&x->l) + 5 * MS};
    meanwhile(x, 1, pass_to_deadline);
    must(load_many_with(x, KEYS(1, 1), &call, out, st), DLOAD_ETIMEDOUT);
    must(st[0], DLOAD_ETIMEDOUT);
    must(st[1], DLOAD_ETIMEDOUT);
    equal(out[0] + out[1], 154);
    finish(x);
    must_get(x, 0, 10);
    must_ok(close_loader(x, DLOAD_DRAIN, 0));
    must(load_many(x, KEYS(7, 8), out, st), DLOAD_ECLOSED);
    must(st[0], DLOAD_ECLOSED);
    must(st[1], DLOAD_ECLOSED);
    must(load_many(x, KEYS(7, 8), out, NULL), DLOAD_ECLOSED);
}

static const struct test_case results_cases[] = {
    CASE(21, ON_ALL, "an unanswered key alone is missing",
         "given 2 is not answered, when 1, 2, 3 are loaded, then DLOAD_MISSING for 2 alone", NULL,
         results_unanswered),
    CASE(22, ON_ALL, "a failed key alone has its status",
         "given 2 fails, when 1, 2, 3 are loaded, then its status for 2 alone, values for the "
         "others",
         NULL, results_failed_key),
    CASE(
        23, ON_ALL, "a failed call spares what was answered",
        "given the call fails after 1 was answered, then 1 keeps its value, 2 and 3 have the error",
        NULL, results_call_fails),
    CASE(24, ON_ALL, "a retry fetches again",
         "given a batch failed, when its key is loaded again, then it is fetched again", NULL,
         results_retry),
    CASE(25, ON_ALL, "errors are dropped",
         "given no policy, when keys fail, then each load fetches them again", NULL,
         results_errors_dropped),
    CASE(25, ON_ALL, "errors are kept by their status",
         "given a policy per status, when keys fail, then they are kept, kept a second, or dropped",
         NULL, results_errors_kept),
    CASE(25, ON_ALL, "missing is dropped",
         "given no TTL for it, when a key is missing, then each load fetches it again", NULL,
         results_missing_dropped),
    CASE(25, ON_ALL, "missing has a TTL of its own",
         "given a TTL for it, when a key is missing, then that is kept until the TTL is over", NULL,
         results_missing_kept),
    CASE(27, ON_ALL, "extra keys are cached",
         "given the function puts 8 and 9 too, when they are loaded, then no call", NULL,
         results_extra_keys),
    CASE(
        28, ON_ALL, "values reach their callers in any order",
        "given a function that works in a random order, then every caller has the value of its key",
        NULL, results_any_order),
    CASE(29, ON_ALL, "a status per key",
         "given one bad key, when load_many is called, then that key has its status, the call "
         "DLOAD_OK",
         NULL, results_status_per_key),
    CASE(29, ON_ALL & ~ON_LOOP, "a status of the call",
         "given a call that does not work, then it says so, and of every key it left",
         "loop: requests have no call in common", results_status_of_call),
};

#endif /* DLOAD_TESTS_CASES_RESULTS_H */
