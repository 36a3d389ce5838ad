/* The SQLite store on files that are damaged: other files, cut ones, any bit turned. No crash, no hang, a status for
 * each request; and with config.recreate a good file in the end. */
/* links: sqlite3 */
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_sqlite.h"
#include "support.h"

#include "test_sqlite.h"

enum { N_ROWS = 60 };

struct bytes {
    unsigned char *p;
    size_t n;
};

static struct bytes read_file(const char *path)
{
    struct bytes b = {NULL, 0};
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    b.n = (size_t)ftell(f);
    b.p = malloc(b.n + 1);
    assert_non_null(b.p);
    rewind(f);
    assert_int_equal(fread(b.p, 1, b.n, f), b.n);
    (void)fclose(f);
    return b;
}

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static uint64_t row_key(size_t i)
{
    return UINT64_C(0x6b00) + i * 7919;
}

/* A good file with rows of all sizes and some leases, nothing in its log. */
static struct bytes good_file(struct db *t)
{
    static char value[12000];
    memset(value, 'v', sizeof value);
    t->cfg.sync = DLOAD_SQLITE_SYNC_OFF; /* disks are slow */
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    for (size_t i = 0; i < N_ROWS; i++) {
        uint64_t key = row_key(i);
        dload_store_item item =
            store_item_set((dload_str){(char *)&key, 8}, (dload_str){value, i * i * 3},
                           i % 2 != 0 ? DLOAD_NEVER : 3600 * DLOAD_SECOND);
        must_ok(store_one(&t->x, DLOAD_STORE_SET, &item));
        key = ~key;
        item = store_item_lease((dload_str){(char *)&key, 8}, 1, 3600 * DLOAD_SECOND);
        must(store_one(&t->x, DLOAD_STORE_LEASE, &item), DLOAD_MISSING);
    }
    must_ok(dload_sqlite_destroy(&t->q));
    return read_file(t->path);
}

/* Every kind of request; values are read to their last byte. Returns whether all of them went well. */
static bool use_all(struct db *t)
{
    dload_store_item items[N_ROWS];
    uint64_t keys[N_ROWS];
    static const dload_store_kind kinds[] = {
        DLOAD_STORE_GET,   DLOAD_STORE_LEASE, DLOAD_STORE_SET,  DLOAD_STORE_DELETE,
        DLOAD_STORE_LEASE, DLOAD_STORE_FILL,  DLOAD_STORE_DROP, DLOAD_STORE_CLEAR};
    bool good = true;
    t->q.store.break_after = UINT32_MAX;
    for (size_t round = 0; round < COUNT(kinds); round++) {
        for (size_t i = 0; i < N_ROWS; i++) {
            keys[i] = row_key(i);
            items[i] = store_item_lease((dload_str){(char *)&keys[i], 8}, 2, DLOAD_SECOND);
            items[i].value = &keys[i];
            items[i].value_bytes = 8;
        }
        const bool reads = kinds[round] == DLOAD_STORE_GET || kinds[round] == DLOAD_STORE_LEASE;
        dload_store_op op = store_op(kinds[round], items, round % 2 != 0 ? 8 : N_ROWS);
        dload_status st = dload_store_run(&t->q.store, &op);
        good = good && st == DLOAD_OK;
        for (size_t i = 0; st == DLOAD_OK && reads && i < op.n; i++) {
            char *copy = items[i].status == DLOAD_OK ? malloc(items[i].value_bytes + 1) : NULL;
            if (copy != NULL && items[i].value_bytes != 0)
                memcpy(copy, items[i].value, items[i].value_bytes);
            free(copy);
        }
        dload_store_release(&op);
    }
    return good;
}

/* A file that is not what it was: opened, used, and then, with recreate, used until all is well. */
static void survive(struct db *t, const void *p, size_t n)
{
    db_unlink(t);
    write_file(t->path, p, n);
    t->cfg.recreate = false;
    t->log.len = 0;
    if (dload_sqlite_init(&t->q, &t->cfg) == DLOAD_OK) {
        (void)use_all(t);
        must_ok(dload_sqlite_destroy(&t->q));
    }
    assert_int_not_equal(access(t->path, F_OK), -1); /* nobody took it away unasked */
    t->cfg.recreate = true;
    t->cfg.check = true;
    t->log.len = 0;
    write_file(t->path, p, n);
    dload_status st = dload_sqlite_init(&t->q, &t->cfg);
    t->cfg.check = false;
    if (st == DLOAD_ELAYOUT || st == DLOAD_EIO)
        return; /* another's table as far as one can see; a version of SQLite that is to come */
    must_ok(st);
    for (int i = 0; !use_all(t); i++)
        assert_true(i < 3);
    must_ok(dload_sqlite_destroy(&t->q));
    equal(db_sql(t, "SELECT quick_check='ok' FROM pragma_quick_check(1)"), 1);
}

static void test_other_files(void **state)
{
    struct db *t = db_new();
    struct bytes good = good_file(t);
    static unsigned char zeros[10000], noise[10000];
    char name[128];
    uint64_t seed = test_seed("noise");
    (void)state;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char)rng(&seed);
    t->cfg.recreate = true;
    survive(t, "", 0);
    survive(t, "x", 1);
    survive(t, zeros, sizeof zeros);
    survive(t, noise, sizeof noise);
    survive(t, good.p, 100); /* the head alone */
    memcpy(noise, good.p, 100);
    survive(t, noise, sizeof noise);
    /* No SQLite file: refused, and left as it is. */
    db_unlink(t);
    write_file(t->path, "a letter to somebody, which is none of our business", 51);
    t->cfg.recreate = false;
    t->log.len = 0;
    must(dload_sqlite_init(&t->q, &t->cfg), DLOAD_EBACKEND);
    db_log_has(t, "cannot be opened: file is not a database");
    struct bytes left = read_file(t->path);
    assert_int_equal(left.n, 51);
    free(left.p);
    /* Put aside, when that is wished, with all its bytes. */
    t->cfg.recreate = true;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    db_log_has(t, "put aside as .damaged");
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    store_get(&t->x, STR("k"), STR("v"));
    (void)snprintf(name, sizeof name, "%s.damaged", t->path);
    left = read_file(name);
    assert_int_equal(left.n, 51);
    assert_memory_equal(left.p, "a letter", 8);
    free(left.p);
    free(good.p);
    db_close(t);
}

/* A link leads to the file: what is put aside is the file, not the link, and others find the new one. */
static void test_link_to_damage(void **state)
{
    struct db *t = db_new();
    char real[96], name[128];
    (void)state;
    (void)snprintf(real, sizeof real, "%.60s/real.db", t->folder);
    (void)snprintf(name, sizeof name, "%s.damaged", real);
    write_file(real, "no database at all, not even a small one", 40);
    equal(symlink(real, t->path), 0);
    t->cfg.recreate = true;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    assert_int_equal(access(name, F_OK), 0);
    (void)snprintf(name, sizeof name, "%s", t->path);
    (void)snprintf(t->path, sizeof t->path, "%s", real);
    equal(db_sql(t, "SELECT count(*) FROM dataloader"), 1); /* in the real one */
    db_close(t);
}

/* Somebody else is putting files of this folder aside, and does not end: we do not wait for ever, nor do it too. */
static void test_folder_is_locked(void **state)
{
    struct db *t = db_new();
    int fd = open(t->folder, O_RDONLY);
    (void)state;
    assert_true(fd >= 0);
    equal(flock(fd, LOCK_EX), 0);
    write_file(t->path, "no database at all, not even a small one", 40);
    t->cfg.recreate = true;
    t->cfg.timeout_ns = 30 * DLOAD_MILLISECOND;
    must(dload_sqlite_init(&t->q, &t->cfg), DLOAD_EBACKEND);
    struct bytes left = read_file(t->path);
    assert_int_equal(left.n, 40);
    free(left.p);
    (void)close(fd);
    t->cfg.timeout_ns = 0;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    db_close(t);
}

static void test_cut_files(void **state)
{
    struct db *t = db_new();
    struct bytes good = good_file(t);
    uint64_t seed = test_seed("cuts");
    (void)state;
    for (size_t i = 0; i < scaled(20); i++) {
        size_t n = i < 8 ? good.n / 4096 * i / 8 * 4096 : (size_t)rng_below(&seed, good.n);
        survive(t, good.p, n);
    }
    free(good.p);
    db_free(t);
}

static void test_turned_bits(void **state)
{
    struct db *t = db_new();
    struct bytes good = good_file(t);
    uint64_t seed = test_seed("bits");
    (void)state;
    for (size_t i = 0; i < scaled(60); i++) {
        /* Heads of pages hold what everything else depends on. */
        size_t n_bits = 1 + (size_t)rng_below(&seed, 4), at[4];
        for (size_t j = 0; j < n_bits; j++) {
            size_t page = (size_t)rng_below(&seed, good.n / 4096) * 4096;
            at[j] = i % 3 == 0 ? (size_t)rng_below(&seed, good.n)
                               : page + (size_t)rng_below(&seed, i % 3 == 1 ? 24 : 200);
            good.p[at[j]] ^= (unsigned char)(1u << (j + i) % 8);
        }
        survive(t, good.p, good.n);
        for (size_t j = 0; j < n_bits; j++)
            good.p[at[j]] ^= (unsigned char)(1u << (j + i) % 8);
    }
    free(good.p);
    db_free(t);
}

/* Cut and overwritten while it is open. */
static void test_damaged_while_open(void **state)
{
    struct db *t = db_new();
    struct bytes good = good_file(t);
    uint64_t seed = test_seed("damage while open");
    (void)state;
    for (size_t i = 0; i < scaled(30); i++) {
        db_unlink(t);
        write_file(t->path, good.p, good.n);
        t->cfg.recreate = i % 2 != 0;
        t->log.len = 0;
        must_ok(dload_sqlite_init(&t->q, &t->cfg));
        assert_true(i % 4 == 0 || use_all(t));
        size_t at = (size_t)rng_below(&seed, good.n), n = (size_t)rng_below(&seed, good.n - at);
        FILE *f = fopen(t->path, "r+b");
        assert_non_null(f);
        if (i % 3 == 0)
            assert_int_equal(ftruncate(fileno(f), (off_t)at), 0);
        assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
        if (i % 3 != 0)
            (void)fwrite(good.p, 1, n, f);
        (void)fclose(f);
        bool good_now = use_all(t);
        for (int again = 0; t->cfg.recreate && !good_now; again++) {
            assert_true(again < 5);
            good_now = use_all(t);
        }
        must_ok(dload_sqlite_destroy(&t->q));
    }
    free(good.p);
    db_free(t);
}

/* A log that a dead process left behind, damaged: what is whole is taken, the rest never was. */
static void test_damaged_log(void **state)
{
    struct db *t = db_new();
    char wal[128];
    uint64_t seed = test_seed("logs");
    (void)state;
    (void)snprintf(wal, sizeof wal, "%s-wal", t->path);
    t->cfg.sync = DLOAD_SQLITE_SYNC_OFF;
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    for (uint64_t i = 1; i <= 30; i++) {
        for (uint64_t key = 0; key < 5; key++) {
            dload_store_item item = store_item_set((dload_str){(char *)&key, 8},
                                                   (dload_str){(char *)&i, 8}, DLOAD_NEVER);
            must_ok(store_one(&t->x, DLOAD_STORE_SET, &item));
        }
    }
    struct bytes file = read_file(t->path), log = read_file(wal);
    must_ok(dload_sqlite_destroy(&t->q));
    for (size_t round = 0; round < scaled(40); round++) {
        db_unlink(t);
        write_file(t->path, file.p, file.n);
        size_t n = round % 2 != 0 ? log.n : (size_t)rng_below(&seed, log.n);
        size_t at = n != 0 ? (size_t)rng_below(&seed, n) : 0;
        log.p[at] ^= 16;
        write_file(wal, log.p, n);
        log.p[at] ^= 16;
        /* Before the tables were made, or while keys were written in order: a state that there was. */
        uint64_t last = 31;
        must_ok(dload_sqlite_init(&t->q, &t->cfg));
        for (uint64_t key = 0; key < 5; key++) {
            dload_store_item item = store_item((dload_str){(char *)&key, 8});
            dload_store_op op = store_op(DLOAD_STORE_GET, &item, 1);
            uint64_t version = 0;
            must_ok(dload_store_run(&t->q.store, &op));
            if (item.status == DLOAD_OK)
                memcpy(&version, item.value, 8);
            dload_store_release(&op);
            assert_true(version <= last && (key == 0 || version + 1 >= last));
            last = version;
        }
        must_ok(dload_sqlite_destroy(&t->q));
    }
    free(file.p);
    free(log.p);
    db_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_files),      cmocka_unit_test(test_link_to_damage),
        cmocka_unit_test(test_folder_is_locked), cmocka_unit_test(test_cut_files),
        cmocka_unit_test(test_turned_bits),      cmocka_unit_test(test_damaged_while_open),
        cmocka_unit_test(test_damaged_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
