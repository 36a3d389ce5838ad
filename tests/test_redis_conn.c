/* Connections to a real Redis server: what they are told first, what they send, how they end; and to one
 * that is not real, which says what no Redis would. */
/* links: hiredis ssl crypto */
/* also plain: NO_TLS=1 */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#ifndef NO_TLS
#define DLOAD_REDIS_TLS 1
#endif
#include "dataloader.h"
#include "adapters/dataloader_redis/conn.h"

#include "support.h"
#include "servers/redis_server.h"

#include <pthread.h>

static struct redis_server rs = {.password = "c4nary/@:%", .tls = true};

/* The same where it stands in a URL. */
static char url[160], unix_url[192], tls_url[320];

static int start(void **state)
{
    (void)state;
    if (!redis_server_start(&rs))
        return -1;
    const char *password = "c4nary%2F%40%3a%25";
    (void)snprintf(url, sizeof url, "redis://:%s@127.0.0.1:%d", password, rs.port);
    (void)snprintf(unix_url, sizeof unix_url, "unix://default:%s@%s?db=3", password, rs.path);
    (void)snprintf(tls_url, sizeof tls_url, "rediss://:%s@localhost:%d/2?ca=%s&name=me", password,
                   rs.tls_port, rs.ca);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_stop(&rs);
    return 0;
}

static redisReply *call(dload_redis_conn *c, const char *command, const void *arg, size_t n_bytes)
{
    redisReply *r = NULL;
    dload_redis_begin(c, arg != NULL ? 2 : 1);
    dload_redis_text(c, command);
    if (arg != NULL)
        dload_redis_arg(c, arg, n_bytes);
    must_ok(dload_redis_get(c, dload_redis_until(c, 5 * DLOAD_SECOND), &r));
    return r;
}

static void echo(dload_redis_conn *c, const void *p, size_t n_bytes)
{
    redisReply *r = call(c, "ECHO", p, n_bytes);
    equal(r->type, REDIS_REPLY_STRING);
    equal(r->len, n_bytes);
    assert_memory_equal(r->str, p, n_bytes);
    freeReplyObject(r);
}

static void open_url(dload_redis_server *s, dload_redis_conn *c, const char *where)
{
    dload_redis_config cfg = {.url = where};
    char why[200];
    if (dload_redis_server_init(s, &cfg, why, sizeof why) != DLOAD_OK)
        fail_msg("%s", why);
    if (dload_redis_open(c, s) != DLOAD_OK)
        fail_msg("%s", c->error);
}

static void shut(dload_redis_server *s, dload_redis_conn *c)
{
    (void)dload_redis_close(c, DLOAD_OK, NULL);
    assert_false(dload_redis_usable(c));
    dload_redis_server_end(s);
}

/* ---- a real server ---- */

static void test_redis_conn_urls_connect(void **state)
{
    const char *const urls[] = {url, unix_url, tls_url};
    (void)state;
#ifdef NO_TLS
    const size_t n = 2;
#else
    const size_t n = 3;
#endif
    for (size_t i = 0; i < n; i++) {
        dload_redis_server s;
        dload_redis_conn c;
        open_url(&s, &c, urls[i]);
        echo(&c, "x", 1);
        assert_true(dload_redis_usable(&c));
        shut(&s, &c);
    }
}

static void test_redis_conn_selects_its_database(void **state)
{
    dload_redis_server s;
    dload_redis_conn c;
    char answer[2048];
    (void)state;
    open_url(&s, &c, unix_url);
    assert_true(redis_server_ask(&rs, "CLIENT LIST TYPE normal\r\n", answer, sizeof answer));
    assert_non_null(strstr(answer, " db=3 "));
    shut(&s, &c);
}

/* A connection over TCP notices that the other side is gone: by probes when it is idle, and when what was sent is not
 * acknowledged within twice a command's time. */
static void test_redis_conn_socket_options(void **state)
{
    static const struct {
        int level, option, want;
    } cases[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},   {IPPROTO_TCP, TCP_NODELAY, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 15}, {IPPROTO_TCP, TCP_KEEPINTVL, 5},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},   {IPPROTO_TCP, DLOAD_REDIS_I_USER_TIMEOUT, 2001},
    };
    dload_redis_server s;
    dload_redis_conn c;
    (void)state;
    open_url(&s, &c, url);
    for (size_t i = 0; i < COUNT(cases); i++) {
        int value = -1;
        socklen_t n_bytes = sizeof value;
        equal(getsockopt(c.fd, cases[i].level, cases[i].option, &value, &n_bytes), 0);
        equal(value, cases[i].want);
    }
    assert_true((fcntl(c.fd, F_GETFD) & FD_CLOEXEC) != 0);
    shut(&s, &c);
}

/* Nothing is refused to a key or a value; what is sent is one command each. */
static void test_redis_conn_any_bytes(void **state)
{
    dload_redis_server s;
    dload_redis_conn c;
    uint64_t seed = test_seed("test_redis_conn_any_bytes");
    char *big = malloc(3000000);
    (void)state;
    open_url(&s, &c, url);
    echo(&c, "", 0);
    echo(&c, "\r\n*1\r\n$8\r\nFLUSHALL\r\n", 21);
    echo(&c, "%s%n{}\"'\\\0$-1\r\n", 15);
    for (size_t i = 0; i < 3000000; i++)
        big[i] = (char)rng(&seed);
    echo(&c, big, 65536);
    echo(&c, big, 3000000);
    for (size_t i = 0; i < 200; i++)
        echo(&c, big + i, (size_t)rng_below(&seed, 40000));
    free(big);
    shut(&s, &c);
}

static void test_redis_conn_pipeline(void **state)
{
    enum { N = 20000 };
    dload_redis_server s;
    dload_redis_conn c;
    (void)state;
    open_url(&s, &c, url);
    for (uint64_t i = 0; i < N; i++) {
        dload_redis_begin(&c, 2);
        dload_redis_text(&c, "ECHO");
        must_ok(dload_redis_number(&c, i));
    }
    assert_false(dload_redis_usable(&c)); /* answers are out */
    for (uint64_t i = 0; i < N; i++) {
        redisReply *r = NULL;
        must_ok(dload_redis_get(&c, dload_redis_until(&c, 20 * DLOAD_SECOND), &r));
        equal(strtoull(r->str, NULL, 10), i);
        freeReplyObject(r);
    }
    assert_true(dload_redis_usable(&c));
    shut(&s, &c);
}

static void test_redis_conn_not_let_in(void **state)
{
    static const char *const passwords[] = {":wrong%21", "nobody:c4nary"};
    char where[160], shown[160];
    (void)state;
    for (size_t i = 0; i < COUNT(passwords); i++) {
        (void)snprintf(where, sizeof where, "redis://%s@127.0.0.1:%d", passwords[i], rs.port);
        dload_redis_config cfg = {.url = where};
        dload_redis_server s;
        dload_redis_conn c;
        must_ok(dload_redis_server_init(&s, &cfg, NULL, 0));
        must(dload_redis_open(&c, &s), DLOAD_EBACKEND);
        assert_string_equal(c.error, "redis: the server refused the connection: WRONGPASS");
        must(dload_redis_begin(&c, 1), DLOAD_EBACKEND); /* closed is closed */
        assert_null(strstr(dload_redis_describe(&s, shown, sizeof shown), "c4nary"));
        assert_null(strstr(shown, "wrong"));
        dload_redis_server_end(&s);
    }
}

static void test_redis_conn_nobody_there(void **state)
{
    char where[160];
    dload_redis_server s;
    dload_redis_conn c;
    (void)state;
    (void)snprintf(where, sizeof where, "redis://127.0.0.1:%d", server_free_port());
    const char *const urls[] = {where, "unix:///nowhere/at/all", "redis://no.such.host.invalid"};
    for (size_t i = 0; i < COUNT(urls); i++) {
        dload_redis_config cfg = {.url = urls[i]};
        must_ok(dload_redis_server_init(&s, &cfg, NULL, 0));
        must(dload_redis_open(&c, &s), DLOAD_EBACKEND);
        equal(c.fd, -1);
        assert_true(strncmp(c.error, "redis: ", 7) == 0 && strlen(c.error) > 12);
        dload_redis_server_end(&s);
    }
}

/* A stopped server takes connections and never answers; when it goes on, its late answer finds nobody. */
static void test_redis_conn_stopped_server(void **state)
{
    dload_redis_server s;
    dload_redis_conn c, d;
    redisReply *r = NULL;
    (void)state;
    open_url(&s, &c, url);
    (void)kill(rs.pid, SIGSTOP);
    dload_redis_begin(&c, 2);
    dload_redis_text(&c, "ECHO");
    dload_redis_text(&c, "late");
    must(dload_redis_get(&c, dload_redis_until(&c, 50 * DLOAD_MILLISECOND), &r), DLOAD_ETIMEDOUT);
    assert_null(r);
    equal(c.state, DLOAD_REDIS_CLOSED);
    s.connect_timeout_ns = 50 * DLOAD_MILLISECOND;
    must(dload_redis_open(&d, &s), DLOAD_ETIMEDOUT);
    assert_string_equal(d.error, "redis: not connected in time");
    (void)kill(rs.pid, SIGCONT);
    s.connect_timeout_ns = 5 * DLOAD_SECOND;
    must_ok(dload_redis_open(&c, &s));
    echo(&c, "early", 5);
    shut(&s, &c);
}

static void test_redis_conn_killed_while_idle(void **state)
{
    dload_redis_server s;
    dload_redis_conn c;
    char answer[64];
    (void)state;
    open_url(&s, &c, url);
    assert_true(dload_redis_usable(&c));
    assert_true(
        redis_server_ask(&rs, "CLIENT KILL TYPE normal SKIPME yes\r\n", answer, sizeof answer));
    for (int i = 0; i < 2000 && dload_redis_usable(&c); i++)
        sleep_ms(1);
    assert_false(dload_redis_usable(&c));
    redisReply *r = NULL;
    dload_redis_begin(&c, 1);
    dload_redis_text(&c, "PING");
    must(dload_redis_get(&c, dload_redis_until(&c, 0), &r), DLOAD_EBACKEND);
    shut(&s, &c);
}

static size_t n_opened, n_closed;

static dload_status watch_hello(void *ctx, dload_redis_conn *c)
{
    dload_redis_begin(c, 3);
    dload_redis_text(c, "CLIENT");
    dload_redis_text(c, "SETNAME");
    return dload_redis_text(c, ctx);
}

static void watch_opened(void *ctx, dload_redis_conn *c)
{
    (void)ctx;
    n_opened++;
    equal(c->state, DLOAD_REDIS_READY);
}

static void watch_closed(void *ctx, dload_redis_conn *c)
{
    (void)ctx;
    n_closed++;
    assert_true(c->fd >= 0);
}

static void test_redis_conn_watched(void **state)
{
    char name[16] = "watcher";
    dload_redis_watch w = {watch_hello, watch_opened, watch_closed, name, 7};
    dload_redis_config cfg = {.url = url};
    dload_redis_server s;
    dload_redis_conn c;
    char answer[2048];
    (void)state;
    must_ok(dload_redis_server_init(&s, &cfg, NULL, 0));
    s.watch = &w;
    must_ok(dload_redis_open(&c, &s));
    assert_true(redis_server_ask(&rs, "CLIENT LIST TYPE normal\r\n", answer, sizeof answer));
    assert_non_null(strstr(answer, " name=watcher "));
    equal(n_opened, 1);
    assert_true(dload_redis_usable(&c));
    w.mark = 8;
    assert_false(dload_redis_usable(&c));
    (void)dload_redis_close(&c, DLOAD_OK, NULL);
    (void)dload_redis_close(&c, DLOAD_OK, NULL);
    equal(n_closed, 1);
    (void)snprintf(name, sizeof name, "no good"); /* a name may have no space */
    must(dload_redis_open(&c, &s), DLOAD_EBACKEND);
    assert_string_equal(c.error, "redis: the server refused the connection: ERR");
    equal(n_opened, 1);
    equal(n_closed, 1);
    dload_redis_server_end(&s);
}

static void no_memory(struct fake_env *f)
{
    dload_redis_config cfg = {.url = url, .env = &f->env};
    dload_redis_server s;
    dload_redis_conn c;
    redisReply *r = NULL;
    char *big = calloc(1, 20000);
    fake_env_arm(f);
    dload_status st = dload_redis_server_init(&s, &cfg, NULL, 0);
    if (st == DLOAD_OK) {
        st = dload_redis_open(&c, &s);
        if (st == DLOAD_OK) {
            dload_redis_begin(&c, 2);
            dload_redis_text(&c, "ECHO");
            dload_redis_arg(&c, big, 20000);
            st = dload_redis_get(&c, dload_redis_until(&c, 0), &r);
            if (st == DLOAD_OK)
                freeReplyObject(r);
        }
        (void)dload_redis_close(&c, DLOAD_OK, NULL);
        dload_redis_server_end(&s);
    }
    fake_env_disarm(f);
    must(st, f->n_failed != 0 ? DLOAD_ENOMEM : DLOAD_OK);
    free(big);
}

static void test_redis_conn_no_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("test_redis_conn_no_memory", no_memory) >= 3);
}

static void test_redis_conn_pauses_grow(void **state)
{
    dload_redis_config cfg = {.pause_ns = 100, .pause_max_ns = 1000};
    dload_redis_server s;
    uint64_t least = UINT64_MAX, most = 0;
    (void)state;
    must_ok(dload_redis_server_init(&s, &cfg, NULL, 0));
    for (int i = 0; i < 2000; i++) {
        uint64_t p = dload_redis_pause(&s, 0, &s);
        assert_in_range(p, 50, 150);
        assert_in_range(dload_redis_pause(&s, 2, &s), 200, 600);
        assert_in_range(dload_redis_pause(&s, 4000000000u, &s), 500, 1500);
        least = p < least ? p : least;
        most = p > most ? p : most;
    }
    assert_true(most - least > 50); /* no two come back at the same time */
    dload_redis_server_end(&s);
}

/* ---- TLS ---- */

#ifdef NO_TLS
static void test_redis_conn_tls(void **state)
{
    dload_redis_config cfg = {.url = tls_url};
    dload_redis_server s;
    char why[160];
    (void)state;
    must(dload_redis_server_init(&s, &cfg, why, sizeof why), DLOAD_EINVAL);
    assert_string_equal(
        why, "redis: TLS is asked for, but this program was built without DLOAD_REDIS_TLS 1");
}
#else
static void test_redis_conn_tls(void **state)
{
    static const struct {
        const char *what, *error;
        dload_status status;
    } cases[] = {
        {"rediss://:c4nary%%2F%%40%%3a%%25@127.0.0.1:%d?ca=%s", NULL, DLOAD_OK},
        {"rediss://:c4nary%%2F%%40%%3a%%25@127.0.0.1:%d?ca=%s&sni=localhost", NULL, DLOAD_OK},
        {"rediss://:c4nary%%2F%%40%%3a%%25@localhost:%d?ca=%s&sni=other.host",
         "redis: TLS: no agreement: hostname mismatch", DLOAD_EBACKEND},
        {"rediss://localhost:%d?ca=/nowhere%s",
         "redis: TLS: the file of tls_ca cannot be read, or holds no certificate", DLOAD_EINVAL},
        {"rediss://localhost:%d?name=%s", "redis: TLS: no agreement: ", DLOAD_EBACKEND},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char where[320];
        (void)snprintf(where, sizeof where, cases[i].what, rs.tls_port, rs.ca);
        dload_redis_config cfg = {.url = where};
        dload_redis_server s;
        dload_redis_conn c;
        must_ok(dload_redis_server_init(&s, &cfg, NULL, 0));
        must(dload_redis_open(&c, &s), cases[i].status);
        if (cases[i].error != NULL)
            assert_non_null(strstr(c.error, cases[i].error));
        else
            echo(&c, "x", 1);
        (void)dload_redis_close(&c, DLOAD_OK, NULL);
        dload_redis_server_end(&s);
    }
}

/* Long values cross TLS in many records; a port without TLS is told from one with. */
static void test_redis_conn_tls_bytes(void **state)
{
    dload_redis_server s;
    dload_redis_conn c;
    uint64_t seed = test_seed("test_redis_conn_tls_bytes");
    char *big = malloc(3000000);
    (void)state;
    open_url(&s, &c, tls_url);
    for (size_t i = 0; i < 3000000; i++)
        big[i] = (char)rng(&seed);
    echo(&c, big, 3000000);
    for (size_t i = 0; i < 100; i++)
        echo(&c, big + i, (size_t)rng_below(&seed, 100000));
    assert_true(dload_redis_usable(&c));
    free(big);
    (void)dload_redis_close(&c, DLOAD_OK, NULL);
    s.port = rs.port;
    s.connect_timeout_ns = 200 * DLOAD_MILLISECOND;
    assert_true(dload_redis_open(&c, &s) < 0); /* it waits for the end of a line, or found one */
    dload_redis_server_end(&s);
}
#endif

/* ---- a server that is none ---- */

static struct fake {
    int fd;
    char path[96];
    const char *says; /* after hello */
    size_t n_bytes;
    size_t times;
    bool never_ends;
} fake;

/* Lets one client in, waits for a command, says its piece. */
static void *fake_run(void *ctx)
{
    char bytes[4096];
    (void)ctx;
    int fd = accept(fake.fd, NULL, NULL);
    (void)recv(fd, bytes, sizeof bytes, 0);
    (void)send(fd, "+OK\r\n", 5, MSG_NOSIGNAL);
    (void)recv(fd, bytes, sizeof bytes, 0);
    for (size_t i = 0; i < fake.times; i++) {
        if (send(fd, fake.says, fake.n_bytes, MSG_NOSIGNAL) < 0)
            break;
    }
    if (fake.never_ends)
        (void)recv(fd, bytes, sizeof bytes, 0); /* until we are hung up on */
    (void)close(fd);
    return NULL;
}

static dload_status fake_asked(const char *says, size_t n_bytes, size_t times, bool never_ends,
                               dload_redis_conn *c, size_t n_replies)
{
    pthread_t thread;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    dload_redis_config cfg = {.path = fake.path, .max_reply_bytes = 1 << 20};
    dload_redis_server s;
    dload_status st = DLOAD_OK;
    fake.says = says;
    fake.n_bytes = n_bytes;
    fake.times = times;
    fake.never_ends = never_ends;
    (void)snprintf(fake.path, sizeof fake.path, "%s/fake.sock", rs.folder);
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", fake.path);
    (void)unlink(fake.path);
    fake.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    equal(bind(fake.fd, (struct sockaddr *)(void *)&at, sizeof at), 0);
    equal(listen(fake.fd, 1), 0);
    equal(pthread_create(&thread, NULL, fake_run, NULL), 0);
    must_ok(dload_redis_server_init(&s, &cfg, NULL, 0));
    must_ok(dload_redis_open(c, &s));
    dload_redis_begin(c, 1);
    dload_redis_text(c, "PING");
    for (size_t i = 0; i < n_replies && st == DLOAD_OK; i++) {
        redisReply *r = NULL;
        st = dload_redis_get(c, dload_redis_until(c, 5 * DLOAD_SECOND), &r);
        if (r != NULL)
            freeReplyObject(r);
    }
    (void)dload_redis_close(c, DLOAD_OK, NULL);
    dload_redis_server_end(&s);
    equal(pthread_join(thread, NULL), 0);
    (void)close(fake.fd);
    return st;
}

static void test_redis_conn_evil_server(void **state)
{
    static const struct {
        const char *says, *error;
        size_t times, n_replies;
        bool never_ends;
    } cases[] = {
        {"*2147483647\r\n", "too many elements", 1, 1, true},
        {"*1048576\r\n", "too many elements", 40, 1, true}, /* nested: 8 MB for ten bytes */
        {"*9999999999999999999\r\n", "no Redis protocol", 1, 1, true},
        {"*-2\r\n", "no Redis protocol", 1, 1, true},
        {"$-2\r\n", "no Redis protocol", 1, 1, true},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "no Redis protocol", 1, 1, true},
        {"$536870913\r\n0123456789012345678901234567890123456789", "too long", 40000, 1, true},
        {"+PONG\r\n", "nobody asked for", 2, 2, true},
        {"+PO", "closed the connection", 1, 1, false},
        {"", "closed the connection", 1, 1, false},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "no Redis protocol",
         1, 1, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        dload_redis_conn c;
        must(fake_asked(cases[i].says, strlen(cases[i].says), cases[i].times, cases[i].never_ends,
                        &c, cases[i].n_replies),
             DLOAD_EBACKEND);
        if (strstr(c.error, cases[i].error) == NULL)
            fail_msg("case %zu: %s", i, c.error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_conn_urls_connect),
        cmocka_unit_test(test_redis_conn_selects_its_database),
        cmocka_unit_test(test_redis_conn_socket_options),
        cmocka_unit_test(test_redis_conn_any_bytes),
        cmocka_unit_test(test_redis_conn_pipeline),
        cmocka_unit_test(test_redis_conn_not_let_in),
        cmocka_unit_test(test_redis_conn_nobody_there),
        cmocka_unit_test(test_redis_conn_stopped_server),
        cmocka_unit_test(test_redis_conn_killed_while_idle),
        cmocka_unit_test(test_redis_conn_watched),
        cmocka_unit_test(test_redis_conn_no_memory),
        cmocka_unit_test(test_redis_conn_pauses_grow),
        cmocka_unit_test(test_redis_conn_tls),
#ifndef NO_TLS
        cmocka_unit_test(test_redis_conn_tls_bytes),
#endif
        cmocka_unit_test(test_redis_conn_evil_server),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
