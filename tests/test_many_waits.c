/* A call for many keys while it waits: some are answered and some are not, some were asked for by others, and
 * some never leave. */
/* locks: NONE SPIN PTHREAD */
#include "test_loader.h"

#define N_KEYS 6

struct call {
    struct fixture *x;
    uint64_t out[N_KEYS];
    dload_status st[N_KEYS];
    struct request other[3]; /* requests of somebody else */
    size_t n_waits;
};

static struct call call;

static int setup(void **state)
{
    fixture_setup(state);
    memset(&call, 0, sizeof call);
    call.x = *state;
    for (size_t i = 0; i < N_KEYS; i++) {
        call.out[i] = 7;
        call.st[i] = DLOAD_EINVAL;
    }
    call.x->f.pump_ctx = &call;
    return 0;
}

#define WAITS(text, fn)                         \
    {                                           \
        text, fn, setup, fixture_teardown, NULL \
    }

static dload_status load_all(const uint64_t *keys, bool with_statuses)
{
    dload_call how = {.deadline_ns = call.x->f.now_ns + DLOAD_MILLISECOND};
    return tl_load_many_with(&call.x->l, keys, N_KEYS, &how, call.out,
                             with_statuses ? call.st : NULL);
}

static void answers_must(const uint64_t *out, const dload_status *st)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        equal(call.out[i], out[i]);
        must(call.st[i], st[i]);
    }
}

static void answer_key(struct recorder *r, uint64_t key)
{
    for (size_t i = 0; i < r->n_pending; i++) {
        for (size_t k = 0; k < r->pending[i]->n; k++) {
            if (r->pending[i]->keys[k] == key) {
                rec_give(r, r->pending[i], k);
                return;
            }
        }
    }
    fail_msg("key %" PRIu64 " was not sent", key);
}

static void answer_some(void *ctx)
{
    struct call *c = ctx;
    if (c->n_waits++ == 0) {
        answer_key(&c->x->r, 3);
        answer_key(&c->x->r, 5);
    } else {
        c->x->f.now_ns += DLOAD_SECOND;
    }
}

static void some_answered(bool with_statuses)
{
    struct fixture *x = call.x;
    x->cfg.max_batch = 3;
    x->r.result = DLOAD_PENDING;
    fixture_open(x);
    must_ok(tl_prime(&x->l, 1, &(uint64_t){11}, 0));
    must(request_start(x, &call.other[0], 2), DLOAD_PENDING);
    x->f.pump = answer_some;
    uint64_t keys[N_KEYS] = {1, 2, 3, 4, 3, 5};
    must(load_all(keys, with_statuses), DLOAD_ETIMEDOUT);
    text_must(&x->r.calls, "B(2,3,4) B(5)");
    x->f.pump = NULL;
}

/* Key 3, asked for twice, and 5 are answered before the deadline; 2, which somebody else had asked for, and 4
 * are not. */
static void test_waits_some_answered(void **state)
{
    (void)state;
    struct fixture *x = call.x;
    some_answered(true);
    answers_must(
        (uint64_t[]){11, 7, 30, 7, 30, 50},
        (dload_status[]){DLOAD_OK, DLOAD_ETIMEDOUT, DLOAD_OK, DLOAD_ETIMEDOUT, DLOAD_OK, DLOAD_OK});
    assert_false(tl_batch_cancelled(x->r.pending[0]));
    assert_true(tl_batch_cancelled(x->r.pending[1]));
    answer_key(&x->r, 2);
    request_must(&call.other[0], 20);
    assert_true(tl_batch_cancelled(x->r.pending[0]));
    answer_key(&x->r, 4);
    equal(call.out[3], 7); /* the call is over */
    must(call.st[3], DLOAD_ETIMEDOUT);
    must_ok(tl_batch_done(rec_take(&x->r, 0), DLOAD_OK));
    must_ok(tl_batch_done(rec_take(&x->r, 0), DLOAD_OK));
    load_must(x, 4, 40);
    text_must(&x->r.calls, "");
}

static void test_waits_without_statuses(void **state)
{
    (void)state;
    some_answered(false);
    for (size_t i = 0; i < N_KEYS; i++) {
        must(call.st[i], DLOAD_EINVAL);
    }
    equal(call.out[2], 30);
    equal(call.out[3], 7);
    equal(call.out[5], 50);
    must_ok(tl_batch_done(rec_take(&call.x->r, 0), DLOAD_OK));
    must_ok(tl_batch_done(rec_take(&call.x->r, 0), DLOAD_OK));
    request_must_fail(&call.other[0], DLOAD_MISSING);
}

/* The caller is parked, so that nothing is sent before somebody dispatches. */
static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

static void others_ask(void *ctx)
{
    struct call *c = ctx;
    if (c->n_waits++ == 0) {
        must(request_start(c->x, &c->other[0], 4), DLOAD_PENDING);
        must(request_start(c->x, &c->other[1], 8), DLOAD_PENDING);
        must(request_start(c->x, &c->other[2], 6), DLOAD_PENDING);
    } else {
        c->x->f.now_ns += DLOAD_SECOND;
    }
}

static void test_waits_unsent_keys_leave(void **state)
{
    (void)state;
    struct fixture *x = call.x;
    x->f.env.parks = always;
    x->cfg.max_batch = 4;
    fixture_open(x);
    x->f.pump = others_ask;
    uint64_t keys[N_KEYS] = {1, 2, 3, 4, 5, 6};
    must(load_all(keys, true), DLOAD_ETIMEDOUT);
    for (size_t i = 0; i < N_KEYS; i++) {
        must(call.st[i], DLOAD_ETIMEDOUT);
    }
    text_must(&x->r.calls, "");
    equal(dispatch(x), 3); /* what others want */
    text_must(&x->r.calls, "B(4) B(6,8)");
    request_must(&call.other[0], 40);
    request_must(&call.other[1], 80);
    request_must(&call.other[2], 60);
    equal(call.out[3], 7);
}

static void test_waits_nobody_else(void **state)
{
    (void)state;
    struct fixture *x = call.x;
    x->f.env.parks = always;
    x->cfg.max_batch = 4;
    x->cfg.max_queue = 6;
    fixture_open(x);
    uint64_t keys[N_KEYS] = {1, 2, 3, 4, 5, 6};
    must(load_all(keys, true), DLOAD_ETIMEDOUT);
    equal(dispatch(x), 0);
    text_must(&x->r.calls, "");
    must(request_start(x, &call.other[0], 5), DLOAD_PENDING); /* there is room again */
    equal(dispatch(x), 1);
    text_must(&x->r.calls, "B(5)");
    request_must(&call.other[0], 50);
}

static void another_comes_and_goes(void *ctx)
{
    struct call *c = ctx;
    must(request_start(c->x, &c->other[0], 4), DLOAD_PENDING);
    must_ok(tl_cancel(&c->x->l, &c->other[0].w));
    equal(dispatch(c->x), N_KEYS);
}

static void test_waits_another_comes_and_goes(void **state)
{
    (void)state;
    struct fixture *x = call.x;
    x->f.env.parks = always;
    fixture_open(x);
    x->f.pump = another_comes_and_goes;
    uint64_t keys[N_KEYS] = {1, 2, 3, 4, 5, 6};
    must_ok(load_all(keys, true));
    text_must(&x->r.calls, "B(1,2,3,4,5,6)");
    for (size_t i = 0; i < N_KEYS; i++) {
        must_ok(call.st[i]);
        equal(call.out[i], keys[i] * 10);
    }
}

/* Each answer goes to its own place, whatever the order of the keys in the batches. */
static void test_waits_places(void **state)
{
    (void)state;
    struct fixture *x = call.x;
    x->cfg.max_batch = 2;
    fixture_open(x);
    must_ok(tl_prime(&x->l, 3, &(uint64_t){33}, 0));
    rec_script(&x->r, 4, ANSWER_FAIL, 0, DLOAD_EUSER);
    rec_script(&x->r, 5, ANSWER_NOTHING, 0, DLOAD_OK);
    x->r.backwards = true;
    must(request_start(x, &call.other[0], 2), DLOAD_PENDING); /* its batch has one place left */
    uint64_t keys[N_KEYS] = {3, 4, 2, 5, 1, 4};
    must_ok(load_all(keys, true));
    answers_must(
        (uint64_t[]){33, 7, 20, 7, 10, 7},
        (dload_status[]){DLOAD_OK, DLOAD_EUSER, DLOAD_OK, DLOAD_MISSING, DLOAD_OK, DLOAD_EUSER});
    text_must(&x->r.calls, "B(2,4) B(5,1)");
    request_must(&call.other[0], 20);
}

/* Keys that come one after the other stop at every bound that there is. */
static void bounds(const char *calls)
{
    struct fixture *x = call.x;
    uint64_t keys[N_KEYS] = {1, 2, 3, 4, 5, 6};
    must_ok(load_all(keys, true));
    for (size_t i = 0; i < N_KEYS; i++) {
        must_ok(call.st[i]);
        equal(call.out[i], keys[i] * 10);
    }
    text_must(&x->r.calls, calls);
}

static void test_waits_bound_of_the_queue(void **state)
{
    (void)state;
    call.x->cfg.max_queue = 4;
    fixture_open(call.x);
    bounds("B(1,2,3,4) B(5,6)");
}

static void test_waits_bound_of_the_batch(void **state)
{
    (void)state;
    call.x->cfg.max_batch = 3;
    fixture_open(call.x);
    bounds("B(1,2,3) B(4,5,6)");
}

static void test_waits_what_was_expected(void **state)
{
    (void)state;
    fixture_open(call.x);
    must_ok(tl_expect(&call.x->l, 4));
    bounds("B(1,2,3,4) B(5,6)");
}

/* The index of flights grows under them. */
static void test_waits_hundreds(void **state)
{
    enum { N = 900 };
    (void)state;
    static uint64_t keys[N], out[N];
    static dload_status st[N];
    struct fixture *x = call.x;
    x->cfg.max_batch = 600;
    x->cfg.capacity = DLOAD_NO_CACHE;
    fixture_open(x);
    for (size_t i = 0; i < N; i++) {
        keys[i] = i % 7 == 6 ? i / 2 : i; /* some twice */
    }
    must_ok(tl_load_many(&x->l, keys, N, out, st));
    for (size_t i = 0; i < N; i++) {
        must_ok(st[i]);
        equal(out[i], keys[i] * 10);
    }
    equal(x->r.n_calls, 2);
    dload_stats s = stats_of(x);
    equal(s.misses + s.joins, N);
    equal(s.misses, x->r.n_keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WAITS("some are answered before the deadline", test_waits_some_answered),
        WAITS("... and nobody asks which", test_waits_without_statuses),
        WAITS("keys that were not sent leave, but for those others want",
              test_waits_unsent_keys_leave),
        WAITS("... all of them when nobody does", test_waits_nobody_else),
        WAITS("a request that joined is cancelled", test_waits_another_comes_and_goes),
        WAITS("every answer in its place", test_waits_places),
        WAITS("keys follow up to the queue's bound", test_waits_bound_of_the_queue),
        WAITS("... up to a full batch", test_waits_bound_of_the_batch),
        WAITS("... up to what was expected", test_waits_what_was_expected),
        WAITS("... by the hundred", test_waits_hundreds),
    };
    return cmocka_run_group_tests_name("many waits " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
