/* The rules of history.h, looked for in a window of records: O(n log n) for n of them. */
#include "history/window.c"

/* ---- answers ---- */

/* Of the windows before. */
static uint64_t past_floor(const struct hist *h, uint32_t key)
{
    uint64_t wide = greater(h->past_wides[0].start, h->past_wides[wide_of(h, key)].start);
    return greater(h->past[key].clear_start, wide);
}

/* F(r): no clear that had returned at this moment began later. */
static uint64_t clear_floor(const struct hist *h, uint32_t key, uint64_t moment)
{
    uint64_t own = index_before(&h->clears, key, moment);
    uint64_t group = index_before(&h->wides, wide_of(h, key), moment);
    uint64_t all = index_before(&h->wides, 0, moment);
    return greater(greater(own, group), greater(all, past_floor(h, key)));
}

/* The newest version whose write had returned when the clear began that floor is the start of. */
static uint32_t version_floor(const struct hist *h, uint32_t key, uint64_t floor)
{
    const struct past *past = &h->past[key];
    if (floor <= past_floor(h, key)) {
        return past->floor; /* no clear of this window */
    }
    return (uint32_t)greater(past->version, index_before(&h->written, key, floor));
}

static void check_version(struct hist *h, const struct hist_read *r)
{
    const struct hist_value *v = &r->value;
    uint32_t newest = (uint32_t)greater(h->past[r->key].version, index_most(&h->written, r->key));
    /* A version is not older than the write of any version before it. */
    uint64_t born = index_before(&h->born, r->key, (uint64_t)v->version + 1);
    if (v->version > newest || (v->version > h->past[r->key].version && born > r->end)) {
        hist_breach(h, HIST_RULE_FUTURE,
                    "key %" PRIu32 ": version %" PRIu32 " was read until %" PRIu64
                    ", the write began at %" PRIu64,
                    r->key, v->version, r->end, v->version > newest ? HIST_NEVER : born);
    }
}

/* Was it still there, and might the reader have it? fate: see fate_of(). */
static void check_stored(struct hist *h, const struct hist_read *r, uint64_t fate)
{
    const struct hist_value *v = &r->value;
    bool fetched = v->kind == HIST_FETCHED, refused = !fetched && fate == HIST_NEVER;
    uint64_t stored = fetched ? v->began : fate;
    uint64_t bring =
        greater(h->past[r->key].bring_start, index_before(&h->brings, r->key, r->start));
    if (stored < bring) {
        hist_breach(h, HIST_RULE_REPLACED,
                    "key %" PRIu32 ": from %" PRIu64 ", by a read from %" PRIu64
                    " on, after one of %" PRIu64 " had been put in its place",
                    r->key, stored, r->start, bring);
    }
    if (r->fresh && (!fetched || v->began < r->start)) {
        hist_breach(h, HIST_RULE_NOT_FRESH,
                    "key %" PRIu32 ": from %" PRIu64 ", asked fresh at %" PRIu64, r->key, v->began,
                    r->start);
    }
    uint64_t ttl_ns = h->setup.ttl_ns;
    if (!fetched && ttl_ns != 0 && r->start > fate && r->start - fate > ttl_ns) {
        hist_breach(h, HIST_RULE_EXPIRED,
                    "key %" PRIu32 ": stored by %" PRIu64 ", by a read from %" PRIu64 " on", r->key,
                    fate, r->start);
    }
    if (refused || (fetched && fate != 0 && r->start > fate)) {
        hist_breach(h, HIST_RULE_LOST,
                    "key %" PRIu32 ": from %" PRIu32 ", lost at %" PRIu64
                    ", by a read from %" PRIu64 " on",
                    r->key, v->origin, fate, r->start);
    }
}

static void check_value(struct hist *h, const struct hist_read *r)
{
    const struct hist_value *v = &r->value;
    uint64_t fate = fate_of(h, v->origin);
    if (!value_is_whole(v) || v->key != r->key || (v->kind != HIST_FETCHED && fate == 0)) {
        hist_breach(h, HIST_RULE_VALUE,
                    "key %" PRIu32 ": the value of key %" PRIu32 ", version %" PRIu32
                    ", from %" PRIu32,
                    r->key, v->key, v->version, v->origin);
        return;
    }
    check_version(h, r);
    uint64_t floor = clear_floor(h, r->key, r->start);
    uint64_t began = v->kind == HIST_PRIMED ? fate : v->began;
    uint32_t least = version_floor(h, r->key, floor);
    if (v->kind != HIST_PRIMED && v->version < least) {
        hist_breach(h, HIST_RULE_STALE,
                    "key %" PRIu32 ": version %" PRIu32 " by a read from %" PRIu64
                    " on, after a clear of version %" PRIu32 " had returned",
                    r->key, v->version, r->start, least);
    }
    if (began < floor) {
        hist_breach(h, HIST_RULE_OUTDATED,
                    "key %" PRIu32 ": from %" PRIu64 ", by a read from %" PRIu64
                    " on, after a clear from %" PRIu64 " on had returned",
                    r->key, began, r->start, floor);
    }
    check_stored(h, r, fate);
}

static bool may_be_lost(const struct hist *h, const struct hist_flight *f, uint64_t moment)
{
    return moment > f->sent && moment - f->sent > h->setup.run_limit_ns;
}

/* Can this flight have given the reader what it got? */
static bool gave(const struct hist *h, const struct hist_flight *f, const struct hist_read *r)
{
    if (f->sent > r->end || f->gone < r->start) {
        return false;
    }
    if (r->outcome == HIST_TIMEOUT) { /* its batch was given up, and the reader with it */
        return may_be_lost(h, f, f->gone) && may_be_lost(h, f, r->end);
    }
    return f->outcome == r->outcome && (r->outcome != HIST_ERROR || f->origin == r->value.origin);
}

/* An answer without a value is kept nowhere: the flight it is from was on its way meanwhile, and was not
 * sent before a clear that had returned. The rule that this breaks, or HIST_N_RULES. */
static enum hist_rule judge_error(const struct hist *h, const struct hist_read *r)
{
    const struct sorted_flight *all = h->flights;
    uint64_t floor = clear_floor(h, r->key, r->start);
    enum hist_rule rule = r->outcome == HIST_TIMEOUT ? HIST_RULE_EARLY : HIST_RULE_STATUS;
    floor = r->fresh ? r->start : floor;
    for (uint32_t i = h->first_flight[r->key + 1]; i-- > h->first_flight[r->key];) {
        if (all[i].gone_most < r->start) {
            break;
        }
        if (!gave(h, &all[i].f, r)) {
            continue;
        }
        if (all[i].f.sent >= floor) {
            return HIST_N_RULES;
        }
        rule = r->fresh ? HIST_RULE_NOT_FRESH : HIST_RULE_OUTDATED;
    }
    return rule;
}

static void check_error(struct hist *h, const struct hist_read *r)
{
    enum hist_rule rule = HIST_RULE_STATUS;
    switch (r->outcome) {
    case HIST_TIMEOUT:
        rule = r->deadline != 0 && r->end >= r->deadline ? HIST_N_RULES : judge_error(h, r);
        break;
    case HIST_ERROR:
    case HIST_MISSING:
        rule = judge_error(h, r);
        break;
    case HIST_FULL:
        rule = r->may_fail ? HIST_N_RULES : rule;
        break;
    case HIST_CIRCLE:
        rule = r->nested ? HIST_N_RULES : rule;
        break;
    default:
        break;
    }
    if (rule != HIST_N_RULES) {
        hist_breach(h, rule,
                    "key %" PRIu32 ": outcome %d of batch %" PRIu32 " by a read from %" PRIu64
                    " to %" PRIu64 ", deadline %" PRIu64,
                    r->key, (int)r->outcome, r->value.origin, r->start, r->end, r->deadline);
    }
}

static void check_read(struct hist *h, const struct hist_read *r)
{
    if (r->outcome == HIST_VALUE) {
        check_value(h, r);
    } else {
        check_error(h, r);
    }
    if (r->deadline != 0 && r->end > r->deadline) {
        uint64_t late_ns = r->end - r->deadline;
        h->latest_ns = greater(h->latest_ns, late_ns);
        if (late_ns > h->setup.late_ns) {
            hist_breach(h, HIST_RULE_LATE, "key %" PRIu32 ": %" PRIu64 " us after the deadline",
                        r->key, late_ns / 1000);
        }
    }
}

/* ---- fetches ---- */

/* Between the sending of one fetch and the other, may something have let the key be fetched anew? */
static bool excused(const struct hist *h, uint32_t key, uint64_t after, uint64_t before)
{
    uint32_t wide = wide_of(h, key);
    uint64_t here = greater(index_before(&h->excuses, key, before),
                            greater(index_before(&h->wide_excuses, wide, before),
                                    index_before(&h->wide_excuses, 0, before)));
    uint64_t past =
        greater(h->past[key].excuse_end, greater(h->past_wides[wide].end, h->past_wides[0].end));
    return greater(here, past) > after;
}

static void check_pair(struct hist *h, const struct hist_flight *f, const struct hist_flight *next)
{
    if (f->origin == next->origin) {
        hist_breach(h, HIST_RULE_TWICE, "key %" PRIu32 ": batch %" PRIu32, f->key, f->origin);
    } else if (!may_be_lost(h, f, next->sent) && !excused(h, f->key, f->sent, next->sent)) {
        hist_breach(h, HIST_RULE_FLIGHT,
                    "key %" PRIu32 ": batch %" PRIu32 " from %" PRIu64 " to %" PRIu64
                    ", and batch %" PRIu32 " at %" PRIu64,
                    f->key, f->origin, f->sent, f->end, next->origin, next->sent);
    }
}

/* In the order of sending: pairs that overlap, and a fetch of what the one before had got. */
static void check_flights(struct hist *h, uint32_t key)
{
    struct past *past = &h->past[key];
    size_t n = h->first_flight[key + 1] - h->first_flight[key];
    const struct sorted_flight *all = n ? h->flights + h->first_flight[key] : NULL;
    for (size_t i = 0; i < n; i++) {
        const struct hist_flight *f = &all[i].f;
        for (size_t k = i; k > 0 && all[k - 1].end_most > f->sent; k--) {
            if (all[k - 1].f.end > f->sent) {
                check_pair(h, &all[k - 1].f, f);
            }
        }
        bool over = i == 0 || all[i - 1].f.end < f->sent;
        if (h->setup.never_evicts && past->cached && over &&
            !excused(h, key, past->sent, f->sent)) {
            hist_breach(h, HIST_RULE_AGAIN,
                        "key %" PRIu32 ": by batch %" PRIu32 " at %" PRIu64
                        ", its value is there since one of %" PRIu64,
                        key, f->origin, f->sent, past->sent);
        }
        past->sent = f->sent;
        /* When it was delivered may not be known; nobody is held up for half of the limit. */
        uint64_t gone = f->gone != HIST_NEVER ? f->gone : f->end + h->setup.run_limit_ns / 2;
        past->cached = f->outcome == HIST_VALUE && !may_be_lost(h, f, gone);
    }
}

/* ---- the rest ---- */

static void check_brings(struct hist *h, struct hist_log *logs, size_t n_logs)
{
    EACH(const struct hist_bring, b, logs, n_logs, HIST_BRINGS)
    {
        if (b->kind != HIST_PUT_IF) {
            continue;
        }
        if (b->outcome == HIST_REFUSED) {
            struct hist_refusal since = {b->token_start, b->end};
            (void)hist_add(&logs[log_], HIST_REFUSALS, &since);
        } else if (clear_floor(h, b->key, b->start) > b->token_end) {
            hist_breach(h, HIST_RULE_PUT_IF,
                        "key %" PRIu32 ": put at %" PRIu64 " with a token of %" PRIu64
                        ", cleared since",
                        b->key, b->start, b->token_end);
        }
    }
    EACH(const struct hist_refusal, f, logs, n_logs, HIST_REFUSALS)
    {
        if (index_before(&h->removals, 0, f->end) <= f->from) {
            hist_breach(h, HIST_RULE_REFUSED, "at %" PRIu64 ", nothing cleared since %" PRIu64,
                        f->end, f->from);
        }
    }
    EACH(const struct hist_request, q, logs, n_logs, HIST_REQUESTS)
    {
        if (q->n_called != (q->cancelled ? 0 : 1)) {
            hist_breach(
                h, HIST_RULE_CALLED,
                "key %" PRIu32 ": started at %" PRIu64 ", %s, called back %" PRIu32 " times",
                q->key, q->start, q->cancelled ? "cancelled" : "not cancelled", q->n_called);
        }
    }
}

/* What later windows need to know of this one. */
static void close_window(struct hist *h, struct hist_log *logs, size_t n_logs)
{
    for (uint32_t k = 0; k < h->setup.n_keys; k++) {
        struct past *past = &h->past[k];
        past->floor = version_floor(h, k, clear_floor(h, k, HIST_NEVER));
        past->version = (uint32_t)greater(past->version, index_most(&h->written, k));
        past->clear_start = greater(past->clear_start, index_most(&h->clears, k));
        past->bring_start = greater(past->bring_start, index_most(&h->brings, k));
        past->excuse_end = greater(past->excuse_end, index_most(&h->excuses, k));
    }
    for (uint32_t i = 0; i <= h->setup.n_groups; i++) {
        h->past_wides[i].start = greater(h->past_wides[i].start, index_most(&h->wides, i));
        h->past_wides[i].end = greater(h->past_wides[i].end, index_most(&h->wide_excuses, i));
    }
    for (size_t i = 0; i < n_logs; i++) {
        for (size_t what = 0; what < HIST_N_LISTS; what++) {
            h->seen[what] += logs[i].lists[what].n;
        }
    }
}

size_t hist_check(struct hist *h, struct hist_log *logs, size_t n_logs)
{
    take_clears(h, logs, n_logs);
    take_brings(h, logs, n_logs);
    sort_flights(h, logs, n_logs);
    build_all(h);
    EACH(const struct hist_read, r, logs, n_logs, HIST_READS)
    {
        check_read(h, r);
    }
    for (uint32_t k = 0; k < h->setup.n_keys; k++) {
        check_flights(h, k);
    }
    check_brings(h, logs, n_logs);
    close_window(h, logs, n_logs);
    return h->n_all_breaches;
}
