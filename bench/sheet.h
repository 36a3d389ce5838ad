/* Keys laid out before the clock starts, in the order in which they are asked for. */
#ifndef BENCH_SHEET_H
#define BENCH_SHEET_H

#include "hit.h"

typedef struct sheet {
    hit_key *key;
    size_t n;
#if HIT_TEXT
    char *text; /* a row of SHEET_ROW bytes each */
#endif
} sheet;

enum { SHEET_ROW = 72 }; /* 64 bytes and a NUL, rounded up */

static inline void sheet_open(sheet *s, size_t n)
{
    s->n = n;
    s->key = (hit_key *)bench_pages(n * sizeof *s->key);
#if HIT_TEXT
    s->text = (char *)bench_pages(n * SHEET_ROW);
#endif
}

static inline void sheet_close(sheet *s)
{
    if (s->n != 0) {
        bench_pages_free(s->key, s->n * sizeof *s->key);
#if HIT_TEXT
        bench_pages_free(s->text, s->n * SHEET_ROW);
#endif
    }
    memset(s, 0, sizeof *s);
}

#if HIT_TEXT
/* Eight letters out of 48 bits. */
static inline void sheet_letters(char *at, uint64_t bits)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-";
    for (int i = 0; i < 8; i++) {
        at[i] = letters[bits >> (6 * i) & 63];
    }
}

/* Number i (below 2^48) as 8 to 64 letters; the first eight are i itself, mixed by a bijection. */
static inline size_t sheet_text(char *row, uint64_t i)
{
    const uint64_t mask = (UINT64_C(1) << 48) - 1;
    uint64_t x = i * UINT64_C(0x9e3779b97f4b) & mask;
    x ^= x >> 24;
    x = x * UINT64_C(0xbf58476d1ce5) & mask;
    x ^= x >> 24;
    size_t n = 8 + (size_t)(bench_mix(i) % 57);
    sheet_letters(row, x);
    for (size_t done = 8; done < n; done += 8) {
        x = bench_mix(x);
        sheet_letters(row + done, x);
    }
    row[n] = '\0';
    return n;
}
#endif

/* Writes key number i to place at. sequential: numbers as they are (strings never are). */
static inline void sheet_put(sheet *s, size_t at, uint64_t i, bool sequential)
{
#if HIT_TEXT
    (void)sequential;
    s->key[at].bytes = s->text + at * SHEET_ROW;
    s->key[at].n = sheet_text(s->text + at * SHEET_ROW, i);
#else
    s->key[at] = sequential ? i : bench_mix(i);
#endif
}

#endif /* BENCH_SHEET_H */
