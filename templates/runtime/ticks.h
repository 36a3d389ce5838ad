/* >>ticks -- a counter of 32 bits that wraps, as the nanoseconds that everything here is measured in.
 *
 * Timers of microcontrollers count up and start over after 2^32 ticks, 49 days of milliseconds or 71 minutes
 * of microseconds. Differences between two looks are right as long as no more than one round lies between them;
 * they are summed up.
 */
#ifndef DLOAD_I_TICKS_H
#define DLOAD_I_TICKS_H

#include "port.h"

/* A counter that is extended. Zero it, set tick_ns; for an env it belongs beside the counter:
 *
 *     static dload_ticks clock = {1000000, 0, 0};            // a tick is a millisecond
 *     static uint64_t now(void *ctx) { (void)ctx; return dload_ticks_ns(&clock, millis()); }
 */
typedef struct dload_ticks {
    uint32_t tick_ns;    /* ns a tick */
    uint32_t last_ticks; /* private: the counter at the last look */
    uint64_t total_ns;   /* private: time until then */
} dload_ticks;

/* a * b in four parts, for cores that multiply 32 bits into 32. */
DLOAD_I_INLINE uint64_t dload_i_mul_halves(uint32_t a, uint32_t b)
{
    uint32_t low = (a & 0xffffu) * (b & 0xffffu);
    uint32_t left = (a >> 16) * (b & 0xffffu);
    uint32_t right = (a & 0xffffu) * (b >> 16);
    uint32_t middle = (low >> 16) + (left & 0xffffu) + (right & 0xffffu);
    uint32_t high = (a >> 16) * (b >> 16) + (left >> 16) + (right >> 16) + (middle >> 16);
    return (uint64_t)high << 32 | (middle << 16 | (low & 0xffffu));
}

/* a * b, without the compiler's library. */
DLOAD_I_INLINE uint64_t dload_i_mul_wide(uint32_t a, uint32_t b)
{
#if DLOAD_FREESTANDING && (defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__))
    return dload_i_mul_halves(a, b);
#else
    return (uint64_t)a * b;
#endif
}

/* The time in ns since the counter was 0, at a look that finds it at now_ticks: what env.now returns. It never
 * goes back, and wraps after 584 years, as long as somebody looks once in 2^32 ticks; a loader looks when it
 * is called. A look that interrupts another one spoils it: where interrupt handlers ask for the time, too, as
 * _cache_get does, it goes into a critical section. Allocates nothing; O(1). */
DLOAD_I_LOCAL uint64_t dload_ticks_ns(dload_ticks *t, uint32_t now_ticks)
{
    t->total_ns += dload_i_mul_wide(now_ticks - t->last_ticks, t->tick_ns);
    t->last_ticks = now_ticks;
    return t->total_ns;
}

#endif /* DLOAD_I_TICKS_H */
