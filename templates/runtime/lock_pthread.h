/* >>lock_pthread -- the pthread strategy, and the choice of strategy for one loader.
 *
 * The first half is included once, by the first loader that asks for DLOAD_LOCK_PTHREAD, so that
 * nobody else gets <pthread.h>; the second half once a loader.
 */
#include "fork.h"
#include "lock.h"
#include "busy.h"

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

/* Where one call sleeps. A mutex of its own, so that who is woken finds no other lock taken: signalled
 * under the loader's, eight sleepers would wake up to queue for that. */
typedef struct dload_i_bed {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
} dload_i_bed;

/* A condition variable on the monotonic clock. */
DLOAD_I_LOCAL bool dload_i_bed_init(dload_i_bed *bed)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attr, DLOAD_I_CLOCK_PRECISE) == 0 &&
              pthread_cond_init(&bed->cond, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    if (ok && pthread_mutex_init(&bed->mutex, NULL) != 0) {
        (void)pthread_cond_destroy(&bed->cond);
        ok = false;
    }
    return ok;
}

DLOAD_I_LOCAL void dload_i_bed_destroy(dload_i_bed *bed)
{
    (void)pthread_mutex_destroy(&bed->mutex);
    (void)pthread_cond_destroy(&bed->cond);
}

/* ---- waking ---- */

/* Under the bed's mutex: else the note falls between a sleeper's look and its sleep. Mutant NOTE_WITHOUT_BED;
 * counted after the signal, mutant SIGNAL_FIRST, it wakes somebody who sees nothing new. */
DLOAD_I_LOCAL void dload_i_pthread_note(dload_i_parker *p, bool pays)
{
    dload_i_bed *bed = (dload_i_bed *)p->os;
    (void)pthread_mutex_lock(&bed->mutex);
    DLOAD_I_STORE_RELEASE(&p->n_notes, p->n_notes + 1);
    p->owed = p->owed && !pays;
    (void)pthread_cond_signal(&bed->cond);
    (void)pthread_mutex_unlock(&bed->mutex); /* p may be gone */
}

DLOAD_I_LOCAL void dload_i_pthread_unpark(dload_i_parker *p, const dload_env *env)
{
    if (env->wait != NULL) {
        dload_i_env_unpark(p, env);
        return;
    }
    dload_i_pthread_note(p, false);
}

DLOAD_I_LOCAL void dload_i_pthread_pay(dload_i_parker *p)
{
    dload_i_pthread_note(p, true);
}

/* The other end of a debt: not before it is paid may the call return, and its bed be gone. Under the bed's
 * mutex, which the payer holds to the end: mutant COLLECT_WITHOUT_BED. */
DLOAD_I_LOCAL void dload_i_pthread_collect(dload_i_parker *p)
{
    dload_i_bed *bed = (dload_i_bed *)p->os;
    bool owed = true;
    while (owed) {
        (void)pthread_mutex_lock(&bed->mutex);
        owed = p->owed;
        (void)pthread_mutex_unlock(&bed->mutex);
        if (owed)
            (void)sched_yield();
    }
}

/* ---- sleeping ---- */

typedef struct dload_i_nap_ctx {
    dload_i_parker *parker;
    void *mutex;
} dload_i_nap_ctx;

DLOAD_I_LOCAL void dload_i_pthread_cancelled(void *arg)
{
    dload_i_nap_ctx *nap = (dload_i_nap_ctx *)arg;
    dload_i_parker *p = nap->parker;
    dload_i_bed *bed = (dload_i_bed *)p->os;
    (void)pthread_mutex_unlock(&bed->mutex);
    dload_i_pthread_lock(nap->mutex);
    if (p->give_up != NULL)
        p->give_up(p);
    dload_i_pthread_collect(p); /* mutant CANCELLED_NO_COLLECT */
    dload_i_pthread_unlock(nap->mutex);
    dload_i_bed_destroy(bed);
}

/* A leader that lingers for so short a time gives the processor away first, to those whom it lingers for. A
 * few times: whoever yields often is put behind everybody else. True: a note came after the SEEN ones, or the
 * time is over. */
#define DLOAD_I_SHORT_NS (100 * DLOAD_MICROSECOND)
#define DLOAD_I_YIELDS   8u

DLOAD_I_LOCAL bool dload_i_pthread_yield(void *mutex, const dload_i_parker *p, uint32_t seen,
                                         uint64_t end_ns)
{
    bool done = false;
    dload_i_pthread_unlock(mutex);
    for (unsigned i = 0; i < DLOAD_I_YIELDS && !done; i++) {
        (void)sched_yield();
        done = DLOAD_I_LOAD_ACQUIRE(&p->n_notes) != seen || dload_i_clock_precise(NULL) >= end_ns;
    }
    dload_i_pthread_lock(mutex);
    return done;
}

/* Waits at most 100 ms at a time: some releases of glibc lose a wake-up (bug 25847), and the clock of
 * env may be another than the system's. The caller looks again after every return. */
DLOAD_I_LOCAL dload_status dload_i_pthread_park(void *mutex, dload_i_parker *p,
                                                const dload_env *env, uint64_t until_ns)
{
    static const dload_i_sync sync = {
        NULL, NULL, dload_i_pthread_lock, dload_i_pthread_unlock, NULL, NULL, NULL, NULL};
    if (env->wait != NULL)
        return dload_i_env_park(&sync, mutex, p, env, until_ns);
    uint64_t now_ns = dload_i_now(env);
    uint64_t span_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    if (span_ns > 100 * DLOAD_MILLISECOND)
        span_ns = 100 * DLOAD_MILLISECOND;
    uint64_t end_ns = dload_i_clock_precise(NULL) + span_ns;
    /* Once, and before the mutex is given up for the first time: a wake-up is paid after the mutex is free,
     * so that one which comes between two looks would be taken for an old one. Mutant SEEN_LATE. */
    uint32_t seen = DLOAD_I_LOAD_ACQUIRE(&p->n_notes);
    if (span_ns <= DLOAD_I_SHORT_NS && dload_i_pthread_yield(mutex, p, seen, end_ns))
        return DLOAD_OK;
    struct timespec ts;
    ts.tv_sec = (time_t)(end_ns / DLOAD_SECOND);
    ts.tv_nsec = (long)(end_ns % DLOAD_SECOND);
    dload_i_bed *bed = (dload_i_bed *)p->os;
    dload_i_nap_ctx nap = {p, mutex};
    dload_i_pthread_unlock(mutex);
    (void)pthread_mutex_lock(&bed->mutex);
    /* The only place where a cancelled thread may end: everywhere else it would hold what others need.
     * The handler leaves the call as a passed deadline would. */
    pthread_cleanup_push(dload_i_pthread_cancelled, &nap);
    dload_i_pthread_unhold(p->cancel_before);
    int rc = 0;
    while (p->n_notes == seen && rc == 0)
        rc = pthread_cond_timedwait(&bed->cond, &bed->mutex, &ts);
    (void)dload_i_pthread_hold();
    pthread_cleanup_pop(0);
    (void)pthread_mutex_unlock(&bed->mutex);
    dload_i_pthread_lock(mutex);
    return DLOAD_OK;
}

DLOAD_I_LOCAL const dload_i_sync *dload_i_sync_pthread(void)
{
    static const dload_i_sync sync = {dload_i_pthread_hold, dload_i_pthread_unhold,
                                      dload_i_pthread_lock, dload_i_pthread_unlock,
                                      dload_i_pthread_park, dload_i_pthread_unpark,
                                      dload_i_pthread_pay,  dload_i_pthread_collect};
    return &sync;
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
#define DLOAD_I_LEAVE(l) \
    ((l)->core.owed == NULL ? DLOAD_I_RELEASE(&(l)->mutex) : dload_i_core_unlock(&(l)->core))
#define DLOAD_I_COND_T          dload_i_bed
#define DLOAD_I_COND_INIT(c)    dload_i_bed_init(c)
#define DLOAD_I_COND_DESTROY(c) dload_i_bed_destroy(c)
#define DLOAD_I_HOLD()          dload_i_pthread_hold()
#define DLOAD_I_UNHOLD(before)  dload_i_pthread_unhold(before)
#else
#if DLOAD_LOCK == DLOAD_LOCK_SPIN
#define DLOAD_I_LOCK_T          dload_i_spin
#define DLOAD_I_LOCK_INIT(m)    ((m)->taken = 0, true)
#define DLOAD_I_ACQUIRE(m)      dload_i_spin_lock(m)
#define DLOAD_I_RELEASE(m)      dload_i_spin_unlock(m)
#define DLOAD_I_LOCK_DESTROY(m) ((void)(m))
#define DLOAD_I_SYNC            dload_i_sync_spin()
#elif DLOAD_LOCK == DLOAD_LOCK_CUSTOM
#define DLOAD_I_LOCK_T          DLOAD_CUSTOM_TYPE /* functions in custom.h */
#define DLOAD_I_LOCK_INIT(m)    DLOAD_I_FN(i_custom_init)(m)
#define DLOAD_I_LOCK_DESTROY(m) DLOAD_I_FN(i_custom_destroy)(m)
#define DLOAD_I_ACQUIRE(m)      DLOAD_I_FN(i_custom_enter)(m)
#define DLOAD_I_RELEASE(m)      DLOAD_I_FN(i_custom_leave)(m)
#define DLOAD_I_SYNC            DLOAD_I_FN(i_custom_sync)()
#elif DLOAD_COMPACT
#define DLOAD_I_LOCK_T          dload_i_busy
#define DLOAD_I_LOCK_INIT(m)    ((m)->is = 0, true)
#define DLOAD_I_LOCK_DESTROY(m) ((void)(m))
#define DLOAD_I_ACQUIRE(m)      dload_i_busy_begin(m)
#define DLOAD_I_RELEASE(m)      dload_i_busy_end(m)
#define DLOAD_I_SYNC            dload_i_sync_busy()
#else
#define DLOAD_I_LOCK_T          dload_i_no_lock
#define DLOAD_I_LOCK_INIT(m)    ((m)->unused = 0, true)
#define DLOAD_I_LOCK_DESTROY(m) ((void)(m))
#define DLOAD_I_ACQUIRE(m)      ((void)(m))
#define DLOAD_I_RELEASE(m)      ((void)(m))
#define DLOAD_I_SYNC            dload_i_sync_none()
#endif
#define DLOAD_I_LEAVE(l)        DLOAD_I_RELEASE(&(l)->mutex) /* nobody is owed a wake-up */
#define DLOAD_I_COND_T          char
#define DLOAD_I_COND_INIT(c)    (*(c) = 0, true)
#define DLOAD_I_COND_DESTROY(c) ((void)(c))
#define DLOAD_I_HOLD()          0
#define DLOAD_I_UNHOLD(before)  ((void)(before))
#endif
#if DLOAD_LOCK != DLOAD_LOCK_NONE && !DLOAD_FREESTANDING
#define DLOAD_I_FORK_EPOCH dload_i_watch_forks()
#define DLOAD_I_FORK_NOW   (&dload_i_fork_epoch)
#define DLOAD_I_FORKED(cache) \
    DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&dload_i_fork_epoch) != (cache)->fork_epoch)
#else
#define DLOAD_I_FORK_EPOCH    0
#define DLOAD_I_FORK_NOW      NULL
#define DLOAD_I_FORKED(cache) ((void)(cache), false)
#endif
#define DLOAD_I_MUTEX_T DLOAD_I_LOCK_T
/* Around what only reads. False: an interrupt handler came in while somebody writes, and does not wait. */
#if DLOAD_COMPACT && DLOAD_LOCK == DLOAD_LOCK_NONE
#define DLOAD_I_LOOK(m)   dload_i_busy_not(m)
#define DLOAD_I_LOOKED(m) ((void)(m))
#else
#define DLOAD_I_LOOK(m)   (DLOAD_I_ACQUIRE(m), true)
#define DLOAD_I_LOOKED(m) DLOAD_I_RELEASE(m)
#endif
#endif /* DLOAD_I_HAVE_LOCK */
