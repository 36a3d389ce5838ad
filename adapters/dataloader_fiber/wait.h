/* dataloader_fiber/wait.h -- tasks that wait, and who wakes them; a part of dataloader_fiber.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Here: the table of waiting tasks by the word they wait on, the list of those that may go on, and
 * sleeping while there is nothing to do: all that other threads touch, under one mutex.
 * Not here: switching (dataloader_fiber/stack.h); turns, dispatching, the life of tasks and what a
 * loader is given (dataloader_fiber.h). The mutex is a leaf: taken under a loader's, never around it.
 */
#ifndef DATALOADER_FIBER_WAIT_H
#define DATALOADER_FIBER_WAIT_H

#include "../dataloader_threads/pair.h"
#include "stack.h"

#include <string.h>

/* One task; lies above its stack. Private. */
typedef struct dload_fiber_i_task {
    struct dload_fiber_i_task *next; /* in one of: ready, yielded, a bucket, the pool */
    struct dload_fiber_i_task *next_made;
    const uint32_t *word; /* what it waits for: the key of the table; under the mutex */
    uint64_t until_ns;
    dload_status wait_status; /* how the wait ended */
    dload_fiber_i_stack stack;
} dload_fiber_i_task;

typedef struct dload_fiber_i_list {
    dload_fiber_i_task *head, *tail;
} dload_fiber_i_list;

typedef struct dload_fiber_i_waits {
    dload_env parent; /* clock, memory, and how to sleep */
    pthread_mutex_t mutex;
    pthread_cond_t cond;        /* for sleepers, when parent.wait is NULL */
    uint32_t n_sleepers;        /* under the mutex */
    uint32_t n_wakes;           /* changed under the mutex, atomic */
    dload_fiber_i_list ready;   /* under the mutex */
    uint64_t until_ns;          /* no task's wait ends earlier by time; under the mutex */
    dload_fiber_i_task **table; /* waiting tasks by word; under the mutex */
    size_t n_buckets;           /* 2^n, no fewer than there are tasks */
} dload_fiber_i_waits;

/* ---- small things ---- */

DLOAD_FIBER_I_FN uint64_t dload_fiber_i_parent_now(const dload_fiber_i_waits *w)
{
    return w->parent.now != NULL ? w->parent.now(w->parent.ctx) : 0;
}

DLOAD_FIBER_I_FN uint64_t dload_fiber_i_parent_self(const dload_fiber_i_waits *w)
{
    return w->parent.self != NULL ? w->parent.self(w->parent.ctx) : 1;
}

DLOAD_FIBER_I_FN void dload_fiber_i_lock(dload_fiber_i_waits *w)
{
    (void)pthread_mutex_lock(&w->mutex);
}

DLOAD_FIBER_I_FN void dload_fiber_i_unlock(dload_fiber_i_waits *w)
{
    (void)pthread_mutex_unlock(&w->mutex);
}

DLOAD_FIBER_I_FN void dload_fiber_i_push(dload_fiber_i_list *list, dload_fiber_i_task *t)
{
    t->next = NULL;
    if (list->tail != NULL)
        list->tail->next = t;
    else
        list->head = t;
    list->tail = t;
}

/* Words lie at equal places in stacks of equal size: the multiplication tells them apart. */
DLOAD_FIBER_I_FN dload_fiber_i_task **dload_fiber_i_bucket(dload_fiber_i_waits *w,
                                                           const uint32_t *word)
{
    uint64_t h = (uint64_t)(uintptr_t)word * UINT64_C(0x9e3779b97f4a7c15);
    return &w->table[(size_t)(h >> 32) & (w->n_buckets - 1)];
}

/* ---- life ---- */

/* w is zeros but for parent. */
DLOAD_FIBER_I_FN bool dload_fiber_i_waits_init(dload_fiber_i_waits *w)
{
    w->until_ns = DLOAD_NEVER;
    return dload_threads_i_pair_init(&w->mutex, &w->cond);
}

DLOAD_FIBER_I_FN void dload_fiber_i_waits_destroy(dload_fiber_i_waits *w)
{
    if (w->table != NULL)
        w->parent.free(w->parent.ctx, w->table, w->n_buckets * sizeof *w->table);
    (void)pthread_cond_destroy(&w->cond);
    (void)pthread_mutex_destroy(&w->mutex);
}

/* Room in the table for one task more than n_tasks. */
DLOAD_FIBER_I_FN bool dload_fiber_i_grow(dload_fiber_i_waits *w, size_t n_tasks)
{
    if (n_tasks < w->n_buckets)
        return true;
    size_t n_old = w->n_buckets;
    size_t n = n_old == 0 ? 64 : n_old * 2;
    dload_fiber_i_task **old = w->table;
    dload_fiber_i_task **table =
        (dload_fiber_i_task **)w->parent.alloc(w->parent.ctx, n * sizeof *table);
    if (table == NULL)
        return false;
    memset(table, 0, n * sizeof *table);
    dload_fiber_i_lock(w);
    w->table = table;
    w->n_buckets = n;
    for (size_t i = 0; i < n_old; i++) {
        for (dload_fiber_i_task *t = old[i], *next = NULL; t != NULL; t = next) {
            next = t->next;
            dload_fiber_i_task **at = dload_fiber_i_bucket(w, t->word);
            t->next = *at;
            *at = t;
        }
    }
    dload_fiber_i_unlock(w);
    if (old != NULL)
        w->parent.free(w->parent.ctx, old, n_old * sizeof *old);
    return true;
}

/* ---- waiting ---- */

/* Sleeps until somebody wakes or until_ns, never long: the clock of the env may be another than the
 * system's. The mutex is held before and after. */
DLOAD_FIBER_I_FN void dload_fiber_i_sleep(dload_fiber_i_waits *w, uint64_t until_ns)
{
    uint64_t end_ns = DLOAD_NEVER;
    if (until_ns != DLOAD_NEVER && w->parent.now != NULL) {
        uint64_t now_ns = dload_fiber_i_parent_now(w);
        uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
        end_ns = dload_i_add_ns(dload_i_clock_precise(NULL), left_ns);
    }
    w->n_sleepers++;
    dload_threads_i_wait(&w->cond, &w->mutex, end_ns);
    w->n_sleepers--;
}

/* env->wait for who is no task: a fetch function, another thread. */
DLOAD_FIBER_I_FN dload_status dload_fiber_i_wait_thread(dload_fiber_i_waits *w,
                                                        const uint32_t *word, uint32_t seen,
                                                        uint64_t until_ns)
{
    if (w->parent.wait != NULL)
        return w->parent.wait(w->parent.ctx, word, seen, until_ns);
    dload_fiber_i_lock(w);
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen)
        dload_fiber_i_sleep(w, until_ns);
    dload_fiber_i_unlock(w);
    return DLOAD_OK;
}

/* Puts t where a wake finds it; false when *word is not seen any more. True: leave the stack now. */
DLOAD_FIBER_I_FN bool dload_fiber_i_park(dload_fiber_i_waits *w, dload_fiber_i_task *t,
                                         const uint32_t *word, uint32_t seen, uint64_t until_ns)
{
    dload_fiber_i_lock(w);
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) !=
        seen) { /* woken before it was here to be found */
        dload_fiber_i_unlock(w);
        return false;
    }
    dload_fiber_i_task **at = dload_fiber_i_bucket(w, word);
    t->word = word;
    t->until_ns = until_ns;
    t->wait_status = DLOAD_OK;
    t->next = *at;
    *at = t;
    if (until_ns < w->until_ns)
        w->until_ns = until_ns;
    dload_fiber_i_unlock(w);
    return true;
}

/* Nothing has happened since n_wakes was seen: waits for an answer, a poke or a deadline. */
DLOAD_FIBER_I_FN dload_status dload_fiber_i_idle(dload_fiber_i_waits *w, uint32_t seen)
{
    dload_fiber_i_lock(w);
    uint64_t until_ns = w->until_ns;
    bool quiet = w->n_wakes == seen;
    if (quiet && w->parent.wait == NULL)
        dload_fiber_i_sleep(w, until_ns);
    dload_fiber_i_unlock(w);
    if (!quiet || w->parent.wait == NULL)
        return DLOAD_OK;
    return w->parent.wait(w->parent.ctx, &w->n_wakes, seen, until_ns);
}

/* ---- waking ---- */

/* Tells who sleeps that something happened; releases the mutex. */
DLOAD_FIBER_I_FN void dload_fiber_i_notify(dload_fiber_i_waits *w, const uint32_t *word)
{
    __atomic_store_n(&w->n_wakes, w->n_wakes + 1, __ATOMIC_RELEASE);
    if (w->n_sleepers != 0)
        (void)pthread_cond_broadcast(&w->cond);
    dload_fiber_i_unlock(w);
    if (w->parent.wake != NULL)
        w->parent.wake(w->parent.ctx, word);
}

/* Any thread, under the loader's mutex. */
DLOAD_FIBER_I_FN void dload_fiber_i_wake_word(dload_fiber_i_waits *w, const uint32_t *word)
{
    bool found = false;
    dload_fiber_i_lock(w);
    dload_fiber_i_task **at = w->n_buckets != 0 ? dload_fiber_i_bucket(w, word) : NULL;
    while (at != NULL && *at != NULL) {
        dload_fiber_i_task *t = *at;
        if (t->word != word) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        dload_fiber_i_push(&w->ready, t);
        found = true;
    }
    dload_fiber_i_notify(w, found ? &w->n_wakes : word);
}

/* Ends the waits whose time has come; with st < 0 all of them, with st. */
DLOAD_FIBER_I_FN void dload_fiber_i_end_waits(dload_fiber_i_waits *w, uint64_t now_ns,
                                              dload_status st)
{
    dload_fiber_i_lock(w);
    size_t n = now_ns < w->until_ns && st >= 0 ? 0 : w->n_buckets;
    if (n != 0)
        w->until_ns = DLOAD_NEVER;
    for (size_t i = 0; i < n; i++) {
        dload_fiber_i_task **at = &w->table[i];
        while (*at != NULL) {
            dload_fiber_i_task *t = *at;
            if (t->until_ns > now_ns && st >= 0) {
                w->until_ns = t->until_ns < w->until_ns ? t->until_ns : w->until_ns;
                at = &t->next;
                continue;
            }
            *at = t->next;
            t->wait_status = st;
            dload_fiber_i_push(&w->ready, t);
        }
    }
    dload_fiber_i_unlock(w);
}

/* ---- who may go on ---- */

DLOAD_FIBER_I_FN void dload_fiber_i_make_ready(dload_fiber_i_waits *w, dload_fiber_i_task *t)
{
    dload_fiber_i_lock(w);
    dload_fiber_i_push(&w->ready, t);
    dload_fiber_i_unlock(w);
}

/* All of them, out of the list, by their next. */
DLOAD_FIBER_I_FN dload_fiber_i_task *dload_fiber_i_take_ready(dload_fiber_i_waits *w)
{
    dload_fiber_i_lock(w);
    dload_fiber_i_task *t = w->ready.head;
    w->ready.head = w->ready.tail = NULL;
    dload_fiber_i_unlock(w);
    return t;
}

/* Moves the tasks of more, which may be empty, behind those that are ready; is anybody? */
DLOAD_FIBER_I_FN bool dload_fiber_i_any_ready(dload_fiber_i_waits *w, dload_fiber_i_list *more)
{
    dload_fiber_i_lock(w);
    if (more != NULL && more->head != NULL) {
        if (w->ready.tail != NULL)
            w->ready.tail->next = more->head;
        else
            w->ready.head = more->head;
        w->ready.tail = more->tail;
        more->head = more->tail = NULL;
    }
    bool any = w->ready.head != NULL;
    dload_fiber_i_unlock(w);
    return any;
}

#endif /* DATALOADER_FIBER_WAIT_H */
