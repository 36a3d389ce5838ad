/* See calls.h. */
#define _GNU_SOURCE
#include "calls.h"

#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static __thread call_counts counts;

static void broken(const char *what)
{
    printf("error call_server: %s: %s\n", what, strerror(errno));
    exit(1);
}

bool call_open(call_connection *c, const char *path)
{
    c->fd = -1;
    if (path == NULL) {
        return true;
    }
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&at, sizeof at) != 0) {
        call_close(c);
    }
    return c->fd >= 0;
}

void call_close(call_connection *c)
{
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
}

static void ask_server(call_connection *c, const uint64_t *keys, size_t n, call_value *values)
{
    call_request request = {bench_now_ns(), n};
    struct iovec parts[] = {{&request, sizeof request},
                            {(void *)(uintptr_t)keys, n * sizeof *keys}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (sent != (ssize_t)(sizeof request + n * sizeof *keys)) {
        broken("send"); /* a request fits the socket's buffer: it goes as a whole */
    }
    size_t n_bytes = n * sizeof *values;
    for (size_t have = 0; have < n_bytes;) {
        ssize_t got = recv(c->fd, (char *)values + have, n_bytes - have, 0);
        if (got <= 0 && errno != EINTR) {
            broken("receive");
        }
        have += got > 0 ? (size_t)got : 0;
    }
}

void call_source(call_connection *c, const uint64_t *keys, size_t n, call_value *values)
{
    if (c->fd >= 0) {
        ask_server(c, keys, n, values);
    } else {
        for (size_t i = 0; i < n; i++) {
            values[i] = call_value_of(keys[i]);
        }
    }
    counts.calls++;
    counts.keys += n;
    counts.largest = n > counts.largest ? n : counts.largest;
}

call_counts call_counts_mine(void)
{
    return counts;
}

void call_counts_reset(void)
{
    counts = (call_counts){0, 0, 0};
}
