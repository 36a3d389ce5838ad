/* What the suites of dataloader_postgres_fetch.h share: a table of users, and a loader of their ages. */
#ifndef DLOAD_TESTS_POSTGRES_FETCH_H
#define DLOAD_TESTS_POSTGRES_FETCH_H

#define DLOAD_STORE 1
#define DLOAD_NAME  users
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#include "dataloader.h"
#include "test_postgres.h"
#define DLOAD_POSTGRES_NAME users
#define DLOAD_POSTGRES_KEY  DLOAD_POSTGRES_INT8
#include "adapters/dataloader_postgres_fetch.h"

enum { N_USERS = 30000 };

static struct fake_env memory;
static dload_postgres pg;

#define by_id "SELECT id, age FROM users WHERE id = ANY($1)"

static inline int group_setup(void **state)
{
    if (pg_group_setup(state) != 0)
        return -1;
    pg_query("CREATE TABLE users AS SELECT i::int8 AS id, i * 7 AS age FROM "
             "generate_series(0, 29999) AS i",
             NULL, 0);
    pg_query("ALTER TABLE users ADD PRIMARY KEY (id)", NULL, 0);
    return 0;
}

static inline int setup(void **state)
{
    dload_postgres_config c;
    (void)state;
    memset(&c, 0, sizeof c);
    fake_env_init_real(&memory);
    c.url = server.url;
    c.env = &memory.env;
    c.timeout_ns = c.connect_ns = 20 * DLOAD_SECOND;
    must_ok(dload_postgres_init(&pg, &c));
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    dload_postgres_destroy(&pg);
    fake_env_check(&memory);
    return 0;
}

/* ---- a loader ---- */

static inline dload_status user_row(users_batch *b, size_t i, const PGresult *r, int row)
{
    int64_t age = 0;
    if (!dload_postgres_int(r, row, 1, &age))
        return DLOAD_EDECODE;
    return users_batch_set(b, i, &age);
}

static inline dload_status fetch_users(users_batch *b)
{
    return users_postgres_fetch(b, &pg, b->ctx, user_row);
}

static inline void open_users(users *l, dload_postgres_query *q, size_t max_batch)
{
    users_config c = users_config_default();
    c.fetch = fetch_users;
    c.ctx = q;
    c.max_batch = max_batch;
    c.max_queue = 200000;
    c.capacity = DLOAD_NO_CACHE;
    must_ok(users_init(l, &c));
}

static inline void close_users(users *l)
{
    must_ok(users_close(l, DLOAD_DRAIN, 0));
    must_ok(users_destroy(l));
}

/* Loads n keys at once and says what came of key i. */
static struct {
    uint64_t keys[N_USERS];
    int64_t ages[N_USERS];
    dload_status st[N_USERS];
} many;

static inline void load_many(users *l, size_t n)
{
    (void)users_load_many(l, many.keys, n, many.ages, many.st);
}

/* Users 0 .. n - 1, whatever comes of it. */
static inline void load_first(users *l, size_t n)
{
    for (size_t i = 0; i < n; i++)
        many.keys[i] = i;
    load_many(l, n);
}

/* ... and each has its own age. */
static inline void load_first_ok(users *l, size_t n)
{
    load_first(l, n);
    for (size_t i = 0; i < n; i++) {
        must_ok(many.st[i]);
        equal(many.ages[i], i * 7);
    }
}

/* One user, who is there. */
static inline void load_one_ok(users *l, uint64_t key)
{
    int64_t age = 0;
    must_ok(users_load(l, key, &age));
    equal(age, key * 7);
}

#endif /* DLOAD_TESTS_POSTGRES_FETCH_H */
