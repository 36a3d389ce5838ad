/* Keys made to collide: with a secret they cost what any keys cost; without one an entry is put within reach
 * of its home or not at all, what had to go far is counted, and nothing that is there is lost. Work is
 * counted in groups looked at; nothing is timed. */
/* locks: NONE PTHREAD */
#define DLOAD_NAME  fast
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#include "dataloader.h"
#define DLOAD_NAME  safe
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#define DLOAD_NAME      told
#define DLOAD_KEY       uint64_t
#define DLOAD_VALUE     uint64_t
#define DLOAD_LOCK      TEST_LOCK
#define DLOAD_EVICT     DLOAD_EVICT_LRU
#define DLOAD_ON_REMOVE 1
#include "dataloader.h"
#define DLOAD_NAME  kept
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_EVICT DLOAD_EVICT_NONE
#include "dataloader.h"
#include "support.h"
#include "test_mixer.h"

#include <string.h>

enum { REACH = 128 * 32 }; /* slots */

static struct fake_env env;

static int setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_env_check(&env);
    return 0;
}

/* Key i of those that all have one home, in the middle of any table, and one class. */
static uint64_t chosen(uint64_t i)
{
    return key_of_hash(UINT64_C(0x8000000000000000) | (uint32_t)(i * 0x9e3779b1u));
}

static uint64_t natural(uint64_t i)
{
    uint64_t state = i;
    return rng(&state);
}

/* Groups that putting a new key of this hash looks at: to see that it is not there, and for a place. */
static uint64_t work(const dload_i_group *groups, uint32_t n_groups, uint32_t reach, uint64_t hash)
{
    uint32_t home = dload_i_home(hash, n_groups), search = 1, place = 1;
    for (uint32_t at = home; search < reach && groups[at].over[dload_i_class(hash)]; search++) {
        at = dload_i_next_group(at, n_groups);
    }
    for (uint32_t at = home; place < reach && !dload_i_find_tag(&groups[at], 0); place++) {
        at = dload_i_next_group(at, n_groups);
    }
    return search + place;
}

struct cost {
    uint64_t all, worst, long_probes, entries;
};

static dload_status fast_fetch(fast_batch *b)
{
    (void)b;
    return DLOAD_OK;
}

static dload_status safe_fetch(safe_batch *b)
{
    (void)b;
    return DLOAD_OK;
}

/* Puts n keys into a cache for as many; each is there when it has been put. */
#define PUT_ALL(name, n, key, cost)                                                             \
    do {                                                                                        \
        name l;                                                                                 \
        name##_config cfg = name##_config_default();                                            \
        cfg.env = &env.env;                                                                     \
        cfg.fetch = name##_fetch;                                                               \
        cfg.capacity = (n);                                                                     \
        cfg.shards = 1;                                                                         \
        must_ok(name##_init(&l, &cfg));                                                         \
        memset((cost), 0, sizeof *(cost));                                                      \
        for (uint64_t i = 0; i < (n); i++) {                                                    \
            const name##_shard *s = l.cache.shard;                                              \
            uint64_t got = 0, hash = name##_i_id(&l.cache, key(i), 0).hash;                     \
            uint64_t groups = work(s->groups, s->n_groups, s->reach, hash);                     \
            (cost)->all += groups;                                                              \
            (cost)->worst = groups > (cost)->worst ? groups : (cost)->worst;                    \
            must_ok(name##_cache_set(&l.cache, key(i), &i, 0));                                 \
            must_ok(name##_cache_get(&l.cache, key(i), &got));                                  \
            equal(got, i);                                                                      \
        }                                                                                       \
        for (uint32_t slot = 0; slot < l.cache.shard->n_groups * DLOAD_I_GROUP_SLOTS; slot++) { \
            const name##_shard *s = l.cache.shard;                                              \
            if (s->groups[slot / 32].tags[slot % 32] != 0) {                                    \
                uint64_t hash = name##_i_hash_of(&s->slots[slot], s->evict.hash_key);           \
                assert_true(dload_i_groups_passed(s->n_groups, hash, slot) < REACH / 32);       \
            }                                                                                   \
        }                                                                                       \
        dload_stats st = {0};                                                                   \
        must_ok(name##_stats(&l, &st));                                                         \
        (cost)->long_probes = st.long_probes;                                                   \
        (cost)->entries = st.entries;                                                           \
        equal(st.entries + st.evictions, n);                                                    \
        print_message(#name ", " #key ": %.2f groups a key, %llu at most, %llu long probes\n",  \
                      (double)(cost)->all / (double)(n), (unsigned long long)(cost)->worst,     \
                      (unsigned long long)(cost)->long_probes);                                 \
        must_ok(name##_close(&l, DLOAD_FAIL, 0));                                               \
        must_ok(name##_destroy(&l));                                                            \
    } while (0)

static void test_reach_adversary(void **state)
{
    (void)state;
    const uint64_t n = scaled(50000);
    struct cost cost, usual;
    PUT_ALL(fast, n, natural, &usual);
    equal(usual.long_probes, 0);
    equal(usual.entries, n);
    /* A secret makes of them keys like any others. */
    PUT_ALL(safe, n, chosen, &cost);
    equal(cost.long_probes, 0);
    equal(cost.entries, n);
    assert_true(cost.all <= 2 * usual.all);
    /* Without one they fill what they can reach, and then go round in it. */
    PUT_ALL(fast, n, chosen, &cost);
    equal(cost.entries, REACH);
    equal(cost.long_probes, n - 32 * 32);
    assert_true(cost.worst <= 2 * REACH / 32);
}

/* ---- who goes ---- */

static uint64_t n_gone[DLOAD_REMOVED_DESTROYED + 1];

static void gone(void *ctx, told_removed *r)
{
    (void)ctx;
    equal(r->value, r->key ^ 1);
    n_gone[r->reason]++;
}

static void told_put(told_cache *c, uint64_t key, dload_status want)
{
    uint64_t value = key ^ 1;
    must(told_cache_set(c, key, &value, 0), want);
}

/* Each that has to go is told of once; what is pinned stays. */
static void test_reach_victims(void **state)
{
    (void)state;
    told_cache c;
    told_cache_config cfg;
    uint64_t got = 0, key = 0;
    memset(&cfg, 0, sizeof cfg);
    memset(n_gone, 0, sizeof n_gone);
    cfg.env = &env.env;
    cfg.capacity = 20000;
    cfg.shards = 1;
    cfg.on_remove = gone;
    must_ok(told_cache_init(&c, &cfg));
    for (; key < REACH; key++) {
        told_put(&c, chosen(key), DLOAD_OK);
    }
    equal(told_cache_len(&c), REACH);
    for (uint64_t i = 0; i < 32; i++) { /* the home group */
        must_ok(told_cache_pin(&c, chosen(i)));
    }
    for (; key < REACH + 100; key++) {
        told_put(&c, chosen(key), DLOAD_OK);
    }
    equal(n_gone[DLOAD_REMOVED_EVICTED], 100);
    for (uint64_t i = 0; i < 32; i++) {
        must_ok(told_cache_get(&c, chosen(i), &got));
        equal(got, chosen(i) ^ 1);
    }
    must_ok(told_cache_get(&c, chosen(key - 1), &got));
    must_ok(told_cache_clear(&c));
    for (; key < REACH + 110; key++) {
        told_put(&c, chosen(key), DLOAD_OK);
        must_ok(told_cache_get(&c, chosen(key), &got));
    }
    equal(n_gone[DLOAD_REMOVED_EVICTED], 100);
    equal(told_cache_len(&c), 10);
    must_ok(told_cache_destroy(&c));
    equal(n_gone[DLOAD_REMOVED_EVICTED] + n_gone[DLOAD_REMOVED_CLEARED] +
              n_gone[DLOAD_REMOVED_DESTROYED],
          key);
    equal(n_gone[DLOAD_REMOVED_CLEARED], REACH);
}

/* A key whose home is the given group of n_groups. */
static uint64_t key_at(uint32_t group, uint32_t n_groups, uint64_t i)
{
    uint64_t high = (((uint64_t)group << 32) + n_groups - 1) / n_groups;
    uint64_t hash = high << 32 | (uint32_t)(i * 0x9e3779b1u);
    equal(dload_i_home(hash, n_groups), group);
    return key_of_hash(hash);
}

/* Keys that fill a stretch of the table, each at home: the first that finds it full is refused, and counted;
 * from then on others make place. */
static void test_reach_first(void **state)
{
    (void)state;
    enum { GROUPS = 782, FROM = 100, TO = 230 };
    told_cache c;
    told_cache_config cfg;
    uint64_t got = 0, n = 0;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &env.env;
    cfg.capacity = 20000;
    cfg.shards = 1;
    must_ok(told_cache_init(&c, &cfg));
    equal(c.shard->n_groups, GROUPS);
    for (; n < (TO - FROM) * 32; n++) {
        told_put(&c, key_at(FROM + (uint32_t)(n % (TO - FROM)), GROUPS, n), DLOAD_OK);
    }
    equal(c.shard->long_probes, 0);
    told_put(&c, key_at(FROM, GROUPS, n), DLOAD_EFULL);
    equal(c.shard->long_probes, 1);
    for (uint32_t g = 0; g < GROUPS; g++) { /* nothing is left of it */
        for (size_t k = 0; k < 16; k++) {
            equal(c.shard->groups[g].over[k], 0);
        }
    }
    told_put(&c, key_at(FROM, GROUPS, n), DLOAD_OK);
    must_ok(told_cache_get(&c, key_at(FROM, GROUPS, n), &got));
    equal(told_cache_len(&c), n);
    must_ok(told_cache_destroy(&c));
}

/* Where all that is within reach is pinned, there is no room for one more; elsewhere there is. */
static void test_reach_pinned(void **state)
{
    (void)state;
    told_cache c;
    told_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &env.env;
    cfg.capacity = 20000;
    cfg.shards = 1;
    must_ok(told_cache_init(&c, &cfg));
    for (uint64_t i = 0; i < REACH; i++) {
        told_put(&c, chosen(i), DLOAD_OK);
        must_ok(told_cache_pin(&c, chosen(i)));
    }
    told_put(&c, chosen(REACH), DLOAD_EFULL);
    told_put(&c, natural(1), DLOAD_OK);
    must_ok(told_cache_unpin(&c, chosen(7)));
    told_put(&c, chosen(REACH), DLOAD_OK);
    equal(told_cache_len(&c), REACH + 1);
    must_ok(told_cache_destroy(&c));
}

/* Without a policy nobody goes: the new key is refused. A table that grows keeps all that it has, however
 * far that comes to live, and lets others in. */
static void test_reach_refuses(void **state)
{
    (void)state;
    static const size_t capacities[] = {20000, DLOAD_UNBOUNDED};
    for (size_t k = 0; k < COUNT(capacities); k++) {
        kept_cache c;
        kept_cache_config cfg;
        uint64_t got = 0, n_in = 0;
        memset(&cfg, 0, sizeof cfg);
        cfg.env = &env.env;
        cfg.capacity = capacities[k];
        cfg.shards = 1;
        must_ok(kept_cache_init(&c, &cfg));
        for (uint64_t i = 0; i < REACH + 50; i++) {
            dload_status st = kept_cache_set(&c, chosen(i), &i, 0);
            n_in += st == DLOAD_OK;
            assert_true(st == (i < REACH ? DLOAD_OK : DLOAD_EFULL));
        }
        equal(n_in, REACH);
        static bool in[10000];
        for (uint64_t i = 0; i < COUNT(in); i++) {
            dload_status st = kept_cache_set(&c, natural(i), &i, 0);
            in[i] = st == DLOAD_OK;
            n_in += in[i];
            assert_true(in[i] || st == DLOAD_EFULL);
        }
        equal(kept_cache_len(&c), n_in);
        /* Who is near the full groups may be refused, too. */
        print_message("%llu of %zu other keys refused\n",
                      (unsigned long long)(REACH + COUNT(in) - n_in), COUNT(in));
        assert_true(n_in >= REACH + COUNT(in) - COUNT(in) / 16);
        for (uint64_t i = 0; i < COUNT(in); i++) {
            must(kept_cache_get(&c, natural(i), &got), in[i] ? DLOAD_OK : DLOAD_MISSING);
            must(kept_cache_get(&c, chosen(i), &got), i < REACH ? DLOAD_OK : DLOAD_MISSING);
        }
        /* What was cleared is in nobody's way. */
        must_ok(kept_cache_clear(&c));
        must_ok(kept_cache_set(&c, chosen(REACH), &n_in, 0));
        must_ok(kept_cache_get(&c, chosen(REACH), &got));
        must_ok(kept_cache_destroy(&c));
    }
}

/* Growing puts entries in the order of their slots, of which those that went round the end come first: it may
 * bring one further from home than anything else is put. It is found all the same. */
static void test_reach_grown(void **state)
{
    (void)state;
    enum { GROUPS = 481, CAP = 12288 };
    kept_cache c;
    kept_cache_config cfg;
    uint64_t got = 0, n = 0;
    static uint64_t in[CAP + 1];
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &env.env;
    cfg.capacity = DLOAD_UNBOUNDED;
    cfg.shards = 1;
    must_ok(kept_cache_init(&c, &cfg));
    uint64_t key = 0;
    for (; c.shard->n_groups < GROUPS; key++) {
        must_ok(kept_cache_set(&c, key_at((uint32_t)(key % GROUPS), GROUPS, key), &key, 0));
    }
    for (uint64_t i = 0; i < key; i++) { /* only the middle stays */
        uint64_t old = key_at((uint32_t)(i % GROUPS), GROUPS, i);
        if (i % GROUPS < 60 || i % GROUPS >= 370) {
            must_ok(kept_cache_delete(&c, old));
        } else {
            in[n++] = old;
        }
    }
    equal(kept_cache_len(&c), n);
    for (uint64_t i = 0; n <= CAP; i++) {
        uint32_t home = 60 + (uint32_t)(i % 310);
        if (i < 128 * 32) {
            home = GROUPS - 101; /* to the end, and 27 groups round it */
        } else if (i < 148 * 32) {
            home = GROUPS - 81; /* behind those */
        }
        in[n] = key_at(home, GROUPS, key++);
        must_ok(kept_cache_set(&c, in[n], &i, 0));
        n++;
        assert_true(n == CAP + 1 || c.shard->n_groups == GROUPS);
    }
    assert_true(c.shard->n_groups > GROUPS);
    print_message("after growing, an entry is %u groups from home\n", c.shard->reach - 1);
    assert_true(c.shard->reach > REACH / 32);
    for (uint64_t i = 0; i < n; i++) {
        must_ok(kept_cache_get(&c, in[i], &got));
    }
    must_ok(kept_cache_destroy(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reach_adversary, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reach_victims, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reach_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reach_pinned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reach_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reach_grown, setup, teardown),
    };
    return cmocka_run_group_tests_name("reach " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
