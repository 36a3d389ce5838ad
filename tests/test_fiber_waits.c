/* Fibers that wait: answers from elsewhere and from other threads, deadlines, loops of one's own. */
/* locks: NONE SPIN PTHREAD */
#include "test_fiber.h"

/* ---- answers from elsewhere, deadlines ---- */

static void pump_finish(void *ctx)
{
    struct fibers *y = ctx;
    y->x.f.now_ns += DLOAD_MILLISECOND;
    if (y->x.r.n_pending) {
        rec_finish(&y->x.r);
    }
}

static void test_fiber_pump(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    struct chain c;
    struct root roots[N_ROOTS];
    y->x.f.pump = pump_finish;
    y->x.f.pump_ctx = y;
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 3);
    spawn_all(y, t, 3);
    chain_open(&c, y); /* others that do not wait that long */
    for (size_t i = 0; i < N_ROOTS; i++) {
        roots[i] = (struct root){&c, i};
        must_ok(dload_fiber_spawn(&y->s, follow, &roots[i]));
    }
    must_ok(dload_fiber_run(&y->s));
    text_must(&y->x.r.calls, "B(0,1,2)");
    equal(y->x.f.n_waits, 1); /* of the env, with every task parked */
    equal(c.n_ended, N_ROOTS);
    for (size_t i = 0; i < 3; i++) {
        must_ok(t[i].status);
        equal(t[i].value, i * 10);
    }
    chain_close(&c);
    free(t);
}

/* Keys of one pending batch are answered one by one, the last first; each wakes its task at once. */
static void pump_one_key(void *ctx)
{
    struct fibers *y = ctx;
    tl_batch *b = y->x.r.pending[0];
    static size_t left;
    if (y->x.r.n_calls == 1 && left == 0) {
        left = b->n;
    }
    y->x.f.now_ns += DLOAD_SECOND;
    rec_give(&y->x.r, b, --left);
    if (left == 0) {
        must_ok(tl_batch_done(rec_take(&y->x.r, 0), DLOAD_OK));
    }
}

static void test_fiber_one_by_one(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    y->x.f.pump = pump_one_key;
    y->x.f.pump_ctx = y;
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 5);
    spawn_all(y, t, 5);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < 5; i++) {
        must_ok(t[i].status);
        equal(t[i].ended_ns, (6 - i) * DLOAD_SECOND); /* 4 after a second, 3 after two ... */
    }
    free(t);
}

/* Nobody answers: every task leaves at its own deadline, and no sleep was longer than to the next. */
static void test_fiber_deadlines(void **state)
{
    struct fibers *y = *state;
    y->x.cfg.run_limit_ns = DLOAD_NEVER;
    y->x.cfg.timeout_ns = 7 * DLOAD_SECOND;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 4);
    const uint64_t want_s[] = {4, 2, 8, 3}; /* the clock begins at 1 s */
    for (size_t i = 0; i < 4; i++) {
        t[i].deadline_ns = want_s[i] == 8 ? 0 : want_s[i] * DLOAD_SECOND;
    }
    spawn_all(y, t, 4);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < 4; i++) {
        must(t[i].status, DLOAD_ETIMEDOUT);
        equal(t[i].ended_ns, want_s[i] * DLOAD_SECOND);
    }
    assert_true(y->x.f.n_waits <= 5);
    assert_true(tl_batch_cancelled(y->x.r.pending[0])); /* rule 55 */
    free(t);
}

static void test_fiber_run_limit(void **state)
{
    struct fibers *y = *state;
    y->x.cfg.run_limit_ns = DLOAD_SECOND;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 2);
    spawn_all(y, t, 2);
    must_ok(dload_fiber_run(&y->s));
    must(t[0].status, DLOAD_ETIMEDOUT);
    must(t[1].status, DLOAD_ETIMEDOUT);
    equal(stats_of(&y->x).abandoned, 1);
    assert_true(t[0].ended_ns <= 2 * DLOAD_SECOND + DLOAD_MILLISECOND);
    must_ok(tl_batch_done(rec_take(&y->x.r, 0), DLOAD_OK)); /* late: nobody is left */
    free(t);
}

/* A loader that is in no registry is never dispatched: its loads end at their deadline. */
static void test_fiber_not_registered(void **state)
{
    struct fibers *y = *state;
    must_ok(dload_fiber_init(&y->s, &y->cfg));
    y->x.cfg.env = dload_fiber_env(&y->s);
    y->x.cfg.timeout_ns = 50 * DLOAD_MILLISECOND;
    fixture_open(&y->x);
    struct task *t = tasks_make(y, 2);
    spawn_all(y, t, 2);
    must_ok(dload_fiber_run(&y->s));
    must(t[0].status, DLOAD_ETIMEDOUT);
    must(t[1].status, DLOAD_ETIMEDOUT);
    assert_true(y->x.f.n_waits < 200);
    equal(y->x.r.n_calls, 0);
    free(t);
}

static dload_status wait_fails(void *ctx, const uint32_t *word, uint32_t seen, uint64_t until_ns)
{
    (void)ctx;
    (void)word;
    (void)seen;
    (void)until_ns;
    return DLOAD_EAGAIN;
}

static void test_fiber_wait_error(void **state)
{
    struct fibers *y = *state;
    y->x.f.env.wait = wait_fails;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 3);
    spawn_all(y, t, 3);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < 3; i++) {
        must(t[i].status, DLOAD_EAGAIN);
    }
    free(t);
}

/* ---- a loop of one's own ---- */

static void test_fiber_poll(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 2);
    t[0].deadline_ns = 2 * DLOAD_SECOND;
    equal(dload_fiber_next_deadline(&y->s), DLOAD_NEVER);
    spawn_all(y, t, 2);
    equal(dload_fiber_next_deadline(&y->s), 0);
    must(dload_fiber_poll(&y->s), DLOAD_EAGAIN);
    must(dload_fiber_poll(&y->s), DLOAD_EAGAIN);
    equal(y->x.f.n_waits, 0);
    assert_true(dload_fiber_next_deadline(&y->s) <= 2 * DLOAD_SECOND);
    y->x.f.now_ns = 2 * DLOAD_SECOND;
    must(dload_fiber_poll(&y->s), DLOAD_EAGAIN);
    must(t[0].status, DLOAD_ETIMEDOUT);
    equal(t[1].n_ended, 0);
    rec_finish(&y->x.r);
    equal(dload_fiber_next_deadline(&y->s), 0);
    must_ok(dload_fiber_poll(&y->s));
    equal(t[1].value, 10);
    free(t);
}

struct yielder {
    struct fibers *y;
    bool *done;
    size_t n_turns;
};

static void yield_until_done(void *arg)
{
    struct yielder *w = arg;
    while (!*w->done) {
        w->n_turns++;
        dload_fiber_yield(&w->y->s);
    }
}

static void load_and_say(void *arg)
{
    struct yielder *w = arg;
    uint64_t out;
    must_ok(tl_load(&w->y->x.l, 1, &out));
    *w->done = true;
}

/* Who yields does not keep the batches of the others from going. */
static void test_fiber_yield(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    bool done = false;
    struct yielder a = {y, &done, 0};
    must_ok(dload_fiber_spawn(&y->s, yield_until_done, &a));
    must_ok(dload_fiber_spawn(&y->s, load_and_say, &a));
    must_ok(dload_fiber_run(&y->s));
    assert_true(done);
    assert_true(a.n_turns >= 1 && a.n_turns <= 3);
}

/* ---- other threads ---- */

#if TEST_LOCK != DLOAD_LOCK_NONE
/* The host's clock and sleep. One thread answers what is pending, others load the same keys. */
struct helper {
    struct fibers *y;
    pthread_mutex_t mutex;
    tl_batch *batch[64];
    size_t n_batches;
    size_t n_through; /* threads that have loaded everything */
};

static dload_status fetch_later(tl_batch *b)
{
    struct helper *h = b->ctx;
    (void)pthread_mutex_lock(&h->mutex);
    assert_true(h->n_batches < COUNT(h->batch));
    h->batch[h->n_batches++] = b;
    (void)pthread_mutex_unlock(&h->mutex);
    return DLOAD_PENDING;
}

static void answer_some(struct helper *h)
{
    (void)pthread_mutex_lock(&h->mutex);
    tl_batch *b = h->n_batches != 0 ? h->batch[--h->n_batches] : NULL;
    (void)pthread_mutex_unlock(&h->mutex);
    if (b == NULL) {
        sleep_ms(1);
        return;
    }
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        (void)tl_batch_set(b, i, &value);
    }
    must_ok(tl_batch_done(b, DLOAD_OK));
}

struct loads {
    struct helper *h;
    uint64_t first;
    size_t n;
};

static void load_row(void *arg)
{
    struct loads *w = arg;
    for (uint64_t i = 0; i < w->n; i++) {
        uint64_t out = 0;
        must_ok(tl_load(&w->h->y->x.l, w->first + i, &out));
        equal(out, (w->first + i) * 10);
    }
}

enum { N_TASKS = 20 };

static void part(void *ctx, size_t i)
{
    struct helper *h = ctx;
    struct loads w[N_TASKS];
    if (i == 0) {
        for (size_t k = 0; k < N_TASKS; k++) {
            w[k] = (struct loads){h, k * 3, scaled(20)};
            must_ok(dload_fiber_spawn(&h->y->s, load_row, &w[k]));
        }
        must_ok(dload_fiber_run(&h->y->s));
    } else if (i == 1) {
        while (__atomic_load_n(&h->n_through, __ATOMIC_ACQUIRE) < 3) {
            answer_some(h);
        }
        return;
    } else {
        w[0] = (struct loads){h, i, scaled(20)};
        load_row(&w[0]); /* a thread among tasks waits as threads do */
    }
    __atomic_add_fetch(&h->n_through, 1, __ATOMIC_RELEASE);
}

static void test_fiber_threads(void **state)
{
    struct fibers *y = *state;
    struct helper h = {.y = y};
    assert_int_equal(pthread_mutex_init(&h.mutex, NULL), 0);
    fake_env_init_real(&y->x.f);
    y->x.cfg.fetch = fetch_later;
    y->x.cfg.ctx = &h;
    y->x.cfg.capacity = 16; /* so that keys are fetched again and again */
    fibers_open(y);
    run_threads(4, part, &h);
    while (h.n_batches != 0) {
        answer_some(&h);
    }
    (void)pthread_mutex_destroy(&h.mutex);
}

static void poke_later(void *ctx, size_t i)
{
    struct fibers *y = ctx;
    struct task t = {.y = y, .key = 1};
    if (i == 0) {
        must_ok(dload_fiber_spawn(&y->s, load_one, &t));
        must_ok(dload_fiber_run(&y->s));
        must_ok(t.status);
        return;
    }
    while (__atomic_load_n(&y->x.r.n_pending, __ATOMIC_ACQUIRE) == 0) {
        sleep_ms(1);
    }
    for (size_t k = 0; k < 20; k++) {
        dload_fiber_poke(&y->s);
    }
    sleep_ms(5);
    rec_finish(&y->x.r);
}

static dload_status fetch_pending(tl_batch *b)
{
    struct recorder *r = b->ctx;
    r->pending[0] = b;
    __atomic_store_n(&r->n_pending, 1, __ATOMIC_RELEASE);
    return DLOAD_PENDING;
}

/* Sleeping ends when another thread answers, long before the 30 s of the deadline. */
static void test_fiber_poke(void **state)
{
    struct fibers *y = *state;
    fake_env_init_real(&y->x.f);
    y->x.cfg.fetch = fetch_pending;
    fibers_open(y);
    uint64_t began_ns = real_ns();
    run_threads(2, poke_later, y);
    assert_true(real_ns() - began_ns < 10 * DLOAD_SECOND);
}
#endif

/* Deadlines by the real clock, without anybody to wait with. */
static void test_fiber_real_deadline(void **state)
{
    struct fibers *y = *state;
    fake_env_init_real(&y->x.f);
    y->x.cfg.timeout_ns = 30 * DLOAD_MILLISECOND;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 2);
    spawn_all(y, t, 2);
    uint64_t began_ns = real_ns();
    must_ok(dload_fiber_run(&y->s));
    uint64_t took_ns = real_ns() - began_ns;
    must(t[0].status, DLOAD_ETIMEDOUT);
    must(t[1].status, DLOAD_ETIMEDOUT);
    assert_true(took_ns >= 30 * DLOAD_MILLISECOND && took_ns < 2 * DLOAD_SECOND);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIBERS(test_fiber_pump),
        FIBERS(test_fiber_one_by_one),
        FIBERS(test_fiber_deadlines),
        FIBERS(test_fiber_run_limit),
        FIBERS(test_fiber_not_registered),
        FIBERS(test_fiber_wait_error),
        FIBERS(test_fiber_poll),
        FIBERS(test_fiber_yield),
#if TEST_LOCK != DLOAD_LOCK_NONE
        FIBERS(test_fiber_threads),
        FIBERS(test_fiber_poke),
#endif
        FIBERS(test_fiber_real_deadline),
    };
    return cmocka_run_group_tests_name("fiber waits " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
