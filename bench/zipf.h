/* Ranks by Zipf's law: rank r of n is drawn with a weight of 1 / (r + 1)^exponent. Link with -lm. */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include "harness.h"

#include <math.h>

typedef struct zipf {
    double *up_to; /* weight of all ranks up to this one */
    uint64_t n;
} zipf;

static inline void zipf_open(zipf *z, uint64_t n, double exponent)
{
    z->n = n;
    z->up_to = (double *)bench_pages((size_t)n * sizeof *z->up_to);
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        sum += pow((double)(i + 1), -exponent);
        z->up_to[i] = sum;
    }
}

static inline void zipf_close(zipf *z)
{
    bench_pages_free(z->up_to, (size_t)z->n * sizeof *z->up_to);
}

/* The rank that 64 random bits choose. */
static inline uint64_t zipf_rank(const zipf *z, uint64_t dice)
{
    double at = (double)(dice >> 11) / (double)(UINT64_C(1) << 53) * z->up_to[z->n - 1];
    uint64_t low = 0;
    uint64_t high = z->n - 1;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (z->up_to[middle] > at) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

#endif /* BENCH_ZIPF_H */
