/* What else goes on beside the threads of a registry: other callers, fetch functions that load, requests
 * that nobody waits for, bounds. One interleaving at a time. */
/* locks: SPIN PTHREAD */
/* tsan */
#include "test_crew.h"

/* ---- who is no member ---- */

/* A call of another thread is what it always is. */
static void test_crew_outsider(void **state)
{
    (void)state;
    open_crew();
    struct task *a = JOIN(S(A, 1), S(B, 11)), *b = JOIN(S(A, 2), S(B, 12));
    turn(a);
    struct task *x = LOAD(9); /* alone, so at once, with what there is */
    must_be_done(x, DLOAD_OK);
    text_must(&turns.calls, "A(1,9)");
    settle(); /* a is in B */
    turn(b);
    settle();
    text_must(&turns.calls, "A(2) B(11) B(12)");
    member_must(a, 2);
    member_must(b, 2);
}

/* ... also behind a leader that waits for its crew, and when it hopes for company of its own. */
static void test_crew_outsider_in_company(void **state)
{
    (void)state;
    turns.fetch_ns = 8 * SETTLE_NS * 1000;
    open_crew();
    must_ok(tl_expect(A, 3));
    struct task *x[] = {LOAD(91), LOAD(92), LOAD(93)};
    settle();
    must_be_done(x[0], DLOAD_OK);
    struct task *a = JOIN(S(A, 1)), *b = JOIN(S(A, 2));
    turn(a);
    struct task *y = LOAD(9);
    assert_int_equal(y->state, TASK_ASLEEP);
    pass(2 * SETTLE_NS * 1000);
    must_be_done(y, DLOAD_OK);
    member_must(a, 1);
    turn(b);
    member_must(b, 1);
    text_must(&turns.calls, "A(91,92,93) A(1,9) A(2)");
}

/* A load inside a fetch function is waited for by the members: it waits for none of them. */
static void test_crew_nested(void **state)
{
    (void)state;
    turns.cfg.max_batch = 2;
    open_crew();
    struct task *a = JOIN(S(A, 1)), *b = JOIN(S(A, 2)), *c = JOIN(S(B, 3));
    b->inside = 7; /* its fetch function loads */
    turn(a);
    turn(b); /* sends a full batch, while c is busy */
    member_must(b, 1);
    must_ok(b->inside_result);
    settle();
    member_must(a, 1);
    text_must(&turns.calls, "A(1,2) A(7)");
    turn(c);
    member_must(c, 1);
    text_must(&turns.calls, "B(3)");
}

/* In a loader of another registry, or of none, a member is like anybody else. */
static void test_crew_elsewhere(void **state)
{
    (void)state;
    static dload_registry other; /* outlives its loader */
    dload_registry_init(&other);
    open_crew();
    must_ok(tl_destroy(B));
    must_ok(tl_destroy(C));
    turns.cfg.ctx = NULL;
    turns.cfg.registry = &other;
    must_ok(tl_init(B, &turns.cfg));
    turns.cfg.registry = NULL;
    must_ok(tl_init(C, &turns.cfg));
    struct task *a = JOIN(S(B, 1), S(C, 2), S(A, 3)), *b = JOIN(S(A, 4));
    turn(a);
    text_must(&turns.calls, "B(1) B(2)");
    turn(b);
    settle();
    text_must(&turns.calls, "A(3,4)");
    member_must(a, 3);
    member_must(b, 1);
}

/* What only callbacks wait for goes, too, run by whoever waits last. */
static void test_crew_callbacks(void **state)
{
    (void)state;
    open_crew();
    struct task *a = JOIN(START(B, 5), S(A, 1)), *b = JOIN(S(A, 2));
    turn(a);
    text_must(&turns.calls, "");
    turn(b);
    settle();
    equal(member_of(a)->started.n_done, 1);
    must(member_of(a)->st[0], DLOAD_PENDING);
    must_ok(member_of(a)->st[1]);
    member_must(b, 1);
    text_must(&turns.calls, "B(5) A(1,2)");
}

/* ... also by a thread that leaves. */
static void test_crew_callbacks_of_the_leaving(void **state)
{
    (void)state;
    open_crew();
    struct task *a = JOIN(S(A, 1)), *b = JOIN(START(B, 5));
    turn(a);
    turn(b);
    equal(member_of(b)->started.n_done, 1);
    settle();
    member_must(a, 1);
    text_must(&turns.calls, "B(5) A(1)");
}

/* ---- bounds ---- */

/* What waits for a place is sent when there is one, and does not keep the others. */
static void test_crew_waits_for_a_place(void **state)
{
    (void)state;
    turns.cfg.max_batch = 2;
    turns.cfg.max_in_flight = 1;
    open_crew();
    hold(9);
    struct task *x = LOAD(9); /* an outsider, in the only place */
    assert_int_equal(x->state, TASK_FETCHING);
    struct task *a = JOIN(S(A, 1), S(C, 11)), *b = JOIN(S(A, 2), S(C, 12)), *c = JOIN(S(B, 3));
    turn(a);
    turn(b);
    turn(c);
    settle();
    text_must(&turns.calls, "A(9) B(3)");
    member_must(c, 1);
    go_on(x);
    text_must(&turns.calls, "A(1,2) C(11,12)");
    member_must(a, 2);
    member_must(b, 2);
}

/* A full batch goes by itself, the rest when everybody waits. */
static void test_crew_full_batches(void **state)
{
    (void)state;
    turns.cfg.max_batch = 2;
    open_crew();
    struct task *t[5];
    for (uint64_t i = 0; i < 5; i++) {
        t[i] = JOIN(S(A, 1 + i));
    }
    for (size_t i = 0; i < 5; i++) {
        turn(t[i]);
    }
    settle();
    text_must(&turns.calls, "A(1,2) A(3,4) A(5)");
    for (size_t i = 0; i < 5; i++) {
        member_must(t[i], 1);
    }
}

/* Who waits for room in the queue waits like any other. */
static void test_crew_room(void **state)
{
    (void)state;
    turns.cfg.max_queue = 1;
    turns.cfg.queue_wait = true;
    open_crew();
    struct task *a = JOIN(S(A, 1), S(B, 11)), *b = JOIN(S(A, 2), S(B, 12)),
                *c = JOIN(S(A, 3), S(B, 13));
    turn(a);
    turn(b);
    text_must(&turns.calls, "");
    turn(c);
    settle();
    member_must(a, 2);
    member_must(b, 2);
    member_must(c, 2);
    dload_stats st = {0};
    must_ok(tl_stats(B, &st));
    equal(st.keys, 3);
    text_clear(&turns.calls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CREW("a call of no member", test_crew_outsider),
        CREW("... in company", test_crew_outsider_in_company),
        CREW("a load in a fetch function", test_crew_nested),
        CREW("a loader of no crew", test_crew_elsewhere),
        CREW("what only callbacks wait for", test_crew_callbacks),
        CREW("... when a thread leaves", test_crew_callbacks_of_the_leaving),
        CREW("waiting for a place", test_crew_waits_for_a_place),
        CREW("batches that are full", test_crew_full_batches),
        CREW("waiting for room", test_crew_room),
    };
    return cmocka_run_group_tests_name("crew, beside " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
