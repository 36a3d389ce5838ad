/* Hits without the lock: what a reader copies while others write, evict, delete, reuse slots and grow the
 * table; that it writes nothing shared; and that it finds what is there. */
/* locks: SPIN PTHREAD */
/* tsan */
/* also plain: DLOAD_NO_SIMD=1 */
/* also tsan: DLOAD_NO_SIMD=1 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N_KEYS = 96, ENOUGH_HITS = 500 };

static uint64_t versions[N_KEYS]; /* the last one written or deleted; atomic */
static size_t n_bad, n_ended, n_hits;

static void count(size_t *n)
{
    __atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
}

static void bad(bool is_bad)
{
    if (is_bad) {
        count(&n_bad);
    }
}

typedef struct wide {
    uint64_t words[4];
} wide;

typedef struct ragged {
    char bytes[13];
} ragged;

typedef struct large {
    char bytes[600];
} large;

#define CASE      u64_wide
#define KEY_OF(k) (k)
#define VALUE     wide
#define DLOAD_KEY uint64_t
#include "read_case.h"

/* Long enough that two in three need more than one word, with a shared beginning. */
static dload_str text_key(uint64_t k)
{
    static char texts[N_KEYS][40];
    static size_t lens[N_KEYS];
    if (lens[k] == 0) {
        for (size_t i = 0; i < sizeof texts[k]; i++) {
            texts[k][i] = (char)('a' + (i < 5 ? 0 : (k >> (i % 3 * 3)) % 8));
        }
        lens[k] = 3 + k % 37;
        texts[k][lens[k] - 1] = (char)k;
    }
    dload_str s = {texts[k], lens[k]};
    return s;
}

static dload_id128 id_key(uint64_t k)
{
    dload_id128 id;
    memset(&id, (int)(k % 5), sizeof id);
    memcpy(id.bytes + 3, &k, sizeof k);
    return id;
}

#define CASE      u16_byte
#define KEY_OF(k) ((uint16_t)(k))
#define VALUE     uint8_t
#define DLOAD_KEY uint16_t
#include "read_case.h"

#define CASE      dbl_u32
#define KEY_OF(k) ((double)(k))
#define VALUE     uint32_t
#define DLOAD_KEY double
#include "read_case.h"

#define CASE      id_ragged
#define KEY_OF(k) id_key(k)
#define VALUE     ragged
#define DLOAD_KEY DLOAD_ID128
#include "read_case.h"

#define CASE      text_wide
#define KEY_OF(k) text_key(k)
#define VALUE     wide
#define DLOAD_KEY DLOAD_STRING
#include "read_case.h"

#define CASE      u64_large
#define KEY_OF(k) (k)
#define VALUE     large
#define DLOAD_KEY uint64_t
#include "read_case.h"

#define CASE        lru_wide
#define KEY_OF(k)   (k)
#define VALUE       wide
#define DLOAD_KEY   uint64_t
#define DLOAD_EVICT DLOAD_EVICT_LRU
#include "read_case.h"

#define CASE        grouped
#define KEY_OF(k)   ((uint32_t)(k))
#define VALUE       wide
#define DLOAD_KEY   uint32_t
#define DLOAD_GROUP 1
#include "read_case.h"

#define CASE      bare
#define KEY_OF(k) (k)
#define VALUE     wide
#define DLOAD_KEY uint64_t
#define DLOAD_TTL 0
#include "read_case.h"

/* With room for all, with evictions all the time, and in tables that grow: slots are reused for other keys
 * of the same tag. */
#define TEST_CASE(name)                         \
    static void test_##name(void **state)       \
    {                                           \
        (void)state;                            \
        for (uint64_t k = 0; k < N_KEYS; k++) { \
            (void)text_key(k);                  \
        }                                       \
        name##_case(N_KEYS * 4);                \
        name##_case(20);                        \
        name##_case(DLOAD_UNBOUNDED);           \
    }
TEST_CASE(u64_wide)
TEST_CASE(u16_byte)
TEST_CASE(dbl_u32)
TEST_CASE(id_ragged)
TEST_CASE(text_wide)
TEST_CASE(u64_large)
TEST_CASE(lru_wide)
TEST_CASE(grouped)
TEST_CASE(bare)

/* ---- growth ---- */

/* Memory that ends where nobody may read on. */
enum { PAGE = 1 << 16 };
static size_t guarded_bytes; /* atomic */

static size_t guarded_size(size_t n_bytes)
{
    return (n_bytes + PAGE - 1) / PAGE * PAGE;
}

static void *guarded_alloc(void *ctx, size_t n_bytes)
{
    (void)ctx;
    size_t size = guarded_size(n_bytes);
    char *p =
        (char *)mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + size, PAGE, PROT_NONE) != 0) {
        return NULL;
    }
    __atomic_add_fetch(&guarded_bytes, n_bytes, __ATOMIC_RELAXED);
    return p + (size - n_bytes) / 16 * 16;
}

static void guarded_free(void *ctx, void *p, size_t n_bytes)
{
    (void)ctx;
    size_t size = guarded_size(n_bytes);
    bad(munmap((char *)p - (size - n_bytes) / 16 * 16, size + PAGE) != 0);
    __atomic_sub_fetch(&guarded_bytes, n_bytes, __ATOMIC_RELAXED);
}

static size_t n_inserted; /* keys that are there for good; atomic */
static size_t n_all;

static void grow(void *ctx, size_t thread)
{
    uint64_t seed = *(const uint64_t *)ctx + thread;
    for (size_t i = 0; thread == 0 && i < n_all; i++) {
        wide value;
        bare_fill(&value, i, 1);
        bad(bare_cache_set(&bare_cache_, i, &value, 0) != DLOAD_OK);
        __atomic_store_n(&n_inserted, i + 1, __ATOMIC_SEQ_CST);
    }
    size_t n = 0;
    while (thread != 0 && (n = __atomic_load_n(&n_inserted, __ATOMIC_SEQ_CST)) < n_all) {
        wide value;
        uint64_t k = n == 0 ? 0 : rng_below(&seed, n);
        if (n != 0) {
            bad(bare_cache_get(&bare_cache_, k, &value) != DLOAD_OK);
            bad(bare_version(&value, k) != 1);
        }
    }
}

static void test_growth(void **state)
{
    (void)state;
    struct fake_env f;
    uint64_t seed = test_seed("growth");
    n_all = scaled(20000);
    n_inserted = n_bad = 0;
    fake_env_init_real(&f);
    f.env.alloc = guarded_alloc;
    f.env.free = guarded_free;
    bare_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &f.env;
    cfg.capacity = DLOAD_UNBOUNDED;
    cfg.shards = 1;
    must_ok(bare_cache_init(&bare_cache_, &cfg));
    run_threads(4, grow, &seed);
    equal(n_bad, 0);
    equal(bare_cache_len(&bare_cache_), n_all);
    equal(bare_cache_bytes(&bare_cache_), guarded_bytes);
    must_ok(bare_cache_destroy(&bare_cache_));
    equal(n_bad, 0);
    equal(guarded_bytes, 0);
}

/* ---- doubt ---- */

static size_t seq_sum(const u64_wide_shard *s)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < s->n_groups; i++) {
        sum += s->groups[i].seq;
    }
    return sum;
}

/* While a writer is at work in every group, nothing is read but under the lock; and a table that the cache
 * has grown out of stays what it was for those who still look at it. */
static void test_doubt(void **state)
{
    (void)state;
    struct fake_env f;
    fake_env_init(&f);
    u64_wide_cache c;
    u64_wide_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &f.env;
    cfg.capacity = DLOAD_UNBOUNDED;
    cfg.shards = 1;
    must_ok(u64_wide_cache_init(&c, &cfg));
    u64_wide_shard *s = &c.shard[0];
    wide value;
    u64_wide_fill(&value, 5, 1);
    must_ok(u64_wide_cache_set(&c, 5, &value, 0));
    u64_wide_i_ident id = u64_wide_i_id(&c, 5, 0);
    must_ok(u64_wide_i_read_free(&c, s, &id, &value));
    for (uint32_t i = 0; i < s->n_groups; i++) {
        dload_i_group_open(&s->groups[i]);
    }
    must(u64_wide_i_read_free(&c, s, &id, &value), DLOAD_EBUSY);
    alarm(20); /* the writer does not come to an end, but the call does */
    must_ok(u64_wide_cache_get(&c, 5, &value));
    alarm(0);
    for (uint32_t i = 0; i < s->n_groups; i++) {
        dload_i_group_shut(&s->groups[i]);
    }
    must_ok(u64_wide_i_read_free(&c, s, &id, &value));

    /* Whatever happens to an entry moves the number of its group. */
    size_t seq = seq_sum(s);
    must_ok(u64_wide_cache_set(&c, 5, &value, 0));
    equal(seq_sum(s), seq + 2);
    must_ok(u64_wide_cache_delete(&c, 5));
    equal(seq_sum(s), seq + 4);
    must_ok(u64_wide_cache_set(&c, 5, &value, 0));
    equal(seq_sum(s), seq + 6);

    const dload_i_group *old = s->groups;
    u64_wide_slot *old_slots = s->slots;
    uint32_t at = dload_i_home(id.hash, s->n_groups);
    dload_i_group image[8];
    size_t n_bytes = s->n_groups * sizeof *old;
    assert_true(n_bytes <= sizeof image);
    for (uint64_t k = 6; s->groups == old; k++) {
        memcpy(image, old, n_bytes);
        must_ok(u64_wide_cache_set(&c, k, &value, 0));
    }
    /* Who still looks there finds the key, but does not count that. */
    must(u64_wide_i_read_group(&c, s, &old[at], old_slots + at * DLOAD_I_GROUP_SLOTS, old, &id,
                               &value),
         DLOAD_EBUSY);
    assert_memory_equal(image, old, n_bytes);
    assert_true(s->outgrown_bytes >= n_bytes);
    equal(u64_wide_cache_bytes(&c), f.live_bytes);
    must_ok(u64_wide_cache_destroy(&c));
    fake_env_check(&f);
}

/* ---- memory that held something before ---- */

static unsigned char recycled[1 << 16];
static bool recycled_taken;

/* The largest block is the same one every time; nobody wipes it. */
static void *recycling_alloc(void *ctx, size_t n_bytes)
{
    (void)ctx;
    if (n_bytes < 8192 || n_bytes > sizeof recycled || recycled_taken) {
        return guarded_alloc(NULL, n_bytes);
    }
    recycled_taken = true;
    return recycled;
}

static void recycling_free(void *ctx, void *p, size_t n_bytes)
{
    (void)ctx;
    if (p == recycled) {
        recycled_taken = false;
    } else {
        guarded_free(NULL, p, n_bytes);
    }
}

/* What an earlier cache left behind looks like keys, with pointers to bytes that are gone. A reader may look
 * at slots that nobody has written yet: between two tables, or at one that is just being taken. */
static void test_recycled_memory(void **state)
{
    (void)state;
    struct fake_env f;
    fake_env_init(&f);
    f.env.alloc = recycling_alloc;
    f.env.free = recycling_free;
    text_wide_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &f.env;
    cfg.capacity = 100;
    cfg.shards = 1;
    text_wide_cache c;
    wide value;
    uint32_t slots[N_KEYS];
    n_bad = 0;
    for (size_t round = 0; round < 2; round++) {
        must_ok(text_wide_cache_init(&c, &cfg));
        assert_true(recycled_taken);
        for (uint64_t k = 0; k < N_KEYS; k++) {
            text_wide_i_ident id = text_wide_i_id(&c, text_key(k), 0);
            if (round == 1) {
                assert_false(text_wide_i_reads_as(&c.shard[0].slots[slots[k]], &id));
                continue;
            }
            text_wide_fill(&value, k, 1);
            must_ok(text_wide_cache_set(&c, text_key(k), &value, 0));
            slots[k] = text_wide_i_slot_of(&c.shard[0], text_wide_i_locate(&c.shard[0], &id));
            assert_true(text_wide_i_reads_as(&c.shard[0].slots[slots[k]], &id));
        }
        must_ok(text_wide_cache_destroy(&c));
    }
    equal(n_bad, 0);
    equal(guarded_bytes, 0);
}

/* ---- what a hit writes ---- */

/* A reader counts a use after it has looked: what a writer has made of the entry meanwhile stays. */
static void test_late_use(void **state)
{
    (void)state;
    const uint32_t seen = DLOAD_I_META_EXPIRES | 1u;
    uint32_t meta = DLOAD_I_EPOCH_ONE * 7 | DLOAD_I_META_ERROR | DLOAD_I_META_MAIN;
    dload_i_count_use(&meta, seen, 3);
    equal(meta, DLOAD_I_EPOCH_ONE * 7 | DLOAD_I_META_ERROR | DLOAD_I_META_MAIN | 2u);
    dload_i_count_use(&meta, seen + 2, 3);
    equal(meta & DLOAD_I_META_USES, 2);
}

/* Everything a cache holds but the threads' own counters. */
static size_t image(const u64_wide_cache *c, unsigned char *to, size_t cap_bytes)
{
    size_t n = 0;
    for (uint32_t i = 0; i < c->n_shards; i++) {
        assert_true(n + sizeof c->shard[i] + c->shard[i].block_bytes <= cap_bytes);
        memcpy(to + n, &c->shard[i], sizeof c->shard[i]);
        n += sizeof c->shard[i];
        memcpy(to + n, c->shard[i].block, c->shard[i].block_bytes);
        n += c->shard[i].block_bytes;
    }
    memcpy(to + n, c, sizeof *c);
    return n + sizeof *c;
}

static void test_repeated_hit_writes_nothing(void **state)
{
    (void)state;
    static unsigned char before[1 << 20], after[1 << 20];
    struct fake_env f;
    fake_env_init(&f);
    u64_wide_cache c;
    u64_wide_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &f.env;
    cfg.capacity = 1000;
    cfg.ttl_ns = DLOAD_SECOND;
    must_ok(u64_wide_cache_init(&c, &cfg));
    wide value;
    for (uint64_t k = 0; k < 1000; k++) {
        u64_wide_fill(&value, k, 2);
        must_ok(u64_wide_cache_set(&c, k, &value, 0));
    }
    for (size_t round = 0; round < 4; round++) { /* the count of uses reaches its end */
        for (uint64_t k = 0; k < 1000; k++) {
            (void)u64_wide_cache_get(&c, k, &value);
        }
    }
    size_t n_bytes = image(&c, before, sizeof before);
    size_t found = 0;
    for (uint64_t k = 0; k < 1000; k++) {
        found += u64_wide_cache_get(&c, k, &value) == DLOAD_OK;
    }
    assert_true(found > 900);
    equal(image(&c, after, sizeof after), n_bytes);
    assert_memory_equal(before, after, n_bytes);
    must_ok(u64_wide_cache_destroy(&c));
    fake_env_check(&f);
}

/* ---- counting ---- */

static dload_status answer(u64_wide_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        wide value;
        u64_wide_fill(&value, b->keys[i], 1);
        must_ok(u64_wide_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

static void read_all(void *ctx, size_t thread)
{
    wide value;
    (void)thread;
    for (uint64_t i = 0; i < 3000; i++) {
        bad(u64_wide_load((u64_wide *)ctx, i % 64, &value) != DLOAD_OK);
    }
}

/* Sums are exact with more threads than stripes, at once and one generation after the other. */
static void test_hits_are_counted(void **state)
{
    (void)state;
    u64_wide l;
    u64_wide_config cfg = u64_wide_config_default();
    cfg.fetch = answer;
    must_ok(u64_wide_init(&l, &cfg));
    n_bad = 0;
    for (size_t round = 0; round < 3; round++) {
        run_threads(24, read_all, &l);
    }
    equal(n_bad, 0);
    dload_stats stats = {0};
    must_ok(u64_wide_stats(&l, &stats));
    equal(stats.hits + stats.joins + stats.misses, 3 * 24 * 3000);
    equal(stats.keys, 64);
    must_ok(u64_wide_close(&l, DLOAD_DRAIN, 0));
    must_ok(u64_wide_destroy(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_u64_wide),
        cmocka_unit_test(test_u16_byte),
        cmocka_unit_test(test_dbl_u32),
        cmocka_unit_test(test_id_ragged),
        cmocka_unit_test(test_text_wide),
        cmocka_unit_test(test_u64_large),
        cmocka_unit_test(test_lru_wide),
        cmocka_unit_test(test_grouped),
        cmocka_unit_test(test_doubt),
        cmocka_unit_test(test_bare),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_recycled_memory),
        cmocka_unit_test(test_late_use),
        cmocka_unit_test(test_repeated_hit_writes_nothing),
        cmocka_unit_test(test_hits_are_counted),
    };
    return cmocka_run_group_tests_name("read", tests, NULL, NULL);
}
