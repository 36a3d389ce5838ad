/* The source of `make bench-threads`: call_server PATH answers requests (calls.h) on a Unix socket.
 *
 * An answer leaves CALL_NS after its request was sent, so that the time of a call does not depend on
 * how soon this process got to read it. All calls take as long, so the oldest request is due first.
 * One thread, asleep in ppoll between events; ends when its standard input does.
 */
#define _GNU_SOURCE
#include "calls.h"

#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 64, STANDARD_INPUT = 0, LISTENER = 1, FIRST = 2 };

/* What has come in over a connection and was not answered; at most one request. */
typedef struct client {
    size_t have; /* bytes of the request */
    call_request head;
    uint64_t keys[CALL_MAX_KEYS];
    bool waits; /* the request is whole and in the queue */
} client;

static struct pollfd fds[FIRST + MAX_CONNECTIONS]; /* fd < 0 = free, and ppoll ignores it */
static client clients[MAX_CONNECTIONS];            /* of fds[FIRST + i] */
static unsigned n_fds = FIRST;                     /* of fds, that were ever used */
static unsigned queue[MAX_CONNECTIONS];            /* clients that wait, the oldest at queue_head */
static unsigned queue_head;
static unsigned queue_n;

static void drop(unsigned i)
{
    /* One that waits stays in the queue: its answer goes nowhere. */
    close(fds[FIRST + i].fd);
    fds[FIRST + i].fd = -1;
}

static void accept_one(void)
{
    int fd = accept4(fds[LISTENER].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    for (unsigned i = 0; fd >= 0 && i < MAX_CONNECTIONS; i++) {
        if (fds[FIRST + i].fd < 0 && !clients[i].waits) {
            fds[FIRST + i] = (struct pollfd){.fd = fd, .events = POLLIN};
            clients[i].have = 0;
            n_fds = FIRST + i + 1 > n_fds ? FIRST + i + 1 : n_fds;
            return;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Reads what is there of a request, and queues it once it is whole. */
static void read_some(unsigned i)
{
    client *c = &clients[i];
    struct iovec parts[2] = {{&c->head, sizeof c->head}, {c->keys, sizeof c->keys}};
    if (c->have != 0) { /* the rest of one that came in pieces, which a Unix socket seldom does */
        size_t in_head = c->have < sizeof c->head ? c->have : sizeof c->head;
        parts[0].iov_base = (char *)&c->head + in_head;
        parts[0].iov_len -= in_head;
        parts[1].iov_base = (char *)c->keys + (c->have - in_head);
        parts[1].iov_len -= c->have - in_head;
    }
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t got = recvmsg(fds[FIRST + i].fd, &message, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    c->have += got > 0 ? (size_t)got : 0;
    if (got <= 0 || (c->have >= sizeof c->head && (c->head.n == 0 || c->head.n > CALL_MAX_KEYS))) {
        drop(i);
    } else if (c->have == sizeof c->head + c->head.n * sizeof c->keys[0]) {
        c->waits = true;
        queue[(queue_head + queue_n++) % MAX_CONNECTIONS] = i;
    }
}

/* Answers what is due; returns how long there is nothing to do, in ns, or a minute. */
static uint64_t answer_due(void)
{
    static call_value values[CALL_MAX_KEYS];
    while (queue_n != 0) {
        unsigned i = queue[queue_head];
        client *c = &clients[i];
        uint64_t due_ns = c->head.sent_ns + CALL_NS;
        uint64_t now_ns = bench_now_ns();
        if (now_ns < due_ns) {
            return due_ns - now_ns < CALL_NS ? due_ns - now_ns : CALL_NS;
        }
        for (size_t k = 0; k < c->head.n; k++) {
            values[k] = call_value_of(c->keys[k]);
        }
        size_t n_bytes = c->head.n * sizeof values[0];
        queue_head = (queue_head + 1) % MAX_CONNECTIONS;
        queue_n--;
        c->waits = false;
        c->have = 0;
        if (fds[FIRST + i].fd >= 0 &&
            send(fds[FIRST + i].fd, values, n_bytes, MSG_NOSIGNAL) != (ssize_t)n_bytes) {
            drop(i);
        }
    }
    return UINT64_C(60000000000);
}

static bool listen_at(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    unlink(path);
    fds[LISTENER].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fds[LISTENER].fd >= 0 &&
           bind(fds[LISTENER].fd, (struct sockaddr *)&at, sizeof at) == 0 &&
           listen(fds[LISTENER].fd, MAX_CONNECTIONS) == 0;
}

int main(int argc, char **argv)
{
    for (unsigned i = 0; i < FIRST + MAX_CONNECTIONS; i++) {
        fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    }
    fds[STANDARD_INPUT].fd = 0;
    if (argc != 2 || !listen_at(argv[1])) {
        fprintf(stderr, "call_server PATH: %s\n", argc != 2 ? "no path" : strerror(errno));
        return 1;
    }
    prctl(PR_SET_TIMERSLACK, 1UL); /* the kernel may add 50 us to a sleep otherwise */
    printf("ready\n");
    fflush(stdout);
    while (fds[STANDARD_INPUT].revents == 0) {
        uint64_t sleep_ns = answer_due();
        struct timespec timeout = {(time_t)(sleep_ns / 1000000000), (long)(sleep_ns % 1000000000)};
        if (ppoll(fds, n_fds, &timeout, NULL) <= 0) {
            continue;
        }
        for (unsigned i = 0; i < n_fds - FIRST; i++) {
            if (fds[FIRST + i].fd >= 0 && fds[FIRST + i].revents != 0 && !clients[i].waits) {
                read_some(i);
            }
        }
        if (fds[LISTENER].revents != 0) {
            accept_one();
        }
    }
    unlink(argv[1]);
    return 0;
}
