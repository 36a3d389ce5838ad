/* Who is told that a place is free: while callbacks run, and where several groups have an open batch. The C
 * side of tests/models/leader_follower.pml, as test_leader.c, with a loader of groups. */
/* locks: CUSTOM SPIN PTHREAD */
/* tsan */
#define DLOAD_GROUP 1
#include "test_loader.h"
#include "test_turns.h"

enum { SETTLE_NS = 100 };

static uint64_t group_of[N_TASKS];

static void task_loads_in_group(struct task *t)
{
    dload_call call = {.deadline_ns = t->deadline_ns, .group = group_of[t - turns.tasks]};
    t->result = tl_load_with(t->l, t->keys[0], &call, t->out);
}

/* A thread that loads one key of a group; runs until it stops for the first time. */
static struct task *load_in(uint64_t group, uint64_t key, uint64_t deadline_ns)
{
    struct task *t = task_make(task_loads_in_group);
    group_of[t - turns.tasks] = group;
    t->deadline_ns = deadline_ns;
    t->n_keys = 1;
    t->keys[0] = key;
    turn(t);
    return t;
}

/* Two callers in one batch: from now on a caller lingers for the settle time. The places are set after. */
static void open_with_company(size_t max_in_flight)
{
    turns.cfg.settle_ns = SETTLE_NS;
    turns.cfg.max_age_ns = DLOAD_NEVER;
    turns.cfg.max_in_flight = 1;
    must_ok(tl_init(&turns.l, &turns.cfg));
    hold(901);
    struct task *first = LOAD(901);
    struct task *a = LOAD(902), *b = LOAD(903);
    go_on(first);
    pass(SETTLE_NS);
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    text_must(&turns.calls, "B(901) B(902,903)");
    turns.l.core.max_in_flight = (uint32_t)max_in_flight;
}

/* ---- callbacks ---- */

static void load_two(struct request *req)
{
    uint64_t out = 0;
    must_ok(tl_load(&turns.l, 2, &out));
    equal(out, 20);
    req->ctx = req;
}

/* A load in a callback joins a batch whose leader sleeps without a timer, for there was no place. */
static void test_handover_to_a_callback(void **state)
{
    (void)state;
    static struct request r;
    open_with_company(1);
    hold(1);
    struct task *a = LOAD(1);
    pass(SETTLE_NS);
    memset(&r, 0, sizeof r);
    r.w.done = request_done;
    r.w.ctx = &r;
    r.then = load_two;
    must(tl_start(&turns.l, 1, &r.w), DLOAD_PENDING);
    struct task *b = LOAD(2);
    go_on(a);
    assert_int_equal(a->state, TASK_ASLEEP); /* in the callback */
    pass(SETTLE_NS);
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    assert_ptr_equal(r.ctx, &r);
    text_must(&turns.calls, "B(1) B(2)");
}

/* ---- groups ---- */

/* The lead of one group passes on, although another group's older batch has a leader, too. */
static void test_handover_in_a_group(void **state)
{
    (void)state;
    open_with_company(4);
    struct task *a = load_in(1, 10, DLOAD_NEVER);
    struct task *b = load_in(2, 20, turns.f.now_ns + SETTLE_NS / 2);
    struct task *c = load_in(2, 20, DLOAD_NEVER);
    pass(SETTLE_NS / 2);
    must_be_done(b, DLOAD_ETIMEDOUT);
    struct task *d = load_in(1, 11, DLOAD_NEVER); /* settles on */
    pass(SETTLE_NS / 2);
    must_be_done(c, DLOAD_OK);
    assert_int_equal(a->state, TASK_ASLEEP);
    text_must(&turns.calls, "B(20)");
    pass(SETTLE_NS);
    must_be_done(a, DLOAD_OK);
    must_be_done(d, DLOAD_OK);
    text_must(&turns.calls, "B(10,11)");
}

/* Expected keys are counted over all groups, and all of them go. */
static void test_handover_of_the_expected(void **state)
{
    (void)state;
    open_with_company(4);
    must_ok(tl_expect(&turns.l, 3));
    struct task *a = load_in(1, 10, DLOAD_NEVER), *b = load_in(2, 20, DLOAD_NEVER);
    text_must(&turns.calls, "");
    struct task *c = load_in(2, 21, DLOAD_NEVER);
    settle();
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURNS("a callback's load needs no sleeping leader", test_handover_to_a_callback),
        TURNS("the lead passes on in its group", test_handover_in_a_group),
        TURNS("expected keys of several groups", test_handover_of_the_expected),
    };
    return cmocka_run_group_tests_name("handover " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
