/* Leases: one asker at a time is told to fetch, and what came too late is stored by nobody. */
#ifndef DLOAD_TESTS_STORES_CASES_LEASES_H
#define DLOAD_TESTS_STORES_CASES_LEASES_H

#include "cases_batches.h"
#include "cases_keys.h"

#include <sched.h>

#define STORE_HOLD_NS (600 * DLOAD_SECOND)

static bool store_leases(const struct store_case *x)
{
    return (x->s->flags & DLOAD_STORE_LEASES) != 0;
}

/* Asks for the lease of a key; a value that came is not looked at. */
static dload_status store_lease(struct store_case *x, dload_str key, uint64_t who, uint64_t hold_ns)
{
    dload_store_item item = store_item_lease(key, who, hold_ns);
    return store_one(x, DLOAD_STORE_LEASE, &item);
}

static dload_status store_fill(struct store_case *x, dload_str key, uint64_t who, dload_str value)
{
    dload_store_item item = store_item_lease(key, who, DLOAD_NEVER);
    item.value = value.len != 0 ? value.ptr : NULL;
    item.value_bytes = value.len;
    return store_one(x, DLOAD_STORE_FILL, &item);
}

static dload_status store_drop(struct store_case *x, dload_str key, uint64_t who)
{
    dload_store_item item = store_item_lease(key, who, 0);
    return store_one(x, DLOAD_STORE_DROP, &item);
}

static void store_lease_and_fill(void **state)
{
    struct store_case *x = store_begin(state);
    if (!store_leases(x))
        return;
    must(store_lease(x, STR("k"), 1, STORE_HOLD_NS), DLOAD_MISSING);
    dload_store_item item = store_item_lease(STR("k"), 2, STORE_HOLD_NS / 2);
    must(store_one(x, DLOAD_STORE_LEASE, &item), DLOAD_EBUSY);
    assert_true(item.ttl_ns > 0 && item.ttl_ns <= STORE_HOLD_NS + store_slack_ns(x));
    store_lacks(x, STR("k"));                                        /* a lease is no value */
    must(store_lease(x, STR("k"), 1, STORE_HOLD_NS), DLOAD_MISSING); /* it has it still */
    must_ok(store_fill(x, STR("k"), 1, STR("value")));
    store_get(x, STR("k"), STR("value"));
    item = store_item_lease(STR("k"), 3, STORE_HOLD_NS);
    dload_store_op op = store_op(DLOAD_STORE_LEASE, &item, 1);
    must_ok(store_ask(x, &op));
    assert_true(store_holds(&item, STR("value")));
    equal(item.ttl_ns, DLOAD_NEVER);
    dload_store_release(&op);
    must(store_fill(x, STR("k"), 1, STR("again")), DLOAD_ELOCK); /* the lease ended with the fill */
    store_get(x, STR("k"), STR("value"));
    store_delete(x, STR("k"));
    must(store_lease(x, STR("k"), 3, STORE_HOLD_NS), DLOAD_MISSING);
    must_ok(store_fill(x, STR("k"), 3, STR(""))); /* an empty value is one */
    must_ok(store_lease(x, STR("k"), 4, STORE_HOLD_NS));
}

/* What is filled in lives as long as it was filled in for. */
static void store_filled_lives_end(void **state)
{
    struct store_case *x = store_begin(state);
    if (!store_leases(x) || (x->s->flags & DLOAD_STORE_TTL) == 0)
        return;
    const uint64_t ttl_ns = 80 * DLOAD_MILLISECOND;
    dload_store_item item = store_item_lease(STR("k"), 1, ttl_ns);
    must(store_lease(x, STR("k"), 1, STORE_HOLD_NS), DLOAD_MISSING);
    item.value = "v";
    item.value_bytes = 1;
    uint64_t from_ns = store_now(x);
    must_ok(store_one(x, DLOAD_STORE_FILL, &item));
    store_must_end(x, STR("k"), from_ns, store_now(x), ttl_ns);
    must(store_lease(x, STR("k"), 2, STORE_HOLD_NS), DLOAD_MISSING);
    /* A value that has an hour left says so to who asks for a lease, too. */
    item = store_item_set(STR("hour"), STR("v"), 3600 * DLOAD_SECOND);
    must_ok(store_one(x, DLOAD_STORE_SET, &item));
    item = store_item_lease(STR("hour"), 1, DLOAD_SECOND);
    must_ok(store_one(x, DLOAD_STORE_LEASE, &item));
    assert_true(item.ttl_ns > 3500 * DLOAD_SECOND);
}

/* A lease is known by all of its 128 bits. */
static void store_lease_identity(void **state)
{
    struct store_case *x = store_begin(state);
    if (!store_leases(x))
        return;
    for (unsigned bit = 0; bit < 128; bit += 9) {
        dload_store_item mine = store_item_lease(STR("k"), 1, STORE_HOLD_NS);
        must(store_one(x, DLOAD_STORE_LEASE, &mine), DLOAD_MISSING);
        dload_store_item other = store_item_lease(STR("k"), 1, STORE_HOLD_NS);
        other.lease[bit / 64] ^= UINT64_C(1) << bit % 64;
        must(store_one(x, DLOAD_STORE_LEASE, &other), DLOAD_EBUSY);
        other.value = "wrong";
        other.value_bytes = 5;
        other.ttl_ns = DLOAD_NEVER;
        must(store_one(x, DLOAD_STORE_FILL, &other), DLOAD_ELOCK);
        store_lacks(x, STR("k"));
        must_ok(store_one(x, DLOAD_STORE_DROP, &other)); /* of another's: nothing */
        must(store_lease(x, STR("k"), 7, STORE_HOLD_NS), DLOAD_EBUSY);
        must_ok(store_drop(x, STR("k"), 1));
    }
    /* Numbers whose bytes are zeros, spaces and line ends. */
    static const uint64_t odd[][2] = {{0, 1}, {1, 0}, {UINT64_C(0x0a0d), UINT64_MAX}, {32, 37}};
    for (size_t i = 0; i < COUNT(odd); i++) {
        dload_store_item item = store_item(STR("k"));
        item.lease[0] = odd[i][0];
        item.lease[1] = odd[i][1];
        item.ttl_ns = STORE_HOLD_NS;
        must(store_one(x, DLOAD_STORE_LEASE, &item), DLOAD_MISSING);
        item.value = "v";
        item.value_bytes = 1;
        item.ttl_ns = DLOAD_NEVER;
        must_ok(store_one(x, DLOAD_STORE_FILL, &item));
        store_delete(x, STR("k"));
    }
}

/* Its time passes: the next one gets it, and the first comes too late. */
static void store_leases_expire(void **state)
{
    struct store_case *x = store_begin(state);
    if (!store_leases(x))
        return;
    const uint64_t hold_ns = 60 * DLOAD_MILLISECOND, slack_ns = store_slack_ns(x);
    uint64_t from_ns = store_now(x);
    must(store_lease(x, STR("k"), 1, hold_ns), DLOAD_MISSING);
    dload_status st = DLOAD_EBUSY;
    while (st == DLOAD_EBUSY) {
        dload_store_item item = store_item_lease(STR("k"), 2, STORE_HOLD_NS);
        uint64_t before_ns = store_now(x);
        st = store_one(x, DLOAD_STORE_LEASE, &item);
        if (st != DLOAD_EBUSY)
            break;
        assert_true(item.ttl_ns > 0 && item.ttl_ns <= hold_ns + slack_ns);
        if (before_ns > from_ns + hold_ns + 10 * DLOAD_SECOND)
            fail_msg("a lease of 60 ms is held after 10 s");
        store_pass(x, 5 * DLOAD_MILLISECOND);
    }
    must(st, DLOAD_MISSING);
    assert_true(store_now(x) + slack_ns >= from_ns + hold_ns);
    must(store_fill(x, STR("k"), 1, STR("late")), DLOAD_ELOCK);
    store_lacks(x, STR("k"));
    must_ok(store_drop(x, STR("k"), 1)); /* too late as well */
    must_ok(store_fill(x, STR("k"), 2, STR("good")));
    store_get(x, STR("k"), STR("good"));
    /* Also when nobody came after it. */
    must(store_lease(x, STR("alone"), 1, hold_ns), DLOAD_MISSING);
    store_pass(x, hold_ns + slack_ns);
    must(store_fill(x, STR("alone"), 1, STR("late")), DLOAD_ELOCK);
    store_lacks(x, STR("alone"));
}

/* Who had a lease when its key was cleared stores nothing. */
static void store_leases_are_revoked(void **state)
{
    struct store_case *x = store_begin(state);
    dload_str prefixes[] = {STR("k"), STR("key"), STR("")};
    if (!store_leases(x))
        return;
    for (size_t i = 0; i <= COUNT(prefixes); i++) {
        must(store_lease(x, STR("key"), 1, STORE_HOLD_NS), DLOAD_MISSING);
        must(store_lease(x, STR("other"), 1, STORE_HOLD_NS), DLOAD_MISSING);
        if (i == COUNT(prefixes))
            store_delete(x, STR("key"));
        else
            store_clear(x, prefixes[i]);
        must(store_fill(x, STR("key"), 1, STR("old")), DLOAD_ELOCK);
        store_lacks(x, STR("key"));
        must(store_lease(x, STR("key"), 2, STORE_HOLD_NS), DLOAD_MISSING);
        must(store_fill(x, STR("key"), 1, STR("old")), DLOAD_ELOCK);
        must_ok(store_fill(x, STR("key"), 2, STR("new")));
        store_get(x, STR("key"), STR("new"));
        bool all = i < COUNT(prefixes) && prefixes[i].len == 0;
        must(store_fill(x, STR("other"), 1, STR("o")), all ? DLOAD_ELOCK : DLOAD_OK);
        store_clear(x, STR(""));
    }
    must(store_lease(x, STR("key"), 1, STORE_HOLD_NS), DLOAD_MISSING);
    store_clear(x, STR("keys")); /* another prefix */
    store_clear(x, STR("lease"));
    must_ok(store_fill(x, STR("key"), 1, STR("good")));
}

static void store_leases_are_dropped(void **state)
{
    struct store_case *x = store_begin(state);
    if (!store_leases(x))
        return;
    must(store_lease(x, STR("k"), 1, STORE_HOLD_NS), DLOAD_MISSING);
    must_ok(store_drop(x, STR("k"), 2)); /* not its own */
    must(store_lease(x, STR("k"), 2, STORE_HOLD_NS), DLOAD_EBUSY);
    must_ok(store_drop(x, STR("k"), 1));
    must_ok(store_drop(x, STR("k"), 1));
    must_ok(store_drop(x, STR("absent"), 1));
    must(store_lease(x, STR("k"), 2, STORE_HOLD_NS), DLOAD_MISSING);
    must(store_fill(x, STR("k"), 1, STR("late")), DLOAD_ELOCK);
    must_ok(store_fill(x, STR("k"), 2, STR("v")));
    must_ok(store_drop(x, STR("k"), 2));
    store_get(x, STR("k"), STR("v")); /* a drop takes no value away */
}

/* Any key can be leased, and a batch has all kinds of answers. */
static void store_leases_of_many(void **state)
{
    struct store_case *x = store_begin(state);
    struct store_bytes b = {{NULL}, 0};
    enum { CAP = COUNT(store_hostile) + 3 + N_STORE_RANDOM };
    static dload_str keys[CAP];
    static dload_store_item items[CAP];
    static const dload_status wants[] = {DLOAD_OK, DLOAD_EBUSY, DLOAD_MISSING};
    if (!store_leases(x))
        return;
    size_t n = store_all_keys(&b, keys, CAP);
    for (size_t i = 0; i < n; i++) {
        if (i % 3 == 0)
            store_set(x, keys[i], keys[i], DLOAD_NEVER);
        else if (i % 3 == 1)
            must(store_lease(x, keys[i], 1, STORE_HOLD_NS), DLOAD_MISSING);
        items[i] = store_item_lease(keys[i], 2, STORE_HOLD_NS);
    }
    dload_store_op op = store_op(DLOAD_STORE_LEASE, items, n);
    must_ok(store_ask(x, &op));
    for (size_t i = 0; i < n; i++) {
        must(items[i].status, wants[i % 3]);
        assert_true(i % 3 != 0 || store_holds(&items[i], keys[i]));
    }
    dload_store_release(&op);
    for (size_t i = 0; i < n; i++) {
        items[i] = store_item_lease(keys[i], 1 + i % 2, DLOAD_NEVER);
        items[i].value = "filled";
        items[i].value_bytes = 6;
    }
    store_must(x, DLOAD_STORE_FILL, items, n);
    for (size_t i = 0; i < n; i++) {
        bool held = (i % 3 == 1 && i % 2 == 0) || (i % 3 == 2 && i % 2 == 1);
        must(items[i].status, held ? DLOAD_OK : DLOAD_ELOCK);
        if (held)
            store_get(x, keys[i], STR("filled"));
        else if (i % 3 != 0)
            store_lacks(x, keys[i]);
    }
    for (size_t i = 0; i < n; i++)
        items[i] = store_item_lease(keys[i], 1 + i % 3 % 2, 0);
    store_must(x, DLOAD_STORE_DROP, items, n);
    /* A key that comes twice in a request is the same asker's both times. */
    items[0] = store_item_lease(STR("twice"), 5, STORE_HOLD_NS);
    items[1] = items[0];
    store_must(x, DLOAD_STORE_LEASE, items, 2);
    must(items[0].status, DLOAD_MISSING);
    must(items[1].status, DLOAD_MISSING);
    store_free_bytes(&b);
}

/* ---- all at once: one of them gets it ---- */

enum { STORE_RACES = 20 };

struct store_race {
    struct store_case *x;
    uint32_t n_granted[STORE_RACES]; /* atomic */
    uint32_t n_other;                /* answers that are neither */
};

static void store_one_of_a_race(void *ctx, size_t me)
{
    struct store_race *r = ctx;
    for (uint64_t i = 0; i < STORE_RACES; i++) {
        dload_store_item item = store_item_lease(str_of(&i, sizeof i), 10 + me, STORE_HOLD_NS);
        dload_status st = store_one(r->x, DLOAD_STORE_LEASE, &item);
        if (st == DLOAD_MISSING)
            (void)__atomic_add_fetch(&r->n_granted[i], 1, __ATOMIC_RELAXED);
        else if (st != DLOAD_EBUSY)
            (void)__atomic_add_fetch(&r->n_other, 1, __ATOMIC_RELAXED);
    }
}

static void store_one_gets_the_lease(void **state)
{
    struct store_case *x = store_begin(state);
    struct store_race r;
    if (!store_leases(x) || x->pump != NULL)
        return;
    memset(&r, 0, sizeof r);
    r.x = x;
    run_threads(STORE_THREADS, store_one_of_a_race, &r);
    equal(r.n_other, 0);
    for (size_t i = 0; i < STORE_RACES; i++)
        equal(r.n_granted[i], 1);
}

/* Fills race with deletes: what was deleted while somebody fetched is never there afterwards. */
struct store_chase {
    struct store_case *x;
    uint64_t version[STORE_KEYS]; /* atomic: what the source has */
    uint64_t deleted[STORE_KEYS]; /* atomic: the version of the last DELETE that returned */
    uint64_t seed;
    size_t n_rounds;
    uint32_t n_old, n_failed;
};

static void store_chase_read(struct store_chase *c, uint64_t key, uint64_t who, bool pause)
{
    uint64_t least = __atomic_load_n(&c->deleted[key], __ATOMIC_ACQUIRE), value = 0;
    dload_store_item item = store_item_lease(str_of(&key, 8), who, STORE_HOLD_NS);
    dload_store_op op = store_op(DLOAD_STORE_LEASE, &item, 1);
    dload_status st = store_ask(c->x, &op);
    bool failed = st < 0;
    if (st == DLOAD_OK && item.status == DLOAD_OK) {
        memcpy(&value, item.value, 8);
        if (value < least)
            (void)__atomic_add_fetch(&c->n_old, 1, __ATOMIC_RELAXED);
    }
    dload_store_release(&op);
    if (!failed && item.status == DLOAD_MISSING) {
        value = __atomic_load_n(&c->version[key], __ATOMIC_ACQUIRE); /* the fetch */
        if (pause)
            sched_yield();
        item.value = &value;
        item.value_bytes = 8;
        item.ttl_ns = DLOAD_NEVER;
        st = store_one(c->x, DLOAD_STORE_FILL, &item);
        failed = st != DLOAD_OK && st != DLOAD_ELOCK;
    }
    if (failed)
        (void)__atomic_add_fetch(&c->n_failed, 1, __ATOMIC_RELAXED);
}

static void store_one_of_a_chase(void *ctx, size_t me)
{
    struct store_chase *c = ctx;
    uint64_t seed = c->seed + me;
    for (size_t round = 0; round < c->n_rounds; round++) {
        uint64_t key = rng_below(&seed, 2);
        if (me != 0) {
            store_chase_read(c, key, me << 32 | round, rng_below(&seed, 2) != 0);
            continue;
        }
        /* The one writer: first the source, then the store. */
        uint64_t version = __atomic_add_fetch(&c->version[key], 1, __ATOMIC_ACQ_REL);
        dload_store_item item = store_item(str_of(&key, 8));
        if (store_one(c->x, DLOAD_STORE_DELETE, &item) == DLOAD_OK)
            __atomic_store_n(&c->deleted[key], version, __ATOMIC_RELEASE);
        else
            (void)__atomic_add_fetch(&c->n_failed, 1, __ATOMIC_RELAXED);
    }
}

static void store_no_late_fill(void **state)
{
    struct store_case *x = store_begin(state);
    static struct store_chase c;
    if (!store_leases(x) || x->pump != NULL)
        return;
    memset(&c, 0, sizeof c);
    c.x = x;
    c.seed = test_seed("fills and deletes");
    c.n_rounds = scaled(400);
    run_threads(4, store_one_of_a_chase, &c);
    equal(c.n_old, 0);
    equal(c.n_failed, 0);
}

#endif /* DLOAD_TESTS_STORES_CASES_LEASES_H */
