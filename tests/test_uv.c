/* A loader in a libuv loop: when batches go, where callbacks run, answers that come later. */
/* locks: NONE SPIN PTHREAD */
/* links: uv */
#include "test_uv.h"

/* A second level, behind the first. */
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_NAME  second
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#include "dataloader.h"
#define DLOAD_UV_NAME second
#include "adapters/dataloader_uv.h"

/* ---- turns ---- */

static void idle_asks(uv_idle_t *i)
{
    struct ask *a = i->data;
    ask(&world, a, (uint64_t)(a - asks) + 1);
    uv_close((uv_handle_t *)i, NULL);
}

static void async_asks(uv_async_t *as)
{
    struct ask *a = as->data;
    ask(&world, a, (uint64_t)(a - asks) + 1);
    uv_close((uv_handle_t *)as, NULL);
}

/* Three phases of one turn of the loop ask; one batch goes. */
static void test_one_turn_one_batch(void **state)
{
    struct world *x = *state;
    uv_timer_t timers[2];
    uv_idle_t idle;
    uv_async_t async;
    open_world(x);
    for (size_t i = 0; i < 2; i++) {
        uv_timer_init(&x->loop, &timers[i]);
        timers[i].data = &asks[i];
        uv_timer_start(&timers[i], timer_asks, 0, 0);
    }
    uv_idle_init(&x->loop, &idle);
    idle.data = &asks[2];
    uv_idle_start(&idle, idle_asks);
    equal(uv_async_init(&x->loop, &async, async_asks), 0);
    async.data = &asks[3];
    uv_async_send(&async);
    run_loop(x);
    text_must(&x->r.calls, "B(1,2,3,4)");
    for (size_t i = 0; i < 4; i++) {
        answered(&asks[i], (i + 1) * 10);
    }
}

/* Before the loop runs, and again after it ended for lack of work. */
static void test_loop_ends_when_idle(void **state)
{
    struct world *x = *state;
    open_world(x);
    run_loop(x); /* nothing to do: returns */
    for (uint64_t round = 0; round < 3; round++) {
        memset(asks, 0, 2 * sizeof asks[0]);
        ask(x, &asks[0], 2 * round + 1);
        ask(x, &asks[1], 2 * round + 2);
        equal(asks[0].req.n_done, 0); /* never inside start */
        run_loop(x);
        answered(&asks[0], (2 * round + 1) * 10);
        answered(&asks[1], (2 * round + 2) * 10);
    }
    text_must(&x->r.calls, "B(1,2) B(3,4) B(5,6)");
}

/* What the callbacks of one batch ask for is one batch again. */
static void test_levels(void **state)
{
    struct world *x = *state;
    open_world(x);
    for (uint64_t i = 0; i < 10; i++) {
        asks[i].after = ask_next;
        ask(x, &asks[i], i);
    }
    run_loop(x);
    text_must(&x->r.calls, "B(0,1,2,3,4,5,6,7,8,9) B(10,11,12,13,14,15,16,17,18,19)");
    for (uint64_t i = 0; i < 20; i++) {
        answered(&asks[i], i * 10);
    }
}

static struct chain {
    second l;
    dload_uv u;
    second_waiter w[100];
    size_t n_calls, n_done;
} chain;

static dload_status chain_fetch(second_batch *b)
{
    chain.n_calls++;
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] + 1;
        must_ok(second_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

static void chain_done(second_waiter *w)
{
    must(w->status, DLOAD_OK);
    chain.n_done++;
}

static void chain_on(struct ask *a)
{
    second_waiter *w = &chain.w[a - asks];
    memset(w, 0, sizeof *w);
    w->done = chain_done;
    must(second_start(&chain.l, a->req.w.value, w), DLOAD_PENDING);
}

/* A hundred roots over two loaders: a batch a loader. */
static void test_chain(void **state)
{
    struct world *x = *state;
    memset(&chain, 0, sizeof chain);
    second_config cfg = second_config_default();
    cfg.fetch = chain_fetch;
    cfg.env = &x->f.env;
    must_ok(second_uv_init(&chain.u, &x->loop, &chain.l, &cfg));
    open_world(x);
    for (uint64_t i = 0; i < 100; i++) {
        asks[i].after = chain_on;
        ask(x, &asks[i], i);
    }
    run_loop(x);
    equal(x->r.n_calls, 1);
    equal(chain.n_calls, 1);
    equal(chain.n_done, 100);
    equal(chain.w[7].value, 71);
    must_ok(dload_uv_close(&chain.u, DLOAD_FAIL, 0, NULL));
    run_loop(x);
}

/* ---- triggers ---- */

static void test_settles(void **state)
{
    struct world *x = *state;
    uv_timer_t timer;
    x->cfg.settle_ns = 40 * DLOAD_MILLISECOND;
    x->cfg.max_age_ns = DLOAD_SECOND;
    open_world(x);
    ask(x, &asks[0], 1);
    uv_timer_init(&x->loop, &timer);
    timer.data = &asks[1];
    uv_timer_start(&timer, timer_asks, 15, 0);
    run_loop(x);
    text_must(&x->r.calls, "B(1,2)");
    answered(&asks[0], 10);
    answered(&asks[1], 20);
    assert_true(asks[0].done_ns >= asks[1].started_ns + 40 * DLOAD_MILLISECOND);
    equal(uv_stats(x).by_trigger[DLOAD_BY_SETTLE], 1);
}

static void test_size_goes_at_once(void **state)
{
    struct world *x = *state;
    x->cfg.settle_ns = 20 * DLOAD_SECOND;
    x->cfg.max_batch = 3;
    open_world(x);
    uint64_t start_ns = real_ns();
    for (uint64_t i = 0; i < 3; i++) {
        ask(x, &asks[i], i + 1);
    }
    equal(x->r.n_calls, 0); /* not inside start */
    run_loop(x);
    text_must(&x->r.calls, "B(1,2,3)");
    answered(&asks[2], 30);
    equal(uv_stats(x).by_trigger[DLOAD_BY_SIZE], 1);
    assert_true(real_ns() - start_ns < 10 * DLOAD_SECOND);
}

static void test_hit_needs_no_loop(void **state)
{
    struct world *x = *state;
    uint64_t value = 5;
    open_world(x);
    must_ok(tl_prime(&x->l, 1, &value, 0));
    ask(x, &asks[0], 1);
    must(asks[0].started, DLOAD_OK);
    equal(asks[0].req.w.value, 5);
    equal(uv_loop_alive(&x->loop), 0);
}

static void test_cancel(void **state)
{
    struct world *x = *state;
    open_world(x);
    ask(x, &asks[0], 1);
    must_ok(tl_cancel(&x->l, &asks[0].req.w));
    run_loop(x);
    text_must(&x->r.calls, "");
    equal(asks[0].req.n_done, 0);
    ask(x, &asks[0], 1);
    ask(x, &asks[1], 2);
    must_ok(tl_cancel(&x->l, &asks[0].req.w));
    run_loop(x);
    text_must(&x->r.calls, "B(2)");
    equal(asks[0].req.n_done, 0);
    answered(&asks[1], 20);
}

static void hook_queued(void *ctx)
{
    text_add(ctx, "queued ");
}

static void hook_start(void *ctx, size_t n_keys, dload_trigger why)
{
    text_add(ctx, "start(%zu,%d) ", n_keys, (int)why);
}

static void hook_end(void *ctx, size_t n_keys, dload_status st, uint64_t run_ns)
{
    assert_true(run_ns < 60 * DLOAD_SECOND);
    text_add(ctx, "end(%zu,%d)", n_keys, (int)st);
}

static void test_hooks_pass(void **state)
{
    struct world *x = *state;
    static struct text log;
    text_clear(&log);
    dload_hooks hooks = {hook_queued, hook_start, hook_end, &log};
    x->cfg.hooks = &hooks;
    open_world(x);
    ask(x, &asks[0], 1);
    ask(x, &asks[1], 2);
    run_loop(x);
    text_must(&log, "queued start(2,1) end(2,0)");
}

/* ---- answers that come later, in the loop's thread ---- */

/* No run limit, hence no timer of ours, but one of the test's that is not referenced. */
static void test_pending_keeps_the_loop(void **state)
{
    struct world *x = *state;
    uv_timer_t timer;
    x->r.result = DLOAD_PENDING;
    x->cfg.run_limit_ns = DLOAD_NEVER;
    open_world(x);
    ask(x, &asks[0], 1);
    uv_timer_init(&x->loop, &timer);
    uv_timer_start(&timer, timer_finishes, 10, 0);
    uv_unref((uv_handle_t *)&timer);
    run_loop(x);
    answered(&asks[0], 10);
}

/* A batch that waits for its turn goes when the one before it ends, though nobody waits for it. */
static void test_queue_moves(void **state)
{
    struct world *x = *state;
    uv_timer_t timers[2];
    x->r.result = DLOAD_PENDING;
    x->cfg.max_in_flight = 1;
    x->cfg.run_limit_ns = 20 * DLOAD_SECOND;
    open_world(x);
    uint64_t start_ns = real_ns();
    ask(x, &asks[0], 1);
    while (x->r.n_calls == 0) {
        uv_run(&x->loop, UV_RUN_ONCE);
    }
    ask(x, &asks[1], 2);
    must_ok(tl_cancel(&x->l, &asks[0].req.w));
    for (unsigned i = 0; i < 2; i++) {
        uv_timer_init(&x->loop, &timers[i]);
        uv_timer_start(&timers[i], timer_finishes, 10 + 20 * i, 0);
    }
    run_loop(x);
    text_must(&x->r.calls, "B(1) B(2)");
    equal(asks[0].req.n_done, 0);
    answered(&asks[1], 20);
    assert_true(real_ns() - start_ns < 10 * DLOAD_SECOND);
}

/* A function that does not finish: its callers leave at the run limit, and closing waits for it. */
static void test_run_limit(void **state)
{
    struct world *x = *state;
    uv_timer_t timer;
    x->r.result = DLOAD_PENDING;
    x->cfg.run_limit_ns = 20 * DLOAD_MILLISECOND;
    open_world(x);
    ask(x, &asks[0], 1);
    run_loop(x);
    request_must_fail(&asks[0].req, DLOAD_ETIMEDOUT);
    assert_true(asks[0].in_loop);
    must_ok(dload_uv_close(&x->u, DLOAD_FAIL, 0, on_closed));
    for (size_t i = 0; i < 5; i++) {
        uv_run(&x->loop, UV_RUN_NOWAIT);
    }
    equal(x->n_closed, 0);
    uv_timer_init(&x->loop, &timer);
    uv_timer_start(&timer, close_timer, 10, 0);
    uv_run(&x->loop, UV_RUN_ONCE);
    tl_batch *late = rec_take(&x->r, 0);
    must_ok(tl_batch_done(late, DLOAD_OK));
    run_loop(x);
    equal(x->n_closed, 1);
    must(x->closed, DLOAD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_one_turn_one_batch),
        CASE(test_loop_ends_when_idle),
        CASE(test_levels),
        CASE(test_chain),
        CASE(test_settles),
        CASE(test_size_goes_at_once),
        CASE(test_hit_needs_no_loop),
        CASE(test_cancel),
        CASE(test_hooks_pass),
        CASE(test_pending_keeps_the_loop),
        CASE(test_queue_moves),
        CASE(test_run_limit),
    };
    return cmocka_run_group_tests_name("uv " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
