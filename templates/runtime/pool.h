/* >>pool -- an allocator over one block, for loaders that live as long as a request.
 *
 * A loader made and destroyed per request asks for the same few blocks each time. A pool hands them
 * out by advancing a pointer and takes everything back at once: no malloc, no search, no list.
 */
#ifndef DLOAD_I_POOL_H
#define DLOAD_I_POOL_H

#include "env.h"

typedef struct dload_pool {
    dload_env env; /* pass &pool.env as config.env; its clock and waiting are the parent's */
    char *block;
    size_t cap_bytes;
    size_t n_used_bytes;
    size_t high_bytes; /* the most that was ever in use, overflow included: the block to ask for */
    size_t over_bytes; /* of n_used: what did not fit and came from the parent */
    const dload_env *parent;
} dload_pool;

#define DLOAD_I_POOL_ALIGN 16u

DLOAD_I_LOCAL void *dload_i_pool_alloc(void *ctx, size_t n_bytes)
{
    dload_pool *pool = (dload_pool *)ctx;
    if (n_bytes > SIZE_MAX - DLOAD_I_POOL_ALIGN)
        return NULL;
    size_t n = (n_bytes + DLOAD_I_POOL_ALIGN - 1) & ~(size_t)(DLOAD_I_POOL_ALIGN - 1);
    void *p = NULL;
    if (n <= pool->cap_bytes - pool->n_used_bytes) {
        p = pool->block + pool->n_used_bytes;
        pool->n_used_bytes += n;
    } else {
        p = dload_i_alloc(pool->parent, n_bytes);
        if (p == NULL)
            return NULL;
        pool->over_bytes += n;
    }
    if (pool->n_used_bytes + pool->over_bytes > pool->high_bytes)
        pool->high_bytes = pool->n_used_bytes + pool->over_bytes;
    return p;
}

DLOAD_I_LOCAL void dload_i_pool_free(void *ctx, void *p, size_t n_bytes)
{
    dload_pool *pool = (dload_pool *)ctx;
    size_t n = (n_bytes + DLOAD_I_POOL_ALIGN - 1) & ~(size_t)(DLOAD_I_POOL_ALIGN - 1);
    uintptr_t at = (uintptr_t)p;
    uintptr_t first = (uintptr_t)pool->block;
    if (at < first || at >= first + pool->cap_bytes) {
        pool->over_bytes -= n;
        dload_i_free(pool->parent, p, n_bytes);
    } else if (at + n == first + pool->n_used_bytes) {
        pool->n_used_bytes -= n; /* the last one out goes back; the others wait for the reset */
    }
}

/* The rest of the env is the parent's, with the parent's own ctx. */
DLOAD_I_LOCAL uint64_t dload_i_pool_now(void *ctx)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    return parent->now(parent->ctx);
}

DLOAD_I_LOCAL uint64_t dload_i_pool_random(void *ctx)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    return parent->random(parent->ctx);
}

DLOAD_I_LOCAL uint64_t dload_i_pool_self(void *ctx)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    return parent->self(parent->ctx);
}

DLOAD_I_LOCAL dload_status dload_i_pool_wait(void *ctx, const uint32_t *word, uint32_t seen,
                                             uint64_t until_ns)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    return parent->wait(parent->ctx, word, seen, until_ns);
}

DLOAD_I_LOCAL void dload_i_pool_wake(void *ctx, const uint32_t *word)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    parent->wake(parent->ctx, word);
}

DLOAD_I_LOCAL bool dload_i_pool_parks(void *ctx)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    return parent->parks(parent->ctx);
}

/* Prepares a pool over the caller's block, which is 16-byte aligned and outlives the pool. What does
 * not fit comes from parent (NULL = dload_env_default()). One thread at a time. O(1). */
DLOAD_I_LOCAL void dload_pool_init(dload_pool *pool, void *block, size_t n_bytes,
                                   const dload_env *parent)
{
    pool->parent = parent != NULL ? parent : dload_env_default();
    pool->env.now = pool->parent->now != NULL ? dload_i_pool_now : NULL;
    pool->env.alloc = dload_i_pool_alloc;
    pool->env.free = dload_i_pool_free;
    pool->env.random = pool->parent->random != NULL ? dload_i_pool_random : NULL;
    pool->env.self = pool->parent->self != NULL ? dload_i_pool_self : NULL;
    pool->env.wait = pool->parent->wait != NULL ? dload_i_pool_wait : NULL;
    pool->env.wake = pool->parent->wake != NULL ? dload_i_pool_wake : NULL;
    pool->env.parks = pool->parent->parks != NULL ? dload_i_pool_parks : NULL;
    pool->env.ctx = pool;
    pool->block = (char *)block;
    pool->cap_bytes = n_bytes;
    pool->n_used_bytes = 0;
    pool->high_bytes = 0;
    pool->over_bytes = 0;
}

/* Takes the whole block back, once every loader on it is destroyed. O(1). */
DLOAD_I_LOCAL void dload_pool_reset(dload_pool *pool)
{
    pool->n_used_bytes = 0;
}

#endif /* DLOAD_I_POOL_H */
