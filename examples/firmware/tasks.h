/* tasks.h -- the tasks of the hub: who wants which registers, how often, and how old they may be. */
#ifndef TASKS_H
#define TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TASKS_MAX_REGS 22 /* all there are */

struct task {
    const char *name;
    uint32_t period_us;
    size_t n_regs;
    const uint16_t *regs;
};

extern const struct task tasks[];
extern const size_t n_tasks;

/* What a run of all tasks saw. */
struct tally {
    uint32_t n_wanted;   /* readings that tasks asked for */
    uint32_t n_got;      /* ... and had */
    uint32_t n_wrong;    /* ... that the world had not shown at that time */
    uint32_t n_old;      /* ... that were older than the device's readings may be */
    uint32_t oldest_us;  /* of all */
    uint32_t longest_us; /* from a round's begin to the last answer in it */
};

/* For how long a register's reading serves: what moves is read more often than what warms up. */
uint32_t tasks_life_us(uint16_t reg);

/* Runs the tasks for so long: each reads its registers by itself, one after the other ... */
void tasks_run_alone(uint32_t run_us, struct tally *tally);

/* ... or all of them through the loader: what is wanted in the same millisecond is one batch, neighbouring
 * registers are one transaction, and what was read a moment ago is not read again. False: it could not be set up. */
bool tasks_run_loaded(uint32_t run_us, struct tally *tally);

/* Bytes of RAM that the loader takes, its memory and its struct. */
size_t tasks_loader_bytes(void);

#endif /* TASKS_H */
