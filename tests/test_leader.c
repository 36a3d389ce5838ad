/* Who sends a batch among threads, one interleaving at a time: the lead passes on, a free place is
 * used, nobody sleeps for ever. The C side of tests/models. */
/* locks: CUSTOM SPIN PTHREAD */
/* tsan */
#include "test_loader.h"
#include "test_turns.h"

enum { SETTLE_NS = 100, RUN_LIMIT_NS = 5000 };

static int setup(void **state)
{
    int rc = turns_setup(state);
    turns.cfg.max_in_flight = 1;
    return rc;
}

/* Two callers in one batch: from now on a caller lingers for the settle time. */
static void open_with_company(void)
{
    turns.cfg.settle_ns = SETTLE_NS;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(901);
    struct task *first = LOAD(901);
    struct task *a = LOAD(902), *b = LOAD(903);
    go_on(first);
    pass(SETTLE_NS);
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    text_must(&turns.calls, "B(901) B(902,903)");
}

/* ---- the lead ---- */

static void test_leader_at_its_deadline(void **state)
{
    (void)state;
    open_with_company();
    struct task *a = LOAD_IN(SETTLE_NS / 2, 1), *b = LOAD(2);
    text_must(&turns.calls, "");
    pass(SETTLE_NS / 2);
    must_be_done(a, DLOAD_ETIMEDOUT);
    pass(SETTLE_NS / 2);
    must_be_done(b, DLOAD_OK);
    text_must(&turns.calls, "B(2)");
}

static void test_leader_goes_off_to_send(void **state)
{
    (void)state;
    turns.cfg.max_batch = 3;
    turns.cfg.max_in_flight = 2;
    turns.cfg.settle_ns = SETTLE_NS;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(8);
    hold(9);
    hold(1);
    struct task *x = LOAD(8), *y = LOAD(9);
    struct task *p = LOAD(1, 2, 3, 4); /* leads (4), and (1,2,3) is queued */
    struct task *q = LOAD(5);          /* follows */
    turn(x);
    turn(y); /* two places are free, and p is awake */
    settle();
    assert_int_equal(p->state, TASK_FETCHING);
    pass(SETTLE_NS);
    must_be_done(q, DLOAD_OK);
    text_must(&turns.calls, "B(8) B(9) B(1,2,3) B(4,5)");
    go_on(p);
    must_be_done(p, DLOAD_OK);
}

/* A batch that is complete does not wait for its settle time, whoever completed it. */
static void test_leader_is_told(void **state)
{
    (void)state;
    static struct request r;
    turns.cfg.max_batch = 3;
    open_with_company();
    struct task *a = LOAD(1), *b = LOAD(2);
    text_must(&turns.calls, "");
    memset(&r, 0, sizeof r);
    must(tl_start(&turns.l, 3, &r.w), DLOAD_PENDING);
    settle();
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    text_must(&turns.calls, "B(1,2,3)");
    a = LOAD(4);
    b = LOAD(5);
    must_ok(tl_expect(&turns.l, 2));
    settle();
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    text_must(&turns.calls, "B(4,5)");
}

/* ---- places among the running ones ---- */

static void test_leader_place_is_used(void **state)
{
    (void)state;
    turns.cfg.max_batch = 1;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(2), *c = LOAD(3), *d = LOAD(1);
    text_must(&turns.calls, "B(1)");
    go_on(a);
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
    must_be_done(d, DLOAD_OK);
    text_must(&turns.calls, "B(2) B(3)");
}

static void test_leader_nested_load_has_a_place(void **state)
{
    (void)state;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    struct task *a = LOAD(1);
    a->inside = 2;
    go_on(a);
    must_be_done(a, DLOAD_OK);
    must_ok(a->inside_result);
    text_must(&turns.calls, "B(1) B(2)");
}

/* Who gives a batch up tells one who sleeps for its place. */
static void test_leader_abandoned_place_is_used(void **state)
{
    (void)state;
    turns.cfg.max_batch = 1;
    turns.cfg.run_limit_ns = RUN_LIMIT_NS;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(2), *c = LOAD(1);
    turns.f.now_ns += RUN_LIMIT_NS + 1;
    assert_false(is_woken(b));
    turn(c);
    must_be_done(c, DLOAD_ETIMEDOUT);
    assert_true(is_woken(b));
    settle();
    must_be_done(b, DLOAD_OK);
    go_on(a);
    must_be_done(a, DLOAD_ETIMEDOUT);
}

/* ---- what comes late ---- */

static void test_leader_late_answer(void **state)
{
    (void)state;
    turns.cfg.run_limit_ns = RUN_LIMIT_NS;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(1);
    pass(RUN_LIMIT_NS + 1);
    must_be_done(b, DLOAD_ETIMEDOUT);
    turns.n_held = 0;
    turns.version = 1;
    struct task *c = LOAD(1);
    must_be_done(c, DLOAD_OK);
    equal(c->out[0], 11);
    go_on(a); /* it answers 10 */
    must_be_done(a, DLOAD_ETIMEDOUT);
    c = LOAD(1);
    equal(c->out[0], 11);
    text_must(&turns.calls, "B(1) B(1)");
    dload_stats st = {0};
    must_ok(tl_stats(&turns.l, &st));
    equal(st.abandoned, 1);
    equal(st.late_answers, 1);
}

static void test_leader_cleared_while_fetching(void **state)
{
    (void)state;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    for (int all = 0; all < 2; all++) {
        struct task *a = LOAD(1);
        must_ok(all ? tl_clear_all(&turns.l) : tl_clear(&turns.l, 1));
        turns.version++;
        go_on(a);
        must_be_done(a, DLOAD_OK);
        equal(a->out[0], 10 + turns.version - 1);
        dload_state is = DLOAD_STATE_READY;
        must(tl_peek(&turns.l, 1, &is, NULL), DLOAD_MISSING);
        equal(is, DLOAD_STATE_ABSENT);
    }
}

/* ---- what must not get lost ---- */

/* A batch that nobody wants any more does not stay in the way. */
static void test_leader_dead_batch_leaves_the_queue(void **state)
{
    (void)state;
    turns.cfg.max_batch = 1;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD_IN(SETTLE_NS, 2), *c = LOAD(3);
    pass(SETTLE_NS);
    must_be_done(b, DLOAD_ETIMEDOUT);
    size_t n_allocs = turns.f.n_allocs;
    for (uint64_t key = 100; key < 200; key++) {
        uint64_t out = 0;
        must(tl_load(&turns.l, key, &out), DLOAD_EAGAIN); /* the test itself cannot wait */
    }
    assert_true(turns.f.n_allocs <= n_allocs + 2); /* nor does it keep its memory */
    go_on(a);
    must_be_done(c, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(3)");
}

/* A batch of callbacks only, whose loop is late, does not stop those behind it. */
static void test_leader_late_loop(void **state)
{
    (void)state;
    static struct request r;
    turns.cfg.max_batch = 1;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    struct task *a = LOAD(1);
    memset(&r, 0, sizeof r);
    r.w.done = request_done;
    r.w.ctx = &r;
    must(tl_start(&turns.l, 2, &r.w), DLOAD_PENDING);
    struct task *c = LOAD(3);
    go_on(a);
    must_be_done(c, DLOAD_OK);
    text_must(&turns.calls, "B(1) B(3)");
    must_ok(tl_dispatch(&turns.l, NULL));
    equal(r.n_done, 1);
}

/* Who gives a batch up uses its place. */
static void test_leader_abandons_for_itself(void **state)
{
    (void)state;
    turns.cfg.max_batch = 1;
    turns.cfg.run_limit_ns = RUN_LIMIT_NS;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(2);
    pass(RUN_LIMIT_NS + 1);
    must_be_done(b, DLOAD_OK);
    go_on(a);
    must_be_done(a, DLOAD_ETIMEDOUT);
}

/* A wake-up goes to somebody who sleeps. */
static void test_leader_wakes_who_sleeps(void **state)
{
    (void)state;
    turns.cfg.max_batch = 1;
    turns.cfg.max_in_flight = 2;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(1);
    hold(2);
    hold(3);
    struct task *x = LOAD(1), *y = LOAD(2), *p = LOAD(3, 4), *q = LOAD(4);
    go_on(x);
    assert_int_equal(p->state, TASK_FETCHING);
    go_on(y);
    must_be_done(q, DLOAD_OK);
    go_on(p);
    must_be_done(p, DLOAD_OK);
}

/* A fetch function that loads does not wait for a leader that waits for it. */
static void test_leader_nested_takes_the_lead(void **state)
{
    (void)state;
    open_with_company();
    hold(1);
    struct task *a = LOAD(1);
    pass(SETTLE_NS);
    struct task *b = LOAD(2), *c = LOAD(3);
    a->inside = 2;
    go_on(a);
    pass(SETTLE_NS);
    must_be_done(a, DLOAD_OK);
    must_ok(a->inside_result);
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
}

/* The run limit is kept by those too who fell asleep before the run began. */
static void test_leader_follower_knows_the_limit(void **state)
{
    (void)state;
    turns.cfg.run_limit_ns = RUN_LIMIT_NS;
    open_with_company();
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(1);
    pass(SETTLE_NS);
    assert_int_equal(a->state, TASK_FETCHING);
    for (int i = 0; i < 4 && b->state != TASK_DONE; i++) {
        pass(RUN_LIMIT_NS);
    }
    must_be_done(b, DLOAD_ETIMEDOUT);
    go_on(a);
}

#define TURN(text, fn)                        \
    {                                         \
        text, fn, setup, turns_teardown, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURN("the lead passes on at a deadline", test_leader_at_its_deadline),
        TURN("the lead passes on before a send", test_leader_goes_off_to_send),
        TURN("the leader is told that its batch is complete", test_leader_is_told),
        TURN("a free place is used", test_leader_place_is_used),
        TURN("a load in a fetch function has a place", test_leader_nested_load_has_a_place),
        TURN("the place of an abandoned batch is used", test_leader_abandoned_place_is_used),
        TURN("an answer after the run limit changes nothing", test_leader_late_answer),
        TURN("cleared while it is fetched", test_leader_cleared_while_fetching),
        TURN("a dead batch leaves the queue", test_leader_dead_batch_leaves_the_queue),
        TURN("a late loop stops nobody", test_leader_late_loop),
        TURN("who gives a batch up uses its place", test_leader_abandons_for_itself),
        TURN("a wake-up goes to who sleeps", test_leader_wakes_who_sleeps),
        TURN("a nested load takes the lead", test_leader_nested_takes_the_lead),
        TURN("a follower knows the run limit", test_leader_follower_knows_the_limit),
    };
    return cmocka_run_group_tests_name("leader " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
