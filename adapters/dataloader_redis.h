/* dataloader_redis.h -- a store on a Redis or Valkey server: values and leases that all machines share.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"                          // with or without a loader
 *     #include "dataloader_redis.h"                    // links: hiredis, pthread
 *
 *     dload_redis_store redis;
 *     dload_redis_store_config cfg = {0};
 *     char why[160];
 *     cfg.server.url = "redis://:secret@cache.local/2";
 *     if (dload_redis_store_init(&redis, &cfg, why, sizeof why) != DLOAD_OK)
 *         return complain(why);
 *     loader_config.store = &redis.store;              // or by hand:
 *
 *     dload_store_item item = {0};
 *     dload_store_op op = {0};
 *     item.key = "users:42", item.key_bytes = 8;
 *     op.kind = DLOAD_STORE_GET, op.items = &item, op.n = 1;
 *     if (dload_store_run(&redis.store, &op) == DLOAD_OK && item.status == DLOAD_OK)
 *         use(item.value, item.value_bytes);
 *     dload_store_release(&op);
 *     ...
 *     dload_redis_store_end(&redis);
 *
 * No connection is made before the first request, so that a program starts without its cache server.
 *
 * WHAT IS STORED HOW  A value is a string of its bytes under prefix and key ("dload:users:42"), with PX for
 * its time; a lease is a string of 32 hexadecimal digits beside it, see dataloader_redis/names.h. Nothing else is written.
 * Keys and values are arguments with lengths, never part of a command's or a script's text.
 *
 * COMMANDS  GET is an MGET for each config.chunk keys, all of a request in one write. SET revokes the
 * keys' leases (one UNLINK) and sets (SET PX), in one write: what somebody fetches at that time is older. DELETE is one
 * UNLINK for each chunk, keys and leases together. LEASE is an MGET, then a script for each key that has no value;
 * FILL and DROP are a script for each key, pipelined. Scripts are called by their digest, by their text when the server does
 * not know them. CLEAR walks through all keys of the database (SCAN) twice, leases first, so that nobody fills what
 * was cleared: a million keys take about a second, and what does not fit in the time is DLOAD_ETIMEDOUT.
 *
 * LEASES  A lease ends by itself after its time, measured by the server, or earlier: DELETE, SET and CLEAR revoke it, an eviction
 * or a failover may lose it. Who fills without having it stores nothing (DLOAD_ELOCK). So two may fetch the same, but an
 * old value is never stored over a deletion. With maxmemory, choose volatile-* or allkeys-*: leases are small and
 * young, and what evicts them costs a second fetch. tests/models/lease.pml is the proof.
 *
 * WHEN THE SERVER FAILS  Every request ends in its time. A timeout, an end of file or a reply of another kind than asked
 * for closes the connection, since a late reply must not be taken for another request's; the request fails as a whole, and
 * the breaker (see dload_store) leaves the server alone for a while. After an attempt to connect that failed there is none for
 * 50 ms, then 100 ms and so on up to 5 s, each 50 % to 150 % of that (config.server.pause_ns); until then requests
 * fail at once. An error that the server answers for a key (a list where a string was expected) is that key's:
 * DLOAD_EDECODE, or DLOAD_EBACKEND for those that are not about the key. hiredis 0.14 may call abort() without memory.
 *
 * CHANGES THAT OTHERS MAKE  dataloader_redis_tracking.h tells a loader of them: with this store's server, and its prefix.
 *
 * EVENT LOOPS  dataloader_redis/loop.h is this store without threads that wait, dataloader_redis/uv.h that in libuv.
 *
 * THREADS  Any number of threads may run requests. Each takes a connection for itself, of at most
 * config.max_connections, and waits for one within its request's time. In the child of a fork() requests
 * are DLOAD_EFORK: make a store of its own there.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_redis.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_H
#define DLOAD_REDIS_H

#if DLOAD_FREESTANDING
#error "dataloader_redis.h: hiredis needs a host; it does not go with DLOAD_FREESTANDING 1"
#endif

#include "dataloader_redis/conn.h"
#include "dataloader_redis/names.h"

#include "dataloader_threads/pair.h"

/* Zeros are the defaults. */
typedef struct dload_redis_store_config {
    dload_redis_config server; /* where it is, timeouts, TLS; see dataloader_redis/url.h */
    const char *prefix;        /* of all names; no braces, no '%'; NULL = "dload:", "" = none: then
                                a CLEAR of everything clears the database */
    uint32_t max_connections;  /* made on demand; default 4, most 1024 */
    uint32_t chunk;            /* keys of one command; default 100, most 1000 */
    size_t max_key_bytes; /* of a key with its escapes; larger = DLOAD_ETOOBIG; default 1 MiB */
    /* Larger = DLOAD_ETOOBIG; default 64 MiB. One that somebody else has stored ends the connection: 1 MiB more is
     * what server.max_reply_bytes is by default. */
    size_t max_value_bytes;
    bool
        ttls; /* GET and LEASE say what is left of a value's time: a script, three times the server's work */
    const dload_store_hooks *hooks; /* NULL = none; must outlive the store */
} dload_redis_store_config;

/* A command that was sent, and the items whose replies it brings. Private. */
typedef struct dload_redis_i_command {
    uint32_t what;        /* DLOAD_REDIS_I_MGET ... */
    uint32_t first, last; /* items [first, last) of the request */
} dload_redis_i_command;

/* Commands that are under way at a time. */
#define DLOAD_REDIS_I_COMMANDS 1024u

/* A connection with what a request needs beside it. Private. */
typedef struct dload_redis_link {
    dload_redis_conn conn;
    struct dload_redis_link *next; /* idle; under the store's mutex */
    uint64_t connect_until_ns;     /* while it is connecting */
    char *names;                   /* scratch: {name}lease */
    size_t names_cap;
    dload_redis_i_command commands[DLOAD_REDIS_I_COMMANDS];
} dload_redis_link;

/* The store. The caller's; it must stay where it is from _init to _end. */
typedef struct dload_redis_store {
    dload_store store; /* hand &redis.store to whoever asks for a store */
    dload_redis_server server;
    /* private: constant */
    dload_str prefix; /* a copy; NUL behind it */
    uint32_t chunk;
    size_t max_key_bytes, max_value_bytes;
    bool ttls;
    uint32_t n_links;
    dload_redis_link *links;
    pid_t pid;
    /* private: under mutex */
    pthread_mutex_t mutex;
    pthread_cond_t idle_cond;
    dload_redis_link
        *idle;           /* the one used last first: those that are not needed stay unconnected */
    uint32_t n_attempts; /* to connect, that failed, in a row */
    uint64_t pause_until_ns; /* no attempt before this */
} dload_redis_store;

/* ---- connections ---- */

/* A link for one request, not necessarily connected. NULL: all were in use until then. Waits 100 ms at a time: see
 * dload_i_pthread_park. */
DLOAD_I_LOCAL dload_redis_link *dload_redis_i_take_link(dload_redis_store *r, uint64_t until_ns)
{
    (void)pthread_mutex_lock(&r->mutex);
    while (r->idle == NULL) {
        if (dload_redis_now() >= until_ns)
            break;
        dload_threads_i_wait(&r->idle_cond, &r->mutex, until_ns);
    }
    dload_redis_link *l = r->idle;
    if (l != NULL)
        r->idle = l->next;
    (void)pthread_mutex_unlock(&r->mutex);
    return l;
}

DLOAD_I_LOCAL void dload_redis_i_give_link(dload_redis_store *r, dload_redis_link *l)
{
    (void)pthread_mutex_lock(&r->mutex);
    l->next = r->idle;
    r->idle = l;
    (void)pthread_cond_signal(&r->idle_cond);
    (void)pthread_mutex_unlock(&r->mutex);
}

/* May a connection be made now? */
DLOAD_I_LOCAL bool dload_redis_i_may_connect(dload_redis_store *r)
{
    (void)pthread_mutex_lock(&r->mutex);
    bool may = dload_redis_now() >= r->pause_until_ns;
    (void)pthread_mutex_unlock(&r->mutex);
    return may;
}

/* What an attempt came to. Attempts that ran side by side count once. */
DLOAD_I_LOCAL void dload_redis_i_attempted(dload_redis_store *r, bool ok)
{
    (void)pthread_mutex_lock(&r->mutex);
    uint64_t now_ns = dload_redis_now();
    if (ok) {
        r->n_attempts = 0;
        r->pause_until_ns = 0;
    } else if (now_ns >= r->pause_until_ns) {
        r->pause_until_ns = now_ns + dload_redis_pause(&r->server, r->n_attempts, r);
        r->n_attempts += r->n_attempts < 32;
    }
    (void)pthread_mutex_unlock(&r->mutex);
}

/* Makes sure that a link is connected. A connection that went while nobody used it is made anew, and costs the request
 * nothing but that. One that is not through when the request's time is over is gone on with by the next request: else
 * those with little time would never get any. */
DLOAD_I_LOCAL dload_status dload_redis_i_connect(dload_redis_store *r, dload_redis_link *l,
                                                 uint64_t until_ns)
{
    if (l->conn.state == DLOAD_REDIS_READY) {
        if (dload_redis_usable(&l->conn))
            return DLOAD_OK;
        (void)dload_redis_close(&l->conn, DLOAD_EBACKEND, "an idle connection was lost");
        dload_store_log(&r->store, l->conn.error);
    }
    /* One that is gone on with may have said hello to somebody who is gone since: what it reads nobody would hear of. */
    if (l->conn.state == DLOAD_REDIS_HELLO && !dload_redis_marked(&l->conn))
        (void)dload_redis_close(&l->conn, DLOAD_EBACKEND, "connecting took too long");
    dload_status st = DLOAD_OK;
    if (l->conn.state == DLOAD_REDIS_CLOSED) {
        if (!dload_redis_i_may_connect(r))
            return DLOAD_EBACKEND;
        l->connect_until_ns = dload_i_add_ns(dload_redis_now(), r->server.connect_timeout_ns);
        st = dload_redis_start(&l->conn, &r->server, NULL, 0);
        l->conn.lean = true;
    }
    if (st == DLOAD_OK)
        st = dload_redis_enter(&l->conn,
                               until_ns < l->connect_until_ns ? until_ns : l->connect_until_ns);
    if (st == DLOAD_PENDING) {
        if (dload_redis_now() < l->connect_until_ns)
            return DLOAD_ETIMEDOUT;
        st = dload_redis_close(&l->conn, DLOAD_ETIMEDOUT, "not connected in time");
    }
    if (st != DLOAD_ENOMEM) /* that says nothing of the server */
        dload_redis_i_attempted(r, st == DLOAD_OK);
    dload_store_log(&r->store, st == DLOAD_OK ? "redis: connected" : l->conn.error);
    return st;
}

#include "dataloader_redis/ops.h"

/* ---- the store's life ---- */

/* Ends a store: closes its connections and frees what it has. No request may be under way, and no values of one
 * unreleased. The child of a fork() may call it for its parent's store: nothing is sent. */
DLOAD_I_UNUSED static void dload_redis_store_end(dload_redis_store *r)
{
    const dload_env *env = r->store.env;
    for (uint32_t i = 0; i < r->n_links && r->links != NULL; i++) {
        dload_redis_link *l = &r->links[i];
        if (r->pid == getpid())
            (void)dload_redis_close(&l->conn, DLOAD_ECLOSED, "the store ended");
        else
            dload_redis_drop(&l->conn);
        dload_i_free(env, l->names, l->names_cap);
    }
    dload_i_free(env, r->links, r->n_links * sizeof *r->links);
    if (r->prefix.ptr != NULL)
        dload_i_free(env, (void *)(uintptr_t)r->prefix.ptr, r->prefix.len + 1);
    (void)pthread_cond_destroy(&r->idle_cond);
    (void)pthread_mutex_destroy(&r->mutex);
    dload_redis_server_end(&r->server);
    memset(r, 0, sizeof *r);
}

/* The links, all idle, none connected. */
DLOAD_I_LOCAL bool dload_redis_i_init_links(dload_redis_store *r, const char *prefix)
{
    const dload_env *env = r->store.env;
    const size_t prefix_bytes = strlen(prefix);
    r->links = (dload_redis_link *)dload_i_alloc(env, r->n_links * sizeof *r->links);
    if (r->links == NULL)
        return false;
    memset(r->links, 0, r->n_links * sizeof *r->links);
    for (uint32_t i = r->n_links; i-- != 0;) {
        dload_redis_link *l = &r->links[i];
        l->conn.fd = -1;
        l->conn.server = &r->server;
        l->next = r->idle;
        r->idle = l;
    }
    char *copy = (char *)dload_i_alloc(env, prefix_bytes + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, prefix, prefix_bytes + 1);
    r->prefix.ptr = copy;
    r->prefix.len = prefix_bytes;
    return true;
}

/* Makes a store; connects to nothing yet.
 *
 * r is the caller's, uninitialised; what cfg points at may go away, but for env and hooks. why, of why_bytes, gets a
 * sentence without secrets when this fails; NULL = not wanted. DLOAD_OK; DLOAD_EINVAL: a URL that cannot be read, a prefix
 * with braces or '%', numbers out of range; DLOAD_ENOMEM. Allocates max_connections * 13 KB. */
DLOAD_I_UNUSED static dload_status dload_redis_store_init(dload_redis_store *r,
                                                          const dload_redis_store_config *cfg,
                                                          char *why, size_t why_bytes)
{
    const char *prefix = cfg->prefix != NULL ? cfg->prefix : "dload:";
    memset(r, 0, sizeof *r);
    if (!dload_redis_i_prefix_ok(prefix) || cfg->max_connections > 1024 || cfg->chunk > 1000) {
        if (why != NULL && why_bytes != 0)
            (void)snprintf(why, why_bytes,
                           "redis: prefix, max_connections or chunk is out of range");
        return DLOAD_EINVAL;
    }
    dload_redis_config where = cfg->server;
    r->max_value_bytes = cfg->max_value_bytes != 0 ? cfg->max_value_bytes : (size_t)64 << 20;
    if (where.max_reply_bytes == 0 && r->max_value_bytes < SIZE_MAX / 2)
        where.max_reply_bytes =
            r->max_value_bytes + ((size_t)1 << 20); /* of what was not read yet */
    dload_status st = dload_redis_server_init(&r->server, &where, why, why_bytes);
    if (st != DLOAD_OK)
        return st;
    r->chunk = cfg->chunk != 0 ? cfg->chunk : 100;
    r->n_links = cfg->max_connections != 0 ? cfg->max_connections : 4;
    r->max_key_bytes = cfg->max_key_bytes != 0 ? cfg->max_key_bytes : (size_t)1 << 20;
    r->ttls = cfg->ttls;
    r->pid = getpid();
    r->store.name = "redis";
    r->store.flags = DLOAD_STORE_TTL | DLOAD_STORE_BATCH | DLOAD_STORE_LEASES;
    r->store.env = r->server.env;
    r->store.run = dload_redis_i_run;
    r->store.release = dload_redis_i_release;
    r->store.hooks = cfg->hooks;
    if (!dload_threads_i_pair_init(&r->mutex, &r->idle_cond)) {
        dload_redis_server_end(&r->server);
        return DLOAD_ENOMEM;
    }
    if (!dload_redis_i_init_links(r, prefix)) {
        dload_redis_store_end(r);
        return DLOAD_ENOMEM;
    }
    return DLOAD_OK;
}

#endif /* DLOAD_REDIS_H */
