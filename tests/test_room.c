/* The bound of the queue: what a call is told at max_queue, and with queue_wait who gets room, and when.
 * One interleaving at a time. */
/* locks: CUSTOM SPIN PTHREAD */
/* tsan */
#include "test_loader.h"
#include "test_turns.h"

enum { DEADLINE_NS = 500, TURN_RUN_LIMIT_NS = 5000 };

/* A queue of so many keys, fetched one by one: the key of the first caller is held, and who comes then
 * finds no room. */
static void open_queue(size_t max_queue)
{
    turns.cfg.max_queue = max_queue;
    turns.cfg.max_batch = 1;
    turns.cfg.max_in_flight = 1;
    turns.cfg.queue_wait = true;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
}

static dload_stats stats(void)
{
    dload_stats st = {0};
    must_ok(tl_stats(&turns.l, &st));
    return st;
}

/* ---- without waiting ---- */

static void test_room_refused(void **state)
{
    (void)state;
    static struct request r;
    turns.cfg.max_queue = 2;
    turns.cfg.max_in_flight = 1;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(2);
    struct task *c = LOAD(3), *d = LOAD(1), *e = LOAD(2, 3);
    must_be_done(c, DLOAD_EAGAIN);
    assert_int_equal(d->state, TASK_ASLEEP); /* joins: needs no room */
    memset(&r, 0, sizeof r);
    must(tl_start(&turns.l, 3, &r.w), DLOAD_EAGAIN);
    go_on(a);
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    must_be_done(d, DLOAD_OK);
    must_be_done(e, DLOAD_OK); /* its first key went, and then there was room for the second */
    text_must(&turns.calls, "B(1) B(2) B(3)");
}

/* ---- the line ---- */

static void test_room_in_order(void **state)
{
    (void)state;
    open_queue(1);
    struct task *a = LOAD(1), *b = LOAD(5), *c = LOAD(4), *d = LOAD(3), *e = LOAD(2);
    text_must(&turns.calls, "B(1)");
    go_on(a);
    text_must(&turns.calls, "B(5) B(4) B(3) B(2)");
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
    must_be_done(d, DLOAD_OK);
    must_be_done(e, DLOAD_OK);
    equal(stats().misses, 5);
    equal(b->n_sleeps + c->n_sleeps + d->n_sleeps + e->n_sleeps,
          4); /* nobody was woken for nothing */
}

/* Who wakes up by itself, as any sleeper may, does not overtake. */
static void test_room_no_overtaking(void **state)
{
    (void)state;
    open_queue(1);
    struct task *a = LOAD(1), *b = LOAD(2), *c = LOAD(3);
    turn(a); /* there is room, and b was told */
    must_be_done(a, DLOAD_OK);
    assert_true(is_woken(b));
    turn(c);
    assert_int_equal(c->state, TASK_ASLEEP);
    settle();
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(2) B(3)");
}

/* Nor does who comes when there is room, before the first in line is awake; who may not wait takes it. */
static void test_room_newcomer(void **state)
{
    (void)state;
    static struct request r;
    uint64_t out = 0;
    open_queue(1);
    struct task *a = LOAD(1), *b = LOAD(2), *c = LOAD(3);
    turn(a);
    assert_true(is_woken(b));
    struct task *d = LOAD(4);
    assert_int_equal(d->state, TASK_ASLEEP);
    settle();
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
    must_be_done(d, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(2) B(3) B(4)");
    hold(5);
    a = LOAD(5);
    b = LOAD(6);
    turn(a);
    memset(&r, 0, sizeof r);
    r.w.done = request_done;
    r.w.ctx = &r;
    must(tl_start(&turns.l, 7, &r.w), DLOAD_PENDING);
    settle();
    assert_int_equal(b->state, TASK_ASLEEP);
    must_ok(tl_dispatch(&turns.l, NULL));
    settle();
    must_be_done(b, DLOAD_OK);
    equal(r.n_done, 1);
    must(tl_load(&turns.l, 5, &out), DLOAD_OK); /* a hit needs no room */
    text_must(&turns.calls, "B(5) B(7) B(6)");
}

/* Room for several is passed on, and so is room that its owner does not need after all. */
static void test_room_passed_on(void **state)
{
    (void)state;
    uint64_t value = 20;
    turns.cfg.max_batch = 3;
    turns.cfg.max_queue = 3;
    turns.cfg.max_in_flight = 1;
    turns.cfg.queue_wait = true;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    struct task *a = LOAD(1, 11, 12), *b = LOAD(2), *c = LOAD(3), *d = LOAD(4);
    must_ok(tl_prime(&turns.l, 2, &value, 0));
    go_on(a);
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
    must_be_done(d, DLOAD_OK);
    text_must(&turns.calls, "B(1,11,12) B(3) B(4)");
}

static void test_room_for_the_next_when_cached(void **state)
{
    (void)state;
    uint64_t value = 20;
    open_queue(1);
    struct task *a = LOAD(1), *b = LOAD(2), *c = LOAD(3);
    must_ok(tl_prime(&turns.l, 2, &value, 0));
    go_on(a);
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(3)");
}

/* A key that several wait in line for is fetched once. */
static void test_room_same_key(void **state)
{
    (void)state;
    open_queue(1);
    struct task *a = LOAD(1), *b = LOAD(2), *c = LOAD(2), *d = LOAD(1, 2, 2);
    go_on(a);
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
    must_be_done(d, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(2)");
}

/* ---- who leaves ---- */

static void test_room_deadline(void **state)
{
    (void)state;
    open_queue(1);
    struct task *a = LOAD(1), *b = LOAD_IN(DEADLINE_NS, 2), *c = LOAD(3);
    pass(DEADLINE_NS - 1);
    assert_int_equal(b->state, TASK_ASLEEP);
    pass(1);
    must_be_done(b, DLOAD_ETIMEDOUT);
    equal(stats().timeouts, 1);
    assert_int_equal(c->state, TASK_ASLEEP);
    struct task *late = LOAD_IN(0, 4); /* has no time to wait */
    must_be_done(late, DLOAD_ETIMEDOUT);
    go_on(a);
    must_be_done(c, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(3)");
}

/* Whoever leaves, first, last or between, the others stay in line. */
static void test_room_leaving_the_line(void **state)
{
    (void)state;
    open_queue(1);
    struct task *a = LOAD(1), *b = LOAD_IN(3, 2), *c = LOAD(3), *d = LOAD_IN(2, 4);
    struct task *e = LOAD(5), *f = LOAD_IN(1, 6);
    pass(1);
    must_be_done(f, DLOAD_ETIMEDOUT);
    struct task *g = LOAD(7);
    pass(1);
    must_be_done(d, DLOAD_ETIMEDOUT);
    pass(1);
    must_be_done(b, DLOAD_ETIMEDOUT);
    go_on(a);
    must_be_done(c, DLOAD_OK);
    must_be_done(e, DLOAD_OK);
    must_be_done(g, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(3) B(5) B(7)");
}

/* The time spent in line is part of the call's: what is left is for the fetch. */
static void test_room_deadline_goes_on(void **state)
{
    (void)state;
    open_queue(1);
    hold(2);
    struct task *a = LOAD(1), *b = LOAD(2), *c = LOAD_IN(DEADLINE_NS, 2);
    turn(a);
    settle();
    assert_int_equal(b->state, TASK_FETCHING);
    assert_int_equal(c->state, TASK_ASLEEP);
    pass(DEADLINE_NS);
    must_be_done(c, DLOAD_ETIMEDOUT);
    go_on(b);
    must_be_done(b, DLOAD_OK);
}

/* A caller that leaves the queue makes room. */
static void test_room_of_who_left(void **state)
{
    (void)state;
    open_queue(2);
    struct task *a = LOAD(1), *b = LOAD_IN(DEADLINE_NS, 2), *c = LOAD(3);
    pass(DEADLINE_NS);
    must_be_done(b, DLOAD_ETIMEDOUT);
    equal(stats().misses, 3); /* c is in the queue now */
    assert_int_equal(c->state, TASK_ASLEEP);
    go_on(a);
    must_be_done(c, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(3)");
}

static void test_room_of_the_abandoned(void **state)
{
    (void)state;
    turns.cfg.run_limit_ns = TURN_RUN_LIMIT_NS;
    turns.cfg.timeout_ns = DLOAD_NEVER;
    open_queue(1);
    struct task *a = LOAD(1), *b = LOAD_IN(2 * TURN_RUN_LIMIT_NS, 2);
    pass(TURN_RUN_LIMIT_NS + 1);
    must_be_done(b, DLOAD_OK);
    go_on(a);
    must_be_done(a, DLOAD_ETIMEDOUT);
    equal(stats().abandoned, 1);
}

/* Whoever waits in line when the loader is closed is let go; what is out ends as it would anyway. */
static void close_with_a_line(dload_close_mode mode)
{
    open_queue(1);
    struct task *a = LOAD(1), *b = LOAD(2), *c = LOAD(3, 4);
    bool drain = mode == DLOAD_DRAIN;
    /* A batch is out, and the test itself cannot wait: a drain may be called again. */
    must(tl_close(&turns.l, mode, 0), drain ? DLOAD_EAGAIN : DLOAD_OK);
    settle();
    must_be_done(b, DLOAD_ECLOSED);
    must_be_done(c, DLOAD_ECLOSED);
    must(c->statuses[0], DLOAD_ECLOSED);
    must(c->statuses[1], DLOAD_ECLOSED);
    struct task *d = LOAD(5);
    must_be_done(d, DLOAD_ECLOSED);
    go_on(a);
    must_be_done(a, drain ? DLOAD_OK : DLOAD_ECLOSED);
    text_must(&turns.calls, "B(1)");
}

static void test_room_closed(void **state)
{
    (void)state;
    close_with_a_line(DLOAD_FAIL);
}

static void test_room_drained(void **state)
{
    (void)state;
    close_with_a_line(DLOAD_DRAIN);
}

/* ---- who may not wait ---- */

/* What fills the queue may wait for the fetch function. */
static void test_room_inside_a_fetch(void **state)
{
    (void)state;
    open_queue(1);
    struct task *a = LOAD(1), *b = LOAD(2);
    a->inside = 3;
    go_on(a);
    must_be_done(a, DLOAD_OK);
    must(a->inside_result, DLOAD_EAGAIN);
    must_be_done(b, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(2)");
}

static void test_room_start_never_waits(void **state)
{
    (void)state;
    static struct request r;
    open_queue(1);
    struct task *a = LOAD(1);
    memset(&r, 0, sizeof r);
    must(tl_start(&turns.l, 2, &r.w), DLOAD_EAGAIN);
    go_on(a);
    must_be_done(a, DLOAD_OK);
}

/* ---- more keys than there is room for ---- */

static void test_room_load_many(void **state)
{
    (void)state;
    open_queue(2);
    struct task *a = LOAD(1), *b = LOAD(2, 3, 4, 2, 5), *c = LOAD(6, 7, 3, 8);
    go_on(a);
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
    equal(stats().keys, 8); /* each once */
    dload_status want = DLOAD_OK;
    for (size_t i = 0; i < 5; i++) {
        must(b->statuses[i], want);
    }
    text_clear(&turns.calls);
}

static void test_room_load_many_deadline(void **state)
{
    (void)state;
    open_queue(2);
    struct task *a = LOAD(1), *b = LOAD_IN(DEADLINE_NS, 2, 1, 3, 4), *c = LOAD(5, 6);
    pass(DEADLINE_NS);
    must_be_done(b, DLOAD_ETIMEDOUT);
    for (size_t i = 0; i < 4; i++) {
        must(b->statuses[i], DLOAD_ETIMEDOUT);
    }
    go_on(a);
    must_be_done(c, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(5) B(6)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURNS("EAGAIN by default", test_room_refused),
        TURNS("first come, first served", test_room_in_order),
        TURNS("nobody overtakes", test_room_no_overtaking),
        TURNS("... who comes later neither", test_room_newcomer),
        TURNS("room for several is passed on", test_room_passed_on),
        TURNS("room that is not needed is passed on", test_room_for_the_next_when_cached),
        TURNS("a key that several wait for", test_room_same_key),
        TURNS("a deadline in line", test_room_deadline),
        TURNS("whoever leaves the line", test_room_leaving_the_line),
        TURNS("a deadline after the line", test_room_deadline_goes_on),
        TURNS("who leaves the queue makes room", test_room_of_who_left),
        TURNS("an abandoned batch makes room", test_room_of_the_abandoned),
        TURNS("closed", test_room_closed),
        TURNS("drained", test_room_drained),
        TURNS("a fetch function is refused at once", test_room_inside_a_fetch),
        TURNS("_start is refused at once", test_room_start_never_waits),
        TURNS("more keys than there is room for", test_room_load_many),
        TURNS("... and a deadline", test_room_load_many_deadline),
    };
    return cmocka_run_group_tests_name("room " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
