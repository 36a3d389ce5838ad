/* Two stores as one: reads and writes at the same time, and tiers that fail meanwhile. */
/* tsan */
#include "test_tiered.h"

static uint64_t n_dropped(struct fixture *t)
{
    dload_tiered_stats s;
    dload_tiered_counters(&t->t, &s);
    return s.refills_dropped;
}

/* ---- one read, one write, in every order that matters ---- */

static void write_now(struct fixture *t, dload_store_kind kind)
{
    dload_store_item item = store_item_set(STR("k"), STR("new"), DLOAD_NEVER);
    must_ok(store_one(&t->x, kind, &item));
}

static void must_be_new(struct fixture *t, dload_store_kind kind)
{
    if (kind == DLOAD_STORE_SET)
        store_get(&t->x, STR("k"), STR("new"));
    else
        store_lacks(&t->x, STR("k"));
}

static const dload_store_kind writes[] = {DLOAD_STORE_SET, DLOAD_STORE_DELETE, DLOAD_STORE_CLEAR};

/* The read has the old value from below, and then the write comes and is through. */
static void test_read_before_the_write(void **state)
{
    struct fixture *t = *state;
    for (size_t i = 0; i < COUNT(writes); i++) {
        struct aside reader;
        store_clear(&t->x, STR(""));
        below_set(t, STR("k"), "old", DLOAD_NEVER);
        uint64_t dropped = n_dropped(t);
        scripted_set(&t->lower.shuts_after, GETS);
        aside_start(&reader, t, DLOAD_STORE_GET, STR("k"), "");
        scripted_await(&t->lower, 1);
        write_now(t, writes[i]);
        scripted_set(&t->lower.shuts_after, 0);
        aside_join(&reader);
        assert_string_equal(reader.value, "old"); /* it began before */
        equal(n_dropped(t) - dropped, 1);
        must_be_new(t, writes[i]);
        above_must(t, STR("k"), writes[i] == DLOAD_STORE_SET ? "new" : NULL);
    }
}

/* The write is halfway: below it is done, and above not yet. The read has begun before. */
static void test_read_beside_the_write(void **state)
{
    struct fixture *t = *state;
    for (size_t i = 0; i < COUNT(writes); i++) {
        struct aside reader, writer;
        store_clear(&t->x, STR(""));
        below_set(t, STR("k"), "old", DLOAD_NEVER);
        scripted_set(&t->lower.shuts_after, GETS | 1u << writes[i]);
        aside_start(&reader, t, DLOAD_STORE_GET, STR("k"), "");
        scripted_await(&t->lower, 1);
        aside_start(&writer, t, writes[i], writes[i] == DLOAD_STORE_CLEAR ? STR("") : STR("k"),
                    "new");
        scripted_await(&t->lower, 2);
        scripted_set(&t->lower.shuts_after, 1u << writes[i]);
        aside_join(&reader); /* its refill comes before the write's end, or not at all */
        scripted_set(&t->lower.shuts_after, 0);
        aside_join(&writer);
        must_ok(writer.status);
        must_be_new(t, writes[i]);
    }
}

/* The read begins when the write has begun, and has the old value before the write changes it. */
static void test_read_inside_the_write(void **state)
{
    struct fixture *t = *state;
    for (size_t i = 0; i < COUNT(writes); i++) {
        struct aside reader, writer;
        store_clear(&t->x, STR(""));
        below_set(t, STR("k"), "old", DLOAD_NEVER);
        scripted_set(&t->lower.shuts, 1u << writes[i]);
        aside_start(&writer, t, writes[i], writes[i] == DLOAD_STORE_CLEAR ? STR("") : STR("k"),
                    "new");
        scripted_await(&t->lower, 1);
        scripted_set(&t->lower.shuts_after, GETS);
        aside_start(&reader, t, DLOAD_STORE_GET, STR("k"), "");
        scripted_await(&t->lower, 2);
        scripted_set(&t->lower.shuts, 0);
        aside_join(&writer);
        must_ok(writer.status);
        scripted_set(&t->lower.shuts_after, 0);
        aside_join(&reader);
        assert_string_equal(reader.value, "old");
        must_be_new(t, writes[i]);
    }
}

/* The refill is on its way when the write has done its part below: the write waits for it, and then removes. */
static void test_write_waits_for_the_refill(void **state)
{
    struct fixture *t = *state;
    for (size_t i = 0; i < COUNT(writes); i++) {
        struct aside reader, writer;
        store_clear(&t->x, STR(""));
        below_set(t, STR("k"), "old", DLOAD_NEVER);
        scripted_set(&t->upper.shuts, SETS);
        aside_start(&reader, t, DLOAD_STORE_GET, STR("k"), "");
        scripted_await(&t->upper, 1);
        uint32_t n = n_asked(&t->upper, writes[i]);
        uint32_t n_below = n_asked(&t->lower, writes[i]);
        aside_start(&writer, t, writes[i], writes[i] == DLOAD_STORE_CLEAR ? STR("") : STR("k"),
                    "new");
        while (n_asked(&t->lower, writes[i]) == n_below)
            sleep_ms(1);
        sleep_ms(20);
        assert_false(aside_is_over(&writer));
        equal(n_asked(&t->upper, writes[i]), n);
        scripted_set(&t->upper.shuts, 0);
        aside_join(&reader);
        aside_join(&writer);
        must_ok(writer.status);
        must_be_new(t, writes[i]);
        above_must(t, STR("k"), writes[i] == DLOAD_STORE_SET ? "new" : NULL);
    }
}

static bool is_draining(struct fixture *t)
{
    (void)pthread_mutex_lock(&t->t.guard.mutex);
    bool is = t->t.guard.draining;
    (void)pthread_mutex_unlock(&t->t.guard.mutex);
    return is;
}

static uint32_t n_refills(struct fixture *t, uint32_t epoch)
{
    (void)pthread_mutex_lock(&t->t.guard.mutex);
    uint32_t n = t->t.guard.n_refills[epoch];
    (void)pthread_mutex_unlock(&t->t.guard.mutex);
    return n;
}

/* Reads that come one after another do not keep a write waiting: it waits for those that were there. */
static void test_write_does_not_wait_for_later_reads(void **state)
{
    struct fixture *t = *state;
    struct aside reader, later, writer;
    below_set(t, STR("k"), "old", DLOAD_NEVER);
    below_set(t, STR("other"), "o", DLOAD_NEVER);
    scripted_set(&t->upper.shuts_after, SETS);
    aside_start(&reader, t, DLOAD_STORE_GET, STR("k"), "");
    scripted_await(&t->upper, 1);
    aside_start(&writer, t, DLOAD_STORE_DELETE, STR("k"), "");
    while (!is_draining(t))
        sleep_ms(1);
    aside_start(&later, t, DLOAD_STORE_GET, STR("other"), "");
    scripted_await(&t->upper, 2);
    equal(n_refills(t, 0), 1);
    equal(n_refills(t, 1), 1);
    scripted_set(&t->upper.shuts_after, 0);
    aside_join(&reader);
    aside_join(&writer);
    aside_join(&later);
    store_lacks(&t->x, STR("k"));
}

/* Two SETs of one key at once: whichever the lower tier has, the upper one has it too, or nothing. */
static void test_two_writes(void **state)
{
    struct fixture *t = *state;
    for (int second_first = 0; second_first < 2; second_first++) {
        struct aside a, b;
        scripted_set(&t->lower.shuts_after, SETS);
        aside_start(&a, t, DLOAD_STORE_SET, STR("k"), "a");
        scripted_await(&t->lower, 1);
        below_must(t, STR("k"), "a");
        if (second_first) {
            scripted_set(&t->lower.shuts_after, 0);
            scripted_set(&t->upper.shuts, SETS); /* a is putting it above */
            scripted_await(&t->upper, 1);
            aside_start(&b, t, DLOAD_STORE_SET, STR("k"), "b");
            while (n_asked(&t->lower, DLOAD_STORE_SET) < 4)
                sleep_ms(1);
            scripted_set(&t->upper.shuts, 0);
        } else {
            aside_start(&b, t, DLOAD_STORE_SET, STR("k"), "b");
            scripted_await(&t->lower, 2);
            scripted_set(&t->lower.shuts_after, 0);
        }
        aside_join(&a);
        aside_join(&b);
        must_ok(a.status);
        must_ok(b.status);
        below_must(t, STR("k"), "b");
        store_get(&t->x, STR("k"), STR("b"));
    }
}

/* A DELETE that began and ended while a SET was halfway: the SET does not put above what is gone below. */
static void test_delete_inside_a_set(void **state)
{
    struct fixture *t = *state;
    struct aside setter;
    scripted_set(&t->lower.shuts_after, SETS);
    aside_start(&setter, t, DLOAD_STORE_SET, STR("k"), "a");
    scripted_await(&t->lower, 1);
    below_must(t, STR("k"), "a");
    store_delete(&t->x, STR("k"));
    scripted_set(&t->lower.shuts_after, 0);
    aside_join(&setter);
    must_ok(setter.status);
    below_must(t, STR("k"), NULL);
    store_lacks(&t->x, STR("k"));
}

/* A refill is on its way while the upper tier is cleared to be believed again, and a write that passes the upper tier by
 * comes in between: what the refill brings must not outlive the clear. */
static void test_refill_and_recovery(void **state)
{
    struct fixture *t = *state;
    struct aside failing, refill, recovery, writer;
    below_set(t, STR("k"), "old", DLOAD_NEVER);
    scripted_set(&t->upper.shuts, DELETES | SETS);
    aside_start(&failing, t, DLOAD_STORE_DELETE, STR("other"), "");
    scripted_await(&t->upper, 1);
    aside_start(&refill, t, DLOAD_STORE_GET, STR("k"), "");
    scripted_await(&t->upper, 2); /* it is under way when the other one fails */
    scripted_set(&t->upper.fails, DELETES);
    scripted_set(&t->upper.shuts, SETS);
    aside_join(&failing);
    must_ok(failing.status);
    scripted_set(&t->upper.fails, 0);
    scripted_set(&t->upper.shuts_after, CLEARS);
    aside_start(&recovery, t, DLOAD_STORE_GET, STR("absent"), "");
    sleep_ms(20); /* it waits for the refill; a clear now would come too early */
    aside_start(&writer, t, DLOAD_STORE_DELETE, STR("k"), "");
    sleep_ms(20);
    scripted_set(&t->upper.shuts, 0);
    aside_join(&refill);
    aside_join(&writer);
    scripted_set(&t->upper.shuts_after, 0);
    aside_join(&recovery);
    must_ok(writer.status);
    store_lacks(&t->x, STR("k"));
    below_must(t, STR("k"), NULL);
}

/* ---- all at once ---- */

enum { CHAOS_KEYS = 3, CHAOS_THREADS = 7 };

struct chaos {
    struct fixture *t;
    uint64_t written[CHAOS_KEYS]; /* atomic: the last version whose write has returned */
    uint64_t version[CHAOS_KEYS]; /* the writer's */
    uint64_t seed;
    size_t n_rounds;
    uint32_t n_old, n_failed, n_read; /* atomic */
    uint32_t n_left;                  /* atomic: readers and writers that go on */
    bool fails;                       /* the upper tier does, now and then */
};

static void chaos_read(struct chaos *c, uint64_t *seed)
{
    uint64_t keys[2] = {rng_below(seed, CHAOS_KEYS), rng_below(seed, CHAOS_KEYS)};
    uint64_t least[2];
    dload_store_item items[2];
    for (size_t i = 0; i < 2; i++) {
        least[i] = __atomic_load_n(&c->written[keys[i]], __ATOMIC_ACQUIRE);
        items[i] = store_item(str_of(&keys[i], 8));
    }
    dload_store_op op = store_op(DLOAD_STORE_GET, items, 2);
    if (store_ask(&c->t->x, &op) != DLOAD_OK)
        (void)__atomic_add_fetch(&c->n_failed, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 2; i++) {
        uint64_t value = UINT64_MAX; /* what is not there was deleted, at whatever version */
        if (items[i].status == DLOAD_OK) {
            memcpy(&value, items[i].value, 8);
            (void)__atomic_add_fetch(&c->n_read, 1, __ATOMIC_RELAXED);
        }
        if (value < least[i])
            (void)__atomic_add_fetch(&c->n_old, 1, __ATOMIC_RELAXED);
    }
    dload_store_release(&op);
}

/* Each key has one writer, so that its versions have an order. */
static void chaos_write(struct chaos *c, uint64_t key, uint64_t *seed)
{
    uint64_t what = rng_below(seed, 8), version = ++c->version[key];
    dload_store_item item = store_item_set(str_of(&key, 8), str_of(&version, 8), DLOAD_NEVER);
    dload_store_kind kind = what == 0   ? DLOAD_STORE_CLEAR
                            : what <= 3 ? DLOAD_STORE_DELETE
                                        : DLOAD_STORE_SET;
    if (store_one(&c->t->x, kind, &item) != DLOAD_OK)
        (void)__atomic_add_fetch(&c->n_failed, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&c->written[key], version, __ATOMIC_RELEASE);
}

static void one_of_a_chaos(void *ctx, size_t me)
{
    struct chaos *c = ctx;
    uint64_t seed = c->seed + me;
    if (me == CHAOS_THREADS) {
        while (c->fails && __atomic_load_n(&c->n_left, __ATOMIC_ACQUIRE) != 0) {
            scripted_set(&c->t->upper.fails, (uint32_t)rng_below(&seed, ALL + 1));
            sched_yield();
            scripted_set(&c->t->upper.fails_keys, (uint32_t)rng_below(&seed, ALL + 1));
            scripted_set(&c->t->upper.fails, 0);
            sleep_ms(rng_below(&seed, 4) == 0);
            scripted_set(&c->t->upper.fails_keys, 0);
            sched_yield();
        }
        return;
    }
    for (size_t round = 0; round < c->n_rounds; round++) {
        if (me < CHAOS_KEYS && rng_below(&seed, 3) == 0)
            chaos_write(c, me, &seed);
        else
            chaos_read(c, &seed);
        if (rng_below(&seed, 16) == 0)
            sched_yield();
    }
    (void)__atomic_sub_fetch(&c->n_left, 1, __ATOMIC_RELEASE);
}

static void chaos(struct fixture *t, bool fails, size_t n_rounds)
{
    static struct chaos c;
    memset(&c, 0, sizeof c);
    c.t = t;
    c.fails = fails;
    c.seed = test_seed("two tiers");
    c.n_rounds = scaled(n_rounds);
    c.n_left = CHAOS_THREADS;
    scripted_set(&t->upper.yields, 1);
    scripted_set(&t->lower.yields, 1);
    run_threads(CHAOS_THREADS + 1, one_of_a_chaos, &c);
    equal(c.n_old, 0);
    equal(c.n_failed, 0);
    assert_true(c.n_read != 0);
    scripted_set(&t->upper.fails, 0);
    scripted_set(&t->upper.fails_keys, 0);
    for (uint64_t key = 0; key < CHAOS_KEYS; key++) { /* and both agree in the end */
        struct store_case below = tier(&t->far_memory.store);
        dload_store_item item = store_item(str_of(&key, 8)), same = item;
        dload_store_op op = store_op(DLOAD_STORE_GET, &item, 1), other = op;
        must_ok(store_ask(&t->x, &op));
        other.items = &same;
        must_ok(store_ask(&below, &other));
        must(item.status, same.status);
        if (same.status == DLOAD_OK)
            assert_true(store_holds(&item, str_of(same.value, same.value_bytes)));
        dload_store_release(&op);
        dload_store_release(&other);
    }
}

static void test_chaos(void **state)
{
    struct fixture *t = *state;
    dload_tiered_stats s;
    chaos(t, false, 1500);
    dload_tiered_counters(&t->t, &s);
    equal(s.bypassed + s.upper_errors + s.lower_errors, 0);
    assert_true(s.upper_hits != 0);
}

static void test_chaos_and_failures(void **state)
{
    struct fixture *t = *state;
    dload_tiered_stats s;
    chaos(t, true, 1500);
    dload_tiered_counters(&t->t, &s);
    assert_true(s.upper_errors != 0);
}

static void test_chaos_with_done(void **state)
{
    chaos(*state, true, 300);
}

/* Several writers of the same keys: nobody knows which is the last, but both tiers have the same. */
static void one_of_a_brawl(void *ctx, size_t me)
{
    struct chaos *c = ctx;
    uint64_t seed = c->seed + me;
    for (size_t round = 0; round < c->n_rounds; round++) {
        uint64_t key = rng_below(&seed, CHAOS_KEYS), value = me << 32 | round;
        dload_store_item item = store_item_set(str_of(&key, 8), str_of(&value, 8), DLOAD_NEVER);
        dload_store_kind kind = rng_below(&seed, 4) == 0 ? DLOAD_STORE_DELETE : DLOAD_STORE_SET;
        if (rng_below(&seed, 3) == 0)
            chaos_read(c, &seed);
        else if (store_one(&c->t->x, kind, &item) != DLOAD_OK)
            (void)__atomic_add_fetch(&c->n_failed, 1, __ATOMIC_RELAXED);
    }
}

static void test_brawl(void **state)
{
    struct fixture *t = *state;
    static struct chaos c;
    scripted_set(&t->upper.yields, 1);
    scripted_set(&t->lower.yields, 1);
    for (size_t round = 0; round < 20; round++) {
        memset(&c, 0, sizeof c);
        c.t = t;
        c.seed = test_seed("several writers") + round;
        c.n_rounds = scaled(40);
        run_threads(4, one_of_a_brawl, &c);
        equal(c.n_failed, 0);
        struct store_case above = tier(&t->near_memory.store), below = tier(&t->far_memory.store);
        for (uint64_t key = 0; key < CHAOS_KEYS; key++) {
            dload_store_item near_item = store_item(str_of(&key, 8)), far_item = near_item;
            dload_store_op near_op = store_op(DLOAD_STORE_GET, &near_item, 1), far_op = near_op;
            far_op.items = &far_item;
            must_ok(store_ask(&above, &near_op));
            must_ok(store_ask(&below, &far_op));
            if (near_item.status == DLOAD_OK) {
                must_ok(far_item.status);
                assert_true(store_holds(&near_item, str_of(far_item.value, far_item.value_bytes)));
            }
            dload_store_release(&near_op);
            dload_store_release(&far_op);
        }
    }
}

#define OWN(body) cmocka_unit_test_setup_teardown(body, open_patient, close_tiers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWN(test_read_before_the_write),
        OWN(test_read_beside_the_write),
        OWN(test_read_inside_the_write),
        OWN(test_write_waits_for_the_refill),
        OWN(test_write_does_not_wait_for_later_reads),
        OWN(test_two_writes),
        OWN(test_delete_inside_a_set),
        OWN(test_refill_and_recovery),
        OWN(test_chaos),
        OWN(test_chaos_and_failures),
        cmocka_unit_test_setup_teardown(test_chaos_with_done, open_patient_async, close_tiers),
        OWN(test_brawl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
