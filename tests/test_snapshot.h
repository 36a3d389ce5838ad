/* A snapshot in memory, for every test of snapshots: what was written, and from where it is read; and what
 * each of those tests begins and ends with. */
#ifndef DLOAD_TESTS_SNAPSHOT_H
#define DLOAD_TESTS_SNAPSHOT_H

#include "support.h"

#include <stdlib.h>
#include <string.h>

struct tape {
    unsigned char *bytes;
    size_t n, cap;
    size_t at;   /* reading */
    size_t step; /* reading: so many bytes at a time at most; 0 = all that is asked for */
    size_t
        fail_after; /* the call that goes beyond so many bytes fails with status; 0 = none does */
    dload_status status;
    void (*act)(void *ctx); /* runs in every call; may use the cache */
    void *act_ctx;
};

static inline void tape_clear(struct tape *t)
{
    free(t->bytes);
    memset(t, 0, sizeof *t);
}

static inline void tape_rewind(struct tape *t)
{
    t->at = 0;
}

static inline dload_status tape_write(void *ctx, const void *bytes, size_t n_bytes)
{
    struct tape *t = ctx;
    if (t->act) {
        t->act(t->act_ctx);
    }
    if (t->fail_after && t->n + n_bytes > t->fail_after) {
        return t->status;
    }
    if (t->n + n_bytes > t->cap) {
        t->cap = (t->n + n_bytes) * 2;
        t->bytes = realloc(t->bytes, t->cap);
        assert_non_null(t->bytes);
    }
    if (n_bytes) {
        memcpy(t->bytes + t->n, bytes, n_bytes);
    }
    t->n += n_bytes;
    return DLOAD_OK;
}

static inline dload_status tape_read(void *ctx, void *bytes, size_t n_bytes, size_t *n_read)
{
    struct tape *t = ctx;
    if (t->act) {
        t->act(t->act_ctx);
    }
    if (t->fail_after && t->at + n_bytes > t->fail_after) {
        return t->status;
    }
    size_t n = t->n - t->at < n_bytes ? t->n - t->at : n_bytes;
    if (t->step && n > t->step) {
        n = t->step;
    }
    if (n) {
        memcpy(bytes, t->bytes + t->at, n);
    }
    t->at += n;
    *n_read = n;
    return DLOAD_OK;
}

/* Saves name's cache c to tape t, or restores from it, and wants n entries. Time outside stands still. */
#define TAPE_HOW(name, how, t)   \
    name##_snapshot how;         \
    memset(&how, 0, sizeof how); \
    how.write = tape_write;      \
    how.read = tape_read;        \
    how.ctx = (t);               \
    how.wall_ns = DLOAD_NEVER

#define SAVE(name, c, t, want)                       \
    do {                                             \
        TAPE_HOW(name, how_, t);                     \
        size_t n_ = 12345;                           \
        must_ok(name##_cache_save((c), &how_, &n_)); \
        equal(n_, (want));                           \
    } while (0)

#define RESTORE(name, c, t, want)                       \
    do {                                                \
        TAPE_HOW(name, how_, t);                        \
        size_t n_ = 12345;                              \
        tape_rewind(t);                                 \
        must_ok(name##_cache_restore((c), &how_, &n_)); \
        equal(n_, (want));                              \
    } while (0)

#define OPEN(name, c, cap, n_shards)            \
    do {                                        \
        name##_cache_config cfg_;               \
        memset(&cfg_, 0, sizeof cfg_);          \
        cfg_.env = &env.env;                    \
        cfg_.capacity = (cap);                  \
        cfg_.shards = (n_shards);               \
        must_ok(name##_cache_init((c), &cfg_)); \
    } while (0)

/* ---- before and after each test ---- */

static struct fake_env env;
static struct tape tape;

static inline int snapshot_setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    memset(&tape, 0, sizeof tape);
    return 0;
}

static inline int snapshot_teardown(void **state)
{
    (void)state;
    fake_env_check(&env);
    tape_clear(&tape);
    return 0;
}

#define SNAPSHOT_TEST(fn) cmocka_unit_test_setup_teardown(fn, snapshot_setup, snapshot_teardown)

#endif /* DLOAD_TESTS_SNAPSHOT_H */
