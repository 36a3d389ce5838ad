/* A store against a model of one, by random requests over few keys that begin alike. */
#ifndef DLOAD_TESTS_STORES_CASES_MODEL_H
#define DLOAD_TESTS_STORES_CASES_MODEL_H

#include "cases_keys.h"
#include "cases_leases.h"

enum { STORE_MODEL_KEYS = 24, STORE_MODEL_BATCH = 6 };

struct store_model {
    dload_str key[STORE_MODEL_KEYS];
    bool there[STORE_MODEL_KEYS];
    uint64_t value[STORE_MODEL_KEYS];
    uint64_t holder[STORE_MODEL_KEYS]; /* of the lease; 0 = nobody */
    uint64_t seed;
};

static void store_model_keys(struct store_model *m, struct store_bytes *b)
{
    static const char alphabet[] = {'a', '*', '%', '\\', -1, '\0', ':', '{', '}'};
    for (size_t i = 0; i < STORE_MODEL_KEYS;) {
        size_t n_bytes = (size_t)rng_below(&m->seed, 4);
        char *p = store_room(b, n_bytes);
        for (size_t k = 0; k < n_bytes; k++)
            p[k] = alphabet[rng_below(&m->seed, sizeof alphabet)];
        m->key[i] = str_of(p, n_bytes);
        bool known = false;
        for (size_t k = 0; k < i; k++)
            known = known || (m->key[k].len == n_bytes && store_begins(m->key[k], m->key[i]));
        i += !known;
    }
}

/* What one key of a request is answered, and what it changes. */
static dload_status store_model_step(struct store_model *m, dload_store_kind kind, size_t k,
                                     uint64_t who, uint64_t value)
{
    dload_status st = DLOAD_OK;
    switch (kind) {
    case DLOAD_STORE_GET:
        return m->there[k] ? DLOAD_OK : DLOAD_MISSING;
    case DLOAD_STORE_SET:
        m->there[k] = true;
        m->value[k] = value;
        m->holder[k] = 0; /* nobody fills over it: see store_model_round */
        return DLOAD_OK;
    case DLOAD_STORE_DELETE:
        m->there[k] = false;
        m->holder[k] = 0;
        return DLOAD_OK;
    case DLOAD_STORE_LEASE:
        if (m->there[k])
            return DLOAD_OK;
        if (m->holder[k] != 0 && m->holder[k] != who)
            return DLOAD_EBUSY;
        m->holder[k] = who;
        return DLOAD_MISSING;
    case DLOAD_STORE_FILL:
        st = m->holder[k] == who ? DLOAD_OK : DLOAD_ELOCK;
        if (st == DLOAD_OK) {
            m->there[k] = true;
            m->value[k] = value;
            m->holder[k] = 0;
        }
        return st;
    case DLOAD_STORE_DROP:
        m->holder[k] = m->holder[k] == who ? 0 : m->holder[k];
        return DLOAD_OK;
    case DLOAD_STORE_CLEAR:
    case DLOAD_STORE_N_KINDS:
    default:
        return DLOAD_EINVAL;
    }
}

static void store_model_clear(struct store_case *x, struct store_model *m)
{
    dload_str prefix = m->key[rng_below(&m->seed, STORE_MODEL_KEYS)];
    store_clear(x, prefix);
    for (size_t k = 0; k < STORE_MODEL_KEYS; k++) {
        if (store_begins(m->key[k], prefix)) {
            m->there[k] = false;
            m->holder[k] = 0;
        }
    }
}

/* One request for some keys, each once. */
static void store_model_round(struct store_case *x, struct store_model *m)
{
    static const dload_store_kind kinds[] = {
        DLOAD_STORE_GET,  DLOAD_STORE_GET,   DLOAD_STORE_SET,  DLOAD_STORE_DELETE,
        DLOAD_STORE_DROP, DLOAD_STORE_LEASE, DLOAD_STORE_FILL, DLOAD_STORE_LEASE};
    dload_store_item items[STORE_MODEL_BATCH];
    dload_status wants[STORE_MODEL_BATCH];
    uint64_t values[STORE_MODEL_BATCH];
    size_t ks[STORE_MODEL_BATCH];
    dload_store_kind kind = kinds[rng_below(&m->seed, store_leases(x) ? COUNT(kinds) : 4)];
    size_t n = 1 + (size_t)rng_below(&m->seed, STORE_MODEL_BATCH);
    size_t first = (size_t)rng_below(&m->seed, STORE_MODEL_KEYS);
    uint64_t who = 1 + rng_below(&m->seed, 3);
    for (size_t i = 0; i < n; i++) {
        size_t k = (first + i * 5) % STORE_MODEL_KEYS;
        ks[i] = k;
        values[i] = rng(&m->seed);
        items[i] = store_item_lease(m->key[k], who, STORE_HOLD_NS);
        if (kind == DLOAD_STORE_SET || kind == DLOAD_STORE_FILL) {
            items[i].value = &values[i];
            items[i].value_bytes = sizeof values[i];
            items[i].ttl_ns = DLOAD_NEVER;
        }
        /* What becomes of a lease when its key is stored by somebody else is not said: it is given back. */
        if (kind == DLOAD_STORE_SET && m->holder[k] != 0)
            must_ok(store_drop(x, m->key[k], m->holder[k]));
        wants[i] = store_model_step(m, kind, k, who, values[i]);
    }
    dload_store_op op = store_op(kind, items, n);
    must_ok(store_ask(x, &op));
    for (size_t i = 0; i < n; i++) {
        if (items[i].status != wants[i])
            fail_msg("kind %d, key %zu: %s instead of %s", (int)kind, ks[i],
                     dload_status_name(items[i].status), dload_status_name(wants[i]));
        bool reads = kind == DLOAD_STORE_GET || kind == DLOAD_STORE_LEASE;
        if (reads && wants[i] == DLOAD_OK)
            assert_true(store_holds(&items[i], str_of(&m->value[ks[i]], 8)));
    }
    dload_store_release(&op);
}

static void store_like_its_model(void **state)
{
    struct store_case *x = store_begin(state);
    struct store_bytes b = {{NULL}, 0};
    struct store_model m;
    memset(&m, 0, sizeof m);
    m.seed = test_seed("a store and its model");
    store_model_keys(&m, &b);
    for (size_t round = scaled(1500); round > 0; round--) {
        if (rng_below(&m.seed, 20) == 0)
            store_model_clear(x, &m);
        else
            store_model_round(x, &m);
    }
    for (size_t k = 0; k < STORE_MODEL_KEYS; k++) {
        if (m.there[k])
            store_get(x, m.key[k], str_of(&m.value[k], 8));
        else
            store_lacks(x, m.key[k]);
    }
    store_free_bytes(&b);
}

#endif /* DLOAD_TESTS_STORES_CASES_MODEL_H */
