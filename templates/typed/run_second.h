/* >>run_second -- what a batch goes through instead of the fetch function alone: store, lock, store, function, store.
 *
 * No lock is held here where nothing else is said: this runs where the fetch function runs.
 */
#ifndef DLOAD_I_HAVE_RUN_SECOND
#define DLOAD_I_HAVE_RUN_SECOND

#include "second.h"

#if DLOAD_I_BODIES && DLOAD_STORE

/* Asks the store for what it may be asked for, and takes what it says; DLOAD_PENDING when it will say so
 * later, and the batch is the loop's. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_ask_store)(DLOAD_NAME *l, DLOAD_I_BATCH *b, bool again)
{
    dload_i_second *s = &l->second;
    DLOAD_I_ACQUIRE(&l->mutex);
    b->stage = DLOAD_I_STAGE_NONE;
    if (!s->is_async)
        dload_i_send_clears(s, false);
    dload_i_letter *t = DLOAD_I_FN(i_question)(l, b, again);
    bool comes_back = dload_i_may_come_back(s);
    DLOAD_I_LEAVE(l);
    if (t == NULL)
        return DLOAD_OK;
    t->op.done = comes_back ? dload_i_letter_done : NULL;
    dload_status st = dload_store_run(s->store, &t->op);
    if (st == DLOAD_PENDING)
        return st;
    t->status = st;
    DLOAD_I_FN(i_take_answers)(l, b, t, false, again);
    return DLOAD_OK;
}

/* The function is through with what it was called for: what it answered goes to the store, leases end, and then the
 * locks go back. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_fetched)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                         uint64_t rest_ttl_ns)
{
    bool holds = DLOAD_I_FN(i_holds_locks)(l, b);
    if (DLOAD_I_FN(i_has_second)(l) && l->second.lease_ns != 0) {
        DLOAD_I_ACQUIRE(&l->mutex);
        DLOAD_I_FN(i_delete_fresh)(l, b);
        DLOAD_I_LEAVE(l);
    }
    if (DLOAD_I_FN(i_has_second)(l))
        DLOAD_I_FN(i_write_back)(l, b, status, rest_ttl_ns, holds);
    if (DLOAD_I_FN(i_has_second)(l) && l->second.lease_ns != 0)
        DLOAD_I_FN(i_end_leases)(l, b);
    DLOAD_I_FN(i_unlock_batch)(l, b);
}

/* Calls the function for what is to be fetched now, under the locks. DLOAD_PENDING: it goes on elsewhere. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_fetch_part)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    bool goes_on = true;
    if (DLOAD_I_FN(i_lock_batch)(l, b)) {
        if (DLOAD_I_FN(i_has_second)(l))
            (void)DLOAD_I_FN(i_ask_store)(l, b, true); /* where there are locks there is no loop */
        goes_on = DLOAD_I_FN(i_narrow)(l, b);
    }
    if (!goes_on) {
        DLOAD_I_FN(i_unlock_batch)(l, b);
        return DLOAD_OK;
    }
    dload_status st = l->cfg.fetch(b);
    if (st != DLOAD_PENDING) { /* afterwards b belongs to whoever ends it */
        b->base.rest_ttl_ns = DLOAD_I_FN(i_error_ttl)(l, st);
        DLOAD_I_FN(i_fetched)(l, b, st, b->base.rest_ttl_ns);
    }
    return st;
}

/* Are there keys left that somebody else fetches? The batch's others are through, by status. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_has_rest)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                          uint64_t rest_ttl_ns)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    bool has_rest = l->second.lease_ns != 0 && b->base.state == DLOAD_I_RUNNING &&
                    DLOAD_I_FN(i_count_places)(b, DLOAD_I_SECOND_BUSY) != 0;
    DLOAD_I_LEAVE(l);
    if (has_rest)
        DLOAD_I_FN(i_end_part)(l, b, status, rest_ttl_ns);
    return has_rest;
}

/* _batch_done, when keys are left: the batch is run once more, for those. False: it is through, or whoever called
 * the function goes on with it. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_resume)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                        uint64_t rest_ttl_ns)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    bool left = b->left;
    DLOAD_I_LEAVE(l);
    if (!left || !DLOAD_I_FN(i_has_rest)(l, b, status, rest_ttl_ns))
        return false;
    DLOAD_I_ACQUIRE(&l->mutex);
    for (unsigned round = 0; b->base.in_fetch; round++) { /* it is just being left */
        DLOAD_I_LEAVE(l);
        dload_i_spin_yield(round);
        DLOAD_I_ACQUIRE(&l->mutex);
    }
    b->left = false;
    b->resumes = true;
    dload_i_go_on(&l->core, &b->base);
    DLOAD_I_LEAVE(l);
    return true;
}

/* The function returned DLOAD_PENDING: has _batch_done been called all the same? Otherwise that sees to what is
 * left. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_is_done)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    bool done = b->base.done;
    b->left = !done;
    DLOAD_I_LEAVE(l);
    return done;
}

/* What to do about keys that somebody else fetches: true when there are some and they are waited for. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_waits)(DLOAD_NAME *l, DLOAD_I_BATCH *b, bool may_wait)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    bool busy = l->second.lease_ns != 0 && DLOAD_I_FN(i_count_places)(b, DLOAD_I_SECOND_BUSY) != 0;
    DLOAD_I_LEAVE(l);
    if (busy && !may_wait)
        DLOAD_I_FN(i_wait_for_none)(l, b);
    return busy && may_wait;
}

/* Runs a batch: what the core calls instead of the function, and, when the store took its time or others had leases
 * of some keys, once more. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_run_second)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    const bool has_store = DLOAD_I_FN(i_has_second)(l);
    const bool may_wait = dload_i_may_rest(&l->core) && !b->resumes;
    uint64_t pause_ns = DLOAD_I_ASK_FIRST_NS;
    dload_i_letter *t = b->got;
    bool again = b->resumes;
    b->got = NULL;
    b->resumes = false;
    if (!again && t == NULL) {
        DLOAD_I_ACQUIRE(&l->mutex);
        b->left = false;
        dload_i_lease_draw(&l->second, b->lease);
        DLOAD_I_LEAVE(l);
    }
    for (;;) {
        if (t != NULL)
            DLOAD_I_FN(i_take_answers)(l, b, t, true, again);
        else if (has_store && DLOAD_I_FN(i_ask_store)(l, b, again) == DLOAD_PENDING)
            return DLOAD_PENDING;
        t = NULL;
        again = true;
        bool waits = DLOAD_I_FN(i_waits)(l, b, may_wait);
        if (DLOAD_I_FN(i_narrow)(l, b)) {
            dload_status st = DLOAD_I_FN(i_fetch_part)(l, b);
            if (st == DLOAD_PENDING && !DLOAD_I_FN(i_is_done)(l, b))
                return st;
            dload_status ended = st == DLOAD_PENDING ? (dload_status)b->base.done_status : st;
            if (!DLOAD_I_FN(i_has_rest)(l, b, ended, b->base.rest_ttl_ns))
                return st;
            pause_ns = DLOAD_I_ASK_FIRST_NS;
        } else if (!waits) {
            return DLOAD_OK;
        }
        if (!DLOAD_I_FN(i_wait_for_others)(l, b, &pause_ns))
            return DLOAD_OK;
    }
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_RUN_SECOND */
