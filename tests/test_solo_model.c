/* DLOAD_ASYNC 0 against the loader that it replaces: the same random calls, made to both, get the same answers,
 * ask the source for the same keys in the same batches, and call back in the same order. With both kinds of cache. */
#define DLOAD_NAME  full
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE uint64_t
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#include "dataloader.h"

#define DLOAD_NAME  solo
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE uint64_t
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#define DLOAD_ASYNC 0
#include "dataloader.h"

#define DLOAD_NAME    tiny
#define DLOAD_KEY     uint32_t
#define DLOAD_VALUE   uint64_t
#define DLOAD_EVICT   DLOAD_EVICT_FIFO
#define DLOAD_ASYNC   0
#define DLOAD_COMPACT 1
#include "dataloader.h"

#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { N_KEYS = 40, N_WAITERS = 24, N_MANY = 30 };

/* What happened in one loader since the last look, as text; and the script that its source follows. */
struct story {
    struct text log;
    uint64_t version; /* of the source */
    uint64_t script;  /* random state: what the function does inside */
    uint32_t depth;
    uint32_t busy; /* bits: waiters that are out */
};

static uint64_t error_ttl(void *ctx, dload_status status)
{
    (void)ctx;
    return status == DLOAD_EFETCH ? 3 * DLOAD_SECOND : 0;
}

/* One loader of either kind, with what is done to it. What the function does depends on the script alone. */
#define SUBJECT(NAME)                                                                      \
    struct NAME##_subject {                                                                \
        struct story s;                                                                    \
        NAME l;                                                                            \
        NAME##_waiter w[N_WAITERS];                                                        \
    };                                                                                     \
    static struct NAME##_subject NAME##_it;                                                \
    static void NAME##_done(NAME##_waiter *w)                                              \
    {                                                                                      \
        struct NAME##_subject *x = w->ctx;                                                 \
        uint32_t i = (uint32_t)(w - x->w);                                                 \
        text_add(&x->s.log, " done%u=%d", i, (int)w->status);                              \
        if (w->status >= 0) {                                                              \
            text_add(&x->s.log, ":%" PRIu64, w->value);                                    \
        }                                                                                  \
        x->s.busy &= ~(UINT32_C(1) << i);                                                  \
    }                                                                                      \
    static void NAME##_start_one(struct NAME##_subject *x, uint32_t key, uint32_t flags)   \
    {                                                                                      \
        uint32_t i = 0;                                                                    \
        dload_call call = {.flags = flags};                                                \
        while (i < N_WAITERS && (x->s.busy >> i & 1) != 0) {                               \
            i++;                                                                           \
        }                                                                                  \
        if (i == N_WAITERS) {                                                              \
            return;                                                                        \
        }                                                                                  \
        memset(&x->w[i], 0, sizeof x->w[i]);                                               \
        x->w[i].done = NAME##_done;                                                        \
        x->w[i].ctx = x;                                                                   \
        dload_status st = NAME##_start_with(&x->l, key, &call, &x->w[i]);                  \
        text_add(&x->s.log, " start%u(%u)=%d", i, key, (int)st);                           \
        if (st >= 0) {                                                                     \
            text_add(&x->s.log, ":%" PRIu64, x->w[i].value);                               \
        } else if (st == DLOAD_PENDING) {                                                  \
            x->s.busy |= UINT32_C(1) << i;                                                 \
        }                                                                                  \
    }                                                                                      \
    static void NAME##_cancel_one(struct NAME##_subject *x, uint32_t i)                    \
    {                                                                                      \
        dload_status st = DLOAD_EBUSY;                                                     \
        if ((x->s.busy >> i & 1) != 0) {                                                   \
            st = NAME##_cancel(&x->l, &x->w[i]);                                           \
        }                                                                                  \
        text_add(&x->s.log, " cancel%u=%d", i, (int)st);                                   \
        if (st == DLOAD_OK) {                                                              \
            x->s.busy &= ~(UINT32_C(1) << i);                                              \
        }                                                                                  \
    }                                                                                      \
    static void NAME##_load_one(struct NAME##_subject *x, uint32_t key, uint32_t flags)    \
    {                                                                                      \
        uint64_t out = 0;                                                                  \
        dload_call call = {.flags = flags};                                                \
        dload_status st = NAME##_load_with(&x->l, key, &call, &out);                       \
        text_add(&x->s.log, " load(%u)=%d:%" PRIu64, key, (int)st, out);                   \
    }                                                                                      \
    static void NAME##_load_some(struct NAME##_subject *x, uint64_t *seed)                 \
    {                                                                                      \
        uint32_t keys[N_MANY];                                                             \
        uint64_t out[N_MANY];                                                              \
        dload_status st[N_MANY];                                                           \
        size_t n = (size_t)rng_below(seed, N_MANY);                                        \
        dload_call call = {.flags = rng_below(seed, 8) == 0 ? DLOAD_FRESH : 0};            \
        memset(out, 0, sizeof out);                                                        \
        for (size_t i = 0; i < n; i++) {                                                   \
            keys[i] = (uint32_t)rng_below(seed, N_KEYS);                                   \
        }                                                                                  \
        dload_status result = NAME##_load_many_with(&x->l, keys, n, &call, out, st);       \
        text_add(&x->s.log, " many=%d", (int)result);                                      \
        for (size_t i = 0; i < n; i++) {                                                   \
            text_add(&x->s.log, " %u=%d:%" PRIu64, keys[i], (int)st[i], out[i]);           \
        }                                                                                  \
    }                                                                                      \
    static void NAME##_touch(struct NAME##_subject *x, uint64_t *seed)                     \
    {                                                                                      \
        uint32_t key = (uint32_t)rng_below(seed, N_KEYS);                                  \
        uint64_t value = 7000 + key;                                                       \
        dload_state state = DLOAD_STATE_ABSENT;                                            \
        dload_status st = DLOAD_OK;                                                        \
        switch (rng_below(seed, 6)) {                                                      \
        case 0:                                                                            \
            st = NAME##_prime(&x->l, key, &value, key % 2 ? DLOAD_OVERWRITE : 0);          \
            break;                                                                         \
        case 1:                                                                            \
            st = NAME##_clear_all(&x->l);                                                  \
            break;                                                                         \
        case 2:                                                                            \
            value = 0;                                                                     \
            st = NAME##_peek(&x->l, key, &state, &value);                                  \
            break;                                                                         \
        default:                                                                           \
            st = NAME##_clear(&x->l, key);                                                 \
            break;                                                                         \
        }                                                                                  \
        text_add(&x->s.log, " touch(%u)=%d,%d:%" PRIu64, key, (int)st, (int)state, value); \
    }                                                                                      \
    static void NAME##_inside(struct NAME##_subject *x, NAME##_batch *b)                   \
    {                                                                                      \
        uint32_t key = (uint32_t)rng_below(&x->s.script, N_KEYS);                          \
        switch (rng_below(&x->s.script, 10)) {                                             \
        case 0:                                                                            \
            NAME##_start_one(x, key, 0);                                                   \
            break;                                                                         \
        case 1:                                                                            \
            NAME##_load_one(x, x->s.depth < 3 ? key : b->keys[0], 0);                      \
            break;                                                                         \
        case 2:                                                                            \
            NAME##_touch(x, &x->s.script);                                                 \
            break;                                                                         \
        case 3:                                                                            \
            NAME##_cancel_one(x, key % N_WAITERS);                                         \
            break;                                                                         \
        default:                                                                           \
            break;                                                                         \
        }                                                                                  \
    }                                                                                      \
    static dload_status NAME##_fetch(NAME##_batch *b)                                      \
    {                                                                                      \
        struct NAME##_subject *x = b->ctx;                                                 \
        uint64_t version = ++x->s.version;                                                 \
        x->s.depth++;                                                                      \
        text_add(&x->s.log, " B(");                                                        \
        for (size_t i = 0; i < b->n; i++) {                                                \
            text_add(&x->s.log, "%u,", b->keys[i]);                                        \
        }                                                                                  \
        text_add(&x->s.log, ")");                                                          \
        for (size_t i = 0; i < b->n; i++) {                                                \
            uint64_t value = version * 100 + b->keys[i];                                   \
            switch (rng_below(&x->s.script, 12)) {                                         \
            case 0:                                                                        \
                must_ok(NAME##_batch_fail(b, i, DLOAD_EFETCH));                            \
                break;                                                                     \
            case 1:                                                                        \
                break;                                                                     \
            case 2:                                                                        \
                must_ok(NAME##_batch_set_ttl(b, i, &value, (value % 3) * DLOAD_SECOND));   \
                break;                                                                     \
            default:                                                                       \
                must_ok(NAME##_batch_set(b, i, &value));                                   \
                break;                                                                     \
            }                                                                              \
            NAME##_inside(x, b);                                                           \
        }                                                                                  \
        if (rng_below(&x->s.script, 4) == 0) {                                             \
            uint64_t value = version;                                                      \
            uint32_t key = (uint32_t)rng_below(&x->s.script, N_KEYS);                      \
            bool asked = false;                                                            \
            for (size_t i = 0; i < b->n; i++) {                                            \
                asked = asked || b->keys[i] == key;                                        \
            }                                                                              \
            if (asked) {                                                                   \
                dload_status st = NAME##_batch_put(b, key, &value);                        \
                text_add(&x->s.log, " put(%u)=%d", key, (int)st);                          \
            }                                                                              \
        }                                                                                  \
        x->s.depth--;                                                                      \
        return rng_below(&x->s.script, 10) == 0 ? DLOAD_EBACKEND : DLOAD_OK;               \
    }                                                                                      \
    static void NAME##_open(struct fake_env *f, uint64_t seed, size_t capacity, size_t n)  \
    {                                                                                      \
        NAME##_config cfg = NAME##_config_default();                                       \
        memset(&NAME##_it, 0, sizeof NAME##_it);                                           \
        NAME##_it.s.script = seed;                                                         \
        cfg.fetch = NAME##_fetch;                                                          \
        cfg.ctx = &NAME##_it;                                                              \
        cfg.env = &f->env;                                                                 \
        cfg.capacity = capacity;                                                           \
        cfg.max_batch = n;                                                                 \
        cfg.max_queue = n * 60;                                                            \
        cfg.ttl_ns = 10 * DLOAD_SECOND;                                                    \
        cfg.missing_ttl_ns = 2 * DLOAD_SECOND;                                             \
        cfg.error_ttl = error_ttl;                                                         \
        must_ok(NAME##_init(&NAME##_it.l, &cfg));                                          \
    }                                                                                      \
    /* One random call; the same for the same seed. */                                     \
    static const char *NAME##_step(uint64_t seed, uint64_t now_ns)                         \
    {                                                                                      \
        struct NAME##_subject *x = &NAME##_it;                                             \
        uint32_t key = (uint32_t)rng_below(&seed, N_KEYS);                                 \
        uint32_t flags = rng_below(&seed, 8) == 0 ? DLOAD_FRESH : 0;                       \
        size_t n = 0;                                                                      \
        text_clear(&x->s.log);                                                             \
        switch (rng_below(&seed, 12)) {                                                    \
        case 0:                                                                            \
            must_ok(NAME##_dispatch(&x->l, &n));                                           \
            text_add(&x->s.log, " dispatched %zu", n);                                     \
            break;                                                                         \
        case 1:                                                                            \
            NAME##_cancel_one(x, key % N_WAITERS);                                         \
            break;                                                                         \
        case 2:                                                                            \
        case 3:                                                                            \
            NAME##_touch(x, &seed);                                                        \
            break;                                                                         \
        case 4:                                                                            \
            NAME##_load_some(x, &seed);                                                    \
            break;                                                                         \
        case 5:                                                                            \
            must_ok(NAME##_dispatch(&x->l, NULL));                                         \
            must_ok(NAME##_process(&x->l, now_ns));                                        \
            break;                                                                         \
        case 6:                                                                            \
        case 7:                                                                            \
            NAME##_load_one(x, key, flags);                                                \
            break;                                                                         \
        default:                                                                           \
            NAME##_start_one(x, key, flags);                                               \
            break;                                                                         \
        }                                                                                  \
        return x->s.log.buf;                                                               \
    }                                                                                      \
    static void NAME##_end(dload_stats *stats, uint64_t now_ns)                            \
    {                                                                                      \
        must_ok(NAME##_dispatch(&NAME##_it.l, NULL));                                      \
        must_ok(NAME##_process(&NAME##_it.l, now_ns));                                     \
        must_ok(NAME##_stats(&NAME##_it.l, stats));                                        \
        must_ok(NAME##_close(&NAME##_it.l, DLOAD_DRAIN, 0));                               \
        must_ok(NAME##_destroy(&NAME##_it.l));                                             \
        equal(NAME##_it.s.busy, 0);                                                        \
    }

SUBJECT(full)
SUBJECT(solo)
SUBJECT(tiny)

/* ---- one run ---- */

static void same_stats(const dload_stats *want, const dload_stats *got)
{
    equal(got->loads, want->loads);
    equal(got->hits, want->hits);
    equal(got->joins, want->joins);
    equal(got->misses, want->misses);
    equal(got->batches, want->batches);
    equal(got->keys, want->keys);
    equal(got->largest_batch, want->largest_batch);
    equal(got->stores, want->stores);
    equal(got->store_skipped, want->store_skipped);
    equal(got->fetch_errors, want->fetch_errors);
    equal(got->cleared_in_flight, want->cleared_in_flight);
    equal(got->cancelled, want->cancelled);
    equal(got->entries, want->entries);
}

/* Compares a kind with the full loader over n_steps calls. */
#define RUN(NAME)                                                                             \
    static void NAME##_run(uint64_t *seed, size_t capacity, size_t max_batch, size_t n_steps) \
    {                                                                                         \
        struct fake_env f;                                                                    \
        dload_stats want, got;                                                                \
        uint64_t script = rng(seed);                                                          \
        fake_env_init(&f);                                                                    \
        full_open(&f, script, capacity, max_batch);                                           \
        NAME##_open(&f, script, capacity, max_batch);                                         \
        for (size_t i = 0; i < n_steps; i++) {                                                \
            uint64_t step = rng(seed);                                                        \
            const char *said = full_step(step, f.now_ns);                                     \
            const char *says = NAME##_step(step, f.now_ns);                                   \
            if (strcmp(said, says) != 0) {                                                    \
                print_error("capacity %zu, max_batch %zu, step %zu\nfull:%s\n" #NAME ":%s\n", \
                            capacity, max_batch, i, said, says);                              \
                fail();                                                                       \
            }                                                                                 \
            f.now_ns += rng_below(seed, 3) * 370 * DLOAD_MILLISECOND;                         \
        }                                                                                     \
        full_end(&want, f.now_ns);                                                            \
        NAME##_end(&got, f.now_ns);                                                           \
        same_stats(&want, &got);                                                              \
        fake_env_check(&f);                                                                   \
    }

RUN(solo)
RUN(tiny)

static void solo_is_like_full(void **state)
{
    uint64_t seed = test_seed("solo");
    (void)state;
    for (size_t run = 0; run < scaled(300); run++) {
        static const size_t capacities[] = {1, 5, 20, 39, 100, DLOAD_NO_CACHE};
        solo_run(&seed, capacities[rng_below(&seed, COUNT(capacities))],
                 (size_t)rng_below(&seed, 9) + 1, 400);
    }
}

/* Where nothing is evicted; the order of that is a compact cache's own. */
static void so_it_is_with_a_compact_cache(void **state)
{
    uint64_t seed = test_seed("tiny");
    (void)state;
    for (size_t run = 0; run < scaled(300); run++) {
        tiny_run(&seed, run % 7 == 0 ? DLOAD_NO_CACHE : N_KEYS, (size_t)rng_below(&seed, 9) + 1,
                 400);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solo_is_like_full),
        cmocka_unit_test(so_it_is_with_a_compact_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
