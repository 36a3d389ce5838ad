/* Bodies of this directory's headers: enough of a libc for the suites, none of it for the loader. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../port.h"

#ifndef KIT_ENVIRONMENT
#define KIT_ENVIRONMENT ""
#endif

/* ---- strings ---- */

size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n]) {
        n++;
    }
    return n;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n && *a && *a == *b; n--) {
        a++;
        b++;
    }
    return n ? (unsigned char)*a - (unsigned char)*b : 0;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

char *strchr(const char *s, int c)
{
    for (; *s != (char)c; s++) {
        if (!*s) {
            return NULL;
        }
    }
    return (char *)(uintptr_t)s;
}

char *strstr(const char *s, const char *part)
{
    size_t n = strlen(part);
    for (; *s || !n; s++) {
        if (strncmp(s, part, n) == 0) {
            return (char *)(uintptr_t)s;
        }
    }
    return NULL;
}

/* ---- numbers and texts ---- */

unsigned long long strtoull(const char *s, char **end, int base)
{
    unsigned x = 0; /* a wide multiplication is libgcc's on a Cortex-M0 */
    (void)base;
    for (; *s >= '0' && *s <= '9'; s++) {
        x = x * 10 + (unsigned)(*s - '0');
    }
    if (end) {
        *end = (char *)(uintptr_t)s;
    }
    return x;
}

struct printing {
    char *to;
    size_t size, len;
};

static void put(struct printing *p, char c)
{
    if (p->len + 1 < p->size) {
        p->to[p->len] = c;
    }
    p->len++;
}

static void put_padded(struct printing *p, const char *s, size_t n, size_t width, char pad)
{
    for (; width > n; width--) {
        put(p, pad);
    }
    while (n--) {
        put(p, *s++);
    }
}

/* x / base, and the rest: bit by bit, because small images are linked without libgcc. */
static unsigned long long divide(unsigned long long x, unsigned base, unsigned *rest)
{
    unsigned long long quotient = 0;
    unsigned left = 0;
    for (unsigned i = 0; i < 64; i++) {
        left = left << 1 | (unsigned)(x >> 63);
        x <<= 1;
        quotient <<= 1;
        if (left >= base) {
            left -= base;
            quotient |= 1;
        }
    }
    *rest = left;
    return quotient;
}

static void put_number(struct printing *p, unsigned long long x, bool negative, unsigned base,
                       size_t width, char pad)
{
    char text[24];
    size_t at = sizeof text;
    do {
        unsigned digit;
        x = divide(x, base, &digit);
        text[--at] = "0123456789abcdef"[digit];
    } while (x);
    if (negative) {
        text[--at] = '-';
    }
    put_padded(p, &text[at], sizeof text - at, width, pad);
}

/* The next argument, of as many longs as the directive says; z, j and t are as wide as a long or two. */
static unsigned long long next_unsigned(va_list *args, unsigned n_longs)
{
    return n_longs == 0   ? va_arg(*args, unsigned)
           : n_longs == 1 ? va_arg(*args, unsigned long)
                          : va_arg(*args, unsigned long long);
}

static long long next_signed(va_list *args, unsigned n_longs)
{
    return n_longs == 0   ? va_arg(*args, int)
           : n_longs == 1 ? va_arg(*args, long)
                          : va_arg(*args, long long);
}

static size_t next_width(const char **format, va_list *args)
{
    size_t width = 0;
    if (**format == '*') {
        (*format)++;
        return (size_t)va_arg(*args, int);
    }
    for (; **format >= '0' && **format <= '9'; (*format)++) {
        width = width * 10 + (size_t)(**format - '0');
    }
    return width;
}

/* One directive, from behind its percent sign; returns what comes after it. */
static const char *put_directive(struct printing *p, const char *format, va_list *args)
{
    char pad = ' ';
    size_t precision = SIZE_MAX;
    unsigned n_longs = 0;
    if (*format == '0') {
        pad = '0';
        format++;
    }
    size_t width = next_width(&format, args);
    if (*format == '.') {
        format++;
        precision = next_width(&format, args);
    }
    for (; *format == 'l' || *format == 'z' || *format == 'h' || *format == 't'; format++) {
        n_longs += *format != 'h';
    }
    if (*format == 'j') {
        format++;
        n_longs = sizeof(intmax_t) / sizeof(long);
    }
    /* Not a switch: its jump table is libgcc's on a Cortex-M0. */
    char what = *format;
    if (what == 's') {
        const char *s = va_arg(*args, const char *);
        size_t n = 0;
        while (n < precision && s[n]) {
            n++;
        }
        put_padded(p, s, n, width, ' ');
    } else if (what == 'd' || what == 'i') {
        long long x = next_signed(args, n_longs);
        put_number(p, x < 0 ? 0ull - (unsigned long long)x : (unsigned long long)x, x < 0, 10,
                   width, pad);
    } else if (what == 'u' || what == 'x') {
        put_number(p, next_unsigned(args, n_longs), false, what == 'u' ? 10 : 16, width, pad);
    } else if (what == 'p') {
        put_number(p, (uintptr_t)va_arg(*args, void *), false, 16, 0, pad);
    } else {
        /* A character, a percent sign, or what a reader shall notice. */
        put(p, what == 'c' ? (char)va_arg(*args, int) : what);
    }
    return format + 1;
}

int vsnprintf(char *to, size_t size, const char *format, va_list args)
{
    struct printing p = {to, size, 0};
    va_list rest;
    va_copy(rest, args);
    while (*format) {
        if (*format == '%') {
            format = put_directive(&p, format + 1, &rest);
        } else {
            put(&p, *format++);
        }
    }
    va_end(rest);
    if (size) {
        to[p.len < size ? p.len : size - 1] = '\0';
    }
    return (int)p.len;
}

int snprintf(char *to, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(to, size, format, args);
    va_end(args);
    return n;
}

int printf(const char *format, ...)
{
    static char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    port_write(line);
    return n;
}

/* ---- the rest ---- */

void abort(void)
{
    port_write("not ok - no abort()\n");
    port_exit(134);
}

char *getenv(const char *name)
{
    static char all[] = KIT_ENVIRONMENT "\0";
    size_t n = strlen(name);
    for (char *at = all; *at; at += strlen(at) + 1) {
        if (strncmp(at, name, n) == 0 && at[n] == '=') {
            return at + n + 1;
        }
    }
    return NULL;
}

void qsort(void *base, size_t n, size_t bytes, int (*compare)(const void *a, const void *b))
{
    char *first = base;
    for (size_t i = 1; i < n; i++) {
        for (size_t j = i; j > 0 && compare(first + (j - 1) * bytes, first + j * bytes) > 0; j--) {
            for (size_t k = 0; k < bytes; k++) {
                char c = first[j * bytes + k];
                first[j * bytes + k] = first[(j - 1) * bytes + k];
                first[(j - 1) * bytes + k] = c;
            }
        }
    }
}

/* ---- the heap: blocks one behind the other; the first free one that is large enough ---- */

union head {
    struct {
        size_t bytes; /* of the whole block, the head included */
        bool used;
    } is;
    max_align_t align;
};

static char *heap;
static size_t heap_bytes;

static union head *head_at(size_t at)
{
    return (union head *)(void *)(heap + at);
}

static void heap_begin(void)
{
    size_t skip;
    heap = port_heap(&heap_bytes);
    skip = (0 - (uintptr_t)heap) % sizeof(union head);
    heap += skip;
    heap_bytes = (heap_bytes - skip) / sizeof(union head) * sizeof(union head);
    head_at(0)->is.bytes = heap_bytes;
    head_at(0)->is.used = false;
}

void *malloc(size_t n_bytes)
{
    if (!heap) {
        heap_begin();
    }
    if (n_bytes > heap_bytes) {
        return NULL;
    }
    size_t want = (n_bytes + 2 * sizeof(union head) - 1) / sizeof(union head) * sizeof(union head);
    for (size_t at = 0; at < heap_bytes; at += head_at(at)->is.bytes) {
        union head *h = head_at(at);
        while (!h->is.used && at + h->is.bytes < heap_bytes &&
               !head_at(at + h->is.bytes)->is.used) {
            h->is.bytes += head_at(at + h->is.bytes)->is.bytes;
        }
        if (h->is.used || h->is.bytes < want) {
            continue;
        }
        if (h->is.bytes > want) {
            head_at(at + want)->is.bytes = h->is.bytes - want;
            head_at(at + want)->is.used = false;
            h->is.bytes = want;
        }
        h->is.used = true;
        return h + 1;
    }
    return NULL;
}

void *calloc(size_t n, size_t bytes)
{
    void *p = bytes && n > SIZE_MAX / bytes ? NULL : malloc(n * bytes);
    return p ? memset(p, 0, n * bytes) : NULL;
}

void *realloc(void *p, size_t n_bytes)
{
    void *to = malloc(n_bytes);
    if (p && to) {
        size_t had = ((union head *)p - 1)->is.bytes - sizeof(union head);
        memcpy(to, p, had < n_bytes ? had : n_bytes);
        free(p);
    }
    return to;
}

void free(void *p)
{
    if (p) {
        ((union head *)p - 1)->is.used = false;
    }
}

/* ---- what libatomic is elsewhere: there is one thread. The suites count with these, and so does DLOAD_STORE 1;
 * what DLOAD_COMPACT 1 may use is the gate's business ---- */

#if UINTPTR_MAX <= 0xffffffffu
#define ATOMICS(n, type)                                                                     \
    type kit_load_##n(const volatile type *p, int order) __asm__("__atomic_load_" #n);       \
    void kit_store_##n(volatile type *p, type x, int order) __asm__("__atomic_store_" #n);   \
    type kit_add_##n(volatile type *p, type x, int order) __asm__("__atomic_fetch_add_" #n); \
    type kit_sub_##n(volatile type *p, type x, int order) __asm__("__atomic_fetch_sub_" #n); \
    bool kit_swap_##n(volatile type *p, type *seen, type x, int order,                       \
                      int otherwise) __asm__("__atomic_compare_exchange_" #n);               \
    type kit_load_##n(const volatile type *p, int order)                                     \
    {                                                                                        \
        (void)order;                                                                         \
        return *p;                                                                           \
    }                                                                                        \
    void kit_store_##n(volatile type *p, type x, int order)                                  \
    {                                                                                        \
        (void)order;                                                                         \
        *p = x;                                                                              \
    }                                                                                        \
    type kit_add_##n(volatile type *p, type x, int order)                                    \
    {                                                                                        \
        (void)order;                                                                         \
        type was = *p;                                                                       \
        *p = was + x;                                                                        \
        return was;                                                                          \
    }                                                                                        \
    type kit_sub_##n(volatile type *p, type x, int order)                                    \
    {                                                                                        \
        (void)order;                                                                         \
        type was = *p;                                                                       \
        *p = was - x;                                                                        \
        return was;                                                                          \
    }                                                                                        \
    bool kit_swap_##n(volatile type *p, type *seen, type x, int order, int otherwise)        \
    {                                                                                        \
        (void)order;                                                                         \
        (void)otherwise;                                                                     \
        bool same = *p == *seen;                                                             \
        *seen = *p;                                                                          \
        *p = same ? x : *p;                                                                  \
        return same;                                                                         \
    }

ATOMICS(4, uint32_t)
ATOMICS(8, uint64_t)
#endif
