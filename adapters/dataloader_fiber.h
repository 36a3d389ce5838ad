/* dataloader_fiber.h -- many tasks of straight-line code in one thread; their loads batch together.
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
 * Switching: makecontext enters a stack, _setjmp and _longjmp change between stacks afterwards: 17
 * ns measured, against 175 ns for swapcontext, which asks the kernel for the signal mask each time.
 * Under a shadow stack (x86 CET), which _longjmp cannot change, and with config.own_signal_mask, it
 * is swapcontext. The signal mask is the thread's otherwise; a handler runs on the current task's
 * stack (sigaltstack helps). AddressSanitizer and ThreadSanitizer are told of every switch.
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

#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __GLIBC__
#error "dataloader_fiber.h: needs makecontext and _longjmp as glibc has them"
#endif

/* A strict -std=c11 with <sys/mman.h> included before dataloader.h hides it. */
#ifdef MAP_ANONYMOUS
#define DLOAD_FIBER_I_ANONYMOUS MAP_ANONYMOUS
#elif defined(__x86_64__) || defined(__i386__) || defined(__aarch64__) || defined(__arm__) || \
    defined(__riscv) || defined(__powerpc__) || defined(__s390__)
#define DLOAD_FIBER_I_ANONYMOUS 0x20
#else
#error "dataloader_fiber.h: define _DEFAULT_SOURCE before the first include, for MAP_ANONYMOUS"
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DLOAD_FIBER_I_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define DLOAD_FIBER_I_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(DLOAD_FIBER_I_ASAN)
#define DLOAD_FIBER_I_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(DLOAD_FIBER_I_TSAN)
#define DLOAD_FIBER_I_TSAN 1
#endif
#ifndef DLOAD_FIBER_I_ASAN
#define DLOAD_FIBER_I_ASAN 0
#endif
#ifndef DLOAD_FIBER_I_TSAN
#define DLOAD_FIBER_I_TSAN 0
#endif
#if DLOAD_FIBER_I_ASAN
#include <sanitizer/asan_interface.h>
#endif
#if DLOAD_FIBER_I_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define DLOAD_FIBER_I_FN          __attribute__((__unused__)) static
#define DLOAD_FIBER_I_NOINLINE    __attribute__((__unused__, __noinline__)) static
#define DLOAD_FIBER_I_GUARD_BYTES ((size_t)65536)
#define DLOAD_FIBER_I_COLOURS     16u
#define DLOAD_FIBER_I_MIN_BYTES   ((size_t)16384) /* a signal's frame alone may take several KiB */

#ifdef __cplusplus
extern "C" {
#endif
/* A strict -std=c11 hides one; _FORTIFY_SOURCE takes the other for a longjmp into a frame that has
 * ended, and ends the process: this name goes past it. */
extern void dload_fiber_i_longjmp(struct __jmp_buf_tag *to, int value) __asm__("_longjmp")
    __attribute__((__noreturn__));
#ifndef __USE_XOPEN2K
extern int pthread_condattr_setclock(pthread_condattr_t *attr, int clock_id);
#endif
#ifdef __cplusplus
}
#endif

/* ---- types ---- */

/* What a scheduler is made from; zeros are the defaults. */
typedef struct dload_fiber_config {
    const dload_env *env; /* clock, memory, identity, waiting; must outlive it; NULL = the host's */
    size_t stack_bytes;   /* of each task; default 65536; 16384 ..; rounded up to pages */
    size_t max_tasks;     /* that have not ended; default 16384; beyond: DLOAD_EAGAIN */
    bool own_signal_mask; /* each task has one; every switch then costs a system call */
} dload_fiber_config;

struct dload_fiber_sched;

/* One stack and the task on it; lies at the stack's upper end. Private. */
typedef struct dload_fiber_i_task {
    struct dload_fiber_i_task *next; /* in one of: ready, yielded, a bucket, the pool */
    struct dload_fiber_i_task *next_made;
    struct dload_fiber_sched *sched;
    void (*fn)(void *arg); /* NULL = the task has ended */
    void *arg;
    const uint32_t *word; /* what it waits for: the key of the table; under the mutex */
    uint64_t until_ns;
    dload_status wait_status; /* how the wait ended */
    bool entered;             /* the stack has been entered: `at` is valid */
    char *block;              /* guard, stack, this */
    jmp_buf at;
    ucontext_t context;
    void *fake_stack; /* AddressSanitizer's */
    void *tsan;
} dload_fiber_i_task;

typedef struct dload_fiber_i_list {
    dload_fiber_i_task *head, *tail;
} dload_fiber_i_list;

/* A scheduler. Fields are private; must not move between _init and _destroy. */
typedef struct dload_fiber_sched {
    dload_env env; /* what loaders get */
    dload_env parent;
    dload_registry registry;
    size_t stack_bytes, block_bytes, max_tasks;
    size_t n_tasks; /* not ended */
    size_t n_made;  /* stacks */
    bool by_context, running, closed;
    dload_fiber_i_task *current; /* written by the owner, atomic; NULL = no task runs */
    uint64_t owner;              /* parent.self of the thread in _run; atomic */
    dload_fiber_i_task *made, *pool;
    dload_fiber_i_list yielded; /* of this turn */
    uint64_t turn_ns;           /* when the turn began */
    uint32_t seen;              /* n_wakes then */
    pthread_mutex_t mutex;      /* taken under a loader's mutex, never the other way */
    pthread_cond_t cond;        /* for sleepers, when parent.wait is NULL */
    uint32_t n_sleepers;        /* under the mutex */
    uint32_t n_wakes;           /* changed under the mutex, atomic */
    dload_fiber_i_list ready;   /* under the mutex */
    uint64_t until_ns;          /* no task's wait ends earlier by time; under the mutex */
    dload_fiber_i_task **table; /* waiting tasks by word; under the mutex */
    size_t n_buckets;           /* 2^n, >= n_made */
    jmp_buf home;               /* the thread's own stack */
    ucontext_t home_context;
    const void *home_stack;
    size_t home_bytes;
    void *home_tsan;
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

/* ---- small things ---- */

DLOAD_FIBER_I_FN uint64_t dload_fiber_i_parent_now(dload_fiber_sched *s)
{
    return s->parent.now != NULL ? s->parent.now(s->parent.ctx) : 0;
}

DLOAD_FIBER_I_FN uint64_t dload_fiber_i_parent_self(dload_fiber_sched *s)
{
    return s->parent.self != NULL ? s->parent.self(s->parent.ctx) : 1;
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

/* The task that the caller is, or NULL: another thread, or between tasks. */
DLOAD_FIBER_I_FN dload_fiber_i_task *dload_fiber_i_here(dload_fiber_sched *s)
{
    dload_fiber_i_task *t = __atomic_load_n(&s->current, __ATOMIC_RELAXED);
    if (t == NULL || __atomic_load_n(&s->owner, __ATOMIC_RELAXED) != dload_fiber_i_parent_self(s))
        return NULL;
    return t;
}

/* Words lie at equal places in stacks of equal size: the multiplication tells them apart. */
DLOAD_FIBER_I_FN dload_fiber_i_task **dload_fiber_i_bucket(dload_fiber_sched *s,
                                                           const uint32_t *word)
{
    uint64_t h = (uint64_t)(uintptr_t)word * UINT64_C(0x9e3779b97f4a7c15);
    return &s->table[(size_t)(h >> 32) & (s->n_buckets - 1)];
}

/* ---- switching ---- */

/* Is there a second stack of return addresses that _longjmp would have to unwind? */
DLOAD_FIBER_I_FN bool dload_fiber_i_shadow_stack(void)
{
#if defined(__x86_64__)
    uint64_t at = 0;
    __asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8" : "+a"(at)); /* rdsspq; else a nop */
    return at != 0;
#elif defined(__ARM_FEATURE_GCS_DEFAULT)
    return true;
#else
    return false;
#endif
}

/* Leaves from, returns when somebody jumps there. A function of its own, without variables that
 * could be in registers across the second return. */
DLOAD_FIBER_I_NOINLINE void dload_fiber_i_jump(struct __jmp_buf_tag *from, struct __jmp_buf_tag *to)
{
    if (_setjmp(from) == 0)
        dload_fiber_i_longjmp(to, 1);
}

DLOAD_FIBER_I_NOINLINE void dload_fiber_i_enter(struct __jmp_buf_tag *from, const ucontext_t *to)
{
    if (_setjmp(from) == 0)
        (void)setcontext(to);
}

/* The same with the signal mask; not called swapcontext where AddressSanitizer would warn of it. */
DLOAD_FIBER_I_NOINLINE void dload_fiber_i_swap(ucontext_t *from, const ucontext_t *to)
{
#if DLOAD_FIBER_I_ASAN
    volatile bool left = false;
    (void)getcontext(from);
    if (!left) {
        left = true;
        (void)setcontext(to);
    }
#else
    (void)swapcontext(from, to);
#endif
}

/* From a task to the thread's own stack; returns when the scheduler comes back to the task. */
DLOAD_FIBER_I_NOINLINE void dload_fiber_i_leave(dload_fiber_i_task *t)
{
    dload_fiber_sched *s = t->sched;
#if DLOAD_FIBER_I_ASAN
    t->fake_stack = NULL; /* of a task that has ended it is released */
    __sanitizer_start_switch_fiber(t->fn != NULL ? &t->fake_stack : NULL, s->home_stack,
                                   s->home_bytes);
#endif
#if DLOAD_FIBER_I_TSAN
    __tsan_switch_to_fiber(s->home_tsan, 0);
#endif
    if (s->by_context)
        dload_fiber_i_swap(&t->context, &s->home_context);
    else
        dload_fiber_i_jump(t->at, s->home);
#if DLOAD_FIBER_I_ASAN
    __sanitizer_finish_switch_fiber(t->fake_stack, &s->home_stack, &s->home_bytes);
#endif
}

/* The lowest frame of every stack; makecontext hands over ints only. */
DLOAD_FIBER_I_FN void dload_fiber_i_main(unsigned high, unsigned low)
{
    dload_fiber_i_task *t =
        (dload_fiber_i_task *)((uintptr_t)high << (sizeof(uintptr_t) * 4) | (uintptr_t)low);
#if DLOAD_FIBER_I_ASAN
    __sanitizer_finish_switch_fiber(NULL, &t->sched->home_stack, &t->sched->home_bytes);
#endif
    for (;;) {
        t->fn(t->arg);
        t->fn = NULL;
        dload_fiber_i_leave(t); /* until the stack has its next task */
    }
}

DLOAD_FIBER_I_FN void dload_fiber_i_prepare(dload_fiber_i_task *t)
{
    uintptr_t at = (uintptr_t)t;
    unsigned n_half = (unsigned)(sizeof(uintptr_t) * 4);
    char *stack = t->block + DLOAD_FIBER_I_GUARD_BYTES;
#if DLOAD_FIBER_I_ASAN
    __asan_unpoison_memory_region(stack, (size_t)((char *)t - stack)); /* the last task's frames */
#endif
    (void)getcontext(&t->context); /* with the signal mask of this moment */
    t->context.uc_stack.ss_sp = stack;
    t->context.uc_stack.ss_size = (size_t)((char *)t - stack);
    t->context.uc_link = NULL;
    makecontext(&t->context, (void (*)(void))dload_fiber_i_main, 2, (unsigned)(at >> n_half),
                (unsigned)(at & (((uintptr_t)1 << n_half) - 1)));
}

/* Lets a task go on until it waits or ends. */
DLOAD_FIBER_I_NOINLINE void dload_fiber_i_resume(dload_fiber_sched *s, dload_fiber_i_task *t)
{
    bool enter = !t->entered;
    t->entered = true;
    if (enter)
        dload_fiber_i_prepare(t);
    __atomic_store_n(&s->current, t, __ATOMIC_RELAXED);
#if DLOAD_FIBER_I_ASAN
    void *fake_stack = NULL;
    char *stack = t->block + DLOAD_FIBER_I_GUARD_BYTES;
    __sanitizer_start_switch_fiber(&fake_stack, stack, (size_t)((char *)t - stack));
#endif
#if DLOAD_FIBER_I_TSAN
    s->home_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(t->tsan, 0);
#endif
    if (s->by_context)
        dload_fiber_i_swap(&s->home_context, &t->context);
    else if (enter)
        dload_fiber_i_enter(s->home, &t->context);
    else
        dload_fiber_i_jump(s->home, t->at);
#if DLOAD_FIBER_I_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
#endif
    __atomic_store_n(&s->current, NULL, __ATOMIC_RELAXED);
    if (t->fn != NULL)
        return;
    t->entered = !s->by_context; /* the next task there gets a fresh signal mask */
    t->next = s->pool;
    s->pool = t;
    s->n_tasks--;
}

/* ---- stacks ---- */

/* Room in the table for one more task. */
DLOAD_FIBER_I_FN bool dload_fiber_i_grow(dload_fiber_sched *s)
{
    if (s->n_made < s->n_buckets)
        return true;
    size_t n_old = s->n_buckets;
    size_t n = n_old == 0 ? 64 : n_old * 2;
    dload_fiber_i_task **old = s->table;
    dload_fiber_i_task **table =
        (dload_fiber_i_task **)s->parent.alloc(s->parent.ctx, n * sizeof *table);
    if (table == NULL)
        return false;
    memset(table, 0, n * sizeof *table);
    (void)pthread_mutex_lock(&s->mutex);
    s->table = table;
    s->n_buckets = n;
    for (size_t i = 0; i < n_old; i++) {
        for (dload_fiber_i_task *t = old[i], *next = NULL; t != NULL; t = next) {
            next = t->next;
            dload_fiber_i_task **at = dload_fiber_i_bucket(s, t->word);
            t->next = *at;
            *at = t;
        }
    }
    (void)pthread_mutex_unlock(&s->mutex);
    if (old != NULL)
        s->parent.free(s->parent.ctx, old, n_old * sizeof *old);
    return true;
}

/* A stack with a guard below and the task's record above; NULL when there is no memory. */
DLOAD_FIBER_I_FN dload_fiber_i_task *dload_fiber_i_make(dload_fiber_sched *s)
{
    if (!dload_fiber_i_grow(s))
        return NULL;
    void *block =
        mmap(NULL, s->block_bytes, PROT_NONE, MAP_PRIVATE | DLOAD_FIBER_I_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return NULL;
    char *stack = (char *)block + DLOAD_FIBER_I_GUARD_BYTES;
    if (mprotect(stack, s->block_bytes - DLOAD_FIBER_I_GUARD_BYTES, PROT_READ | PROT_WRITE) != 0) {
        (void)munmap(block, s->block_bytes);
        return NULL;
    }
    /* Else the tops of all stacks would share a few sets of the processor's cache: 10,000 tasks
     * took twice as long a load. */
    char *end = (char *)block + s->block_bytes - s->n_made % DLOAD_FIBER_I_COLOURS * 256;
    dload_fiber_i_task *t = (dload_fiber_i_task *)(void *)(end - ((sizeof *t + 63) & ~(size_t)63));
    t->sched = s; /* the rest is zero, as fresh pages are */
    t->block = (char *)block;
#if DLOAD_FIBER_I_TSAN
    t->tsan = __tsan_create_fiber(0);
#endif
    t->next_made = s->made;
    s->made = t;
    s->n_made++;
    return t;
}

/* ---- waiting ---- */

/* Sleeps until somebody wakes or until_ns, 100 ms at a time: the clock of the env may be another
 * than the system's. The mutex is held before and after. */
DLOAD_FIBER_I_FN void dload_fiber_i_sleep(dload_fiber_sched *s, uint64_t until_ns)
{
    const dload_env *host = dload_env_default();
    uint64_t span_ns = 100 * DLOAD_MILLISECOND;
    if (until_ns != DLOAD_NEVER && s->parent.now != NULL) {
        uint64_t now_ns = dload_fiber_i_parent_now(s);
        uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
        span_ns = left_ns < span_ns ? left_ns : span_ns;
    }
    uint64_t end_ns = host->now(host->ctx) + span_ns;
    struct timespec ts;
    ts.tv_sec = (time_t)(end_ns / DLOAD_SECOND);
    ts.tv_nsec = (long)(end_ns % DLOAD_SECOND);
    s->n_sleepers++;
    (void)pthread_cond_timedwait(&s->cond, &s->mutex, &ts);
    s->n_sleepers--;
}

/* env->wait for who is no task: a fetch function, another thread. */
DLOAD_FIBER_I_FN dload_status dload_fiber_i_wait_thread(dload_fiber_sched *s, const uint32_t *word,
                                                        uint32_t seen, uint64_t until_ns)
{
    if (s->parent.wait != NULL)
        return s->parent.wait(s->parent.ctx, word, seen, until_ns);
    (void)pthread_mutex_lock(&s->mutex);
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen)
        dload_fiber_i_sleep(s, until_ns);
    (void)pthread_mutex_unlock(&s->mutex);
    return DLOAD_OK;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_i_wait(void *ctx, const uint32_t *word, uint32_t seen,
                                                 uint64_t until_ns)
{
    dload_fiber_sched *s = (dload_fiber_sched *)ctx;
    dload_fiber_i_task *t = dload_fiber_i_here(s);
    if (t == NULL)
        return dload_fiber_i_wait_thread(s, word, seen, until_ns);
    if (s->closed)
        return DLOAD_ECANCELED;
    /* A wait whose time has come already is for others to act in: it must not keep this turn busy. */
    if (until_ns <= s->turn_ns)
        until_ns = s->turn_ns + DLOAD_MILLISECOND;
    (void)pthread_mutex_lock(&s->mutex);
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) !=
        seen) { /* woken before it was here to be found */
        (void)pthread_mutex_unlock(&s->mutex);
        return DLOAD_OK;
    }
    dload_fiber_i_task **at = dload_fiber_i_bucket(s, word);
    t->word = word;
    t->until_ns = until_ns;
    t->wait_status = DLOAD_OK;
    t->next = *at;
    *at = t;
    if (until_ns < s->until_ns)
        s->until_ns = until_ns;
    (void)pthread_mutex_unlock(&s->mutex);
    dload_fiber_i_leave(t);
    return t->wait_status;
}

/* Tells who sleeps that something happened; releases the mutex. */
DLOAD_FIBER_I_FN void dload_fiber_i_notify(dload_fiber_sched *s, const uint32_t *word)
{
    __atomic_store_n(&s->n_wakes, s->n_wakes + 1, __ATOMIC_RELEASE);
    if (s->n_sleepers != 0)
        (void)pthread_cond_broadcast(&s->cond);
    (void)pthread_mutex_unlock(&s->mutex);
    if (s->parent.wake != NULL)
        s->parent.wake(s->parent.ctx, word);
}

/* Any thread, under the loader's mutex. */
DLOAD_FIBER_I_FN void dload_fiber_i_wake(void *ctx, const uint32_t *word)
{
    dload_fiber_sched *s = (dload_fiber_sched *)ctx;
    bool found = false;
    (void)pthread_mutex_lock(&s->mutex);
    dload_fiber_i_task **at = s->n_buckets != 0 ? dload_fiber_i_bucket(s, word) : NULL;
    while (at != NULL && *at != NULL) {
        dload_fiber_i_task *t = *at;
        if (t->word != word) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        dload_fiber_i_push(&s->ready, t);
        found = true;
    }
    dload_fiber_i_notify(s, found ? &s->n_wakes : word);
}

/* Ends the waits whose time has come; with st < 0 all of them, with st. */
DLOAD_FIBER_I_FN void dload_fiber_i_end_waits(dload_fiber_sched *s, uint64_t now_ns,
                                              dload_status st)
{
    (void)pthread_mutex_lock(&s->mutex);
    size_t n = now_ns < s->until_ns && st >= 0 ? 0 : s->n_buckets;
    if (n != 0)
        s->until_ns = DLOAD_NEVER;
    for (size_t i = 0; i < n; i++) {
        dload_fiber_i_task **at = &s->table[i];
        while (*at != NULL) {
            dload_fiber_i_task *t = *at;
            if (t->until_ns > now_ns && st >= 0) {
                s->until_ns = t->until_ns < s->until_ns ? t->until_ns : s->until_ns;
                at = &t->next;
                continue;
            }
            *at = t->next;
            t->wait_status = st;
            dload_fiber_i_push(&s->ready, t);
        }
    }
    (void)pthread_mutex_unlock(&s->mutex);
}

/* ---- the env of the loaders ---- */

DLOAD_FIBER_I_FN uint64_t dload_fiber_i_now(void *ctx)
{
    const dload_env *parent = &((dload_fiber_sched *)ctx)->parent;
    return parent->now(parent->ctx);
}

DLOAD_FIBER_I_FN void *dload_fiber_i_alloc(void *ctx, size_t n_bytes)
{
    const dload_env *parent = &((dload_fiber_sched *)ctx)->parent;
    return parent->alloc(parent->ctx, n_bytes);
}

DLOAD_FIBER_I_FN void dload_fiber_i_free(void *ctx, void *p, size_t n_bytes)
{
    const dload_env *parent = &((dload_fiber_sched *)ctx)->parent;
    parent->free(parent->ctx, p, n_bytes);
}

DLOAD_FIBER_I_FN uint64_t dload_fiber_i_random(void *ctx)
{
    const dload_env *parent = &((dload_fiber_sched *)ctx)->parent;
    return parent->random(parent->ctx);
}

/* A task is known by its address, which is no thread's. */
DLOAD_FIBER_I_FN uint64_t dload_fiber_i_self(void *ctx)
{
    dload_fiber_sched *s = (dload_fiber_sched *)ctx;
    dload_fiber_i_task *t = dload_fiber_i_here(s);
    return t != NULL ? (uint64_t)(uintptr_t)t : dload_fiber_i_parent_self(s);
}

DLOAD_FIBER_I_FN bool dload_fiber_i_parks(void *ctx)
{
    return dload_fiber_i_here((dload_fiber_sched *)ctx) != NULL;
}

/* ---- running ---- */

/* Lets every task go on that can, until none can. */
DLOAD_FIBER_I_FN void dload_fiber_i_run_ready(dload_fiber_sched *s)
{
    for (;;) {
        (void)pthread_mutex_lock(&s->mutex);
        dload_fiber_i_task *t = s->ready.head;
        s->ready.head = s->ready.tail = NULL;
        (void)pthread_mutex_unlock(&s->mutex);
        if (t == NULL)
            return;
        while (t != NULL) {
            dload_fiber_i_task *next = t->next;
            dload_fiber_i_resume(s, t);
            t = next;
        }
    }
}

DLOAD_FIBER_I_FN bool dload_fiber_i_any_ready(dload_fiber_sched *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    bool any = s->ready.head != NULL;
    (void)pthread_mutex_unlock(&s->mutex);
    return any;
}

/* Who has yielded goes on; returns whether anybody is ready. */
DLOAD_FIBER_I_FN bool dload_fiber_i_next_turn(dload_fiber_sched *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    if (s->yielded.head != NULL) {
        if (s->ready.tail != NULL)
            s->ready.tail->next = s->yielded.head;
        else
            s->ready.head = s->yielded.head;
        s->ready.tail = s->yielded.tail;
        s->yielded.head = s->yielded.tail = NULL;
    }
    bool any = s->ready.head != NULL;
    (void)pthread_mutex_unlock(&s->mutex);
    return any;
}

/* Turns until all tasks wait for what comes from elsewhere, or have ended. One round of the
 * registry a turn: who was answered in it goes on before the next, so that what callbacks and tasks
 * ask for next goes together. */
DLOAD_FIBER_I_FN void dload_fiber_i_turns(dload_fiber_sched *s)
{
    bool sent;
    do {
        s->turn_ns = dload_fiber_i_parent_now(s);
        s->seen = __atomic_load_n(&s->n_wakes, __ATOMIC_ACQUIRE);
        dload_fiber_i_run_ready(s);
        dload_fiber_i_end_waits(s, dload_fiber_i_parent_now(s), DLOAD_OK);
        sent = !dload_fiber_i_any_ready(s) && dload_registry_round(&s->registry, NULL);
    } while (dload_fiber_i_next_turn(s) || sent);
}

/* Nothing to do here: waits for an answer, a poke or a deadline. */
DLOAD_FIBER_I_FN dload_status dload_fiber_i_idle(dload_fiber_sched *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    uint64_t until_ns = s->until_ns;
    bool quiet = s->n_wakes == s->seen; /* since the turn began, dispatches included */
    if (quiet && s->parent.wait == NULL)
        dload_fiber_i_sleep(s, until_ns);
    (void)pthread_mutex_unlock(&s->mutex);
    if (!quiet || s->parent.wait == NULL)
        return DLOAD_OK;
    return s->parent.wait(s->parent.ctx, &s->n_wakes, s->seen, until_ns);
}

/* Makes this thread the one whose tasks run; false when they run already. */
DLOAD_FIBER_I_FN bool dload_fiber_i_begin(dload_fiber_sched *s)
{
    if (s->running)
        return false;
    s->running = true;
    __atomic_store_n(&s->owner, dload_fiber_i_parent_self(s), __ATOMIC_RELAXED);
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
        dload_status st = dload_fiber_i_idle(s);
        if (st < 0)
            dload_fiber_i_end_waits(s, 0, st);
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
    if (s->n_tasks == 0)
        return DLOAD_NEVER;
    (void)pthread_mutex_lock(&s->mutex);
    uint64_t at_ns = s->ready.head != NULL ? 0 : s->until_ns;
    (void)pthread_mutex_unlock(&s->mutex);
    return at_ns;
}

DLOAD_FIBER_I_FN void dload_fiber_yield(dload_fiber_sched *s)
{
    dload_fiber_i_task *t = dload_fiber_i_here(s);
    if (t == NULL)
        return;
    dload_fiber_i_push(&s->yielded, t);
    dload_fiber_i_leave(t);
}

DLOAD_FIBER_I_FN void dload_fiber_poke(void *sched)
{
    dload_fiber_sched *s = (dload_fiber_sched *)sched;
    (void)pthread_mutex_lock(&s->mutex);
    dload_fiber_i_notify(s, &s->n_wakes);
}

/* ---- life ---- */

DLOAD_FIBER_I_FN bool dload_fiber_i_sync_init(dload_fiber_sched *s)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attr, 1 /* CLOCK_MONOTONIC, hidden by strict C */) == 0 &&
              pthread_cond_init(&s->cond, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    if (ok && pthread_mutex_init(&s->mutex, NULL) != 0) {
        (void)pthread_cond_destroy(&s->cond);
        return false;
    }
    return ok;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_init(dload_fiber_sched *s,
                                               const dload_fiber_config *config)
{
    if (s == NULL)
        return DLOAD_EINVAL;
    memset(s, 0, sizeof *s);
    const dload_env *parent = dload_env_default();
    s->stack_bytes = 65536;
    s->max_tasks = 16384;
    s->by_context = dload_fiber_i_shadow_stack();
    if (config != NULL) {
        parent = config->env != NULL ? config->env : parent;
        s->stack_bytes = config->stack_bytes != 0 ? config->stack_bytes : s->stack_bytes;
        s->max_tasks = config->max_tasks != 0 ? config->max_tasks : s->max_tasks;
        s->by_context = s->by_context || config->own_signal_mask;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t more = sizeof(dload_fiber_i_task) + 64 + DLOAD_FIBER_I_COLOURS * 256 + page;
    if (s->stack_bytes < DLOAD_FIBER_I_MIN_BYTES ||
        s->stack_bytes > SIZE_MAX / 2 - more - DLOAD_FIBER_I_GUARD_BYTES || parent->alloc == NULL ||
        parent->free == NULL || (parent->now == NULL && parent->wait == NULL))
        return DLOAD_EINVAL;
    s->block_bytes = DLOAD_FIBER_I_GUARD_BYTES + ((s->stack_bytes + more - 1) & ~(page - 1));
    s->parent = *parent;
    s->until_ns = DLOAD_NEVER;
    s->env.now = parent->now != NULL ? dload_fiber_i_now : NULL;
    s->env.alloc = dload_fiber_i_alloc;
    s->env.free = dload_fiber_i_free;
    s->env.random = parent->random != NULL ? dload_fiber_i_random : NULL;
    s->env.self = dload_fiber_i_self;
    s->env.wait = dload_fiber_i_wait;
    s->env.wake = dload_fiber_i_wake;
    s->env.parks = dload_fiber_i_parks;
    s->env.ctx = s;
    dload_registry_init(&s->registry);
    if (!dload_fiber_i_sync_init(s)) {
        s->parent.alloc = NULL; /* not initialised, for _destroy */
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
    t->fn = fn;
    t->arg = arg;
    s->n_tasks++;
    (void)pthread_mutex_lock(&s->mutex);
    dload_fiber_i_push(&s->ready, t);
    (void)pthread_mutex_unlock(&s->mutex);
    return DLOAD_OK;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_close(dload_fiber_sched *s)
{
    if (!dload_fiber_i_begin(s))
        return DLOAD_EBUSY;
    s->closed = true; /* from here on no wait parks, so that every task comes to its end */
    dload_fiber_i_end_waits(s, 0, DLOAD_ECANCELED);
    do
        dload_fiber_i_run_ready(s);
    while (dload_fiber_i_next_turn(s));
    s->running = false;
    return DLOAD_OK;
}

DLOAD_FIBER_I_FN dload_status dload_fiber_destroy(dload_fiber_sched *s)
{
    if (s->parent.alloc == NULL)
        return DLOAD_OK; /* never initialised, or destroyed before */
    if (s->running || s->n_tasks != 0)
        return DLOAD_EBUSY;
    while (s->made != NULL) {
        dload_fiber_i_task *t = s->made;
        s->made = t->next_made;
#if DLOAD_FIBER_I_TSAN
        __tsan_destroy_fiber(t->tsan);
#endif
#if DLOAD_FIBER_I_ASAN
        __asan_unpoison_memory_region(t->block, s->block_bytes); /* for who maps it next */
#endif
        (void)munmap(t->block, s->block_bytes);
    }
    if (s->table != NULL)
        s->parent.free(s->parent.ctx, s->table, s->n_buckets * sizeof *s->table);
    (void)pthread_cond_destroy(&s->cond);
    (void)pthread_mutex_destroy(&s->mutex);
    memset(s, 0, sizeof *s);
    return DLOAD_OK;
}

#endif /* DATALOADER_FIBER_H */
