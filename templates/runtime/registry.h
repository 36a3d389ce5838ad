/* >>registry -- loaders that are dispatched together, so that chains of loads batch by level.
 *
 * N callers that load from A, and with the answer from B, cost two batches when both loaders are sent
 * to only once all callers wait. A registry is that list of loaders; whoever knows that all callers
 * wait (an event loop at the end of its turn, a scheduler of fibers) dispatches it.
 */
#ifndef DLOAD_I_REGISTRY_H
#define DLOAD_I_REGISTRY_H

#include "drive.h"

/* Prepares a registry; loaders enter it by config.registry and leave it by _destroy. Loaders enter, leave
 * and are dispatched from one thread at a time, and none enters or leaves while a thread is joined. */
DLOAD_I_LOCAL void dload_registry_init(dload_registry *r)
{
    memset(r, 0, sizeof *r);
}

DLOAD_I_LOCAL void dload_i_registry_add(dload_registry *r, dload_i_core *c)
{
    dload_i_core **at = &r->first;
    while (*at != NULL)
        at = &(*at)->next_in_registry;
    *at = c;
    c->next_in_registry = NULL;
    r->n_loaders++;
}

DLOAD_I_LOCAL void dload_i_registry_remove(dload_registry *r, dload_i_core *c)
{
    dload_i_core **at = &r->first;
    while (*at != c)
        at = &(*at)->next_in_registry;
    *at = c->next_in_registry;
    r->n_loaders--;
}

/* Is a key queued, or a callback waiting, in any loader? */
DLOAD_I_LOCAL bool dload_registry_pending(const dload_registry *r)
{
    bool pending = false;
    for (dload_i_core *c = r->first; c != NULL && !pending; c = c->next_in_registry) {
        if (dload_i_core_forked(c))
            continue;
        dload_i_core_lock(c);
        pending = c->open != NULL || c->queue != NULL || c->ready != NULL;
        dload_i_core_unlock(c);
    }
    return pending;
}

/* Sends what is queued in every loader, once: what callbacks add goes with the next round. Adds the
 * number of keys sent to *n_keys (may be NULL). Returns whether there was anything to do. */
DLOAD_I_LOCAL bool dload_registry_round(dload_registry *r, size_t *n_keys)
{
    bool any = false;
    for (dload_i_core *c = r->first; c != NULL; c = c->next_in_registry) {
        if (dload_i_core_forked(c))
            continue;
        dload_i_core_lock(c);
        if (c->open != NULL || c->queue != NULL || c->ready != NULL) {
            any = true;
            size_t n = dload_i_dispatch(c, DLOAD_BY_IDLE);
            if (n_keys != NULL)
                *n_keys += n;
        }
        dload_i_core_unlock(c);
    }
    return any;
}

/* Sends what is queued in every loader, again and again, until nothing is queued anywhere: one batch a
 * level, however many callers there are. Answers that are still pending do not count as queued. */
DLOAD_I_LOCAL size_t dload_registry_dispatch(dload_registry *r)
{
    size_t n_keys = 0;
    while (dload_registry_round(r, &n_keys)) {
    }
    return n_keys;
}

#endif /* DLOAD_I_REGISTRY_H */
