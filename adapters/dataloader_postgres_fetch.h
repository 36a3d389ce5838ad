/* dataloader_postgres_fetch.h -- one query for a batch of keys: what a loader's fetch function calls.
 *
 * SPDX-License-Identifier: MIT
 *
 * Include it after the loader, once for each loader that is to fetch from PostgreSQL:
 *
 *     #define DLOAD_STORE 1
 *     #define DLOAD_NAME  users
 *     #define DLOAD_KEY   uint64_t
 *     #define DLOAD_VALUE struct user
 *     #include "dataloader.h"
 *     #define DLOAD_POSTGRES_NAME users
 *     #define DLOAD_POSTGRES_KEY  DLOAD_POSTGRES_INT8      // what the column is: see below
 *     #include "dataloader_postgres_fetch.h"               // cc ... -lpq -lpthread
 *
 *     static dload_status row(users_batch *b, size_t i, const PGresult *r, int row)
 *     {
 *         struct user u = {0};
 *         if (!dload_postgres_int(r, row, 1, &u.age))      // the second column
 *             return DLOAD_EDECODE;
 *         return users_batch_set(b, i, &u);                // i: whose row this is
 *     }
 *
 *     static dload_postgres_query query = {"SELECT id, age FROM users WHERE id = ANY($1)"};
 *
 *     static dload_status fetch(users_batch *b)
 *     {
 *         return users_postgres_fetch(b, ((struct app *)b->ctx)->pg, &query, row);
 *     }
 *
 * where pg is a pool, made with dload_postgres_init. Blocks; in an event loop call it where blocking is allowed
 * (users_uv_work).
 *
 * THE QUERY  Its one parameter, $1, is the array of all keys; its first column (or key_column) is the key of the row.
 * Rows may come in any order. A key without a row stays unanswered, which is DLOAD_MISSING; a row of a key that was
 * not asked for is ignored and counted in query.n_unknown. Of several rows with one key the first is the answer; to
 * collect them let the query do so, by array_agg and GROUP BY. All columns come in binary form: see
 * dload_postgres_int, _double and _bytes.
 *
 *     DLOAD_POSTGRES_INT4, _INT8   integer columns; a key that does not fit into the type is not asked for
 *     DLOAD_POSTGRES_UUID          DLOAD_ID128 keys
 *     DLOAD_POSTGRES_TEXT          DLOAD_STRING keys; one with a NUL or that is not UTF-8 is not asked for, because
 *                                  the server would refuse the whole batch, and no text column can hold it
 *     DLOAD_POSTGRES_BYTEA         DLOAD_STRING keys of any bytes
 *
 * SEVERAL AT ONCE  A batch of more than query.max_keys keys goes out as several queries in a pipeline: all are sent
 * before the first is answered, and answers are read while the rest is being sent. dload_postgres_fetch does so
 * with any questions, of different queries, too. Each succeeds or fails by itself.
 *
 * FAILURES  DLOAD_EFETCH: the server refused the query, or there is no server (dload_postgres_error says more);
 * DLOAD_ETIMEDOUT: no answer in query.timeout_ns; DLOAD_EDECODE: the key's column has another type. A connection that
 * is lost is replaced, and what was not answered asked again, once: so the query must change nothing.
 */
#ifndef DLOAD_POSTGRES_FETCH_H
#define DLOAD_POSTGRES_FETCH_H

#include "dataloader_postgres/array.h"

#define DLOAD_POSTGRES_INT4  1
#define DLOAD_POSTGRES_INT8  2
#define DLOAD_POSTGRES_UUID  3
#define DLOAD_POSTGRES_TEXT  4
#define DLOAD_POSTGRES_BYTEA 5

/* A query for many keys; one object for all batches, of any number of threads and pools. Zeros are the
 * defaults, but for sql. */
typedef struct dload_postgres_query {
    const char *sql;     /* must stay for as long as the query and its pools are used */
    int key_column;      /* which one is the key; default 0, the first */
    size_t max_keys;     /* asked for in one query; default 5000 */
    uint64_t timeout_ns; /* of a batch; default the pool's */
    uint64_t n_rows;     /* atomic: rows that came */
    uint64_t n_unknown;  /* atomic: ... of keys that were not asked for */
    uint64_t id;         /* private; see dload_postgres_statement */
} dload_postgres_query;

/* One key, as the server is to see it. */
typedef struct dload_postgres_key {
    int64_t number;    /* INT4, INT8 */
    const char *bytes; /* UUID (16 of them), TEXT, BYTEA */
    size_t n_bytes;
} dload_postgres_key;

/* A question for dload_postgres_fetch: keys first .. first + n - 1 of whatever ctx is. */
typedef struct dload_postgres_ask {
    dload_postgres_query *query;
    int key_type; /* DLOAD_POSTGRES_INT4 ... */
    size_t first, n;
    /* Key i, valid until the question is answered; false = no row has such a key. */
    bool (*key)(void *ctx, size_t i, dload_postgres_key *key);
    /* A row of key i. DLOAD_OK, or an error, which is the answer's status; the other rows come all the same. */
    dload_status (*row)(void *ctx, size_t i, const PGresult *r, int row);
    void *ctx;
    dload_status status; /* out */
    /* private */
    struct dload_postgres_place *places; /* sorted by key */
    size_t n_places, n_allocated;
    dload_postgres_bytes array;
    dload_postgres_statement statement;
} dload_postgres_ask;

/* A key and whose it is. Private. */
typedef struct dload_postgres_place {
    dload_postgres_key key;
    size_t i;
} dload_postgres_place;

/* ---- columns ---- */

/* An int2, int4 or int8 column; false = it is NULL, or no integer. */
DLOAD_I_LOCAL bool dload_postgres_int(const PGresult *r, int row, int column, int64_t *out)
{
    return dload_postgres_i_int(r, row, column, out);
}

/* A float8 or float4 column; false = it is NULL, or neither. */
DLOAD_I_LOCAL bool dload_postgres_double(const PGresult *r, int row, int column, double *out)
{
    const Oid type = PQftype(r, column);
    const size_t n_bytes = type == 701u ? 8u : type == 700u ? 4u : 0u;
    if (n_bytes == 0 || PQfformat(r, column) != 1 || PQgetisnull(r, row, column) != 0 ||
        (size_t)PQgetlength(r, row, column) != n_bytes)
        return false;
    const uint64_t wide = dload_postgres_i_get(PQgetvalue(r, row, column), n_bytes);
    if (n_bytes == 8) {
        memcpy(out, &wide, sizeof *out);
    } else {
        const uint32_t narrow = (uint32_t)wide;
        float x = 0;
        memcpy(&x, &narrow, sizeof x);
        *out = (double)x;
    }
    return true;
}

/* The bytes of a column (text, bytea, uuid: as they are), which live as long as r; false = it is NULL. */
DLOAD_I_LOCAL bool dload_postgres_bytes_of(const PGresult *r, int row, int column, dload_str *out)
{
    if (PQgetisnull(r, row, column) != 0)
        return false;
    out->ptr = PQgetvalue(r, row, column);
    out->len = (size_t)PQgetlength(r, row, column);
    return true;
}

/* ---- keys ---- */

/* May this stand in a text column: UTF-8 without NUL? */
DLOAD_I_LOCAL bool dload_postgres_i_is_text(const char *bytes, size_t n_bytes)
{
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < n_bytes;) {
        const unsigned char c = p[i];
        const size_t n = c < 0x80 ? 1u : c >= 0xf0 ? 4u : c >= 0xe0 ? 3u : 2u;
        if (c == 0 || (c >= 0x80 && c < 0xc2) || c > 0xf4 || n > n_bytes - i)
            return false;
        for (size_t k = 1; k < n; k++) {
            if ((p[i + k] & 0xc0) != 0x80)
                return false;
        }
        if ((c == 0xe0 && p[i + 1] < 0xa0) || (c == 0xed && p[i + 1] > 0x9f) ||
            (c == 0xf0 && p[i + 1] < 0x90) || (c == 0xf4 && p[i + 1] > 0x8f))
            return false; /* longer than needed, a surrogate, beyond the last one */
        i += n;
    }
    return true;
}

/* Can a column of this type hold the key? */
DLOAD_I_LOCAL bool dload_postgres_i_key_ok(int type, const dload_postgres_key *k)
{
    switch (type) {
    case DLOAD_POSTGRES_INT4:
        return k->number >= INT32_MIN && k->number <= INT32_MAX;
    case DLOAD_POSTGRES_INT8:
        return true;
    case DLOAD_POSTGRES_UUID:
        return k->n_bytes == 16;
    case DLOAD_POSTGRES_TEXT:
        return k->n_bytes <= DLOAD_POSTGRES_I_MAX_BYTES &&
               dload_postgres_i_is_text(k->bytes, k->n_bytes);
    default:
        return k->n_bytes <= DLOAD_POSTGRES_I_MAX_BYTES;
    }
}

DLOAD_I_LOCAL int dload_postgres_i_by_number(const void *a, const void *b)
{
    const int64_t x = ((const dload_postgres_place *)a)->key.number;
    const int64_t y = ((const dload_postgres_place *)b)->key.number;
    return x < y ? -1 : x > y;
}

DLOAD_I_LOCAL int dload_postgres_i_by_bytes(const void *a, const void *b)
{
    const dload_postgres_key *x = &((const dload_postgres_place *)a)->key;
    const dload_postgres_key *y = &((const dload_postgres_place *)b)->key;
    const size_t n = x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes;
    const int order = n != 0 ? memcmp(x->bytes, y->bytes, n) : 0;
    return order != 0 ? order : x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

typedef int (*dload_postgres_order)(const void *a, const void *b);

/* Keys are found by a search among the sorted ones: no choice of keys makes that slow. */
DLOAD_I_LOCAL dload_postgres_order dload_postgres_i_order(const dload_postgres_ask *a)
{
    return a->key_type <= DLOAD_POSTGRES_INT8 ? dload_postgres_i_by_number
                                              : dload_postgres_i_by_bytes;
}

/* Writes the parameter. */
DLOAD_I_LOCAL bool dload_postgres_i_ask_array(dload_postgres_ask *a, const dload_env *env)
{
    static const Oid types[6] = {0,
                                 DLOAD_POSTGRES_I_INT4,
                                 DLOAD_POSTGRES_I_INT8,
                                 DLOAD_POSTGRES_I_UUID,
                                 DLOAD_POSTGRES_I_TEXT,
                                 DLOAD_POSTGRES_I_BYTEA};
    const size_t fixed = a->key_type == DLOAD_POSTGRES_INT4   ? 4
                         : a->key_type == DLOAD_POSTGRES_INT8 ? 8
                                                              : 0;
    size_t n_bytes = 0;
    for (size_t i = 0; i < a->n_places; i++)
        n_bytes += fixed != 0 ? fixed : a->places[i].key.n_bytes;
    if (n_bytes > (size_t)1 << 29 ||
        !dload_postgres_i_array(&a->array, env, types[a->key_type], a->n_places, n_bytes))
        return false;
    for (size_t i = 0; i < a->n_places; i++) {
        const dload_postgres_key *k = &a->places[i].key;
        if (fixed == 4) {
            dload_postgres_i_put32(&a->array, 4);
            dload_postgres_i_put32(&a->array, (uint32_t)k->number);
        } else if (fixed == 8) {
            dload_postgres_i_element64(&a->array, (uint64_t)k->number);
        } else {
            dload_postgres_i_element(&a->array, k->bytes, k->n_bytes);
        }
    }
    return true;
}

/* Gets the keys of a question, sorted. */
DLOAD_I_LOCAL dload_status dload_postgres_i_ask_init(dload_postgres_ask *a, const dload_env *env)
{
    static const Oid types[6] = {0,
                                 DLOAD_POSTGRES_I_INT4_ARRAY,
                                 DLOAD_POSTGRES_I_INT8_ARRAY,
                                 DLOAD_POSTGRES_I_UUID_ARRAY,
                                 DLOAD_POSTGRES_I_TEXT_ARRAY,
                                 DLOAD_POSTGRES_I_BYTEA_ARRAY};
    size_t n_bytes = 0;
    a->places = NULL;
    a->array.at = NULL;
    a->n_places = a->n_allocated = 0;
    if (a->query == NULL || a->query->sql == NULL || a->key == NULL || a->row == NULL ||
        a->key_type < DLOAD_POSTGRES_INT4 || a->key_type > DLOAD_POSTGRES_BYTEA ||
        a->n > (size_t)1 << 24 || !dload_i_mul_size(a->n, sizeof *a->places, &n_bytes))
        return DLOAD_EINVAL;
    if (a->n == 0)
        return DLOAD_OK;
    a->places = (dload_postgres_place *)dload_i_alloc(env, n_bytes);
    if (a->places == NULL)
        return DLOAD_ENOMEM;
    a->n_allocated = a->n;
    for (size_t i = 0; i < a->n; i++) {
        dload_postgres_place *p = &a->places[a->n_places];
        memset(p, 0, sizeof *p);
        p->i = a->first + i;
        if (a->key(a->ctx, p->i, &p->key) && dload_postgres_i_key_ok(a->key_type, &p->key))
            a->n_places++;
    }
    if (a->n_places == 0)
        return DLOAD_OK;
    qsort(a->places, a->n_places, sizeof *a->places, dload_postgres_i_order(a));
    memset(&a->statement, 0, sizeof a->statement);
    a->statement.sql = a->query->sql;
    a->statement.id = dload_postgres_i_id(&a->query->id);
    a->statement.n_params = 1;
    a->statement.types[0] = types[a->key_type];
    return dload_postgres_i_ask_array(a, env) ? DLOAD_PENDING : DLOAD_ENOMEM;
}

DLOAD_I_LOCAL void dload_postgres_i_ask_free(dload_postgres_ask *a, const dload_env *env)
{
    dload_i_free(env, a->places, a->n_allocated * sizeof *a->places);
    dload_postgres_i_free_bytes(&a->array, env);
    a->places = NULL;
}

/* ---- rows ---- */

/* The key of a row; false = it is NULL. */
DLOAD_I_LOCAL bool dload_postgres_i_row_key(const dload_postgres_ask *a, const PGresult *r, int row,
                                            dload_postgres_key *k)
{
    dload_str bytes = {NULL, 0};
    if (a->key_type <= DLOAD_POSTGRES_INT8)
        return dload_postgres_i_int(r, row, a->query->key_column, &k->number);
    if (!dload_postgres_bytes_of(r, row, a->query->key_column, &bytes))
        return false;
    k->bytes = bytes.ptr;
    k->n_bytes = bytes.len;
    return true;
}

/* Has the column of the keys the type of the keys? Text has many names. */
DLOAD_I_LOCAL bool dload_postgres_i_column_ok(const dload_postgres_ask *a, const PGresult *r)
{
    const int column = a->query->key_column;
    if (column < 0 || column >= PQnfields(r) || PQfformat(r, column) != 1)
        return false;
    const Oid type = PQftype(r, column);
    const bool number = type == DLOAD_POSTGRES_I_INT2 || type == DLOAD_POSTGRES_I_INT4 ||
                        type == DLOAD_POSTGRES_I_INT8;
    switch (a->key_type) {
    case DLOAD_POSTGRES_INT4:
    case DLOAD_POSTGRES_INT8:
        return number;
    case DLOAD_POSTGRES_UUID:
        return type == DLOAD_POSTGRES_I_UUID;
    case DLOAD_POSTGRES_BYTEA:
        return type == DLOAD_POSTGRES_I_BYTEA;
    default:
        return !number && type != DLOAD_POSTGRES_I_UUID && type != DLOAD_POSTGRES_I_BYTEA;
    }
}

/* Hands the rows of an answer out. Whoever gets them may call any function: nothing is locked. */
DLOAD_I_LOCAL dload_status dload_postgres_i_rows(const dload_postgres_ask *a, const PGresult *r)
{
    const dload_postgres_order order = dload_postgres_i_order(a);
    dload_status worst = DLOAD_OK;
    uint64_t n_unknown = 0;
    if (!dload_postgres_i_column_ok(a, r))
        return DLOAD_EDECODE;
    for (int row = 0; row < PQntuples(r); row++) {
        dload_postgres_place place;
        size_t at = 0, high = a->n_places;
        bool known = false;
        memset(&place, 0, sizeof place);
        if (dload_postgres_i_row_key(a, r, row, &place.key)) {
            while (at < high) { /* the first one that is not before it */
                const size_t middle = at + (high - at) / 2;
                if (order(&a->places[middle], &place) < 0)
                    at = middle + 1;
                else
                    high = middle;
            }
            for (; at < a->n_places && order(&a->places[at], &place) == 0; at++) {
                dload_status st = a->row(a->ctx, a->places[at].i, r, row);
                worst = st < 0 && worst == DLOAD_OK ? st : worst;
                known = true;
            }
        }
        n_unknown += !known;
    }
    (void)__atomic_add_fetch(&a->query->n_rows, (uint64_t)PQntuples(r), __ATOMIC_RELAXED);
    (void)__atomic_add_fetch(&a->query->n_unknown, n_unknown, __ATOMIC_RELAXED);
    return worst;
}

#include "dataloader_postgres/pipeline.h"

#endif /* DLOAD_POSTGRES_FETCH_H */

/* ==== once a loader ==== */

#ifdef DLOAD_POSTGRES_NAME
#ifndef DLOAD_POSTGRES_KEY
#error \
    "dataloader_postgres_fetch.h: define DLOAD_POSTGRES_KEY: DLOAD_POSTGRES_INT4, _INT8, _UUID, _TEXT, _BYTEA"
#endif
#if DLOAD_POSTGRES_KEY < 1 || DLOAD_POSTGRES_KEY > 5
#error \
    "dataloader_postgres_fetch.h: DLOAD_POSTGRES_KEY is none of DLOAD_POSTGRES_INT4, _INT8, _UUID, _TEXT, _BYTEA"
#endif
#define DLOAD_POSTGRES_FN(word) DLOAD_I_JOIN(DLOAD_POSTGRES_NAME, word)

/* A batch with what is to be done with its rows. Private. */
typedef struct DLOAD_POSTGRES_FN(postgres_i_job) {
    DLOAD_POSTGRES_FN(batch) * batch;
    dload_status (*row)(DLOAD_POSTGRES_FN(batch) * b, size_t i, const PGresult *r, int row);
} DLOAD_POSTGRES_FN(postgres_i_job);

DLOAD_I_LOCAL bool DLOAD_POSTGRES_FN(postgres_i_key)(void *ctx, size_t i, dload_postgres_key *key)
{
    const DLOAD_POSTGRES_FN(batch) *b = ((const DLOAD_POSTGRES_FN(postgres_i_job) *)ctx)->batch;
#if DLOAD_POSTGRES_KEY == DLOAD_POSTGRES_UUID
    key->bytes = (const char *)b->keys[i].bytes;
    key->n_bytes = 16;
#elif DLOAD_POSTGRES_KEY == DLOAD_POSTGRES_TEXT || DLOAD_POSTGRES_KEY == DLOAD_POSTGRES_BYTEA
    key->bytes = b->keys[i].ptr;
    key->n_bytes = b->keys[i].len;
#else
    key->number = (int64_t)b->keys[i];
    if (b->keys[i] > 0 && key->number < 0)
        return false; /* beyond the largest number that a column can have */
#endif
    return true;
}

/* A row that is refused fails its key alone. */
DLOAD_I_LOCAL dload_status DLOAD_POSTGRES_FN(postgres_i_row)(void *ctx, size_t i, const PGresult *r,
                                                             int row)
{
    DLOAD_POSTGRES_FN(postgres_i_job) *job = (DLOAD_POSTGRES_FN(postgres_i_job) *)ctx;
    dload_status st = job->row(job->batch, i, r, row);
    if (st < 0 && st != DLOAD_EBUSY) /* busy: a second row, after the answer */
        (void)DLOAD_POSTGRES_FN(batch_fail)(job->batch, i, st);
    return DLOAD_OK;
}

DLOAD_I_LOCAL void DLOAD_POSTGRES_FN(postgres_i_fail)(void *ctx, size_t i, dload_status st)
{
    (void)DLOAD_POSTGRES_FN(batch_fail)(((DLOAD_POSTGRES_FN(postgres_i_job) *)ctx)->batch, i, st);
}

/* For a fetch function: asks the server for the keys of b and answers those that have a row; row is called for each,
 * with the key's index in b, and answers it by _batch_set or its kin. Return what this returns. With an
 * error of row's own (not PENDING) its key fails with that. pool, q and the rows' bytes are only used until this
 * returns; it blocks, for q->timeout_ns at most.
 * Returns DLOAD_OK; the error of all keys: DLOAD_EFETCH, DLOAD_ETIMEDOUT, DLOAD_EDECODE, DLOAD_ENOMEM, DLOAD_EFORK,
 * DLOAD_EINVAL. When b took several queries, a query's error is that of its keys.
 * Allocates from the pool's env: 40 bytes a key, and the keys' bytes. */
DLOAD_I_LOCAL dload_status DLOAD_POSTGRES_FN(postgres_fetch)(
    DLOAD_POSTGRES_FN(batch) * b, dload_postgres *pool, dload_postgres_query *q,
    dload_status (*row)(DLOAD_POSTGRES_FN(batch) * b, size_t i, const PGresult *r, int row))
{
    DLOAD_POSTGRES_FN(postgres_i_job) job;
    if (b == NULL || pool == NULL || q == NULL || row == NULL)
        return DLOAD_EINVAL;
    job.batch = b;
    job.row = row;
    return dload_postgres_i_fetch_all(
        pool, q, DLOAD_POSTGRES_KEY, b->n, DLOAD_POSTGRES_FN(postgres_i_key),
        DLOAD_POSTGRES_FN(postgres_i_row), DLOAD_POSTGRES_FN(postgres_i_fail), &job);
}

#undef DLOAD_POSTGRES_FN
#undef DLOAD_POSTGRES_KEY
#undef DLOAD_POSTGRES_NAME
#endif /* DLOAD_POSTGRES_NAME */
