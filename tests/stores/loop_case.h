/* What the suites of stores in event loops share: requests with done, counted; a libuv loop in a thread of its own; and a loop
 * of three functions and poll.
 *
 * Include it after support.h and the store's own loop.h.
 */
#ifndef DLOAD_TESTS_LOOP_CASE_H
#define DLOAD_TESTS_LOOP_CASE_H

#include <poll.h>
#include <stdio.h>
#include <string.h>

/* ---- requests of one key, which is its own value ---- */

enum { LOOP_ASKS = 300 };

static struct loop_ask {
    dload_store_op op;
    dload_store_item item;
    char key[16];
    dload_status st;
    bool done;
} asks[LOOP_ASKS];

static size_t n_done;

__attribute__((__unused__)) static void asked(dload_store_op *op, dload_status st)
{
    struct loop_ask *a = op->ctx;
    assert_false(a->done);
    a->done = true;
    a->st = st;
    n_done++;
}

/* Asks for key number i as request number i. */
__attribute__((__unused__)) static dload_status loop_ask(dload_store *s, size_t i,
                                                         dload_store_kind kind, uint64_t timeout_ns)
{
    struct loop_ask *a = &asks[i];
    memset(a, 0, sizeof *a);
    a->item.key = a->key;
    a->item.key_bytes = (size_t)snprintf(a->key, sizeof a->key, "k%zu", i);
    a->item.ttl_ns = DLOAD_NEVER;
    a->item.lease[0] = i + 1;
    if (kind == DLOAD_STORE_SET || kind == DLOAD_STORE_FILL) {
        a->item.value = a->key;
        a->item.value_bytes = a->item.key_bytes;
    }
    a->op.kind = kind;
    a->op.items = &a->item;
    a->op.n = 1;
    a->op.timeout_ns = timeout_ns;
    a->op.done = asked;
    a->op.ctx = a;
    return dload_store_run(s, &a->op);
}

/* A GET that found its own value; it is released. */
__attribute__((__unused__)) static void must_be_found(struct loop_ask *a)
{
    must_ok(a->st);
    must_ok(a->item.status);
    equal(a->item.value_bytes, a->item.key_bytes);
    assert_memory_equal(a->item.value, a->key, a->item.key_bytes);
    dload_store_release(&a->op);
}

/* ---- a loop of three functions and poll ---- */

enum { MINI_SLOTS = 4 };

static struct mini_loop {
    struct pollfd p[MINI_SLOTS];
    uint64_t at_ns;
    bool woken;
    size_t n_turns;
} mini;

__attribute__((__unused__)) static void mini_watch(void *ctx, uint32_t slot, int fd, int events)
{
    struct mini_loop *m = ctx;
    assert_true(slot < MINI_SLOTS);
    assert_true(fd >= 0);
    if (events == 0)
        assert_true(m->p[slot].fd == fd); /* of what it was told before */
    m->p[slot].fd = events != 0 ? fd : -1;
    m->p[slot].events = (short)events;
}

__attribute__((__unused__)) static void mini_timer(void *ctx, uint64_t at_ns)
{
    struct mini_loop *m = ctx;
    m->at_ns = at_ns;
}

__attribute__((__unused__)) static void mini_wake(void *ctx)
{
    struct mini_loop *m = ctx;
    m->woken = true; /* one thread */
}

__attribute__((__unused__)) static void mini_start(void)
{
    memset(&mini, 0, sizeof mini);
    mini.at_ns = DLOAD_NEVER;
    for (size_t i = 0; i < MINI_SLOTS; i++)
        mini.p[i].fd = -1;
}

/* One turn; the store's _process is to be called then. Only what a hook asked for wakes it: it must not wait for ever. */
__attribute__((__unused__)) static void mini_turn(void)
{
    const uint64_t now_ns = dload_i_clock_precise(NULL);
    const uint64_t ms = mini.at_ns == DLOAD_NEVER ? 10000
                        : mini.at_ns > now_ns     ? (mini.at_ns - now_ns) / DLOAD_MILLISECOND + 1
                                                  : 0;
    int n = poll(mini.p, MINI_SLOTS, mini.woken ? 0 : (int)ms);
    assert_true(n > 0 || mini.woken || mini.at_ns != DLOAD_NEVER);
    mini.woken = false;
    mini.n_turns++;
    if (mini.at_ns <= dload_i_clock_precise(NULL))
        mini.at_ns = DLOAD_NEVER; /* it fires once */
}

/* The store has let go of everything. */
__attribute__((__unused__)) static void mini_must_be_free(void)
{
    for (size_t i = 0; i < MINI_SLOTS; i++)
        equal(mini.p[i].fd, -1);
    equal(mini.at_ns, DLOAD_NEVER);
}

/* ---- a libuv loop in a thread of its own ---- */

#ifdef UV_VERSION_MAJOR
static struct {
    pthread_t thread;
    pthread_barrier_t started;
    uv_loop_t *loop;
    bool (*start)(void *cfg); /* makes the store in the loop */
    void (*stop)(void);       /* closes it, and the loop */
    void *cfg;
    uv_async_t over;
    bool failed;
} apart;

static void apart_on_over(uv_async_t *over)
{
    uv_close((uv_handle_t *)over, NULL);
}

static void *apart_run(void *ctx)
{
    (void)ctx;
    apart.failed =
        !apart.start(apart.cfg) || uv_async_init(apart.loop, &apart.over, apart_on_over) != 0;
    (void)pthread_barrier_wait(&apart.started);
    if (apart.failed)
        return NULL;
    (void)uv_run(apart.loop, UV_RUN_DEFAULT); /* until it is told to stop */
    apart.stop();
    return NULL;
}

__attribute__((__unused__)) static void apart_up(uv_loop_t *loop, bool (*start)(void *cfg),
                                                 void (*stop)(void), void *cfg)
{
    apart.loop = loop;
    apart.start = start;
    apart.stop = stop;
    apart.cfg = cfg;
    (void)pthread_barrier_init(&apart.started, NULL, 2);
    equal(pthread_create(&apart.thread, NULL, apart_run, NULL), 0);
    (void)pthread_barrier_wait(&apart.started);
    assert_false(apart.failed);
}

__attribute__((__unused__)) static void apart_down(void)
{
    (void)uv_async_send(&apart.over);
    (void)pthread_join(apart.thread, NULL);
    (void)pthread_barrier_destroy(&apart.started);
}
#endif

#endif /* DLOAD_TESTS_LOOP_CASE_H */
