/* Random operations on a cache against a naive array of what must be there: TTLs, a clock that
 * jumps forwards and stands still, ticks that wrap, deletes, clears, overwrites; nothing is ever
 * evicted. */
/* locks: NONE SPIN PTHREAD */
/* also plain: DLOAD_NO_SIMD=1 */
#define DLOAD_NAME  man
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#ifdef TEST_HASH
#define DLOAD_HASH TEST_HASH
#endif
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#include "dataloader.h"
#define DLOAD_NAME  env_
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE uint64_t
#ifdef TEST_HASH
#define DLOAD_HASH TEST_HASH
#endif
#define DLOAD_LOCK TEST_LOCK
#include "dataloader.h"
#include "support.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* An entry may end early by the clock's resolution, and never late. */
#define TICK_NS (UINT64_C(1) << 20)

struct entry {
    bool here;
    uint64_t value;
    uint64_t end_ns;  /* after this it may not be there; DLOAD_NEVER = does not expire */
    uint64_t soft_ns; /* from here on it may be gone */
};

struct model {
    struct fake_env f;
    uint64_t seed, now_ns, last_value;
    uint64_t default_ttl_ns;
    size_t n_keys;
    struct entry *e;
    size_t n_checked, n_early;
};

static bool expired(const struct model *m, const struct entry *e)
{
    return e->end_ns != DLOAD_NEVER && m->now_ns >= e->end_ns;
}

/* What the cache says of a key is judged, and an early end within a tick is taken over. */
static void judge(struct model *m, size_t key, dload_status st, uint64_t got)
{
    struct entry *e = &m->e[key];
    bool want = e->here && !expired(m, e);
    m->n_checked++;
    if (st == DLOAD_OK) {
        if (!want) {
            fail_msg("key %zu is here at %" PRIu64 ", ended at %" PRIu64, key, m->now_ns,
                     e->end_ns);
        }
        equal(got, e->value);
        return;
    }
    must(st, DLOAD_MISSING);
    if (want && m->now_ns < e->soft_ns) {
        fail_msg("key %zu is gone at %" PRIu64 ", would end at %" PRIu64, key, m->now_ns,
                 e->end_ns);
    }
    m->n_early += want;
    e->here = false;
}

static uint64_t some_ttl(struct model *m)
{
    switch (rng_below(&m->seed, 8)) {
    case 0:
        return 0; /* the cache's own */
    case 1:
        return DLOAD_NEVER;
    case 2:
        return 1 + rng_below(&m->seed, 3 * TICK_NS);
    case 3:
        return rng_below(&m->seed, 400 * 86400) * DLOAD_SECOND + 1;
    case 4:
        if (rng_below(&m->seed, 2)) {
            return rng_below(&m->seed, UINT64_C(1) << 60); /* up to 36 years */
        }
        return DLOAD_NEVER - rng_below(&m->seed, UINT64_C(1) << 62) - 2; /* 438 years and more */
    default:
        return 1 + rng_below(&m->seed, UINT64_C(1) << (20 + rng_below(&m->seed, 20)));
    }
}

static uint64_t some_step(struct model *m)
{
    switch (rng_below(&m->seed, 10)) {
    case 0:
        return rng_below(&m->seed, 86400) * 30 * DLOAD_SECOND;
    case 1:
        return UINT32_MAX * TICK_NS + rng_below(&m->seed, TICK_NS); /* one turn of 32-bit ticks */
    case 2:
        if (rng_below(&m->seed, 30) == 0) {
            return UINT64_C(10) * 365 * 86400 * DLOAD_SECOND;
        }
        return (UINT64_C(1) << 30) * TICK_NS;
    default:
        return rng_below(&m->seed, UINT64_C(1) << (10 + rng_below(&m->seed, 25)));
    }
}

static void model_set(struct model *m, size_t key, uint64_t ttl_ns)
{
    uint64_t ttl = ttl_ns ? ttl_ns : m->default_ttl_ns;
    uint64_t end = ttl > DLOAD_NEVER - m->now_ns ? DLOAD_NEVER : m->now_ns + ttl;
    uint64_t soft = end == DLOAD_NEVER && ttl >= DLOAD_NEVER - 1
                        ? DLOAD_NEVER
                        : end - (end < TICK_NS ? end : TICK_NS);
    m->e[key] = (struct entry){true, m->last_value, end, soft};
}

static size_t model_len(const struct model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_keys; i++) {
        n += m->e[i].here && !expired(m, &m->e[i]);
    }
    return n;
}

/* How many entries may have ended although they need not. */
static size_t model_ending(const struct model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_keys; i++) {
        const struct entry *e = &m->e[i];
        n += e->here && !expired(m, e) && m->now_ns >= e->soft_ns;
    }
    return n;
}

static const char *key_text(size_t key, size_t *len)
{
    static char text[300];
    *len = key * 7 % 260;
    memset(text, 'k', sizeof text);
    memcpy(text, &key, *len < sizeof key ? *len : sizeof key);
    return text;
}

#define DEFINE_MODEL(name, KEY)                                                                 \
    static void name##_advance(struct model *m, name##_cache *c)                                \
    {                                                                                           \
        must_ok(name##_cache_advance(c, m->now_ns));                                            \
        size_t len = name##_cache_len(c), want = model_len(m);                                  \
        if (len > want || len + model_ending(m) < want) {                                       \
            fail_msg("%zu entries after an advance, not %zu", len, want);                       \
        }                                                                                       \
    }                                                                                           \
    static void name##_step(struct model *m, name##_cache *c)                                   \
    {                                                                                           \
        size_t key = (size_t)rng_below(&m->seed, m->n_keys);                                    \
        uint64_t op = rng_below(&m->seed, 100), got = 0, ttl_ns = some_ttl(m);                  \
        if (op < 40) {                                                                          \
            m->last_value++;                                                                    \
            must_ok(name##_cache_set(c, KEY(key), &m->last_value, ttl_ns));                     \
            model_set(m, key, ttl_ns);                                                          \
        } else if (op < 80) {                                                                   \
            dload_status st = name##_cache_get(c, KEY(key), &got);                              \
            judge(m, key, st, got);                                                             \
        } else if (op < 90) {                                                                   \
            must_ok(name##_cache_delete(c, KEY(key)));                                          \
            m->e[key].here = false;                                                             \
        } else if (op < 99) {                                                                   \
            m->now_ns += some_step(m);                                                          \
            m->f.now_ns = m->now_ns;                                                            \
            if (name##_must_advance || op < 95) {                                               \
                name##_advance(m, c);                                                           \
            }                                                                                   \
        } else if (rng_below(&m->seed, 20) == 0) {                                              \
            must_ok(name##_cache_clear(c));                                                     \
            for (size_t i = 0; i < m->n_keys; i++) {                                            \
                m->e[i].here = false;                                                           \
            }                                                                                   \
        } else {                                                                                \
            must_ok(name##_cache_advance(c, m->now_ns / 2)); /* the past is ignored */          \
        }                                                                                       \
    }                                                                                           \
    static void name##_run(uint64_t seed, size_t n_keys, size_t capacity, uint64_t start_ns)    \
    {                                                                                           \
        struct model m;                                                                         \
        name##_cache c;                                                                         \
        name##_cache_config cfg;                                                                \
        memset(&m, 0, sizeof m);                                                                \
        memset(&cfg, 0, sizeof cfg);                                                            \
        fake_env_init(&m.f);                                                                    \
        m.seed = seed;                                                                          \
        m.n_keys = n_keys;                                                                      \
        m.now_ns = m.f.now_ns = start_ns;                                                       \
        m.e = calloc(n_keys, sizeof *m.e);                                                      \
        cfg.env = &m.f.env;                                                                     \
        cfg.capacity = capacity;                                                                \
        cfg.shards = 1;                                                                         \
        cfg.ttl_ns = m.default_ttl_ns = rng_below(&m.seed, 2) ? DLOAD_NEVER : 5 * DLOAD_SECOND; \
        must_ok(name##_cache_init(&c, &cfg));                                                   \
        must_ok(name##_cache_advance(&c, m.now_ns));                                            \
        for (size_t i = 0, n = scaled(20000); i < n; i++) {                                     \
            name##_step(&m, &c);                                                                \
        }                                                                                       \
        for (size_t key = 0; key < n_keys; key++) {                                             \
            uint64_t got = 0;                                                                   \
            dload_status st = name##_cache_get(&c, KEY(key), &got);                             \
            judge(&m, key, st, got);                                                            \
        }                                                                                       \
        must_ok(name##_cache_destroy(&c));                                                      \
        fake_env_check(&m.f);                                                                   \
        free(m.e);                                                                              \
        assert_true(m.n_early * 20 < m.n_checked);                                              \
    }

enum { man_must_advance = 1, env__must_advance = 0 };
#define KEY_U64(i) ((uint64_t)(i))
#define KEY_S(i)   string_key(i)

static dload_str string_key(size_t i)
{
    dload_str s;
    s.ptr = key_text(i, &s.len);
    return s;
}

DEFINE_MODEL(man, KEY_U64)
DEFINE_MODEL(env_, KEY_S)

static const uint64_t starts[] = {0,
                                  1,
                                  DLOAD_SECOND,
                                  (UINT32_MAX - 50) * TICK_NS,
                                  (UINT64_C(1) << 31) * TICK_NS - 7,
                                  UINT64_C(1) << 58};

static void test_cache_model_manual_clock(void **state)
{
    (void)state;
    uint64_t seed = test_seed("model, manual clock");
    for (size_t i = 0; i < COUNT(starts); i++) {
        man_run(rng(&seed), 100, 100, starts[i]);
#ifndef TEST_COMPACT
        man_run(rng(&seed), 300, DLOAD_UNBOUNDED, starts[i]);
#endif
        man_run(rng(&seed), 1, 1, starts[i]);
    }
}

static void test_cache_model_strings(void **state)
{
    (void)state;
    uint64_t seed = test_seed("model, strings");
    for (size_t i = 0; i < COUNT(starts); i++) {
        env__run(rng(&seed), 250, 250, starts[i]);
        env__run(rng(&seed), 250, DLOAD_UNBOUNDED, starts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_model_manual_clock),
        cmocka_unit_test(test_cache_model_strings),
    };
    return cmocka_run_group_tests_name("cache model " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
