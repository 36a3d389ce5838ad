/* Loaders with a second level in PostgreSQL, and its locks: one fetch for a fleet, a fetcher that is killed, a server that
 * is, values that were damaged, a clear that other processes see. */
/* links: pq */
#define DLOAD_STORE 1
#define DLOAD_NAME  rows
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#include "dataloader.h"
#include "test_postgres.h"
#include "adapters/dataloader_postgres_lock.h"
#include "adapters/dataloader_postgres_notify.h"

#include <sys/mman.h>

enum { N_PROCESSES = 4, N_THREADS = 4 };

/* What all processes see. */
static struct world {
    uint64_t version;   /* of the source; atomic */
    uint32_t n_fetches; /* atomic */
    uint32_t n_inside;  /* atomic: fetches that run now */
    uint32_t n_good, n_bad;
    uint32_t go;       /* atomic: begin */
    uint32_t die;      /* atomic: whoever fetches first stays there for ever */
    uint32_t n_beside; /* fetches that ran beside another one */
    uint32_t n_ready;
} * world;

/* What each process has for itself. */
struct node {
    dload_postgres_store store;
    dload_postgres_locks locks;
    rows l;
};
static struct node node;

static dload_status fetch(rows_batch *b)
{
    if (__atomic_add_fetch(&world->n_inside, 1, __ATOMIC_ACQ_REL) > 1)
        (void)__atomic_add_fetch(&world->n_beside, 1, __ATOMIC_RELAXED);
    (void)__atomic_add_fetch(&world->n_fetches, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&world->die, __ATOMIC_ACQUIRE) == (uint32_t)getpid())
        sleep_ms(100);
    sleep_ms(30);
    for (size_t i = 0; i < b->n; i++) {
        uint64_t v = b->keys[i] * 1000 + __atomic_load_n(&world->version, __ATOMIC_ACQUIRE);
        (void)rows_batch_set(b, i, &v);
    }
    (void)__atomic_sub_fetch(&world->n_inside, 1, __ATOMIC_ACQ_REL);
    return DLOAD_OK;
}

static bool node_open(struct node *n, bool locked)
{
    dload_postgres_store_config s;
    dload_postgres_config p;
    rows_config c = rows_config_default();
    memset(&s, 0, sizeof s);
    memset(&p, 0, sizeof p);
    s.pg.url = p.url = server.url;
    s.pg.connect_ns = s.pg.timeout_ns = p.connect_ns = p.timeout_ns = 20 * DLOAD_SECOND;
    s.pg.backoff_max_ns = 50 * DLOAD_MILLISECOND;
    c.fetch = fetch;
    c.store = &n->store.store;
    c.store_timeout_ns = 20 * DLOAD_SECOND;
    c.locks = locked ? &n->locks.locks : NULL;
    c.lock_wait_ns = 60 * DLOAD_SECOND;
    c.timeout_ns = 60 * DLOAD_SECOND;
    return dload_postgres_store_init(&n->store, &s) == DLOAD_OK &&
           dload_postgres_locks_init(&n->locks, &p) == DLOAD_OK && rows_init(&n->l, &c) == DLOAD_OK;
}

static void node_close(struct node *n)
{
    (void)rows_close(&n->l, DLOAD_DRAIN, 0);
    (void)rows_destroy(&n->l);
    dload_postgres_locks_destroy(&n->locks);
    dload_postgres_store_destroy(&n->store);
}

static int setup(void **state)
{
    (void)state;
    char path[] = "/tmp/dload.XXXXXX";
    int fd = mkstemp(path); /* what is shared; nobody needs its name */
    assert_true(fd >= 0 && unlink(path) == 0 && ftruncate(fd, sizeof *world) == 0);
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    assert_true(world != MAP_FAILED);
    pg_query("DROP TABLE IF EXISTS dload_store", NULL, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)munmap(world, sizeof *world);
    return 0;
}

/* ---- one fetch for all ---- */

static void load_one(void *ctx, size_t me)
{
    uint64_t v = 0;
    (void)ctx;
    (void)me;
    dload_status st = rows_load(&node.l, 7, &v);
    (void)__atomic_add_fetch(st == DLOAD_OK && v == 7000 ? &world->n_good : &world->n_bad, 1,
                             __ATOMIC_RELAXED);
}

/* Processes of their own, which all begin at once. */
static void start_fleet(pid_t *pids)
{
    for (size_t i = 0; i < N_PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] != 0)
            continue;
        if (!node_open(&node, true))
            _exit(1);
        (void)__atomic_add_fetch(&world->n_ready, 1, __ATOMIC_ACQ_REL);
        while (__atomic_load_n(&world->go, __ATOMIC_ACQUIRE) == 0)
            sleep_ms(1);
        run_threads(N_THREADS, load_one, NULL);
        node_close(&node);
        _exit(0);
    }
    for (int i = 0; i < 4000 && __atomic_load_n(&world->n_ready, __ATOMIC_ACQUIRE) < N_PROCESSES;
         i++)
        sleep_ms(5);
}

static void join_fleet(const pid_t *pids, pid_t but)
{
    for (size_t i = 0; i < N_PROCESSES; i++) {
        int status = 0;
        if (pids[i] == but)
            continue;
        equal(waitpid(pids[i], &status, 0), pids[i]);
        equal(status, 0);
    }
}

static void test_loader_one_fetch_for_a_fleet(void **state)
{
    pid_t pids[N_PROCESSES];
    (void)state;
    start_fleet(pids);
    __atomic_store_n(&world->go, 1u, __ATOMIC_RELEASE);
    join_fleet(pids, 0);
    equal(world->n_fetches, 1);
    equal(world->n_bad, 0);
    equal(world->n_good, N_PROCESSES * N_THREADS);
}

/* Whoever fetches is killed: the server sees its session end, and the next one fetches, alone. */
static void test_loader_fetcher_is_killed(void **state)
{
    pid_t pids[N_PROCESSES];
    (void)state;
    start_fleet(pids);
    __atomic_store_n(&world->die, (uint32_t)pids[0], __ATOMIC_RELEASE);
    __atomic_store_n(&world->go, 1u, __ATOMIC_RELEASE);
    /* Either the first process fetches, and is killed in there, or another one did and it finds the value. */
    for (int i = 0; i < 4000 && __atomic_load_n(&world->n_inside, __ATOMIC_ACQUIRE) == 0 &&
                    __atomic_load_n(&world->n_good, __ATOMIC_ACQUIRE) == 0;
         i++)
        sleep_ms(5);
    sleep_ms(100);
    server_end(pids[0], SIGKILL);
    join_fleet(pids, pids[0]);
    equal(world->n_bad, 0);
    assert_true(world->n_good >= (N_PROCESSES - 1) * N_THREADS);
    assert_true(world->n_fetches <= 2);
}

/* ---- values ---- */

/* Flips every bit of a value's place in the table, one byte at a time: a damaged one is a miss, never an answer. */
static void test_loader_damaged_values(void **state)
{
    char sql[200];
    uint64_t v = 0;
    (void)state;
    if (!node_open(&node, false))
        fail();
    must_ok(rows_load(&node.l, 7, &v));
    const uint64_t n_bytes = pg_number("SELECT octet_length(value) FROM dload_store");
    assert_true(n_bytes > 8 && n_bytes < 200);
    pg_query("CREATE TABLE good AS SELECT * FROM dload_store", NULL, 0);
    for (uint64_t i = 0; i < n_bytes; i++) {
        (void)snprintf(
            sql, sizeof sql,
            "UPDATE dload_store AS s SET value = set_byte(g.value, %u, get_byte(g.value, %u) # "
            "%u) FROM good AS g WHERE s.id = g.id",
            (unsigned)i, (unsigned)i, 1u << i % 8);
        pg_query(sql, NULL, 0);
        uint32_t before = world->n_fetches;
        world->version = i + 1; /* the source has another one by now */
        must_ok(rows_clear_local(&node.l, 7));
        must_ok(rows_load(&node.l, 7, &v));
        equal(v, 7000 + i + 1);
        equal(world->n_fetches, before + 1);
    }
    /* ... and what was written back last is good */
    must_ok(rows_clear_local(&node.l, 7));
    must_ok(rows_load(&node.l, 7, &v));
    equal(v, 7000 + n_bytes);
    equal(world->n_fetches, n_bytes + 1);
    pg_query("DROP TABLE good", NULL, 0);
    node_close(&node);
}

/* The key that the manual of the channel promises. */
static void test_loader_keys_in_the_table(void **state)
{
    uint64_t v = 0;
    (void)state;
    if (!node_open(&node, false))
        fail();
    must_ok(rows_load(&node.l, 42, &v));
    equal(pg_number("SELECT count(*) FROM dload_store WHERE id = 'rows:42'"), 1);
    must_ok(rows_clear(&node.l, 42));
    equal(pg_number("SELECT count(*) FROM dload_store"), 0);
    node_close(&node);
}

/* ---- a server that goes and comes ---- */

static void test_loader_without_its_server(void **state)
{
    uint64_t v = 0;
    (void)state;
    if (!node_open(&node, true))
        fail();
    node.store.store.break_ns = DLOAD_MILLISECOND;
    node.store.store.break_max_ns = DLOAD_MILLISECOND;
    must_ok(rows_load(&node.l, 1, &v));
    postgres_kill(&server);
    for (uint64_t key = 2; key < 20; key++) {
        must_ok(rows_load(&node.l, key, &v));
        equal(v, key * 1000);
    }
    dload_stats s = {0};
    must_ok(rows_stats(&node.l, &s));
    assert_true(s.store_errors > 0);
    assert_true(postgres_start(&server));
    uint64_t key = 100;
    for (int i = 0; i < 500 && node.store.pool.n_connects < 2; i++)
        must_ok(rows_load(&node.l, key++, &v));
    equal(node.store.pool.n_connects, 2);
    world->n_fetches = 0;
    must_ok(rows_load(&node.l, 5000, &v));
    must_ok(rows_clear_local(&node.l, 5000));
    must_ok(rows_load(&node.l, 5000, &v));
    equal(v, 5000000);
    equal(world->n_fetches, 1);
    node_close(&node);
}

/* ---- a clear that another process sees ---- */

static void test_loader_clears_reach_others(void **state)
{
    static struct node other;
    static dload_postgres_channel channel, others_channel;
    static dload_sink sink;
    dload_postgres_channel_config c;
    uint64_t v = 0;
    (void)state;
    memset(&c, 0, sizeof c);
    c.pg.url = server.url;
    c.pg.timeout_ns = c.pg.connect_ns = 20 * DLOAD_SECOND;
    c.silent_ns = 20 * DLOAD_SECOND;
    c.name = "rows_changed";
    if (!node_open(&node, true) || !node_open(&other, true))
        fail();
    must_ok(dload_postgres_channel_init(&channel, &c));
    must_ok(dload_postgres_channel_init(&others_channel, &c));
    must_ok(rows_sink(&other.l, &sink));
    dload_postgres_channel_add(&others_channel, &sink);
    must_ok(dload_postgres_channel_start(&others_channel));
    must_ok(dload_postgres_channel_wait(&others_channel, 20 * DLOAD_SECOND));
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t want = 9000 + i;
        world->version = i;
        world->n_fetches = 0;
        must_ok(rows_clear(&node.l, 9)); /* here, and in the store */
        dload_str key = dload_str_from("rows:9");
        must_ok(dload_postgres_channel_publish(&channel, &key, 1, 0));
        must_ok(dload_postgres_channel_barrier(&others_channel, 20 * DLOAD_SECOND));
        must_ok(rows_load(&other.l, 9, &v));
        equal(v, want);
        must_ok(rows_load(&node.l, 9, &v));
        equal(v, want);
        must_ok(rows_load(&other.l, 9, &v));
        equal(world->n_fetches, 1);
    }
    dload_stats s = {0};
    must_ok(rows_stats(&other.l, &s));
    equal(s.hits, 20);
    dload_postgres_channel_destroy(&others_channel);
    dload_postgres_channel_destroy(&channel);
    node_close(&other);
    node_close(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_loader_one_fetch_for_a_fleet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loader_fetcher_is_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loader_damaged_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loader_keys_in_the_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loader_without_its_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loader_clears_reach_others, setup, teardown),
    };
    return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
