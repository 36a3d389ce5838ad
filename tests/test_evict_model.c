/* Eviction orders with everything that disturbs them: random sets, gets, deletes, expiries and clears
 * against plain lists, for every policy, by who is there and who is not. The queues by themselves: test_fifo.c. */
/* locks: NONE */
#define DLOAD_NAME  fifo
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#include "dataloader.h"
#define DLOAD_NAME  clk
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_EVICT DLOAD_EVICT_CLOCK
#include "dataloader.h"
#define DLOAD_NAME  lru
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_EVICT DLOAD_EVICT_LRU
#include "dataloader.h"
#define DLOAD_NAME  sieve
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_EVICT DLOAD_EVICT_SIEVE
#include "dataloader.h"
#define DLOAD_NAME  s3
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#include "dataloader.h"

#include "support.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TICK_NS (UINT64_C(1) << 20)

/* ---- the oracle: lists, 0 is the oldest ---- */

struct entry {
    uint64_t key, value, end_ns;
    unsigned uses;
};

struct list {
    struct entry *e;
    size_t n;
};

struct oracle {
    uint32_t kind;
    size_t cap, main_limit, ghost_limit;
    size_t hand; /* SIEVE; 0 is the tail, and so is an unset one */
    struct list small, main_q, ghost;
};

static void list_open(struct list *l, size_t cap)
{
    l->n = 0;
    l->e = calloc(cap + 2, sizeof *l->e);
    assert_non_null(l->e);
}

static void oracle_open(struct oracle *o, uint32_t kind, size_t cap)
{
    memset(o, 0, sizeof *o);
    o->kind = kind;
    o->cap = cap;
    o->main_limit = cap - (cap / 10 > 1 ? cap / 10 : 1);
    o->ghost_limit = cap * 9 / 10;
    list_open(&o->small, cap);
    list_open(&o->main_q, cap);
    list_open(&o->ghost, cap);
}

static void oracle_close(struct oracle *o)
{
    free(o->small.e);
    free(o->main_q.e);
    free(o->ghost.e);
}

static size_t list_at(const struct list *l, uint64_t key)
{
    size_t i = 0;
    while (i < l->n && l->e[i].key != key) {
        i++;
    }
    return i;
}

static struct entry list_take(struct list *l, size_t at)
{
    struct entry e = l->e[at];
    memmove(&l->e[at], &l->e[at + 1], (l->n - at - 1) * sizeof e);
    l->n--;
    return e;
}

static void list_push(struct list *l, struct entry e)
{
    l->e[l->n++] = e;
}

static struct entry *oracle_find(struct oracle *o, uint64_t key)
{
    size_t at = list_at(&o->small, key);
    if (at < o->small.n) {
        return &o->small.e[at];
    }
    at = list_at(&o->main_q, key);
    return at < o->main_q.n ? &o->main_q.e[at] : NULL;
}

/* Takes an entry out of small; the only list that SIEVE's hand walks. */
static struct entry small_take(struct oracle *o, size_t at)
{
    struct entry e = list_take(&o->small, at);
    o->hand -= at < o->hand;
    if (o->hand == o->small.n) {
        o->hand = 0; /* the neighbour on the head side; was there none, unset */
    }
    return e;
}

static void main_evict(struct oracle *o)
{
    for (;;) {
        struct entry e = list_take(&o->main_q, 0);
        if (!e.uses) {
            return;
        }
        e.uses--;
        list_push(&o->main_q, e);
    }
}

static void s3_evict(struct oracle *o)
{
    if (o->main_q.n > o->main_limit) {
        main_evict(o);
        return;
    }
    while (o->small.n) {
        struct entry e = list_take(&o->small, 0);
        if (e.uses < 2) {
            if (o->ghost_limit && o->ghost.n == o->ghost_limit) {
                (void)list_take(&o->ghost, 0);
            }
            if (o->ghost_limit) {
                list_push(&o->ghost, e);
            }
            return;
        }
        e.uses = 0;
        list_push(&o->main_q, e);
    }
    main_evict(o);
}

static void oracle_evict(struct oracle *o)
{
    if (o->kind == DLOAD_EVICT_S3FIFO) {
        s3_evict(o);
        return;
    }
    while (o->kind == DLOAD_EVICT_SIEVE && o->small.e[o->hand].uses) {
        o->small.e[o->hand].uses = 0;
        o->hand = (o->hand + 1) % o->small.n;
    }
    while (o->kind == DLOAD_EVICT_CLOCK && o->small.e[0].uses) {
        struct entry e = list_take(&o->small, 0);
        e.uses = 0;
        list_push(&o->small, e);
    }
    (void)small_take(o, o->hand);
}

static bool oracle_get(struct oracle *o, uint64_t key, uint64_t *value)
{
    struct entry *e = oracle_find(o, key);
    unsigned max = o->kind == DLOAD_EVICT_S3FIFO ? 3 : 1;
    if (!e) {
        return false;
    }
    *value = e->value;
    e->uses += e->uses < max;
    if (o->kind == DLOAD_EVICT_LRU) {
        list_push(&o->small, list_take(&o->small, list_at(&o->small, key)));
    }
    return true;
}

static void oracle_set(struct oracle *o, uint64_t key, uint64_t value, uint64_t end_ns)
{
    struct entry *e = oracle_find(o, key);
    struct entry fresh = {key, value, end_ns, 0};
    if (e) {
        e->value = value;
        e->end_ns = end_ns;
        return;
    }
    size_t ghost = list_at(&o->ghost, key);
    bool was_ghost = ghost < o->ghost.n;
    if (was_ghost) {
        (void)list_take(&o->ghost, ghost);
    }
    if (o->small.n + o->main_q.n == o->cap) {
        oracle_evict(o);
    }
    list_push(was_ghost ? &o->main_q : &o->small, fresh);
}

static void oracle_delete(struct oracle *o, uint64_t key)
{
    size_t at = list_at(&o->small, key);
    if (at < o->small.n) {
        (void)small_take(o, at);
        return;
    }
    at = list_at(&o->main_q, key);
    if (at < o->main_q.n) {
        (void)list_take(&o->main_q, at);
    }
}

static void oracle_expire(struct oracle *o, uint64_t now_ns)
{
    for (size_t i = o->small.n; i-- > 0;) {
        if (o->small.e[i].end_ns <= now_ns) {
            (void)small_take(o, i);
        }
    }
    for (size_t i = o->main_q.n; i-- > 0;) {
        if (o->main_q.e[i].end_ns <= now_ns) {
            (void)list_take(&o->main_q, i);
        }
    }
}

static void oracle_clear(struct oracle *o)
{
    o->small.n = o->main_q.n = o->hand = 0;
}

/* ---- the cache against it ---- */

struct mood { /* out of 1000; the rest are gets */
    unsigned set, del, advance, clear;
};

static const struct mood moods[] = {
    {400, 0, 0, 0},    /* evictions alone */
    {400, 150, 20, 1}, /* a bit of everything */
    {450, 440, 0, 0},  /* entries seldom grow old */
    {350, 20, 150, 0}, /* nearly everything expires */
    {600, 50, 10, 4},  /* cleared when full, mostly */
};

#define DEFINE_MODEL(name, policy)                                                             \
    static void name##_compare(name##_cache *c, struct oracle *o, uint64_t key)                \
    {                                                                                          \
        uint64_t got = 0, want = 0;                                                            \
        bool here = oracle_get(o, key, &want);                                                 \
        dload_status st = name##_cache_get(c, key, &got);                                      \
        if (st != (here ? DLOAD_OK : DLOAD_MISSING) || (here && got != want)) {                \
            fail_msg(#name ", capacity %zu: key %" PRIu64 " is %shere", o->cap, key,           \
                     here ? "not " : "");                                                      \
        }                                                                                      \
    }                                                                                          \
    static void name##_run(uint64_t seed, size_t cap, const struct mood *mood)                 \
    {                                                                                          \
        struct fake_env env;                                                                   \
        struct oracle o;                                                                       \
        name##_cache c;                                                                        \
        name##_cache_config cfg;                                                               \
        uint64_t now_ns = 0, n_keys = cap + 1 + rng_below(&seed, cap + 4);                     \
        memset(&cfg, 0, sizeof cfg);                                                           \
        fake_env_init(&env);                                                                   \
        cfg.env = &env.env;                                                                    \
        cfg.capacity = cap;                                                                    \
        oracle_open(&o, policy, cap);                                                          \
        must_ok(name##_cache_init(&c, &cfg));                                                  \
        equal(name##_cache_bytes(&c), env.live_bytes);                                         \
        for (uint64_t i = 1, n = scaled(cap > 500 ? 12000 : 6000); i <= n; i++) {              \
            uint64_t what = rng_below(&seed, 1000), key = rng_below(&seed, n_keys);            \
            if (what < mood->set) {                                                            \
                uint64_t ttl_ns =                                                              \
                    rng_below(&seed, 3) ? (1 + rng_below(&seed, 100)) * TICK_NS : DLOAD_NEVER; \
                must_ok(name##_cache_set(&c, key, &i, ttl_ns));                                \
                oracle_set(&o, key, i, ttl_ns == DLOAD_NEVER ? DLOAD_NEVER : now_ns + ttl_ns); \
            } else if (what < mood->set + mood->del) {                                         \
                must_ok(name##_cache_delete(&c, key));                                         \
                oracle_delete(&o, key);                                                        \
            } else if (what < mood->set + mood->del + mood->advance) {                         \
                now_ns += rng_below(&seed, 20) * TICK_NS;                                      \
                must_ok(name##_cache_advance(&c, now_ns));                                     \
                oracle_expire(&o, now_ns);                                                     \
            } else if (what < mood->set + mood->del + mood->advance + mood->clear) {           \
                must_ok(name##_cache_clear(&c));                                               \
                oracle_clear(&o);                                                              \
            } else {                                                                           \
                name##_compare(&c, &o, key);                                                   \
            }                                                                                  \
            equal(name##_cache_len(&c), o.small.n + o.main_q.n);                               \
            for (uint64_t k = 0; i % (8 * n_keys) == 0 && k < n_keys; k++) {                   \
                name##_compare(&c, &o, k);                                                     \
            }                                                                                  \
        }                                                                                      \
        equal(name##_cache_bytes(&c), env.live_bytes); /* allocated once */                    \
        must_ok(name##_cache_destroy(&c));                                                     \
        oracle_close(&o);                                                                      \
        fake_env_check(&env);                                                                  \
    }                                                                                          \
    /* What was cleared and is set again before it is gone takes its place anew. */            \
    static void name##_again(void)                                                             \
    {                                                                                          \
        enum { CAP = 1000 };                                                                   \
        struct fake_env env;                                                                   \
        name##_cache c;                                                                        \
        name##_cache_config cfg;                                                               \
        memset(&cfg, 0, sizeof cfg);                                                           \
        fake_env_init(&env);                                                                   \
        cfg.env = &env.env;                                                                    \
        cfg.capacity = CAP;                                                                    \
        must_ok(name##_cache_init(&c, &cfg));                                                  \
        for (uint64_t i = 0; i < CAP; i++) {                                                   \
            must_ok(name##_cache_set(&c, i, &i, 0));                                           \
        }                                                                                      \
        must_ok(name##_cache_clear(&c));                                                       \
        for (uint64_t i = CAP; i-- > 0;) {                                                     \
            must_ok(name##_cache_set(&c, i, &i, 0));                                           \
        }                                                                                      \
        for (uint64_t i = CAP, got = 0; i < 2 * CAP; i++) {                                    \
            must_ok(name##_cache_set(&c, i, &i, 0));                                           \
            must(name##_cache_get(&c, 2 * CAP - 1 - i, &got), DLOAD_MISSING);                  \
            equal(name##_cache_len(&c), CAP);                                                  \
        }                                                                                      \
        must_ok(name##_cache_destroy(&c));                                                     \
        fake_env_check(&env);                                                                  \
    }                                                                                          \
    static void test_evict_model_##name(void **state)                                          \
    {                                                                                          \
        (void)state;                                                                           \
        static const size_t caps[] = {1, 2, 3, 9, 10, 13, 40, 99, 100, 1000};                  \
        uint64_t seed = test_seed("evict model " #name);                                       \
        name##_again();                                                                        \
        for (size_t i = 0; i < COUNT(caps); i++) {                                             \
            for (size_t m = 0; m < COUNT(moods); m++) {                                        \
                name##_run(rng(&seed), caps[i], &moods[m]);                                    \
            }                                                                                  \
        }                                                                                      \
    }
DEFINE_MODEL(fifo, DLOAD_EVICT_FIFO)
DEFINE_MODEL(clk, DLOAD_EVICT_CLOCK)
DEFINE_MODEL(lru, DLOAD_EVICT_LRU)
DEFINE_MODEL(sieve, DLOAD_EVICT_SIEVE)
DEFINE_MODEL(s3, DLOAD_EVICT_S3FIFO)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evict_model_fifo), cmocka_unit_test(test_evict_model_clk),
        cmocka_unit_test(test_evict_model_lru),  cmocka_unit_test(test_evict_model_sieve),
        cmocka_unit_test(test_evict_model_s3),
    };
    return cmocka_run_group_tests_name("evict model " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
