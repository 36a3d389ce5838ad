/* >>slots -- where one loader's entries live: slots, shards, and the cache that has them. All fields are private. */
#ifndef DLOAD_I_HAVE_SLOTS
#define DLOAD_I_HAVE_SLOTS

#include "types.h"
#include "../runtime/chains.h"

#if DLOAD_COMPACT

/* Where an entry lives. The end of its TTL is a tick of 44 bits: the upper 12 are in meta.
 *
 *   meta  bits 0..11 of the end, 12 used since the hand came by, 13 pinned, 14 expires,
 *         15 an error instead of a value (also where there is no entry)
 *         of a value that waits to be released: bits 0..2 dload_removal, and bit 11
 */
typedef struct DLOAD_I_FN(slot) {
    union {
        DLOAD_I_V value;
        int32_t status; /* with bit 15 of meta */
    } u;
    DLOAD_I_K key;
#if DLOAD_TTL
    uint32_t end; /* with bit 14 of meta */
#endif
    uint16_t next; /* of its chain: the slot, or DLOAD_I_END */
    uint16_t meta;
} DLOAD_I_FN(slot);

/* The table: slots, and by hash the first slot of each chain, in one block. */
typedef struct DLOAD_I_FN(shard) {
    DLOAD_I_FN(slot) * slots;
    uint16_t *heads;
    DLOAD_I_LOCK_T lock;
    uint16_t mask;     /* chains - 1 */
    uint16_t cap;      /* slots */
    uint16_t n_live;   /* entries */
    uint16_t n_pinned; /* of these */
    uint16_t vacant;   /* chain of slots without an entry */
    uint16_t hand;     /* where the policy looks next */
#if DLOAD_I_LEAVES
    uint16_t dead; /* chain of values that wait to be released, and of no other chain */
#endif
#if DLOAD_TTL
    uint64_t tick;    /* the time that has been: it does not go back */
    uint64_t soonest; /* no entry ends before */
#endif
    uint32_t hits; /* DLOAD_STATS; those of interrupt handlers may be missing */
    uint32_t evictions;
    uint32_t expired;
    uint32_t skipped;
} DLOAD_I_FN(shard);

/* A cache: the same one inside every loader, and usable alone. */
typedef struct DLOAD_I_FN(cache) {
    DLOAD_I_FN(shard) one;
    const dload_env *env;
    uint64_t ttl_ns;
    uint64_t manual_ns;   /* DLOAD_CLOCK_MANUAL: what _cache_advance said last */
    uint16_t n_shards;    /* 1; 0 = caching is off */
    uint16_t n_locks;     /* 1, also when it is off; 0 = destroyed */
    uint32_t jitter_part; /* of the TTL, in 2^16ths */
    uint32_t seed;        /* of the jitter when env->random is NULL */
    uint32_t fork_epoch;  /* with a lock: of the process it was made in */
    size_t max_key_bytes;
#if DLOAD_ON_REMOVE
    void (*on_remove)(void *ctx, DLOAD_I_FN(removed) * removed);
    void *remove_ctx;
#endif
} DLOAD_I_FN(cache);

#define DLOAD_I_SHARD_AT(c, i) ((void)(i), &(c)->one)

#else

/* What readers without the lock copy word by word is aligned for the widest. */
#if DLOAD_I_LOCKLESS
#define DLOAD_I_SHARED(type) __attribute__((__aligned__(sizeof(type) >= 8 ? 8 : 1)))
#else
#define DLOAD_I_SHARED(type)
#endif

/* Where an entry lives: what a hit touches and nothing else. Private.
 *
 *   meta  bits 0..7 uses since the policy last looked, 8 in the main queue (S3-FIFO), 9 expires,
 *         10 pinned (with bit 8: dead, see weight.h), 11 somebody is to refresh it early,
 *         15 an error instead of a value, 16..31 epoch (an entry of another epoch was cleared by
 *         clear_all and is not there)
 */
typedef struct DLOAD_I_FN(slot) {
    uint32_t meta;
#if DLOAD_TTL
    uint32_t
        expiry; /* tick before which it is fresh; exact when near, see _wheel_arm; with bit 9 */
#endif
#if DLOAD_REFRESH
    /* expiry says here how far a hit need not look at the rest, all of it with bit 9 of meta; see stale.h */
    uint32_t gone;  /* tick after which the entry is gone */
    uint32_t retry; /* tick until which a refresh that failed is not tried again */
    uint64_t end;   /* tick at which its TTL ends */
#endif
#if DLOAD_GROUP
    uint64_t group;
#endif
#if DLOAD_I_IS_STRING
    dload_i_skey key;
#else
    DLOAD_I_K key DLOAD_I_SHARED(DLOAD_I_K);
#endif
    union {
        DLOAD_I_V value DLOAD_I_SHARED(DLOAD_I_V);
        int32_t status; /* with bit 15 of meta */
    } u;
} DLOAD_I_FN(slot);

/* Between threads, what many read and what few write lie on cache lines of their own. */
#if DLOAD_I_SHARDED
#define DLOAD_I_APART __attribute__((__aligned__(64)))
#else
#define DLOAD_I_APART
#endif

/* A part of the cache with a lock of its own. Private. */
typedef struct DLOAD_I_FN(shard) {
    /* what a hit looks at */
    dload_i_group *groups DLOAD_I_APART; /* n_groups of 32 tags each, 64-byte aligned */
    DLOAD_I_FN(slot) * slots;            /* by the same number */
    uint32_t n_groups;
    uint32_t epoch;    /* of live entries, in the place it has in meta */
    uint32_t max_uses; /* where a hit stops counting; 0 = the policy does not ask */
#if DLOAD_TTL
    uint64_t tick;     /* the wheel's time */
#endif
    /* what only writers do */
    DLOAD_I_LOCK_T lock DLOAD_I_APART;
    uint32_t n_live;        /* entries of this epoch */
    uint32_t n_used;        /* ... and of older ones not reaped yet */
    uint32_t n_pinned;      /* of these, entries that are in no queue */
    uint32_t n_live_pinned; /* ... and of this epoch */
    uint32_t cap;           /* n_live never exceeds it */
    uint32_t reach; /* no entry lives further than so many groups from home, itself one of them */
    uint32_t reap_group; /* next group to look at for entries of older epochs */
    uint32_t since_reap; /* clear_all calls since the last complete reap */
    void *block;         /* what groups and slots and the side arrays were carved from */
    size_t block_bytes;
#if DLOAD_I_LOCKLESS
    void *outgrown; /* blocks of smaller tables, which a reader may still look at: a list */
    size_t outgrown_bytes;
#endif
    dload_i_evict evict;
#if DLOAD_TTL
    dload_i_wheel wheel;
#endif
#if DLOAD_I_IS_STRING
    dload_i_arena arena;
#endif
#if DLOAD_I_WEIGHED
    uint32_t *weights;      /* by slot; see weight.h */
    uint64_t max_weight;    /* weight never exceeds it; UINT64_MAX = no limit */
    uint64_t weight;        /* of the entries of this epoch */
    uint64_t pinned_weight; /* of those that a call pinned */
    uint64_t too_heavy;     /* values over max_weight */
#endif
#if DLOAD_I_KILLS
    uint32_t dead; /* chain of evicted entries whose values wait to be released; see weight.h */
    uint32_t n_dead;
#endif
    uint64_t hits;        /* DLOAD_STATS; under the lock; see also cache.stripes */
    uint64_t evictions;   /* entries the policy removed to make room */
    uint64_t expired;     /* entries removed because their TTL passed */
    uint64_t long_probes; /* entries that had to be put far from home; see reach.h */
    uint64_t skipped;     /* values not cached: no room, or no memory */
} DLOAD_I_FN(shard);

/* A cache: the same one inside every loader, and usable alone. Private fields. */
typedef struct DLOAD_I_FN(cache) {
#if !DLOAD_I_SHARDED
    DLOAD_I_FN(shard) one; /* without locks one shard is enough, and a hit need not look for it */
#endif
    DLOAD_I_FN(shard) * shard;
#if DLOAD_I_SHARDED
    void *block;             /* what the shards were carved from */
#endif
#if DLOAD_I_LOCKLESS && DLOAD_STATS
    dload_i_stripe *stripes; /* hits without the lock, a counter a thread */
#endif
    uint32_t n_shards;       /* 2^n; 0 = caching is off */
    uint32_t jitter_pct;
    uint64_t ttl_ns;
    size_t max_key_bytes;
    bool unbounded;
    uint32_t fork_epoch; /* with a lock: of the process it was made in */
#if DLOAD_STORE
    bool deaf; /* changes in the store may go unheard: nothing is cached; atomic, see sink.h */
#endif
    const dload_env *env;
    dload_i_moment manual; /* DLOAD_CLOCK_MANUAL: what _cache_advance said last, ns */
    uint64_t seed;         /* of the jitter when env->random is NULL */
#if DLOAD_REFRESH
    uint64_t stale_ticks;  /* an entry may be handed out after its TTL for so long, */
    uint64_t error_ticks;  /* for so long when its fetch failed, */
    uint64_t keep_ticks;   /* and stays for so long: the longer of both */
    uint64_t idle_ticks;
    uint32_t retry_ticks;
    uint32_t ahead_pct;
    uint64_t ahead_ns; /* XFetch's beta * delta; atomic */
#endif
#if DLOAD_ON_REMOVE
    void (*on_remove)(void *ctx, DLOAD_I_FN(removed) * removed);
    void *remove_ctx;
#endif
#if DLOAD_HASH == DLOAD_HASH_SIP
    uint64_t hash_key[2];
#endif
} DLOAD_I_FN(cache);

#define DLOAD_I_SHARD_AT(c, i) (&(c)->shard[i])

#endif /* DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_SLOTS */
