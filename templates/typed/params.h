/* >>params -- the parameters of one loader: required ones, defaults, and what is not allowed.
 *
 * Everything a user may have got wrong is said here, in a sentence that names the macro and its
 * allowed values; the parts below may then assume that each parameter is defined and valid.
 */
#ifndef DLOAD_I_HAVE_PARAMS
#define DLOAD_I_HAVE_PARAMS

#include "../runtime/port.h"
#include "../runtime/key.h"

#ifndef DLOAD_NAME
#error "dataloader.h: DLOAD_NAME is missing: define it as the loader's type name and prefix"
#endif
#ifndef DLOAD_KEY
#error "dataloader.h: DLOAD_KEY is missing: define it as a primitive type, e.g. uint64_t"
#endif
#ifndef DLOAD_VALUE
#error "dataloader.h: DLOAD_VALUE is missing: define it as any copyable type, or DLOAD_BLOB"
#endif

/* ---- choices ---- */
#ifndef DLOAD_LOCK
#define DLOAD_LOCK DLOAD_LOCK_NONE
#endif
#if DLOAD_LOCK < DLOAD_LOCK_NONE || DLOAD_LOCK > DLOAD_LOCK_CUSTOM
#error \
    "dataloader.h: DLOAD_LOCK must be DLOAD_LOCK_NONE, DLOAD_LOCK_SPIN, DLOAD_LOCK_PTHREAD or DLOAD_LOCK_CUSTOM"
#endif
#if DLOAD_I_ONE_THREAD && DLOAD_LOCK != DLOAD_LOCK_NONE
#error "dataloader.h: DLOAD_LOCK must be DLOAD_LOCK_NONE with tcc, which has no atomics"
#endif
#if DLOAD_LOCK == DLOAD_LOCK_PTHREAD && DLOAD_FREESTANDING
#error \
    "dataloader.h: DLOAD_LOCK_PTHREAD needs a hosted build: DLOAD_FREESTANDING allows NONE, SPIN and CUSTOM"
#endif
#if DLOAD_LOCK == DLOAD_LOCK_CUSTOM
#if !defined(DLOAD_CUSTOM_TYPE)
#error \
    "dataloader.h: DLOAD_LOCK_CUSTOM needs DLOAD_CUSTOM_TYPE: what a critical section remembers, e.g. uint32_t for the interrupt mask it found, or char for nothing"
#endif
#if !defined(DLOAD_CUSTOM_INIT)
#error \
    "dataloader.h: DLOAD_LOCK_CUSTOM needs DLOAD_CUSTOM_INIT(p): makes *p, a DLOAD_CUSTOM_TYPE, ready; ((void)(p)) when there is nothing to do"
#endif
#if !defined(DLOAD_CUSTOM_ENTER) || !defined(DLOAD_CUSTOM_LEAVE)
#error \
    "dataloader.h: DLOAD_LOCK_CUSTOM needs DLOAD_CUSTOM_ENTER(p) and DLOAD_CUSTOM_LEAVE(p): the critical section"
#endif
#if !DLOAD_I_SWAPS && DLOAD_I_VKIND_OF(DLOAD_VALUE) == DLOAD_I_VKIND_BLOB
#error \
    "dataloader.h: DLOAD_BLOB under DLOAD_LOCK_CUSTOM needs a core with compare-and-swap, for its reference counts: use a plain value, or DLOAD_VALUE_REF and _UNREF of your own"
#endif
#endif

#ifndef DLOAD_EVICT
#define DLOAD_EVICT DLOAD_EVICT_AUTO
#endif
#if DLOAD_EVICT < DLOAD_EVICT_NONE || DLOAD_EVICT > DLOAD_EVICT_ADAPTIVE
#error \
    "dataloader.h: DLOAD_EVICT must be DLOAD_EVICT_NONE, _FIFO, _CLOCK, _LRU, _SIEVE, _S3FIFO, _ADAPTIVE or _AUTO"
#endif

#ifndef DLOAD_CLOCK
#define DLOAD_CLOCK DLOAD_CLOCK_ENV
#endif
#if DLOAD_CLOCK < DLOAD_CLOCK_ENV || DLOAD_CLOCK > DLOAD_CLOCK_MANUAL
#error "dataloader.h: DLOAD_CLOCK must be DLOAD_CLOCK_ENV, _COARSE, _PRECISE or _MANUAL"
#endif
#if DLOAD_FREESTANDING && (DLOAD_CLOCK == DLOAD_CLOCK_COARSE || DLOAD_CLOCK == DLOAD_CLOCK_PRECISE)
#error "dataloader.h: DLOAD_FREESTANDING has no clock of its own: use DLOAD_CLOCK_ENV or _MANUAL"
#endif

#ifndef DLOAD_HASH
#define DLOAD_HASH DLOAD_HASH_FAST
#endif
#if DLOAD_HASH != DLOAD_HASH_FAST && DLOAD_HASH != DLOAD_HASH_SIP
#error "dataloader.h: DLOAD_HASH must be DLOAD_HASH_FAST or DLOAD_HASH_SIP"
#endif

#ifndef DLOAD_LINKAGE
#define DLOAD_LINKAGE DLOAD_LINKAGE_STATIC
#endif
#if DLOAD_LINKAGE < DLOAD_LINKAGE_STATIC || DLOAD_LINKAGE > DLOAD_LINKAGE_DEFINE
#error "dataloader.h: DLOAD_LINKAGE must be DLOAD_LINKAGE_STATIC, _DECLARE or _DEFINE"
#endif

/* ---- switches ---- */
#ifndef DLOAD_TTL
#define DLOAD_TTL 1
#endif
#if DLOAD_TTL != 0 && DLOAD_TTL != 1
#error "dataloader.h: DLOAD_TTL must be 0 (entries never expire) or 1"
#endif
#ifndef DLOAD_REFRESH
#define DLOAD_REFRESH 0
#endif
#if DLOAD_REFRESH != 0 && DLOAD_REFRESH != 1
#error \
    "dataloader.h: DLOAD_REFRESH must be 0 or 1 (values past their TTL, early refreshes, idle TTLs)"
#endif
#if DLOAD_REFRESH && !DLOAD_TTL
#error "dataloader.h: DLOAD_REFRESH needs DLOAD_TTL 1: what never expires is never past its TTL"
#endif
#ifndef DLOAD_GROUP
#define DLOAD_GROUP 0
#endif
#if DLOAD_GROUP != 0 && DLOAD_GROUP != 1
#error "dataloader.h: DLOAD_GROUP must be 0 or 1 (a key is known by its group, too)"
#endif
#ifndef DLOAD_STATS
#define DLOAD_STATS 1
#endif
#if DLOAD_STATS != 0 && DLOAD_STATS != 1
#error "dataloader.h: DLOAD_STATS must be 0 (no counters) or 1"
#endif
#ifndef DLOAD_ASYNC
#define DLOAD_ASYNC 1
#endif
#if DLOAD_ASYNC != 0 && DLOAD_ASYNC != 1
#error "dataloader.h: DLOAD_ASYNC must be 0 (one caller, and nothing waits) or 1"
#endif

#ifndef DLOAD_SNAPSHOT
#define DLOAD_SNAPSHOT 0
#endif
#if DLOAD_SNAPSHOT != 0 && DLOAD_SNAPSHOT != 1
#error "dataloader.h: DLOAD_SNAPSHOT must be 0 or 1 (the cache can be saved and restored)"
#endif
#ifndef DLOAD_STORE
#define DLOAD_STORE 0
#endif
#if DLOAD_STORE != 0 && DLOAD_STORE != 1
#error "dataloader.h: DLOAD_STORE must be 0 or 1 (config.store is a second level)"
#endif
#ifndef DLOAD_ON_REMOVE
#define DLOAD_ON_REMOVE 0
#endif
#if DLOAD_ON_REMOVE != 0 && DLOAD_ON_REMOVE != 1
#error \
    "dataloader.h: DLOAD_ON_REMOVE must be 0 or 1 (config.on_remove is told what leaves the cache)"
#endif
#ifdef DLOAD_WEIGHT
#define DLOAD_I_WEIGHED 1
#else
#define DLOAD_I_WEIGHED 0
#endif
#ifndef DLOAD_COMPACT
#define DLOAD_COMPACT 0
#endif
#if DLOAD_COMPACT != 0 && DLOAD_COMPACT != 1
#error "dataloader.h: DLOAD_COMPACT must be 0 or 1 (the cache is small rather than fast)"
#endif

/* ---- the key: recognised by name, because sizeof says nothing about meaning ---- */
#ifdef DLOAD_KEY_AS
#define DLOAD_I_KEY_NAME DLOAD_KEY_AS
#else
#define DLOAD_I_KEY_NAME DLOAD_KEY
#endif
#define DLOAD_I_KEY_KIND DLOAD_I_KIND_OF(DLOAD_I_KEY_NAME)
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_UNKNOWN
#error \
    "dataloader.h: DLOAD_KEY must be one of bool, char, int8_t .. int64_t, uint8_t .. uint64_t, int, unsigned, long, size_t, float, double, DLOAD_STRING or DLOAD_ID128; for a typedef or an enum name the primitive behind it in DLOAD_KEY_AS; a struct or pointer is never a key (dload_key_enc makes one DLOAD_STRING of several fields)"
#endif
#if defined(DLOAD_KEY_AS) && \
    (DLOAD_I_KEY_KIND == DLOAD_I_KIND_STRING || DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128)
#error \
    "dataloader.h: DLOAD_KEY_AS must be a scalar: use DLOAD_KEY DLOAD_STRING or DLOAD_ID128 itself"
#endif

#if DLOAD_COMPACT
#if DLOAD_LOCK == DLOAD_LOCK_SPIN || DLOAD_LOCK == DLOAD_LOCK_PTHREAD
#error "dataloader.h: DLOAD_COMPACT needs DLOAD_LOCK_NONE or DLOAD_LOCK_CUSTOM"
#endif
#if DLOAD_EVICT == DLOAD_EVICT_AUTO
#undef DLOAD_EVICT
#define DLOAD_EVICT DLOAD_EVICT_CLOCK
#elif DLOAD_EVICT > DLOAD_EVICT_CLOCK
#error "dataloader.h: DLOAD_COMPACT knows DLOAD_EVICT_NONE, _FIFO, _CLOCK and _AUTO, which is CLOCK"
#endif
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_STRING
#error "dataloader.h: DLOAD_COMPACT has no DLOAD_STRING keys: use a scalar or DLOAD_ID128"
#endif
#if DLOAD_HASH == DLOAD_HASH_SIP
#error "dataloader.h: DLOAD_COMPACT has a hash of its own: DLOAD_HASH_SIP does not go with it"
#endif
#if DLOAD_REFRESH
#error "dataloader.h: DLOAD_COMPACT knows one time of an entry, its end: no DLOAD_REFRESH"
#endif
#if DLOAD_GROUP
#error "dataloader.h: DLOAD_COMPACT does not know groups: no DLOAD_GROUP"
#endif
#if DLOAD_I_WEIGHED
#error "dataloader.h: DLOAD_COMPACT counts entries: no DLOAD_WEIGHT"
#endif
#if DLOAD_SNAPSHOT
#error "dataloader.h: DLOAD_COMPACT has no snapshots: no DLOAD_SNAPSHOT"
#endif
#if DLOAD_STORE
#error "dataloader.h: DLOAD_COMPACT has no second level: no DLOAD_STORE"
#endif
#endif

/* ---- the value: plain, referenced, copied, or a blob ---- */
#define DLOAD_I_VALUE_IS_BLOB (DLOAD_I_VKIND_OF(DLOAD_VALUE) == DLOAD_I_VKIND_BLOB)
#if defined(DLOAD_VALUE_REF) != defined(DLOAD_VALUE_UNREF)
#error "dataloader.h: DLOAD_VALUE_REF and DLOAD_VALUE_UNREF come together: define both or neither"
#endif
#if defined(DLOAD_VALUE_COPY) != defined(DLOAD_VALUE_FREE)
#error "dataloader.h: DLOAD_VALUE_COPY and DLOAD_VALUE_FREE come together: define both or neither"
#endif
#if defined(DLOAD_VALUE_REF) && defined(DLOAD_VALUE_COPY)
#error "dataloader.h: DLOAD_VALUE_REF/UNREF and DLOAD_VALUE_COPY/FREE exclude each other"
#endif
#if DLOAD_I_VALUE_IS_BLOB && (defined(DLOAD_VALUE_REF) || defined(DLOAD_VALUE_COPY))
#error "dataloader.h: DLOAD_BLOB brings its own ownership: leave DLOAD_VALUE_REF/COPY undefined"
#endif
#if DLOAD_I_VALUE_IS_BLOB || defined(DLOAD_VALUE_REF) || defined(DLOAD_VALUE_COPY)
#define DLOAD_I_OWNED 1
#else
#define DLOAD_I_OWNED 0
#endif

#if !DLOAD_ASYNC
#if DLOAD_LOCK != DLOAD_LOCK_NONE
#error "dataloader.h: DLOAD_ASYNC 0 needs DLOAD_LOCK_NONE: nobody waits for another caller"
#endif
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_STRING
#error "dataloader.h: DLOAD_ASYNC 0 has no DLOAD_STRING keys: use a scalar or DLOAD_ID128"
#endif
#if DLOAD_I_OWNED || DLOAD_ON_REMOVE
#error \
    "dataloader.h: DLOAD_ASYNC 0 is for plain values: no DLOAD_VALUE_REF, _COPY, DLOAD_BLOB or DLOAD_ON_REMOVE"
#endif
#if DLOAD_REFRESH || DLOAD_GROUP || DLOAD_SNAPSHOT || DLOAD_STORE
#error \
    "dataloader.h: DLOAD_ASYNC 0 does not go with DLOAD_REFRESH, DLOAD_GROUP, DLOAD_SNAPSHOT or DLOAD_STORE"
#endif
#endif

/* How values leave the process unless there is an encode: 0 not at all, 1 as they lie in memory, 2 as a blob's
 * bytes; with one, 3. */
#if DLOAD_I_VALUE_IS_BLOB
#define DLOAD_I_VALUE_FORM 2u
#elif DLOAD_I_OWNED
#define DLOAD_I_VALUE_FORM 0u
#else
#define DLOAD_I_VALUE_FORM 1u
#endif

/* Has what leaves the cache to be dealt with once no lock is held? May it be more than one value for one
 * that came? And does a batch, which stores under the loader's mutex, have to remember that? */
#if DLOAD_I_OWNED || DLOAD_ON_REMOVE
#define DLOAD_I_LEAVES 1
#else
#define DLOAD_I_LEAVES 0
#endif
#if DLOAD_I_LEAVES && DLOAD_I_WEIGHED
#define DLOAD_I_KILLS 1
#else
#define DLOAD_I_KILLS 0
#endif
#if DLOAD_I_KILLS || DLOAD_ON_REMOVE
#define DLOAD_I_OWES 1
#else
#define DLOAD_I_OWES 0
#endif

/* ---- shorthands of this instance ---- */
#define DLOAD_I_FN(word)  DLOAD_I_JOIN(DLOAD_NAME, word)
#define DLOAD_I_IS_STRING (DLOAD_I_KEY_KIND == DLOAD_I_KIND_STRING)
#define DLOAD_I_THREADED  (DLOAD_LOCK != DLOAD_LOCK_NONE)
/* Are there processors that run side by side, and so many locks? A critical section is one for all. */
#define DLOAD_I_SHARDED (DLOAD_LOCK == DLOAD_LOCK_SPIN || DLOAD_LOCK == DLOAD_LOCK_PTHREAD)
/* Do hits read without the lock? Values that are copied byte by byte can be; see read.h. */
#define DLOAD_I_LOCKLESS \
    (DLOAD_I_SHARDED && !DLOAD_COMPACT && !DLOAD_I_OWNED && DLOAD_I_WIDE_ATOMICS)
#define DLOAD_I_BODIES (DLOAD_LINKAGE != DLOAD_LINKAGE_DECLARE)
#if DLOAD_STATS
#define DLOAD_I_COUNT_HIT(s) ((void)(s)->hits++)
#else
#define DLOAD_I_COUNT_HIT(s) ((void)(s))
#endif
#if DLOAD_LINKAGE == DLOAD_LINKAGE_STATIC
#define DLOAD_I_API DLOAD_I_UNUSED static
/* A hit is worth having in the caller's loop, unless size counts. */
#if defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__)
#define DLOAD_I_HOT DLOAD_I_INLINE
#else
#define DLOAD_I_HOT DLOAD_I_UNUSED static inline
#endif
#else
#define DLOAD_I_API
#define DLOAD_I_HOT
#endif

#endif /* DLOAD_I_HAVE_PARAMS */
