/* Clients of uv_server's self-test: in the server's loop, they send what clients send and what they
 * should not, and compare every byte they get. */
#define _POSIX_C_SOURCE 200809L
#include "uv_server_clients.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_CITIES = 1000, HEAD_BYTES = 2048 }; /* as in uv_server.c */

struct client {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct tester *tester;
    size_t request_bytes, want_bytes, got_bytes;
    char request[HEAD_BYTES + 64];
    char want[512];
    char got[512];
};

static void on_client_closed(uv_handle_t *handle)
{
    struct tester *t = ((struct client *)handle->data)->tester;
    if (++t->n_ended == t->n_clients) {
        t->ended(t->ctx);
    }
}

static void end_client(struct client *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp)) {
        bool right = c->got_bytes == c->want_bytes && memcmp(c->got, c->want, c->want_bytes) == 0;
        c->tester->n_wrong += !right;
        if (!right) {
            fprintf(stderr, "uv_server: wanted\n%s\ngot\n%.*s\n", c->want, (int)c->got_bytes,
                    c->got);
        }
        uv_close((uv_handle_t *)&c->tcp, on_client_closed);
    }
}

static void on_client_space(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *c = handle->data;
    (void)suggested;
    *buf = uv_buf_init(c->got + c->got_bytes, (unsigned)(sizeof c->got - c->got_bytes));
}

static void on_client_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;
    (void)buf;
    c->got_bytes += n > 0 ? (size_t)n : 0;
    if (n < 0 || c->got_bytes >= c->want_bytes) {
        end_client(c);
    }
}

static void on_client_written(uv_write_t *req, int status)
{
    if (status < 0) {
        end_client(req->data);
    }
}

static void on_client_connected(uv_connect_t *req, int status)
{
    struct client *c = req->data;
    uv_buf_t buf = uv_buf_init(c->request, (unsigned)c->request_bytes);
    c->write.data = c;
    if (status < 0 ||
        uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_client_written) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_client_space, on_client_read) != 0) {
        end_client(c);
    }
}

static void expect(struct client *c, const char *status, const char *headers, const char *body)
{
    int n = snprintf(c->want + c->want_bytes, sizeof c->want - c->want_bytes,
                     "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n%s",
                     status, strlen(body), headers, body);
    c->want_bytes += (size_t)n;
}

static void send_text(struct client *c, const char *text, size_t n_bytes)
{
    memcpy(c->request + c->request_bytes, text, n_bytes);
    c->request_bytes += n_bytes;
}

/* The first six are rude; of the others, every tenth sends two requests at once. */
static void script(struct client *c, size_t i)
{
    static const struct {
        const char *text;
        size_t n_bytes;
        const char *status;
    } rude[] = {{"\0\1\2\r\n\r\n", 7, "405 Method Not Allowed"},
                {"GET /\r\n\r\n", 9, "404 Not Found"},
                {"GET /city/x HTTP/1.1\r\n\r\n", 24, "400 Bad Request"},
                {"GET /city/99999999999999999999 HTTP/1.1\r\n\r\n", 43, "400 Bad Request"},
                {"GET /city/7\0HTTP/1.1\r\n\r\n", 24, "400 Bad Request"}};
    if (i < sizeof rude / sizeof *rude) {
        send_text(c, rude[i].text, rude[i].n_bytes);
        expect(c, rude[i].status, "Connection: close\r\n", "");
        return;
    }
    if (i == sizeof rude / sizeof *rude) {
        memset(c->request, 'A', HEAD_BYTES);
        c->request_bytes = HEAD_BYTES;
        expect(c, "431 Request Header Fields Too Large", "Connection: close\r\n", "");
        return;
    }
    for (size_t k = 0; k < (i % 10 == 0 ? 2u : 1u); k++) {
        char text[96];
        size_t id = i + k * 500;
        int n = snprintf(text, sizeof text, "GET /city/%zu HTTP/1.1\r\nHost: self\r\n\r\n", id);
        send_text(c, text, (size_t)n);
        snprintf(text, sizeof text, "city %zu", id);
        if (id < N_CITIES) {
            expect(c, "200 OK", "", text);
        } else {
            expect(c, "404 Not Found", "", "no such city\n");
        }
    }
}

bool start_clients(struct tester *t)
{
    t->clients = calloc(t->n_clients, sizeof *t->clients);
    if (t->clients == NULL) {
        return false;
    }
    for (size_t i = 0; i < t->n_clients; i++) {
        struct client *c = &t->clients[i];
        c->tester = t;
        c->tcp.data = c->connect.data = c;
        script(c, i);
        (void)uv_tcp_init(t->loop, &c->tcp);
        if (uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&t->address,
                           on_client_connected) != 0) {
            end_client(c);
        }
    }
    return true;
}
