/* Limits by weight, and entries that are pinned: random operations against a list of what must be there,
 * under every policy; never above the bound, nothing evicted that is pinned or need not go. The rules one by
 * one: test_weight.c. */
/* locks: NONE SPIN PTHREAD */
#include <stdbool.h>
#include <stddef.h>
#include "test_things.h"

enum { N_KEYS = 60 };
#define NO_ID  UINT32_MAX
#define NO_KEY UINT64_MAX

static int32_t n_told[MAX_THINGS];
static int32_t n_asked[MAX_THINGS];
static uint32_t weights[MAX_THINGS];
static bool was_cleared[MAX_THINGS];

static inline uint32_t thing_weight(const struct thing *t)
{
    n_asked[t->id]++;
    return t->weight;
}

/* support.h wants the header's types, the model support.h. */
#define DLOAD_NAME  first
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"
#include "support.h"

#include <string.h>

#define TICK_NS (UINT64_C(1) << 20)

/* ---- what must be there ---- */

struct entry {
    bool here;
    bool pinned; /* by a call */
    uint32_t id;
    uint64_t end_ns;
};

struct model {
    struct fake_env f;
    uint64_t seed, now_ns;
    size_t capacity;
    uint64_t max_weight;
    bool evicts, ending;
    struct entry e[N_KEYS];
    uint32_t next_id, setting_id; /* setting_id: of the value that is being set */
    uint64_t setting_key, deleting_key;
    size_t n_evicted; /* by it */
    uint64_t most_evicted;
    void *cache;
};

static void model_init(struct model *m, uint64_t seed, size_t capacity, uint64_t max_weight,
                       bool evicts)
{
    memset(m, 0, sizeof *m);
    memset(n_owners, 0, sizeof n_owners);
    memset(n_told, 0, sizeof n_told);
    memset(n_asked, 0, sizeof n_asked);
    memset(was_cleared, 0, sizeof was_cleared);
    fake_env_init(&m->f);
    m->seed = seed;
    m->capacity = capacity;
    m->max_weight = max_weight;
    m->evicts = evicts;
    m->now_ns = 1000 * TICK_NS;
    m->setting_id = NO_ID;
    m->deleting_key = NO_KEY;
}

static uint32_t some_weight(struct model *m)
{
    switch (rng_below(&m->seed, 12)) {
    case 0:
        return 0; /* pinned */
    case 1:
        return (uint32_t)(1 + rng_below(&m->seed, m->max_weight + m->max_weight / 4));
    case 2:
        return (uint32_t)m->max_weight;
    case 3:
        return rng_below(&m->seed, 20) == 0 ? UINT32_MAX : 7;
    default:
        return (uint32_t)(1 + rng_below(&m->seed, 1 + m->max_weight / 10));
    }
}

static uint64_t some_ttl(struct model *m)
{
    return (2 + rng_below(&m->seed, 50)) * TICK_NS;
}

static size_t model_len(const struct model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < N_KEYS; i++) {
        n += m->e[i].here;
    }
    return n;
}

static uint64_t model_weight(const struct model *m)
{
    uint64_t weight = 0;
    for (size_t i = 0; i < N_KEYS; i++) {
        weight += m->e[i].here ? weights[m->e[i].id] : 0;
    }
    return weight;
}

/* What setting a value of this weight must come to. */
static dload_status model_may_set(const struct model *m, uint64_t key, uint32_t weight)
{
    uint64_t fixed_weight = 0;
    size_t n_fixed = 0;
    for (size_t i = 0; i < N_KEYS; i++) {
        const struct entry *e = &m->e[i];
        if (i != key && e->here && (e->pinned || !m->evicts || weights[e->id] == 0)) {
            fixed_weight += weights[e->id];
            n_fixed++;
        }
    }
    if (weight > m->max_weight) {
        return DLOAD_ETOOBIG;
    }
    return fixed_weight + weight > m->max_weight || n_fixed == m->capacity ? DLOAD_EFULL : DLOAD_OK;
}

/* The hook was called. */
static void model_told(struct model *m, uint64_t key, uint32_t id, dload_removal reason)
{
    struct entry *e = &m->e[key];
    bool is_entry = e->here && e->id == id;
    equal(++n_told[id], 1);
    switch (reason) {
    case DLOAD_REMOVED_EVICTED:
        assert_true(is_entry && m->evicts && m->setting_id != NO_ID);
        assert_true(!e->pinned && weights[id] != 0);
        m->n_evicted++;
        if (weights[id] > m->most_evicted) {
            m->most_evicted = weights[id];
        }
        break;
    case DLOAD_REMOVED_EXPIRED:
        assert_true(is_entry && m->now_ns >= e->end_ns);
        break;
    case DLOAD_REMOVED_REPLACED:
        assert_true(is_entry && m->setting_id != NO_ID && m->setting_key == key);
        break;
    case DLOAD_REMOVED_CLEARED:
        assert_true(was_cleared[id] || (is_entry && m->deleting_key == key));
        break;
    case DLOAD_REMOVED_REJECTED:
        equal(id, m->setting_id);
        return;
    case DLOAD_REMOVED_DESTROYED:
        assert_true(is_entry && m->ending);
        break;
    }
    if (is_entry) {
        e->here = false;
    }
}

/* An entry is missing and nobody was told: may it? */
static void model_missing(struct model *m, uint64_t key)
{
    struct entry *e = &m->e[key];
    assert_true(m->evicts && !e->pinned && weights[e->id] != 0);
    e->here = false;
}

static void model_advanced(struct model *m)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        m->e[i].here = m->e[i].here && m->now_ns < m->e[i].end_ns;
    }
}

static void model_clear(struct model *m)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        was_cleared[m->e[i].id] = was_cleared[m->e[i].id] || m->e[i].here;
        m->e[i].here = false;
    }
}

/* clang-format off */
#define MODEL       told_fifo
#define MODEL_EVICT DLOAD_EVICT_FIFO
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_clock
#define MODEL_EVICT DLOAD_EVICT_CLOCK
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_lru
#define MODEL_EVICT DLOAD_EVICT_LRU
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_sieve
#define MODEL_EVICT DLOAD_EVICT_SIEVE
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_s3fifo
#define MODEL_EVICT DLOAD_EVICT_S3FIFO
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_adaptive
#define MODEL_EVICT DLOAD_EVICT_ADAPTIVE
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_none
#define MODEL_EVICT DLOAD_EVICT_NONE
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       plain_lru
#define MODEL_EVICT DLOAD_EVICT_LRU
#define MODEL_TOLD  0
#include "test_weight_model.h"
#define MODEL       plain_s3fifo
#define MODEL_EVICT DLOAD_EVICT_S3FIFO
#define MODEL_TOLD  0
#include "test_weight_model.h"
/* clang-format on */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_fifo_test),    cmocka_unit_test(told_clock_test),
        cmocka_unit_test(told_lru_test),     cmocka_unit_test(told_sieve_test),
        cmocka_unit_test(told_s3fifo_test),  cmocka_unit_test(told_adaptive_test),
        cmocka_unit_test(told_none_test),    cmocka_unit_test(plain_lru_test),
        cmocka_unit_test(plain_s3fifo_test),
    };
    return cmocka_run_group_tests_name("weight, model " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
