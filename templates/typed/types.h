/* >>types -- the structs of one loader. Fields marked "private" may change in any release. */
#ifndef DLOAD_I_HAVE_TYPES
#define DLOAD_I_HAVE_TYPES

#include "params.h"
#include "../runtime/env.h"
#include "../runtime/blob.h"
#include "../runtime/lock.h"
#include "../runtime/fork.h"
#include "../runtime/lock_pthread.h"
#include "custom.h"
#include "../runtime/stripe.h"
#include "../runtime/words.h"
#include "../runtime/snapshot.h"
#include "../runtime/snapshot_file.h"
#include "../runtime/worth.h"
#include "../runtime/arena.h"
#include "../runtime/policy.h"
#include "../runtime/wheel.h"
#include "../runtime/chance.h"
#include "../runtime/hash.h"
#include "../runtime/draw.h"
#include "../runtime/siphash.h"
#include "../runtime/flight.h"
#include "../runtime/solo.h"
#include "../runtime/registry.h"
#include "../runtime/second.h"
#include "../runtime/locking.h"
#include "../runtime/leasing.h"

/* The key and the value as this loader sees them; a DLOAD_STRING key is a dload_str. */
#if DLOAD_I_IS_STRING
typedef dload_str DLOAD_I_FN(key);
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
typedef dload_id128 DLOAD_I_FN(key);
#else
typedef DLOAD_KEY DLOAD_I_FN(key);
#endif
#if DLOAD_I_VALUE_IS_BLOB
typedef dload_blob DLOAD_I_FN(value);
#else
typedef DLOAD_VALUE DLOAD_I_FN(value);
#endif
#define DLOAD_I_K  DLOAD_I_FN(key)
#define DLOAD_I_ID DLOAD_I_FN(i_ident)
#define DLOAD_I_V  DLOAD_I_FN(value)

#ifdef DLOAD_KEY_AS
/* 0 unsigned, 1 signed, 2 float, 3 double. Where C++ cannot compute with an enum's values, its sign is
 * taken as given. */
#ifdef __cplusplus
#define DLOAD_I_SIGN(type)                         \
    ((type)(__is_enum(type) ? 0 : 0.5) != (type)0  \
         ? (sizeof(type) == sizeof(float) ? 2 : 3) \
         : (int)((type)(__is_enum(type) ? 0 : -1) < (type)(__is_enum(type) ? 0 : 1)))
#define DLOAD_I_SAME_SIGN(type, as) (__is_enum(type) || DLOAD_I_SIGN(type) == DLOAD_I_SIGN(as))
#else
#define DLOAD_I_SIGN(type) \
    _Generic((type)0, float : 2, double : 3, default : (int)((type)-1 < (type)1))
#define DLOAD_I_SAME_SIGN(type, as) (DLOAD_I_SIGN(type) == DLOAD_I_SIGN(as))
#endif
DLOAD_I_STATIC_ASSERT(sizeof(DLOAD_KEY) == sizeof(DLOAD_KEY_AS) &&
                          DLOAD_I_SAME_SIGN(DLOAD_KEY, DLOAD_KEY_AS),
                      "dataloader.h: DLOAD_KEY_AS must have DLOAD_KEY's size, sign and kind");
#endif

/* A value that leaves the cache. */
typedef struct DLOAD_I_FN(removed) {
#if DLOAD_ON_REMOVE
    DLOAD_I_K key; /* a string's bytes may be read until the hook returns */
#if DLOAD_GROUP
    uint64_t group;
#endif
    dload_removal reason;
    bool stored; /* private: the key's bytes are to be given back */
#endif
    DLOAD_I_V value; /* released afterwards, when it is owned: keep one more reference, or a copy */
} DLOAD_I_FN(removed);

#if DLOAD_ASYNC

/* What storing the answer at one place of a batch left to do once the mutex is free. Private. */
typedef struct DLOAD_I_FN(i_owed) {
    DLOAD_I_FN(removed) old;
    uint32_t todo; /* DLOAD_I_OWED_ bits */
} DLOAD_I_FN(i_owed);

/* One batch, as the fetch function sees it. It lives until the function returned, or, after
 * DLOAD_PENDING, until _batch_done. */
typedef struct DLOAD_I_FN(batch) {
    dload_i_batch base;    /* private */
    const DLOAD_I_K *keys; /* keys asked for, each once, in the order of first request */
    size_t n;              /* how many; 1 .. config.max_batch */
    void *ctx;             /* config.ctx */
#if DLOAD_GROUP
    uint64_t group; /* of all keys: dload_call.group */
#endif
    uint64_t deadline_ns; /* when run_limit_ns ends, in env->now time; DLOAD_NEVER = no limit */
    DLOAD_I_K *own_keys;  /* private: what keys points at */
    DLOAD_I_V *values;    /* private: answers, by the same index */
#if DLOAD_STORE
    dload_i_letter *got; /* private: what the store said, to go on with */
    void *second;        /* private: the block of the next three */
    DLOAD_I_K *asked;    /* private: what keys points at when the store answered some */
    DLOAD_I_V *kept;     /* private: answers to be stored, by place */
    uint32_t *places;    /* private: of asked */
    uint32_t second_cap; /* private: places there */
    dload_held *held;    /* private: named locks, a place a stripe */
    uint64_t locked;     /* private: stripes that are held, a bit each */
    uint64_t lease[2];   /* private: what its leases in the store are known by */
    uint64_t ask_in_ns;  /* private: when a lease of somebody else's may end */
    bool left;     /* private: the function returned DLOAD_PENDING, and nobody looks after it */
    bool resumes;  /* private: ended by _batch_done, with keys left that others had leases of */
    uint8_t stage; /* private: DLOAD_I_STAGE_ */
#endif
#if DLOAD_I_OWES
    DLOAD_I_FN(i_owed) * owed; /* private: by the same index */
#endif
    struct DLOAD_NAME *owner; /* private */
} DLOAD_I_FN(batch);

/* A request that does not block; owned by the caller until done() ran, _cancel returned DLOAD_OK,
 * or _start returned anything but DLOAD_PENDING. Zero it, set done and ctx, pass it to _start. */
typedef struct DLOAD_I_FN(waiter) {
    dload_i_waiter base;                         /* private */
    dload_status status;                         /* result, valid in done() and after a hit */
    void (*done)(struct DLOAD_I_FN(waiter) * w); /* runs once, with no lock held; NULL = none */
    void *ctx;                                   /* the caller's own */
    DLOAD_I_V value; /* valid while status >= 0; owned values are the caller's to release */
} DLOAD_I_FN(waiter);

#else

/* One batch, as the fetch function sees it. It lives until the function returned. */
typedef struct DLOAD_I_FN(batch) {
    const DLOAD_I_K *keys; /* keys asked for, each once, in the order of first request */
    size_t n;              /* how many; 1 .. config.max_batch */
    void *ctx;             /* config.ctx */
    DLOAD_I_K *own_keys;   /* private, as all that follows: what keys points at */
    DLOAD_I_V *values;     /* answers, by the same index */
    dload_i_seat *seats;
    struct DLOAD_I_FN(batch) * next; /* in the queue */
    struct DLOAD_NAME *owner;
    uint32_t n_seats; /* in use */
    uint32_t token;   /* clears so far when it was sent */
    uint8_t state;    /* 0 = free, or DLOAD_I_OPEN, _QUEUED, _RUNNING */
} DLOAD_I_FN(batch);

/* A request that does not block; owned by the caller until done() ran, _cancel returned DLOAD_OK,
 * or _start returned anything but DLOAD_PENDING. Set done and ctx, pass it to _start. */
typedef struct DLOAD_I_FN(waiter) {
    dload_i_ask base;                            /* private */
    dload_status status;                         /* result, valid in done() and after a hit */
    void (*done)(struct DLOAD_I_FN(waiter) * w); /* runs once; NULL = none */
    void *ctx;                                   /* the caller's own */
    DLOAD_I_V value;                             /* valid while status >= 0 */
} DLOAD_I_FN(waiter);

#endif /* DLOAD_ASYNC */

/* What a loader is made from. Start from _config_default() or zeros: 0 always means the default. */
typedef struct DLOAD_I_FN(config) {
    /* Answers a batch: DLOAD_OK, DLOAD_PENDING, or the error of every key not yet answered. Required. */
    dload_status (*fetch)(DLOAD_I_FN(batch) * b);
    void *ctx;            /* handed to fetch in b->ctx; may be NULL */
    const dload_env *env; /* clock, allocator ..., must outlive the loader; NULL = the host's */
#if DLOAD_ASYNC
    const dload_hooks *hooks; /* observers, must outlive the loader; NULL = none */
    /* Event loops: announces, from any thread and with no lock held, that _process has something to do.
     * done() then runs inside _process and _dispatch only. NULL = done() runs where the answer came. */
    void (*wake)(void *wake_ctx);
    void *wake_ctx;           /* handed to wake */
    dload_registry *registry; /* loaders to dispatch together, must outlive the loader; NULL = none.
                         Under a lock, for threads that joined it; see dload_registry_join */
#endif
    size_t capacity; /* entries cached; default 4096; DLOAD_NO_CACHE; DLOAD_UNBOUNDED grows */
#if DLOAD_I_WEIGHED
    uint64_t
        max_weight; /* of all values, in DLOAD_WEIGHT's unit, beside capacity, which then is a number.
                    Each shard has an equal share; what is heavier than that is delivered, and not
                    cached. default 0 = no limit */
#endif
#if DLOAD_ON_REMOVE
    /* Told of every value that leaves the cache, once, and of every one that does not get in, before it
     * is released; cached errors are no values. Gets config.ctx. With no lock held, from the thread whose
     * call removed it, and may call any function of any loader, but for this one's when the reason is
     * DESTROYED. What _clear_all removed comes as it is cleaned up: a few with each later store or
     * miss, all of it in _process, at the latest in _destroy. NULL = nobody is told. */
    void (*on_remove)(void *ctx, DLOAD_I_FN(removed) * removed);
#endif
    size_t
        shards; /* locks over the cache; default 16; always 1 under NONE and CUSTOM; rounded down to 2^n, <= 256 */
    uint64_t ttl_ns;         /* life of an entry; default DLOAD_NEVER */
    uint64_t missing_ttl_ns; /* life of a DLOAD_MISSING answer; default 0 = not cached */
    uint32_t ttl_jitter_pct; /* shortens each TTL by up to so many percent; default 0; 0 .. 90 */
#if DLOAD_ASYNC
    /* The next four need DLOAD_REFRESH 1: without it only 0 is allowed. */
    uint64_t
        stale_ns; /* after its TTL a value stays for so long: one load of the key fetches it anew,
                         the others have the old one at once, with DLOAD_STALE; default 0 = does not */
    uint64_t
        stale_error_ns; /* ... and when its fetch fails (an error other than MISSING), those who
                         wait for it have the old value, with DLOAD_STALE; default 0 = the error */
    uint32_t
        refresh_ahead_pct; /* before a TTL ends, one load in a while fetches anew: XFetch's beta in
                         percent; 100 suits most; default 0 = never; 0 .. 1000 */
    uint64_t idle_ttl_ns;  /* an entry that was not read for so long goes, within an eighth more;
                         default 0 = whenever its TTL ends */
#endif
    /* How long to keep an error other than MISSING: a TTL in ns, DLOAD_NEVER, 0 = drop; NULL = drop all.
     * Called with no lock held. */
    uint64_t (*error_ttl)(void *ctx, dload_status status);
    size_t max_batch; /* keys a call; default 100; 1 = no batching; <= 2^20 */
#if DLOAD_ASYNC
    uint64_t settle_ns;   /* a batch goes when no new key came for so long; default 0 = is found */
    uint64_t max_age_ns;  /* ... or when its oldest key is so old; default 10 * settle_ns */
    size_t max_in_flight; /* batches running side by side, but for _dispatch's; default 4 */
#endif
    size_t
        max_queue; /* keys waiting or running; default 65536. With DLOAD_ASYNC 0: keys waiting, rounded up
                         to whole batches; default max_batch; <= 254 batches */
#if DLOAD_ASYNC
    bool queue_wait; /* at max_queue: no = DLOAD_EAGAIN, yes = blocking calls wait; default no */
    uint64_t timeout_ns;   /* longest wait of a blocking call; default 30 s; DLOAD_NEVER */
    uint64_t run_limit_ns; /* longest run of a batch; default 60 s; DLOAD_NEVER; then abandoned */
#endif
    size_t max_key_bytes; /* DLOAD_STRING only; default 65536; beyond: DLOAD_ETOOBIG */
#if DLOAD_STORE
    /* The second level, asked for what the cache does not have, and given what the function answered; see SECOND
     * LEVEL. Must outlive the loader. NULL = none */
    dload_store *store;
    const char *
        store_name; /* keys in the store begin with it and a colon: 1 .. 64 of [A-Za-z0-9_.-], copied;
                         NULL = DLOAD_NAME */
    uint32_t
        store_version; /* of what a value means: a stored one of another is a miss; default 0 */
    uint64_t
        store_timeout_ns; /* longest request to the store, and no longer than run_limit_ns; default 1 s */
    uint64_t store_ttl_ns; /* life of a value in the store; default 0 = as in the cache */
    /* A store that knows leases promises a missing key to whoever asks first, for so long; others wait for what it
     * stores, and only who has the lease still can store. So a key is fetched once by all processes, and not
     * stored any more when it was cleared meanwhile. With leases DLOAD_FRESH removes the key from the store.
     * In loops nobody waits: keys that others have a lease of are fetched, and not stored. So it is where a
     * function returned DLOAD_PENDING: once _batch_done was called for the others it is called from there
     * with those that are left. default 10 s; DLOAD_NEVER = without leases */
    uint64_t store_lease_ns;
    /* For values that are more than their bytes; get ctx, run with no lock held, and may be called by several
     * threads. encode puts *value into bytes, *n_bytes of them; where cap_bytes are too few, says how many it
     * takes and is called again. decode makes a value, which is the loader's then. An error: not stored; a miss.
     * NULL = plain values are stored as they lie in memory, blobs as their bytes; others cannot be. */
    dload_status (*encode)(void *ctx, const DLOAD_I_V *value, void *bytes, size_t cap_bytes,
                           size_t *n_bytes);
    dload_status (*decode)(void *ctx, const void *bytes, size_t n_bytes, DLOAD_I_V *value);
    /* Named locks, held while the function fetches, so that one process at a time does; the store is asked again
     * when a lock is there. Blocks the caller, and so does not go with wake (DLOAD_EINVAL). Whoever answers after
     * DLOAD_PENDING gives the lock back in _batch_done, from whatever thread. A fetch from inside this loader's
     * fetch function takes no lock. With or without a store; must outlive the loader. NULL = none */
    dload_locks *locks;
    const char *lock_name; /* 1 .. 200 bytes, copied; NULL = "dataloader:" and the store's name */
    uint32_t
        lock_stripes; /* locks that keys are spread over, alike in every process: NAME/0, NAME/1 ...;
                         default 1 = one batch of the name at a time; <= 64 */
    uint64_t
        lock_wait_ns; /* longest wait for a batch's locks; then it fetches without; default 5 s */
#endif
#if DLOAD_HASH == DLOAD_HASH_SIP
    /* The secret of the hash, 128 bits that nobody can guess; default 0, 0 = one of this loader's own, from
     * env->random (which then must be fit for secrets), without that from the system (getrandom,
     * getentropy). DLOAD_EINVAL when neither gives one, as in a freestanding build without env->random. */
    uint64_t hash_key[2];
#endif
} DLOAD_I_FN(config);

/* What a cache without a loader is made from; fields as in the loader's configuration. */
typedef struct DLOAD_I_FN(cache_config) {
    const dload_env *env;
    size_t capacity;
#if DLOAD_I_WEIGHED
    uint64_t max_weight;
#endif
#if DLOAD_ON_REMOVE
    void (*on_remove)(void *ctx, DLOAD_I_FN(removed) * removed);
    void *ctx; /* handed to on_remove */
#endif
    size_t shards;
    uint64_t ttl_ns;
    uint32_t ttl_jitter_pct;
    uint64_t idle_ttl_ns;
    size_t max_key_bytes;
#if DLOAD_HASH == DLOAD_HASH_SIP
    uint64_t hash_key[2];
#endif
} DLOAD_I_FN(cache_config);

/* What an entry or a flight is known by. Private. */
typedef struct DLOAD_I_FN(i_ident) {
    uint64_t hash;
    DLOAD_I_K key;
#if DLOAD_GROUP
    uint64_t group;
#endif
} DLOAD_I_FN(i_ident);

#endif /* DLOAD_I_HAVE_TYPES */
