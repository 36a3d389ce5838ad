/* The Redis Cluster store while slots move from node to node: half moved, moved without our knowing, and under random
 * load. */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis_cluster.h"

#include "support.h"
#include "servers/redis_server.h"
#include "test_redis_cluster.h"

static uint64_t n_told; /* how often on_topology was called */

static void told(void *ctx)
{
    (void)ctx;
    (void)__atomic_add_fetch(&n_told, 1, __ATOMIC_RELAXED);
}

static int up(void **state)
{
    dload_redis_cluster_config cfg;
    (void)state;
    memset(&cfg, 0, sizeof cfg);
    cfg.on_topology = told;
    cfg.node.server.command_timeout_ns = 10 * DLOAD_SECOND;
    open_cluster(&cfg);
    n_told = 0;
    dload_store_item all = item_of("");
    must_ok(run(DLOAD_STORE_CLEAR, &all, 1));
    must_ok(all.status);
    return 0;
}

static int down(void **state)
{
    (void)state;
    dload_redis_cluster_end(&cluster);
    return 0;
}

static dload_status set(const char *key, const char *value)
{
    dload_store_item item = item_of(key);
    item.value = value;
    item.value_bytes = strlen(value);
    item.ttl_ns = DLOAD_NEVER;
    dload_status st = run(DLOAD_STORE_SET, &item, 1);
    return st != DLOAD_OK ? st : item.status;
}

/* What the key holds, "" = nothing, "?" = no answer. */
static const char *get(const char *key)
{
    static char value[64];
    dload_store_item item = item_of(key);
    dload_store_op op = op_of(DLOAD_STORE_GET, &item, 1);
    dload_status st = dload_store_run(&cluster.store, &op);
    (void)snprintf(value, sizeof value, "?");
    if (st == DLOAD_OK && item.status == DLOAD_MISSING)
        value[0] = '\0';
    if (st == DLOAD_OK && item.status == DLOAD_OK)
        (void)snprintf(value, sizeof value, "%.*s", (int)item.value_bytes,
                       (const char *)item.value);
    dload_store_release(&op);
    return value;
}

static dload_status one(dload_store_kind kind, const char *key, uint64_t who, const char *value)
{
    dload_store_item item = item_of(key);
    item.lease[0] = who;
    item.ttl_ns = 600 * DLOAD_SECOND;
    item.value = value;
    item.value_bytes = value != NULL ? strlen(value) : 0;
    dload_status st = run(kind, &item, 1);
    return st != DLOAD_OK ? st : item.status;
}

/* ---- a slot that moved ---- */

/* A burst of keys of moved slots: all are answered by the new node, everybody is told, the map is asked for once. */
static void test_redis_cluster_moved(void **state)
{
    char keys[40][24];
    dload_store_item items[40];
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        key_on(0, i, keys[i], sizeof keys[i]);
        must_ok(set(keys[i], keys[i]));
    }
    for (size_t i = 0; i < COUNT(keys); i++) {
        move_begin(slot_of_key(keys[i]), 0, 1);
        move_end(slot_of_key(keys[i]), 0, 1);
        items[i] = item_of(keys[i]);
    }
    sleep_ms(200); /* after the pause since the map was asked for */
    const uint64_t n_told_before = n_told, n_renewed = cluster.n_renewed;
    const uint64_t n_changed = cluster.n_changed;
    dload_store_op op = op_of(DLOAD_STORE_GET, items, COUNT(items));
    must_ok(dload_store_run(&cluster.store, &op));
    for (size_t i = 0; i < COUNT(items); i++) {
        must_ok(items[i].status);
        assert_int_equal(items[i].value_bytes, strlen(keys[i]));
        assert_memory_equal(items[i].value, keys[i], items[i].value_bytes);
    }
    dload_store_release(&op);
    assert_int_equal(cluster.n_moved, COUNT(keys));
    assert_int_equal(cluster.n_renewed, n_renewed + 1);
    assert_int_equal(cluster.n_changed, n_changed); /* it says what is known already */
    assert_int_equal(n_told, n_told_before + 1);
    /* Now it is known. */
    must_ok(run(DLOAD_STORE_GET, items, COUNT(items)));
    assert_int_equal(cluster.n_moved, COUNT(keys));
    for (size_t i = 0; i < COUNT(keys); i++) {
        move_begin(slot_of_key(keys[i]), 1, 0);
        move_end(slot_of_key(keys[i]), 1, 0);
    }
}

static void count_all(void *ctx)
{
    ++*(size_t *)ctx;
}

/* Sinks hang on on_topology. */
static void test_redis_cluster_tells_sinks(void **state)
{
    size_t n_first = 0, n_second = 0;
    dload_sink second = {.all = count_all, .ctx = &n_second};
    dload_sink deaf = {.next = &second};
    dload_sink first = {.all = count_all, .ctx = &n_first, .next = &deaf};
    dload_redis_cluster_config cfg;
    char key[24];
    (void)state;
    dload_redis_cluster_end(&cluster);
    memset(&cfg, 0, sizeof cfg);
    cfg.on_topology = dload_redis_cluster_tell;
    cfg.topology_ctx = &first;
    open_cluster(&cfg);
    key_on(1, 0, key, sizeof key);
    assert_string_equal(get(key), "");
    assert_int_equal(n_first + n_second, 0); /* the first map is no change */
    move_begin(slot_of_key(key), 1, 2);
    assert_string_equal(get(key), ""); /* ASK: it is not said that anything moved */
    assert_int_equal(n_first + n_second, 0);
    move_end(slot_of_key(key), 1, 2);
    assert_string_equal(get(key), "");
    assert_true(n_first >= 1 && n_first == n_second);
    move_begin(slot_of_key(key), 2, 1);
    move_end(slot_of_key(key), 2, 1);
}

/* ---- a slot that is on its way ---- */

/* Values on either side, and on none. */
static void test_redis_cluster_half_moved(void **state)
{
    char key[24], name[32];
    (void)state;
    key_on(0, 3, key, sizeof key);
    (void)snprintf(name, sizeof name, "dload:%s", key);
    const uint32_t slot = slot_of_key(key);
    must_ok(set(key, "here"));
    move_begin(slot, 0, 1);
    assert_string_equal(get(key), "here");
    must_ok(set(key, "still"));
    assert_string_equal(get(key), "still");
    assert_int_equal(number_in(ask_node(0, 2, "EXISTS", name), NULL), 1);
    move_name(name, 0, 1);
    assert_string_equal(get(key), "still");
    must_ok(set(key, "there"));
    assert_string_equal(get(key), "there");
    must(one(DLOAD_STORE_DELETE, key, 0, NULL), DLOAD_OK);
    assert_string_equal(get(key), "");
    must_ok(set(key, "anew")); /* who is nowhere is made where it will be */
    assert_true(!move_some(slot, 0, 1, "10"));
    assert_string_equal(get(key), "anew");
    must(one(DLOAD_STORE_DELETE, key, 0, NULL), DLOAD_OK);
    assert_string_equal(get(key), "");
    move_end(slot, 0, 1);
    assert_string_equal(get(key), "");
    assert_true(cluster.n_asked != 0);
    move_begin(slot, 1, 0);
    move_end(slot, 1, 0);
}

/* Lease and value in two places: whatever is deleted or set, the lease does not fill afterwards. */
static void test_redis_cluster_half_moved_leases(void **state)
{
    char key[24], lease[40], name[32];
    (void)state;
    key_on(0, 5, key, sizeof key);
    (void)snprintf(name, sizeof name, "dload:%s", key);
    (void)snprintf(lease, sizeof lease, "{dload:%s}lease", key);
    const uint32_t slot = slot_of_key(key);
    for (int round = 0; round < 4; round++) {
        const bool sets = (round & 1) != 0, lease_moves = (round & 2) != 0;
        must(one(DLOAD_STORE_LEASE, key, 7, NULL), DLOAD_MISSING);
        /* A value beside it, so that one can be here and one there. */
        redisReply *r = ask_node(0, 3, "SET", name, "old");
        freeReplyObject(r);
        move_begin(slot, 0, 1);
        move_name(lease_moves ? lease : name, 0, 1);
        if (sets)
            must_ok(set(key, "new"));
        else
            must(one(DLOAD_STORE_DELETE, key, 0, NULL), DLOAD_OK);
        assert_string_equal(get(key), sets ? "new" : "");
        /* Two names in one place: not now. It is tried some times, and then said. */
        dload_status st = one(DLOAD_STORE_FILL, key, 7, "stale");
        assert_true(st == DLOAD_EBACKEND || st == DLOAD_ELOCK);
        move_end(slot, 0, 1);
        must(one(DLOAD_STORE_FILL, key, 7, "stale"), DLOAD_ELOCK);
        assert_string_equal(get(key), sets ? "new" : "");
        must(one(DLOAD_STORE_DELETE, key, 0, NULL), DLOAD_OK);
        must(one(DLOAD_STORE_LEASE, key, 8, NULL), DLOAD_MISSING);
        must(one(DLOAD_STORE_FILL, key, 8, "fresh"), DLOAD_OK);
        assert_string_equal(get(key), "fresh");
        must(one(DLOAD_STORE_DELETE, key, 0, NULL), DLOAD_OK);
        move_begin(slot, 1, 0);
        move_end(slot, 1, 0);
    }
}

/* A lease that was granted before goes on after the move. */
static void test_redis_cluster_lease_moves(void **state)
{
    char key[24];
    (void)state;
    key_on(0, 6, key, sizeof key);
    const uint32_t slot = slot_of_key(key);
    must(one(DLOAD_STORE_LEASE, key, 7, NULL), DLOAD_MISSING);
    move_begin(slot, 0, 1);
    must(one(DLOAD_STORE_LEASE, key, 9, NULL), DLOAD_EBACKEND); /* not to be said for now */
    move_end(slot, 0, 1);
    must(one(DLOAD_STORE_LEASE, key, 9, NULL), DLOAD_EBUSY);
    must(one(DLOAD_STORE_FILL, key, 7, "mine"), DLOAD_OK);
    assert_string_equal(get(key), "mine");
    must(one(DLOAD_STORE_DELETE, key, 0, NULL), DLOAD_OK);
    must(one(DLOAD_STORE_LEASE, key, 7, NULL), DLOAD_MISSING);
    move_begin(slot, 1, 0);
    must(one(DLOAD_STORE_DROP, key, 7, NULL), DLOAD_OK); /* one name: also now */
    move_end(slot, 1, 0);
    must(one(DLOAD_STORE_LEASE, key, 9, NULL), DLOAD_MISSING);
}

/* CLEAR finds what lies in a slot that moves, on both sides. */
static void test_redis_cluster_clear_half_moved(void **state)
{
    char key[24], lease[40], name[32];
    dload_store_item all = item_of("");
    (void)state;
    key_on(0, 7, key, sizeof key);
    (void)snprintf(name, sizeof name, "dload:%s", key);
    (void)snprintf(lease, sizeof lease, "{dload:%s}lease", key);
    const uint32_t slot = slot_of_key(key);
    for (int round = 0; round < 2; round++) {
        must(one(DLOAD_STORE_LEASE, key, 7, NULL), DLOAD_MISSING);
        freeReplyObject(ask_node(0, 3, "SET", name, "old"));
        move_begin(slot, 0, 1);
        move_name(round == 0 ? lease : name, 0, 1);
        must_ok(run(DLOAD_STORE_CLEAR, &all, 1));
        must_ok(all.status);
        for (size_t i = 0; i < N_NODES; i++)
            assert_int_equal(keys_of(i), 0);
        move_end(slot, 0, 1);
        move_begin(slot, 1, 0);
        move_end(slot, 1, 0);
    }
}

static void clear_in_thread(void *ctx, size_t i)
{
    dload_store_item all = item_of("");
    dload_status *st = ctx;
    char key[24], name[40];
    if (i == 0) {
        *st = run(DLOAD_STORE_CLEAR, &all, 1);
        *st = *st == DLOAD_OK ? all.status : *st;
        return;
    }
    /* The clear has been to the first node, and waits for the second one. */
    key_on(0, 8, key, sizeof key);
    (void)snprintf(name, sizeof name, "dload:%s", key);
    for (size_t n = 0; number_in(ask_node(0, 2, "EXISTS", name), NULL) == 1; n++) {
        assert_true(n < 5000);
        sleep_ms(1);
    }
    key_on(2, 8, key, sizeof key);
    const uint32_t slot = slot_of_key(key);
    set_slot(0, slot, "IMPORTING", 2);
    set_slot(2, slot, "MIGRATING", 0);
    assert_true(move_some(slot, 2, 0, "10"));
    freeReplyObject(ask_node(1, 2, "CLIENT", "UNPAUSE"));
}

/* A key that goes from where the clear was not yet to where it was. */
static void test_redis_cluster_clear_meets_a_move(void **state)
{
    dload_status st = DLOAD_PENDING;
    char key[24];
    (void)state;
    for (size_t i = 0; i < N_NODES; i++) {
        key_on(i, 8, key, sizeof key);
        must_ok(set(key, "v"));
        (void)id_of(i);
    }
    freeReplyObject(ask_node(1, 4, "CLIENT", "PAUSE", "20000", "WRITE"));
    run_threads(2, clear_in_thread, &st);
    must_ok(st);
    for (size_t i = 0; i < N_NODES; i++)
        assert_int_equal(keys_of(i), 0);
    key_on(2, 8, key, sizeof key);
    move_end(slot_of_key(key), 2, 0);
    move_begin(slot_of_key(key), 0, 2);
    move_end(slot_of_key(key), 0, 2);
}

/* ---- under load ---- */

enum { N_SLOTS = 6, N_OWNERS = 3, KEYS_EACH = 12 };

/* Keys of a thread of its own, so that it knows what each must hold. */
struct load {
    char key[N_OWNERS][KEYS_EACH][24];
    uint32_t slot[N_SLOTS];
    size_t at[N_SLOTS]; /* the node; the mover's */
    uint64_t seed;
    uint64_t n_sets, n_unsure, n_gets, n_moves; /* atomic */
    bool over;                                  /* atomic */
};

struct known {
    bool there, unsure; /* unsure: what was sent last may have come through */
    uint64_t value, perhaps;
    bool perhaps_there;
};

static void add(uint64_t *counter, uint64_t n)
{
    (void)__atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

/* Sets or deletes some keys at once. Who is refused may have been served all the same, once or more often. */
static void load_writes(struct load *l, struct known *known, size_t who, uint64_t *seed)
{
    dload_store_item items[KEYS_EACH];
    uint64_t values[KEYS_EACH];
    const bool deletes = rng_below(seed, 4) == 0;
    const size_t first = (size_t)rng_below(seed, KEYS_EACH), n = 1 + (size_t)rng_below(seed, 6);
    for (size_t i = 0; i < n; i++) {
        values[i] = rng(seed);
        items[i] = item_of(l->key[who][(first + i) % KEYS_EACH]);
        items[i].value = &values[i];
        items[i].value_bytes = sizeof values[i];
        items[i].ttl_ns = DLOAD_NEVER;
    }
    dload_status st = run(deletes ? DLOAD_STORE_DELETE : DLOAD_STORE_SET, items, n);
    add(&l->n_sets, n);
    for (size_t i = 0; i < n; i++) {
        struct known *k = &known[(first + i) % KEYS_EACH];
        if (st == DLOAD_OK && items[i].status == DLOAD_OK) {
            k->there = !deletes;
            k->value = values[i];
            k->unsure = false;
            continue;
        }
        /* Two in a row that are not sure would be four possibilities: it is asked for below. */
        k->unsure = true;
        k->perhaps_there = !deletes;
        k->perhaps = values[i];
        add(&l->n_unsure, 1);
    }
}

static bool matches(const dload_store_item *item, bool there, uint64_t value)
{
    if (item->status == DLOAD_MISSING)
        return !there;
    return there && item->value_bytes == sizeof value &&
           memcmp(item->value, &value, sizeof value) == 0;
}

/* All keys of a thread: what was acknowledged is there, and nothing else. */
static void load_reads(struct load *l, struct known *known, size_t who)
{
    dload_store_item items[KEYS_EACH];
    for (size_t i = 0; i < KEYS_EACH; i++)
        items[i] = item_of(l->key[who][i]);
    dload_store_op op = op_of(DLOAD_STORE_GET, items, KEYS_EACH);
    dload_status st = dload_store_run(&cluster.store, &op);
    for (size_t i = 0; i < KEYS_EACH && st == DLOAD_OK; i++) {
        struct known *k = &known[i];
        if (items[i].status != DLOAD_OK && items[i].status != DLOAD_MISSING)
            continue;
        add(&l->n_gets, 1);
        if (k->unsure && matches(&items[i], k->perhaps_there, k->perhaps)) {
            k->there = k->perhaps_there;
            k->value = k->perhaps;
        } else if (!matches(&items[i], k->there, k->value)) {
            fprintf(stderr, "%s: %s, acknowledged was %s\n", items[i].key,
                    dload_status_name(items[i].status), k->there ? "another value" : "nothing");
            abort(); /* in a thread */
        }
        k->unsure = false;
    }
    dload_store_release(&op);
}

/* Moves slots to and fro, key by key, with all orders of steps that a resharding has. */
static void load_moves(struct load *l, uint64_t *seed)
{
    for (size_t n = scaled(60); n > 0; n--) {
        const size_t s = (size_t)rng_below(seed, N_SLOTS);
        const size_t from = l->at[s], to = (from + 1 + (size_t)rng_below(seed, 2)) % N_NODES;
        move_begin(l->slot[s], from, to);
        while (move_some(l->slot[s], from, to, "2")) {
            if (rng_below(seed, 3) == 0)
                sleep_ms((unsigned)rng_below(seed, 3));
        }
        move_end(l->slot[s], from, to);
        l->at[s] = to;
        add(&l->n_moves, 1);
        sleep_ms((unsigned)rng_below(seed, 5));
    }
    __atomic_store_n(&l->over, true, __ATOMIC_RELEASE);
}

static void load_body(void *ctx, size_t who)
{
    struct load *l = ctx;
    struct known known[KEYS_EACH];
    uint64_t seed = l->seed + who;
    memset(known, 0, sizeof known);
    if (who == N_OWNERS) {
        load_moves(l, &seed);
        return;
    }
    while (!__atomic_load_n(&l->over, __ATOMIC_ACQUIRE)) {
        load_writes(l, known, who, &seed);
        load_reads(l, known, who);
        for (size_t i = 0; i < KEYS_EACH; i++) {
            /* Keys that are not sure are asked for until they are. */
            if (known[i].unsure)
                load_reads(l, known, who);
        }
    }
    load_reads(l, known, who);
}

/* Slots move for as long as three threads write and read: nothing that was acknowledged is lost, and nobody reads what was
 * never there. */
static void test_redis_cluster_moves_under_load(void **state)
{
    struct load l;
    (void)state;
    memset(&l, 0, sizeof l);
    l.seed = test_seed("slots that move under load");
    /* Keys of six slots alone, so that all move: found by trying. */
    for (size_t s = 0; s < N_SLOTS; s++) {
        char key[24];
        l.at[s] = s % N_NODES;
        key_on(l.at[s], 20 + s, key, sizeof key);
        l.slot[s] = slot_of_key(key);
    }
    for (size_t who = 0, n = 0; who < N_OWNERS; who++) {
        for (size_t i = 0; i < KEYS_EACH; n++) {
            char *key = l.key[who][i];
            (void)snprintf(key, sizeof l.key[who][i], "%zu", n);
            i += slot_of_key(key) == l.slot[i % N_SLOTS];
        }
    }
    run_threads(N_OWNERS + 1, load_body, &l);
    print_message("# %llu moves, %llu writes (%llu not sure), %llu reads; MOVED %llu, ASK %llu, "
                  "maps %llu\n",
                  (unsigned long long)l.n_moves, (unsigned long long)l.n_sets,
                  (unsigned long long)l.n_unsure, (unsigned long long)l.n_gets,
                  (unsigned long long)cluster.n_moved, (unsigned long long)cluster.n_asked,
                  (unsigned long long)cluster.n_renewed);
    assert_true(l.n_sets > l.n_unsure && l.n_gets != 0);
    assert_true(n_told != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_redis_cluster_moved, up, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_tells_sinks, up, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_half_moved, up, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_half_moved_leases, up, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_lease_moves, up, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_clear_half_moved, up, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_clear_meets_a_move, up, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_moves_under_load, up, down),
    };
    int failed = cmocka_run_group_tests(tests, start_nodes, stop_nodes);
    close_aside();
    return failed;
}
