/* A loader in a libuv loop among other threads: a thousand requests through real sockets, answers from
 * threads and from libuv's pool, loads from elsewhere. To be run under the thread sanitizer, too. */
/* locks: NONE SPIN PTHREAD */
/* links: uv */
/* tsan */
#include "test_uv.h"

#include <stdlib.h>
#include <unistd.h>

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
    run_loop(x);
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
    run_loop(x);
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
    run_loop(x);
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
    run_loop(x);
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
    run_loop(x);
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
    run_loop(x);
    request_must_fail(&asks[0].req, DLOAD_EINVAL);
    ask(x, &asks[1], 2);
    x->f.fail_at = 0;
    while (uv_stats(x).batches == 1) {
        fake_env_arm(&x->f);
        x->f.fail_at = 1; /* the open batch is there: the next to allocate is the job */
        uv_run(&x->loop, UV_RUN_ONCE);
        fake_env_disarm(&x->f);
    }
    run_loop(x);
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
    run_loop(x);
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
    run_loop(x);
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
    run_loop(x);
    request_must_fail(&asks[0].req, DLOAD_EINVAL);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    return cmocka_run_group_tests_name("uv threads " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
