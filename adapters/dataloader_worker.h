/* dataloader_worker.h -- threads that give any blocking store the asynchronous form.
 *
 * SPDX-License-Identifier: MIT
 *
 * A store that blocks (a file, a client library without a loop) behind a queue and some threads: requests with done
 * return DLOAD_PENDING at once, and done is called when a thread has got through with them. For loaders in event
 * loops, and for whoever has more to do than to wait.
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_sqlite.h"           // or any other
 *     #include "dataloader_worker.h"
 *
 *     static dload_worker w;
 *     dload_worker_config cfg = {0};           // what is 0 has its default
 *     cfg.inner = &sqlite.store;
 *     cfg.n_threads = 2;
 *     dload_status st = dload_worker_init(&w, &cfg);
 *     config.store = &w.store;                 // of a loader, or, by oneself:
 *
 *     op.done = got_it;                        // called in one of the threads; in a libuv loop it would end with
 *     st = dload_store_run(&w.store, &op);     // uv_async_send, and the loop's thread take it from there
 *     ...
 *     st = dload_worker_close(&w, DLOAD_DRAIN);
 *     dload_worker_destroy(&w);
 *
 * THE QUEUE  Bounded: with queue_cap requests waiting, the next is DLOAD_EAGAIN at once, and the store is none the
 * worse for it. A request that waited for its timeout_ns (queue_ns when it has none) ends with DLOAD_ETIMEDOUT,
 * whether a thread got free or not; what it did not wait, the inner store may take. In the order of arrival.
 *
 * REQUESTS WITHOUT done go to the inner store in the thread that asks, past the queue.
 *
 * THREADS  n_threads that run requests, and one that watches their time; all of them have every signal blocked, so that
 * the program's handlers run in the program's threads. done is called with no lock held, by them or by
 * dload_worker_close, and may make requests; it keeps its thread from others meanwhile. In a child of fork()
 * there are no such threads: requests with done are DLOAD_EFORK there.
 *
 * FAILURE  The circuit breaker is the inner store's; this one has none, so that nothing is left alone twice as long.
 */
#ifndef DLOAD_WORKER_H
#define DLOAD_WORKER_H

#ifndef DLOAD_I_BACKEND_H
#error "dataloader_worker.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif
#if DLOAD_FREESTANDING
#error "dataloader_worker.h: it needs threads; it does not go with DLOAD_FREESTANDING 1"
#endif

#include "dataloader_threads/pair.h"

#include <signal.h>
#include <unistd.h>

#define DLOAD_WORKER_I_OPEN   0
#define DLOAD_WORKER_I_DRAINS 1 /* refuses; what is queued is done */
#define DLOAD_WORKER_I_FAILS  2 /* refuses; what is queued was ended */
#define DLOAD_WORKER_I_CLOSED 3 /* the threads are gone */

/* What a worker is made from; 0 always means the default, but for inner. */
typedef struct dload_worker_config {
    dload_store *inner;   /* the store that blocks; must outlive the worker */
    const dload_env *env; /* clock and memory; NULL = the inner store's */
    size_t n_threads;     /* requests that run side by side; default 4; 1 .. 256 */
    size_t queue_cap;     /* requests that wait; default 1024 */
    uint64_t queue_ns;    /* how long those without a timeout_ns may; default 5 s */
} dload_worker_config;

/* A request on its way. Private. */
typedef struct dload_worker_i_job {
    dload_store_op
        op; /* as the inner store gets it; what it found stays here until it is released */
    dload_store_op *outer;
    uint64_t until_ns;
    struct dload_worker_i_job *next;
} dload_worker_i_job;

/* The caller's, and stays where it is from _init to _destroy. */
typedef struct dload_worker {
    dload_store store; /* hand &w->store to whoever asks */
    /* private */
    dload_store *inner;
    uint64_t queue_ns;
    size_t queue_cap;
    pid_t pid;             /* of the process that has the threads */
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t work;   /* somebody waits, or it closes */
    pthread_cond_t watch;  /* ... and sooner than the watcher thinks */
    dload_worker_i_job *first, *last;
    size_t n_queued;
    uint64_t watch_ns; /* when the watcher looks next, in env's time */
    uint32_t state;    /* DLOAD_WORKER_I_ */
    uint64_t n_expired;
    size_t n_threads;
    pthread_t *threads; /* n_threads + 1, the watcher last */
} dload_worker;

/* ---- the queue ---- */

/* Takes a job out; before is the one in front of it, NULL = it is the first. The mutex is held. */
DLOAD_I_LOCAL dload_worker_i_job *dload_worker_i_take(dload_worker *w, dload_worker_i_job *before)
{
    dload_worker_i_job *job = before != NULL ? before->next : w->first;
    if (before != NULL)
        before->next = job->next;
    else
        w->first = job->next;
    if (w->last == job)
        w->last = before;
    w->n_queued--;
    job->next = NULL;
    return job;
}

/* The end of a request: its job stays when there is something to release. No lock is held. */
DLOAD_I_LOCAL void dload_worker_i_end(dload_worker *w, dload_worker_i_job *job, dload_status st)
{
    dload_store_op *outer = job->outer;
    if (job->op.results != NULL)
        outer->results = job;
    else
        dload_i_free(w->store.env, job, sizeof *job);
    outer->done(outer, st);
}

/* Waits for a signal, for span_ns at most and never long; the caller's time is env's, so that the rest of a wait
 * that was cut short is the caller's to compute. The mutex is held. */
DLOAD_I_LOCAL void dload_worker_i_wait(dload_worker *w, pthread_cond_t *cond, uint64_t span_ns)
{
    dload_threads_i_wait(cond, &w->mutex, dload_i_add_ns(dload_i_clock_precise(NULL), span_ns));
}

/* ---- threads ---- */

/* Asks the inner store, for as long as the request has left. */
DLOAD_I_LOCAL void dload_worker_i_run_job(dload_worker *w, dload_worker_i_job *job)
{
    const uint64_t now_ns = dload_i_now(w->store.env);
    dload_status st = DLOAD_ETIMEDOUT;
    if (now_ns < job->until_ns) {
        job->op.timeout_ns = job->outer->timeout_ns != 0 ? job->until_ns - now_ns : 0;
        st = dload_store_run(w->inner, &job->op);
    }
    dload_worker_i_end(w, job, st);
}

DLOAD_I_LOCAL void *dload_worker_i_thread(void *ctx)
{
    dload_worker *w = (dload_worker *)ctx;
    (void)pthread_mutex_lock(&w->mutex);
    for (;;) {
        if (w->first != NULL) {
            dload_worker_i_job *job = dload_worker_i_take(w, NULL);
            (void)pthread_mutex_unlock(&w->mutex);
            dload_worker_i_run_job(w, job);
            (void)pthread_mutex_lock(&w->mutex);
        } else if (w->state == DLOAD_WORKER_I_OPEN) {
            dload_worker_i_wait(w, &w->work, DLOAD_NEVER);
        } else {
            break;
        }
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* Takes out the first job whose time is over, if there is one; otherwise *next_ns is when there may be. The mutex
 * is held. */
DLOAD_I_LOCAL dload_worker_i_job *dload_worker_i_expired(dload_worker *w, uint64_t now_ns,
                                                         uint64_t *next_ns)
{
    dload_worker_i_job *before = NULL;
    *next_ns = DLOAD_NEVER;
    for (dload_worker_i_job *job = w->first; job != NULL; before = job, job = job->next) {
        if (job->until_ns <= now_ns)
            return dload_worker_i_take(w, before);
        if (job->until_ns < *next_ns)
            *next_ns = job->until_ns;
    }
    return NULL;
}

/* Ends what waited too long, while all the threads are busy. */
DLOAD_I_LOCAL void *dload_worker_i_watcher(void *ctx)
{
    dload_worker *w = (dload_worker *)ctx;
    (void)pthread_mutex_lock(&w->mutex);
    while (w->state == DLOAD_WORKER_I_OPEN || w->first != NULL) {
        const uint64_t now_ns = dload_i_now(w->store.env);
        dload_worker_i_job *job = dload_worker_i_expired(w, now_ns, &w->watch_ns);
        if (job != NULL) {
            w->n_expired++;
            (void)pthread_mutex_unlock(&w->mutex);
            dload_worker_i_end(w, job, DLOAD_ETIMEDOUT);
            (void)pthread_mutex_lock(&w->mutex);
        } else {
            dload_worker_i_wait(w, &w->watch, w->watch_ns - now_ns);
        }
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* ---- requests ---- */

DLOAD_I_LOCAL dload_status dload_worker_i_queue(dload_worker *w, dload_worker_i_job *job)
{
    (void)pthread_mutex_lock(&w->mutex);
    dload_status st = DLOAD_PENDING;
    if (w->state != DLOAD_WORKER_I_OPEN)
        st = DLOAD_ECLOSED;
    else if (w->n_queued >= w->queue_cap)
        st = DLOAD_EAGAIN;
    if (st == DLOAD_PENDING) {
        if (w->last != NULL)
            w->last->next = job;
        else
            w->first = job;
        w->last = job;
        w->n_queued++;
        (void)pthread_cond_signal(&w->work);
        if (job->until_ns < w->watch_ns)
            (void)pthread_cond_signal(&w->watch);
    }
    (void)pthread_mutex_unlock(&w->mutex); /* from here on job may be gone */
    return st;
}

DLOAD_I_LOCAL dload_status dload_worker_i_run(dload_store *s, dload_store_op *op)
{
    dload_worker *w = (dload_worker *)(void *)s;
    if ((unsigned)op->kind >= DLOAD_STORE_N_KINDS ||
        (op->kind >= DLOAD_STORE_LEASE && (s->flags & DLOAD_STORE_LEASES) == 0))
        return DLOAD_EINVAL;
    if (op->done == NULL) {
        if (DLOAD_I_LOAD_RELAXED(&w->state) != DLOAD_WORKER_I_OPEN)
            return DLOAD_ECLOSED;
        return dload_store_run(w->inner, op); /* which makes it the inner store's to release */
    }
    if (w->pid != getpid())
        return DLOAD_EFORK;
    dload_worker_i_job *job = (dload_worker_i_job *)dload_i_alloc(s->env, sizeof *job);
    if (job == NULL)
        return DLOAD_ENOMEM;
    memset(job, 0, sizeof *job);
    job->op.kind = op->kind;
    job->op.items = op->items;
    job->op.n = op->n;
    job->outer = op;
    job->until_ns =
        dload_i_add_ns(dload_i_now(s->env), op->timeout_ns != 0 ? op->timeout_ns : w->queue_ns);
    dload_status st = dload_worker_i_queue(w, job);
    if (st != DLOAD_PENDING)
        dload_i_free(s->env, job, sizeof *job);
    return st;
}

DLOAD_I_LOCAL void dload_worker_i_release(dload_store *s, dload_store_op *op)
{
    dload_worker_i_job *job = (dload_worker_i_job *)op->results;
    dload_store_release(&job->op);
    dload_i_free(s->env, job, sizeof *job);
}

/* ---- life ---- */

DLOAD_I_LOCAL bool dload_worker_i_is_mine(const dload_worker *w)
{
    bool mine = false;
    for (size_t i = 0; i <= w->n_threads && !mine; i++)
        mine = pthread_equal(pthread_self(), w->threads[i]) != 0;
    return mine;
}

/* Refuses requests from now on. DLOAD_DRAIN runs what is queued; DLOAD_FAIL ends it with DLOAD_ECLOSED, from this
 * thread. Either waits for what is running, whose time the inner store bounds, and for every done.
 * Returns DLOAD_OK, also when it is closed already; DLOAD_EINVAL for another mode; DLOAD_EBUSY from a done that one
 * of its threads calls, and while another thread closes; DLOAD_EFORK in a child. */
DLOAD_I_LOCAL dload_status dload_worker_close(dload_worker *w, dload_close_mode mode)
{
    if (mode != DLOAD_DRAIN && mode != DLOAD_FAIL)
        return DLOAD_EINVAL;
    if (w->pid != getpid())
        return DLOAD_EFORK;
    if (DLOAD_I_LOAD_ACQUIRE(&w->state) == DLOAD_WORKER_I_CLOSED)
        return DLOAD_OK;
    if (dload_worker_i_is_mine(w))
        return DLOAD_EBUSY;
    dload_worker_i_job *queued = NULL;
    (void)pthread_mutex_lock(&w->mutex);
    const bool busy = w->state != DLOAD_WORKER_I_OPEN;
    if (!busy) {
        DLOAD_I_STORE_RELAXED(&w->state, (uint32_t)(mode == DLOAD_DRAIN ? DLOAD_WORKER_I_DRAINS
                                                                        : DLOAD_WORKER_I_FAILS));
        if (mode == DLOAD_FAIL) {
            queued = w->first;
            w->first = w->last = NULL;
            w->n_queued = 0;
        }
        (void)pthread_cond_broadcast(&w->work);
        (void)pthread_cond_broadcast(&w->watch);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    if (busy)
        return DLOAD_EBUSY;
    while (queued != NULL) {
        dload_worker_i_job *job = queued;
        queued = job->next;
        dload_worker_i_end(w, job, DLOAD_ECLOSED);
    }
    for (size_t i = 0; i <= w->n_threads; i++)
        (void)pthread_join(w->threads[i], NULL);
    (void)pthread_mutex_lock(&w->mutex);
    DLOAD_I_STORE_RELEASE(&w->state, (uint32_t)DLOAD_WORKER_I_CLOSED);
    (void)pthread_mutex_unlock(&w->mutex);
    return DLOAD_OK;
}

DLOAD_I_LOCAL bool dload_worker_i_init_conds(dload_worker *w)
{
    if (!dload_threads_i_cond_init(&w->watch))
        return false;
    if (dload_threads_i_pair_init(&w->mutex, &w->work))
        return true;
    (void)pthread_cond_destroy(&w->watch);
    return false;
}

/* Starts all threads, or none. */
DLOAD_I_LOCAL bool dload_worker_i_start(dload_worker *w)
{
    sigset_t all, before;
    size_t n = 0;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (n <= w->n_threads &&
           pthread_create(&w->threads[n], NULL,
                          n < w->n_threads ? dload_worker_i_thread : dload_worker_i_watcher,
                          w) == 0)
        n++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (n > w->n_threads)
        return true;
    (void)pthread_mutex_lock(&w->mutex);
    DLOAD_I_STORE_RELAXED(&w->state, (uint32_t)DLOAD_WORKER_I_FAILS);
    (void)pthread_cond_broadcast(&w->work);
    (void)pthread_mutex_unlock(&w->mutex);
    while (n-- > 0)
        (void)pthread_join(w->threads[n], NULL);
    return false;
}

/* Ends a worker, closing it first, with DLOAD_FAIL, when it is not closed. What was read must have been released, and no
 * request may be made. DLOAD_OK, or as dload_worker_close, and then it is there still. */
DLOAD_I_LOCAL dload_status dload_worker_destroy(dload_worker *w)
{
    dload_status st = dload_worker_close(w, DLOAD_FAIL);
    if (st < 0)
        return st;
    (void)pthread_cond_destroy(&w->work);
    (void)pthread_cond_destroy(&w->watch);
    (void)pthread_mutex_destroy(&w->mutex);
    dload_i_free(w->store.env, w->threads, (w->n_threads + 1) * sizeof *w->threads);
    w->threads = NULL;
    return DLOAD_OK;
}

/* Prepares a worker and starts its threads. Returns DLOAD_OK; DLOAD_EINVAL without an inner store or when a field is
 * out of range; DLOAD_ENOMEM, also when there is no room for a thread. */
DLOAD_I_LOCAL dload_status dload_worker_init(dload_worker *w, const dload_worker_config *config)
{
    memset(w, 0, sizeof *w);
    if (config == NULL || config->inner == NULL || config->n_threads > 256)
        return DLOAD_EINVAL;
    w->inner = config->inner;
    w->store.name = w->inner->name;
    w->store.flags = w->inner->flags | DLOAD_STORE_ASYNC;
    w->store.env = config->env != NULL ? config->env : w->inner->env;
    w->store.run = dload_worker_i_run;
    w->store.release = dload_worker_i_release;
    w->store.break_after = UINT32_MAX;
    w->queue_ns = config->queue_ns != 0 ? config->queue_ns : 5 * DLOAD_SECOND;
    w->queue_cap = config->queue_cap != 0 ? config->queue_cap : 1024;
    w->n_threads = config->n_threads != 0 ? config->n_threads : 4;
    w->watch_ns = DLOAD_NEVER;
    w->pid = getpid();
    w->threads = (pthread_t *)dload_i_alloc(w->store.env, (w->n_threads + 1) * sizeof *w->threads);
    if (w->threads == NULL)
        return DLOAD_ENOMEM;
    if (dload_worker_i_init_conds(w)) {
        if (dload_worker_i_start(w))
            return DLOAD_OK;
        (void)pthread_cond_destroy(&w->work);
        (void)pthread_cond_destroy(&w->watch);
        (void)pthread_mutex_destroy(&w->mutex);
    }
    dload_i_free(w->store.env, w->threads, (w->n_threads + 1) * sizeof *w->threads);
    return DLOAD_ENOMEM;
}

/* How many requests wait, and how many ended for having waited too long (each may be NULL). Any thread. */
DLOAD_I_LOCAL void dload_worker_queue(dload_worker *w, size_t *n_queued, uint64_t *n_expired)
{
    (void)pthread_mutex_lock(&w->mutex);
    if (n_queued != NULL)
        *n_queued = w->n_queued;
    if (n_expired != NULL)
        *n_expired = w->n_expired;
    (void)pthread_mutex_unlock(&w->mutex);
}

#endif /* DLOAD_WORKER_H */
