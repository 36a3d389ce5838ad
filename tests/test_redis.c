/* The Redis store on a real server: what every store must do, what its keys are called there, which commands it
 * sends, and what it says when the server does not do as it should. */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis.h"

#include "support.h"
#include "servers/redis_server.h"
#include "stores/cases.h"
#include "test_redis.h"

/* ---- the table of all stores ---- */

static void stall(struct store_case *x, bool on)
{
    (void)x;
    (void)kill(rs.pid, on ? SIGSTOP : SIGCONT);
}

static struct store_case shared_case;

static int up_with(void **state, bool ttls, uint32_t chunk)
{
    dload_redis_store_config cfg = {0};
    cfg.server.url = rs.unix_url;
    cfg.ttls = ttls;
    cfg.chunk = chunk;
    must_ok(dload_redis_store_init(&redis, &cfg, NULL, 0));
    memset(&shared_case, 0, sizeof shared_case);
    shared_case.s = &redis.store;
    shared_case.stall = stall;
    *state = &shared_case;
    return 0;
}

static int up_plain(void **state)
{
    return up_with(state, false, 0);
}

/* Times are told, and commands are so small that all ways through a request are gone. */
static int up_with_ttls(void **state)
{
    return up_with(state, true, 7);
}

static int down(void **state)
{
    (void)state;
    dload_redis_store_end(&redis);
    return 0;
}

/* ---- names ---- */

static void test_redis_names(void **state)
{
    static const struct {
        const char *prefix, *key, *name;
    } cases[] = {
        {"dload:", "users:42", "dload:users:42"},
        {"dload:", "", "dload:"},
        {"", "", "%"},
        {"", "%", "%25"},
        {"p", "50% {sale}", "p50%25 %7Bsale%7D"},
        {"", "%7B", "%257B"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char name[64], key[64];
        dload_str prefix = str_of(cases[i].prefix, strlen(cases[i].prefix));
        size_t key_bytes = strlen(cases[i].key), n = 0;
        size_t name_bytes = dload_redis_i_name_bytes(prefix, cases[i].key, key_bytes);
        equal(name_bytes, strlen(cases[i].name));
        dload_redis_i_put_name(name, name_bytes, prefix, cases[i].key, key_bytes);
        assert_memory_equal(name, cases[i].name, name_bytes);
        assert_true(dload_redis_key_of_name(prefix.ptr, name, name_bytes, key, &n));
        equal(n, key_bytes);
        assert_memory_equal(key, cases[i].key, n);
    }
    /* Leases, other programs' names, escapes that nobody writes. */
    static const char *const foreign[] = {"{dload:a}lease", "dload:{a}", "dload:a}", "dload:%",
                                          "dload:%2",       "dload:%41", "dloae:a",  "dload"};
    for (size_t i = 0; i < COUNT(foreign); i++) {
        char key[64];
        size_t n = 0;
        assert_false(dload_redis_key_of_name(NULL, foreign[i], strlen(foreign[i]), key, &n));
    }
}

/* Any bytes: the name leads back to the key, and begins with the name of what the key begins with. */
static void test_redis_names_random(void **state)
{
    uint64_t seed = test_seed("names in Redis");
    static const char few[] = "{}%ab5";
    (void)state;
    for (size_t i = 0; i < scaled(20000); i++) {
        char a[16], name[64], back[64], begin[64];
        size_t n = rng_below(&seed, sizeof a + 1), n_back = 0, cut = rng_below(&seed, n + 1);
        for (size_t k = 0; k < n; k++)
            a[k] = rng_below(&seed, 4) == 0 ? (char)rng(&seed) : few[rng_below(&seed, 6)];
        dload_str prefix = str_of("x:", rng_below(&seed, 2) * 2);
        size_t name_bytes = dload_redis_i_name_bytes(prefix, a, n);
        dload_redis_i_put_name(name, name_bytes, prefix, a, n);
        assert_true(
            dload_redis_key_of_name(prefix.len != 0 ? "x:" : "", name, name_bytes, back, &n_back));
        equal(n_back, n);
        assert_memory_equal(back, a, n);
        assert_null(memchr(name, '{', name_bytes));
        assert_null(memchr(name, '}', name_bytes));
        if (prefix.len + cut == 0)
            continue;
        size_t begin_bytes = dload_redis_i_name_bytes(prefix, a, cut);
        dload_redis_i_put_name(begin, begin_bytes, prefix, a, cut);
        assert_true(begin_bytes <= name_bytes);
        assert_memory_equal(name, begin, begin_bytes);
    }
}

/* What cluster nodes hash: the first braces that hold something, or everything. */
static dload_str hashed_part(const char *name, size_t n)
{
    const char *open = memchr(name, '{', n);
    const char *shut = open != NULL ? memchr(open, '}', n - (size_t)(open - name)) : NULL;
    return shut != NULL && shut != open + 1 ? str_of(open + 1, (size_t)(shut - open) - 1)
                                            : str_of(name, n);
}

static void test_redis_one_slot(void **state)
{
    uint64_t seed = test_seed("slots");
    (void)state;
    up();
    dload_redis_i_job j;
    memset(&j, 0, sizeof j);
    j.r = &redis;
    j.l = redis.idle;
    for (size_t i = 0; i < scaled(2000); i++) {
        char key[12];
        dload_store_item item = {0};
        item.key = key;
        item.key_bytes = rng_below(&seed, sizeof key);
        for (size_t k = 0; k < item.key_bytes; k++)
            key[k] = "{}%a"[rng_below(&seed, 4)];
        size_t n = 0;
        const char *name = dload_redis_i_name(&j, &item, &n);
        assert_non_null(name);
        dload_str value = hashed_part(name + 1, n);
        dload_str lease = hashed_part(name, n + 1 + DLOAD_REDIS_I_BEHIND_BYTES);
        equal(value.len, lease.len);
        assert_memory_equal(value.ptr, lease.ptr, value.len);
    }
    dload_redis_store_end(&redis);
}

/* ---- commands ---- */

/* The digests are those of the texts. */
static void test_redis_digests(void **state)
{
    const dload_redis_i_script *all[] = {&dload_redis_i_values,  &dload_redis_i_lease,
                                         &dload_redis_i_fill,    &dload_redis_i_drop,
                                         &dload_redis_i_prolong, &dload_redis_i_lock_script};
    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        redisReply *r = ask_aside(3, "SCRIPT", "LOAD", all[i]->text);
        equal(r->type, REDIS_REPLY_STRING);
        assert_string_equal(r->str, all[i]->sha1);
        freeReplyObject(r);
    }
}

/* Scripts that the server forgot are sent again, and then known. */
static void test_redis_forgotten_scripts(void **state)
{
    dload_store_item items[5];
    (void)state;
    up();
    for (uint64_t round = 0; round < 3; round++) {
        freeReplyObject(ask_aside(2, "SCRIPT", "FLUSH"));
        lease_items(items, COUNT(items), round);
        must_ok(run(DLOAD_STORE_LEASE, items, COUNT(items)));
        for (size_t i = 0; i < COUNT(items); i++) {
            must(items[i].status, DLOAD_MISSING);
            items[i].value = "v";
            items[i].value_bytes = 1;
        }
        freeReplyObject(ask_aside(2, "SCRIPT", "FLUSH"));
        must_ok(run(DLOAD_STORE_FILL, items, 3));
        must_ok(run(DLOAD_STORE_DROP, items + 3, 2));
        must_ok(run(DLOAD_STORE_DELETE, items, 3));
    }
    lease_items(items, 2, 9);
    must_ok(run(DLOAD_STORE_LEASE, items, 1));
    uint64_t n_before = commands_of("eval");
    must_ok(run(DLOAD_STORE_LEASE, items + 1, 1));
    equal(commands_of("eval"), n_before);
    dload_redis_store_end(&redis);
}

/* However many keys: GET is one MGET for each hundred, and SET has an UNLINK for these. */
static void test_redis_commands_of_a_batch(void **state)
{
    enum { N = 1200 };
    static dload_store_item items[N];
    static char keys[N][8];
    (void)state;
    up();
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < N; i++) {
        items[i].key = keys[i];
        items[i].key_bytes = (size_t)snprintf(keys[i], sizeof keys[i], "%zu", i);
        items[i].value = keys[i];
        items[i].value_bytes = items[i].key_bytes;
        items[i].ttl_ns = DLOAD_NEVER;
    }
    uint64_t mget = commands_of("mget"), set = commands_of("set"), unlink_ = commands_of("unlink");
    must_ok(run(DLOAD_STORE_SET, items, N));
    equal(commands_of("set") - set, N);
    equal(commands_of("unlink") - unlink_, 12);
    dload_store_op op = {0};
    op.kind = DLOAD_STORE_GET;
    op.items = items;
    op.n = N;
    must_ok(dload_store_run(&redis.store, &op));
    equal(commands_of("mget") - mget, 12);
    for (size_t i = 0; i < N; i++) {
        must(items[i].status, DLOAD_OK);
        equal(items[i].value_bytes, strlen(keys[i]));
        assert_memory_equal(items[i].value, keys[i], items[i].value_bytes);
    }
    dload_store_release(&op);
    must_ok(run(DLOAD_STORE_DELETE, items, N));
    equal(commands_of("unlink") - unlink_, 24);
    dload_redis_store_end(&redis);
}

/* A key is one argument of one command, whatever stands in it: MONITOR, which sees commands as the server does. */
static void test_redis_hostile_keys(void **state)
{
    static const char *const keys[] = {
        "a\r\nFLUSHALL\r\n", "%s%s%n%d",   "{}{",   "*3\r\n$3\r\nSET\r\n",
        "' or 1=1 --",       "\"quoted\\", "}}%7D", "a b c"};
    (void)state;
    up();
    dload_redis_conn monitor;
    open_aside(&monitor);
    begin_aside(&monitor, 1, "MONITOR");
    must_ok(dload_redis_do(&monitor, dload_redis_until(&monitor, 0)));
    monitor.subscribed = true;
    size_t n_sent = 0, n_seen = 0;
    for (size_t i = 0; i < COUNT(keys); i++) {
        dload_store_item item = {0};
        item.key = keys[i];
        item.key_bytes = strlen(keys[i]);
        item.value = keys[i];
        item.value_bytes = item.key_bytes;
        item.ttl_ns = DLOAD_NEVER;
        must_ok(run(DLOAD_STORE_SET, &item, 1)); /* UNLINK and SET */
        must_ok(run(DLOAD_STORE_GET, &item, 1));
        must_ok(run(DLOAD_STORE_DELETE, &item, 1));
        n_sent += 4;
    }
    must_ok(do_aside(2, "ECHO", "the end"));
    for (bool over = false; !over;) {
        redisReply *r = NULL;
        must_ok(dload_redis_get(&monitor, dload_redis_until(&monitor, 0), &r));
        equal(r->type, REDIS_REPLY_STATUS);
        over = strstr(r->str, "\"the end\"") != NULL;
        assert_null(strstr(r->str, "] \"FLUSHALL\""));
        n_seen += strstr(r->str, "\"SELECT\"") == NULL && strstr(r->str, "\"AUTH\"") == NULL;
        freeReplyObject(r);
    }
    equal(n_seen, n_sent + 1);
    (void)dload_redis_close(&monitor, DLOAD_OK, NULL);
    dload_redis_store_end(&redis);
}

/* ---- what the server has in it ---- */

/* Another kind of value than ours is that key's trouble alone, and goes when it is set or deleted. */
static void test_redis_other_types(void **state)
{
    (void)state;
    up();
    for (int ttls = 0; ttls < 2; ttls++) {
        redis.ttls = ttls != 0;
        must_ok(do_aside(3, "RPUSH", "dload:k1", "x"));
        dload_store_item items[3];
        lease_items(items, COUNT(items), 1);
        must_ok(run(DLOAD_STORE_GET, items, COUNT(items))); /* MGET says nil */
        for (size_t i = 0; i < COUNT(items); i++)
            must(items[i].status, DLOAD_MISSING);
        must_ok(run(DLOAD_STORE_LEASE, items, COUNT(items)));
        must(items[0].status, DLOAD_MISSING);
        must(items[1].status, DLOAD_EDECODE);
        must(items[2].status, DLOAD_MISSING);
        items[1].value = "v";
        items[1].value_bytes = 1;
        items[1].ttl_ns = DLOAD_NEVER;
        must_ok(run(DLOAD_STORE_SET, items + 1, 1));
        must_ok(run(DLOAD_STORE_LEASE, items + 1, 1));
        must(items[1].status, DLOAD_OK);
        must_ok(run(DLOAD_STORE_DELETE, items, COUNT(items)));
    }
    equal(redis.store.stats.key_errors, 2);
    dload_redis_store_end(&redis);
}

/* A SET, too, ends the leases that were granted before it. */
static void test_redis_set_revokes(void **state)
{
    dload_store_item item;
    (void)state;
    up();
    lease_items(&item, 1, 1);
    must_ok(run(DLOAD_STORE_LEASE, &item, 1));
    must(item.status, DLOAD_MISSING);
    item.value = "new", item.value_bytes = 3, item.ttl_ns = DLOAD_NEVER;
    must_ok(run(DLOAD_STORE_SET, &item, 1));
    item.value = "old", item.value_bytes = 3;
    must_ok(run(DLOAD_STORE_FILL, &item, 1));
    must(item.status, DLOAD_ELOCK);
    equal(redis.store.stats.leases_lost, 1);
    must_ok(run(DLOAD_STORE_DELETE, &item, 1));
    dload_redis_store_end(&redis);
}

/* A clear leaves what other programs have, also where its pattern matches. */
static void test_redis_clear_is_ours_alone(void **state)
{
    static const char *const foreign[] = {"dload:{mine}", "dload:%41", "other", "{dload:k}lock",
                                          "{dload:{k}lease"};
    (void)state;
    up();
    for (size_t i = 0; i < COUNT(foreign); i++)
        must_ok(do_aside(3, "SET", foreign[i], "x"));
    dload_store_item items[3];
    lease_items(items, COUNT(items), 1);
    must_ok(run(DLOAD_STORE_LEASE, items, COUNT(items)));
    dload_store_item all = {0};
    all.key = "";
    must_ok(run(DLOAD_STORE_CLEAR, &all, 1));
    redisReply *r = ask_aside(1, "DBSIZE");
    equal(r->integer, COUNT(foreign));
    freeReplyObject(r);
    must_ok(do_aside(1, "FLUSHALL"));
    dload_redis_store_end(&redis);
}

/* Leases are gone before values are looked for: else one could be filled behind the walk, with what was fetched before. */
static void test_redis_clear_of_leases_first(void **state)
{
    size_t n_lease_scans = 0, n_value_scans = 0;
    dload_redis_conn monitor;
    dload_store_item all = {0};
    (void)state;
    up();
    open_aside(&monitor);
    begin_aside(&monitor, 1, "MONITOR");
    must_ok(dload_redis_do(&monitor, dload_redis_until(&monitor, 0)));
    monitor.subscribed = true;
    all.key = "x";
    all.key_bytes = 1;
    must_ok(run(DLOAD_STORE_CLEAR, &all, 1));
    must_ok(do_aside(2, "ECHO", "the end"));
    for (bool over = false; !over;) {
        redisReply *r = NULL;
        must_ok(dload_redis_get(&monitor, dload_redis_until(&monitor, 0), &r));
        over = strstr(r->str, "\"the end\"") != NULL;
        n_value_scans += strstr(r->str, "\"dload:x*\"") != NULL;
        if (strstr(r->str, "\"{dload:x*}lease\"") != NULL) {
            n_lease_scans++;
            equal(n_value_scans, 0);
        }
        freeReplyObject(r);
    }
    assert_true(n_lease_scans > 0 && n_value_scans > 0);
    (void)dload_redis_close(&monitor, DLOAD_OK, NULL);
    dload_redis_store_end(&redis);
}

/* More keys than a page has, and than the time allows. */
static void test_redis_clear_of_many(void **state)
{
    static const char fill[] =
        "for i = 1, 30000 do redis.call('SET', 'dload:' .. i, i) end return 1";
    (void)state;
    up();
    freeReplyObject(ask_aside(3, "EVAL", fill, "0"));
    dload_store_item all = {0};
    dload_store_op op = {0};
    all.key = "";
    op.kind = DLOAD_STORE_CLEAR;
    op.items = &all;
    op.n = 1;
    op.timeout_ns = 1; /* nothing is that fast */
    must(dload_store_run(&redis.store, &op), DLOAD_ETIMEDOUT);
    op.timeout_ns = 60 * DLOAD_SECOND;
    must_ok(dload_store_run(&redis.store, &op));
    redisReply *r = ask_aside(1, "DBSIZE");
    equal(r->integer, 0);
    freeReplyObject(r);
    dload_redis_store_end(&redis);
}

/* ---- limits ---- */

static void test_redis_limits(void **state)
{
    static char big[4096];
    dload_store_item items[4];
    dload_redis_store_config cfg = {0};
    (void)state;
    cfg.server.url = rs.unix_url;
    cfg.max_key_bytes = 100;
    cfg.max_value_bytes = 1000;
    must_ok(dload_redis_store_init(&redis, &cfg, NULL, 0));
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < COUNT(items); i++) {
        items[i].key = big + i;
        items[i].key_bytes = i == 1 ? 101 : 100 - i;
        items[i].value = big;
        items[i].value_bytes = i == 2 ? 1001 : 1000;
        items[i].ttl_ns = DLOAD_NEVER;
    }
    must_ok(run(DLOAD_STORE_SET, items, COUNT(items)));
    must(items[0].status, DLOAD_OK);
    must(items[1].status, DLOAD_ETOOBIG);
    must(items[2].status, DLOAD_ETOOBIG);
    must(items[3].status, DLOAD_OK);
    must_ok(run(DLOAD_STORE_DELETE, items, COUNT(items)));
    must(items[1].status, DLOAD_ETOOBIG);
    must(items[2].status, DLOAD_OK);
    /* Somebody else has stored one that is far larger: not taken in. */
    must_ok(do_aside(4, "SETRANGE", "dload:far", "5000000", "x"));
    items[0].key = "far", items[0].key_bytes = 3;
    must(run(DLOAD_STORE_GET, items, 1), DLOAD_EBACKEND);
    must_ok(do_aside(2, "DEL", "dload:far"));
    must_ok(run(DLOAD_STORE_GET, items, 1));
    must(items[0].status, DLOAD_MISSING);
    dload_redis_store_end(&redis);

    cfg.prefix = "a{b";
    must(dload_redis_store_init(&redis, &cfg, NULL, 0), DLOAD_EINVAL);
    cfg.prefix = "100%";
    must(dload_redis_store_init(&redis, &cfg, NULL, 0), DLOAD_EINVAL);
    cfg.prefix = NULL;
    cfg.chunk = 1001;
    must(dload_redis_store_init(&redis, &cfg, NULL, 0), DLOAD_EINVAL);
    cfg.chunk = 0;
    cfg.server.url = "redis://:canary@[";
    char why[160];
    must(dload_redis_store_init(&redis, &cfg, why, sizeof why), DLOAD_EINVAL);
    assert_null(strstr(why, "canary"));
}

/* Never more connections than were allowed, with any number of threads. */
static void many_gets(void *ctx, size_t i)
{
    size_t *n_bad = ctx;
    for (size_t k = 0; k < 50; k++) {
        dload_store_item item = {0};
        item.key = "absent";
        item.key_bytes = 6;
        dload_store_op op = {0};
        op.kind = DLOAD_STORE_GET;
        op.items = &item;
        op.n = 1;
        op.timeout_ns = 30 * DLOAD_SECOND;
        if (dload_store_run(&redis.store, &op) != DLOAD_OK || item.status != DLOAD_MISSING)
            __atomic_add_fetch(n_bad, 1, __ATOMIC_RELAXED);
        dload_store_release(&op);
    }
    (void)i;
}

static void test_redis_connections(void **state)
{
    size_t n_bad = 0;
    dload_redis_store_config cfg = {0};
    (void)state;
    cfg.server.url = rs.unix_url;
    cfg.server.client_name = "counted";
    cfg.max_connections = 3;
    must_ok(dload_redis_store_init(&redis, &cfg, NULL, 0));
    run_threads(16, many_gets, &n_bad);
    equal(n_bad, 0);
    redisReply *r = ask_aside(2, "CLIENT", "LIST");
    size_t n = 0;
    for (const char *p = r->str; (p = strstr(p, "name=counted")) != NULL; p++)
        n++;
    freeReplyObject(r);
    assert_true(n >= 1 && n <= 3);
    dload_redis_store_end(&redis);
}

/* Without memory a request fails, and nothing is lost of the store. */
static void without_memory(struct fake_env *f)
{
    dload_redis_store_config cfg = {0};
    dload_store_item items[3];
    cfg.server.url = rs.unix_url;
    cfg.server.env = &f->env;
    fake_env_arm(f);
    dload_status st = dload_redis_store_init(&redis, &cfg, NULL, 0);
    if (st == DLOAD_OK) {
        static const dload_store_kind kinds[] = {DLOAD_STORE_LEASE, DLOAD_STORE_FILL,
                                                 DLOAD_STORE_SET, DLOAD_STORE_GET,
                                                 DLOAD_STORE_CLEAR};
        lease_items(items, COUNT(items), 1);
        for (size_t i = 0; i < COUNT(kinds); i++) {
            if (kinds[i] == DLOAD_STORE_FILL || kinds[i] == DLOAD_STORE_SET) {
                for (size_t k = 0; k < COUNT(items); k++)
                    items[k].value = "v", items[k].value_bytes = 1;
            }
            st = run(kinds[i], items, kinds[i] == DLOAD_STORE_CLEAR ? 1 : COUNT(items));
            assert_true(st == DLOAD_OK || st == DLOAD_ENOMEM);
        }
    }
    fake_env_disarm(f);
    if (redis.store.run != NULL) {
        lease_items(items, COUNT(items), 2);
        must_ok(run(DLOAD_STORE_DELETE, items, COUNT(items)));
        must_ok(run(DLOAD_STORE_GET, items, COUNT(items)));
        must(items[2].status, DLOAD_MISSING);
        dload_redis_store_end(&redis);
    }
    memset(&redis, 0, sizeof redis);
}

static void test_redis_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("a Redis store", without_memory) >= 8);
}

/* A child of fork() has no part in its parent's connections. */
static void test_redis_fork(void **state)
{
    dload_store_item item;
    int status = 0;
    (void)state;
    up();
    lease_items(&item, 1, 1);
    must_ok(run(DLOAD_STORE_GET, &item, 1));
    pid_t pid = fork();
    if (pid == 0) {
        bool ok = run(DLOAD_STORE_GET, &item, 1) == DLOAD_EFORK;
        dload_redis_store_end(&redis);
        _exit(ok ? 0 : 1);
    }
    equal(waitpid(pid, &status, 0), pid);
    equal(status, 0);
    uint64_t n_connected = connections_made();
    must_ok(run(DLOAD_STORE_GET, &item, 1));    /* ours is as it was */
    equal(connections_made(), n_connected + 1); /* that of the question itself */
    dload_redis_store_end(&redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("redis", up_plain, down),
        STORE_CASES("redis, with times", up_with_ttls, down),
        cmocka_unit_test(test_redis_names),
        cmocka_unit_test(test_redis_names_random),
        cmocka_unit_test(test_redis_one_slot),
        cmocka_unit_test(test_redis_digests),
        cmocka_unit_test(test_redis_forgotten_scripts),
        cmocka_unit_test(test_redis_commands_of_a_batch),
        cmocka_unit_test(test_redis_hostile_keys),
        cmocka_unit_test(test_redis_other_types),
        cmocka_unit_test(test_redis_set_revokes),
        cmocka_unit_test(test_redis_clear_is_ours_alone),
        cmocka_unit_test(test_redis_clear_of_leases_first),
        cmocka_unit_test(test_redis_clear_of_many),
        cmocka_unit_test(test_redis_limits),
        cmocka_unit_test(test_redis_connections),
        cmocka_unit_test(test_redis_without_memory),
        cmocka_unit_test(test_redis_fork),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
