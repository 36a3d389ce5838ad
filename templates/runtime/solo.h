/* >>solo -- the records of a loader with DLOAD_ASYNC 0: one caller, and answers that come before a call returns.
 *
 * Nothing waits there, so that there is nobody to wake, no deadline, no leader, and no index of flights: the few
 * keys that are on their way are looked through. Batches, their places and the requests are one block of memory,
 * taken by _init.
 */
#ifndef DLOAD_I_SOLO_H
#define DLOAD_I_SOLO_H

#include "block.h"
#include "flight.h"

struct dload_i_asker;

/* One request for a key on its way: part of the caller's waiter, or of a blocking call, or of the block. */
typedef struct dload_i_ask {
    struct dload_i_ask
        *next; /* for the same key, in the order of asking; or spare; or to call back */
    struct dload_i_asker *asker; /* the blocking call; NULL = call back */
    size_t at;                   /* in the arrays of that call */
} dload_i_ask;

/* A blocking call, on its stack. */
typedef struct dload_i_asker {
    dload_i_ask own;        /* its first request that has to wait */
    void *out;              /* values by position */
    dload_status *statuses; /* by position; NULL = not wanted */
    uint32_t n_pending;     /* requests that have no answer yet */
    uint32_t flags;         /* dload_call.flags */
} dload_i_asker;

/* A key on its way: a place in a batch. Key and value lie in arrays of the batch, by the same number. */
typedef struct dload_i_seat {
    uint64_t ttl_ns; /* how long the answer is kept; DLOAD_I_TTL_DEFAULT = as the loader's values */
    dload_i_ask *first; /* who asked */
    int32_t status;     /* the answer */
    bool answered;      /* there is one */
    bool detached;      /* cleared since it was sent: nobody joins, and it is cached nowhere */
} dload_i_seat;

#define DLOAD_I_SOLO_CLEARS 8u   /* clears are remembered by hash, one each */
#define DLOAD_I_SOLO_MAX    255u /* batches */

/* One batch collects or waits while another one runs; more where more keys may wait. With a max_batch of 0,
 * whose result nobody wants, nothing is divided by it. */
#define DLOAD_I_SOLO_BATCHES(max_batch, max_queue)                   \
    (1u + ((size_t)(max_queue) + (max_batch) - ((max_batch) != 0)) / \
              ((max_batch) + ((max_batch) == 0)))

/* What a loader asks its allocator for, beside its cache. */
#define DLOAD_I_SOLO_BYTES(NAME, max_batch, max_queue)                                 \
    DLOAD_I_SOLO_PARTS(sizeof(NAME##_key), sizeof(NAME##_value), sizeof(NAME##_batch), \
                       DLOAD_I_SOLO_BATCHES(max_batch, max_queue),                     \
                       DLOAD_I_SOLO_BATCHES(max_batch, max_queue) * (max_batch))

#define DLOAD_I_SOLO_PARTS(key_bytes, value_bytes, batch_bytes, n_batches, n_places) \
    (DLOAD_I_BLOCK_UP((n_places) * (value_bytes)) +                                  \
     DLOAD_I_BLOCK_UP((n_places) * sizeof(dload_i_seat)) +                           \
     DLOAD_I_BLOCK_UP((n_batches) * (batch_bytes)) +                                 \
     DLOAD_I_BLOCK_UP((n_places) * sizeof(dload_i_ask)) +                            \
     DLOAD_I_BLOCK_UP((n_places) * (key_bytes)))

#endif /* DLOAD_I_SOLO_H */
