/* DLOAD_ASYNC 0: one caller, and nothing waits. What a loader promises is the same; what is here are the
 * places where it is made in another way: batches are a fixed number, and so are requests. */
#define TEST_SOLO 1
#include "test_loader.h"

/* ---- batches ---- */

static void keys_share_a_batch(struct fixture *x)
{
    const uint64_t keys[] = {5, 3, 9, 3, 4};
    uint64_t out[COUNT(keys)];
    dload_status st[COUNT(keys)];
    x->cfg.max_batch = 3;
    fixture_open(x);
    must_ok(tl_load_many(&x->l, keys, COUNT(keys), out, st));
    text_must(&x->r.calls, "B(5,3,9) B(4)");
    for (size_t i = 0; i < COUNT(keys); i++) {
        must_ok(st[i]);
        equal(out[i], keys[i] * 10);
    }
    load_must(x, 9, 90);
    text_must(&x->r.calls, "");
}

/* More keys than there are places, and a key more often than there are requests: what waits goes, and
 * nothing is asked for twice that the cache has. */
static void a_call_may_be_larger_than_all_batches(struct fixture *x)
{
    uint64_t keys[200], out[COUNT(keys)];
    x->cfg.max_batch = 4;
    fixture_open(x);
    for (size_t i = 0; i < COUNT(keys); i++) {
        keys[i] = i < 100 ? i : i % 7;
    }
    must_ok(tl_load_many(&x->l, keys, COUNT(keys), out, NULL));
    for (size_t i = 0; i < COUNT(keys); i++) {
        equal(out[i], keys[i] * 10);
    }
    equal(x->r.n_keys, 100);
    equal(x->r.n_calls, 25);
}

static void without_a_cache_duplicates_share_a_fetch(struct fixture *x)
{
    const uint64_t keys[] = {1, 2, 1, 2, 1};
    uint64_t out[COUNT(keys)];
    dload_status st[COUNT(keys)];
    x->cfg.capacity = DLOAD_NO_CACHE;
    x->cfg.max_batch = 8;
    fixture_open(x);
    must_ok(tl_load_many(&x->l, keys, COUNT(keys), out, st));
    equal(out[4], 10);
    text_must(&x->r.calls, "B(1,2)");
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
}

/* Tasks of a loop ask; one dispatch serves them. */
static void started_requests_go_together(struct fixture *x)
{
    struct request a = {0}, b = {0}, c = {0};
    struct text log = {0};
    a.log = b.log = c.log = &log;
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    must(request_start(x, &b, 2), DLOAD_PENDING);
    must(request_start(x, &c, 1), DLOAD_PENDING);
    text_must(&x->r.calls, "");
    equal(dispatch(x), 2);
    text_must(&x->r.calls, "B(1,2)");
    text_must(&log, "1=10 1=10 2=20"); /* by key, and for one key in the order of asking */
    equal(dispatch(x), 0);
    must(request_start(x, &a, 2), DLOAD_OK);
    equal(a.w.value, 20);
    equal(a.n_done, 1);
}

static void process_sends_and_expires(struct fixture *x)
{
    struct request a = {0};
    x->cfg.ttl_ns = 100 * DLOAD_MILLISECOND;
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    must_ok(tl_process(&x->l, x->f.now_ns));
    request_must(&a, 10);
    equal(stats_of(x).entries, 1);
    x->f.now_ns += DLOAD_SECOND;
    must_ok(tl_process(&x->l, x->f.now_ns));
    equal(stats_of(x).entries, 0);
}

/* A blocking call sends what was queued before it, and no more than it waits for. */
static void a_blocking_call_takes_started_keys_along(struct fixture *x)
{
    struct request a = {0}, b = {0}, c = {0};
    x->cfg.max_batch = 2;
    x->cfg.max_queue = 4;
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    must(request_start(x, &b, 2), DLOAD_PENDING);
    must(request_start(x, &c, 3), DLOAD_PENDING);
    load_must(x, 2, 20);
    text_must(&x->r.calls, "B(1,2)");
    equal(c.n_done, 0);
    load_must(x, 4, 40);
    text_must(&x->r.calls, "B(3,4)");
    request_must(&c, 30);
}

static void a_full_queue_is_said(struct fixture *x)
{
    struct request r[5] = {{.key = 0}};
    x->cfg.max_batch = 2;
    x->cfg.max_queue = 3; /* rounded up: two batches wait, and one is for the running one */
    fixture_open(x);
    for (uint64_t i = 0; i < 5; i++) {
        must(request_start(x, &r[i], i), DLOAD_PENDING);
    }
    struct request more = {0};
    must(request_start(x, &more, 5), DLOAD_PENDING);
    must(request_start(x, &more, 6), DLOAD_EAGAIN);
    equal(more.n_done, 0);
    load_must(x, 7, 70); /* who may block makes room */
    text_must(&x->r.calls, "B(0,1) B(2,3) B(4,5) B(7)");
}

/* ---- inside a fetch function ---- */

static void load_inside(struct recorder *r, tl_batch *b)
{
    uint64_t out = 0;
    struct fixture *x = &fixture;
    (void)b;
    r->act = NULL;
    must(tl_load(&x->l, 1, &out), DLOAD_EDEADLK);
    must(tl_close(&x->l, DLOAD_DRAIN, 0), DLOAD_EBUSY);
    must(tl_destroy(&x->l), DLOAD_EBUSY);
    load_must(x, 8, 80);
}

static void a_function_may_load(struct fixture *x)
{
    fixture_open(x);
    x->r.act = load_inside;
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1) B(8)");
    equal(x->r.deepest, 2);
}

static void load_deeper(struct recorder *r, tl_batch *b)
{
    struct fixture *x = &fixture;
    uint64_t out = 0;
    uint64_t key = b->keys[0] + 1;
    dload_status st = tl_load(&x->l, key, &out);
    must(st, r->depth == 3 ? DLOAD_EAGAIN : DLOAD_OK);
}

/* As deep as there are batches. */
static void depth_is_bounded(struct fixture *x)
{
    x->cfg.max_batch = 1;
    x->cfg.max_queue = 2;
    fixture_open(x);
    x->r.act = load_deeper;
    load_must(x, 1, 10);
    equal(x->r.deepest, 3);
    text_must(&x->r.calls, "B(1) B(2) B(3)");
}

/* An inner call finds keys of an outer one in a batch that waits, and sends it. */
static void send_the_outer_calls_next_batch(struct recorder *r, tl_batch *b)
{
    (void)b;
    r->act = NULL;
    load_must(&fixture, 4, 40);
}

static void an_inner_call_may_join_an_outer_one(struct fixture *x)
{
    const uint64_t keys[] = {1, 2, 3, 4};
    uint64_t out[4];
    dload_status st[4];
    x->cfg.max_batch = 2;
    fixture_open(x);
    x->r.act = send_the_outer_calls_next_batch;
    must_ok(tl_load_many(&x->l, keys, 4, out, st));
    text_must(&x->r.calls, "B(1,2) B(3,4)");
    equal(x->r.deepest, 2);
    for (size_t i = 0; i < 4; i++) {
        equal(out[i], keys[i] * 10);
    }
}

static void pending_is_refused(struct fixture *x)
{
    uint64_t out = 0;
    fixture_open(x);
    x->r.result = DLOAD_PENDING;
    must(tl_load(&x->l, 1, &out), DLOAD_EINVAL);
    x->r.n_pending = 0;
    x->r.result = DLOAD_OK;
    load_must(x, 1, 10);
}

static tl_batch *late;

static void remember(struct recorder *r, tl_batch *b)
{
    (void)r;
    late = b;
    uint64_t value = 7;
    must(tl_batch_set(b, b->n, &value), DLOAD_EBATCH);
    must(tl_batch_set(b, 0, NULL), DLOAD_EINVAL);
    must(tl_batch_fail(b, 0, DLOAD_PENDING), DLOAD_EINVAL);
    must_ok(tl_batch_set(b, 1, &value));
    must(tl_batch_set(b, 1, &value), DLOAD_EBUSY);
    must(tl_batch_fail(b, 1, DLOAD_EFETCH), DLOAD_EBUSY);
    must_ok(tl_batch_fail(b, 0, DLOAD_EFETCH));
    b->n = 0; /* the function's own view */
}

static void the_first_answer_counts(struct fixture *x)
{
    const uint64_t keys[] = {1, 2, 3};
    uint64_t out[3];
    dload_status st[3];
    uint64_t value = 8;
    fixture_open(x);
    x->r.act = remember;
    must_ok(tl_load_many(&x->l, keys, 3, out, st));
    must(st[0], DLOAD_EFETCH);
    must_ok(st[1]);
    equal(out[1], 7);
    must(st[2], DLOAD_MISSING);
    must(tl_batch_set(late, 0, &value), DLOAD_EBATCH);
}

/* ---- the end ---- */

static void drain_sends_and_fail_ends(struct fixture *x)
{
    struct request a = {0}, b = {0};
    uint64_t out = 0;
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    must(tl_destroy(&x->l), DLOAD_EBUSY);
    must_ok(tl_close(&x->l, DLOAD_DRAIN, 0));
    request_must(&a, 10);
    must(tl_load(&x->l, 1, &out), DLOAD_ECLOSED);
    must(request_start(x, &b, 1), DLOAD_ECLOSED);
    must_ok(tl_destroy(&x->l));
    must_ok(tl_destroy(&x->l));
    must_ok(tl_init(&x->l, &x->cfg));
    must(request_start(x, &b, 2), DLOAD_PENDING);
    must_ok(tl_close(&x->l, DLOAD_FAIL, 0));
    request_must_fail(&b, DLOAD_ECLOSED);
    equal(x->r.n_calls, 1);
}

static void ask_again(struct request *req)
{
    struct fixture *x = &fixture;
    must(tl_destroy(&x->l), DLOAD_EBUSY);
    if (req->key < 5) {
        must(request_start(x, req, req->key + 1), DLOAD_PENDING);
    }
}

/* What a callback asks for is for the next dispatch. */
static void callbacks_may_ask_on(struct fixture *x)
{
    struct request a = {.then = ask_again};
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    for (size_t i = 1; i <= 5; i++) {
        equal(dispatch(x), 1);
        equal(a.n_done, i);
    }
    text_must(&x->r.calls, "B(1) B(2) B(3) B(4) B(5)");
}

/* A callback of the first batch asks for a key that the second one would have room for. */
static void ask_for_nine(struct request *req)
{
    static struct request nine;
    req->then = NULL;
    must(request_start(&fixture, &nine, 9), DLOAD_PENDING);
}

static void a_dispatch_sends_what_was_there(struct fixture *x)
{
    struct request a = {.then = ask_for_nine}, b = {0}, c = {0};
    x->cfg.max_batch = 2;
    x->cfg.max_queue = 6;
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    must(request_start(x, &b, 2), DLOAD_PENDING);
    must(request_start(x, &c, 3), DLOAD_PENDING);
    equal(dispatch(x), 3);
    text_must(&x->r.calls, "B(1,2) B(3)");
    equal(dispatch(x), 1);
    text_must(&x->r.calls, "B(9)");
}

static void cancelled_keys_leave(struct fixture *x)
{
    struct request a = {0}, b = {0}, c = {0}, d = {0};
    x->cfg.max_batch = 2;
    x->cfg.max_queue = 4;
    fixture_open(x);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    must(request_start(x, &b, 1), DLOAD_PENDING);
    must(request_start(x, &c, 2), DLOAD_PENDING);
    must(request_start(x, &d, 3), DLOAD_PENDING);
    must_ok(tl_cancel(&x->l, &a.w)); /* b still wants it */
    must(tl_cancel(&x->l, &a.w), DLOAD_EBUSY);
    must(a.w.status, DLOAD_ECANCELED);
    must_ok(tl_cancel(&x->l, &d.w)); /* a batch of its own, the last one */
    must(request_start(x, &d, 4), DLOAD_PENDING);
    must_ok(tl_cancel(&x->l, &b.w));
    equal(dispatch(x), 2);
    text_must(&x->r.calls, "B(2) B(4)");
    equal(a.n_done + b.n_done, 0);
    request_must(&c, 20);
    request_must(&d, 40);
    must(tl_cancel(&x->l, &c.w), DLOAD_EBUSY);
    equal(stats_of(x).cancelled, 3);
}

/* ---- clears ---- */

static void clear_one_inside(struct recorder *r, tl_batch *b)
{
    (void)b;
    r->act = NULL;
    must_ok(tl_clear(&fixture.l, 1));
    r->version = 1;
}

static void clear_all_inside(struct recorder *r, tl_batch *b)
{
    (void)b;
    r->act = NULL;
    must_ok(tl_clear_all(&fixture.l));
    r->version = 1;
}

static void what_is_cleared_meanwhile_is_not_cached(struct fixture *x)
{
    const uint64_t keys[] = {1, 2};
    uint64_t out[2];
    fixture_open(x);
    x->r.act = clear_one_inside;
    must_ok(tl_load_many(&x->l, keys, 2, out, NULL));
    text_must(&x->r.calls, "B(1,2)");
    load_must(x, 2, 21);
    load_must(x, 1, 11);
    text_must(&x->r.calls, "B(1)");
    equal(stats_of(x).cleared_in_flight, 1);
    x->r.act = clear_all_inside;
    load_must(x, 5, 51);
    load_must(x, 5, 51);
    load_must(x, 2, 21);
    text_must(&x->r.calls, "B(5) B(5) B(2)");
}

/* A start from inside does not join what was cleared, and one for another key does join. */
static struct request fresh, same;

static void start_inside(struct recorder *r, tl_batch *b)
{
    struct fixture *x = &fixture;
    (void)b;
    r->act = NULL;
    must_ok(tl_clear(&x->l, 1));
    must(request_start(x, &fresh, 1), DLOAD_PENDING);
    must(request_start(x, &same, 2), DLOAD_PENDING);
}

static void who_asks_after_a_clear_gets_a_later_answer(struct fixture *x)
{
    const uint64_t keys[] = {1, 2};
    uint64_t out[2];
    memset(&fresh, 0, sizeof fresh);
    memset(&same, 0, sizeof same);
    fixture_open(x);
    x->r.act = start_inside;
    must_ok(tl_load_many(&x->l, keys, 2, out, NULL));
    request_must(&same, 20);
    equal(fresh.n_done, 0);
    x->r.version = 3;
    equal(dispatch(x), 1);
    request_must(&fresh, 13);
}

static void tokens_tell(struct fixture *x)
{
    uint64_t value = 77;
    fixture_open(x);
    dload_token before = tl_token(&x->l);
    must_ok(tl_put_if(&x->l, 1, &value, before));
    load_must(x, 1, 77);
    dload_token after = tl_token(&x->l);
    must_ok(tl_clear(&x->l, 1));
    must(tl_put_if(&x->l, 1, &value, after), DLOAD_ECANCELED);
    must_ok(tl_put_if(&x->l, 1, &value, tl_token(&x->l)));
    after = tl_token(&x->l);
    must_ok(tl_clear_all(&x->l));
    for (uint64_t key = 0; key < 100; key++) {
        must(tl_put_if(&x->l, key, &value, after), DLOAD_ECANCELED);
    }
}

/* Clears are counted with 32 bits. */
static void tokens_tell_when_the_count_wraps(struct fixture *x)
{
    uint64_t value = 77;
    fixture_open(x);
    for (uint32_t i = 0; i < 6; i++) {
        x->l.core.clear_seq = UINT32_MAX - 3 + i;
        for (uint32_t k = 0; k < DLOAD_I_SOLO_CLEARS; k++) {
            x->l.core.last_clear[k] = x->l.core.clear_seq;
        }
        dload_token token = tl_token(&x->l);
        must_ok(tl_put_if(&x->l, 1, &value, token));
        token = tl_token(&x->l);
        must_ok(tl_clear(&x->l, 1));
        must(tl_put_if(&x->l, 1, &value, token), DLOAD_ECANCELED);
        must_ok(tl_put_if(&x->l, 1, &value, tl_token(&x->l)));
    }
}

static void put_beside(struct recorder *r, tl_batch *b)
{
    uint64_t value = 5;
    r->act = NULL;
    must_ok(tl_batch_put(b, 50, &value));
    must_ok(tl_batch_put(b, 2, &value)); /* asked for after all */
    must(tl_batch_put(b, 2, &value), DLOAD_EBUSY);
    must_ok(tl_clear(&fixture.l, 60));
    must(tl_batch_put(b, 60, &value), DLOAD_ECANCELED);
    must(tl_batch_put(b, 61, NULL), DLOAD_EINVAL);
    must_ok(tl_batch_set(b, 0, &value));
    b->n = 0;
}

static void keys_come_along(struct fixture *x)
{
    const uint64_t keys[] = {1, 2};
    uint64_t out[2];
    fixture_open(x);
    x->r.act = put_beside;
    must_ok(tl_load_many(&x->l, keys, 2, out, NULL));
    equal(out[1], 5);
    load_must(x, 50, 5);
    equal(x->r.n_calls, 1);
    load_must(x, 60, 600);
    equal(x->r.n_calls, 2);
}

/* ---- answers without a value ---- */

static uint64_t a_second_for_efetch(void *ctx, dload_status status)
{
    (void)ctx;
    return status == DLOAD_EFETCH ? DLOAD_SECOND : 0;
}

static void errors_are_kept_as_long_as_they_should(struct fixture *x)
{
    uint64_t out = 0;
    x->cfg.missing_ttl_ns = DLOAD_SECOND;
    x->cfg.error_ttl = a_second_for_efetch;
    fixture_open(x);
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    rec_script(&x->r, 2, ANSWER_FAIL, 0, DLOAD_EFETCH);
    rec_script(&x->r, 3, ANSWER_FAIL, 0, DLOAD_EBACKEND);
    for (int i = 0; i < 2; i++) {
        must(tl_load(&x->l, 1, &out), DLOAD_MISSING);
        must(tl_load(&x->l, 2, &out), DLOAD_EFETCH);
        must(tl_load(&x->l, 3, &out), DLOAD_EBACKEND);
    }
    text_must(&x->r.calls, "B(1) B(2) B(3) B(3)");
    x->f.now_ns += 2 * DLOAD_SECOND;
    must(tl_load(&x->l, 1, &out), DLOAD_MISSING);
    must(tl_load(&x->l, 2, &out), DLOAD_EFETCH);
    text_must(&x->r.calls, "B(1) B(2)");
}

static void states_can_be_seen(struct fixture *x)
{
    struct request a = {0};
    dload_state state = DLOAD_STATE_READY;
    fixture_open(x);
    must(tl_peek(&x->l, 1, &state, NULL), DLOAD_MISSING);
    equal(state, DLOAD_STATE_ABSENT);
    must(request_start(x, &a, 1), DLOAD_PENDING);
    must(tl_peek(&x->l, 1, &state, NULL), DLOAD_MISSING);
    equal(state, DLOAD_STATE_QUEUED);
    equal(dispatch(x), 1);
    must_ok(tl_peek(&x->l, 1, &state, NULL));
    equal(state, DLOAD_STATE_READY);
}

/* ---- limits and memory ---- */

static void configurations_are_checked(struct fixture *x)
{
    tl_config cfg = x->cfg;
    cfg.fetch = NULL;
    must(tl_init(&x->l, &cfg), DLOAD_EINVAL);
    cfg = x->cfg;
    cfg.max_batch = (1u << 20) + 1;
    must(tl_init(&x->l, &cfg), DLOAD_EINVAL);
    cfg.max_batch = 2;
    cfg.max_queue = 509;
    must(tl_init(&x->l, &cfg), DLOAD_EINVAL);
    cfg.max_queue = SIZE_MAX;
    must(tl_init(&x->l, &cfg), DLOAD_EINVAL);
    cfg.max_queue = 508;
    must_ok(tl_init(&x->l, &cfg));
    must_ok(tl_destroy(&x->l));
}

/* Where sizes have 32 bits so many places would be a few bytes. */
static void a_size_that_wraps_is_enomem(struct fixture *x)
{
    x->cfg.max_batch = 1u << 20;
    x->cfg.max_queue = (size_t)254 << 20;
    if (sizeof(size_t) == 4) {
        must(tl_init(&x->l, &x->cfg), DLOAD_ENOMEM);
    }
}

/* All memory is there after _init. */
static void nothing_is_allocated_later(struct fixture *x)
{
    x->cfg.max_batch = 3;
    x->cfg.max_queue = 7;
    x->cfg.capacity = 50;
    fixture_open(x);
    size_t n_allocs = x->f.n_allocs;
    for (uint64_t round = 0; round < 100; round++) {
        uint64_t keys[20], out[20];
        struct request r[5];
        memset(r, 0, sizeof r);
        for (uint64_t i = 0; i < 20; i++) {
            keys[i] = (round * 7 + i * i) % 90;
        }
        for (uint64_t i = 0; i < 5; i++) {
            (void)request_start(x, &r[i], 100 + (round + i) % 30);
        }
        (void)tl_cancel(&x->l, &r[3].w);
        must_ok(tl_load_many(&x->l, keys, 20, out, NULL));
        must_ok(tl_clear(&x->l, keys[0]));
        (void)dispatch(x);
        x->f.now_ns += DLOAD_SECOND;
    }
    equal(x->f.n_allocs, n_allocs);
}

static void init_and_use(struct fake_env *f)
{
    tl l;
    tl_config cfg = {.fetch = rec_fetch, .ctx = &fixture.r, .env = &f->env, .max_batch = 2};
    uint64_t out = 0;
    fake_env_arm(f);
    dload_status st = tl_init(&l, &cfg);
    fake_env_disarm(f);
    if (st < 0) {
        must(st, DLOAD_ENOMEM);
        must_ok(tl_destroy(&l));
        return;
    }
    must_ok(tl_load(&l, 1, &out));
    must_ok(tl_destroy(&l));
}

static void no_memory_is_enomem(void **state)
{
    (void)state;
    text_clear(&fixture.r.calls);
    assert_true(fail_until_ok("init", init_and_use) > 0);
}

#define CASE(fn)                        \
    static void fn##_case(void **state) \
    {                                   \
        fn(*state);                     \
    }
#define ROW(fn)                                               \
    {                                                         \
#fn, fn##_case, fixture_setup, fixture_teardown, NULL \
    }

CASE(keys_share_a_batch)
CASE(a_call_may_be_larger_than_all_batches)
CASE(without_a_cache_duplicates_share_a_fetch)
CASE(started_requests_go_together)
CASE(process_sends_and_expires)
CASE(a_blocking_call_takes_started_keys_along)
CASE(a_full_queue_is_said)
CASE(a_function_may_load)
CASE(depth_is_bounded)
CASE(an_inner_call_may_join_an_outer_one)
CASE(pending_is_refused)
CASE(the_first_answer_counts)
CASE(drain_sends_and_fail_ends)
CASE(callbacks_may_ask_on)
CASE(a_dispatch_sends_what_was_there)
CASE(cancelled_keys_leave)
CASE(what_is_cleared_meanwhile_is_not_cached)
CASE(who_asks_after_a_clear_gets_a_later_answer)
CASE(tokens_tell)
CASE(tokens_tell_when_the_count_wraps)
CASE(keys_come_along)
CASE(errors_are_kept_as_long_as_they_should)
CASE(states_can_be_seen)
CASE(configurations_are_checked)
CASE(a_size_that_wraps_is_enomem)
CASE(nothing_is_allocated_later)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(keys_share_a_batch),
        ROW(a_call_may_be_larger_than_all_batches),
        ROW(without_a_cache_duplicates_share_a_fetch),
        ROW(started_requests_go_together),
        ROW(process_sends_and_expires),
        ROW(a_blocking_call_takes_started_keys_along),
        ROW(a_full_queue_is_said),
        ROW(a_function_may_load),
        ROW(depth_is_bounded),
        ROW(an_inner_call_may_join_an_outer_one),
        ROW(pending_is_refused),
        ROW(the_first_answer_counts),
        ROW(drain_sends_and_fail_ends),
        ROW(callbacks_may_ask_on),
        ROW(a_dispatch_sends_what_was_there),
        ROW(cancelled_keys_leave),
        ROW(what_is_cleared_meanwhile_is_not_cached),
        ROW(who_asks_after_a_clear_gets_a_later_answer),
        ROW(tokens_tell),
        ROW(tokens_tell_when_the_count_wraps),
        ROW(keys_come_along),
        ROW(errors_are_kept_as_long_as_they_should),
        ROW(states_can_be_seen),
        ROW(configurations_are_checked),
        ROW(a_size_that_wraps_is_enomem),
        ROW(nothing_is_allocated_later),
        cmocka_unit_test(no_memory_is_enomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
