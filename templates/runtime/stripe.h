/* >>stripe -- counters that many threads raise at once: each thread has a cache line to itself.
 *
 * A hit without the lock may write nothing that another thread's hit looks at. The first fifteen threads
 * that are alive at once own a stripe each and raise it with a load and a store; whoever comes later
 * shares the last one, with an atomic addition. A thread gives its stripe back when it ends.
 */
#ifndef DLOAD_I_STRIPE_H
#define DLOAD_I_STRIPE_H

#include "port.h"

#define DLOAD_I_STRIPES 16u /* the last is shared */

typedef struct dload_i_stripe {
    uint64_t n;
    char apart[64 - sizeof(uint64_t)];
} dload_i_stripe;

DLOAD_I_LOCAL uint64_t dload_i_stripe_sum(const dload_i_stripe *stripes)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < DLOAD_I_STRIPES; i++)
        sum += DLOAD_I_LOAD_RELAXED(&stripes[i].n);
    return sum;
}

#endif /* DLOAD_I_STRIPE_H */

/* For loaders with a lock only: nobody else gets <pthread.h>. */
#if defined(DLOAD_I_LOCKLESS) && DLOAD_I_LOCKLESS && !defined(DLOAD_I_STRIPE_COUNT_H)
#define DLOAD_I_STRIPE_COUNT_H
#if DLOAD_FREESTANDING

DLOAD_I_INLINE void dload_i_stripe_count(dload_i_stripe *stripes)
{
    (void)__atomic_add_fetch(&stripes[DLOAD_I_STRIPES - 1].n, 1u, __ATOMIC_RELAXED);
}

#else

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Shared by all translation units of a program: which stripes have an owner, and this thread's number,
 * counted from 1; 0 = not asked yet. */
__attribute__((__weak__)) uint32_t dload_i_stripes_owned;
__attribute__((__weak__)) __thread uint32_t dload_i_stripe_mine;
#ifdef __cplusplus
}
#endif

DLOAD_I_UNUSED static pthread_key_t dload_i_stripe_key;
DLOAD_I_UNUSED static bool dload_i_stripe_has_key;

/* A thread ends; destructors that run after this one may still load. */
DLOAD_I_UNUSED static void dload_i_stripe_end(void *arg)
{
    uint32_t mine = (uint32_t)(uintptr_t)arg;
    dload_i_stripe_mine = DLOAD_I_STRIPES;
    (void)__atomic_and_fetch(&dload_i_stripes_owned, ~(UINT32_C(1) << (mine - 1)),
                             __ATOMIC_RELEASE);
}

DLOAD_I_UNUSED static void dload_i_stripe_once(void)
{
    dload_i_stripe_has_key = pthread_key_create(&dload_i_stripe_key, dload_i_stripe_end) == 0;
}

/* This thread's first count: finds a stripe without an owner, or the shared one. */
DLOAD_I_LOCAL uint32_t dload_i_stripe_claim(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, dload_i_stripe_once);
    uint32_t owned = DLOAD_I_LOAD_RELAXED(&dload_i_stripes_owned);
    uint32_t mine = 0;
    for (;;) {
        for (mine = 1; mine < DLOAD_I_STRIPES && (owned >> (mine - 1) & 1u) != 0; mine++) {
        }
        if (mine == DLOAD_I_STRIPES || !dload_i_stripe_has_key)
            return DLOAD_I_STRIPES;
        if (__atomic_compare_exchange_n(&dload_i_stripes_owned, &owned,
                                        owned | (UINT32_C(1) << (mine - 1)), false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            break;
    }
    if (pthread_setspecific(dload_i_stripe_key, (void *)(uintptr_t)mine) == 0)
        return mine;
    (void)__atomic_and_fetch(&dload_i_stripes_owned, ~(UINT32_C(1) << (mine - 1)),
                             __ATOMIC_RELEASE);
    return DLOAD_I_STRIPES;
}

DLOAD_I_NOINLINE void dload_i_stripe_slow(dload_i_stripe *stripes)
{
    if (dload_i_stripe_mine == 0)
        dload_i_stripe_mine = dload_i_stripe_claim();
    (void)__atomic_add_fetch(&stripes[dload_i_stripe_mine - 1].n, 1u, __ATOMIC_RELAXED);
}

DLOAD_I_INLINE void dload_i_stripe_count(dload_i_stripe *stripes)
{
    uint32_t at = dload_i_stripe_mine - 1;
    if (DLOAD_I_UNLIKELY(at >= DLOAD_I_STRIPES - 1)) {
        dload_i_stripe_slow(stripes);
        return;
    }
    DLOAD_I_STORE_RELAXED(&stripes[at].n, DLOAD_I_LOAD_RELAXED(&stripes[at].n) + 1);
}

#endif
#endif /* DLOAD_I_LOCKLESS */
