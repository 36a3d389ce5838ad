/* >>nest -- loads from inside a fetch function, and the circles they can close.
 *
 * A fetch function may load, from any loader. Then its batch waits for another batch, whose function may
 * wait in turn, in other threads, until somebody waits for the first one. Each batch knows where its
 * runner waits (nested), each waiter its batch: whoever begins such a wait writes that down and follows
 * the arrows under one lock, so that the one who closes a circle sees it whole and is told
 * DLOAD_EDEADLK. Loads from anywhere else never come here.
 *
 * The lock and the thread's current batch are shared by all translation units of a program (weak
 * definitions), because a circle may go through loaders of several.
 */
#ifndef DLOAD_I_NEST_H
#define DLOAD_I_NEST_H

#include "flight.h"

/* Would a caller that waits for b wait for itself? */
DLOAD_I_INLINE bool dload_i_is_own(const dload_i_core *c, const dload_i_batch *b)
{
    return b->state == DLOAD_I_RUNNING && b->in_fetch && b->runner == dload_i_self(c->env);
}

DLOAD_I_LOCAL bool dload_i_runs_here(const dload_i_core *c)
{
    uint64_t self = dload_i_self(c->env);
    for (const dload_i_batch *b = c->running; b != NULL; b = b->next) {
        if (b->in_fetch && b->runner == self)
            return true;
    }
    return false;
}

#if DLOAD_FREESTANDING

/* Does a fetch function call? */
DLOAD_I_LOCAL bool dload_i_nested(const dload_i_core *c)
{
    return dload_i_runs_here(c);
}

/* One thread: what is not its own batch is no circle. */
DLOAD_I_INLINE dload_i_batch *dload_i_nest_enter(dload_i_batch *b)
{
    return b;
}

DLOAD_I_INLINE void dload_i_nest_leave(dload_i_batch *outer)
{
    (void)outer;
}

DLOAD_I_INLINE bool dload_i_nest_wait(dload_i_core *c, dload_i_parker *p)
{
    (void)c;
    (void)p;
    return true;
}

DLOAD_I_INLINE void dload_i_nest_end(dload_i_core *c)
{
    (void)c;
}

#else

#ifdef __cplusplus
extern "C" {
#endif
/* The innermost batch whose function runs in this thread. */
DLOAD_I_OF_THREAD struct dload_i_batch *dload_i_nest_current;
/* Guards nested of every batch, and is held while arrows are followed. */
DLOAD_I_OF_PROGRAM dload_i_spin dload_i_nest_lock;
#ifdef __cplusplus
}
#endif

/* Does a fetch function call, of whatever loader? */
DLOAD_I_LOCAL bool dload_i_nested(const dload_i_core *c)
{
    (void)c;
    return dload_i_nest_current != NULL;
}

#define DLOAD_I_NEST_MAX 64u /* waits that one search follows; beyond, the deadline decides */

/* A function begins to run in this thread; returns what to leave with. */
DLOAD_I_LOCAL dload_i_batch *dload_i_nest_enter(dload_i_batch *b)
{
    dload_i_batch *outer = dload_i_nest_current;
    dload_i_nest_current = b;
    return outer;
}

DLOAD_I_LOCAL void dload_i_nest_leave(dload_i_batch *outer)
{
    dload_i_nest_current = outer;
}

/* The wait that this request's answer waits for: that of the runner of its batch, if it is blocked. A
 * batch that ends meanwhile and runs again for others must not be taken for the one waited for: the
 * request lets go of it before that, so that a second look tells. */
DLOAD_I_LOCAL dload_i_parker *dload_i_nest_next(const dload_i_waiter *w, uint64_t self,
                                                bool *circle)
{
    dload_i_batch *b = DLOAD_I_LOAD_ACQUIRE(&w->batch);
    if (b == NULL || !DLOAD_I_LOAD_ACQUIRE(&b->in_fetch))
        return NULL;
    bool own = DLOAD_I_LOAD_ACQUIRE(&b->runner) == self;
    dload_i_parker *next = b->nested;
    if (DLOAD_I_LOAD_ACQUIRE(&w->batch) != b)
        return NULL;
    *circle = *circle || own;
    return next;
}

/* Follows all arrows from p; true when one leads back to this thread. */
DLOAD_I_COLD bool dload_i_nest_circle(dload_i_parker *p, uint64_t self)
{
    dload_i_parker *found[DLOAD_I_NEST_MAX];
    uint32_t n_found = 1;
    bool circle = false;
    found[0] = p;
    for (uint32_t at = 0; at < n_found && !circle; at++) {
        for (const dload_i_waiter *w = found[at]->first; w != NULL && !circle; w = w->sib) {
            dload_i_parker *next = dload_i_nest_next(w, self, &circle);
            uint32_t i = 0;
            while (next != NULL && i < n_found && found[i] != next)
                i++;
            if (next != NULL && i == n_found && n_found < DLOAD_I_NEST_MAX)
                found[n_found++] = next;
        }
    }
    return circle;
}

/* This thread is about to wait as p says. False when it would wait for itself. */
DLOAD_I_LOCAL bool dload_i_nest_wait(dload_i_core *c, dload_i_parker *p)
{
    dload_i_batch *current = dload_i_nest_current;
    if (current == NULL || !c->threaded)
        return true;
    dload_i_spin_lock(&dload_i_nest_lock);
    current->nested = p;
    bool circle = dload_i_nest_circle(p, dload_i_self(c->env));
    if (circle)
        current->nested = NULL;
    dload_i_spin_unlock(&dload_i_nest_lock);
    return !circle;
}

DLOAD_I_LOCAL void dload_i_nest_end(dload_i_core *c)
{
    dload_i_batch *current = dload_i_nest_current;
    if (current == NULL || !c->threaded)
        return;
    dload_i_spin_lock(&dload_i_nest_lock);
    current->nested = NULL;
    dload_i_spin_unlock(&dload_i_nest_lock);
}

#endif /* DLOAD_FREESTANDING */

#endif /* DLOAD_I_NEST_H */
