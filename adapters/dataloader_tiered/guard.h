/* dataloader_tiered/guard.h -- what keeps an upper tier from getting an old value after a newer one.
 *
 * SPDX-License-Identifier: MIT
 * Included by dataloader_tiered.h.
 *
 * A read that missed above asks below and puts what it found above: a refill. Meanwhile a write may change the
 * lower tier and remove the key above, and then the refill must not come. Keys share 64 stripes by their hash.
 *
 *   - Every change of a key takes a number, before it goes to the lower tier and again after; changed[stripe] is the
 *     last one. A read notes the number it began at, and refills only stripes that have not changed since.
 *   - Between this check and the end of the refill the write may pass. So refills are counted while they run, and a
 *     write, having taken its number, waits until those that were running have ended before it touches
 *     the upper tier. Refills that come later belong to the next epoch, which nobody waits for: a write waits for as
 *     long as an upper SET takes, however many reads there are.
 *   - A write whose value is to be put above does so itself, unless another one began or ended in the stripe
 *     meanwhile: nobody knows which of them the lower tier has now, and whoever ends later removes.
 *
 * tests/models/tiered.pml proves it, and names the steps in which it would break.
 */
#ifndef DLOAD_TIERED_GUARD_H
#define DLOAD_TIERED_GUARD_H

#include "../dataloader_threads/pair.h"

#define DLOAD_TIERED_I_STRIPES 64u
#define DLOAD_TIERED_I_ALL     UINT64_MAX

/* Private. */
typedef struct dload_tiered_i_guard {
    pthread_mutex_t mutex; /* of all of this; what is read without it is atomic */
    pthread_cond_t quiet;  /* refills of an epoch have ended, or a drain has */
    uint64_t gen;          /* the last number */
    uint64_t changed[DLOAD_TIERED_I_STRIPES];
    uint32_t epoch;
    uint32_t n_refills[2]; /* running, by the last bit of their epoch */
    bool draining;         /* a write waits for the older epoch: one at a time */
    uint32_t deaf; /* 1 = a channel is to say what changes, and does not: nothing is kept above */
    uint32_t n_dirty; /* not 0: keys could not be removed above: nothing there is believed */
} dload_tiered_i_guard;

/* A write, or a refill. Private. */
typedef struct dload_tiered_i_pass {
    uint64_t stripes; /* bits */
    uint64_t gen;
    uint32_t epoch;
    bool fills; /* counted among the refills */
} dload_tiered_i_pass;

DLOAD_I_LOCAL uint32_t dload_tiered_i_stripe(const dload_store_item *item)
{
    return (uint32_t)(dload_i_hash_bytes(item->key, item->key_bytes) % DLOAD_TIERED_I_STRIPES);
}

DLOAD_I_LOCAL uint64_t dload_tiered_i_stripes(const dload_store_item *items, size_t n)
{
    uint64_t stripes = 0;
    for (size_t i = 0; i < n; i++)
        stripes |= UINT64_C(1) << dload_tiered_i_stripe(&items[i]);
    return stripes;
}

DLOAD_I_LOCAL bool dload_tiered_i_has(uint64_t stripes, const dload_store_item *item)
{
    return (stripes >> dload_tiered_i_stripe(item) & 1) != 0;
}

/* May the upper tier not be asked, and nothing be put there? */
DLOAD_I_LOCAL bool dload_tiered_i_bypassed(const dload_tiered_i_guard *g)
{
    return (DLOAD_I_LOAD_ACQUIRE(&g->deaf) | DLOAD_I_LOAD_ACQUIRE(&g->n_dirty)) != 0;
}

/* The number at which a read begins; taken before the lower tier is asked. */
DLOAD_I_LOCAL uint64_t dload_tiered_i_read_begin(const dload_tiered_i_guard *g)
{
    return DLOAD_I_LOAD_ACQUIRE(&g->gen);
}

/* A new number for these stripes. The mutex is held. */
DLOAD_I_LOCAL uint64_t dload_tiered_i_change(dload_tiered_i_guard *g, uint64_t stripes)
{
    const uint64_t gen = g->gen + 1;
    for (; stripes != 0; stripes &= stripes - 1)
        g->changed[dload_i_ctz64(stripes)] = gen;
    DLOAD_I_STORE_RELEASE(&g->gen, gen);
    return gen;
}

/* Those of some stripes that have not changed since a number. The mutex is held. */
DLOAD_I_LOCAL uint64_t dload_tiered_i_unchanged(const dload_tiered_i_guard *g, uint64_t stripes,
                                                uint64_t gen)
{
    uint64_t kept = 0;
    for (; stripes != 0; stripes &= stripes - 1) {
        const uint32_t i = dload_i_ctz64(stripes);
        kept |= (uint64_t)(g->changed[i] <= gen) << i;
    }
    return kept;
}

/* Waits, and lets a lost wake-up cost 100 ms. The mutex is held. */
DLOAD_I_LOCAL void dload_tiered_i_wait(dload_tiered_i_guard *g)
{
    int before = 0;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    dload_threads_i_wait(&g->quiet, &g->mutex, DLOAD_NEVER);
    (void)pthread_setcancelstate(before, &before);
}

/* Waits for the refills that run now. The mutex is held. */
DLOAD_I_LOCAL void dload_tiered_i_drain(dload_tiered_i_guard *g)
{
    if ((g->n_refills[0] | g->n_refills[1]) == 0)
        return;
    while (g->draining)
        dload_tiered_i_wait(g);
    g->draining = true;
    const uint32_t old = g->epoch++ & 1;
    while (g->n_refills[old] != 0)
        dload_tiered_i_wait(g);
    g->draining = false;
    (void)pthread_cond_broadcast(&g->quiet);
}

/* A read found keys of pass->stripes below, having begun at pass->gen: what is left of stripes may be put above.
 * None left: there is no refill, and nothing to end. */
DLOAD_I_LOCAL void dload_tiered_i_refill_begin(dload_tiered_i_guard *g, dload_tiered_i_pass *pass)
{
    (void)pthread_mutex_lock(&g->mutex);
    const uint64_t kept =
        dload_tiered_i_unchanged(g, pass->stripes, pass->gen); /* mutant REFILL_UNCHECKED */
    pass->stripes = (g->deaf | g->n_dirty) == 0 ? kept : 0;
    pass->fills = pass->stripes != 0;
    pass->epoch = g->epoch;
    g->n_refills[pass->epoch & 1] += pass->fills;
    (void)pthread_mutex_unlock(&g->mutex);
}

DLOAD_I_LOCAL void dload_tiered_i_refill_end(dload_tiered_i_guard *g, dload_tiered_i_pass *pass)
{
    if (!pass->fills)
        return;
    (void)pthread_mutex_lock(&g->mutex);
    if (--g->n_refills[pass->epoch & 1] == 0)
        (void)pthread_cond_broadcast(&g->quiet);
    (void)pthread_mutex_unlock(&g->mutex);
    pass->fills = false;
}

/* A write of keys in stripes is about to ask the lower tier. */
DLOAD_I_LOCAL void dload_tiered_i_write_begin(dload_tiered_i_guard *g, dload_tiered_i_pass *pass)
{
    (void)pthread_mutex_lock(&g->mutex);
    pass->gen = dload_tiered_i_change(g, pass->stripes);
    (void)pthread_mutex_unlock(&g->mutex);
}

/* The lower tier has answered. What runs above has ended when this returns, and what comes will find the number. Of
 * pass->stripes those are left whose value this write may put above, being alone; then it counts as a refill until
 * _refill_end. False: the upper tier is passed by, and need not be touched. */
DLOAD_I_LOCAL bool dload_tiered_i_write_end(dload_tiered_i_guard *g, dload_tiered_i_pass *pass,
                                            bool fills)
{
    (void)pthread_mutex_lock(&g->mutex);
    /* Mutants BOTH_FILL, NUMBER_BEFORE_ONLY and NO_DRAIN leave out one of these steps each. */
    uint64_t alone = dload_tiered_i_unchanged(g, pass->stripes, pass->gen);
    pass->gen = dload_tiered_i_change(g, pass->stripes);
    dload_tiered_i_drain(g);
    alone &= dload_tiered_i_unchanged(g, pass->stripes, pass->gen);
    const bool used = (g->deaf | g->n_dirty) == 0;
    pass->stripes = fills && used ? alone : 0;
    pass->fills = pass->stripes != 0;
    pass->epoch = g->epoch;
    g->n_refills[pass->epoch & 1] += pass->fills;
    (void)pthread_mutex_unlock(&g->mutex);
    return used;
}

/* Keys of these stripes changed, says somebody else. False: the upper tier is passed by. */
DLOAD_I_LOCAL bool dload_tiered_i_changed(dload_tiered_i_guard *g, uint64_t stripes)
{
    (void)pthread_mutex_lock(&g->mutex);
    (void)dload_tiered_i_change(g, stripes);
    dload_tiered_i_drain(g);
    const bool used = (g->deaf | g->n_dirty) == 0;
    (void)pthread_mutex_unlock(&g->mutex);
    return used;
}

/* Nothing is heard, or it is again. */
DLOAD_I_LOCAL void dload_tiered_i_set_deaf(dload_tiered_i_guard *g, bool deaf)
{
    (void)pthread_mutex_lock(&g->mutex);
    (void)dload_tiered_i_change(g, DLOAD_TIERED_I_ALL);
    DLOAD_I_STORE_RELEASE(&g->deaf, (uint32_t)deaf);
    (void)pthread_mutex_unlock(&g->mutex);
}

/* Something that had to go may be above still. Returns true for the first. */
DLOAD_I_LOCAL bool dload_tiered_i_distrust(dload_tiered_i_guard *g)
{
    (void)pthread_mutex_lock(&g->mutex);
    const uint32_t n = g->n_dirty + 1;
    DLOAD_I_STORE_RELEASE(&g->n_dirty, n != 0 ? n : 1);
    (void)pthread_mutex_unlock(&g->mutex);
    return n == 1;
}

/* The upper tier was cleared, when n_dirty was n. True: it is believed again. */
DLOAD_I_LOCAL bool dload_tiered_i_trust(dload_tiered_i_guard *g, uint32_t n)
{
    (void)pthread_mutex_lock(&g->mutex);
    const bool same = g->n_dirty == n;
    if (same) {
        (void)dload_tiered_i_change(g, DLOAD_TIERED_I_ALL);
        DLOAD_I_STORE_RELEASE(&g->n_dirty, 0u);
    }
    (void)pthread_mutex_unlock(&g->mutex);
    return same;
}

DLOAD_I_LOCAL bool dload_tiered_i_guard_init(dload_tiered_i_guard *g)
{
    memset(g, 0, sizeof *g);
    return dload_threads_i_pair_init(&g->mutex, &g->quiet);
}

#endif /* DLOAD_TIERED_GUARD_H */
