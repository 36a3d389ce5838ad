/* Loaders over a stack of stores, as programs build them: memory in front of threads in front of what all share. */
/* tsan */
#define DLOAD_STORE 1
#define DLOAD_NAME  values
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#include "dataloader.h"
#include "adapters/dataloader_memory.h"
#include "adapters/dataloader_tiered.h"
#include "adapters/dataloader_worker.h"
#include "support.h"

#include "stores/store_case.h"
#include "stores/scripted.h"

/* What stands for a process: a loader with an upper tier of its own. */
struct node {
    dload_memory upper;
    dload_worker worker;
    dload_tiered tiered;
    values l;
};

struct fixture {
    dload_memory shared;
    struct scripted lower; /* in front of it */
    struct node node[2];
    uint64_t version;   /* atomic: of the source */
    uint32_t n_fetched; /* atomic: keys */
    uint32_t n_wakes;   /* atomic */
};

static struct fixture fixture;

static dload_status fetch(values_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10 + __atomic_load_n(&fixture.version, __ATOMIC_ACQUIRE);
        must_ok(values_batch_set(b, i, &value));
        (void)__atomic_add_fetch(&fixture.n_fetched, 1, __ATOMIC_RELAXED);
    }
    return DLOAD_OK;
}

static void wake(void *ctx)
{
    struct fixture *t = ctx;
    (void)__atomic_add_fetch(&t->n_wakes, 1, __ATOMIC_RELEASE);
}

static void node_open(struct fixture *t, struct node *n, bool loop)
{
    dload_worker_config worker;
    dload_tiered_config tiered;
    values_config cfg = values_config_default();
    memset(&worker, 0, sizeof worker);
    memset(&tiered, 0, sizeof tiered);
    must_ok(dload_memory_init(&n->upper, NULL));
    worker.inner = &t->lower.store;
    worker.n_threads = 2;
    must_ok(dload_worker_init(&n->worker, &worker));
    tiered.upper = &n->upper.store;
    tiered.lower = &n->worker.store;
    must_ok(dload_tiered_init(&n->tiered, &tiered));
    cfg.fetch = fetch;
    cfg.store = &n->tiered.store;
    cfg.store_lease_ns = DLOAD_NEVER; /* it is GETs and SETs that are counted here */
    cfg.store_name = "values";
    cfg.wake = loop ? wake : NULL;
    cfg.wake_ctx = t;
    must_ok(values_init(&n->l, &cfg));
}

static void node_close(struct node *n)
{
    dload_status st = DLOAD_EBUSY;
    uint64_t start_ns = real_ns();
    must_ok(values_close(&n->l, DLOAD_DRAIN, 0));
    while (st == DLOAD_EBUSY) { /* what it writes is on its way */
        assert_true(real_ns() - start_ns < 60 * DLOAD_SECOND);
        must_ok(values_process(&n->l, values_now(&n->l)));
        st = values_destroy(&n->l);
        sleep_ms(st == DLOAD_EBUSY);
    }
    must_ok(st);
    dload_tiered_destroy(&n->tiered);
    must_ok(dload_worker_close(&n->worker, DLOAD_DRAIN));
    must_ok(dload_worker_destroy(&n->worker));
    dload_memory_destroy(&n->upper);
}

static int open_all(void **state, bool loop)
{
    memset(&fixture, 0, sizeof fixture);
    must_ok(dload_memory_init(&fixture.shared, NULL));
    scripted_init(&fixture.lower, &fixture.shared.store);
    for (size_t i = 0; i < 2; i++)
        node_open(&fixture, &fixture.node[i], loop);
    *state = &fixture;
    return 0;
}

static int open_threads(void **state)
{
    return open_all(state, false);
}

static int open_loops(void **state)
{
    return open_all(state, true);
}

static int close_all(void **state)
{
    struct fixture *t = *state;
    for (size_t i = 0; i < 2; i++)
        node_close(&t->node[i]);
    dload_memory_destroy(&t->shared);
    return 0;
}

static void loads(struct node *n, uint64_t key, uint64_t want)
{
    uint64_t got = 0;
    must_ok(values_load(&n->l, key, &got));
    equal(got, want);
}

/* What one fetched the other one finds, and then has near. */
static void test_found_by_the_other(void **state)
{
    struct fixture *t = *state;
    const uint64_t keys[] = {1, 2, 3, 4};
    uint64_t out[4];
    must_ok(values_load_many(&t->node[0].l, keys, 4, out, NULL));
    equal(t->n_fetched, 4);
    uint32_t n = t->lower.n_asked[DLOAD_STORE_GET];
    must_ok(values_load_many(&t->node[1].l, keys, 4, out, NULL));
    equal(out[3], 40);
    equal(t->n_fetched, 4);
    equal(t->lower.n_asked[DLOAD_STORE_GET], n + 1); /* one request for all of them */
    dload_tiered_stats s;
    dload_tiered_counters(&t->node[1].tiered, &s);
    equal(s.lower_hits, 4);
    equal(s.refills, 4);
    /* Its own clear goes to both tiers. */
    __atomic_store_n(&t->version, 1, __ATOMIC_RELEASE);
    must_ok(values_clear(&t->node[1].l, 2));
    loads(&t->node[1], 2, 21);
    equal(t->n_fetched, 5);
    /* The other one has the old value near until its time is over, or it is told. */
    dload_sink *sink = dload_tiered_sink(&t->node[0].tiered);
    must_ok(values_clear(&t->node[0].l, 777)); /* of another key: nothing */
    sink->up(sink->ctx);
    loads(&t->node[0], 3, 30);
    equal(t->n_fetched, 5);
}

/* Whatever fails below, the source answers. */
static void test_source_answers(void **state)
{
    struct fixture *t = *state;
    scripted_set(&t->lower.fails, ALL);
    for (uint64_t key = 0; key < 50; key++)
        loads(&t->node[0], key, key * 10);
    equal(t->n_fetched, 50);
    scripted_set(&t->lower.fails, 0);
    loads(&t->node[0], 1000, 10000);
}

struct crowd {
    struct fixture *t;
    uint32_t n_wrong;
};

static void one_of_a_crowd(void *ctx, size_t me)
{
    struct crowd *c = ctx;
    struct node *n = &c->t->node[me % 2];
    uint64_t seed = me;
    for (size_t i = 0; i < scaled(300); i++) {
        uint64_t key = rng_below(&seed, 40), got = 0;
        if (rng_below(&seed, 20) == 0 && values_clear(&n->l, key) != DLOAD_OK)
            (void)__atomic_add_fetch(&c->n_wrong, 1, __ATOMIC_RELAXED);
        if (values_load(&n->l, key, &got) != DLOAD_OK || got != key * 10)
            (void)__atomic_add_fetch(&c->n_wrong, 1, __ATOMIC_RELAXED);
    }
}

static void test_crowd(void **state)
{
    struct crowd c = {*state, 0};
    run_threads(8, one_of_a_crowd, &c);
    equal(c.n_wrong, 0);
}

/* ---- in a loop: nothing blocks ---- */

static uint32_t n_answers;

static void answered(values_waiter *w)
{
    must_ok(w->status);
    equal(w->value, *(const uint64_t *)w->ctx * 10);
    n_answers++;
}

/* Turns the loop until so many answers came; between turns it sleeps until it is woken, or a timer is due. */
static void turn_until(struct fixture *t, struct node *n, uint32_t n_wanted)
{
    uint64_t start_ns = real_ns();
    while (n_answers < n_wanted) {
        (void)__atomic_exchange_n(&t->n_wakes, 0, __ATOMIC_ACQUIRE);
        must_ok(values_process(&n->l, values_now(&n->l)));
        assert_true(real_ns() - start_ns < 60 * DLOAD_SECOND);
        if (n_answers < n_wanted && __atomic_load_n(&t->n_wakes, __ATOMIC_ACQUIRE) == 0 &&
            values_next_deadline(&n->l) > values_now(&n->l))
            sleep_ms(1);
    }
}

static void test_in_a_loop(void **state)
{
    struct fixture *t = *state;
    static values_waiter w[2][100];
    static uint64_t keys[100];
    for (size_t turn = 0; turn < 2; turn++) {
        n_answers = 0;
        scripted_set(&t->lower.shuts, GETS);
        for (uint64_t i = 0; i < 100; i++) {
            keys[i] = i;
            memset(&w[turn][i], 0, sizeof w[turn][i]);
            w[turn][i].done = answered;
            w[turn][i].ctx = &keys[i];
            must(values_start(&t->node[turn].l, i, &w[turn][i]), DLOAD_PENDING);
        }
        must_ok(
            values_dispatch(&t->node[turn].l, NULL)); /* comes back, though the store is stuck */
        scripted_await(&t->lower, 1);
        equal(n_answers, 0);
        scripted_set(&t->lower.shuts, 0);
        turn_until(t, &t->node[turn], 100);
        equal(t->n_fetched, 100); /* the second one had all of it from the first */
        /* The write-back is not waited for; the other one is to find all of it. */
        uint64_t start_ns = real_ns();
        dload_stats stats;
        must_ok(values_stats(&t->node[turn].l, &stats));
        while (turn == 0 && stats.store_writes < 100) {
            assert_true(real_ns() - start_ns < 60 * DLOAD_SECOND);
            sleep_ms(1);
            must_ok(values_process(&t->node[turn].l, values_now(&t->node[turn].l)));
            must_ok(values_stats(&t->node[turn].l, &stats));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_found_by_the_other, open_threads, close_all),
        cmocka_unit_test_setup_teardown(test_source_answers, open_threads, close_all),
        cmocka_unit_test_setup_teardown(test_crowd, open_threads, close_all),
        cmocka_unit_test_setup_teardown(test_in_a_loop, open_loops, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
