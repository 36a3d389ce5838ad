/* The PostgreSQL store over TLS, by threads that wait and in an event loop: values larger than what TLS deciphers at a time, a
 * certificate that is checked, a server that is restarted. */
/* links: pq uv */
#include "test_postgres_loop.h"

enum { N_VALUES = 40, MOST_BYTES = 200000 };

static char url[400];
static char value[MOST_BYTES];

/* A server on a port, with a certificate for 127.0.0.1 that it has signed by itself. */
static int tls_setup(void **state)
{
    char port[16], command[600], log[200], sh[] = "/bin/sh", minus_c[] = "-c";
    char *const argv[] = {sh, minus_c, command, NULL};
    const int free_port = server_free_port();
    (void)state;
    (void)snprintf(port, sizeof port, "%d", free_port);
    (void)setenv("PGPORT", port, 1); /* the server's, and that of all who ask it */
    if (free_port == 0 || !postgres_server_start(&server, "listen_addresses = '127.0.0.1'\n"))
        return -1;
    (void)snprintf(log, sizeof log, "%s/openssl.log", server.folder);
    (void)snprintf(command, sizeof command,
                   "cd %s && umask 077 && openssl req -x509 -newkey ec -pkeyopt "
                   "ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 -addext "
                   "subjectAltName=IP:127.0.0.1 -keyout server.key -out server.crt && "
                   "cp server.crt ../ca.crt && chmod 644 ../ca.crt && "
                   "echo 'hostssl all app 127.0.0.1/32 scram-sha-256' >>pg_hba.conf",
                   server.data);
    if (server_command(argv, log, server.user) != 0)
        return -1;
    pg_query("ALTER SYSTEM SET ssl = on", NULL, 0);
    pg_query("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'canary'", NULL, 0);
    pg_query("SELECT pg_reload_conf()", NULL, 0);
    pg_wait_for("SELECT count(*) FROM pg_settings WHERE name = 'ssl' AND setting = 'on'", 1);
    (void)snprintf(url, sizeof url,
                   "host=127.0.0.1 user=app password=canary dbname=postgres gssencmode=disable "
                   "sslmode=verify-full sslrootcert=%s/ca.crt",
                   server.folder);
    for (size_t i = 0; i < MOST_BYTES; i++)
        value[i] = (char)(i * 31 % 251);
    return 0;
}

/* Sizes around those of TLS' records, and far beyond. */
static size_t bytes_of(size_t i)
{
    static const size_t sizes[] = {1, 8191, 8192, 16383, 16384, 16385, 50000, MOST_BYTES};
    return sizes[i % COUNT(sizes)];
}

static void ask_value(size_t i, dload_store_kind kind)
{
    struct loop_ask *a = &asks[i];
    memset(a, 0, sizeof *a);
    a->item = pg_item(a->key, (size_t)snprintf(a->key, sizeof a->key, "k%zu", i), value,
                      bytes_of(i), DLOAD_NEVER);
    a->op.kind = kind;
    a->op.items = &a->item;
    a->op.n = 1;
    a->op.done = asked;
    a->op.ctx = a;
    must(dload_store_run(&pg.loop.store, &a->op), DLOAD_PENDING);
}

static void ask_values(dload_store_kind kind)
{
    for (size_t i = 0; i < N_VALUES; i++)
        ask_value(i, kind);
    run_loop();
    for (size_t i = 0; i < N_VALUES; i++) {
        must_ok(asks[i].st);
        must_ok(asks[i].item.status);
        if (kind == DLOAD_STORE_GET) {
            equal(asks[i].item.value_bytes, bytes_of(i));
            assert_memory_equal(asks[i].item.value, value, bytes_of(i));
        }
        dload_store_release(&asks[i].op);
    }
}

static void test_postgres_tls_loop(void **state)
{
    dload_postgres_store_config c = loop_config();
    (void)state;
    c.pg.url = url;
    c.pg.max_conns = 2;
    assert_true(start_with(&c));
    for (int round = 0; round < 2; round++) {
        ask_values(DLOAD_STORE_SET);
        ask_values(DLOAD_STORE_GET);
        assert_true(PQsslInUse(pg.loop.slots[0].conn.pg) != 0);
        postgres_kill(&server);
        assert_true(postgres_start(&server));
        loop_until_ok(N_VALUES, DLOAD_STORE_GET);
        dload_store_release(&asks[N_VALUES].op);
        pg_query("DROP TABLE IF EXISTS t", NULL, 0);
        loop_until_ok(N_VALUES, DLOAD_STORE_SET);
    }
    loop_stop();
}

static void test_postgres_tls_waiting(void **state)
{
    dload_postgres_store_config c = loop_config();
    dload_postgres_store s;
    (void)state;
    c.pg.url = url;
    must_ok(dload_postgres_store_init(&s, &c));
    for (size_t i = 0; i < N_VALUES; i++)
        must_ok(pg_set(&s.store, &i, sizeof i, value, bytes_of(i), DLOAD_NEVER));
    for (size_t i = 0; i < N_VALUES; i++)
        must_ok(pg_get(&s.store, &i, sizeof i, value, bytes_of(i)));
    assert_true(PQsslInUse(s.pool.conns[0].pg) != 0);
    dload_postgres_store_destroy(&s);
}

/* Somebody else's certificate: no request goes out. */
static void test_postgres_tls_refused(void **state)
{
    dload_postgres_store_config c = loop_config();
    char other[500];
    (void)state;
    (void)snprintf(other, sizeof other, "%s host=localhost hostaddr=127.0.0.1", url);
    c.pg.url = other; /* the certificate is for the address */
    assert_true(start_with(&c));
    must(loop_ask(&pg.loop.store, 0, DLOAD_STORE_GET, 0), DLOAD_PENDING);
    run_loop();
    must(asks[0].st, DLOAD_EBACKEND);
    equal(pg.loop.pg.pool.n_connects, 0);
    assert_non_null(strstr(pg.loop.pg.pool.error, "certificate"));
    assert_null(strstr(pg.loop.pg.pool.error, "canary"));
    loop_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_postgres_tls_loop, setup),
        cmocka_unit_test_setup(test_postgres_tls_waiting, setup),
        cmocka_unit_test_setup(test_postgres_tls_refused, setup),
    };
    return cmocka_run_group_tests(tests, tls_setup, pg_group_teardown);
}
