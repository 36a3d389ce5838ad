/* Leases of a store in dispatch: who has one fetches and fills, the others wait for the value first and the lease
 * second; what was lost is delivered and kept nowhere; without the store everything is fetched. */
/* locks: NONE SPIN PTHREAD */
#include "test_store_loader.h"

#include <stdio.h>

/* ---- leases for the scripted store ---- */

enum { MAX_LEASES = 64 };

static struct leases {
    const struct fake_env *clock;
    struct lease {
        char key[40];
        uint64_t owner[2];
        uint64_t until_ns;
    } all[MAX_LEASES];
    size_t n;
    struct text log;
    void (*act)(void); /* in each LEASE, before it is carried out */
    dload_status lease_fails, fill_fails;
    size_t n_leases, n_fills, n_drops; /* keys */
} k;

static struct lease *lease_of(const dload_store_item *item)
{
    for (size_t i = 0; i < k.n; i++) {
        if (strlen(k.all[i].key) == item->key_bytes &&
            memcmp(k.all[i].key, item->key, item->key_bytes) == 0) {
            if (k.all[i].until_ns > k.clock->now_ns) {
                return &k.all[i];
            }
            k.all[i] = k.all[--k.n]; /* it expired */
            return NULL;
        }
    }
    return NULL;
}

static void lease_end(struct lease *lease)
{
    if (lease) {
        *lease = k.all[--k.n];
    }
}

static struct lease *lease_make(const char *key, uint64_t owner, uint64_t ttl_ns)
{
    assert_true(k.n < MAX_LEASES);
    struct lease *made = &k.all[k.n++];
    memset(made, 0, sizeof *made);
    (void)snprintf(made->key, sizeof made->key, "%s", key);
    made->owner[0] = made->owner[1] = owner;
    made->until_ns = k.clock->now_ns + ttl_ns;
    return made;
}

static void ask_lease(dload_store_item *item)
{
    char key[40];
    if (item->status != DLOAD_MISSING) {
        return;
    }
    struct lease *lease = lease_of(item);
    if (lease && memcmp(lease->owner, item->lease, sizeof lease->owner) != 0) {
        item->status = DLOAD_EBUSY;
        item->ttl_ns = lease->until_ns - k.clock->now_ns;
    } else if (!lease) {
        (void)snprintf(key, sizeof key, "%.*s", (int)item->key_bytes, item->key);
        lease = lease_make(key, 0, item->ttl_ns);
        memcpy(lease->owner, item->lease, sizeof lease->owner);
    }
}

static dload_status run_leased(dload_store *s, dload_store_op *op)
{
    static const char *const kinds[] = {"GET", "SET", "DELETE", "CLEAR", "LEASE", "FILL", "DROP"};
    struct script_store *t = (struct script_store *)(void *)s;
    const dload_store_kind kind = op->kind;
    text_add(&k.log, "%s%s%zu", k.log.len ? " " : "", kinds[kind], op->n);
    if (kind == DLOAD_STORE_LEASE) {
        if (k.act) {
            k.act();
        }
        k.n_leases += op->n;
        if (k.lease_fails < 0) {
            return k.lease_fails;
        }
        op->kind = DLOAD_STORE_GET;
        dload_status st = script_run(s, op);
        op->kind = kind;
        for (size_t i = 0; i < op->n && st >= 0; i++) {
            ask_lease(&op->items[i]);
        }
        return st;
    }
    for (size_t i = 0; i < op->n; i++) {
        dload_store_item *item = &op->items[i];
        struct lease *lease = lease_of(item);
        bool mine = lease && memcmp(lease->owner, item->lease, sizeof lease->owner) == 0;
        if (kind == DLOAD_STORE_FILL) {
            k.n_fills++;
            item->status = mine ? DLOAD_OK : DLOAD_ELOCK;
            if (mine && k.fill_fails < 0) {
                item->status = k.fill_fails;
            } else if (mine) {
                script_put(t, item->key, item->key_bytes, item->value, item->value_bytes,
                           item->ttl_ns);
            }
        } else if (kind == DLOAD_STORE_DROP) {
            k.n_drops++;
            item->status = DLOAD_OK;
        }
        bool kept = kind == DLOAD_STORE_FILL && k.fill_fails < 0;
        if ((mine && !kept) || kind == DLOAD_STORE_DELETE) {
            lease_end(lease);
        }
    }
    return kind == DLOAD_STORE_FILL || kind == DLOAD_STORE_DROP ? DLOAD_OK : script_run(s, op);
}

static int setup(void **state)
{
    (void)store_setup(state);
    memset(&k, 0, sizeof k);
    k.clock = &fixture.f;
    script.store.flags = DLOAD_STORE_BATCH | DLOAD_STORE_LEASES;
    script.store.run = run_leased;
    return 0;
}

static int teardown(void **state)
{
    return store_teardown(state);
}

#define LEASE_RULE(text, fn)            \
    {                                   \
        text, fn, setup, teardown, NULL \
    }

/* Another process stores this value of key 1, ending its lease. */
static void other_stores(uint64_t key, uint64_t version)
{
    tl other;
    tl_config cfg = tl_config_default();
    struct recorder r = {0};
    uint64_t value = 0;
    char text[40];
    r.version = version;
    cfg.fetch = rec_fetch;
    cfg.ctx = &r;
    cfg.store = &script.store;
    cfg.env = &fixture.f.env;
    dload_store_item item = {0};
    (void)snprintf(text, sizeof text, "tl:%" PRIu64, key);
    item.key = text;
    item.key_bytes = strlen(text);
    struct text log = k.log;
    void (*act)(void) = k.act;
    k.act = NULL;
    lease_end(lease_of(&item));
    must_ok(tl_init(&other, &cfg));
    must_ok(tl_load(&other, key, &value));
    must_ok(tl_close(&other, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&other));
    k.act = act;
    k.log = log;
}

/* ---- one asker ---- */

static void a_lease_is_filled(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    load_must(x, 1, 10);
    text_must(&k.log, "LEASE1 FILL1");
    equal(k.n, 0);
    forget(x);
    load_must(x, 1, 10);
    text_must(&k.log, "LEASE1");
    dload_stats s = stats_of(x);
    equal(s.store_hits, 1);
    equal(s.store_misses, 1);
    equal(s.store_writes, 1);
    equal(s.leases_waited + s.leases_lost + s.store_errors, 0);
}

static void a_failed_fetch_drops_it(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2, 3};
    uint64_t out[3];
    dload_status st[3];
    fixture_open(x);
    rec_script(&x->r, 1, ANSWER_FAIL, 0, DLOAD_EFETCH);
    rec_script(&x->r, 3, ANSWER_NOTHING, 0, DLOAD_OK);
    must_ok(tl_load_many(&x->l, keys, 3, out, st));
    must(st[0], DLOAD_EFETCH);
    must_ok(st[1]);
    must(st[2], DLOAD_MISSING);
    text_must(&k.log, "LEASE3 FILL1 DROP2");
    equal(k.n, 0);
}

/* The lease ended, by time or by a clear elsewhere: delivered, cached nowhere. */
static void lease_ends(struct recorder *r, tl_batch *b)
{
    (void)b;
    r->act = NULL;
    k.n = 0;
}

static void what_was_lost_is_kept_nowhere(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    x->r.act = lease_ends;
    load_must(x, 1, 10);
    text_must(&k.log, "LEASE1 FILL1");
    dload_stats s = stats_of(x);
    equal(s.leases_lost, 1);
    equal(s.store_writes, 0);
    equal(s.store_errors, 0);
    equal(s.entries, 0);
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1) B(1)");
    equal(stats_of(x).entries, 1);
}

/* A clear of our own revokes it: nothing is stored, and the key is deleted. */
static void clear_1(struct recorder *r, tl_batch *b)
{
    (void)b;
    r->act = NULL;
    must_ok(tl_clear(&fixture.l, 1));
}

static void a_clear_revokes_it(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    x->r.act = clear_1;
    load_must(x, 1, 10);
    assert_null(strstr(k.log.buf, "FILL"));
    assert_non_null(strstr(k.log.buf, "DELETE1"));
    assert_false(script_has(&script, "tl:1"));
    equal(k.n, 0);
}

static void without_leases(void **state)
{
    struct fixture *x = *state;
    x->cfg.store_lease_ns = DLOAD_NEVER;
    fixture_open(x);
    load_must(x, 1, 10);
    text_must(&k.log, "GET1 SET1");
}

/* ---- others have them ---- */

static size_t n_asked;

static void stores_at_third(void)
{
    if (++n_asked == 3) {
        other_stores(1, 7);
    }
}

static void waits_for_the_value(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    n_asked = 0;
    (void)lease_make("tl:1", 99, 10 * DLOAD_SECOND);
    k.act = stores_at_third;
    uint64_t began_ns = x->f.now_ns;
    load_must(x, 1, 17);
    text_must(&x->r.calls, "");
    text_must(&k.log, "LEASE1 LEASE1 LEASE1");
    assert_true(x->f.now_ns - began_ns >= 10 * DLOAD_MILLISECOND); /* 5 and 10, a quarter less */
    assert_true(x->f.now_ns - began_ns <= 20 * DLOAD_MILLISECOND);
    dload_stats s = stats_of(x);
    equal(s.leases_waited, 1);
    equal(s.store_hits, 1);
    equal(s.store_misses, 0);
}

/* Its holder died: the lease expires, and who waits is the next. */
static void is_the_next(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    uint64_t began_ns = x->f.now_ns;
    (void)lease_make("tl:1", 99, 300 * DLOAD_MILLISECOND);
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    assert_true(x->f.now_ns - began_ns >= 300 * DLOAD_MILLISECOND);
    assert_true(x->f.now_ns - began_ns < 301 * DLOAD_MILLISECOND); /* no later than it could be */
    assert_true(script_has(&script, "tl:1"));
    equal(stats_of(x).leases_lost, 0);
}

/* Its own keys are fetched, stored and delivered before it waits. */
static tl_waiter early;

static void early_is_there(void)
{
    if (++n_asked == 2) {
        must_ok(early.status);
        equal(early.value, 20);
        assert_true(script_has(&script, "tl:2"));
        other_stores(1, 7);
    }
}

static void own_keys_come_first(void **state)
{
    struct fixture *x = *state;
    tl_waiter w;
    fixture_open(x);
    n_asked = 0;
    memset(&w, 0, sizeof w);
    memset(&early, 0, sizeof early);
    (void)lease_make("tl:1", 99, 10 * DLOAD_SECOND);
    must(tl_start(&x->l, 1, &w), DLOAD_PENDING);
    must(tl_start(&x->l, 2, &early), DLOAD_PENDING);
    k.act = early_is_there;
    must_ok(tl_dispatch(&x->l, NULL));
    must_ok(w.status);
    equal(w.value, 17);
    text_must(&x->r.calls, "B(2)");
    text_must(&k.log, "LEASE2 FILL1 LEASE1");
}

/* Keys become its own one after the other; a key it left out is missing, and not waited for. */
static void each_in_its_time(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2, 3, 4};
    uint64_t out[4];
    dload_status st[4];
    fixture_open(x);
    rec_script(&x->r, 4, ANSWER_NOTHING, 0, DLOAD_OK);
    (void)lease_make("tl:1", 99, 20 * DLOAD_MILLISECOND);
    (void)lease_make("tl:3", 98, 500 * DLOAD_MILLISECOND);
    must_ok(tl_load_many(&x->l, keys, 4, out, st));
    text_must(&x->r.calls, "B(2,4) B(1) B(3)");
    must(st[3], DLOAD_MISSING);
    for (size_t i = 0; i < 3; i++) {
        must_ok(st[i]);
        equal(out[i], keys[i] * 10);
    }
    equal(k.n_fills, 3);
    equal(k.n_drops, 1);
    equal(k.n, 0);
}

/* Nobody wants it any more: the batch ends without it. */
static void until_the_deadline(void **state)
{
    struct fixture *x = *state;
    dload_call call = {0};
    uint64_t value = 0;
    x->cfg.run_limit_ns = 2 * DLOAD_SECOND;
    fixture_open(x);
    (void)lease_make("tl:1", 99, 100 * DLOAD_SECOND);
    call.deadline_ns = x->f.now_ns + DLOAD_SECOND;
    must(tl_load_with(&x->l, 1, &call, &value), DLOAD_ETIMEDOUT);
    text_must(&x->r.calls, "");
    assert_true(x->f.now_ns <= call.deadline_ns + 1200 * DLOAD_MILLISECOND);
    k.n = 0;
    load_must(x, 1, 10);
}

/* ---- the store fails ---- */

static void fails_from_second(void)
{
    k.lease_fails = n_asked++ > 0 ? DLOAD_EBACKEND : DLOAD_OK;
}

static void fetches_when_the_store_is_gone(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    n_asked = 0;
    k.act = fails_from_second;
    (void)lease_make("tl:1", 99, 10 * DLOAD_SECOND);
    load_must(x, 1, 10);
    text_must(&k.log, "LEASE1 LEASE1"); /* nothing is stored without a lease */
    load_must(x, 2, 20);
    text_must(&k.log, "LEASE1");
    equal(stats_of(x).store_errors, 2);
    equal(stats_of(x).entries, 2);
}

/* A value that is damaged, or of another version, would be in the way of leases for ever. */
static void a_damaged_value_is_deleted(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    load_must(x, 1, 10);
    forget(x);
    script.damage = 60;
    text_clear(&k.log);
    load_must(x, 1, 10);
    assert_non_null(strstr(k.log.buf, "DELETE1"));
    assert_false(script_has(&script, "tl:1"));
    script.damage = 0;
    forget(x);
    load_must(x, 1, 10);
    assert_true(script_has(&script, "tl:1"));
    equal(stats_of(x).store_refused, 1);
}

/* ... and the lease of one that the store does not take would keep everybody waiting until it ends. */
static void a_refused_value_ends_its_lease(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    k.fill_fails = DLOAD_ETOOBIG;
    text_clear(&k.log);
    load_must(x, 1, 10);
    text_must(&k.log, "LEASE1 FILL1 DROP1");
    equal(k.n, 0);
    equal(stats_of(x).store_errors, 1);
    forget(x);
    k.fill_fails = DLOAD_OK;
    load_must(x, 1, 10);
    assert_true(script_has(&script, "tl:1"));
}

static void a_fresh_answer_removes_the_old_one(void **state)
{
    struct fixture *x = *state;
    dload_call call = {0};
    uint64_t value = 0;
    fixture_open(x);
    load_must(x, 1, 10);
    x->r.version = 3;
    call.flags = DLOAD_FRESH;
    text_clear(&k.log);
    must_ok(tl_load_with(&x->l, 1, &call, &value));
    equal(value, 13);
    text_must(&k.log, "DELETE1");
    assert_false(script_has(&script, "tl:1"));
}

/* ---- functions that answer later ---- */

static void pending_with_own_and_others(void **state)
{
    struct fixture *x = *state;
    tl_waiter w, own;
    fixture_open(x);
    memset(&w, 0, sizeof w);
    memset(&own, 0, sizeof own);
    (void)lease_make("tl:1", 99, 10 * DLOAD_SECOND);
    must(tl_start(&x->l, 1, &w), DLOAD_PENDING);
    must(tl_start(&x->l, 2, &own), DLOAD_PENDING);
    x->r.result = DLOAD_PENDING;
    must_ok(tl_dispatch(&x->l, NULL));
    text_must(&x->r.calls, "B(2)");
    equal(x->r.n_pending, 1);
    rec_finish(&x->r); /* goes on with key 1, from there: whoever has the lease is not waited for */
    must_ok(own.status);
    must(w.status, DLOAD_PENDING);
    text_must(&x->r.calls, "B(1)");
    rec_finish(&x->r);
    must_ok(w.status);
    equal(w.value, 10);
    text_must(&k.log, "LEASE2 FILL1 LEASE1");
    assert_false(script_has(&script, "tl:1"));
    x->r.result = DLOAD_OK;
}

static void done_inside(struct recorder *r, tl_batch *b)
{
    r->act = NULL;
    rec_give_all(r, b);
    must_ok(tl_batch_done(b, DLOAD_OK));
}

/* _batch_done inside the function: the caller goes on, and may wait. */
static dload_status done_at_once(tl_batch *b)
{
    struct recorder *r = b->ctx;
    text_add(&r->calls, "%sB%zu", r->calls.len ? " " : "", b->n);
    done_inside(r, b);
    return DLOAD_PENDING;
}

static void pending_but_done(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2};
    x->cfg.fetch = done_at_once;
    fixture_open(x);
    (void)lease_make("tl:1", 99, 30 * DLOAD_MILLISECOND);
    load_all_must(x, keys, 2);
    text_must(&x->r.calls, "B1 B1");
    text_must(&k.log, "LEASE2 FILL1 LEASE1 LEASE1 LEASE1 FILL1");
}

/* ---- memory ---- */

static void with_failing_memory(struct fake_env *f)
{
    struct recorder r = {0};
    tl l;
    tl_config cfg = fixture.cfg;
    uint64_t keys[20], out[20];
    dload_status st[20];
    memset(&k, 0, sizeof k);
    k.clock = f;
    (void)lease_make("tl:3", 99, 30 * DLOAD_MILLISECOND);
    (void)lease_make("tl:4", 98, 30 * DLOAD_MILLISECOND);
    cfg.env = &f->env;
    cfg.ctx = &r;
    while (script.n) {
        script_remove(&script, script.n - 1);
    }
    fake_env_arm(f);
    dload_status init = tl_init(&l, &cfg);
    if (init == DLOAD_OK) {
        for (uint64_t i = 0; i < 20; i++) {
            keys[i] = i;
        }
        dload_status many = tl_load_many(&l, keys, 20, out, st);
        assert_true(many == DLOAD_OK || many == DLOAD_ENOMEM);
        for (size_t i = 0; i < 20 && many == DLOAD_OK; i++) {
            assert_true(st[i] == DLOAD_ENOMEM || (st[i] == DLOAD_OK && out[i] == i * 10));
        }
        must_ok(tl_close(&l, DLOAD_FAIL, 0));
        must_ok(tl_destroy(&l));
    } else {
        must(init, DLOAD_ENOMEM);
    }
    fake_env_disarm(f);
}

static void without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("leased", with_failing_memory) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEASE_RULE("a lease is filled", a_lease_is_filled),
        LEASE_RULE("a failed fetch drops it", a_failed_fetch_drops_it),
        LEASE_RULE("what was lost is kept nowhere", what_was_lost_is_kept_nowhere),
        LEASE_RULE("a clear revokes it", a_clear_revokes_it),
        LEASE_RULE("without leases", without_leases),
        LEASE_RULE("waits for the value", waits_for_the_value),
        LEASE_RULE("is the next", is_the_next),
        LEASE_RULE("own keys come first", own_keys_come_first),
        LEASE_RULE("each in its time", each_in_its_time),
        LEASE_RULE("until the deadline", until_the_deadline),
        LEASE_RULE("fetches when the store is gone", fetches_when_the_store_is_gone),
        LEASE_RULE("a damaged value is deleted", a_damaged_value_is_deleted),
        LEASE_RULE("a refused value ends its lease", a_refused_value_ends_its_lease),
        LEASE_RULE("a fresh answer removes the old one", a_fresh_answer_removes_the_old_one),
        LEASE_RULE("pending with own and others", pending_with_own_and_others),
        LEASE_RULE("pending but done", pending_but_done),
        LEASE_RULE("without memory", without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
