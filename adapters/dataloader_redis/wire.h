/* dataloader_redis/wire.h -- connecting to a Redis server, sending, receiving.
 *
 * SPDX-License-Identifier: MIT
 *
 * Part of dataloader_redis/conn.h, which includes it and is its manual.
 */
#ifndef DLOAD_REDIS_CONN_H
#error "dataloader_redis/wire.h: include dataloader_redis/conn.h instead"
#endif

#ifndef DLOAD_REDIS_WIRE_H
#define DLOAD_REDIS_WIRE_H

#ifdef MSG_NOSIGNAL
#define DLOAD_REDIS_I_SEND MSG_NOSIGNAL
#else
#define DLOAD_REDIS_I_SEND 0
#endif

/* ---- replies ---- */

/* Takes an answer to our hello; DLOAD_OK, or the connection is closed. The server's words are not passed on
 * but for the first, which is a code: an unknown command comes back with its arguments. */
DLOAD_I_LOCAL dload_status dload_redis_i_welcome(dload_redis_conn *c, redisReply *reply)
{
    char text[96];
    size_t len = 0;
    const bool ok =
        reply->type == REDIS_REPLY_STATUS && reply->len == 2 && memcmp(reply->str, "OK", 2) == 0;
    if (!ok && reply->type == REDIS_REPLY_ERROR) {
        while (len < reply->len && len < 24 && reply->str[len] >= 'A' && reply->str[len] <= 'Z')
            len++;
    }
    (void)snprintf(text, sizeof text, "the server refused the connection: %.*s", (int)len,
                   len != 0 ? reply->str : "");
    dload_redis_reply_free(reply);
    if (!ok)
        return dload_redis_close(c, DLOAD_EBACKEND, text);
    if (--c->n_hello != 0)
        return DLOAD_OK;
    c->state = DLOAD_REDIS_READY;
    c->watched = c->server->watch != NULL;
    if (c->watched && c->server->watch->opened != NULL)
        c->server->watch->opened(c->server->watch->ctx, c);
    return DLOAD_OK;
}

/* A reply that has been received, without waiting.
 *
 * Returns DLOAD_OK and *reply, the caller's, for freeReplyObject (of a lean connection for dload_redis_reply_free);
 * its type is for the caller to check.
 * DLOAD_PENDING: none is complete, poll and dload_redis_step. Otherwise why the connection is closed. */
DLOAD_I_UNUSED static dload_status dload_redis_next(dload_redis_conn *c, redisReply **reply)
{
    for (;;) {
        void *got = NULL;
        if (c->state == DLOAD_REDIS_CLOSED)
            return c->status != DLOAD_OK ? c->status : DLOAD_ECLOSED;
        if (redisReaderGetReply(c->reader, &got) != REDIS_OK)
            return dload_redis_close(c, DLOAD_EBACKEND,
                                     c->reader->err == REDIS_ERR_OOM
                                         ? "a reply with too many elements, or no memory for it"
                                         : "what the server sends is no Redis protocol");
        if (got == NULL)
            return DLOAD_PENDING;
        c->n_elements = 0;
        if (c->n_hello != 0) {
            dload_status st = dload_redis_i_welcome(c, (redisReply *)got);
            if (st != DLOAD_OK)
                return st;
            continue;
        }
        if (c->n_owed == 0 && !c->subscribed) {
            dload_redis_reply_free(got);
            return dload_redis_close(c, DLOAD_EBACKEND, "a reply that nobody asked for");
        }
        c->n_owed -= c->n_owed != 0;
        *reply = (redisReply *)got;
        return DLOAD_OK;
    }
}

/* ---- bytes ---- */

/* Bytes received or sent; 0 = the other side is gone; -1 = not now; -2 = closed. One of in and out. */
DLOAD_I_LOCAL ssize_t dload_redis_i_io(dload_redis_conn *c, void *in, const void *out, size_t n)
{
    if (c->tls != NULL)
        return dload_redis_i_tls_io(c, in, out, n);
    for (;;) {
        ssize_t done = in != NULL ? recv(c->fd, in, n, 0) : send(c->fd, out, n, DLOAD_REDIS_I_SEND);
        if (done >= 0)
            return done;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return -1;
        if (errno == EINTR)
            continue;
        (void)dload_redis_i_close_errno(c, in != NULL ? "receiving" : "sending", errno);
        return -2;
    }
}

/* Sends what can be sent now. */
DLOAD_I_LOCAL dload_status dload_redis_i_send(dload_redis_conn *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = dload_redis_i_io(c, NULL, c->out + c->out_at, c->out_len - c->out_at);
        if (n == -2)
            return c->status;
        if (n <= 0)
            return DLOAD_OK;
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_len = 0;
    return DLOAD_OK;
}

/* Receives what is there; a large reply in several steps. */
DLOAD_I_LOCAL dload_status dload_redis_i_receive(dload_redis_conn *c)
{
    char bytes[16384];
    /* What TLS holds back already, poll does not see: all of it. */
    for (size_t round = 0; round < 16 || c->tls != NULL; round++) {
        ssize_t n = dload_redis_i_io(c, bytes, NULL, sizeof bytes);
        if (n == -2)
            return c->status;
        if (n == -1)
            return DLOAD_OK;
        if (n == 0)
            return dload_redis_close(c, DLOAD_EBACKEND, "the server closed the connection");
        if (c->reader->len - c->reader->pos > c->server->max_reply_bytes - (size_t)n)
            return dload_redis_close(c, DLOAD_EBACKEND, "a reply is too long (max_reply_bytes)");
        if (redisReaderFeed(c->reader, bytes, (size_t)n) != REDIS_OK)
            return dload_redis_close(c, DLOAD_ENOMEM, "no memory for a reply");
        if ((size_t)n < sizeof bytes && c->tls == NULL)
            return DLOAD_OK;
    }
    return DLOAD_OK;
}

/* ---- connecting ---- */

DLOAD_I_LOCAL void dload_redis_i_socket_options(const dload_redis_conn *c)
{
    const int on = 1;
    (void)setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#ifdef __linux__
#ifndef TCP_USER_TIMEOUT
#define DLOAD_REDIS_I_USER_TIMEOUT 18 /* hidden by a strict -std=c11 in some C libraries */
#else
#define DLOAD_REDIS_I_USER_TIMEOUT TCP_USER_TIMEOUT
#endif
    const int idle_s = 15, interval_s = 5, n_probes = 3;
    const uint64_t ms = 2 * (c->server->command_timeout_ns / DLOAD_MILLISECOND) + 1;
    const unsigned user_ms = ms < 3600000 ? (unsigned)ms : 3600000u;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPCNT, &n_probes, sizeof n_probes);
    (void)setsockopt(c->fd, IPPROTO_TCP, DLOAD_REDIS_I_USER_TIMEOUT, &user_ms, sizeof user_ms);
#endif
}

/* A descriptor that neither blocks nor goes on to programs that are started. */
DLOAD_I_LOCAL int dload_redis_i_socket(int family)
{
#ifdef SOCK_CLOEXEC
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd >= 0 && (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
#endif
}

/* Says hello: who we are, which database, and what a watch adds. */
DLOAD_I_LOCAL dload_status dload_redis_i_hello(dload_redis_conn *c)
{
    const dload_redis_server *s = c->server;
    dload_status st = DLOAD_OK;
    c->state = DLOAD_REDIS_HELLO;
    if (s->password.ptr != NULL) {
        (void)dload_redis_begin(c, s->user.ptr != NULL ? 3 : 2);
        (void)dload_redis_text(c, "AUTH");
        if (s->user.ptr != NULL)
            (void)dload_redis_arg(c, s->user.ptr, s->user.len);
        (void)dload_redis_arg(c, s->password.ptr, s->password.len);
    }
    if (s->client_name.ptr != NULL) {
        (void)dload_redis_begin(c, 3);
        (void)dload_redis_text(c, "CLIENT");
        (void)dload_redis_text(c, "SETNAME");
        (void)dload_redis_arg(c, s->client_name.ptr, s->client_name.len);
    }
    /* Also the first database, so that something is answered: whoever listens there must be Redis. */
    (void)dload_redis_begin(c, 2);
    (void)dload_redis_text(c, "SELECT");
    (void)dload_redis_number(c, (uint64_t)s->database);
    if (s->watch != NULL) {
        c->mark = __atomic_load_n(&s->watch->mark, __ATOMIC_ACQUIRE);
        if (s->watch->hello != NULL)
            st = s->watch->hello(s->watch->ctx, c);
    }
    if (c->state == DLOAD_REDIS_CLOSED)
        return c->status;
    return st == DLOAD_OK ? dload_redis_i_send(c)
                          : dload_redis_close(c, st, "refused by its watch");
}

/* The socket is connected: TLS, or hello at once. */
DLOAD_I_LOCAL dload_status dload_redis_i_connected(dload_redis_conn *c)
{
    if (!c->server->tls)
        return dload_redis_i_hello(c);
    dload_status st = dload_redis_i_tls_begin(c);
    if (st != DLOAD_OK)
        return dload_redis_close(c, st, NULL); /* it said why */
    c->state = DLOAD_REDIS_SHAKE;
    return DLOAD_OK;
}

/* Tries the addresses from c->address on until one is being connected to. */
DLOAD_I_LOCAL dload_status dload_redis_i_try(dload_redis_conn *c)
{
    int err = ENOENT;
    for (; c->address != NULL; c->address = c->address->ai_next) {
        if (c->fd >= 0)
            (void)close(c->fd);
        c->fd = dload_redis_i_socket(c->address->ai_family);
        if (c->fd >= 0) {
            dload_redis_i_socket_options(c);
            if (connect(c->fd, c->address->ai_addr, c->address->ai_addrlen) == 0)
                return dload_redis_i_connected(c);
            if (errno == EINPROGRESS || errno == EINTR)
                return DLOAD_OK;
        }
        err = errno;
    }
    return dload_redis_i_close_errno(c, "connecting", err);
}

/* A Unix socket connects at once or not at all. */
DLOAD_I_LOCAL dload_status dload_redis_i_unix(dload_redis_conn *c)
{
    struct sockaddr_un at;
    memset(&at, 0, sizeof at);
    at.sun_family = AF_UNIX;
    if (c->server->path.len >= sizeof at.sun_path)
        return dload_redis_close(c, DLOAD_EINVAL, "the socket's path is too long");
    memcpy(at.sun_path, c->server->path.ptr, c->server->path.len);
    c->fd = dload_redis_i_socket(AF_UNIX);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)(void *)&at, sizeof at) != 0)
        return dload_redis_i_close_errno(c, "connecting", errno);
    return dload_redis_i_connected(c);
}

/* Begins to connect, for loops; blocks for nothing but a name's look-up. Commands may be begun when c->state
 * is DLOAD_REDIS_READY.
 *
 * c: the caller's, any content, which is overwritten; closed before. host: in place of the server's host and port, as a cluster
 * names its nodes, for TCP alone; must outlive the connection; NULL = the server's own.
 * Returns DLOAD_OK: poll and dload_redis_step, and give up by dload_redis_close when it takes too
 * long. Otherwise c is closed, c->error says why, and nothing is to be given back. */
DLOAD_I_UNUSED static dload_status dload_redis_start(dload_redis_conn *c, dload_redis_server *s,
                                                     const char *host, int port)
{
    struct addrinfo hints;
    char service[12];
    memset(c, 0, sizeof *c);
    c->server = s;
    c->fd = -1;
    c->host = host != NULL ? host : s->host.ptr;
    c->port = host != NULL ? port : s->port;
    c->state = DLOAD_REDIS_CONNECT;
    if (dload_redis_i_reader(c) != DLOAD_OK)
        return dload_redis_close(c, DLOAD_ENOMEM, "no memory");
    if (s->path.ptr != NULL && host == NULL)
        return dload_redis_i_unix(c);
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    (void)snprintf(service, sizeof service, "%d", c->port);
    int failed = getaddrinfo(c->host, service, &hints, &c->addresses);
    if (failed != 0)
        return dload_redis_close(c, DLOAD_EBACKEND, gai_strerror(failed));
    c->address = c->addresses;
    return dload_redis_i_try(c);
}

/* ---- going on ---- */

/* What to poll c->fd for: POLLIN, POLLOUT, both. */
DLOAD_I_UNUSED static int dload_redis_wants(const dload_redis_conn *c)
{
    if (c->state == DLOAD_REDIS_CONNECT)
        return POLLOUT;
    if (c->state == DLOAD_REDIS_SHAKE)
        return POLLIN | (c->tls_writes ? POLLOUT : 0);
    return POLLIN | (c->tls_writes || c->out_at < c->out_len ? POLLOUT : 0);
}

/* Is this TCP connection through? A second connect() tells. */
DLOAD_I_LOCAL dload_status dload_redis_i_connect_step(dload_redis_conn *c)
{
    if (connect(c->fd, c->address->ai_addr, c->address->ai_addrlen) == 0 || errno == EISCONN)
        return dload_redis_i_connected(c);
    if (errno == EALREADY || errno == EINPROGRESS || errno == EINTR)
        return DLOAD_OK;
    if (c->address->ai_next == NULL)
        return dload_redis_i_close_errno(c, "connecting", errno);
    c->address = c->address->ai_next;
    return dload_redis_i_try(c);
}

/* Goes on as far as is possible without blocking: connects, shakes hands, sends, receives. c->fd may be
 * another one afterwards. Returns DLOAD_OK, or why the connection is closed. */
DLOAD_I_UNUSED static dload_status dload_redis_step(dload_redis_conn *c)
{
    dload_status st = DLOAD_OK;
    if (c->state == DLOAD_REDIS_CONNECT)
        st = dload_redis_i_connect_step(c);
    if (st == DLOAD_OK && c->state == DLOAD_REDIS_SHAKE) {
        int shaken = dload_redis_i_tls_shake(c);
        if (shaken != 1)
            return shaken == -1 ? DLOAD_OK : c->status;
        st = dload_redis_i_hello(c);
    }
    if (st != DLOAD_OK || c->state < DLOAD_REDIS_HELLO)
        return st;
    st = dload_redis_i_send(c);
    if (st == DLOAD_OK)
        st = dload_redis_i_receive(c);
    return st;
}

/* Waits until something can be done or it is until_ns: false then. */
DLOAD_I_LOCAL bool dload_redis_i_wait(const dload_redis_conn *c, uint64_t until_ns)
{
    for (;;) {
        uint64_t now_ns = dload_redis_now();
        uint64_t ms = until_ns > now_ns ? (until_ns - now_ns - 1) / DLOAD_MILLISECOND + 1 : 0;
        struct pollfd p;
        p.fd = c->fd;
        p.events = (short)dload_redis_wants(c);
        p.revents = 0;
        int n = poll(&p, 1, ms < 60000 ? (int)ms : 60000);
        if (n > 0)
            return true;
        if (n == 0 && ms < 60000)
            return false;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

/* Sends what was begun, and blocks until the next reply is there or it is until_ns (dload_redis_until).
 * Returns DLOAD_OK and *reply, the caller's, for freeReplyObject: check its type, and that it is no
 * REDIS_REPLY_ERROR. Otherwise why the connection is closed, DLOAD_ETIMEDOUT among it, and *reply is NULL. */
DLOAD_I_UNUSED static dload_status dload_redis_get(dload_redis_conn *c, uint64_t until_ns,
                                                   redisReply **reply)
{
    *reply = NULL;
    dload_status st = dload_redis_next(c, reply);
    if (st == DLOAD_PENDING && c->state == DLOAD_REDIS_READY && c->out_at < c->out_len &&
        dload_redis_i_send(c) != DLOAD_OK)
        return c->status;
    while (st == DLOAD_PENDING) {
        if (!dload_redis_i_wait(c, until_ns))
            return dload_redis_close(c, DLOAD_ETIMEDOUT, "no reply in time");
        st = dload_redis_step(c);
        if (st == DLOAD_OK)
            st = dload_redis_next(c, reply);
    }
    return st;
}

/* Sends a command that was begun, and takes its reply, which must be a status, OK or another. For set-up;
 * DLOAD_EBACKEND when it is an error or something else: the connection stays open then. */
DLOAD_I_UNUSED static dload_status dload_redis_do(dload_redis_conn *c, uint64_t until_ns)
{
    redisReply *reply = NULL;
    dload_status st = dload_redis_get(c, until_ns, &reply);
    if (st == DLOAD_OK && reply->type != REDIS_REPLY_STATUS)
        st = DLOAD_EBACKEND;
    if (reply != NULL)
        dload_redis_reply_free(reply);
    return st;
}

/* Goes on connecting what dload_redis_start began, until the server let us in or it is until_ns. Returns DLOAD_OK:
 * the connection is ready; DLOAD_PENDING: it was not in time, and may be gone on with or closed; otherwise
 * why it is closed. */
DLOAD_I_UNUSED static dload_status dload_redis_enter(dload_redis_conn *c, uint64_t until_ns)
{
    while (c->state != DLOAD_REDIS_READY) {
        redisReply *none = NULL;
        dload_status st = DLOAD_PENDING;
        if (c->state == DLOAD_REDIS_CLOSED)
            return c->status != DLOAD_OK ? c->status : DLOAD_ECLOSED;
        if (!dload_redis_i_wait(c, until_ns))
            return DLOAD_PENDING;
        if (dload_redis_step(c) == DLOAD_OK && c->state == DLOAD_REDIS_HELLO)
            st = dload_redis_next(c, &none);
        if (none != NULL) {
            dload_redis_reply_free(none);
            return dload_redis_close(c, DLOAD_EBACKEND, "a reply that nobody asked for");
        }
        if (st != DLOAD_PENDING)
            return st;
    }
    return DLOAD_OK;
}

/* Connects, and blocks until the server let us in or connect_timeout_ns passed; host and port as for
 * dload_redis_start. Returns DLOAD_OK; DLOAD_ETIMEDOUT; DLOAD_EBACKEND: nobody listens, or we are not
 * let in; DLOAD_ENOMEM; DLOAD_EINVAL: TLS's files. c->error says more. */
DLOAD_I_UNUSED static dload_status dload_redis_open_at(dload_redis_conn *c, dload_redis_server *s,
                                                       const char *host, int port)
{
    const uint64_t until_ns = dload_i_add_ns(dload_redis_now(), s->connect_timeout_ns);
    dload_status st = dload_redis_start(c, s, host, port);
    if (st == DLOAD_OK)
        st = dload_redis_enter(c, until_ns);
    return st == DLOAD_PENDING ? dload_redis_close(c, DLOAD_ETIMEDOUT, "not connected in time")
                               : st;
}

DLOAD_I_UNUSED static dload_status dload_redis_open(dload_redis_conn *c, dload_redis_server *s)
{
    return dload_redis_open_at(c, s, NULL, 0);
}

/* Does the server's watch agree to new commands on this connection? To be asked before each command whose
 * answer may be cached, also when several are under way at a time. No system call. */
DLOAD_I_UNUSED static bool dload_redis_marked(const dload_redis_conn *c)
{
    const dload_redis_watch *w = c->server->watch;
    return w == NULL || __atomic_load_n(&w->mark, __ATOMIC_ACQUIRE) == c->mark;
}

/* May this idle connection be used for the next command? False: close it and open another. It is open,
 * owes no reply, its watch did not change its mind, and the other side is still there as far as the kernel
 * knows (one system call). */
DLOAD_I_UNUSED static bool dload_redis_usable(dload_redis_conn *c)
{
    char byte;
    if (c->state != DLOAD_REDIS_READY || c->n_owed != 0 || c->out_at < c->out_len ||
        c->reader->pos != c->reader->len) /* a reply that nobody asked for came with the last one */
        return false;
    if (!dload_redis_marked(c))
        return false;
    /* Idle means that nothing comes: bytes are as bad as an end of file, but for those that TLS keeps to
     * itself: a ticket, or its own end of file, which closes the connection. */
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 && c->tls != NULL)
        return dload_redis_step(c) == DLOAD_OK && c->reader->pos == c->reader->len;
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

#endif /* DLOAD_REDIS_WIRE_H */
