/* >>crew -- a registry and the threads that joined it: batches go when all of them wait.
 *
 * N threads that load from A, and with the answer from B, cost two batches when B is sent to only once
 * all of them wait for it. A thread that joins promises to come back soon: while it runs, nobody's batch
 * goes but by size, age or _dispatch. Who parks last finds nobody running, and sends what was gathered
 * in every loader of the registry. A call stops counting as parked when it is answered, not when its
 * thread wakes up: otherwise the first one awake would take the others for parked and send for itself
 * alone (mutant COUNTED_TOO_LONG).
 */
#ifndef DLOAD_I_CREW_H
#define DLOAD_I_CREW_H

#include "run.h"

#if DLOAD_FREESTANDING

DLOAD_I_INLINE void dload_i_crew_enter(const dload_i_core *c, dload_i_parker *p)
{
    (void)c;
    p->in_crew = false;
}

DLOAD_I_INLINE void dload_i_crew_desert(dload_i_core *c, dload_i_parker *p)
{
    (void)c;
    (void)p;
}

DLOAD_I_INLINE bool dload_i_crew_park(dload_i_core *c, dload_i_parker *p)
{
    (void)c;
    (void)p;
    return false;
}

#else

#ifdef __cplusplus
extern "C" {
#endif
/* The registry that this thread joined. Shared by all translation units, as in nest.h. */
__attribute__((__weak__)) __thread dload_registry *dload_i_crew_mine;
#ifdef __cplusplus
}
#endif

/* A call begins to wait: as one of the crew? Not from inside a fetch function, which others wait for. */
DLOAD_I_LOCAL void dload_i_crew_enter(const dload_i_core *c, dload_i_parker *p)
{
    p->in_crew = c->threaded && c->registry != NULL && dload_i_crew_mine == c->registry &&
                 !dload_i_nested(c);
}

/* A queued batch of this loader is somebody's: they are woken, or it is run here when only callbacks wait
 * for it. Returns whether it ran. Lets go of the mutex. */
DLOAD_I_LOCAL bool dload_i_crew_hand_out(dload_i_core *c, const dload_i_parker *p)
{
    for (dload_i_batch *b = c->queue, *before = NULL; b != NULL; before = b, b = b->next) {
        if (!dload_i_has_place(c))
            return false; /* who ends a batch wakes the next */
        if ((p != NULL && dload_i_waits_for(p, b)) || dload_i_nudge_one(c, b, p))
            continue;
        (void)dload_i_run(c, dload_i_queue_pop(c, before));
        return true;
    }
    return false;
}

/* Everybody waits: sends what is open in every loader. What is queued from before goes first: its callers
 * are on their way to it. Returns whether the caller, p or NULL, should look again. No mutex is held. */
DLOAD_I_NOINLINE bool dload_i_crew_round(dload_registry *r, const dload_i_parker *p)
{
    bool queued = false;
    bool any = false;
    for (dload_i_core *c = r->first; c != NULL; c = c->next_in_registry) {
        if (dload_i_core_forked(c))
            return false;
        dload_i_core_lock(c);
        while (dload_i_crew_hand_out(c, p))
            any = true;
        queued = queued || c->queue != NULL;
        dload_i_core_unlock(c);
    }
    for (dload_i_core *c = r->first; c != NULL && !queued; c = c->next_in_registry) {
        dload_i_core_lock(c);
        any = any || c->open != NULL;
        dload_i_enqueue_all(c, DLOAD_BY_IDLE);
        while (dload_i_crew_hand_out(c, p)) {
        }
        dload_i_core_unlock(c);
    }
    return any;
}

/* A call of c is about to sleep. The last one of the crew sends instead: true = look again. Lets go of
 * the mutex. */
DLOAD_I_NOINLINE bool dload_i_crew_park(dload_i_core *c, dload_i_parker *p)
{
    if (!p->in_crew || p->counted)
        return false;
    dload_registry *r = c->registry;
    p->counted = true;
    uint32_t n_parked = __atomic_add_fetch(&r->n_parked, 1u, __ATOMIC_ACQ_REL);
    if (n_parked < DLOAD_I_LOAD_ACQUIRE(&r->n_threads))
        return false;
    dload_i_core_unlock(c);
    bool any = dload_i_crew_round(r, p);
    dload_i_core_lock(c);
    if (any)
        dload_i_uncount(c, p);
    return true; /* even if nothing was sent: something may have come for it meanwhile */
}

/* Makes this thread one of those whose loads from the registry's loaders are sent together, once all of
 * them wait. Join before the first of the threads begins to load. Under DLOAD_LOCK_NONE it has no
 * effect. DLOAD_OK; DLOAD_EBUSY when the thread is in a registry already. O(1). */
DLOAD_I_LOCAL dload_status dload_registry_join(dload_registry *r)
{
    if (dload_i_crew_mine != NULL)
        return DLOAD_EBUSY;
    dload_i_crew_mine = r;
    (void)__atomic_add_fetch(&r->n_threads, 1u, __ATOMIC_ACQ_REL);
    return DLOAD_OK;
}

/* A thread was cancelled in its sleep: nobody waits for it any more. The others see it when they look
 * again, within 100 ms. */
DLOAD_I_LOCAL void dload_i_crew_desert(dload_i_core *c, dload_i_parker *p)
{
    dload_i_uncount(c, p);
    if (dload_i_crew_mine != NULL)
        (void)__atomic_sub_fetch(&dload_i_crew_mine->n_threads, 1u, __ATOMIC_ACQ_REL);
    dload_i_crew_mine = NULL;
}

/* The end of that; a thread that has nothing more to load leaves, so that the others do not wait for it.
 * One that is cancelled in a load leaves by itself. DLOAD_OK; DLOAD_EINVAL when it is not in r. May
 * run fetch functions that only callbacks wait for. */
DLOAD_I_LOCAL dload_status dload_registry_leave(dload_registry *r)
{
    if (r == NULL || dload_i_crew_mine != r)
        return DLOAD_EINVAL;
    dload_i_crew_mine = NULL;
    uint32_t n_threads = __atomic_sub_fetch(&r->n_threads, 1u, __ATOMIC_ACQ_REL);
    if (n_threads != 0 && DLOAD_I_LOAD_ACQUIRE(&r->n_parked) >= n_threads)
        (void)dload_i_crew_round(r, NULL);
    return DLOAD_OK;
}

#endif /* DLOAD_FREESTANDING */

#endif /* DLOAD_I_CREW_H */
