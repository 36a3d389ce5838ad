/* What every test stands on: an environment that obeys the test, texts to compare, small asserts.
 *
 * A program defines its loader and includes dataloader.h before this file, which knows neither
 * keys nor values.
 */
#ifndef DLOAD_TESTS_SUPPORT_H
#define DLOAD_TESTS_SUPPORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#ifndef TEST_LOCK
#define TEST_LOCK DLOAD_LOCK_NONE
#endif
#ifndef TEST_CHECKED
#define TEST_CHECKED() ((void)0) /* where somebody counts checks: tests/freestanding */
#endif
#define TEST_STRING_OF(x) #x
#define TEST_STRING(x)    TEST_STRING_OF(x)

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- the environment ---- */

/* Counts, guards and fails allocations; its clock stands still until somebody moves it. Counters
 * are atomic, so that threads may share one. */
struct fake_env {
    dload_env env;       /* hand &f->env to a configuration */
    uint64_t now_ns;     /* the manual clock */
    uint64_t step_ns;    /* how far each reading of the clock moves it; 0 = not at all */
    size_t n_live;       /* blocks out */
    size_t live_bytes;   /* bytes out */
    size_t n_allocs;     /* successful allocations since the start */
    size_t n_broken;     /* frees of a wrong size, or of a block written past its end */
    size_t fail_at;      /* with armed: the how-manieth allocation fails; 1 = the next; 0 = none */
    size_t n_armed;      /* allocations asked for while armed */
    size_t n_failed;     /* allocations refused */
    bool fail_for_good;  /* all later ones too */
    bool armed;          /* failing is on */
    uint64_t random;     /* state of env->random */
    size_t n_waits;      /* calls of env->wait */
    size_t n_wakes;      /* calls of env->wake */
    uint64_t last_until; /* what the last wait would have waited for */
    void (*pump)(void *ctx); /* runs inside each wait; NULL = the clock jumps to the wait's end */
    void *pump_ctx;
};

/* A manual clock at 1 s and a wait that pumps: everything happens in the calling thread. */
void fake_env_init(struct fake_env *f);

/* The host's clock, identity and waiting; only memory is ours. */
void fake_env_init_host(struct fake_env *f);

/* How callers wait, where the lock does not let them: under DLOAD_LOCK_CUSTOM, see custom_lock.h. */
#ifdef DLOAD_TESTS_CUSTOM_LOCK_H
#define TEST_WAIT           test_section_wait
#define TEST_WAKE           test_section_wake
#define TEST_OUTSIDE(where) test_section_outside(where)
#else
#define TEST_WAIT           NULL
#define TEST_WAKE           NULL
#define TEST_OUTSIDE(where) ((void)(where))
#endif
dload_status test_section_wait(void *ctx, const uint32_t *word, uint32_t seen, uint64_t until_ns);
void test_section_wake(void *ctx, const uint32_t *word);

/* The same, for threads under any lock. */
static inline void fake_env_init_real(struct fake_env *f)
{
    fake_env_init_host(f);
    f->env.wait = TEST_WAIT;
    f->env.wake = TEST_WAKE;
}

/* From here on the n-th allocation fails, as fail_at and fail_for_good say. */
void fake_env_arm(struct fake_env *f);
void fake_env_disarm(struct fake_env *f);

/* Fails the test when a block is out or one was damaged. */
void fake_env_check(const struct fake_env *f);

/* Runs body again and again, failing its first, second, third ... allocation between arm and
 * disarm, first alone, then with all later ones, until no allocation was left to fail. Checks for
 * leaks after every run. Returns how many failures were injected. */
size_t fail_until_ok(const char *name, void (*body)(struct fake_env *f));

/* ---- texts ---- */

struct text {
    char buf[8192];
    size_t len;
};

void text_clear(struct text *t);
void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Compares and empties, so that each step of a test speaks of that step alone. */
void text_must_(struct text *t, const char *want, const char *file, int line);
#define text_must(t, want) text_must_((t), (want), __FILE__, __LINE__)

/* ---- asserts ---- */

/* The expression's status must be this one; prints both names otherwise. */
#define must(expr, want) must_((expr), (want), #expr, __FILE__, __LINE__)
#define must_ok(expr)    must((expr), DLOAD_OK)
void must_(dload_status got, dload_status want, const char *what, const char *file, int line);

/* Unsigned numbers, printed in decimal. */
#define equal(got, want) equal_((uint64_t)(got), (uint64_t)(want), #got, __FILE__, __LINE__)
void equal_(uint64_t got, uint64_t want, const char *what, const char *file, int line);

/* ---- random tests ---- */

/* SEED from the environment, or one of its own; printed, so that a failure can be repeated. */
uint64_t test_seed(const char *who);

/* The next number of a sequence (splitmix64), and one below n. */
uint64_t rng(uint64_t *state);
uint64_t rng_below(uint64_t *state, uint64_t n);

/* Ten times the value of TEST_SCALE (default 10) over ten: soak runs raise it, valgrind lowers it.
 * */
size_t scaled(size_t n);

/* Real nanoseconds, for tests that measure. */
uint64_t real_ns(void);

/* The path of a file beside the tests, e.g. "golden/mixed.txt"; valid until the next call. */
const char *test_path(const char *name);

/* ---- threads ---- */

/* Runs body(ctx, i) in n threads that begin together, and waits for all of them. Small stacks, so
 * that a thousand threads are cheap. */
void run_threads(size_t n, void (*body)(void *ctx, size_t i), void *ctx);

/* Sleeps for real; for tests that must let other threads go on. */
void sleep_ms(unsigned ms);

#endif /* DLOAD_TESTS_SUPPORT_H */
