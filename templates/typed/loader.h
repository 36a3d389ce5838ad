/* >>loader -- one loader: the struct itself, and what its calls work with. */
#ifndef DLOAD_I_HAVE_LOADER
#define DLOAD_I_HAVE_LOADER

#include "slots.h"

/* A value on its way into the cache. Private. */
typedef struct DLOAD_I_FN(item) {
    DLOAD_I_FN(i_ident) id;
    const DLOAD_I_V *value; /* moved into the cache when that took it; not used with an error */
    int32_t status;         /* >= 0, or the error to cache */
    uint64_t ttl_ns;
    uint64_t now_ns;
    DLOAD_I_FN(removed) old; /* with garbage: a value that had to go, for the caller to deal with */
    bool garbage;
#if DLOAD_I_WEIGHED
    uint32_t weight;
#endif
#if DLOAD_I_KILLS
    bool dead; /* more had to go: the shard has them */
#endif
} DLOAD_I_FN(item);

#if DLOAD_ASYNC
/* A blocking call's place to sleep. Private. */
typedef struct DLOAD_I_FN(sleeper) {
    dload_i_parker parker;
    DLOAD_I_COND_T cond;
#if DLOAD_STORE
    dload_i_blocked blocked;
#endif
} DLOAD_I_FN(sleeper);
#endif

#if DLOAD_SNAPSHOT
/* How a snapshot is made, and restored. Zeros are the defaults; what one direction does not need is not
 * looked at. No callback runs with a lock held, and each may call the loader. */
typedef struct DLOAD_I_FN(snapshot) {
    /* Takes n_bytes, all of them: DLOAD_OK, or an error, which ends the save and is its result. */
    dload_status (*write)(void *ctx, const void *bytes, size_t n_bytes);
    /* Gives 1 .. n_bytes bytes and says how many, 0 at the end; an error ends the call, as above. */
    dload_status (*read)(void *ctx, void *bytes, size_t n_bytes, size_t *n_read);
    /* For values that are more than their bytes: puts *value into bytes, *n_bytes of them; where cap_bytes are
     * too few, says how many it takes and is called again. With an error the entry is left out.
     * NULL = plain values are written as they lie in memory, blobs as their bytes; others cannot be. */
    dload_status (*encode)(void *ctx, const DLOAD_I_V *value, void *bytes, size_t cap_bytes,
                           size_t *n_bytes);
    /* The reverse: makes a value, which is the cache's then. With an error the entry is left out. */
    dload_status (*decode)(void *ctx, const void *bytes, size_t n_bytes, DLOAD_I_V *value);
    void *ctx;              /* handed to each of these */
    uint64_t value_version; /* of what a value means: a snapshot of another is refused; default 0 */
    /* The time by a clock that goes on while the program does not, ns: what passes between save and restore
     * is taken off the TTLs. 0 = the host's calendar clock (freestanding: not known); DLOAD_NEVER = not
     * known, and then nothing is taken off. A clock that went back takes nothing off. */
    uint64_t wall_ns;
} DLOAD_I_FN(snapshot);
#endif

/* What two translation units must agree on. */
#define DLOAD_I_FINGERPRINT                                                                      \
    ((uint64_t)DLOAD_TEMPLATE_VERSION << 56 | (uint64_t)(DLOAD_HASH == DLOAD_HASH_SIP) << 55 |   \
     (uint64_t)DLOAD_REFRESH << 54 | (uint64_t)(DLOAD_LOCK & 3) << 52 |                          \
     (uint64_t)DLOAD_EVICT << 48 | (uint64_t)DLOAD_CLOCK << 44 | (uint64_t)DLOAD_TTL << 43 |     \
     (uint64_t)DLOAD_STATS << 42 | (uint64_t)DLOAD_I_OWNED << 41 | (uint64_t)DLOAD_GROUP << 40 | \
     (uint64_t)DLOAD_I_KEY_KIND << 36 | (uint64_t)(sizeof(DLOAD_I_K) & 0xff) << 28 |             \
     (uint64_t)(!DLOAD_ASYNC) << 47 | (uint64_t)DLOAD_I_WEIGHED << 27 |                          \
     (uint64_t)DLOAD_ON_REMOVE << 26 |                                                           \
     ((uint64_t)sizeof(DLOAD_I_V) * 31 + sizeof(DLOAD_NAME) + DLOAD_COMPACT * 7919u) %           \
         (UINT64_C(1) << 26))

#if DLOAD_ASYNC

/* A loader. All fields are private; the struct is public so that it can live anywhere. It must not
 * be moved or copied between _init and _destroy. */
typedef struct DLOAD_NAME {
    dload_i_core core;
    DLOAD_I_FN(cache) cache;
    DLOAD_I_FN(config) cfg;
    DLOAD_I_MUTEX_T mutex; /* flights and batches; taken before a shard's lock, never after */
#if DLOAD_I_IS_STRING
    dload_i_arena arena; /* key bytes of batches; under the mutex */
#endif
#if DLOAD_STORE
    dload_i_second second; /* under the mutex */
    dload_i_locking locking;
#endif
} DLOAD_NAME;

#else

/* What is on its way. Private. */
typedef struct DLOAD_I_FN(i_core) {
    dload_status (*fetch)(DLOAD_I_FN(batch) * b);
    void *ctx;
    uint64_t (*error_ttl)(void *ctx, dload_status status);
    uint64_t missing_ttl_ns;
    DLOAD_I_FN(batch) * batches; /* n_batches of them, in block */
    DLOAD_I_FN(batch) * queue;   /* those that wait, oldest first */
    DLOAD_I_FN(batch) * last;    /* ... and the newest, which may be open */
    dload_i_ask *spare;          /* requests for calls with many keys */
    void *block;
    size_t block_bytes;
    uint32_t n_batches, max_batch;
    uint32_t clear_seq;                       /* clears so far */
    uint32_t last_clear[DLOAD_I_SOLO_CLEARS]; /* clear_seq of the last clear, by hash */
    uint8_t n_running;                        /* fetch functions that have not returned */
    uint8_t n_out;                            /* ... or whose callbacks run */
    bool closed;
#if DLOAD_STATS
    dload_stats stats;
#endif
} DLOAD_I_FN(i_core);

/* A loader. All fields are private; the struct is public so that it can live anywhere. It must not
 * be moved or copied between _init and _destroy. */
typedef struct DLOAD_NAME {
    DLOAD_I_FN(i_core) core;
    DLOAD_I_FN(cache) cache;
    DLOAD_I_MUTEX_T mutex; /* of nothing: what both kinds of loader share takes it */
} DLOAD_NAME;

#endif /* DLOAD_ASYNC */

/* What DLOAD_BYTES counts with: is all memory taken in the beginning, and what does a slot of a compact cache take? */
enum {
    DLOAD_I_FN(i_bounded) = !DLOAD_ASYNC,
    DLOAD_I_FN(i_slot_bytes) = DLOAD_COMPACT ? sizeof(DLOAD_I_FN(slot)) : 0
};

#endif /* DLOAD_I_HAVE_LOADER */
