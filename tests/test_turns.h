/* Threads that take turns: only the one that has the baton runs, until it waits (env->wait), stops in its
 * fetch function or where the test says, or ends. The clock stands still but for the test. So every interleaving of blocking
 * callers can be played, again and again the same.
 *
 * A program includes test_loader.h before; its loaders use turns.cfg, and turns_fetch or their own.
 */
#ifndef DLOAD_TESTS_TURNS_H
#define DLOAD_TESTS_TURNS_H

#include <pthread.h>
#include <stdlib.h>

enum task_state { TASK_RUNS, TASK_ASLEEP, TASK_FETCHING, TASK_PAUSED, TASK_DONE };
enum { N_TASKS = 40, N_TASK_KEYS = 8 };

struct task {
    pthread_t thread;
    enum task_state state;
    uint64_t self;
    void (*body)(struct task *t); /* task_loads, or the test's own */
    tl *l;
    size_t n_keys;
    uint64_t keys[N_TASK_KEYS], out[N_TASK_KEYS];
    dload_status statuses[N_TASK_KEYS];
    uint64_t deadline_ns;
    dload_status result;
    uint64_t inside; /* its fetch function loads this key; 0 = none */
    dload_status inside_result;
    const uint32_t *word; /* what it sleeps on, and until when */
    uint32_t seen;
    uint64_t until_ns;
    size_t n_sleeps;
};

static struct turns {
    pthread_mutex_t mutex;
    pthread_cond_t turn;
    struct task *holder; /* of the baton; NULL = the test */
    struct task tasks[N_TASKS];
    size_t n_tasks;
    struct fake_env f;
    struct text calls; /* "B(1,2) B(3)", one B a call */
    uint64_t fetch_ns; /* by how much a fetch moves the clock */
    uint64_t version;  /* of the values that a fetch beginning now brings; below 10 */
    uint64_t held[4];  /* a fetch of one of these keys stops until the test lets it go on */
    size_t n_held;
    tl_config cfg;
    tl l;
    tl *others[4]; /* loaders that end with it */
} turns;

static _Thread_local struct task *current;

static inline void give_baton(struct task *to)
{
    pthread_mutex_lock(&turns.mutex);
    turns.holder = to;
    pthread_cond_broadcast(&turns.turn);
    pthread_mutex_unlock(&turns.mutex);
}

static inline void await_baton(const struct task *me)
{
    pthread_mutex_lock(&turns.mutex);
    while (turns.holder != me) {
        pthread_cond_wait(&turns.turn, &turns.mutex);
    }
    pthread_mutex_unlock(&turns.mutex);
}

static inline void stop_as(enum task_state state)
{
    current->state = state;
    give_baton(NULL);
    await_baton(current);
    current->state = TASK_RUNS;
}

static inline dload_status turns_wait(void *ctx, const uint32_t *word, uint32_t seen,
                                      uint64_t until_ns)
{
    (void)ctx;
    if (!current) {
        return DLOAD_EAGAIN; /* the test itself cannot wait */
    }
    current->word = word;
    current->seen = seen;
    current->until_ns = until_ns;
    current->n_sleeps++;
    stop_as(TASK_ASLEEP);
    return DLOAD_OK;
}

static inline uint64_t turns_self(void *ctx)
{
    (void)ctx;
    return current ? current->self : 1;
}

static inline bool is_held(const tl_batch *b)
{
    bool held = false;
    for (size_t i = 0; i < b->n * turns.n_held; i++) {
        held = held || b->keys[i / turns.n_held] == turns.held[i % turns.n_held];
    }
    return held;
}

static inline dload_status turns_fetch(tl_batch *b)
{
    uint64_t version = turns.version;
    text_add(&turns.calls, "%s%s(", turns.calls.len ? " " : "",
             b->ctx ? (const char *)b->ctx : "B");
    for (size_t i = 0; i < b->n; i++) {
        text_add(&turns.calls, "%s%" PRIu64, i ? "," : "", b->keys[i]);
    }
    text_add(&turns.calls, ")");
    if (current && is_held(b)) {
        stop_as(TASK_FETCHING);
    }
    if (current && current->inside) {
        uint64_t out = 0, key = current->inside;
        current->inside = 0;
        current->inside_result = tl_load(b->owner, key, &out);
    }
    turns.f.now_ns += turns.fetch_ns;
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10 + version;
        (void)tl_batch_set(b, i, &value); /* refused when it was given up */
    }
    return DLOAD_OK;
}

static inline void task_loads(struct task *t)
{
    dload_call call = {.deadline_ns = t->deadline_ns};
    t->result = t->n_keys == 1
                    ? tl_load_with(t->l, t->keys[0], &call, t->out)
                    : tl_load_many_with(t->l, t->keys, t->n_keys, &call, t->out, t->statuses);
}

static inline void *task_main(void *arg)
{
    struct task *t = arg;
    current = t;
    await_baton(t);
    t->body(t);
    t->state = TASK_DONE;
    give_baton(NULL);
    return NULL;
}

/* Lets t run until it stops. */
static inline void turn(struct task *t)
{
    give_baton(t);
    await_baton(NULL);
}

/* A thread with a body of the test's own; it has not run yet. */
static inline struct task *task_make(void (*body)(struct task *t))
{
    assert_true(turns.n_tasks < N_TASKS);
    struct task *t = &turns.tasks[turns.n_tasks++];
    t->self = 1 + turns.n_tasks;
    t->body = body;
    t->l = &turns.l;
    t->deadline_ns = DLOAD_NEVER;
    assert_int_equal(pthread_create(&t->thread, NULL, task_main, t), 0);
    return t;
}

/* A thread that loads these keys; runs until it stops for the first time. */
static inline struct task *load(uint64_t deadline_ns, const uint64_t *keys, size_t n)
{
    assert_true(n <= N_TASK_KEYS);
    struct task *t = task_make(task_loads);
    t->deadline_ns = deadline_ns;
    t->n_keys = n;
    memcpy(t->keys, keys, n * sizeof *keys);
    turn(t);
    return t;
}

#define KEYS(...)        (const uint64_t[]){__VA_ARGS__}, COUNT(((const uint64_t[]){__VA_ARGS__}))
#define LOAD(...)        load(DLOAD_NEVER, KEYS(__VA_ARGS__))
#define LOAD_IN(ns, ...) load(turns.f.now_ns + (ns), KEYS(__VA_ARGS__))

static inline bool is_woken(const struct task *t)
{
    return t->state == TASK_ASLEEP && *t->word != t->seen;
}

/* Everybody goes on who was woken or whose wait is over; not who fetches. */
static inline void settle(void)
{
    size_t n_turns = 0;
    for (size_t i = 0; i < turns.n_tasks; i++) {
        struct task *t = &turns.tasks[i];
        if (is_woken(t) || (t->state == TASK_ASLEEP && turns.f.now_ns >= t->until_ns)) {
            turn(t);
            assert_true(++n_turns < 10000); /* somebody wakes up again and again */
            i = (size_t)-1;                 /* from the first again */
        }
    }
}

static inline void pass(uint64_t ns)
{
    turns.f.now_ns += ns;
    settle();
}

/* A fetch goes on, and then everybody who can. */
static inline void go_on(struct task *t)
{
    assert_int_equal(t->state, TASK_FETCHING);
    turn(t);
    settle();
}

static inline void hold(uint64_t key)
{
    assert_true(turns.n_held < COUNT(turns.held));
    turns.held[turns.n_held++] = key;
}

static inline void must_be_done(const struct task *t, dload_status want)
{
    assert_int_equal(t->state, TASK_DONE);
    must(t->result, want);
    for (size_t i = 0; want == DLOAD_OK && i < t->n_keys; i++) {
        equal(t->out[i] / 10, t->keys[i]);
    }
}

static inline int turns_setup(void **state)
{
    (void)state;
    memset(&turns, 0, sizeof turns);
    pthread_mutex_init(&turns.mutex, NULL);
    pthread_cond_init(&turns.turn, NULL);
    fake_env_init(&turns.f);
    turns.f.env.wait = turns_wait;
    turns.f.env.self = turns_self;
    turns.cfg = tl_config_default();
    turns.cfg.fetch = turns_fetch;
    turns.cfg.env = &turns.f.env;
    turns.cfg.run_limit_ns = DLOAD_NEVER;
    return 0;
}

/* All threads end by themselves, or by a close of the loaders that the test made. */
static inline int turns_teardown(void **state)
{
    (void)state;
    must_ok(tl_close(&turns.l, DLOAD_FAIL, 0));
    for (size_t i = 0; i < COUNT(turns.others) && turns.others[i]; i++) {
        must_ok(tl_close(turns.others[i], DLOAD_FAIL, 0));
    }
    for (size_t i = 0; i < turns.n_tasks; i++) {
        for (int n = 0; turns.tasks[i].state != TASK_DONE && n < 100; n++) {
            turn(&turns.tasks[i]);
        }
        if (turns.tasks[i].state != TASK_DONE) {
            print_error("thread %zu never ends\n", i);
            abort(); /* it stands on memory of this test */
        }
        pthread_join(turns.tasks[i].thread, NULL);
    }
    equal(turns.l.core.n_callers, 0);
    must_ok(tl_destroy(&turns.l));
    for (size_t i = 0; i < COUNT(turns.others) && turns.others[i]; i++) {
        must_ok(tl_destroy(turns.others[i]));
    }
    fake_env_check(&turns.f);
    pthread_cond_destroy(&turns.turn);
    pthread_mutex_destroy(&turns.mutex);
    return 0;
}

#define TURNS(text, fn)                             \
    {                                               \
        text, fn, turns_setup, turns_teardown, NULL \
    }

#endif /* DLOAD_TESTS_TURNS_H */
