/* Loaders that fetch from PostgreSQL: a query for a batch, rows in any order, and what happens when a query, or the server,
 * fails. Several queries at a time: test_postgres_fetch_pipeline.c. */
/* links: pq */
/* tsan */
#include "test_postgres_fetch.h"
#define DLOAD_NAME  words
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE DLOAD_BLOB
#include "dataloader.h"
#define DLOAD_NAME  things
#define DLOAD_KEY   DLOAD_ID128
#define DLOAD_VALUE int64_t
#include "dataloader.h"
#define DLOAD_POSTGRES_NAME words
#define DLOAD_POSTGRES_KEY  DLOAD_POSTGRES_TEXT
#include "adapters/dataloader_postgres_fetch.h"
#define DLOAD_POSTGRES_NAME things
#define DLOAD_POSTGRES_KEY  DLOAD_POSTGRES_UUID
#include "adapters/dataloader_postgres_fetch.h"

static void test_fetch_any_order(void **state)
{
    dload_postgres_query q = {.sql =
                                  "SELECT id, age FROM users WHERE id = ANY($1) ORDER BY random()"};
    users l;
    (void)state;
    open_users(&l, &q, 1000);
    for (size_t i = 0; i < 1000; i++)
        many.keys[i] = i * 37 % 40000;
    many.keys[7] = UINT64_MAX;
    many.keys[8] = (uint64_t)INT64_MAX + 1;
    many.keys[9] = INT64_MAX;
    load_many(&l, 1000);
    size_t n_found = 0;
    for (size_t i = 0; i < 1000; i++) {
        bool there = many.keys[i] < N_USERS;
        must(many.st[i], there ? DLOAD_OK : DLOAD_MISSING);
        if (there)
            equal(many.ages[i], many.keys[i] * 7);
        n_found += there;
    }
    equal(q.n_rows, n_found);
    equal(q.n_unknown, 0);
    close_users(&l);
}

/* Rows of keys that nobody asked for, two rows of one key, rows without a key, other integer types. */
static void test_fetch_odd_rows(void **state)
{
    dload_postgres_query q = {
        .sql = "SELECT age, key FROM (SELECT id::int4 AS key, age FROM users WHERE "
               "id = ANY($1) OR id < 10 UNION ALL SELECT 5, 1 UNION ALL SELECT "
               "NULL, 2) AS u ORDER BY age DESC",
        .key_column = 1};
    dload_postgres_query narrow = {.sql = "SELECT id::int2, NULL FROM users WHERE id = ANY($1)"};
    users l;
    (void)state;
    open_users(&l, &q, 100);
    int64_t age = 0;
    /* the first column is the age here: user_row takes the second one, the key */
    must_ok(users_load(&l, 5, &age));
    equal(age, 5);
    equal(q.n_rows, 12);
    equal(q.n_unknown, 10); /* 9 others, and one without a key */
    close_users(&l);
    open_users(&l, &narrow, 100);
    must(users_load(&l, 5, &age), DLOAD_EDECODE);
    close_users(&l);
}

static void test_fetch_errors(void **state)
{
    static const struct {
        const char *sql;
        dload_status st;
        int key_column;
    } bad[] = {{"SELECT id, age FROM nowhere WHERE id = ANY($1)", DLOAD_EFETCH, 0},
               {"SELEC", DLOAD_EFETCH, 0},
               {"SELECT id, 1 / (age - age) FROM users WHERE id = ANY($1)", DLOAD_EFETCH, 0},
               {"SELECT id, age FROM users WHERE id::text = ANY($1)", DLOAD_EFETCH, 0},
               {"SELECT id::text, age FROM users WHERE id = ANY($1)", DLOAD_EDECODE, 0},
               {by_id, DLOAD_EDECODE, 2},
               {by_id, DLOAD_EDECODE, -1},
               {"SELECT id, age::text FROM users WHERE id = ANY($1)", DLOAD_EDECODE, 0},
               {"INSERT INTO users SELECT 1, 1 WHERE 1 = ANY($1)", DLOAD_EFETCH, 0},
               {NULL, DLOAD_EINVAL, 0}};
    dload_postgres_query good = {.sql = by_id};
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        dload_postgres_query q = {.sql = bad[i].sql, .key_column = bad[i].key_column};
        users l;
        int64_t age = 0;
        open_users(&l, &q, 100);
        must(users_load(&l, 1, &age), bad[i].st);
        close_users(&l);
        open_users(&l, &good, 100);
        load_one_ok(&l, 1);
        close_users(&l);
    }
    equal(pg.n_losses, 0);
    equal(pg.n_connects, 1);
}

/* ---- keys that are strings ---- */

static dload_status word_row(words_batch *b, size_t i, const PGresult *r, int row)
{
    dload_str bytes = {NULL, 0};
    if (!dload_postgres_bytes_of(r, row, 1, &bytes))
        return DLOAD_EDECODE;
    return words_batch_set_bytes(b, i, bytes.ptr, bytes.len);
}

static dload_status fetch_words(words_batch *b)
{
    return words_postgres_fetch(b, &pg, b->ctx, word_row);
}

static void test_fetch_text(void **state)
{
    static const struct {
        const char *key;
        size_t n;
        bool there;
    } keys[] = {{"plain", 5, true},
                {"", 0, true},
                {"'; DROP TABLE words; --", 23, true},
                {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, true},
                {"absent", 6, false},
                {"pl\0ain", 6, false},
                {"\xff", 1, false},
                {"\xc3", 1, false},
                {"\xc0\x80", 2, false},
                {"\xe0\x80\x80", 3, false},
                {"\xed\xa0\x80", 3, false},
                {"\xf4\x90\x80\x80", 4, false},
                {"\xf0\x8f\xbf\xbf", 4, false},
                {"\xe2\x82", 2, false}};
    dload_postgres_query q = {.sql = "SELECT word, 'v' || word FROM words WHERE word = ANY($1)"};
    dload_str asked[COUNT(keys)];
    dload_blob got[COUNT(keys)];
    dload_status st[COUNT(keys)];
    words l;
    (void)state;
    pg_query("CREATE TABLE words (word varchar(100) PRIMARY KEY)", NULL, 0);
    pg_query("INSERT INTO words VALUES ('plain'), (''), ('''; DROP TABLE words; --'), "
             "(U&'\\00e4\\20ac\\+01f600')",
             NULL, 0);
    words_config c = words_config_default();
    c.fetch = fetch_words;
    c.ctx = &q;
    must_ok(words_init(&l, &c));
    for (size_t i = 0; i < COUNT(keys); i++) {
        asked[i].ptr = keys[i].key;
        asked[i].len = keys[i].n;
    }
    (void)words_load_many(&l, asked, COUNT(keys), got, st);
    for (size_t i = 0; i < COUNT(keys); i++) {
        must(st[i], keys[i].there ? DLOAD_OK : DLOAD_MISSING);
        if (!keys[i].there)
            continue;
        equal(got[i].len, keys[i].n + 1);
        assert_memory_equal(got[i].ptr, "v", 1);
        assert_memory_equal(got[i].ptr + 1, keys[i].key, keys[i].n);
        dload_blob_release(&got[i]);
    }
    equal(q.n_unknown, 0);
    must_ok(words_destroy(&l));
}

static dload_status thing_row(things_batch *b, size_t i, const PGresult *r, int row)
{
    int64_t n = 0;
    return dload_postgres_int(r, row, 1, &n) ? things_batch_set(b, i, &n) : DLOAD_EDECODE;
}

static dload_status fetch_things(things_batch *b)
{
    return things_postgres_fetch(b, &pg, b->ctx, thing_row);
}

static void test_fetch_uuid(void **state)
{
    dload_postgres_query q = {.sql = "SELECT id, n FROM things WHERE id = ANY($1)"};
    dload_id128 id = {{0}};
    int64_t n = 0;
    things l;
    (void)state;
    pg_query(
        "CREATE TABLE things AS SELECT ('000000000000000000000000000000' || lpad(to_hex(i), 2, "
        "'0'))::uuid AS id, i AS n FROM generate_series(0, 99) AS i",
        NULL, 0);
    things_config c = things_config_default();
    c.fetch = fetch_things;
    c.ctx = &q;
    must_ok(things_init(&l, &c));
    id.bytes[15] = 42;
    must_ok(things_load(&l, id, &n));
    equal(n, 42);
    id.bytes[0] = 1;
    must(things_load(&l, id, &n), DLOAD_MISSING);
    must_ok(things_destroy(&l));
}

/* ---- faults ---- */

static void test_fetch_lost_connections(void **state)
{
    dload_postgres_query q = {.sql = by_id, .max_keys = 10};
    dload_postgres_query suicide = {.sql = "SELECT id, age FROM users WHERE id = ANY($1) AND "
                                           "pg_terminate_backend(pg_backend_pid())"};
    users l, s;
    int64_t age = 0;
    (void)state;
    open_users(&l, &q, 100);
    open_users(&s, &suicide, 100);
    load_one_ok(&l, 3);
    pg_query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
             "'dataloader'",
             NULL, 0);
    load_one_ok(&l, 4);
    equal(pg.n_connects, 2);
    must(users_load(&s, 5, &age), DLOAD_EFETCH); /* asked twice, and then given up */
    equal(pg.n_connects, 3);
    load_first_ok(&l, 100);
    close_users(&l);
    close_users(&s);
}

/* What a query answers has changed since it was prepared. */
static void test_fetch_altered_table(void **state)
{
    dload_postgres_query q = {.sql = "SELECT * FROM altered WHERE id = ANY($1)"};
    users l;
    (void)state;
    pg_query("CREATE TABLE altered AS SELECT * FROM users LIMIT 1000", NULL, 0);
    open_users(&l, &q, 1000);
    load_one_ok(&l, 3);
    pg_query("ALTER TABLE altered ADD COLUMN more text", NULL, 0);
    load_one_ok(&l, 3);
    pg_query("ALTER TABLE altered ADD COLUMN yet_more text", NULL, 0);
    q.max_keys = 10; /* in a pipeline */
    load_first_ok(&l, 100);
    close_users(&l);
}

/* A query that takes too long: the loader goes on in time, and the server does not go on for ever. */
static void test_fetch_timeout(void **state)
{
    dload_postgres_query q = {.sql = "SELECT id, age FROM users, pg_sleep(60) WHERE id = ANY($1)",
                              .timeout_ns = 300 * DLOAD_MILLISECOND};
    dload_postgres_query good = {.sql = by_id};
    users l, g;
    int64_t age = 0;
    (void)state;
    open_users(&l, &q, 10);
    open_users(&g, &good, 10);
    must(users_load(&l, 1, &age), DLOAD_ETIMEDOUT);
    load_one_ok(&g, 1); /* on another connection: nothing that is late is taken for it */
    pg_wait_for(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = "
        "'active' AND pid <> pg_backend_pid()",
        0);
    close_users(&l);
    close_users(&g);
}

/* Whichever allocation fails: an error, nothing lost, and the next batch comes through. */
static void test_fetch_no_memory(void **state)
{
    dload_postgres_query q = {.sql = by_id, .max_keys = 10};
    users l;
    (void)state;
    open_users(&l, &q, 100);
    load_first_ok(&l, 30);
    size_t n_failed = 0;
    for (size_t at = 1; at < 20; at++) {
        memory.fail_at = at;
        fake_env_arm(&memory);
        load_many(&l, 30);
        fake_env_disarm(&memory);
        bool failed = false;
        for (size_t i = 0; i < 30; i++) {
            assert_true(many.st[i] == DLOAD_OK || many.st[i] == DLOAD_ENOMEM);
            failed = failed || many.st[i] == DLOAD_ENOMEM;
        }
        n_failed += failed;
        load_first_ok(&l, 30);
    }
    equal(n_failed, 7); /* the questions; keys and parameter of each of three */
    close_users(&l);
}

/* Batches of many threads at a time, each on a connection of its own, or waiting for one. */
static struct {
    users l;
    uint32_t n_bad;
} shared;

static void load_some(void *ctx, size_t me)
{
    (void)ctx;
    for (uint64_t i = 0; i < 200; i++) {
        int64_t age = 0;
        uint64_t key = (me * 1000 + i) % N_USERS;
        if (users_load(&shared.l, key, &age) != DLOAD_OK || age != (int64_t)key * 7)
            (void)__atomic_add_fetch(&shared.n_bad, 1, __ATOMIC_RELAXED);
    }
}

static void test_fetch_threads(void **state)
{
    dload_postgres_query q = {.sql = by_id};
    (void)state;
    open_users(&shared.l, &q, 4);
    run_threads(8, load_some, NULL);
    equal(shared.n_bad, 0);
    assert_true(pg.n_connects <= 4);
    close_users(&shared.l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fetch_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_odd_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_uuid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_lost_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_altered_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, pg_group_teardown);
}
