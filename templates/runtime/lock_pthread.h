/* >>lock_pthread -- the pthread strategy, and the choice of strategy for one loader.
 *
 * The first half is included once, by the first loader that asks for DLOAD_LOCK_PTHREAD, so that
 * nobody else gets <pthread.h>; the second half once a loader.
 */
#include "lock.h"

#if DLOAD_LOCK == DLOAD_LOCK_PTHREAD && !defined(DLOAD_I_LOCK_PTHREAD_H)
#define DLOAD_I_LOCK_PTHREAD_H

#include <pthread.h>

/* A strict -std=c11 with <pthread.h> or <time.h> included before us hid this one. */
#if defined(__GLIBC__) && !defined(__USE_XOPEN2K)
#ifdef __cplusplus
extern "C" {
#endif
int pthread_condattr_setclock(pthread_condattr_t *attr, int clock_id);
#ifdef __cplusplus
}
#endif
#endif

/* ---- fork ----
 *
 * In a child, locks may be held for ever by threads that are not there. Loaders remember the epoch they
 * were made in; the handler begins a new one in the child, and every call compares before any lock. */
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

/* ---- mutex and condition variable ---- */

DLOAD_I_LOCAL void dload_i_pthread_lock(void *mutex)
{
    (void)pthread_mutex_lock((pthread_mutex_t *)mutex);
}

DLOAD_I_LOCAL void dload_i_pthread_unlock(void *mutex)
{
    (void)pthread_mutex_unlock((pthread_mutex_t *)mutex);
}

DLOAD_I_LOCAL int dload_i_pthread_hold(void)
{
    int before = 0;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

DLOAD_I_LOCAL void dload_i_pthread_unhold(int before)
{
    (void)pthread_setcancelstate(before, &before);
}

typedef struct dload_i_sleep {
    dload_i_parker *parker;
    void *mutex;
} dload_i_sleep;

DLOAD_I_LOCAL void dload_i_pthread_cancelled(void *arg)
{
    dload_i_sleep *sleep = (dload_i_sleep *)arg;
    if (sleep->parker->give_up != NULL)
        sleep->parker->give_up(sleep->parker);
    dload_i_pthread_unlock(sleep->mutex);
    (void)pthread_cond_destroy((pthread_cond_t *)sleep->parker->os);
}

/* Waits at most 100 ms at a time: some releases of glibc lose a wake-up (bug 25847), and the clock of
 * env may be another than the system's. The caller looks again after every return. */
DLOAD_I_LOCAL dload_status dload_i_pthread_park(void *mutex, dload_i_parker *p,
                                                const dload_env *env, uint64_t until_ns)
{
    static const dload_i_sync sync = {NULL, NULL, dload_i_pthread_lock, dload_i_pthread_unlock,
                                      NULL, NULL};
    if (env->wait != NULL)
        return dload_i_env_park(&sync, mutex, p, env, until_ns);
    uint64_t now_ns = dload_i_now(env);
    uint64_t span_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    if (span_ns > 100 * DLOAD_MILLISECOND)
        span_ns = 100 * DLOAD_MILLISECOND;
    uint64_t end_ns = dload_i_clock_precise(NULL) + span_ns;
    struct timespec ts;
    ts.tv_sec = (time_t)(end_ns / DLOAD_SECOND);
    ts.tv_nsec = (long)(end_ns % DLOAD_SECOND);
    /* The only place where a cancelled thread may end: everywhere else it would hold what others need.
     * Waking with the mutex held, the handler leaves the call as a passed deadline would. */
    dload_i_sleep sleep = {p, mutex};
    pthread_cleanup_push(dload_i_pthread_cancelled, &sleep);
    dload_i_pthread_unhold(p->cancel_before);
    (void)pthread_cond_timedwait((pthread_cond_t *)p->os, (pthread_mutex_t *)mutex, &ts);
    (void)dload_i_pthread_hold();
    pthread_cleanup_pop(0);
    return DLOAD_OK;
}

DLOAD_I_LOCAL void dload_i_pthread_unpark(dload_i_parker *p, const dload_env *env)
{
    dload_i_env_unpark(p, env);
    if (env->wait == NULL)
        (void)pthread_cond_broadcast((pthread_cond_t *)p->os);
}

DLOAD_I_LOCAL const dload_i_sync *dload_i_sync_pthread(void)
{
    static const dload_i_sync sync = {dload_i_pthread_hold, dload_i_pthread_unhold,
                                      dload_i_pthread_lock, dload_i_pthread_unlock,
                                      dload_i_pthread_park, dload_i_pthread_unpark};
    return &sync;
}

/* A condition variable on the monotonic clock. */
DLOAD_I_LOCAL bool dload_i_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attr, DLOAD_I_CLOCK_PRECISE) == 0 &&
              pthread_cond_init(cond, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    return ok;
}

#endif /* DLOAD_I_LOCK_PTHREAD_H */

/* ---- the strategy of this loader ---- */
#ifndef DLOAD_I_HAVE_LOCK
#define DLOAD_I_HAVE_LOCK
#if DLOAD_LOCK == DLOAD_LOCK_PTHREAD
#define DLOAD_I_LOCK_T          pthread_mutex_t
#define DLOAD_I_LOCK_INIT(m)    (pthread_mutex_init((m), NULL) == 0)
#define DLOAD_I_LOCK_DESTROY(m) ((void)pthread_mutex_destroy(m))
#define DLOAD_I_ACQUIRE(m)      ((void)pthread_mutex_lock(m))
#define DLOAD_I_RELEASE(m)      ((void)pthread_mutex_unlock(m))
#define DLOAD_I_SYNC            dload_i_sync_pthread()
#define DLOAD_I_COND_T          pthread_cond_t
#define DLOAD_I_COND_INIT(c)    dload_i_cond_init(c)
#define DLOAD_I_COND_DESTROY(c) ((void)pthread_cond_destroy(c))
#define DLOAD_I_HOLD()          dload_i_pthread_hold()
#define DLOAD_I_UNHOLD(before)  dload_i_pthread_unhold(before)
#define DLOAD_I_FORK_EPOCH      dload_i_watch_forks()
#define DLOAD_I_FORKED(cache) \
    DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&dload_i_fork_epoch) != (cache)->fork_epoch)
#else
#if DLOAD_LOCK == DLOAD_LOCK_SPIN
#define DLOAD_I_LOCK_T       dload_i_spin
#define DLOAD_I_LOCK_INIT(m) ((m)->taken = 0, true)
#define DLOAD_I_ACQUIRE(m)   dload_i_spin_lock(m)
#define DLOAD_I_RELEASE(m)   dload_i_spin_unlock(m)
#define DLOAD_I_SYNC         dload_i_sync_spin()
#else
#define DLOAD_I_LOCK_T       dload_i_no_lock
#define DLOAD_I_LOCK_INIT(m) ((m)->unused = 0, true)
#define DLOAD_I_ACQUIRE(m)   ((void)(m))
#define DLOAD_I_RELEASE(m)   ((void)(m))
#define DLOAD_I_SYNC         dload_i_sync_none()
#endif
#define DLOAD_I_LOCK_DESTROY(m) ((void)(m))
#define DLOAD_I_COND_T          char
#define DLOAD_I_COND_INIT(c)    (*(c) = 0, true)
#define DLOAD_I_COND_DESTROY(c) ((void)(c))
#define DLOAD_I_HOLD()          0
#define DLOAD_I_UNHOLD(before)  ((void)(before))
#define DLOAD_I_FORK_EPOCH      0
#define DLOAD_I_FORKED(cache)   ((void)(cache), false)
#endif
#define DLOAD_I_MUTEX_T DLOAD_I_LOCK_T
#endif /* DLOAD_I_HAVE_LOCK */
