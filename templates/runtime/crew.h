/* >>crew -- a registry and the threads that joined it: batches go when all of them wait.
 *
 * N threads that load from A, and with the answer from B, cost two batches when B is sent to only once
 * all of them wait for it. A thread that joins promises to come back soon: while it runs, nobody's batch
 * goes but by size, age or _dispatch. Who parks last finds nobody running, and sends what was gathered
 * in every loader of the registry. A call stops counting as parked when somebody wakes it, not when its
 * thread runs: otherwise the first one awake would take the others for parked and send for itself alone.
 * A round first gathers, then sends (model: tests/models).
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
DLOAD_I_OF_THREAD dload_registry *dload_i_crew_mine;
#ifdef __cplusplus
}
#endif

#define DLOAD_I_CREW_ONE (UINT32_C(1) << 16) /* one thread more */

/* A call begins to wait: as one of the crew? Not from inside a fetch function, which others wait for. */
DLOAD_I_LOCAL void dload_i_crew_enter(const dload_i_core *c, dload_i_parker *p)
{
    p->in_crew = c->threaded && c->registry != NULL && dload_i_crew_mine == c->registry &&
                 !dload_i_nested(c);
}

/* Does this say that everybody is parked? */
DLOAD_I_INLINE bool dload_i_crew_idle(uint32_t crew)
{
    return crew >> 16 == (crew & 0xffff);
}

/* Does any blocking call wait for b? If not, nobody but a round may send it. */
DLOAD_I_LOCAL bool dload_i_has_caller(const dload_i_batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->flights[i].many != NULL)
            return true;
        for (const dload_i_waiter *w = b->flights[i].head; w != NULL; w = w->next) {
            if (w->parker != NULL)
                return true;
        }
    }
    return false;
}

/* Everybody is parked: marks what is open now, and wakes nobody meanwhile. Whoever woke up would ask on, and
 * what it opens is the next level's: mutant ROUND_SENDS_AT_ONCE. Rounds exclude each other until their
 * thread does not count as parked any more: who woke up by itself may have found itself the last one
 * beside another. Returns whether there is something to send. r->round is held, and no mutex. */
DLOAD_I_LOCAL bool dload_i_crew_gather(dload_registry *r)
{
    bool found = false;
    if (!dload_i_crew_idle(DLOAD_I_LOAD_ACQUIRE(&r->crew)))
        return false;
    for (dload_i_core *c = r->first; c != NULL; c = c->next_in_registry) {
        if (dload_i_core_forked(c))
            return false;
        dload_i_core_lock(c);
        for (dload_i_batch *b = c->open; b != NULL; b = b->next) {
            b->goes = 1;
            found = true;
        }
        for (const dload_i_batch *b = c->queue; b != NULL && !found; b = b->next)
            found = dload_i_has_place(c) && !dload_i_has_caller(b);
        dload_i_core_unlock(c);
    }
    return found;
}

/* Sends what was gathered: wakes somebody for each batch that is not p's own (p may be NULL), and runs
 * those that only callbacks wait for. No mutex is held. */
DLOAD_I_LOCAL void dload_i_crew_send(dload_registry *r, const dload_i_parker *p)
{
    for (dload_i_core *c = r->first; c != NULL; c = c->next_in_registry) {
        dload_i_core_lock(c);
        for (dload_i_batch *b = c->open, *next = NULL; b != NULL; b = next) {
            next = b->next;
            if (b->goes)
                dload_i_enqueue(c, b, DLOAD_BY_IDLE);
        }
        dload_i_batch *before = NULL;
        for (dload_i_batch *b = c->queue; b != NULL && dload_i_has_place(c);) {
            if (dload_i_has_caller(b)) {
                /* p's requests are all of one loader, whose mutex alone guards them. */
                if (p == NULL || p->core != (void *)c || !dload_i_waits_for(p, b))
                    (void)dload_i_nudge_one(c, b, p);
                before = b;
                b = b->next;
                continue;
            }
            (void)dload_i_run(c, dload_i_queue_pop(c, before));
            before = NULL; /* the queue may be another one now */
            b = c->queue;
        }
        dload_i_core_unlock(c);
    }
}

/* dload_registry.park: a call of c is about to sleep, as one of the crew. The last one sends instead, and
 * does not count as parked meanwhile: true = look again. Lets go of the mutex. */
DLOAD_I_NOINLINE bool dload_i_crew_park_last(dload_i_core *c, dload_i_parker *p)
{
    dload_registry *r = c->registry;
    p->counted = true;
    if (!dload_i_crew_idle(DLOAD_I_ADD_ORDERED(&r->crew, 1u)))
        return false;
    dload_i_core_unlock(c);
    dload_i_spin_lock(&r->round);
    bool found = dload_i_crew_gather(r);
    dload_i_core_lock(c);
    if (found)
        dload_i_uncount(c, p);
    dload_i_core_unlock(c);
    dload_i_spin_unlock(&r->round);
    if (found)
        dload_i_crew_send(r, p);
    dload_i_core_lock(c);
    return true; /* even if nothing was sent: something may have come for it meanwhile */
}

/* A call of c is about to sleep: true = look again instead. Lets go of the mutex. */
DLOAD_I_LOCAL bool dload_i_crew_park(dload_i_core *c, dload_i_parker *p)
{
    return p->in_crew && !p->counted && DLOAD_I_LOAD_ACQUIRE(&c->registry->park)(c, p);
}

/* Makes this thread one of those whose loads from the registry's loaders are sent together, once all of
 * them wait. Join before the first of the threads begins to load. Under DLOAD_LOCK_NONE it has no
 * effect. DLOAD_OK; DLOAD_EBUSY when the thread is in a registry already; DLOAD_EINVAL. O(1). */
DLOAD_I_LOCAL dload_status dload_registry_join(dload_registry *r)
{
    if (r == NULL || dload_i_crew_mine != NULL)
        return r == NULL ? DLOAD_EINVAL : DLOAD_EBUSY;
    dload_i_crew_mine = r;
    DLOAD_I_STORE_RELEASE(&r->park, &dload_i_crew_park_last);
    (void)DLOAD_I_ADD_ORDERED(&r->crew, DLOAD_I_CREW_ONE);
    return DLOAD_OK;
}

/* A thread was cancelled in its sleep: nobody waits for it any more. The others see it when they look
 * again, within 100 ms. */
DLOAD_I_LOCAL void dload_i_crew_desert(dload_i_core *c, dload_i_parker *p)
{
    dload_i_uncount(c, p);
    if (dload_i_crew_mine != NULL)
        (void)DLOAD_I_SUB_ORDERED(&dload_i_crew_mine->crew, DLOAD_I_CREW_ONE);
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
    for (;;) {
        uint32_t crew = DLOAD_I_SUB_ORDERED(&r->crew, DLOAD_I_CREW_ONE);
        if (crew == 0 || !dload_i_crew_idle(crew))
            return DLOAD_OK;
        dload_i_spin_lock(&r->round);
        bool found = dload_i_crew_gather(r);
        if (found) /* it is still there while it sends for the others, and then leaves once more */
            (void)DLOAD_I_ADD_ORDERED(&r->crew, DLOAD_I_CREW_ONE);
        dload_i_spin_unlock(&r->round);
        if (!found)
            return DLOAD_OK;
        dload_i_crew_send(r, NULL);
    }
}

#endif /* DLOAD_FREESTANDING */

#endif /* DLOAD_I_CREW_H */
