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

/* The function is through with a batch: what it answered goes to the store, and then the locks go back. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_fetched)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                         uint64_t rest_ttl_ns)
{
    bool holds = DLOAD_I_FN(i_holds_locks)(l, b);
    if (DLOAD_I_FN(i_has_second)(l))
        DLOAD_I_FN(i_write_back)(l, b, status, rest_ttl_ns, holds);
    DLOAD_I_FN(i_unlock_batch)(l, b);
}

/* Runs a batch: what the core calls instead of the function, and, when the store took its time, once more. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_run_second)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    const bool has_store = DLOAD_I_FN(i_has_second)(l);
    dload_i_letter *t = b->got;
    b->got = NULL;
    if (t != NULL)
        DLOAD_I_FN(i_take_answers)(l, b, t, true, false);
    else if (has_store && DLOAD_I_FN(i_ask_store)(l, b, false) == DLOAD_PENDING)
        return DLOAD_PENDING;
    bool goes_on = DLOAD_I_FN(i_narrow)(l, b);
    if (goes_on && DLOAD_I_FN(i_lock_batch)(l, b)) {
        if (has_store)
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

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_RUN_SECOND */
