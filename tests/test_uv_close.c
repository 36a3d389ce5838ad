/* The end of a loader in a libuv loop: idle, with requests waiting, from inside callbacks; what _uv_init
 * refuses. */
/* locks: NONE SPIN PTHREAD */
/* links: uv */
#include "test_uv.h"

static void test_close_idle(void **state)
{
    struct world *x = *state;
    open_world(x);
    must(dload_uv_close(&x->u, (dload_close_mode)7, 0, on_closed), DLOAD_EINVAL);
    must(dload_uv_close(NULL, DLOAD_FAIL, 0, on_closed), DLOAD_EINVAL);
    must_ok(dload_uv_close(&x->u, DLOAD_FAIL, 0, on_closed));
    must_ok(dload_uv_close(&x->u, DLOAD_FAIL, 0, NULL));
    equal(x->n_closed, 0); /* never inside close */
    ask(x, &asks[0], 1);
    must(asks[0].started, DLOAD_ECLOSED);
    run_loop(x);
    equal(x->n_closed, 1);
    must(x->closed, DLOAD_OK);
}

static void test_close_fails_what_waits(void **state)
{
    struct world *x = *state;
    x->cfg.settle_ns = 20 * DLOAD_SECOND;
    open_world(x);
    ask(x, &asks[0], 1);
    ask(x, &asks[1], 2);
    must_ok(dload_uv_close(&x->u, DLOAD_FAIL, 0, on_closed));
    run_loop(x);
    text_must(&x->r.calls, "");
    request_must_fail(&asks[0].req, DLOAD_ECLOSED);
    request_must_fail(&asks[1].req, DLOAD_ECLOSED);
    equal(x->n_closed, 1);
}

/* A drain does not wait for the settle time, and serves what callbacks ask for. */
static void test_close_drains(void **state)
{
    struct world *x = *state;
    x->cfg.settle_ns = 20 * DLOAD_SECOND;
    open_world(x);
    uint64_t start_ns = real_ns();
    asks[0].after = ask_next;
    ask(x, &asks[0], 1);
    must_ok(dload_uv_close(&x->u, DLOAD_DRAIN, 0, on_closed));
    run_loop(x);
    text_must(&x->r.calls, "B(1) B(11)");
    answered(&asks[0], 10);
    answered(&asks[10], 110);
    equal(x->n_closed, 1);
    must(x->closed, DLOAD_OK);
    assert_true(real_ns() - start_ns < 10 * DLOAD_SECOND);
}

static void test_drain_has_a_deadline(void **state)
{
    struct world *x = *state;
    uv_timer_t timer;
    x->r.result = DLOAD_PENDING;
    x->cfg.run_limit_ns = DLOAD_NEVER;
    open_world(x);
    ask(x, &asks[0], 1);
    uint64_t end_ns = tl_now(&x->l) + 30 * DLOAD_MILLISECOND;
    must_ok(dload_uv_close(&x->u, DLOAD_DRAIN, end_ns, on_closed));
    uv_timer_init(&x->loop, &timer);
    uv_timer_start(&timer, timer_finishes, 600, 0); /* too late: must() inside says so */
    x->r.answers[0] = (struct answer){1, ANSWER_NOTHING, 0, DLOAD_OK};
    x->r.n_answers = 1;
    run_loop(x);
    request_must_fail(&asks[0].req, DLOAD_ECLOSED);
    assert_true(asks[0].done_ns >= asks[0].started_ns + 30 * DLOAD_MILLISECOND);
    assert_true(asks[0].done_ns < asks[0].started_ns + 500 * DLOAD_MILLISECOND);
    equal(x->n_closed, 1);
    must(x->closed, DLOAD_ETIMEDOUT);
}

static void close_in_done(struct ask *a)
{
    must_ok(dload_uv_close(&a->x->u, DLOAD_FAIL, 0, on_closed));
}

static void test_close_in_callback(void **state)
{
    struct world *x = *state;
    x->cfg.max_batch = 1;
    open_world(x);
    asks[0].after = close_in_done;
    ask(x, &asks[0], 1);
    ask(x, &asks[1], 2);
    run_loop(x);
    answered(&asks[0], 10);
    equal(asks[1].req.n_done, 1);
    equal(x->n_closed, 1);
}

static void close_in_fetch(struct recorder *r, tl_batch *b)
{
    (void)b;
    r->act = NULL;
    must_ok(dload_uv_close(&world.u, DLOAD_FAIL, 0, on_closed));
}

static void test_close_in_fetch(void **state)
{
    struct world *x = *state;
    x->r.act = close_in_fetch;
    open_world(x);
    ask(x, &asks[0], 1);
    run_loop(x);
    answered(&asks[0], 10); /* the batch was through before the loader was */
    equal(x->n_closed, 1);
}

static void wake_other(void *ctx)
{
    (void)ctx;
}

static void test_refusals(void **state)
{
    struct world *x = *state;
    tl_config cfg = x->cfg;
    cfg.wake = wake_other;
    must(tl_uv_init(&x->u, &x->loop, &x->l, &cfg), DLOAD_EINVAL);
    must(tl_uv_init(NULL, &x->loop, &x->l, &x->cfg), DLOAD_EINVAL);
    must(tl_uv_init(&x->u, NULL, &x->l, &x->cfg), DLOAD_EINVAL);
    must(tl_uv_init(&x->u, &x->loop, NULL, &x->cfg), DLOAD_EINVAL);
    must(tl_uv_init(&x->u, &x->loop, &x->l, NULL), DLOAD_EINVAL);
    cfg = x->cfg;
    cfg.fetch = NULL;
    must(tl_uv_init(&x->u, &x->loop, &x->l, &cfg), DLOAD_EINVAL);
    dload_env no_clock = x->f.env;
    no_clock.now = NULL;
    cfg = x->cfg;
    cfg.env = &no_clock;
    must(tl_uv_init(&x->u, &x->loop, &x->l, &cfg), DLOAD_EINVAL);
    x->f.fail_at = 1;
    x->f.fail_for_good = true;
    fake_env_arm(&x->f);
    must(tl_uv_init(&x->u, &x->loop, &x->l, &x->cfg), DLOAD_ENOMEM);
    fake_env_disarm(&x->f);
    equal(uv_loop_alive(&x->loop), 0);
    x->u.ops = NULL; /* nothing to close */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_close_idle),        CASE(test_close_fails_what_waits),
        CASE(test_close_drains),      CASE(test_drain_has_a_deadline),
        CASE(test_close_in_callback), CASE(test_close_in_fetch),
        CASE(test_refusals),
    };
    return cmocka_run_group_tests_name("uv close " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
