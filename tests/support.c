/* Bodies of support.h. */
#define _POSIX_C_SOURCE 200809L

/* The header wants a loader; this one is here for the types of its environment only. */
#define DLOAD_NAME  support_loader
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"
#include "support.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef TEST_BARE /* a core without an operating system: tests/freestanding */
#include <pthread.h>
#include <time.h>
#endif

/* ---- memory: [header][bytes][guard] ---- */

#define BLOCK_MAGIC 0x5ca1ab1e0ddba11uLL
#define GUARD_BYTES 16u
#define GUARD_FILL  0xa7

struct block {
    uint64_t magic;
    size_t bytes;
}; /* 16 bytes: what malloc aligned to 16 stays aligned to 16, and is rarely aligned to 64 */

static bool must_fail(struct fake_env *f)
{
    if (!__atomic_load_n(&f->armed, __ATOMIC_RELAXED)) {
        return false;
    }
    size_t nth = __atomic_add_fetch(&f->n_armed, 1, __ATOMIC_RELAXED);
    if (f->fail_at == 0 || nth < f->fail_at || (nth > f->fail_at && !f->fail_for_good)) {
        return false;
    }
    __atomic_add_fetch(&f->n_failed, 1, __ATOMIC_RELAXED);
    return true;
}

static void *fake_alloc(void *ctx, size_t bytes)
{
    struct fake_env *f = ctx;
    if (must_fail(f) || bytes > SIZE_MAX / 2) {
        return NULL;
    }
    struct block *b = malloc(sizeof *b + bytes + GUARD_BYTES);
    if (!b) {
        return NULL;
    }
    b->magic = BLOCK_MAGIC;
    b->bytes = bytes;
    /* Not zero: a reader of memory that nobody wrote shall notice. */
    memset(b + 1, 0xcd, bytes);
    memset((char *)(b + 1) + bytes, GUARD_FILL, GUARD_BYTES);
    __atomic_add_fetch(&f->n_allocs, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&f->n_live, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&f->live_bytes, bytes, __ATOMIC_RELAXED);
    return b + 1;
}

static void fake_free(void *ctx, void *p, size_t bytes)
{
    struct fake_env *f = ctx;
    if (!p) {
        return;
    }
    struct block *b = (struct block *)p - 1;
    bool broken = b->magic != BLOCK_MAGIC || b->bytes != bytes;
    const unsigned char *guard = (const unsigned char *)p + b->bytes;
    for (size_t i = 0; !broken && i < GUARD_BYTES; i++) {
        broken = guard[i] != GUARD_FILL;
    }
    if (broken) {
        __atomic_add_fetch(&f->n_broken, 1, __ATOMIC_RELAXED);
        return; /* freeing it might take the process along, and the test would not be named */
    }
    __atomic_sub_fetch(&f->n_live, 1, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&f->live_bytes, bytes, __ATOMIC_RELAXED);
    memset(b, 0xdd, sizeof *b + bytes);
    free(b);
}

/* ---- time ---- */

static uint64_t fake_now(void *ctx)
{
    struct fake_env *f = ctx;
    f->now_ns += f->step_ns;
    return f->now_ns;
}

static uint64_t fake_random(void *ctx)
{
    struct fake_env *f = ctx;
    return rng(&f->random);
}

static dload_status fake_wait(void *ctx, const uint32_t *word, uint32_t seen, uint64_t until_ns)
{
    struct fake_env *f = ctx;
    f->n_waits++;
    f->last_until = until_ns;
    if (f->n_waits > 1000000) {
        fail_msg("a million waits: a blocking call does not end");
    }
    if (word && __atomic_load_n(word, __ATOMIC_ACQUIRE) != seen) {
        return DLOAD_OK;
    }
    if (f->pump) {
        f->pump(f->pump_ctx);
    } else if (until_ns != DLOAD_NEVER && until_ns > f->now_ns) {
        f->now_ns = until_ns;
    } else if (until_ns == DLOAD_NEVER) {
        fail_msg("a wait without an end, and nobody to end it");
    }
    return DLOAD_OK;
}

static void fake_wake(void *ctx, const uint32_t *word)
{
    struct fake_env *f = ctx;
    (void)word;
    f->n_wakes++;
}

void fake_env_init(struct fake_env *f)
{
    memset(f, 0, sizeof *f);
    f->now_ns = DLOAD_SECOND;
    f->random = 1;
    f->env.now = fake_now;
    f->env.alloc = fake_alloc;
    f->env.free = fake_free;
    f->env.random = fake_random;
    f->env.wait = fake_wait;
    f->env.wake = fake_wake;
    f->env.ctx = f;
}

#if !DLOAD_FREESTANDING
/* The host's functions may want the host's ctx. */
static uint64_t host_now(void *ctx)
{
    (void)ctx;
    const dload_env *host = dload_env_default();
    return host->now(host->ctx);
}

static uint64_t host_self(void *ctx)
{
    (void)ctx;
    const dload_env *host = dload_env_default();
    return host->self(host->ctx);
}

void fake_env_init_host(struct fake_env *f)
{
    memset(f, 0, sizeof *f);
    f->env.now = host_now;
    f->env.self = dload_env_default()->self ? host_self : NULL;
    f->env.alloc = fake_alloc;
    f->env.free = fake_free;
    f->env.ctx = f;
}

#endif /* !DLOAD_FREESTANDING */

void fake_env_arm(struct fake_env *f)
{
    f->n_armed = 0;
    f->armed = true;
}

void fake_env_disarm(struct fake_env *f)
{
    f->armed = false;
}

void fake_env_check(const struct fake_env *f)
{
    if (f->n_broken) {
        fail_msg("%zu blocks were damaged or freed with a wrong size", f->n_broken);
    }
    if (f->n_live) {
        fail_msg("%zu blocks leaked, %zu bytes", f->n_live, f->live_bytes);
    }
}

size_t fail_until_ok(const char *name, void (*body)(struct fake_env *f))
{
    size_t injected = 0;
    for (int for_good = 0; for_good < 2; for_good++) {
        for (size_t nth = 1;; nth++) {
            struct fake_env f;
            fake_env_init(&f);
            f.fail_at = nth;
            f.fail_for_good = for_good != 0;
            body(&f);
            fake_env_disarm(&f);
            if (f.n_live || f.n_broken) {
                print_error("%s: allocation %zu failed %s\n", name, nth,
                            for_good ? "and all later ones" : "alone");
            }
            fake_env_check(&f);
            if (!f.n_failed) {
                break;
            }
            injected++;
            if (nth > 100000) {
                fail_msg("%s: still failing at allocation %zu", name, nth);
            }
        }
    }
    return injected;
}

/* ---- texts ---- */

void text_clear(struct text *t)
{
    t->len = 0;
    t->buf[0] = '\0';
}

void text_add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->buf + t->len, sizeof t->buf - t->len, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof t->buf - t->len) {
        fail_msg("a record of more than %zu bytes", sizeof t->buf);
    }
    t->len += (size_t)n;
}

void text_must_(struct text *t, const char *want, const char *file, int line)
{
    TEST_CHECKED();
    if (strcmp(t->buf, want) != 0) {
        print_error("%s:%d: \"%s\", not \"%s\"\n", file, line, t->buf, want);
        _fail(file, line);
    }
    text_clear(t);
}

/* ---- asserts ---- */

void must_(dload_status got, dload_status want, const char *what, const char *file, int line)
{
    TEST_CHECKED();
    if (got != want) {
        print_error("%s:%d: %s gave %s (%d), not %s (%d)\n", file, line, what,
                    dload_status_name(got), (int)got, dload_status_name(want), (int)want);
        _fail(file, line);
    }
}

void equal_(uint64_t got, uint64_t want, const char *what, const char *file, int line)
{
    TEST_CHECKED();
    if (got != want) {
        print_error("%s:%d: %s is %" PRIu64 ", not %" PRIu64 "\n", file, line, what, got, want);
        _fail(file, line);
    }
}

/* ---- random tests ---- */

uint64_t test_seed(const char *who)
{
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : real_ns() & 0xffffffffu;
    print_message("%s: SEED=%" PRIu64 "\n", who, seed);
    return seed;
}

uint64_t rng(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t rng_below(uint64_t *state, uint64_t n)
{
    return rng(state) % n;
}

size_t scaled(size_t n)
{
    const char *given = getenv("TEST_SCALE");
    size_t scale = given ? (size_t)strtoull(given, NULL, 0) : 10;
    size_t result = n / 10 * scale + n % 10 * scale / 10;
    return result ? result : 1;
}

#ifndef TEST_BARE
uint64_t real_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

const char *test_path(const char *name)
{
    static char path[1024];
    const char *dir = getenv("DLOAD_TESTS");
    size_t len = 0;
    if (!dir) {
        dir = __FILE__;
        const char *slash = strrchr(dir, '/');
        len = slash ? (size_t)(slash - dir) : 0;
    } else {
        len = strlen(dir);
    }
    snprintf(path, sizeof path, "%.*s%s%s", (int)len, dir, len ? "/" : "", name);
    return path;
}

/* ---- threads ---- */

struct starter {
    pthread_t thread;
    pthread_barrier_t *gate;
    void (*body)(void *ctx, size_t i);
    void *ctx;
    size_t i;
};

static void *start_one(void *arg)
{
    struct starter *s = arg;
    pthread_barrier_wait(s->gate);
    s->body(s->ctx, s->i);
    return NULL;
}

void run_threads(size_t n, void (*body)(void *ctx, size_t i), void *ctx)
{
    struct starter *all = calloc(n, sizeof *all);
    pthread_barrier_t gate;
    pthread_attr_t attr;
    assert_non_null(all);
    assert_int_equal(pthread_barrier_init(&gate, NULL, (unsigned)n), 0);
    assert_int_equal(pthread_attr_init(&attr), 0);
    /* Sanitizers put their own tables on the stack; 256 KiB is enough for them, too. */
    assert_int_equal(pthread_attr_setstacksize(&attr, 256u * 1024u), 0);
    for (size_t i = 0; i < n; i++) {
        all[i] = (struct starter){.gate = &gate, .body = body, .ctx = ctx, .i = i};
        assert_int_equal(pthread_create(&all[i].thread, &attr, start_one, &all[i]), 0);
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(pthread_join(all[i].thread, NULL), 0);
    }
    pthread_attr_destroy(&attr);
    pthread_barrier_destroy(&gate);
    free(all);
}

void sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000L};
    nanosleep(&t, NULL);
}
#endif /* TEST_BARE */
