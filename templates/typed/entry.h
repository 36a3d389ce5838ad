/* >>entry -- what an entry is made of, in whatever table: its key in its one form, its value, the time.
 *
 * No user code runs but the REF and COPY hooks of owned values.
 */
#ifndef DLOAD_I_HAVE_ENTRY
#define DLOAD_I_HAVE_ENTRY

#include "ident.h"
#include "leave.h"
#include "../runtime/chains.h"

#if DLOAD_I_BODIES

/* ---- keys ---- */

/* Brings a key to its one form; DLOAD_EKEY or DLOAD_ETOOBIG when it cannot be a key. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_canon)(DLOAD_I_K *key, size_t max_key_bytes)
{
#if DLOAD_COMPACT && DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT
    uint32_t bits = 0; /* without a comparison that a small core has in a library */
    memcpy(&bits, key, sizeof bits);
    if (bits << 1 > 0xff000000u)
        return DLOAD_EKEY;
    if (bits << 1 == 0)
        *key = 0;
#elif DLOAD_COMPACT && DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    uint64_t bits = 0;
    memcpy(&bits, key, sizeof bits);
    if (bits << 1 > UINT64_C(0xffe) << 52)
        return DLOAD_EKEY;
    if (bits << 1 == 0)
        *key = 0;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT || DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    if (!(*key <= 0) && !(*key > 0))
        return DLOAD_EKEY; /* NaN is not even equal to itself */
    if (!(*key < 0) && !(*key > 0))
        *key = 0; /* -0.0 */
#elif DLOAD_I_IS_STRING
    if (key->ptr == NULL && key->len != 0)
        return DLOAD_EKEY;
    if (key->len > max_key_bytes)
        return DLOAD_ETOOBIG;
#endif
    (void)key;
    (void)max_key_bytes;
    return DLOAD_OK;
}

DLOAD_I_INLINE bool DLOAD_I_FN(i_same)(const DLOAD_I_K *a, const DLOAD_I_K *b)
{
#if DLOAD_I_IS_STRING
    return a->len == b->len && (a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0);
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_INTEGER || DLOAD_I_KEY_KIND == DLOAD_I_KIND_BOOL
    return *a == *b;
#else
    return memcmp(a, b, sizeof *a) == 0;
#endif
}

/* ---- values ---- */

/* Another owner of the same value, or a copy of it. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_copy)(DLOAD_I_V *to, const DLOAD_I_V *from)
{
#if DLOAD_I_VALUE_IS_BLOB
    *to = dload_blob_retain(*from);
#elif defined(DLOAD_VALUE_COPY)
    if (!(DLOAD_VALUE_COPY(to, from)))
        return DLOAD_ENOMEM;
#else
    *to = *from;
#if defined(DLOAD_VALUE_REF)
    DLOAD_VALUE_REF(to);
#endif
#endif
    return DLOAD_OK;
}

/* The end of an owned value; no lock is held. */
DLOAD_I_INLINE void DLOAD_I_FN(i_release)(DLOAD_I_V *value)
{
#if DLOAD_I_VALUE_IS_BLOB
    dload_blob_release(value);
#elif defined(DLOAD_VALUE_FREE)
    DLOAD_VALUE_FREE(value);
#elif defined(DLOAD_VALUE_UNREF)
    DLOAD_VALUE_UNREF(value);
#endif
    (void)value;
}

/* ---- time ---- */

#if DLOAD_COMPACT

/* Now, for whoever holds the lock: it may be the lock that keeps the two halves of a time together. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_time)(const DLOAD_I_CACHE *c)
{
    (void)c;
#if DLOAD_CLOCK == DLOAD_CLOCK_ENV
    if (c->env->now != NULL)
        return c->env->now(c->env->ctx);
#endif
#if DLOAD_CLOCK == DLOAD_CLOCK_COARSE
    return dload_i_clock_coarse(NULL);
#elif DLOAD_CLOCK == DLOAD_CLOCK_PRECISE
    return dload_i_clock_precise(NULL);
#else
    return c->manual_ns;
#endif
}

/* ... and for others. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_now)(const DLOAD_I_CACHE *c)
{
#if DLOAD_I_THREADED && (DLOAD_CLOCK == DLOAD_CLOCK_ENV || DLOAD_CLOCK == DLOAD_CLOCK_MANUAL)
    DLOAD_I_SHARD *s = (DLOAD_I_SHARD *)(uintptr_t)&c->one;
    DLOAD_I_ACQUIRE(&s->lock);
    uint64_t now_ns = DLOAD_I_FN(i_time)(c);
    DLOAD_I_RELEASE(&s->lock);
    return now_ns;
#else
    return DLOAD_I_FN(i_time)(c);
#endif
}

/* The caller says what time it is. */
DLOAD_I_INLINE void DLOAD_I_FN(i_set_now)(DLOAD_I_CACHE *c, uint64_t now_ns)
{
    DLOAD_I_ACQUIRE(&c->one.lock);
    if (now_ns > c->manual_ns)
        c->manual_ns = now_ns;
    DLOAD_I_RELEASE(&c->one.lock);
}

#else

DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_now)(const DLOAD_I_CACHE *c)
{
#if DLOAD_CLOCK == DLOAD_CLOCK_COARSE
    (void)c;
    return dload_i_clock_coarse(NULL);
#elif DLOAD_CLOCK == DLOAD_CLOCK_PRECISE
    (void)c;
    return dload_i_clock_precise(NULL);
#else
#if DLOAD_CLOCK == DLOAD_CLOCK_ENV
    if (c->env->now != NULL)
        return c->env->now(c->env->ctx);
#endif
    return dload_i_moment_of(&c->manual);
#endif
}

/* The caller says what time it is. */
DLOAD_I_INLINE void DLOAD_I_FN(i_set_now)(DLOAD_I_CACHE *c, uint64_t now_ns)
{
    if (c->n_shards != 0)
        DLOAD_I_ACQUIRE(&c->shard[0].lock);
    if (now_ns > dload_i_moment_of(&c->manual))
        dload_i_moment_set(&c->manual, now_ns);
    if (c->n_shards != 0)
        DLOAD_I_RELEASE(&c->shard[0].lock);
}

#endif /* DLOAD_COMPACT */

#if DLOAD_TTL

#if DLOAD_COMPACT

/* A TTL in ns, shortened by up to jitter_pct percent. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_jitter)(DLOAD_I_CACHE *c, uint64_t ttl_ns)
{
    if (c->jitter_part == 0)
        return ttl_ns;
    uint32_t r = 0;
    if (c->env->random != NULL) {
        r = (uint32_t)(c->env->random(c->env->ctx) >> 32);
    } else {
        c->seed += 0x9e3779b9u; /* a fixed sequence: Weyl's, mixed */
        r = dload_i_mix32(c->seed);
    }
    return ttl_ns - dload_i_part_of(ttl_ns, (r >> 16) * c->jitter_part >> 16);
}

#else

DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_random)(DLOAD_I_CACHE *c)
{
    if (c->env->random != NULL)
        return c->env->random(c->env->ctx);
    /* a fixed sequence: Weyl's, mixed; a lost update between threads does no harm */
    uint64_t r = DLOAD_I_LOAD_RELAXED(&c->seed) + UINT64_C(0x9e3779b97f4a7c15);
    DLOAD_I_STORE_RELAXED(&c->seed, r);
    return dload_i_mix64(r);
}

/* A TTL in ns, shortened by up to jitter_pct percent. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_jitter)(DLOAD_I_CACHE *c, uint64_t ttl_ns)
{
    if (c->jitter_pct == 0)
        return ttl_ns;
    uint64_t r = DLOAD_I_FN(i_random)(c);
    uint64_t span_ns = ttl_ns / 100 * c->jitter_pct;
    return ttl_ns - (span_ns / 65536 * (r >> 48) + span_ns % 65536 * (r >> 48) / 65536);
}

#endif /* DLOAD_COMPACT */

#endif /* DLOAD_TTL */

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_ENTRY */
