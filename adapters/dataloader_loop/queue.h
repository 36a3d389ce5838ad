/* dataloader_loop/queue.h -- stores in event loops: what they ask of the loop, and the requests that wait.
 *
 * SPDX-License-Identifier: MIT
 *
 * Part of the adapters that include it: dataloader_redis/loop.h, dataloader_postgres/loop.h.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_loop/queue.h: include the adapter that has it, and dataloader.h before that"
#endif

#ifndef DLOAD_LOOP_QUEUE_H
#define DLOAD_LOOP_QUEUE_H

#include <pthread.h>

/* What the loop does for a store. None may call the store's _process itself. */
typedef struct dload_loop_hooks {
    /* Have _process called when fd is ready for events (POLLIN, POLLOUT); 0 = not any more, and fd is closed when this
     * returns. slot is the same for one fd at a time, below the number of connections. The loop's thread. */
    void (*watch)(void *ctx, uint32_t slot, int fd, int events);
    /* ... when it is at_ns of CLOCK_MONOTONIC, instead of what was said before; DLOAD_NEVER = not at all. The
     * loop's thread. */
    void (*timer)(void *ctx, uint64_t at_ns);
    /* ... soon. Any thread. */
    void (*wake)(void *ctx);
    void *ctx;
} dload_loop_hooks;

/* A request with done; the first member of an adapter's own. Private. */
typedef struct dload_loop_i_job {
    uint64_t until_ns;
    struct dload_loop_i_job *next;
} dload_loop_i_job;

/* Requests that wait, in the order of arrival, and the number of all that are not through. Private. */
typedef struct dload_loop_i_queue {
    pthread_mutex_t mutex;
    dload_loop_i_job *first, *last;
    uint32_t cap, n_waiting, n_jobs; /* n_jobs: with those under way */
    bool closed;
} dload_loop_i_queue;

/* False: the system has no mutex left, and nothing is to be ended. */
DLOAD_I_LOCAL bool dload_loop_i_queue_init(dload_loop_i_queue *q, uint32_t cap)
{
    memset(q, 0, sizeof *q);
    q->cap = cap != 0 ? cap : 1000;
    return pthread_mutex_init(&q->mutex, NULL) == 0;
}

DLOAD_I_LOCAL void dload_loop_i_queue_end(dload_loop_i_queue *q)
{
    (void)pthread_mutex_destroy(&q->mutex);
}

/* Has a request wait, and wakes the loop. DLOAD_PENDING, DLOAD_EAGAIN: too many do, DLOAD_ECLOSED. Any thread. */
DLOAD_I_LOCAL dload_status dload_loop_i_add(dload_loop_i_queue *q, dload_loop_i_job *job,
                                            const dload_loop_hooks *hooks)
{
    job->next = NULL;
    (void)pthread_mutex_lock(&q->mutex);
    const dload_status st = q->closed                ? DLOAD_ECLOSED
                            : q->n_waiting >= q->cap ? DLOAD_EAGAIN
                                                     : DLOAD_PENDING;
    if (st == DLOAD_PENDING) {
        if (q->first == NULL)
            q->first = job;
        else
            q->last->next = job;
        q->last = job;
        q->n_waiting++;
        q->n_jobs++;
        hooks->wake(hooks->ctx); /* under the mutex: _end comes after it */
    }
    (void)pthread_mutex_unlock(&q->mutex);
    return st;
}

/* A request that was taken is to be begun again: before all others. */
DLOAD_I_LOCAL void dload_loop_i_put_back(dload_loop_i_queue *q, dload_loop_i_job *job,
                                         const dload_loop_hooks *hooks)
{
    (void)pthread_mutex_lock(&q->mutex);
    job->next = q->first;
    q->first = job;
    if (q->last == NULL || job->next == NULL)
        q->last = job;
    q->n_waiting++;
    (void)pthread_mutex_unlock(&q->mutex);
    hooks->wake(hooks->ctx);
}

/* Takes the first of those who wait: that whose time is over, or, with any, whoever it is. */
DLOAD_I_LOCAL dload_loop_i_job *dload_loop_i_next(dload_loop_i_queue *q, bool any, uint64_t now_ns)
{
    dload_loop_i_job *job = NULL, *before = NULL;
    (void)pthread_mutex_lock(&q->mutex);
    job = q->first;
    while (job != NULL && !any && now_ns < job->until_ns) {
        before = job;
        job = job->next;
    }
    if (job != NULL) {
        if (before != NULL)
            before->next = job->next;
        else
            q->first = job->next;
        if (q->last == job)
            q->last = before;
        q->n_waiting--;
    }
    (void)pthread_mutex_unlock(&q->mutex);
    return job;
}

/* A request is through. */
DLOAD_I_LOCAL void dload_loop_i_ended(dload_loop_i_queue *q)
{
    (void)pthread_mutex_lock(&q->mutex);
    q->n_jobs--;
    (void)pthread_mutex_unlock(&q->mutex);
}

/* at_ns, or when the time of one that waits is over, if that is before. */
DLOAD_I_LOCAL uint64_t dload_loop_i_earliest(dload_loop_i_queue *q, uint64_t at_ns)
{
    (void)pthread_mutex_lock(&q->mutex);
    for (const dload_loop_i_job *job = q->first; job != NULL; job = job->next)
        at_ns = job->until_ns < at_ns ? job->until_ns : at_ns;
    (void)pthread_mutex_unlock(&q->mutex);
    return at_ns;
}

/* How many are not through, waiting ones with them, or wait only. */
DLOAD_I_LOCAL uint32_t dload_loop_i_count(dload_loop_i_queue *q, bool waiting)
{
    (void)pthread_mutex_lock(&q->mutex);
    const uint32_t n = waiting ? q->n_waiting : q->n_jobs;
    (void)pthread_mutex_unlock(&q->mutex);
    return n;
}

/* Refuses what comes. */
DLOAD_I_LOCAL void dload_loop_i_close(dload_loop_i_queue *q)
{
    (void)pthread_mutex_lock(&q->mutex);
    q->closed = true;
    (void)pthread_mutex_unlock(&q->mutex);
}

#endif /* DLOAD_LOOP_QUEUE_H */
