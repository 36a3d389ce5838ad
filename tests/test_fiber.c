/* Tasks with stacks of their own: batches by level (rule 56), deadlines, answers from elsewhere,
 * errors, nested loads (49, 50), stacks and their guards. */
/* locks: NONE SPIN PTHREAD */
#define _DEFAULT_SOURCE /* sigaltstack */
#include "test_loader.h"
#include "adapters/dataloader_fiber.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

/* ---- a scheduler beside the usual fixture ---- */

struct fibers {
    struct fixture x; /* x.l is the first loader */
    dload_fiber_config cfg;
    dload_fiber_sched s;
};

static struct fibers fibers;

static int fibers_setup(void **state)
{
    memset(&fibers, 0, sizeof fibers);
    fake_env_init(&fibers.x.f);
    fibers.x.cfg = tl_config_default();
    fibers.x.cfg.fetch = rec_fetch;
    fibers.x.cfg.ctx = &fibers.x.r;
    fibers.cfg.env = &fibers.x.f.env;
    *state = &fibers;
    return 0;
}

static void fibers_open(struct fibers *y)
{
    must_ok(dload_fiber_init(&y->s, &y->cfg));
    y->x.cfg.env = dload_fiber_env(&y->s);
    y->x.cfg.registry = dload_fiber_registry(&y->s);
    fixture_open(&y->x);
}

static void fibers_close(struct fibers *y)
{
    if (y->x.open) {
        fixture_close(&y->x);
    }
    must_ok(dload_fiber_destroy(&y->s));
    must_ok(dload_fiber_destroy(&y->s)); /* twice is harmless */
}

static int fibers_teardown(void **state)
{
    struct fibers *y = *state;
    fibers_close(y);
    fake_env_check(&y->x.f);
    return 0;
}

/* A task that loads one key and remembers what came. */
struct task {
    struct fibers *y;
    uint64_t key, value;
    dload_status status;
    uint64_t deadline_ns;
    uint64_t ended_ns;
    size_t n_ended;
};

static void load_one(void *arg)
{
    struct task *t = arg;
    dload_call call = {.deadline_ns = t->deadline_ns};
    t->status = tl_load_with(&t->y->x.l, t->key, &call, &t->value);
    t->ended_ns = tl_now(&t->y->x.l);
    t->n_ended++;
}

static struct task *tasks_make(struct fibers *y, size_t n)
{
    struct task *t = calloc(n, sizeof *t);
    assert_non_null(t);
    for (size_t i = 0; i < n; i++) {
        t[i].y = y;
        t[i].key = i;
    }
    return t;
}

static void spawn_all(struct fibers *y, struct task *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        must_ok(dload_fiber_spawn(&y->s, load_one, &t[i]));
    }
}

/* ---- batches ---- */

static void test_fiber_together(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    struct task *t = tasks_make(y, 5);
    spawn_all(y, t, 5);
    must_ok(dload_fiber_run(&y->s));
    text_must(&y->x.r.calls, "B(0,1,2,3,4)");
    for (size_t i = 0; i < 5; i++) {
        must_ok(t[i].status);
        equal(t[i].value, i * 10);
        equal(t[i].n_ended, 1);
    }
    equal(stats_of(&y->x).by_trigger[DLOAD_BY_IDLE], 1);
    equal(y->x.f.n_waits, 0);        /* nothing to sleep for */
    must_ok(dload_fiber_run(&y->s)); /* nothing left: at once */
    free(t);
}

enum { N_LEVELS = 3, N_ROOTS = 40 };

struct chain {
    struct fibers *y;
    tl level[N_LEVELS];
    struct recorder rec[N_LEVELS];
    size_t n_ended;
};

struct root {
    struct chain *c;
    uint64_t key;
};

static void follow(void *arg)
{
    struct root *r = arg;
    uint64_t at = r->key;
    for (size_t i = 0; i < N_LEVELS; i++) {
        uint64_t next = 0;
        must_ok(tl_load(&r->c->level[i], at, &next));
        equal(next, at * 10 + i);
        at = next;
    }
    r->c->n_ended++;
}

static void chain_open(struct chain *c, struct fibers *y)
{
    memset(c, 0, sizeof *c);
    c->y = y;
    for (size_t i = 0; i < N_LEVELS; i++) {
        tl_config cfg = y->x.cfg;
        cfg.ctx = &c->rec[i];
        c->rec[i].version = i;
        must_ok(tl_init(&c->level[i], &cfg));
    }
}

static void chain_close(struct chain *c)
{
    for (size_t i = 0; i < N_LEVELS; i++) {
        must_ok(tl_close(&c->level[i], DLOAD_FAIL, 0));
        must_ok(tl_destroy(&c->level[i]));
    }
}

static void test_fiber_levels(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    struct chain c;
    struct root roots[N_ROOTS];
    chain_open(&c, y);
    for (size_t i = 0; i < N_ROOTS; i++) {
        roots[i] = (struct root){&c, i};
        must_ok(dload_fiber_spawn(&y->s, follow, &roots[i]));
    }
    must_ok(dload_fiber_run(&y->s));
    equal(c.n_ended, N_ROOTS);
    for (size_t i = 0; i < N_LEVELS; i++) {
        equal(c.rec[i].n_calls, 1);
        equal(c.rec[i].n_keys, N_ROOTS);
    }
    chain_close(&c);
}

/* A task loads twice in a row while a callback asks for one more: all of it goes level by level. */
struct mixed {
    struct fibers *y;
    struct request first, second;
    uint64_t sum;
};

static void start_second(struct request *req)
{
    struct mixed *m = req->ctx;
    must(request_start(&m->y->x, &m->second, 200), DLOAD_PENDING);
}

static void load_two(void *arg)
{
    struct mixed *m = arg;
    uint64_t a = 0, b = 0;
    must_ok(tl_load(&m->y->x.l, 1, &a));
    must_ok(tl_load(&m->y->x.l, 2, &b));
    m->sum = a + b;
}

static void test_fiber_callbacks(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    struct mixed m = {.y = y};
    m.first.then = start_second;
    m.first.ctx = &m;
    must(request_start(&y->x, &m.first, 100), DLOAD_PENDING);
    must_ok(dload_fiber_spawn(&y->s, load_two, &m));
    must_ok(dload_fiber_run(&y->s));
    equal(m.sum, 30);
    request_must(&m.first, 1000);
    request_must(&m.second, 2000);
    text_must(&y->x.r.calls, "B(100,1) B(200,2)"); /* the callback ran before the task went on */
}

static void test_fiber_same_key(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    const size_t n = DLOAD_FIBER_I_TSAN ? 300 : 1000;
    struct task *t = tasks_make(y, n);
    for (size_t i = 0; i < n; i++) {
        t[i].key = 7;
    }
    spawn_all(y, t, n);
    must_ok(dload_fiber_run(&y->s));
    text_must(&y->x.r.calls, "B(7)");
    for (size_t i = 0; i < n; i++) {
        must_ok(t[i].status);
        equal(t[i].value, 70);
    }
    equal(stats_of(&y->x).joins, n - 1);
    free(t);
}

/* ---- many ---- */

static size_t resident_bytes(void)
{
    unsigned long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    equal(fscanf(f, "%lu %lu", &total, &resident), 2);
    (void)fclose(f);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

static dload_status fetch_silently(tl_batch *b)
{
    struct recorder *r = b->ctx;
    r->n_calls++;
    rec_give_all(r, b);
    return DLOAD_OK;
}

static void test_fiber_ten_thousand(void **state)
{
    struct fibers *y = *state;
    const size_t n = DLOAD_FIBER_I_TSAN ? 300 : 10000; /* it keeps megabytes for each */
    y->x.cfg.max_batch = n;
    y->x.cfg.capacity = n;
    y->x.cfg.fetch = fetch_silently; /* a record of the calls would not fit */
    fibers_open(y);
    struct task *t = tasks_make(y, n);
    size_t before = resident_bytes();
    for (size_t round = 0; round < 3; round++) {
        spawn_all(y, t, n);
        must(dload_fiber_spawn(&y->s, NULL, NULL), DLOAD_EINVAL);
        must_ok(tl_clear_all(&y->x.l));
        must_ok(dload_fiber_run(&y->s));
        equal(y->s.n_made, n); /* the second and third round use the stacks of the first */
    }
    size_t grown = resident_bytes() - before;
    print_message("# %zu tasks: %zu bytes resident a task\n", n, grown / n);
    assert_true(grown < (size_t)512 << 20);
    equal(y->x.r.n_calls, 3);
    for (size_t i = 0; i < n; i++) {
        must_ok(t[i].status);
        equal(t[i].value, i * 10);
        equal(t[i].n_ended, 3);
    }
    free(t);
}

struct tree {
    struct fibers *y;
    uint64_t key;
    size_t depth;
    struct tree *child; /* two of them, or NULL */
};

static size_t n_leaves;

/* Loads, then splits into two tasks that load the next level. */
static void grow_tree(void *arg)
{
    struct tree *t = arg;
    uint64_t out = 0;
    must_ok(tl_load(&t->y->x.l, t->key, &out));
    equal(out, t->key * 10);
    if (t->depth == 0) {
        n_leaves++;
        return;
    }
    t->child = calloc(2, sizeof *t->child);
    assert_non_null(t->child);
    for (size_t i = 0; i < 2; i++) {
        t->child[i] = (struct tree){t->y, t->key * 2 + i, t->depth - 1, NULL};
        must_ok(dload_fiber_spawn(&t->y->s, grow_tree, &t->child[i]));
    }
}

static void free_tree(struct tree *t)
{
    if (t->child) {
        free_tree(&t->child[0]);
        free_tree(&t->child[1]);
        free(t->child);
    }
}

static void test_fiber_spawn_inside(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    struct tree root = {y, 1, 6, NULL};
    n_leaves = 0;
    must_ok(dload_fiber_spawn(&y->s, grow_tree, &root));
    must_ok(dload_fiber_run(&y->s));
    equal(n_leaves, 64);
    equal(y->x.r.n_calls, 7); /* a batch a level */
    equal(y->x.r.n_keys, 127);
    free_tree(&root);
}

/* ---- fetch functions that load ---- */

static void check_not_parked(struct recorder *r, tl_batch *b)
{
    struct fibers *y = r->act_ctx;
    uint64_t out = 0;
    const dload_env *env = dload_fiber_env(&y->s);
    assert_false(env->parks(env->ctx));
    must(dload_fiber_run(&y->s), DLOAD_EBUSY);
    must(dload_fiber_poll(&y->s), DLOAD_EBUSY);
    must(dload_fiber_close(&y->s), DLOAD_EBUSY);
    must(dload_fiber_destroy(&y->s), DLOAD_EBUSY);
    dload_fiber_yield(&y->s); /* no task: nothing happens */
    must(tl_load(&y->x.l, b->keys[0], &out), DLOAD_EDEADLK);
    r->act = NULL;
    must_ok(tl_load(&y->x.l, 500, &out));
    equal(out, 5000);
}

static void test_fiber_nested(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    y->x.r.act = check_not_parked;
    y->x.r.act_ctx = y;
    struct task *t = tasks_make(y, 3);
    spawn_all(y, t, 3);
    must_ok(dload_fiber_run(&y->s));
    text_must(&y->x.r.calls, "B(0,1,2) B(500)");
    equal(y->x.r.deepest, 2);
    for (size_t i = 0; i < 3; i++) {
        equal(t[i].value, i * 10);
    }
    free(t);
}

/* Two loaders whose functions load from each other: the circle is found, not waited for. */
struct circle {
    struct fibers *y;
    tl other;
    dload_status inner;
};

static dload_status fetch_back(tl_batch *b)
{
    struct circle *c = b->ctx;
    uint64_t out;
    c->inner = tl_load(&c->y->x.l, b->keys[0], &out);
    return c->inner;
}

static void load_from_other(struct recorder *r, tl_batch *b)
{
    struct circle *c = r->act_ctx;
    uint64_t out;
    must(tl_load(&c->other, b->keys[0], &out), DLOAD_EDEADLK);
}

static void test_fiber_deadlock(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    struct circle c = {.y = y};
    tl_config cfg = y->x.cfg;
    cfg.fetch = fetch_back;
    cfg.ctx = &c;
    must_ok(tl_init(&c.other, &cfg));
    y->x.r.act = load_from_other;
    y->x.r.act_ctx = &c;
    struct task *t = tasks_make(y, 1);
    spawn_all(y, t, 1);
    must_ok(dload_fiber_run(&y->s));
    must(c.inner, DLOAD_EDEADLK);
    must_ok(t[0].status); /* the function itself went on and answered */
    must_ok(tl_close(&c.other, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&c.other));
    free(t);
}

/* A task that dispatches runs the fetch function itself, and may wait in it. */
static void dispatch_inside(void *arg)
{
    struct fibers *y = arg;
    struct request req = {0};
    must(request_start(&y->x, &req, 1), DLOAD_PENDING);
    must_ok(tl_dispatch(&y->x.l, NULL));
    request_must(&req, 10);
}

static void load_in_task(struct recorder *r, tl_batch *b)
{
    struct fibers *y = r->act_ctx;
    uint64_t out = 0;
    r->act = NULL;
    must(tl_load(&y->x.l, b->keys[0], &out), DLOAD_EDEADLK);
    must_ok(tl_load(&y->x.l, 2, &out)); /* parks; goes with the other task's key */
    equal(out, 20);
}

static void test_fiber_dispatch_inside(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    y->x.r.act = load_in_task;
    y->x.r.act_ctx = y;
    struct task *t = tasks_make(y, 4);
    must_ok(dload_fiber_spawn(&y->s, dispatch_inside, y));
    must_ok(dload_fiber_spawn(&y->s, load_one, &t[3]));
    must_ok(dload_fiber_run(&y->s));
    equal(t[3].value, 30);
    text_must(&y->x.r.calls, "B(1) B(2,3)");
    free(t);
}

/* ---- errors ---- */

static void test_fiber_fetch_error(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    rec_script(&y->x.r, 1, ANSWER_FAIL, 0, (dload_status)(DLOAD_EUSER - 7));
    rec_script(&y->x.r, 2, ANSWER_NOTHING, 0, DLOAD_OK);
    struct task *t = tasks_make(y, 3);
    spawn_all(y, t, 3);
    must_ok(dload_fiber_run(&y->s));
    must_ok(t[0].status);
    must(t[1].status, (dload_status)(DLOAD_EUSER - 7));
    must(t[2].status, DLOAD_MISSING);
    y->x.r.result = DLOAD_EFETCH;
    t[2].key = 9;
    rec_script(&y->x.r, 9, ANSWER_NOTHING, 0, DLOAD_OK);
    spawn_all(y, &t[2], 1);
    must_ok(dload_fiber_run(&y->s));
    must(t[2].status, DLOAD_EFETCH);
    free(t);
}

static void test_fiber_bad_config(void **state)
{
    struct fibers *y = *state;
    dload_env env = y->x.f.env;
    y->cfg.env = &env;
    y->cfg.stack_bytes = 16383;
    must(dload_fiber_init(&y->s, &y->cfg), DLOAD_EINVAL);
    y->cfg.stack_bytes = SIZE_MAX;
    must(dload_fiber_init(&y->s, &y->cfg), DLOAD_EINVAL);
    y->cfg.stack_bytes = 0;
    env.alloc = NULL;
    must(dload_fiber_init(&y->s, &y->cfg), DLOAD_EINVAL);
    env = y->x.f.env;
    env.now = NULL;
    env.wait = NULL; /* nothing would ever end a wait */
    must(dload_fiber_init(&y->s, &y->cfg), DLOAD_EINVAL);
    must(dload_fiber_init(NULL, NULL), DLOAD_EINVAL);
    must_ok(dload_fiber_destroy(&y->s)); /* after a failed _init too */
    must_ok(dload_fiber_init(&y->s, NULL));
}

static void test_fiber_no_memory(void **state)
{
    struct fibers *y = *state;
    struct task *t = tasks_make(y, 65);
    fibers_open(y);
    y->x.f.fail_at = 1;
    fake_env_arm(&y->x.f);
    must(dload_fiber_spawn(&y->s, load_one, &t[0]), DLOAD_ENOMEM);
    must_ok(dload_fiber_spawn(&y->s, load_one, &t[0]));
    fake_env_disarm(&y->x.f);
    spawn_all(y, &t[1], 63);
    fake_env_arm(&y->x.f);
    must(dload_fiber_spawn(&y->s, load_one, &t[64]), DLOAD_ENOMEM); /* the table must grow */
    must_ok(dload_fiber_spawn(&y->s, load_one, &t[64]));
    fake_env_disarm(&y->x.f);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < 65; i++) {
        must_ok(t[i].status);
        equal(t[i].n_ended, 1);
    }
    free(t);
}

static void test_fiber_no_address_space(void **state)
{
    struct fibers *y = *state;
    y->cfg.stack_bytes = (size_t)1 << 60;
    fibers_open(y);
    must(dload_fiber_spawn(&y->s, load_one, NULL), DLOAD_ENOMEM);
    must_ok(dload_fiber_run(&y->s));
}

static void test_fiber_max_tasks(void **state)
{
    struct fibers *y = *state;
    y->cfg.max_tasks = 2;
    fibers_open(y);
    struct task *t = tasks_make(y, 3);
    spawn_all(y, t, 2);
    must(dload_fiber_spawn(&y->s, load_one, &t[2]), DLOAD_EAGAIN);
    must_ok(dload_fiber_run(&y->s));
    spawn_all(y, &t[2], 1);
    must_ok(dload_fiber_run(&y->s));
    equal(t[2].value, 20);
    free(t);
}

/* ---- answers from elsewhere, deadlines ---- */

static void pump_finish(void *ctx)
{
    struct fibers *y = ctx;
    y->x.f.now_ns += DLOAD_MILLISECOND;
    if (y->x.r.n_pending) {
        rec_finish(&y->x.r);
    }
}

static void test_fiber_pump(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    struct chain c;
    struct root roots[N_ROOTS];
    y->x.f.pump = pump_finish;
    y->x.f.pump_ctx = y;
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 3);
    spawn_all(y, t, 3);
    chain_open(&c, y); /* others that do not wait that long */
    for (size_t i = 0; i < N_ROOTS; i++) {
        roots[i] = (struct root){&c, i};
        must_ok(dload_fiber_spawn(&y->s, follow, &roots[i]));
    }
    must_ok(dload_fiber_run(&y->s));
    text_must(&y->x.r.calls, "B(0,1,2)");
    equal(y->x.f.n_waits, 1); /* of the env, with every task parked */
    equal(c.n_ended, N_ROOTS);
    for (size_t i = 0; i < 3; i++) {
        must_ok(t[i].status);
        equal(t[i].value, i * 10);
    }
    chain_close(&c);
    free(t);
}

/* Keys of one pending batch are answered one by one, the last first; each wakes its task at once. */
static void pump_one_key(void *ctx)
{
    struct fibers *y = ctx;
    tl_batch *b = y->x.r.pending[0];
    static size_t left;
    if (y->x.r.n_calls == 1 && left == 0) {
        left = b->n;
    }
    y->x.f.now_ns += DLOAD_SECOND;
    rec_give(&y->x.r, b, --left);
    if (left == 0) {
        must_ok(tl_batch_done(rec_take(&y->x.r, 0), DLOAD_OK));
    }
}

static void test_fiber_one_by_one(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    y->x.f.pump = pump_one_key;
    y->x.f.pump_ctx = y;
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 5);
    spawn_all(y, t, 5);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < 5; i++) {
        must_ok(t[i].status);
        equal(t[i].ended_ns, (6 - i) * DLOAD_SECOND); /* 4 after a second, 3 after two ... */
    }
    free(t);
}

/* Nobody answers: every task leaves at its own deadline, and no sleep was longer than to the next. */
static void test_fiber_deadlines(void **state)
{
    struct fibers *y = *state;
    y->x.cfg.run_limit_ns = DLOAD_NEVER;
    y->x.cfg.timeout_ns = 7 * DLOAD_SECOND;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 4);
    const uint64_t want_s[] = {4, 2, 8, 3}; /* the clock begins at 1 s */
    for (size_t i = 0; i < 4; i++) {
        t[i].deadline_ns = want_s[i] == 8 ? 0 : want_s[i] * DLOAD_SECOND;
    }
    spawn_all(y, t, 4);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < 4; i++) {
        must(t[i].status, DLOAD_ETIMEDOUT);
        equal(t[i].ended_ns, want_s[i] * DLOAD_SECOND);
    }
    assert_true(y->x.f.n_waits <= 5);
    assert_true(tl_batch_cancelled(y->x.r.pending[0])); /* rule 55 */
    free(t);
}

static void test_fiber_run_limit(void **state)
{
    struct fibers *y = *state;
    y->x.cfg.run_limit_ns = DLOAD_SECOND;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 2);
    spawn_all(y, t, 2);
    must_ok(dload_fiber_run(&y->s));
    must(t[0].status, DLOAD_ETIMEDOUT);
    must(t[1].status, DLOAD_ETIMEDOUT);
    equal(stats_of(&y->x).abandoned, 1);
    assert_true(t[0].ended_ns <= 2 * DLOAD_SECOND + DLOAD_MILLISECOND);
    must_ok(tl_batch_done(rec_take(&y->x.r, 0), DLOAD_OK)); /* late: nobody is left */
    free(t);
}

/* A loader that is in no registry is never dispatched: its loads end at their deadline. */
static void test_fiber_not_registered(void **state)
{
    struct fibers *y = *state;
    must_ok(dload_fiber_init(&y->s, &y->cfg));
    y->x.cfg.env = dload_fiber_env(&y->s);
    y->x.cfg.timeout_ns = 50 * DLOAD_MILLISECOND;
    fixture_open(&y->x);
    struct task *t = tasks_make(y, 2);
    spawn_all(y, t, 2);
    must_ok(dload_fiber_run(&y->s));
    must(t[0].status, DLOAD_ETIMEDOUT);
    must(t[1].status, DLOAD_ETIMEDOUT);
    assert_true(y->x.f.n_waits < 200);
    equal(y->x.r.n_calls, 0);
    free(t);
}

static dload_status wait_fails(void *ctx, const uint32_t *word, uint32_t seen, uint64_t until_ns)
{
    (void)ctx;
    (void)word;
    (void)seen;
    (void)until_ns;
    return DLOAD_EAGAIN;
}

static void test_fiber_wait_error(void **state)
{
    struct fibers *y = *state;
    y->x.f.env.wait = wait_fails;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 3);
    spawn_all(y, t, 3);
    must_ok(dload_fiber_run(&y->s));
    for (size_t i = 0; i < 3; i++) {
        must(t[i].status, DLOAD_EAGAIN);
    }
    free(t);
}

/* ---- a loop of one's own ---- */

static void test_fiber_poll(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 2);
    t[0].deadline_ns = 2 * DLOAD_SECOND;
    equal(dload_fiber_next_deadline(&y->s), DLOAD_NEVER);
    spawn_all(y, t, 2);
    equal(dload_fiber_next_deadline(&y->s), 0);
    must(dload_fiber_poll(&y->s), DLOAD_EAGAIN);
    must(dload_fiber_poll(&y->s), DLOAD_EAGAIN);
    equal(y->x.f.n_waits, 0);
    assert_true(dload_fiber_next_deadline(&y->s) <= 2 * DLOAD_SECOND);
    y->x.f.now_ns = 2 * DLOAD_SECOND;
    must(dload_fiber_poll(&y->s), DLOAD_EAGAIN);
    must(t[0].status, DLOAD_ETIMEDOUT);
    equal(t[1].n_ended, 0);
    rec_finish(&y->x.r);
    equal(dload_fiber_next_deadline(&y->s), 0);
    must_ok(dload_fiber_poll(&y->s));
    equal(t[1].value, 10);
    free(t);
}

struct yielder {
    struct fibers *y;
    bool *done;
    size_t n_turns;
};

static void yield_until_done(void *arg)
{
    struct yielder *w = arg;
    while (!*w->done) {
        w->n_turns++;
        dload_fiber_yield(&w->y->s);
    }
}

static void load_and_say(void *arg)
{
    struct yielder *w = arg;
    uint64_t out;
    must_ok(tl_load(&w->y->x.l, 1, &out));
    *w->done = true;
}

/* Who yields does not keep the batches of the others from going. */
static void test_fiber_yield(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    bool done = false;
    struct yielder a = {y, &done, 0};
    must_ok(dload_fiber_spawn(&y->s, yield_until_done, &a));
    must_ok(dload_fiber_spawn(&y->s, load_and_say, &a));
    must_ok(dload_fiber_run(&y->s));
    assert_true(done);
    assert_true(a.n_turns >= 1 && a.n_turns <= 3);
}

/* ---- the end ---- */

struct holder {
    struct task t;
    void *held;
    dload_status again;
};

static void hold_and_load(void *arg)
{
    struct holder *h = arg;
    h->held = malloc(100);
    load_one(&h->t);
    h->again = tl_load(&h->t.y->x.l, 77, &h->t.value);
    free(h->held); /* what a stack holds is released, because the task comes to its end */
    h->held = NULL;
}

static void begin_late(void *arg)
{
    struct task *t = arg;
    load_one(t);
    must(dload_fiber_spawn(&t->y->s, load_one, t), DLOAD_ECLOSED);
}

static void test_fiber_close_parked(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct holder h[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        h[i].t.y = y;
        h[i].t.key = i;
        must_ok(dload_fiber_spawn(&y->s, hold_and_load, &h[i]));
    }
    must(dload_fiber_poll(&y->s), DLOAD_EAGAIN);
    must(dload_fiber_destroy(&y->s), DLOAD_EBUSY);
    struct task late = {.y = y, .key = 5};
    must_ok(dload_fiber_spawn(&y->s, begin_late, &late)); /* has not begun when the end comes */
    must_ok(dload_fiber_close(&y->s));
    for (size_t i = 0; i < 3; i++) {
        must(h[i].t.status, DLOAD_ECANCELED);
        must(h[i].again, DLOAD_ECANCELED);
        assert_null(h[i].held);
    }
    must(late.status, DLOAD_ECANCELED);
    must_ok(dload_fiber_close(&y->s));
    must(dload_fiber_spawn(&y->s, load_one, &late), DLOAD_ECLOSED);
    must_ok(dload_fiber_run(&y->s));
}

/* The loader is closed under its tasks: they learn it, and what they load next is refused. */
static void test_fiber_loader_closed(void **state)
{
    struct fibers *y = *state;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct holder h = {.t = {.y = y, .key = 1}};
    must_ok(dload_fiber_spawn(&y->s, hold_and_load, &h));
    must(dload_fiber_poll(&y->s), DLOAD_EAGAIN);
    must(tl_close(&y->x.l, DLOAD_FAIL, 1), DLOAD_ETIMEDOUT); /* the batch is still out */
    must_ok(dload_fiber_run(&y->s));
    must(h.t.status, DLOAD_ECLOSED);
    must_ok(tl_batch_done(rec_take(&y->x.r, 0), DLOAD_OK));
    must(h.again, DLOAD_ECLOSED);
}

/* ---- stacks ---- */

static uintptr_t stack_top, stack_low;

__attribute__((noinline)) static unsigned eat_stack(unsigned depth)
{
    volatile char frame[1024];
    memset((void *)(uintptr_t)frame, (int)(depth | 1), sizeof frame);
    stack_low = (uintptr_t)frame;
    unsigned below = depth != 0 ? eat_stack(depth - 1) : 0;
    return below + (unsigned char)frame[depth % sizeof frame];
}

static void eat_a_little(void *arg)
{
    *(unsigned *)arg = eat_stack(40); /* of 64 KiB */
}

static void eat_everything(void *arg)
{
    stack_top = (uintptr_t)&arg;
    *(unsigned *)arg = eat_stack(1000000);
}

static void segv_exit(int sig)
{
    (void)sig;
    _exit(stack_top - stack_low > 80000 ? 3 : 42); /* at the guard, not somewhere further down */
}

static void overflow_in_child(struct fibers *y)
{
    static char handler_stack[65536];
    stack_t alt = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    struct sigaction act;
    unsigned sum = 0;
    memset(&act, 0, sizeof act);
    act.sa_handler = segv_exit;
    act.sa_flags = SA_ONSTACK;
    if (sigaltstack(&alt, NULL) != 0 || sigaction(SIGSEGV, &act, NULL) != 0 ||
        sigaction(SIGBUS, &act, NULL) != 0 ||
        dload_fiber_spawn(&y->s, eat_everything, &sum) != DLOAD_OK) {
        _exit(1);
    }
    (void)dload_fiber_run(&y->s);
    _exit(2);
}

static void test_fiber_guard(void **state)
{
    struct fibers *y = *state;
    unsigned sum = 0;
    fibers_open(y);
    must_ok(dload_fiber_spawn(&y->s, eat_a_little, &sum));
    must_ok(dload_fiber_run(&y->s));
    assert_true(sum != 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        overflow_in_child(y);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

static void remember_stack(void *arg)
{
    char here = 0;
    uint64_t out;
    must_ok(tl_load(&fibers.x.l, 1, &out)); /* parks and comes back to the same place */
    *(uintptr_t *)arg = (uintptr_t)&here;
}

static void test_fiber_stack_reuse(void **state)
{
    struct fibers *y = *state;
    uintptr_t at[3];
    fibers_open(y);
    for (size_t i = 0; i < 3; i++) {
        must_ok(tl_clear(&y->x.l, 1));
        must_ok(dload_fiber_spawn(&y->s, remember_stack, &at[i]));
        must_ok(dload_fiber_run(&y->s));
    }
    equal(y->s.n_made, 1);
#if !DLOAD_FIBER_I_ASAN /* which may put locals elsewhere */
    equal(at[1], at[0]);
    equal(at[2], at[0]);
#endif
}

/* ---- signal masks ---- */

struct masked {
    struct fibers *y;
    uint64_t key;
    bool blocked_after;
};

static void block_and_load(void *arg)
{
    struct masked *m = arg;
    sigset_t set, now;
    uint64_t out;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    if (m->key == 0) {
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
    }
    must_ok(tl_load(&m->y->x.l, m->key, &out));
    equal(out, m->key * 10);
    (void)sigprocmask(SIG_BLOCK, NULL, &now);
    m->blocked_after = sigismember(&now, SIGUSR1) == 1;
}

static void test_fiber_signal_masks(void **state)
{
    struct fibers *y = *state;
    y->cfg.own_signal_mask = true;
    fibers_open(y);
    struct masked m[4];
    sigset_t now;
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 4; i++) {
            /* in the second round the first stack belongs to another key */
            m[i] = (struct masked){y, (i + round) % 4, false};
            must_ok(dload_fiber_spawn(&y->s, block_and_load, &m[i]));
        }
        must_ok(tl_clear_all(&y->x.l));
        must_ok(dload_fiber_run(&y->s));
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(m[i].blocked_after, m[i].key == 0);
        }
        (void)sigprocmask(SIG_BLOCK, NULL, &now);
        assert_int_equal(sigismember(&now, SIGUSR1), 0);
    }
    text_must(&y->x.r.calls, "B(0,1,2,3) B(1,2,3,0)");
}

static void test_fiber_own_mask_close(void **state)
{
    struct fibers *y = *state;
    y->cfg.own_signal_mask = true;
    test_fiber_close_parked(state);
}

/* ---- no leak at any allocation ---- */

static void out_of_memory(struct fake_env *f)
{
    static struct fibers y;
    memset(&y, 0, sizeof y);
    y.cfg.env = &f->env;
    y.x.cfg = tl_config_default();
    y.x.cfg.fetch = rec_fetch;
    y.x.cfg.ctx = &y.x.r;
    y.x.cfg.capacity = 64;
    y.x.cfg.shards = 1;
    struct task *t = tasks_make(&y, 80);
    fake_env_arm(f);
    if (dload_fiber_init(&y.s, &y.cfg) == DLOAD_OK) {
        y.x.cfg.env = dload_fiber_env(&y.s);
        y.x.cfg.registry = dload_fiber_registry(&y.s);
        if (tl_init(&y.x.l, &y.x.cfg) == DLOAD_OK) {
            for (size_t i = 0; i < 80; i++) {
                dload_status st = dload_fiber_spawn(&y.s, load_one, &t[i]);
                assert_true(st == DLOAD_OK || st == DLOAD_ENOMEM);
                t[i].n_ended = st == DLOAD_OK ? 0 : 1;
                t[i].status = st;
            }
            must_ok(dload_fiber_run(&y.s));
            for (size_t i = 0; i < 80; i++) {
                equal(t[i].n_ended, 1);
                assert_true(t[i].status == DLOAD_ENOMEM || t[i].value == i * 10);
            }
            must_ok(tl_close(&y.x.l, DLOAD_FAIL, 0));
            must_ok(tl_destroy(&y.x.l));
        }
    }
    must_ok(dload_fiber_destroy(&y.s));
    fake_env_disarm(f);
    free(t);
}

static void test_fiber_oom(void **state)
{
    (void)state;
    assert_true(fail_until_ok("fiber", out_of_memory) > 5);
}

/* ---- other threads ---- */

#if TEST_LOCK != DLOAD_LOCK_NONE
/* The host's clock and sleep. One thread answers what is pending, others load the same keys. */
struct helper {
    struct fibers *y;
    pthread_mutex_t mutex;
    tl_batch *batch[64];
    size_t n_batches;
    size_t n_through; /* threads that have loaded everything */
};

static dload_status fetch_later(tl_batch *b)
{
    struct helper *h = b->ctx;
    (void)pthread_mutex_lock(&h->mutex);
    assert_true(h->n_batches < COUNT(h->batch));
    h->batch[h->n_batches++] = b;
    (void)pthread_mutex_unlock(&h->mutex);
    return DLOAD_PENDING;
}

static void answer_some(struct helper *h)
{
    (void)pthread_mutex_lock(&h->mutex);
    tl_batch *b = h->n_batches != 0 ? h->batch[--h->n_batches] : NULL;
    (void)pthread_mutex_unlock(&h->mutex);
    if (b == NULL) {
        sleep_ms(1);
        return;
    }
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        (void)tl_batch_set(b, i, &value);
    }
    must_ok(tl_batch_done(b, DLOAD_OK));
}

struct loads {
    struct helper *h;
    uint64_t first;
    size_t n;
};

static void load_row(void *arg)
{
    struct loads *w = arg;
    for (uint64_t i = 0; i < w->n; i++) {
        uint64_t out = 0;
        must_ok(tl_load(&w->h->y->x.l, w->first + i, &out));
        equal(out, (w->first + i) * 10);
    }
}

enum { N_TASKS = 20 };

static void part(void *ctx, size_t i)
{
    struct helper *h = ctx;
    struct loads w[N_TASKS];
    if (i == 0) {
        for (size_t k = 0; k < N_TASKS; k++) {
            w[k] = (struct loads){h, k * 3, scaled(20)};
            must_ok(dload_fiber_spawn(&h->y->s, load_row, &w[k]));
        }
        must_ok(dload_fiber_run(&h->y->s));
    } else if (i == 1) {
        while (__atomic_load_n(&h->n_through, __ATOMIC_ACQUIRE) < 3) {
            answer_some(h);
        }
        return;
    } else {
        w[0] = (struct loads){h, i, scaled(20)};
        load_row(&w[0]); /* a thread among tasks waits as threads do */
    }
    __atomic_add_fetch(&h->n_through, 1, __ATOMIC_RELEASE);
}

static void test_fiber_threads(void **state)
{
    struct fibers *y = *state;
    struct helper h = {.y = y};
    assert_int_equal(pthread_mutex_init(&h.mutex, NULL), 0);
    fake_env_init_real(&y->x.f);
    y->x.cfg.fetch = fetch_later;
    y->x.cfg.ctx = &h;
    y->x.cfg.capacity = 16; /* so that keys are fetched again and again */
    fibers_open(y);
    run_threads(4, part, &h);
    while (h.n_batches != 0) {
        answer_some(&h);
    }
    (void)pthread_mutex_destroy(&h.mutex);
}

static void poke_later(void *ctx, size_t i)
{
    struct fibers *y = ctx;
    struct task t = {.y = y, .key = 1};
    if (i == 0) {
        must_ok(dload_fiber_spawn(&y->s, load_one, &t));
        must_ok(dload_fiber_run(&y->s));
        must_ok(t.status);
        return;
    }
    while (__atomic_load_n(&y->x.r.n_pending, __ATOMIC_ACQUIRE) == 0) {
        sleep_ms(1);
    }
    for (size_t k = 0; k < 20; k++) {
        dload_fiber_poke(&y->s);
    }
    sleep_ms(5);
    rec_finish(&y->x.r);
}

static dload_status fetch_pending(tl_batch *b)
{
    struct recorder *r = b->ctx;
    r->pending[0] = b;
    __atomic_store_n(&r->n_pending, 1, __ATOMIC_RELEASE);
    return DLOAD_PENDING;
}

/* Sleeping ends when another thread answers, long before the 30 s of the deadline. */
static void test_fiber_poke(void **state)
{
    struct fibers *y = *state;
    fake_env_init_real(&y->x.f);
    y->x.cfg.fetch = fetch_pending;
    fibers_open(y);
    uint64_t began_ns = real_ns();
    run_threads(2, poke_later, y);
    assert_true(real_ns() - began_ns < 10 * DLOAD_SECOND);
}
#endif

/* Deadlines by the real clock, without anybody to wait with. */
static void test_fiber_real_deadline(void **state)
{
    struct fibers *y = *state;
    fake_env_init_real(&y->x.f);
    y->x.cfg.timeout_ns = 30 * DLOAD_MILLISECOND;
    fibers_open(y);
    y->x.r.result = DLOAD_PENDING;
    struct task *t = tasks_make(y, 2);
    spawn_all(y, t, 2);
    uint64_t began_ns = real_ns();
    must_ok(dload_fiber_run(&y->s));
    uint64_t took_ns = real_ns() - began_ns;
    must(t[0].status, DLOAD_ETIMEDOUT);
    must(t[1].status, DLOAD_ETIMEDOUT);
    assert_true(took_ns >= 30 * DLOAD_MILLISECOND && took_ns < 2 * DLOAD_SECOND);
    free(t);
}

#define FIBERS(fn)                                   \
    {                                                \
#fn, fn, fibers_setup, fibers_teardown, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIBERS(test_fiber_together),
        FIBERS(test_fiber_levels),
        FIBERS(test_fiber_callbacks),
        FIBERS(test_fiber_same_key),
        FIBERS(test_fiber_ten_thousand),
        FIBERS(test_fiber_spawn_inside),
        FIBERS(test_fiber_nested),
        FIBERS(test_fiber_deadlock),
        FIBERS(test_fiber_dispatch_inside),
        FIBERS(test_fiber_fetch_error),
        FIBERS(test_fiber_bad_config),
        FIBERS(test_fiber_no_memory),
        FIBERS(test_fiber_no_address_space),
        FIBERS(test_fiber_max_tasks),
        FIBERS(test_fiber_pump),
        FIBERS(test_fiber_one_by_one),
        FIBERS(test_fiber_deadlines),
        FIBERS(test_fiber_run_limit),
        FIBERS(test_fiber_not_registered),
        FIBERS(test_fiber_wait_error),
        FIBERS(test_fiber_poll),
        FIBERS(test_fiber_yield),
        FIBERS(test_fiber_close_parked),
        FIBERS(test_fiber_loader_closed),
        FIBERS(test_fiber_guard),
        FIBERS(test_fiber_stack_reuse),
        FIBERS(test_fiber_signal_masks),
        FIBERS(test_fiber_own_mask_close),
        FIBERS(test_fiber_real_deadline),
#if TEST_LOCK != DLOAD_LOCK_NONE
        FIBERS(test_fiber_threads),
        FIBERS(test_fiber_poke),
#endif
        cmocka_unit_test(test_fiber_oom),
    };
    return cmocka_run_group_tests_name("fiber " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
