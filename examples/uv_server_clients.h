/* uv_server_clients -- the clients of uv_server's self-test. */
#ifndef UV_SERVER_CLIENTS_H
#define UV_SERVER_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct client;

/* Fill in the first five, the rest with zeros. */
struct tester {
    uv_loop_t *loop;
    struct sockaddr_in address; /* of the server */
    size_t n_clients;
    void (*ended)(void *ctx); /* called once, when all clients are through */
    void *ctx;
    size_t n_ended,
        n_wrong;            /* clients that are through; that got something else than they should */
    struct client *clients; /* release with free() after the loop */
};

/* Connects all clients at once, in the server's loop. False when there is no memory. */
bool start_clients(struct tester *t);

#endif
