/* What the contenders of bench-backends share: the value, and how long calls took. */
#ifndef BENCH_BACKENDS_H
#define BENCH_BACKENDS_H

#include "harness.h"

#include <stdlib.h>

enum { BACKENDS_BATCH = 100, BACKENDS_LAPS = 1 << 16 };

/* 104 bytes, the size of a row. */
typedef struct backends_value {
    uint64_t word[13];
} backends_value;

static inline backends_value backends_value_of(uint64_t id)
{
    backends_value v;
    for (size_t i = 0; i < 13; i++)
        v.word[i] = bench_mix(id + i);
    return v;
}

/* How long calls took: as many of them as there is room for. */
typedef struct backends_laps {
    uint32_t n;
    uint64_t took_ns[BACKENDS_LAPS];
} backends_laps;

static inline void backends_laps_add(backends_laps *laps, uint64_t took_ns)
{
    if (laps->n < BACKENDS_LAPS)
        laps->took_ns[laps->n++] = took_ns;
}

static inline int backends_laps_order(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Answers call_p50_ns and call_p99_ns, and begins anew. */
static inline void backends_laps_put(backends_laps *laps, bench_reply *reply)
{
    qsort(laps->took_ns, laps->n, sizeof *laps->took_ns, backends_laps_order);
    if (laps->n != 0) {
        bench_put(reply, "call_p50_ns", laps->took_ns[laps->n / 2]);
        bench_put(reply, "call_p99_ns", laps->took_ns[laps->n - 1 - laps->n / 100]);
    }
    laps->n = 0;
}

#endif
