/* Loaders with a second level in an SQLite file, and named locks beside it: one fetch for a fleet, values that outlive
 * their process, a file that is damaged, locked, removed: loads succeed, and no wrong value is accepted. */
/* links: sqlite3 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#define DLOAD_STORE     1
#define DLOAD_NAME      rows
#define DLOAD_KEY       uint64_t
#define DLOAD_VALUE     struct row
#define DLOAD_LOCK      DLOAD_LOCK_PTHREAD
#include <stdint.h>
struct row {
    uint64_t words[12];
};
#include "dataloader.h"
#include "adapters/dataloader_flock.h"
#include "adapters/dataloader_sqlite.h"
#include "support.h"

#include "test_sqlite.h"

#include <sys/mman.h>

enum { N_PROCESSES = 8, N_THREADS = 8, N_KEYS = 100 };

/* In memory of all processes. */
static struct world {
    uint32_t n_fetched; /* keys; atomic, as all of these */
    uint32_t n_good, n_bad, n_ready, go;
} * world;

static struct node {
    dload_sqlite q;
    dload_flock locks;
    rows l;
} node;

static struct row row_of(uint64_t key)
{
    struct row r;
    for (size_t i = 0; i < COUNT(r.words); i++)
        r.words[i] = key * 1000 + i;
    return r;
}

static dload_status fetch(rows_batch *b)
{
    (void)__atomic_add_fetch(&world->n_fetched, (uint32_t)b->n, __ATOMIC_ACQ_REL);
    for (size_t i = 0; i < b->n; i++) {
        struct row r = row_of(b->keys[i]);
        (void)rows_batch_set(b, i, &r);
    }
    return DLOAD_OK;
}

static bool node_open(const char *folder, bool recreate)
{
    char path[128];
    dload_sqlite_config file;
    rows_config c = rows_config_default();
    memset(&file, 0, sizeof file);
    (void)snprintf(path, sizeof path, "%s/cache.db", folder);
    file.path = path;
    file.recreate = recreate;
    file.sync = DLOAD_SQLITE_SYNC_OFF;
    c.fetch = fetch;
    c.store = &node.q.store;
    c.store_timeout_ns = 20 * DLOAD_SECOND;
    c.locks = &node.locks.locks;
    c.lock_wait_ns = 60 * DLOAD_SECOND;
    c.timeout_ns = 60 * DLOAD_SECOND;
    if (dload_sqlite_init(&node.q, &file) != DLOAD_OK)
        return false;
    node.q.store.break_after = UINT32_MAX; /* each request is to be tried */
    (void)snprintf(path, sizeof path, "%s/locks", folder);
    return dload_flock_init(&node.locks, path, NULL) == DLOAD_OK &&
           rows_init(&node.l, &c) == DLOAD_OK;
}

static void node_close(void)
{
    must_ok(rows_close(&node.l, DLOAD_DRAIN, 0));
    must_ok(rows_destroy(&node.l));
    dload_flock_destroy(&node.locks);
    must_ok(dload_sqlite_destroy(&node.q));
}

static int set_up(void **state)
{
    char *folder = calloc(1, 64);
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *state = folder;
    return folder != NULL && world != MAP_FAILED && server_folder(folder, 64) ? 0 : -1;
}

static int tear_down(void **state)
{
    server_remove(*state);
    free(*state);
    return munmap(world, sizeof *world);
}

/* All keys in one call; each must be right, wherever it came from. */
static void load_all(void)
{
    static struct row out[N_KEYS];
    uint64_t keys[N_KEYS];
    dload_status st[N_KEYS];
    for (uint64_t i = 0; i < N_KEYS; i++)
        keys[i] = i;
    must_ok(rows_load_many(&node.l, keys, N_KEYS, out, st));
    for (uint64_t i = 0; i < N_KEYS; i++) {
        struct row want = row_of(i);
        must_ok(st[i]);
        assert_memory_equal(&out[i], &want, sizeof want);
    }
}

/* ---- one fetch for all ---- */

static void load_one(void *ctx, size_t me)
{
    struct row got, want = row_of(7);
    (void)ctx;
    (void)me;
    bool ok = rows_load(&node.l, 7, &got) == DLOAD_OK && memcmp(&got, &want, sizeof got) == 0;
    (void)__atomic_add_fetch(ok ? &world->n_good : &world->n_bad, 1, __ATOMIC_RELAXED);
}

static void test_one_fetch_for_a_fleet(void **state)
{
    pid_t pids[N_PROCESSES];
    for (size_t i = 0; i < N_PROCESSES; i++) {
        pid_t parent = getpid();
        pids[i] = fork();
        if (pids[i] != 0)
            continue;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || !node_open(*state, false))
            _exit(1);
        (void)__atomic_add_fetch(&world->n_ready, 1, __ATOMIC_ACQ_REL);
        while (__atomic_load_n(&world->go, __ATOMIC_ACQUIRE) == 0)
            sleep_ms(1);
        run_threads(N_THREADS, load_one, NULL);
        node_close();
        _exit(0);
    }
    for (int i = 0; i < 8000 && __atomic_load_n(&world->n_ready, __ATOMIC_ACQUIRE) < N_PROCESSES;
         i++)
        sleep_ms(5);
    __atomic_store_n(&world->go, 1u, __ATOMIC_RELEASE);
    for (size_t i = 0; i < N_PROCESSES; i++) {
        int status = -1;
        equal(waitpid(pids[i], &status, 0), pids[i]);
        equal(status, 0);
    }
    equal(world->n_fetched, 1);
    equal(world->n_bad, 0);
    equal(world->n_good, N_PROCESSES * N_THREADS);
}

/* ---- the next life ---- */

static void test_values_outlive_their_process(void **state)
{
    for (int life = 0; life < 3; life++) {
        assert_true(node_open(*state, false));
        load_all();
        equal(world->n_fetched, N_KEYS);
        node_close();
    }
    assert_true(node_open(*state, false));
    must_ok(rows_clear(&node.l, 3)); /* here and in the file */
    load_all();
    equal(world->n_fetched, N_KEYS + 1);
    node_close();
}

/* ---- damage ---- */

static void sql(const char *folder, const char *text)
{
    char path[128];
    sqlite3 *db = NULL;
    (void)snprintf(path, sizeof path, "%s/cache.db", folder);
    equal(sqlite3_open(path, &db), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 10000);
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    equal(sqlite3_close(db), SQLITE_OK);
}

/* One bit of each byte of a stored value: never accepted, fetched again instead. */
static void test_each_byte_of_a_value(void **state)
{
    struct row got, want = row_of(7);
    char text[400];
    size_t n_bytes = 0;
    assert_true(node_open(*state, false));
    must_ok(rows_load(&node.l, 7, &got));
    for (size_t i = 0; i < 400; i++) {
        dload_store_item item = store_item(STR("rows:7"));
        dload_store_op op = store_op(DLOAD_STORE_GET, &item, 1);
        must_ok(dload_store_run(&node.q.store, &op));
        must_ok(item.status);
        n_bytes = item.value_bytes;
        unsigned char byte = i < n_bytes ? ((const unsigned char *)item.value)[i] : 0;
        dload_store_release(&op);
        if (i >= n_bytes)
            break;
        (void)snprintf(text, sizeof text,
                       "UPDATE dataloader SET value = CAST(substr(value,1,%zu) || x'%02x' || "
                       "substr(value,%zu) AS BLOB) WHERE key = CAST('rows:7' AS BLOB)",
                       i, byte ^ 1u << i % 8, i + 2);
        sql(*state, text);
        must_ok(rows_clear_local(&node.l, 7));
        must_ok(rows_load(&node.l, 7, &got));
        assert_memory_equal(&got, &want, sizeof got);
        equal(world->n_fetched, i + 2);
    }
    assert_true(n_bytes > sizeof want && n_bytes < 400);
    node_close();
}

/* Bits of the file, anywhere: loads succeed, and are right. */
static void test_bits_of_the_file(void **state)
{
    uint64_t seed = test_seed("bits of the file");
    char path[128];
    (void)snprintf(path, sizeof path, "%s/cache.db", (const char *)*state);
    for (size_t round = 0; round < scaled(30); round++) {
        if (!node_open(*state, true)) {
            assert_int_equal(unlink(path),
                             0); /* as far as one can see another's, or of the future */
            assert_true(node_open(*state, true));
        }
        load_all();
        must_ok(rows_clear_all_local(&node.l));
        load_all();
        node_close();
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, 0, SEEK_END), 0);
        uint64_t size = (uint64_t)ftell(f);
        for (uint64_t n = 1 + rng_below(&seed, 8); n > 0; n--) {
            long at = (long)rng_below(&seed, size);
            assert_int_equal(fseek(f, at, SEEK_SET), 0);
            int byte = fgetc(f);
            assert_int_equal(fseek(f, at, SEEK_SET), 0);
            (void)fputc(byte ^ (1 << rng_below(&seed, 8)), f);
        }
        assert_int_equal(fclose(f), 0);
    }
}

/* Removed, locked, without its tables, a table of somebody else's: the source answers. */
static void test_without_the_file(void **state)
{
    struct row got, want = row_of(1);
    dload_stats stats;
    static const char *const wrongs[] = {"DROP TABLE dataloader", "DROP TABLE dataloader_leases",
                                         "DROP TABLE dataloader; CREATE TABLE dataloader(mine)"};
    assert_true(node_open(*state, false));
    for (size_t i = 0; i < COUNT(wrongs); i++) {
        load_all();
        sql(*state, wrongs[i]);
        for (int again = 0; again < 3; again++) {
            must_ok(rows_clear_local(&node.l, 1));
            must_ok(rows_load(&node.l, 1, &got));
            assert_memory_equal(&got, &want, sizeof got);
        }
    }
    memset(&stats, 0, sizeof stats);
    must_ok(rows_stats(&node.l, &stats));
    assert_true(stats.store_errors > 0);
    sql(*state, "DROP TABLE dataloader");
    uint32_t before = world->n_fetched;
    must_ok(rows_clear_all_local(&node.l));
    load_all();
    must_ok(rows_clear_all_local(&node.l));
    load_all();
    equal(world->n_fetched, before + N_KEYS); /* the second time from the new tables */
    node_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_fetch_for_a_fleet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values_outlive_their_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_byte_of_a_value, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bits_of_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_the_file, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
