/* Invalidation by LISTEN and NOTIFY: what is published or said by a trigger reaches the sinks, once and in order; what
 * cannot be heard is known to be unheard. */
/* links: pq */
/* tsan */
#define DLOAD_STORE 1
#define DLOAD_NAME  users
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#include "dataloader.h"
#include "test_postgres.h"
#include "adapters/dataloader_postgres_notify.h"

static dload_postgres_channel channel;
static struct fake_env memory;

/* What a sink was told, as text. */
static struct ear {
    dload_sink sink;
    pthread_mutex_t mutex;
    char text[4096];
    size_t n;
    size_t n_told;
    bool quiet; /* only counts */
} ear = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void hear(struct ear *e, const char *word, const char *key, size_t n)
{
    (void)pthread_mutex_lock(&e->mutex);
    (void)__atomic_add_fetch(&e->n_told, 1, __ATOMIC_RELAXED);
    for (; !e->quiet && *word != '\0' && e->n < sizeof e->text - 8; word++)
        e->text[e->n++] = *word;
    for (size_t i = 0; !e->quiet && i < n && e->n < sizeof e->text - 8; i++) {
        if (key[i] >= ' ' && key[i] <= '~')
            e->text[e->n++] = key[i];
        else
            e->n += (size_t)snprintf(e->text + e->n, 5, "<%02x>", (unsigned)(unsigned char)key[i]);
    }
    e->text[e->n] = '\0';
    (void)pthread_mutex_unlock(&e->mutex);
}

static void on_key(void *ctx, const char *key, size_t n)
{
    hear(ctx, " =", key, n);
}

static void on_all(void *ctx)
{
    hear(ctx, " all", NULL, 0);
}

static void on_down(void *ctx)
{
    hear(ctx, " down", NULL, 0);
}

static void on_up(void *ctx)
{
    hear(ctx, " up", NULL, 0);
}

static void heard_(struct ear *e, const char *want, int line)
{
    (void)pthread_mutex_lock(&e->mutex);
    if (strcmp(e->text, want) != 0)
        fail_msg("line %d: heard \"%s\", not \"%s\"", line, e->text, want);
    e->text[e->n = 0] = '\0';
    (void)pthread_mutex_unlock(&e->mutex);
}
#define heard(want) heard_(&ear, (want), __LINE__)

static void listen_to(dload_postgres_channel *c, uint64_t ping_ms, uint64_t silent_ms)
{
    dload_postgres_channel_config config;
    memset(&config, 0, sizeof config);
    config.pg.url = server.url;
    config.pg.env = &memory.env;
    config.pg.timeout_ns = config.pg.connect_ns = 20 * DLOAD_SECOND;
    config.pg.backoff_max_ns = 200 * DLOAD_MILLISECOND;
    config.name = "News";
    config.ping_ns = ping_ms * DLOAD_MILLISECOND;
    config.silent_ns = silent_ms * DLOAD_MILLISECOND;
    must_ok(dload_postgres_channel_init(c, &config));
}

static void make_ear(struct ear *e)
{
    e->sink.key = on_key;
    e->sink.all = on_all;
    e->sink.down = on_down;
    e->sink.up = on_up;
    e->sink.ctx = e;
    e->quiet = false;
    e->text[e->n = 0] = '\0';
    e->n_told = 0;
}

static int setup(void **state)
{
    (void)state;
    fake_env_init_real(&memory);
    make_ear(&ear);
    listen_to(&channel, 1000, 20000); /* the machine may be busy; faults have their own */
    dload_postgres_channel_add(&channel, &ear.sink);
    must_ok(dload_postgres_channel_start(&channel));
    must_ok(dload_postgres_channel_wait(&channel, 20 * DLOAD_SECOND));
    heard(" up");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dload_postgres_channel_destroy(&channel);
    fake_env_check(&memory);
    return 0;
}

static void publish(const void *key, size_t n)
{
    dload_str one = {key, n};
    must_ok(dload_postgres_channel_publish(&channel, &one, 1, 0));
}

static void barrier(void)
{
    must_ok(dload_postgres_channel_barrier(&channel, 20 * DLOAD_SECOND));
}

/* ---- messages ---- */

static void test_notify_keys(void **state)
{
    (void)state;
    publish("users:42", 8);
    publish("", 0);
    publish("a\0b", 3);
    publish("'); --", 6);
    publish("\xff\r\n", 3);
    publish("\xc3\xa4", 2);
    publish("*", 1);
    publish("h00", 3);
    barrier();
    heard(" =users:42 = =a<00>b ='); -- =<ff><0d><0a> =<c3><a4> =* =h00");
    dload_postgres_channel_counts n;
    dload_postgres_channel_stats(&channel, &n);
    equal(n.n_keys, 8);
    equal(n.n_all, 0);
    equal(n.n_up, 1);
}

/* In the order of one statement; twice the same in one transaction is once. */
static void test_notify_many(void **state)
{
    enum { N = 2500 };
    static char text[N][16];
    static dload_str keys[N];
    (void)state;
    for (size_t i = 0; i < N; i++) {
        keys[i].ptr = text[i];
        keys[i].len = (size_t)snprintf(text[i], sizeof text[i], "k%zu", i);
    }
    ear.quiet = true;
    must_ok(dload_postgres_channel_publish(&channel, keys, N, 0));
    barrier();
    equal(ear.n_told, 1 + N);
    ear.quiet = false;
    dload_str twice[3] = {keys[7], keys[5], keys[7]};
    must_ok(dload_postgres_channel_publish(&channel, twice, 3, 0));
    barrier();
    heard(" =k7 =k5");
}

static void test_notify_long_keys(void **state)
{
    static char key[20000];
    (void)state;
    ear.quiet = true;
    memset(key, 'a', sizeof key);
    for (size_t n = 7990; n < 8010; n++)
        publish(key, n);
    memset(key, 1, sizeof key);
    for (size_t n = 3990; n < 4010; n++)
        publish(key, n);
    publish(key, sizeof key);
    barrier();
    dload_postgres_channel_counts n;
    dload_postgres_channel_stats(&channel, &n);
    equal(n.n_keys, 9 + 10); /* up to 7998 plain bytes, 3999 odd ones */
    equal(n.n_all, 11 + 10 + 1);
    equal(n.n_odd, 0);
}

/* Whatever somebody else says: forgotten too much, at worst. */
static void test_notify_odd_messages(void **state)
{
    static const char *const odd[] = {"",   "x",   "hx", "h0",   "h0g",
                                      "**", "H00", " k", "h 00", "\xc3\xa4"};
    char sql[200];
    (void)state;
    for (size_t i = 0; i < COUNT(odd); i++) {
        (void)snprintf(sql, sizeof sql, "SELECT pg_notify('News', '%s')", odd[i]);
        pg_query(sql, NULL, 0);
    }
    barrier();
    heard(" all all all all all all all all all all");
    pg_query(
        "SELECT pg_notify('news', 'kother'), pg_notify('News', 'h'), pg_notify('News', 'hAbcF')",
        NULL, 0);
    pg_query("NOTIFY \"News\", '*'", NULL, 0);
    barrier();
    heard(" = =<ab><cf> all");
    dload_postgres_channel_counts n;
    dload_postgres_channel_stats(&channel, &n);
    equal(n.n_odd, COUNT(odd));
}

static void test_notify_names(void **state)
{
    static const char *const bad[] = {"", "a b", "a\"", "1", "a;", "a-b"};
    dload_postgres_channel_config c;
    dload_postgres_channel own;
    (void)state;
    memset(&c, 0, sizeof c);
    c.pg.url = server.url;
    must(dload_postgres_channel_init(&own, &c), DLOAD_EINVAL);
    for (size_t i = 0; i < COUNT(bad); i++) {
        c.name = bad[i];
        must(dload_postgres_channel_init(&own, &c), DLOAD_EINVAL);
    }
    c.name = "ok";
    c.ping_ns = 2 * DLOAD_SECOND;
    must(dload_postgres_channel_init(&own, &c), DLOAD_EINVAL);
    c.ping_ns = 0;
    c.pg.url = "host='";
    must(dload_postgres_channel_init(&own, &c), DLOAD_EINVAL);
}

/* The manual's trigger. */
static void test_notify_trigger(void **state)
{
    (void)state;
    pg_query("CREATE TABLE users (id int PRIMARY KEY, name text)", NULL, 0);
    pg_query("CREATE FUNCTION users_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
             "IF TG_OP = 'TRUNCATE' THEN PERFORM pg_notify('News', '*'); RETURN NULL; END IF; "
             "IF TG_OP <> 'INSERT' THEN PERFORM pg_notify('News', 'kusers:' || OLD.id); END IF; "
             "IF TG_OP <> 'DELETE' THEN PERFORM pg_notify('News', 'kusers:' || NEW.id); END IF; "
             "RETURN NULL; END $$",
             NULL, 0);
    pg_query("CREATE TRIGGER users_changed AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW "
             "EXECUTE FUNCTION users_changed()",
             NULL, 0);
    pg_query(
        "CREATE TRIGGER users_emptied AFTER TRUNCATE ON users EXECUTE FUNCTION users_changed()",
        NULL, 0);
    pg_query("INSERT INTO users VALUES (1, 'a'), (2, 'b')", NULL, 0);
    pg_query("UPDATE users SET name = 'c' WHERE id = 2", NULL, 0);
    pg_query("UPDATE users SET id = 3 WHERE id = 2", NULL, 0);
    pg_query("BEGIN; UPDATE users SET name = 'd'; ROLLBACK", NULL, 0);
    pg_query("DELETE FROM users WHERE id = 1", NULL, 0);
    pg_query("TRUNCATE users", NULL, 0);
    barrier();
    heard(" =users:1 =users:2 =users:2 =users:2 =users:3 =users:1 all");
}

/* ---- sinks, threads, processes ---- */

static void test_notify_sinks_come_and_go(void **state)
{
    static struct ear late = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    (void)state;
    must(dload_postgres_channel_start(&channel), DLOAD_EBUSY);
    make_ear(&late);
    dload_postgres_channel_add(&channel, &late.sink);
    must_ok(dload_postgres_channel_wait(&channel, 20 * DLOAD_SECOND));
    publish("a", 1);
    barrier();
    dload_postgres_channel_remove(&channel, &late.sink);
    publish("b", 1);
    barrier();
    heard_(&late, " up =a down", __LINE__);
    heard(" =a =b");
    dload_postgres_channel_stop(&channel);
    heard(" down");
    must(dload_postgres_channel_wait(&channel, 0), DLOAD_ECLOSED);
    publish("unheard", 7);
    must_ok(dload_postgres_channel_start(&channel));
    must_ok(dload_postgres_channel_wait(&channel, 20 * DLOAD_SECOND));
    publish("c", 1);
    barrier();
    heard(" up =c");
}

static void test_notify_fork(void **state)
{
    int status = 0;
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        dload_str key = {"k", 1};
        bool ok = dload_postgres_channel_publish(&channel, &key, 1, 0) == DLOAD_EFORK &&
                  dload_postgres_channel_start(&channel) == DLOAD_EFORK;
        dload_postgres_channel_destroy(&channel);
        _exit(ok ? 0 : 1);
    }
    equal(waitpid(pid, &status, 0), pid);
    equal(status, 0);
    publish("a", 1);
    barrier();
    heard(" =a");
}

/* What was published before a barrier has been told after it: each time. */
static struct {
    uint64_t told[4]; /* atomic, by writer */
    uint32_t n_late;
} own_writes;

static void on_own_write(void *ctx, const char *key, size_t n)
{
    (void)ctx;
    (void)n;
    __atomic_store_n(&own_writes.told[key[0] - 'a'], strtoull(key + 1, NULL, 10), __ATOMIC_RELEASE);
}

static void write_and_look(void *ctx, size_t me)
{
    (void)ctx;
    for (uint64_t i = 1; i <= 100; i++) {
        char text[32];
        dload_str key = {
            text, (size_t)snprintf(text, sizeof text, "%c%lu", (char)('a' + me), (unsigned long)i)};
        if (dload_postgres_channel_publish(&channel, &key, 1, 0) != DLOAD_OK ||
            dload_postgres_channel_barrier(&channel, 20 * DLOAD_SECOND) != DLOAD_OK ||
            __atomic_load_n(&own_writes.told[me], __ATOMIC_ACQUIRE) != i)
            (void)__atomic_add_fetch(&own_writes.n_late, 1, __ATOMIC_RELAXED);
    }
}

static void test_notify_own_writes(void **state)
{
    static dload_sink sink;
    (void)state;
    memset(&own_writes, 0, sizeof own_writes);
    ear.quiet = true;
    sink = ear.sink;
    sink.key = on_own_write;
    dload_postgres_channel_add(&channel, &sink);
    must_ok(dload_postgres_channel_wait(&channel, 20 * DLOAD_SECOND));
    run_threads(4, write_and_look, NULL);
    equal(own_writes.n_late, 0);
}

/* ---- losses ---- */

static void cut(void)
{
    pg_query(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = "
        "'dataloader'",
        NULL, 0);
}

static void wait_for_ups(uint64_t n_up)
{
    dload_postgres_channel_counts n;
    for (int i = 0; i < 2000; i++) {
        dload_postgres_channel_stats(&channel, &n);
        if (n.n_up >= n_up)
            break;
        sleep_ms(5);
    }
    equal(n.n_up, n_up);
    must_ok(dload_postgres_channel_wait(&channel, 20 * DLOAD_SECOND));
}

static void test_notify_cut(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 5; i++) {
        cut();
        wait_for_ups(2 + i);
        heard(" down up");
    }
    publish("k", 1);
    barrier();
    heard(" =k");
    dload_postgres_channel_counts n;
    dload_postgres_channel_stats(&channel, &n);
    equal(n.n_lost, 5);
}

static void test_notify_server_killed(void **state)
{
    (void)state;
    postgres_kill(&server);
    for (int i = 0; i < 2000 && __atomic_load_n(&ear.n_told, __ATOMIC_RELAXED) < 2; i++)
        sleep_ms(5);
    heard(" down");
    barrier(); /* nothing is heard, nothing is cached: known */
    assert_true(postgres_start(&server));
    wait_for_ups(2);
    publish("k", 1);
    barrier();
    heard(" up =k");
}

/* A connection that is there and says nothing. */
static void test_notify_server_stopped(void **state)
{
    (void)state;
    teardown(NULL);
    fake_env_init_real(&memory);
    make_ear(&ear);
    listen_to(&channel, 100, 300);
    dload_postgres_channel_add(&channel, &ear.sink);
    must_ok(dload_postgres_channel_start(&channel));
    dload_status st = dload_postgres_channel_wait(&channel, 20 * DLOAD_SECOND);
    postgres_signal(&server, SIGSTOP);
    uint64_t from_ns = real_ns();
    dload_postgres_channel_counts n;
    do {
        sleep_ms(1);
        dload_postgres_channel_stats(&channel, &n);
    } while (n.n_lost == 0 && real_ns() - from_ns < 20 * DLOAD_SECOND);
    print_message("# lost after %.0f ms of silence\n", (double)(real_ns() - from_ns) / 1e6);
    postgres_signal(&server, SIGCONT);
    must_ok(st);
    assert_true(n.n_lost > 0);
    for (int i = 0; i < 2000 && n.n_up < 2; i++) {
        sleep_ms(5);
        dload_postgres_channel_stats(&channel, &n);
    }
    assert_true(n.n_up >= 2);
}

/* ---- a loader, a source that changes, and cuts ---- */

enum { N_SOURCE = 50 };
static struct {
    uint64_t source[N_SOURCE]; /* atomic; only ever grows */
    users l;
    bool over;        /* atomic */
    uint32_t n_wrong; /* loads that gave what cannot be */
} world;

static dload_status fetch(users_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t v = __atomic_load_n(&world.source[b->keys[i]], __ATOMIC_ACQUIRE);
        (void)users_batch_set(b, i, &v);
    }
    return DLOAD_OK;
}

static void live(void *ctx, size_t me)
{
    uint64_t seed = *(uint64_t *)ctx + me;
    for (size_t i = 0; me == 0 && i < scaled(400); i++) { /* who writes */
        uint64_t key = rng_below(&seed, N_SOURCE);
        char text[32];
        dload_str name = {text,
                          (size_t)snprintf(text, sizeof text, "users:%lu", (unsigned long)key)};
        (void)__atomic_add_fetch(&world.source[key], 1, __ATOMIC_ACQ_REL);
        while (dload_postgres_channel_publish(&channel, &name, 1, 0) != DLOAD_OK)
            sleep_ms(1);
        uint64_t wrote = __atomic_load_n(&world.source[key], __ATOMIC_ACQUIRE), got = 0;
        if (i % 10 == 0 &&
            (dload_postgres_channel_barrier(&channel, 20 * DLOAD_SECOND) != DLOAD_OK ||
             users_load(&world.l, key, &got) != DLOAD_OK || got != wrote))
            (void)__atomic_add_fetch(&world.n_wrong, 1, __ATOMIC_RELAXED);
    }
    if (me == 0)
        __atomic_store_n(&world.over, true, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&world.over, __ATOMIC_ACQUIRE)) {
        if (me == 1) { /* who cuts */
            sleep_ms((unsigned)rng_below(&seed, 60));
            cut();
            continue;
        }
        uint64_t key = rng_below(&seed, N_SOURCE), v = 0;
        if (users_load(&world.l, key, &v) != DLOAD_OK ||
            v > __atomic_load_n(&world.source[key], __ATOMIC_ACQUIRE))
            (void)__atomic_add_fetch(&world.n_wrong, 1, __ATOMIC_RELAXED);
    }
}

static void test_notify_no_stale_reads(void **state)
{
    uint64_t seed = test_seed("changes and cuts");
    static dload_sink sink;
    users_config c = users_config_default();
    (void)state;
    memset(&world, 0, sizeof world);
    ear.quiet = true;
    c.fetch = fetch;
    must_ok(users_init(&world.l, &c));
    must_ok(users_sink(&world.l, &sink));
    dload_postgres_channel_add(&channel, &sink);
    run_threads(4, live, &seed);
    equal(world.n_wrong, 0);
    must_ok(dload_postgres_channel_wait(&channel, 20 * DLOAD_SECOND));
    barrier();
    for (uint64_t key = 0; key < N_SOURCE; key++) {
        uint64_t v = 0;
        must_ok(users_load(&world.l, key, &v));
        equal(v, world.source[key]);
    }
    dload_stats s = {0};
    must_ok(users_stats(&world.l, &s));
    dload_postgres_channel_counts n;
    dload_postgres_channel_stats(&channel, &n);
    print_message("# %lu hits, %lu keys heard, %lu losses\n", (unsigned long)s.hits,
                  (unsigned long)n.n_keys, (unsigned long)n.n_lost);
    assert_true(s.hits > 0 && n.n_keys > 0 && n.n_lost > 0);
    dload_postgres_channel_remove(&channel, &sink);
    must_ok(users_destroy(&world.l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_notify_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_long_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_odd_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_trigger, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_sinks_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_fork, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_own_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_server_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_server_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_no_stale_reads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
