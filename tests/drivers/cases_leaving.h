/* Rules 53 to 56: cancelling, deadlines, and loaders one behind the other. */
#ifndef DLOAD_TESTS_CASES_LEAVING_H
#define DLOAD_TESTS_CASES_LEAVING_H

#include "verbs.h"

/* ---- before dispatch ---- */

static void leaving_cancel_queued(struct fixture *x)
{
    static struct request q[4];
    memset(q, 0, sizeof q);
    open_loader(x);
    request_start_all(x, q, KEYS(1, 2, 2, 3));
    must_ok(tl_cancel(&x->l, &q[0].w)); /* its key's only one */
    must_ok(tl_cancel(&x->l, &q[1].w)); /* not its key's only one */
    equal(dispatch(x), 2);
    calls_must(x, "B(2,3)");
    equal(q[0].n_done + q[1].n_done, 0);
    request_must(&q[2], 20);
    request_must(&q[3], 30);
    must(tl_cancel(&x->l, &q[2].w), DLOAD_EBUSY);
    /* The batch may become empty. */
    must(request_start(x, &q[0], 7), DLOAD_PENDING);
    must_ok(tl_cancel(&x->l, &q[0].w));
    equal(tl_next_deadline(&x->l), DLOAD_NEVER);
    equal(dispatch(x), 0);
    calls_must(x, "");
    /* And a key that left comes back as a new one, last. */
    request_start_all(x, q, KEYS(5, 6));
    must_ok(tl_cancel(&x->l, &q[0].w));
    must(request_start(x, &q[0], 5), DLOAD_PENDING);
    equal(dispatch(x), 2);
    calls_must(x, "B(6,5)");
    equal(stats_now(x).cancelled, 4);
}

static void leaving_any_of_many(struct fixture *x)
{
    enum { N = 40, N_OF_THEM = 5 };
    static struct request q[N];
    bool gone[N];
    uint64_t seed = test_seed("drivers cancel");
    x->cfg.fetch = fetch_counted;
    open_loader(x);
    for (size_t round = 0; round < scaled(200); round++) {
        size_t left[N_OF_THEM] = {0}, n_left = 0;
        memset(q, 0, sizeof q);
        memset(gone, 0, sizeof gone);
        for (size_t i = 0; i < N; i++) {
            left[i % N_OF_THEM]++;
            must(request_start(x, &q[i], i % N_OF_THEM), DLOAD_PENDING);
        }
        size_t n = (size_t)rng_below(&seed, N);
        for (size_t j = 0; j < n; j++) {
            size_t i = (size_t)rng_below(&seed, N);
            if (!gone[i]) {
                gone[i] = true;
                left[i % N_OF_THEM]--;
                must_ok(tl_cancel(&x->l, &q[i].w));
            }
        }
        for (size_t k = 0; k < N_OF_THEM; k++) {
            n_left += left[k] > 0;
        }
        equal(dispatch(x), n_left);
        for (size_t i = 0; i < N; i++) {
            equal(q[i].n_done, gone[i] ? 0 : 1);
        }
        must_ok(tl_clear_all(&x->l));
    }
}

static void leaving_while_queued(struct fixture *x)
{
    x->cfg.settle_ns = x->cfg.max_age_ns = LONG_NS;
    open_loader(x);
    uint64_t t = tl_now(&x->l);
    ask(x, 0, 1);
    ask_until(x, 1, 2, t + 5 * MS);
    ask_until(x, 2, 1, t + 5 * MS);
    ask(x, 3, 3);
    pass_to(x, t + 5 * MS);
    must_leave(x, 1);
    must_leave(x, 2);
    must_wait(x, 0);
    must_wait(x, 3);
    calls_must(x, "");
    equal(dispatch(x), 2);
    must_get(x, 0, 10);
    must_get(x, 3, 30);
    calls_must(x, "B(1,3)");
    /* The batch may become empty. */
    t = tl_now(&x->l);
    ask_until(x, 1, 7, t + 5 * MS);
    ask_until(x, 2, 8, t + 6 * MS);
    pass_to(x, t + 6 * MS);
    must_leave(x, 1);
    must_leave(x, 2);
    equal(tl_next_deadline(&x->l), DLOAD_NEVER);
    equal(dispatch(x), 0);
    calls_must(x, "");
}

/* ---- while it is out ---- */

static void leaving_deadline(struct fixture *x)
{
    open_loader(x);
    uint64_t t = tl_now(&x->l);
    ask_pending(x, 0, 1);
    calls_must(x, "B(1)");
    ask_until(x, 1, 1, t + 5 * MS);
    pass_to(x, t + 5 * MS - 1);
    must_be_quiet(x);
    must_wait(x, 1);
    pass_to(x, t + 5 * MS);
    must_leave(x, 1);
    must_wait(x, 0);
    assert_false(tl_batch_cancelled(x->r.pending[0]));
    finish(x);
    must_get(x, 0, 10);
    load_one(x, 1, 10);
    calls_must(x, "");
}

static void leaving_first(struct fixture *x)
{
    open_loader(x);
    uint64_t t = tl_now(&x->l);
    x->r.result = DLOAD_PENDING;
    ask_until(x, 0, 1, t + 5 * MS); /* the one who asked first, and for whom it was sent */
    ask(x, 1, 1);
    ask(x, 2, 2);
    equal(dispatch(x), 2);
    must_be_out(x, 1);
    pass_to(x, t + 5 * MS);
    must_leave(x, 0);
    must_wait(x, 1);
    finish(x);
    must_get(x, 1, 10);
    must_get(x, 2, 20);
    load_one(x, 1, 10);
    calls_must(x, "B(1,2)");
}

/* Keys of a batch move up when others have left it; their requests still find them. */
static void leaving_after_others(struct fixture *x)
{
    enum { N = 16, N_MORE = 8 };
    static struct request q[N + N_MORE];
    static const size_t gone[] = {1, N, N + 3, 3};
    memset(q, 0, sizeof q);
    open_loader(x);
    for (size_t i = 0; i < N; i++) {
        must(request_start(x, &q[i], i), DLOAD_PENDING);
    }
    for (size_t i = 0; i < N; i += 2) {
        must_ok(tl_cancel(&x->l, &q[i].w));
    }
    for (size_t i = N; i < N + N_MORE; i++) {
        must(request_start(x, &q[i], i), DLOAD_PENDING);
    }
    must_ok(tl_cancel(&x->l, &q[gone[0]].w));
    must_ok(tl_cancel(&x->l, &q[gone[1]].w));
    x->r.result = DLOAD_PENDING;
    equal(dispatch(x), N / 2 + N_MORE - 2);
    must_be_out(x, 1);
    calls_must(x, "B(3,5,7,9,11,13,15,17,18,19,20,21,22,23)");
    must_ok(tl_cancel(&x->l, &q[gone[2]].w)); /* while they are out */
    must_ok(tl_cancel(&x->l, &q[gone[3]].w));
    finish(x);
    tick(x);
    for (size_t i = 0; i < N + N_MORE; i++) {
        bool left = i < N && i % 2 == 0;
        for (size_t k = 0; k < COUNT(gone); k++) {
            left = left || i == gone[k];
        }
        equal(q[i].n_done, left ? 0 : 1);
        if (!left) {
            request_must(&q[i], i * 10);
        }
    }
}

static void pass_five_ms(struct fixture *x)
{
    clock_set(x, tl_now(&x->l) + 5 * MS);
}

static void leaving_blocking_call(struct fixture *x)
{
    uint64_t out = 77;
    open_loader(x);
    ask_pending(x, 0, 1);
    dload_call call = {.deadline_ns = tl_now(&x->l) + 5 * MS};
    meanwhile(x, 1, pass_five_ms);
    must(load_with(x, 1, &call, &out), DLOAD_ETIMEDOUT);
    assert_true(tl_now(&x->l) >= call.deadline_ns);
    equal(out, 77);
    must_wait(x, 0);
    equal(stats_now(x).timeouts, 1);
    finish(x);
    must_get(x, 0, 10);
    calls_must(x, "B(1)");
    /* A deadline that has passed is none to fetch for, but a hit costs no time. */
    x->r.result = DLOAD_OK;
    call.deadline_ns = 1;
    must(load_with(x, 3, &call, &out), DLOAD_ETIMEDOUT);
    must_ok(load_with(x, 1, &call, &out));
    equal(out, 10);
    calls_must(x, "");
}

static void leaving_everybody(struct fixture *x)
{
    open_loader(x);
    uint64_t t = tl_now(&x->l);
    x->r.result = DLOAD_PENDING;
    ask_until(x, 0, 1, t + 5 * MS);
    ask_until(x, 1, 2, t + 5 * MS);
    ask_until(x, 2, 2, t + 6 * MS);
    equal(dispatch(x), 2);
    must_be_out(x, 1);
    const tl_batch *b = x->r.pending[0];
    assert_false(tl_batch_cancelled(b));
    pass_to(x, t + 5 * MS);
    must_leave(x, 0);
    must_leave(x, 1);
    assert_false(tl_batch_cancelled(b));
    pass_to(x, t + 6 * MS);
    must_leave(x, 2);
    assert_true(tl_batch_cancelled(b));
    finish(x);
    calls_must(x, "B(1,2)");
}

/* ---- loaders one behind the other ---- */

enum { N_LEVELS = 3, N_ROOTS = 40 };

static struct levels {
    tl l[N_LEVELS];
    struct recorder r[N_LEVELS];
} levels;

/* The value of one level is the key of the next; some have only one level or two to go. */
static bool next_level(struct walker *k)
{
    const bool *all = k->ctx;
    size_t n_levels = *all ? N_LEVELS : 1 + k->i % N_LEVELS;
    k->n_bad += k->at > 0 && (k->status != DLOAD_OK || k->value != k->key * 10 + k->at - 1);
    if (k->at == n_levels) {
        return false;
    }
    k->key = k->at == 0 ? k->i : k->value;
    k->l = &levels.l[k->at];
    return true;
}

static void walk_levels(struct fixture *x, bool all)
{
    static struct walker walkers[N_ROOTS];
    memset(walkers, 0, sizeof walkers);
    memset(&levels, 0, sizeof levels);
    for (size_t i = 0; i < N_LEVELS; i++) {
        tl_config cfg = x->cfg;
        cfg.ctx = &levels.r[i];
        levels.r[i].version = i;
        tl_bring_up(x, &levels.l[i], &cfg);
    }
    for (size_t i = 0; i < N_ROOTS; i++) {
        walkers[i].next = next_level;
        walkers[i].ctx = &all;
    }
    walk_as_crew(x, walkers, N_ROOTS);
    size_t n_steps = 0;
    for (size_t i = 0; i < N_ROOTS; i++) {
        n_steps += walkers[i].at;
        equal(walkers[i].n_bad, 0);
    }
    for (size_t i = 0; i < N_LEVELS; i++) {
        equal(levels.r[i].n_calls, 1);
        n_steps -= levels.r[i].n_keys;
        tl_take_down(x, &levels.l[i]);
    }
    equal(n_steps, 0);
    equal(levels.r[0].n_keys, N_ROOTS);
    equal(levels.r[N_LEVELS - 1].n_keys, all ? N_ROOTS : N_ROOTS / N_LEVELS);
}

static void leaving_levels(struct fixture *x)
{
    walk_levels(x, true);
}

static void leaving_levels_early(struct fixture *x)
{
    walk_levels(x, false);
}

static const struct test_case leaving_cases[] = {
    CASE(53, ON_ALL, "cancelled before dispatch",
         "given a key's only request, when it is cancelled, then the key leaves; no key left, no "
         "call",
         NULL, leaving_cancel_queued),
    CASE(53, ON_ALL, "any of many, in any order",
         "given 40 requests for 5 keys, when any of them are cancelled, then the other keys go",
         NULL, leaving_any_of_many),
    CASE(53, ON_ALL & ~ON_FIBER, "a caller leaves the queue at its deadline",
         "given a key's only caller, when its deadline passes while it is queued, then the key "
         "leaves",
         "fibers: what is queued goes when all tasks wait", leaving_while_queued),
    CASE(54, ON_ALL, "a deadline is one's own",
         "given two callers of a key that is out, when one's deadline passes, then the other stays",
         NULL, leaving_deadline),
    CASE(54, ON_ALL, "also that of the first",
         "given the caller that asked first, when it leaves, then the batch serves the rest", NULL,
         leaving_first),
    CASE(54, ON_ALL, "who leaves after others",
         "given keys that left a batch, when requests of the rest leave it, queued or out, then no "
         "other does",
         NULL, leaving_after_others),
    CASE(54, ON_ALL & ~ON_LOOP, "of a call that blocks",
         "given a call that blocks, when its deadline passes, then it has that, and nobody else",
         "loop: nothing blocks", leaving_blocking_call),
    CASE(55, ON_ALL, "everybody left",
         "given a batch that is out, when all of its waiters have gone, then _batch_cancelled says "
         "so",
         NULL, leaving_everybody),
    CASE(56, ON_ALL, "one batch per level",
         "given three loaders in a chain, when 40 roots go through them, then three batches", NULL,
         leaving_levels),
    CASE(56, ON_ALL, "one batch per level, ends at each",
         "given three loaders in a chain, when roots end after one, two or three, then three "
         "batches",
         NULL, leaving_levels_early),
};

#endif /* DLOAD_TESTS_CASES_LEAVING_H */
