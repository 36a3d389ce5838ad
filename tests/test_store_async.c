/* A store that completes requests later, under an event loop: nothing blocks, answers and functions are the
 * loop's, in whatever order completions come: before run returns, late, after the batch was given up. */
/* locks: NONE SPIN PTHREAD */
#include "test_store_loader.h"

static size_t n_wakes;

static void count_wake(void *ctx)
{
    (void)ctx;
    (void)__atomic_add_fetch(&n_wakes, 1, __ATOMIC_RELAXED);
}

static int async_setup(void **state)
{
    (void)store_setup(state);
    fixture.cfg.wake = count_wake;
    n_wakes = 0;
    script.late = true;
    return 0;
}

#define ASYNC_RULE(text, fn)                        \
    {                                               \
        text, fn, async_setup, store_teardown, NULL \
    }

static void process(struct fixture *x)
{
    must_ok(tl_process(&x->l, x->f.now_ns));
}

/* A loop that has nothing else to do: completes what waits, the oldest first, until all is quiet. */
static void settle(struct fixture *x)
{
    for (;;) {
        process(x);
        if (script.n_waiting) {
            script_complete(&script, 0);
        } else if (tl_next_deadline(&x->l) > x->f.now_ns) {
            return;
        }
    }
}

static void get_fetch_set(void **state)
{
    struct fixture *x = *state;
    struct text log = {{0}, 0};
    struct request reqs[2] = {{.log = &log}, {.log = &log}};
    const uint64_t keys[] = {1, 2};
    fixture_open(x);
    request_start_all(x, reqs, keys, 2);
    process(x);
    equal(script.n_waiting, 1);
    equal(x->r.n_calls, 0);
    process(x); /* nothing to do */
    equal(tl_next_deadline(&x->l) > x->f.now_ns, 1);
    size_t before = n_wakes;
    script_complete(&script, 0);
    assert_true(n_wakes > before);
    equal(x->r.n_calls, 0); /* not where the answer came */
    text_must(&log, "");
    equal(tl_next_deadline(&x->l), 0);
    process(x);
    text_must(&x->r.calls, "B(1,2)");
    text_must(&log, "1=10 2=20"); /* who waits does not wait for the write */
    equal(script.n_waiting, 1);
    must_ok(tl_close(&x->l, DLOAD_DRAIN, 0));
    must(tl_destroy(&x->l), DLOAD_EBUSY);
    script_complete(&script, 0);
    equal(script.n, 2);
    equal(stats_of(x).store_writes, 2);
}

static void hits_first(void **state)
{
    struct fixture *x = *state;
    struct text log = {{0}, 0};
    struct request reqs[2] = {{.log = &log}, {.log = &log}};
    const uint64_t keys[] = {1, 2};
    fixture_open(x);
    request_start_all(x, reqs, keys, 1);
    settle(x);
    text_must(&log, "1=10");
    text_must(&x->r.calls, "B(1)");
    forget(x);
    x->r.result = DLOAD_PENDING; /* the function takes its time */
    reqs[0].n_done = 0;
    request_start_all(x, reqs, keys, 2);
    settle(x);
    text_must(&x->r.calls, "B(2)");
    text_must(&log, "1=10");
    rec_finish(&x->r);
    settle(x);
    text_must(&log, "2=20");
    equal(script.n, 2);
}

static void done_before_run_returns(void **state)
{
    struct fixture *x = *state;
    struct request req = {0};
    script.late = false;
    script.at_once = true;
    fixture_open(x);
    for (uint64_t i = 0; i < 3; i++) {
        memset(&req, 0, sizeof req);
        must(request_start(x, &req, 1), DLOAD_PENDING);
        settle(x);
        request_must(&req, 10);
        forget(x);
    }
    equal(x->r.n_calls, 1);
    must_ok(tl_clear(&x->l, 1));
    settle(x);
    equal(script.n, 0);
}

static void failures(void **state)
{
    struct fixture *x = *state;
    struct request req = {0};
    fixture_open(x);
    script.fails[DLOAD_STORE_GET] = DLOAD_ETIMEDOUT;
    script.fails[DLOAD_STORE_SET] = DLOAD_ETIMEDOUT;
    must(request_start(x, &req, 1), DLOAD_PENDING);
    settle(x);
    request_must(&req, 10);
    equal(stats_of(x).store_errors, 2);
}

/* Batches are given up while the store is asked. */
static void given_up(void **state)
{
    struct fixture *x = *state;
    struct request req = {0}, again = {0};
    x->cfg.run_limit_ns = DLOAD_SECOND;
    fixture_open(x);
    must(request_start(x, &req, 1), DLOAD_PENDING);
    process(x);
    x->f.now_ns += 2 * DLOAD_SECOND;
    process(x);
    request_must_fail(&req, DLOAD_ETIMEDOUT);
    equal(x->r.n_calls, 0);
    must(request_start(x, &again, 1), DLOAD_PENDING);
    process(x);
    equal(script.n_waiting, 2);
    script_complete(&script, 0); /* the old one's */
    process(x);
    equal(x->r.n_calls, 0);
    equal(again.n_done, 0);
    settle(x);
    request_must(&again, 10);
}

static void cancelled(void **state)
{
    struct fixture *x = *state;
    struct request req = {0};
    fixture_open(x);
    must(request_start(x, &req, 1), DLOAD_PENDING);
    process(x);
    must_ok(tl_cancel(&x->l, &req.w));
    settle(x);
    equal(req.n_done, 0);
    load_must(x, 1, 10); /* it was fetched all the same */
}

static void clears(void **state)
{
    struct fixture *x = *state;
    struct request req = {0};
    fixture_open(x);
    must(request_start(x, &req, 1), DLOAD_PENDING);
    settle(x);
    size_t before = n_wakes;
    must_ok(tl_clear(&x->l, 1));
    assert_true(n_wakes > before);
    equal(script.n_waiting, 0); /* the loop sends it */
    equal(tl_next_deadline(&x->l) <= x->f.now_ns, 1);
    process(x);
    equal(script.n_waiting, 1);
    x->r.version = 1; /* unheard yet: the store is neither asked nor told */
    memset(&req, 0, sizeof req);
    must(request_start(x, &req, 1), DLOAD_PENDING);
    process(x);
    request_must(&req, 11);
    equal(script.n_waiting, 1);
    equal(script.n_ops[DLOAD_STORE_GET], 1);
    script_complete(&script, 0);
    equal(script.n, 0);
    forget(x);
    memset(&req, 0, sizeof req);
    must(request_start(x, &req, 1), DLOAD_PENDING);
    settle(x);
    request_must(&req, 11);
    equal(script.n, 1);
}

/* The write of an old value is under way when its key is cleared: the delete goes after it. */
static void delete_after_write(void **state)
{
    struct fixture *x = *state;
    struct request req = {0};
    fixture_open(x);
    for (int all = 0; all < 2; all++) {
        memset(&req, 0, sizeof req);
        must(request_start(x, &req, 1), DLOAD_PENDING);
        process(x);
        script_complete(&script, 0);
        process(x); /* fetched, and the write is out */
        equal(script.n_waiting, 1);
        must_ok(all ? tl_clear_all(&x->l) : tl_clear(&x->l, 1));
        process(x);
        equal(script.n_waiting, 1); /* the write alone */
        assert_true(tl_next_deadline(&x->l) > x->f.now_ns);
        size_t before = n_wakes;
        script_complete(&script, 0);
        assert_true(n_wakes > before);
        equal(script.n, 1);
        settle(x);
        equal(script.n, 0);
        x->r.version++;
    }
}

static void retried(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    script.fails[DLOAD_STORE_DELETE] = DLOAD_EBACKEND;
    must_ok(tl_clear(&x->l, 1));
    settle(x);
    equal(script.n_ops[DLOAD_STORE_DELETE], 1);
    uint64_t at_ns = tl_next_deadline(&x->l);
    assert_true(at_ns > x->f.now_ns && at_ns <= x->f.now_ns + DLOAD_SECOND);
    script.fails[DLOAD_STORE_DELETE] = DLOAD_OK;
    x->f.now_ns = at_ns;
    settle(x);
    equal(stats_of(x).store_unsent, 0);
}

/* Clears that come while others are on their way to the store. */
static void clears_on_the_way(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    must_ok(tl_clear_all(&x->l));
    process(x);
    equal(script.n_waiting, 1);
    must_ok(tl_clear_all(&x->l)); /* what is out may have been carried out already */
    process(x);
    equal(script.n_waiting, 1);
    script_complete(&script, 0);
    equal(stats_of(x).store_unsent, 1);
    process(x);
    equal(script.n_waiting, 1);
    script_complete(&script, 0);
    equal(stats_of(x).store_unsent, 0);
    must_ok(tl_clear(&x->l, 2));
    process(x); /* a delete is out, */
    must_ok(tl_clear_all(&x->l));
    process(x); /* and the whole name's, */
    must_ok(tl_clear(&x->l, 1));
    equal(script.n_waiting, 2);
    script_complete(&script, 0);
    script_complete(&script, 0);
    equal(stats_of(x).store_unsent, 1); /* but not this one */
    settle(x);
    equal(stats_of(x).store_unsent, 0);
    equal(script.n_keys[DLOAD_STORE_DELETE], 2);
}

/* Several batches out, their requests completed in a random order: every request is answered rightly. */
static void any_order(void **state)
{
    struct fixture *x = *state;
    enum { N = 60 };
    static struct request reqs[N];
    uint64_t seed = test_seed("test_store_async");
    x->cfg.max_batch = 4;
    x->cfg.max_in_flight = 8;
    fixture_open(x);
    for (size_t round = 0; round < scaled(200); round++) {
        memset(reqs, 0, sizeof reqs);
        bool waits[N];
        for (size_t i = 0; i < N; i++) {
            uint64_t key = rng_below(&seed, 100);
            waits[i] = request_start(x, &reqs[i], key) == DLOAD_PENDING;
            if (rng_below(&seed, 3) == 0) {
                process(x);
            }
            if (script.n_waiting && rng_below(&seed, 2)) {
                script_complete(&script, rng_below(&seed, script.n_waiting));
            }
        }
        script.at_once = rng_below(&seed, 4) == 0;
        while (script.n_waiting || tl_next_deadline(&x->l) <= x->f.now_ns) {
            if (script.n_waiting) {
                script_complete(&script, rng_below(&seed, script.n_waiting));
            }
            process(x);
        }
        for (size_t i = 0; i < N; i++) {
            equal(reqs[i].n_done, waits[i]);
            equal(reqs[i].w.value, rec_value(&x->r, reqs[i].key));
        }
        forget(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASYNC_RULE("asked, fetched, written", get_fetch_set),
        ASYNC_RULE("hits first", hits_first),
        ASYNC_RULE("done before run returns", done_before_run_returns),
        ASYNC_RULE("failures", failures),
        ASYNC_RULE("given up", given_up),
        ASYNC_RULE("cancelled", cancelled),
        ASYNC_RULE("clears", clears),
        ASYNC_RULE("a delete waits for the write", delete_after_write),
        ASYNC_RULE("deletes are tried again", retried),
        ASYNC_RULE("clears on the way", clears_on_the_way),
        ASYNC_RULE("any order", any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
