/* >>locking -- the named locks of one loader: one, or stripes of it that keys are spread over.
 *
 * Several stripes are taken in ascending order, so that two processes never hold what the other one waits for.
 * Whatever cannot be taken in time is done without: the work is then perhaps done twice.
 */
#include "named.h"
#include "hash.h"
#include "batch.h"

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_LOCKING_H)
#define DLOAD_I_LOCKING_H

#define DLOAD_I_LOCK_NAME_MAX 200u
#define DLOAD_I_STRIPES_MAX   64u

typedef struct dload_i_locking {
    dload_locks *locks; /* NULL = none */
    uint64_t wait_ns;
    uint32_t n_stripes;
    size_t name_bytes;
    char name[DLOAD_I_LOCK_NAME_MAX + 4]; /* and a slash and a stripe's number */
} dload_i_locking;

/* Prepares it; prefix and name are put together. DLOAD_EINVAL when something is out of its range. */
DLOAD_I_LOCAL dload_status dload_i_locking_init(dload_i_locking *k, dload_locks *locks,
                                                const char *prefix, const char *name,
                                                uint32_t n_stripes, uint64_t wait_ns)
{
    size_t n_prefix = dload_str_from(prefix).len, n = dload_str_from(name).len;
    if (locks->take == NULL || locks->check == NULL || locks->give == NULL ||
        n_stripes > DLOAD_I_STRIPES_MAX || n == 0 || n > DLOAD_I_LOCK_NAME_MAX - n_prefix)
        return DLOAD_EINVAL;
    memcpy(k->name, prefix, n_prefix);
    memcpy(k->name + n_prefix, name, n);
    k->name_bytes = n_prefix + n;
    k->locks = locks;
    k->n_stripes = n_stripes != 0 ? n_stripes : 1;
    k->wait_ns = wait_ns != 0 ? wait_ns : 5 * DLOAD_SECOND;
    return DLOAD_OK;
}

/* The lock that keys of a hash are under, which every process computes alike. */
DLOAD_I_LOCAL uint64_t dload_i_stripe_bit(const dload_i_locking *k, uint64_t hash)
{
    return UINT64_C(1) << (dload_i_mix64(hash) >> 32) % k->n_stripes;
}

DLOAD_I_LOCAL uint32_t dload_i_n_stripes(uint64_t stripes)
{
    uint32_t n = 0;
    for (; stripes != 0; stripes &= stripes - 1)
        n++;
    return n;
}

/* Takes the wanted stripes, by until_ns of env's clock; held has a place for each that there is. Returns those that
 * were taken. */
DLOAD_I_LOCAL uint64_t dload_i_locks_take(const dload_i_locking *k, const dload_env *env,
                                          uint64_t wanted, uint64_t until_ns, dload_held *held)
{
    char text[sizeof k->name];
    dload_str name;
    uint64_t taken = 0;
    memcpy(text, k->name, k->name_bytes);
    name.ptr = text;
    for (uint32_t i = 0; i < k->n_stripes; i++) {
        if ((wanted >> i & 1) == 0)
            continue;
        name.len = k->name_bytes;
        if (k->n_stripes > 1) {
            text[name.len++] = '/';
            if (i >= 10)
                text[name.len++] = (char)('0' + (char)(i / 10));
            text[name.len++] = (char)('0' + (char)(i % 10));
        }
        uint64_t now_ns = dload_i_now(env);
        uint64_t left_ns = now_ns < until_ns ? until_ns - now_ns : 0;
        if (k->locks->take(k->locks, name, left_ns, &held[i]) == DLOAD_OK)
            taken |= UINT64_C(1) << i;
    }
    return taken;
}

/* How many of them are not ours any more; prolongs the others. */
DLOAD_I_LOCAL uint32_t dload_i_locks_lost(const dload_i_locking *k, uint64_t taken,
                                          dload_held *held)
{
    uint32_t n_lost = 0;
    for (uint32_t i = 0; i < k->n_stripes; i++)
        n_lost += (taken >> i & 1) != 0 && k->locks->check(k->locks, &held[i]) != DLOAD_OK;
    return n_lost;
}

/* Gives them back, the last one first, and says how many had been lost. */
DLOAD_I_LOCAL uint32_t dload_i_locks_give(const dload_i_locking *k, uint64_t taken,
                                          dload_held *held)
{
    uint32_t n_lost = 0;
    for (uint32_t i = k->n_stripes; i-- > 0;)
        n_lost += (taken >> i & 1) != 0 && k->locks->give(k->locks, &held[i]) != DLOAD_OK;
    return n_lost;
}

#endif /* DLOAD_STORE */
