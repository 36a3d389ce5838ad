/* postgres_proxy.h -- what stands between a client and a PostgreSQL server on a Unix socket, and cuts, swallows or delays what the
 * server says, at any byte.
 */
#ifndef TESTS_POSTGRES_PROXY_H
#define TESTS_POSTGRES_PROXY_H

#include "server.h"

#include <poll.h>
#include <pthread.h>
#include <sys/un.h>

enum { PROXY_PAIRS = 8 };

enum proxy_action {
    PROXY_CUTS,     /* both sides are closed */
    PROXY_SWALLOWS, /* nothing of the server's comes any more on this connection */
    PROXY_DELAYS    /* what follows comes later */
};

struct proxy {
    char folder[64], url[200], to[120];
    pthread_t thread;
    pthread_mutex_t mutex;
    int fd;
    /* under mutex */
    bool over;
    enum proxy_action action;
    size_t left; /* bytes of the server's until it happens; SIZE_MAX = never */
    uint64_t delay_ns;
    size_t n_passed, n_connections;
    size_t n_refused; /* so many of the next connections are told that the server is starting up */
    /* the thread's */
    struct proxy_pair {
        int client, server; /* -1 = none */
        bool swallows;
        uint64_t until_ns; /* nothing before */
    } pairs[PROXY_PAIRS];
};

static int proxy_socket(const char *path, bool listens)
{
    struct sockaddr_un at;
    memset(&at, 0, sizeof at);
    at.sun_family = AF_UNIX;
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && (listens ? bind(fd, (struct sockaddr *)(void *)&at, sizeof at) == 0 &&
                                        listen(fd, 8) == 0
                                  : connect(fd, (struct sockaddr *)(void *)&at, sizeof at) == 0);
    if (!ok && fd >= 0)
        (void)close(fd);
    return ok ? fd : -1;
}

static void proxy_part(struct proxy_pair *pair)
{
    if (pair->client >= 0)
        (void)close(pair->client);
    if (pair->server >= 0)
        (void)close(pair->server);
    pair->client = pair->server = -1;
}

static bool proxy_send(int fd, const char *bytes, size_t n)
{
    while (n != 0) {
        ssize_t did = send(fd, bytes, n, MSG_NOSIGNAL);
        if (did <= 0)
            return false;
        bytes += did;
        n -= (size_t)did;
    }
    return true;
}

static void proxy_accept(struct proxy *p)
{
    static const char later[] = "E\0\0\0\x1cSFATAL\0C57P03\0Mnot yet\0";
    int client = accept(p->fd, NULL, NULL);
    if (client >= 0 && p->n_refused != 0) {
        char hello[1000];
        p->n_refused--;
        (void)read(client, hello, sizeof hello);
        (void)proxy_send(client, later, sizeof later);
        (void)close(client);
        return;
    }
    for (size_t i = 0; i < PROXY_PAIRS && client >= 0; i++) {
        struct proxy_pair *pair = &p->pairs[i];
        if (pair->client >= 0)
            continue;
        pair->client = client;
        pair->server = proxy_socket(p->to, false);
        pair->swallows = false;
        pair->until_ns = 0;
        p->n_connections++;
        if (pair->server < 0)
            proxy_part(pair);
        return;
    }
    if (client >= 0)
        (void)close(client);
}

/* Passes on what the server says, as far as it may. Under mutex. */
static void proxy_from_server(struct proxy *p, struct proxy_pair *pair)
{
    char bytes[4096];
    size_t most = p->left < sizeof bytes ? p->left : sizeof bytes;
    if (most == 0) {
        p->left = SIZE_MAX;
        if (p->action == PROXY_CUTS)
            proxy_part(pair);
        else if (p->action == PROXY_SWALLOWS)
            pair->swallows = true;
        else
            pair->until_ns = real_ns() + p->delay_ns;
        return;
    }
    ssize_t n = read(pair->server, bytes, most);
    if (n <= 0 || (!pair->swallows && !proxy_send(pair->client, bytes, (size_t)n))) {
        proxy_part(pair);
        return;
    }
    if (pair->swallows)
        return;
    p->n_passed += (size_t)n;
    if (p->left != SIZE_MAX)
        p->left -= (size_t)n;
}

static void proxy_from_client(struct proxy_pair *pair)
{
    char bytes[4096];
    ssize_t n = read(pair->client, bytes, sizeof bytes);
    if (n <= 0 || !proxy_send(pair->server, bytes, (size_t)n))
        proxy_part(pair);
}

static void *proxy_run(void *arg)
{
    struct proxy *p = arg;
    for (;;) {
        struct pollfd f[2 * PROXY_PAIRS + 1];
        const uint64_t now_ns = real_ns();
        f[0].fd = p->fd;
        f[0].events = POLLIN;
        for (size_t i = 0; i < PROXY_PAIRS; i++) {
            const struct proxy_pair *pair = &p->pairs[i];
            f[2 * i + 1].fd = pair->client;
            f[2 * i + 2].fd = pair->until_ns > now_ns ? -1 : pair->server;
            f[2 * i + 1].events = f[2 * i + 2].events = POLLIN;
        }
        (void)poll(f, 2 * PROXY_PAIRS + 1, 1);
        (void)pthread_mutex_lock(&p->mutex);
        const bool over = p->over;
        for (size_t i = 0; i < PROXY_PAIRS && !over; i++) {
            if (f[2 * i + 2].fd >= 0 && f[2 * i + 2].revents != 0)
                proxy_from_server(p, &p->pairs[i]);
            if (p->pairs[i].client >= 0 && f[2 * i + 1].fd >= 0 && f[2 * i + 1].revents != 0)
                proxy_from_client(&p->pairs[i]);
        }
        if (!over && f[0].revents != 0)
            proxy_accept(p);
        (void)pthread_mutex_unlock(&p->mutex);
        if (over)
            return NULL;
    }
}

/* Between those who connect to p->url, and the server whose socket is in to_folder. */
static bool proxy_start(struct proxy *p, const char *to_folder)
{
    char path[120];
    memset(p, 0, sizeof *p);
    p->left = SIZE_MAX;
    for (size_t i = 0; i < PROXY_PAIRS; i++)
        p->pairs[i].client = p->pairs[i].server = -1;
    if (!server_folder(p->folder, sizeof p->folder))
        return false;
    (void)snprintf(path, sizeof path, "%s/.s.PGSQL.5432", p->folder);
    (void)snprintf(p->to, sizeof p->to, "%s/.s.PGSQL.5432", to_folder);
    (void)snprintf(p->url, sizeof p->url,
                   "host=%s user=postgres dbname=postgres gssencmode=disable", p->folder);
    p->fd = proxy_socket(path, true);
    return p->fd >= 0 && pthread_mutex_init(&p->mutex, NULL) == 0 &&
           pthread_create(&p->thread, NULL, proxy_run, p) == 0;
}

/* From now on, after so many bytes of the server's; once. */
static void proxy_arm(struct proxy *p, enum proxy_action action, size_t after, uint64_t delay_ns)
{
    (void)pthread_mutex_lock(&p->mutex);
    p->action = action;
    p->left = after;
    p->delay_ns = delay_ns;
    p->n_passed = 0;
    (void)pthread_mutex_unlock(&p->mutex);
}

/* Bytes of the server's since it was armed. */
static size_t proxy_passed(struct proxy *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    size_t n = p->n_passed;
    (void)pthread_mutex_unlock(&p->mutex);
    return n;
}

static void proxy_stop(struct proxy *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    p->over = true;
    (void)pthread_mutex_unlock(&p->mutex);
    (void)pthread_join(p->thread, NULL);
    for (size_t i = 0; i < PROXY_PAIRS; i++)
        proxy_part(&p->pairs[i]);
    (void)close(p->fd);
    (void)pthread_mutex_destroy(&p->mutex);
    server_remove(p->folder);
}

#endif
