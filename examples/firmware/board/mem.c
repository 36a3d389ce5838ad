/* mem.c -- the four functions that compilers call by themselves, where there is no C library. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t n_bytes);
void *memmove(void *to, const void *from, size_t n_bytes);
void *memset(void *to, int byte, size_t n_bytes);
int memcmp(const void *a, const void *b, size_t n_bytes);

/* Volatile: or a compiler sees that this loop is a memcpy, and calls that. */
void *memmove(void *to, const void *from, size_t n_bytes)
{
    volatile uint8_t *t = (volatile uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    if ((uintptr_t)to <= (uintptr_t)from) {
        for (size_t i = 0; i < n_bytes; i++)
            t[i] = f[i];
    } else {
        for (size_t i = n_bytes; i-- > 0;)
            t[i] = f[i];
    }
    return to;
}

void *memcpy(void *to, const void *from, size_t n_bytes)
{
    return memmove(to, from, n_bytes);
}

void *memset(void *to, int byte, size_t n_bytes)
{
    volatile uint8_t *t = (volatile uint8_t *)to;
    for (size_t i = 0; i < n_bytes; i++)
        t[i] = (uint8_t)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t n_bytes)
{
    const uint8_t *x = (const uint8_t *)a;
    const uint8_t *y = (const uint8_t *)b;
    for (size_t i = 0; i < n_bytes; i++) {
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    }
    return 0;
}
