/* The table of DLOAD_COMPACT against a naive one: who is evicted and when, chains of one hash, a full table of
 * any size, what its block takes, and the arithmetic in 32-bit pieces. */
/* locks: NONE */
#include <stdint.h>
typedef struct reading {
    uint32_t a, b;
} reading;
#define DLOAD_NAME    clk
#define DLOAD_KEY     uint32_t
#define DLOAD_VALUE   reading
#define DLOAD_CLOCK   DLOAD_CLOCK_MANUAL
#define DLOAD_COMPACT 1
#include "dataloader.h"
#define DLOAD_NAME    fifo
#define DLOAD_KEY     uint32_t
#define DLOAD_VALUE   reading
#define DLOAD_EVICT   DLOAD_EVICT_FIFO
#define DLOAD_CLOCK   DLOAD_CLOCK_MANUAL
#define DLOAD_COMPACT 1
#include "dataloader.h"
#define DLOAD_NAME    none
#define DLOAD_KEY     uint32_t
#define DLOAD_VALUE   reading
#define DLOAD_EVICT   DLOAD_EVICT_NONE
#define DLOAD_CLOCK   DLOAD_CLOCK_MANUAL
#define DLOAD_COMPACT 1
#include "dataloader.h"
#define DLOAD_NAME    small
#define DLOAD_KEY     uint32_t
#define DLOAD_VALUE   reading
#define DLOAD_TTL     0
#define DLOAD_COMPACT 1
#include "dataloader.h"
#define DLOAD_NAME    ids
#define DLOAD_KEY     DLOAD_ID128
#define DLOAD_VALUE   uint64_t
#define DLOAD_COMPACT 1
#include "dataloader.h"
/* values that count their owners */
#define DLOAD_NAME           held
#define DLOAD_KEY            uint32_t
#define DLOAD_VALUE          long *
#define DLOAD_VALUE_REF(v)   (++**(v))
#define DLOAD_VALUE_UNREF(v) (--**(v))
#define DLOAD_COMPACT        1
#include "dataloader.h"
#include "support.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TICK_NS  (UINT64_C(1) << 20)
#define MAX_SLOT 64
#define MAX_KEYS 200

/* ---- the naive table: slots in an array, looked through from the first to the last ---- */

struct place {
    bool here, used, pinned;
    uint32_t key;
    reading value;
    uint64_t end_tick; /* UINT64_MAX = none */
};

struct naive {
    struct place places[MAX_SLOT];
    size_t vacant[MAX_SLOT]; /* the next one is the last */
    size_t n_vacant, n, hand;
    uint64_t tick;
    bool clock, evicts;
    size_t evictions;
};

static void naive_clear(struct naive *m)
{
    memset(m->places, 0, sizeof m->places);
    m->n_vacant = m->hand = 0;
    for (size_t i = m->n; i-- > 0;) {
        m->vacant[m->n_vacant++] = i;
    }
}

static void naive_drop(struct naive *m, size_t i)
{
    m->places[i].here = false;
    m->vacant[m->n_vacant++] = i;
}

static struct place *naive_find(struct naive *m, uint32_t key)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->places[i].here && m->places[i].key == key) {
            return &m->places[i];
        }
    }
    return NULL;
}

static bool naive_ended(const struct naive *m, const struct place *p)
{
    return m->tick >= p->end_tick;
}

static void naive_expire(struct naive *m)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->places[i].here && naive_ended(m, &m->places[i])) {
            naive_drop(m, i);
        }
    }
}

static size_t naive_len(const struct naive *m)
{
    return m->n - m->n_vacant;
}

/* False: the hand finds nobody who may leave. */
static bool naive_evict(struct naive *m)
{
    for (size_t looked = 0; m->evicts && looked < 2 * m->n + 1; looked++) {
        size_t i = m->hand;
        struct place *p = &m->places[i];
        m->hand = (m->hand + 1) % m->n;
        if (p->pinned) {
            continue;
        }
        if (!p->used) {
            naive_drop(m, i);
            m->evictions++;
            return true;
        }
        p->used = false;
    }
    return false;
}

static bool naive_set(struct naive *m, uint32_t key, reading value, uint64_t end_tick)
{
    struct place *p = naive_find(m, key);
    if (p && naive_ended(m, p)) {
        naive_drop(m, (size_t)(p - m->places));
        p = NULL;
    }
    if (!p) {
        size_t hand = m->hand;
        if (m->n_vacant == 0) {
            naive_expire(m);
        }
        if (m->n_vacant == 0 && !naive_evict(m)) {
            m->hand = hand;
            return false;
        }
        p = &m->places[m->vacant[--m->n_vacant]];
        memset(p, 0, sizeof *p);
        p->here = true;
        p->key = key;
    }
    p->value = value;
    p->end_tick = end_tick;
    return true;
}

/* ---- both, side by side ---- */

static uint64_t some_ttl(uint64_t *seed)
{
    switch (rng_below(seed, 6)) {
    case 0:
        return DLOAD_NEVER;
    case 1:
        return rng_below(seed, UINT64_C(1) << 60) + 1;
    case 2:
        return DLOAD_NEVER - 2 - rng_below(seed, UINT64_C(1) << 40);
    default:
        return 1 + rng_below(seed, UINT64_C(1) << (18 + rng_below(seed, 18)));
    }
}

static uint64_t some_step(uint64_t *seed)
{
    switch (rng_below(seed, 8)) {
    case 0:
        return (UINT64_C(1) << 32) * TICK_NS - TICK_NS + rng_below(seed, 2 * TICK_NS);
    case 1:
        return (UINT64_C(1) << 31) * TICK_NS;
    case 2:
        return rng_below(seed, 100 * 86400) * DLOAD_SECOND;
    default:
        return rng_below(seed, UINT64_C(1) << (16 + rng_below(seed, 16)));
    }
}

static uint64_t end_of(uint64_t now_ns, uint64_t ttl_ns)
{
    if (ttl_ns >= DLOAD_NEVER - 1) {
        return UINT64_MAX;
    }
    return (ttl_ns > DLOAD_NEVER - now_ns ? DLOAD_NEVER : now_ns + ttl_ns) / TICK_NS;
}

/* One operation on a key, in both; what the calls say must be what the array says. */
#define DEFINE_BOTH(name)                                                                  \
    static void name##_op(struct naive *m, name##_cache *c, uint64_t *seed, uint32_t key,  \
                          uint64_t *now_ns)                                                \
    {                                                                                      \
        uint64_t op = rng_below(seed, 1000);                                               \
        struct place *p = naive_find(m, key);                                              \
        bool there = p && !naive_ended(m, p);                                              \
        reading value = {(uint32_t)rng(seed), key};                                        \
        if (op < 400) {                                                                    \
            uint64_t ttl_ns = some_ttl(seed);                                              \
            bool fits = naive_set(m, key, value, end_of(*now_ns, ttl_ns));                 \
            must(name##_cache_set(c, key, &value, ttl_ns), fits ? DLOAD_OK : DLOAD_EFULL); \
        } else if (op < 800) {                                                             \
            must(name##_cache_get(c, key, &value), there ? DLOAD_OK : DLOAD_MISSING);      \
            if (there) {                                                                   \
                equal(value.a, p->value.a);                                                \
                equal(value.b, key);                                                       \
                p->used = m->clock;                                                        \
            }                                                                              \
        } else if (op < 900) {                                                             \
            must_ok(name##_cache_delete(c, key));                                          \
            if (p) {                                                                       \
                naive_drop(m, (size_t)(p - m->places));                                    \
            }                                                                              \
        } else if (op < 940) {                                                             \
            bool pin = rng_below(seed, 3) == 0;                                            \
            must(pin ? name##_cache_pin(c, key) : name##_cache_unpin(c, key),              \
                 there ? DLOAD_OK : DLOAD_MISSING);                                        \
            if (there && p->pinned != pin) {                                               \
                p->pinned = pin;                                                           \
                p->used = false;                                                           \
            }                                                                              \
        } else if (op < 990) {                                                             \
            *now_ns += some_step(seed);                                                    \
            m->tick = *now_ns / TICK_NS;                                                   \
            must_ok(name##_cache_advance(c, *now_ns));                                     \
            naive_expire(m);                                                               \
        } else if (op < 997) {                                                             \
            must_ok(name##_cache_advance(c, *now_ns / 3)); /* time does not go back */     \
            naive_expire(m);                                                               \
        } else {                                                                           \
            must_ok(name##_cache_clear(c));                                                \
            naive_clear(m);                                                                \
        }                                                                                  \
        equal(name##_cache_len(c), naive_len(m));                                          \
        equal(c->one.evictions, m->evictions);                                             \
    }                                                                                      \
    /* Every slot is in one chain, or vacant; every key is where the array has it. */      \
    static void name##_look(struct naive *m, const name##_cache *c)                        \
    {                                                                                      \
        size_t n = 0;                                                                      \
        for (size_t i = 0; i <= c->one.mask; i++) {                                        \
            for (uint32_t at = c->one.heads[i]; at != DLOAD_I_CHAIN_END; n++) {            \
                const name##_slot *e = &c->one.slots[at];                                  \
                equal(name##_i_hash(e->key) >> 32 & c->one.mask, i);                       \
                assert_true(m->places[at].here && m->places[at].key == e->key);            \
                equal((e->meta & DLOAD_I_CHAIN_USED) != 0, m->places[at].used);            \
                equal((e->meta & DLOAD_I_CHAIN_PINNED) != 0, m->places[at].pinned);        \
                at = e->next;                                                              \
            }                                                                              \
        }                                                                                  \
        equal(n, naive_len(m));                                                            \
        for (uint32_t at = c->one.vacant; at != DLOAD_I_CHAIN_END; n++) {                  \
            at = c->one.slots[at].next;                                                    \
        }                                                                                  \
        equal(n, m->n);                                                                    \
    }                                                                                      \
    static void name##_both(uint64_t seed, size_t n, const uint32_t *keys, size_t n_keys,  \
                            uint64_t start_ns, bool evicts, bool clock)                    \
    {                                                                                      \
        static struct naive m;                                                             \
        struct fake_env f;                                                                 \
        name##_cache c;                                                                    \
        name##_cache_config cfg;                                                           \
        uint64_t now_ns = start_ns;                                                        \
        memset(&m, 0, sizeof m);                                                           \
        memset(&cfg, 0, sizeof cfg);                                                       \
        fake_env_init(&f);                                                                 \
        m.n = n;                                                                           \
        m.evicts = evicts;                                                                 \
        m.clock = clock;                                                                   \
        m.tick = start_ns / TICK_NS;                                                       \
        naive_clear(&m);                                                                   \
        cfg.env = &f.env;                                                                  \
        cfg.capacity = n;                                                                  \
        must_ok(name##_cache_init(&c, &cfg));                                              \
        must_ok(name##_cache_advance(&c, start_ns));                                       \
        for (size_t i = 0, ops = scaled(6000); i < ops; i++) {                             \
            name##_op(&m, &c, &seed, keys[rng_below(&seed, n_keys)], &now_ns);             \
            if (i % 16 == 0) {                                                             \
                name##_look(&m, &c);                                                       \
            }                                                                              \
        }                                                                                  \
        must_ok(name##_cache_destroy(&c));                                                 \
        fake_env_check(&f);                                                                \
    }

DEFINE_BOTH(clk)
DEFINE_BOTH(fifo)
DEFINE_BOTH(none)

static void both_of_all(uint64_t *seed, size_t n, const uint32_t *keys, size_t n_keys)
{
    static const uint64_t starts[] = {0, (UINT32_MAX - 60) * TICK_NS, UINT64_C(1) << 58};
    for (size_t i = 0; i < COUNT(starts); i++) {
        clk_both(rng(seed), n, keys, n_keys, starts[i], true, true);
        fifo_both(rng(seed), n, keys, n_keys, starts[i], true, false);
        none_both(rng(seed), n, keys, n_keys, starts[i], false, false);
    }
}

static void test_compact_against_an_array(void **state)
{
    (void)state;
    uint64_t seed = test_seed("compact");
    static const size_t sizes[] = {1, 2, 3, 5, 8, 33, MAX_SLOT};
    uint32_t keys[MAX_KEYS];
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t n_keys = sizes[i] * 3;
        for (size_t k = 0; k < n_keys; k++) {
            keys[k] = (uint32_t)rng(&seed);
        }
        both_of_all(&seed, sizes[i], keys, n_keys);
    }
}

/* All keys want the same chain. */
static void test_compact_one_chain(void **state)
{
    (void)state;
    uint64_t seed = test_seed("compact, one chain");
    uint32_t keys[MAX_KEYS];
    size_t n_keys = 0;
    for (uint32_t key = 0; n_keys < COUNT(keys); key++) {
        if ((clk_i_hash(key) >> 32 & (MAX_SLOT - 1)) == 7) {
            keys[n_keys++] = key;
        }
    }
    both_of_all(&seed, MAX_SLOT, keys, n_keys);
}

/* ---- sizes ---- */

static void fill(size_t capacity)
{
    struct fake_env f;
    fifo_cache c;
    fifo_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    fake_env_init(&f);
    cfg.env = &f.env;
    cfg.capacity = capacity;
    must_ok(fifo_cache_init(&c, &cfg));
    for (uint32_t key = 0; key < 2 * capacity + 1; key++) {
        reading r = {key, ~key};
        must_ok(fifo_cache_set(&c, key * 7919u, &r, DLOAD_NEVER));
        equal(fifo_cache_len(&c), key < capacity ? key + 1 : capacity);
    }
    size_t longest = 0;
    for (size_t i = 0; i <= c.one.mask; i++) {
        size_t n = 0;
        for (uint32_t at = c.one.heads[i]; at != DLOAD_I_CHAIN_END; at = c.one.slots[at].next) {
            n++;
        }
        longest = n > longest ? n : longest;
    }
    assert_true(longest <= 16); /* two an entry at most on average */
    for (uint32_t key = 0; key < 2 * capacity + 1; key++) {
        reading r;
        bool here = key > capacity;
        must(fifo_cache_get(&c, key * 7919u, &r), here ? DLOAD_OK : DLOAD_MISSING);
        if (here) {
            equal(r.a, key);
            equal(r.b, ~key);
        }
    }
    must_ok(fifo_cache_destroy(&c));
    fake_env_check(&f);
}

static void test_compact_full_tables(void **state)
{
    (void)state;
    fill(1);
    fill(2);
    fill(1000);
    fill(65534);
}

static void test_compact_refuses(void **state)
{
    (void)state;
    struct fake_env f;
    clk_cache c;
    clk_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    fake_env_init(&f);
    cfg.env = &f.env;
    cfg.capacity = 65535;
    must(clk_cache_init(&c, &cfg), DLOAD_EINVAL);
    cfg.capacity = DLOAD_UNBOUNDED;
    must(clk_cache_init(&c, &cfg), DLOAD_EINVAL);
    cfg.capacity = 10;
    cfg.ttl_jitter_pct = 91;
    must(clk_cache_init(&c, &cfg), DLOAD_EINVAL);
    cfg.ttl_jitter_pct = 0;
    cfg.idle_ttl_ns = 1;
    must(clk_cache_init(&c, &cfg), DLOAD_EINVAL);
    cfg.idle_ttl_ns = 0;
    cfg.capacity = DLOAD_NO_CACHE;
    must_ok(clk_cache_init(&c, &cfg));
    reading r = {1, 2};
    must(clk_cache_set(&c, 1, &r, 0), DLOAD_EFULL);
    must(clk_cache_get(&c, 1, &r), DLOAD_MISSING);
    must(clk_cache_pin(&c, 1), DLOAD_MISSING);
    must_ok(clk_cache_delete(&c, 1));
    must_ok(clk_cache_clear(&c));
    must_ok(clk_cache_advance(&c, DLOAD_SECOND));
    equal(clk_cache_len(&c) + clk_cache_bytes(&c), 0);
    must_ok(clk_cache_destroy(&c));
    fake_env_arm(&f);
    f.fail_at = 1;
    cfg.capacity = 10;
    must(clk_cache_init(&c, &cfg), DLOAD_ENOMEM);
    fake_env_disarm(&f);
    must(clk_cache_get(&c, 1, &r), DLOAD_MISSING);
    must_ok(clk_cache_destroy(&c));
    fake_env_check(&f);
}

/* What a constant expression says is what the cache takes, in one block, and little of it is its own. */
static void test_compact_bytes(void **state)
{
    (void)state;
    static uint8_t block[DLOAD_I_TABLE_BYTES(clk_i_slot_bytes, 32)];
    equal(sizeof block, 32 * 20 + 64);
    equal(clk_i_slot_bytes, sizeof(reading) + 4 + 8);
    equal(small_i_slot_bytes, sizeof(reading) + 4 + 4);
    for (size_t n = 1; n <= DLOAD_I_COMPACT_MAX; n = n < 300 ? n + 1 : n * 3 / 2) {
        struct fake_env f;
        clk_cache c;
        clk_cache_config cfg;
        memset(&cfg, 0, sizeof cfg);
        fake_env_init(&f);
        cfg.env = &f.env;
        cfg.capacity = n;
        must_ok(clk_cache_init(&c, &cfg));
        equal(f.n_allocs, 1);
        equal(f.live_bytes, DLOAD_I_TABLE_BYTES(clk_i_slot_bytes, n));
        equal(clk_cache_bytes(&c), f.live_bytes);
        assert_true(f.live_bytes - n * (sizeof(reading) + 4) <= 10 * n);
        must_ok(clk_cache_destroy(&c));
        fake_env_check(&f);
    }
}

/* ---- time ---- */

/* What was 2 s once does not become 1 s again: an entry that would have ended in between is gone. */
static void test_compact_clock_goes_back(void **state)
{
    (void)state;
    struct fake_env f;
    ids_cache c;
    ids_cache_config cfg;
    dload_id128 id;
    uint64_t v = 5, got = 0;
    memset(&cfg, 0, sizeof cfg);
    memset(&id, 1, sizeof id);
    fake_env_init(&f);
    cfg.env = &f.env;
    cfg.capacity = 4;
    must_ok(ids_cache_init(&c, &cfg));
    f.now_ns = 2 * DLOAD_SECOND;
    must_ok(ids_cache_advance(&c, f.now_ns));
    f.now_ns = DLOAD_SECOND;
    must_ok(ids_cache_set(&c, id, &v, DLOAD_SECOND / 2));
    must(ids_cache_get(&c, id, &got), DLOAD_MISSING);
    must_ok(ids_cache_set(&c, id, &v, 2 * DLOAD_SECOND));
    must_ok(ids_cache_get(&c, id, &got));
    equal(got, 5);
    f.now_ns = 3 * DLOAD_SECOND;
    must(ids_cache_get(&c, id, &got), DLOAD_MISSING);
    must_ok(ids_cache_destroy(&c));
    fake_env_check(&f);
}

/* TTLs come out shorter by up to so many percent, all lengths of them, and none longer. */
static void test_compact_jitter(void **state)
{
    (void)state;
    struct fake_env f;
    ids_cache c;
    ids_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    fake_env_init(&f);
    cfg.env = &f.env;
    cfg.capacity = 4;
    cfg.ttl_jitter_pct = 30;
    for (int own = 0; own < 2; own++) {
        uint64_t least = UINT64_MAX, most = 0;
        if (own) {
            f.env.random = NULL;
        }
        must_ok(ids_cache_init(&c, &cfg));
        for (int i = 0; i < 3000; i++) {
            uint64_t ttl_ns = ids_i_jitter(&c, 1000 * DLOAD_SECOND);
            least = ttl_ns < least ? ttl_ns : least;
            most = ttl_ns > most ? ttl_ns : most;
        }
        assert_true(most <= 1000 * DLOAD_SECOND && most > 999 * DLOAD_SECOND);
        assert_true(least >= 700 * DLOAD_SECOND && least < 701 * DLOAD_SECOND);
        must_ok(ids_cache_destroy(&c));
    }
    fake_env_check(&f);
}

/* ---- values that nobody can release just now ---- */

static long owners;

static dload_status answer_held(held_batch *b)
{
    long *v = &owners;
    for (size_t i = 0; i < b->n; i++) {
        must_ok(held_batch_set(b, i, &v));
    }
    return DLOAD_OK;
}

/* A batch stores under the mutex, where what has expired cannot be released: its values wait, and each that comes
 * in takes one of them out, though it needs no more room than one. */
static void test_compact_values_that_wait(void **state)
{
    (void)state;
    struct fake_env f;
    held l;
    held_config cfg = held_config_default();
    long *out[6];
    const uint32_t keys[3][6] = {
        {1, 2, 3, 4, 5, 6}, {11, 12, 13, 14, 15, 16}, {1, 12, 23, 4, 15, 26}};
    fake_env_init(&f);
    cfg.env = &f.env;
    cfg.fetch = answer_held;
    cfg.capacity = 6;
    cfg.ttl_ns = 10 * DLOAD_MILLISECOND;
    must_ok(held_init(&l, &cfg));
    for (size_t round = 0; round < 3; round++) {
        for (size_t n = round == 1 ? 2 : 6, i = 0; i < 6; i += n) {
            must_ok(held_load_many(&l, &keys[round][i], n, out, NULL));
            for (size_t k = 0; k < n; k++) {
                --*out[k];
            }
        }
        equal(owners, held_cache_len(&l.cache));
        equal(owners, 6);
        f.now_ns += DLOAD_SECOND;
    }
    must_ok(held_clear_all(&l));
    equal(owners, 0);
    must_ok(held_close(&l, DLOAD_DRAIN, 0));
    must_ok(held_destroy(&l));
    fake_env_check(&f);
}

/* ---- arithmetic ---- */

static void test_compact_arithmetic(void **state)
{
    (void)state;
    uint64_t seed = test_seed("compact, arithmetic");
    for (size_t i = 0, n = scaled(200000); i < n; i++) {
        uint64_t x = rng(&seed) >> rng_below(&seed, 64);
        uint32_t part = (uint32_t)rng_below(&seed, 65537);
        equal(dload_i_tick_of(x), x >> 20);
        uint64_t low = (x & 0xffffffffu) * part >> 16;
        equal(dload_i_part_of(x, part), (x >> 32) * part * 65536 + low);
    }
    equal(dload_i_part_of(UINT64_MAX, 65536), UINT64_MAX);
    equal(dload_i_tick_of(UINT64_MAX), UINT64_MAX >> 20);
}

/* Keys in a row, in steps, and in halves spread over the chains like random ones. */
static void test_compact_keys_spread(void **state)
{
    (void)state;
    static uint32_t n[1024];
    for (unsigned shift = 0; shift < 22; shift++) {
        memset(n, 0, sizeof n);
        for (uint32_t i = 0; i < 1024; i++) {
            n[clk_i_hash(i << shift) >> 32 & 1023]++;
        }
        size_t longest = 0;
        for (size_t i = 0; i < COUNT(n); i++) {
            longest = n[i] > longest ? n[i] : longest;
        }
        assert_true(longest <= 12);
    }
    uint64_t hits = 0;
    struct fake_env f;
    ids_cache c;
    ids_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    fake_env_init(&f);
    cfg.env = &f.env;
    cfg.capacity = 4096;
    must_ok(ids_cache_init(&c, &cfg));
    for (uint64_t round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 4096; i++) {
            dload_id128 id;
            memset(&id, 0, sizeof id);
            id.bytes[i % 16] = (unsigned char)(i >> 4);
            id.bytes[(i + 1) % 16] = (unsigned char)(i >> 8 | 0x40);
            uint64_t got = 0;
            if (round == 0) {
                must_ok(ids_cache_set(&c, id, &i, 0));
            } else if (ids_cache_get(&c, id, &got) == DLOAD_OK) {
                hits++;
                equal(got % 16, i % 16);
            }
        }
    }
    equal(hits, 4096);
    must_ok(ids_cache_destroy(&c));
    fake_env_check(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compact_against_an_array),
        cmocka_unit_test(test_compact_one_chain),
        cmocka_unit_test(test_compact_full_tables),
        cmocka_unit_test(test_compact_refuses),
        cmocka_unit_test(test_compact_bytes),
        cmocka_unit_test(test_compact_clock_goes_back),
        cmocka_unit_test(test_compact_jitter),
        cmocka_unit_test(test_compact_values_that_wait),
        cmocka_unit_test(test_compact_arithmetic),
        cmocka_unit_test(test_compact_keys_spread),
    };
    return cmocka_run_group_tests_name("compact", tests, NULL, NULL);
}
