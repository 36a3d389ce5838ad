/* What a child process checks: that every function of a loader that is its parent's refuses. */
#ifndef DLOAD_TESTS_FORK_H
#define DLOAD_TESTS_FORK_H

#include "test_loader.h"

#include <unistd.h>

/* What children tell their parent; in memory of both. */
struct report {
    char failed[160]; /* the first call that said something else */
    int64_t got;
    uint64_t slowest_ns; /* refusal */
};

static struct report *report;

/* A request that was on its way when the process forked. */
static tl_waiter waiting;

/* The child ends with the first call that said something else. */
static inline void note(const char *call, int64_t got, int64_t want, uint64_t took_ns)
{
    if (got != want) {
        report->got = got;
        (void)strncpy(report->failed, call, sizeof report->failed - 1);
        _exit(1);
    }
    if (want == DLOAD_EFORK && took_ns > report->slowest_ns) {
        report->slowest_ns = took_ns;
    }
}

#define SAYS(call, want)                                           \
    do {                                                           \
        uint64_t began_ns_ = real_ns();                            \
        int64_t got_ = (int64_t)(call);                            \
        note(#call, got_, (int64_t)(want), real_ns() - began_ns_); \
    } while (0)
#define REFUSED(call) SAYS(call, DLOAD_EFORK)

/* Every function of a loader that is the parent's. */
static inline void loads_refused(tl *l)
{
    uint64_t keys[2] = {1, 2}, out[2];
    dload_status st[2] = {DLOAD_OK, DLOAD_OK};
    dload_call call = {0};
    tl_waiter w;
    memset(&w, 0, sizeof w);
    call.deadline_ns = tl_now(l) + 60 * DLOAD_SECOND;
    REFUSED(tl_load(l, 1, out));
    REFUSED(tl_load_with(l, 1, &call, out));
    REFUSED(tl_load_many(l, keys, 2, out, st));
    REFUSED(st[0]);
    REFUSED(st[1]);
    REFUSED(tl_load_many_with(l, keys, 2, &call, out, NULL));
    REFUSED(tl_start(l, 1, &w));
    REFUSED(tl_start_with(l, 1, &call, &w));
    REFUSED(w.status);
    REFUSED(tl_cancel(l, &w));
    REFUSED(tl_cancel(l, &waiting));
    REFUSED(tl_dispatch(l, NULL));
    REFUSED(tl_process(l, tl_now(l)));
    REFUSED(tl_expect(l, 1));
    SAYS(tl_next_deadline(l) == DLOAD_NEVER, true);
}

static inline void rest_refused(tl *l)
{
    uint64_t keys[2] = {1, 2}, values[2] = {10, 20};
    dload_status st[2] = {DLOAD_OK, DLOAD_OK};
    dload_state there;
    dload_stats stats;
    REFUSED(tl_prime(l, 1, values, DLOAD_OVERWRITE));
    REFUSED(tl_prime_many(l, keys, values, 2, 0, st));
    REFUSED(st[1]);
    REFUSED(tl_prime_error(l, 3, DLOAD_EFETCH, DLOAD_SECOND));
    SAYS(tl_token(l), 0);
    REFUSED(tl_put_if(l, 1, values, 0));
    REFUSED(tl_peek(l, 1, &there, values));
    SAYS(there, DLOAD_STATE_ABSENT);
    REFUSED(tl_clear(l, 1));
    REFUSED(tl_clear_many(l, keys, 2));
    REFUSED(tl_clear_all(l));
    REFUSED(tl_stats(l, &stats));
    REFUSED(tl_cache_get(&l->cache, 1, values));
    SAYS(tl_cache_get_many(&l->cache, keys, 2, values, st, NULL), DLOAD_OK);
    REFUSED(st[0]);
    REFUSED(tl_cache_set(&l->cache, 1, values, 0));
    REFUSED(tl_cache_delete(&l->cache, 1));
    REFUSED(tl_cache_clear(&l->cache));
    REFUSED(tl_cache_advance(&l->cache, tl_now(l)));
    SAYS(tl_cache_len(&l->cache), 0);
    REFUSED(tl_close(l, DLOAD_FAIL, 0));
    REFUSED(tl_close(l, DLOAD_DRAIN, 0));
    REFUSED(tl_destroy(l));
}

/* The same with a group. */
static inline void groups_refused(tl *l)
{
    uint64_t value = 10;
    dload_state there;
    REFUSED(tl_prime_in(l, 5, 1, &value, 0));
    REFUSED(tl_prime_error_in(l, 5, 1, DLOAD_EFETCH, DLOAD_SECOND));
    REFUSED(tl_put_if_in(l, 5, 1, &value, 0));
    REFUSED(tl_peek_in(l, 5, 1, &there, &value));
    REFUSED(tl_clear_in(l, 5, 1));
    REFUSED(tl_clear_group(l, 5));
    REFUSED(tl_cache_get_in(&l->cache, 5, 1, &value));
    REFUSED(tl_cache_set_in(&l->cache, 5, 1, &value, 0));
    REFUSED(tl_cache_delete_in(&l->cache, 5, 1));
    REFUSED(tl_cache_clear_group(&l->cache, 5));
}

/* A batch that the parent had out, in another thread or in the function that forked. */
static inline void batch_refused(tl_batch *b)
{
    uint64_t value = 10;
    REFUSED(tl_batch_set(b, 0, &value));
    REFUSED(tl_batch_set_ttl(b, 0, &value, DLOAD_SECOND));
    REFUSED(tl_batch_move(b, 0, &value));
    REFUSED(tl_batch_fail(b, 0, DLOAD_EFETCH));
    REFUSED(tl_batch_put(b, 7, &value));
    REFUSED(tl_batch_done(b, DLOAD_OK));
    (void)tl_batch_cancelled(b);
}

/* A registry of such loaders has nothing to send; threads come and go. */
static inline void registry_is_quiet(dload_registry *r)
{
    size_t n_keys = 0;
    SAYS(dload_registry_pending(r), false);
    SAYS(dload_registry_round(r, &n_keys), false);
    SAYS(dload_registry_dispatch(r), 0);
    SAYS(n_keys, 0);
    SAYS(dload_registry_join(r), DLOAD_OK);
    SAYS(dload_registry_leave(r), DLOAD_OK);
}

#endif /* DLOAD_TESTS_FORK_H */
