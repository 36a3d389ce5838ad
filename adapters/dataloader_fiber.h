/* dataloader_fiber.h -- many tasks of straight-line code in one thread; their loads batch together.
 *
 * SPDX-License-Identifier: MIT
 *
 * Here: what a caller uses, and the scheduler: the life of tasks, turns, dispatching, what loaders
 * are given. Not here, but in two headers that go along with this one: switching between stacks
 * (dataloader_fiber/stack.h), and what other threads touch (dataloader_fiber/wait.h).
 *
 * A task is a function with a stack of its own. A blocking load inside it parks the task; when
 * every task waits, what they asked for goes out, one batch for each loader that has something
 * queued. So N tasks that load from A, then from B, then from C cost three batches (more only over
 * max_batch), and each of them reads like code for one item:
 *
 *      static void show(void *arg)                          a task
 *      {
 *          struct user u;
 *          struct city c;
 *          if (users_load(&users_l, *(uint64_t *)arg, &u) >= 0 &&       parks; others go on
 *              cities_load(&cities_l, u.city, &c) >= 0)                 parks again
 *              printf("%s lives in %s\n", u.name, c.name);
 *      }
 *      dload_fiber_sched s;
 *      dload_fiber_init(&s, NULL);
 *      users_config cfg = users_config_default();
 *      cfg.env = dload_fiber_env(&s);                       both lines, for every loader that
 *      cfg.registry = dload_fiber_registry(&s);             tasks load from
 *      ...
 *      for (size_t i = 0; i < n; i++)
 *          dload_fiber_spawn(&s, show, &ids[i]);
 *      dload_fiber_run(&s);                                 returns when every task has ended
 *      users_close(&users_l, DLOAD_DRAIN, 0), users_destroy(&users_l) ...
 *      dload_fiber_destroy(&s);
 *
 * Include it after dataloader.h, once with any loader. Any lock strategy will do: DLOAD_LOCK_NONE
 * is right unless another thread ends batches (_batch_done) or loads too. examples/fibers.c is
 * complete.
 *
 * Fetch functions, callbacks and hooks run on the thread's own stack and are not tasks: a load in
 * one of them does not park, it sends its batch at once and waits, as it would without tasks (a key
 * of its own batch: DLOAD_EDEADLK). A fetch function that runs inside a task's own _dispatch is
 * part of that task. A loader with dload_fiber_env but without dload_fiber_registry is never
 * dispatched: its loads end with DLOAD_ETIMEDOUT.
 *
 * Stacks: 64 KiB by default (what is not touched costs no memory: 4 to 8 KiB a task), with 64 KiB
 * below that nobody may touch: a task that overflows its stack ends the process with SIGSEGV,
 * unless one frame jumps farther than that. A stack is used again when its task has ended and given
 * back by _destroy. Linux allows some 32,000 of them (vm.max_map_count / 2). A task must not end by
 * pthread_exit, nor by an exception or a longjmp that leaves it.
 *
 * Switching costs some 20 ns. The signal mask is the thread's, unless config.own_signal_mask gives
 * each task its own, for a system call a switch; a handler runs on the current task's stack
 * (sigaltstack helps). AddressSanitizer and ThreadSanitizer are told of every switch.
 *
 * Threads: a scheduler belongs to the thread that runs its tasks; functions here are called from
 * it, but for dload_fiber_poke. With a loader's lock to match, any thread may end batches and load.
 */
#ifndef DATALOADER_FIBER_H
#define DATALOADER_FIBER_H

#ifndef DLOAD_VERSION
#error "dataloader_fiber.h: include dataloader.h, with a loader, before this file"
#endif
#if DLOAD_VERSION < 100
#error "dataloader_fiber.h: this dataloader.h is older than this adapter"
#endif

#include "dataloader_fiber/stack.h"
#include "dataloader_fiber/wait.h"

/* ---- types ---- */

/* What a scheduler is made from; zeros are the defaults. */
typedef struct dload_fiber_config {
    const dload_env *env; /* clock, memory, identity, waiting; must outlive it; NULL = the host's */
    size_t stack_bytes;   /* of each task; default 65536; 16384 ..; rounded up to pages */
    size_t max_tasks;     /* that have not ended; default 16384; beyond: DLOAD_EAGAIN */
    bool own_signal_mask; /* each task has one; every switch then costs a system call */
} dload_fiber_config;

/* A scheduler. Fields are private; must not move between _init and _destroy. */
typedef struct dload_fiber_sched {
    dload_env env; /* what loaders get */
    dload_registry registry;
    size_t block_bytes, max_tasks;
    size_t n_tasks; /* not ended */
    size_t n_made;  /* stacks */
    bool running, closed;
    dload_fiber_i_task *current; /* written by the owner, atomic; NULL = no task runs */
    uint64_t owner;              /* parent.self of the thread in _run; atomic */
    dload_fiber_i_task *made, *pool;
    dload_fiber_i_list yielded; /* of this turn */
    uint64_t turn_ns;           /* when the turn began */
    uint32_t seen;              /* waits.n_wakes then */
    dload_fiber_i_waits waits;  /* where other threads come in */
    dload_fiber_i_home home;
} dload_fiber_sched;

/* ---- the functions ---- */

/* Prepares a scheduler; config may be NULL. Returns DLOAD_OK; DLOAD_EINVAL: stack_bytes out of
 * range, an env without alloc or free, or without both now and wait; DLOAD_ENOMEM. Allocates
 * nothing yet. */
DLOAD_FIBER_I_FN dload_status dload_fiber_init(dload_fiber_sched *s,
                                               const dload_fiber_config *config);

/* For config.env of every loader that tasks load from. Valid until _destroy. */
DLOAD_FIBER_I_FN const dload_env *dload_fiber_env(dload_fiber_sched *s);

/* For config.registry of the same loaders. Valid until _destroy; destroy the loaders first. */
DLOAD_FIBER_I_FN dload_registry *dload_fiber_registry(dload_fiber_sched *s);

/* Makes a task that will call fn(arg); it begins in _run, after those made before. Tasks may spawn.
 * Returns DLOAD_OK; DLOAD_EINVAL; DLOAD_ENOMEM: no memory for a stack; DLOAD_EAGAIN:
 * config.max_tasks have not ended; DLOAD_ECLOSED after _close. Owns: arg stays the caller's.
 * Allocates: a stack, unless one is free. Cost: O(1), about 5 us for a new stack. */
DLOAD_FIBER_I_FN dload_status dload_fiber_spawn(dload_fiber_sched *s, void (*fn)(void *arg),
                                                void *arg);

/* Runs every task to its end: lets each go on until it waits, dispatches, and so on; with nothing
 * to do it sleeps (or calls env->wait) until an answer comes or a deadline passes. An error of
 * env->wait ends the loads that wait then, and the tasks go on.
 * Returns DLOAD_OK when no task is left; DLOAD_EBUSY from inside a task, fetch function or
 * callback. */
DLOAD_FIBER_I_FN dload_status dload_fiber_run(dload_fiber_sched *s);

/* The same without sleeping, for a loop of one's own: DLOAD_OK when no task is left, DLOAD_EAGAIN
 * when all that are left wait for answers from elsewhere, or DLOAD_EBUSY. */
DLOAD_FIBER_I_FN dload_status dload_fiber_poll(dload_fiber_sched *s);

/* When _poll wants to be called at the latest, in env->now time; DLOAD_NEVER = nothing is waiting.
 * Call it then, and after batches were ended. May be early. */
DLOAD_FIBER_I_FN uint64_t dload_fiber_next_deadline(dload_fiber_sched *s);

/* Inside a task: lets all others go on first, and what is queued be sent. Elsewhere: nothing. */
DLOAD_FIBER_I_FN void dload_fiber_yield(dload_fiber_sched *s);

/* Ends the sleep of _run, so that it looks at its loaders again: for config.wake of a loader, with
 * the scheduler as config.wake_ctx. Any thread. */
DLOAD_FIBER_I_FN void dload_fiber_poke(void *sched);

/* Ends what is left when _poll is not going to be called any more: every wait of a task, now and
 * later, ends with DLOAD_ECANCELED, and every task runs to its end, so that it can release what it
 * holds.
 * Call it before the loaders are closed. Returns DLOAD_OK, twice too; DLOAD_EBUSY as _run. */
DLOAD_FIBER_I_FN dload_status dload_fiber_close(dload_fiber_sched *s);

/* Gives all memory back. Returns DLOAD_OK; DLOAD_EBUSY while a task has not ended: _run or _close. */
DLOAD_FIBER_I_FN dload_status dload_fiber_destroy(dload_fiber_sched *s);

/* ---- tasks ---- */

/* The task that the caller is, or NULL: another thread, or between tasks. */
DLOAD_FIBER_I_FN dload_fiber_i_task *dload_fiber_i_here(dload_fiber_sched *s)
{
    dload_fiber_i_task *t = __atomic_load_n(&s->current, __ATOMIC_RELAXED);
    if (t == NULL ||
        __atomic_load_n(&s->owner, __ATOMIC_RELAXED) != dload_fiber_i_parent_self(&s->waits))
        return NULL;
    return t;
}

/* Lets a task go on until it waits or ends. */
DLOAD_FIBER_I_FN void dload_fiber_i_resume(dload_fiber_sched *s, dload_fiber_i_task *t)
{
    __atomic_store_n(&s->current, t, __ATOMIC_RELAXED);
    dload_fiber_i_go_on(&t->stack);
    __atomic_store_n(&s->current, NULL, __ATOMIC_RELAXED);
    if (t->stack.fn != NULL)
        return;
    t->next = s->pool;
    s->pool = t;
    s->n_tasks--;
}

/* A task with a stack of its own; NULL when there is no memory. */
DLOAD_FIBER_I_FN dload_fiber_i_task *dload_fiber_i_make(dload_fiber_sched *s)
{
    char *block = NULL;
    if (!dload_fiber_i_grow(&s->waits, s->n_made))
        return NULL;
    dload_fiber_i_task *t =
        (dload_fiber_i_task *)dload_fiber_i_map(s->block_bytes, sizeof *t, s->n_made, &block);
    if (t == NULL)
        return NULL;
    dload_fiber_i_adopt(&t->stack, &s->home, t, block);
    t->next_made = s->made;
    s->made = t;
    s->n_made++;
    return t;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_spawn(dload_fiber_sched *s, void (*fn)(void *arg),
                                                void *arg)
{
    if (s == NULL || fn == NULL)
        return DLOAD_EINVAL;
    if (s->closed)
        return DLOAD_ECLOSED;
    if (s->n_tasks >= s->max_tasks)
        return DLOAD_EAGAIN;
    dload_fiber_i_task *t = s->pool;
    if (t != NULL)
        s->pool = t->next;
    else
        t = dload_fiber_i_make(s);
    if (t == NULL)
        return DLOAD_ENOMEM;
    t->stack.fn = fn;
    t->stack.arg = arg;
    s->n_tasks++;
    dload_fiber_i_make_ready(&s->waits, t);
    return DLOAD_OK;
}

DLOAD_FIBER_I_FN void dload_fiber_yield(dload_fiber_sched *s)
{
    dload_fiber_i_task *t = dload_fiber_i_here(s);
    if (t == NULL)
        return;
    dload_fiber_i_push(&s->yielded, t);
    dload_fiber_i_leave(&t->stack);
}

DLOAD_FIBER_I_FN void dload_fiber_poke(void *sched)
{
    dload_fiber_i_waits *w = &((dload_fiber_sched *)sched)->waits;
    dload_fiber_i_lock(w);
    dload_fiber_i_notify(w, &w->n_wakes);
}

/* ---- the env of the loaders ---- */

DLOAD_FIBER_I_FN uint64_t dload_fiber_i_now(void *ctx)
{
    const dload_env *parent = &((dload_fiber_sched *)ctx)->waits.parent;
    return parent->now(parent->ctx);
}

DLOAD_FIBER_I_FN void *dload_fiber_i_alloc(void *ctx, size_t n_bytes)
{
    const dload_env *parent = &((dload_fiber_sched *)ctx)->waits.parent;
    return parent->alloc(parent->ctx, n_bytes);
}

DLOAD_FIBER_I_FN void dload_fiber_i_free(void *ctx, void *p, size_t n_bytes)
{
    const dload_env *parent = &((dload_fiber_sched *)ctx)->waits.parent;
    parent->free(parent->ctx, p, n_bytes);
}

DLOAD_FIBER_I_FN uint64_t dload_fiber_i_random(void *ctx)
{
    const dload_env *parent = &((dload_fiber_sched *)ctx)->waits.parent;
    return parent->random(parent->ctx);
}

/* A task is known by its address, which is no thread's. */
DLOAD_FIBER_I_FN uint64_t dload_fiber_i_self(void *ctx)
{
    dload_fiber_sched *s = (dload_fiber_sched *)ctx;
    dload_fiber_i_task *t = dload_fiber_i_here(s);
    return t != NULL ? (uint64_t)(uintptr_t)t : dload_fiber_i_parent_self(&s->waits);
}

DLOAD_FIBER_I_FN bool dload_fiber_i_parks(void *ctx)
{
    return dload_fiber_i_here((dload_fiber_sched *)ctx) != NULL;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_i_wait(void *ctx, const uint32_t *word, uint32_t seen,
                                                 uint64_t until_ns)
{
    dload_fiber_sched *s = (dload_fiber_sched *)ctx;
    dload_fiber_i_task *t = dload_fiber_i_here(s);
    if (t == NULL)
        return dload_fiber_i_wait_thread(&s->waits, word, seen, until_ns);
    if (s->closed)
        return DLOAD_ECANCELED;
    /* A wait whose time has come already is for others to act in: it must not keep this turn busy. */
    if (until_ns <= s->turn_ns)
        until_ns = s->turn_ns + DLOAD_MILLISECOND;
    if (!dload_fiber_i_park(&s->waits, t, word, seen, until_ns))
        return DLOAD_OK;
    dload_fiber_i_leave(&t->stack);
    return t->wait_status;
}

DLOAD_FIBER_I_FN void dload_fiber_i_wake(void *ctx, const uint32_t *word)
{
    dload_fiber_i_wake_word(&((dload_fiber_sched *)ctx)->waits, word);
}

/* ---- running ---- */

/* Lets every task go on that can, until none can. */
DLOAD_FIBER_I_FN void dload_fiber_i_run_ready(dload_fiber_sched *s)
{
    dload_fiber_i_task *t;
    while ((t = dload_fiber_i_take_ready(&s->waits)) != NULL) {
        while (t != NULL) {
            dload_fiber_i_task *next = t->next;
            dload_fiber_i_resume(s, t);
            t = next;
        }
    }
}

/* Turns until all tasks wait for what comes from elsewhere, or have ended. One round of the
 * registry a turn: who was answered in it goes on before the next, so that what callbacks and tasks
 * ask for next goes together. Who has yielded goes on in the next turn. */
DLOAD_FIBER_I_FN void dload_fiber_i_turns(dload_fiber_sched *s)
{
    dload_fiber_i_waits *w = &s->waits;
    bool sent;
    do {
        s->turn_ns = dload_fiber_i_parent_now(w);
        s->seen = __atomic_load_n(&w->n_wakes, __ATOMIC_ACQUIRE);
        dload_fiber_i_run_ready(s);
        dload_fiber_i_end_waits(w, dload_fiber_i_parent_now(w), DLOAD_OK);
        sent = !dload_fiber_i_any_ready(w, NULL) && dload_registry_round(&s->registry, NULL);
    } while (dload_fiber_i_any_ready(w, &s->yielded) || sent);
}

/* Makes this thread the one whose tasks run; false when they run already. */
DLOAD_FIBER_I_FN bool dload_fiber_i_begin(dload_fiber_sched *s)
{
    if (s->running)
        return false;
    s->running = true;
    __atomic_store_n(&s->owner, dload_fiber_i_parent_self(&s->waits), __ATOMIC_RELAXED);
    return true;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_run(dload_fiber_sched *s)
{
    if (!dload_fiber_i_begin(s))
        return DLOAD_EBUSY;
    for (;;) {
        dload_fiber_i_turns(s);
        if (s->n_tasks == 0)
            break;
        /* what woke since the turn began, dispatches included, was not acted upon yet */
        dload_status st = dload_fiber_i_idle(&s->waits, s->seen);
        if (st < 0)
            dload_fiber_i_end_waits(&s->waits, 0, st);
    }
    s->running = false;
    return DLOAD_OK;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_poll(dload_fiber_sched *s)
{
    if (!dload_fiber_i_begin(s))
        return DLOAD_EBUSY;
    dload_fiber_i_turns(s);
    s->running = false;
    return s->n_tasks == 0 ? DLOAD_OK : DLOAD_EAGAIN;
}

DLOAD_FIBER_I_FN uint64_t dload_fiber_next_deadline(dload_fiber_sched *s)
{
    dload_fiber_i_waits *w = &s->waits;
    if (s->n_tasks == 0)
        return DLOAD_NEVER;
    dload_fiber_i_lock(w);
    uint64_t at_ns = w->ready.head != NULL ? 0 : w->until_ns;
    dload_fiber_i_unlock(w);
    return at_ns;
}

/* ---- life ---- */

DLOAD_FIBER_I_FN void dload_fiber_i_env_init(dload_fiber_sched *s)
{
    const dload_env *parent = &s->waits.parent;
    s->env.now = parent->now != NULL ? dload_fiber_i_now : NULL;
    s->env.alloc = dload_fiber_i_alloc;
    s->env.free = dload_fiber_i_free;
    s->env.random = parent->random != NULL ? dload_fiber_i_random : NULL;
    s->env.self = dload_fiber_i_self;
    s->env.wait = dload_fiber_i_wait;
    s->env.wake = dload_fiber_i_wake;
    s->env.parks = dload_fiber_i_parks;
    s->env.ctx = s;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_init(dload_fiber_sched *s,
                                               const dload_fiber_config *config)
{
    if (s == NULL)
        return DLOAD_EINVAL;
    memset(s, 0, sizeof *s);
    const dload_env *parent = dload_env_default();
    size_t stack_bytes = 65536;
    s->max_tasks = 16384;
    s->home.by_context = dload_fiber_i_shadow_stack();
    if (config != NULL) {
        parent = config->env != NULL ? config->env : parent;
        stack_bytes = config->stack_bytes != 0 ? config->stack_bytes : stack_bytes;
        s->max_tasks = config->max_tasks != 0 ? config->max_tasks : s->max_tasks;
        s->home.by_context = s->home.by_context || config->own_signal_mask;
    }
    s->block_bytes = dload_fiber_i_block_bytes(stack_bytes, sizeof(dload_fiber_i_task));
    if (s->block_bytes == 0 || parent->alloc == NULL || parent->free == NULL ||
        (parent->now == NULL && parent->wait == NULL))
        return DLOAD_EINVAL;
    s->waits.parent = *parent;
    dload_fiber_i_env_init(s);
    dload_registry_init(&s->registry);
    if (!dload_fiber_i_waits_init(&s->waits)) {
        s->waits.parent.alloc = NULL; /* not initialised, for _destroy */
        return DLOAD_ENOMEM;
    }
    return DLOAD_OK;
}

DLOAD_FIBER_I_FN const dload_env *dload_fiber_env(dload_fiber_sched *s)
{
    return &s->env;
}

DLOAD_FIBER_I_FN dload_registry *dload_fiber_registry(dload_fiber_sched *s)
{
    return &s->registry;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_close(dload_fiber_sched *s)
{
    if (!dload_fiber_i_begin(s))
        return DLOAD_EBUSY;
    s->closed = true; /* from here on no wait parks, so that every task comes to its end */
    dload_fiber_i_end_waits(&s->waits, 0, DLOAD_ECANCELED);
    do
        dload_fiber_i_run_ready(s);
    while (dload_fiber_i_any_ready(&s->waits, &s->yielded));
    s->running = false;
    return DLOAD_OK;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_destroy(dload_fiber_sched *s)
{
    if (s->waits.parent.alloc == NULL)
        return DLOAD_OK; /* never initialised, or destroyed before */
    if (s->running || s->n_tasks != 0)
        return DLOAD_EBUSY;
    while (s->made != NULL) {
        dload_fiber_i_task *t = s->made;
        s->made = t->next_made;
        dload_fiber_i_unmap(&t->stack, s->block_bytes);
    }
    dload_fiber_i_waits_destroy(&s->waits);
    memset(s, 0, sizeof *s);
    return DLOAD_OK;
}

#endif /* DATALOADER_FIBER_H */
