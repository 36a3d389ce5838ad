/* DLOAD_EVICT_ADAPTIVE: to the unit against integers committed beside a small trace and against a naive
 * model on random operations; how it behaves when the requests change their nature; its regret on real
 * traces where those are at hand (DLOAD_TRACES, or ../shared/traces; needs the zstd command). */
/* locks: NONE */
#define _POSIX_C_SOURCE 200809L

#define DLOAD_NAME  ada
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint32_t
#define DLOAD_EVICT DLOAD_EVICT_ADAPTIVE
#include "dataloader.h"
#define DLOAD_NAME  lru
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint32_t
#define DLOAD_EVICT DLOAD_EVICT_LRU
#include "dataloader.h"
#define DLOAD_NAME  s3
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint32_t
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#include "dataloader.h"

#include "support.h"
#include "test_traces.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_env env;

static void open_ada(ada_cache *c, size_t cap)
{
    ada_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &env.env;
    cfg.capacity = cap;
    must_ok(ada_cache_init(c, &cfg));
}

TRACE_DEFINE_RUN(ada)
TRACE_DEFINE_RUN(lru)
TRACE_DEFINE_RUN(s3)

/* ---- the naive model: queues and memories are arrays, 0 is the oldest ---- */

struct entry {
    uint64_t key;
    unsigned uses;
    uint64_t since;
    bool hole;
};

struct queue {
    struct entry *e;
    size_t n;
};

struct model {
    size_t cap;
    struct queue q[2];    /* small, main */
    struct queue past[2]; /* every eviction ever, of each */
    size_t limit[2];
    uint64_t target, least, now, leaving;
};

static void model_open(struct model *m, size_t cap, size_t n)
{
    memset(m, 0, sizeof *m);
    m->cap = cap;
    for (int i = 0; i < 2; i++) {
        m->q[i].e = calloc(cap + 1, sizeof(struct entry));
        m->past[i].e = calloc(n + 1, sizeof(struct entry));
        assert_true(m->q[i].e && m->past[i].e);
        m->limit[i] = i ? cap * 9 / 20 : cap * 9 / 10;
        m->limit[i] = m->limit[i] ? m->limit[i] : 1;
    }
    m->least = cap * 65536 / 100 > 65536 ? cap * 65536 / 100 : 65536;
    m->target = cap * 65536 / 10 > m->least ? cap * 65536 / 10 : m->least;
}

static void model_close(struct model *m)
{
    for (int i = 0; i < 2; i++) {
        free(m->q[i].e);
        free(m->past[i].e);
    }
}

static struct entry *model_find(const struct model *m, uint64_t key)
{
    for (int i = 0; i < 2; i++) {
        for (size_t j = 0; j < m->q[i].n; j++) {
            if (m->q[i].e[j].key == key) {
                return &m->q[i].e[j];
            }
        }
    }
    return NULL;
}

static struct entry cut(struct queue *q, size_t at)
{
    struct entry e = q->e[at];
    memmove(&q->e[at], &q->e[at + 1], (q->n - at - 1) * sizeof e);
    q->n--;
    return e;
}

static void push(struct queue *q, uint64_t key, unsigned uses, uint64_t since)
{
    q->e[q->n++] = (struct entry){key, uses, since, false};
}

static void model_remove(struct model *m, uint64_t key)
{
    for (int i = 0; i < 2; i++) {
        for (size_t j = 0; j < m->q[i].n; j++) {
            if (m->q[i].e[j].key == key) {
                cut(&m->q[i], j);
                return;
            }
        }
    }
}

/* The live eviction of a key, or the number of all. */
static size_t model_recall(const struct model *m, int which, uint64_t key, size_t *n_live)
{
    const struct queue *p = &m->past[which];
    size_t found = p->n;
    *n_live = 0;
    for (size_t i = p->n > m->limit[which] ? p->n - m->limit[which] : 0; i < p->n; i++) {
        *n_live += !p->e[i].hole;
        found = !p->e[i].hole && p->e[i].key == key ? i : found;
    }
    return found;
}

static bool model_main_gives(const struct model *m, size_t more)
{
    return m->q[0].n == 0 || (m->q[1].n != 0 && (m->q[0].n + more) * 65536 < m->target);
}

static void model_learn(struct model *m, int which, const size_t *n_live)
{
    uint64_t step = n_live[!which] * 65536 / n_live[which];
    step = step < 65536 ? 65536 : step > 16 * 65536 ? 16 * 65536 : step;
    if (which == 0) {
        m->target = m->target + step > m->cap * 65536 ? m->cap * 65536 : m->target + step;
    } else {
        m->target = m->target < m->least + step ? m->least : m->target - step;
    }
}

static bool model_meet(struct model *m, uint64_t key)
{
    size_t n_live[2], at[2];
    at[0] = model_recall(m, 0, key, &n_live[0]);
    at[1] = model_recall(m, 1, key, &n_live[1]);
    int which = at[0] < m->past[0].n ? 0 : 1;
    if (at[which] == m->past[which].n) {
        return false;
    }
    struct entry *gone = &m->past[which].e[at[which]];
    gone->hole = true;
    if (m->past[which].n - at[which] <= (m->cap < 4 ? 1 : m->cap / 4)) {
        model_learn(m, which, n_live);
    }
    struct queue *main_q = &m->q[1];
    if (m->q[0].n + main_q->n < m->cap || main_q->n == 0 || !model_main_gives(m, 0)) {
        return true;
    }
    if (main_q->e[0].uses != 0) {
        struct entry e = cut(main_q, 0);
        push(main_q, e.key, e.uses - 1, m->now);
    }
    return main_q->e[0].uses == 0 && main_q->e[0].since < gone->since;
}

static void model_evict(struct model *m, size_t more)
{
    for (;;) {
        int which = model_main_gives(m, more) ? 1 : 0;
        struct entry e = cut(&m->q[which], 0);
        bool stays = e.uses >= (which ? 1u : 2u);
        if (which == 0 && !stays) {
            m->leaving = (m->leaving + 1) % 64;
            stays = m->leaving == 0;
        }
        if (!stays) {
            push(&m->past[which], e.key, 0, e.since);
            m->now++;
            return;
        }
        push(&m->q[1], e.key, which ? e.uses - 1 : 0, m->now);
    }
}

static void model_set(struct model *m, uint64_t key)
{
    bool hot = model_meet(m, key);
    if (m->q[0].n + m->q[1].n == m->cap) {
        model_evict(m, hot ? 0 : 1);
    }
    push(&m->q[hot ? 1 : 0], key, 0, m->now);
}

/* ---- against the model ---- */

static void check_inside(const ada_cache *c, const struct model *m)
{
    const dload_i_evict *e = &c->one.evict;
    const dload_i_adaptive *a = e->adaptive;
    equal(e->queues.q[DLOAD_I_SMALL].n, m->q[0].n);
    equal(e->queues.q[DLOAD_I_MAIN].n, m->q[1].n);
    equal(a->target, m->target);
    equal(a->now, m->now);
}

static void random_operations(uint64_t seed, size_t cap, size_t n)
{
    ada_cache c;
    struct model m;
    open_ada(&c, cap);
    model_open(&m, cap, n);
    for (size_t i = 0; i < n; i++) {
        uint64_t range = i / 500 % 3 == 0 ? cap * 2 + 2 : i / 500 % 3 == 1 ? cap + 3 : cap * 6 + 9;
        uint64_t key = i / 500 % 2 ? rng_below(&seed, range) : i % range;
        uint32_t got = 0, v = (uint32_t)key;
        struct entry *e = model_find(&m, key);
        must(ada_cache_get(&c, key, &got), e ? DLOAD_OK : DLOAD_MISSING);
        if (e) {
            equal(got, v);
            e->uses += e->uses < 3;
        } else {
            model_set(&m, key);
            must_ok(ada_cache_set(&c, key, &v, 0));
        }
        if (rng_below(&seed, 8) == 0) {
            key = rng_below(&seed, range);
            must_ok(ada_cache_delete(&c, key));
            model_remove(&m, key);
        }
        check_inside(&c, &m);
    }
    must_ok(ada_cache_destroy(&c));
    model_close(&m);
    fake_env_check(&env);
}

static void test_adaptive_model(void **state)
{
    (void)state;
    static const size_t caps[] = {1, 2, 3, 4, 9, 10, 13, 99, 100};
    uint64_t seed = test_seed("adaptive model");
    for (size_t c = 0; c < COUNT(caps); c++) {
        random_operations(rng(&seed), caps[c], scaled(12000));
    }
}

static void test_adaptive_golden(void **state)
{
    (void)state;
    static uint64_t keys[6000];
    char line[128];
    size_t n = golden_trace(keys, COUNT(keys)), rows = 0;
    FILE *f = fopen(test_path("golden/miss-counts.csv"), "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        size_t cap;
        uint64_t want;
        if (sscanf(line, "ADAPTIVE,%zu,%" SCNu64, &cap, &want) == 2) {
            rows++;
            equal(run_ada(keys, n, cap), want);
        }
    }
    fclose(f);
    equal(rows, 10);
}

/* ---- a hit writes one byte of its entry, once it is popular none ---- */

static void test_adaptive_hit(void **state)
{
    (void)state;
    ada_cache c;
    open_ada(&c, 50);
    for (uint32_t i = 0; i < 80; i++) {
        must_ok(ada_cache_set(&c, i, &i, 0));
    }
    size_t n_bytes = c.one.block_bytes;
    unsigned char *before = malloc(n_bytes);
    assert_non_null(before);
    for (int hit = 0; hit < 5; hit++) {
        uint32_t got;
        memcpy(before, c.one.block, n_bytes);
        must_ok(ada_cache_get(&c, 79, &got));
        size_t n_changed = 0;
        for (size_t i = 0; i < n_bytes; i++) {
            n_changed += before[i] != ((const unsigned char *)c.one.block)[i];
        }
        equal(n_changed, hit < 3 ? 1 : 0);
    }
    free(before);
    must_ok(ada_cache_destroy(&c));
}

/* ---- requests that change their nature ---- */

enum { PHASE = 60000, CAP = 300 };
static uint64_t requests[4 * PHASE];

/* Misses of the second half of each of n phases, in thousandths of its requests. */
static void phases(size_t n_phases, uint64_t *per_mille)
{
    uint64_t before = 0;
    for (size_t half = 1; half <= 2 * n_phases; half++) {
        uint64_t misses = run_ada(requests, half * (PHASE / 2), CAP);
        if (half % 2 == 0) {
            per_mille[half / 2 - 1] = (misses - before) * 1000 / (PHASE / 2);
        }
        before = misses;
    }
}

static void at_most(uint64_t got, uint64_t bound, const char *what)
{
    print_message("%s: %" PRIu64 " per mille of misses, at most %" PRIu64 "\n", what, got, bound);
    if (got > bound) {
        fail_msg("%s: %" PRIu64 " per mille of misses, more than %" PRIu64, what, got, bound);
    }
}

/* No loop flushes it, however long; nor does it keep an old loop for ever. What fits of a loop of L keys
 * would be hit by somebody who knew: 1000 - 1000 * CAP / L are his misses. */
static void test_adaptive_loops(void **state)
{
    (void)state;
    uint64_t per_mille[4];
    static const uint64_t lengths[] = {450, 1500, 240, 600};
    static const uint64_t bounds[] = {450, 860, 1, 560};
    for (size_t p = 0; p < 4; p++) {
        trace_loop(requests + p * PHASE, PHASE, lengths[p], p << 20);
    }
    phases(4, per_mille);
    for (size_t p = 0; p < 4; p++) {
        at_most(per_mille[p], bounds[p], "loop");
    }
    assert_true(run_lru(requests, PHASE, CAP) == PHASE); /* others would not have a single hit */
}

/* Popular keys, then once-used ones between them, then popularity that drifts, then keys used twice and
 * never again. In the second half of each it is within 3 points of the better of LRU and S3-FIFO on that alone. */
static void test_adaptive_phases(void **state)
{
    (void)state;
    uint64_t per_mille[4], seed = test_seed("adaptive phases");
    static const char *const what[] = {"popular", "scans", "drift", "twice"};
    trace_zipf(requests, PHASE, 4000, 0, &seed);
    trace_scans(requests + PHASE, PHASE, 4000, &seed);
    trace_zipf(requests + 2 * PHASE, PHASE, 4000, 10, &seed);
    trace_twice(requests + 3 * PHASE, PHASE, CAP / 2, &seed);
    phases(4, per_mille);
    for (size_t p = 0; p < 4; p++) {
        const uint64_t *alone = requests + p * PHASE;
        uint64_t of_lru = run_lru(alone, PHASE, CAP) - run_lru(alone, PHASE / 2, CAP);
        uint64_t of_s3 = run_s3(alone, PHASE, CAP) - run_s3(alone, PHASE / 2, CAP);
        uint64_t best = (of_lru < of_s3 ? of_lru : of_s3) * 1000 / (PHASE / 2);
        at_most(per_mille[p], best + 30, what[p]);
    }
}

/* ---- real traces ---- */

/* Against the best published count of any online policy. */
static void test_adaptive_regret(void **state)
{
    (void)state;
    struct published_cell cells[16];
    size_t n_cells = published_cells(cells, COUNT(cells)), n_run = 0;
    int64_t sum = 0, worst = 0;
    for (size_t i = 0; i < n_cells; i++) {
        const struct published_cell *cell = &cells[i];
        size_t n = 0;
        uint64_t *keys = read_trace(cell->trace, &n);
        if (n == cell->n_requests && (!TRACE_ONLY_SMALL || n < 1000000)) {
            int64_t more = (int64_t)run_ada(keys, n, cell->cap) - (int64_t)cell->best;
            int64_t regret = more * 10000 / (int64_t)n; /* hundredths of a percentage point */
            print_message("%s, %zu entries: regret %.2f pp\n", cell->trace, cell->cap,
                          (double)regret / 100);
            regret = regret > 0 ? regret : 0;
            sum += regret;
            worst = regret > worst ? regret : worst;
            n_run++;
        }
        free(keys);
    }
    if (n_run == 0) {
        print_message("real traces: not here, regret not tested\n");
        return;
    }
    print_message("regret: mean %.2f, worst %.2f pp\n", (double)sum / (double)n_run / 100,
                  (double)worst / 100);
    assert_true(worst <= 300 && sum <= 80 * (int64_t)n_run);
}

static int setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_adaptive_model, setup),
        cmocka_unit_test_setup(test_adaptive_golden, setup),
        cmocka_unit_test_setup(test_adaptive_hit, setup),
        cmocka_unit_test_setup(test_adaptive_loops, setup),
        cmocka_unit_test_setup(test_adaptive_phases, setup),
        cmocka_unit_test_setup(test_adaptive_regret, setup),
    };
    return cmocka_run_group_tests_name("adaptive " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
