/* What the tests of fibers share: a scheduler beside the usual fixture, tasks that load, a chain of
 * loaders. */
#ifndef DLOAD_TESTS_FIBER_H
#define DLOAD_TESTS_FIBER_H

#define _DEFAULT_SOURCE /* sigaltstack */
#include "test_loader.h"
#include "adapters/dataloader_fiber.h"

#include <stdlib.h>

struct fibers {
    struct fixture x; /* x.l is the first loader */
    dload_fiber_config cfg;
    dload_fiber_sched s;
};

static struct fibers fibers;

static inline int fibers_setup(void **state)
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

static inline void fibers_open(struct fibers *y)
{
    must_ok(dload_fiber_init(&y->s, &y->cfg));
    y->x.cfg.env = dload_fiber_env(&y->s);
    y->x.cfg.registry = dload_fiber_registry(&y->s);
    fixture_open(&y->x);
}

static inline void fibers_close(struct fibers *y)
{
    if (y->x.open) {
        fixture_close(&y->x);
    }
    must_ok(dload_fiber_destroy(&y->s));
    must_ok(dload_fiber_destroy(&y->s)); /* twice is harmless */
}

static inline int fibers_teardown(void **state)
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

static inline void load_one(void *arg)
{
    struct task *t = arg;
    dload_call call = {.deadline_ns = t->deadline_ns};
    t->status = tl_load_with(&t->y->x.l, t->key, &call, &t->value);
    t->ended_ns = tl_now(&t->y->x.l);
    t->n_ended++;
}

static inline struct task *tasks_make(struct fibers *y, size_t n)
{
    struct task *t = calloc(n, sizeof *t);
    assert_non_null(t);
    for (size_t i = 0; i < n; i++) {
        t[i].y = y;
        t[i].key = i;
    }
    return t;
}

static inline void spawn_all(struct fibers *y, struct task *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        must_ok(dload_fiber_spawn(&y->s, load_one, &t[i]));
    }
}

/* ---- a chain of loaders ---- */

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

static inline void follow(void *arg)
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

static inline void chain_open(struct chain *c, struct fibers *y)
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

static inline void chain_close(struct chain *c)
{
    for (size_t i = 0; i < N_LEVELS; i++) {
        must_ok(tl_close(&c->level[i], DLOAD_FAIL, 0));
        must_ok(tl_destroy(&c->level[i]));
    }
}

#define FIBERS(fn)                                   \
    {                                                \
#fn, fn, fibers_setup, fibers_teardown, NULL \
    }

#endif /* DLOAD_TESTS_FIBER_H */
