/* >>busy -- no lock, but interrupt handlers that read: DLOAD_COMPACT under DLOAD_LOCK_NONE.
 *
 * Whoever changes something says so while it lasts. An interrupt handler on the same core that comes in
 * between sees it, and leaves with DLOAD_EAGAIN; one that sees nothing runs to its end before anything
 * changes. So a byte is enough, and nobody waits. Only the compiler could spoil the order.
 */
#ifndef DLOAD_I_BUSY_H
#define DLOAD_I_BUSY_H

#include "lock.h"

typedef struct dload_i_busy {
    volatile uint8_t is;
} dload_i_busy;

DLOAD_I_INLINE void dload_i_busy_begin(dload_i_busy *busy)
{
    busy->is = 1;
    DLOAD_I_COMPILER_FENCE();
}

DLOAD_I_INLINE void dload_i_busy_end(dload_i_busy *busy)
{
    DLOAD_I_COMPILER_FENCE();
    busy->is = 0;
}

/* Is nobody changing anything? Then the caller may read. */
DLOAD_I_INLINE bool dload_i_busy_not(const dload_i_busy *busy)
{
    bool quiet = busy->is == 0;
    DLOAD_I_COMPILER_FENCE();
    return quiet;
}

DLOAD_I_LOCAL void dload_i_busy_lock(void *mutex)
{
    dload_i_busy_begin((dload_i_busy *)mutex);
}

DLOAD_I_LOCAL void dload_i_busy_unlock(void *mutex)
{
    dload_i_busy_end((dload_i_busy *)mutex);
}

DLOAD_I_LOCAL dload_status dload_i_busy_park(void *mutex, dload_i_parker *p, const dload_env *env,
                                             uint64_t until_ns)
{
    static const dload_i_sync busy = {
        NULL, NULL, dload_i_busy_lock, dload_i_busy_unlock, NULL, NULL, NULL, NULL};
    if (env->wait == NULL)
        return DLOAD_EAGAIN;
    return dload_i_env_park(&busy, mutex, p, env, until_ns);
}

DLOAD_I_LOCAL const dload_i_sync *dload_i_sync_busy(void)
{
    static const dload_i_sync sync = {
        NULL, NULL, dload_i_busy_lock, dload_i_busy_unlock, dload_i_busy_park, dload_i_env_unpark,
        NULL, NULL};
    return &sync;
}

#endif /* DLOAD_I_BUSY_H */
