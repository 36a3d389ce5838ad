/* dataloader_postgres/array.h -- arrays of keys and values in the server's binary form.
 *
 * SPDX-License-Identifier: MIT
 *
 * Included by dataloader_postgres.h and dataloader_postgres_fetch.h. An array is one parameter, of a length that
 * is counted before anything is allocated; whatever bytes a key has, none of them is ever part of a statement.
 */
#ifndef DLOAD_POSTGRES_ARRAY_H
#define DLOAD_POSTGRES_ARRAY_H

#include "conn.h"

/* The most that one message to the server holds, of keys and values together; beyond, a request is cut in
 * two. A single key and value may be longer. */
#define DLOAD_POSTGRES_I_MESSAGE_BYTES ((size_t)16 << 20)
#define DLOAD_POSTGRES_I_MESSAGE_KEYS  ((size_t)4096)
/* 16 bytes less than a quarter of what the server allows one value. */
#define DLOAD_POSTGRES_I_MAX_BYTES (((size_t)256 << 20) - 16)

/* A parameter in the making. Private. */
typedef struct dload_postgres_bytes {
    char *at;
    size_t n_bytes;   /* written */
    size_t cap_bytes; /* allocated */
} dload_postgres_bytes;

DLOAD_I_LOCAL void dload_postgres_i_put32(dload_postgres_bytes *b, uint32_t x)
{
    const unsigned char big[4] = {(unsigned char)(x >> 24), (unsigned char)(x >> 16),
                                  (unsigned char)(x >> 8), (unsigned char)x};
    memcpy(b->at + b->n_bytes, big, 4);
    b->n_bytes += 4;
}

DLOAD_I_LOCAL void dload_postgres_i_put64(dload_postgres_bytes *b, uint64_t x)
{
    dload_postgres_i_put32(b, (uint32_t)(x >> 32));
    dload_postgres_i_put32(b, (uint32_t)x);
}

/* Begins an array of n elements that take element_bytes altogether. False = no memory. */
DLOAD_I_LOCAL bool dload_postgres_i_array(dload_postgres_bytes *b, const dload_env *env, Oid type,
                                          size_t n, size_t element_bytes)
{
    b->n_bytes = 0;
    b->cap_bytes = 20 + 4 * n + element_bytes;
    b->at = (char *)dload_i_alloc(env, b->cap_bytes);
    if (b->at == NULL)
        return false;
    dload_postgres_i_put32(b, 1); /* dimensions */
    dload_postgres_i_put32(b, 0); /* no NULL among them */
    dload_postgres_i_put32(b, (uint32_t)type);
    dload_postgres_i_put32(b, (uint32_t)n);
    dload_postgres_i_put32(b, 1); /* indices begin with it */
    return true;
}

DLOAD_I_LOCAL void dload_postgres_i_element(dload_postgres_bytes *b, const void *bytes,
                                            size_t n_bytes)
{
    dload_postgres_i_put32(b, (uint32_t)n_bytes);
    if (n_bytes != 0)
        memcpy(b->at + b->n_bytes, bytes, n_bytes);
    b->n_bytes += n_bytes;
}

DLOAD_I_LOCAL void dload_postgres_i_element64(dload_postgres_bytes *b, uint64_t x)
{
    dload_postgres_i_put32(b, 8);
    dload_postgres_i_put64(b, x);
}

DLOAD_I_LOCAL void dload_postgres_i_free_bytes(dload_postgres_bytes *b, const dload_env *env)
{
    dload_i_free(env, b->at, b->cap_bytes);
    b->at = NULL;
}

DLOAD_I_LOCAL uint64_t dload_postgres_i_get(const char *at, size_t n_bytes)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n_bytes; i++)
        x = x << 8 | (unsigned char)at[i];
    return x;
}

/* An integer column of a result, of 2, 4 or 8 bytes; false = it is NULL or something else. */
DLOAD_I_LOCAL bool dload_postgres_i_int(const PGresult *r, int row, int column, int64_t *out)
{
    const Oid type = PQftype(r, column);
    const size_t n_bytes = type == DLOAD_POSTGRES_I_INT8   ? 8u
                           : type == DLOAD_POSTGRES_I_INT4 ? 4u
                           : type == DLOAD_POSTGRES_I_INT2 ? 2u
                                                           : 0u;
    if (n_bytes == 0 || PQfformat(r, column) != 1 || PQgetisnull(r, row, column) != 0 ||
        (size_t)PQgetlength(r, row, column) != n_bytes)
        return false;
    const uint64_t x = dload_postgres_i_get(PQgetvalue(r, row, column), n_bytes);
    *out = n_bytes == 8 ? (int64_t)x : n_bytes == 4 ? (int32_t)(uint32_t)x : (int16_t)(uint16_t)x;
    return true;
}

#endif /* DLOAD_POSTGRES_ARRAY_H */
