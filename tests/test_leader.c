/* Who sends a batch among threads, one interleaving at a time: the lead passes on, a free place is
 * used, nobody sleeps for ever. The C side of tests/models. */
/* locks: SPIN PTHREAD */
/* tsan */
#include "test_loader.h"

#include <pthread.h>
#include <stdlib.h>

/* Threads that take turns: only the one that has the baton runs, until it waits (env->wait), stops in
 * its fetch function, or ends. The clock stands still but for the test. */
enum task_state { TASK_RUNS, TASK_ASLEEP, TASK_FETCHING, TASK_DONE };
enum { N_TASKS = 8, N_TASK_KEYS = 4, SETTLE_NS = 100, RUN_LIMIT_NS = 5000 };

struct task {
    pthread_t thread;
    enum task_state state;
    uint64_t self;
    size_t n_keys;
    uint64_t keys[N_TASK_KEYS], out[N_TASK_KEYS];
    uint64_t deadline_ns;
    dload_status result;
    uint64_t inside; /* its fetch function loads this key; 0 = none */
    dload_status inside_result;
    const uint32_t *word; /* what it sleeps on, and until when */
    uint32_t seen;
    uint64_t until_ns;
};

static struct turns {
    pthread_mutex_t mutex;
    pthread_cond_t turn;
    struct task *holder; /* of the baton; NULL = the test */
    struct task tasks[N_TASKS];
    size_t n_tasks;
    struct fake_env f;
    struct text calls;
    uint64_t version; /* of the values that a fetch beginning now brings */
    uint64_t held[4]; /* a fetch of one of these keys stops until the test lets it go on */
    size_t n_held;
    tl_config cfg;
    tl l;
} s;

static _Thread_local struct task *current;

static void give_baton(struct task *to)
{
    pthread_mutex_lock(&s.mutex);
    s.holder = to;
    pthread_cond_broadcast(&s.turn);
    pthread_mutex_unlock(&s.mutex);
}

static void await_baton(struct task *me)
{
    pthread_mutex_lock(&s.mutex);
    while (s.holder != me) {
        pthread_cond_wait(&s.turn, &s.mutex);
    }
    pthread_mutex_unlock(&s.mutex);
}

static void stop_as(enum task_state state)
{
    current->state = state;
    give_baton(NULL);
    await_baton(current);
    current->state = TASK_RUNS;
}

static dload_status turn_wait(void *ctx, const uint32_t *word, uint32_t seen, uint64_t until_ns)
{
    (void)ctx;
    if (!current) {
        return DLOAD_EAGAIN;
    }
    current->word = word;
    current->seen = seen;
    current->until_ns = until_ns;
    stop_as(TASK_ASLEEP);
    return DLOAD_OK;
}

static uint64_t turn_self(void *ctx)
{
    (void)ctx;
    return current ? current->self : 1;
}

static bool is_held(const tl_batch *b)
{
    bool held = false;
    for (size_t i = 0; i < b->n * s.n_held; i++) {
        held = held || b->keys[i / s.n_held] == s.held[i % s.n_held];
    }
    return held;
}

static dload_status turn_fetch(tl_batch *b)
{
    uint64_t version = s.version;
    text_add(&s.calls, "%sB(", s.calls.len ? " " : "");
    for (size_t i = 0; i < b->n; i++) {
        text_add(&s.calls, "%s%" PRIu64, i ? "," : "", b->keys[i]);
    }
    text_add(&s.calls, ")");
    if (current && is_held(b)) {
        stop_as(TASK_FETCHING);
    }
    if (current && current->inside) {
        uint64_t out = 0, key = current->inside;
        current->inside = 0;
        current->inside_result = tl_load(b->owner, key, &out);
    }
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10 + version;
        (void)tl_batch_set(b, i, &value); /* refused when it was given up */
    }
    return DLOAD_OK;
}

static void *task_body(void *arg)
{
    struct task *t = arg;
    dload_call call = {.deadline_ns = t->deadline_ns};
    current = t;
    await_baton(t);
    t->result = t->n_keys == 1 ? tl_load_with(&s.l, t->keys[0], &call, t->out)
                               : tl_load_many_with(&s.l, t->keys, t->n_keys, &call, t->out, NULL);
    t->state = TASK_DONE;
    give_baton(NULL);
    return NULL;
}

static void turn(struct task *t)
{
    give_baton(t);
    await_baton(NULL);
}

/* A thread that loads these keys; runs until it stops for the first time. */
static struct task *load(uint64_t deadline_ns, const uint64_t *keys, size_t n)
{
    assert_true(s.n_tasks < N_TASKS && n <= N_TASK_KEYS);
    struct task *t = &s.tasks[s.n_tasks++];
    t->self = 1 + s.n_tasks;
    t->deadline_ns = deadline_ns;
    t->n_keys = n;
    memcpy(t->keys, keys, n * sizeof *keys);
    assert_int_equal(pthread_create(&t->thread, NULL, task_body, t), 0);
    turn(t);
    return t;
}

#define KEYS(...)        (uint64_t[]){__VA_ARGS__}, COUNT(((uint64_t[]){__VA_ARGS__}))
#define LOAD(...)        load(DLOAD_NEVER, KEYS(__VA_ARGS__))
#define LOAD_IN(ns, ...) load(s.f.now_ns + (ns), KEYS(__VA_ARGS__))

static bool is_woken(const struct task *t)
{
    return t->state == TASK_ASLEEP && *t->word != t->seen;
}

/* Everybody goes on who was woken or whose wait is over; not who fetches. */
static void settle(void)
{
    for (size_t i = 0; i < s.n_tasks; i++) {
        struct task *t = &s.tasks[i];
        if (is_woken(t) || (t->state == TASK_ASLEEP && s.f.now_ns >= t->until_ns)) {
            turn(t);
            i = (size_t)-1; /* from the first again */
        }
    }
}

static void pass(uint64_t ns)
{
    s.f.now_ns += ns;
    settle();
}

/* A fetch goes on, and then everybody who can. */
static void go_on(struct task *t)
{
    assert_int_equal(t->state, TASK_FETCHING);
    turn(t);
    settle();
}

static void hold(uint64_t key)
{
    assert_true(s.n_held < COUNT(s.held));
    s.held[s.n_held++] = key;
}

static void must_be_done(const struct task *t, dload_status want)
{
    assert_int_equal(t->state, TASK_DONE);
    must(t->result, want);
    for (size_t i = 0; want == DLOAD_OK && i < t->n_keys; i++) {
        equal(t->out[i] / 10, t->keys[i]);
    }
}

static int setup(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    pthread_mutex_init(&s.mutex, NULL);
    pthread_cond_init(&s.turn, NULL);
    fake_env_init(&s.f);
    s.f.env.wait = turn_wait;
    s.f.env.self = turn_self;
    s.cfg = tl_config_default();
    s.cfg.fetch = turn_fetch;
    s.cfg.env = &s.f.env;
    s.cfg.run_limit_ns = DLOAD_NEVER;
    s.cfg.max_in_flight = 1;
    return 0;
}

/* Who still waits is let go by the close, who still fetches goes on. */
static int teardown(void **state)
{
    (void)state;
    must_ok(tl_close(&s.l, DLOAD_FAIL, 0));
    for (size_t i = 0; i < s.n_tasks; i++) {
        for (int n = 0; s.tasks[i].state != TASK_DONE && n < 100; n++) {
            turn(&s.tasks[i]);
        }
        if (s.tasks[i].state != TASK_DONE) {
            print_error("thread %zu never ends\n", i);
            abort(); /* it stands on memory of this test */
        }
        pthread_join(s.tasks[i].thread, NULL);
    }
    must_ok(tl_destroy(&s.l));
    fake_env_check(&s.f);
    pthread_cond_destroy(&s.turn);
    pthread_mutex_destroy(&s.mutex);
    return 0;
}

/* Two callers in one batch: from now on a caller lingers for the settle time. */
static void open_with_company(void)
{
    s.cfg.settle_ns = SETTLE_NS;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(901);
    struct task *first = LOAD(901);
    struct task *a = LOAD(902), *b = LOAD(903);
    go_on(first);
    pass(SETTLE_NS);
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    text_must(&s.calls, "B(901) B(902,903)");
}

/* ---- the lead ---- */

static void test_leader_at_its_deadline(void **state)
{
    (void)state;
    open_with_company();
    struct task *a = LOAD_IN(SETTLE_NS / 2, 1), *b = LOAD(2);
    text_must(&s.calls, "");
    pass(SETTLE_NS / 2);
    must_be_done(a, DLOAD_ETIMEDOUT);
    pass(SETTLE_NS / 2);
    must_be_done(b, DLOAD_OK);
    text_must(&s.calls, "B(2)");
}

static void test_leader_goes_off_to_send(void **state)
{
    (void)state;
    s.cfg.max_batch = 3;
    s.cfg.max_in_flight = 2;
    s.cfg.settle_ns = SETTLE_NS;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(8);
    hold(9);
    hold(1);
    struct task *x = LOAD(8), *y = LOAD(9);
    struct task *p = LOAD(1, 2, 3, 4); /* leads (4), and (1,2,3) is queued */
    struct task *q = LOAD(5);          /* follows */
    turn(x);
    turn(y); /* two places are free, and p is awake */
    settle();
    assert_int_equal(p->state, TASK_FETCHING);
    pass(SETTLE_NS);
    must_be_done(q, DLOAD_OK);
    text_must(&s.calls, "B(8) B(9) B(1,2,3) B(4,5)");
    go_on(p);
    must_be_done(p, DLOAD_OK);
}

/* A batch that is complete does not wait for its settle time, whoever completed it. */
static void test_leader_is_told(void **state)
{
    (void)state;
    static struct request r;
    s.cfg.max_batch = 3;
    open_with_company();
    struct task *a = LOAD(1), *b = LOAD(2);
    text_must(&s.calls, "");
    memset(&r, 0, sizeof r);
    must(tl_start(&s.l, 3, &r.w), DLOAD_PENDING);
    settle();
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    text_must(&s.calls, "B(1,2,3)");
    a = LOAD(4);
    b = LOAD(5);
    must_ok(tl_expect(&s.l, 2));
    settle();
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    text_must(&s.calls, "B(4,5)");
}

/* ---- places among the running ones ---- */

static void test_leader_place_is_used(void **state)
{
    (void)state;
    s.cfg.max_batch = 1;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(2), *c = LOAD(3), *d = LOAD(1);
    text_must(&s.calls, "B(1)");
    go_on(a);
    must_be_done(a, DLOAD_OK);
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
    must_be_done(d, DLOAD_OK);
    text_must(&s.calls, "B(2) B(3)");
}

static void test_leader_nested_load_has_a_place(void **state)
{
    (void)state;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(1);
    struct task *a = LOAD(1);
    a->inside = 2;
    go_on(a);
    must_be_done(a, DLOAD_OK);
    must_ok(a->inside_result);
    text_must(&s.calls, "B(1) B(2)");
}

/* Who gives a batch up tells one who sleeps for its place. */
static void test_leader_abandoned_place_is_used(void **state)
{
    (void)state;
    s.cfg.max_batch = 1;
    s.cfg.run_limit_ns = RUN_LIMIT_NS;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(2), *c = LOAD(1);
    s.f.now_ns += RUN_LIMIT_NS + 1;
    assert_false(is_woken(b));
    turn(c);
    must_be_done(c, DLOAD_ETIMEDOUT);
    assert_true(is_woken(b));
    settle();
    must_be_done(b, DLOAD_OK);
    go_on(a);
    must_be_done(a, DLOAD_ETIMEDOUT);
}

/* ---- what comes late ---- */

static void test_leader_late_answer(void **state)
{
    (void)state;
    s.cfg.run_limit_ns = RUN_LIMIT_NS;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(1);
    pass(RUN_LIMIT_NS + 1);
    must_be_done(b, DLOAD_ETIMEDOUT);
    s.n_held = 0;
    s.version = 1;
    struct task *c = LOAD(1);
    must_be_done(c, DLOAD_OK);
    equal(c->out[0], 11);
    go_on(a); /* it answers 10 */
    must_be_done(a, DLOAD_ETIMEDOUT);
    c = LOAD(1);
    equal(c->out[0], 11);
    text_must(&s.calls, "B(1) B(1)");
    dload_stats st = {0};
    must_ok(tl_stats(&s.l, &st));
    equal(st.abandoned, 1);
    equal(st.late_answers, 1);
}

static void test_leader_cleared_while_fetching(void **state)
{
    (void)state;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(1);
    for (int all = 0; all < 2; all++) {
        struct task *a = LOAD(1);
        must_ok(all ? tl_clear_all(&s.l) : tl_clear(&s.l, 1));
        s.version++;
        go_on(a);
        must_be_done(a, DLOAD_OK);
        equal(a->out[0], 10 + s.version - 1);
        dload_state is = DLOAD_STATE_READY;
        must(tl_peek(&s.l, 1, &is, NULL), DLOAD_MISSING);
        equal(is, DLOAD_STATE_ABSENT);
    }
}

/* ---- what must not get lost ---- */

/* A batch that nobody wants any more does not stay in the way. */
static void test_leader_dead_batch_leaves_the_queue(void **state)
{
    (void)state;
    s.cfg.max_batch = 1;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD_IN(SETTLE_NS, 2), *c = LOAD(3);
    pass(SETTLE_NS);
    must_be_done(b, DLOAD_ETIMEDOUT);
    size_t n_allocs = s.f.n_allocs;
    for (uint64_t key = 100; key < 200; key++) {
        uint64_t out = 0;
        must(tl_load(&s.l, key, &out), DLOAD_EAGAIN); /* the test itself cannot wait */
    }
    assert_true(s.f.n_allocs <= n_allocs + 2); /* nor does it keep its memory */
    go_on(a);
    must_be_done(c, DLOAD_OK);
    text_must(&s.calls, "B(1) B(3)");
}

/* A batch of callbacks only, whose loop is late, does not stop those behind it. */
static void test_leader_late_loop(void **state)
{
    (void)state;
    static struct request r;
    s.cfg.max_batch = 1;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(1);
    struct task *a = LOAD(1);
    memset(&r, 0, sizeof r);
    r.w.done = request_done;
    r.w.ctx = &r;
    must(tl_start(&s.l, 2, &r.w), DLOAD_PENDING);
    struct task *c = LOAD(3);
    go_on(a);
    must_be_done(c, DLOAD_OK);
    text_must(&s.calls, "B(1) B(3)");
    must_ok(tl_dispatch(&s.l, NULL));
    equal(r.n_done, 1);
}

/* Who gives a batch up uses its place. */
static void test_leader_abandons_for_itself(void **state)
{
    (void)state;
    s.cfg.max_batch = 1;
    s.cfg.run_limit_ns = RUN_LIMIT_NS;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(2);
    pass(RUN_LIMIT_NS + 1);
    must_be_done(b, DLOAD_OK);
    go_on(a);
    must_be_done(a, DLOAD_ETIMEDOUT);
}

/* A wake-up goes to somebody who sleeps. */
static void test_leader_wakes_who_sleeps(void **state)
{
    (void)state;
    s.cfg.max_batch = 1;
    s.cfg.max_in_flight = 2;
    must_ok(tl_init(&s.l, &s.cfg));
    hold(1);
    hold(2);
    hold(3);
    struct task *x = LOAD(1), *y = LOAD(2), *p = LOAD(3, 4), *q = LOAD(4);
    go_on(x);
    assert_int_equal(p->state, TASK_FETCHING);
    go_on(y);
    must_be_done(q, DLOAD_OK);
    go_on(p);
    must_be_done(p, DLOAD_OK);
}

/* A fetch function that loads does not wait for a leader that waits for it. */
static void test_leader_nested_takes_the_lead(void **state)
{
    (void)state;
    open_with_company();
    hold(1);
    struct task *a = LOAD(1);
    pass(SETTLE_NS);
    struct task *b = LOAD(2), *c = LOAD(3);
    a->inside = 2;
    go_on(a);
    pass(SETTLE_NS);
    must_be_done(a, DLOAD_OK);
    must_ok(a->inside_result);
    must_be_done(b, DLOAD_OK);
    must_be_done(c, DLOAD_OK);
}

/* The run limit is kept by those too who fell asleep before the run began. */
static void test_leader_follower_knows_the_limit(void **state)
{
    (void)state;
    s.cfg.run_limit_ns = RUN_LIMIT_NS;
    open_with_company();
    hold(1);
    struct task *a = LOAD(1), *b = LOAD(1);
    pass(SETTLE_NS);
    assert_int_equal(a->state, TASK_FETCHING);
    for (int i = 0; i < 4 && b->state != TASK_DONE; i++) {
        pass(RUN_LIMIT_NS);
    }
    must_be_done(b, DLOAD_ETIMEDOUT);
    go_on(a);
}

#define TURN(text, fn)                  \
    {                                   \
        text, fn, setup, teardown, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURN("the lead passes on at a deadline", test_leader_at_its_deadline),
        TURN("the lead passes on before a send", test_leader_goes_off_to_send),
        TURN("the leader is told that its batch is complete", test_leader_is_told),
        TURN("a free place is used", test_leader_place_is_used),
        TURN("a load in a fetch function has a place", test_leader_nested_load_has_a_place),
        TURN("the place of an abandoned batch is used", test_leader_abandoned_place_is_used),
        TURN("an answer after the run limit changes nothing", test_leader_late_answer),
        TURN("cleared while it is fetched", test_leader_cleared_while_fetching),
        TURN("a dead batch leaves the queue", test_leader_dead_batch_leaves_the_queue),
        TURN("a late loop stops nobody", test_leader_late_loop),
        TURN("who gives a batch up uses its place", test_leader_abandons_for_itself),
        TURN("a wake-up goes to who sleeps", test_leader_wakes_who_sleeps),
        TURN("a nested load takes the lead", test_leader_nested_takes_the_lead),
        TURN("a follower knows the run limit", test_leader_follower_knows_the_limit),
    };
    return cmocka_run_group_tests_name("leader " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
