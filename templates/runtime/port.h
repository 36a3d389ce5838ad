/* >>port -- compilers, platforms and the few things that C spells differently everywhere.
 *
 * Nothing here knows what a loader is. Feature macros are always 0 or 1, so that -Wundef finds a
 * misspelt one.
 */
#ifndef DLOAD_I_PORT_H
#define DLOAD_I_PORT_H

#define DLOAD_VERSION          100 /* 10000 * major + 100 * minor + patch */
#define DLOAD_VERSION_STRING   "0.1.0"
#define DLOAD_TEMPLATE_VERSION 1 /* of what generated wrappers rely on */

#ifndef DLOAD_FREESTANDING
#define DLOAD_FREESTANDING 0
#endif
#ifndef DLOAD_XXHASH
#define DLOAD_XXHASH 0
#endif
#ifndef DLOAD_NO_SIMD
#define DLOAD_NO_SIMD 0
#endif
#ifndef DLOAD_LARGE_PAGES
#define DLOAD_LARGE_PAGES 1
#endif
#ifndef DLOAD_LOOSE_POINTERS
#define DLOAD_LOOSE_POINTERS 0
#endif

/* A strict -std=c11 hides the monotonic clock; asking for it adds names and removes none. It helps
 * when this header comes first; env.h copes when it does not. */
#if !DLOAD_FREESTANDING && defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE) && \
    !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if DLOAD_FREESTANDING
/* Every compiler may call these by itself, so that a freestanding program has them anyway. */
#ifdef __cplusplus
extern "C" {
#endif
void *memcpy(void *to, const void *from, size_t n_bytes);
void *memmove(void *to, const void *from, size_t n_bytes);
void *memset(void *to, int byte, size_t n_bytes);
int memcmp(const void *a, const void *b, size_t n_bytes);
#ifdef __cplusplus
}
#endif
#else
#include <string.h>
#endif

/* Choices start at 1: a misspelt one is 0 to the preprocessor and meets our #error. */
#define DLOAD_LOCK_NONE    1
#define DLOAD_LOCK_SPIN    2
#define DLOAD_LOCK_PTHREAD 3
#define DLOAD_LOCK_CUSTOM  4

#define DLOAD_EVICT_NONE     1
#define DLOAD_EVICT_FIFO     2
#define DLOAD_EVICT_CLOCK    3
#define DLOAD_EVICT_LRU      4
#define DLOAD_EVICT_SIEVE    5
#define DLOAD_EVICT_S3FIFO   6
#define DLOAD_EVICT_AUTO     7
#define DLOAD_EVICT_ADAPTIVE 8

#define DLOAD_HASH_FAST 1
#define DLOAD_HASH_SIP  2

#define DLOAD_CLOCK_ENV     1
#define DLOAD_CLOCK_COARSE  2
#define DLOAD_CLOCK_PRECISE 3
#define DLOAD_CLOCK_MANUAL  4

#define DLOAD_LINKAGE_STATIC  1
#define DLOAD_LINKAGE_DECLARE 2
#define DLOAD_LINKAGE_DEFINE  3

/* Times are uint64_t nanoseconds. */
#define DLOAD_MICROSECOND UINT64_C(1000)
#define DLOAD_MILLISECOND UINT64_C(1000000)
#define DLOAD_SECOND      UINT64_C(1000000000)
#define DLOAD_NEVER       UINT64_MAX

/* Special values of config.capacity. */
#define DLOAD_UNBOUNDED SIZE_MAX
#define DLOAD_NO_CACHE  (SIZE_MAX - 1u)

/* Flags: of _prime, and of dload_call.flags. */
#define DLOAD_OVERWRITE 1u /* replace what is cached */
#define DLOAD_FRESH     2u /* fetch even when the cache has it */
#define DLOAD_PIN       4u /* _prime: the entry is not evicted; see _pin */

#define DLOAD_I_TEXT_OF_(x)       #x
#define DLOAD_I_TEXT_OF(x)        DLOAD_I_TEXT_OF_(x)
#define DLOAD_I_CAT_(a, b)        a##b
#define DLOAD_I_CAT(a, b)         DLOAD_I_CAT_(a, b)
#define DLOAD_I_JOIN_(name, word) name##_##word
#define DLOAD_I_JOIN(name, word)  DLOAD_I_JOIN_(name, word)

#if defined(__TINYC__)
/* Knows neither atomics nor variables of a thread's own: loaders of one thread, DLOAD_LOCK_NONE. */
#define DLOAD_I_ONE_THREAD 1
#define DLOAD_I_UNUSED
#define DLOAD_I_INLINE      static inline
#define DLOAD_I_NOINLINE    static
#define DLOAD_I_COLD        static
#define DLOAD_I_LIKELY(x)   (x)
#define DLOAD_I_UNLIKELY(x) (x)
#define DLOAD_I_PREFETCH(p) ((void)(p))
#elif defined(__GNUC__) || defined(__clang__)
#define DLOAD_I_ONE_THREAD  0
#define DLOAD_I_UNUSED      __attribute__((__unused__))
#define DLOAD_I_INLINE      __attribute__((__unused__, __always_inline__)) static inline
#define DLOAD_I_NOINLINE    __attribute__((__unused__, __noinline__)) static
/* What a program runs once, or when something is wrong: small rather than fast. */
#define DLOAD_I_COLD        __attribute__((__unused__, __noinline__, __cold__)) static
#define DLOAD_I_LIKELY(x)   __builtin_expect(!!(x), 1)
#define DLOAD_I_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define DLOAD_I_PREFETCH(p) __builtin_prefetch((p), 0, 3)
#else
#error "dataloader.h: this compiler is not supported yet: gcc, clang and tcc are"
#endif
#define DLOAD_I_LOCAL DLOAD_I_UNUSED static

#ifdef __cplusplus
#define DLOAD_I_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define DLOAD_I_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

/* Our invariants; off unless the user defines DLOAD_ASSERT(condition). */
#ifndef DLOAD_ASSERT
#define DLOAD_ASSERT(condition) ((void)0)
#endif

/* Can eight bytes be read and written at once? */
#if defined(__GCC_ATOMIC_LLONG_LOCK_FREE) && __GCC_ATOMIC_LLONG_LOCK_FREE == 2 && \
    UINTPTR_MAX > 0xffffffffu
#define DLOAD_I_WIDE_ATOMICS 1
#else
#define DLOAD_I_WIDE_ATOMICS 0
#endif
/* Is there a compare-and-swap? A core without has no second processor. */
#if DLOAD_I_ONE_THREAD
#define DLOAD_I_SWAPS 0
#elif !DLOAD_FREESTANDING || \
    (defined(__GCC_ATOMIC_INT_LOCK_FREE) && __GCC_ATOMIC_INT_LOCK_FREE == 2)
#define DLOAD_I_SWAPS 1
#else
#define DLOAD_I_SWAPS 0
#endif

/* Atomics on plain fields: _Atomic in a struct would keep C++ out. */
#if DLOAD_I_ONE_THREAD
#define DLOAD_I_LOAD_AS(p, order)     (*(p))
#define DLOAD_I_STORE_AS(p, v, order) ((void)(*(p) = (v)))
#elif !DLOAD_I_WIDE_ATOMICS
/* Eight bytes would be a call into a library that may not be there. They are under a lock, or do no harm when
 * torn (of an address only one half is not 0); a time that is read without one is a dload_i_moment. */
#define DLOAD_I_LOAD_AS(p, order) \
    (sizeof *(p) > sizeof(void *) ? *(p) : __atomic_load_n((p), (order)))
#define DLOAD_I_STORE_AS(p, v, order) \
    (sizeof *(p) > sizeof(void *) ? (void)(*(p) = (v)) : __atomic_store_n((p), (v), (order)))
#else
#define DLOAD_I_LOAD_AS(p, order)     __atomic_load_n((p), (order))
#define DLOAD_I_STORE_AS(p, v, order) __atomic_store_n((p), (v), (order))
#endif
#define DLOAD_I_LOAD_RELAXED(p)     DLOAD_I_LOAD_AS(p, __ATOMIC_RELAXED)
#define DLOAD_I_LOAD_ACQUIRE(p)     DLOAD_I_LOAD_AS(p, __ATOMIC_ACQUIRE)
#define DLOAD_I_STORE_RELAXED(p, v) DLOAD_I_STORE_AS(p, v, __ATOMIC_RELAXED)
#define DLOAD_I_STORE_RELEASE(p, v) DLOAD_I_STORE_AS(p, v, __ATOMIC_RELEASE)

#define DLOAD_I_ALIGNOF(type) __alignof__(type)

/* Reference counts. Without compare-and-swap there is one thread, and interrupts that only read. */
#if !DLOAD_I_SWAPS
#define DLOAD_I_ADD(p, v) (*(p) += (v))
#define DLOAD_I_SUB(p, v) (*(p) -= (v))
#else
#define DLOAD_I_ADD(p, v) __atomic_add_fetch((p), (v), __ATOMIC_RELAXED)
#define DLOAD_I_SUB(p, v) __atomic_sub_fetch((p), (v), __ATOMIC_ACQ_REL)
#endif

/* The rest of what threads need; where there is one, things as they are. */
#if DLOAD_I_ONE_THREAD
#define DLOAD_I_ADD_ORDERED(p, v) DLOAD_I_ADD(p, v)
#define DLOAD_I_SUB_ORDERED(p, v) DLOAD_I_SUB(p, v)
#define DLOAD_I_TAKE(p)           (*(p) != 0 || (*(p) = 1, false))
#define DLOAD_I_COMPILER_FENCE()  ((void)0)
#define DLOAD_I_OF_PROGRAM        static
#define DLOAD_I_OF_THREAD         static
#else
#define DLOAD_I_ADD_ORDERED(p, v) __atomic_add_fetch((p), (v), __ATOMIC_SEQ_CST)
#define DLOAD_I_SUB_ORDERED(p, v) __atomic_sub_fetch((p), (v), __ATOMIC_SEQ_CST)
#define DLOAD_I_TAKE(p)           (__atomic_exchange_n((p), 1u, __ATOMIC_ACQUIRE) != 0)
#define DLOAD_I_COMPILER_FENCE()  __atomic_signal_fence(__ATOMIC_SEQ_CST)
/* A variable that all translation units share, and one of each thread. */
#define DLOAD_I_OF_PROGRAM        __attribute__((__weak__))
#define DLOAD_I_OF_THREAD         __attribute__((__weak__)) __thread
#endif

/* A time that one writer at a time sets, and never back, while others read it without a lock. */
#if DLOAD_I_WIDE_ATOMICS
typedef uint64_t dload_i_moment;

DLOAD_I_INLINE uint64_t dload_i_moment_of(const dload_i_moment *m)
{
    return DLOAD_I_LOAD_RELAXED(m);
}

DLOAD_I_INLINE void dload_i_moment_set(dload_i_moment *m, uint64_t now_ns)
{
    DLOAD_I_STORE_RELAXED(m, now_ns);
}
#else
/* In words of four bytes. Written from last to first and read from first to last: where both upper halves
 * are the same, the lower one is of their time; where not, time passes from one to the other just now. */
typedef struct dload_i_moment {
    uint32_t high, low, next_high;
} dload_i_moment;

DLOAD_I_INLINE uint64_t dload_i_moment_of(const dload_i_moment *m)
{
    uint32_t high = DLOAD_I_LOAD_ACQUIRE(&m->high);
    uint32_t low = DLOAD_I_LOAD_ACQUIRE(&m->low);
    uint32_t next_high = DLOAD_I_LOAD_ACQUIRE(&m->next_high);
    return (uint64_t)next_high << 32 | (high == next_high ? low : 0u);
}

DLOAD_I_INLINE void dload_i_moment_set(dload_i_moment *m, uint64_t now_ns)
{
    DLOAD_I_STORE_RELEASE(&m->next_high, (uint32_t)(now_ns >> 32));
    DLOAD_I_STORE_RELEASE(&m->low, (uint32_t)now_ns);
    DLOAD_I_STORE_RELEASE(&m->high, (uint32_t)(now_ns >> 32));
}
#endif

/* Tells the processor that this is a waiting loop. */
DLOAD_I_INLINE void dload_i_pause(void)
{
#if DLOAD_I_ONE_THREAD
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

/* The index of the lowest set bit; x is not 0. */
DLOAD_I_INLINE uint32_t dload_i_ctz32(uint32_t x)
{
#if DLOAD_I_ONE_THREAD || \
    (DLOAD_FREESTANDING && !defined(__x86_64__) && !defined(__i386__) && !defined(__aarch64__))
    /* Without an instruction for it the compiler would call into libgcc. */
    uint32_t n = 0;
    for (; (x & 0xffu) == 0; x >>= 8)
        n += 8;
    for (; (x & 1u) == 0; x >>= 1)
        n++;
    return n;
#else
    return (uint32_t)__builtin_ctz(x);
#endif
}

DLOAD_I_INLINE uint32_t dload_i_ctz64(uint64_t x)
{
    return (uint32_t)x != 0 ? dload_i_ctz32((uint32_t)x) : 32 + dload_i_ctz32((uint32_t)(x >> 32));
}

/* The smallest power of two that is >= x; x is 1 .. 2^31. */
DLOAD_I_INLINE uint32_t dload_i_pow2_up(uint32_t x)
{
    uint32_t p = 1;
    while (p < x)
        p <<= 1;
    return p;
}

/* a * b, or false when it does not fit. */
DLOAD_I_INLINE bool dload_i_mul_size(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

/* a + b for times and deadlines: DLOAD_NEVER stays never, and nothing wraps. */
DLOAD_I_INLINE uint64_t dload_i_add_ns(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns > DLOAD_NEVER - b_ns ? DLOAD_NEVER : a_ns + b_ns;
}

/* Plans one block for several arrays: where an array of n items of item_bytes goes, and *total_bytes
 * grows by it. Arrays begin on 64-byte lines. A total of SIZE_MAX means that it does not fit. */
DLOAD_I_NOINLINE size_t dload_i_carve(size_t *total_bytes, size_t n, size_t item_bytes)
{
    size_t n_bytes = 0;
    size_t at = *total_bytes;
    if (at > SIZE_MAX - 64 || !dload_i_mul_size(n, item_bytes, &n_bytes)) {
        *total_bytes = SIZE_MAX;
        return 0;
    }
    at = (at + 63) & ~(size_t)63;
    *total_bytes = n_bytes > SIZE_MAX - 64 - at ? SIZE_MAX : at + n_bytes;
    return at;
}

#endif /* DLOAD_I_PORT_H */
