/* Bodies of custom_lock.h. */
#define _POSIX_C_SOURCE 200809L
#include "custom_lock.h"

#define DLOAD_NAME  section_loader
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HELD_MAX = 2 }; /* the loader's, and its cache's inside */

struct test_section {
    pthread_mutex_t mutex;
};

static __thread struct test_section *held[HELD_MAX];
static __thread size_t n_held;

static void must_hold(bool is_right, const char *rule)
{
    if (!is_right) {
        fprintf(stderr, "critical section: %s\n", rule);
        abort();
    }
}

void test_section_init(struct test_section **p)
{
    *p = malloc(sizeof **p);
    must_hold(*p != NULL && pthread_mutex_init(&(*p)->mutex, NULL) == 0, "can be made");
}

void test_section_enter(struct test_section *s)
{
    for (size_t i = 0; i < n_held; i++) {
        must_hold(held[i] != s, "is not entered inside itself");
    }
    must_hold(n_held < HELD_MAX, "two at most are held");
    must_hold(pthread_mutex_lock(&s->mutex) == 0, "can be entered");
    held[n_held++] = s;
}

void test_section_leave(struct test_section *s)
{
    must_hold(n_held != 0 && held[n_held - 1] == s, "the innermost one is left, by who entered it");
    n_held--;
    must_hold(pthread_mutex_unlock(&s->mutex) == 0, "can be left");
}

void test_section_destroy(struct test_section *s)
{
    must_hold(pthread_mutex_destroy(&s->mutex) == 0, "ends when nobody is inside");
    free(s);
}

void test_section_outside(const char *where)
{
    must_hold(n_held == 0, where);
}

/* ---- waiting: one condition for all words; who is woken looks at its own ---- */

static pthread_mutex_t waits = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;

dload_status test_section_wait(void *ctx, const uint32_t *word, uint32_t seen, uint64_t until_ns)
{
    struct timespec end;
    (void)ctx;
    /* Waits may return early, and this one does after 5 ms, or 1 ms by a clock that is not the host's. */
    uint64_t now_ns = real_ns();
    uint64_t span_ns = until_ns > now_ns ? until_ns - now_ns : DLOAD_MILLISECOND;
    span_ns = span_ns < 5 * DLOAD_MILLISECOND ? span_ns : 5 * DLOAD_MILLISECOND;
    test_section_outside("is not held while waiting");
    pthread_mutex_lock(&waits);
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += (long)span_ns;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen) {
        (void)pthread_cond_timedwait(&woken, &waits, &end);
    }
    pthread_mutex_unlock(&waits);
    return DLOAD_OK;
}

void test_section_wake(void *ctx, const uint32_t *word)
{
    (void)ctx;
    (void)word;
    pthread_mutex_lock(&waits);
    pthread_cond_broadcast(&woken);
    pthread_mutex_unlock(&waits);
}
