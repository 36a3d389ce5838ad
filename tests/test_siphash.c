/* DLOAD_HASH_SIP: the function is SipHash, the secret is a cache's own, and every kind of key is found
 * again, in the cache, on its way, and among groups made to cancel it. */
/* locks: NONE PTHREAD */
#define DLOAD_NAME  si
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#define DLOAD_NAME  ss
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#define DLOAD_NAME  sg
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_GROUP 1
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#define DLOAD_NAME  st
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE uint64_t
#define DLOAD_GROUP 1
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#define DLOAD_NAME  sd
#define DLOAD_KEY   DLOAD_ID128
#define DLOAD_VALUE uint64_t
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#define DLOAD_NAME  sx
#define DLOAD_KEY   DLOAD_ID128
#define DLOAD_VALUE uint64_t
#define DLOAD_GROUP 1
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#define DLOAD_NAME  sf
#define DLOAD_KEY   double
#define DLOAD_VALUE uint64_t
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#define DLOAD_NAME  sc
#define DLOAD_KEY   char
#define DLOAD_VALUE uint64_t
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#include "support.h"

#include <string.h>

/* ---- the function ---- */

/* The secret 00 01 .. 0f, as two little-endian numbers; messages 00 01 02 .. */
static const uint64_t secret[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};

/* SipHash-2-4 and -1-3 of the first n_bytes, as the reference implementation has them; 15 bytes under 2-4
 * are the example in the paper's appendix A. */
static const struct vector {
    size_t n_bytes;
    uint64_t sip24, sip13;
} vectors[] = {
    {0, UINT64_C(0x726fdb47dd0e0e31), UINT64_C(0xabac0158050fc4dc)},
    {1, UINT64_C(0x74f839c593dc67fd), UINT64_C(0xc9f49bf37d57ca93)},
    {2, UINT64_C(0x0d6c8009d9a94f5a), UINT64_C(0x82cb9b024dc7d44d)},
    {3, UINT64_C(0x85676696d7fb7e2d), UINT64_C(0x8bf80ab8e7ddf7fb)},
    {4, UINT64_C(0xcf2794e0277187b7), UINT64_C(0xcf75576088d38328)},
    {5, UINT64_C(0x18765564cd99a68d), UINT64_C(0xdef9d52f49533b67)},
    {6, UINT64_C(0xcbc9466e58fee3ce), UINT64_C(0xc50d2b50c59f22a7)},
    {7, UINT64_C(0xab0200f58b01d137), UINT64_C(0xd3927d989bb11140)},
    {8, UINT64_C(0x93f5f5799a932462), UINT64_C(0x369095118d299a8e)},
    {9, UINT64_C(0x9e0082df0ba9e4b0), UINT64_C(0x25a48eb36c063de4)},
    {10, UINT64_C(0x7a5dbbc594ddb9f3), UINT64_C(0x79de85ee92ff097f)},
    {11, UINT64_C(0xf4b32f46226bada7), UINT64_C(0x70c118c1f94dc352)},
    {12, UINT64_C(0x751e8fbc860ee5fb), UINT64_C(0x78a384b157b4d9a2)},
    {13, UINT64_C(0x14ea5627c0843d90), UINT64_C(0x306f760c1229ffa7)},
    {14, UINT64_C(0xf723ca908e7af2ee), UINT64_C(0x605aa111c0f95d34)},
    {15, UINT64_C(0xa129ca6149be45e5), UINT64_C(0xd320d86d2a519956)},
    {16, UINT64_C(0x3f2acc7f57c29bdb), UINT64_C(0xcc4fdd1a7d908b66)},
    {31, UINT64_C(0x32d892fad841c342), UINT64_C(0x2370dd1f8c21d1bc)},
    {63, UINT64_C(0x958a324ceb064572), UINT64_C(0x9d199062b7bbb3a8)},
    {255, UINT64_C(0xa9c169fec74db21a), UINT64_C(0xf76214e3153c4a15)},
    {1000, UINT64_C(0xdb9b3ed69e31c9a6), UINT64_C(0x2cf8d9d4f270cadf)},
};

static void test_siphash_vectors(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < COUNT(vectors); i++) {
        const struct vector *v = &vectors[i];
        dload_i_sip s;
        dload_i_sip_begin(&s, secret);
        equal(dload_i_sip_rest(&s, bytes, v->n_bytes, 0, 2, 4), v->sip24);
        equal(dload_i_sip_bytes(secret, NULL, bytes, v->n_bytes), v->sip13);
        if (v->n_bytes % 8 == 0 && v->n_bytes <= 64) {
            uint64_t words[8];
            memset(words, 0, sizeof words);
            for (size_t k = 0; k < v->n_bytes; k++) {
                words[k / 8] |= (uint64_t)bytes[k] << 8 * (k % 8);
            }
            equal(dload_i_sip_words(secret, words, v->n_bytes / 8), v->sip13);
        }
    }
    /* A group is eight bytes before the key's; its own mark is no key's hash. */
    uint64_t group = UINT64_C(0x0706050403020100);
    equal(dload_i_sip_bytes(secret, &group, bytes + 8, 7), vectors[15].sip13);
    assert_true(dload_i_sip_mark(secret, group) != dload_i_sip_words(secret, &group, 1));
}

/* What a loader makes of its keys is SipHash of their bytes. */
static void test_siphash_of_keys(void **state)
{
    (void)state;
    const uint64_t eight = UINT64_C(0x0706050403020100);
    dload_id128 id;
    for (size_t i = 0; i < 16; i++) {
        id.bytes[i] = (uint8_t)i;
    }
    equal(vectors[8].n_bytes, 8);
    equal(vectors[16].n_bytes, 16);
    equal(si_i_hash_in(secret, eight, 0), vectors[8].sip13);
    equal(sd_i_hash_in(secret, id, 0), vectors[16].sip13);
    equal(sg_i_hash_in(secret, UINT64_C(0x0f0e0d0c0b0a0908), eight), vectors[16].sip13);
    dload_str text = {"\0\1\2\3\4\5\6\7\10\11\12", 11};
    equal(ss_i_hash_in(secret, text, 0), vectors[11].sip13);
    text.ptr += 8;
    text.len = 3;
    equal(st_i_hash_in(secret, text, eight), vectors[11].sip13);
    double number;
    memcpy(&number, &eight, sizeof number);
    equal(sf_i_hash_in(secret, number, 0), vectors[8].sip13);
}

/* ---- the secret ---- */

static uint64_t n_drawn;

static uint64_t draw(void *ctx)
{
    (void)ctx;
    return UINT64_C(1000) + n_drawn++;
}

static void test_siphash_secret(void **state)
{
    (void)state;
    struct fake_env f;
    si_cache a, b;
    si_cache_config cfg;
    fake_env_init(&f);
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &f.env;
    /* from the environment, a new one each time */
    f.env.random = draw;
    n_drawn = 0;
    must_ok(si_cache_init(&a, &cfg));
    must_ok(si_cache_init(&b, &cfg));
    equal(a.hash_key[0], 1000);
    equal(a.hash_key[1], 1001);
    equal(b.hash_key[0], 1002);
    equal(b.hash_key[1], 1003);
    must_ok(si_cache_destroy(&a));
    must_ok(si_cache_destroy(&b));
    /* from the system */
    f.env.random = NULL;
    must_ok(si_cache_init(&a, &cfg));
    must_ok(si_cache_init(&b, &cfg));
    assert_true(a.hash_key[0] != b.hash_key[0] && a.hash_key[1] != b.hash_key[1]);
    assert_true(a.hash_key[0] != a.hash_key[1]);
    must_ok(si_cache_destroy(&a));
    must_ok(si_cache_destroy(&b));
    /* from the configuration, also when half of it is 0 */
    f.env.random = draw;
    n_drawn = 0;
    cfg.hash_key[1] = 5;
    must_ok(si_cache_init(&a, &cfg));
    equal(a.hash_key[0], 0);
    equal(a.hash_key[1], 5);
    equal(n_drawn, 0);
    must_ok(si_cache_destroy(&a));
    fake_env_check(&f);
}

static dload_status fetch_double(si_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 2;
        must_ok(si_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

/* A loader hands its secret to its cache and keeps no second copy; without a cache the keys on their way
 * are hashed with it all the same. */
static void test_siphash_loader(void **state)
{
    (void)state;
    for (int cached = 0; cached < 2; cached++) {
        struct fake_env f;
        si l;
        fake_env_init(&f);
        si_config cfg = si_config_default();
        cfg.env = &f.env;
        cfg.fetch = fetch_double;
        cfg.capacity = cached ? 1000 : DLOAD_NO_CACHE;
        cfg.hash_key[0] = secret[0];
        cfg.hash_key[1] = secret[1];
        must_ok(si_init(&l, &cfg));
        equal(l.cache.hash_key[0], secret[0]);
        equal(l.cache.hash_key[1], secret[1]);
        equal(l.cfg.hash_key[0] | l.cfg.hash_key[1], 0);
        static uint64_t keys[300], out[300];
        for (size_t i = 0; i < COUNT(keys); i++) {
            keys[i] = i / 2 * 3;
        }
        for (int round = 0; round < 2; round++) {
            must_ok(si_load_many(&l, keys, COUNT(keys), out, NULL));
            for (size_t i = 0; i < COUNT(keys); i++) {
                equal(out[i], 2 * keys[i]);
            }
        }
        dload_stats s;
        memset(&s, 0, sizeof s);
        must_ok(si_stats(&l, &s));
        equal(s.keys, cached ? 150 : 300);
        equal(s.hits, cached ? 300 : 0);
        si_waiter w;
        memset(&w, 0, sizeof w);
        must(si_start(&l, UINT64_C(0x0706050403020100), &w), DLOAD_PENDING);
        equal(l.core.open->flights[0].hash, vectors[8].sip13);
        must_ok(si_cancel(&l, &w));
        must_ok(si_close(&l, DLOAD_DRAIN, 0));
        must_ok(si_destroy(&l));
        fake_env_check(&f);
    }
}

/* ---- every kind of key ---- */

/* Sets and gets n different keys of a cache; key(i) yields them. */
#define ROUND_TRIP(name, n, key)                                      \
    do {                                                              \
        struct fake_env f;                                            \
        name##_cache c;                                               \
        name##_cache_config cfg;                                      \
        uint64_t got = 0;                                             \
        fake_env_init(&f);                                            \
        memset(&cfg, 0, sizeof cfg);                                  \
        cfg.env = &f.env;                                             \
        cfg.capacity = 2 * (n);                                       \
        must_ok(name##_cache_init(&c, &cfg));                         \
        for (uint64_t i = 0; i < (n); i++) {                          \
            must_ok(name##_cache_set(&c, key, &i, 0));                \
        }                                                             \
        equal(name##_cache_len(&c), n);                               \
        for (uint64_t i = 0; i < (n); i++) {                          \
            must_ok(name##_cache_get(&c, key, &got));                 \
            equal(got, i);                                            \
            if (i % 3 == 0) {                                         \
                must_ok(name##_cache_delete(&c, key));                \
                must(name##_cache_get(&c, key, &got), DLOAD_MISSING); \
            }                                                         \
        }                                                             \
        must_ok(name##_cache_destroy(&c));                            \
        fake_env_check(&f);                                           \
    } while (0)

static dload_str text_of(uint64_t i)
{
    static char text[64];
    size_t len = (size_t)(i % 40) + 2;
    memset(text, 'x', len);
    text[len - 1] = (char)('a' + i / 40 % 26);
    text[len - 2] = (char)('a' + i / 40 / 26);
    dload_str s = {text, len};
    return s;
}

static dload_id128 id_of(uint64_t i)
{
    dload_id128 id;
    memset(&id, 7, sizeof id);
    id.bytes[i % 16] = (uint8_t)(i >> 8);
    id.bytes[(i + 5) % 16] = (uint8_t)(8 + i % 248);
    return id;
}

static void test_siphash_kinds(void **state)
{
    (void)state;
    ROUND_TRIP(si, 2000u, i * 4096);
    ROUND_TRIP(ss, 2000u, text_of(i));
    ROUND_TRIP(st, 2000u, text_of(i));
    ROUND_TRIP(sg, 2000u, i);
    ROUND_TRIP(sd, 200u, id_of(i));
    ROUND_TRIP(sx, 200u, id_of(i));
    ROUND_TRIP(sf, 2000u, (double)i / 8);
    ROUND_TRIP(sc, 100u, (char)i);
}

static uint32_t in_main(const si_cache *c, uint64_t key)
{
    si_i_ident id = si_i_id(c, key, 0);
    const si_slot *e = si_i_locate(c->shard, &id);
    assert_non_null(e);
    return e->meta & DLOAD_I_META_MAIN;
}

/* The ghost of S3-FIFO knows a key again by the hash of its slot: it comes back into the main queue. */
static void test_siphash_ghost(void **state)
{
    (void)state;
    struct fake_env f;
    si_cache c;
    si_cache_config cfg;
    fake_env_init(&f);
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &f.env;
    cfg.capacity = 100;
    cfg.shards = 1;
    must_ok(si_cache_init(&c, &cfg));
    for (uint64_t i = 0; i < 101; i++) {
        must_ok(si_cache_set(&c, i, &i, 0));
    }
    uint64_t value = 7;
    must(si_cache_get(&c, 0, &value), DLOAD_MISSING); /* the oldest, used by nobody */
    must_ok(si_cache_set(&c, 0, &value, 0));
    must_ok(si_cache_set(&c, 1000, &value, 0));
    equal(in_main(&c, 0), DLOAD_I_META_MAIN);
    equal(in_main(&c, 1000), 0);
    must_ok(si_cache_destroy(&c));
    fake_env_check(&f);
}

/* Two hashes joined by xor would make all pairs (x, x) one hash. */
static void test_siphash_groups_cancel(void **state)
{
    (void)state;
    enum { N = 4000 };
    static uint64_t seen[N];
    for (uint64_t i = 0; i < N; i++) {
        seen[i] = sg_i_hash_in(secret, i, i);
        for (uint64_t k = 0; k < i; k++) {
            assert_true(seen[k] != seen[i]);
        }
        assert_true(sg_i_hash_in(secret, i, i + 1) != sg_i_hash_in(secret, i + 1, i));
    }
    struct fake_env f;
    sg_cache c;
    sg_cache_config cfg;
    fake_env_init(&f);
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &f.env;
    cfg.capacity = 2 * N;
    must_ok(sg_cache_init(&c, &cfg));
    for (uint64_t i = 0; i < N; i++) {
        must_ok(sg_cache_set_in(&c, i, i, &i, 0));
    }
    for (uint64_t i = 0; i < N; i++) {
        uint64_t got = 0;
        must_ok(sg_cache_get_in(&c, i, i, &got));
        equal(got, i);
        must(sg_cache_get_in(&c, i, i + 1, &got), DLOAD_MISSING);
    }
    must_ok(sg_cache_destroy(&c));
    fake_env_check(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash_vectors),       cmocka_unit_test(test_siphash_of_keys),
        cmocka_unit_test(test_siphash_secret),        cmocka_unit_test(test_siphash_loader),
        cmocka_unit_test(test_siphash_kinds),         cmocka_unit_test(test_siphash_ghost),
        cmocka_unit_test(test_siphash_groups_cancel),
    };
    return cmocka_run_group_tests_name("siphash " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
