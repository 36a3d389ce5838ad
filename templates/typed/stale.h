/* >>stale -- the times of an entry that may be old, refreshed early, or forgotten for want of readers.
 *
 * With DLOAD_REFRESH an entry has three times. Its TTL ends at end. Until gone it may still be handed out:
 * stale_ns, or stale_error_ns when its fetch fails; the wheel removes it then, or when it was idle for
 * too long. Up to expiry a hit need not look at any of that. What is behind expiry takes the shard's
 * lock and is looked at here: is it to be refreshed early (XFetch: Vattani, Chierichetti and Lowenstein,
 * VLDB 2015), and how much longer does it stay now that it was read? So a hit is as cheap as without.
 *
 * Everything here works on one shard whose lock is held, like table.h.
 */
#ifndef DLOAD_I_HAVE_STALE
#define DLOAD_I_HAVE_STALE

#include "remove.h"

#if DLOAD_I_BODIES && DLOAD_REFRESH

#ifndef DLOAD_I_AGE_NONE
#define DLOAD_I_AGE_NONE  0 /* cannot be handed out */
#define DLOAD_I_AGE_FRESH 1
#define DLOAD_I_AGE_STALE 2 /* past its TTL, and still allowed */
#define DLOAD_I_AGE_SPARE 3 /* only when its fetch fails */

#define DLOAD_I_LAST_TICK (UINT64_MAX >> DLOAD_I_TICK_SHIFT)
#define DLOAD_I_AHEAD_SPAN \
    16u /* delta * beta: what is earlier than so many has no chance to speak of */
#define DLOAD_I_AHEAD_MAX (UINT64_C(1) << 40) /* ns; so that nothing below wraps */
#define DLOAD_I_RETRY_PART \
    16u /* of stale_error_ns: how long a refresh that failed is not tried again, */
#define DLOAD_I_RETRY_MAX ((uint32_t)(DLOAD_SECOND >> DLOAD_I_TICK_SHIFT)) /* and at most */
#endif

/* What the configuration says, in ticks, rounded down: nothing is handed out longer than asked for. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_set_windows)(DLOAD_I_CACHE *c, uint64_t stale_ns, uint64_t error_ns,
                                             uint32_t ahead_pct, uint64_t idle_ns)
{
    const uint64_t longest = DLOAD_I_LAST_TICK / 4;
    c->stale_ticks = stale_ns >> DLOAD_I_TICK_SHIFT;
    c->error_ticks = error_ns >> DLOAD_I_TICK_SHIFT;
    c->stale_ticks = c->stale_ticks < longest ? c->stale_ticks : longest;
    c->error_ticks = c->error_ticks < longest ? c->error_ticks : longest;
    c->keep_ticks = c->stale_ticks > c->error_ticks ? c->stale_ticks : c->error_ticks;
    c->retry_ticks = DLOAD_I_RETRY_MAX;
    if (c->error_ticks != 0 && c->error_ticks / DLOAD_I_RETRY_PART < DLOAD_I_RETRY_MAX)
        c->retry_ticks = (uint32_t)(c->error_ticks / DLOAD_I_RETRY_PART) + 1;
    c->ahead_pct = ahead_pct;
    c->idle_ticks = idle_ns >> DLOAD_I_TICK_SHIFT;
    if (idle_ns != 0) /* a part of a tick cannot be told apart: nothing goes too soon */
        c->idle_ticks = c->idle_ticks < longest ? c->idle_ticks + 1 : 0;
}

/* Now, in ticks; the wheel's time when the clock is behind it. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_tick)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s)
{
#if DLOAD_CLOCK == DLOAD_CLOCK_MANUAL
    (void)c;
    return s->wheel.now;
#else
    uint64_t tick = DLOAD_I_FN(i_now)(c) >> DLOAD_I_TICK_SHIFT;
    return tick > s->wheel.now ? tick : s->wheel.now;
#endif
}

/* The tick at which the wheel removes an entry that expires. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_gone)(const DLOAD_I_SHARD *s, const DLOAD_I_SLOT *e)
{
    return dload_i_wheel_end(&s->wheel, (uint32_t)(e - s->slots), e->gone);
}

/* Did a refresh of the entry fail a moment ago? */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_failed_lately)(const DLOAD_I_SLOT *e, uint64_t tick)
{
    return e->retry - (uint32_t)tick - 1 < DLOAD_I_RETRY_MAX;
}

/* May the entry be handed out at tick? */
DLOAD_I_LOCAL int DLOAD_I_FN(i_age)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                    const DLOAD_I_SLOT *e, uint64_t tick)
{
    if (((DLOAD_I_META(e) ^ s->epoch) & DLOAD_I_EPOCH_MASK) != 0)
        return DLOAD_I_AGE_NONE;
    if ((DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) == 0)
        return DLOAD_I_AGE_FRESH;
    if (tick >= DLOAD_I_FN(i_gone)(s, e))
        return DLOAD_I_AGE_NONE;
    if (tick < e->end)
        return DLOAD_I_AGE_FRESH;
    if ((DLOAD_I_META(e) & DLOAD_I_META_ERROR) != 0)
        return DLOAD_I_AGE_NONE;
    if (tick - e->end < c->stale_ticks)
        return DLOAD_I_AGE_STALE;
    return DLOAD_I_FN(i_failed_lately)(e, tick) ? DLOAD_I_AGE_STALE : DLOAD_I_AGE_SPARE;
}

DLOAD_I_NOINLINE bool DLOAD_I_FN(i_expired_far)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                                const DLOAD_I_SLOT *e)
{
    uint64_t tick = DLOAD_I_FN(i_tick)(c, s);
    return tick >= e->end || tick >= DLOAD_I_FN(i_gone)(s, e);
}

/* From which tick on early refreshes are drawn for. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_ahead_from)(const DLOAD_I_CACHE *c, const DLOAD_I_SLOT *e)
{
    uint64_t span_ns = DLOAD_I_LOAD_RELAXED(&c->ahead_ns) * DLOAD_I_AHEAD_SPAN;
    uint64_t span = span_ns >> DLOAD_I_TICK_SHIFT;
    return e->end > span ? e->end - span : 0;
}

/* When an entry goes that everybody reads. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_latest)(const DLOAD_I_CACHE *c, const DLOAD_I_SLOT *e)
{
    return e->end + ((DLOAD_I_META(e) & DLOAD_I_META_ERROR) != 0 ? 0 : c->keep_ticks);
}

/* When an entry goes that is written or read at tick. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_goes_at)(const DLOAD_I_CACHE *c, const DLOAD_I_SLOT *e,
                                             uint64_t tick)
{
    uint64_t gone = DLOAD_I_FN(i_latest)(c, e);
    uint64_t idle = tick + c->idle_ticks + c->idle_ticks / 8 + 1;
    return c->idle_ticks != 0 && idle < gone ? idle : gone;
}

/* How far hits need not look at the entry: nobody draws yet, and who reads it need not make it stay. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_set_horizon)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                             DLOAD_I_SLOT *e)
{
    uint64_t now = s->wheel.now;
    uint64_t gone = DLOAD_I_FN(i_gone)(s, e);
    uint64_t horizon = DLOAD_I_FN(i_ahead_from)(c, e);
    if (gone < DLOAD_I_FN(i_latest)(c, e) && horizon > gone - c->idle_ticks)
        horizon = gone - c->idle_ticks;
    horizon = horizon > now ? horizon : now;
    if (horizon - now > DLOAD_I_WHEEL_ROUND)
        horizon = now + DLOAD_I_WHEEL_ROUND; /* ticks compare as 32-bit numbers */
    DLOAD_I_STORE_RELEASE(&e->expiry, (uint32_t)horizon);
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_schedule)(DLOAD_I_SHARD *s, uint32_t slot, uint64_t gone)
{
    s->slots[slot].gone = dload_i_wheel_arm(&s->wheel, slot, gone);
}

/* Sets the times of the entry in slot, whose meta is otherwise complete. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_arm)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint32_t slot,
                                     uint64_t now_ns, uint64_t ttl_ns)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    bool ends = ttl_ns < DLOAD_NEVER - 1;
    if (!ends && c->idle_ticks == 0)
        return;
    uint64_t end_ns = ends ? dload_i_add_ns(now_ns, DLOAD_I_FN(i_jitter)(c, ttl_ns)) : DLOAD_NEVER;
    uint64_t tick = now_ns >> DLOAD_I_TICK_SHIFT;
    tick = tick > s->wheel.now ? tick : s->wheel.now;
    e->end = end_ns >> DLOAD_I_TICK_SHIFT;
    if (e->end > DLOAD_I_LAST_TICK - c->keep_ticks)
        e->end = DLOAD_I_LAST_TICK - c->keep_ticks;
    e->retry = (uint32_t)tick;
    DLOAD_I_META_WRITE(e, DLOAD_I_META(e) | DLOAD_I_META_EXPIRES);
    DLOAD_I_FN(i_schedule)(s, slot, DLOAD_I_FN(i_goes_at)(c, e, tick));
    DLOAD_I_FN(i_set_horizon)(c, s, e);
}

/* The tick at which the slot's entry is gone was far, and has come nearer. A horizon that lies behind
 * stays within reach of 32-bit numbers. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_rearm)(DLOAD_I_SHARD *s, uint32_t slot, uint64_t end)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    uint32_t now = (uint32_t)s->wheel.now;
    if ((int32_t)(e->expiry - now) < 0)
        DLOAD_I_STORE_RELEASE(&e->expiry, now);
    DLOAD_I_FN(i_schedule)(s, slot, end);
}

/* Is a reader at tick the one who refreshes early? Its chance is e^(-left / (beta * delta)). */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_draw)(const DLOAD_I_CACHE *c, const DLOAD_I_SLOT *e, uint64_t tick)
{
    uint64_t scale_ns = DLOAD_I_LOAD_RELAXED(&c->ahead_ns);
    if (scale_ns == 0 || tick < DLOAD_I_FN(i_ahead_from)(c, e))
        return false;
    uint64_t left_ns = (e->end - tick) << DLOAD_I_TICK_SHIFT;
    uint64_t r = DLOAD_I_FN(i_random)((DLOAD_I_CACHE *)(uintptr_t)c); /* its seed is atomic */
    return (dload_i_neg_ln(r) * scale_ns) >> 16 >= left_ns;
}

/* An entry that is read at tick stays for an idle time from then on; an eighth more, so that few readers have
 * to see to it. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_stay)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_SLOT *e,
                                      uint64_t tick)
{
    uint64_t gone = DLOAD_I_FN(i_goes_at)(c, e, tick);
    uint64_t before = DLOAD_I_FN(i_gone)(s, e);
    if (before < gone && before <= tick + c->idle_ticks)
        DLOAD_I_FN(i_schedule)(s, DLOAD_I_FN(i_slot_of)(s, e), gone);
}

/* A reader came by behind the entry's horizon. True when it is a hit, and then it stays as long as a read
 * entry does; false when it is past its time, or when this reader is to refresh it. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_hold)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_SLOT *e)
{
    uint32_t slot = DLOAD_I_FN(i_slot_of)(s, e);
    uint64_t tick = DLOAD_I_FN(i_tick)(c, s);
    if (DLOAD_I_FN(i_age)(c, s, e, tick) != DLOAD_I_AGE_FRESH)
        return false;
    DLOAD_I_FN(i_stay)(c, s, e, tick);
    DLOAD_I_FN(i_set_horizon)(c, s, e);
    if ((DLOAD_I_META(e) & DLOAD_I_META_ERROR) != 0 || DLOAD_I_FN(i_failed_lately)(e, tick) ||
        !DLOAD_I_FN(i_draw)(c, e, tick))
        return true;
    dload_i_meta_set(&s->evict, slot, DLOAD_I_META(e) | DLOAD_I_META_DRAWN);
    return false;
}

#endif /* DLOAD_I_BODIES && DLOAD_REFRESH */
#endif /* DLOAD_I_HAVE_STALE */
