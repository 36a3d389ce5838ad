/* A store in front of another that does what a test says: fails, waits at a gate, looks at what passes. */
#ifndef DLOAD_TESTS_STORES_SCRIPTED_H
#define DLOAD_TESTS_STORES_SCRIPTED_H

#include "store_case.h"

#include <sched.h>

struct scripted {
    dload_store store; /* first */
    dload_store *inner;
    uint32_t fails;        /* atomic: bits of kinds that fail as a whole, 1u << kind */
    uint32_t fails_keys;   /* atomic: ... each of whose keys fails */
    dload_status fails_as; /* what they say; 0 = DLOAD_EBACKEND */
    uint32_t shuts;        /* atomic: bits of kinds that wait at the gate */
    uint32_t shuts_after;  /* atomic: bits of kinds that wait once the inner store has done them */
    uint32_t yields;       /* atomic: requests let others run before and after they are done */
    uint32_t n_waiting;    /* atomic: requests at the gate */
    uint32_t n_asked[DLOAD_STORE_N_KINDS]; /* atomic: requests that came */
    uint64_t last_timeout_ns;              /* atomic: of the last request */
    uint64_t last_ttl_ns;                  /* atomic: of the last SET's first key */
};

/* Until the gate opens, or the request's time is over (10 s when it says nothing). False: over. */
static bool scripted_wait(struct scripted *t, uint32_t *gate, const dload_store_op *op)
{
    uint64_t end_ns = real_ns() + (op->timeout_ns != 0 ? op->timeout_ns : 10 * DLOAD_SECOND);
    bool in_time = true;
    if ((__atomic_load_n(gate, __ATOMIC_ACQUIRE) & 1u << op->kind) == 0)
        return true;
    (void)__atomic_add_fetch(&t->n_waiting, 1, __ATOMIC_RELEASE);
    while (in_time && (__atomic_load_n(gate, __ATOMIC_ACQUIRE) & 1u << op->kind) != 0) {
        struct timespec ts = {0, 100000};
        (void)nanosleep(&ts, NULL);
        in_time = real_ns() < end_ns;
    }
    (void)__atomic_sub_fetch(&t->n_waiting, 1, __ATOMIC_RELEASE);
    return in_time;
}

static dload_status scripted_run(dload_store *s, dload_store_op *op)
{
    struct scripted *t = (struct scripted *)(void *)s;
    const dload_status as = t->fails_as != 0 ? t->fails_as : DLOAD_EBACKEND;
    if ((unsigned)op->kind >= DLOAD_STORE_N_KINDS)
        return DLOAD_EINVAL;
    (void)__atomic_add_fetch(&t->n_asked[op->kind], 1, __ATOMIC_RELEASE);
    __atomic_store_n(&t->last_timeout_ns, op->timeout_ns, __ATOMIC_RELAXED);
    if (op->kind == DLOAD_STORE_SET)
        __atomic_store_n(&t->last_ttl_ns, op->items[0].ttl_ns, __ATOMIC_RELAXED);
    if (!scripted_wait(t, &t->shuts, op))
        return DLOAD_ETIMEDOUT;
    if ((__atomic_load_n(&t->fails, __ATOMIC_RELAXED) & 1u << op->kind) != 0)
        return as;
    if ((__atomic_load_n(&t->fails_keys, __ATOMIC_RELAXED) & 1u << op->kind) != 0) {
        for (size_t i = 0; i < op->n; i++)
            op->items[i].status = as;
        return DLOAD_OK;
    }
    const bool yields = __atomic_load_n(&t->yields, __ATOMIC_RELAXED) != 0;
    if (yields)
        sched_yield();
    dload_status st = t->inner->run(t->inner, op);
    if (yields)
        sched_yield();
    (void)scripted_wait(t, &t->shuts_after, op);
    return st;
}

static void scripted_release(dload_store *s, dload_store_op *op)
{
    struct scripted *t = (struct scripted *)(void *)s;
    t->inner->release(t->inner, op);
}

static void scripted_init(struct scripted *t, dload_store *inner)
{
    memset(t, 0, sizeof *t);
    t->inner = inner;
    t->store.name = "scripted";
    t->store.flags = inner->flags;
    t->store.env = inner->env;
    t->store.run = scripted_run;
    t->store.release = scripted_release;
    t->store.break_after = UINT32_MAX; /* what fails is what a test says */
}

/* Waits until so many requests stand at the gate. */
__attribute__((__unused__)) static void scripted_await(struct scripted *t, uint32_t n)
{
    uint64_t start_ns = real_ns();
    while (__atomic_load_n(&t->n_waiting, __ATOMIC_ACQUIRE) != n) {
        if (real_ns() - start_ns > 30 * DLOAD_SECOND)
            fail_msg("%" PRIu32 " requests at the gate instead of %" PRIu32,
                     __atomic_load_n(&t->n_waiting, __ATOMIC_ACQUIRE), n);
        sleep_ms(1);
    }
}

__attribute__((__unused__)) static void scripted_set(uint32_t *bits, uint32_t now)
{
    __atomic_store_n(bits, now, __ATOMIC_RELEASE);
}

#define GETS    (1u << DLOAD_STORE_GET)
#define SETS    (1u << DLOAD_STORE_SET)
#define DELETES (1u << DLOAD_STORE_DELETE)
#define CLEARS  (1u << DLOAD_STORE_CLEAR)
#define ALL     ((1u << DLOAD_STORE_N_KINDS) - 1)

#endif /* DLOAD_TESTS_STORES_SCRIPTED_H */
