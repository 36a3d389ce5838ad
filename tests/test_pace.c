/* The settle time that is found: whom a caller waits for, and how long, on a clock that the test moves. */
/* locks: CUSTOM SPIN PTHREAD */
/* tsan */
#include "test_loader.h"
#include "test_turns.h"

enum {
    FETCH_NS = 800000,
    PART_NS = FETCH_NS / 8, /* what lingering may add to a load */
    SETTLE_NS = 30000
};

static void open_pace(uint64_t fetch_ns)
{
    turns.fetch_ns = fetch_ns;
    must_ok(tl_init(&turns.l, &turns.cfg));
}

static uint64_t next_key; /* none is loaded twice */

static struct task *load_next(void)
{
    struct task *t = LOAD(++next_key);
    return t;
}

static void is_done(const struct task *t)
{
    must_be_done(t, DLOAD_OK);
}

/* n callers who are served together. */
static void together(size_t n)
{
    size_t first = turns.n_tasks;
    must_ok(tl_expect(&turns.l, n));
    for (size_t i = 0; i < n; i++) {
        (void)load_next();
    }
    settle();
    for (size_t i = first; i < turns.n_tasks; i++) {
        is_done(&turns.tasks[i]);
    }
    text_clear(&turns.calls);
}

static dload_stats stats(void)
{
    dload_stats st = {0};
    must_ok(tl_stats(&turns.l, &st));
    return st;
}

/* How long t sleeps at most, from now on. */
static uint64_t lingers(const struct task *t)
{
    assert_int_equal(t->state, TASK_ASLEEP);
    assert_true(t->until_ns > turns.f.now_ns);
    return t->until_ns - turns.f.now_ns;
}

static int pace_setup(void **state)
{
    next_key = 0;
    return turns_setup(state);
}

/* ---- alone ---- */

static void test_pace_alone(void **state)
{
    (void)state;
    open_pace(FETCH_NS);
    for (size_t i = 0; i < 20; i++) {
        struct task *t = load_next();
        is_done(t);
        equal(t->n_sleeps, 0);
    }
    equal(stats().batches, 20);
    equal(stats().by_trigger[DLOAD_BY_IDLE], 20);
    text_clear(&turns.calls);
}

/* ---- in company ---- */

/* Two who were there are not: the third waits for them for an eighth of a fetch. */
static void test_pace_waits_for_company(void **state)
{
    (void)state;
    open_pace(FETCH_NS);
    together(3);
    struct task *t = load_next();
    equal(lingers(t), PART_NS);
    pass(PART_NS - 1);
    text_must(&turns.calls, "");
    pass(1);
    is_done(t);
    equal(stats().by_trigger[DLOAD_BY_SETTLE], 1);
    text_must(&turns.calls, "B(4)");
}

/* Nobody is missing: no time is lost. */
static void test_pace_everybody_is_here(void **state)
{
    (void)state;
    open_pace(FETCH_NS);
    together(3);
    struct task *a = load_next(), *b = load_next();
    text_must(&turns.calls, "");
    uint64_t begin_ns = turns.f.now_ns;
    struct task *c = load_next();
    equal(c->n_sleeps, 0);
    equal(turns.f.now_ns, begin_ns + FETCH_NS);
    settle();
    is_done(a);
    is_done(b);
    is_done(c);
    text_must(&turns.calls, "B(4,5,6)");
}

/* More than there were: they do not wait for each other either, but go in turns. */
static void test_pace_more_than_before(void **state)
{
    (void)state;
    open_pace(FETCH_NS);
    together(2);
    struct task *a = load_next(), *b = load_next();
    is_done(b);
    settle();
    is_done(a);
    struct task *c = load_next(), *d = load_next(), *e = load_next();
    is_done(d);
    settle();
    is_done(c);
    text_must(&turns.calls, "B(3,4) B(5,6)");
    equal(lingers(e), PART_NS); /* it has been three meanwhile */
    pass(PART_NS);
    is_done(e);
    text_must(&turns.calls, "B(7)");
}

/* Who comes in time goes along, and as long as they keep coming it may take a little longer, not twice. */
static void test_pace_they_keep_coming(void **state)
{
    (void)state;
    open_pace(FETCH_NS);
    together(8);
    struct task *t[8];
    size_t n = 0;
    t[n++] = load_next();
    for (uint64_t at_ns = 0; at_ns < 2 * PART_NS - 1; at_ns++) {
        turns.f.now_ns++;
        if (n < 7 && (at_ns + 1) % (PART_NS * 2 / 5) == 0) {
            t[n++] = load_next();
        } else if ((at_ns + 1) % 1000 == 0) {
            settle();
        }
        if (at_ns < PART_NS) {
            assert_int_equal(t[0]->state, TASK_ASLEEP);
        }
    }
    pass(1);
    for (size_t i = 0; i < n; i++) {
        is_done(t[i]);
    }
    equal(n, 5);
    text_must(&turns.calls, "B(9,10,11,12,13)");
}

/* The time is a part of what a fetch takes: capped where fetches are long, nothing where they are short. */
static void test_pace_long_and_short(void **state)
{
    (void)state;
    static const struct {
        uint64_t fetch_ns, linger_ns;
    } cases[] = {
        {DLOAD_SECOND, DLOAD_MILLISECOND},
        {8 * DLOAD_MILLISECOND, DLOAD_MILLISECOND},
        {4 * DLOAD_MILLISECOND, DLOAD_MILLISECOND / 2},
        {16 * DLOAD_MICROSECOND, 2 * DLOAD_MICROSECOND},
        {4 * DLOAD_MICROSECOND, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        open_pace(cases[i].fetch_ns);
        together(2);
        struct task *t = load_next();
        if (cases[i].linger_ns != 0) {
            equal(lingers(t), cases[i].linger_ns);
            pass(cases[i].linger_ns);
        }
        is_done(t);
        text_clear(&turns.calls);
        if (i + 1 < COUNT(cases)) {
            must_ok(tl_close(&turns.l, DLOAD_DRAIN, 0));
            must_ok(tl_destroy(&turns.l));
        }
    }
}

/* ---- hope that is not fulfilled ---- */

/* Who is alone again after much company lingers a few times in vain, and then no more. */
static void test_pace_fades(void **state)
{
    (void)state;
    open_pace(FETCH_NS);
    for (int i = 0; i < 10; i++) {
        together(2);
    }
    size_t n_lingered = 0;
    uint64_t lost_ns = 0;
    for (int i = 0; i < 12; i++) {
        uint64_t begin_ns = turns.f.now_ns;
        struct task *t = load_next();
        if (t->state == TASK_ASLEEP) {
            assert_true(i < 4); /* once they are gone, they are gone */
            n_lingered++;
            lost_ns += lingers(t);
            pass(lingers(t));
        }
        is_done(t);
        equal(turns.f.now_ns - begin_ns, FETCH_NS + (t->n_sleeps ? PART_NS : 0));
    }
    assert_true(n_lingered >= 1 && lost_ns <= 4 * PART_NS);
    /* ... until there is company again. */
    together(2);
    struct task *t = load_next();
    equal(lingers(t), PART_NS);
    pass(PART_NS);
    is_done(t);
    text_clear(&turns.calls);
}

/* One batch in company does not make a habit, however large it was. */
static void test_pace_fades_at_once(void **state)
{
    (void)state;
    open_pace(FETCH_NS);
    together(8);
    struct task *t = load_next();
    pass(lingers(t));
    is_done(t);
    t = load_next();
    is_done(t);
    equal(t->n_sleeps, 0);
    text_clear(&turns.calls);
}

/* Two who linger for more, and nobody comes: that is in vain, too. */
static void test_pace_two_in_vain(void **state)
{
    (void)state;
    turns.cfg.max_in_flight = 1;
    open_pace(FETCH_NS);
    for (int i = 0; i < 3; i++) {
        together(8);
    }
    hold(next_key + 1);
    struct task *x = load_next();
    pass(lingers(x)); /* once */
    assert_int_equal(x->state, TASK_FETCHING);
    struct task *a = load_next(), *b = load_next();
    go_on(x);
    pass(a->until_ns - turns.f.now_ns); /* twice */
    is_done(a);
    is_done(b);
    struct task *t = load_next();
    pass(lingers(t)); /* thrice, as often as there was company */
    is_done(t);
    t = load_next();
    is_done(t);
    equal(t->n_sleeps, 0);
    text_must(&turns.calls, "B(25) B(26,27) B(28) B(29)");
}

/* Those who left at their deadlines are not counted among the waiting. */
static void test_pace_who_left(void **state)
{
    (void)state;
    open_pace(FETCH_NS);
    together(3);
    struct task *a = LOAD_IN(PART_NS / 4, 4), *b = LOAD_IN(PART_NS / 2, 5);
    next_key = 5;
    pass(PART_NS / 2);
    must_be_done(a, DLOAD_ETIMEDOUT);
    must_be_done(b, DLOAD_ETIMEDOUT);
    struct task *c = load_next();
    assert_int_equal(c->state, TASK_ASLEEP); /* were they counted, all would be here */
    pass(lingers(c));
    is_done(c);
    text_must(&turns.calls, "B(6)");
}

/* ---- those of a batch that is about to end ---- */

/* Three of four are being served; began_ns is when. */
static struct task *serve_three(uint64_t *began_ns)
{
    open_pace(FETCH_NS);
    together(4);
    hold(next_key + 1);
    must_ok(tl_expect(&turns.l, 3));
    turns.fetch_ns = 0; /* while it is held the test moves the clock */
    *began_ns = turns.f.now_ns;
    (void)load_next();
    (void)load_next();
    struct task *t = load_next();
    assert_int_equal(t->state, TASK_FETCHING);
    text_must(&turns.calls, "B(5,6,7)");
    return t;
}

/* They will be back soon: the fourth waits, and all go together. */
static void test_pace_awaits_the_many(void **state)
{
    (void)state;
    uint64_t began_ns = 0;
    struct task *three = serve_three(&began_ns);
    pass(FETCH_NS - PART_NS);
    struct task *t = load_next();
    assert_true(lingers(t) >= PART_NS && lingers(t) <= 2 * PART_NS);
    pass(PART_NS);
    go_on(three);
    is_done(three);
    assert_int_equal(t->state, TASK_ASLEEP);
    struct task *a = load_next(), *b = load_next();
    text_must(&turns.calls, "");
    struct task *c = load_next();
    settle();
    is_done(t);
    is_done(a);
    is_done(b);
    is_done(c);
    text_must(&turns.calls, "B(8,9,10,11)");
}

/* They are late: the fourth goes without them, an eighth of a fetch after they were due. */
static void test_pace_awaits_not_for_ever(void **state)
{
    (void)state;
    uint64_t began_ns = 0;
    struct task *three = serve_three(&began_ns);
    pass(FETCH_NS - PART_NS);
    struct task *t = load_next();
    assert_true(t->until_ns <= began_ns + FETCH_NS + PART_NS);
    pass(2 * PART_NS);
    is_done(t);
    text_must(&turns.calls, "B(8)");
    go_on(three);
    is_done(three);
}

/* They have only just begun: nobody waits for most of a fetch. */
static void test_pace_does_not_await_the_far(void **state)
{
    (void)state;
    uint64_t began_ns = 0;
    struct task *three = serve_three(&began_ns);
    pass(PART_NS);
    struct task *t = load_next();
    is_done(t);
    equal(t->n_sleeps, 0);
    text_must(&turns.calls, "B(8)");
    go_on(three);
}

/* ---- a settle time that was set ---- */

static void test_pace_settle_was_set(void **state)
{
    (void)state;
    turns.cfg.settle_ns = SETTLE_NS;
    open_pace(FETCH_NS);
    struct task *t = load_next();
    is_done(t); /* alone, at once */
    equal(t->n_sleeps, 0);
    together(3);
    text_clear(&turns.calls);
    struct task *a = load_next(), *b = load_next(), *c = load_next();
    equal(lingers(a), SETTLE_NS); /* however many there are */
    pass(SETTLE_NS - 1);
    text_must(&turns.calls, "");
    pass(1);
    is_done(a);
    is_done(b);
    is_done(c);
    text_must(&turns.calls, "B(5,6,7)");
    equal(stats().by_trigger[DLOAD_BY_SETTLE], 1);
}

#define PACE(text, fn)                             \
    {                                              \
        text, fn, pace_setup, turns_teardown, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        PACE("a lone caller waits for nobody", test_pace_alone),
        PACE("who has had company waits a little", test_pace_waits_for_company),
        PACE("when everybody is here it goes at once", test_pace_everybody_is_here),
        PACE("more than there were before", test_pace_more_than_before),
        PACE("while they keep coming", test_pace_they_keep_coming),
        PACE("long fetches and short ones", test_pace_long_and_short),
        PACE("lingering in vain fades out", test_pace_fades),
        PACE("... at once, where there was little company", test_pace_fades_at_once),
        PACE("... also for two", test_pace_two_in_vain),
        PACE("who left is not counted", test_pace_who_left),
        PACE("the many are waited for", test_pace_awaits_the_many),
        PACE("... but not for ever", test_pace_awaits_not_for_ever),
        PACE("... nor when that is far", test_pace_does_not_await_the_far),
        PACE("a settle time that was set", test_pace_settle_was_set),
    };
    return cmocka_run_group_tests_name("pace " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
