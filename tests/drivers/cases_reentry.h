/* Rules 49 to 52: fetch functions, callbacks, hooks and destructors that call back. */
#ifndef DLOAD_TESTS_CASES_REENTRY_H
#define DLOAD_TESTS_CASES_REENTRY_H

#include "verbs.h"

/* A value with references, whose release can be watched. */
struct counted {
    uint64_t key;
    uint32_t n_refs;
};

static size_t n_counted;         /* made and not gone */
static void (*on_release)(void); /* runs in each release: with no lock held */

static struct counted *counted_new(uint64_t key)
{
    struct counted *o = malloc(sizeof *o);
    assert_non_null(o);
    *o = (struct counted){key, 1};
    n_counted++;
    return o;
}

static void counted_unref(struct counted *o)
{
    if (--o->n_refs == 0) {
        n_counted--;
        free(o);
    }
    if (on_release) {
        on_release();
    }
}

#define DLOAD_NAME            ol
#define DLOAD_KEY             uint64_t
#define DLOAD_VALUE           struct counted *
#define DLOAD_VALUE_REF(pv)   ((void)(*(pv))->n_refs++)
#define DLOAD_VALUE_UNREF(pv) counted_unref(*(pv))
#define DLOAD_LOCK            TEST_LOCK
#include "dataloader.h"

DRIVER_LOADER(ol, uint64_t, struct counted *);

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

static void reentry_nested(struct fixture *x)
{
    open_loader(x);
    x->r.act = load_next_key;
    x->r.act_ctx = x;
    load_one(x, 0, 0);
    calls_must(x, "B(0) B(1) B(2) B(3) B(4) B(5) B(6) B(7) B(8)");
    equal(x->r.deepest, 9);
    must_ok(tl_clear_all(&x->l));
    x->r.deepest = 0;
    ask(x, 0, 5);
    let_go(x);
    must_get(x, 0, 50);
    must_ok(tl_clear_all(&x->l));
    ask(x, 0, 6);
    equal(dispatch(x), 1);
    must_get(x, 0, 60);
    calls_must(x, "B(5) B(6) B(7) B(8) B(6) B(7) B(8)");
    equal(x->r.deepest, 4);
}

/* ---- circles ---- */

static void load_own_key(struct recorder *r, tl_batch *b)
{
    struct fixture *x = r->act_ctx;
    uint64_t out[2] = {77, 77};
    dload_status st[2];
    r->act = NULL;
    for (size_t i = 0; i < b->n; i++) {
        must(tl_load(&x->l, b->keys[i], &out[0]), DLOAD_EDEADLK);
    }
    (void)tl_load_many(&x->l, KEYS(b->keys[0], 99), out, st);
    must(st[0], DLOAD_EDEADLK);
    equal(out[0], 77);
}

static void reentry_own_key(struct fixture *x)
{
    uint64_t out[2];
    open_loader(x);
    x->r.act = load_own_key;
    x->r.act_ctx = x;
    must_ok(load_many(x, KEYS(1, 2), out, NULL));
    equal(out[0] + out[1], 30);
    x->r.act = load_own_key;
    ask(x, 0, 3);
    ask(x, 1, 4);
    let_go(x);
    must_get(x, 0, 30);
    must_get(x, 1, 40);
    x->r.act = load_own_key;
    ask(x, 0, 5);
    equal(dispatch(x), 1);
    must_get(x, 0, 50);
}

/* A loads from B, B from C, and so on; the last one loads the same key from A. */
enum { N_RING = 3 };

static struct ring {
    struct fixture *x;
    tl others[N_RING - 1];
    dload_status said;  /* what the load that closes the circle got */
    uint32_t n_meeting; /* functions that run; atomic */
    dload_status got[2];
} ring;

static dload_status fetch_in_ring(tl_batch *b)
{
    tl *here = b->ctx, *last = &ring.others[N_RING - 2];
    uint64_t out = 0;
    if (here != last) {
        return tl_load(here + 1, b->keys[0], &out);
    }
    ring.said = tl_load(&ring.x->l, b->keys[0], &out);
    return ring.said;
}

static void load_from_ring(struct recorder *r, tl_batch *b)
{
    uint64_t out;
    (void)r;
    must(tl_load(&ring.others[0], b->keys[0], &out), DLOAD_EDEADLK);
}

static void ring_open(struct fixture *x, size_t n_others, dload_status (*fetch)(tl_batch *b))
{
    memset(&ring, 0, sizeof ring);
    ring.x = x;
    open_loader(x);
    for (size_t i = 0; i < n_others; i++) {
        tl_config cfg = x->cfg;
        cfg.fetch = fetch;
        cfg.ctx = &ring.others[i];
        tl_bring_up(x, &ring.others[i], &cfg);
    }
}

static void reentry_circle(struct fixture *x)
{
    ring_open(x, N_RING - 1, fetch_in_ring);
    x->r.act = load_from_ring;
    load_one(x, 1, 10); /* its function went on and answered */
    must(ring.said, DLOAD_EDEADLK);
    ring.said = DLOAD_OK;
    ask(x, 0, 2);
    let_go(x);
    must_get(x, 0, 20);
    must(ring.said, DLOAD_EDEADLK);
    for (size_t i = 0; i < N_RING - 1; i++) {
        tl_take_down(x, &ring.others[i]);
    }
}

/* Two functions in two threads, each of which loads from the other once both run. */
static void ring_meet(void)
{
    __atomic_add_fetch(&ring.n_meeting, 1, __ATOMIC_ACQ_REL);
    for (unsigned ms = 0; __atomic_load_n(&ring.n_meeting, __ATOMIC_ACQUIRE) < 2; ms++) {
        if (ms > 20000) {
            print_error("the other function does not come\n");
            abort();
        }
        sleep_ms(1);
    }
}

static void meet_and_load(struct recorder *r, tl_batch *b)
{
    uint64_t out;
    (void)r;
    ring_meet();
    r->result = tl_load(&ring.others[0], b->keys[0], &out);
}

static dload_status fetch_meeting(tl_batch *b)
{
    uint64_t out;
    ring_meet();
    return tl_load(&ring.x->l, b->keys[0], &out);
}

static void load_either(struct fixture *x, size_t i)
{
    uint64_t out;
    ring.got[i] = tl_load(i == 0 ? &x->l : &ring.others[0], 1, &out);
}

static void reentry_circle_of_threads(struct fixture *x)
{
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    ring_open(x, 1, fetch_meeting);
    x->r.act = meet_and_load;
    each_caller(x, 2, load_either);
    must(ring.got[0], DLOAD_EDEADLK); /* passed on by each function to its caller */
    must(ring.got[1], DLOAD_EDEADLK);
    tl_take_down(x, &ring.others[0]);
}

/* ---- callbacks, hooks and destructors ---- */

static void call_everything(struct fixture *x)
{
    uint64_t out = 0, value = 5;
    dload_state s;
    dload_stats st;
    must_ok(tl_load(&x->l, 1000 + x->r.n_calls, &out));
    must_ok(tl_prime(&x->l, 2000, &value, DLOAD_OVERWRITE));
    must_ok(tl_peek(&x->l, 2000, &s, &out));
    equal(out, 5);
    must_ok(tl_clear(&x->l, 2000));
    must_ok(tl_clear_all(&x->l));
    must_ok(tl_dispatch(&x->l, NULL));
    must_ok(tl_process(&x->l, tl_now(&x->l)));
    (void)tl_next_deadline(&x->l);
    must_ok(tl_stats(&x->l, &st));
    must_ok(tl_expect(&x->l, 0));
}

static void call_everything_in_done(struct request *req)
{
    call_everything(req->ctx);
}

static void reentry_callbacks(struct fixture *x)
{
    static struct request q[3];
    memset(q, 0, sizeof q);
    x->cfg.max_in_flight = 1; /* a callback needs no place of its own */
    open_loader(x);
    for (size_t i = 0; i < COUNT(q); i++) {
        q[i].then = call_everything_in_done;
        q[i].ctx = x;
    }
    request_start_all(x, q, KEYS(1, 2, 1));
    (void)dispatch(x);
    tick(x);
    request_must(&q[0], 10);
    request_must(&q[1], 20);
    request_must(&q[2], 10);
}

static struct hook_log {
    struct fixture *x;
    size_t n_queued, n_start, n_end;
    size_t keys_started, keys_ended;
    size_t n_loads[3]; /* from each hook */
    bool inside[3];
} hook_log;

/* Once at a time for each hook: loads in it come back here. */
static void hook_work(struct hook_log *h, size_t hook)
{
    if (!h->inside[hook]) {
        uint64_t out;
        dload_stats st;
        h->inside[hook] = true;
        must_ok(tl_load(&h->x->l, 5000 + hook * 1000 + h->n_loads[hook]++, &out));
        must_ok(tl_clear(&h->x->l, 1));
        must_ok(tl_stats(&h->x->l, &st));
        h->inside[hook] = false;
    }
}

static void hook_queued(void *ctx)
{
    struct hook_log *h = ctx;
    h->n_queued++;
    hook_work(h, 0);
}

static void hook_start(void *ctx, size_t n_keys, dload_trigger why)
{
    struct hook_log *h = ctx;
    assert_true((unsigned)why < DLOAD_N_TRIGGERS);
    h->n_start++;
    h->keys_started += n_keys;
    hook_work(h, 1);
}

static void hook_end(void *ctx, size_t n_keys, dload_status st, uint64_t run_ns)
{
    struct hook_log *h = ctx;
    (void)run_ns;
    must_ok(st);
    h->n_end++;
    h->keys_ended += n_keys;
    hook_work(h, 2);
}

static void reentry_hooks(struct fixture *x)
{
    static dload_hooks hooks;
    hook_log = (struct hook_log){.x = x};
    hooks = (dload_hooks){hook_queued, hook_start, hook_end, &hook_log};
    x->cfg.hooks = &hooks;
    open_loader(x);
    load_one(x, 1, 10);
    load_one(x, 2, 20);
    load_one(x, 3, 30);
    assert_true(hook_log.n_queued >= 3 && hook_log.n_start >= 3);
    assert_true(hook_log.n_loads[0] >= 3 && hook_log.n_loads[1] >= 3 && hook_log.n_loads[2] >= 3);
    equal(hook_log.n_start, hook_log.n_end);
    equal(hook_log.n_start, x->r.n_calls);
    equal(hook_log.keys_started, x->r.n_keys);
    equal(hook_log.keys_ended, x->r.n_keys);
    close_for_next(x);
}

static ol counted_l;
static bool releasing;
static size_t n_releases_watched;

/* Once at a time: what it calls releases values, too. */
static void call_while_releasing(void)
{
    struct counted *o = NULL;
    dload_state s;
    if (releasing) {
        return;
    }
    releasing = true;
    n_releases_watched++;
    call_everything(&fixture);
    if (ol_load(&counted_l, 500 + n_releases_watched, &o) == DLOAD_OK) {
        counted_unref(o);
    }
    (void)ol_peek(&counted_l, 501, &s, NULL);
    must_ok(ol_clear(&counted_l, 501));
    releasing = false;
}

static dload_status fetch_counted_values(ol_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct counted *o = counted_new(b->keys[i]);
        must_ok(ol_batch_move(b, i, &o));
    }
    return DLOAD_OK;
}

static void load_counted(struct fixture *x, uint64_t key)
{
    struct counted *o = NULL;
    on_release = NULL; /* only what the loader releases is watched */
    must_ok(ol_get(x, &counted_l, key, &o));
    equal(o->key, key);
    counted_unref(o);
    n_releases_watched = 0;
    on_release = call_while_releasing;
}

static void reentry_destructors(struct fixture *x)
{
    ol_config cfg = ol_config_default();
    open_loader(x);
    cfg.fetch = fetch_counted_values;
    cfg.capacity = 4;
    cfg.shards = 1;
    cfg.ttl_ns = DLOAD_SECOND;
    n_counted = 0;
    ol_bring_up(x, &counted_l, &cfg);
    load_counted(x, 1);
    must_ok(ol_clear(&counted_l, 1));
    assert_true(n_releases_watched > 0);
    load_counted(x, 2);
    struct counted *other = counted_new(2);
    must_ok(ol_prime(&counted_l, 2, &other, DLOAD_OVERWRITE));
    assert_true(n_releases_watched > 0);
    on_release = NULL;
    counted_unref(other);
    for (uint64_t key = 10; key < 14; key++) {
        load_counted(x, key);
    }
    struct counted *o = NULL;
    must_ok(ol_get(x, &counted_l, 14, &o)); /* evicts */
    assert_true(n_releases_watched > 0);
    on_release = NULL;
    counted_unref(o);
    load_counted(x, 15);
    clock_set(x, tl_now(&x->l) + 2 * DLOAD_SECOND);
    must_ok(ol_process(&counted_l, ol_now(&counted_l))); /* expires */
    assert_true(n_releases_watched > 0);
    on_release = NULL;
    ol_take_down(x, &counted_l);
    equal(n_counted, 0);
}

/* ---- a callback's load ---- */

struct again {
    struct fixture *x;
    struct request next;
};

static void start_more_in_done(struct request *req)
{
    struct again *a = req->ctx;
    must(request_start(a->x, &a->next, req->key + 100), DLOAD_PENDING);
}

static void reentry_callback_loads(struct fixture *x)
{
    static struct again again[3];
    static struct request q[3];
    memset(again, 0, sizeof again);
    memset(q, 0, sizeof q);
    open_loader(x);
    for (size_t i = 0; i < 3; i++) {
        again[i].x = x;
        q[i].then = start_more_in_done;
        q[i].ctx = &again[i];
    }
    request_start_all(x, q, KEYS(1, 2, 3));
    equal(dispatch(x), 3);
    for (size_t i = 0; i < 3; i++) {
        request_must(&q[i], (i + 1) * 10);
        equal(again[i].next.n_done, 0);
    }
    equal(dispatch(x), 3);
    for (size_t i = 0; i < 3; i++) {
        request_must(&again[i].next, (i + 101) * 10);
    }
    calls_must(x, "B(1,2,3) B(101,102,103)");
}

static const struct test_case reentry_cases[] = {
    CASE(49, ON_ALL, "the function loads another key",
         "given a function that loads the next key, when 0 is loaded, then nested batches, all "
         "complete",
         NULL, reentry_nested),
    CASE(50, ON_ALL, "its own key is a deadlock",
         "given a function that loads a key of its own batch, then it is told EDEADLK at once",
         NULL, reentry_own_key),
    CASE(50, ON_ALL, "its own key through other loaders",
         "given three loaders in a ring, when one is loaded from, then who closes it is told "
         "EDEADLK",
         NULL, reentry_circle),
    CASE(50, ON_THREADS, "a circle of two threads",
         "given two functions in two threads that load from each other, then EDEADLK at once",
         "elsewhere one function runs at a time", reentry_circle_of_threads),
    CASE(51, ON_ALL, "callbacks call anything",
         "given callbacks that call every function, when they run, then all of it works", NULL,
         reentry_callbacks),
    CASE(51, ON_ALL, "hooks call anything",
         "given hooks that load and clear, when batches go, then all of it works", NULL,
         reentry_hooks),
    CASE(51, ON_ALL, "destructors call anything",
         "given values whose release calls every function, when they are dropped, then all of it "
         "works",
         NULL, reentry_destructors),
    CASE(52, ON_ALL, "a callback's load is in a new batch",
         "given callbacks that load again, when a batch ends, then a new batch, all siblings "
         "complete",
         NULL, reentry_callback_loads),
};

#endif /* DLOAD_TESTS_CASES_REENTRY_H */
