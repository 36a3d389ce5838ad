/* >>leased -- leases of a batch: its own, which it fetches for, and those of others, which it waits for.
 *
 * The function is called for what is the batch's own; what it answered is stored and published. Then the store is
 * asked for the rest, until each key is there, is the batch's own, or nobody wants it any more. Where the
 * store does not answer the rest is fetched, too, and not stored.
 */
#ifndef DLOAD_I_HAVE_LEASED
#define DLOAD_I_HAVE_LEASED

#include "locked.h"

#if DLOAD_I_BODIES && DLOAD_STORE

/* What a LEASE said of the key of item i, which it gave no value. The mutex is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_note_lease)(DLOAD_I_BATCH *b, const dload_i_letter *t, uint32_t i)
{
    const dload_store_item *item = &t->items[i];
    dload_i_flight *f = &b->base.flights[t->marks[i].place];
    if (item->status == DLOAD_MISSING)
        f->second |= DLOAD_I_SECOND_MINE;
    if (item->status != DLOAD_EBUSY)
        return;
    f->second |= DLOAD_I_SECOND_BUSY;
    f->second &= (uint8_t)~DLOAD_I_SECOND_MINE;
    b->ask_in_ns = item->ttl_ns < b->ask_in_ns ? item->ttl_ns : b->ask_in_ns;
}

/* The text of a key, to be deleted in the store. The mutex is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_delete_place)(DLOAD_NAME *l, const DLOAD_I_BATCH *b, uint32_t place)
{
    char text[DLOAD_I_KEYTEXT_MAX];
    dload_str tail;
    size_t n = DLOAD_I_FN(i_key_text)(text, b->base.group, &b->own_keys[place], &tail);
    dload_i_clear_later(&l->second, b->base.flights[place].hash, DLOAD_GROUP ? b->base.group : 0,
                        false, text, n, tail);
}

/* After an answer to LEASE. A value that cannot be used stands in the way of leases: it is deleted. The mutex is
 * held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_after_lease)(DLOAD_NAME *l, DLOAD_I_BATCH *b,
                                             const dload_i_letter *t, bool again)
{
    for (uint32_t i = 0; i < t->n && t->status >= 0 && t->op.kind == DLOAD_STORE_LEASE; i++) {
        const dload_status st = (dload_status)t->marks[i].status;
        DLOAD_I_FN(i_note_lease)(b, t, i);
        if (t->items[i].status == DLOAD_OK &&
            (st == DLOAD_ECORRUPT || st == DLOAD_ELAYOUT || st == DLOAD_EDECODE))
            DLOAD_I_FN(i_delete_place)(l, b, t->marks[i].place);
        if (t->items[i].status == DLOAD_EBUSY)
            l->core.stats.leases_waited += !again;
    }
}

/* How many places have one of these bits. The mutex is held. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_count_places)(const DLOAD_I_BATCH *b, uint8_t bits)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->base.n; i++)
        n += (b->base.flights[i].second & bits) != 0 && !b->base.flights[i].answered;
    return n;
}

/* Nobody is waited for any more: keys that others have leases of are fetched like those that are nobody's. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_wait_for_none)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    for (uint32_t i = 0; i < b->base.n; i++)
        b->base.flights[i].second &= (uint8_t)~DLOAD_I_SECOND_BUSY;
    DLOAD_I_LEAVE(l);
}

/* Ends what the batch has leases of and did not fill: mutant LEASE_KEPT. The function is through. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_end_leases)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    dload_i_second *s = &l->second;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_i_letter *t = dload_i_letter_take(s, DLOAD_STORE_DROP);
    for (uint32_t i = 0; i < b->base.n && t != NULL; i++) {
        dload_i_flight *f = &b->base.flights[i];
        const uint8_t bits =
            f->second & (DLOAD_I_SECOND_MINE | DLOAD_I_SECOND_GIVEN | DLOAD_I_SECOND_OVER);
        char text[DLOAD_I_KEYTEXT_MAX];
        dload_str tail;
        if (bits != DLOAD_I_SECOND_MINE)
            continue;
        size_t n = DLOAD_I_FN(i_key_text)(text, b->base.group, &b->own_keys[i], &tail);
        if (dload_i_letter_add(t, text, n, tail) == NULL)
            break;
    }
    if (t != NULL && t->n == 0)
        dload_i_letter_give(s, t);
    else if (t != NULL) {
        dload_i_letter_keys(t);
        dload_i_letter_close(t);
        for (uint32_t i = 0; i < t->n; i++)
            dload_i_lease_item(&t->items[i], b->lease, s->lease_ns);
        (void)dload_i_letter_send(s, t);
    }
    if (!s->is_async)
        dload_i_send_clears(s, false); /* of values that were in the way, or out of date */
    DLOAD_I_LEAVE(l);
}

/* What was fetched without the store's being asked is not what it has any more: that goes. The mutex is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_delete_fresh)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    for (uint32_t i = 0; i < b->base.n; i++) {
        const dload_i_flight *f = &b->base.flights[i];
        if (f->answered &&
            (f->second & (DLOAD_I_SECOND_FRESH | DLOAD_I_SECOND_OVER)) == DLOAD_I_SECOND_FRESH)
            DLOAD_I_FN(i_delete_place)(l, b, i);
    }
}

/* The function is through with the keys that it was called for: those it left out have their answer, too, and
 * all are published. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_end_part)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                          uint64_t rest_ttl_ns)
{
    const uint8_t out = DLOAD_I_SECOND_HIT | DLOAD_I_SECOND_BUSY | DLOAD_I_SECOND_OVER;
    for (uint32_t i = 0; i < b->base.n; i++) {
        if ((b->base.flights[i].second & out) != 0)
            continue;
        (void)DLOAD_I_FN(i_answer_at)(b, i, status < 0 ? status : DLOAD_MISSING, NULL, false,
                                      rest_ttl_ns);
    }
    DLOAD_I_ACQUIRE(&l->mutex);
    for (uint32_t i = 0; i < b->base.n; i++) {
        if ((b->base.flights[i].second & out) == 0)
            b->base.flights[i].second |= DLOAD_I_SECOND_OVER;
    }
    if (b->base.state == DLOAD_I_RUNNING) {
        b->base.ended_ns = dload_i_now(l->core.env);
        dload_i_publish_all(&l->core, &b->base, false, DLOAD_OK);
    }
    DLOAD_I_LEAVE(l);
}

/* Waits a little for those who have the leases: true when the store is to be asked again, false when nobody wants
 * the keys any more, and then they have an answer. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_wait_for_others)(DLOAD_NAME *l, DLOAD_I_BATCH *b,
                                                 uint64_t *pause_ns)
{
    const dload_env *env = l->core.env;
    uint64_t now_ns = dload_i_now(env);
    uint64_t span_ns = dload_i_ask_pause(*pause_ns, now_ns ^ b->lease[1] ^ *pause_ns);
    span_ns = b->ask_in_ns < span_ns ? b->ask_in_ns : span_ns;
    *pause_ns = *pause_ns * 2 < DLOAD_I_ASK_LAST_NS ? *pause_ns * 2 : DLOAD_I_ASK_LAST_NS;
    bool wanted = now_ns < b->deadline_ns && DLOAD_I_LOAD_RELAXED(&b->base.n_waiters) != 0;
    DLOAD_I_ACQUIRE(&l->mutex);
    bool runs = b->base.state == DLOAD_I_RUNNING;
    DLOAD_I_LEAVE(l);
    if (wanted && runs) {
        uint64_t left_ns = b->deadline_ns - now_ns;
        dload_i_idle_for(env, span_ns < left_ns ? span_ns + 1 : left_ns);
        return true;
    }
    for (uint32_t i = 0; i < b->base.n; i++) {
        dload_i_flight *f = &b->base.flights[i];
        if ((f->second & DLOAD_I_SECOND_BUSY) != 0)
            (void)DLOAD_I_FN(i_answer_at)(b, i, DLOAD_ETIMEDOUT, NULL, false, 0);
    }
    return false;
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_LEASED */
