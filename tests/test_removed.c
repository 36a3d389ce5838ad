/* What config.on_remove is told: each value that leaves the cache, once, with its key and why; before it is
 * released, with no lock held. Values are numbered and counted, so that none is lost, told of twice or
 * released twice. */
/* locks: NONE SPIN PTHREAD */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A numbered value with as many owners as counts[] says. */
struct thing {
    uint32_t id;
};
enum { MAX_THINGS = 40000 };
static int32_t n_owners[MAX_THINGS];
static int32_t n_told[MAX_THINGS];

static inline void thing_ref(struct thing *t)
{
    n_owners[t->id]++;
}

static inline void thing_unref(struct thing *t)
{
    n_owners[t->id]--;
}

#define DLOAD_NAME        own
#define DLOAD_KEY         uint64_t
#define DLOAD_VALUE       struct thing
#define DLOAD_VALUE_REF   thing_ref
#define DLOAD_VALUE_UNREF thing_unref
#define DLOAD_LOCK        TEST_LOCK
#define DLOAD_CLOCK       DLOAD_CLOCK_MANUAL
#define DLOAD_EVICT       DLOAD_EVICT_FIFO
#define DLOAD_ON_REMOVE   1
#include "dataloader.h"
/* plain values, string keys, groups, and weights */
#define DLOAD_NAME      str
#define DLOAD_KEY       DLOAD_STRING
#define DLOAD_VALUE     struct thing
#define DLOAD_LOCK      TEST_LOCK
#define DLOAD_EVICT     DLOAD_EVICT_FIFO
#define DLOAD_GROUP     1
#define DLOAD_WEIGHT(v) ((v)->id % 1000 < 900 ? 1u : (v)->id % 1000 - 899)
#define DLOAD_ON_REMOVE 1
#include "dataloader.h"
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const reasons[] = {"?",       "evicted",  "expired",  "replaced",
                                      "cleared", "rejected", "destroyed"};

struct watcher {
    struct fake_env f;
    struct text log; /* "7:70 evicted" */
    bool quiet;
    size_t n_calls;
    void (*act)(struct watcher *w, uint64_t key); /* inside the hook */
    own_cache *c;
    own *l;
    str_cache *s;
    int depth;
};

static void watch(struct watcher *w, uint64_t key, uint32_t id, dload_removal reason)
{
    assert_true(reason >= DLOAD_REMOVED_EVICTED && reason <= DLOAD_REMOVED_DESTROYED);
    n_told[id]++;
    w->n_calls++;
    if (!w->quiet) {
        text_add(&w->log, "%s%" PRIu64 ":%u %s", w->log.len ? ", " : "", key, (unsigned)id,
                 reasons[reason]);
    }
    if (w->act) {
        w->act(w, key);
    }
}

static void own_gone(void *ctx, own_removed *r)
{
    assert_true(n_owners[r->value.id] > 0); /* not yet released */
    watch(ctx, r->key, r->value.id, r->reason);
}

static void str_gone(void *ctx, str_removed *r)
{
    char text[32];
    assert_true(r->key.len < sizeof text);
    memcpy(text, r->key.ptr, r->key.len); /* may be read */
    text[r->key.len] = 0;
    unsigned key = 0;
    equal(sscanf(text, "key %u", &key), 1);
    watch(ctx, key * 10 + r->group, r->value.id, r->reason);
}

static void watcher_init(struct watcher *w)
{
    memset(w, 0, sizeof *w);
    memset(n_owners, 0, sizeof n_owners);
    memset(n_told, 0, sizeof n_told);
    fake_env_init(&w->f);
}

static void own_open(struct watcher *w, own_cache *c, size_t capacity)
{
    own_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    watcher_init(w);
    cfg.env = &w->f.env;
    cfg.capacity = capacity;
    cfg.shards = 1;
    cfg.on_remove = own_gone;
    cfg.ctx = w;
    must_ok(own_cache_init(c, &cfg));
    w->c = c;
}

/* Every value that was ever put was told of once, and nobody owns any. */
static void all_told(struct watcher *w, uint32_t first, uint32_t n)
{
    for (uint32_t id = first; id < first + n; id++) {
        if (n_told[id] != 1 || n_owners[id] != 0) {
            fail_msg("value %u: told %d times, %d owners", (unsigned)id, (int)n_told[id],
                     (int)n_owners[id]);
        }
    }
    fake_env_check(&w->f);
}

static dload_status own_put(own_cache *c, uint64_t key, uint32_t id, uint64_t ttl_ns)
{
    struct thing t = {id};
    n_owners[id]++; /* ours, for the time of the call */
    dload_status st = own_cache_set(c, key, &t, ttl_ns);
    n_owners[id]--;
    return st;
}

/* ---- each reason ---- */

static void test_removed_reasons(void **state)
{
    (void)state;
    static struct watcher w;
    own_cache c;
    own_open(&w, &c, 3);
    must_ok(own_put(&c, 1, 10, 0));
    must_ok(own_put(&c, 1, 11, 0));
    text_must(&w.log, "1:10 replaced");
    must_ok(own_put(&c, 2, 12, DLOAD_SECOND));
    must_ok(own_put(&c, 3, 13, 0));
    must_ok(own_put(&c, 4, 14, 0));
    text_must(&w.log, "1:11 evicted");
    must_ok(own_cache_advance(&c, 2 * DLOAD_SECOND));
    text_must(&w.log, "2:12 expired");
    must_ok(own_cache_delete(&c, 3));
    must_ok(own_cache_delete(&c, 3));
    text_must(&w.log, "3:13 cleared");
    must_ok(own_cache_clear(&c));
    text_must(&w.log, ""); /* lazily: */
    must_ok(own_cache_advance(&c, 0));
    text_must(&w.log, "4:14 cleared");
    must_ok(own_put(&c, 5, 15, 0));
    must_ok(own_cache_pin(&c, 5));
    must_ok(own_put(&c, 6, 16, 0));
    must_ok(own_cache_pin(&c, 6));
    must_ok(own_put(&c, 7, 17, 0));
    must_ok(own_cache_pin(&c, 7));
    text_must(&w.log, "");
    must(own_put(&c, 8, 18, 0), DLOAD_EFULL);
    text_must(&w.log, "8:18 rejected");
    must_ok(own_cache_delete(&c, 6));
    must_ok(own_cache_delete(&c, 7));
    text_clear(&w.log);
    must_ok(own_cache_destroy(&c));
    text_must(&w.log, "5:15 destroyed");
    all_told(&w, 10, 9);
}

static char key_text[32];

static dload_str key_of(unsigned key)
{
    (void)snprintf(key_text, sizeof key_text, "key %u", key);
    return dload_str_from(key_text);
}

/* Whoever comes to remove it: what had expired, expired, and what had been cleared, was cleared. More of them
 * than one operation cleans up, so that stores and deletes meet some. */
static void str_open(struct watcher *w, str_cache *c, size_t capacity, uint64_t max_weight)
{
    str_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    watcher_init(w);
    cfg.env = &w->f.env;
    cfg.capacity = capacity;
    cfg.max_weight = max_weight;
    cfg.shards = 1;
    cfg.on_remove = str_gone;
    cfg.ctx = w;
    must_ok(str_cache_init(c, &cfg));
}

static size_t count(const struct text *log, const char *word)
{
    size_t n = 0;
    for (const char *at = strstr(log->buf, word); at; at = strstr(at + 1, word)) {
        n++;
    }
    return n;
}

static void test_removed_for_what_came_first(void **state)
{
    (void)state;
    static struct watcher w;
    for (int how = 0; how < 8; how++) {
        str_cache c;
        struct thing t;
        bool clear = how & 1, destroy = how == 6 || how == 7;
        str_open(&w, &c, 200, 0);
        for (t.id = 0; t.id < 200; t.id++) {
            must_ok(str_cache_set(&c, key_of(t.id), &t, clear ? 0 : DLOAD_SECOND));
        }
        if (clear) {
            must_ok(str_cache_clear(&c));
        } else {
            w.f.now_ns += 2 * DLOAD_SECOND;
        }
        for (uint32_t i = 0; i < 200 && !destroy; i++) {
            t.id = 200 + i;
            if (how < 2) {
                must_ok(str_cache_set(&c, key_of(i), &t, 0)); /* in its place */
            } else if (how < 4) {
                must_ok(str_cache_delete(&c, key_of(i)));
            } else {
                must_ok(str_cache_set(&c, key_of(200 + i), &t, 0)); /* at capacity */
            }
        }
        if (destroy) {
            must_ok(str_cache_destroy(&c));
        }
        equal(count(&w.log, clear ? "cleared" : "expired"), 200);
        equal(w.n_calls, 200);
        if (!destroy) {
            must_ok(str_cache_destroy(&c));
        }
        fake_env_check(&w.f);
    }
}

/* ---- from a loader ---- */

/* A cached error is no value: nobody is told when it goes. */
static dload_status own_fetch(own_batch *b);

static void own_loader(struct watcher *w, own *l, size_t capacity)
{
    own_config cfg = own_config_default();
    watcher_init(w);
    cfg.env = &w->f.env;
    cfg.fetch = own_fetch;
    cfg.ctx = w;
    cfg.capacity = capacity;
    cfg.shards = 1;
    cfg.missing_ttl_ns = DLOAD_SECOND;
    cfg.on_remove = own_gone;
    must_ok(own_init(l, &cfg));
    w->l = l;
}

static uint32_t next_id;

/* Answers key k with a new value, from 1000 on not at all. */
static dload_status own_fetch(own_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        if (b->keys[i] < 1000) {
            struct thing t = {next_id++};
            n_owners[t.id]++;
            must_ok(own_batch_set(b, i, &t));
            n_owners[t.id]--;
        }
    }
    return DLOAD_OK;
}

static void own_take(own *l, uint64_t key, uint32_t flags)
{
    struct thing t;
    dload_call call;
    memset(&call, 0, sizeof call);
    call.flags = flags;
    must_ok(own_load_with(l, key, &call, &t));
    thing_unref(&t);
}

static void test_removed_from_a_loader(void **state)
{
    (void)state;
    static struct watcher w;
    own l;
    struct thing t = {0};
    own_loader(&w, &l, 3);
    next_id = 10;
    own_take(&l, 1, 0);
    own_take(&l, 1, DLOAD_FRESH);
    text_must(&w.log, "1:10 replaced");
    own_take(&l, 2, 0);
    must(own_load(&l, 1003, &t), DLOAD_MISSING);
    text_must(&w.log, "");
    own_take(&l, 4, 0);
    text_must(&w.log, "1:11 evicted");
    must_ok(own_clear(&l, 2));
    text_must(&w.log, "2:12 cleared");
    must_ok(own_clear(&l, 1003)); /* an error: nothing to tell */
    text_must(&w.log, "");
    t.id = next_id++;
    n_owners[t.id]++;
    must_ok(own_prime(&l, 5, &t, DLOAD_PIN));
    must_ok(own_prime(&l, 5, &t, 0)); /* there already: not even offered */
    thing_unref(&t);
    text_must(&w.log, "");
    must_ok(own_pin(&l, 4));
    own_take(&l, 6, 0);
    must_ok(own_pin(&l, 6));
    own_take(&l, 7, 0); /* delivered, and no room in the cache */
    text_must(&w.log, "7:16 rejected");
    const uint64_t keys[] = {8, 9, 8};
    struct thing out[3];
    must_ok(own_load_many(&l, keys, 3, out, NULL));
    for (size_t i = 0; i < 3; i++) {
        thing_unref(&out[i]);
    }
    text_must(&w.log, "9:18 rejected, 8:17 rejected");
    must_ok(own_clear_all(&l));
    must_ok(own_process(&l, 3 * DLOAD_SECOND));
    equal(w.log.len != 0, 1);
    text_clear(&w.log);
    own_take(&l, 10, 0);
    must_ok(own_close(&l, DLOAD_DRAIN, 0));
    must_ok(own_destroy(&l));
    text_must(&w.log, "10:19 destroyed");
    all_told(&w, 10, 10);
}

/* ---- strings, groups and weights ---- */

/* Inside the first telling: all that were displaced are gone, even those not yet told of; their keys can be
 * set again, and cleaning up goes by them. */
static void act_look(struct watcher *w, uint64_t key)
{
    struct thing t;
    (void)key;
    w->act = NULL;
    for (uint32_t id = 0; id < 99; id++) {
        must(str_cache_get_in(w->s, key_of(id), 3, &t), DLOAD_MISSING);
    }
    must_ok(str_cache_get_in(w->s, key_of(99), 3, &t));
    must_ok(str_cache_get_in(w->s, key_of(7), 1, &t));
    equal(str_cache_weight(w->s), 100);
    equal(str_cache_len(w->s), 2);
    must_ok(str_cache_clear_group(w->s, 3));
    must_ok(str_cache_advance(w->s, w->f.now_ns));
    t.id = 100;
    must_ok(str_cache_set_in(w->s, key_of(50), 3, &t, 0));
    must_ok(str_cache_get_in(w->s, key_of(50), 3, &t));
    equal(t.id, 100);
    equal(str_cache_len(w->s), 2);
}

static void test_removed_before_all_are_told(void **state)
{
    (void)state;
    static struct watcher w;
    str_cache c;
    str_open(&w, &c, 100, 100);
    w.s = &c;
    struct thing t;
    for (t.id = 0; t.id < 100; t.id++) {
        must_ok(str_cache_set_in(&c, key_of(t.id), 3, &t, 0));
    }
    t.id = 998; /* weighs 99 */
    w.act = act_look;
    must_ok(str_cache_set_in(&c, key_of(7), 1, &t, 0));
    equal(w.n_calls, 100); /* by the weight 99, and one by the clear inside */
    equal(count(&w.log, "evicted"), 99);
    equal(count(&w.log, "cleared"), 1);
    must_ok(str_cache_get_in(&c, key_of(50), 3, &t));
    must_ok(str_cache_destroy(&c));
    equal(count(&w.log, "destroyed"), 2);
    for (uint32_t id = 0; id <= 100; id++) {
        equal(n_told[id], 1);
    }
    fake_env_check(&w.f);
}

static void test_removed_heavy_displaces_many(void **state)
{
    (void)state;
    static struct watcher w;
    str_cache c;
    str_open(&w, &c, 200, 100);
    struct thing t;
    for (t.id = 0; t.id < 100; t.id++) {
        must_ok(str_cache_set_in(&c, key_of(t.id), 3, &t, 0));
    }
    equal(w.n_calls, 0);
    equal(str_cache_weight(&c), 100);
    t.id = 998; /* weighs 99 */
    must_ok(str_cache_set_in(&c, key_of(7), 1, &t, 0));
    equal(w.n_calls, 99);
    equal(str_cache_weight(&c), 100);
    equal(str_cache_len(&c), 2);
    for (uint32_t id = 0; id < 99; id++) {
        equal(n_told[id], 1);
    }
    assert_non_null(strstr(w.log.buf, "3:0 evicted"));
    assert_non_null(strstr(w.log.buf, "983:98 evicted"));
    text_clear(&w.log);
    t.id = 999; /* 100: alone */
    must_ok(str_cache_set_in(&c, key_of(7), 1, &t, 0));
    assert_non_null(strstr(w.log.buf, "71:998 replaced"));
    assert_non_null(strstr(w.log.buf, "993:99 evicted"));
    equal(w.n_calls, 101);
    must_ok(str_cache_destroy(&c));
    equal(w.n_calls, 102);
    fake_env_check(&w.f);
}

/* ---- from inside the hook ---- */

/* The next thing that nobody has seen, under this key. */
static void act_set(struct watcher *w, uint64_t key)
{
    uint64_t got_key = 1;
    struct thing t;
    (void)key;
    if (own_cache_get(w->c, got_key, &t) == DLOAD_OK) {
        thing_unref(&t);
    }
    (void)own_cache_len(w->c);
    if (w->depth < 3 && next_id < 35000) {
        uint32_t id = next_id++;
        w->depth++;
        must_ok(own_put(w->c, 100 + id, id, 0));
        must_ok(own_cache_delete(w->c, 100 + id - 1));
        w->depth--;
    }
}

static void test_removed_hook_enters_the_cache(void **state)
{
    (void)state;
    static struct watcher w;
    own_cache c;
    uint64_t seed = test_seed("removed, from the hook");
    own_open(&w, &c, 20);
    w.quiet = true;
    w.act = act_set;
    next_id = 0;
    for (size_t i = 0; i < scaled(600) && next_id < 30000; i++) {
        uint32_t id = next_id++;
        uint64_t ttl_ns = rng_below(&seed, 2) ? DLOAD_SECOND : 0;
        must_ok(own_put(&c, rng_below(&seed, 40), id, ttl_ns));
        uint64_t op = rng_below(&seed, 20);
        if (op < 3) {
            must_ok(own_cache_delete(&c, rng_below(&seed, 40)));
        } else if (op < 5) {
            must_ok(own_cache_advance(&c, c.manual_ns + DLOAD_SECOND / 2));
        } else if (op == 5) {
            must_ok(own_cache_clear(&c));
        }
    }
    w.act = NULL;
    must_ok(own_cache_destroy(&c));
    all_told(&w, 0, next_id);
}

static void act_load(struct watcher *w, uint64_t key)
{
    if (w->depth < 2) {
        w->depth++;
        own_take(w->l, (key + 11) % 50, 0);
        must_ok(own_clear(w->l, (key + 12) % 50));
        w->depth--;
    }
}

static void test_removed_hook_enters_the_loader(void **state)
{
    (void)state;
    static struct watcher w;
    own l;
    uint64_t seed = test_seed("removed, from a loader's hook");
    own_loader(&w, &l, 10);
    w.quiet = true;
    w.act = act_load;
    next_id = 0;
    for (size_t i = 0; i < scaled(600) && next_id < 30000; i++) {
        own_take(&l, rng_below(&seed, 50), rng_below(&seed, 4) == 0 ? DLOAD_FRESH : 0);
        if (rng_below(&seed, 50) == 0) {
            must_ok(own_clear_all(&l));
        }
    }
    w.act = NULL;
    must_ok(own_close(&l, DLOAD_DRAIN, 0));
    must_ok(own_destroy(&l));
    all_told(&w, 0, next_id);
}

/* ---- nobody listens, or memory fails ---- */

static void test_removed_nobody_listens(void **state)
{
    (void)state;
    static struct watcher w;
    own_cache c;
    own_open(&w, &c, 5);
    c.on_remove = NULL;
    for (uint32_t id = 0; id < 100; id++) {
        must_ok(own_put(&c, id % 9, id, 0));
    }
    must_ok(own_cache_destroy(&c));
    equal(w.n_calls, 0);
    for (uint32_t id = 0; id < 100; id++) {
        equal(n_owners[id], 0);
    }
    fake_env_check(&w.f);
}

static void no_memory(struct fake_env *f)
{
    static struct watcher w;
    str_cache c;
    str_cache_config cfg;
    struct thing t;
    size_t n_stored = 0, n_refused = 0;
    memset(&cfg, 0, sizeof cfg);
    memset(&w, 0, sizeof w);
    w.quiet = true;
    cfg.env = &f->env;
    cfg.capacity = 40;
    cfg.shards = 1;
    cfg.on_remove = str_gone;
    cfg.ctx = &w;
    must_ok(str_cache_init(&c, &cfg));
    fake_env_arm(f);
    for (t.id = 0; t.id < 60; t.id++) {
        dload_status st = str_cache_set(&c, key_of(t.id), &t, 0);
        n_stored += st == DLOAD_OK;
        n_refused += st == DLOAD_ENOMEM;
    }
    fake_env_disarm(f);
    equal(n_stored + n_refused, 60);
    equal(w.n_calls + str_cache_len(&c), 60); /* each was told of, or is here */
    must_ok(str_cache_destroy(&c));
    equal(w.n_calls, 60);
}

static void test_removed_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("removed", no_memory) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed_reasons),
        cmocka_unit_test(test_removed_for_what_came_first),
        cmocka_unit_test(test_removed_from_a_loader),
        cmocka_unit_test(test_removed_heavy_displaces_many),
        cmocka_unit_test(test_removed_before_all_are_told),
        cmocka_unit_test(test_removed_hook_enters_the_cache),
        cmocka_unit_test(test_removed_hook_enters_the_loader),
        cmocka_unit_test(test_removed_nobody_listens),
        cmocka_unit_test(test_removed_without_memory),
    };
    return cmocka_run_group_tests_name("removed " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
