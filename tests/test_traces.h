/* Request sequences, generated, committed and published real ones, and what a cache misses of them. */
#ifndef DLOAD_TEST_TRACES_H
#define DLOAD_TEST_TRACES_H

#include "support.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TRACE_ONLY_SMALL 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define TRACE_ONLY_SMALL 1
#endif
#endif
#ifndef TRACE_ONLY_SMALL
#define TRACE_ONLY_SMALL 0 /* full size; sanitizers do with what they can read in seconds */
#endif

/* run_<name>: the misses of a <name>_cache (uint64_t to uint32_t) in the file's environment, env. Every
 * request is a get, a miss a set; the value tells whose it is. */
#define TRACE_DEFINE_RUN(name)                                              \
    static uint64_t run_##name(const uint64_t *keys, size_t n, size_t cap)  \
    {                                                                       \
        name##_cache c;                                                     \
        name##_cache_config cfg;                                            \
        uint64_t misses = 0;                                                \
        memset(&cfg, 0, sizeof cfg);                                        \
        cfg.env = &env.env;                                                 \
        cfg.capacity = cap;                                                 \
        must_ok(name##_cache_init(&c, &cfg));                               \
        for (size_t i = 0; i < n; i++) {                                    \
            uint32_t v = (uint32_t)keys[i], got = 0;                        \
            if (name##_cache_get(&c, keys[i], &got) == DLOAD_OK) {          \
                equal(got, v);                                              \
                continue;                                                   \
            }                                                               \
            misses++;                                                       \
            must_ok(name##_cache_set(&c, keys[i], &v, 0));                  \
        }                                                                   \
        equal(name##_cache_len(&c), misses < cap ? misses : (uint64_t)cap); \
        must_ok(name##_cache_destroy(&c));                                  \
        fake_env_check(&env);                                               \
        return misses;                                                      \
    }

/* The same keys in the same order, again and again. */
static inline void trace_loop(uint64_t *to, size_t n, uint64_t length, uint64_t first_key)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = first_key + i % length;
    }
}

/* A key's popularity falls about as 1/rank. With drift, ranks move by one every so many requests: what is
 * popular falls back, what nobody knew comes to the front. */
static inline void trace_zipf(uint64_t *to, size_t n, uint64_t range, uint64_t drift,
                              uint64_t *seed)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t span = range;
        while (span > 1 && rng_below(seed, 4)) {
            span = (span + 1) / 2;
        }
        uint64_t front = drift ? i / drift : 0;
        to[i] = (UINT64_C(1) << 40) + front + range - rng_below(seed, span);
    }
}

/* Popular keys with runs of keys that are used once. */
static inline void trace_scans(uint64_t *to, size_t n, uint64_t range, uint64_t *seed)
{
    trace_zipf(to, n, range, 0, seed);
    uint64_t scan = UINT64_C(1) << 41;
    for (size_t i = 0; i < n; i++) {
        if (i / 1000 % 3 == 0) {
            to[i] = scan++;
        }
    }
}

/* Half of the keys twice, at most so many requests apart, and never again. */
static inline void trace_twice(uint64_t *to, size_t n, uint64_t apart, uint64_t *seed)
{
    uint64_t key = UINT64_C(1) << 42;
    memset(to, 0, n * sizeof *to);
    for (size_t i = 0; i < n; i++) {
        if (to[i] != 0) {
            continue;
        }
        to[i] = key;
        size_t again = i + 1 + rng_below(seed, apart);
        if (rng_below(seed, 2) && again < n && to[again] == 0) {
            to[again] = key;
        }
        key++;
    }
}

/* ---- the committed one ---- */

static inline size_t golden_trace(uint64_t *keys, size_t cap)
{
    FILE *f = fopen(test_path("golden/mixed.txt"), "r");
    size_t n = 0;
    assert_non_null(f);
    while (n < cap && fscanf(f, "%" SCNu64, &keys[n]) == 1) {
        n++;
    }
    fclose(f);
    return n;
}

/* ---- real ones ---- */

/* Cuts a line at its commas: how many fields there are, max at most. */
static inline size_t csv_fields(char *line, char **field, size_t max)
{
    size_t n = 0;
    for (char *at = line; at != NULL && n < max;) {
        field[n++] = at;
        at = strchr(at, ',');
        if (at) {
            *at++ = '\0';
        }
    }
    return n;
}

static inline const char *trace_dir(void)
{
    static char beside[1024];
    const char *dir = getenv("DLOAD_TRACES");
    if (dir) {
        return dir;
    }
    snprintf(beside, sizeof beside, "%s", test_path("../../shared/traces"));
    return beside;
}

static inline uint64_t *read_trace(const char *name, size_t *n)
{
    char command[2200];
    size_t cap = 6000000;
    uint64_t *keys = malloc(cap * sizeof *keys);
    assert_non_null(keys);
    snprintf(command, sizeof command, "zstd -dc '%s/%s.u64.zst' 2>/dev/null", trace_dir(), name);
    FILE *pipe = popen(command, "r");
    *n = pipe ? fread(keys, sizeof *keys, cap, pipe) : 0;
    if (pipe) {
        pclose(pipe);
    }
    return keys;
}

/* A trace at a capacity, and the fewest misses of any policy that does not know the future. */
struct published_cell {
    char trace[32];
    size_t cap, n_requests;
    uint64_t best;
};

/* From "trace,policy,fraction,capacity,requests,unique,misses,ratio,misses of the other simulator,...". */
static inline size_t published_cells(struct published_cell *cells, size_t max)
{
    char path[1100], line[512];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/miss-counts.csv", trace_dir());
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        char *field[12];
        size_t n_fields = csv_fields(line, field, COUNT(field));
        size_t cap = n_fields > 8 ? (size_t)strtoull(field[3], NULL, 10) : 0;
        if (cap == 0 || strcmp(field[1], "Belady") == 0) {
            continue; /* the heading, or somebody who knows the future */
        }
        size_t at_cell = 0;
        while (at_cell < n &&
               (strcmp(cells[at_cell].trace, field[0]) != 0 || cells[at_cell].cap != cap)) {
            at_cell++;
        }
        struct published_cell *cell = &cells[at_cell];
        if (at_cell == n) {
            if (n == max) {
                continue;
            }
            n++;
            snprintf(cell->trace, sizeof cell->trace, "%s", field[0]);
            cell->cap = cap;
            cell->n_requests = (size_t)strtoull(field[4], NULL, 10);
            cell->best = cell->n_requests;
        }
        for (int column = 6; column <= 8; column += 2) {
            uint64_t misses = strtoull(field[column], NULL, 10);
            cell->best = misses != 0 && misses < cell->best ? misses : cell->best;
        }
    }
    if (f) {
        fclose(f);
    }
    return n;
}

#endif /* DLOAD_TEST_TRACES_H */
