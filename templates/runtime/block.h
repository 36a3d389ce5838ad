/* >>block -- an allocator over one block of the caller's, for machines without malloc.
 *
 * A loader that was made for it (see DLOAD_BYTES) asks for its memory in _init, a few times, and gives it
 * back in _destroy, so that advancing a mark is all it takes. What is freed last comes back at once, and all
 * of it when nothing is out any more: the same block serves the next _init. There is no parent to fall back
 * on: what does not fit is DLOAD_ENOMEM.
 */
#ifndef DLOAD_I_BLOCK_H
#define DLOAD_I_BLOCK_H

#include "env.h"

/* One block of memory as an env. Several loaders and caches may share it. */
typedef struct dload_block {
    dload_env env;    /* pass &block.env as config.env; set env.now, whose ctx is the dload_block */
    char *memory;     /* private, as all that follows */
    size_t cap_bytes; /* may be read: what there is, */
    size_t n_used_bytes; /* ... and what of it is out */
    size_t n_out;        /* pieces that are out */
} dload_block;

/* Pieces begin on multiples of this: enough for anything but values that are aligned to 16. */
#define DLOAD_I_BLOCK_ALIGN 8u

/* What a piece of n bytes takes. A macro, because array sizes are made of it. */
#define DLOAD_I_BLOCK_UP(n) \
    (((n) + (DLOAD_I_BLOCK_ALIGN - 1u)) & ~(size_t)(DLOAD_I_BLOCK_ALIGN - 1u))

DLOAD_I_LOCAL void *dload_i_block_alloc(void *ctx, size_t n_bytes)
{
    dload_block *block = (dload_block *)ctx;
    size_t left = block->cap_bytes - block->n_used_bytes; /* whole steps, both of them */
    if (n_bytes > left)
        return NULL;
    void *p = block->memory + block->n_used_bytes;
    block->n_used_bytes += DLOAD_I_BLOCK_UP(n_bytes);
    block->n_out++;
    return p;
}

DLOAD_I_LOCAL void dload_i_block_free(void *ctx, void *p, size_t n_bytes)
{
    dload_block *block = (dload_block *)ctx;
    size_t from = (size_t)((char *)p - block->memory);
    if (from + DLOAD_I_BLOCK_UP(n_bytes) == block->n_used_bytes)
        block->n_used_bytes = from; /* the last one out is the first one back */
    if (--block->n_out == 0)
        block->n_used_bytes = 0;
}

/* Makes an env of the n_bytes at memory, which stay the caller's, may be static, and must outlive every loader
 * on them. They are best aligned to 8: of others the bytes up to the next multiple of 8 are not used. Values that
 * are aligned to 16 need another env. The clock stands still until env.now is set. One thread at a time. O(1). */
DLOAD_I_LOCAL void dload_block_init(dload_block *block, void *memory, size_t n_bytes)
{
    size_t skip = (size_t)(0u - (uintptr_t)memory) & (DLOAD_I_BLOCK_ALIGN - 1u);
    memset(block, 0, sizeof *block);
    block->env.alloc = dload_i_block_alloc;
    block->env.free = dload_i_block_free;
    block->env.ctx = block;
    block->memory = (char *)memory + skip;
    block->cap_bytes = n_bytes < skip ? 0 : (n_bytes - skip) & ~(size_t)(DLOAD_I_BLOCK_ALIGN - 1u);
}

/* The bytes of the block that a loader NAME with DLOAD_ASYNC 0 needs, of this capacity and max_batch; with max_batch
 * 0 those of a cache alone. Constant, so that a static array can have them:
 *
 *     static uint64_t memory[(DLOAD_BYTES(regs, 32, 8) + 7) / 8];
 *
 * Takes that much, all of it in _init, and nothing later; one step of 8 less is DLOAD_ENOMEM. The cache has
 * DLOAD_COMPACT 1, or capacity is DLOAD_NO_CACHE; for others this does not compile. A block for several is as large
 * as their sum. */
#define DLOAD_BYTES(NAME, capacity, max_batch) \
    DLOAD_BYTES_QUEUED(NAME, capacity, max_batch, max_batch)

/* The same with a config.max_queue of its own. */
#define DLOAD_BYTES_QUEUED(NAME, capacity, max_batch, max_queue)               \
    (DLOAD_I_CACHE_BYTES(NAME, capacity) +                                     \
     ((max_batch) == 0 ? 0 : DLOAD_I_SOLO_BYTES(NAME, max_batch, max_queue)) + \
     DLOAD_I_CHECKED((max_batch) == 0 || NAME##_i_bounded))

/* 0, or what does not compile. */
#define DLOAD_I_CHECKED(condition) (sizeof(char[(condition) ? 1 : -1]) - 1)

/* A cache's table; see chains.h. */
#define DLOAD_I_CACHE_BYTES(NAME, capacity)                                         \
    (((capacity) == DLOAD_NO_CACHE                                                  \
          ? 0                                                                       \
          : DLOAD_I_BLOCK_UP(DLOAD_I_TABLE_BYTES(NAME##_i_slot_bytes, capacity))) + \
     DLOAD_I_CHECKED((capacity) == DLOAD_NO_CACHE || NAME##_i_slot_bytes != 0))

#endif /* DLOAD_I_BLOCK_H */
