/* The eviction policies, to the unit: against a naive simulator on random traces, against integers
 * committed beside a small trace, and against the published counts of real traces where those are
 * at hand (DLOAD_TRACES, or ../shared/traces; needs the zstd command). */
/* locks: NONE */
#define _POSIX_C_SOURCE 200809L

#define DLOAD_NAME  fifo
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint32_t
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#include "dataloader.h"
#define DLOAD_NAME  clk
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint32_t
#define DLOAD_EVICT DLOAD_EVICT_CLOCK
#include "dataloader.h"
#define DLOAD_NAME  lru
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint32_t
#define DLOAD_EVICT DLOAD_EVICT_LRU
#include "dataloader.h"
#define DLOAD_NAME  sieve
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint32_t
#define DLOAD_EVICT DLOAD_EVICT_SIEVE
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

/* ---- the library's counts ---- */

static struct fake_env env;

TRACE_DEFINE_RUN(fifo)
TRACE_DEFINE_RUN(clk)
TRACE_DEFINE_RUN(lru)
TRACE_DEFINE_RUN(sieve)
TRACE_DEFINE_RUN(s3)

/* ---- the naive simulator: a queue is an array, 0 is the oldest ---- */

struct entry {
    uint64_t key;
    unsigned uses;
};

struct queue {
    struct entry *e;
    size_t n;
};

static struct queue queue_new(size_t cap)
{
    struct queue q = {calloc(cap + 1, sizeof(struct entry)), 0};
    assert_non_null(q.e);
    return q;
}

static struct entry *queue_find(const struct queue *q, uint64_t key)
{
    for (size_t i = 0; i < q->n; i++) {
        if (q->e[i].key == key) {
            return &q->e[i];
        }
    }
    return NULL;
}

static struct entry queue_take(struct queue *q, size_t at)
{
    struct entry e = q->e[at];
    memmove(&q->e[at], &q->e[at + 1], (q->n - at - 1) * sizeof e);
    q->n--;
    return e;
}

static void queue_push(struct queue *q, uint64_t key, unsigned uses)
{
    q->e[q->n++] = (struct entry){key, uses};
}

/* FIFO, CLOCK and LRU differ in what a hit does and in who may stay. */
static uint64_t sim_simple(const uint64_t *keys, size_t n, size_t cap, bool touch,
                           bool second_chance)
{
    struct queue q = queue_new(cap);
    uint64_t misses = 0;
    for (size_t i = 0; i < n; i++) {
        struct entry *e = queue_find(&q, keys[i]);
        if (e) {
            e->uses = 1;
            if (touch) {
                struct entry moved = queue_take(&q, (size_t)(e - q.e));
                queue_push(&q, moved.key, 0);
            }
            continue;
        }
        misses++;
        if (q.n == cap) {
            struct entry out = queue_take(&q, 0);
            while (second_chance && out.uses) {
                queue_push(&q, out.key, 0);
                out = queue_take(&q, 0);
            }
        }
        queue_push(&q, keys[i], 0);
    }
    free(q.e);
    return misses;
}

static uint64_t sim_fifo(const uint64_t *keys, size_t n, size_t cap)
{
    return sim_simple(keys, n, cap, false, false);
}

static uint64_t sim_clk(const uint64_t *keys, size_t n, size_t cap)
{
    return sim_simple(keys, n, cap, false, true);
}

static uint64_t sim_lru(const uint64_t *keys, size_t n, size_t cap)
{
    return sim_simple(keys, n, cap, true, false);
}

static uint64_t sim_sieve(const uint64_t *keys, size_t n, size_t cap)
{
    struct queue q = queue_new(cap);
    uint64_t misses = 0;
    size_t hand = 0; /* 0 is the tail, and so is an unset hand */
    for (size_t i = 0; i < n; i++) {
        struct entry *e = queue_find(&q, keys[i]);
        if (e) {
            e->uses = 1;
            continue;
        }
        misses++;
        if (q.n == cap) {
            while (q.e[hand].uses) {
                q.e[hand].uses = 0;
                hand = (hand + 1) % q.n;
            }
            (void)queue_take(&q, hand);
            /* The neighbour on the head side has moved into its place; was there none, unset. */
            if (hand == q.n) {
                hand = 0;
            }
        }
        queue_push(&q, keys[i], 0);
    }
    free(q.e);
    return misses;
}

static void s3_evict_main(struct queue *main_q)
{
    for (;;) {
        struct entry out = queue_take(main_q, 0);
        if (!out.uses) {
            return;
        }
        queue_push(main_q, out.key, out.uses - 1);
    }
}

static void s3_evict_small(struct queue *small, struct queue *main_q, struct queue *ghost,
                           size_t ghost_limit)
{
    while (small->n) {
        struct entry out = queue_take(small, 0);
        if (out.uses >= 2) {
            queue_push(main_q, out.key, 0);
            continue;
        }
        if (ghost_limit && ghost->n == ghost_limit) {
            (void)queue_take(ghost, 0);
        }
        if (ghost_limit) {
            queue_push(ghost, out.key, 0);
        }
        return;
    }
}

static uint64_t sim_s3(const uint64_t *keys, size_t n, size_t cap)
{
    struct queue small = queue_new(cap), main_q = queue_new(cap), ghost = queue_new(cap);
    size_t main_limit = cap - (cap / 10 > 1 ? cap / 10 : 1), ghost_limit = cap * 9 / 10;
    uint64_t misses = 0;
    for (size_t i = 0; i < n; i++) {
        struct entry *e = queue_find(&small, keys[i]);
        e = e ? e : queue_find(&main_q, keys[i]);
        if (e) {
            e->uses += e->uses < 3;
            continue;
        }
        misses++;
        struct entry *g = queue_find(&ghost, keys[i]);
        if (g) {
            (void)queue_take(&ghost, (size_t)(g - ghost.e));
        }
        while (small.n + main_q.n >= cap) {
            if (main_q.n > main_limit || !small.n) {
                s3_evict_main(&main_q);
            } else {
                s3_evict_small(&small, &main_q, &ghost, ghost_limit);
            }
        }
        queue_push(g ? &main_q : &small, keys[i], 0);
    }
    free(small.e);
    free(main_q.e);
    free(ghost.e);
    return misses;
}

typedef uint64_t (*run_fn)(const uint64_t *keys, size_t n, size_t cap);

static const struct {
    const char *name, *published;
    run_fn run, sim;
} policies[] = {
    {"FIFO", "FIFO", run_fifo, sim_fifo},  {"CLOCK", "CLOCK", run_clk, sim_clk},
    {"LRU", "LRU", run_lru, sim_lru},      {"SIEVE", "SIEVE", run_sieve, sim_sieve},
    {"S3FIFO", "S3-FIFO", run_s3, sim_s3},
};

static void must_miss(const char *what, size_t policy, size_t cap, uint64_t got, uint64_t want)
{
    if (got != want) {
        fail_msg("%s, %s, capacity %zu: %" PRIu64 " misses, not %" PRIu64, what,
                 policies[policy].name, cap, got, want);
    }
}

/* ---- generated traces ---- */

enum { N_REQUESTS = 20000 };
static uint64_t requests[N_REQUESTS];

/* Keys whose popularity falls as 1/rank: a uniform exponent of a uniform range. */
static void make_zipf(uint64_t *seed, uint64_t range)
{
    for (size_t i = 0; i < N_REQUESTS; i++) {
        uint64_t span = range;
        while (span > 1 && rng_below(seed, 4)) {
            span = (span + 1) / 2;
        }
        requests[i] = rng_below(seed, span);
    }
}

static void make_loop(uint64_t *seed, uint64_t range)
{
    for (size_t i = 0; i < N_REQUESTS; i++) {
        requests[i] = i % range;
        if (rng_below(seed, 50) == 0) {
            requests[i] = rng_below(seed, range);
        }
    }
}

static void make_scans(uint64_t *seed, uint64_t range)
{
    make_zipf(seed, range);
    for (size_t i = 0, scan = 1u << 20; i < N_REQUESTS; i++) {
        if (i / 200 % 3 == 0) {
            requests[i] = scan++;
        } else if (i >= 30 && rng_below(seed, 3) == 0) {
            requests[i] = requests[i - 30]; /* used twice, shortly after */
        }
    }
}

static void all_policies(const char *what, size_t cap)
{
    for (size_t p = 0; p < COUNT(policies); p++) {
        must_miss(what, p, cap, policies[p].run(requests, N_REQUESTS, cap),
                  policies[p].sim(requests, N_REQUESTS, cap));
    }
}

static void test_evict_generated(void **state)
{
    (void)state;
    static const size_t caps[] = {1, 2, 3, 9, 10, 13, 19, 20, 99, 100, 300};
    uint64_t seed = test_seed("evict generated");
    for (size_t c = 0; c < COUNT(caps); c++) {
        make_zipf(&seed, 500);
        all_policies("zipf", caps[c]);
        make_loop(&seed, caps[c] + 1 + rng_below(&seed, 40));
        all_policies("loop", caps[c]);
        make_scans(&seed, 400);
        all_policies("scans", caps[c]);
    }
}

/* ---- the committed trace ---- */

static void test_evict_golden(void **state)
{
    (void)state;
    size_t n = golden_trace(requests, N_REQUESTS), rows = 0;
    equal(n, 6000);
    FILE *f = fopen(test_path("golden/miss-counts.csv"), "r");
    char line[128], name[16];
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        size_t cap;
        uint64_t want;
        if (sscanf(line, "%15[^,],%zu,%" SCNu64, name, &cap, &want) != 3) {
            continue; /* the heading */
        }
        for (size_t p = 0; p < COUNT(policies); p++) {
            if (strcmp(name, policies[p].name) == 0) {
                rows++;
                must_miss("golden", p, cap, policies[p].run(requests, n, cap), want);
                must_miss("simulator", p, cap, policies[p].sim(requests, n, cap), want);
            }
        }
    }
    fclose(f);
    equal(rows, 50);
}

/* ---- real traces ---- */

/* Rows are "trace,policy,fraction,capacity,requests,..."; column is where the count stands. */
static size_t compare_published(const char *sub, const char *file, int column)
{
    char path[1100], line[512], trace[64], loaded[64] = "";
    uint64_t *keys = NULL;
    size_t n = 0, rows = 0;
    snprintf(path, sizeof path, "%s/%s%s", trace_dir(), sub, file);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        char *field[12];
        size_t n_fields = csv_fields(line, field, COUNT(field));
        snprintf(trace, sizeof trace, "%s%s", sub, field[0]);
        for (size_t p = 0; p < COUNT(policies) && n_fields > (size_t)column; p++) {
            if (strcmp(field[1], policies[p].published) != 0) {
                continue;
            }
            if (strcmp(loaded, trace) != 0) {
                free(keys);
                keys = read_trace(trace, &n);
                snprintf(loaded, sizeof loaded, "%s", trace);
            }
            size_t cap = (size_t)strtoull(field[3], NULL, 10);
            if (n != strtoull(field[4], NULL, 10) || (TRACE_ONLY_SMALL && n > 200000)) {
                continue; /* this trace is not here */
            }
            rows++;
            must_miss(field[0], p, cap, policies[p].run(keys, n, cap),
                      strtoull(field[column], NULL, 10));
        }
    }
    free(keys);
    if (f) {
        fclose(f);
    }
    return rows;
}

static void test_evict_published(void **state)
{
    (void)state;
    size_t rows = compare_published("", "miss-counts.csv", 8);
    rows += compare_published("extra/", "golden-extra.csv", 6);
    if (rows) {
        print_message("real traces: %zu published counts reproduced\n", rows);
    } else {
        print_message("real traces: not here\n");
    }
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
        cmocka_unit_test_setup(test_evict_generated, setup),
        cmocka_unit_test_setup(test_evict_golden, setup),
        cmocka_unit_test_setup(test_evict_published, setup),
    };
    return cmocka_run_group_tests_name("evict " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
