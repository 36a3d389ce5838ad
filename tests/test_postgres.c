/* The PostgreSQL store: what is stored and how, keys of any bytes, times, leases, the table's shape. */
/* links: pq */
#include "test_postgres.h"

static dload_postgres_store pg;
static struct fake_env memory;

static int setup(void **state)
{
    dload_postgres_store_config c;
    (void)state;
    memset(&c, 0, sizeof c);
    fake_env_init_real(&memory);
    c.pg.env = &memory.env;
    c.table = "t";
    pg_query("DROP TABLE IF EXISTS t", NULL, 0);
    pg_open(&pg, &c);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dload_postgres_store_destroy(&pg);
    fake_env_check(&memory);
    return 0;
}

static void test_postgres_stores_values(void **state)
{
    (void)state;
    must(pg_get(&pg.store, "a", 1, NULL, 0), DLOAD_MISSING);
    must_ok(pg_set(&pg.store, "a", 1, "one", 3, DLOAD_NEVER));
    must_ok(pg_set(&pg.store, "", 0, "nothing", 7, DLOAD_NEVER));
    must_ok(pg_set(&pg.store, "e", 1, NULL, 0, DLOAD_NEVER));
    must_ok(pg_get(&pg.store, "a", 1, "one", 3));
    must_ok(pg_get(&pg.store, "", 0, "nothing", 7));
    must_ok(pg_get(&pg.store, "e", 1, "", 0));
    must_ok(pg_set(&pg.store, "a", 1, "two", 3, DLOAD_NEVER));
    must_ok(pg_get(&pg.store, "a", 1, "two", 3));
    dload_store_item gone[2] = {pg_item("a", 1, NULL, 0, 0), pg_item("b", 1, NULL, 0, 0)};
    pg_ask(&pg.store, DLOAD_STORE_DELETE, gone, 2);
    must_ok(gone[0].status);
    must_ok(gone[1].status);
    must(pg_get(&pg.store, "a", 1, NULL, 0), DLOAD_MISSING);
    equal(pg_number("SELECT count(*) FROM t"), 2);
}

/* ---- keys ---- */

static void check_round_trip(const void *key, size_t key_bytes)
{
    must_ok(pg_set(&pg.store, key, key_bytes, key, key_bytes, DLOAD_NEVER));
    must_ok(pg_get(&pg.store, key, key_bytes, key, key_bytes));
}

static void test_postgres_hostile_keys(void **state)
{
    static const char *const hostile[] = {
        "'; DROP TABLE t; --",  "\" OR 1=1", "$1", "%s%n%d", "{}", "{a,b}", "\\x00",    "\\",
        "\r\nSET a 1\r\n",      "NULL",      "?",  "@",      "^",  "''",    "\xff\xfe", "\xc3\x28",
        "1); DELETE FROM t; --"};
    (void)state;
    for (size_t i = 0; i < COUNT(hostile); i++)
        check_round_trip(hostile[i], strlen(hostile[i]));
    check_round_trip("a\0b", 3);
    check_round_trip("a\0c", 3);
    check_round_trip("\0", 1);
    must_ok(pg_get(&pg.store, "a\0b", 3, "a\0b", 3));
    equal(pg_number("SELECT count(*) FROM t"), COUNT(hostile) + 3);
}

static void test_postgres_random_keys(void **state)
{
    uint64_t seed = test_seed("random keys");
    static char bytes[1000][64];
    static dload_store_item items[1000];
    char before[600], after[600];
    const char *shape = "SELECT string_agg(c::text, ',' ORDER BY c::text) FROM (SELECT table_name, "
                        "column_name, data_type FROM information_schema.columns "
                        "WHERE table_schema = 'public') c";
    (void)state;
    check_round_trip("a", 1);
    pg_query(shape, before, sizeof before);
    for (size_t round = 0; round < scaled(10); round++) {
        dload_store_op op;
        for (size_t i = 0; i < COUNT(items); i++) {
            for (size_t b = 0; b < sizeof bytes[i]; b++)
                bytes[i][b] = (char)rng(&seed);
            memcpy(bytes[i], &i, 2); /* no two alike */
            items[i] = pg_item(bytes[i], 2 + rng_below(&seed, 62), bytes[i], i % 64, DLOAD_NEVER);
        }
        pg_ask(&pg.store, DLOAD_STORE_SET, items, COUNT(items));
        for (size_t i = 0; i < COUNT(items); i++) {
            must_ok(items[i].status);
            items[i].value = NULL;
        }
        must_ok(pg_run(&pg.store, &op, DLOAD_STORE_GET, items, COUNT(items)));
        for (size_t i = 0; i < COUNT(items); i++) {
            must_ok(items[i].status);
            equal(items[i].value_bytes, i % 64);
            if (i % 64 != 0)
                assert_memory_equal(items[i].value, bytes[i], i % 64);
            equal(items[i].ttl_ns, DLOAD_NEVER);
        }
        dload_store_release(&op);
    }
    pg_query(shape, after, sizeof after);
    assert_string_equal(before, after);
}

/* What is too long for an index, and differs in its last byte only. */
static void test_postgres_long_keys(void **state)
{
    static const size_t lengths[] = {1968, 1969, 1970, 1999,  2000,   2001,
                                     2002, 2600, 2800, 65536, 1 << 20};
    char *key = malloc(1 << 20);
    uint64_t seed = test_seed("long keys");
    (void)state;
    assert_non_null(key);
    for (size_t b = 0; b < 1 << 20; b++)
        key[b] = (char)rng(&seed); /* so that nothing can be compressed */
    for (size_t i = 0; i < COUNT(lengths); i++) {
        const size_t n = lengths[i];
        key[n - 1] = 'x';
        check_round_trip(key, n);
        key[n - 1] = 'y';
        must(pg_get(&pg.store, key, n, NULL, 0), DLOAD_MISSING);
        check_round_trip(key, n);
    }
    equal(pg_number("SELECT count(*) FROM t"), 2 * COUNT(lengths));
    must(pg_set(&pg.store, key, (1 << 20) + 1, "", 0, DLOAD_NEVER), DLOAD_ETOOBIG);

    /* an id that somebody makes up to look like that of a long key is itself a long key, and another */
    char id[2001];
    PGconn *c = PQconnectdb(server.url);
    PGresult *r = PQexecParams(c, "SELECT id FROM t WHERE octet_length(long_key) = 65536 LIMIT 1",
                               0, NULL, NULL, NULL, NULL, 1);
    equal(PQgetlength(r, 0, 0), sizeof id);
    memcpy(id, PQgetvalue(r, 0, 0), sizeof id);
    PQclear(r);
    PQfinish(c);
    must(pg_get(&pg.store, id, sizeof id, NULL, 0), DLOAD_MISSING);

    /* clearing by a prefix longer than what the index holds removes what begins so, and nothing else */
    key[65535] = 'x';
    dload_store_item prefix = pg_item(key, 65536, NULL, 0, 0);
    pg_ask(&pg.store, DLOAD_STORE_CLEAR, &prefix, 1);
    must(pg_get(&pg.store, key, 65536, NULL, 0), DLOAD_MISSING);
    key[65535] = 'y';
    must_ok(pg_get(&pg.store, key, 65536, key, 65536));
    free(key);
}

static void test_postgres_large_requests(void **state)
{
    enum { N = 9000, BIG = 6 << 20 };
    static char keys[N][8];
    static dload_store_item items[N];
    dload_store_op op;
    char *big = malloc(BIG);
    (void)state;
    assert_non_null(big);
    memset(big, 'b', BIG);
    for (size_t i = 0; i < N; i++) {
        int n = snprintf(keys[i], sizeof keys[i], "k%zu", i);
        items[i] = pg_item(keys[i], (size_t)n, keys[i], (size_t)n, DLOAD_NEVER);
    }
    pg_ask(&pg.store, DLOAD_STORE_SET, items, N); /* more than one message holds */
    must_ok(pg_run(&pg.store, &op, DLOAD_STORE_GET, items, N));
    for (size_t i = 0; i < N; i++) {
        must_ok(items[i].status);
        assert_memory_equal(items[i].value, keys[i], items[i].value_bytes);
    }
    dload_store_release(&op);
    for (size_t i = 0; i < 5; i++)
        items[i] = pg_item(keys[i], 2, big, BIG, DLOAD_NEVER); /* 30 MiB */
    pg_ask(&pg.store, DLOAD_STORE_SET, items, 5);
    must_ok(pg_get(&pg.store, "k4", 2, big, BIG));
    must(pg_set(&pg.store, "k1", 2, big, (size_t)256 << 20, DLOAD_NEVER), DLOAD_ETOOBIG);
    free(big);
}

static void test_postgres_duplicates(void **state)
{
    dload_store_op op;
    (void)state;
    dload_store_item items[5] = {
        pg_item("a", 1, "1", 1, DLOAD_NEVER), pg_item("b", 1, "2", 1, DLOAD_NEVER),
        pg_item("a", 1, "3", 1, DLOAD_NEVER), pg_item("a", 1, "4", 1, DLOAD_NEVER),
        pg_item("b", 1, "5", 1, DLOAD_NEVER)};
    pg_ask(&pg.store, DLOAD_STORE_SET, items, 5);
    for (size_t i = 0; i < 5; i++)
        must_ok(items[i].status);
    must_ok(pg_get(&pg.store, "a", 1, "4", 1));
    must_ok(pg_get(&pg.store, "b", 1, "5", 1));
    must_ok(pg_run(&pg.store, &op, DLOAD_STORE_GET, items, 5));
    for (size_t i = 0; i < 5; i++)
        assert_memory_equal(items[i].value, i == 1 || i == 4 ? "5" : "4", 1);
    dload_store_release(&op);

    for (size_t i = 0; i < 5; i++) { /* of equal keys the first asker has the lease */
        items[i] = pg_item(i % 2 != 0 ? "x" : "y", 1, NULL, 0, DLOAD_SECOND);
        items[i].lease[0] = i + 1;
    }
    pg_ask(&pg.store, DLOAD_STORE_LEASE, items, 5);
    for (size_t i = 0; i < 5; i++)
        must(items[i].status, i < 2 ? DLOAD_MISSING : DLOAD_EBUSY);
}

/* ---- clearing ---- */

static void set_keys(const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        must_ok(pg_set(&pg.store, keys[i], strlen(keys[i]), "v", 1, DLOAD_NEVER));
}

static void check_clear(const char *prefix, size_t n_left)
{
    static const char *const keys[] = {"",      "a",         "a:",   "a:1",      "a:2",
                                       "a;",    "b",         "\xff", "\xff\xff", "\xff\xff\x01",
                                       "a\xff", "a\xff\xff", "a%",   "a_",       "%"};
    dload_store_item item = pg_item(prefix, strlen(prefix), NULL, 0, 0);
    set_keys(keys, COUNT(keys));
    pg_ask(&pg.store, DLOAD_STORE_CLEAR, &item, 1);
    must_ok(item.status);
    size_t n = 0;
    for (size_t i = 0; i < COUNT(keys); i++) {
        bool begins = strncmp(keys[i], prefix, strlen(prefix)) == 0;
        must(pg_get(&pg.store, keys[i], strlen(keys[i]), "v", 1),
             begins ? DLOAD_MISSING : DLOAD_OK);
        n += !begins;
    }
    equal(n, n_left);
    equal(pg_number("SELECT count(*) FROM t"), n_left);
}

static void test_postgres_clears(void **state)
{
    (void)state;
    check_clear("a:", 12);
    check_clear("a", 6);
    check_clear("\xff", 12);
    check_clear("\xff\xff", 13);
    check_clear("a\xff", 13);
    check_clear("%", 14);
    check_clear("nothing", 15);
    check_clear("", 0);
    (void)pg_lease(&pg.store, DLOAD_STORE_LEASE, "a:x", 1, NULL, DLOAD_SECOND);
    dload_store_item item = pg_item("a:", 2, NULL, 0, 0);
    pg_ask(&pg.store, DLOAD_STORE_CLEAR, &item, 1);
    must(pg_lease(&pg.store, DLOAD_STORE_FILL, "a:x", 1, "late", DLOAD_NEVER), DLOAD_ELOCK);
}

/* ---- time ---- */

static void test_postgres_times(void **state)
{
    dload_store_op op;
    (void)state;
    must_ok(pg_set(&pg.store, "long", 4, "v", 1, 3600 * DLOAD_SECOND));
    must_ok(pg_set(&pg.store, "longest", 7, "v", 1, DLOAD_NEVER - 1));
    must_ok(pg_set(&pg.store, "short", 5, "v", 1, 1));
    dload_store_item items[3] = {pg_item("long", 4, NULL, 0, 0), pg_item("longest", 7, NULL, 0, 0),
                                 pg_item("short", 5, NULL, 0, 0)};
    must_ok(pg_run(&pg.store, &op, DLOAD_STORE_GET, items, 3));
    must_ok(items[0].status);
    assert_true(items[0].ttl_ns <= 3600 * DLOAD_SECOND && items[0].ttl_ns > 3000 * DLOAD_SECOND);
    equal(items[1].ttl_ns, DLOAD_NEVER);
    must(items[2].status, DLOAD_MISSING);
    dload_store_release(&op);
    /* whoever sets the server's clock moves them: here the rows are moved instead */
    pg_query("UPDATE t SET expires = expires - interval '2 hours' WHERE isfinite(expires)", NULL,
             0);
    must(pg_get(&pg.store, "long", 4, NULL, 0), DLOAD_MISSING);
    must_ok(pg_get(&pg.store, "longest", 7, "v", 1));
    equal(pg_number("SELECT count(*) FROM t"), 3);
    uint64_t n = 0;
    must_ok(dload_postgres_store_purge(&pg, 0, &n));
    equal(n, 2);
    equal(pg_number("SELECT count(*) FROM t"), 1);
}

/* The garbage of writers stays in proportion to what they write, whoever reads nothing. */
static void test_postgres_purges_while_writing(void **state)
{
    dload_postgres_store_config c;
    char key[16];
    (void)state;
    memset(&c, 0, sizeof c);
    c.table = "purged";
    c.purge_every = 50;
    dload_postgres_store s;
    pg_open(&s, &c);
    for (size_t i = 0; i < 1000; i++) {
        int n = snprintf(key, sizeof key, "k%zu", i * 7919 % 1000);
        must_ok(pg_set(&s.store, key, (size_t)n, "v", 1, i < 900 ? 1 : DLOAD_NEVER));
    }
    assert_true(pg_number("SELECT count(*) FROM purged") <= 300);
    equal(pg_number("SELECT count(*) FROM purged WHERE expires = 'infinity'"), 100);
    must_ok(dload_postgres_store_purge(&s, 0, NULL));
    equal(pg_number("SELECT count(*) FROM purged"), 100);
    dload_postgres_store_destroy(&s);
}

/* ---- leases ---- */

static void test_postgres_leases(void **state)
{
    dload_store *s = &pg.store;
    (void)state;
    must(pg_lease(s, DLOAD_STORE_LEASE, "k", 1, NULL, 60 * DLOAD_SECOND), DLOAD_MISSING);
    must(pg_lease(s, DLOAD_STORE_LEASE, "k", 2, NULL, 60 * DLOAD_SECOND), DLOAD_EBUSY);
    must(pg_lease(s, DLOAD_STORE_LEASE, "k", 1, NULL, 60 * DLOAD_SECOND), DLOAD_MISSING);
    must(pg_get(s, "k", 1, NULL, 0), DLOAD_MISSING);
    must(pg_lease(s, DLOAD_STORE_FILL, "k", 2, "two", DLOAD_NEVER), DLOAD_ELOCK);
    must_ok(pg_lease(s, DLOAD_STORE_DROP, "k", 2, NULL, 0));
    must_ok(pg_lease(s, DLOAD_STORE_FILL, "k", 1, "one", DLOAD_NEVER));
    must_ok(pg_get(s, "k", 1, "one", 3));
    must(pg_lease(s, DLOAD_STORE_FILL, "k", 1, "again", DLOAD_NEVER), DLOAD_ELOCK);
    must_ok(pg_lease(s, DLOAD_STORE_LEASE, "k", 3, NULL, DLOAD_SECOND));

    /* a drop makes room for the next one; a delete or a set revokes */
    must(pg_lease(s, DLOAD_STORE_LEASE, "d", 1, NULL, 60 * DLOAD_SECOND), DLOAD_MISSING);
    must_ok(pg_lease(s, DLOAD_STORE_DROP, "d", 1, NULL, 0));
    must(pg_lease(s, DLOAD_STORE_LEASE, "d", 2, NULL, 60 * DLOAD_SECOND), DLOAD_MISSING);
    dload_store_item item = pg_item("d", 1, NULL, 0, 0);
    pg_ask(s, DLOAD_STORE_DELETE, &item, 1);
    must(pg_lease(s, DLOAD_STORE_FILL, "d", 2, "late", DLOAD_NEVER), DLOAD_ELOCK);
    must(pg_get(s, "d", 1, NULL, 0), DLOAD_MISSING);
    must(pg_lease(s, DLOAD_STORE_LEASE, "d", 3, NULL, 60 * DLOAD_SECOND), DLOAD_MISSING);
    must_ok(pg_set(s, "d", 1, "set", 3, DLOAD_NEVER));
    must(pg_lease(s, DLOAD_STORE_FILL, "d", 3, "late", DLOAD_NEVER), DLOAD_ELOCK);
    must_ok(pg_get(s, "d", 1, "set", 3));
    equal(s->stats.leases_lost, 4);
}

static void test_postgres_leases_end(void **state)
{
    dload_store *s = &pg.store;
    dload_store_op op;
    (void)state;
    must(pg_lease(s, DLOAD_STORE_LEASE, "k", 1, NULL, 60 * DLOAD_SECOND), DLOAD_MISSING);
    dload_store_item item = pg_item("k", 1, NULL, 0, DLOAD_SECOND);
    item.lease[0] = 2;
    must_ok(pg_run(s, &op, DLOAD_STORE_LEASE, &item, 1));
    dload_store_release(&op);
    must(item.status, DLOAD_EBUSY);
    assert_true(item.ttl_ns > 30 * DLOAD_SECOND && item.ttl_ns <= 60 * DLOAD_SECOND);
    pg_query("UPDATE t SET expires = now()", NULL, 0);
    must(pg_lease(s, DLOAD_STORE_FILL, "k", 1, "late", DLOAD_NEVER), DLOAD_ELOCK);
    must(pg_lease(s, DLOAD_STORE_LEASE, "k", 2, NULL, 60 * DLOAD_SECOND), DLOAD_MISSING);
    must(pg_lease(s, DLOAD_STORE_FILL, "k", 1, "late", DLOAD_NEVER), DLOAD_ELOCK);
    must_ok(pg_lease(s, DLOAD_STORE_FILL, "k", 2, "two", DLOAD_NEVER));
    /* a value that is over is leased like none */
    pg_query("UPDATE t SET expires = now()", NULL, 0);
    must(pg_lease(s, DLOAD_STORE_LEASE, "k", 3, NULL, 60 * DLOAD_SECOND), DLOAD_MISSING);
    must(pg_get(s, "k", 1, NULL, 0), DLOAD_MISSING);
    must_ok(pg_lease(s, DLOAD_STORE_FILL, "k", 3, "three", DLOAD_NEVER));
    must_ok(pg_get(s, "k", 1, "three", 5));
}

/* ---- the table ---- */

static dload_status open_table(const char *table, bool no_create)
{
    dload_postgres_store_config c;
    dload_postgres_store s;
    memset(&c, 0, sizeof c);
    c.table = table;
    c.no_create = no_create;
    pg_open(&s, &c);
    dload_status st = dload_postgres_store_open(&s, 0);
    dload_store_op op;
    dload_store_item item = pg_item("k", 1, NULL, 0, 0);
    must(pg_run(&s.store, &op, DLOAD_STORE_GET, &item, 1), st);
    dload_store_release(&op);
    dload_postgres_store_destroy(&s);
    return st;
}

static void test_postgres_other_tables(void **state)
{
    (void)state;
    pg_query("CREATE TABLE other (id int PRIMARY KEY, name text)", NULL, 0);
    pg_query("CREATE TABLE close (id bytea PRIMARY KEY, long_key bytea, value text, lease bytea, "
             "expires timestamptz)",
             NULL, 0);
    pg_query("CREATE TABLE keyless (id bytea, long_key bytea, value bytea, lease bytea, "
             "expires timestamptz, UNIQUE (id, lease))",
             NULL, 0);
    pg_query("CREATE TABLE byhand (expires timestamptz, note text, value bytea, lease bytea, "
             "long_key bytea, id bytea UNIQUE)",
             NULL, 0);
    must(open_table("other", false), DLOAD_ELAYOUT);
    must(open_table("close", false), DLOAD_ELAYOUT);
    must(open_table("keyless", false), DLOAD_ELAYOUT);
    must_ok(open_table("byhand", true));
    must(open_table("nowhere", true), DLOAD_EBACKEND);
    equal(pg_number("SELECT count(*) FROM pg_tables WHERE tablename = 'nowhere'"), 0);
    equal(pg_number("SELECT count(*) FROM information_schema.columns WHERE table_name = 'other'"),
          2);
}

static void test_postgres_names(void **state)
{
    static const char *const bad[] = {
        "",    "1a",
        "a b", "a\"b",
        "a;b", "a.b",
        "a-b", "\xc3\xa4",
        "a'b", "a23456789012345678901234567890123456789012345678901234567890123x"};
    dload_postgres_store_config c;
    dload_postgres_store s;
    (void)state;
    memset(&c, 0, sizeof c);
    c.pg.url = server.url;
    for (size_t i = 0; i < COUNT(bad); i++) {
        c.table = bad[i];
        must(dload_postgres_store_init(&s, &c), DLOAD_EINVAL);
        c.table = NULL;
        c.schema = bad[i];
        must(dload_postgres_store_init(&s, &c), DLOAD_EINVAL);
        c.schema = NULL;
    }
    c.pg.url = NULL;
    must(dload_postgres_store_init(&s, &c), DLOAD_EINVAL);
    pg_query("CREATE SCHEMA \"Select\"", NULL, 0);
    c.schema = "Select";
    c.table = "From";
    c.unlogged = true;
    pg_open(&s, &c);
    must_ok(pg_set(&s.store, "k", 1, "v", 1, DLOAD_NEVER));
    equal(pg_number("SELECT count(*) FROM \"Select\".\"From\""), 1);
    equal(
        pg_number("SELECT count(*) FROM pg_class WHERE relname = 'From' AND relpersistence = 'u'"),
        1);
    dload_postgres_store_destroy(&s);
}

/* A table that is dropped under a store is made again. */
static void test_postgres_dropped_table(void **state)
{
    (void)state;
    must_ok(pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER));
    pg_query("DROP TABLE t", NULL, 0);
    must(pg_set(&pg.store, "k", 1, "v", 1, DLOAD_NEVER), DLOAD_EBACKEND);
    must_ok(pg_set(&pg.store, "k", 1, "w", 1, DLOAD_NEVER));
    must_ok(pg_get(&pg.store, "k", 1, "w", 1));
}

/* Behind a pooler a session is others', too: nothing stays in it. Elsewhere statements are prepared, once. */
static void test_postgres_pooled(void **state)
{
    static const char clean[] = "DO $$ BEGIN IF EXISTS (SELECT FROM pg_prepared_statements) OR "
                                "EXISTS (SELECT FROM pg_settings "
                                "WHERE source = 'session' AND name <> 'client_encoding') THEN "
                                "RAISE EXCEPTION 'not clean'; END IF; "
                                "END $$";
    dload_postgres_store_config c;
    dload_postgres_store s;
    (void)state;
    memset(&c, 0, sizeof c);
    c.table = "t";
    c.pg.max_conns = 1;
    for (int pooled = 0; pooled < 2; pooled++) {
        c.pg.pooled = pooled != 0;
        pg_open(&s, &c);
        must_ok(pg_set(&s.store, "k", 1, "v", 1, DLOAD_NEVER));
        must_ok(pg_get(&s.store, "k", 1, "v", 1));
        must(dload_postgres_run(&s.pool, clean, 60 * DLOAD_SECOND),
             pooled ? DLOAD_OK : DLOAD_EBACKEND);
        /* whoever has the session next, or had it before, may have dropped what was prepared */
        must_ok(dload_postgres_run(&s.pool, "DEALLOCATE ALL", 0));
        must_ok(pg_get(&s.store, "k", 1, "v", 1));
        equal(s.pool.n_connects, pooled ? 1 : 2);
        dload_postgres_store_destroy(&s);
    }
}

/* Scans of the whole table, once the store's sessions are over and have told. */
static uint64_t full_scans(dload_postgres_store *s)
{
    dload_postgres_store_destroy(s);
    pg_wait_for("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dataloader'", 0);
    return pg_number("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'large'");
}

/* However the table was when a statement was first planned: nothing reads all of it later. */
static void test_postgres_goes_by_the_key(void **state)
{
    dload_store_item item = pg_item("k5", 2, NULL, 0, 0);
    dload_postgres_store_config c;
    dload_postgres_store s;
    (void)state;
    teardown(NULL);
    memset(&c, 0, sizeof c);
    c.table = "large";
    c.pg.max_conns = 1;
    pg_open(&s, &c);
    must_ok(dload_postgres_store_open(&s, 0));
    uint64_t before = full_scans(&s); /* making its index was one */
    pg_open(&s, &c);
    must_ok(pg_set(&s.store, "k0", 2, "v", 1, DLOAD_NEVER));
    pg_query("VACUUM ANALYZE large", NULL, 0);
    pg_ask(&s.store, DLOAD_STORE_GET, &item, 1); /* planned while there is one row */
    pg_query("INSERT INTO large SELECT convert_to('k' || i, 'UTF8'), NULL, 'v', NULL, 'infinity' "
             "FROM generate_series(1, 20000) AS i",
             NULL, 0);
    must_ok(pg_get(&s.store, "k5", 2, "v", 1));
    must_ok(pg_set(&s.store, "k5", 2, "w", 1, DLOAD_NEVER));
    must(pg_lease(&s.store, DLOAD_STORE_LEASE, "new", 1, NULL, DLOAD_SECOND), DLOAD_MISSING);
    must_ok(pg_lease(&s.store, DLOAD_STORE_FILL, "new", 1, "v", DLOAD_NEVER));
    pg_ask(&s.store, DLOAD_STORE_DELETE, &item, 1);
    item = pg_item("k77", 3, NULL, 0, 0);
    pg_ask(&s.store, DLOAD_STORE_CLEAR, &item, 1);
    must_ok(dload_postgres_store_purge(&s, 0, NULL));
    equal(full_scans(&s), before);
    setup(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_postgres_stores_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_hostile_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_random_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_long_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_large_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_duplicates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_clears, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_times, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_purges_while_writing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_leases, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_leases_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_other_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_dropped_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_pooled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_goes_by_the_key, setup, teardown),
    };
    return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
