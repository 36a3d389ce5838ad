/* >>fork -- how a child process knows that a loader is its parent's.
 *
 * In a child, locks may be held for ever by threads that are not there. Loaders with a lock remember the
 * epoch they were made in; the handler begins a new one in the child, and every call compares before any
 * lock. Included once, by the first loader that has a lock, so that nobody else gets <pthread.h>.
 */
#include "port.h"

#if DLOAD_LOCK != DLOAD_LOCK_NONE && !DLOAD_FREESTANDING && !defined(DLOAD_I_FORK_H)
#define DLOAD_I_FORK_H

#include <pthread.h>

DLOAD_I_UNUSED static uint32_t dload_i_fork_epoch;

DLOAD_I_UNUSED static void dload_i_in_child(void)
{
    DLOAD_I_STORE_RELAXED(&dload_i_fork_epoch, dload_i_fork_epoch + 1);
}

DLOAD_I_UNUSED static void dload_i_watch_forks_once(void)
{
    (void)pthread_atfork(NULL, NULL, dload_i_in_child);
}

/* The epoch of this process; the handler is in place from the first call on. */
DLOAD_I_LOCAL uint32_t dload_i_watch_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, dload_i_watch_forks_once);
    return DLOAD_I_LOAD_RELAXED(&dload_i_fork_epoch);
}

#endif /* DLOAD_I_FORK_H */
