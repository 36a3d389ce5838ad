/* dataloader_any.h -- a store by its URL: the one line in which a program says where its second level lies.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_NAME  quotes
 *     ...
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_any.h"                // links: what of sqlite3, hiredis and pq is installed
 *
 *     static dload_any second;
 *     char why[200];
 *     if (dload_any_open(&second, option, why, sizeof why) != DLOAD_OK)
 *         return complain(why);
 *     quotes_config cfg = quotes_config_default();
 *     cfg.store = second.store;
 *     ...
 *     quotes_destroy(&l);
 *     dload_any_close(&second);
 *
 * URLS
 *   none                           no store: second.store is NULL
 *   memory                         this process's memory, 64 MiB; memory:256 = so many MiB
 *   sqlite:FILE                    a file; made when it is not there
 *   redis://[user:password@]host[:port][/db], rediss:// (TLS), unix:///path/to/socket[?db=n]
 *   postgresql://[user[:password]@]host[/db][?...]   postgres:// and a table called dload_store
 *
 * Nothing is started that is not there: a server has to run, a folder has to exist. A store whose library the
 * program was not built with is refused by a sentence that says which package brings it. What is
 * found by #include decides; DLOAD_ANY_SQLITE, _REDIS or _POSTGRES 0, defined before, leave one out.
 *
 * For anything but the defaults (pools, sizes, tables, hooks) use the store's own header.
 *
 * THREADS  _open, _close and _listen: one thread. The store itself: see its header.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_any.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_ANY_H
#define DLOAD_ANY_H

#ifndef DLOAD_ANY_SQLITE
#if __has_include(<sqlite3.h>)
#define DLOAD_ANY_SQLITE 1
#else
#define DLOAD_ANY_SQLITE 0
#endif
#endif
#ifndef DLOAD_ANY_REDIS
#if __has_include(<hiredis/hiredis.h>)
#define DLOAD_ANY_REDIS 1
#else
#define DLOAD_ANY_REDIS 0
#endif
#endif
#ifndef DLOAD_ANY_POSTGRES
#if __has_include(<postgresql/libpq-fe.h>) || __has_include(<libpq-fe.h>)
#define DLOAD_ANY_POSTGRES 1
#else
#define DLOAD_ANY_POSTGRES 0
#endif
#endif

#include <stdio.h>

#include "dataloader_memory.h"
#if DLOAD_ANY_SQLITE
#include "dataloader_sqlite.h"
#endif
#if DLOAD_ANY_REDIS
#ifndef DLOAD_REDIS_TLS
#if __has_include(<openssl/ssl.h>)
#define DLOAD_REDIS_TLS 1
#else
#define DLOAD_REDIS_TLS 0
#endif
#endif
#include "dataloader_redis.h"
#include "dataloader_redis_tracking.h"
#endif
#if DLOAD_ANY_POSTGRES
#include "dataloader_postgres.h"
#endif

typedef enum dload_any_kind {
    DLOAD_ANY_IS_NONE = 0,
    DLOAD_ANY_IS_MEMORY = 1,
    DLOAD_ANY_IS_SQLITE = 2,
    DLOAD_ANY_IS_REDIS = 3,
    DLOAD_ANY_IS_POSTGRES = 4
} dload_any_kind;

/* An open store. The caller's; must not move until it is closed. */
typedef struct dload_any {
    dload_any_kind kind; /* read only */
    dload_store *store;  /* read only; NULL = none */
    union {
        dload_memory memory;
#if DLOAD_ANY_SQLITE
        dload_sqlite sqlite;
#endif
#if DLOAD_ANY_REDIS
        dload_redis_store redis;
#endif
#if DLOAD_ANY_POSTGRES
        dload_postgres_store postgres;
#endif
    } is; /* private */
#if DLOAD_ANY_REDIS
    dload_redis_tracking tracking; /* private */
#endif
    bool listens; /* private */
} dload_any;

/* What stands in a URL after a scheme; NULL = it is another one. */
DLOAD_I_LOCAL const char *dload_any_i_after(const char *url, const char *scheme)
{
    const size_t n = strlen(scheme);
    return strncmp(url, scheme, n) == 0 ? url + n : NULL;
}

DLOAD_I_LOCAL dload_status dload_any_i_refuse(char *why, size_t why_bytes, const char *text)
{
    (void)snprintf(why, why_bytes, "%s", text);
    return DLOAD_EINVAL;
}

DLOAD_I_LOCAL dload_status dload_any_i_open_memory(dload_any *a, const char *mib, char *why,
                                                   size_t why_bytes)
{
    dload_memory_config cfg;
    uint64_t n = 0;
    memset(&cfg, 0, sizeof cfg);
    for (; *mib >= '0' && *mib <= '9' && n < (1u << 20); mib++)
        n = n * 10 + (uint64_t)(*mib - '0');
    if (*mib != '\0')
        return dload_any_i_refuse(why, why_bytes, "memory: a number of MiB is expected behind it");
    cfg.max_bytes = n << 20;
    dload_status st = dload_memory_init(&a->is.memory, &cfg);
    if (st < 0)
        (void)snprintf(why, why_bytes, "memory: %s", dload_strerror(st));
    a->kind = DLOAD_ANY_IS_MEMORY;
    a->store = &a->is.memory.store;
    return st;
}

DLOAD_I_LOCAL dload_status dload_any_i_open_sqlite(dload_any *a, const char *path, char *why,
                                                   size_t why_bytes)
{
#if DLOAD_ANY_SQLITE
    dload_sqlite_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.path = path;
    dload_status st = dload_sqlite_init(&a->is.sqlite, &cfg);
    if (st < 0)
        (void)snprintf(why, why_bytes, "sqlite: %s cannot be used: %s", path, dload_strerror(st));
    a->kind = DLOAD_ANY_IS_SQLITE;
    a->store = &a->is.sqlite.store;
    return st;
#else
    (void)a;
    (void)path;
    return dload_any_i_refuse(why, why_bytes,
                              "sqlite: this program was built without SQLite (libsqlite3-dev)");
#endif
}

DLOAD_I_LOCAL dload_status dload_any_i_open_redis(dload_any *a, const char *url, char *why,
                                                  size_t why_bytes)
{
#if DLOAD_ANY_REDIS
    dload_redis_store_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.server.url = url;
    dload_status st = dload_redis_store_init(&a->is.redis, &cfg, why, why_bytes);
    a->kind = DLOAD_ANY_IS_REDIS;
    a->store = &a->is.redis.store;
    return st;
#else
    (void)a;
    (void)url;
    return dload_any_i_refuse(why, why_bytes,
                              "redis: this program was built without hiredis (libhiredis-dev)");
#endif
}

DLOAD_I_LOCAL dload_status dload_any_i_open_postgres(dload_any *a, const char *url, char *why,
                                                     size_t why_bytes)
{
#if DLOAD_ANY_POSTGRES
    dload_postgres_store_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.pg.url = url;
    dload_status st = dload_postgres_store_init(&a->is.postgres, &cfg);
    if (st < 0)
        (void)snprintf(why, why_bytes, "postgresql: %s", dload_strerror(st));
    a->kind = DLOAD_ANY_IS_POSTGRES;
    a->store = &a->is.postgres.store;
    return st;
#else
    (void)a;
    (void)url;
    return dload_any_i_refuse(why, why_bytes,
                              "postgresql: this program was built without libpq (libpq-dev)");
#endif
}

/* Makes the store that a URL names. why (NUL-terminated, without secrets, not NULL) says what is wrong
 * when it is not DLOAD_OK: DLOAD_EINVAL, an unknown scheme or a library that is not there; or what the store's _init
 * says. Servers are not asked yet: one that is down is a miss for loaders until it is there. Allocates. */
DLOAD_I_UNUSED static dload_status dload_any_open(dload_any *a, const char *url, char *why,
                                                  size_t why_bytes)
{
    const char *rest = NULL;
    dload_status st = DLOAD_OK;
    memset(a, 0, sizeof *a);
    if (strcmp(url, "none") == 0)
        return DLOAD_OK;
    if (strcmp(url, "memory") == 0)
        st = dload_any_i_open_memory(a, "", why, why_bytes);
    else if ((rest = dload_any_i_after(url, "memory:")) != NULL)
        st = dload_any_i_open_memory(a, rest, why, why_bytes);
    else if ((rest = dload_any_i_after(url, "sqlite:")) != NULL)
        st = dload_any_i_open_sqlite(a, rest, why, why_bytes);
    else if (dload_any_i_after(url, "redis://") != NULL ||
             dload_any_i_after(url, "rediss://") != NULL ||
             dload_any_i_after(url, "unix://") != NULL)
        st = dload_any_i_open_redis(a, url, why, why_bytes);
    else if (dload_any_i_after(url, "postgresql://") != NULL ||
             dload_any_i_after(url, "postgres://") != NULL)
        st = dload_any_i_open_postgres(a, url, why, why_bytes);
    else
        st = dload_any_i_refuse(why, why_bytes,
                                "a store is none, memory, sqlite:FILE, redis://HOST, "
                                "unix:///SOCKET or postgresql://HOST/DATABASE");
    if (st < 0) {
        a->kind = DLOAD_ANY_IS_NONE;
        a->store = NULL;
    }
    return st;
}

/* ---- hearing of changes ---- */

/* Does the store tell when keys change, whoever changed them? Redis does; the others do not by themselves. */
DLOAD_I_LOCAL bool dload_any_tells(const dload_any *a)
{
    return a->kind == DLOAD_ANY_IS_REDIS;
}

/* Has the store tell sink, a loader's (NAME_sink), of each key that changed; before the store is asked for the
 * first time. DLOAD_OK; DLOAD_EINVAL, it does not tell, or was asked already; DLOAD_ENOMEM, no thread. A
 * server that is not heard of within a second is no error: the loader caches nothing until it is there. One sink a store; it is the
 * caller's, and stays until dload_any_deafen, which comes before the loader's _destroy. */
DLOAD_I_UNUSED static dload_status dload_any_listen(dload_any *a, dload_sink *sink, char *why,
                                                    size_t why_bytes)
{
    if (!dload_any_tells(a) || a->listens)
        return dload_any_i_refuse(why, why_bytes, "this store does not tell of changes");
#if DLOAD_ANY_REDIS
    dload_redis_listen_config listen;
    memset(&listen, 0, sizeof listen);
    listen.prefix = a->is.redis.prefix.ptr;
    dload_status st = dload_redis_tracking_init(&a->tracking, &a->is.redis.server, &listen);
    if (st != DLOAD_OK) {
        (void)snprintf(why, why_bytes, "redis: tracking: %s", dload_strerror(st));
        return st;
    }
    a->listens = true;
    dload_redis_tracking_add(&a->tracking, sink);
    st = dload_redis_tracking_start(&a->tracking);
    if (st != DLOAD_OK)
        (void)snprintf(why, why_bytes, "redis: no thread that listens: %s", dload_strerror(st));
    else /* what is fetched before it hears is cached nowhere */
        (void)dload_redis_tracking_wait(&a->tracking, DLOAD_SECOND);
    return st;
#else
    (void)sink;
    return DLOAD_EINVAL;
#endif
}

/* The sink is not called any more when this returns. Does nothing without a _listen before. */
DLOAD_I_UNUSED static void dload_any_deafen(dload_any *a)
{
#if DLOAD_ANY_REDIS
    if (a->listens)
        dload_redis_tracking_stop(&a->tracking);
#else
    (void)a;
#endif
}

/* Ends a store, with nobody using it any more; loaders that have it are to be destroyed before. */
DLOAD_I_UNUSED static void dload_any_close(dload_any *a)
{
    if (a->kind == DLOAD_ANY_IS_MEMORY)
        dload_memory_destroy(&a->is.memory);
#if DLOAD_ANY_SQLITE
    if (a->kind == DLOAD_ANY_IS_SQLITE)
        dload_sqlite_destroy(&a->is.sqlite);
#endif
#if DLOAD_ANY_REDIS
    dload_any_deafen(a);
    if (a->kind == DLOAD_ANY_IS_REDIS)
        dload_redis_store_end(&a->is.redis);
    if (a->listens)
        dload_redis_tracking_end(&a->tracking); /* after the connections that it watches */
#endif
#if DLOAD_ANY_POSTGRES
    if (a->kind == DLOAD_ANY_IS_POSTGRES)
        dload_postgres_store_destroy(&a->is.postgres);
#endif
    memset(a, 0, sizeof *a);
}

#endif /* DLOAD_ANY_H */
