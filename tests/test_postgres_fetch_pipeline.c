/* Loaders that fetch from PostgreSQL by several queries in a pipeline. */
/* links: pq */
/* tsan */
#include "test_postgres_fetch.h"

static void test_fetch_pipeline(void **state)
{
    dload_postgres_query q = {.sql = by_id, .max_keys = 100};
    users l;
    (void)state;
    open_users(&l, &q, N_USERS);
    for (size_t i = 0; i < N_USERS; i++)
        many.keys[i] = i * 7 % N_USERS;
    load_many(&l, N_USERS);
    for (size_t i = 0; i < N_USERS; i++) {
        must_ok(many.st[i]);
        equal(many.ages[i], many.keys[i] * 7);
    }
    equal(q.n_rows, N_USERS);
    equal(pg.n_connects, 1);
    close_users(&l);
}

/* One query of many fails: its keys do, the others are answered. */
static void test_fetch_pipeline_one_fails(void **state)
{
    dload_postgres_query q = {.sql = "SELECT id, 1000 / (id - 555) FROM users WHERE id = ANY($1)",
                              .max_keys = 100};
    users l;
    (void)state;
    open_users(&l, &q, 5000);
    load_first(&l, 5000);
    for (size_t i = 0; i < 5000; i++)
        must(many.st[i], i / 100 == 5 ? DLOAD_EFETCH : DLOAD_OK);
    equal(pg.n_losses, 0);
    close_users(&l);
}

/* Large questions with large answers: neither side could go on if the other only wrote. */
struct echo {
    char *bytes;
    size_t n_bytes, n_rows, n_bad;
};

static bool echo_key(void *ctx, size_t i, dload_postgres_key *key)
{
    struct echo *e = ctx;
    key->bytes = e->bytes + i;
    key->n_bytes = e->n_bytes - i;
    return true;
}

static dload_status echo_row(void *ctx, size_t i, const PGresult *r, int row)
{
    struct echo *e = ctx;
    dload_str b = {NULL, 0};
    e->n_rows++;
    e->n_bad += !dload_postgres_bytes_of(r, row, 0, &b) || b.len != e->n_bytes - i ||
                memcmp(b.ptr, e->bytes + i, b.len) != 0;
    return DLOAD_OK;
}

static void test_fetch_pipeline_drains(void **state)
{
    enum { N = 20 };
    dload_postgres_query q = {.sql = "SELECT k FROM unnest($1) AS k"};
    dload_postgres_ask asks[N];
    struct echo e = {NULL, 1 << 20, 0, 0};
    (void)state;
    e.bytes = malloc(e.n_bytes);
    assert_non_null(e.bytes);
    for (size_t i = 0; i < e.n_bytes; i++)
        e.bytes[i] = (char)(i * 31 % 251);
    memset(asks, 0, sizeof asks);
    for (size_t i = 0; i < N; i++) {
        asks[i].query = &q;
        asks[i].key_type = DLOAD_POSTGRES_BYTEA;
        asks[i].first = i;
        asks[i].n = 2;
        asks[i].key = echo_key;
        asks[i].row = echo_row;
        asks[i].ctx = &e;
    }
    must_ok(dload_postgres_fetch(&pg, asks, N, 60 * DLOAD_SECOND));
    for (size_t i = 0; i < N; i++)
        must_ok(asks[i].status);
    equal(e.n_rows, 2 * N);
    equal(e.n_bad, 0);
    free(e.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fetch_pipeline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_pipeline_one_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_pipeline_drains, setup, teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, pg_group_teardown);
}
