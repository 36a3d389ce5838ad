/* dataloader_threads/pair.h -- a mutex and a condition variable on the monotonic clock, for adapters that wait.
 *
 * SPDX-License-Identifier: MIT
 *
 * Part of the adapters that include it. Deadlines are absolute times of dload_i_clock_precise.
 */
#ifndef DLOAD_I_ENV_H
#error "dataloader_threads/pair.h: include the adapter that has it, and dataloader.h before that"
#endif

#ifndef DLOAD_THREADS_PAIR_H
#define DLOAD_THREADS_PAIR_H

#include <pthread.h>

/* A strict -std=c11 with <pthread.h> included before dataloader.h hides this one. */
#if defined(__GLIBC__) && !defined(__USE_XOPEN2K)
#ifdef __cplusplus
extern "C" {
#endif
int pthread_condattr_setclock(pthread_condattr_t *attr, int clock_id);
#ifdef __cplusplus
}
#endif
#endif

/* False: the system has no more of them, and nothing is to be destroyed. */
DLOAD_I_LOCAL bool dload_threads_i_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attr, DLOAD_I_CLOCK_PRECISE) == 0 &&
              pthread_cond_init(cond, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    return ok;
}

/* Both or neither. */
DLOAD_I_LOCAL bool dload_threads_i_pair_init(pthread_mutex_t *mutex, pthread_cond_t *cond)
{
    if (!dload_threads_i_cond_init(cond))
        return false;
    if (pthread_mutex_init(mutex, NULL) == 0)
        return true;
    (void)pthread_cond_destroy(cond);
    return false;
}

/* Waits until it is signalled or until_ns, never long: a wake-up that the C library loses (glibc's bug 25847) costs a
 * tenth of a second. The mutex is held. */
DLOAD_I_LOCAL void dload_threads_i_wait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                        uint64_t until_ns)
{
    const uint64_t cap_ns = dload_i_clock_precise(NULL) + 100 * DLOAD_MILLISECOND;
    const uint64_t at_ns = until_ns < cap_ns ? until_ns : cap_ns;
    struct timespec ts;
    ts.tv_sec = (time_t)(at_ns / DLOAD_SECOND);
    ts.tv_nsec = (long)(at_ns % DLOAD_SECOND);
    (void)pthread_cond_timedwait(cond, mutex, &ts);
}

#endif /* DLOAD_THREADS_PAIR_H */
