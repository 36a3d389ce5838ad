/* Fibers at the bound of the queue: who finds no room is parked, and goes on when there is some. */
/* locks: NONE SPIN PTHREAD */
#include "test_fiber.h"

enum { N_FIBERS = 100 };

static void open_room(struct fibers *y, size_t max_queue, bool queue_wait)
{
    y->x.cfg.max_queue = max_queue;
    y->x.cfg.queue_wait = queue_wait;
    fibers_open(y);
}

/* In batches as large as the room is, in the order in which they came. */
static void test_fiber_room_all(void **state)
{
    struct fibers *y = *state;
    open_room(y, 30, true);
    struct task *t = tasks_make(y, N_FIBERS);
    spawn_all(y, t, N_FIBERS);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < N_FIBERS; i++) {
        must_ok(t[i].status);
        equal(t[i].value, i * 10);
        equal(t[i].n_ended, 1);
    }
    equal(y->x.r.n_calls, 4);
    equal(y->x.r.n_keys, N_FIBERS);
    assert_true(strncmp(y->x.r.calls.buf, "B(0,1,2,3,", 10) == 0);
    assert_non_null(strstr(y->x.r.calls.buf, "29) B(30,31,"));
    assert_non_null(strstr(y->x.r.calls.buf, "59) B(60,61,"));
    assert_non_null(strstr(y->x.r.calls.buf, "89) B(90,91,"));
    equal(y->x.f.n_waits, 0);
    text_clear(&y->x.r.calls);
    free(t);
}

static void test_fiber_room_refused(void **state)
{
    struct fibers *y = *state;
    open_room(y, 30, false);
    struct task *t = tasks_make(y, N_FIBERS);
    spawn_all(y, t, N_FIBERS);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < N_FIBERS; i++) {
        must(t[i].status, i < 30 ? DLOAD_OK : DLOAD_EAGAIN);
    }
    equal(y->x.r.n_calls, 1);
    text_clear(&y->x.r.calls);
    free(t);
}

/* A key that waits for room is fetched once, for all who wait for it. */
static void test_fiber_room_same_keys(void **state)
{
    struct fibers *y = *state;
    open_room(y, 2, true);
    struct task *t = tasks_make(y, N_FIBERS);
    for (size_t i = 0; i < N_FIBERS; i++) {
        t[i].key = i % 10;
    }
    spawn_all(y, t, N_FIBERS);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < N_FIBERS; i++) {
        must_ok(t[i].status);
    }
    equal(y->x.r.n_keys, 10);
    text_must(&y->x.r.calls, "B(0,1) B(2,3) B(4,5) B(6,7) B(8,9)");
    free(t);
}

/* A chain of loaders, each with room for a few. */
static void test_fiber_room_chain(void **state)
{
    struct fibers *y = *state;
    struct chain c;
    struct root roots[N_ROOTS];
    open_room(y, 3, true);
    chain_open(&c, y);
    for (size_t i = 0; i < N_ROOTS; i++) {
        roots[i] = (struct root){&c, i};
        must_ok(dload_fiber_spawn(&y->s, follow, &roots[i]));
    }
    must_ok(dload_fiber_run(&y->s));
    equal(c.n_ended, N_ROOTS);
    for (size_t i = 0; i < N_LEVELS; i++) {
        equal(c.rec[i].n_keys, N_ROOTS);
        text_clear(&c.rec[i].calls);
    }
    chain_close(&c);
}

/* Nobody answers: those in the queue and those in line leave at their deadlines. */
static void test_fiber_room_deadlines(void **state)
{
    struct fibers *y = *state;
    y->x.cfg.run_limit_ns = DLOAD_NEVER;
    open_room(y, 2, true);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 6);
    for (size_t i = 0; i < 6; i++) {
        t[i].deadline_ns = (8 - i) * DLOAD_SECOND;
    }
    spawn_all(y, t, 6);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < 6; i++) {
        must(t[i].status, DLOAD_ETIMEDOUT);
        equal(t[i].ended_ns, (8 - i) * DLOAD_SECOND);
    }
    text_must(&y->x.r.calls, "B(0,1)");
    free(t);
}

/* A batch that hangs is given up, and those in line have its room. */
static void test_fiber_room_abandoned(void **state)
{
    struct fibers *y = *state;
    y->x.cfg.run_limit_ns = DLOAD_SECOND;
    y->x.cfg.timeout_ns = 10 * DLOAD_SECOND;
    open_room(y, 2, true);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 4);
    spawn_all(y, t, 4);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < 4; i++) {
        must(t[i].status, DLOAD_ETIMEDOUT);
        assert_true(t[i].ended_ns <= (i < 2 ? 2 : 3) * DLOAD_SECOND + DLOAD_MILLISECOND);
    }
    text_must(&y->x.r.calls, "B(0,1) B(2,3)");
    equal(stats_of(&y->x).abandoned, 2);
    while (y->x.r.n_pending) { /* late: nobody is left */
        must_ok(tl_batch_done(rec_take(&y->x.r, 0), DLOAD_OK));
    }
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIBERS(test_fiber_room_all),       FIBERS(test_fiber_room_refused),
        FIBERS(test_fiber_room_same_keys), FIBERS(test_fiber_room_chain),
        FIBERS(test_fiber_room_deadlines), FIBERS(test_fiber_room_abandoned),
    };
    return cmocka_run_group_tests_name("fibers, room " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
