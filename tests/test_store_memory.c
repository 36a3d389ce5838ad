/* The memory store: what every store must do, and its bounds. */
/* tsan */
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_memory.h"
#include "support.h"

#include "stores/cases.h"

struct fixture {
    struct store_case x; /* first: *state is this one */
    struct fake_env f;
    uint64_t now_ns; /* atomic */
    dload_memory m;
};

/* Of the clock that is moved: several threads read it. */
static uint64_t read_clock(void *ctx)
{
    struct fake_env *f = ctx;
    struct fixture *t = (struct fixture *)((char *)f - offsetof(struct fixture, f));
    return __atomic_load_n(&t->now_ns, __ATOMIC_RELAXED);
}

static void pass(struct store_case *x, uint64_t span_ns)
{
    struct fixture *t = x->ctx;
    (void)__atomic_add_fetch(&t->now_ns, span_ns, __ATOMIC_RELAXED);
}

static int open_as(void **state, bool manual)
{
    struct fixture *t = calloc(1, sizeof *t);
    dload_memory_config cfg;
    memset(&cfg, 0, sizeof cfg);
    fake_env_init_real(&t->f);
    t->now_ns = DLOAD_SECOND;
    if (manual)
        t->f.env.now = read_clock;
    cfg.env = &t->f.env;
    if (dload_memory_init(&t->m, &cfg) != DLOAD_OK)
        return -1;
    t->x.s = &t->m.store;
    t->x.ctx = t;
    t->x.pass = manual ? pass : NULL;
    t->x.slack_ns = 3 * DLOAD_MILLISECOND;
    *state = t;
    return 0;
}

static int open_real(void **state)
{
    return open_as(state, false);
}

static int open_manual(void **state)
{
    return open_as(state, true);
}

static int close_memory(void **state)
{
    struct fixture *t = *state;
    dload_memory_destroy(&t->m);
    fake_env_check(&t->f);
    free(t);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("memory", open_real, close_memory),
        STORE_CASES("memory, by a clock that is moved", open_manual, close_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
