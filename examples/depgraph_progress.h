/* Progress on stderr, for phases that take longer than a second and for no others. */
#ifndef DEPGRAPH_PROGRESS_H
#define DEPGRAPH_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    const char *phase;
    const char *unit;
    uint64_t next_ns; /* when there is something to show again */
    unsigned skip;    /* steps until the clock is looked at */
    bool terminal;    /* one line rewritten in place, instead of a line each time */
    bool shown;       /* a line in place is to be wiped */
    bool eager;       /* for tests: show without waiting for the second */
};

/* Nanoseconds of a clock that never goes back. */
uint64_t monotonic_ns(void);

void progress_init(struct progress *p);
void progress_begin(struct progress *p, const char *phase, const char *unit);
void progress_step(struct progress *p, size_t done, size_t total);
void progress_end(struct progress *p);

#endif
