/* What the tests of crews share: threads that join a registry, load from its loaders in steps and leave,
 * one interleaving at a time. */
#ifndef DLOAD_TESTS_CREW_H
#define DLOAD_TESTS_CREW_H

#include "test_loader.h"
#include "test_turns.h"

enum { N_STEPS = 4, SETTLE_NS = 100, DEADLINE_NS = 5000 };

/* turns.l is loader A of the chain; it is made first and ended last. */
static dload_registry registry;
static tl loader_b, loader_c;
#define A (&turns.l)
#define B (&loader_b)
#define C (&loader_c)

/* What a member does: loads one after the other, of which it pauses before some; then leaves. */
struct step {
    tl *l;
    uint64_t key; /* 0 = the end */
    bool pause;
    bool starts; /* does not wait */
};

struct member {
    struct step steps[N_STEPS + 1];
    dload_status st[N_STEPS];
    struct request started;
};

static struct member members[N_TASKS];

static inline struct member *member_of(const struct task *t)
{
    return &members[t - turns.tasks];
}

static inline void follow(struct task *t)
{
    struct member *m = member_of(t);
    must_ok(dload_registry_join(&registry));
    stop_as(TASK_PAUSED);
    for (size_t i = 0; m->steps[i].key; i++) {
        uint64_t out = 0;
        dload_call call = {.deadline_ns = t->deadline_ns};
        if (m->steps[i].pause) {
            stop_as(TASK_PAUSED);
        }
        if (m->steps[i].starts) {
            m->started.w.done = request_done;
            m->started.w.ctx = &m->started;
            m->st[i] = tl_start(m->steps[i].l, m->steps[i].key, &m->started.w);
            continue;
        }
        m->st[i] = tl_load_with(m->steps[i].l, m->steps[i].key, &call, &out);
        if (m->st[i] >= 0) {
            equal(out, m->steps[i].key * 10);
        }
    }
    must_ok(dload_registry_leave(&registry));
}

/* A member that has joined and not loaded yet. */
static inline struct task *join(const struct step *steps, size_t n)
{
    struct member *m = &members[turns.n_tasks];
    assert_true(n <= N_STEPS);
    memset(m, 0, sizeof *m);
    memcpy(m->steps, steps, n * sizeof *steps);
    struct task *t = task_make(follow);
    turn(t);
    return t;
}

#define STEPS(...) (const struct step[]){__VA_ARGS__}, COUNT(((const struct step[]){__VA_ARGS__}))
#define JOIN(...)  join(STEPS(__VA_ARGS__))
#define S(l, key)                \
    {                            \
        (l), (key), false, false \
    }
#define PAUSE(l, key)           \
    {                           \
        (l), (key), true, false \
    }
#define START(l, key)           \
    {                           \
        (l), (key), false, true \
    }

static inline void member_must(const struct task *t, size_t n_ok)
{
    assert_int_equal(t->state, TASK_DONE);
    for (size_t i = 0; i < n_ok; i++) {
        must_ok(member_of(t)->st[i]);
    }
}

static inline int crew_setup(void **state)
{
    int rc = turns_setup(state);
    dload_registry_init(&registry);
    turns.cfg.registry = &registry;
    return rc;
}

static inline void open_crew(void)
{
    static char names[3][2] = {"A", "B", "C"};
    tl *loaders[] = {A, B, C};
    for (size_t i = 0; i < 3; i++) {
        turns.cfg.ctx = names[i];
        must_ok(tl_init(loaders[i], &turns.cfg));
    }
    turns.others[0] = B;
    turns.others[1] = C;
}

static inline int crew_teardown(void **state)
{
    int rc = turns_teardown(state);
    equal(registry.crew, 0);
    return rc;
}

#define CREW(text, fn)                            \
    {                                             \
        text, fn, crew_setup, crew_teardown, NULL \
    }

#endif /* DLOAD_TESTS_CREW_H */
