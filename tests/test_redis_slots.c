/* Slots of a Redis Cluster: whose a name is, and who has what, as nodes say it, or as somebody else does. */
/* links: hiredis */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis/slots.h"

#include "support.h"

static uint32_t slot_of(const char *name)
{
    return dload_redis_slot(name, strlen(name));
}

/* From the specification of Redis Cluster, and from the CRC catalogues. */
static void test_redis_slots_published(void **state)
{
    (void)state;
    assert_int_equal(dload_redis_i_crc16(0, "123456789", 9), 0x31c3);
    assert_int_equal(dload_redis_i_crc16(0, "", 0), 0);
    assert_int_equal(dload_redis_i_crc16(dload_redis_i_crc16(0, "1234", 4), "56789", 5), 0x31c3);
    assert_int_equal(slot_of("foo"), 12182);
    assert_int_equal(slot_of("bar"), 5061);
    assert_int_equal(slot_of("hello"), 866);
    assert_int_equal(slot_of(""), 0);
}

static void test_redis_slots_hash_tags(void **state)
{
    (void)state;
    assert_int_equal(slot_of("{user1000}.following"), slot_of("user1000"));
    assert_int_equal(slot_of("{user1000}.followers"), slot_of("user1000"));
    assert_int_equal(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    assert_int_equal(slot_of("foo{bar}{zap}"), slot_of("bar"));
    /* The tag is empty, or has no end: the whole name counts. */
    assert_int_equal(slot_of("foo{}{bar}"), dload_redis_i_crc16(0, "foo{}{bar}", 10) % 16384);
    assert_int_equal(slot_of("foo{bar"), dload_redis_i_crc16(0, "foo{bar", 7) % 16384);
    assert_int_equal(slot_of("foo}bar{"), dload_redis_i_crc16(0, "foo}bar{", 8) % 16384);
    /* NUL is a byte as any other. */
    assert_int_equal(dload_redis_slot("a\0{b}", 5), slot_of("b"));
}

/* What a server would have sent. */
static redisReply *reply_of(const char *bytes, size_t n)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    assert_non_null(reader);
    assert_int_equal(redisReaderFeed(reader, bytes, n), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);
    return reply;
}

static dload_status map_of(const char *text, dload_redis_map **map)
{
    redisReply *reply = reply_of(text, strlen(text));
    dload_status st = dload_redis_i_read_map(dload_env_default(), reply, "asked.host", map);
    freeReplyObject(reply);
    assert_true((st == DLOAD_OK) == (*map != NULL));
    return st;
}

#define ID "$2\r\nid\r\n"

static void test_redis_slots_map(void **state)
{
    dload_redis_map *map = NULL;
    (void)state;
    /* Two masters, a replica, a host that does not know itself, an IPv6 one; slots 101 to 199 belong to nobody. */
    must(map_of("*4\r\n"
                "*4\r\n:0\r\n:100\r\n*3\r\n$9\r\n127.0.0.1\r\n:7000\r\n" ID
                "*3\r\n$9\r\n127.0.0.1\r\n:7003\r\n" ID
                "*3\r\n:200\r\n:299\r\n*3\r\n$0\r\n\r\n:7001\r\n" ID
                "*3\r\n:300\r\n:16382\r\n*3\r\n$11\r\n2001:db8::1\r\n:7002\r\n" ID
                "*3\r\n:16383\r\n:16383\r\n*4\r\n$-1\r\n:7001\r\n" ID "*0\r\n",
                &map),
         DLOAD_OK);
    assert_int_equal(map->n_masters, 3);
    assert_int_equal(map->of[0], map->of[100]);
    assert_int_equal(map->of[101], DLOAD_REDIS_I_NO_MASTER);
    assert_int_equal(map->of[199], DLOAD_REDIS_I_NO_MASTER);
    assert_int_equal(map->masters[map->of[100]].at.port, 7000);
    assert_string_equal(map->masters[map->of[250]].at.host, "asked.host");
    assert_string_equal(map->masters[map->of[16382]].at.host, "2001:db8::1");
    assert_int_equal(map->of[250], map->of[16383]);
    dload_redis_i_free_map(dload_env_default(), map);

    /* A name that nobody configured: the number beside it, or else it cannot be had. */
    must(map_of("*1\r\n*3\r\n:0\r\n:1\r\n*4\r\n$1\r\n?\r\n:7000\r\n" ID
                "*2\r\n$2\r\nip\r\n$8\r\n10.0.0.1\r\n",
                &map),
         DLOAD_OK);
    assert_string_equal(map->masters[0].at.host, "10.0.0.1");
    dload_redis_i_free_map(dload_env_default(), map);
}

static void test_redis_slots_map_of_anything(void **state)
{
    static const char *const wrong[] = {
        "+OK\r\n",
        "-ERR This instance has cluster support disabled\r\n",
        ":1\r\n",
        "$-1\r\n",
        "*0\r\n",
        "*1\r\n*0\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*2\r\n:0\r\n:1\r\n",                                               /* nobody */
        "*1\r\n*3\r\n$1\r\n0\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",                   /* text */
        "*1\r\n*3\r\n:-1\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",                       /* below */
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",                    /* above */
        "*1\r\n*3\r\n:0\r\n:9223372036854775807\r\n*2\r\n$1\r\na\r\n:1\r\n",      /* far above */
        "*1\r\n*3\r\n:5\r\n:4\r\n*2\r\n$1\r\na\r\n:1\r\n",                        /* backwards */
        "*1\r\n*3\r\n:0\r\n:1\r\n$1\r\na\r\n",                                    /* no node */
        "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",                              /* no port */
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n",                   /* port as text */
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:0\r\n",                        /* no port */
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:65536\r\n",                    /* no port */
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:4294967297\r\n",               /* no port */
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:1\r\n",                             /* host is 1 */
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\n?\r\n:1\r\n",                        /* unknown */
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$3\r\na\r\n\r\n:1\r\n",                    /* line end */
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$2\r\na/\r\n:1\r\n",                       /* a path */
        "*1\r\n*3\r\n:0\r\n:1\r\n*4\r\n$1\r\n?\r\n:1\r\n$1\r\na\r\n:7\r\n",       /* odd metadata */
        "*1\r\n*3\r\n:0\r\n:1\r\n*4\r\n$1\r\n?\r\n:1\r\n$1\r\na\r\n*1\r\n:7\r\n", /* half of it */
        /* a slot twice */
        "*2\r\n*3\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n*3\r\n:9\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n",
    };
    dload_redis_map *map = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        if (map_of(wrong[i], &map) != DLOAD_EBACKEND)
            fail_msg("taken for a map: %s", wrong[i]);
    }
    /* A host of one byte more than there is room for. */
    char host[320] = "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$256\r\n";
    const size_t n = strlen(host);
    memset(host + n, 'h', 256);
    memcpy(host + n + 256, "\r\n:1\r\n", 7);
    must(map_of(host, &map), DLOAD_EBACKEND);
}

/* 16384 ranges of a thousand masters and one more than are allowed. */
static void test_redis_slots_many_masters(void **state)
{
    dload_redis_map *map = NULL;
    (void)state;
    for (size_t n = DLOAD_REDIS_I_NODES; n <= DLOAD_REDIS_I_NODES + 1; n++) {
        size_t cap = DLOAD_REDIS_SLOTS * 64 + 64, at = 0;
        char *reply = malloc(cap);
        assert_non_null(reply);
        at += (size_t)snprintf(reply, cap, "*%u\r\n", DLOAD_REDIS_SLOTS);
        for (size_t slot = 0; slot < DLOAD_REDIS_SLOTS; slot++)
            at += (size_t)snprintf(reply + at, cap - at,
                                   "*3\r\n:%zu\r\n:%zu\r\n*2\r\n$1\r\nh\r\n:%zu\r\n", slot, slot,
                                   1 + slot % n);
        must(map_of(reply, &map), n == DLOAD_REDIS_I_NODES ? DLOAD_OK : DLOAD_EBACKEND);
        if (map != NULL) {
            assert_int_equal(map->n_masters, n);
            assert_int_equal(map->masters[map->of[5000]].at.port, 1 + 5000 % n);
        }
        dload_redis_i_free_map(dload_env_default(), map);
        free(reply);
    }
}

static void test_redis_slots_same_map(void **state)
{
    static const char one[] = "*2\r\n*3\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n"
                              "*3\r\n:10\r\n:19\r\n*2\r\n$1\r\nb\r\n:1\r\n";
    static const char swapped[] = "*2\r\n*3\r\n:10\r\n:19\r\n*2\r\n$1\r\nb\r\n:1\r\n"
                                  "*3\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n";
    static const char *const others[] = {
        /* one slot moved, one is nobody's, one is somebody's, another port */
        "*2\r\n*3\r\n:0\r\n:8\r\n*2\r\n$1\r\na\r\n:1\r\n*3\r\n:9\r\n:19\r\n*2\r\n$1\r\nb\r\n:1\r\n",
        "*2\r\n*3\r\n:0\r\n:8\r\n*2\r\n$1\r\na\r\n:1\r\n*3\r\n:10\r\n:19\r\n*2\r\n$1\r\nb\r\n:"
        "1\r\n",
        "*2\r\n*3\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n*3\r\n:10\r\n:20\r\n*2\r\n$1\r\nb\r\n:"
        "1\r\n",
        "*2\r\n*3\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n*3\r\n:10\r\n:19\r\n*2\r\n$1\r\nb\r\n:"
        "2\r\n"};
    dload_redis_map *a = NULL, *b = NULL;
    (void)state;
    must(map_of(one, &a), DLOAD_OK);
    must(map_of(swapped, &b), DLOAD_OK);
    assert_true(dload_redis_i_same_map(a, b));
    dload_redis_i_free_map(dload_env_default(), b);
    for (size_t i = 0; i < COUNT(others); i++) {
        must(map_of(others[i], &b), DLOAD_OK);
        assert_false(dload_redis_i_same_map(a, b));
        assert_false(dload_redis_i_same_map(b, a));
        dload_redis_i_free_map(dload_env_default(), b);
    }
    dload_redis_i_free_map(dload_env_default(), a);
}

static bool redirected(const char *text, dload_redis_address *to)
{
    return dload_redis_i_redirect(text, strlen(text), "asked.host", to);
}

static void test_redis_slots_redirects(void **state)
{
    static const char *const wrong[] = {
        "",           "3999",         "3999 ",          "3999 :",
        "3999 a",     "3999 a:",      "3999 a:0",       "3999 a:65536",
        "16384 a:1",  "-1 a:1",       "x a:1",          " a:1",
        "3999 a b:1", "3999 a:1 ",    "3999 a:-1",      "3999 a:99999999999",
        "3999 ?:1",   "3999 a\r\n:1", "3999 %s%n/../:1"};
    dload_redis_address to;
    (void)state;
    assert_true(redirected("3999 127.0.0.1:6381", &to));
    assert_string_equal(to.host, "127.0.0.1");
    assert_int_equal(to.port, 6381);
    assert_true(redirected("0 2001:db8::1:7000", &to));
    assert_string_equal(to.host, "2001:db8::1");
    assert_int_equal(to.port, 7000);
    assert_true(redirected("16383 :7001", &to));
    assert_string_equal(to.host, "asked.host");
    assert_int_equal(to.port, 7001);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        if (redirected(wrong[i], &to))
            fail_msg("taken for an address: '%s'", wrong[i]);
    }
}

/* Random damage to a right reply: it is taken for a map or not, and nothing else happens. */
static void test_redis_slots_damaged(void **state)
{
    static const char right[] =
        "*2\r\n*3\r\n:0\r\n:9\r\n*3\r\n$1\r\na\r\n:1\r\n" ID
        "*4\r\n:10\r\n:19\r\n*3\r\n$1\r\nb\r\n:1\r\n" ID "*3\r\n$1\r\nc\r\n:1\r\n" ID;
    static const char with[] = "*:$+-0123456789\r\nab";
    uint64_t seed = test_seed("damaged replies to CLUSTER SLOTS");
    size_t n_maps = 0;
    (void)state;
    for (size_t round = scaled(20000); round > 0; round--) {
        char bytes[sizeof right];
        void *reply = NULL;
        memcpy(bytes, right, sizeof right);
        for (size_t k = 1 + (size_t)rng_below(&seed, 4); k > 0; k--)
            bytes[rng_below(&seed, sizeof right - 1)] = with[rng_below(&seed, sizeof with - 1)];
        redisReader *reader = redisReaderCreate();
        assert_non_null(reader);
        (void)redisReaderFeed(reader, bytes, sizeof right - 1);
        if (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
            dload_redis_map *map = NULL;
            (void)dload_redis_i_read_map(dload_env_default(), reply, "h", &map);
            n_maps += map != NULL;
            dload_redis_i_free_map(dload_env_default(), map);
            freeReplyObject(reply);
        }
        redisReaderFree(reader);
    }
    assert_true(n_maps != 0);
}

static void body_of_map(struct fake_env *f)
{
    static const char one[] = "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n";
    redisReply *reply = reply_of(one, strlen(one));
    dload_redis_map *map = NULL;
    fake_env_arm(f);
    dload_status st = dload_redis_i_read_map(&f->env, reply, "h", &map);
    fake_env_disarm(f);
    must(st, f->n_failed != 0 ? DLOAD_ENOMEM : DLOAD_OK);
    dload_redis_i_free_map(&f->env, map);
    freeReplyObject(reply);
}

static void test_redis_slots_no_memory(void **state)
{
    (void)state;
    (void)fail_until_ok("a slot map", body_of_map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_slots_published),
        cmocka_unit_test(test_redis_slots_hash_tags),
        cmocka_unit_test(test_redis_slots_map),
        cmocka_unit_test(test_redis_slots_map_of_anything),
        cmocka_unit_test(test_redis_slots_many_masters),
        cmocka_unit_test(test_redis_slots_same_map),
        cmocka_unit_test(test_redis_slots_redirects),
        cmocka_unit_test(test_redis_slots_damaged),
        cmocka_unit_test(test_redis_slots_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
