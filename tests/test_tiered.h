/* A tiered store over two memory stores, each behind a script, the lower one also behind threads. */
#ifndef DLOAD_TESTS_TIERED_H
#define DLOAD_TESTS_TIERED_H

#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_memory.h"
#include "adapters/dataloader_tiered.h"
#include "adapters/dataloader_worker.h"
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#include "stores/scripted.h"

struct fixture {
    struct store_case x; /* first: *state is this one */
    struct fake_env f;
    dload_memory near_memory, far_memory;
    struct scripted upper, lower;
    dload_worker w; /* over lower */
    dload_tiered t;
    struct text log;
};

static inline void tiers_stall(struct store_case *x, bool on)
{
    struct fixture *t = x->ctx;
    scripted_set(&t->upper.shuts, on ? ALL : 0);
    scripted_set(&t->lower.shuts, on ? ALL : 0);
}

static inline int open_tiers(void **state, bool async, uint64_t upper_ttl_ns,
                             uint64_t upper_timeout_ns)
{
    struct fixture *t = calloc(1, sizeof *t);
    dload_memory_config memory;
    dload_worker_config worker;
    dload_tiered_config cfg;
    memset(&memory, 0, sizeof memory);
    memset(&worker, 0, sizeof worker);
    memset(&cfg, 0, sizeof cfg);
    fake_env_init_real(&t->f);
    memory.env = &t->f.env;
    must_ok(dload_memory_init(&t->near_memory, &memory));
    must_ok(dload_memory_init(&t->far_memory, &memory));
    scripted_init(&t->upper, &t->near_memory.store);
    scripted_init(&t->lower, &t->far_memory.store);
    worker.inner = &t->lower.store;
    must_ok(dload_worker_init(&t->w, &worker));
    cfg.upper = &t->upper.store;
    cfg.lower = async ? &t->w.store : &t->lower.store;
    cfg.upper_ttl_ns = upper_ttl_ns;
    cfg.upper_timeout_ns = upper_timeout_ns;
    must_ok(dload_tiered_init(&t->t, &cfg));
    t->x.s = &t->t.store;
    t->x.ctx = t;
    t->x.async = async;
    t->x.stall = tiers_stall;
    *state = t;
    return 0;
}

/* For the cases of all stores. */
static inline int open_blocking(void **state)
{
    return open_tiers(state, false, DLOAD_NEVER, 0);
}

static inline int open_async(void **state)
{
    return open_tiers(state, true, DLOAD_NEVER, 0);
}

/* For tests that say when a gate opens. */
static inline int open_patient(void **state)
{
    return open_tiers(state, false, DLOAD_NEVER, 20 * DLOAD_SECOND);
}

static inline int open_patient_async(void **state)
{
    return open_tiers(state, true, DLOAD_NEVER, 20 * DLOAD_SECOND);
}

static inline int close_tiers(void **state)
{
    struct fixture *t = *state;
    tiers_stall(&t->x, false);
    scripted_set(&t->lower.shuts_after, 0);
    scripted_set(&t->upper.shuts_after, 0);
    dload_tiered_destroy(&t->t);
    must_ok(dload_worker_destroy(&t->w));
    dload_memory_destroy(&t->near_memory);
    dload_memory_destroy(&t->far_memory);
    fake_env_check(&t->f);
    free(t);
    return 0;
}

/* ---- what lies in a tier, and what it was asked ---- */

static inline struct store_case tier(dload_store *s)
{
    struct store_case x;
    memset(&x, 0, sizeof x);
    x.s = s;
    return x;
}

static inline void above_must(struct fixture *t, dload_str key, const char *value)
{
    struct store_case x = tier(&t->near_memory.store);
    if (value != NULL)
        store_get(&x, key, str_of(value, strlen(value)));
    else
        store_lacks(&x, key);
}

static inline void below_must(struct fixture *t, dload_str key, const char *value)
{
    struct store_case x = tier(&t->far_memory.store);
    if (value != NULL)
        store_get(&x, key, str_of(value, strlen(value)));
    else
        store_lacks(&x, key);
}

/* Somebody else writes below. */
static inline void below_set(struct fixture *t, dload_str key, const char *value, uint64_t ttl_ns)
{
    struct store_case x = tier(&t->far_memory.store);
    store_set(&x, key, str_of(value, strlen(value)), ttl_ns);
}

static inline uint32_t n_asked(struct scripted *s, dload_store_kind kind)
{
    return __atomic_load_n(&s->n_asked[kind], __ATOMIC_ACQUIRE);
}

/* ---- a request in another thread ---- */

struct aside {
    struct fixture *t;
    pthread_t thread;
    dload_store_op op;
    dload_store_item item;
    dload_status status;
    char value[16]; /* what a GET found */
    uint32_t over;  /* atomic */
};

static inline void *aside_body(void *ctx)
{
    struct aside *a = ctx;
    a->status = store_ask(&a->t->x, &a->op);
    if (a->status == DLOAD_OK && a->op.kind == DLOAD_STORE_GET && a->item.status == DLOAD_OK &&
        a->item.value_bytes < sizeof a->value)
        memcpy(a->value, a->item.value, a->item.value_bytes);
    dload_store_release(&a->op);
    __atomic_store_n(&a->over, 1u, __ATOMIC_RELEASE);
    return NULL;
}

static inline void aside_start(struct aside *a, struct fixture *t, dload_store_kind kind,
                               dload_str key, const char *value)
{
    memset(a, 0, sizeof *a);
    a->t = t;
    a->item = store_item_set(key, str_of(value, strlen(value)), DLOAD_NEVER);
    a->op = store_op(kind, &a->item, 1);
    assert_int_equal(pthread_create(&a->thread, NULL, aside_body, a), 0);
}

static inline bool aside_is_over(struct aside *a)
{
    return __atomic_load_n(&a->over, __ATOMIC_ACQUIRE) != 0;
}

static inline void aside_join(struct aside *a)
{
    assert_int_equal(pthread_join(a->thread, NULL), 0);
}

#endif /* DLOAD_TESTS_TIERED_H */
