/* A store behind threads: what every store must do, in both forms; the queue and its time. */
/* tsan */
#include "test_worker.h"

#include <sys/wait.h>

#include "stores/cases.h"

/* ---- the queue ---- */

static void test_full_is_said_at_once(void **state)
{
    struct fixture *t = *state;
    static struct asked a[20];
    scripted_set(&t->s.shuts, GETS);
    must(ask(t, &a[0], DLOAD_STORE_GET, 0), DLOAD_PENDING);
    scripted_await(&t->s, 1); /* the only thread has it */
    for (size_t i = 1; i <= 3; i++)
        must(ask(t, &a[i], DLOAD_STORE_GET, 0), DLOAD_PENDING);
    for (size_t i = 4; i < 20; i++)
        must(ask(t, &a[i], DLOAD_STORE_GET, 0), DLOAD_EAGAIN);
    equal(n_queued(t), 3);
    equal(t->w.store.n_failed, 0); /* it is busy, not ill */
    equal(t->w.store.stats.refused, 0);
    scripted_set(&t->s.shuts, 0);
    for (size_t i = 0; i <= 3; i++) {
        await(&a[i]);
        must_ok(a[i].status);
        must(a[i].item.status, DLOAD_MISSING);
        dload_store_release(&a[i].op);
    }
    for (size_t i = 4; i < 20; i++)
        equal(a[i].n_done, 0);
    equal(t->s.n_asked[DLOAD_STORE_GET], 4);
    must(ask(t, &a[4], DLOAD_STORE_GET, 0), DLOAD_PENDING); /* there is room again */
    await(&a[4]);
    dload_store_release(&a[4].op);
    for (size_t i = 1; i < 4; i++)
        assert_true(a[i].order > a[i - 1].order);
}

/* What waits too long ends, though the only thread never gets free. */
static void test_waiting_has_an_end(void **state)
{
    struct fixture *t = *state;
    static struct asked first, late, patient;
    uint64_t n_expired = 0;
    scripted_set(&t->s.shuts, ALL);
    must(ask(t, &first, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    scripted_await(&t->s, 1);
    must(ask(t, &patient, DLOAD_STORE_GET, 3600 * DLOAD_SECOND), DLOAD_PENDING);
    must(ask(t, &late, DLOAD_STORE_GET, 20 * DLOAD_MILLISECOND), DLOAD_PENDING);
    await(&late);
    must(late.status, DLOAD_ETIMEDOUT);
    assert_false(is_done(&first));
    assert_false(is_done(&patient));
    dload_worker_queue(&t->w, NULL, &n_expired);
    equal(n_expired, 1);
    equal(n_queued(t), 1);
    scripted_set(&t->s.shuts, 0);
    await(&first);
    await(&patient);
    must_ok(first.status);
    must_ok(patient.status);
    equal(t->s.n_asked[DLOAD_STORE_GET], 2); /* the store never heard of the late one */
    dload_store_release(&first.op);
    dload_store_release(&patient.op);
    dload_store_release(&late.op);
}

/* The inner store gets what a request has left, or its own default. */
static void test_the_rest_of_the_time(void **state)
{
    struct fixture *t = *state;
    static struct asked first, second;
    scripted_set(&t->s.shuts, GETS);
    must(ask(t, &first, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    scripted_await(&t->s, 1);
    equal(t->s.last_timeout_ns, 0);
    must(ask(t, &second, DLOAD_STORE_DELETE, 3600 * DLOAD_SECOND), DLOAD_PENDING);
    sleep_ms(20);
    scripted_set(&t->s.shuts, 0);
    await(&first);
    await(&second);
    must_ok(second.status);
    assert_true(t->s.last_timeout_ns <= 3600 * DLOAD_SECOND - 20 * DLOAD_MILLISECOND);
    assert_true(t->s.last_timeout_ns > 3000 * DLOAD_SECOND);
    dload_store_release(&first.op);
}

static void ask_again(struct asked *a)
{
    static uint32_t n_again;
    if (++n_again < 100) { /* one thread: it is not called by two at a time */
        dload_store_item item = store_item(STR("direct"));
        dload_store_op op = store_op(DLOAD_STORE_GET, &item, 1);
        if (dload_store_run(&a->t->w.store, &op) != DLOAD_OK) /* blocking, from a done */
            abort();
        dload_store_release(&op);
        struct asked *next = a + 1;
        next->then = ask_again;
        if (ask(a->t, next, DLOAD_STORE_SET, 0) != DLOAD_PENDING)
            abort();
    }
}

static void test_done_may_ask(void **state)
{
    struct fixture *t = *state;
    static struct asked a[101];
    a[0].then = ask_again;
    must(ask(t, &a[0], DLOAD_STORE_SET, 0), DLOAD_PENDING);
    await(&a[0]);
    for (size_t i = 1; i < 100; i++) {
        await(&a[i]);
        must_ok(a[i].status);
        equal(a[i].n_done, 1);
    }
    equal(t->s.n_asked[DLOAD_STORE_SET], 100);
}

static void failing_passes_through(struct fixture *t, bool async)
{
    static struct asked a;
    scripted_set(&t->s.fails, GETS);
    if (async) {
        must(ask(t, &a, DLOAD_STORE_GET, 0), DLOAD_PENDING);
        await(&a);
        must(a.status, DLOAD_EBACKEND);
        dload_store_release(&a.op);
    } else {
        dload_store_item item = store_item(STR("k"));
        must(store_one(&t->x, DLOAD_STORE_GET, &item), DLOAD_EBACKEND);
    }
    scripted_set(&t->s.fails, 0);
    scripted_set(&t->s.fails_keys, GETS);
    must(ask(t, &a, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    await(&a);
    must_ok(a.status);
    must(a.item.status, DLOAD_EBACKEND);
    dload_store_release(&a.op);
    scripted_set(&t->s.fails_keys, 0);
}

static void test_failures_pass_through(void **state)
{
    struct fixture *t = *state;
    for (int i = 0; i < 20; i++) {
        failing_passes_through(t, true);
        t->x.async = false;
        failing_passes_through(t, false);
        t->x.async = true;
    }
    equal(t->w.store.stats.refused, 0); /* the breaker is the inner store's, and it has none here */
    equal(t->w.store.stats.errors, 40);
    equal(t->w.store.stats.key_errors, 40);
}

/* An open breaker of the inner store is felt at once, and its end as soon. */
static void test_one_breaker(void **state)
{
    struct fixture *t = *state;
    t->s.store.break_after = 2;
    t->s.store.break_ns = 30 * DLOAD_MILLISECOND;
    t->s.store.break_max_ns = 30 * DLOAD_MILLISECOND;
    scripted_set(&t->s.fails, GETS);
    for (int i = 0; i < 20; i++) {
        static struct asked a;
        must(ask(t, &a, DLOAD_STORE_GET, 0), DLOAD_PENDING);
        await(&a);
        must(a.status, DLOAD_EBACKEND);
    }
    assert_true(t->s.n_asked[DLOAD_STORE_GET] < 20);
    scripted_set(&t->s.fails, 0);
    sleep_ms(60);
    static struct asked a;
    must(ask(t, &a, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    await(&a);
    must_ok(a.status);
    dload_store_release(&a.op);
}

/* ---- threads ---- */

static void look_at_signals(struct asked *a)
{
    sigset_t now;
    (void)pthread_sigmask(SIG_BLOCK, NULL, &now);
    if (!sigismember(&now, SIGUSR1) || !sigismember(&now, SIGALRM) || !sigismember(&now, SIGINT))
        abort();
    a->order = 1000;
}

static void test_signals_are_the_programs(void **state)
{
    struct fixture *t = *state;
    static struct asked a;
    sigset_t now;
    a.then = look_at_signals;
    must(ask(t, &a, DLOAD_STORE_SET, 0), DLOAD_PENDING);
    await(&a);
    equal(a.order, 1000);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &now);
    assert_false(sigismember(&now, SIGUSR1)); /* ours are as before */
}

/* ---- no memory, no process ---- */

static void without_memory(struct fake_env *f)
{
    static struct asked a;
    static struct fixture t;
    dload_worker_config cfg;
    memset(&t, 0, sizeof t);
    memset(&cfg, 0, sizeof cfg);
    must_ok(dload_memory_init(&t.m, NULL));
    cfg.inner = &t.m.store;
    f->env.now = dload_i_clock_precise; /* threads read it */
    cfg.env = &f->env;
    cfg.n_threads = 2;
    fake_env_arm(f);
    dload_status st = dload_worker_init(&t.w, &cfg);
    if (st == DLOAD_OK) {
        st = ask(&t, &a, DLOAD_STORE_GET, 0);
        if (st == DLOAD_PENDING) {
            await(&a);
            must_ok(a.status);
            dload_store_release(&a.op);
            st = DLOAD_OK;
        }
        fake_env_disarm(f);
        must_ok(dload_worker_destroy(&t.w));
    }
    fake_env_disarm(f);
    must(st, f->n_failed != 0 ? DLOAD_ENOMEM : DLOAD_OK);
    dload_memory_destroy(&t.m);
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("worker", without_memory) >= 2);
}

static void test_in_a_child(void **state)
{
    struct fixture *t = *state;
    static struct asked a;
    int status = 0;
    must(ask(t, &a, DLOAD_STORE_SET, 0), DLOAD_PENDING);
    await(&a);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool good = ask(t, &a, DLOAD_STORE_GET, 0) == DLOAD_EFORK &&
                    dload_worker_close(&t->w, DLOAD_FAIL) == DLOAD_EFORK;
        a.op.done = NULL; /* the memory store refuses, too */
        good = good && dload_store_run(&t->w.store, &a.op) == DLOAD_EFORK;
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    equal(WEXITSTATUS(status), 0);
    must(ask(t, &a, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    await(&a);
    must_ok(a.item.status);
    dload_store_release(&a.op);
}

static void test_bad_configurations(void **state)
{
    struct fixture *t = *state;
    dload_worker w;
    dload_worker_config cfg;
    memset(&cfg, 0, sizeof cfg);
    must(dload_worker_init(&w, NULL), DLOAD_EINVAL);
    must(dload_worker_init(&w, &cfg), DLOAD_EINVAL);
    cfg.inner = &t->m.store;
    cfg.n_threads = 257;
    must(dload_worker_init(&w, &cfg), DLOAD_EINVAL);
}

#define OWN(body) cmocka_unit_test_setup_teardown(body, open_narrow, close_worker)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("worker", open_blocking, close_worker),
        STORE_CASES("worker, with done", open_async, close_worker),
        OWN(test_full_is_said_at_once),
        OWN(test_waiting_has_an_end),
        OWN(test_the_rest_of_the_time),
        OWN(test_done_may_ask),
        OWN(test_failures_pass_through),
        OWN(test_one_breaker),
        OWN(test_signals_are_the_programs),
        cmocka_unit_test(test_without_memory),
        OWN(test_in_a_child),
        OWN(test_bad_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
