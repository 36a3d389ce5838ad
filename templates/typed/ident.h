/* >>ident -- what a key is known by: its hash, with the loader's secret when it has one, and its group. */
#ifndef DLOAD_I_HAVE_IDENT
#define DLOAD_I_HAVE_IDENT

#include "api.h"

#if DLOAD_I_BODIES

#define DLOAD_I_SHARD DLOAD_I_FN(shard)
#define DLOAD_I_SLOT  DLOAD_I_FN(slot)
#define DLOAD_I_CACHE DLOAD_I_FN(cache)

/* The secret of a cache's hash, and of one of its shards. */
#if DLOAD_HASH == DLOAD_HASH_SIP
#define DLOAD_I_HASH_KEY(c) ((c)->hash_key)
#else
#define DLOAD_I_HASH_KEY(c) NULL
#endif

#if DLOAD_COMPACT
/* The hash of a key: the upper half is the better one, and the lower one not the same. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_hash)(DLOAD_I_K key)
{
    uint32_t h = 0;
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_INTEGER || DLOAD_I_KEY_KIND == DLOAD_I_KIND_BOOL
    h = dload_i_mix32((uint32_t)key);
    if (sizeof key > 4)
        h = dload_i_mix32(h + (uint32_t)((uint64_t)key >> 32));
#else
    uint32_t words[(sizeof key + 3) / 4];
    memcpy(words, &key, sizeof key);
    for (size_t i = 0; i < sizeof key / 4; i++)
        h = dload_i_mix32(h + words[i]);
#endif
    return (uint64_t)(h ^ h >> 16) << 32 | h;
}
#elif DLOAD_HASH == DLOAD_HASH_FAST
/* The hash of a key, without its group. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_hash)(DLOAD_I_K key)
{
#if DLOAD_I_IS_STRING
    return dload_i_hash_bytes(key.ptr, key.len);
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    return dload_i_mix64(dload_i_read64(key.bytes) ^ dload_i_mix64(dload_i_read64(key.bytes + 8)));
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT || DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    uint64_t bits = 0;
    memcpy(&bits, &key, sizeof key);
    return dload_i_mix64(bits);
#else
    return dload_i_mix_int((uint64_t)key);
#endif
}
#endif

/* The hash of a key in its group. A secret goes over both: two hashes joined by xor would let a group be
 * chosen to cancel a key. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_hash_in)(const uint64_t *hash_key, DLOAD_I_K key,
                                              uint64_t group)
{
#if DLOAD_HASH == DLOAD_HASH_FAST
    (void)hash_key;
    (void)group;
    return DLOAD_I_FN(i_hash)(key) ^ (DLOAD_GROUP ? dload_i_group_hash(group) : 0);
#elif DLOAD_I_IS_STRING
    return dload_i_sip_bytes(hash_key, DLOAD_GROUP ? &group : NULL, key.ptr, key.len);
#else
    uint64_t words[3] = {group, 0, 0};
    size_t n = 2;
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    words[1] = dload_i_read64_le(key.bytes);
    words[2] = dload_i_read64_le(key.bytes + 8);
    n = 3;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT || DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    memcpy(&words[1], &key, sizeof key);
#else
    words[1] = (uint64_t)key;
#endif
    return DLOAD_GROUP ? dload_i_sip_words(hash_key, words, n)
                       : dload_i_sip_words(hash_key, words + 1, n - 1);
#endif
}

/* What key is known by in group; the key is in its one form. */
DLOAD_I_INLINE DLOAD_I_ID DLOAD_I_FN(i_id)(const DLOAD_I_CACHE *c, DLOAD_I_K key, uint64_t group)
{
    DLOAD_I_ID id;
    id.hash = DLOAD_I_FN(i_hash_in)(DLOAD_I_HASH_KEY(c), key, group);
    id.key = key;
    (void)c;
#if DLOAD_GROUP
    id.group = group;
#endif
    (void)group;
    return id;
}

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_IDENT */
