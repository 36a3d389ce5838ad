/* What cases are written in, over the functions of a driver: ask, let go, what each caller got. */
#ifndef DLOAD_TESTS_DRIVERS_VERBS_H
#define DLOAD_TESTS_DRIVERS_VERBS_H

#include "driver.h"

#define LONG_NS (3600 * DLOAD_SECOND)
#define MS      DLOAD_MILLISECOND
#define EMINE   (dload_status)(DLOAD_EUSER - 7)

/* An array and its length; not for one without elements. */
#define KEYS(...) (const uint64_t[]){__VA_ARGS__}, COUNT(((const uint64_t[]){__VA_ARGS__}))

/* Caller i asks for these keys. */
#define ask(x, i, ...) ask_with((x), (i), KEYS(__VA_ARGS__), NULL)

static inline void ask_until(struct fixture *x, size_t i, uint64_t key, uint64_t deadline_ns)
{
    dload_call call = {.deadline_ns = deadline_ns};
    ask_with(x, i, &key, 1, &call);
}

/* Caller i comes back with these values. */
#define must_get(x, i, ...) must_get_((x), (i), KEYS(__VA_ARGS__), __FILE__, __LINE__)
static inline void must_get_(struct fixture *x, size_t i, const uint64_t *values, size_t n,
                             const char *file, int line)
{
    collect(x, i);
    const struct caller *c = &callers[i];
    equal_(c->n, n, "number of keys", file, line);
    must_(c->result, DLOAD_OK, "the call", file, line);
    for (size_t k = 0; k < n; k++) {
        must_(c->st[k], DLOAD_OK, "the key", file, line);
        equal_(c->out[k], values[k], "the value", file, line);
    }
}

/* Caller i, with one key, comes back with this status, and no value was written. */
#define must_fail(x, i, status) must_fail_((x), (i), (status), __FILE__, __LINE__)
static inline void must_fail_(struct fixture *x, size_t i, dload_status status, const char *file,
                              int line)
{
    collect(x, i);
    equal_(callers[i].n, 1, "number of keys", file, line);
    must_(callers[i].st[0], status, "the key", file, line);
    equal_(callers[i].out[0], 0, "what was written", file, line);
}

/* Caller i has left at its deadline. */
#define must_leave(x, i) must_fail((x), (i), leaving_status())

/* Caller i still waits. */
#define must_wait(x, i) assert_false(has_ended((x), (i)))

/* A blocking load that gives this value. */
#define load_one(x, key, value) load_one_((x), (key), (value), __FILE__, __LINE__)
static inline void load_one_(struct fixture *x, uint64_t key, uint64_t value, const char *file,
                             int line)
{
    uint64_t out = 0;
    must_(load_with(x, key, NULL, &out), DLOAD_OK, "the load", file, line);
    equal_(out, value, "the value", file, line);
}

/* A blocking load without a value. */
static inline dload_status load_status(struct fixture *x, uint64_t key)
{
    uint64_t out = 77;
    dload_status st = load_with(x, key, NULL, &out);
    if (st < 0) {
        equal(out, 77); /* it is written exactly when there is one */
    }
    return st;
}

static inline dload_status load_many(struct fixture *x, const uint64_t *keys, size_t n,
                                     uint64_t *out, dload_status *st)
{
    return load_many_with(x, keys, n, NULL, out, st);
}

/* The fetch function was called like this since the last look: "B(1,2) B(3)". */
#define calls_must(x, want) calls_must_((x), (want), __FILE__, __LINE__)
static inline void calls_must_(struct fixture *x, const char *want, const char *file, int line)
{
    (void)pthread_mutex_lock(&record_mutex);
    struct text calls = x->r.calls;
    text_clear(&x->r.calls);
    (void)pthread_mutex_unlock(&record_mutex);
    text_must_(&calls, want, file, line);
}

/* Nothing has gone, and nothing goes at this moment. */
#define must_be_quiet(x)   \
    do {                   \
        give_time(x);      \
        calls_must(x, ""); \
    } while (0)

/* Waits until n batches are pending. */
static inline void must_be_out(struct fixture *x, size_t n)
{
    for (unsigned ms = 0; n_pending(x) < n && ms < 10000; ms++) {
        tick(x);
        if (driver_bit() & ON_THREADS) {
            sleep_ms(1);
        }
    }
    equal(n_pending(x), n);
}

/* Caller i's key goes out in a batch that stays pending. */
static inline void ask_pending(struct fixture *x, size_t i, uint64_t key)
{
    size_t n = n_pending(x);
    x->r.result = DLOAD_PENDING;
    ask(x, i, key);
    equal(dispatch(x), 1);
    must_be_out(x, n + 1);
}

/* Another loader can be opened afterwards. */
static inline void close_for_next(struct fixture *x)
{
    tl_take_down(x, &x->l);
    x->open = false;
}

#define peek_must(x, key, state) peek_must_((x), (key), (state), __FILE__, __LINE__)
static inline void peek_must_(struct fixture *x, uint64_t key, dload_state state, const char *file,
                              int line)
{
    dload_state is = (dload_state)99;
    (void)tl_peek(&x->l, key, &is, NULL);
    equal_((uint64_t)is, (uint64_t)state, "the state", file, line);
}

/* The counters, without what the driver did for itself. */
static inline dload_stats stats_now(struct fixture *x)
{
    dload_stats s = stats_of(x), own = driver_stats(x);
    s.loads -= own.loads;
    s.hits -= own.hits;
    s.joins -= own.joins;
    s.misses -= own.misses;
    s.batches -= own.batches;
    s.keys -= own.keys;
    s.store_skipped -= own.store_skipped;
    for (size_t i = 0; i < DLOAD_N_TRIGGERS; i++) {
        s.by_trigger[i] -= own.by_trigger[i];
    }
    return s;
}

#endif /* DLOAD_TESTS_DRIVERS_VERBS_H */
