/* What calls itself a PostgreSQL server and is none: silent, closing, talking nonsense, announcing too much, never
 * coming to an end. Every request ends, in time, with an error. */
/* links: pq */
/* tsan */
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_postgres.h"
#include "adapters/dataloader_postgres_fetch.h"
#include "adapters/dataloader_postgres_lock.h"
#include "adapters/dataloader_postgres/loop.h"
#include "servers/server.h"
#include "support.h"
#include "stores/loop_case.h"

#include <sys/un.h>

/* ---- the server ---- */

/* What it says to a client that has introduced itself, and then to whatever else it hears. */
struct role {
    const char *title;
    const char *hello, *answer;
    size_t hello_bytes, answer_bytes;
    bool closes; /* behind what it says */
    bool drips;  /* says the same again and again, as fast as it can */
};

static struct {
    char folder[64], url[128];
    int fd;
    uint32_t over; /* atomic */
    pthread_t thread;
    const struct role *role; /* atomic */
} evil;

static void talk(int fd, const struct role *r)
{
    char bytes[16384];
    bool first = true;
    while (__atomic_load_n(&evil.over, __ATOMIC_ACQUIRE) == 0) {
        struct pollfd f = {fd, POLLIN, 0};
        int n = poll(&f, 1, r->drips && !first ? 0 : 20);
        if (n > 0 && read(fd, bytes, sizeof bytes) <= 0)
            return;
        if (n <= 0 && (!r->drips || first))
            continue;
        const char *say = first ? r->hello : r->answer;
        size_t n_bytes = first ? r->hello_bytes : r->answer_bytes;
        if (r->drips && !first) { /* more at a time than the client reads meanwhile */
            size_t n_filled = 0;
            while (n_filled + n_bytes <= sizeof bytes) {
                memcpy(bytes + n_filled, say, n_bytes);
                n_filled += n_bytes;
            }
            say = bytes;
            n_bytes = n_filled;
        }
        first = false;
        if (n_bytes != 0 && send(fd, say, n_bytes, MSG_NOSIGNAL) < 0)
            return;
        if (r->closes)
            return;
    }
}

static void *serve(void *arg)
{
    (void)arg;
    while (__atomic_load_n(&evil.over, __ATOMIC_ACQUIRE) == 0) {
        struct pollfd f = {evil.fd, POLLIN, 0};
        if (poll(&f, 1, 20) <= 0)
            continue;
        int fd = accept(evil.fd, NULL, NULL);
        if (fd < 0)
            continue;
        talk(fd, __atomic_load_n(&evil.role, __ATOMIC_ACQUIRE));
        (void)close(fd);
    }
    return NULL;
}

static void evil_start(const struct role *r)
{
    struct sockaddr_un at;
    memset(&at, 0, sizeof at);
    at.sun_family = AF_UNIX;
    assert_true(server_folder(evil.folder, sizeof evil.folder));
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s/.s.PGSQL.5432", evil.folder);
    (void)snprintf(evil.url, sizeof evil.url,
                   "host=%s port=5432 user=u dbname=d gssencmode=disable", evil.folder);
    evil.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(evil.fd >= 0 && bind(evil.fd, (struct sockaddr *)(void *)&at, sizeof at) == 0 &&
                listen(evil.fd, 8) == 0);
    evil.over = 0;
    evil.role = r;
    equal(pthread_create(&evil.thread, NULL, serve, NULL), 0);
}

static void evil_stop(void)
{
    __atomic_store_n(&evil.over, 1u, __ATOMIC_RELEASE);
    (void)pthread_join(evil.thread, NULL);
    (void)close(evil.fd);
    server_remove(evil.folder);
}

/* ---- its roles ---- */

#define WELCOME "R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"
#define READY   "Z\0\0\0\x05I"

#define ROLE(title, hello, answer, closes, drips)                                      \
    {                                                                                  \
        title, hello, answer, sizeof(hello) - 1, sizeof(answer) - 1, (closes), (drips) \
    }
static const struct role roles[] = {
    ROLE("silent", "", "", false, false),
    ROLE("closes at once", "", "", true, false),
    ROLE("speaks HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "", true, false),
    ROLE("noise", "\x80\x81\xfe\xff\0\0\0\0\0\0\0", "", false, false),
    ROLE("announces 2 GB", "R\x7f\xff\xff\xff", "", false, false),
    ROLE("announces less than nothing", "R\0\0\0\0", "", false, false),
    ROLE("announces a negative number", "R\xff\xff\xff\xff", "", false, false),
    ROLE("asks for an unknown proof", "R\0\0\0\x08\0\0\0\x63", "", false, false),
    ROLE("notices without an end", "", "N\0\0\0\x0aSHELLO", false, true),
    ROLE("welcomes and closes", WELCOME, "", true, false),
    ROLE("welcomes and is silent", WELCOME, "", false, false),
    ROLE("welcomes, then noise", WELCOME, "\x01\x02\x03\x04\x05\x06\x07\x08\x09", false, false),
    ROLE("welcomes, then HTTP", WELCOME, "HTTP/1.1 200 OK\r\n\r\n", false, false),
    ROLE("nothing but ready", WELCOME, READY, false, false),
    ROLE("an answer of 2 GB", WELCOME,
         "1\0\0\0\x04"
         "2\0\0\0\x04"
         "D\x7f\xff\xff\xff",
         false, false),
    ROLE("a row without columns", WELCOME,
         "1\0\0\0\x04"
         "2\0\0\0\x04"
         "D\0\0\0\x06\0\0C\0\0\0\x09SELE\0" READY,
         false, false),
    ROLE("65535 columns", WELCOME,
         "1\0\0\0\x04"
         "2\0\0\0\x04"
         "T\0\0\0\x06\xff\xff" READY,
         false, false),
    ROLE("wants a file", WELCOME,
         "1\0\0\0\x04"
         "2\0\0\0\x04"
         "G\0\0\0\x07\0\0\0",
         false, false),
    ROLE("sends a file", WELCOME,
         "1\0\0\0\x04"
         "2\0\0\0\x04"
         "H\0\0\0\x07\0\0\0d\0\0\0\x08xxxx",
         false, false),
    ROLE("stays in a transaction", WELCOME,
         "1\0\0\0\x04"
         "2\0\0\0\x04"
         "n\0\0\0\x04"
         "C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05T",
         false, false),
    ROLE("answers drip by drip", WELCOME,
         "S\0\0\0\x08"
         "a\0b\0",
         false, true),
};

/* The same in an event loop: two requests at a time. */
static void try_in_a_loop(const struct role *r, const dload_postgres_store_config *c)
{
    static const dload_postgres_loop_hooks hooks = {mini_watch, mini_timer, mini_wake, &mini};
    static dload_postgres_loop pg;
    mini_start();
    n_done = 0;
    must_ok(dload_postgres_loop_init(&pg, c, &hooks, 0));
    uint64_t from_ns = real_ns();
    for (size_t i = 0; i < 2; i++)
        must(loop_ask(&pg.store, i, i == 0 ? DLOAD_STORE_GET : DLOAD_STORE_SET, 0), DLOAD_PENDING);
    while (dload_postgres_loop_pending(&pg) != 0) {
        mini_turn();
        dload_postgres_loop_process(&pg);
    }
    uint64_t took_ns = real_ns() - from_ns;
    equal(n_done, 2);
    for (size_t i = 0; i < 2; i++) {
        dload_store_release(&asks[i].op);
        if (asks[i].st >= 0 || asks[i].st == DLOAD_MISSING || took_ns > 20 * DLOAD_SECOND)
            fail_msg("a server that %s, in a loop: %s, %.0f ms", r->title,
                     dload_status_name(asks[i].st), (double)took_ns / 1e6);
    }
    dload_postgres_loop_end(&pg);
    mini_must_be_free();
}

/* Whatever it is: no answer, no hang, no crash. */
static void test_evil_roles(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(roles); i++) {
        dload_postgres_store_config c;
        dload_postgres_store s;
        dload_postgres_locks locks;
        dload_held held;
        dload_store_op op;
        dload_store_item item;
        struct fake_env memory;
        evil_start(&roles[i]);
        fake_env_init_real(&memory);
        memset(&c, 0, sizeof c);
        memset(&op, 0, sizeof op);
        memset(&item, 0, sizeof item);
        c.pg.url = evil.url;
        c.pg.env = &memory.env;
        c.pg.timeout_ns = c.pg.connect_ns = 60 * DLOAD_MILLISECOND;
        c.pg.backoff_ns = c.pg.backoff_max_ns = 1; /* each request tries */
        must_ok(dload_postgres_store_init(&s, &c));
        must_ok(dload_postgres_locks_init(&locks, &c.pg));
        item.key = "k";
        item.key_bytes = 1;
        op.items = &item;
        op.n = 1;
        uint64_t from_ns = real_ns();
        dload_status st = dload_store_run(&s.store, &op);
        dload_store_release(&op);
        dload_status lock = locks.locks.take(&locks.locks, dload_str_from("n"), 0, &held);
        uint64_t took_ns = real_ns() - from_ns;
        if (st >= 0 || st == DLOAD_MISSING || lock != DLOAD_ELOCK || took_ns > 20 * DLOAD_SECOND)
            fail_msg("a server that %s: store %s, lock %s, %.0f ms", roles[i].title,
                     dload_status_name(st), dload_status_name(lock), (double)took_ns / 1e6);
        dload_postgres_locks_destroy(&locks);
        dload_postgres_store_destroy(&s);
        try_in_a_loop(&roles[i], &c);
        fake_env_check(&memory);
        evil_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_evil_roles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
