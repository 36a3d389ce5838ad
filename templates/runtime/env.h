/* >>env -- what a loader needs from the outside: clock, memory, chance, identity and waiting.
 *
 * One run-time struct, so that tests, fibers and firmware bring their own; a member that is NULL is
 * a thing the loader does without.
 */
#ifndef DLOAD_I_ENV_H
#define DLOAD_I_ENV_H

#include "port.h"
#include "status.h"

typedef struct dload_env {
    uint64_t (*now)(void *ctx); /* monotonic, ns; NULL = time stands still at what _process said */
    void *(*alloc)(void *ctx, size_t n_bytes); /* aligned as malloc; NULL result = none left */
    void (*free)(void *ctx, void *p, size_t n_bytes); /* p is not NULL; n_bytes as allocated */
    uint64_t (*random)(void *ctx); /* for TTL jitter; NULL = a fixed sequence. With
                                    DLOAD_HASH_SIP also for secrets; NULL = the system's */
    uint64_t (*self)(void *ctx); /* who is calling: a thread or a fiber, never 0; NULL = only one */
    /* Blocks, or pumps what completes batches, until *word may differ from seen or it is until_ns;
     * may return early. DLOAD_OK, or an error that ends the wait. NULL = the lock's own way. */
    dload_status (*wait)(void *ctx, const uint32_t *word, uint32_t seen, uint64_t until_ns);
    void (*wake)(void *ctx, const uint32_t *word); /* ends waits on word; NULL = nothing to do */
    /* May the current caller be parked in wait, so that other callers of the same thread go on? Then a
     * blocking call sends nothing by itself: whoever runs the callers dispatches when all of them
     * wait (see registry.h). NULL = never. */
    bool (*parks)(void *ctx);
    void *ctx; /* handed to each of these */
} dload_env;

/* How a close treats what is still queued. */
typedef enum dload_close_mode {
    DLOAD_DRAIN = 1, /* send it and deliver it */
    DLOAD_FAIL = 2   /* end it with DLOAD_ECLOSED */
} dload_close_mode;

/* Options of one call; zeros are the defaults. */
typedef struct dload_call {
    uint64_t deadline_ns; /* absolute, in _now() time; 0 = config.timeout_ns from now */
    uint32_t flags;       /* DLOAD_FRESH: do not take the answer from the cache */
    uint64_t group;       /* DLOAD_GROUP 1: the keys' group; without it only 0 is allowed */
} dload_call;

/* What _peek found. */
typedef enum dload_state {
    DLOAD_STATE_ABSENT = 0,
    DLOAD_STATE_QUEUED = 1,    /* asked for, not sent */
    DLOAD_STATE_IN_FLIGHT = 2, /* being fetched */
    DLOAD_STATE_READY = 3,
    DLOAD_STATE_STALE = 4, /* past its TTL, still allowed */
    DLOAD_STATE_ERROR = 5  /* an error is cached */
} dload_state;

/* Why a value left the cache, or did not get into it; see config.on_remove. */
typedef enum dload_removal {
    DLOAD_REMOVED_EVICTED = 1,  /* the policy made room */
    DLOAD_REMOVED_EXPIRED = 2,  /* its TTL had passed, whatever it was then removed for */
    DLOAD_REMOVED_REPLACED = 3, /* another value came for its key, were it to be refused itself */
    DLOAD_REMOVED_CLEARED = 4,  /* _clear and its kin, _cache_delete */
    DLOAD_REMOVED_REJECTED = 5, /* never got in: too heavy, no room, or no memory */
    DLOAD_REMOVED_DESTROYED = 6 /* the cache ended */
} dload_removal;

/* A moment in the history of clears; see _token and _put_if. */
typedef uint64_t dload_token;

DLOAD_I_LOCAL uint64_t dload_i_now(const dload_env *env)
{
    return env->now != NULL ? env->now(env->ctx) : 0;
}

DLOAD_I_LOCAL void *dload_i_alloc(const dload_env *env, size_t n_bytes)
{
    return env->alloc != NULL ? env->alloc(env->ctx, n_bytes) : NULL;
}

DLOAD_I_LOCAL void dload_i_free(const dload_env *env, void *p, size_t n_bytes)
{
    if (p != NULL)
        env->free(env->ctx, p, n_bytes);
}

DLOAD_I_LOCAL uint64_t dload_i_self(const dload_env *env)
{
    return env->self != NULL ? env->self(env->ctx) : 1;
}

DLOAD_I_LOCAL bool dload_i_parks(const dload_env *env)
{
    return env->parks != NULL && env->wait != NULL && env->parks(env->ctx);
}

#if DLOAD_FREESTANDING

/* Freestanding: no clock and no memory; a loader gets an env of the caller's own. */
DLOAD_I_LOCAL const dload_env *dload_env_default(void)
{
    static const dload_env none = {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    return &none;
}

#else

#include <stdlib.h>
#include <time.h>
#ifdef _WIN32
#error "dataloader.h: Windows is not supported yet"
#endif

#ifndef CLOCK_MONOTONIC
/* A strict -std=c11 with <time.h> included before us hid these; the C library has them all the same. */
#define DLOAD_I_CLOCK_PRECISE 1
#define DLOAD_I_CLOCK_COARSE  6
#ifdef __cplusplus
extern "C" {
#endif
int clock_gettime(int clock_id, struct timespec *ts);
int nanosleep(const struct timespec *wanted, struct timespec *left);
#ifdef __cplusplus
}
#endif
#else
#define DLOAD_I_CLOCK_PRECISE CLOCK_MONOTONIC
#ifdef CLOCK_MONOTONIC_COARSE
#define DLOAD_I_CLOCK_COARSE CLOCK_MONOTONIC_COARSE
#elif defined(__linux__)
#define DLOAD_I_CLOCK_COARSE 6
#else
#define DLOAD_I_CLOCK_COARSE CLOCK_MONOTONIC
#endif
#endif

/* 22 ns on the machine this was measured on; exact. */
DLOAD_I_LOCAL uint64_t dload_i_clock_precise(void *ctx)
{
    struct timespec ts;
    (void)ctx;
    (void)clock_gettime(DLOAD_I_CLOCK_PRECISE, &ts);
    return (uint64_t)ts.tv_sec * DLOAD_SECOND + (uint64_t)ts.tv_nsec;
}

/* 5 ns there; behind by up to one tick of the kernel, 1 to 10 ms. */
DLOAD_I_LOCAL uint64_t dload_i_clock_coarse(void *ctx)
{
    struct timespec ts;
    (void)ctx;
    (void)clock_gettime(DLOAD_I_CLOCK_COARSE, &ts);
    return (uint64_t)ts.tv_sec * DLOAD_SECOND + (uint64_t)ts.tv_nsec;
}

/* Gives the processor away for about so long; less than a second. */
DLOAD_I_LOCAL void dload_i_nap(uint64_t span_ns)
{
    struct timespec ts;
    ts.tv_sec = 0;
    ts.tv_nsec = (long)span_ns;
    (void)nanosleep(&ts, NULL);
}

/* Blocks of four million bytes and more, the tables of large caches, begin on a large page and ask for such:
 * a hit somewhere in a table of many megabytes otherwise waits for an address translation too. Advice is all it
 * is: where the kernel has none to give, or the allocator no such place, the block is an ordinary one. */
#if DLOAD_LARGE_PAGES && defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define DLOAD_I_LARGE_PAGE ((size_t)1 << 21)
#include <sys/mman.h>
#ifdef MADV_HUGEPAGE
#define DLOAD_I_ADVICE MADV_HUGEPAGE
#elif !defined(__cplusplus)
#define DLOAD_I_ADVICE 14 /* hidden by a strict -std=c11, like the clock above */
int madvise(void *p, size_t n_bytes, int advice);
#endif
#endif

#ifdef DLOAD_I_ADVICE
DLOAD_I_LOCAL void *dload_i_large_alloc(size_t n_bytes)
{
    const size_t last = DLOAD_I_LARGE_PAGE - 1;
    void *p = n_bytes > SIZE_MAX - last
                  ? NULL
                  : aligned_alloc(DLOAD_I_LARGE_PAGE, (n_bytes + last) & ~last);
    if (p != NULL)
        (void)madvise(p, n_bytes & ~last, DLOAD_I_ADVICE);
    return p;
}
#endif

DLOAD_I_COLD void *dload_i_host_alloc(void *ctx, size_t n_bytes)
{
    void *p = NULL;
    (void)ctx;
#ifdef DLOAD_I_ADVICE
    if (n_bytes >= 2 * DLOAD_I_LARGE_PAGE)
        p = dload_i_large_alloc(n_bytes);
#endif
    return p != NULL ? p : malloc(n_bytes);
}

DLOAD_I_LOCAL void dload_i_host_free(void *ctx, void *p, size_t n_bytes)
{
    (void)ctx;
    (void)n_bytes;
    free(p);
}

/* A thread is known by the address of a variable of its own. */
DLOAD_I_LOCAL uint64_t dload_i_host_self(void *ctx)
{
#if DLOAD_I_ONE_THREAD
    static char mine;
#else
    static __thread char mine;
#endif
    (void)ctx;
    return (uint64_t)(uintptr_t)&mine;
}

/* The host's monotonic clock, malloc and threads. Constant, never NULL. */
DLOAD_I_LOCAL const dload_env *dload_env_default(void)
{
    static const dload_env host = {dload_i_clock_precise,
                                   dload_i_host_alloc,
                                   dload_i_host_free,
                                   NULL,
                                   dload_i_host_self,
                                   NULL,
                                   NULL,
                                   NULL,
                                   NULL};
    return &host;
}

#endif /* DLOAD_FREESTANDING */

#endif /* DLOAD_I_ENV_H */
