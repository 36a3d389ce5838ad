/* >>pace -- when an open batch goes by itself: the settle time that was set, or the one that is found.
 *
 * With config.settle_ns a batch goes after a pause in the arrivals. Without it the core watches its
 * callers: how many wait side by side (crowd), and what a fetch takes. A lone caller never lingers. One
 * who has had company lingers for a small part of a fetch, and no longer than until everybody is there
 * who was there lately: callers who were served together come back together. All under the mutex.
 */
#ifndef DLOAD_I_PACE_H
#define DLOAD_I_PACE_H

#include "batch.h"
#include "ticks.h"

#define DLOAD_I_LINGER_PART   8u /* of a fetch: what lingering may add to a load */
#define DLOAD_I_LINGER_MAX_NS DLOAD_MILLISECOND
#define DLOAD_I_LINGER_MIN_NS DLOAD_MICROSECOND /* less is not worth a look at the clock */
#define DLOAD_I_COMPANY_MAX   8u

/* A call begins to wait. */
DLOAD_I_LOCAL void dload_i_pace_enter(dload_i_core *c, dload_i_parker *p)
{
    p->waits = true;
    if (++c->n_callers > c->peak)
        c->peak = c->n_callers;
}

DLOAD_I_LOCAL void dload_i_pace_leave(dload_i_core *c, dload_i_parker *p)
{
    c->n_callers -= p->waits;
    p->waits = false;
}

/* A batch ended: what it teaches. Company is the hope for more callers. It comes with a batch that had
 * several, and goes with those that had one; without a settle time it grows step by step, and a leader who
 * lingered in vain takes one back. */
DLOAD_I_LOCAL void dload_i_pace_learn(dload_i_core *c, const dload_i_batch *b)
{
    uint64_t run_ns = b->ended_ns - b->started_ns;
    bool found = c->settle_ns == 0;
    bool alone = b->n_calls <= 1 || (found && b->lingered && b->n_calls <= b->n_calls_before);
    if (alone)
        c->company -= c->company > 0;
    else if (found && c->company < DLOAD_I_COMPANY_MAX)
        c->company++;
    else
        c->company = DLOAD_I_COMPANY_MAX;
    c->fetch_ns = c->fetch_ns == 0 ? run_ns : c->fetch_ns - c->fetch_ns / 8 + run_ns / 8;
    c->ended_ns = b->ended_ns;
    if (c->peak >= c->crowd)
        c->crowd = c->peak;
    else
        c->crowd -= (c->crowd - c->peak + 3) / 4; /* who went away is waited for a few times more */
    c->peak = c->n_callers;
}

/* When b goes by itself, and why. For loops: they come round by themselves, and find nothing. */
DLOAD_I_LOCAL uint64_t dload_i_settled_at(const dload_i_core *c, const dload_i_batch *b,
                                          dload_trigger *why)
{
    uint64_t settle_ns = dload_i_add_ns(b->last_key_ns, c->settle_ns);
    uint64_t age_ns = dload_i_add_ns(b->opened_ns, c->max_age_ns);
    *why = settle_ns <= age_ns ? DLOAD_BY_SETTLE : DLOAD_BY_AGE;
    return settle_ns <= age_ns ? settle_ns : age_ns;
}

/* What n calls wait together; on small machines in units of a microsecond, about, which they can multiply. */
DLOAD_I_INLINE uint64_t dload_i_waited(uint64_t span_ns, uint32_t n_calls)
{
#if DLOAD_FREESTANDING
    return dload_i_mul_wide((uint32_t)(span_ns >> 10), n_calls);
#else
    return span_ns * n_calls;
#endif
}

/* The end of a running batch whose callers are worth waiting for. If b goes now, they will wait for it in
 * their turn, or both go on out of step: the few wait for the many, measured by all their waiting. */
DLOAD_I_LOCAL uint64_t dload_i_worth_awaiting(const dload_i_core *c, const dload_i_batch *b)
{
    uint64_t from_ns = DLOAD_NEVER;
    for (const dload_i_batch *r = c->running; r != NULL; r = r->next) {
        uint64_t end_ns = r->started_ns + c->fetch_ns;
        uint64_t left_ns = end_ns > b->opened_ns ? end_ns - b->opened_ns : 0;
        if (end_ns < from_ns &&
            dload_i_waited(left_ns, b->n_calls) < dload_i_waited(c->fetch_ns - left_ns, r->n_calls))
            from_ns = end_ns;
    }
    return from_ns;
}

/* Without a settle time: how long it pays to linger. */
DLOAD_I_LOCAL uint64_t dload_i_found_at(const dload_i_core *c, const dload_i_batch *b,
                                        dload_trigger *why)
{
    uint64_t part_ns = c->fetch_ns / DLOAD_I_LINGER_PART;
    if (part_ns > DLOAD_I_LINGER_MAX_NS)
        part_ns = DLOAD_I_LINGER_MAX_NS;
    if (part_ns < DLOAD_I_LINGER_MIN_NS)
        return 0;
    uint64_t from_ns = b->opened_ns;
    if (c->n_callers >= c->crowd) {
        /* Everybody waits. Those of a running batch will be back when it ends. */
        from_ns = dload_i_worth_awaiting(c, b);
        if (from_ns == DLOAD_NEVER)
            return 0;
    } else if (c->ended_ns > from_ns) {
        from_ns = c->ended_ns < from_ns + c->fetch_ns ? c->ended_ns : from_ns + c->fetch_ns;
    }
    *why = DLOAD_BY_SETTLE;
    /* While they keep coming, up to twice as long. */
    uint64_t due_ns = b->last_key_ns + part_ns / 2;
    due_ns = due_ns > from_ns + part_ns ? due_ns : from_ns + part_ns;
    return due_ns < from_ns + 2 * part_ns ? due_ns : from_ns + 2 * part_ns;
}

/* The same for a blocking call that waits for b. */
DLOAD_I_NOINLINE uint64_t dload_i_due_at(const dload_i_core *c, const dload_i_batch *b,
                                         const dload_i_parker *p, dload_trigger *why)
{
    if (p->in_crew) { /* goes when all are parked; only an age bounds that */
        *why = DLOAD_BY_AGE;
        return c->max_age_ns == 0 ? DLOAD_NEVER : dload_i_add_ns(b->opened_ns, c->max_age_ns);
    }
    *why = DLOAD_BY_IDLE;
    if (c->company == 0 && b->n_calls <= 1 && c->expect == 0)
        return 0; /* no hope of more */
    if (c->settle_ns != 0)
        return dload_i_settled_at(c, b, why);
    if (c->expect != 0) { /* announced, but not for ever */
        *why = DLOAD_BY_AGE;
        return b->opened_ns + DLOAD_I_LINGER_MAX_NS;
    }
    return dload_i_found_at(c, b, why);
}

#endif /* DLOAD_I_PACE_H */
