/* Threads of a registry, one interleaving at a time: batches go when all of them wait, and not before. */
/* locks: SPIN PTHREAD */
/* tsan */
#include "test_crew.h"

/* ---- levels ---- */

static void test_crew_levels(void **state)
{
    (void)state;
    open_crew();
    struct task *t[3];
    for (uint64_t i = 0; i < 3; i++) {
        t[i] = JOIN(S(A, 1 + i), S(B, 11 + i), S(C, 21 + i));
    }
    turn(t[0]);
    turn(t[1]);
    settle();
    text_must(&turns.calls, ""); /* one of them still runs */
    turn(t[2]);
    text_must(&turns.calls, "A(1,2,3)");
    /* The last one sent for all and went on; the others are answered but not awake. */
    assert_int_equal(t[2]->state, TASK_ASLEEP);
    assert_true(is_woken(t[0]) && is_woken(t[1]));
    settle();
    text_must(&turns.calls, "B(13,11,12) C(22,21,23)");
    for (size_t i = 0; i < 3; i++) {
        member_must(t[i], 3);
    }
}

/* Roots that begin in different loaders meet in the next one. */
static void test_crew_different_roots(void **state)
{
    (void)state;
    open_crew();
    struct task *t[] = {JOIN(S(A, 1), S(C, 11)), JOIN(S(B, 2), S(C, 12)), JOIN(S(A, 3), S(C, 13)),
                        JOIN(S(B, 4), S(C, 14))};
    for (size_t i = 0; i < 4; i++) {
        turn(t[i]);
    }
    settle();
    for (size_t i = 0; i < 4; i++) {
        member_must(t[i], 2);
    }
    dload_stats st = {0};
    must_ok(tl_stats(A, &st));
    equal(st.batches, 1);
    must_ok(tl_stats(B, &st));
    equal(st.batches, 1);
    must_ok(tl_stats(C, &st));
    equal(st.batches, 1);
    equal(st.keys, 4);
    text_clear(&turns.calls);
}

/* One member alone waits for nobody. */
static void test_crew_of_one(void **state)
{
    (void)state;
    open_crew();
    struct task *t = JOIN(S(A, 1), S(B, 2), S(A, 1), S(A, 3));
    turn(t);
    member_must(t, 4);
    text_must(&turns.calls, "A(1) B(2) A(3)");
    equal(t->n_sleeps, 0);
}

/* A hit is not a wait. */
static void test_crew_hits(void **state)
{
    (void)state;
    uint64_t value = 10;
    open_crew();
    must_ok(tl_prime(A, 1, &value, 0));
    struct task *a = JOIN(S(A, 1), S(B, 2)), *b = JOIN(S(A, 3), S(B, 4));
    turn(a);
    turn(b); /* both wait, one level apart: nobody else is on the way */
    settle();
    text_must(&turns.calls, "A(3) B(2) B(4)");
    member_must(a, 2);
    member_must(b, 2);
}

/* Who wakes up for nothing is one of those who wait all the same. */
static void test_crew_spurious(void **state)
{
    (void)state;
    open_crew();
    struct task *a = JOIN(S(A, 1), S(B, 11)), *b = JOIN(S(A, 2), S(B, 12));
    turn(a);
    turn(a);
    turn(a);
    text_must(&turns.calls, "");
    turn(b);
    turn(b);
    settle();
    text_must(&turns.calls, "A(1,2) B(12,11)");
    member_must(a, 2);
    member_must(b, 2);
}

/* ---- who is busy, who leaves ---- */

static void test_crew_leaving_sends(void **state)
{
    (void)state;
    open_crew();
    struct task *a = JOIN(S(A, 1)), *b = JOIN(S(A, 2)), *c = JOIN(S(B, 3), PAUSE(A, 4));
    turn(a);
    turn(b);
    turn(c); /* sends: everybody waits */
    settle();
    member_must(a, 1);
    member_must(b, 1);
    assert_int_equal(c->state, TASK_PAUSED);
    struct task *d = JOIN(S(C, 5)), *e = JOIN(S(A, 0));
    turn(d);
    settle();
    assert_int_equal(d->state, TASK_ASLEEP);
    turn(e); /* leaves, but c is busy */
    assert_int_equal(e->state, TASK_DONE);
    assert_false(is_woken(d));
    turn(c);
    settle();
    member_must(c, 2);
    member_must(d, 1);
    text_must(&turns.calls, "B(3) A(1,2) A(4) C(5)");
}

static void test_crew_last_runner_leaves(void **state)
{
    (void)state;
    open_crew();
    struct task *a = JOIN(S(A, 1)), *b = JOIN(S(A, 2)), *c = JOIN(S(A, 0));
    turn(a);
    turn(b);
    assert_false(is_woken(a) || is_woken(b));
    turn(c);
    assert_int_equal(c->state, TASK_DONE);
    assert_true(is_woken(a) || is_woken(b));
    settle();
    member_must(a, 1);
    member_must(b, 1);
    text_must(&turns.calls, "A(1,2)");
}

/* While a member is busy the others wait, each to its deadline, or to the age of their batch. */
static void test_crew_deadline(void **state)
{
    (void)state;
    open_crew();
    struct task *a = JOIN(S(A, 1), S(B, 11)), *b = JOIN(S(A, 2)), *c = JOIN(S(A, 0));
    a->deadline_ns = turns.f.now_ns + DEADLINE_NS;
    turn(a);
    turn(b);
    pass(DEADLINE_NS - 1);
    assert_int_equal(a->state, TASK_ASLEEP);
    pass(1);
    assert_int_equal(a->state, TASK_DONE); /* and left */
    must(member_of(a)->st[0], DLOAD_ETIMEDOUT);
    must(member_of(a)->st[1], DLOAD_ETIMEDOUT);
    text_must(&turns.calls, "");
    turn(c);
    settle();
    member_must(b, 1);
    text_must(&turns.calls, "A(2)"); /* nobody wants 1 any more */
}

static void test_crew_age(void **state)
{
    (void)state;
    turns.cfg.settle_ns = SETTLE_NS; /* and so an age of ten times that */
    open_crew();
    struct task *a = JOIN(S(A, 1)), *b = JOIN(S(A, 2)), *c = JOIN(S(A, 3));
    turn(a);
    pass(SETTLE_NS * 6);
    turn(b);
    pass(SETTLE_NS * 4 - 1);
    text_must(&turns.calls, "");
    pass(1);
    text_must(&turns.calls, "A(1,2)");
    member_must(a, 1);
    member_must(b, 1);
    dload_stats st = {0};
    must_ok(tl_stats(A, &st));
    equal(st.by_trigger[DLOAD_BY_AGE], 1);
    turn(c);
    member_must(c, 1);
    text_must(&turns.calls, "A(3)");
}

/* ---- joining ---- */

static void test_crew_join_and_leave(void **state)
{
    (void)state;
    dload_registry other;
    dload_registry_init(&other);
    open_crew();
    must(dload_registry_leave(&registry), DLOAD_EINVAL);
    must(dload_registry_leave(NULL), DLOAD_EINVAL);
    must_ok(dload_registry_join(&registry));
    must(dload_registry_join(&registry), DLOAD_EBUSY);
    must(dload_registry_join(&other), DLOAD_EBUSY);
    must(dload_registry_leave(&other), DLOAD_EINVAL);
    must_ok(dload_registry_leave(&registry));
    must(dload_registry_leave(&registry), DLOAD_EINVAL);
    must_ok(dload_registry_join(&other));
    must_ok(dload_registry_leave(&other));
    equal(other.crew, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CREW("rule 56: a batch a level", test_crew_levels),
        CREW("rule 56: roots in different loaders", test_crew_different_roots),
        CREW("one member waits for nobody", test_crew_of_one),
        CREW("a hit is not a wait", test_crew_hits),
        CREW("who wakes up for nothing", test_crew_spurious),
        CREW("a member that leaves", test_crew_leaving_sends),
        CREW("the last one that runs leaves", test_crew_last_runner_leaves),
        CREW("deadlines while a member is busy", test_crew_deadline),
        CREW("an age while a member is busy", test_crew_age),
        CREW("joining and leaving", test_crew_join_and_leave),
    };
    return cmocka_run_group_tests_name("crew " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
