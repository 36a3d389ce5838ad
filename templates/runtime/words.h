/* >>words -- memory that one thread writes while others read it: copied in words, each of them atomically.
 *
 * The writer brackets its stores with a sequence number (group.h); a reader that finds the same even
 * number before and after has seen one state. Loads acquire and stores release, which costs nothing on
 * x86 and lets every tool see what is ordered by what (fences would be as correct, but thread
 * sanitizers do not follow them). Model: H.-J. Boehm, "Can Seqlocks Get Along With Programming Language
 * Memory Models?", MSPC 2012.
 */
#ifndef DLOAD_I_WORDS_H
#define DLOAD_I_WORDS_H

#include "port.h"

#if DLOAD_I_WIDE_ATOMICS

typedef uint64_t __attribute__((__may_alias__)) dload_i_word8;
typedef uint32_t __attribute__((__may_alias__)) dload_i_word4;
typedef uint16_t __attribute__((__may_alias__)) dload_i_word2;

/* Words of how many bytes an object is copied in, and how many there are. Objects of eight bytes and more
 * are aligned for the widest. */
#define DLOAD_I_UNIT(n_bytes, align)   ((n_bytes) >= 8 || (align) >= 8 ? (size_t)8 : (size_t)(align))
#define DLOAD_I_N_WORDS(n_bytes, unit) (((n_bytes) + (unit)-1) / (unit))
#define DLOAD_I_WORDS_MAX(n_bytes)     ((n_bytes) >= 8 ? ((n_bytes) + 7) / 8 : (size_t)8)

DLOAD_I_INLINE uint64_t dload_i_load_word(const void *p, size_t unit)
{
    switch (unit) {
    case 8:
        return DLOAD_I_LOAD_ACQUIRE((const dload_i_word8 *)p);
    case 4:
        return DLOAD_I_LOAD_ACQUIRE((const dload_i_word4 *)p);
    case 2:
        return DLOAD_I_LOAD_ACQUIRE((const dload_i_word2 *)p);
    default:
        return DLOAD_I_LOAD_ACQUIRE((const uint8_t *)p);
    }
}

DLOAD_I_INLINE void dload_i_store_word(void *p, uint64_t word, size_t unit)
{
    switch (unit) {
    case 8:
        DLOAD_I_STORE_RELEASE((dload_i_word8 *)p, word);
        break;
    case 4:
        DLOAD_I_STORE_RELEASE((dload_i_word4 *)p, (uint32_t)word);
        break;
    case 2:
        DLOAD_I_STORE_RELEASE((dload_i_word2 *)p, (uint16_t)word);
        break;
    default:
        DLOAD_I_STORE_RELEASE((uint8_t *)p, (uint8_t)word);
        break;
    }
}

/* A word of private memory; the last one of eight bytes may be short, and is filled up with zeros. */
DLOAD_I_INLINE uint64_t dload_i_peek_word(const void *p, size_t n_bytes, size_t unit)
{
    uint64_t word8 = 0;
    uint32_t word4 = 0;
    uint16_t word2 = 0;
    switch (unit) {
    case 8:
        memcpy(&word8, p, n_bytes < 8 ? n_bytes : 8);
        return word8;
    case 4:
        memcpy(&word4, p, 4);
        return word4;
    case 2:
        memcpy(&word2, p, 2);
        return word2;
    default:
        return *(const uint8_t *)p;
    }
}

/* Shared to private registers; then, once they are known to belong together, to the caller's memory. */
DLOAD_I_INLINE void dload_i_words_load(uint64_t *words, const void *from, size_t n_bytes,
                                       size_t unit)
{
#if defined(__clang__)
#pragma clang loop unroll_count(8)
#elif defined(__GNUC__)
#pragma GCC unroll 8
#endif
    for (size_t i = 0; i < DLOAD_I_N_WORDS(n_bytes, unit); i++)
        words[i] = dload_i_load_word((const char *)from + i * unit, unit);
}

DLOAD_I_INLINE void dload_i_words_give(void *to, const uint64_t *words, size_t n_bytes, size_t unit)
{
    char *out = (char *)to;
#if defined(__clang__)
#pragma clang loop unroll_count(8)
#elif defined(__GNUC__)
#pragma GCC unroll 8
#endif
    for (size_t i = 0; i < n_bytes / unit; i++) {
        uint32_t word4 = (uint32_t)words[i];
        uint16_t word2 = (uint16_t)words[i];
        uint8_t word1 = (uint8_t)words[i];
        memcpy(out + i * unit,
               unit == 8   ? (const void *)&words[i]
               : unit == 4 ? (const void *)&word4
               : unit == 2 ? (const void *)&word2
                           : (const void *)&word1,
               unit);
    }
    if (n_bytes % unit != 0)
        memcpy(out + n_bytes / unit * unit, &words[n_bytes / unit], n_bytes % unit);
}

/* Private memory to shared. */
DLOAD_I_INLINE void dload_i_words_store(void *to, const void *from, size_t n_bytes, size_t unit)
{
    for (size_t i = 0; i < DLOAD_I_N_WORDS(n_bytes, unit); i++) {
        dload_i_store_word(
            (char *)to + i * unit,
            dload_i_peek_word((const char *)from + i * unit, n_bytes - i * unit, unit), unit);
    }
}

/* Are n bytes of shared memory, aligned and padded to words of eight, the same as these? */
DLOAD_I_INLINE bool dload_i_words_same(const void *shared, const void *p, size_t n_bytes)
{
    const char *a = (const char *)shared;
    const char *b = (const char *)p;
    for (; n_bytes >= 8; n_bytes -= 8, a += 8, b += 8) {
        if (dload_i_load_word(a, 8) != dload_i_peek_word(b, 8, 8))
            return false;
    }
    if (n_bytes == 0)
        return true;
    uint64_t last = 0;
    memcpy(&last, b, n_bytes);
    return dload_i_load_word(a, 8) == last; /* the padding is zero */
}

#endif /* DLOAD_I_WIDE_ATOMICS */

#endif /* DLOAD_I_WORDS_H */
