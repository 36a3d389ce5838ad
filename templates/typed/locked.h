/* >>locked -- named locks around the fetch function: one process at a time fetches, and the next one finds
 * what it has stored.
 *
 * A lock is taken when the store has been asked and something is missing; then it is asked again, mutant
 * LOCKED_UNASKED, because whoever held the lock before will have stored just that. A lock that was lost meanwhile
 * may be another's by now, who may have fetched something newer: what came of ours is delivered, not stored.
 *
 * No lock is held here where nothing else is said: this runs where the fetch function runs.
 */
#ifndef DLOAD_I_HAVE_LOCKED
#define DLOAD_I_HAVE_LOCKED

#include "answer.h"

#if DLOAD_I_BODIES && DLOAD_STORE

/* The stripes that the keys which the function would see are under. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_stripes_of)(const DLOAD_NAME *l, const DLOAD_I_BATCH *b)
{
    const dload_i_locking *k = &l->locking;
    uint64_t stripes = k->n_stripes == 1;
    for (size_t i = 0; i < b->n && k->n_stripes > 1; i++) {
        char text[DLOAD_I_KEYTEXT_MAX];
        dload_str tail;
        size_t n = DLOAD_I_FN(i_key_text)(text, b->base.group, &b->keys[i], &tail);
        uint64_t sum = dload_i_sum(0, text, n);
        stripes |= dload_i_stripe_bit(k, dload_i_sum(sum, tail.ptr, tail.len));
    }
    return stripes;
}

/* Is this batch sent from inside another one's fetch function, in this thread? Then what it would wait for may be
 * what that one holds. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_is_inner)(DLOAD_NAME *l, const DLOAD_I_BATCH *b)
{
    bool inner = false;
    uint64_t self = dload_i_self(l->core.env);
    DLOAD_I_ACQUIRE(&l->mutex);
    for (const dload_i_batch *other = l->core.running; other != NULL; other = other->next)
        inner = inner || (other != &b->base && other->in_fetch && other->runner == self);
    DLOAD_I_LEAVE(l);
    return inner;
}

/* Takes the locks of a batch: true when it holds one now, and waited for it or not. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_lock_batch)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    const dload_i_locking *k = &l->locking;
    const dload_env *env = l->core.env;
    if (k->locks == NULL || b->locked != 0 || DLOAD_I_FN(i_is_inner)(l, b))
        return false;
    uint64_t wanted = DLOAD_I_FN(i_stripes_of)(l, b);
    uint64_t until_ns = dload_i_add_ns(dload_i_now(env), k->wait_ns);
    if (b->held == NULL)
        b->held = (dload_held *)dload_i_alloc(env, k->n_stripes * sizeof *b->held);
    if (b->held != NULL)
        b->locked = dload_i_locks_take(
            k, env, wanted, until_ns < b->deadline_ns ? until_ns : b->deadline_ns, b->held);
    DLOAD_I_ACQUIRE(&l->mutex);
    l->core.stats.locks_taken += dload_i_n_stripes(b->locked);
    l->core.stats.locks_missed += dload_i_n_stripes(wanted & ~b->locked);
    DLOAD_I_LEAVE(l);
    return b->locked != 0;
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_count_lost)(DLOAD_NAME *l, uint32_t n_lost)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    l->core.stats.locks_lost += n_lost;
    DLOAD_I_LEAVE(l);
}

/* Before what the function answered is stored: true when every lock is held still. One that is not is given
 * back, and counted, here. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_holds_locks)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    if (b->locked == 0)
        return true;
    uint32_t n_lost = dload_i_locks_lost(&l->locking, b->locked, b->held);
    if (n_lost == 0)
        return true;
    (void)dload_i_locks_give(&l->locking, b->locked, b->held);
    b->locked = 0;
    DLOAD_I_FN(i_count_lost)(l, n_lost);
    return false;
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_unlock_batch)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    if (b->locked == 0)
        return;
    uint32_t n_lost = dload_i_locks_give(&l->locking, b->locked, b->held);
    b->locked = 0;
    if (n_lost != 0)
        DLOAD_I_FN(i_count_lost)(l, n_lost);
}

/* The end of a batch's memory. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_locked_give)(DLOAD_I_BATCH *b)
{
    dload_i_free(b->owner->core.env, b->held, b->owner->locking.n_stripes * sizeof *b->held);
    b->held = NULL;
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_LOCKED */
