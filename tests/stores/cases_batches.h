/* Requests as wholes: many keys, lives of values, who may still read what, threads, and stores that fail. */
#ifndef DLOAD_TESTS_STORES_CASES_BATCHES_H
#define DLOAD_TESTS_STORES_CASES_BATCHES_H

#include "store_case.h"

/* ---- many keys ---- */

/* n keys of which every third was never stored and every fifth is the one before again. */
static void store_batch_of(struct store_case *x, size_t n)
{
    struct store_bytes b = {{NULL}, 0};
    static dload_store_item items[1000];
    static char values[1000][8];
    size_t n_set = 0;
    assert_true(n <= COUNT(items));
    for (size_t i = 0; i < n; i++) {
        memcpy(values[i], &i, sizeof i < 8 ? sizeof i : 8);
        if (i % 3 != 2)
            items[n_set++] =
                store_item_set(store_key_of(&b, i), str_of(values[i], i % 9), DLOAD_NEVER);
    }
    store_must(x, DLOAD_STORE_SET, items, n_set);
    for (size_t i = 0; i < n_set; i++)
        must_ok(items[i].status);
    store_free_bytes(&b);
    for (size_t i = 0; i < n; i++)
        items[i] = i % 5 == 4 ? items[i - 1] : store_item(store_key_of(&b, i));
    dload_store_op op = store_op(DLOAD_STORE_GET, items, n);
    must_ok(store_ask(x, &op));
    for (size_t i = 0; i < n; i++) {
        size_t key = i % 5 == 4 ? i - 1 : i;
        if (key % 3 == 2)
            must(items[i].status, DLOAD_MISSING);
        else
            assert_true(store_holds(&items[i], str_of(values[key], key % 9)));
    }
    dload_store_release(&op);
    for (size_t i = 0; i < n; i++)
        items[i] = i % 5 == 4 ? items[i - 1] : store_item(str_of(items[i].key, items[i].key_bytes));
    store_must(x, DLOAD_STORE_DELETE, items, n);
    for (size_t i = 0; i < n; i++)
        must_ok(items[i].status);
    for (size_t i = 0; i < n; i++)
        items[i] = store_item(str_of(items[i].key, items[i].key_bytes));
    store_must(x, DLOAD_STORE_GET, items, n);
    for (size_t i = 0; i < n; i++)
        must(items[i].status, DLOAD_MISSING);
    store_free_bytes(&b);
    store_clear(x, STR(""));
}

static void store_batches(void **state)
{
    struct store_case *x = store_begin(state);
    store_batch_of(x, 1);
    store_batch_of(x, 2);
    store_batch_of(x, 100);
    store_batch_of(x, 1000);
}

/* Many values that are not small: more than one buffer, packet or page. */
static void store_heavy_batch(void **state)
{
    struct store_case *x = store_begin(state);
    struct store_bytes b = {{NULL}, 0};
    enum { N = 100, BYTES = 20000 };
    dload_store_item items[N];
    for (size_t i = 0; i < N; i++)
        items[i] =
            store_item_set(store_key_of(&b, i), store_pattern(&b, BYTES + i, i), DLOAD_NEVER);
    store_must(x, DLOAD_STORE_SET, items, N);
    for (size_t i = 0; i < N; i++)
        items[i] = store_item(str_of(items[i].key, items[i].key_bytes));
    dload_store_op op = store_op(DLOAD_STORE_GET, items, N);
    must_ok(store_ask(x, &op));
    for (size_t i = 0; i < N; i++)
        assert_true(store_holds(&items[i], store_pattern(&b, BYTES + i, i)));
    dload_store_release(&op);
    store_free_bytes(&b);
}

/* ---- lives ---- */

static uint64_t store_now(const struct store_case *x)
{
    return dload_i_now(x->s->env);
}

/* Reads a key that was stored between from_ns and to_ns for ttl_ns until it is gone: never read when it should
 * have gone, never missed before. */
static void store_must_end(struct store_case *x, dload_str key, uint64_t from_ns, uint64_t to_ns,
                           uint64_t ttl_ns)
{
    const uint64_t slack_ns = store_slack_ns(x);
    for (;;) {
        dload_store_item item = store_item(key);
        uint64_t before_ns = store_now(x);
        dload_status st = store_one(x, DLOAD_STORE_GET, &item);
        uint64_t after_ns = store_now(x);
        if (st == DLOAD_MISSING) {
            if (after_ns + slack_ns < from_ns + ttl_ns)
                fail_msg("gone after %" PRIu64 " of %" PRIu64 " ms", (after_ns - from_ns) / 1000000,
                         ttl_ns / 1000000);
            return;
        }
        must_ok(st);
        if (before_ns > to_ns + ttl_ns + slack_ns)
            fail_msg("there after %" PRIu64 " of %" PRIu64 " ms", (before_ns - to_ns) / 1000000,
                     ttl_ns / 1000000);
        assert_true(item.ttl_ns == DLOAD_NEVER || item.ttl_ns <= ttl_ns + slack_ns);
        store_pass(x, DLOAD_MILLISECOND * 5);
    }
}

static void store_lives_end(void **state)
{
    struct store_case *x = store_begin(state);
    static const uint64_t ttls_ms[] = {30, 100, 200};
    if ((x->s->flags & DLOAD_STORE_TTL) == 0)
        return;
    store_set(x, STR("stays"), STR("1"), DLOAD_NEVER);
    store_set(x, STR("an hour"), STR("2"), 3600 * DLOAD_SECOND);
    for (size_t i = 0; i < COUNT(ttls_ms); i++) {
        uint64_t ttl_ns = ttls_ms[i] * DLOAD_MILLISECOND;
        uint64_t from_ns = store_now(x);
        store_set(x, STR("goes"), STR("3"), ttl_ns);
        store_must_end(x, STR("goes"), from_ns, store_now(x), ttl_ns);
    }
    /* As short as can be: it is no error, and not for ever. */
    uint64_t from_ns = store_now(x);
    store_set(x, STR("goes"), STR("3"), 1);
    store_must_end(x, STR("goes"), from_ns, store_now(x), 1);
    store_get(x, STR("stays"), STR("1"));
    store_get(x, STR("an hour"), STR("2"));
    dload_store_item item = store_item(STR("an hour"));
    must_ok(store_one(x, DLOAD_STORE_GET, &item));
    assert_true(item.ttl_ns == DLOAD_NEVER || item.ttl_ns <= 3601 * DLOAD_SECOND);
    assert_true(item.ttl_ns > 3500 * DLOAD_SECOND);
    item = store_item(STR("stays"));
    must_ok(store_one(x, DLOAD_STORE_GET, &item));
    equal(item.ttl_ns, DLOAD_NEVER);
}

/* A new value has its own life, not that of the one before. */
static void store_lives_are_replaced(void **state)
{
    struct store_case *x = store_begin(state);
    if ((x->s->flags & DLOAD_STORE_TTL) == 0)
        return;
    const uint64_t ttl_ns = 60 * DLOAD_MILLISECOND;
    store_set(x, STR("short, long"), STR("1"), ttl_ns);
    store_set(x, STR("short, long"), STR("2"), DLOAD_NEVER);
    store_set(x, STR("long, short"), STR("1"), DLOAD_NEVER);
    uint64_t from_ns = store_now(x);
    store_set(x, STR("long, short"), STR("2"), ttl_ns);
    store_must_end(x, STR("long, short"), from_ns, store_now(x), ttl_ns);
    store_pass(x, ttl_ns);
    store_get(x, STR("short, long"), STR("2"));
    store_lacks(x, STR("long, short"));
    store_set(x, STR("long, short"), STR("3"), DLOAD_NEVER); /* where one expired */
    store_get(x, STR("long, short"), STR("3"));
}

/* No life is so long that it is over at once, or never counted right. */
static void store_long_lives(void **state)
{
    struct store_case *x = store_begin(state);
    static const uint64_t ttls_ns[] = {
        UINT64_C(1000000000) * 86400 * 365 * 10, /* ten years */
        UINT64_C(1000000000000000000),
        UINT64_MAX / 2,
        UINT64_MAX / 2 + 1,
        UINT64_MAX - 1,
        UINT64_MAX,
    };
    for (size_t i = 0; i < COUNT(ttls_ns); i++) {
        char key = (char)('a' + i);
        store_set(x, str_of(&key, 1), STR("v"), ttls_ns[i]);
    }
    store_pass(x, 2 * DLOAD_MILLISECOND);
    for (size_t i = 0; i < COUNT(ttls_ns); i++) {
        char key = (char)('a' + i);
        dload_store_item item = store_item(str_of(&key, 1));
        must_ok(store_one(x, DLOAD_STORE_GET, &item));
        assert_true(item.ttl_ns > UINT64_C(1000000000) * 86400 * 365);
    }
}

/* ---- who may still read ---- */

/* What a GET brought stays as it was until it is released, whatever happens to its key. */
static void store_values_stay_until_released(void **state)
{
    struct store_case *x = store_begin(state);
    struct store_bytes b = {{NULL}, 0};
    enum { N = 3, BYTES = 70000 };
    dload_store_item items[N];
    dload_store_op op[N];
    for (size_t i = 0; i < N; i++)
        store_set(x, store_key_of(&b, i), store_pattern(&b, BYTES, i), DLOAD_NEVER);
    for (size_t i = 0; i < N; i++) {
        items[i] = store_item(store_key_of(&b, i));
        op[i] = store_op(DLOAD_STORE_GET, &items[i], 1);
        must_ok(store_ask(x, &op[i]));
    }
    store_set(x, store_key_of(&b, 0), store_pattern(&b, BYTES, 100), DLOAD_NEVER);
    store_delete(x, store_key_of(&b, 1));
    store_clear(x, STR(""));
    for (size_t i = 10; i < 20; i++) /* and others come, where it may have been */
        store_set(x, store_key_of(&b, i), store_pattern(&b, BYTES, i), DLOAD_NEVER);
    for (size_t i = N; i-- > 0;)
        assert_true(store_holds(&items[i], store_pattern(&b, BYTES, i)));
    for (size_t i = 0; i < N; i++)
        dload_store_release(&op[i]);
    dload_store_release(&op[0]); /* a second time does nothing */
    store_lacks(x, store_key_of(&b, 0));
    store_free_bytes(&b);
}

/* ---- threads ---- */

enum { STORE_THREADS = 8, STORE_KEYS = 16 };

struct store_crowd {
    struct store_case *x;
    uint64_t seed;
    size_t n_rounds;
    uint32_t n_wrong; /* atomic: values of another key, or torn */
    uint32_t n_failed;
    uint32_t n_read;
};

/* A value says whose it is, and is the same word again and again. */
static void store_fill_words(uint64_t *words, size_t n, uint64_t key, uint64_t number)
{
    for (size_t i = 0; i < n; i++)
        words[i] = key << 32 | (number & 0xffff);
}

static void store_check_words(struct store_crowd *c, const dload_store_item *item, uint64_t key)
{
    uint64_t first = 0;
    bool wrong = item->value_bytes % 8 != 0 || item->value_bytes == 0;
    for (size_t i = 0; !wrong && i + 8 <= item->value_bytes; i += 8) {
        uint64_t word;
        memcpy(&word, (const char *)item->value + i, 8);
        first = i == 0 ? word : first;
        wrong = word != first || word >> 32 != key;
    }
    (void)__atomic_add_fetch(wrong ? &c->n_wrong : &c->n_read, 1, __ATOMIC_RELAXED);
}

static void store_one_of_a_crowd(void *ctx, size_t me)
{
    struct store_crowd *c = ctx;
    uint64_t seed = c->seed + me, words[64], keys[4];
    for (size_t round = 0; round < c->n_rounds; round++) {
        dload_store_item items[4];
        size_t n = 1 + (size_t)rng_below(&seed, 4);
        uint64_t what = rng_below(&seed, 8);
        for (size_t i = 0; i < n; i++) {
            keys[i] = rng_below(&seed, STORE_KEYS);
            items[i] = store_item(str_of(&keys[i], 8));
        }
        dload_store_op op = store_op(what == 0   ? DLOAD_STORE_DELETE
                                     : what <= 2 ? DLOAD_STORE_SET
                                                 : DLOAD_STORE_GET,
                                     items, what <= 2 && what > 0 ? 1 : n);
        if (op.kind == DLOAD_STORE_SET) {
            size_t n_words = 1 + (size_t)rng_below(&seed, COUNT(words));
            store_fill_words(words, n_words, keys[0], round);
            items[0].value = words;
            items[0].value_bytes = n_words * 8;
            items[0].ttl_ns = DLOAD_NEVER;
        }
        bool failed = store_ask(c->x, &op) != DLOAD_OK;
        for (size_t i = 0; i < op.n && !failed; i++) {
            if (op.kind == DLOAD_STORE_GET && items[i].status == DLOAD_OK)
                store_check_words(c, &items[i], keys[i]);
            else
                failed = items[i].status != DLOAD_OK &&
                         !(op.kind == DLOAD_STORE_GET && items[i].status == DLOAD_MISSING);
        }
        if (failed)
            (void)__atomic_add_fetch(&c->n_failed, 1, __ATOMIC_RELAXED);
        dload_store_release(&op);
    }
}

static void store_many_threads(void **state)
{
    struct store_case *x = store_begin(state);
    struct store_crowd c = {x, test_seed("threads of a store"), scaled(300), 0, 0, 0};
    if (x->pump != NULL)
        return; /* one thread's */
    run_threads(STORE_THREADS, store_one_of_a_crowd, &c);
    equal(c.n_wrong, 0);
    equal(c.n_failed, 0);
    assert_true(c.n_read != 0);
}

/* ---- when it does not answer ---- */

static void store_ends_in_time(void **state)
{
    struct store_case *x = store_begin(state);
    static const dload_store_kind kinds[] = {DLOAD_STORE_GET, DLOAD_STORE_SET, DLOAD_STORE_DELETE};
    if (x->stall == NULL)
        return;
    store_set(x, STR("one"), STR("1"), DLOAD_NEVER);
    store_set(x, STR("two"), STR("2"), DLOAD_NEVER);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        dload_store_item item = store_item_set(STR("one"), STR("1"), DLOAD_NEVER);
        dload_store_op op = store_op(kinds[i], &item, 1);
        op.timeout_ns = 100 * DLOAD_MILLISECOND;
        x->stall(x, true);
        uint64_t start_ns = real_ns();
        dload_status st = store_ask(x, &op);
        uint64_t took_ns = real_ns() - start_ns;
        dload_store_release(&op);
        x->stall(x, false);
        if (kinds[i] != DLOAD_STORE_GET && st == DLOAD_OK)
            continue; /* it was stored elsewhere than where nobody answers */
        assert_true(st < 0 || item.status < 0);
        assert_true(took_ns < 20 * DLOAD_SECOND); /* it ended; how fast is the machine's business */
        /* It comes back, and no late answer is taken for another's. */
        for (start_ns = real_ns();;) {
            item = store_item(STR("two"));
            op = store_op(DLOAD_STORE_GET, &item, 1);
            st = store_ask(x, &op);
            if (st == DLOAD_OK && item.status == DLOAD_OK)
                break;
            dload_store_release(&op);
            assert_true(real_ns() - start_ns < 30 * DLOAD_SECOND);
            sleep_ms(20);
            if (x->pass != NULL)
                x->pass(x, 20 * DLOAD_MILLISECOND); /* the breaker's pause */
        }
        assert_true(store_holds(&item, STR("2")));
        dload_store_release(&op);
        store_set(x, STR("one"), STR("1"), DLOAD_NEVER);
        store_get(x, STR("one"), STR("1"));
    }
}

/* ---- what it does not know, and what it counts ---- */

static void store_unknown_kinds(void **state)
{
    struct store_case *x = store_begin(state);
    dload_store_item item = store_item_lease(STR("k"), 1, DLOAD_SECOND);
    dload_store_op op = store_op((dload_store_kind)DLOAD_STORE_N_KINDS, &item, 1);
    must(dload_store_run(x->s, &op), DLOAD_EINVAL);
    op = store_op((dload_store_kind)100, &item, 1);
    must(dload_store_run(x->s, &op), DLOAD_EINVAL);
    must(x->s->run(x->s, &op), DLOAD_EINVAL); /* by itself, too */
    dload_store_release(&op);
    op = store_op(DLOAD_STORE_GET, NULL, 1);
    must(dload_store_run(x->s, &op), DLOAD_EINVAL);
    op = store_op(DLOAD_STORE_GET, NULL, 0);
    must_ok(dload_store_run(x->s, &op));
    for (uint32_t kind = DLOAD_STORE_LEASE;
         kind <= DLOAD_STORE_DROP && (x->s->flags & DLOAD_STORE_LEASES) == 0; kind++)
        must(store_one(x, (dload_store_kind)kind, &item), DLOAD_EINVAL);
    equal(x->s->n_failed, 0); /* a caller's mistake is not the store's illness */
}

static void store_counts(void **state)
{
    struct store_case *x = store_begin(state);
    dload_store_item items[3];
    dload_store_stats was = x->s->stats;
    items[0] = store_item_set(STR("a"), STR("1"), DLOAD_NEVER);
    items[1] = store_item_set(STR("b"), STR("2"), DLOAD_NEVER);
    store_must(x, DLOAD_STORE_SET, items, 2);
    items[0] = store_item(STR("a"));
    items[1] = store_item(STR("absent"));
    items[2] = store_item(STR("b"));
    store_must(x, DLOAD_STORE_GET, items, 3);
    store_delete(x, STR("a"));
    store_clear(x, STR(""));
    const dload_store_stats *now = &x->s->stats;
    equal(now->ops[DLOAD_STORE_SET] - was.ops[DLOAD_STORE_SET], 1);
    equal(now->keys[DLOAD_STORE_SET] - was.keys[DLOAD_STORE_SET], 2);
    equal(now->ops[DLOAD_STORE_GET] - was.ops[DLOAD_STORE_GET], 1);
    equal(now->keys[DLOAD_STORE_GET] - was.keys[DLOAD_STORE_GET], 3);
    equal(now->ops[DLOAD_STORE_DELETE] - was.ops[DLOAD_STORE_DELETE], 1);
    equal(now->ops[DLOAD_STORE_CLEAR] - was.ops[DLOAD_STORE_CLEAR], 1);
    equal(now->hits - was.hits, 2);
    equal(now->misses - was.misses, 1);
    equal(now->errors - was.errors, 0);
    equal(now->key_errors - was.key_errors, 0);
}

#endif /* DLOAD_TESTS_STORES_CASES_BATCHES_H */
