/* The loops of bench-wheel, compiled into each contender; see wheel.h. */
#ifndef BENCH_WHEEL_LOOPS_H
#define BENCH_WHEEL_LOOPS_H

#include "wheel.h"

void *wheel_open(const wheel_round *r)
{
    wheel *w = wheel_create(r->n_slots, r->now);
    for (uint32_t slot = 0; w && slot < r->n_slots; slot++) {
        wheel_set(w, slot, r->now + wheel_ttl(r, slot, r->now));
    }
    return w;
}

void wheel_close(void *timers)
{
    wheel_destroy(timers);
}

size_t wheel_size(void *timers)
{
    return wheel_bytes(timers);
}

void wheel_pairs(void *timers, wheel_round *r)
{
    wheel *w = timers;
    for (r->n_done = 0; r->n_done < r->n_ops;) {
        uint64_t now = r->now += r->step;
        uint32_t n = wheel_expire(w, now, r->out);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t slot = r->out[i];
            r->checksum += slot * now;
            wheel_set(w, slot, now + wheel_ttl(r, slot, now));
        }
        r->n_done += n;
    }
}

void wheel_sets(void *timers, wheel_round *r)
{
    wheel *w = timers;
    for (r->n_done = 0; r->n_done < r->n_ops; r->n_done++) {
        if (r->n_done % 64 == 0) {
            r->now += r->step;
            uint32_t n = wheel_expire(w, r->now, r->out);
            for (uint32_t i = 0; i < n; i++) {
                r->checksum += r->out[i] * r->now;
                wheel_set(w, r->out[i], r->now + r->longest);
            }
        }
        uint64_t x = (r->n_done + r->now) * UINT64_C(0x9e3779b97f4a7c15);
        wheel_set(w, (uint32_t)(((x >> 32) * r->n_slots) >> 32), r->now + r->longest);
    }
}

#endif /* BENCH_WHEEL_LOOPS_H */
