/* Rules 1 to 12 and 14: when a batch goes, and what is in it. */
#ifndef DLOAD_TESTS_CASES_DISPATCH_H
#define DLOAD_TESTS_CASES_DISPATCH_H

#include "verbs.h"

static void dispatch_one(struct fixture *x)
{
    open_loader(x);
    ask(x, 0, 1);
    calls_must(x, "");
    equal(dispatch(x), 1);
    must_get(x, 0, 10);
    calls_must(x, "B(1)");
    ask(x, 0, 2);
    let_go(x);
    must_get(x, 0, 20);
    calls_must(x, "B(2)");
    load_one(x, 3, 30);
    calls_must(x, "B(3)");
}

static void dispatch_order(struct fixture *x)
{
    open_loader(x);
    ask(x, 0, 1);
    ask(x, 1, 2);
    equal(dispatch(x), 2);
    must_get(x, 0, 10);
    must_get(x, 1, 20);
    calls_must(x, "B(1,2)");
    ask(x, 0, 9);
    ask(x, 1, 3, 7);
    ask(x, 2, 1, 5);
    let_go(x);
    must_get(x, 2, 10, 50);
    must_get(x, 1, 30, 70);
    must_get(x, 0, 90);
    calls_must(x, "B(9,3,7,5)");
}

static void dispatch_many_of_nothing(struct fixture *x)
{
    uint64_t key = 1, out = 77;
    dload_status st = DLOAD_EBUSY;
    open_loader(x);
    must_ok(tl_load_many(&x->l, &key, 0, &out, &st));
    must_ok(tl_load_many(&x->l, NULL, 0, NULL, NULL));
    equal(out, 77);
    must(st, DLOAD_EBUSY);
    tick(x);
    calls_must(x, "");
    equal(stats_now(x).loads, 0);
}

static void dispatch_many_in_order(struct fixture *x)
{
    open_loader(x);
    for (int backwards = 0; backwards < 2; backwards++) {
        uint64_t out[3] = {0};
        dload_status st[3];
        x->r.backwards = backwards != 0;
        must_ok(tl_clear_all(&x->l));
        must_ok(load_many(x, KEYS(3, 1, 2), out, st));
        calls_must(x, "B(3,1,2)");
        must_ok(st[0]);
        must_ok(st[1]);
        must_ok(st[2]);
        equal(out[0], 30);
        equal(out[1], 10);
        equal(out[2], 20);
        must_ok(tl_clear_all(&x->l));
        ask(x, 0, 3, 1, 2);
        let_go(x);
        must_get(x, 0, 30, 10, 20);
        calls_must(x, "B(3,1,2)");
    }
}

static void dispatch_of_nothing(struct fixture *x)
{
    open_loader(x);
    equal(dispatch(x), 0);
    must_ok(tl_dispatch(&x->l, NULL));
    let_go(x);
    tick(x);
    calls_must(x, "");
    equal(stats_now(x).batches, 0);
}

static void dispatch_never_twice(struct fixture *x)
{
    open_loader(x);
    ask_pending(x, 0, 1); /* also not while it is out */
    ask(x, 1, 2);
    equal(dispatch(x), 1);
    equal(dispatch(x), 0);
    calls_must(x, "B(1) B(2)");
    finish_all(x);
    must_get(x, 0, 10);
    must_get(x, 1, 20);
    equal(dispatch(x), 0);
    calls_must(x, "");
}

static void dispatch_counts_keys(struct fixture *x)
{
    open_loader(x);
    ask(x, 0, 1);
    ask(x, 1, 2);
    ask(x, 2, 1);
    ask(x, 3, 1, 2);
    equal(dispatch(x), 2);
    must_get(x, 0, 10);
    must_get(x, 1, 20);
    must_get(x, 2, 10);
    must_get(x, 3, 10, 20);
    calls_must(x, "B(1,2)");
}

static void dispatch_full(struct fixture *x)
{
    x->cfg.max_batch = 2;
    x->cfg.settle_ns = x->cfg.max_age_ns = LONG_NS;
    open_loader(x);
    ask(x, 0, 1);
    ask(x, 1, 2);
    tick(x); /* no time passes */
    must_get(x, 0, 10);
    must_get(x, 1, 20);
    calls_must(x, "B(1,2)");
    equal(stats_now(x).by_trigger[DLOAD_BY_SIZE], 1);
    equal(stats_now(x).batches, 1);
}

static void dispatch_full_not_the_third(struct fixture *x)
{
    x->cfg.max_batch = 2;
    x->cfg.settle_ns = x->cfg.max_age_ns = LONG_NS;
    open_loader(x);
    uint64_t now_ns = tl_now(&x->l);
    ask(x, 0, 1);
    ask(x, 1, 2);
    tick(x);
    must_get(x, 0, 10);
    must_get(x, 1, 20);
    calls_must(x, "B(1,2)");
    ask(x, 2, 3);
    peek_must(x, 3, DLOAD_STATE_QUEUED);
    pass_to(x, now_ns + LONG_NS - 1);
    must_be_quiet(x);
    must_wait(x, 2);
    pass_to(x, now_ns + LONG_NS);
    must_get(x, 2, 30);
    calls_must(x, "B(3)");
    equal(stats_now(x).by_trigger[DLOAD_BY_SETTLE], 1);
}

static void dispatch_splits(struct fixture *x)
{
    static const char want[] =
        "B(0,1,2,3,4) B(5,6,7,8,9) B(10,11,12,13,14) B(15,16,17,18,19) B(20)";
    uint64_t keys[21], out[21];
    dload_status st[21];
    x->cfg.max_batch = 5;
    open_loader(x);
    for (size_t i = 0; i < 21; i++) {
        keys[i] = i;
    }
    must_ok(load_many(x, keys, 21, out, st));
    calls_must(x, want);
    for (size_t i = 0; i < 21; i++) {
        must_ok(st[i]);
        equal(out[i], i * 10);
    }
    must_ok(tl_clear_all(&x->l));
    for (size_t i = 0; i < 21; i++) {
        ask(x, i, i);
    }
    equal(dispatch(x), 21);
    calls_must(x, want);
    for (size_t i = 0; i < 21; i++) {
        must_get(x, i, i * 10);
    }
}

static void dispatch_settles(struct fixture *x)
{
    x->cfg.settle_ns = 10 * MS;
    x->cfg.max_age_ns = 35 * MS;
    open_loader(x);
    uint64_t t = tl_now(&x->l);
    ask(x, 0, 1);
    ask(x, 1, 2);
    pass_to(x, t + 9 * MS);
    must_be_quiet(x);
    ask(x, 2, 3);
    pass_to(x, t + 18 * MS); /* 18 ms after the first, 9 after the newest */
    must_be_quiet(x);
    ask(x, 3, 4);
    pass_to(x, t + 27 * MS);
    must_be_quiet(x);
    ask(x, 4, 5);
    pass_to(x, t + 35 * MS - 1);
    must_be_quiet(x);
    pass_to(x, t + 35 * MS); /* the oldest is 35 ms old before the newest is 10 */
    for (size_t i = 0; i < 5; i++) {
        must_get(x, i, (i + 1) * 10);
    }
    calls_must(x, "B(1,2,3,4,5)");
    equal(stats_now(x).by_trigger[DLOAD_BY_AGE], 1);
    /* Without company the next one settles by itself. */
    t = tl_now(&x->l);
    ask(x, 5, 6);
    pass_to(x, t + 10 * MS - 1);
    must_be_quiet(x);
    pass_to(x, t + 10 * MS);
    must_get(x, 5, 60);
    calls_must(x, "B(6)");
    equal(stats_now(x).by_trigger[DLOAD_BY_SETTLE], 1);
    equal(tl_next_deadline(&x->l), DLOAD_NEVER);
}

static void dispatch_expected(struct fixture *x)
{
    x->cfg.settle_ns = x->cfg.max_age_ns = LONG_NS;
    open_loader(x);
    must_ok(tl_expect(&x->l, 3));
    ask(x, 0, 1);
    ask(x, 1, 2);
    ask(x, 2, 1);
    ask(x, 3, 3);
    tick(x); /* no time passes */
    must_get(x, 0, 10);
    must_get(x, 1, 20);
    must_get(x, 2, 10);
    must_get(x, 3, 30);
    calls_must(x, "B(1,2,3)");
    equal(stats_now(x).by_trigger[DLOAD_BY_EXPECT], 1);
    /* Announced late, when they are there already: at once. */
    ask(x, 0, 4);
    ask(x, 1, 5);
    must_ok(tl_expect(&x->l, 2));
    tick(x);
    must_get(x, 0, 40);
    must_get(x, 1, 50);
    calls_must(x, "B(4,5)");
    equal(stats_now(x).by_trigger[DLOAD_BY_EXPECT], 2);
}

static void dispatch_expected_not_before(struct fixture *x)
{
    x->cfg.settle_ns = x->cfg.max_age_ns = LONG_NS;
    open_loader(x);
    must_ok(tl_expect(&x->l, 3));
    ask(x, 0, 1);
    ask(x, 1, 2);
    ask(x, 2, 1);
    must_be_quiet(x); /* two distinct keys are not three */
    ask(x, 3, 3);
    tick(x);
    must_get(x, 3, 30);
    calls_must(x, "B(1,2,3)");
    /* It was for one batch: the next settles again. */
    ask(x, 4, 4);
    ask(x, 5, 5);
    ask(x, 6, 6);
    must_be_quiet(x);
    must_wait(x, 4);
}

static void load_own_number(struct fixture *x, size_t i)
{
    uint64_t out = 0;
    must_ok(tl_load(&x->l, i, &out));
    equal(out, i * 10);
}

static void dispatch_expected_by_the_first(struct fixture *x)
{
    open_loader(x);
    must_ok(tl_expect(&x->l, 3));
    each_caller(x, 3, load_own_number);
    equal(x->r.n_calls, 1);
    equal(x->r.n_keys, 3);
    equal(stats_now(x).by_trigger[DLOAD_BY_EXPECT], 1);
}

static void dispatch_in_hook(void *ctx)
{
    struct fixture *x = ctx;
    must_ok(tl_dispatch(&x->l, NULL));
}

static bool next_of_three(struct walker *k)
{
    k->n_bad += k->at > 0 && (k->status != DLOAD_OK || k->value != k->key * 10);
    k->key = 100 + k->i * 10 + k->at;
    return k->at < 3;
}

static void dispatch_inside_load(struct fixture *x)
{
    static dload_hooks hooks;
    static struct walker walkers[4];
    uint64_t out[3];
    dload_status st[3];
    hooks = (dload_hooks){.queued = dispatch_in_hook, .ctx = x};
    x->cfg.hooks = &hooks;
    open_loader(x);
    load_one(x, 1, 10);
    load_one(x, 2, 20);
    calls_must(x, "B(1) B(2)");
    /* The hook is told of a batch's first key, so that the other two have one of their own. */
    must_ok(load_many(x, KEYS(3, 4, 5), out, st));
    equal(out[0] + out[1] + out[2], 120);
    equal(x->r.n_keys, 5);
    memset(walkers, 0, sizeof walkers);
    for (size_t i = 0; i < COUNT(walkers); i++) {
        walkers[i].next = next_of_three;
        walkers[i].l = &x->l;
    }
    walk(x, walkers, COUNT(walkers));
    for (size_t i = 0; i < COUNT(walkers); i++) {
        equal(walkers[i].at, 3);
        equal(walkers[i].n_bad, 0);
    }
    equal(x->r.n_keys, 17);
}

static void dispatch_without_batching(struct fixture *x)
{
    x->cfg.max_batch = 1;
    x->cfg.settle_ns = x->cfg.max_age_ns = LONG_NS; /* means nothing when one key is full */
    open_loader(x);
    load_one(x, 1, 10);
    calls_must(x, "B(1)");
    ask(x, 0, 2);
    tick(x);
    must_get(x, 0, 20);
    ask(x, 1, 3, 4, 3);
    tick(x);
    must_get(x, 1, 30, 40, 30);
    calls_must(x, "B(2) B(3) B(4)");
    /* Still deduplicated while it is out. */
    x->r.result = DLOAD_PENDING;
    ask(x, 0, 5);
    tick(x);
    must_be_out(x, 1);
    ask(x, 1, 5);
    tick(x);
    equal(dispatch(x), 0);
    finish(x);
    must_get(x, 0, 50);
    must_get(x, 1, 50);
    calls_must(x, "B(5)");
}

static const struct test_case dispatch_cases[] = {
    CASE(
        1, ON_ALL, "load, dispatch: one call",
        "given an empty loader, when 1 is loaded and dispatched, then its value comes, by one call",
        NULL, dispatch_one),
    CASE(2, ON_ALL, "order of first request",
         "given loads of 1 and of 2, when they go, then by exactly one B(1,2)", NULL,
         dispatch_order),
    CASE(3, ON_ALL, "load_many of nothing",
         "given no key, when load_many is called, then DLOAD_OK and no call", NULL,
         dispatch_many_of_nothing),
    CASE(4, ON_ALL, "answers in the order asked",
         "given load_many of 3, 1, 2, when the function answers in any order, then values in that "
         "order",
         NULL, dispatch_many_in_order),
    CASE(5, ON_ALL, "dispatch of nothing",
         "given nothing queued, when it is dispatched, then DLOAD_OK, 0 keys, no call", NULL,
         dispatch_of_nothing),
    CASE(6, ON_ALL, "never sent again",
         "given A was dispatched, when B is loaded and dispatched, then B(A) B(B)", NULL,
         dispatch_never_twice),
    CASE(7, ON_ALL, "dispatch reports keys",
         "given 6 keys asked for, 2 of them different, when dispatched, then it says 2", NULL,
         dispatch_counts_keys),
    CASE(8, ON_ALL, "a full batch goes at once",
         "given max_batch 2 and an hour to settle, when 2 keys are there, then they go by their "
         "size",
         NULL, dispatch_full),
    CASE(
        8, ON_ALL & ~ON_FIBER, "the third key waits for its own trigger",
        "given max_batch 2 and an hour to settle, when 3 keys are there, then the third goes alone",
        "fibers: what is queued goes when all tasks wait", dispatch_full_not_the_third),
    CASE(9, ON_ALL, "batches of max_batch",
         "given max_batch 5, when keys 0..20 come in one round, then batches of 5,5,5,5,1", NULL,
         dispatch_splits),
    CASE(10, ON_ALL & ~ON_FIBER, "settling and its bound",
         "given keys 9 ms apart and 10 ms to settle, when 35 ms of max_age_ns are over, then they "
         "go",
         "fibers: what is queued goes when all tasks wait", dispatch_settles),
    CASE(11, ON_ALL, "the last expected key dispatches",
         "given expect(3), when the third different key comes, then they go without waiting", NULL,
         dispatch_expected),
    CASE(11, ON_ALL & ~ON_FIBER, "not before the last expected key",
         "given expect(3), when two different keys are there, then nothing goes yet",
         "fibers: what is queued goes when all tasks wait", dispatch_expected_not_before),
    CASE(11, ON_THREADS | ON_FIBER, "also the first caller waits for it",
         "given expect(3) and no settle time, when three callers come, then one batch of three",
         "elsewhere one caller blocks at a time", dispatch_expected_by_the_first),
    CASE(12, ON_ALL, "dispatch inside load",
         "given a hook that dispatches inside load, when keys are loaded, then their values come",
         NULL, dispatch_inside_load),
    CASE(
        14, ON_ALL, "batching off",
        "given max_batch 1, when keys are loaded, then each goes at once, and once while it is out",
        NULL, dispatch_without_batching),
};

#endif /* DLOAD_TESTS_CASES_DISPATCH_H */
