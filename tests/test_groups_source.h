/* The table of the model of groups, and the source that answers: what is fetched must have been asked for,
 * and what becomes known is written down.
 *
 * A program defines a loader gl with DLOAD_GROUP 1, includes test_groups_model.h, and says in four
 * functions what its keys and values are.
 */
#ifndef DLOAD_TESTS_GROUPS_SOURCE_H
#define DLOAD_TESTS_GROUPS_SOURCE_H

#include "support.h"

#include <string.h>

enum {
    N_GROUPS = 12,
    N_KEYS = 6, /* the last one is missing in the source */
    N_ASKS = 64,
    N_JOBS = 24,
    N_MANY = 8,
    MAX_BATCH = 4,
    RUN_LIMIT_NS = 1000
};

static gl_key key_of(size_t i);
static size_t index_of(gl_key key);
static gl_value value_make(uint64_t number);
static uint64_t value_end(gl_value *v); /* its number; the value is released */

/* A batch that is out. */
struct job {
    gl_batch *b;
    size_t group, n;
    size_t keys[MAX_BATCH];
    uint64_t values[MAX_BATCH];
    bool answered[MAX_BATCH];
    bool lost;
    uint64_t tick; /* when it was sent */
};

/* What there is to know of one (group, key). */
struct cell {
    uint64_t version; /* of the source */
    bool cached;      /* or was, where entries are evicted */
    uint64_t value;
    bool queued;
    uint64_t asked;   /* tick of the request that queued it */
    struct job *job;  /* the fetch that later requests join */
    uint64_t cleared; /* tick of the last clear */
};

/* A request. Blocking calls have one for each key while they run. */
struct ask {
    bool waits, sent;
    size_t group, key;
    struct job *job;
    uint64_t want; /* once it is sent; 0 = missing */
    gl_waiter w;
};

static struct model {
    struct fake_env f;
    uint64_t seed, tick;
    bool evicts;
    gl l;
    struct cell cells[N_GROUPS][N_KEYS];
    struct job jobs[N_JOBS];
    struct ask asks[N_ASKS + N_MANY];
    size_t n_fetches, n_hits, n_refused, n_put, n_joined, n_lost, n_evicted;
} m;

/* Numbers far from each other, one of them 0. */
static inline uint64_t group_of(size_t group)
{
    return group * UINT64_C(0x1000000010001);
}

static inline uint64_t number_of(size_t group, size_t key)
{
    const struct cell *c = &m.cells[group][key];
    return key == N_KEYS - 1 ? 0 : (group + 1) << 40 | key << 32 | c->version;
}

static inline size_t below(size_t n)
{
    return (size_t)rng_below(&m.seed, n);
}

/* ---- the source ---- */

static inline dload_status give(struct job *j, size_t i)
{
    gl_value v = value_make(j->values[i]);
    if (below(2)) {
        return gl_batch_move(j->b, i, &v);
    }
    dload_status st = gl_batch_set(j->b, i, &v);
    (void)value_end(&v);
    return st;
}

/* The answer at place i becomes known, or, where there is none, that it is missing. */
static inline void known(struct job *j, size_t i)
{
    struct cell *c = &m.cells[j->group][j->keys[i]];
    if (c->job == j) {
        c->cached = c->cached || j->values[i] != 0;
        c->value = j->values[i] != 0 ? j->values[i] : c->value;
        c->job = NULL;
    }
}

/* A key put beside those asked for. */
static inline void put_beside(struct job *j)
{
    size_t key = below(N_KEYS - 1);
    struct cell *c = &m.cells[j->group][key];
    for (size_t i = 0; i < j->n; i++) {
        if (j->keys[i] == key) {
            return;
        }
    }
    uint64_t number = number_of(j->group, key);
    gl_value v = value_make(number);
    dload_status st = gl_batch_put(j->b, key_of(key), &v);
    (void)value_end(&v);
    if (st == DLOAD_OK && !j->lost) {
        assert_true(c->cleared <= j->tick);
        c->cached = true;
        c->value = number;
    } else {
        must(st, DLOAD_ECANCELED);
    }
}

static inline dload_status fetch(gl_batch *b)
{
    struct job *j = m.jobs;
    while (j->b && j < m.jobs + N_JOBS) {
        j++;
    }
    assert_true(j < m.jobs + N_JOBS);
    *j = (struct job){.b = b, .n = b->n, .tick = m.tick};
    while (j->group < N_GROUPS && group_of(j->group) != b->group) {
        j->group++;
    }
    assert_true(j->group < N_GROUPS && b->n >= 1 && b->n <= MAX_BATCH);
    m.n_fetches++;
    uint64_t asked = 0;
    for (size_t i = 0; i < b->n; i++) {
        size_t key = index_of(b->keys[i]);
        struct cell *c = &m.cells[j->group][key];
        assert_true(c->queued && c->asked > asked); /* each once, in the order of asking */
        asked = c->asked;
        c->queued = false;
        c->job = j;
        j->keys[i] = key;
        j->values[i] = number_of(j->group, key);
        for (struct ask *a = m.asks; a < m.asks + COUNT(m.asks); a++) {
            if (a->waits && !a->sent && a->group == j->group && a->key == key) {
                a->sent = true;
                a->job = j;
                a->want = j->values[i];
            }
        }
    }
    size_t n_out = 0;
    for (struct job *k = m.jobs; k < m.jobs + N_JOBS; k++) {
        n_out += k->b != NULL;
    }
    bool later = n_out < N_JOBS / 2 && below(2);
    for (size_t i = 0; i < j->n; i++) {
        if (j->values[i] != 0 && (!later || below(4) == 0)) {
            must_ok(give(j, i));
            j->answered[i] = true;
        }
    }
    if (below(4) == 0) {
        put_beside(j);
    }
    for (size_t i = 0; i < j->n; i++) { /* published as this returns */
        if (!later || j->answered[i]) {
            known(j, i);
        }
    }
    if (!later) {
        j->b = NULL;
    }
    return later ? DLOAD_PENDING : DLOAD_OK;
}

/* One of the batches that are out ends; false when there is none. */
static inline bool finish_one(void)
{
    size_t at = below(N_JOBS), n = 0;
    while (n < N_JOBS && !m.jobs[(at + n) % N_JOBS].b) {
        n++;
    }
    struct job *j = &m.jobs[(at + n) % N_JOBS];
    if (!j->b) {
        return false;
    }
    for (size_t i = 0; i < j->n; i++) {
        if (!j->answered[i] && j->values[i] != 0) {
            known(j, i); /* before: callbacks run inside */
            must(give(j, i), j->lost ? DLOAD_ECANCELED : DLOAD_OK);
        }
    }
    if (below(4) == 0) {
        put_beside(j);
    }
    for (size_t i = 0; i < j->n; i++) {
        known(j, i);
    }
    gl_batch *b = j->b;
    j->b = NULL;
    must_ok(gl_batch_done(b, DLOAD_OK));
    return true;
}

/* env->wait: somebody waits for a batch that is out. */
static inline void pump(void *ctx)
{
    (void)ctx;
    assert_true(finish_one());
}

#endif /* DLOAD_TESTS_GROUPS_SOURCE_H */
