/* A weighted cache of one policy against a naive list of what must be there. Included once for each:
 *
 *   MODEL         name of the loader and prefix of what is defined here
 *   MODEL_EVICT   its policy
 *   MODEL_TOLD    1: owned values, and the hook keeps the list exact. 0: plain values, and nobody is told:
 *                 what the policy evicted is found missing, and must have been allowed to go
 */
#define DLOAD_NAME  MODEL
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct thing
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_EVICT MODEL_EVICT
#if MODEL_TOLD
#define DLOAD_VALUE_REF   thing_ref
#define DLOAD_VALUE_UNREF thing_unref
#define DLOAD_ON_REMOVE   1
#endif
#define DLOAD_WEIGHT thing_weight
#include "dataloader.h"

#define M_(a, b) a##_##b
#define M2(a, b) M_(a, b)
#define M(word)  M2(MODEL, word)

#if MODEL_TOLD
static void M(gone)(void *ctx, M(removed) * r)
{
    struct model *m = ctx;
    assert_true(n_owners[r->value.id] > 0);
    model_told(m, r->key, r->value.id, r->reason);
    assert_true(M(cache_weight)(m->cache) <= m->max_weight);
}
#endif

static void M(set)(struct model *m, M(cache) * c, uint64_t key)
{
    struct thing t = {m->next_id, some_weight(m)};
    uint64_t ttl_ns = rng_below(&m->seed, 3) ? DLOAD_NEVER : some_ttl(m);
    dload_status want = model_may_set(m, key, t.weight);
    bool pinned = m->e[key].here && m->e[key].pinned; /* and stays so */
    assert_true(m->next_id < MAX_THINGS);
    weights[t.id] = t.weight;
    n_owners[t.id] = 1;
    m->next_id++;
    m->setting_key = key;
    m->setting_id = t.id;
    m->n_evicted = 0;
    m->most_evicted = 0;
    dload_status st = M(cache_set)(c, key, &t, ttl_ns);
    n_owners[t.id]--;
    must(st, want);
    equal(n_asked[t.id], 1);
    if (st == DLOAD_OK) {
        uint64_t end_ns = ttl_ns == DLOAD_NEVER ? DLOAD_NEVER : m->now_ns + ttl_ns;
        m->e[key] = (struct entry){true, pinned, t.id, end_ns};
    } else {
        m->e[key].here = false;
    }
    m->setting_id = NO_ID;
    if (m->n_evicted != 0) { /* not one more than it took */
        must_ok(st);
        assert_true(M(cache_weight)(c) + m->most_evicted > m->max_weight ||
                    (m->n_evicted == 1 && M(cache_len)(c) == m->capacity));
    }
}

static void M(look)(struct model *m, M(cache) * c, uint64_t key)
{
    struct thing got = {NO_ID, 0};
    dload_status st = M(cache_get)(c, key, &got);
    if (st == DLOAD_OK) {
        equal(got.id, m->e[key].id);
        assert_true(m->e[key].here);
#if MODEL_TOLD
        thing_unref(&got);
#endif
        return;
    }
    must(st, DLOAD_MISSING);
    if (m->e[key].here) {
        assert_false(MODEL_TOLD);
        model_missing(m, key);
    }
}

static void M(step)(struct model *m, M(cache) * c)
{
    uint64_t key = rng_below(&m->seed, N_KEYS), op = rng_below(&m->seed, 100);
    struct entry *e = &m->e[key];
    if (op < 45) {
        M(set)(m, c, key);
    } else if (op < 75) {
        M(look)(m, c, key);
    } else if (op < 82) {
        m->deleting_key = key;
        must_ok(M(cache_delete)(c, key));
        m->deleting_key = NO_KEY;
        e->here = false;
    } else if (op < 88) {
        dload_status st = M(cache_pin)(c, key);
        if (st == DLOAD_OK || e->here) {
            M(look)(m, c, key);
        }
        must(st, e->here ? DLOAD_OK : DLOAD_MISSING);
        e->pinned = e->here;
    } else if (op < 95) {
        dload_status st = M(cache_unpin)(c, key);
        if (e->here && st == DLOAD_MISSING) {
            M(look)(m, c, key);
        }
        must(st, e->here ? DLOAD_OK : DLOAD_MISSING);
        e->pinned = false;
    } else if (op < 99) {
        m->now_ns += rng_below(&m->seed, 8) * TICK_NS;
        must_ok(M(cache_advance)(c, m->now_ns));
        model_advanced(m);
    } else if (rng_below(&m->seed, 4) == 0) {
        model_clear(m);
        must_ok(M(cache_clear)(c));
        equal(M(cache_weight)(c), 0);
    }
}

static void M(check)(struct model *m, M(cache) * c)
{
    uint64_t weight = M(cache_weight)(c);
    assert_true(weight <= m->max_weight);
    assert_true(M(cache_len)(c) <= m->capacity);
#if !MODEL_TOLD
    if (rng_below(&m->seed, 20)) {
        return;
    }
    for (uint64_t key = 0; key < N_KEYS; key++) {
        M(look)(m, c, key);
    }
#endif
    equal(weight, model_weight(m));
    equal(M(cache_len)(c), model_len(m));
}

static void M(run)(uint64_t seed, size_t capacity, uint64_t max_weight)
{
    static struct model m;
    M(cache) c;
    M(cache_config) cfg;
    memset(&cfg, 0, sizeof cfg);
    model_init(&m, seed, capacity, max_weight, MODEL_EVICT != DLOAD_EVICT_NONE);
    cfg.env = &m.f.env;
    cfg.capacity = capacity;
    cfg.max_weight = max_weight;
    cfg.shards = 1;
#if MODEL_TOLD
    cfg.on_remove = M(gone);
    cfg.ctx = &m;
    m.cache = &c;
#endif
    must_ok(M(cache_init)(&c, &cfg));
    must_ok(M(cache_advance)(&c, m.now_ns));
    for (size_t i = 0, n = scaled(2500); i < n; i++) {
        M(step)(&m, &c);
        M(check)(&m, &c);
    }
    m.ending = true;
    must_ok(M(cache_destroy)(&c));
    fake_env_check(&m.f);
    for (uint32_t id = 0; MODEL_TOLD && id < m.next_id; id++) {
        if (n_told[id] != 1 || n_owners[id] != 0) {
            fail_msg("value %u: told %d times, %d owners", (unsigned)id, (int)n_told[id],
                     (int)n_owners[id]);
        }
    }
}

static void M(test)(void **state)
{
    static const struct {
        size_t capacity;
        uint64_t max_weight;
    } sizes[] = {{24, 300}, {24, 5000}, {60, 100}, {3, 50}, {1, 10}, {10, 1}};
    (void)state;
    uint64_t seed = test_seed("weights, " TEST_STRING(MODEL));
    for (size_t i = 0; i < COUNT(sizes); i++) {
        M(run)(rng(&seed), sizes[i].capacity, sizes[i].max_weight);
    }
}

#undef M_
#undef M2
#undef M
#undef MODEL
#undef MODEL_EVICT
#undef MODEL_TOLD
