/* >>hash -- from key bytes to 64 bits.
 *
 * How the bits are used: 32..63 choose the home group (and, low ones first, the overflow class),
 * 0..7 are the tag, 11..18 choose the shard. A mixer must therefore spread every input bit over both
 * halves. The integer mixer is a bijection: no two integers share a hash. Strings, 16-byte identifiers and
 * everything under DLOAD_HASH_SIP do by chance, once in 2^64 pairs; entries are told apart by their keys
 * all the same. What remembers keys that have left (ghost.h, past.h) keeps less of a hash, and says how much.
 */
#ifndef DLOAD_I_HASH_H
#define DLOAD_I_HASH_H

#include "port.h"
#if DLOAD_XXHASH
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>
#endif

/* For integer keys: fold, multiply, fold, multiply, each of which can be undone. It stands before everything
 * else that a hit does. The first fold brings the high bits down, where a multiplication spreads them; the
 * second breaks the regularity that one multiplication keeps, by which one stride in some fifty fills few
 * groups. The amounts of the folds come from measuring strides, grids, pointers, floats and reversed
 * counters: test_hash_patterns.c has them, and holds each to what random numbers give. Folds by 32 alone
 * would lose pairs of equal halves, x << 32 | x. Keys that somebody chooses to do harm need
 * DLOAD_HASH_SIP. */
DLOAD_I_INLINE uint64_t dload_i_mix_int(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 33;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x;
}

/* Where every input bit has to reach every output bit: two multiplications, with folds between them
 * and a fold after them, for the low bits (the structure of MurmurHash3's finaliser). Also a bijection. */
DLOAD_I_INLINE uint64_t dload_i_mix64(uint64_t x)
{
    x ^= x >> 29;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    return x;
}

/* The same for 32 bits, where that is what the machine multiplies: DLOAD_COMPACT's. Who takes its lower bits
 * folds it once more. */
DLOAD_I_INLINE uint32_t dload_i_mix32(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x9e3779b1u;
    x ^= x >> 15;
    x *= 0x85a2e6d3u;
    return x;
}

/* What a group adds to the hashes of its keys; group 0 adds nothing. */
DLOAD_I_INLINE uint64_t dload_i_group_hash(uint64_t group)
{
    return dload_i_mix64(group);
}

/* By what a group itself is known: the clear of all of it, and its open batch. */
DLOAD_I_INLINE uint64_t dload_i_group_mark(uint64_t group)
{
#if DLOAD_FREESTANDING
    uint32_t h = dload_i_mix32(dload_i_mix32((uint32_t)~group) + (uint32_t)(group >> 32));
    return (uint64_t)h << 32 | (uint32_t)~h; /* h twice would be made a multiplication */
#else
    return dload_i_mix64(~group);
#endif
}

DLOAD_I_INLINE uint64_t dload_i_read64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The same on every machine. */
DLOAD_I_INLINE uint64_t dload_i_read64_le(const unsigned char *p)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    uint64_t v = 0;
    for (unsigned i = 8; i-- > 0;)
        v = (v << 8) | p[i];
    return v;
#else
    return dload_i_read64(p);
#endif
}

DLOAD_I_INLINE uint64_t dload_i_turn(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

#if !DLOAD_XXHASH
/* One word into the state: scrambled by itself, then into the state by a turn and a multiplication, so
 * that no difference in one word is undone by one in the next (the shape of XXH64's tail). */
DLOAD_I_INLINE uint64_t dload_i_hash_word(uint64_t h, uint64_t word)
{
    word *= UINT64_C(0x9e3779b97f4a7c15);
    h ^= dload_i_turn(word, 31) * UINT64_C(0xd6e8feb86659fd93);
    return dload_i_turn(h, 27) * UINT64_C(0xd6e8feb86659fd93) + UINT64_C(0x2545f4914f6cdd1d);
}

/* Our own for byte strings where xxhash.h is not at hand: eight bytes a step, the tail zero-padded and
 * told apart by the length. */
DLOAD_I_LOCAL uint64_t dload_i_hash_bytes(const void *bytes, size_t n_bytes)
{
    const unsigned char *p = (const unsigned char *)bytes;
    uint64_t h = dload_i_mix64((uint64_t)n_bytes + 1);
    size_t left = n_bytes;
    for (; left >= 8; left -= 8, p += 8)
        h = dload_i_hash_word(h, dload_i_read64(p));
    if (left != 0) {
        unsigned char tail[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        memcpy(tail, p, left);
        h = dload_i_hash_word(h, dload_i_read64(tail));
    }
    return dload_i_mix64(h);
}
#else
DLOAD_I_LOCAL uint64_t dload_i_hash_bytes(const void *bytes, size_t n_bytes)
{
    return XXH3_64bits(bytes, n_bytes);
}
#endif

#endif /* DLOAD_I_HASH_H */
