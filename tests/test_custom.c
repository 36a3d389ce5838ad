/* DLOAD_LOCK_CUSTOM without env->wait, freestanding, as on a core with one processor: tasks of a higher priority
 * run to their end wherever a section is not entered, and one that would have to wait is told DLOAD_EAGAIN. */
#define DLOAD_FREESTANDING 1

struct section {
    int is_inside;
};
static void section_enter(struct section *s);
static void section_leave(struct section *s);
static void section_destroy(struct section *s);
static int n_sections; /* made, and not ended */

#define DLOAD_CUSTOM_TYPE       struct section
#define DLOAD_CUSTOM_INIT(p)    ((p)->is_inside = 0, n_sections++)
#define DLOAD_CUSTOM_ENTER(p)   section_enter(p)
#define DLOAD_CUSTOM_LEAVE(p)   section_leave(p)
#define DLOAD_CUSTOM_DESTROY(p) section_destroy(p)
#undef TEST_LOCK
#define TEST_LOCK DLOAD_LOCK_CUSTOM
#include "test_loader.h"

enum { N_KEYS = 24, N_TASKS = 4, N_REQUESTS = 8 };

/* ---- the processor ---- */

static struct {
    struct section *held[2];
    size_t n_held;
    size_t task; /* who runs; a higher number has a higher priority */
    void (*interrupt)(
        size_t task);  /* what the next task does, at every edge of a section; NULL = nothing */
    struct fixture *x; /* of the case */
    uint64_t random;   /* of the storm */
    uint64_t version[N_KEYS]; /* of the source */
    uint64_t cleared[N_KEYS]; /* of the source when a clear of the key last returned */
    struct request requests[N_REQUESTS];
    bool is_out[N_REQUESTS];
    size_t n_entered; /* sections */
    size_t n_interrupts, n_again, n_answered, n_callbacks;
} cpu;

static uint64_t cpu_self(void *ctx)
{
    (void)ctx;
    return cpu.task + 1;
}

/* A task of a higher priority becomes ready: it runs, and this one goes on when it has ended. */
static void interrupt(void)
{
    if (cpu.interrupt == NULL || cpu.n_held != 0 || cpu.task + 1 == N_TASKS) {
        return;
    }
    cpu.n_interrupts++;
    cpu.task++;
    cpu.interrupt(cpu.task);
    assert_int_equal(cpu.n_held, 0);
    cpu.task--;
}

static void section_enter(struct section *s)
{
    interrupt();
    assert_int_equal(s->is_inside, 0); /* one processor: only this task could be inside */
    assert_true(cpu.n_held < COUNT(cpu.held));
    s->is_inside = 1;
    cpu.n_entered++;
    cpu.held[cpu.n_held++] = s;
}

static void section_leave(struct section *s)
{
    assert_true(cpu.n_held != 0 && cpu.held[cpu.n_held - 1] == s);
    s->is_inside = 0;
    cpu.n_held--;
    interrupt();
}

static void section_destroy(struct section *s)
{
    assert_int_equal(s->is_inside, 0);
    n_sections--;
}

static int cpu_setup(void **state)
{
    memset(&cpu, 0, sizeof cpu);
    assert_int_equal(n_sections, 0);
    (void)fixture_setup(state);
    cpu.x = *state;
    cpu.x->f.env.wait = NULL;
    cpu.x->f.env.wake = NULL;
    cpu.x->f.env.self = cpu_self;
    return 0;
}

static int cpu_teardown(void **state)
{
    cpu.interrupt = NULL;
    int rc = fixture_teardown(state);
    assert_int_equal(cpu.n_held, 0);
    assert_int_equal(n_sections, 0);
    return rc;
}

/* ---- tasks that meet ---- */

/* In the fetch function of task 0: what a task that comes between gets, for its key and another. */
struct meeting {
    uint64_t own_key, other_key;
    dload_status own, other;
    uint64_t value;
};

static void meet(struct recorder *r, tl_batch *b)
{
    struct meeting *m = r->act_ctx;
    (void)b;
    assert_int_equal(cpu.n_held, 0);
    r->act = NULL;
    cpu.task++;
    uint64_t out = 77;
    m->own = tl_load(&cpu.x->l, m->own_key, &out);
    equal(out, 77);
    m->other = tl_load(&cpu.x->l, m->other_key, &m->value);
    cpu.task--;
}

/* The key that is being fetched: come again. Another key: a batch of its own beside it. */
static void test_custom_meets_a_batch(void **state)
{
    struct fixture *x = *state;
    struct meeting m = {1, 2, 1, 1, 0};
    x->r.act = meet;
    x->r.act_ctx = &m;
    fixture_open(x);
    load_must(x, 1, 10);
    must(m.own, DLOAD_EAGAIN);
    must_ok(m.other);
    equal(m.value, 20);
    text_must(&x->r.calls, "B(1) B(2)");
    load_must(x, 1, 10); /* the one that came too early finds it cached */
    text_must(&x->r.calls, "");
    equal(stats_of(x).timeouts, 0);
}

/* The function cannot run twice at a time: max_in_flight says so, and the second task comes again. */
static void test_custom_max_in_flight(void **state)
{
    struct fixture *x = *state;
    struct meeting m = {1, 2, 1, 1, 77};
    x->r.act = meet;
    x->r.act_ctx = &m;
    x->cfg.max_in_flight = 1;
    fixture_open(x);
    load_must(x, 1, 10);
    must(m.own, DLOAD_EAGAIN);
    must(m.other, DLOAD_EAGAIN);
    equal(m.value, 77);
    text_must(&x->r.calls, "B(1)");
    equal(dispatch(x), 0); /* its key is not left behind */
    load_must(x, 2, 20);
    text_must(&x->r.calls, "B(2)");
}

/* A fetch function that loads is no other task: its inner batch needs no place of its own. */
static void load_inside(struct recorder *r, tl_batch *b)
{
    (void)b;
    r->act = NULL;
    load_must(cpu.x, 5, 50);
    uint64_t out = 0;
    must(tl_load(&cpu.x->l, 1, &out), DLOAD_EDEADLK);
}

static void test_custom_nested(void **state)
{
    struct fixture *x = *state;
    x->r.act = load_inside;
    x->cfg.max_in_flight = 1;
    fixture_open(x);
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1) B(5)");
}

/* Many keys, of which another task fetches one: that one comes again, the others are answered. */
static dload_status many_st[3];

static void load_many_between(struct recorder *r, tl_batch *b)
{
    static const uint64_t keys[3] = {4, 1, 6};
    uint64_t out[3] = {7, 7, 7};
    (void)b;
    r->act = NULL;
    cpu.task++;
    must(tl_load_many(&cpu.x->l, keys, 3, out, many_st), DLOAD_EAGAIN);
    cpu.task--;
    equal(out[0], 40);
    equal(out[1], 7);
    equal(out[2], 60);
}

static void test_custom_many(void **state)
{
    struct fixture *x = *state;
    x->r.act = load_many_between;
    fixture_open(x);
    load_must(x, 1, 10);
    must_ok(many_st[0]);
    must(many_st[1], DLOAD_EAGAIN);
    must_ok(many_st[2]);
    text_must(&x->r.calls, "B(1) B(4,6)");
}

/* A request does not wait, and so joins what another task fetches. */
static struct request joined;

static void start_between(struct recorder *r, tl_batch *b)
{
    (void)b;
    r->act = NULL;
    cpu.task++;
    must(request_start(cpu.x, &joined, 1), DLOAD_PENDING);
    cpu.task--;
}

static void test_custom_start_joins(void **state)
{
    struct fixture *x = *state;
    memset(&joined, 0, sizeof joined);
    x->r.act = start_between;
    fixture_open(x);
    load_must(x, 1, 10);
    request_must(&joined, 10);
    text_must(&x->r.calls, "B(1)");
}

/* At the queue's bound a call that may wait sends what is there; what still does not fit comes again. */
static void full_between(struct recorder *r, tl_batch *b)
{
    uint64_t out = 0;
    (void)b;
    r->act = NULL;
    cpu.task++;
    must(tl_load(&cpu.x->l, 3, &out), DLOAD_EAGAIN);
    cpu.task--;
}

static void test_custom_queue_full(void **state)
{
    struct fixture *x = *state;
    x->cfg.max_queue = 1;
    x->cfg.queue_wait = true;
    x->r.act = full_between;
    fixture_open(x);
    load_must(x, 1, 10);
    load_must(x, 3, 30);
    text_must(&x->r.calls, "B(1) B(3)");
}

/* A hit looks under the section: a task that came between could move what it reads. */
static void test_custom_hit(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    load_must(x, 1, 10);
    size_t n_before = cpu.n_entered;
    load_must(x, 1, 10);
    equal(cpu.n_entered, n_before + 1);
    uint64_t out = 0;
    must_ok(tl_cache_get(&x->l.cache, 1, &out));
    equal(cpu.n_entered, n_before + 2);
}

/* Every section that was made ends: of a loader that caches nothing, and of one that could not be made. */
static void test_custom_ends(void **state)
{
    struct fixture *x = *state;
    tl refused;
    tl_config cfg = x->cfg;
    cfg.fetch = rec_fetch;
    cfg.ttl_jitter_pct = 91;
    must(tl_init(&refused, &cfg), DLOAD_EINVAL);
    equal(n_sections, 0);
    x->f.fail_at = 1;
    fake_env_arm(&x->f);
    cfg.ttl_jitter_pct = 0;
    cfg.env = &x->f.env;
    must(tl_init(&refused, &cfg), DLOAD_ENOMEM);
    fake_env_disarm(&x->f);
    equal(n_sections, 0);
    x->cfg.capacity = DLOAD_NO_CACHE;
    fixture_open(x);
    load_must(x, 1, 10);
    assert_int_not_equal(n_sections, 0); /* they end with the case: see cpu_teardown */
}

/* ---- tasks that come between everywhere ---- */

static void storm_check(uint64_t key, uint64_t value, uint64_t least_version)
{
    equal(value / 1000, key);
    assert_true(value % 1000 >= least_version % 1000);
    cpu.n_answered++;
}

/* Who runs alone is always served: nobody else's batch can be under way. */
static void storm_status(dload_status st, size_t task)
{
    if (st == DLOAD_EAGAIN && task != 0) {
        cpu.n_again++;
        return;
    }
    must_ok(st);
}

static void storm_load(size_t task)
{
    uint64_t key = rng_below(&cpu.random, N_KEYS);
    uint64_t least = cpu.cleared[key];
    uint64_t out = 0;
    dload_status st = tl_load(&cpu.x->l, key, &out);
    storm_status(st, task);
    if (st == DLOAD_OK) {
        storm_check(key, out, least);
    }
}

static void storm_load_many(size_t task)
{
    uint64_t keys[3], out[3], least[3];
    dload_status st[3];
    uint64_t first = rng_below(&cpu.random, N_KEYS);
    for (size_t i = 0; i < 3; i++) {
        keys[i] = (first + 5 * i) % N_KEYS;
        least[i] = cpu.cleared[keys[i]];
    }
    storm_status(tl_load_many(&cpu.x->l, keys, 3, out, st), task);
    for (size_t i = 0; i < 3; i++) {
        storm_status(st[i], task);
        if (st[i] == DLOAD_OK) {
            storm_check(keys[i], out[i], least[i]);
        }
    }
}

static void storm_done(struct request *req)
{
    size_t i = (size_t)(req - cpu.requests);
    assert_int_equal(cpu.n_held, 0);
    assert_true(cpu.is_out[i]);
    must_ok(req->w.status);
    equal(req->w.value / 1000, req->key);
    cpu.is_out[i] = false;
    cpu.n_callbacks++;
}

static void storm_start(size_t task)
{
    size_t i = rng_below(&cpu.random, N_REQUESTS);
    (void)task;
    if (cpu.is_out[i]) {
        return;
    }
    cpu.is_out[i] = true;
    cpu.requests[i].then = storm_done;
    dload_status st = request_start(cpu.x, &cpu.requests[i], rng_below(&cpu.random, N_KEYS));
    if (st != DLOAD_PENDING) {
        must_ok(st);
        cpu.is_out[i] = false;
    }
}

static void storm_clear(size_t task)
{
    uint64_t key = rng_below(&cpu.random, N_KEYS);
    (void)task;
    uint64_t version = ++cpu.version[key] % 1000;
    must_ok(tl_clear(&cpu.x->l, key));
    if (version > cpu.cleared[key]) {
        cpu.cleared[key] = version;
    }
}

static void storm_other(size_t task)
{
    (void)task;
    uint64_t out = 0;
    dload_state state;
    switch (rng_below(&cpu.random, 4)) {
    case 0:
        cpu.x->f.now_ns += 40 * DLOAD_MILLISECOND;
        break;
    case 1:
        (void)dispatch(cpu.x);
        break;
    case 2:
        (void)stats_of(cpu.x);
        break;
    default:
        (void)tl_peek(&cpu.x->l, rng_below(&cpu.random, N_KEYS), &state, &out);
        break;
    }
}

static void storm_act(size_t task)
{
    static void (*const acts[])(size_t task) = {storm_load,  storm_load,  storm_load_many,
                                                storm_start, storm_clear, storm_other};
    acts[rng_below(&cpu.random, COUNT(acts))](task);
}

static void storm_interrupt(size_t task)
{
    if (rng_below(&cpu.random, 8) == 0) {
        storm_act(task);
    }
}

static dload_status storm_fetch(tl_batch *b)
{
    uint64_t values[8];
    assert_int_equal(cpu.n_held, 0);
    assert_true(b->n <= COUNT(values));
    for (size_t i = 0; i < b->n; i++) { /* read first, and delivered after others have run */
        values[i] = b->keys[i] * 1000 + cpu.version[b->keys[i]] % 1000;
    }
    interrupt();
    interrupt();
    for (size_t i = 0; i < b->n; i++) {
        must_ok(tl_batch_set(b, i, &values[i]));
    }
    return DLOAD_OK;
}

/* Versions stay below 1000 here, so that an answer says which one it is. */
static void storm(struct fixture *x, size_t max_in_flight)
{
    cpu.random = test_seed("custom storm");
    x->cfg.fetch = storm_fetch;
    x->cfg.capacity = 16;
    x->cfg.max_batch = 8;
    x->cfg.max_in_flight = max_in_flight;
    x->cfg.ttl_ns = DLOAD_SECOND;
    fixture_open(x);
    for (size_t i = 0; i < scaled(6000); i++) {
        cpu.interrupt = storm_interrupt;
        storm_act(0);
        cpu.interrupt = NULL;
        for (size_t key = 0; i % 50 == 0 && key < N_KEYS; key++) {
            cpu.version[key] = cpu.cleared[key] = 0;
        }
        if (i % 50 == 0) {
            (void)dispatch(x);
            must_ok(tl_clear_all(&x->l));
        }
    }
    (void)dispatch(x);
    for (size_t i = 0; i < N_REQUESTS; i++) {
        assert_false(cpu.is_out[i]);
    }
    dload_stats s = stats_of(x);
    equal(s.timeouts, 0);
    /* It was one. */
    assert_true(cpu.n_interrupts > scaled(6000) && cpu.n_answered > scaled(3000));
    assert_true(cpu.n_again > scaled(100) && cpu.n_callbacks > scaled(300));
}

static void test_custom_storm(void **state)
{
    storm(*state, 4);
}

static void test_custom_storm_one_place(void **state)
{
    storm(*state, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CUSTOM(text, fn) {text, fn, cpu_setup, cpu_teardown, NULL}
        CUSTOM("a task that meets another's batch comes again", test_custom_meets_a_batch),
        CUSTOM("max_in_flight bounds the tasks in the fetch function", test_custom_max_in_flight),
        CUSTOM("a fetch function may load", test_custom_nested),
        CUSTOM("of many keys those that another fetches come again", test_custom_many),
        CUSTOM("a request joins", test_custom_start_joins),
        CUSTOM("at the queue's bound", test_custom_queue_full),
        CUSTOM("a hit is looked for in a section", test_custom_hit),
        CUSTOM("all sections end", test_custom_ends),
        CUSTOM("tasks come between everywhere", test_custom_storm),
        CUSTOM("... with one place for a batch", test_custom_storm_one_place),
    };
    return cmocka_run_group_tests_name("custom", tests, NULL, NULL);
}
