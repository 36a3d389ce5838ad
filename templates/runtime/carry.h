/* >>carry -- what values need that leave the process: a checksum, a clock that goes on, clean padding.
 *
 * Included by the first loader that has DLOAD_SNAPSHOT or DLOAD_STORE, so that nobody else compiles it.
 */
#include "env.h"

#if ((defined(DLOAD_SNAPSHOT) && DLOAD_SNAPSHOT) || (defined(DLOAD_STORE) && DLOAD_STORE)) && \
    !defined(DLOAD_I_CARRY_H)
#define DLOAD_I_CARRY_H

/* Padding would carry out of the process whatever lay there before. */
#ifdef __has_builtin
#if __has_builtin(__builtin_clear_padding)
#define DLOAD_I_CLEAR_PADDING(value) __builtin_clear_padding(value)
#endif
#endif
#ifndef DLOAD_I_CLEAR_PADDING
#define DLOAD_I_CLEAR_PADDING(value) ((void)(value))
#endif

/* Every step can be undone, so that two inputs which differ within one word never have one sum; others do
 * by chance of 2^-64. (The round is that of XXH64's tail, Collet 2012.) It is part of the form: unlike the
 * hash of a table it may never change. */
DLOAD_I_INLINE uint64_t dload_i_sum_word(uint64_t sum, uint64_t word)
{
    word *= UINT64_C(0x9fb21c651e98df25);
    word = (word << 31) | (word >> 33);
    sum ^= word * UINT64_C(0xd6e8feb86659fd93);
    sum = (sum << 27) | (sum >> 37);
    return sum * UINT64_C(0xd6e8feb86659fd93) + UINT64_C(0x52dce729da3ed7bb);
}

DLOAD_I_LOCAL uint64_t dload_i_sum(uint64_t seed, const void *bytes, size_t n_bytes)
{
    const char *p = (const char *)bytes;
    uint64_t sum = dload_i_sum_word(seed, (uint64_t)n_bytes);
    uint64_t word = 0;
    for (; n_bytes >= sizeof word; n_bytes -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        sum = dload_i_sum_word(sum, word);
    }
    word = 0;
    if (n_bytes != 0)
        memcpy(&word, p, n_bytes);
    sum = dload_i_sum_word(sum, word);
    sum ^= sum >> 32; /* the last multiplication leaves the low bits weak */
    return sum * UINT64_C(0x9fb21c651e98df25);
}

/* ns by a clock that goes on while the program does not; DLOAD_NEVER = there is none. */
#if DLOAD_FREESTANDING
DLOAD_I_LOCAL uint64_t dload_i_clock_wall(void)
{
    return DLOAD_NEVER;
}
#else
#ifdef CLOCK_REALTIME
#define DLOAD_I_CLOCK_WALL CLOCK_REALTIME
#else
#define DLOAD_I_CLOCK_WALL 0 /* a strict -std=c11 with <time.h> included before us hides it */
#endif
DLOAD_I_LOCAL uint64_t dload_i_clock_wall(void)
{
    struct timespec ts;
    (void)clock_gettime(DLOAD_I_CLOCK_WALL, &ts);
    return (uint64_t)ts.tv_sec * DLOAD_SECOND + (uint64_t)ts.tv_nsec;
}
#endif

#endif /* DLOAD_I_CARRY_H */
