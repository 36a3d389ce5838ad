/* dataloader_redis/conn.h -- one connection to a Redis or Valkey server, for whoever speaks to one.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_redis/conn.h"               // links: hiredis
 *
 *     dload_redis_config cfg = {0};
 *     dload_redis_server server;
 *     dload_redis_conn c;
 *     char why[160];
 *     cfg.url = "redis://:secret@cache.local/2";
 *     if (dload_redis_server_init(&server, &cfg, why, sizeof why) != DLOAD_OK)
 *         return complain(why);
 *     if (dload_redis_open(&c, &server) != DLOAD_OK)    // connects, AUTH, SELECT
 *         return complain(c.error);
 *     redisReply *r = NULL;
 *     dload_redis_begin(&c, 2);                         // GET key: two arguments, any bytes
 *     dload_redis_text(&c, "GET");
 *     dload_redis_arg(&c, key, key_bytes);
 *     dload_status st = dload_redis_get(&c, dload_redis_until(&c, 0), &r);
 *     if (st == DLOAD_OK && r->type == REDIS_REPLY_STRING) use(r->str, r->len);
 *     freeReplyObject(r);
 *     dload_redis_close(&c, DLOAD_OK, NULL);
 *     dload_redis_server_end(&server);
 *
 * WHAT IS WHOSE  hiredis (0.14 or 1.x) takes replies apart; sockets, time and TLS are this header's, since
 * hiredis 0.14 bounds each system call and not a command, has no TLS, and makes room for as many elements
 * as a reply announces. Commands are written as arrays of lengths and bytes, never as text to be
 * taken apart: a key may hold anything.
 *
 * PIPELINES, LOOPS  Several commands may be begun before their replies are taken, which come in the same
 * order. An event loop uses dload_redis_start, polls c.fd for dload_redis_wants, calls dload_redis_step,
 * and takes with dload_redis_next what has come; nothing of these blocks, but for the look-up of a host's
 * name, which has no time limit of its own: give an address where that matters.
 *
 * WHEN THE SERVER FAILS  A timeout, an end of file, a broken reply or one that is too long closes the
 * connection: a late answer must never be taken for that to another question. c.status and c.error
 * say why. Until it is opened again everything returns that status. A connection that has been idle may be
 * dead without our knowing: TCP keepalive and TCP_USER_TIMEOUT are on, and dload_redis_usable looks.
 *
 * THREADS  A connection belongs to one thread at a time; a server may be shared. After fork() the child
 * calls dload_redis_drop and nothing else.
 *
 * MEMORY  Replies and what has been read of them are hiredis's, from malloc; hiredis 0.14 may call abort()
 * when there is none. What is to be sent lies in a buffer from the server's env, kept until the close.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_redis/conn.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_CONN_H
#define DLOAD_REDIS_CONN_H

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "url.h"

#if !defined(HIREDIS_MAJOR) || (HIREDIS_MAJOR == 0 && HIREDIS_MINOR < 14)
#error "dataloader_redis/conn.h: hiredis 0.14 or newer is needed"
#endif

/* How hiredis counts an array's elements. */
#if HIREDIS_MAJOR >= 1
typedef size_t dload_redis_count;
#else
typedef int dload_redis_count;
#endif

#define DLOAD_REDIS_CLOSED  0u
#define DLOAD_REDIS_CONNECT 1u /* TCP is connecting */
#define DLOAD_REDIS_SHAKE   2u /* TLS is being agreed upon */
#define DLOAD_REDIS_HELLO   3u /* AUTH, SELECT and what a watch added are not all answered */
#define DLOAD_REDIS_READY   4u

/* A connection. The caller's; it must stay where it is while it is open. Fields are read only. */
typedef struct dload_redis_conn {
    dload_redis_server *server;
    int fd;              /* -1 = none */
    uint32_t state;      /* DLOAD_REDIS_... */
    dload_status status; /* why it is closed; DLOAD_OK = nobody said */
    char error[160];     /* the same in words; no secret, no key */
    size_t n_owed;       /* replies that did not come yet, without those of hello */
    bool lean;           /* set by who frees replies by dload_redis_reply_free alone */
    bool subscribed;     /* set by who subscribes: replies come without being owed */
    /* private */
    redisReader *reader;
    redisReplyObjectFunctions fn;   /* the reader's: ours, see dataloader_redis/reply.h */
    redisReplyObjectFunctions made; /* hiredis's own */
    size_t n_elements;              /* of the reply that is being read */
    size_t n_hello;
    char *out; /* out_at .. out_len is to be sent */
    size_t out_at, out_len, out_cap;
    struct addrinfo *addresses, *address;
    const char *host; /* in place of the server's */
    int port;
    void *tls;
    bool tls_writes;                                  /* TLS waits until it can write */
    bool watched;                                     /* the watch was told that we are open */
    uint64_t mark;                                    /* the watch's, when we said hello */
    struct dload_redis_conn *watch_next, *watch_prev; /* the watch's, as the next two */
    uint64_t watch_serial;
    bool watch_lost;
} dload_redis_conn;

/* ---- the end ---- */

/* No one may read a secret from memory that was given back. */
DLOAD_I_LOCAL void dload_redis_i_wipe(char *p, size_t n_bytes)
{
    volatile char *v = p;
    for (size_t i = 0; i < n_bytes; i++)
        v[i] = 0;
}

/* Closes; commands whose replies did not come have had their effect or not. status and text say why, for
 * c.status and c.error; text NULL = keeps what is there. Closed already: nothing. Returns status. */
DLOAD_I_UNUSED static dload_status dload_redis_close(dload_redis_conn *c, dload_status status,
                                                     const char *text);

#if defined(DLOAD_REDIS_TLS) && DLOAD_REDIS_TLS
#include "tls.h"
#else
/* Without TLS dload_redis_server_init refuses what would need these. */
DLOAD_I_LOCAL dload_status dload_redis_i_tls_begin(dload_redis_conn *c)
{
    (void)c;
    return DLOAD_EINVAL;
}
DLOAD_I_LOCAL int dload_redis_i_tls_shake(dload_redis_conn *c)
{
    (void)c;
    return -2;
}
DLOAD_I_LOCAL ssize_t dload_redis_i_tls_io(dload_redis_conn *c, void *in, const void *out, size_t n)
{
    (void)c, (void)in, (void)out, (void)n;
    return -2;
}
DLOAD_I_LOCAL void dload_redis_i_tls_end(dload_redis_conn *c)
{
    (void)c;
}
DLOAD_I_LOCAL void dload_redis_i_tls_forget(dload_redis_server *s)
{
    (void)s;
}
#endif

DLOAD_I_UNUSED static void dload_redis_server_end(dload_redis_server *s)
{
    dload_redis_i_tls_forget(s);
    if (s->block != NULL) {
        dload_redis_i_wipe(s->block, s->block_bytes);
        dload_i_free(s->env, s->block, s->block_bytes);
    }
    memset(s, 0, sizeof *s);
}

/* Closes the descriptor and forgets what was under way, without a word to anybody: what the child of a
 * fork() does with a connection of its parent's. c.status stays. */
DLOAD_I_UNUSED static void dload_redis_drop(dload_redis_conn *c)
{
    dload_redis_i_tls_end(c);
    if (c->fd >= 0)
        (void)close(c->fd);
    if (c->reader != NULL)
        redisReaderFree(c->reader);
    if (c->addresses != NULL)
        freeaddrinfo(c->addresses);
    if (c->out != NULL) {
        dload_redis_i_wipe(c->out, c->out_cap); /* AUTH went through it */
        dload_i_free(c->server->env, c->out, c->out_cap);
    }
    c->fd = -1;
    c->reader = NULL;
    c->addresses = c->address = NULL;
    c->out = NULL;
    c->out_at = c->out_len = c->out_cap = c->n_owed = c->n_hello = 0;
    c->state = DLOAD_REDIS_CLOSED;
    c->watched = c->subscribed = c->tls_writes = false;
}

DLOAD_I_UNUSED static dload_status dload_redis_close(dload_redis_conn *c, dload_status status,
                                                     const char *text)
{
    if (c->state == DLOAD_REDIS_CLOSED)
        return status;
    c->status = status;
    if (text != NULL)
        (void)snprintf(c->error, sizeof c->error, "redis: %s", text);
    if (c->watched && c->server->watch != NULL && c->server->watch->closed != NULL)
        c->server->watch->closed(c->server->watch->ctx, c);
    dload_redis_drop(c);
    return status;
}

/* ... because of what errno says. */
DLOAD_I_LOCAL dload_status dload_redis_i_close_errno(dload_redis_conn *c, const char *what, int err)
{
    char text[120], cause[64];
    cause[0] = '\0';
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    (void)snprintf(cause, sizeof cause, "%s", strerror_r(err, text, sizeof text));
#else
    (void)strerror_r(err, cause, sizeof cause);
#endif
    (void)snprintf(text, sizeof text, "%s: %s", what, cause);
    return dload_redis_close(c, err == ETIMEDOUT ? DLOAD_ETIMEDOUT : DLOAD_EBACKEND, text);
}

/* ---- time ---- */

/* The host's monotonic clock: sockets know no other. */
DLOAD_I_LOCAL uint64_t dload_redis_now(void)
{
    return dload_i_clock_precise(NULL);
}

/* When a command that may take timeout_ns, 0 = the server's command_timeout_ns, must be through. */
DLOAD_I_LOCAL uint64_t dload_redis_until(const dload_redis_conn *c, uint64_t timeout_ns)
{
    return dload_i_add_ns(dload_redis_now(),
                          timeout_ns != 0 ? timeout_ns : c->server->command_timeout_ns);
}

/* How long to wait before the n-th attempt to connect again, n from 0: doubles from pause_ns to
 * pause_max_ns, and is 50 % to 150 % of that, so that a fleet does not come back as one. */
DLOAD_I_UNUSED static uint64_t dload_redis_pause(const dload_redis_server *s, uint32_t n,
                                                 const void *who)
{
    uint64_t pause_ns = s->pause_ns;
    for (uint32_t i = 0; i < n && pause_ns < s->pause_max_ns; i++)
        pause_ns *= 2;
    pause_ns = pause_ns < s->pause_max_ns ? pause_ns : s->pause_max_ns;
    uint64_t r = dload_redis_now() + (uint64_t)(uintptr_t)who + (uint64_t)getpid();
    r = (r ^ (r >> 30)) * 0xbf58476d1ce4e5b9u; /* splitmix64 */
    r = (r ^ (r >> 27)) * 0x94d049bb133111ebu;
    r ^= r >> 31;
    return pause_ns / 2 + r % (pause_ns + 1);
}

/* ---- commands ---- */

/* Room for n bytes more; DLOAD_ENOMEM closes: half a command must not be sent. */
DLOAD_I_LOCAL dload_status dload_redis_i_room(dload_redis_conn *c, size_t n)
{
    if (n <= c->out_cap - c->out_len)
        return DLOAD_OK;
    size_t cap = c->out_cap != 0 ? c->out_cap : 4096;
    while (cap - c->out_len < n && cap <= SIZE_MAX / 4)
        cap *= 2;
    char *out = cap - c->out_len < n ? NULL : (char *)dload_i_alloc(c->server->env, cap);
    if (out == NULL)
        return dload_redis_close(c, DLOAD_ENOMEM, "no memory for what is to be sent");
    if (c->out != NULL) {
        memcpy(out, c->out, c->out_len);
        dload_redis_i_wipe(c->out, c->out_len);
        dload_i_free(c->server->env, c->out, c->out_cap);
    }
    c->out = out;
    c->out_cap = cap;
    return DLOAD_OK;
}

/* "*3\r\n", "$12\r\n" */
DLOAD_I_LOCAL dload_status dload_redis_i_head(dload_redis_conn *c, char sign, size_t n, size_t more)
{
    char head[32];
    size_t at = sizeof head;
    head[--at] = '\n';
    head[--at] = '\r';
    do
        head[--at] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    head[--at] = sign;
    if (c->state == DLOAD_REDIS_CLOSED)
        return c->status != DLOAD_OK ? c->status : DLOAD_ECLOSED;
    if (more > SIZE_MAX / 4)
        return DLOAD_ETOOBIG;
    dload_status st = dload_redis_i_room(c, sizeof head - at + more);
    if (st != DLOAD_OK)
        return st;
    memcpy(c->out + c->out_len, head + at, sizeof head - at);
    c->out_len += sizeof head - at;
    return DLOAD_OK;
}

/* Begins a command of n_args arguments, its name included; exactly so many dload_redis_arg and _text
 * follow. Sends nothing yet. Returns DLOAD_OK, or why the connection is closed; what these functions
 * return need not be looked at each time, since dload_redis_get and _next return it again. */
DLOAD_I_UNUSED static dload_status dload_redis_begin(dload_redis_conn *c, size_t n_args)
{
    dload_status st = dload_redis_i_head(c, '*', n_args, 0);
    if (st == DLOAD_OK && c->state == DLOAD_REDIS_READY)
        c->n_owed++;
    else if (st == DLOAD_OK)
        c->n_hello++;
    return st;
}

/* One argument, any bytes, which are copied. p may be NULL when n_bytes is 0. */
DLOAD_I_UNUSED static dload_status dload_redis_arg(dload_redis_conn *c, const void *p,
                                                   size_t n_bytes)
{
    dload_status st = dload_redis_i_head(c, '$', n_bytes, n_bytes + 2);
    if (st != DLOAD_OK)
        return c->state == DLOAD_REDIS_CLOSED
                   ? st
                   : dload_redis_close(c, st, "an argument is too long"); /* half a command */
    if (n_bytes != 0)
        memcpy(c->out + c->out_len, p, n_bytes);
    memcpy(c->out + c->out_len + n_bytes, "\r\n", 2);
    c->out_len += n_bytes + 2;
    return DLOAD_OK;
}

/* One argument: a text of ours. */
DLOAD_I_UNUSED static dload_status dload_redis_text(dload_redis_conn *c, const char *text)
{
    return dload_redis_arg(c, text, strlen(text));
}

/* One argument: a number in decimal. */
DLOAD_I_UNUSED static dload_status dload_redis_number(dload_redis_conn *c, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return dload_redis_text(c, text);
}

#include "reply.h"
#include "wire.h" /* connecting, sending, receiving */

#endif /* DLOAD_REDIS_CONN_H */
