/* >>lock -- mutual exclusion and waiting: none, spin, and the face that pthread.h's part fills.
 *
 * Two uses. Shard locks are on the path of a hit: their type and calls are chosen at compile time,
 * through the DLOAD_I_LOCK_* macros of the instance. The loader's mutex is taken on misses only: the
 * type-free core reaches it through dload_i_sync, so that the core exists once for all strategies.
 */
#ifndef DLOAD_I_LOCK_H
#define DLOAD_I_LOCK_H

#include "env.h"

struct dload_i_waiter;

/* Where a blocking call waits: one per call, on its stack; the completer of its last key wakes it. */
typedef struct dload_i_parker {
    uint32_t pending; /* keys not answered; under the mutex */
    uint32_t n_notes; /* wake-ups sent; read without a lock while waiting */
    void *os;         /* the condition variable, where there is one */
    struct dload_i_parker *next_owed;
    bool promised; /* a wake-up comes without the mutex: the call may not return before; under it */
    bool owed;     /* ... and has not come; under the bed's own mutex */
    struct dload_i_waiter *first, *last; /* the call's requests, in the order of its keys */
    dload_status *statuses;              /* of a call for many keys: where they go, or NULL */
    /* The end of a sleeper that is cancelled: gives its requests up; mutex held. NULL = nothing to do. */
    void (*give_up)(struct dload_i_parker *p);
    void *core;        /* for give_up */
    bool pooled;       /* the requests come from the core's pool */
    int cancel_before; /* the caller's cancellation state, in force while it sleeps */
    bool asleep;       /* in park: a wake-up is heard; under the mutex */
    bool inside;       /* called by a fetch function: needs no place of its own among the running */
    bool in_crew;      /* the thread joined the loader's registry; see crew.h */
    bool counted;      /* ... and counts as parked there; under the mutex */
    bool waits;        /* counts in the core's n_callers */
    bool in_line;      /* waits for room in the queue; see batch.h */
    bool has_turn;     /* ... and comes from there */
    struct dload_i_parker *next_in_line;
} dload_i_parker;

/* What the core does with a mutex. hold and unhold keep the thread from being cancelled; NULL where threads
 * are not. */
typedef struct dload_i_sync {
    int (*hold)(void);
    void (*unhold)(int before);
    void (*lock)(void *mutex);
    void (*unlock)(void *mutex);
    /* Waits until woken or until_ns of env's clock, mutex held before and after; may return early. */
    dload_status (*park)(void *mutex, dload_i_parker *p, const dload_env *env, uint64_t until_ns);
    void (*unpark)(dload_i_parker *p, const dload_env *env); /* mutex held */
    /* Wakes without the mutex whoever is owed that; NULL = unpark does. And waits for that, mutex held. */
    void (*pay)(dload_i_parker *p);
    void (*collect)(dload_i_parker *p);
} dload_i_sync;

/* ---- none ---- */

typedef struct dload_i_no_lock {
    char unused;
} dload_i_no_lock;

DLOAD_I_LOCAL void dload_i_none_lock(void *mutex)
{
    (void)mutex;
}

/* Waiting through the user's hook, with the mutex released around it. */
DLOAD_I_LOCAL dload_status dload_i_env_park(const dload_i_sync *sync, void *mutex,
                                            dload_i_parker *p, const dload_env *env,
                                            uint64_t until_ns)
{
    uint32_t seen = p->n_notes;
    sync->unlock(mutex);
    dload_status st = env->wait(env->ctx, &p->n_notes, seen, until_ns);
    sync->lock(mutex);
    return st;
}

DLOAD_I_LOCAL dload_status dload_i_none_park(void *mutex, dload_i_parker *p, const dload_env *env,
                                             uint64_t until_ns)
{
    static const dload_i_sync none = {NULL, NULL, dload_i_none_lock, dload_i_none_lock, NULL, NULL,
                                      NULL, NULL};
    if (env->wait == NULL)
        return DLOAD_EAGAIN;
    return dload_i_env_park(&none, mutex, p, env, until_ns);
}

DLOAD_I_LOCAL void dload_i_env_unpark(dload_i_parker *p, const dload_env *env)
{
    DLOAD_I_STORE_RELEASE(&p->n_notes, p->n_notes + 1);
    if (env->wake != NULL)
        env->wake(env->ctx, &p->n_notes);
}

DLOAD_I_LOCAL const dload_i_sync *dload_i_sync_none(void)
{
    static const dload_i_sync sync = {
        NULL, NULL, dload_i_none_lock, dload_i_none_lock, dload_i_none_park, dload_i_env_unpark,
        NULL, NULL};
    return &sync;
}

/* ---- spin ---- */

typedef struct dload_i_spin {
    uint32_t taken; /* atomic; 0 or 1 */
} dload_i_spin;

#define DLOAD_I_SPINS 64u /* looks before the processor is given away */

#if !DLOAD_FREESTANDING
#include <sched.h>
#endif

/* A holder may have lost its processor: after some rounds, let it run. Whoever yields often is put behind
 * everybody else by some schedulers, for a second at worst: soon it naps instead. */
DLOAD_I_LOCAL void dload_i_spin_yield(unsigned round)
{
#if !DLOAD_FREESTANDING
    if (round >= DLOAD_I_SPINS) {
        if (round < DLOAD_I_SPINS + 2)
            (void)sched_yield();
        else
            dload_i_nap(50 * DLOAD_MICROSECOND);
        return;
    }
#else
    (void)round;
#endif
    dload_i_pause();
}

DLOAD_I_NOINLINE void dload_i_spin_slow(dload_i_spin *lock)
{
    for (unsigned round = 0;; round++) {
        /* Look before trying, so that waiting threads share the line instead of fighting for it. */
        if (DLOAD_I_LOAD_RELAXED(&lock->taken) == 0 && !DLOAD_I_TAKE(&lock->taken))
            return;
        dload_i_spin_yield(round);
    }
}

DLOAD_I_INLINE void dload_i_spin_lock(dload_i_spin *lock)
{
    if (DLOAD_I_UNLIKELY(DLOAD_I_TAKE(&lock->taken)))
        dload_i_spin_slow(lock);
}

DLOAD_I_INLINE void dload_i_spin_unlock(dload_i_spin *lock)
{
    DLOAD_I_STORE_RELEASE(&lock->taken, 0u);
}

DLOAD_I_LOCAL void dload_i_spin_lock_fn(void *mutex)
{
    dload_i_spin_lock((dload_i_spin *)mutex);
}

DLOAD_I_LOCAL void dload_i_spin_unlock_fn(void *mutex)
{
    dload_i_spin_unlock((dload_i_spin *)mutex);
}

/* Without a hook to wait with: looks again and again for as long as a quick fetch takes, then yields, then
 * naps, so that a slow fetch does not cost a processor for every caller that waits. */
DLOAD_I_LOCAL dload_status dload_i_spin_park(void *mutex, dload_i_parker *p, const dload_env *env,
                                             uint64_t until_ns)
{
    static const dload_i_sync spin = {
        NULL, NULL, dload_i_spin_lock_fn, dload_i_spin_unlock_fn, NULL, NULL, NULL, NULL};
    if (env->wait != NULL)
        return dload_i_env_park(&spin, mutex, p, env, until_ns);
    (void)until_ns;
    uint32_t seen = p->n_notes;
    dload_i_spin_unlock_fn(mutex);
    for (unsigned round = 0;
         round <= DLOAD_I_SPINS + 2 && DLOAD_I_LOAD_ACQUIRE(&p->n_notes) == seen; round++)
        dload_i_spin_yield(round);
    dload_i_spin_lock_fn(mutex);
    return DLOAD_OK;
}

DLOAD_I_LOCAL const dload_i_sync *dload_i_sync_spin(void)
{
    static const dload_i_sync sync = {NULL,
                                      NULL,
                                      dload_i_spin_lock_fn,
                                      dload_i_spin_unlock_fn,
                                      dload_i_spin_park,
                                      dload_i_env_unpark,
                                      NULL,
                                      NULL};
    return &sync;
}

#endif /* DLOAD_I_LOCK_H */
