/* dataloader_postgres/conn.h -- connections to PostgreSQL: what the other dataloader_postgres headers stand on.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each of them includes it:
 *
 *     dataloader_postgres.h         a store: a second level in a table
 *     dataloader_postgres/loop.h    the same in an event loop; uv.h: in libuv's
 *     dataloader_postgres_fetch.h   one query for a batch of keys, several in a pipeline
 *     dataloader_postgres_lock.h    named locks, by advisory locks
 *     dataloader_postgres_notify.h  a channel of invalidations, by LISTEN and NOTIFY
 *
 * PROGRAMS  libpq is needed to build and to link: cc ... -lpq -lpthread. libpq 14 or newer (pipelines), a
 * server from 12 on. dataloader.h is included before, with DLOAD_STORE 1.
 *
 * TIME  libpq is only used without blocking: every wait is a poll() with an end, so that a server that is
 * stopped, or a network that swallows everything, costs no more than a request's timeout. A connection that an
 * answer was waited for in vain is closed: the answer that comes late must not be taken for the next one's.
 * PQcancel is not called, because libpq waits for its answer without an end. Instead the server is told at the
 * beginning to end statements by itself (statement_timeout), and, from version 14 on, to look every second
 * whether the client is still there (client_connection_check_interval). What blocks all the same is the look-up
 * of a host name that a name server does not answer: use addresses, or a local resolver.
 *
 * SECRETS  The password of a connection string is replaced in every text this adapter gives out; a connection
 * string that cannot be parsed is not quoted at all.
 *
 * FORK  A connection belongs to the process that made it. In a child every call is DLOAD_EFORK, and _destroy
 * closes the child's half without a word to the server.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_postgres: #define DLOAD_STORE 1 and #include \"dataloader.h\" before this header"
#endif

#ifndef DLOAD_POSTGRES_CONN_H
#define DLOAD_POSTGRES_CONN_H

#if DLOAD_FREESTANDING
#error "dataloader_postgres: libpq needs a host; it does not go with DLOAD_FREESTANDING 1"
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include "../dataloader_threads/pair.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#if defined(__has_include)
#if __has_include(<postgresql/libpq-fe.h>)
#include <postgresql/libpq-fe.h>
#else
#include <libpq-fe.h>
#endif
#else
#include <libpq-fe.h>
#endif

#ifndef LIBPQ_HAS_PIPELINING
#error "dataloader_postgres: libpq 14 or newer is needed"
#endif

#define DLOAD_POSTGRES_I_MAX_CONNS    64u
#define DLOAD_POSTGRES_I_MAX_PREPARED 32u
#define DLOAD_POSTGRES_I_TEXT_BYTES   320u

/* Types of parameters, as the server numbers them; these never change. */
#define DLOAD_POSTGRES_I_BYTEA       17u
#define DLOAD_POSTGRES_I_INT8        20u
#define DLOAD_POSTGRES_I_INT2        21u
#define DLOAD_POSTGRES_I_INT4        23u
#define DLOAD_POSTGRES_I_TEXT        25u
#define DLOAD_POSTGRES_I_VARCHAR     1043u
#define DLOAD_POSTGRES_I_TIMESTAMPTZ 1184u
#define DLOAD_POSTGRES_I_UUID        2950u
#define DLOAD_POSTGRES_I_BYTEA_ARRAY 1001u
#define DLOAD_POSTGRES_I_INT4_ARRAY  1007u
#define DLOAD_POSTGRES_I_TEXT_ARRAY  1009u
#define DLOAD_POSTGRES_I_INT8_ARRAY  1016u
#define DLOAD_POSTGRES_I_UUID_ARRAY  2951u

/* How to reach a server. Zeros are the defaults, but for url. */
typedef struct dload_postgres_config {
    /* A connection string or a URI, as libpq has them: "postgresql://user:password@host/db",
     * "host=/run/postgresql dbname=app". Copied. Required; "" = what the environment says. */
    const char *url;
    const dload_env *env; /* memory; must outlive the pool; NULL = the host's. Time is the host's */
    size_t max_conns;     /* connections, made when needed; default 4; 1 .. 64 */
    uint64_t timeout_ns;  /* the longest a request takes, connecting included; default 2 s */
    uint64_t connect_ns;  /* ... of it, the longest that connecting takes; default 2 s */
    uint64_t backoff_ns;  /* after a failed attempt to connect, no further one for so long, */
    uint64_t
        backoff_max_ns; /* doubling up to so long, each +-50 %; defaults 50 ms, 5 s. Meanwhile requests
                         that find no connection fail at once */
    /* The server is behind a pooler that swaps sessions between transactions: statements are not prepared, and
     * nothing is set in a session, statement_timeout neither. Not for locks and channels. */
    bool pooled;
    /* A sentence for a log: connected, lost, cannot connect. Holds no secret. Any thread, no lock held. */
    void (*log)(void *ctx, const char *text);
    void *log_ctx;
} dload_postgres_config;

/* A statement that connections prepare once. Private but for sql. */
typedef struct dload_postgres_statement {
    const char *sql; /* must outlive the pools that it is used with */
    uint64_t id;     /* of all statements of this process; 0 = none yet */
    int n_params;
    Oid types[4];
} dload_postgres_statement;

/* One connection; used by one thread at a time. Private. */
typedef struct dload_postgres_conn {
    PGconn *pg; /* NULL = not connected */
    struct dload_postgres *pool;
    uint64_t statement_ms; /* its statement_timeout */
    bool busy;             /* of the pool's; under its mutex */
    bool sent;             /* something of the current request may have reached the server */
    bool lost;             /* ... and then the connection failed */
    char sqlstate[6];      /* of the last failure, "" = none */
    uint32_t n_prepared;
    uint64_t prepared[DLOAD_POSTGRES_I_MAX_PREPARED]; /* ids, by number of statement */
} dload_postgres_conn;

/* A pool of connections. Must not be moved between _init and _destroy. Private fields. */
typedef struct dload_postgres {
    const dload_env *env;
    char *url;
    size_t url_bytes;
    char *password; /* NULL = none; only to look for it in texts */
    size_t password_bytes;
    dload_postgres_config config; /* with defaults filled in; url is NULL */
    const char *const *settings;  /* names and values, by turns, ended by NULL */
    pid_t pid;
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    dload_postgres_conn conns[DLOAD_POSTGRES_I_MAX_CONNS];
    uint64_t down_until_ns; /* no attempt to connect before */
    uint64_t down_for_ns;
    uint64_t chance;
    uint64_t n_connects; /* connections made */
    uint64_t n_losses;   /* connections lost or given up */
    char error[DLOAD_POSTGRES_I_TEXT_BYTES];
} dload_postgres;

/* ---- time, chance, texts ---- */

/* The host's clock: how long a server takes is no matter of a loader's own time. */
DLOAD_I_LOCAL uint64_t dload_postgres_i_now(void)
{
    return dload_i_clock_precise(NULL);
}

DLOAD_I_LOCAL uint64_t dload_postgres_i_deadline(const dload_postgres *p, uint64_t timeout_ns)
{
    return dload_i_add_ns(dload_postgres_i_now(),
                          timeout_ns != 0 ? timeout_ns : p->config.timeout_ns);
}

/* span_ns, +-50 %: many processes that lost the same server do not come back together. */
DLOAD_I_LOCAL uint64_t dload_postgres_i_spread(dload_postgres *p, uint64_t span_ns)
{
    uint64_t x = p->chance += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return span_ns / 2 + (span_ns != 0 ? x % span_ns : 0);
}

/* A text of libpq's or a server's, made fit for a log: one line, no password. */
DLOAD_I_LOCAL void dload_postgres_i_clean(const dload_postgres *p, const char *text, char *out,
                                          size_t cap_bytes)
{
    size_t n = 0;
    while (*text != '\0' && n + 4 < cap_bytes) {
        if (p->password_bytes != 0 && strncmp(text, p->password, p->password_bytes) == 0) {
            memcpy(out + n, "***", 3);
            n += 3;
            text += p->password_bytes;
            continue;
        }
        char c = *text++;
        out[n++] = (unsigned char)c < ' ' ? ' ' : c;
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

/* Remembers what went wrong, and tells whoever listens. text is clean. */
DLOAD_I_LOCAL void dload_postgres_i_say(dload_postgres *p, const char *what, const char *text)
{
    char line[DLOAD_POSTGRES_I_TEXT_BYTES + 64];
    int n = snprintf(line, sizeof line, "%s%s%s", what, text[0] != '\0' ? ": " : "", text);
    if (n < 0)
        return;
    (void)pthread_mutex_lock(&p->mutex);
    memcpy(p->error, line, sizeof p->error - 1);
    p->error[sizeof p->error - 1] = '\0';
    (void)pthread_mutex_unlock(&p->mutex);
    if (p->config.log != NULL)
        p->config.log(p->config.log_ctx, line);
}

/* Copies what went wrong last into text, cut to cap_bytes with its NUL; "" = nothing yet. Any thread. */
DLOAD_I_LOCAL void dload_postgres_error(dload_postgres *p, char *text, size_t cap_bytes)
{
    if (cap_bytes == 0)
        return;
    (void)pthread_mutex_lock(&p->mutex);
    (void)snprintf(text, cap_bytes, "%s", p->error);
    (void)pthread_mutex_unlock(&p->mutex);
}

/* Is this a name that may stand, quoted, in a statement: a letter or _, then letters, digits and _, 63 at most? */
DLOAD_I_LOCAL bool dload_postgres_i_name_ok(const char *name)
{
    size_t n = 0;
    if (name == NULL)
        return false;
    for (; name[n] != '\0'; n++) {
        const char c = name[n];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (n >= 63 || !(letter || (n != 0 && c >= '0' && c <= '9')))
            return false;
    }
    return n != 0;
}

/* ---- failures ---- */

/* Closes a connection. In a child of fork the server must not be told: the parent goes on with it. */
DLOAD_I_LOCAL void dload_postgres_i_close(dload_postgres_conn *c)
{
    if (c->pg == NULL)
        return;
    if (c->pool->pid != getpid()) {
        int fd = PQsocket(c->pg), nowhere = open("/dev/null", O_RDWR);
        if (fd >= 0 && nowhere >= 0)
            (void)dup2(nowhere, fd);
        if (nowhere >= 0)
            (void)close(nowhere);
    }
    PQfinish(c->pg);
    c->pg = NULL;
    c->n_prepared = 0;
    c->statement_ms = 0;
}

/* A connection that failed, or that an answer was waited for in vain. */
DLOAD_I_LOCAL dload_status dload_postgres_i_lose(dload_postgres_conn *c, dload_status st)
{
    char text[DLOAD_POSTGRES_I_TEXT_BYTES];
    dload_postgres_i_clean(c->pool,
                           st == DLOAD_ETIMEDOUT ? "no answer in time" : PQerrorMessage(c->pg),
                           text, sizeof text);
    c->lost = true;
    c->sqlstate[0] = '\0';
    dload_postgres_i_close(c);
    (void)__atomic_add_fetch(&c->pool->n_losses, 1, __ATOMIC_RELAXED);
    dload_postgres_i_say(c->pool, "connection lost", text);
    return st;
}

/* What an SQLSTATE is to a loader. */
DLOAD_I_LOCAL dload_status dload_postgres_i_status(const char *sqlstate)
{
    static const struct {
        char code[6];
        dload_status st;
    } known[] = {
        {"57014", DLOAD_ETIMEDOUT}, /* statement_timeout */
        {"55P03", DLOAD_ETIMEDOUT}, /* lock_timeout */
        {"53100", DLOAD_EFULL},     /* its disk is full */
        {"54000", DLOAD_ETOOBIG},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].code, sqlstate) == 0)
            return known[i].st;
    }
    return DLOAD_EBACKEND;
}

/* A statement that the server refused. The text of what it refused may hold a key; its code does not. */
DLOAD_I_LOCAL dload_status dload_postgres_i_refused(dload_postgres_conn *c, const PGresult *r)
{
    const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    (void)snprintf(c->sqlstate, sizeof c->sqlstate, "%s", code != NULL ? code : "XX000");
    dload_status st = dload_postgres_i_status(c->sqlstate);
    /* It is shutting down, or has become a standby: a new connection may lead to the one that has taken over. */
    if (PQstatus(c->pg) != CONNECTION_OK || strncmp(c->sqlstate, "57P", 3) == 0 ||
        strcmp(c->sqlstate, "25006") == 0)
        return dload_postgres_i_lose(c, DLOAD_EBACKEND);
    if (strcmp(c->sqlstate, "55P03") != 0) /* a lock that somebody else has is nothing to tell */
        dload_postgres_i_say(c->pool, "the server refused a statement, SQLSTATE", c->sqlstate);
    return st;
}

/* ---- waiting ---- */

/* Waits until one of events happened; what did, 0 = it is too late, also for what has happened: a server that says
 * a byte now and then would otherwise be listened to for ever. */
DLOAD_I_LOCAL short dload_postgres_i_poll(int fd, short events, uint64_t deadline_ns)
{
    struct pollfd f;
    f.fd = fd;
    f.events = events;
    for (;;) {
        const uint64_t now_ns = dload_postgres_i_now();
        const uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        const uint64_t most_ns = left_ns < DLOAD_SECOND ? left_ns : DLOAD_SECOND;
        f.revents = 0;
        if (left_ns == 0)
            return 0;
        int n = poll(&f, 1, (int)((most_ns + DLOAD_MILLISECOND - 1) / DLOAD_MILLISECOND));
        if (n > 0)
            return f.revents;
        if (n < 0 && errno != EINTR)
            return 0;
    }
}

/* Sends what is queued, taking what comes meanwhile: a server that waits for its answers to be read would
 * otherwise read nothing more. */
DLOAD_I_LOCAL dload_status dload_postgres_i_flush(dload_postgres_conn *c, uint64_t deadline_ns)
{
    for (;;) {
        int left = PQflush(c->pg);
        if (left == 0)
            return DLOAD_OK;
        if (left < 0)
            return dload_postgres_i_lose(c, DLOAD_EBACKEND);
        short seen = dload_postgres_i_poll(PQsocket(c->pg), POLLIN | POLLOUT, deadline_ns);
        if (seen == 0)
            return dload_postgres_i_lose(c, DLOAD_ETIMEDOUT);
        if ((seen & ~POLLOUT) != 0 && PQconsumeInput(c->pg) == 0)
            return dload_postgres_i_lose(c, DLOAD_EBACKEND);
    }
}

/* The next result, NULL = none left of this statement. */
DLOAD_I_LOCAL dload_status dload_postgres_i_result(dload_postgres_conn *c, uint64_t deadline_ns,
                                                   PGresult **r)
{
    while (PQisBusy(c->pg) != 0) {
        if (dload_postgres_i_poll(PQsocket(c->pg), POLLIN, deadline_ns) == 0)
            return dload_postgres_i_lose(c, DLOAD_ETIMEDOUT);
        if (PQconsumeInput(c->pg) == 0)
            return dload_postgres_i_lose(c, DLOAD_EBACKEND);
    }
    *r = PQgetResult(c->pg);
    return DLOAD_OK;
}

/* The answer of the one statement that was sent: *out is the caller's, unless it is NULL. */
DLOAD_I_LOCAL dload_status dload_postgres_i_answer(dload_postgres_conn *c, uint64_t deadline_ns,
                                                   PGresult **out)
{
    PGresult *kept = NULL, *r = NULL;
    dload_status st = dload_postgres_i_flush(c, deadline_ns);
    while (st == DLOAD_OK) {
        st = dload_postgres_i_result(c, deadline_ns, &r);
        if (st != DLOAD_OK || r == NULL)
            break;
        PQclear(kept);
        kept = r;
        if (PQresultStatus(r) == PGRES_COPY_IN || PQresultStatus(r) == PGRES_COPY_OUT ||
            PQresultStatus(r) == PGRES_COPY_BOTH)
            st = dload_postgres_i_lose(c, DLOAD_EBACKEND); /* nobody here copies */
    }
    if (st == DLOAD_OK && kept == NULL)
        st = dload_postgres_i_lose(c, DLOAD_EBACKEND);
    else if (st == DLOAD_OK && PQresultStatus(kept) != PGRES_TUPLES_OK &&
             PQresultStatus(kept) != PGRES_COMMAND_OK)
        st = dload_postgres_i_refused(c, kept);
    if (st == DLOAD_OK && PQtransactionStatus(c->pg) != PQTRANS_IDLE)
        st = dload_postgres_i_lose(c, DLOAD_EBACKEND); /* the next statement would be in it, too */
    if (st == DLOAD_OK && out != NULL)
        *out = kept;
    else
        PQclear(kept);
    return st;
}

#include "pool.h"

#endif /* DLOAD_POSTGRES_CONN_H */
