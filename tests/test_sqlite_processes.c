/* Several processes on one file: nothing is lost, one of them at a time has a lease, one that is killed leaves a
 * good file and its lease to the next. */
/* links: sqlite3 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_sqlite.h"
#include "support.h"

#include "test_sqlite.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { N_PROCESSES = 4 };

/* In memory of all processes. */
static struct shared {
    uint64_t counter;   /* changed by who has the lease, without any other care */
    uint64_t n_fetches; /* atomic */
    uint64_t n_failed;  /* atomic: answers that should not be */
    uint64_t answered;  /* atomic: the last version whose SET was answered */
    uint64_t started;   /* atomic */
} * shared;

static int make_shared(void **state)
{
    (void)state;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED ? -1 : 0;
}

static void add(uint64_t *counter)
{
    (void)__atomic_add_fetch(counter, 1, __ATOMIC_ACQ_REL);
}

/* A child opens its own store on the parent's file. */
static struct db *own_db(const struct db *parents)
{
    struct db *t = calloc(1, sizeof *t);
    if (t == NULL)
        _exit(3);
    t->cfg = parents->cfg;
    t->cfg.env = NULL;
    t->cfg.hooks = NULL;
    t->cfg.timeout_ns = 60 * DLOAD_SECOND;
    t->x.s = &t->q.store;
    if (dload_sqlite_init(&t->q, &t->cfg) != DLOAD_OK)
        _exit(4);
    return t;
}

static pid_t start(struct db *parents, void (*body)(struct db *t, uint64_t me), uint64_t me)
{
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(5);
    struct db *t = own_db(parents);
    body(t, me);
    _exit(dload_sqlite_destroy(&t->q) == DLOAD_OK ? 0 : 6);
}

static void run_processes(struct db *t, void (*body)(struct db *t, uint64_t me))
{
    pid_t pids[N_PROCESSES];
    memset(shared, 0, sizeof *shared);
    for (uint64_t i = 0; i < N_PROCESSES; i++)
        pids[i] = start(t, body, i);
    for (size_t i = 0; i < N_PROCESSES; i++) {
        int status = -1;
        equal(waitpid(pids[i], &status, 0), pids[i]);
        equal(status, 0);
    }
}

static struct db *new_file(void)
{
    struct db *t = db_new();
    t->cfg.sync = DLOAD_SQLITE_SYNC_OFF;
    return t;
}

/* ---- sums ---- */

/* Each has keys of its own: what it wrote it reads, whatever the others do; and takes back half of it. */
static void write_own(struct db *t, uint64_t me)
{
    uint64_t seed = me + 1, versions[50] = {0};
    for (uint64_t i = 0; i < scaled(1500); i++) {
        dload_store_item items[5];
        uint64_t keys[5], at[5];
        bool deletes = rng_below(&seed, 3) == 0;
        for (size_t j = 0; j < 5; j++) {
            at[j] = (i * 7 + j) % 50;
            keys[j] = me << 32 | at[j];
            versions[at[j]] = deletes ? 0 : i + 1;
            items[j] = store_item_set((dload_str){(char *)&keys[j], 8},
                                      (dload_str){(char *)&versions[at[j]], 8}, DLOAD_NEVER);
        }
        dload_store_op op = store_op(deletes ? DLOAD_STORE_DELETE : DLOAD_STORE_SET, items, 5);
        if (dload_store_run(&t->q.store, &op) != DLOAD_OK)
            add(&shared->n_failed);
        uint64_t key = me << 32 | rng_below(&seed, 50);
        dload_store_item item = store_item((dload_str){(char *)&key, 8});
        op = store_op(DLOAD_STORE_GET, &item, 1);
        dload_status st = dload_store_run(&t->q.store, &op);
        uint64_t got = 0, want = versions[key & 0xffffffff];
        if (st == DLOAD_OK && item.status == DLOAD_OK)
            memcpy(&got, item.value, 8);
        if (st != DLOAD_OK || got != want)
            add(&shared->n_failed);
        dload_store_release(&op);
    }
    for (size_t i = 0; i < 50; i++) {
        if (versions[i] != 0)
            (void)__atomic_add_fetch(&shared->counter, versions[i], __ATOMIC_RELAXED);
    }
}

static void test_nothing_is_lost(void **state)
{
    struct db *t = new_file();
    (void)state;
    run_processes(t, write_own); /* all of them make the file, too */
    equal(shared->n_failed, 0);
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    uint64_t sum = 0;
    for (uint64_t me = 0; me < N_PROCESSES; me++) {
        for (uint64_t i = 0; i < 50; i++) {
            uint64_t key = me << 32 | i, version = 0;
            dload_store_item item = store_item((dload_str){(char *)&key, 8});
            dload_store_op op = store_op(DLOAD_STORE_GET, &item, 1);
            must_ok(dload_store_run(&t->q.store, &op));
            if (item.status == DLOAD_OK)
                memcpy(&version, item.value, 8);
            sum += version;
            dload_store_release(&op);
        }
    }
    equal(sum, shared->counter);
    db_close(t);
}

/* ---- leases ---- */

static dload_status lease(struct db *t, dload_str key, uint64_t who, uint64_t hold_ns)
{
    dload_store_item item = store_item_lease(key, who, hold_ns);
    return store_one(&t->x, DLOAD_STORE_LEASE, &item);
}

/* A lease as a lock around a counter that has no other. */
static void count_by_lease(struct db *t, uint64_t me)
{
    for (uint64_t i = 0; i < scaled(150); i++) {
        uint64_t who = me << 32 | i;
        dload_status st = lease(t, STR("lock"), who, 600 * DLOAD_SECOND);
        for (; st == DLOAD_EBUSY; st = lease(t, STR("lock"), who, 600 * DLOAD_SECOND))
            sched_yield();
        if (st != DLOAD_MISSING)
            add(&shared->n_failed);
        *(volatile uint64_t *)&shared->counter = *(volatile uint64_t *)&shared->counter + 1;
        dload_store_item item = store_item_lease(STR("lock"), who, 0);
        if (store_one(&t->x, DLOAD_STORE_DROP, &item) != DLOAD_OK)
            add(&shared->n_failed);
    }
}

static void test_one_has_the_lease(void **state)
{
    struct db *t = new_file();
    (void)state;
    run_processes(t, count_by_lease);
    equal(shared->n_failed, 0);
    equal(shared->counter, N_PROCESSES * scaled(150));
    db_free(t);
}

/* Threads of several processes miss the same keys: each is fetched once. */
struct herd {
    struct db *t;
    uint64_t me;
};

static void load_all(void *ctx, size_t thread)
{
    struct herd *h = ctx;
    for (uint64_t key = 0; key < 20; key++) {
        uint64_t who = h->me << 48 | (uint64_t)thread << 32 | key, value = key * 3;
        dload_status st = DLOAD_EBUSY;
        while (st == DLOAD_EBUSY) {
            dload_store_item item =
                store_item_lease((dload_str){(char *)&key, 8}, who, 600 * DLOAD_SECOND);
            dload_store_op op = store_op(DLOAD_STORE_LEASE, &item, 1);
            st = dload_store_run(&h->t->q.store, &op);
            st = st == DLOAD_OK ? item.status : st;
            if (st == DLOAD_OK && memcmp(item.value, &value, 8) != 0)
                add(&shared->n_failed);
            dload_store_release(&op);
            if (st == DLOAD_EBUSY)
                sleep_ms(1);
        }
        if (st == DLOAD_MISSING) {
            add(&shared->n_fetches);
            dload_store_item item =
                store_item_lease((dload_str){(char *)&key, 8}, who, DLOAD_NEVER);
            item.value = &value;
            item.value_bytes = 8;
            st = store_one(&h->t->x, DLOAD_STORE_FILL, &item);
        }
        if (st != DLOAD_OK)
            add(&shared->n_failed);
    }
}

static void one_of_the_herd(struct db *t, uint64_t me)
{
    struct herd h = {t, me};
    run_threads(4, load_all, &h);
}

static void test_each_key_is_fetched_once(void **state)
{
    struct db *t = new_file();
    (void)state;
    run_processes(t, one_of_the_herd);
    equal(shared->n_failed, 0);
    equal(shared->n_fetches, 20);
    db_free(t);
}

/* ---- many who read ---- */

/* Some process reads at any time, and still the log does not grow and grow. */
static void read_for_ever(struct db *t, uint64_t me)
{
    for (add(&shared->started);;) {
        dload_store_item items[10];
        uint64_t keys[10];
        for (uint64_t i = 0; i < 10; i++) {
            keys[i] = i;
            items[i] = store_item((dload_str){(char *)&keys[i], 8});
        }
        store_must(&t->x, DLOAD_STORE_GET, items, 10);
        (void)me;
    }
}

static void test_log_stays_short(void **state)
{
    struct db *t = new_file();
    static char bytes[12000];
    dload_store_item items[10];
    uint64_t keys[10];
    pid_t pids[3];
    char wal[128];
    struct stat log;
    (void)state;
    memset(shared, 0, sizeof *shared);
    (void)snprintf(wal, sizeof wal, "%s-wal", t->path);
    for (uint64_t i = 0; i < COUNT(pids); i++)
        pids[i] = start(t, read_for_ever, i);
    while (__atomic_load_n(&shared->started, __ATOMIC_ACQUIRE) != COUNT(pids))
        sleep_ms(1);
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    for (uint64_t i = 0; i < 10; i++) {
        keys[i] = i;
        items[i] = store_item_set((dload_str){(char *)&keys[i], 8},
                                  (dload_str){bytes, sizeof bytes}, DLOAD_NEVER);
    }
    off_t most = 0;
    for (size_t i = 0; i < 1000; i++) { /* 120 MB */
        store_must(&t->x, DLOAD_STORE_SET, items, 10);
        equal(stat(wal, &log), 0);
        most = log.st_size > most ? log.st_size : most;
    }
    print_message("the log grew to %ld KiB\n", (long)(most / 1024));
    assert_true(most < 64 << 20);
    must_ok(dload_sqlite_destroy(&t->q));
    for (size_t i = 0; i < COUNT(pids); i++)
        server_end(pids[i], SIGKILL);
    db_free(t);
}

/* ---- killed ---- */

/* Ten keys in one request, the same version in all of them, in sizes that need many pages. */
static void write_for_ever(struct db *t, uint64_t me)
{
    static uint64_t words[10][1500];
    uint64_t keys[10];
    dload_store_item items[10];
    for (uint64_t version = __atomic_load_n(&shared->answered, __ATOMIC_ACQUIRE) + 1;; version++) {
        for (uint64_t i = 0; i < 10; i++) {
            keys[i] = i;
            for (size_t j = 0; j < COUNT(words[i]); j++)
                words[i][j] = version;
            items[i] = store_item_set((dload_str){(char *)&keys[i], 8},
                                      (dload_str){(char *)words[i], sizeof words[i]}, DLOAD_NEVER);
        }
        dload_store_op op = store_op(DLOAD_STORE_SET, items, 10);
        if (dload_store_run(&t->q.store, &op) != DLOAD_OK)
            _exit(7);
        __atomic_store_n(&shared->answered, version, __ATOMIC_RELEASE);
        (void)me;
    }
}

static void test_killed_while_writing(void **state)
{
    struct db *t = new_file();
    uint64_t seed = test_seed("kills");
    (void)state;
    memset(shared, 0, sizeof *shared);
    for (size_t round = 0; round < scaled(25); round++) {
        uint64_t before = shared->answered;
        pid_t pid = start(t, write_for_ever, 0);
        int status = 0;
        while (__atomic_load_n(&shared->answered, __ATOMIC_ACQUIRE) == before)
            sleep_ms(1);
        sleep_ms((unsigned)rng_below(&seed, 12));
        equal(kill(pid, SIGKILL), 0);
        equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        if (round % 2 == 0) /* a log is left, for the next writer to find, or for us */
            continue;
        t->cfg.check = true;
        must_ok(dload_sqlite_init(&t->q, &t->cfg));
        uint64_t version = 0, first = 0;
        for (uint64_t i = 0; i < 10; i++) {
            dload_store_item item = store_item((dload_str){(char *)&i, 8});
            dload_store_op op = store_op(DLOAD_STORE_GET, &item, 1);
            must_ok(dload_store_run(&t->q.store, &op));
            must_ok(item.status);
            equal(item.value_bytes, 12000);
            memcpy(&version, (const char *)item.value + 12000 - 8, 8);
            first = i == 0 ? version : first;
            equal(version, first);
            dload_store_release(&op);
        }
        assert_true(version == shared->answered || version == shared->answered + 1);
        shared->answered = version;
        must_ok(dload_sqlite_destroy(&t->q));
    }
    db_free(t);
}

/* Who has the lease dies: when its time is over the next one has it. */
static void take_and_wait(struct db *t, uint64_t me)
{
    (void)me;
    if (lease(t, STR("k"), 1, 300 * DLOAD_MILLISECOND) != DLOAD_MISSING)
        _exit(8);
    add(&shared->started);
    for (;;)
        sleep_ms(1000);
}

static void test_holder_is_killed(void **state)
{
    struct db *t = new_file();
    int status = 0;
    (void)state;
    memset(shared, 0, sizeof *shared);
    pid_t pid = start(t, take_and_wait, 0);
    while (__atomic_load_n(&shared->started, __ATOMIC_ACQUIRE) == 0)
        sleep_ms(1);
    equal(kill(pid, SIGKILL), 0);
    equal(waitpid(pid, &status, 0), pid);
    must_ok(dload_sqlite_init(&t->q, &t->cfg));
    dload_status st;
    while ((st = lease(t, STR("k"), 2, 60 * DLOAD_SECOND)) == DLOAD_EBUSY)
        sleep_ms(5);
    must(st, DLOAD_MISSING);
    dload_store_item item = store_item_lease(STR("k"), 1, DLOAD_NEVER); /* as if it came back */
    must(store_one(&t->x, DLOAD_STORE_FILL, &item), DLOAD_ELOCK);
    item = store_item_lease(STR("k"), 2, DLOAD_NEVER);
    must_ok(store_one(&t->x, DLOAD_STORE_FILL, &item));
    db_close(t);
}

/* ---- a damaged file and several that find it ---- */

static void find_the_damage(struct db *t, uint64_t me)
{
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t key = me << 32 | i;
        dload_store_item item = store_item_set((dload_str){(char *)&key, 8}, STR("v"), DLOAD_NEVER);
        if (store_one(&t->x, DLOAD_STORE_SET, &item) != DLOAD_OK)
            add(&shared->n_failed);
    }
}

/* All of them find a file that is none; one puts it aside, and nobody puts the new one aside. */
static void test_one_puts_it_aside(void **state)
{
    (void)state;
    for (size_t round = 0; round < scaled(10); round++) {
        struct db *t = new_file();
        t->cfg.recreate = true;
        FILE *f = fopen(t->path, "wb");
        assert_non_null(f);
        for (int i = 0; i < 5000; i++)
            (void)fputc(i & 0x7f, f);
        (void)fclose(f);
        run_processes(t, find_the_damage);
        equal(shared->n_failed, 0);
        equal(db_sql(t, "SELECT count(*) FROM dataloader"), N_PROCESSES * 20);
        db_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost),          cmocka_unit_test(test_one_has_the_lease),
        cmocka_unit_test(test_each_key_is_fetched_once), cmocka_unit_test(test_log_stays_short),
        cmocka_unit_test(test_killed_while_writing),     cmocka_unit_test(test_holder_is_killed),
        cmocka_unit_test(test_one_puts_it_aside),
    };
    return cmocka_run_group_tests(tests, make_shared, NULL);
}
