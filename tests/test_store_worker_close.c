/* A store behind threads: many requests at once, and its end. */
/* tsan */
#include "test_worker.h"

struct storm {
    struct fixture *t;
    uint32_t n_pending, n_done, n_full, n_other; /* atomic */
    uint32_t n_late, n_ok, n_closed;
    struct asked all[8][200];
};

static struct storm storm;

static void count_end(struct asked *a)
{
    uint32_t *n = a->status == DLOAD_OK          ? &storm.n_ok
                  : a->status == DLOAD_ETIMEDOUT ? &storm.n_late
                  : a->status == DLOAD_ECLOSED   ? &storm.n_closed
                                                 : &storm.n_other;
    (void)__atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
    dload_store_release(&a->op);
    (void)__atomic_add_fetch(&storm.n_done, 1, __ATOMIC_RELEASE);
}

static void one_of_a_storm(void *ctx, size_t me)
{
    uint64_t seed = me + 1;
    (void)ctx;
    for (size_t i = 0; i < COUNT(storm.all[0]); i++) {
        struct asked *a = &storm.all[me][i];
        a->then = count_end;
        dload_status st = ask(storm.t, a, rng_below(&seed, 2) ? DLOAD_STORE_GET : DLOAD_STORE_SET,
                              rng_below(&seed, 3) == 0 ? 1 + rng_below(&seed, 200000) : 0);
        uint32_t *n = st == DLOAD_PENDING                         ? &storm.n_pending
                      : st == DLOAD_EAGAIN || st == DLOAD_ECLOSED ? &storm.n_full
                                                                  : &storm.n_other;
        (void)__atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
        if (rng_below(&seed, 8) == 0)
            sched_yield();
    }
}

static void *close_in_between(void *ctx)
{
    /* While the machine is busy the queue is full nearly all the time: those who are refused count, too. */
    while (__atomic_load_n(&storm.n_pending, __ATOMIC_RELAXED) +
               __atomic_load_n(&storm.n_full, __ATOMIC_RELAXED) <
           50)
        sched_yield();
    return (void *)(intptr_t)dload_worker_close(&storm.t->w, *(dload_close_mode *)ctx);
}

/* Each request ends once, and by whom it is ended does not matter. */
static void storm_with(struct fixture *t, dload_close_mode mode)
{
    pthread_t closer;
    void *closed = NULL;
    memset(&storm, 0, sizeof storm);
    storm.t = t;
    if (mode != 0)
        assert_int_equal(pthread_create(&closer, NULL, close_in_between, &mode), 0);
    run_threads(8, one_of_a_storm, NULL);
    if (mode != 0) {
        assert_int_equal(pthread_join(closer, &closed), 0);
        equal((intptr_t)closed, DLOAD_OK);
        equal(__atomic_load_n(&storm.n_done, __ATOMIC_ACQUIRE), storm.n_pending);
    }
    uint64_t start_ns = real_ns();
    while (__atomic_load_n(&storm.n_done, __ATOMIC_ACQUIRE) != storm.n_pending) {
        assert_true(real_ns() - start_ns < 60 * DLOAD_SECOND);
        sleep_ms(1);
    }
    equal(storm.n_other, 0);
    equal(storm.n_pending + storm.n_full, 8 * COUNT(storm.all[0]));
    equal(storm.n_ok + storm.n_late + storm.n_closed, storm.n_pending);
    assert_true(mode == DLOAD_FAIL || storm.n_closed == 0);
    for (size_t i = 0; i < 8; i++) {
        for (size_t k = 0; k < COUNT(storm.all[0]); k++)
            assert_true(__atomic_load_n(&storm.all[i][k].n_done, __ATOMIC_RELAXED) <= 1);
    }
}

static void test_each_ends_once(void **state)
{
    struct fixture *t = *state;
    storm_with(t, (dload_close_mode)0);
    assert_true(storm.n_ok != 0);
}

static void test_each_ends_once_drained(void **state)
{
    storm_with(*state, DLOAD_DRAIN);
}

static void test_each_ends_once_failed(void **state)
{
    storm_with(*state, DLOAD_FAIL);
}

/* ---- the end ---- */

static void close_inside(struct asked *a)
{
    a->order = dload_worker_close(&a->t->w, DLOAD_DRAIN) == DLOAD_EBUSY ? 2000 : 1;
}

static void *close_later(void *ctx)
{
    struct fixture *t = ctx;
    return (void *)(intptr_t)dload_worker_close(&t->w, DLOAD_FAIL);
}

static void test_close(void **state)
{
    struct fixture *t = *state;
    static struct asked inside, running, queued, later;
    pthread_t closer;
    void *closed = NULL;
    inside.then = close_inside;
    must(ask(t, &inside, DLOAD_STORE_SET, 0), DLOAD_PENDING);
    await(&inside);
    equal(inside.order, 2000);
    must(dload_worker_close(&t->w, (dload_close_mode)7), DLOAD_EINVAL);
    scripted_set(&t->s.shuts, GETS);
    must(ask(t, &running, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    scripted_await(&t->s, 1);
    must(ask(t, &queued, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    assert_int_equal(pthread_create(&closer, NULL, close_later, t), 0);
    await(&queued);
    must(queued.status, DLOAD_ECLOSED);
    assert_false(is_done(&running)); /* it is waited for */
    must(dload_worker_close(&t->w, DLOAD_DRAIN), DLOAD_EBUSY);
    must(ask(t, &later, DLOAD_STORE_GET, 0), DLOAD_ECLOSED);
    scripted_set(&t->s.shuts, 0);
    assert_int_equal(pthread_join(closer, &closed), 0);
    equal((intptr_t)closed, DLOAD_OK);
    await(&running);
    must_ok(running.status);
    must_ok(running.item.status);
    assert_true(store_holds(&running.item, STR("v")));
    dload_store_release(&running.op);
    must_ok(dload_worker_close(&t->w, DLOAD_FAIL)); /* twice is harmless */
    t->x.async = false;
    dload_store_item item = store_item(STR("k"));
    must(store_one(&t->x, DLOAD_STORE_GET, &item), DLOAD_ECLOSED);
    t->x.async = true;
    must(store_one(&t->x, DLOAD_STORE_GET, &item), DLOAD_ECLOSED);
    equal(t->w.store.n_failed, 0);
}

static void test_drain(void **state)
{
    struct fixture *t = *state;
    static struct asked a[4];
    pthread_t closer;
    void *closed = NULL;
    dload_close_mode mode = DLOAD_DRAIN;
    memset(&storm, 0, sizeof storm);
    storm.t = t;
    storm.n_pending = 50; /* close at once */
    scripted_set(&t->s.shuts, SETS);
    for (size_t i = 0; i < 4; i++) {
        must(ask(t, &a[i], DLOAD_STORE_SET, 0), DLOAD_PENDING);
        if (i == 0)
            scripted_await(&t->s, 1);
    }
    assert_int_equal(pthread_create(&closer, NULL, close_in_between, &mode), 0);
    while (ask(t, &(struct asked){0}, DLOAD_STORE_CLEAR, 0) != DLOAD_ECLOSED)
        sleep_ms(1); /* full until then */
    scripted_set(&t->s.shuts, 0);
    assert_int_equal(pthread_join(closer, &closed), 0);
    equal((intptr_t)closed, DLOAD_OK);
    for (size_t i = 0; i < 4; i++) {
        equal(a[i].n_done, 1);
        must_ok(a[i].status);
    }
}

#define OWN(body) cmocka_unit_test_setup_teardown(body, open_narrow, close_worker)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWN(test_each_ends_once),
        OWN(test_each_ends_once_drained),
        OWN(test_each_ends_once_failed),
        OWN(test_close),
        OWN(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
