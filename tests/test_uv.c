/* A loader in a libuv loop: when batches go, where callbacks run, how it ends, and a thousand
 * requests through real sockets. To be run under the thread sanitizer, too. */
/* locks: NONE SPIN PTHREAD */
/* links: uv */
/* tsan */
#include "test_loader.h"
#define DLOAD_UV_NAME tl
#include "adapters/dataloader_uv.h"

/* A second level, behind the first. */
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_NAME  second
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#include "dataloader.h"
#define DLOAD_UV_NAME second
#include "adapters/dataloader_uv.h"

#include <stdlib.h>
#include <unistd.h>

#define LOCKED (TEST_LOCK != DLOAD_LOCK_NONE)

/* ---- a loop with a loader in it ---- */

struct world {
    uv_loop_t loop;
    uv_thread_t thread; /* the loop's */
    dload_uv u;
    tl l;
    tl_config cfg;
    struct fake_env f;
    struct recorder r;
    size_t n_closed;
    dload_status closed;
    /* a thread that answers */
    uv_thread_t worker;
    tl_batch *given;
    unsigned work_ms;
    bool worked; /* atomic: the thread is through */
    bool worked_at_close;
};
static struct world world;

struct ask {
    struct request req;
    struct world *x;
    bool in_loop; /* done() ran in the loop's thread */
    uint64_t started_ns, done_ns;
    void (*after)(struct ask *a);
    dload_status started;
};
static struct ask asks[1000];

static int setup(void **state)
{
    struct world *x = &world;
    memset(x, 0, sizeof *x);
    memset(asks, 0, sizeof asks);
    fake_env_init_real(&x->f);
    equal(uv_loop_init(&x->loop), 0);
    x->thread = uv_thread_self();
    x->cfg = tl_config_default();
    x->cfg.fetch = rec_fetch;
    x->cfg.ctx = &x->r;
    x->cfg.env = &x->f.env;
    *state = x;
    return 0;
}

static void open_world(struct world *x)
{
    must_ok(tl_uv_init(&x->u, &x->loop, &x->l, &x->cfg));
    x->u.data = x;
}

static void run(struct world *x)
{
    equal(uv_run(&x->loop, UV_RUN_DEFAULT), 0);
}

static void on_closed(dload_uv *u, dload_status status)
{
    struct world *x = u->data;
    x->n_closed++;
    x->closed = status;
    x->worked_at_close = __atomic_load_n(&x->worked, __ATOMIC_RELAXED);
}

/* Closes what is idle by now; the loop must have nothing left. */
static int teardown(void **state)
{
    struct world *x = *state;
    if (x->u.ops != NULL && x->n_closed == 0) {
        must_ok(dload_uv_close(&x->u, DLOAD_DRAIN, 0, on_closed));
        run(x);
        must(x->closed, DLOAD_OK);
        equal(x->n_closed, 1);
    }
    equal(uv_loop_close(&x->loop), 0);
    fake_env_check(&x->f);
    return 0;
}

static void ask_done(struct request *req)
{
    struct ask *a = req->ctx;
    uv_thread_t self = uv_thread_self();
    a->in_loop = uv_thread_equal(&self, &a->x->thread) != 0;
    a->done_ns = real_ns();
    if (a->after) {
        a->after(a);
    }
}

static void ask(struct world *x, struct ask *a, uint64_t key)
{
    a->x = x;
    a->req.key = key;
    a->req.then = ask_done;
    a->req.ctx = a;
    memset(&a->req.w, 0, sizeof a->req.w);
    a->req.w.done = request_done;
    a->req.w.ctx = &a->req;
    a->started_ns = real_ns();
    a->started = tl_start(&x->l, key, &a->req.w);
}

static void answered(const struct ask *a, uint64_t value)
{
    request_must(&a->req, value);
    assert_true(a->in_loop);
}

static dload_stats uv_stats(struct world *x)
{
    dload_stats s;
    must_ok(tl_stats(&x->l, &s));
    return s;
}

/* ---- turns ---- */

static void close_timer(uv_timer_t *t)
{
    uv_close((uv_handle_t *)t, NULL);
}

static void timer_asks(uv_timer_t *t)
{
    struct ask *a = t->data;
    ask(&world, a, (uint64_t)(a - asks) + 1);
    close_timer(t);
}

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
    run(x);
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
    run(x); /* nothing to do: returns */
    for (uint64_t round = 0; round < 3; round++) {
        memset(asks, 0, 2 * sizeof asks[0]);
        ask(x, &asks[0], 2 * round + 1);
        ask(x, &asks[1], 2 * round + 2);
        equal(asks[0].req.n_done, 0); /* never inside start */
        run(x);
        answered(&asks[0], (2 * round + 1) * 10);
        answered(&asks[1], (2 * round + 2) * 10);
    }
    text_must(&x->r.calls, "B(1,2) B(3,4) B(5,6)");
}

static void ask_next(struct ask *a)
{
    struct ask *next = a + 10;
    a->after = NULL;
    ask(a->x, next, a->req.key + 10);
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
    run(x);
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
    run(x);
    equal(x->r.n_calls, 1);
    equal(chain.n_calls, 1);
    equal(chain.n_done, 100);
    equal(chain.w[7].value, 71);
    must_ok(dload_uv_close(&chain.u, DLOAD_FAIL, 0, NULL));
    run(x);
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
    run(x);
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
    run(x);
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
    run(x);
    text_must(&x->r.calls, "");
    equal(asks[0].req.n_done, 0);
    ask(x, &asks[0], 1);
    ask(x, &asks[1], 2);
    must_ok(tl_cancel(&x->l, &asks[0].req.w));
    run(x);
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
    run(x);
    text_must(&log, "queued start(2,1) end(2,0)");
}

/* ---- answers that come later, in the loop's thread ---- */

static void timer_finishes(uv_timer_t *t)
{
    rec_finish(&world.r);
    close_timer(t);
}

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
    run(x);
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
    run(x);
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
    run(x);
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
    run(x);
    equal(x->n_closed, 1);
    must(x->closed, DLOAD_OK);
}

/* ---- closing ---- */

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
    run(x);
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
    run(x);
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
    run(x);
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
    run(x);
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
    run(x);
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
    run(x);
    answered(&asks[0], 10); /* the batch was through before the loader was */
    equal(x->n_closed, 1);
}

static void test_refusals(void **state)
{
    struct world *x = *state;
    tl_config cfg = x->cfg;
    cfg.wake = hook_queued;
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

/* ---- sockets ---- */

enum { N_PEERS = 100, N_ROUNDS = 10 };

/* A connection: eight bytes in are a key, eight bytes out its value. */
struct peer {
    uv_tcp_t tcp;
    uv_write_t write;
    tl_waiter w;
    uint64_t in[2], out; /* more room than a request takes: libuv asks for some after each */
    size_t n_in;
};

static struct sockets {
    struct peer peers[N_PEERS];
    uv_tcp_t listener;
    size_t n_accepted, n_ended, n_bad;
    size_t n_keys, n_fetches, largest;
    struct sockaddr_in address;
} net;

static void peer_wrote(uv_write_t *req, int status)
{
    (void)req;
    equal(status, 0);
}

static void peer_done(tl_waiter *w)
{
    struct peer *p = w->ctx;
    must(w->status, DLOAD_OK);
    p->out = w->value;
    p->n_in = 0;
    uv_buf_t buf = uv_buf_init((char *)&p->out, sizeof p->out);
    equal(uv_write(&p->write, (uv_stream_t *)&p->tcp, &buf, 1, peer_wrote), 0);
}

static void peer_space(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct peer *p = handle->data;
    (void)suggested;
    *buf = uv_buf_init((char *)p->in + p->n_in, (unsigned)(sizeof p->in - p->n_in));
}

static void peer_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct peer *p = stream->data;
    (void)buf;
    if (n < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        if (++net.n_ended == N_PEERS) {
            uv_close((uv_handle_t *)&net.listener, NULL);
        }
        return;
    }
    p->n_in += (size_t)n;
    if (p->n_in == sizeof p->in[0]) {
        memset(&p->w, 0, sizeof p->w);
        p->w.done = peer_done;
        p->w.ctx = p;
        must(tl_start(&world.l, p->in[0], &p->w), DLOAD_PENDING);
    }
}

static void peer_comes(uv_stream_t *listener, int status)
{
    equal(status, 0);
    struct peer *p = &net.peers[net.n_accepted++];
    uv_tcp_init(listener->loop, &p->tcp);
    p->tcp.data = p;
    equal(uv_accept(listener, (uv_stream_t *)&p->tcp), 0);
    equal(uv_read_start((uv_stream_t *)&p->tcp, peer_space, peer_read), 0);
}

static void net_bad(bool is_bad)
{
    if (is_bad) {
        __atomic_add_fetch(&net.n_bad, 1, __ATOMIC_RELAXED);
    }
}

/* A thread with all the clients: in each round every one of them asks for another key. */
static void net_clients(void *ctx)
{
    int fds[N_PEERS];
    (void)ctx;
    for (size_t i = 0; i < N_PEERS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        net_bad(connect(fds[i], (const struct sockaddr *)&net.address, sizeof net.address) != 0);
    }
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        for (uint64_t i = 0; i < N_PEERS; i++) {
            uint64_t key = round * N_PEERS + i;
            net_bad(write(fds[i], &key, sizeof key) != (ssize_t)sizeof key);
        }
        for (uint64_t i = 0; i < N_PEERS; i++) {
            uint64_t value = 0;
            net_bad(recv(fds[i], &value, sizeof value, MSG_WAITALL) != (ssize_t)sizeof value);
            net_bad(value != (round * N_PEERS + i) * 10);
        }
    }
    for (size_t i = 0; i < N_PEERS; i++) {
        net_bad(close(fds[i]) != 0);
    }
}

static dload_status net_answer(tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        net_bad(tl_batch_set(b, i, &value) != DLOAD_OK);
    }
    return DLOAD_OK;
}

static dload_status net_fetch(tl_batch *b)
{
    net.n_fetches++;
    net.n_keys += b->n;
    net.largest = b->n > net.largest ? b->n : net.largest;
    return LOCKED ? tl_uv_work(&world.u, b, net_answer) : net_answer(b);
}

static void test_a_thousand_requests(void **state)
{
    struct world *x = *state;
    uv_thread_t clients;
    int size = sizeof net.address;
    memset(&net, 0, sizeof net);
    x->cfg.fetch = net_fetch;
    open_world(x);
    uv_tcp_init(&x->loop, &net.listener);
    equal(uv_ip4_addr("127.0.0.1", 0, &net.address), 0);
    equal(uv_tcp_bind(&net.listener, (const struct sockaddr *)&net.address, 0), 0);
    equal(uv_listen((uv_stream_t *)&net.listener, N_PEERS, peer_comes), 0);
    equal(uv_tcp_getsockname(&net.listener, (struct sockaddr *)&net.address, &size), 0);
    equal(uv_thread_create(&clients, net_clients, NULL), 0);
    run(x);
    equal(uv_thread_join(&clients), 0);
    equal(net.n_bad, 0);
    equal(net.n_keys, N_PEERS * N_ROUNDS);
    print_message("# %zu requests, %zu batches, the largest of %zu\n", net.n_keys, net.n_fetches,
                  net.largest);
    assert_true(net.n_fetches * 2 <= net.n_keys);
}

#if LOCKED

/* ---- other threads ---- */

static void worker_answers(void *ctx)
{
    struct world *x = ctx;
    tl_batch *b = x->given;
    sleep_ms(x->work_ms);
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        (void)tl_batch_set(b, i, &value); /* DLOAD_ECANCELED when it was given up */
    }
    (void)tl_batch_done(b, DLOAD_OK);
    sleep_ms(5); /* the loop has the answers by now, and this thread is not through */
    __atomic_store_n(&x->worked, true, __ATOMIC_RELAXED);
    dload_uv_drop(&x->u);
}

static dload_status fetch_by_worker(tl_batch *b)
{
    struct world *x = &world;
    x->r.n_calls++;
    x->given = b;
    dload_uv_hold(&x->u);
    equal(uv_thread_create(&x->worker, worker_answers, x), 0);
    return DLOAD_PENDING;
}

/* The loop has nothing but the batch to live for, with and without a run limit. */
static void test_answers_from_a_thread(void **state)
{
    struct world *x = *state;
    x->cfg.fetch = fetch_by_worker;
    x->cfg.run_limit_ns = DLOAD_NEVER;
    x->work_ms = 20;
    open_world(x);
    ask(x, &asks[0], 1);
    ask(x, &asks[1], 2);
    run(x);
    equal(uv_thread_join(&x->worker), 0);
    answered(&asks[0], 10);
    answered(&asks[1], 20);
    equal(x->r.n_calls, 1);
}

/* The thread is still at it: FAIL answers at once, and the end waits for the thread. */
static void test_close_waits_for_the_thread(void **state)
{
    struct world *x = *state;
    x->cfg.fetch = fetch_by_worker;
    x->work_ms = 60;
    open_world(x);
    ask(x, &asks[0], 1);
    while (x->r.n_calls == 0) {
        uv_run(&x->loop, UV_RUN_ONCE);
    }
    must_ok(dload_uv_close(&x->u, DLOAD_FAIL, 0, on_closed));
    request_must_fail(&asks[0].req, DLOAD_ECLOSED);
    run(x);
    assert_true(x->worked_at_close);
    equal(uv_thread_join(&x->worker), 0);
    equal(x->n_closed, 1);
    must(x->closed, DLOAD_OK);
}

static void test_drain_waits_for_the_thread(void **state)
{
    struct world *x = *state;
    x->cfg.fetch = fetch_by_worker;
    x->work_ms = 30;
    open_world(x);
    ask(x, &asks[0], 1);
    must_ok(dload_uv_close(&x->u, DLOAD_DRAIN, 0, on_closed));
    run(x);
    equal(uv_thread_join(&x->worker), 0);
    answered(&asks[0], 10);
    assert_true(x->worked_at_close);
    equal(x->n_closed, 1);
    must(x->closed, DLOAD_OK);
}

static uv_mutex_t pool_mutex;
static uv_mutex_t pool_gate; /* while it is held no job gets on */
static size_t n_pool_runs, n_in_loop_runs;

static dload_status pool_answers(tl_batch *b)
{
    uv_thread_t self = uv_thread_self();
    uv_mutex_lock(&pool_mutex);
    n_pool_runs++;
    n_in_loop_runs += uv_thread_equal(&self, &world.thread) != 0;
    uv_mutex_unlock(&pool_mutex);
    uv_mutex_lock(&pool_gate);
    uv_mutex_unlock(&pool_gate);
    return net_answer(b);
}

static dload_status fetch_by_pool(tl_batch *b)
{
    return tl_uv_work(&world.u, b, pool_answers);
}

static dload_status fetch_badly(tl_batch *b)
{
    (void)b;
    return DLOAD_PENDING;
}

static dload_status fetch_by_bad_pool(tl_batch *b)
{
    return tl_uv_work(&world.u, b, fetch_badly);
}

static void open_pool(struct world *x)
{
    n_pool_runs = n_in_loop_runs = 0;
    memset(&net, 0, sizeof net);
    equal(uv_mutex_init(&pool_mutex), 0);
    equal(uv_mutex_init(&pool_gate), 0);
    x->cfg.fetch = fetch_by_pool;
    open_world(x);
}

static void close_pool(void)
{
    uv_mutex_destroy(&pool_mutex);
    uv_mutex_destroy(&pool_gate);
}

/* Four batches side by side, their answers in the loop's thread, nothing run in it. */
static void test_work(void **state)
{
    struct world *x = *state;
    x->cfg.max_batch = 25;
    open_pool(x);
    for (uint64_t i = 0; i < 100; i++) {
        ask(x, &asks[i], i);
    }
    run(x);
    for (uint64_t i = 0; i < 100; i++) {
        answered(&asks[i], i * 10);
    }
    equal(n_pool_runs, 4);
    equal(n_in_loop_runs, 0);
    equal(net.n_bad, 0);
    close_pool();
}

static void test_work_fails_well(void **state)
{
    struct world *x = *state;
    x->cfg.fetch = fetch_by_bad_pool;
    open_world(x);
    ask(x, &asks[0], 1);
    run(x);
    request_must_fail(&asks[0].req, DLOAD_EINVAL);
    ask(x, &asks[1], 2);
    x->f.fail_at = 0;
    while (uv_stats(x).batches == 1) {
        fake_env_arm(&x->f);
        x->f.fail_at = 1; /* the open batch is there: the next to allocate is the job */
        uv_run(&x->loop, UV_RUN_ONCE);
        fake_env_disarm(&x->f);
    }
    run(x);
    request_must_fail(&asks[1].req, DLOAD_ENOMEM);
}

/* Closing while the pool is busy: what has not begun is spared. */
static void test_close_spares_work(void **state)
{
    struct world *x = *state;
    x->cfg.max_batch = 1;
    x->cfg.max_in_flight = 500;
    open_pool(x);
    for (uint64_t i = 0; i < 500; i++) {
        ask(x, &asks[i], i);
    }
    uv_mutex_lock(&pool_gate);
    while (uv_stats(x).batches < 500) {
        uv_run(&x->loop, UV_RUN_NOWAIT);
    }
    must_ok(dload_uv_close(&x->u, DLOAD_FAIL, 0, on_closed));
    uv_mutex_unlock(&pool_gate);
    run(x);
    equal(x->n_closed, 1);
    for (uint64_t i = 0; i < 500; i++) {
        request_must_fail(&asks[i].req, DLOAD_ECLOSED);
        assert_true(asks[i].in_loop);
    }
    assert_true(n_pool_runs < 500); /* as many as libuv has threads */
    close_pool();
}

/* ---- other threads load ---- */

static void blocking_loads(void *ctx)
{
    struct world *x = ctx;
    for (uint64_t i = 0; i < 50; i++) {
        uint64_t value = 0;
        net_bad(tl_load(&x->l, 1000 + i, &value) != DLOAD_OK || value != (1000 + i) * 10);
    }
}

static struct ask far[50];

static void far_starts(void *ctx)
{
    for (uint64_t i = 0; i < COUNT(far); i++) {
        ask(ctx, &far[i], 2000 + i);
    }
}

static void loader_threads(void *ctx)
{
    uv_thread_t threads[2];
    net_bad(uv_thread_create(&threads[0], blocking_loads, ctx) != 0);
    net_bad(uv_thread_create(&threads[1], far_starts, ctx) != 0);
    uv_thread_join(&threads[0]);
    uv_thread_join(&threads[1]);
    uv_async_send(((struct world *)ctx)->loop.data);
}

static void async_closes(uv_async_t *as)
{
    uv_close((uv_handle_t *)as, NULL);
}

/* One thread blocks, one starts, the loop loads: callbacks all in the loop's thread. */
static void test_loads_from_threads(void **state)
{
    struct world *x = *state;
    uv_thread_t threads;
    uv_async_t finished; /* keeps the loop while the threads ask */
    memset(far, 0, sizeof far);
    open_pool(x);
    equal(uv_async_init(&x->loop, &finished, async_closes), 0);
    x->loop.data = &finished;
    equal(uv_thread_create(&threads, loader_threads, x), 0);
    for (uint64_t i = 0; i < 50; i++) {
        ask(x, &asks[i], 1000 + i);
    }
    run(x);
    equal(uv_thread_join(&threads), 0);
    for (uint64_t i = 0; i < 50; i++) {
        if (asks[i].started == DLOAD_PENDING) {
            answered(&asks[i], (1000 + i) * 10);
        }
        must(far[i].started, DLOAD_PENDING);
        answered(&far[i], (2000 + i) * 10);
    }
    equal(n_in_loop_runs, 0);
    equal(net.n_bad, 0);
    close_pool();
}

#else

static dload_status fetch_by_pool_unlocked(tl_batch *b)
{
    return tl_uv_work(&world.u, b, net_answer);
}

/* Without a lock no other thread may answer. */
static void test_work_needs_a_lock(void **state)
{
    struct world *x = *state;
    x->cfg.fetch = fetch_by_pool_unlocked;
    open_world(x);
    ask(x, &asks[0], 1);
    run(x);
    request_must_fail(&asks[0].req, DLOAD_EINVAL);
}

#endif

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

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
        CASE(test_close_idle),
        CASE(test_close_fails_what_waits),
        CASE(test_close_drains),
        CASE(test_drain_has_a_deadline),
        CASE(test_close_in_callback),
        CASE(test_close_in_fetch),
        CASE(test_refusals),
        CASE(test_a_thousand_requests),
#if LOCKED
        CASE(test_answers_from_a_thread),
        CASE(test_close_waits_for_the_thread),
        CASE(test_drain_waits_for_the_thread),
        CASE(test_work),
        CASE(test_work_fails_well),
        CASE(test_close_spares_work),
        CASE(test_loads_from_threads),
#else
        CASE(test_work_needs_a_lock),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
