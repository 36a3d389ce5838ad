/* The four functions that a compiler may call by itself: all that the loader needs of a libc. Words at a time
 * where both ends are aligned, because an emulated core spends much of its time here. */
#include <stdint.h>
#include <string.h>

/* May stand for bytes of any type. */
typedef uintptr_t __attribute__((may_alias)) word;

void *memcpy(void *to, const void *from, size_t n_bytes)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    if (((uintptr_t)t | (uintptr_t)f) % sizeof(word) == 0) {
        for (; n_bytes >= sizeof(word); n_bytes -= sizeof(word)) {
            *(word *)(void *)t = *(const word *)(const void *)f;
            t += sizeof(word);
            f += sizeof(word);
        }
    }
    while (n_bytes--) {
        *t++ = *f++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t n_bytes)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    if (t < f) {
        return memcpy(to, from, n_bytes);
    }
    while (n_bytes--) {
        t[n_bytes] = f[n_bytes];
    }
    return to;
}

void *memset(void *to, int byte, size_t n_bytes)
{
    unsigned char *t = to;
    word all = (unsigned char)byte * (~(uintptr_t)0 / 255);
    if ((uintptr_t)t % sizeof(word) == 0) {
        for (; n_bytes >= sizeof(word); n_bytes -= sizeof(word)) {
            *(word *)(void *)t = all;
            t += sizeof(word);
        }
    }
    while (n_bytes--) {
        *t++ = (unsigned char)byte;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t n_bytes)
{
    const unsigned char *p = a, *q = b;
    for (; n_bytes--; p++, q++) {
        if (*p != *q) {
            return *p < *q ? -1 : 1;
        }
    }
    return 0;
}

#ifdef __ARM_EABI__
/* The names by which compilers for ARM call them; __aeabi_memset has its arguments the other way round. */
void __aeabi_memcpy(void *to, const void *from, size_t n_bytes);
void __aeabi_memcpy4(void *to, const void *from, size_t n_bytes);
void __aeabi_memclr(void *to, size_t n_bytes);
void __aeabi_memclr4(void *to, size_t n_bytes);

void __aeabi_memcpy(void *to, const void *from, size_t n_bytes)
{
    (void)memcpy(to, from, n_bytes);
}

void __aeabi_memcpy4(void *to, const void *from, size_t n_bytes)
{
    (void)memcpy(to, from, n_bytes);
}

void __aeabi_memclr(void *to, size_t n_bytes)
{
    (void)memset(to, 0, n_bytes);
}

void __aeabi_memclr4(void *to, size_t n_bytes)
{
    (void)memset(to, 0, n_bytes);
}
#endif
