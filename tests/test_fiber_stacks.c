/* Fibers and what they stand on: the end of tasks that wait, stacks, guards, signal masks. */
/* locks: NONE SPIN PTHREAD */
#include "test_fiber.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

/* ---- the end ---- */

struct holder {
    struct task t;
    void *held;
    dload_status again;
};

static void hold_and_load(void *arg)
{
    struct holder *h = arg;
    h->held = malloc(100);
    load_one(&h->t);
    h->again = tl_load(&h->t.y->x.l, 77, &h->t.value);
    free(h->held); /* what a stack holds is released, because the task comes to its end */
    h->held = NULL;
}

static void begin_late(void *arg)
{
    struct task *t = arg;
    load_one(t);
    must(dload_fiber_spawn(&t->y->s, load_one, t), DLOAD_ECLOSED);
}

static void test_fiber_close_parked(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct holder h[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        h[i].t.y = y;
        h[i].t.key = i;
        must_ok(dload_fiber_spawn(&y->s, hold_and_load, &h[i]));
    }
    must(dload_fiber_poll(&y->s), DLOAD_EAGAIN);
    must(dload_fiber_destroy(&y->s), DLOAD_EBUSY);
    struct task late = {.y = y, .key = 5};
    must_ok(dload_fiber_spawn(&y->s, begin_late, &late)); /* has not begun when the end comes */
    must_ok(dload_fiber_close(&y->s));
    for (size_t i = 0; i < 3; i++) {
        must(h[i].t.status, DLOAD_ECANCELED);
        must(h[i].again, DLOAD_ECANCELED);
        assert_null(h[i].held);
    }
    must(late.status, DLOAD_ECANCELED);
    must_ok(dload_fiber_close(&y->s));
    must(dload_fiber_spawn(&y->s, load_one, &late), DLOAD_ECLOSED);
    must_ok(dload_fiber_run(&y->s));
}

/* The loader is closed under its tasks: they learn it, and what they load next is refused. */
static void test_fiber_loader_closed(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct holder h = {.t = {.y = y, .key = 1}};
    must_ok(dload_fiber_spawn(&y->s, hold_and_load, &h));
    must(dload_fiber_poll(&y->s), DLOAD_EAGAIN);
    must(tl_close(&y->x.l, DLOAD_FAIL, 1), DLOAD_ETIMEDOUT); /* the batch is still out */
    must_ok(dload_fiber_run(&y->s));
    must(h.t.status, DLOAD_ECLOSED);
    must_ok(tl_batch_done(rec_take(&y->x.r, 0), DLOAD_OK));
    must(h.again, DLOAD_ECLOSED);
}

/* ---- stacks ---- */

static uintptr_t stack_top, stack_low;

__attribute__((noinline)) static unsigned eat_stack(unsigned depth)
{
    volatile char frame[1024];
    memset((void *)(uintptr_t)frame, (int)(depth | 1), sizeof frame);
    stack_low = (uintptr_t)frame;
    unsigned below = depth != 0 ? eat_stack(depth - 1) : 0;
    return below + (unsigned char)frame[depth % sizeof frame];
}

static void eat_a_little(void *arg)
{
    *(unsigned *)arg = eat_stack(40); /* of 64 KiB */
}

static void eat_everything(void *arg)
{
    stack_top = (uintptr_t)&arg;
    *(unsigned *)arg = eat_stack(1000000);
}

static void segv_exit(int sig)
{
    (void)sig;
    _exit(stack_top - stack_low > 80000 ? 3 : 42); /* at the guard, not somewhere further down */
}

static void overflow_in_child(struct fibers *y)
{
    static char handler_stack[65536];
    stack_t alt = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    struct sigaction act;
    unsigned sum = 0;
    memset(&act, 0, sizeof act);
    act.sa_handler = segv_exit;
    act.sa_flags = SA_ONSTACK;
    if (sigaltstack(&alt, NULL) != 0 || sigaction(SIGSEGV, &act, NULL) != 0 ||
        sigaction(SIGBUS, &act, NULL) != 0 ||
        dload_fiber_spawn(&y->s, eat_everything, &sum) != DLOAD_OK) {
        _exit(1);
    }
    (void)dload_fiber_run(&y->s);
    _exit(2);
}

static void test_fiber_guard(void **state)
{
    struct fibers *y = *state;
    unsigned sum = 0;
    fibers_open(y);
    must_ok(dload_fiber_spawn(&y->s, eat_a_little, &sum));
    must_ok(dload_fiber_run(&y->s));
    assert_true(sum != 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        overflow_in_child(y);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

static void remember_stack(void *arg)
{
    char here = 0;
    uint64_t out;
    must_ok(tl_load(&fibers.x.l, 1, &out)); /* parks and comes back to the same place */
    *(uintptr_t *)arg = (uintptr_t)&here;
}

static void test_fiber_stack_reuse(void **state)
{
    struct fibers *y = *state;
    uintptr_t at[3];
    fibers_open(y);
    for (size_t i = 0; i < 3; i++) {
        must_ok(tl_clear(&y->x.l, 1));
        must_ok(dload_fiber_spawn(&y->s, remember_stack, &at[i]));
        must_ok(dload_fiber_run(&y->s));
    }
    equal(y->s.n_made, 1);
#if !DLOAD_FIBER_I_ASAN /* which may put locals elsewhere */
    equal(at[1], at[0]);
    equal(at[2], at[0]);
#endif
}

/* ---- signal masks ---- */

struct masked {
    struct fibers *y;
    uint64_t key;
    bool blocked_after;
};

static void block_and_load(void *arg)
{
    struct masked *m = arg;
    sigset_t set, now;
    uint64_t out;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    if (m->key == 0) {
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
    }
    must_ok(tl_load(&m->y->x.l, m->key, &out));
    equal(out, m->key * 10);
    (void)sigprocmask(SIG_BLOCK, NULL, &now);
    m->blocked_after = sigismember(&now, SIGUSR1) == 1;
}

static void test_fiber_signal_masks(void **state)
{
    struct fibers *y = *state;
    y->cfg.own_signal_mask = true;
    fibers_open(y);
    struct masked m[4];
    sigset_t now;
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 4; i++) {
            /* stacks are taken last first: in the second round the first one has another key */
            m[i] = (struct masked){y, i, false};
            must_ok(dload_fiber_spawn(&y->s, block_and_load, &m[i]));
        }
        must_ok(tl_clear_all(&y->x.l));
        must_ok(dload_fiber_run(&y->s));
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(m[i].blocked_after, m[i].key == 0);
        }
        (void)sigprocmask(SIG_BLOCK, NULL, &now);
        assert_int_equal(sigismember(&now, SIGUSR1), 0);
    }
    text_must(&y->x.r.calls, "B(0,1,2,3) B(0,1,2,3)");
}

static void test_fiber_own_mask_close(void **state)
{
    struct fibers *y = *state;
    y->cfg.own_signal_mask = true;
    test_fiber_close_parked(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIBERS(test_fiber_close_parked), FIBERS(test_fiber_loader_closed),
        FIBERS(test_fiber_guard),        FIBERS(test_fiber_stack_reuse),
        FIBERS(test_fiber_signal_masks), FIBERS(test_fiber_own_mask_close),
    };
    return cmocka_run_group_tests_name("fiber stacks " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
