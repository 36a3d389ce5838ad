/* dataloader_locks.h -- named locks of one process: for loaders of several kinds that fetch the same thing.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_NAME  quotes
 *     #define DLOAD_KEY   DLOAD_STRING
 *     #define DLOAD_VALUE double
 *     #define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_locks.h"
 *
 *     dload_mutexes m;
 *     dload_status st = dload_mutexes_init(&m, NULL);
 *     quotes_config cfg = quotes_config_default();
 *     cfg.locks = &m.locks;                        // one batch of the name at a time, of all loaders
 *     ...
 *     quotes_destroy(&l);
 *     st = dload_mutexes_destroy(&m);
 *
 * or by hand, with the three functions of dload_locks:
 *
 *     dload_held held;
 *     st = m.locks.take(&m.locks, dload_str_from("reindex"), 5 * DLOAD_SECOND, &held);
 *     if (st == DLOAD_OK) {
 *         ...
 *         (void)m.locks.give(&m.locks, &held);
 *     }
 *
 * NAMES  Any bytes, also none and NUL. A name is there while somebody holds it or waits for it, and costs
 * no memory otherwise.
 *
 * ORDER  Who came first is next: giving a lock back hands it to the one who waits for it longest, so that
 * nobody who comes later gets in between. One caller does not take a name twice: it would wait for itself
 * until its time is over.
 *
 * THREADS  Everything but _init and _destroy may be called from any thread; a lock may be given back by another
 * thread than took it. Cancellation waits while a thread waits for a lock.
 *
 * FORK  A child has none of its parent's locks: there, each call on the parent's object is DLOAD_ELOCK.
 *
 * WHAT CAN FAIL  Nothing is ever lost: check always finds a held lock held. Between processes: dataloader_flock.h.
 */
#ifndef DLOAD_I_NAMED_H
#error "dataloader_locks.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DATALOADER_LOCKS_H
#define DATALOADER_LOCKS_H

#if DLOAD_FREESTANDING
#error "dataloader_locks.h: threads need a host; it does not go with DLOAD_FREESTANDING 1"
#endif

#include "dataloader_threads/pair.h"

#include <unistd.h>

/* Who waits for a name: on its own stack. Private. */
typedef struct dload_mutexes_i_waiter {
    pthread_cond_t cond;
    bool granted; /* under the mutex */
    struct dload_mutexes_i_waiter *next;
} dload_mutexes_i_waiter;

/* A name that is held. Private. */
typedef struct dload_mutexes_i_name {
    struct dload_mutexes_i_name *next; /* in its bucket */
    uint64_t hash;
    dload_mutexes_i_waiter *first, *last; /* who waits, in the order they came */
    size_t n_bytes;                       /* of the name, which follows */
} dload_mutexes_i_name;

#define DLOAD_MUTEXES_I_FEW 16u /* buckets that are always there */

/* Named locks of this process. Must not move between _init and _destroy. */
typedef struct dload_mutexes {
    dload_locks locks; /* hand &m.locks to a configuration, or call its functions */
    /* private */
    const dload_env *env;
    pthread_mutex_t mutex;
    pid_t pid;
    size_t n_held;    /* names; under the mutex, as all below */
    size_t n_buckets; /* 2^n */
    dload_mutexes_i_name **buckets;
    dload_mutexes_i_name *few[DLOAD_MUTEXES_I_FEW];
} dload_mutexes;

/* ---- names ---- */

DLOAD_I_LOCAL dload_mutexes_i_name **dload_mutexes_i_bucket(const dload_mutexes *m, uint64_t hash)
{
    return &m->buckets[(size_t)hash & (m->n_buckets - 1)];
}

DLOAD_I_LOCAL dload_mutexes_i_name *dload_mutexes_i_find(const dload_mutexes *m, dload_str name,
                                                         uint64_t hash)
{
    dload_mutexes_i_name *at = *dload_mutexes_i_bucket(m, hash);
    while (at != NULL && !(at->hash == hash && at->n_bytes == name.len &&
                           (name.len == 0 || memcmp(at + 1, name.ptr, name.len) == 0)))
        at = at->next;
    return at;
}

/* Moves all names to other buckets: of a block of its own, or, with NULL, to the few. */
DLOAD_I_LOCAL void dload_mutexes_i_move(dload_mutexes *m, dload_mutexes_i_name **to,
                                        size_t n_buckets)
{
    dload_mutexes_i_name **from = m->buckets;
    size_t n_from = m->n_buckets;
    m->buckets = to != NULL ? to : m->few;
    m->n_buckets = n_buckets;
    memset(m->buckets, 0, n_buckets * sizeof *m->buckets);
    for (size_t i = 0; i < n_from; i++) {
        for (dload_mutexes_i_name *at = from[i]; at != NULL;) {
            dload_mutexes_i_name *next = at->next;
            dload_mutexes_i_name **bucket = dload_mutexes_i_bucket(m, at->hash);
            at->next = *bucket;
            *bucket = at;
            at = next;
        }
    }
    if (from != m->few)
        dload_i_free(m->env, from, n_from * sizeof *from);
}

/* A name that nobody holds becomes held. The mutex is held. Without memory for more buckets those that are
 * there serve, only slower. */
DLOAD_I_LOCAL dload_mutexes_i_name *dload_mutexes_i_add(dload_mutexes *m, dload_str name,
                                                        uint64_t hash)
{
    if (name.len > SIZE_MAX - sizeof(dload_mutexes_i_name))
        return NULL;
    dload_mutexes_i_name *made =
        (dload_mutexes_i_name *)dload_i_alloc(m->env, sizeof(dload_mutexes_i_name) + name.len);
    if (made == NULL)
        return NULL;
    if (m->n_held >= m->n_buckets && m->n_buckets <= SIZE_MAX / 16) {
        size_t more = m->n_buckets * 4;
        dload_mutexes_i_name **to =
            (dload_mutexes_i_name **)dload_i_alloc(m->env, more * sizeof *to);
        if (to != NULL)
            dload_mutexes_i_move(m, to, more);
    }
    made->hash = hash;
    made->first = made->last = NULL;
    made->n_bytes = name.len;
    if (name.len != 0)
        memcpy(made + 1, name.ptr, name.len);
    dload_mutexes_i_name **bucket = dload_mutexes_i_bucket(m, hash);
    made->next = *bucket;
    *bucket = made;
    m->n_held++;
    return made;
}

/* Nobody holds this name any more. The mutex is held. */
DLOAD_I_LOCAL void dload_mutexes_i_forget(dload_mutexes *m, dload_mutexes_i_name *name)
{
    dload_mutexes_i_name **at = dload_mutexes_i_bucket(m, name->hash);
    while (*at != name)
        at = &(*at)->next;
    *at = name->next;
    dload_i_free(m->env, name, sizeof *name + name->n_bytes);
    m->n_held--;
    if (m->n_held == 0 && m->buckets != m->few)
        dload_mutexes_i_move(m, NULL, DLOAD_MUTEXES_I_FEW);
}

/* ---- waiting ---- */

DLOAD_I_LOCAL void dload_mutexes_i_leave_line(dload_mutexes_i_name *name,
                                              const dload_mutexes_i_waiter *w)
{
    dload_mutexes_i_waiter *before = NULL;
    for (dload_mutexes_i_waiter *at = name->first; at != w; at = at->next)
        before = at;
    *(before != NULL ? &before->next : &name->first) = w->next;
    if (name->last == w)
        name->last = before;
}

/* Waits for a held name; the mutex is held, but not while this sleeps. At most 100 ms at a time: some releases
 * of glibc lose a wake-up (bug 25847), and then that is all it costs. */
DLOAD_I_LOCAL dload_status dload_mutexes_i_wait(dload_mutexes *m, dload_mutexes_i_name *name,
                                                uint64_t until_ns)
{
    dload_mutexes_i_waiter w;
    uint64_t now_ns = dload_i_clock_precise(NULL);
    w.granted = false;
    w.next = NULL;
    if (now_ns >= until_ns)
        return DLOAD_ETIMEDOUT;
    if (!dload_threads_i_cond_init(&w.cond))
        return DLOAD_ENOMEM;
    *(name->last != NULL ? &name->last->next : &name->first) = &w;
    name->last = &w;
    while (!w.granted && now_ns < until_ns) {
        dload_threads_i_wait(&w.cond, &m->mutex, until_ns);
        now_ns = dload_i_clock_precise(NULL);
    }
    if (!w.granted) /* one that was handed the lock in its last moment has it: else it were lost */
        dload_mutexes_i_leave_line(name, &w);
    (void)pthread_cond_destroy(&w.cond);
    return w.granted ? DLOAD_OK : DLOAD_ETIMEDOUT;
}

/* ---- the interface ---- */

DLOAD_I_LOCAL dload_status dload_mutexes_i_take(dload_locks *p, dload_str name, uint64_t timeout_ns,
                                                dload_held *held)
{
    dload_mutexes *m = (dload_mutexes *)(void *)p;
    int before = 0;
    if (held == NULL || (name.ptr == NULL && name.len != 0))
        return DLOAD_EINVAL;
    memset(held, 0, sizeof *held);
    if (m->pid != getpid())
        return DLOAD_ELOCK;
    uint64_t hash = dload_i_hash_bytes(name.len != 0 ? name.ptr : "", name.len);
    uint64_t until_ns =
        timeout_ns != 0 ? dload_i_add_ns(dload_i_clock_precise(NULL), timeout_ns) : 0;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    (void)pthread_mutex_lock(&m->mutex);
    dload_status st = DLOAD_OK;
    dload_mutexes_i_name *at = dload_mutexes_i_find(m, name, hash);
    if (at != NULL)
        st = dload_mutexes_i_wait(m, at, until_ns);
    else if ((at = dload_mutexes_i_add(m, name, hash)) == NULL)
        st = DLOAD_ENOMEM;
    (void)pthread_mutex_unlock(&m->mutex);
    (void)pthread_setcancelstate(before, &before);
    if (st == DLOAD_OK)
        held->impl = at;
    return st;
}

DLOAD_I_LOCAL dload_status dload_mutexes_i_check(dload_locks *p, dload_held *held)
{
    const dload_mutexes *m = (const dload_mutexes *)(void *)p;
    return held != NULL && held->impl != NULL && m->pid == getpid() ? DLOAD_OK : DLOAD_ELOCK;
}

DLOAD_I_LOCAL dload_status dload_mutexes_i_give(dload_locks *p, dload_held *held)
{
    dload_mutexes *m = (dload_mutexes *)(void *)p;
    dload_status st = dload_mutexes_i_check(p, held);
    if (st == DLOAD_OK) {
        dload_mutexes_i_name *name = (dload_mutexes_i_name *)held->impl;
        (void)pthread_mutex_lock(&m->mutex);
        dload_mutexes_i_waiter *next = name->first;
        if (next != NULL) {
            name->first = next->next;
            if (name->first == NULL)
                name->last = NULL;
            next->granted = true;
            (void)pthread_cond_signal(&next->cond); /* under the mutex: then it may be gone */
        } else {
            dload_mutexes_i_forget(m, name);
        }
        (void)pthread_mutex_unlock(&m->mutex);
    }
    if (held != NULL)
        held->impl = NULL;
    return st;
}

/* Prepares the locks of this process. env, for memory, must outlive them; NULL = the host's. They are waited
 * for by the system's monotonic clock, whatever env's says.
 * Returns DLOAD_OK; DLOAD_EINVAL: m is NULL, or an env without alloc or free; DLOAD_ENOMEM: the system has no
 * mutex to give. Allocates nothing; a name allocates one small block while it is held. */
DLOAD_I_LOCAL dload_status dload_mutexes_init(dload_mutexes *m, const dload_env *env)
{
    env = env != NULL ? env : dload_env_default();
    if (m == NULL || env->alloc == NULL || env->free == NULL)
        return DLOAD_EINVAL;
    memset(m, 0, sizeof *m);
    m->env = env;
    m->buckets = m->few;
    m->n_buckets = DLOAD_MUTEXES_I_FEW;
    m->pid = getpid();
    m->locks.name = "mutexes";
    m->locks.take = dload_mutexes_i_take;
    m->locks.check = dload_mutexes_i_check;
    m->locks.give = dload_mutexes_i_give;
    return pthread_mutex_init(&m->mutex, NULL) == 0 ? DLOAD_OK : DLOAD_ENOMEM;
}

/* Ends them; nobody may be in a call. DLOAD_OK; DLOAD_EBUSY, and nothing is done: somebody holds a lock;
 * DLOAD_EINVAL: m is NULL; DLOAD_ELOCK: they are the parent process's. */
DLOAD_I_LOCAL dload_status dload_mutexes_destroy(dload_mutexes *m)
{
    if (m == NULL)
        return DLOAD_EINVAL;
    if (m->pid != getpid())
        return DLOAD_ELOCK;
    (void)pthread_mutex_lock(&m->mutex);
    bool busy = m->n_held != 0;
    (void)pthread_mutex_unlock(&m->mutex);
    if (busy)
        return DLOAD_EBUSY;
    (void)pthread_mutex_destroy(&m->mutex);
    return DLOAD_OK;
}

#endif /* DATALOADER_LOCKS_H */
