/* Fibers: batches by level (rule 56), nested loads (49, 50), errors as values, memory that runs out. */
/* locks: NONE SPIN PTHREAD */
/* tsan */
#include "test_fiber.h"

#include <stdio.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIBERS(test_fiber_together),         FIBERS(test_fiber_levels),
        FIBERS(test_fiber_callbacks),        FIBERS(test_fiber_same_key),
        FIBERS(test_fiber_ten_thousand),     FIBERS(test_fiber_spawn_inside),
        FIBERS(test_fiber_nested),           FIBERS(test_fiber_deadlock),
        FIBERS(test_fiber_dispatch_inside),  FIBERS(test_fiber_fetch_error),
        FIBERS(test_fiber_bad_config),       FIBERS(test_fiber_no_memory),
        FIBERS(test_fiber_no_address_space), FIBERS(test_fiber_max_tasks),
        cmocka_unit_test(test_fiber_oom),
    };
    return cmocka_run_group_tests_name("fiber " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
