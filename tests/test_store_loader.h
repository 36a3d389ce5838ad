/* The loader of test_loader.h with a second level: a scripted store beside the recorder. A program may define
 * parameters of its own before it includes this file. */
#ifndef DLOAD_TESTS_STORE_LOADER_H
#define DLOAD_TESTS_STORE_LOADER_H

#define DLOAD_STORE 1
#include "test_loader.h"
#include "test_store.h"

static struct script_store script;

static inline int store_setup(void **state)
{
    (void)fixture_setup(state);
    script_init(&script, &fixture.f.env);
    fixture.cfg.store = &script.store;
    return 0;
}

static inline int store_teardown(void **state)
{
    struct fixture *x = *state;
    if (x->open) {
        fixture_close(x);
    }
    script_end(&script);
    fake_env_check(&x->f);
    return 0;
}

#define STORE_RULE(text, fn)                        \
    {                                               \
        text, fn, store_setup, store_teardown, NULL \
    }

/* Everything that this process has cached is forgotten: the store alone is left. */
static inline void forget(struct fixture *x)
{
    must_ok(tl_clear_all_local(&x->l));
}

/* Loads n keys, each of which must give rec_value. */
static inline void load_all_must(struct fixture *x, const uint64_t *keys, size_t n)
{
    uint64_t out[256];
    dload_status st[256];
    must_ok(tl_load_many(&x->l, keys, n, out, st));
    for (size_t i = 0; i < n; i++) {
        must_ok(st[i]);
        equal(out[i], rec_value(&x->r, keys[i]));
    }
}

#endif /* DLOAD_TESTS_STORE_LOADER_H */
