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

DLOAD_I_LOCAL bool dload_i_crew_idle(const dload_registry *r)
{
    return DLOAD_I_LOAD_ACQUIRE(&r->n_parked) >= DLOAD_I_LOAD_ACQUIRE(&r->n_threads);
}

/* Wakes somebody for each queued batch of c that is not p's own. One that only callbacks wait for comes
 * back, out of the queue, for the caller to run; otherwise NULL. */
DLOAD_I_LOCAL dload_i_batch *dload_i_crew_hand_out(dload_i_core *c, const dload_i_parker *p)
{
    dload_i_batch *before = NULL;
    /* At the bound, who ends a batch wakes the next. */
    for (dload_i_batch *b = c->queue; b != NULL && dload_i_has_place(c); before = b, b = b->next) {
        if (!(p != NULL && dload_i_waits_for(p, b)) && !dload_i_nudge_one(c, b, p))
            return dload_i_queue_pop(c, before);
    }
    return NULL;
}

/* Sends what is open in every loader, when everybody is parked. What is queued from before goes first: its
 * callers are on their way to it, mutant ROUND_OVERTAKES. Rounds exclude each other, and look again under
 * each mutex: one that was late would send for whoever is first awake, mutant ROUND_LATE. Returns a batch
 * for the caller to run, of *of, or NULL; *any says that something was sent. */
DLOAD_I_LOCAL dload_i_batch *dload_i_crew_step(dload_registry *r, const dload_i_parker *p,
                                               dload_i_core **of, bool *any)
{
    dload_i_batch *mine = NULL;
    bool queued = false;
    for (dload_i_core *c = r->first; c != NULL && mine == NULL; c = c->next_in_registry) {
        *of = c;
        if (dload_i_core_forked(c))
            return NULL;
        dload_i_core_lock(c);
        mine = dload_i_crew_hand_out(c, p);
        queued = queued || c->queue != NULL;
        dload_i_core_unlock(c);
    }
    for (dload_i_core *c = r->first; c != NULL && mine == NULL && !queued;
         c = c->next_in_registry) {
        *of = c;
        dload_i_core_lock(c);
        if (c->open != NULL && dload_i_crew_idle(r)) {
            *any = true;
            dload_i_enqueue_all(c, DLOAD_BY_IDLE);
            mine = dload_i_crew_hand_out(c, p);
        }
        dload_i_core_unlock(c);
    }
    return mine;
}

/* The caller, p or a thread that leaves (NULL), found everybody parked. Returns whether anything was sent.
 * No mutex is held. */
DLOAD_I_NOINLINE bool dload_i_crew_round(dload_registry *r, const dload_i_parker *p)
{
    bool any = false;
    for (;;) {
        dload_i_core *c = NULL;
        dload_i_spin_lock(&r->round);
        dload_i_batch *b = dload_i_crew_idle(r) ? dload_i_crew_step(r, p, &c, &any) : NULL;
        dload_i_spin_unlock(&r->round);
        if (b == NULL)
            return any;
        any = true;
        dload_i_core_lock(c);
        (void)dload_i_run(c, b);
        dload_i_core_unlock(c);
    }
}

/* dload_registry.park: a call of c is about to sleep, as one of the crew. The last one sends instead: true
 * = look again. Lets go of the mutex. */
DLOAD_I_NOINLINE bool dload_i_crew_park_last(dload_i_core *c, dload_i_parker *p)
{
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

/* A call of c is about to sleep: true = look again instead. Lets go of the mutex. */
DLOAD_I_LOCAL bool dload_i_crew_park(dload_i_core *c, dload_i_parker *p)
{
    return p->in_crew && !p->counted && DLOAD_I_LOAD_ACQUIRE(&c->registry->park)(c, p);
}

/* Makes this thread one of those whose loads from the registry's loaders are sent together, once all of
 * them wait. Join before the first of the threads begins to load. Under DLOAD_LOCK_NONE it has no
 * effect. DLOAD_OK; DLOAD_EBUSY when the thread is in a registry already. O(1). */
DLOAD_I_LOCAL dload_status dload_registry_join(dload_registry *r)
{
    if (dload_i_crew_mine != NULL)
        return DLOAD_EBUSY;
    dload_i_crew_mine = r;
    DLOAD_I_STORE_RELEASE(&r->park, &dload_i_crew_park_last);
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
