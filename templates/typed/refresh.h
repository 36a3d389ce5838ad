/* >>refresh -- what loads make of old values: one caller fetches the key anew, the rest have what is there.
 *
 * Who is first has a flight like any miss and waits for it; while that flight is on its way, and only
 * then, others are handed the old value. So nothing has to be taken back when the first gives up: with
 * its flight the mark is gone. The mutex is held everywhere here; a shard's lock is taken inside.
 */
#ifndef DLOAD_I_HAVE_REFRESH
#define DLOAD_I_HAVE_REFRESH

#include "answer.h"

#if DLOAD_I_BODIES && DLOAD_REFRESH

DLOAD_I_LOCAL dload_i_ref *DLOAD_I_FN(i_flight)(DLOAD_NAME *l, const DLOAD_I_ID *id);

/* Does nobody refresh this key who would come to an end? Then the flight that is there, if any, is in
 * nobody's way: it hangs, and its caller left. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_may_refresh)(DLOAD_NAME *l, dload_i_ref *ref)
{
    dload_i_core *c = &l->core;
    if (ref == NULL)
        return true;
    if (ref->batch->state != DLOAD_I_RUNNING || c->run_limit_ns == DLOAD_NEVER ||
        dload_i_now(c->env) <= dload_i_add_ns(ref->batch->started_ns, c->run_limit_ns))
        return false;
    dload_i_detach(c, ref);
    return true;
}

/* Does this very call wait for the flight already? Then it has one answer. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_waits_itself)(const dload_i_ref *ref, const dload_i_parker *p)
{
    const dload_i_flight *f = &ref->batch->flights[ref->place];
    if (p != NULL && f->many != NULL && f->many->parker == p)
        return true;
    for (const dload_i_waiter *w = f->head; w != NULL; w = w->next) {
        if (p != NULL && w->parker == p)
            return true;
    }
    return false;
}

/* Hands out what the entry has. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_hand_out)(DLOAD_NAME *l, DLOAD_I_SHARD *s, DLOAD_I_SLOT *e,
                                                  int age, DLOAD_I_V *out)
{
    DLOAD_I_FN(i_touch)(s, e);
    DLOAD_I_COUNT_HIT(s);
    if ((DLOAD_I_META(e) & DLOAD_I_META_ERROR) != 0)
        return (dload_status)e->u.status;
    dload_status st = DLOAD_I_FN(i_copy)(out, &e->u.value);
    if (st < 0 || age == DLOAD_I_AGE_FRESH)
        return st;
    l->core.stats.stale_hits++;
    return DLOAD_STALE;
}

/* A request that the cache did not answer at first sight: DLOAD_PENDING when it has to wait for a fetch,
 * otherwise its answer. *looked is set where the key was looked up. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_old)(DLOAD_NAME *l, const DLOAD_I_ID *id,
                                                uint32_t *flags, bool *looked, dload_i_waiter *w)
{
    dload_i_core *c = &l->core;
    w->source_only = (*flags & DLOAD_FRESH) != 0;
    if (w->source_only || l->cache.n_shards == 0 ||
        (l->cache.keep_ticks == 0 && l->cache.ahead_pct == 0))
        return DLOAD_PENDING;
    dload_status st = DLOAD_PENDING;
    *looked = true;
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, id->hash);
    DLOAD_I_ACQUIRE(&s->lock);
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    uint64_t tick = DLOAD_I_FN(i_tick)(&l->cache, s);
    int age = e == NULL ? DLOAD_I_AGE_NONE : DLOAD_I_FN(i_age)(&l->cache, s, e, tick);
    if (age == DLOAD_I_AGE_FRESH || age == DLOAD_I_AGE_STALE) {
        bool wanted = age == DLOAD_I_AGE_STALE ? !DLOAD_I_FN(i_failed_lately)(e, tick)
                                               : (DLOAD_I_META(e) & DLOAD_I_META_DRAWN) != 0;
        dload_i_ref *ref = DLOAD_I_FN(i_flight)(l, id);
        bool has_room = c->n_flights < c->max_queue && dload_i_has_turn(c, w->parker);
        bool refresh = wanted && has_room && DLOAD_I_FN(i_may_refresh)(l, ref);
        if (refresh && DLOAD_STORE && age == DLOAD_I_AGE_FRESH)
            *flags |= DLOAD_FRESH; /* the store has what the cache has */
        if (refresh)
            c->stats.refreshes++;
        else if (ref == NULL || !DLOAD_I_FN(i_waits_itself)(ref, w->parker))
            st = DLOAD_I_FN(i_hand_out)(l, s, e, age, (DLOAD_I_V *)w->out);
        if (age == DLOAD_I_AGE_STALE)
            DLOAD_I_FN(i_stay)(&l->cache, s, e, tick);
    }
    DLOAD_I_RELEASE(&s->lock);
    return st;
}

/* What the key at place i of a batch is known by. */
DLOAD_I_LOCAL DLOAD_I_ID DLOAD_I_FN(i_id_at)(const dload_i_batch *base, uint32_t i)
{
    DLOAD_I_ID id;
    id.hash = base->flights[i].hash;
    id.key = ((const DLOAD_I_BATCH *)(const void *)base)->own_keys[i];
#if DLOAD_GROUP
    id.group = base->group;
#endif
    return id;
}

/* The key at place i was answered with an error: its old value, if it may be handed out, is put at its
 * place for those who wait. For a while nobody tries again. */
DLOAD_I_UNUSED static void DLOAD_I_FN(i_keep_at)(void *owner, dload_i_batch *base, uint32_t i)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    dload_i_flight *f = &base->flights[i];
    if (f->status == DLOAD_MISSING || f->status == DLOAD_ECLOSED || f->detached ||
        base->token < l->core.clear_all_seq || l->cache.n_shards == 0)
        return;
    DLOAD_I_ID id = DLOAD_I_FN(i_id_at)(base, i);
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, id.hash);
    DLOAD_I_ACQUIRE(&s->lock);
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, &id);
    uint64_t tick = DLOAD_I_FN(i_tick)(&l->cache, s);
    int age = e == NULL ? DLOAD_I_AGE_NONE : DLOAD_I_FN(i_age)(&l->cache, s, e, tick);
    bool keep = age == DLOAD_I_AGE_FRESH ||
                (age != DLOAD_I_AGE_NONE && tick - e->end < l->cache.error_ticks);
    if (keep && (DLOAD_I_META(e) & DLOAD_I_META_ERROR) == 0) {
        e->retry = (uint32_t)tick + l->cache.retry_ticks;
        if (DLOAD_I_FN(i_copy)(&DLOAD_I_FN(i_batch)(base)->values[i], &e->u.value) >= 0) {
            f->kept = age == DLOAD_I_AGE_FRESH ? 2 : 1;
            f->holds = DLOAD_I_FN(i_owe_value)(DLOAD_I_FN(i_batch)(base), i);
        }
    }
    DLOAD_I_RELEASE(&s->lock);
}

/* The key's answer is not to be kept: its old value is not either. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_forget_old)(DLOAD_NAME *l, dload_i_batch *base, uint32_t i)
{
    dload_i_flight *f = &base->flights[i];
    DLOAD_I_ID id = DLOAD_I_FN(i_id_at)(base, i);
    if (!DLOAD_I_LEAVES || f->status == DLOAD_MISSING) {
        DLOAD_I_FN(removed) old;
        if (DLOAD_I_FN(i_drop)(&l->cache, &id, &old) && DLOAD_I_LEAVES)
            f->holds = DLOAD_I_FN(i_owe_old)(DLOAD_I_FN(i_batch)(base), i, &old);
        return;
    }
#if DLOAD_I_OWNED
    /* With a value, there is no place for another one to release. */
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, id.hash);
    DLOAD_I_ACQUIRE(&s->lock);
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, &id);
    uint64_t tick = DLOAD_I_FN(i_tick)(&l->cache, s);
    if (e != NULL && (DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) != 0 &&
        (int32_t)(e->expiry - (uint32_t)tick) <= 0)
        e->end = 0; /* nobody hands it out, and the wheel takes it */
    DLOAD_I_RELEASE(&s->lock);
#endif
}

/* Early refreshes are drawn for by what a fetch takes. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_learn_ahead)(DLOAD_NAME *l, const dload_i_batch *base)
{
    uint64_t run_ns = base->ended_ns - base->started_ns;
    uint64_t delta_ns = l->core.fetch_ns != 0 ? l->core.fetch_ns : run_ns;
    delta_ns = delta_ns < DLOAD_I_AHEAD_MAX ? delta_ns : DLOAD_I_AHEAD_MAX;
    delta_ns = delta_ns * l->cache.ahead_pct / 100;
    delta_ns = delta_ns < DLOAD_I_AHEAD_MAX ? delta_ns : DLOAD_I_AHEAD_MAX;
#if DLOAD_LOCK == DLOAD_LOCK_CUSTOM
    DLOAD_I_ACQUIRE(&l->cache.one.lock); /* eight bytes may be two words: readers have the lock */
    l->cache.ahead_ns = delta_ns;
    DLOAD_I_RELEASE(&l->cache.one.lock);
#else
    DLOAD_I_STORE_RELAXED(&l->cache.ahead_ns, delta_ns);
#endif
}

/* Before an answer is stored. True when there is nothing to store: an old value was kept instead. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_settle_old)(DLOAD_NAME *l, dload_i_batch *base, uint32_t i)
{
    const dload_i_flight *f = &base->flights[i];
    if (l->cache.n_shards == 0)
        return false;
    if (l->cache.ahead_pct != 0)
        DLOAD_I_FN(i_learn_ahead)(l, base);
    if (f->kept == 0 && f->ttl_ns == 0 && (f->status >= 0 || f->status == DLOAD_MISSING))
        DLOAD_I_FN(i_forget_old)(l, base, i);
    return f->kept != 0;
}

#endif /* DLOAD_I_BODIES && DLOAD_REFRESH */
#endif /* DLOAD_I_HAVE_REFRESH */
