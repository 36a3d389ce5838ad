/* What the suites of old values share: a loader with DLOAD_REFRESH, and times in ticks of expiry. */
#ifndef DLOAD_TESTS_STALE_H
#define DLOAD_TESTS_STALE_H

#define DLOAD_REFRESH 1
#include "test_loader.h"

#define TICK   (UINT64_C(1) << 20) /* of expiry, in ns */
#define TTL    (1000 * TICK)
#define WINDOW (500 * TICK)

static inline struct fixture *open_with(void **state, uint64_t stale_ns, uint64_t stale_error_ns)
{
    struct fixture *x = *state;
    x->f.now_ns = 5000 * TICK;
    x->cfg.ttl_ns = TTL;
    x->cfg.stale_ns = stale_ns;
    x->cfg.stale_error_ns = stale_error_ns;
    fixture_open(x);
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    x->r.version = 1;
    return x;
}

static inline void stale_must(struct fixture *x, uint64_t key, uint64_t want)
{
    uint64_t got = 0;
    must(tl_load(&x->l, key, &got), DLOAD_STALE);
    equal(got, want);
}

static inline void state_must(struct fixture *x, uint64_t key, dload_state want)
{
    dload_state got = DLOAD_STATE_ABSENT;
    uint64_t value = 0;
    (void)tl_peek(&x->l, key, &got, &value);
    equal(got, want);
}

#endif /* DLOAD_TESTS_STALE_H */
