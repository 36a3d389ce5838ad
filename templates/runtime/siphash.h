/* >>siphash -- a hash with a secret, for keys that somebody else chooses.
 *
 * SipHash (Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012), written from the
 * paper: four words of state, a compression of c rounds for each eight bytes of the message and a
 * finalisation of d. The paper's choice is 2-4, for a code that anybody may see. Tables use 1-3: who chooses
 * keys sees no hash, only how long calls take. Aumasson: "I would be very surprised if SipHash-1-3
 * introduced weaknesses for hash tables" (quoted in rust-lang/rust, issue 29754); Rust's and CPython's
 * tables use it. 2-4 is here for the paper's vectors. Included once, by the first loader with
 * DLOAD_HASH_SIP, so that nobody else carries it.
 */
#include "env.h"
#include "hash.h"
#include "draw.h"

#if DLOAD_HASH == DLOAD_HASH_SIP && !defined(DLOAD_I_SIPHASH_H)
#define DLOAD_I_SIPHASH_H

typedef struct dload_i_sip {
    uint64_t v0, v1, v2, v3;
} dload_i_sip;

DLOAD_I_INLINE void dload_i_sip_rounds(dload_i_sip *s, int n)
{
    for (; n > 0; n--) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = dload_i_turn(s->v1, 13) ^ s->v0;
        s->v3 = dload_i_turn(s->v3, 16) ^ s->v2;
        s->v0 = dload_i_turn(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = dload_i_turn(s->v1, 17) ^ s->v2;
        s->v3 = dload_i_turn(s->v3, 21) ^ s->v0;
        s->v2 = dload_i_turn(s->v2, 32);
    }
}

DLOAD_I_INLINE void dload_i_sip_begin(dload_i_sip *s, const uint64_t hash_key[2])
{
    /* the paper's constants: "somepseudorandomlygeneratedbytes" */
    s->v0 = hash_key[0] ^ UINT64_C(0x736f6d6570736575);
    s->v1 = hash_key[1] ^ UINT64_C(0x646f72616e646f6d);
    s->v2 = hash_key[0] ^ UINT64_C(0x6c7967656e657261);
    s->v3 = hash_key[1] ^ UINT64_C(0x7465646279746573);
}

/* Eight bytes of the message, as a little-endian number; c rounds. */
DLOAD_I_INLINE void dload_i_sip_word(dload_i_sip *s, uint64_t word, int c)
{
    s->v3 ^= word;
    dload_i_sip_rounds(s, c);
    s->v0 ^= word;
}

/* The end of a message of n_bytes: its last n_bytes % 8 bytes are in tail, the rest of tail is 0. */
DLOAD_I_INLINE uint64_t dload_i_sip_end(dload_i_sip *s, uint64_t tail, size_t n_bytes, int c, int d)
{
    dload_i_sip_word(s, tail | (uint64_t)(n_bytes & 0xff) << 56, c);
    s->v2 ^= 0xff;
    dload_i_sip_rounds(s, d);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* The rest of a message, n_bytes at p, after n_before bytes in whole words, and its end. */
DLOAD_I_INLINE uint64_t dload_i_sip_rest(dload_i_sip *s, const void *bytes, size_t n_bytes,
                                         size_t n_before, int c, int d)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t left = n_bytes;
    for (; left >= 8; left -= 8, p += 8)
        dload_i_sip_word(s, dload_i_read64_le(p), c);
    uint64_t tail = 0;
    while (left-- > 0)
        tail = tail << 8 | p[left];
    return dload_i_sip_end(s, tail, n_before + n_bytes, c, d);
}

/* What tables use: 1-3, of one or two words and of bytes. Not inlined: a hit that wants this pays for it
 * elsewhere than in the code of every caller. */
DLOAD_I_NOINLINE uint64_t dload_i_sip_words(const uint64_t hash_key[2], const uint64_t *words,
                                            size_t n)
{
    dload_i_sip s;
    dload_i_sip_begin(&s, hash_key);
    for (size_t i = 0; i < n; i++)
        dload_i_sip_word(&s, words[i], 1);
    return dload_i_sip_end(&s, 0, n * 8, 1, 3);
}

/* ... with a group before the bytes, or without. */
DLOAD_I_NOINLINE uint64_t dload_i_sip_bytes(const uint64_t hash_key[2], const uint64_t *group,
                                            const void *bytes, size_t n_bytes)
{
    dload_i_sip s;
    dload_i_sip_begin(&s, hash_key);
    if (group != NULL)
        dload_i_sip_word(&s, *group, 1);
    return dload_i_sip_rest(&s, bytes, n_bytes, group != NULL ? 8 : 0, 1, 3);
}

/* By what a group itself is known; see dload_i_group_mark. No key's message ends like this one: a length
 * of 255 modulo 256 has seven bytes of tail behind at least 31 words. */
DLOAD_I_UNUSED static uint64_t dload_i_sip_mark(const uint64_t hash_key[2], uint64_t group)
{
    dload_i_sip s;
    dload_i_sip_begin(&s, hash_key);
    dload_i_sip_word(&s, group, 1);
    return dload_i_sip_end(&s, 0, 0xff, 1, 3);
}

#endif /* DLOAD_I_SIPHASH_H */
