/* Rules 30 and 31: answers that come after the function returned, key by key, late, or never. */
#ifndef DLOAD_TESTS_CASES_PENDING_H
#define DLOAD_TESTS_CASES_PENDING_H

#include "verbs.h"

static void results_pending(struct fixture *x)
{
    uint64_t value = 30;
    open_loader(x);
    x->r.result = DLOAD_PENDING;
    ask(x, 0, 1);
    ask(x, 1, 2);
    ask(x, 2, 3);
    ask(x, 3, 3);
    equal(dispatch(x), 3);
    must_be_out(x, 1);
    tl_batch *b = take_pending(x, 0);
    /* One key of three, the last: its waiters are woken at once, the others are not. */
    must_ok(tl_batch_set(b, 2, &value));
    must_get(x, 2, 30);
    must_get(x, 3, 30);
    must_wait(x, 0);
    must_wait(x, 1);
    load_one(x, 3, 30);
    must_ok(tl_batch_fail(b, 0, EMINE));
    must_fail(x, 0, EMINE);
    must_wait(x, 1);
    must_ok(tl_batch_done(b, DLOAD_OK));
    must_fail(x, 1, DLOAD_MISSING);
    calls_must(x, "B(1,2,3)");
}

static void results_pending_ends(struct fixture *x)
{
    open_loader(x);
    for (size_t i = 0; i < 3; i++) {
        ask_pending(x, i, i);
    }
    for (size_t i = 3; i-- > 1;) {
        tl_batch *b = take_pending(x, i); /* the last sent ends first */
        rec_give_all(&x->r, b);
        must_ok(tl_batch_done(b, DLOAD_OK));
        must_get(x, i, i * 10);
        must_wait(x, 0);
    }
    /* The end may say what happened to the rest. */
    must_ok(tl_batch_done(take_pending(x, 0), DLOAD_EBACKEND));
    must_fail(x, 0, DLOAD_EBACKEND);
}

/* Ends the batches that are out by what is not the caller that waits: where there are threads,
 * another one. */
static void finish_key_by_key(struct fixture *x)
{
    tl_batch *b = take_pending(x, 0);
    for (size_t i = b->n; i-- > 0;) {
        rec_give(&x->r, b, i);
    }
    must_ok(tl_batch_done(b, DLOAD_OK));
}

static void results_pending_by_others(struct fixture *x)
{
    uint64_t out[3];
    dload_status st[3];
    open_loader(x);
    x->r.result = DLOAD_PENDING;
    for (uint64_t round = 0; round < 5; round++) {
        must_ok(tl_clear_all(&x->l));
        meanwhile(x, 1, finish_key_by_key);
        must_ok(load_many(x, KEYS(1, 2, 3), out, st));
        equal(out[0], 10);
        equal(out[1], 20);
        equal(out[2], 30);
        calls_must(x, "B(1,2,3)");
    }
}

/* ---- without an end ---- */

static void results_abandoned(struct fixture *x)
{
    x->cfg.run_limit_ns = 5 * DLOAD_SECOND;
    open_loader(x);
    uint64_t start = tl_now(&x->l);
    ask_pending(x, 0, 1);
    calls_must(x, "B(1)");
    ask_until(x, 1, 1, start + DLOAD_SECOND);
    pass_to(x, start + DLOAD_SECOND);
    must_leave(x, 1);
    must_wait(x, 0);
    pass_to(x, start + 5 * DLOAD_SECOND);
    must_be_quiet(x);
    must_wait(x, 0);
    pass_to(x, start + 5 * DLOAD_SECOND + 1);
    must_fail(x, 0, DLOAD_ETIMEDOUT);
    equal(stats_now(x).abandoned, 1);
    assert_true(tl_batch_cancelled(x->r.pending[0]));
    /* The key can be loaded again while the old batch is still out. */
    x->r.version = 1;
    ask_pending(x, 2, 1);
    tl_batch *fresh = take_pending(x, 1), *old = take_pending(x, 0);
    rec_give_all(&x->r, fresh);
    must_ok(tl_batch_done(fresh, DLOAD_OK));
    must_get(x, 2, 11);
    /* What comes late changes nothing. */
    uint64_t value = 666;
    (void)tl_batch_set(old, 0, &value);
    (void)tl_batch_put(old, 2, &value);
    (void)tl_batch_done(old, DLOAD_OK);
    load_one(x, 1, 11);
    peek_must(x, 2, DLOAD_STATE_ABSENT);
    assert_true(stats_now(x).late_answers >= 1);
    calls_must(x, "B(1)");
}

static const struct test_case pending_cases[] = {
    CASE(30, ON_ALL, "keys complete one by one",
         "given a pending batch, when one of its keys is answered, then its waiters go on at once",
         NULL, results_pending),
    CASE(30, ON_ALL, "batches end in any order",
         "given three pending batches, when the last sent ends first, then its waiters go on first",
         NULL, results_pending_ends),
    CASE(30, ON_ALL, "ended by somebody else",
         "given a pending batch, when somebody else ends it, then the caller that blocks goes on",
         NULL, results_pending_by_others),
    CASE(31, ON_ALL, "an endless batch is abandoned",
         "given a function that never ends, then callers leave, its keys load again, its end is "
         "late",
         NULL, results_abandoned),
};

#endif /* DLOAD_TESTS_CASES_PENDING_H */
