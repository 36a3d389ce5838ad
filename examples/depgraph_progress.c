/* Progress on stderr: quiet for a second, then in place on a terminal, or line by line in a log. */
#define _POSIX_C_SOURCE 200809L
#include "depgraph_progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND     UINT64_C(1000000000)
#define STEPS_PER_LOOK    64
#define TERMINAL_PAUSE_NS (NS_PER_SECOND / 5)

uint64_t monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

void progress_init(struct progress *p)
{
    const char *test = getenv("DEPGRAPH_TEST");

    memset(p, 0, sizeof *p);
    p->terminal = isatty(STDERR_FILENO) == 1;
    p->eager = test != NULL && strcmp(test, "progress") == 0;
}

void progress_begin(struct progress *p, const char *phase, const char *unit)
{
    p->phase = phase;
    p->unit = unit;
    p->skip = 0;
    p->next_ns = monotonic_ns() + (p->eager ? 0 : NS_PER_SECOND);
}

void progress_step(struct progress *p, size_t done, size_t total)
{
    uint64_t now_ns;

    if (p->skip-- > 0) {
        return;
    }
    p->skip = STEPS_PER_LOOK;
    now_ns = monotonic_ns();
    if (now_ns < p->next_ns) {
        return;
    }
    p->next_ns = now_ns + (p->terminal ? TERMINAL_PAUSE_NS : NS_PER_SECOND);
    p->shown = true;
    fprintf(stderr, p->terminal ? "\r%s: %zu of %zu %s \x1b[K" : "%s: %zu of %zu %s\n", p->phase,
            done, total, p->unit);
    fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (p->shown && p->terminal) {
        fputs("\r\x1b[K", stderr);
    }
    p->shown = false;
}
