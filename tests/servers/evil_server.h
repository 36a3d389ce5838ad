/* evil_server.h -- a server that speaks Redis' protocol as badly as it is told to.
 *
 *     static void answer(void *ctx, const struct evil_command *c, struct evil_answer *a)
 *     {
 *         if (evil_is(c, "SELECT"))
 *             evil_say(a, "+OK\r\n", 5);
 *         else
 *             a->hangs = true;                        // half a reply, then silence
 *     }
 *     struct evil_server e = {.answer = answer};
 *     assert_true(evil_start(&e));                    // a Unix socket at e.path, or e.port; a thread
 *     ... evil_stop(&e);
 *
 * It takes commands apart as a server does, one connection's commands in order, each answered by the function, which
 * runs in the server's thread. Nothing here asserts.
 */
#ifndef TESTS_EVIL_SERVER_H
#define TESTS_EVIL_SERVER_H

#include "server.h"

#include <poll.h>
#include <pthread.h>
#include <sys/un.h>

#define EVIL_MOST_ARGS 64 /* more are counted, not kept */

struct evil_command {
    size_t n; /* arguments, the name included */
    const char *arg[EVIL_MOST_ARGS];
    size_t len[EVIL_MOST_ARGS];
};

struct evil_answer {
    char *bytes; /* what was said so far; private */
    size_t n, cap;
    unsigned delay_us; /* before it is sent */
    bool hangs;        /* afterwards nothing more is answered on this connection */
    bool closes;       /* afterwards it is closed */
};

struct evil_server {
    void (*answer)(void *ctx, const struct evil_command *c, struct evil_answer *a);
    void *ctx;
    bool tcp; /* on 127.0.0.1:port in place of path; set before the start */
    int port;
    char path[96];
    char folder[64];
    size_t n_connections; /* accepted so far; atomic */
    int listener, wake[2];
    pthread_t thread;
    pthread_mutex_t mutex; /* held while it answers: for what a test changes meanwhile */
};

struct evil_client {
    int fd;
    char *in;
    size_t n_in, cap_in;
    struct evil_answer answer;
    uint64_t due_ns; /* 0 = nothing waits to be sent */
    size_t n_sent;
};

__attribute__((__unused__)) static uint64_t evil_now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Adds bytes to an answer. */
__attribute__((__unused__)) static void evil_say(struct evil_answer *a, const void *bytes, size_t n)
{
    if (a->n + n > a->cap) {
        size_t cap = 2 * (a->n + n) + 64;
        char *grown = realloc(a->bytes, cap);
        if (grown == NULL)
            return;
        a->bytes = grown;
        a->cap = cap;
    }
    if (n != 0)
        memcpy(a->bytes + a->n, bytes, n);
    a->n += n;
}

__attribute__((__unused__)) static void evil_text(struct evil_answer *a, const char *text)
{
    evil_say(a, text, strlen(text));
}

/* "*3\r\n", "$12\r\n", ":1\r\n" */
__attribute__((__unused__)) static void evil_head(struct evil_answer *a, char sign, long long n)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%c%lld\r\n", sign, n);
    evil_text(a, text);
}

__attribute__((__unused__)) static void evil_bulk(struct evil_answer *a, const void *p, size_t n)
{
    evil_head(a, '$', (long long)n);
    evil_say(a, p, n);
    evil_say(a, "\r\n", 2);
}

__attribute__((__unused__)) static bool evil_is(const struct evil_command *c, const char *name)
{
    return c->n > 0 && c->len[0] == strlen(name) && memcmp(c->arg[0], name, c->len[0]) == 0;
}

/* A line that begins with sign and holds a number; where the next one begins, 0 = not all there. */
static size_t evil_number(const char *p, size_t n, char sign, size_t *number)
{
    const char *end = n != 0 ? memchr(p, '\n', n) : NULL;
    if (end == NULL || p[0] != sign)
        return 0;
    *number = strtoull(p + 1, NULL, 10);
    return (size_t)(end - p) + 1;
}

/* Takes the first command of what came; its bytes, 0 = not all there. */
static size_t evil_parse(const char *p, size_t n, struct evil_command *c)
{
    size_t at = evil_number(p, n, '*', &c->n);
    for (size_t i = 0; i < c->n && at != 0; i++) {
        size_t len = 0, head = evil_number(p + at, n - at, '$', &len);
        if (head == 0 || n - at - head < len + 2)
            return 0;
        if (i < EVIL_MOST_ARGS) {
            c->arg[i] = p + at + head;
            c->len[i] = len;
        }
        at += head + len + 2;
    }
    return at;
}

static void evil_hang_up(struct evil_client *c)
{
    (void)close(c->fd);
    free(c->in);
    free(c->answer.bytes);
    memset(c, 0, sizeof *c);
    c->fd = -1;
}

/* Answers what came, as far as it may now; false: the connection is over. */
static bool evil_serve(struct evil_server *e, struct evil_client *c)
{
    for (;;) {
        if (c->due_ns != 0) {
            if (evil_now_ns() < c->due_ns)
                return true;
            while (c->n_sent < c->answer.n) {
                ssize_t n = send(c->fd, c->answer.bytes + c->n_sent, c->answer.n - c->n_sent,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0)
                    return errno == EAGAIN || errno == EINTR;
                c->n_sent += (size_t)n;
            }
            if (c->answer.closes)
                return false;
            c->due_ns = 0;
        }
        struct evil_command command;
        if (c->answer.hangs)
            return true;
        size_t n = evil_parse(c->in, c->n_in, &command);
        if (n == 0)
            return true;
        c->answer.n = c->n_sent = 0;
        c->answer.delay_us = 0;
        (void)pthread_mutex_lock(&e->mutex);
        e->answer(e->ctx, &command, &c->answer);
        (void)pthread_mutex_unlock(&e->mutex);
        memmove(c->in, c->in + n, c->n_in - n);
        c->n_in -= n;
        c->due_ns = evil_now_ns() + c->answer.delay_us * 1000u;
    }
}

static bool evil_receive(struct evil_client *c)
{
    if (c->cap_in - c->n_in < 65536) {
        size_t cap = 2 * c->cap_in + 65536;
        char *grown = realloc(c->in, cap);
        if (grown == NULL)
            return false;
        c->in = grown;
        c->cap_in = cap;
    }
    ssize_t n = recv(c->fd, c->in + c->n_in, c->cap_in - c->n_in, MSG_DONTWAIT);
    if (n > 0)
        c->n_in += (size_t)n;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

#define EVIL_MOST_CLIENTS 32

static void *evil_run(void *arg)
{
    struct evil_server *e = arg;
    static struct evil_client clients[EVIL_MOST_CLIENTS];
    struct pollfd p[EVIL_MOST_CLIENTS + 2];
    for (size_t i = 0; i < EVIL_MOST_CLIENTS; i++)
        clients[i].fd = -1;
    for (;;) {
        bool waits = false;
        p[EVIL_MOST_CLIENTS] = (struct pollfd){.fd = e->listener, .events = POLLIN};
        p[EVIL_MOST_CLIENTS + 1] = (struct pollfd){.fd = e->wake[0], .events = POLLIN};
        for (size_t i = 0; i < EVIL_MOST_CLIENTS; i++) {
            p[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
            waits = waits || (clients[i].fd >= 0 && clients[i].due_ns != 0);
        }
        (void)poll(p, EVIL_MOST_CLIENTS + 2, waits ? 1 : 1000);
        if (p[EVIL_MOST_CLIENTS + 1].revents != 0)
            break;
        for (size_t i = 0; i < EVIL_MOST_CLIENTS; i++) {
            struct evil_client *c = &clients[i];
            if (c->fd >= 0 && ((p[i].revents != 0 && !evil_receive(c)) || !evil_serve(e, c)))
                evil_hang_up(c);
            if (c->fd < 0 && p[EVIL_MOST_CLIENTS].revents != 0) {
                c->fd = accept(e->listener, NULL, NULL);
                p[EVIL_MOST_CLIENTS].revents = 0;
                if (c->fd >= 0)
                    (void)__atomic_add_fetch(&e->n_connections, 1, __ATOMIC_RELAXED);
            }
        }
    }
    for (size_t i = 0; i < EVIL_MOST_CLIENTS; i++) {
        if (clients[i].fd >= 0)
            evil_hang_up(&clients[i]);
    }
    return NULL;
}

static bool evil_bind_port(struct evil_server *e)
{
    struct sockaddr_in at;
    socklen_t n_bytes = sizeof at;
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool ok = bind(e->listener, (struct sockaddr *)(void *)&at, sizeof at) == 0 &&
              getsockname(e->listener, (struct sockaddr *)(void *)&at, &n_bytes) == 0;
    e->port = ok ? ntohs(at.sin_port) : 0;
    return ok;
}

__attribute__((__unused__)) static bool evil_start(struct evil_server *e)
{
    struct sockaddr_un at;
    memset(&at, 0, sizeof at);
    at.sun_family = AF_UNIX;
    if (!server_folder(e->folder, sizeof e->folder) || pipe(e->wake) != 0 ||
        pthread_mutex_init(&e->mutex, NULL) != 0)
        return false;
    (void)snprintf(e->path, sizeof e->path, "%s/evil.sock", e->folder);
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", e->path);
    e->listener = socket(e->tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (e->tcp ? !evil_bind_port(e)
               : bind(e->listener, (struct sockaddr *)(void *)&at, sizeof at) != 0)
        return false;
    return listen(e->listener, 64) == 0 && pthread_create(&e->thread, NULL, evil_run, e) == 0;
}

__attribute__((__unused__)) static void evil_stop(struct evil_server *e)
{
    (void)!write(e->wake[1], "x", 1);
    (void)pthread_join(e->thread, NULL);
    (void)pthread_mutex_destroy(&e->mutex);
    (void)close(e->wake[0]);
    (void)close(e->wake[1]);
    (void)close(e->listener);
    server_remove(e->folder);
}

#endif /* TESTS_EVIL_SERVER_H */
