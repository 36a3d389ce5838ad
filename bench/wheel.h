/* What a contender of bench-wheel is: a set of n timers, one for each slot, that are all armed.
 *
 * It defines the type wheel, static functions of the shapes below, and includes wheel_loops.h, so that
 * the compiler sees them and the loops that are measured together:
 *
 *   wheel *wheel_create(uint32_t n_slots, uint64_t now);    all slots free
 *   void wheel_destroy(wheel *w);
 *   size_t wheel_bytes(const wheel *w);                     all memory, but for what is constant
 *   void wheel_set(wheel *w, uint32_t slot, uint64_t end);  whether it is armed or not
 *   uint32_t wheel_expire(wheel *w, uint64_t now, uint32_t *out);   takes them out, in any order
 */
#ifndef BENCH_WHEEL_H
#define BENCH_WHEEL_H

#include "harness.h"

/* A round's work, and where it left off. */
typedef struct wheel_round {
    uint64_t now;
    uint64_t step;     /* ticks that pass between two looks for what has expired */
    uint64_t longest;  /* TTL */
    uint64_t n_ops;    /* to do */
    uint64_t n_done;   /* a little more */
    uint64_t checksum; /* of who expired when */
    uint32_t n_slots;
    uint32_t *out; /* n_slots */
} wheel_round;

/* A TTL from 1 to longest that only slot and time decide, so that all contenders give the same. */
static inline uint64_t wheel_ttl(const wheel_round *r, uint32_t slot, uint64_t now)
{
    uint64_t x = (slot + now * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return 1 + ((x >> 32) * r->longest >> 32);
}

void *wheel_open(const wheel_round *r);
void wheel_close(void *timers);
size_t wheel_size(void *timers);
/* Time passes, what has expired is armed again. */
void wheel_pairs(void *timers, wheel_round *r);
/* Slots are armed anew before they expire, each for longest; time passes too. */
void wheel_sets(void *timers, wheel_round *r);

extern const char *const wheel_name;
extern const char *const wheel_note;

#endif /* BENCH_WHEEL_H */
