/* mem.c -- the four functions that compilers call by themselves, where there is no C library. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t n_bytes);
void *memmove(void *to, const void *from, size_t n_bytes);
void *memset(void *to, int byte, size_t n_bytes);
int memcmp(const void *a, const void *b, size_t n_bytes);

/* Stores are volatile: or a compiler sees that a loop is a memcpy, and calls that. */
typedef uint32_t __attribute__((__may_alias__)) word;

static bool in_words(const void *a, const void *b, size_t n_bytes)
{
    return (((uintptr_t)a | (uintptr_t)b | n_bytes) & 3u) == 0;
}

void *memcpy(void *to, const void *from, size_t n_bytes)
{
    volatile uint8_t *t = (volatile uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    if (in_words(to, from, n_bytes)) {
        volatile word *w = (volatile word *)to;
        for (const word *v = (const word *)from; n_bytes != 0; n_bytes -= 4)
            *w++ = *v++;
    }
    for (; n_bytes != 0; n_bytes--)
        *t++ = *f++;
    return to;
}

void *memmove(void *to, const void *from, size_t n_bytes)
{
    volatile uint8_t *t = (volatile uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    if ((uintptr_t)to <= (uintptr_t)from)
        return memcpy(to, from, n_bytes);
    while (n_bytes-- != 0)
        t[n_bytes] = f[n_bytes];
    return to;
}

void *memset(void *to, int byte, size_t n_bytes)
{
    volatile uint8_t *t = (volatile uint8_t *)to;
    if (in_words(to, NULL, n_bytes)) {
        volatile word *w = (volatile word *)to;
        for (; n_bytes != 0; n_bytes -= 4)
            *w++ = (uint8_t)byte * 0x01010101u;
    }
    for (; n_bytes != 0; n_bytes--)
        *t++ = (uint8_t)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t n_bytes)
{
    const uint8_t *x = (const uint8_t *)a;
    const uint8_t *y = (const uint8_t *)b;
    for (; n_bytes != 0; n_bytes--, x++, y++) {
        if (*x != *y)
            return *x < *y ? -1 : 1;
    }
    return 0;
}
