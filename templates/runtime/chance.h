/* >>chance -- logarithms of random numbers, without floating point. */
#ifndef DLOAD_I_CHANCE_H
#define DLOAD_I_CHANCE_H

#include "port.h"

/* -ln(r / 2^64) in 1/65536ths; 0 counts as 1. Leading zeros are the whole part of -log2, and a parabola
 * through the rest is within 0.01 of it. */
DLOAD_I_LOCAL uint32_t dload_i_neg_ln(uint64_t r)
{
    uint32_t zeros = 0;
    r = r != 0 ? r : 1;
    for (uint32_t step = 32; step != 0; step /= 2) {
        if (r >> (64 - step) == 0) {
            r <<= step;
            zeros += step;
        }
    }
    uint64_t f = (r >> 47) & 0xffff; /* r is 2^63 * (1 + f / 65536) */
    uint64_t log2_f = f + f * (65536 - f) / 65536 * 22545 / 65536;
    uint64_t neg_log2 = (uint64_t)(zeros + 1) * 65536 - log2_f;
    return (uint32_t)(neg_log2 * 45426 / 65536); /* ln 2 */
}

#endif /* DLOAD_I_CHANCE_H */
