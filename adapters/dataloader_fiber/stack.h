/* dataloader_fiber/stack.h -- stacks and the switch between them; a part of dataloader_fiber.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Here: a block of pages with a guard below, a stack and the caller's record in it; entering it,
 * leaving it, coming back; AddressSanitizer and ThreadSanitizer being told of it.
 * Not here: tasks, waiting, loaders, locks. Nothing in this file knows dataloader.h.
 *
 * makecontext enters a stack, _setjmp and _longjmp change between stacks afterwards: 17 ns measured,
 * against 175 ns for swapcontext, which asks the kernel for the signal mask each time. Under a
 * shadow stack (x86 CET), which _longjmp cannot change, and where each stack is to have a signal
 * mask of its own, it is swapcontext.
 */
#ifndef DATALOADER_FIBER_STACK_H
#define DATALOADER_FIBER_STACK_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __GLIBC__
#error "dataloader_fiber.h: needs makecontext and _longjmp as glibc has them"
#endif

/* A strict -std=c11 with <sys/mman.h> included before dataloader.h hides it. */
#ifdef MAP_ANONYMOUS
#define DLOAD_FIBER_I_ANONYMOUS MAP_ANONYMOUS
#elif defined(__x86_64__) || defined(__i386__) || defined(__aarch64__) || defined(__arm__) || \
    defined(__riscv) || defined(__powerpc__) || defined(__s390__)
#define DLOAD_FIBER_I_ANONYMOUS 0x20
#else
#error "dataloader_fiber.h: define _DEFAULT_SOURCE before the first include, for MAP_ANONYMOUS"
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DLOAD_FIBER_I_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define DLOAD_FIBER_I_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(DLOAD_FIBER_I_ASAN)
#define DLOAD_FIBER_I_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(DLOAD_FIBER_I_TSAN)
#define DLOAD_FIBER_I_TSAN 1
#endif
#ifndef DLOAD_FIBER_I_ASAN
#define DLOAD_FIBER_I_ASAN 0
#endif
#ifndef DLOAD_FIBER_I_TSAN
#define DLOAD_FIBER_I_TSAN 0
#endif
#if DLOAD_FIBER_I_ASAN
#include <sanitizer/asan_interface.h>
#endif
#if DLOAD_FIBER_I_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define DLOAD_FIBER_I_FN          __attribute__((__unused__)) static
#define DLOAD_FIBER_I_NOINLINE    __attribute__((__unused__, __noinline__)) static
#define DLOAD_FIBER_I_GUARD_BYTES ((size_t)65536)
#define DLOAD_FIBER_I_COLOURS     16u
#define DLOAD_FIBER_I_MIN_BYTES   ((size_t)16384) /* a signal's frame alone may take several KiB */

#ifdef __cplusplus
extern "C" {
#endif
/* A strict -std=c11 hides one; _FORTIFY_SOURCE takes the other for a longjmp into a frame that has
 * ended, and ends the process: this name goes past it. */
extern void dload_fiber_i_longjmp(struct __jmp_buf_tag *to, int value) __asm__("_longjmp")
    __attribute__((__noreturn__));
#ifdef __cplusplus
}
#endif

/* The thread's own stack, while another one is run on. */
typedef struct dload_fiber_i_home {
    bool by_context; /* switch by swapcontext */
    jmp_buf at;
    ucontext_t context;
    const void *bottom; /* AddressSanitizer's */
    size_t n_bytes;
    void *tsan;
} dload_fiber_i_home;

/* One stack. Lies in its block above the stack itself, so that what a switch touches is together. */
typedef struct dload_fiber_i_stack {
    void (*fn)(void *arg); /* NULL = it has returned; set it to use the stack again */
    void *arg;
    dload_fiber_i_home *home;
    char *block;  /* guard, stack, the record that this lies in */
    char *top;    /* of the stack */
    bool entered; /* `at` is valid */
    jmp_buf at;
    ucontext_t context;
    void *fake_stack; /* AddressSanitizer's */
    void *tsan;
} dload_fiber_i_stack;

/* ---- blocks ---- */

/* Is there a second stack of return addresses that _longjmp would have to unwind? */
DLOAD_FIBER_I_FN bool dload_fiber_i_shadow_stack(void)
{
#if defined(__x86_64__)
    uint64_t at = 0;
    __asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8" : "+a"(at)); /* rdsspq; else a nop */
    return at != 0;
#elif defined(__ARM_FEATURE_GCS_DEFAULT)
    return true;
#else
    return false;
#endif
}

/* The size of a block for such a stack and record; 0 = out of range. */
DLOAD_FIBER_I_FN size_t dload_fiber_i_block_bytes(size_t stack_bytes, size_t record_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t more = record_bytes + 64 + DLOAD_FIBER_I_COLOURS * 256 + page;
    if (stack_bytes < DLOAD_FIBER_I_MIN_BYTES ||
        stack_bytes > SIZE_MAX / 2 - more - DLOAD_FIBER_I_GUARD_BYTES)
        return 0;
    return DLOAD_FIBER_I_GUARD_BYTES + ((stack_bytes + more - 1) & ~(page - 1));
}

/* A stack with a guard below it and a record, all zeros, above, which is what it returns; NULL when
 * there is no memory. nth counts the calls. The record's stack goes to _adopt, in the end to _unmap. */
DLOAD_FIBER_I_FN void *dload_fiber_i_map(size_t block_bytes, size_t record_bytes, size_t nth,
                                         char **block)
{
    void *p = mmap(NULL, block_bytes, PROT_NONE, MAP_PRIVATE | DLOAD_FIBER_I_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    char *stack = (char *)p + DLOAD_FIBER_I_GUARD_BYTES;
    if (mprotect(stack, block_bytes - DLOAD_FIBER_I_GUARD_BYTES, PROT_READ | PROT_WRITE) != 0) {
        (void)munmap(p, block_bytes);
        return NULL;
    }
    /* Else the tops of all stacks would share a few sets of the processor's cache: 10,000 tasks
     * took twice as long a load. */
    char *end = (char *)p + block_bytes - nth % DLOAD_FIBER_I_COLOURS * 256;
    *block = (char *)p;
    return end - ((record_bytes + 63) & ~(size_t)63);
}

/* The stack k of a record that came from _map. */
DLOAD_FIBER_I_FN void dload_fiber_i_adopt(dload_fiber_i_stack *k, dload_fiber_i_home *home,
                                          void *record, char *block)
{
    k->home = home;
    k->block = block;
    k->top = (char *)record;
#if DLOAD_FIBER_I_TSAN
    k->tsan = __tsan_create_fiber(0);
#endif
}

/* Gives everything back, k too. Nobody is on it. */
DLOAD_FIBER_I_FN void dload_fiber_i_unmap(dload_fiber_i_stack *k, size_t block_bytes)
{
#if DLOAD_FIBER_I_TSAN
    __tsan_destroy_fiber(k->tsan);
#endif
#if DLOAD_FIBER_I_ASAN
    __asan_unpoison_memory_region(k->block, block_bytes); /* for who maps it next */
#endif
    (void)munmap(k->block, block_bytes);
}

/* ---- switching ---- */

/* Leaves from, returns when somebody jumps there. A function of its own, without variables that
 * could be in registers across the second return. */
DLOAD_FIBER_I_NOINLINE void dload_fiber_i_jump(struct __jmp_buf_tag *from, struct __jmp_buf_tag *to)
{
    if (_setjmp(from) == 0)
        dload_fiber_i_longjmp(to, 1);
}

DLOAD_FIBER_I_NOINLINE void dload_fiber_i_enter(struct __jmp_buf_tag *from, const ucontext_t *to)
{
    if (_setjmp(from) == 0)
        (void)setcontext(to);
}

/* The same with the signal mask; not called swapcontext where AddressSanitizer would warn of it. */
DLOAD_FIBER_I_NOINLINE void dload_fiber_i_swap(ucontext_t *from, const ucontext_t *to)
{
#if DLOAD_FIBER_I_ASAN
    volatile bool left = false;
    (void)getcontext(from);
    if (!left) {
        left = true;
        (void)setcontext(to);
    }
#else
    (void)swapcontext(from, to);
#endif
}

/* From k to the thread's own stack; returns when somebody comes back to k. */
DLOAD_FIBER_I_NOINLINE void dload_fiber_i_leave(dload_fiber_i_stack *k)
{
    dload_fiber_i_home *home = k->home;
#if DLOAD_FIBER_I_ASAN
    k->fake_stack = NULL; /* of a function that has returned it is released */
    __sanitizer_start_switch_fiber(k->fn != NULL ? &k->fake_stack : NULL, home->bottom,
                                   home->n_bytes);
#endif
#if DLOAD_FIBER_I_TSAN
    __tsan_switch_to_fiber(home->tsan, 0);
#endif
    if (home->by_context)
        dload_fiber_i_swap(&k->context, &home->context);
    else
        dload_fiber_i_jump(k->at, home->at);
#if DLOAD_FIBER_I_ASAN
    __sanitizer_finish_switch_fiber(k->fake_stack, &home->bottom, &home->n_bytes);
#endif
}

/* The lowest frame of every stack; makecontext hands over ints only. */
DLOAD_FIBER_I_FN void dload_fiber_i_main(unsigned high, unsigned low)
{
    dload_fiber_i_stack *k =
        (dload_fiber_i_stack *)((uintptr_t)high << (sizeof(uintptr_t) * 4) | (uintptr_t)low);
#if DLOAD_FIBER_I_ASAN
    __sanitizer_finish_switch_fiber(NULL, &k->home->bottom, &k->home->n_bytes);
#endif
    for (;;) {
        k->fn(k->arg);
        k->fn = NULL;
        dload_fiber_i_leave(k); /* until the stack is used again */
    }
}

DLOAD_FIBER_I_FN void dload_fiber_i_prepare(dload_fiber_i_stack *k)
{
    uintptr_t at = (uintptr_t)k;
    unsigned n_half = (unsigned)(sizeof(uintptr_t) * 4);
    char *bottom = k->block + DLOAD_FIBER_I_GUARD_BYTES;
#if DLOAD_FIBER_I_ASAN
    __asan_unpoison_memory_region(bottom, (size_t)(k->top - bottom)); /* the last one's frames */
#endif
    (void)getcontext(&k->context); /* with the signal mask of this moment */
    k->context.uc_stack.ss_sp = bottom;
    k->context.uc_stack.ss_size = (size_t)(k->top - bottom);
    k->context.uc_link = NULL;
    makecontext(&k->context, (void (*)(void))dload_fiber_i_main, 2, (unsigned)(at >> n_half),
                (unsigned)(at & (((uintptr_t)1 << n_half) - 1)));
}

/* From the thread's own stack to k; returns when k leaves or its function has returned. */
DLOAD_FIBER_I_NOINLINE void dload_fiber_i_go_on(dload_fiber_i_stack *k)
{
    dload_fiber_i_home *home = k->home;
    bool enter = !k->entered;
    k->entered = true;
    if (enter)
        dload_fiber_i_prepare(k);
#if DLOAD_FIBER_I_ASAN
    void *fake_stack = NULL;
    char *bottom = k->block + DLOAD_FIBER_I_GUARD_BYTES;
    __sanitizer_start_switch_fiber(&fake_stack, bottom, (size_t)(k->top - bottom));
#endif
#if DLOAD_FIBER_I_TSAN
    home->tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(k->tsan, 0);
#endif
    if (home->by_context)
        dload_fiber_i_swap(&home->context, &k->context);
    else if (enter)
        dload_fiber_i_enter(home->at, &k->context);
    else
        dload_fiber_i_jump(home->at, k->at);
#if DLOAD_FIBER_I_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
#endif
    if (k->fn == NULL)
        k->entered = !home->by_context; /* the next function there gets a fresh signal mask */
}

#endif /* DATALOADER_FIBER_STACK_H */
