/* dataloader_postgres_lock.h -- named locks on a PostgreSQL server: advisory locks, one session each.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_postgres_lock.h"       // cc ... -lpq -lpthread
 *
 *     static dload_postgres_locks pg;             // where it stays; its first member is the provider
 *     dload_postgres_config c = {0};
 *     c.url = "postgresql://app@db.example/app";
 *     c.max_conns = 8;                            // so many locks may be held at a time
 *     dload_status st = dload_postgres_locks_init(&pg, &c);
 *     ...
 *     dload_held held = {0};
 *     st = pg.locks.take(&pg.locks, dload_str_from("dataloader:users"), DLOAD_SECOND, &held);
 *     if (st == DLOAD_OK) {
 *         ...
 *         if (pg.locks.check(&pg.locks, &held) != DLOAD_OK) { ... somebody else may have it by now ... }
 *         st = pg.locks.give(&pg.locks, &held);
 *     }
 *     dload_postgres_locks_destroy(&pg);
 *
 * WHAT IT IS  pg_advisory_lock of the first eight bytes of the name's SHA-256, in the database of the connection. A
 * program in any language takes the same lock by
 *     SELECT pg_advisory_lock(('x' || encode(substr(sha256('dataloader:users'), 1, 8), 'hex'))::bit(64)::int8)
 * Such a lock belongs to the session: it is gone at the moment the server sees the connection end, whatever ends it,
 * and it has no time of its own that could run out. Each lock that is held has a connection of its own, because one
 * session gets a lock that it has again and again. Behind a pooler that swaps servers between
 * transactions such locks are no locks.
 *
 * WHEN IT IS LOST  The server was restarted or failed over, the network broke, somebody ended the session: check
 * notices, by asking the server. Between two checks nobody says so. A lock that is lost at our end while the server
 * has not seen it stays taken until it does: see tcp_keepalives_idle there.
 *
 * THREADS  take, check and give from any thread, for different locks at a time. A caller waits in the server's
 * queue, first come, first served, for as long as it may.
 */
#ifndef DLOAD_POSTGRES_LOCK_H
#define DLOAD_POSTGRES_LOCK_H

#include "dataloader_postgres/array.h"

#ifndef DLOAD_I_NAMED_H
#error "dataloader_postgres_lock.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

/* A provider. Must not be moved between _init and _destroy. */
typedef struct dload_postgres_locks {
    dload_locks locks;   /* what loaders are given */
    dload_postgres pool; /* a connection for each lock that is held */
} dload_postgres_locks;

#define DLOAD_POSTGRES_I_LOCK_KEY "('x' || encode(substr(sha256($1), 1, 8), 'hex'))::bit(64)::int8"

/* Its statements. */
#define DLOAD_POSTGRES_I_TRY    0 /* the lock's number, and whether it is ours now */
#define DLOAD_POSTGRES_I_WAIT   1
#define DLOAD_POSTGRES_I_HELD   2
#define DLOAD_POSTGRES_I_UNLOCK 3

DLOAD_I_LOCAL dload_postgres_statement *dload_postgres_i_lock_statement(int which)
{
    static dload_postgres_statement statements[4] = {
        {"SELECT k.n, pg_try_advisory_lock(k.n) FROM (SELECT " DLOAD_POSTGRES_I_LOCK_KEY
         " AS n OFFSET 0) AS k",
         0,
         1,
         {DLOAD_POSTGRES_I_BYTEA, 0, 0, 0}},
        {"SELECT pg_advisory_lock($1)", 0, 1, {DLOAD_POSTGRES_I_INT8, 0, 0, 0}},
        {"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() "
         "AND granted AND objsubid = 1 AND (classid::int8 << 32 | objid::int8) = $1",
         0,
         1,
         {DLOAD_POSTGRES_I_INT8, 0, 0, 0}},
        {"SELECT pg_advisory_unlock($1)", 0, 1, {DLOAD_POSTGRES_I_INT8, 0, 0, 0}},
    };
    return &statements[which];
}

/* Asks about a lock by its number. *yes: the answer's last column is true, or not 0. */
DLOAD_I_LOCAL dload_status dload_postgres_i_lock_ask(dload_postgres_conn *c, int which,
                                                     uint64_t number, uint64_t deadline_ns,
                                                     bool *yes)
{
    char bytes[8];
    dload_postgres_bytes b = {bytes, 0, sizeof bytes};
    dload_postgres_values v;
    PGresult *r = NULL;
    dload_postgres_i_put64(&b, number);
    memset(&v, 0, sizeof v);
    v.value[0] = bytes;
    v.n_bytes[0] = sizeof bytes;
    dload_status st =
        dload_postgres_i_ask(c, dload_postgres_i_lock_statement(which), &v, deadline_ns, &r);
    if (st != DLOAD_OK)
        return st;
    const size_t n_bytes = PQntuples(r) == 1 ? (size_t)PQgetlength(r, 0, 0) : 0;
    *yes = n_bytes <= 8 && n_bytes != 0 && dload_postgres_i_get(PQgetvalue(r, 0, 0), n_bytes) != 0;
    PQclear(r);
    return DLOAD_OK;
}

/* Is it free? Then it is ours. *number is the lock's in any case. */
DLOAD_I_LOCAL dload_status dload_postgres_i_lock_try(dload_postgres_conn *c, dload_str name,
                                                     uint64_t deadline_ns, uint64_t *number,
                                                     bool *ours)
{
    dload_postgres_values v;
    PGresult *r = NULL;
    int64_t n = 0;
    memset(&v, 0, sizeof v);
    v.value[0] = name.len != 0 ? name.ptr : "";
    v.n_bytes[0] = (int)name.len;
    dload_status st = dload_postgres_i_ask(c, dload_postgres_i_lock_statement(DLOAD_POSTGRES_I_TRY),
                                           &v, deadline_ns, &r);
    if (st != DLOAD_OK)
        return st;
    if (PQntuples(r) != 1 || PQnfields(r) != 2 || !dload_postgres_i_int(r, 0, 0, &n) ||
        PQgetlength(r, 0, 1) != 1)
        st = dload_postgres_i_lose(c, DLOAD_EBACKEND);
    else
        *ours = PQgetvalue(r, 0, 1)[0] != 0;
    *number = (uint64_t)n;
    PQclear(r);
    return st;
}

/* Waits in the server's queue. */
DLOAD_I_LOCAL dload_status dload_postgres_i_lock_wait(dload_postgres_conn *c, uint64_t number,
                                                      uint64_t wait_ns, uint64_t deadline_ns)
{
    char ms[24];
    bool yes = false;
    uint64_t wait_ms = wait_ns / DLOAD_MILLISECOND;
    wait_ms = wait_ms == 0 ? 1 : wait_ms < INT32_MAX ? wait_ms : INT32_MAX;
    (void)snprintf(ms, sizeof ms, "%lu", (unsigned long)wait_ms);
    dload_status st = dload_postgres_i_limit(c, deadline_ns - dload_postgres_i_now(), deadline_ns);
    if (st == DLOAD_OK)
        st = dload_postgres_i_set(c, "lock_timeout", ms, deadline_ns);
    if (st == DLOAD_OK)
        st = dload_postgres_i_lock_ask(c, DLOAD_POSTGRES_I_WAIT, number, deadline_ns, &yes);
    return st;
}

/* dload_locks.take */
DLOAD_I_LOCAL dload_status dload_postgres_i_lock_take(dload_locks *locks, dload_str name,
                                                      uint64_t timeout_ns, dload_held *held)
{
    dload_postgres_locks *p = (dload_postgres_locks *)(void *)locks;
    const uint64_t until_ns = dload_i_add_ns(dload_postgres_i_now(), timeout_ns);
    /* whatever is asked of the server is answered soon, but for the waiting itself */
    const uint64_t deadline_ns = dload_i_add_ns(until_ns, p->pool.config.timeout_ns);
    dload_postgres_conn *c = NULL;
    bool ours = false;
    memset(held, 0, sizeof *held);
    if (name.len > INT32_MAX / 4 || (name.ptr == NULL && name.len != 0))
        return DLOAD_EINVAL;
    if (dload_postgres_i_take(&p->pool, until_ns, &c) != DLOAD_OK)
        return DLOAD_ELOCK; /* max_conns are held, or this is a child */
    dload_status st = DLOAD_OK;
    for (int attempt = 0; attempt < 2; attempt++) {
        st = dload_postgres_i_ready(c, deadline_ns);
        if (st == DLOAD_OK)
            st = dload_postgres_i_lock_try(c, name, deadline_ns, &held->word[0], &ours);
        if (st == DLOAD_OK || !c->lost || st == DLOAD_ETIMEDOUT)
            break; /* a session that had ended unnoticed is replaced once */
    }
    const uint64_t now_ns = dload_postgres_i_now();
    if (st == DLOAD_OK && !ours && now_ns < until_ns)
        st = dload_postgres_i_lock_wait(c, held->word[0], until_ns - now_ns, deadline_ns);
    else if (st == DLOAD_OK && !ours)
        st = DLOAD_ETIMEDOUT;
    else if (st == DLOAD_ETIMEDOUT)
        st = DLOAD_ELOCK; /* it was the server that did not answer */
    if (st == DLOAD_OK) {
        held->impl = c;
        return DLOAD_OK;
    }
    if (st == DLOAD_ETIMEDOUT && c->pg == NULL)
        st = DLOAD_ELOCK;
    dload_postgres_i_give(c);
    return st == DLOAD_ETIMEDOUT || st == DLOAD_ENOMEM ? st : DLOAD_ELOCK;
}

/* dload_locks.check */
DLOAD_I_LOCAL dload_status dload_postgres_i_lock_check(dload_locks *locks, dload_held *held)
{
    dload_postgres_locks *p = (dload_postgres_locks *)(void *)locks;
    dload_postgres_conn *c = (dload_postgres_conn *)held->impl;
    bool yes = false;
    if (c == NULL || p->pool.pid != getpid() || c->pg == NULL)
        return DLOAD_ELOCK;
    dload_status st = dload_postgres_i_lock_ask(c, DLOAD_POSTGRES_I_HELD, held->word[0],
                                                dload_postgres_i_deadline(&p->pool, 0), &yes);
    return st == DLOAD_OK && yes ? DLOAD_OK : DLOAD_ELOCK;
}

/* dload_locks.give */
DLOAD_I_LOCAL dload_status dload_postgres_i_lock_give(dload_locks *locks, dload_held *held)
{
    dload_postgres_locks *p = (dload_postgres_locks *)(void *)locks;
    dload_postgres_conn *c = (dload_postgres_conn *)held->impl;
    dload_status st = DLOAD_ELOCK;
    bool yes = false;
    held->impl = NULL;
    if (c == NULL || p->pool.pid != getpid())
        return DLOAD_ELOCK;
    if (c->pg != NULL)
        st = dload_postgres_i_lock_ask(c, DLOAD_POSTGRES_I_UNLOCK, held->word[0],
                                       dload_postgres_i_deadline(&p->pool, 0), &yes);
    if (st != DLOAD_OK || !yes)
        dload_postgres_i_close(c); /* with its session whatever it may hold ends */
    dload_postgres_i_give(c);
    return st == DLOAD_OK && yes ? DLOAD_OK : DLOAD_ELOCK;
}

/* Prepares a provider; connects to nobody yet. config is copied; its max_conns is how many locks may be held at a
 * time, its timeout_ns the longest that the server may take to answer, waiting for a lock not counted. Returns as
 * dload_postgres_init does. */
DLOAD_I_LOCAL dload_status dload_postgres_locks_init(dload_postgres_locks *p,
                                                     const dload_postgres_config *config)
{
    if (p == NULL)
        return DLOAD_EINVAL;
    p->locks.name = "postgres";
    p->locks.take = dload_postgres_i_lock_take;
    p->locks.check = dload_postgres_i_lock_check;
    p->locks.give = dload_postgres_i_lock_give;
    return dload_postgres_init(&p->pool, config);
}

/* Closes the connections, and with them whatever is still held. Nobody may be inside a call. */
DLOAD_I_LOCAL void dload_postgres_locks_destroy(dload_postgres_locks *p)
{
    dload_postgres_destroy(&p->pool);
}

#endif /* DLOAD_POSTGRES_LOCK_H */
