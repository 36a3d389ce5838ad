/* Rule 13: close sends or fails what is queued, waits for what is out, and leaves nobody behind. */
#ifndef DLOAD_TESTS_CASES_CLOSE_H
#define DLOAD_TESTS_CASES_CLOSE_H

#include "verbs.h"

static void close_drains(struct fixture *x)
{
    x->cfg.settle_ns = x->cfg.max_age_ns = LONG_NS;
    open_loader(x);
    ask(x, 0, 1);
    ask(x, 1, 2);
    must_ok(close_loader(x, DLOAD_DRAIN, 0));
    must_get(x, 0, 10);
    must_get(x, 1, 20);
    calls_must(x, "B(1,2)");
    equal(stats_now(x).by_trigger[DLOAD_BY_CLOSE], 1);
    ask(x, 2, 3);
    must_fail(x, 2, DLOAD_ECLOSED);
    must(load_status(x, 3), DLOAD_ECLOSED);
    must_ok(close_loader(x, DLOAD_DRAIN, 0));
    must_ok(close_loader(x, DLOAD_FAIL, 0));
    calls_must(x, "");
}

static void close_fails(struct fixture *x)
{
    x->cfg.settle_ns = x->cfg.max_age_ns = LONG_NS;
    open_loader(x);
    ask(x, 0, 1);
    ask(x, 1, 2);
    must_ok(close_loader(x, DLOAD_FAIL, 0));
    must_fail(x, 0, DLOAD_ECLOSED);
    must_fail(x, 1, DLOAD_ECLOSED);
    must(load_status(x, 1), DLOAD_ECLOSED);
    must_ok(close_loader(x, DLOAD_FAIL, 0));
    must_ok(close_loader(x, DLOAD_DRAIN, 0));
    calls_must(x, "");
}

/* One key out, one queued. */
static void close_begin(struct fixture *x)
{
    x->cfg.settle_ns = x->cfg.max_age_ns = LONG_NS;
    open_loader(x);
    ask_pending(x, 0, 1);
    ask(x, 1, 2);
}

static void close_waits(struct fixture *x)
{
    close_begin(x);
    meanwhile(x, 2, finish_all);
    must_ok(close_loader(x, DLOAD_DRAIN, 0));
    must_get(x, 0, 10);
    must_get(x, 1, 20);
    calls_must(x, "B(1) B(2)");
}

static void pass_a_second(struct fixture *x)
{
    clock_set(x, tl_now(&x->l) + DLOAD_SECOND);
}

/* The function still has its batches, so that the loader cannot go yet. */
static void close_end(struct fixture *x)
{
    must(tl_destroy(&x->l), DLOAD_EBUSY);
    while (n_pending(x)) {
        must_ok(tl_batch_done(take_pending(x, 0), DLOAD_OK));
    }
}

static void close_drain_deadline(struct fixture *x)
{
    close_begin(x);
    uint64_t deadline_ns = tl_now(&x->l) + DLOAD_SECOND;
    meanwhile(x, 2, pass_a_second);
    must(close_loader(x, DLOAD_DRAIN, deadline_ns), DLOAD_ETIMEDOUT);
    must_fail(x, 0, DLOAD_ETIMEDOUT);
    must_fail(x, 1, DLOAD_ETIMEDOUT);
    calls_must(x, "B(1) B(2)");
    close_end(x);
}

static void close_fail_deadline(struct fixture *x)
{
    close_begin(x);
    uint64_t deadline_ns = tl_now(&x->l) + DLOAD_SECOND;
    meanwhile(x, 1, pass_a_second);
    must(close_loader(x, DLOAD_FAIL, deadline_ns), DLOAD_ETIMEDOUT);
    must_fail(x, 0, DLOAD_ECLOSED);
    must_fail(x, 1, DLOAD_ECLOSED);
    calls_must(x, "B(1)");
    close_end(x);
}

static void close_fail_in_loop(struct fixture *x)
{
    close_begin(x);
    must_ok(close_loader(x, DLOAD_FAIL, tl_now(&x->l) + DLOAD_SECOND));
    must_fail(x, 0, DLOAD_ECLOSED);
    must_fail(x, 1, DLOAD_ECLOSED);
    calls_must(x, "B(1)");
    close_end(x);
}

static const struct test_case close_cases[] = {
    CASE(13, ON_ALL, "close drains",
         "given queued keys, when closed with DRAIN, then they are sent, delivered, and more "
         "refused",
         NULL, close_drains),
    CASE(13, ON_ALL, "close fails",
         "given queued keys, when closed with FAIL, then all end with ECLOSED and nothing is sent",
         NULL, close_fails),
    CASE(
        13, ON_ALL, "close waits for what is out",
        "given a batch out and a key queued, when closed with DRAIN, then both are delivered first",
        NULL, close_waits),
    CASE(13, ON_ALL, "close(DRAIN) leaves nobody behind",
         "given a batch that does not end, when the close's deadline passes, then its waiters have "
         "that",
         NULL, close_drain_deadline),
    CASE(13, ON_ALL & ~ON_LOOP, "close(FAIL) leaves nobody behind",
         "given a batch that does not end, when the close's deadline passes, then its waiters have "
         "that",
         "loop: nothing can be waited for, see the next row", close_fail_deadline),
    CASE(13, ON_LOOP, "close(FAIL) does not wait in a loop",
         "given a batch that does not end, when closed with FAIL, then its waiters have that at "
         "once",
         "others can wait, see the row before", close_fail_in_loop),
};

#endif /* DLOAD_TESTS_CASES_CLOSE_H */
