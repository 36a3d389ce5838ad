/* The bound of the queue with one caller: more keys than there is room for, callbacks in the way, answers
 * that come later. */
/* locks: NONE SPIN PTHREAD */
#include "test_loader.h"

#define LOCKED (TEST_LOCK != DLOAD_LOCK_NONE)

enum { N_MANY = 60 };

/* ---- load_many ---- */

static void load_all(struct fixture *x, size_t max_queue, size_t max_batch, bool queue_wait)
{
    uint64_t keys[N_MANY], out[N_MANY];
    dload_status st[N_MANY];
    x->cfg.max_queue = max_queue;
    x->cfg.max_batch = max_batch;
    x->cfg.queue_wait = queue_wait;
    fixture_open(x);
    for (uint64_t i = 0; i < N_MANY; i++) {
        keys[i] = i * 7 % 40; /* a third of them twice */
        out[i] = 0;
    }
    must_ok(tl_load_many(&x->l, keys, N_MANY, out, st));
    for (size_t i = 0; i < N_MANY; i++) {
        must_ok(st[i]);
        equal(out[i], keys[i] * 10);
    }
    equal(x->r.n_keys, 40);
    size_t most = max_queue < max_batch ? max_queue : max_batch;
    assert_true(stats_of(x).largest_batch <= most);
    equal(x->r.n_calls, (40 + most - 1) / most);
    fixture_close(x);
    memset(&x->r, 0, sizeof x->r);
}

static void test_room_alone_load_many(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 4, 7, 39, 40, 100};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        load_all(*state, sizes[i], 100, false);
        load_all(*state, sizes[i], 100, true);
        load_all(*state, sizes[i], 1, true);
    }
}

/* ---- answers that come later ---- */

static void pump_finish(void *ctx)
{
    struct fixture *x = ctx;
    x->f.now_ns += DLOAD_MILLISECOND;
    if (x->r.n_pending) {
        rec_finish(&x->r);
    }
}

static void test_room_alone_pending(void **state)
{
    struct fixture *x = *state;
    struct request r[3] = {{.n_done = 0}};
    x->cfg.max_queue = 2;
    x->cfg.queue_wait = true;
    x->r.result = DLOAD_PENDING;
    fixture_open(x);
    x->f.pump = pump_finish;
    x->f.pump_ctx = x;
    must(request_start(x, &r[0], 1), DLOAD_PENDING);
    must(request_start(x, &r[1], 2), DLOAD_PENDING);
    equal(dispatch(x), 2);
    must(request_start(x, &r[2], 3), DLOAD_EAGAIN);
    load_must(x, 3, 30);
    request_must(&r[0], 10);
    request_must(&r[1], 20);
    text_must(&x->r.calls, "B(1,2) B(3)");
}

/* Nobody answers: the call leaves at its deadline, or, with nothing to wait by, at once. */
static void test_room_alone_nobody_answers(void **state)
{
    struct fixture *x = *state;
    struct request r = {.n_done = 0};
    uint64_t out = 0, key = 3;
    dload_status st = DLOAD_OK;
    x->cfg.max_queue = 1;
    x->cfg.queue_wait = true;
    x->cfg.timeout_ns = 5 * DLOAD_SECOND;
    x->r.result = DLOAD_PENDING;
    fixture_open(x);
    must(request_start(x, &r, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    uint64_t begin_ns = x->f.now_ns;
    must(tl_load(&x->l, 3, &out), DLOAD_ETIMEDOUT);
    equal(x->f.now_ns - begin_ns, 5 * DLOAD_SECOND);
    must(tl_load_many(&x->l, &key, 1, &out, &st), DLOAD_ETIMEDOUT);
    must(st, DLOAD_ETIMEDOUT);
    if (!LOCKED) {
        x->f.env.wait = NULL;
        must(tl_load(&x->l, 3, &out), DLOAD_EAGAIN);
        must(tl_load_many(&x->l, &key, 1, &out, &st), DLOAD_EAGAIN);
        must(st, DLOAD_EAGAIN);
    }
    equal(r.n_done, 0);
    x->r.result = DLOAD_OK;
    rec_finish(&x->r);
    load_must(x, 3, 30);
    text_must(&x->r.calls, "B(1) B(3)");
}

/* ---- callbacks in the way ---- */

static void pump_dispatch(void *ctx)
{
    struct fixture *x = ctx;
    x->f.now_ns += DLOAD_MILLISECOND;
    must_ok(tl_dispatch(&x->l, NULL));
}

/* Without a lock who waits for room sends what is queued; among threads whoever started it does. */
static void test_room_alone_behind_callbacks(void **state)
{
    struct fixture *x = *state;
    struct request r[2] = {{.n_done = 0}};
    x->cfg.max_queue = 2;
    x->cfg.queue_wait = true;
    fixture_open(x);
    x->f.pump = pump_dispatch;
    x->f.pump_ctx = x;
    must(request_start(x, &r[0], 1), DLOAD_PENDING);
    must(request_start(x, &r[1], 2), DLOAD_PENDING);
    load_must(x, 3, 30);
    request_must(&r[0], 10);
    request_must(&r[1], 20);
    text_must(&x->r.calls, "B(1,2) B(3)");
    equal(x->f.n_waits, LOCKED ? 1 : 0);
}

static void test_room_alone_refused(void **state)
{
    struct fixture *x = *state;
    struct request r[2] = {{.n_done = 0}};
    uint64_t out = 0;
    x->cfg.max_queue = 2;
    fixture_open(x);
    must(request_start(x, &r[0], 1), DLOAD_PENDING);
    must(request_start(x, &r[1], 2), DLOAD_PENDING);
    must(tl_load(&x->l, 3, &out), DLOAD_EAGAIN);
    must_ok(tl_cancel(&x->l, &r[0].w));
    load_must(x, 3, 30);
    equal(dispatch(x), 0); /* 2 went along */
    request_must(&r[1], 20);
    text_clear(&x->r.calls);
}

#if !LOCKED
/* A callback that loads, from inside the sending that makes room. With a lock, that is another thread's. */
static void load_two_more(struct request *req)
{
    struct fixture *x = req->ctx;
    uint64_t out = 0;
    req->then = NULL;
    for (uint64_t key = 5; key < 7; key++) {
        must_ok(tl_load(&x->l, key, &out));
        equal(out, key * 10);
    }
}

static void test_room_alone_callback_loads(void **state)
{
    struct fixture *x = *state;
    struct request r[2] = {{.n_done = 0}};
    x->cfg.max_queue = 1;
    x->cfg.queue_wait = true;
    fixture_open(x);
    x->f.pump = pump_dispatch;
    x->f.pump_ctx = x;
    r[0].then = load_two_more;
    r[0].ctx = x;
    must(request_start(x, &r[0], 1), DLOAD_PENDING);
    load_must(x, 3, 30);
    request_must(&r[0], 10);
    text_must(&x->r.calls, "B(1) B(5) B(6) B(3)");
}
#endif

/* The fetch function may ask for as many keys as it likes, as long as its own leave room. */
static void load_inside(struct recorder *r, tl_batch *b)
{
    uint64_t keys[] = {11, 12, 13, 14, 11}, out[5];
    dload_status st[5];
    r->act = NULL;
    must_ok(tl_load_many(b->owner, keys, 5, out, st));
    for (size_t i = 0; i < 5; i++) {
        equal(out[i], keys[i] * 10);
    }
}

static void test_room_alone_inside(void **state)
{
    struct fixture *x = *state;
    x->cfg.max_queue = 2;
    x->cfg.queue_wait = true;
    fixture_open(x);
    x->r.act = load_inside;
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1) B(11) B(12) B(13) B(14)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("more keys than there is room for", test_room_alone_load_many),
        RULE("a batch that answers later", test_room_alone_pending),
        RULE("a batch that does not answer", test_room_alone_nobody_answers),
        RULE("callbacks fill the queue", test_room_alone_behind_callbacks),
        RULE("without queue_wait", test_room_alone_refused),
#if !LOCKED
        RULE("a callback loads", test_room_alone_callback_loads),
#endif
        RULE("a fetch function loads many", test_room_alone_inside),
    };
    return cmocka_run_group_tests_name("room, alone " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
