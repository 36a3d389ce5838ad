/* >>custom -- the strategy whose lock is the user's own critical section: DLOAD_LOCK_CUSTOM.
 *
 * For an RTOS, or for a main loop and its interrupts: one lock of the loader and one of its cache, each a
 * DLOAD_CUSTOM_TYPE, the second sometimes entered inside the first. No compare-and-swap is needed: what
 * tasks share is touched inside a section, or is one aligned word.
 *
 * Waiting is env->wait's, outside every section. Without it a call sends its batch by itself, and one that
 * would have to wait for another task's is told DLOAD_EAGAIN: here nothing ever spins.
 */
#ifndef DLOAD_I_HAVE_CUSTOM
#define DLOAD_I_HAVE_CUSTOM

#include "params.h"
#include "../runtime/lock.h"

#if DLOAD_LOCK == DLOAD_LOCK_CUSTOM

DLOAD_I_INLINE bool DLOAD_I_FN(i_custom_init)(DLOAD_CUSTOM_TYPE *p)
{
    (void)p; /* a section that needs no memory looks at none */
    DLOAD_CUSTOM_INIT(p);
    return true;
}

DLOAD_I_INLINE void DLOAD_I_FN(i_custom_destroy)(DLOAD_CUSTOM_TYPE *p)
{
    (void)p;
#ifdef DLOAD_CUSTOM_DESTROY
    DLOAD_CUSTOM_DESTROY(p);
#endif
}

DLOAD_I_INLINE void DLOAD_I_FN(i_custom_enter)(DLOAD_CUSTOM_TYPE *p)
{
    (void)p;
    DLOAD_CUSTOM_ENTER(p);
}

DLOAD_I_INLINE void DLOAD_I_FN(i_custom_leave)(DLOAD_CUSTOM_TYPE *p)
{
    (void)p;
    DLOAD_CUSTOM_LEAVE(p);
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_custom_lock)(void *mutex)
{
    DLOAD_I_FN(i_custom_enter)((DLOAD_CUSTOM_TYPE *)mutex);
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_custom_unlock)(void *mutex)
{
    DLOAD_I_FN(i_custom_leave)((DLOAD_CUSTOM_TYPE *)mutex);
}

/* Mutant CUSTOM_WAITS_INSIDE. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_custom_park)(void *mutex, dload_i_parker *p,
                                                     const dload_env *env, uint64_t until_ns)
{
    static const dload_i_sync sync = {
        NULL, NULL, DLOAD_I_FN(i_custom_lock), DLOAD_I_FN(i_custom_unlock), NULL, NULL, NULL, NULL};
    if (env->wait == NULL)
        return DLOAD_EAGAIN;
    return dload_i_env_park(&sync, mutex, p, env, until_ns);
}

DLOAD_I_LOCAL const dload_i_sync *DLOAD_I_FN(i_custom_sync)(void)
{
    static const dload_i_sync sync = {NULL,
                                      NULL,
                                      DLOAD_I_FN(i_custom_lock),
                                      DLOAD_I_FN(i_custom_unlock),
                                      DLOAD_I_FN(i_custom_park),
                                      dload_i_env_unpark,
                                      NULL,
                                      NULL};
    return &sync;
}

#endif /* DLOAD_LOCK_CUSTOM */
#endif /* DLOAD_I_HAVE_CUSTOM */
