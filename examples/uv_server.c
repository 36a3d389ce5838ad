/* uv_server -- an HTTP server in a libuv loop: a request asks a loader for one row, and what the
 * requests of one turn of the loop ask for comes from SQLite in one query, in the thread pool.
 *
 *     uv_server                 serves http://127.0.0.1:<port>/city/<id> until interrupted
 *     uv_server --self-test [n] serves n clients of its own (default 200) in the same loop, checks
 *                               every answer, prints how they were batched; exit 1 if anything is
 *                               wrong, or if nothing was batched
 */
/* links: uv */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>

struct city {
    char name[24];
};
#define DLOAD_NAME  cities
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct city
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD /* a thread of the pool answers */
#include "dataloader.h"
#define DLOAD_UV_NAME cities
#include "adapters/dataloader_uv.h"
#include "uv_server_clients.h"

enum { N_CITIES = 1000, HEAD_BYTES = 2048, MAX_BATCH = 100 };

struct server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_signal_t interrupt;
    sqlite3 *db;
    cities loader;
    dload_uv uv;
    struct sockaddr_in address;
    bool stopping;
    dload_stats stats; /* taken when it stopped */
};

/* ---- the source: one query a batch, in a thread of the pool ---- */

static dload_status select_cities(cities_batch *b)
{
    struct server *s = b->ctx;
    char sql[64 + MAX_BATCH * 21];
    sqlite3_stmt *stmt = NULL;
    size_t len = (size_t)snprintf(sql, sizeof sql, "SELECT id, name FROM city WHERE id IN (");
    for (size_t i = 0; i < b->n; i++) {
        /* A signed number, as SQLite has them; one beyond its range finds nothing. */
        len += (size_t)snprintf(sql + len, sizeof sql - len, "%s%" PRId64, i ? "," : "",
                                b->keys[i] <= INT64_MAX ? (int64_t)b->keys[i] : -1);
    }
    snprintf(sql + len, sizeof sql - len, ")");
    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return DLOAD_EFETCH;
    }
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        uint64_t id = (uint64_t)sqlite3_column_int64(stmt, 0);
        for (size_t i = 0; i < b->n; i++) {
            if (b->keys[i] == id) {
                struct city c;
                snprintf(c.name, sizeof c.name, "%s", (const char *)sqlite3_column_text(stmt, 1));
                cities_batch_set(b, i, &c);
            }
        }
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? DLOAD_OK : DLOAD_EFETCH;
}

/* In the loop's thread. */
static dload_status fetch_cities(cities_batch *b)
{
    struct server *s = b->ctx;
    return cities_uv_work(&s->uv, b, select_cities);
}

static bool open_source(struct server *s)
{
    static const char fill[] =
        "CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT 1000)"
        "INSERT INTO city SELECT i, 'city ' || i FROM n;"; /* N_CITIES */
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
    return sqlite3_open_v2(":memory:", &s->db, flags, NULL) == SQLITE_OK &&
           sqlite3_exec(s->db, fill, NULL, NULL, NULL) == SQLITE_OK;
}

/* ---- a connection: one request at a time, and what comes after it waits in the buffer ---- */

struct connection {
    uv_tcp_t tcp;
    uv_write_t write;
    struct server *server;
    cities_waiter waiter;
    bool loading;    /* done() will come */
    bool closing;    /* close as soon as it came */
    bool last;       /* close after the response */
    size_t n_bytes;  /* in head */
    size_t n_parsed; /* of these, the request that is being served */
    char head[HEAD_BYTES];
    char response[256];
};

static void serve(struct connection *c);
static void on_space(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void free_connection(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_connection(struct connection *c)
{
    if (c->loading && cities_cancel(&c->server->loader, &c->waiter) == DLOAD_OK) {
        c->loading = false; /* nobody else wants it: it is not even fetched */
    }
    c->closing = true;
    if (!c->loading && !uv_is_closing((uv_handle_t *)&c->tcp)) {
        uv_close((uv_handle_t *)&c->tcp, free_connection);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct connection *c = req->data;
    if (c->closing) {
        return;
    }
    if (status < 0 || c->last) {
        close_connection(c);
        return;
    }
    c->n_bytes -= c->n_parsed;
    memmove(c->head, c->head + c->n_parsed, c->n_bytes);
    c->n_parsed = 0;
    (void)uv_read_start((uv_stream_t *)&c->tcp, on_space, on_read);
    serve(c);
}

static void respond(struct connection *c, const char *status, const char *body)
{
    int len = snprintf(c->response, sizeof c->response,
                       "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n%s",
                       status, strlen(body), c->last ? "Connection: close\r\n" : "", body);
    uv_buf_t buf = uv_buf_init(c->response, (unsigned)len);
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        close_connection(c);
    }
}

static void respond_city(struct connection *c, dload_status st, const struct city *city)
{
    if (st >= 0) {
        respond(c, "200 OK", city->name);
    } else if (st == DLOAD_MISSING) {
        respond(c, "404 Not Found", "no such city\n");
    } else {
        respond(c, "503 Service Unavailable", dload_strerror(st));
    }
}

static void on_loaded(cities_waiter *w)
{
    struct connection *c = w->ctx;
    c->loading = false;
    if (c->closing) {
        close_connection(c);
    } else {
        respond_city(c, w->status, &w->value);
    }
}

/* The request line of a complete head, which ends with a 0: GET /city/<digits> HTTP/1.x */
static bool parse(const char *head, uint64_t *id, const char **error)
{
    *error = "400 Bad Request";
    if (strncmp(head, "GET ", 4) != 0) {
        *error = "405 Method Not Allowed";
        return false;
    }
    if (strncmp(head + 4, "/city/", 6) != 0) {
        *error = "404 Not Found";
        return false;
    }
    const char *digits = head + 10;
    size_t n = strspn(digits, "0123456789");
    *id = strtoull(digits, NULL, 10);
    return n >= 1 && n <= 18 && strncmp(digits + n, " HTTP/1.", 8) == 0;
}

/* Serves the first request of the buffer if it is complete; otherwise reading goes on. */
static void serve(struct connection *c)
{
    uint64_t id = 0;
    const char *error = NULL;
    size_t end = 0;
    while (end + 4 <= c->n_bytes && memcmp(c->head + end, "\r\n\r\n", 4) != 0) {
        end++;
    }
    if (end + 4 > c->n_bytes) {
        if (c->n_bytes == sizeof c->head) {
            c->last = true;
            c->n_parsed = c->n_bytes;
            respond(c, "431 Request Header Fields Too Large", "");
        }
        return;
    }
    c->n_parsed = end + 4;
    c->head[end] =
        0; /* a 0 inside the head ends it, too: what is before it is not a request then */
    if (!parse(c->head, &id, &error)) {
        c->last = true;
        respond(c, error, "");
        return;
    }
    memset(&c->waiter, 0, sizeof c->waiter);
    c->waiter.done = on_loaded;
    c->waiter.ctx = c;
    dload_status st = cities_start(&c->server->loader, id, &c->waiter);
    c->loading = st == DLOAD_PENDING;
    if (!c->loading) {
        respond_city(c, st, &c->waiter.value); /* a hit, or no room */
    }
}

static void on_space(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct connection *c = handle->data;
    (void)suggested;
    *buf = uv_buf_init(c->head + c->n_bytes, (unsigned)(sizeof c->head - c->n_bytes));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    (void)buf;
    if (n == UV_ENOBUFS) {
        (void)uv_read_stop(stream); /* it sends too much while its request is being served: later */
        return;
    }
    if (n < 0) {
        close_connection(c);
        return;
    }
    c->n_bytes += (size_t)n;
    if (c->n_parsed == 0) {
        serve(c);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct connection *c = status == 0 ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        return;
    }
    c->server = listener->data;
    (void)uv_tcp_init(listener->loop, &c->tcp);
    c->tcp.data = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_space, on_read) != 0) {
        close_connection(c);
    }
}

/* ---- the server's life ---- */

static void close_any(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (handle->type == UV_TCP && !uv_is_closing(handle)) {
        close_connection(handle->data);
    }
}

/* Every request is answered, and the loader is gone: no connection may ask it any more. */
static void on_loader_closed(dload_uv *uv, dload_status status)
{
    struct server *s = uv->data;
    if (status < 0) {
        fprintf(stderr, "uv_server: closing: %s\n", dload_strerror(status));
    }
    uv_walk(s->loop, close_any, NULL);
}

static void stop(struct server *s)
{
    if (s->stopping) {
        return;
    }
    s->stopping = true;
    uv_close((uv_handle_t *)&s->listener, NULL);
    uv_close((uv_handle_t *)&s->interrupt, NULL);
    (void)cities_stats(&s->loader, &s->stats);
    uint64_t deadline_ns = cities_now(&s->loader) + 5 * DLOAD_SECOND;
    (void)dload_uv_close(&s->uv, DLOAD_DRAIN, deadline_ns, on_loader_closed);
}

static void on_interrupt(uv_signal_t *signal_, int number)
{
    (void)number;
    stop(signal_->data);
}

static bool start(struct server *s, uv_loop_t *loop)
{
    s->loop = loop;
    cities_config config = cities_config_default();
    config.fetch = fetch_cities;
    config.ctx = s;
    config.max_batch = MAX_BATCH;
    config.max_in_flight = 2; /* while two queries run, requests collect for the next one */
    dload_status st = cities_uv_init(&s->uv, loop, &s->loader, &config);
    if (st < 0) {
        fprintf(stderr, "uv_server: %s\n", dload_strerror(st));
        return false;
    }
    s->uv.data = s;
    int size = sizeof s->address;
    s->listener.data = s;
    s->interrupt.data = s;
    (void)uv_tcp_init(loop, &s->listener);
    (void)uv_signal_init(loop, &s->interrupt);
    if (uv_ip4_addr("127.0.0.1", 0, &s->address) != 0 ||
        uv_tcp_bind(&s->listener, (const struct sockaddr *)&s->address, 0) != 0 ||
        uv_listen((uv_stream_t *)&s->listener, 512, on_connection) != 0 ||
        uv_tcp_getsockname(&s->listener, (struct sockaddr *)&s->address, &size) != 0 ||
        uv_signal_start(&s->interrupt, on_interrupt, SIGINT) != 0) {
        fprintf(stderr, "uv_server: cannot listen\n");
        stop(s);
        return false;
    }
    printf("listening on http://127.0.0.1:%d/city/0\n", (int)ntohs(s->address.sin_port));
    fflush(stdout);
    return true;
}

/* ---- self-test ---- */

static void on_clients_ended(void *ctx)
{
    stop(ctx);
}

static bool report(const struct tester *t, const dload_stats *stats)
{
    bool batched = stats->batches > 0 && stats->keys >= 4 * stats->batches;
    printf("clients %zu, wrong answers %zu\n", t->n_clients, t->n_wrong);
    printf("requests %" PRIu64 ", batches %" PRIu64 ", largest batch %" PRIu64 "\n", stats->loads,
           stats->batches, stats->largest_batch);
    if (!batched) {
        printf("requests were not batched\n");
    }
    return batched && t->n_wrong == 0;
}

int main(int argc, char **argv)
{
    static struct server server;
    struct tester tester = {.ended = on_clients_ended, .ctx = &server};
    bool self_test = argc >= 2 && strcmp(argv[1], "--self-test") == 0;
    long n = argc == 3 ? strtol(argv[2], NULL, 10) : 200;
    if ((argc > 1 && !self_test) || argc > 3 || n < 20 || n > 450) {
        fprintf(stderr, "usage: uv_server [--self-test [20..450]]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* a client that has gone is an error of the write, no more */
    if (!open_source(&server)) {
        fprintf(stderr, "uv_server: %s\n", sqlite3_errmsg(server.db));
        sqlite3_close(server.db);
        return 1;
    }
    uv_loop_t *loop = uv_default_loop();
    bool good = start(&server, loop);
    if (good && self_test) {
        tester.loop = loop;
        tester.address = server.address;
        tester.n_clients = (size_t)n;
        good = start_clients(&tester);
        if (!good) {
            stop(&server);
        }
    }
    uv_run(loop, UV_RUN_DEFAULT);
    if (good && self_test) {
        good = report(&tester, &server.stats);
    }
    free(tester.clients);
    sqlite3_close(server.db);
    return uv_loop_close(loop) == 0 && good ? 0 : 1;
}
