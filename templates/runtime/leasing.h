/* >>leasing -- leases: what they are known by, and waiting for those of others.
 *
 * A lease is an identity, not a promise: it may end before its holder is through, and then what the holder
 * brings is not stored. Whoever waits asks for the value first and for the lease second, again and again: when a
 * holder dies one of them is the next, never all.
 */
#include "second.h"

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_LEASING_H)
#define DLOAD_I_LEASING_H

#define DLOAD_I_ASK_FIRST_NS (5 * DLOAD_MILLISECOND) /* the first pause before asking again */
#define DLOAD_I_ASK_LAST_NS  (200 * DLOAD_MILLISECOND)

/* 128 bits for one batch: random ones, counted on. The mutex is held. */
DLOAD_I_LOCAL void dload_i_lease_draw(dload_i_second *s, uint64_t lease[2])
{
    s->leases[1]++;
    memcpy(lease, s->leases, sizeof s->leases);
}

DLOAD_I_LOCAL void dload_i_lease_item(dload_store_item *item, const uint64_t lease[2],
                                      uint64_t lease_ns)
{
    item->lease[0] = lease[0];
    item->lease[1] = lease[1];
    item->ttl_ns = lease_ns;
}

/* Can this loader's callers wait at all? Loops cannot, nor who has no way to. */
DLOAD_I_LOCAL bool dload_i_may_rest(const dload_i_core *c)
{
    return c->wake == NULL && (!DLOAD_FREESTANDING || c->env->wait != NULL);
}

/* Does nothing until then, by env's clock, or for a little less. No lock is held. */
DLOAD_I_LOCAL void dload_i_idle_for(const dload_env *env, uint64_t span_ns)
{
    uint64_t until_ns = dload_i_add_ns(dload_i_now(env), span_ns);
    uint32_t word = 0;
    if (env->wait != NULL) {
        (void)env->wait(env->ctx, &word, 0, until_ns);
        return;
    }
#if !DLOAD_FREESTANDING
    dload_i_nap(span_ns < DLOAD_SECOND ? span_ns : DLOAD_SECOND - 1);
#endif
}

/* A pause a quarter more or less than it is: those who wait do not all come back at once. */
DLOAD_I_LOCAL uint64_t dload_i_ask_pause(uint64_t pause_ns, uint64_t salt)
{
    return pause_ns - pause_ns / 4 + dload_i_mix64(salt) % (pause_ns / 2);
}

#endif /* DLOAD_STORE */
