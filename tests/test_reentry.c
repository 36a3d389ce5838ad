/* Rules 49 to 56: fetch functions, callbacks and hooks that call back; cancelling and deadlines. */
/* locks: NONE SPIN PTHREAD */
#include "test_loader.h"

/* ---- nested loads ---- */

static void load_next_key(struct recorder *r, tl_batch *b)
{
    struct fixture *x = r->act_ctx;
    uint64_t out = 0;
    if (b->keys[0] < 8) {
        must_ok(tl_load(&x->l, b->keys[0] + 1, &out));
        equal(out, (b->keys[0] + 1) * 10);
    }
}

static void test_reentry_nested(void **state)
{
    struct fixture *x = *state;
    x->cfg.max_in_flight = 100;
    fixture_open(x);
    x->r.act = load_next_key;
    x->r.act_ctx = x;
    load_must(x, 0, 0);
    text_must(&x->r.calls, "B(0) B(1) B(2) B(3) B(4) B(5) B(6) B(7) B(8)");
    equal(x->r.deepest, 9);
}

static void test_reentry_nested_over_in_flight(void **state)
{
    struct fixture *x = *state;
    x->cfg.max_in_flight = 1; /* nesting must not wait for itself */
    fixture_open(x);
    x->r.act = load_next_key;
    x->r.act_ctx = x;
    load_must(x, 4, 40);
    equal(x->r.deepest, 5);
}

static void load_own_key(struct recorder *r, tl_batch *b)
{
    struct fixture *x = r->act_ctx;
    uint64_t out;
    for (size_t i = 0; i < b->n; i++) {
        must(tl_load(&x->l, b->keys[i], &out), DLOAD_EDEADLK);
    }
    dload_status st[2];
    (void)tl_load_many(&x->l, (uint64_t[]){b->keys[0], 99}, 2, (uint64_t[2]){0}, st);
    must(st[0], DLOAD_EDEADLK);
    r->act = NULL;
}

static void test_reentry_deadlock_direct(void **state)
{
    struct fixture *x = *state;
    uint64_t out[2];
    fixture_open(x);
    x->r.act = load_own_key;
    x->r.act_ctx = x;
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 2}, 2, out, NULL));
    equal(out[0], 10);
    equal(out[1], 20);
}

struct pair {
    struct fixture *x;
    tl other;
    dload_status inner; /* what the load that closes the circle got */
};

/* A loads from B, whose function loads the same key from A. */
static dload_status fetch_from_first(tl_batch *b)
{
    struct pair *p = b->ctx;
    uint64_t out = 0;
    p->inner = tl_load(&p->x->l, b->keys[0], &out);
    return p->inner;
}

static void load_from_other(struct recorder *r, tl_batch *b)
{
    struct pair *p = r->act_ctx;
    uint64_t out;
    must(tl_load(&p->other, b->keys[0], &out), DLOAD_EDEADLK);
}

static void test_reentry_deadlock_two_loaders(void **state)
{
    struct fixture *x = *state;
    struct pair p = {.x = x};
    fixture_open(x);
    tl_config cfg = x->cfg;
    cfg.fetch = fetch_from_first;
    cfg.ctx = &p;
    must_ok(tl_init(&p.other, &cfg));
    x->r.act = load_from_other;
    x->r.act_ctx = &p;
    load_must(x, 1, 10);
    must(p.inner, DLOAD_EDEADLK);
    must_ok(tl_close(&p.other, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&p.other));
}

/* ---- callbacks and hooks may call anything ---- */

static void call_everything(struct fixture *x)
{
    uint64_t out = 0, value = 5;
    dload_state s;
    (void)tl_load(&x->l, 1000 + x->r.n_calls, &out);
    must_ok(tl_prime(&x->l, 2000, &value, DLOAD_OVERWRITE));
    (void)tl_peek(&x->l, 2000, &s, &out);
    must_ok(tl_clear(&x->l, 2000));
    must_ok(tl_clear_all(&x->l));
    must_ok(tl_dispatch(&x->l, NULL));
    must_ok(tl_process(&x->l, x->f.now_ns));
    (void)tl_next_deadline(&x->l);
    (void)stats_of(x);
    must(tl_destroy(&x->l), DLOAD_EBUSY);
}

static void call_everything_in_done(struct request *req)
{
    req->then = NULL;
    call_everything(req->ctx);
}

struct hook_log {
    struct fixture *x;
    size_t n_queued, n_start, n_end, depth;
    size_t keys_started, keys_ended;
};

static void hook_work(struct hook_log *h)
{
    /* Once per hook is enough; loads in it come back here. */
    if (h->depth++ == 0) {
        uint64_t out;
        must_ok(tl_load(&h->x->l, 5000 + h->n_start + h->n_end + h->n_queued, &out));
        (void)stats_of(h->x);
    }
    h->depth--;
}

static void hook_queued(void *ctx)
{
    struct hook_log *h = ctx;
    h->n_queued++;
    hook_work(h);
}

static void hook_start(void *ctx, size_t n_keys, dload_trigger why)
{
    struct hook_log *h = ctx;
    assert_true((unsigned)why < DLOAD_N_TRIGGERS);
    h->n_start++;
    h->keys_started += n_keys;
    hook_work(h);
}

static void hook_end(void *ctx, size_t n_keys, dload_status st, uint64_t run_ns)
{
    struct hook_log *h = ctx;
    (void)run_ns;
    must_ok(st);
    h->n_end++;
    h->keys_ended += n_keys;
    hook_work(h);
}

static void test_reentry_callbacks(void **state)
{
    struct fixture *x = *state;
    static struct request q[2];
    memset(q, 0, sizeof q);
    q[0].then = call_everything_in_done;
    q[0].ctx = x;
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2}, 2);
    dispatch(x);
    request_must(&q[0], 10);
    request_must(&q[1], 20);
}

static void test_reentry_hooks(void **state)
{
    struct fixture *x = *state;
    struct hook_log h = {.x = x};
    static struct request q[2];
    memset(q, 0, sizeof q);
    dload_hooks hooks = {
        .queued = hook_queued, .batch_start = hook_start, .batch_end = hook_end, .ctx = &h};
    x->cfg.hooks = &hooks;
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2}, 2);
    dispatch(x);
    load_must(x, 3, 30);
    request_must(&q[0], 10);
    assert_true(h.n_queued > 0 && h.n_start > 0);
    equal(h.n_start, h.n_end);
    equal(h.n_start, x->r.n_calls);
    equal(h.keys_started, x->r.n_keys);
    equal(h.keys_ended, x->r.n_keys);
    fixture_close(x);
}

struct chain {
    struct fixture *x;
    struct request next;
};

static void start_more_in_done(struct request *req)
{
    struct chain *c = req->ctx;
    must(request_start(c->x, &c->next, req->key + 100), DLOAD_PENDING);
}

static void test_reentry_callback_loads_again(void **state)
{
    struct fixture *x = *state;
    static struct chain c[3];
    static struct request q[3];
    memset(c, 0, sizeof c);
    fixture_open(x);
    for (size_t i = 0; i < 3; i++) {
        c[i].x = x;
        q[i] = (struct request){.then = start_more_in_done, .ctx = &c[i]};
    }
    request_start_all(x, q, (uint64_t[]){1, 2, 3}, 3);
    tl_dispatch(&x->l, NULL);
    for (size_t i = 0; i < 3; i++) {
        request_must(&q[i], (i + 1) * 10);
    }
    (void)dispatch(x);
    for (size_t i = 0; i < 3; i++) {
        request_must(&c[i].next, (i + 101) * 10);
    }
    text_must(&x->r.calls, "B(1,2,3) B(101,102,103)");
}

/* ---- cancelling ---- */

static void test_reentry_cancel_queued(void **state)
{
    struct fixture *x = *state;
    static struct request q[4];
    memset(q, 0, sizeof q);
    fixture_open(x);
    request_start_all(x, q, (uint64_t[]){1, 2, 2, 3}, 4);
    must_ok(tl_cancel(&x->l, &q[0].w)); /* its key's only one */
    must_ok(tl_cancel(&x->l, &q[1].w)); /* not its key's only one */
    equal(dispatch(x), 2);
    text_must(&x->r.calls, "B(2,3)");
    equal(q[0].n_done + q[1].n_done, 0);
    request_must(&q[2], 20);
    request_must(&q[3], 30);
    must(tl_cancel(&x->l, &q[2].w), DLOAD_EBUSY);
    /* The batch may become empty. */
    must(request_start(x, &q[0], 7), DLOAD_PENDING);
    must_ok(tl_cancel(&x->l, &q[0].w));
    equal(dispatch(x), 0);
    text_must(&x->r.calls, "");
    equal(tl_next_deadline(&x->l), DLOAD_NEVER);
    /* And a key that left comes back as a new one, last. */
    request_start_all(x, q, (uint64_t[]){5, 6}, 2);
    must_ok(tl_cancel(&x->l, &q[0].w));
    must(request_start(x, &q[0], 5), DLOAD_PENDING);
    equal(dispatch(x), 2);
    text_must(&x->r.calls, "B(6,5)");
    equal(stats_of(x).cancelled, 4);
}

static void test_reentry_cancel_any_of_many(void **state)
{
    struct fixture *x = *state;
    static struct request q[40];
    bool out[40];
    uint64_t seed = test_seed("reentry cancel");
    fixture_open(x);
    for (int round = 0; round < 200; round++) {
        size_t left[5] = {0}, n_left = 0;
        memset(q, 0, sizeof q);
        for (size_t i = 0; i < 40; i++) {
            out[i] = false;
            left[i % 5]++;
            must(request_start(x, &q[i], i % 5), DLOAD_PENDING);
        }
        size_t n = (size_t)rng_below(&seed, 40);
        for (size_t j = 0; j < n; j++) {
            size_t i = (size_t)rng_below(&seed, 40);
            if (!out[i]) {
                out[i] = true;
                left[i % 5]--;
                must_ok(tl_cancel(&x->l, &q[i].w));
            }
        }
        for (size_t k = 0; k < 5; k++) {
            n_left += left[k] > 0;
        }
        equal(dispatch(x), n_left);
        for (size_t i = 0; i < 40; i++) {
            equal(q[i].n_done, out[i] ? 0 : 1);
        }
        must_ok(tl_clear_all(&x->l));
        text_clear(&x->r.calls);
    }
}

static void test_reentry_cancel_in_flight(void **state)
{
    struct fixture *x = *state;
    static struct request q[2];
    memset(q, 0, sizeof q);
    fixture_open(x);
    x->r.result = DLOAD_PENDING;
    request_start_all(x, q, (uint64_t[]){1, 1}, 2);
    equal(dispatch(x), 1);
    must_ok(tl_cancel(&x->l, &q[0].w));
    assert_false(tl_batch_cancelled(x->r.pending[0]));
    rec_finish(&x->r);
    equal(q[0].n_done, 0);
    request_must(&q[1], 10); /* the other is served ... */
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)"); /* ... and the value is cached */
}

static void test_reentry_deadline_is_ones_own(void **state)
{
    struct fixture *x = *state;
    static struct request a;
    uint64_t out = 77;
    memset(&a, 0, sizeof a);
    fixture_open(x);
    x->r.result = DLOAD_PENDING;
    must(request_start(x, &a, 1), DLOAD_PENDING);
    dispatch(x);
    dload_call call = {.deadline_ns = x->f.now_ns + 5 * DLOAD_MILLISECOND};
    uint64_t start = x->f.now_ns;
    must(tl_load_with(&x->l, 1, &call, &out), DLOAD_ETIMEDOUT);
    equal(out, 77);
    assert_true(x->f.now_ns >= call.deadline_ns && x->f.now_ns <= start + 105 * DLOAD_MILLISECOND);
    equal(a.n_done, 0);
    equal(stats_of(x).timeouts, 1);
    rec_finish(&x->r);
    request_must(&a, 10);
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    /* The leader itself may leave: the batch goes on without it. */
    call.deadline_ns = x->f.now_ns + DLOAD_SECOND;
    must(tl_load_with(&x->l, 2, &call, &out), DLOAD_ETIMEDOUT);
    must(request_start(x, &a, 2), DLOAD_PENDING);
    a.n_done = 0;
    rec_finish(&x->r);
    request_must(&a, 20);
    /* A deadline that has passed is no deadline to fetch for. */
    call.deadline_ns = 1;
    must(tl_load_with(&x->l, 3, &call, &out), DLOAD_ETIMEDOUT);
    /* But a hit costs no time. */
    must_ok(tl_load_with(&x->l, 2, &call, &out));
    equal(out, 20);
}

static void test_reentry_everybody_left(void **state)
{
    struct fixture *x = *state;
    static struct request q[3];
    memset(q, 0, sizeof q);
    fixture_open(x);
    x->r.result = DLOAD_PENDING;
    request_start_all(x, q, (uint64_t[]){1, 2, 2}, 3);
    dispatch(x);
    const tl_batch *b = x->r.pending[0];
    assert_false(tl_batch_cancelled(b));
    must_ok(tl_cancel(&x->l, &q[0].w));
    must_ok(tl_cancel(&x->l, &q[1].w));
    assert_false(tl_batch_cancelled(b));
    must_ok(tl_cancel(&x->l, &q[2].w));
    assert_true(tl_batch_cancelled(b));
    rec_finish(&x->r);
    equal(q[0].n_done + q[1].n_done + q[2].n_done, 0);
}

/* ---- two loaders, one behind the other ---- */

struct level {
    struct fixture *x;
    tl *second;
    tl_waiter w;
    size_t n_done;
};

static void level_two_done(tl_waiter *w)
{
    struct level *v = w->ctx;
    must_ok(w->status);
    v->n_done++;
}

static void level_one_done(struct request *req)
{
    struct level *v = req->ctx;
    memset(&v->w, 0, sizeof v->w);
    v->w.done = level_two_done;
    v->w.ctx = v;
    must(tl_start(v->second, req->w.value, &v->w), DLOAD_PENDING);
}

static void test_reentry_chained_loaders(void **state)
{
    struct fixture *x = *state;
    static struct level v[50];
    static struct request q[50];
    struct recorder r2 = {0};
    tl second;
    memset(v, 0, sizeof v);
    memset(q, 0, sizeof q);
    fixture_open(x);
    tl_config cfg = x->cfg;
    cfg.ctx = &r2;
    must_ok(tl_init(&second, &cfg));
    for (size_t i = 0; i < 50; i++) {
        v[i] = (struct level){.x = x, .second = &second};
        q[i].then = level_one_done;
        q[i].ctx = &v[i];
        must(request_start(x, &q[i], i), DLOAD_PENDING);
    }
    /* An event loop: whatever is due, until nothing is. */
    for (int turn = 0; turn < 10; turn++) {
        must_ok(tl_process(&x->l, x->f.now_ns));
        must_ok(tl_process(&second, x->f.now_ns));
    }
    for (size_t i = 0; i < 50; i++) {
        equal(v[i].n_done, 1);
        equal(v[i].w.value, i * 100);
    }
    equal(x->r.n_calls, 1);
    equal(r2.n_calls, 1); /* one a level, not 50 */
    must_ok(tl_close(&second, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("rule 49: the function loads another key", test_reentry_nested),
        RULE("rule 49: also when no more batches may run", test_reentry_nested_over_in_flight),
        RULE("rule 50: its own key is a deadlock, said at once", test_reentry_deadlock_direct),
        RULE("rule 50: through another loader, too", test_reentry_deadlock_two_loaders),
        RULE("rule 51: callbacks may call anything", test_reentry_callbacks),
        RULE("rule 51: so may hooks", test_reentry_hooks),
        RULE("rule 52: a callback's load is in a new batch", test_reentry_callback_loads_again),
        RULE("rule 53: cancelled before dispatch", test_reentry_cancel_queued),
        RULE("rule 53: any of many, in any order", test_reentry_cancel_any_of_many),
        RULE("rule 54: cancelled while in flight", test_reentry_cancel_in_flight),
        RULE("rule 54: a deadline is one's own", test_reentry_deadline_is_ones_own),
        RULE("rule 55: everybody left", test_reentry_everybody_left),
        RULE("rule 56: one batch per level in a loop", test_reentry_chained_loaders),
    };
    return cmocka_run_group_tests_name("reentry " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
