/* Random calls on a few groups with the same keys, against a naive table of what every (group, key) must
 * be: cached, queued, in flight. Values say whose they are, so that nothing can cross unseen. */
#ifndef DLOAD_TESTS_GROUPS_MODEL_H
#define DLOAD_TESTS_GROUPS_MODEL_H

#include "test_groups_calls.h"

/* Every batch that is out is given up. */
static inline void give_up(void)
{
    m.f.now_ns += RUN_LIMIT_NS + 1;
    for (struct job *j = m.jobs; j < m.jobs + N_JOBS; j++) {
        j->lost = j->b != NULL;
        for (size_t i = 0; i < j->n && j->lost; i++) {
            struct cell *c = &m.cells[j->group][j->keys[i]];
            c->job = c->job == j ? NULL : c->job;
        }
    }
    must_ok(gl_process(&m.l, m.f.now_ns));
}

static inline void step(void)
{
    size_t group = below(N_GROUPS), key = below(N_KEYS), op = below(100), n = 0;
    m.tick++;
    if (op < 15) {
        load_one(group, key);
    } else if (op < 22) {
        load_many(group);
    } else if (op < 55) {
        start_one(group, key);
    } else if (op < 61) {
        cancel_one();
    } else if (op < 66) {
        bring(group, key);
    } else if (op < 70) {
        bring_if(group, key);
    } else if (op < 76) {
        clear_some();
    } else if (op < 82) {
        (void)finish_one();
    } else if (op < 83) {
        give_up();
    } else if (op < 92) {
        must_ok(gl_dispatch(&m.l, &n));
    } else {
        (void)is_cached(group, key);
    }
}

static inline void run_model(const char *name, size_t capacity)
{
    memset(&m, 0, sizeof m);
    fake_env_init(&m.f);
    m.f.pump = pump;
    m.seed = test_seed(name);
    m.evicts = capacity != DLOAD_UNBOUNDED;
    gl_config cfg = gl_config_default();
    cfg.fetch = fetch;
    cfg.env = &m.f.env;
    cfg.capacity = capacity;
    cfg.shards = 2;
    cfg.max_batch = MAX_BATCH;
    cfg.run_limit_ns = RUN_LIMIT_NS;
    cfg.timeout_ns = DLOAD_NEVER;
    must_ok(gl_init(&m.l, &cfg));
    for (size_t i = 0, n = scaled(200000); i < n; i++) {
        m.f.n_waits = 0; /* its bound is for one call */
        step();
    }
    must_ok(gl_dispatch(&m.l, NULL));
    while (finish_one()) {
    }
    for (struct ask *a = m.asks; a < m.asks + N_ASKS; a++) {
        assert_false(a->waits);
    }
    for (size_t i = 0; i < N_GROUPS * N_KEYS; i++) {
        (void)is_cached(i / N_KEYS, i % N_KEYS);
    }
    print_message("# %zu fetches, %zu hits, %zu joined, %zu given up, %zu evicted, %zu of %zu puts "
                  "refused for nothing\n",
                  m.n_fetches, m.n_hits, m.n_joined, m.n_lost, m.n_evicted, m.n_refused, m.n_put);
    assert_true(m.n_hits > 0 && m.n_joined > 0 && m.n_lost > 0);
    assert_true(m.n_refused < m.n_put / 4 + 2 && (m.n_evicted > 0) == m.evicts);
    must_ok(gl_close(&m.l, DLOAD_FAIL, 0));
    must_ok(gl_destroy(&m.l));
    fake_env_check(&m.f);
}

static inline void test_groups_model_unbounded(void **state)
{
    (void)state;
    run_model("groups, unbounded", DLOAD_UNBOUNDED);
}

static inline void test_groups_model_evicting(void **state)
{
    (void)state;
    run_model("groups, evicting", 20);
}

#endif /* DLOAD_TESTS_GROUPS_MODEL_H */
