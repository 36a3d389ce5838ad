/* The checker of histories against its rules written down naively: every record is held against every
 * other one, of all windows. The histories are random, and mean nothing: most of them break something. */
#include "history/written.h"

/* Everything that was ever written down: what the checker forgets from window to window. */
static struct hist_log all;

static uint64_t n_naive[HIST_N_RULES];

#define EACH_OF(type, name, what)                                \
    if (all.lists[what].n != 0)                                  \
        for (type *name = (type *)(void *)all.lists[what].items, \
                  *name##_end = name + all.lists[what].n;        \
             name != name##_end; name++)

static bool naive_of(const struct hist_span *c, uint32_t key)
{
    return c->key == key || c->key == HIST_ALL || c->key == HIST_GROUP(key % N_GROUPS);
}

static uint64_t naive_floor(uint32_t key, uint64_t moment)
{
    uint64_t floor = 0;
    EACH_OF(const struct hist_span, c, HIST_CLEARS)
    {
        if (naive_of(c, key) && c->end < moment && c->start > floor) {
            floor = c->start;
        }
    }
    return floor;
}

static void naive_read(const struct hist_read *r)
{
    const struct hist_value *v = &r->value;
    uint64_t floor = naive_floor(r->key, r->start), bring = 0, born = 0, stored = v->began;
    uint64_t began = v->began;
    uint32_t least = 0;
    bool lost = false, written = v->version == 0;
    EACH_OF(const struct hist_bring, b, HIST_BRINGS)
    {
        bool kept = b->outcome == HIST_VALUE;
        if (b->origin == v->origin) {
            stored = b->end;
            began = v->kind == HIST_PRIMED ? b->end : began;
            lost = !kept;
        }
        if (b->key == r->key && kept && b->replaces && b->end < r->start && b->start > bring) {
            bring = b->start;
        }
    }
    EACH_OF(const struct hist_write, w, HIST_WRITES)
    {
        if (w->key == r->key && w->end < floor && w->version > least) {
            least = w->version;
        }
        written = written || (w->key == r->key && w->version == v->version);
        if (w->key == r->key && w->version <= v->version && w->start > born) {
            born = w->start;
        }
    }
    EACH_OF(const struct hist_lost, l, HIST_LOST)
    {
        lost = lost || (l->origin == v->origin && r->start > l->from);
    }
    n_naive[HIST_RULE_FUTURE] += !written || born > r->end;
    n_naive[HIST_RULE_STALE] += v->kind != HIST_PRIMED && v->version < least;
    n_naive[HIST_RULE_OUTDATED] += began < floor;
    n_naive[HIST_RULE_REPLACED] += stored < bring && (lost == false || v->kind == HIST_FETCHED);
    n_naive[HIST_RULE_NOT_FRESH] += r->fresh && (v->kind != HIST_FETCHED || v->began < r->start);
    n_naive[HIST_RULE_LOST] += lost;
}

static bool naive_excuse(uint32_t key, uint64_t after, uint64_t before)
{
    bool found = false;
    EACH_OF(const struct hist_span, c, HIST_CLEARS)
    {
        found = found || (naive_of(c, key) && c->start < before && c->end > after);
    }
    EACH_OF(const struct hist_span, f, HIST_FRESH)
    {
        found = found || (f->key == key && f->start < before && f->end > after);
    }
    EACH_OF(const struct hist_bring, b, HIST_BRINGS)
    {
        found = found ||
                (b->key == key && b->outcome == HIST_VALUE && b->start < before && b->end > after);
    }
    return found;
}

static void naive_flight(const struct hist_flight *g)
{
    const struct hist_flight *last = NULL;
    EACH_OF(const struct hist_flight, f, HIST_FLIGHTS)
    {
        if (f->key != g->key || f->sent >= g->sent) {
            continue;
        }
        last = last == NULL || f->sent > last->sent ? f : last;
        n_naive[HIST_RULE_FLIGHT] += f->end > g->sent && g->sent - f->sent <= LIMIT &&
                                     !naive_excuse(g->key, f->sent, g->sent);
    }
    n_naive[HIST_RULE_AGAIN] += last != NULL && last->outcome == HIST_VALUE &&
                                last->gone - last->sent <= LIMIT && last->end < g->sent &&
                                !naive_excuse(g->key, last->sent, g->sent);
}

/* Two moments of a window, no two alike: odd and even numbers of a shuffled row. */
static uint64_t moments[64];
static size_t n_moments;

static void span_of(uint64_t *start, uint64_t *finish)
{
    uint64_t a = moments[n_moments++], b = moments[n_moments++];
    *start = a < b ? a : b;
    *finish = a < b ? b : a;
}

static void random_value(uint64_t *state, uint32_t *origin, uint32_t key, const uint32_t *versions)
{
    struct hist_read r = {.key = key, .fresh = rng_below(state, 8) == 0, .outcome = HIST_VALUE};
    size_t n_brings = all.lists[HIST_BRINGS].n;
    span_of(&r.start, &r.end);
    uint32_t version = (uint32_t)rng_below(state, versions[key] + 2);
    r.value = fetched(key, version, ++*origin, rng_below(state, r.end));
    if (n_brings != 0 && rng_below(state, 2) == 0) {
        const struct hist_bring *b = hist_at(&all, HIST_BRINGS, (size_t)rng_below(state, n_brings));
        r.key = b->key;
        version = (uint32_t)rng_below(state, versions[b->key] + 1);
        r.value = hist_value_of(b->key, version, (enum hist_kind)b->kind, b->origin, b->token_end);
    } else if (rng_below(state, 4) == 0) {
        struct hist_lost l = {.from = rng_below(state, r.end), .origin = *origin};
        l.from = l.from < moments[0] / 64 * 64 ? moments[0] / 64 * 64 : l.from;
        (void)hist_add(&records, HIST_LOST, &l);
    }
    (void)hist_add(&records, HIST_READS, &r);
}

static void random_record(uint64_t *state, uint32_t *origin, uint32_t *versions)
{
    uint32_t key = (uint32_t)rng_below(state, 3);
    struct hist_bring b = {.key = key, .origin = ++*origin, .kind = HIST_PRIMED};
    struct hist_flight f = {.key = key, .origin = ++*origin, .gone = HIST_NEVER};
    uint64_t start = 0, finish = 0;
    switch (rng_below(state, 8)) {
    case 0:
        span_of(&start, &finish);
        clears(rng_below(state, 4) == 0   ? HIST_ALL
               : rng_below(state, 4) == 0 ? HIST_GROUP(key % N_GROUPS)
                                          : key,
               start, finish);
        break;
    case 1:
        span_of(&start, &finish);
        writes(key, ++versions[key], start, finish);
        break;
    case 2:
        span_of(&b.start, &b.end);
        b.outcome = HIST_VALUE;
        b.replaces = rng_below(state, 2) == 0;
        (void)hist_add(&records, HIST_BRINGS, &b);
        (void)hist_add(&all, HIST_BRINGS, &b);
        break;
    case 3:
        span_of(&start, &finish);
        asks_fresh(key, start, finish);
        break;
    case 4:
    case 5:
        span_of(&f.sent, &f.end);
        f.gone = f.end;
        f.outcome = rng_below(state, 3) != 0 ? HIST_VALUE : HIST_ERROR;
        (void)hist_add(&records, HIST_FLIGHTS, &f);
        break;
    default:
        random_value(state, origin, key, versions);
    }
}

/* A few windows of records. */
static void random_history(uint64_t *state)
{
    uint32_t origin = 0, versions[N_KEYS] = {0};
    size_t n_windows = 1 + (size_t)rng_below(state, 4);
    begin(true);
    for (size_t at = 0; at < n_windows; at++) {
        for (size_t i = 0; i < COUNT(moments); i++) {
            size_t k = (size_t)rng_below(state, i + 1);
            moments[i] = moments[k];
            moments[k] = (at + 1) * COUNT(moments) + i;
        }
        n_moments = 0;
        for (size_t n = rng_below(state, COUNT(moments) / 2); n > 0; n--) {
            random_record(state, &origin, versions);
        }
        for (size_t what = 0; what < HIST_N_LISTS; what++) {
            for (size_t i = 0; what != HIST_BRINGS && i < records.lists[what].n; i++) {
                (void)hist_add(&all, (enum hist_what)what,
                               hist_at(&records, (enum hist_what)what, i));
            }
        }
        check();
    }
}

static void test_naive(void **state)
{
    (void)state;
    uint64_t seed = test_seed("history checker"), n_broken = 0;
    for (size_t round = 0; round < scaled(20000); round++) {
        memset(n_naive, 0, sizeof n_naive);
        random_history(&seed);
        EACH_OF(const struct hist_read, r, HIST_READS)
        {
            naive_read(r);
        }
        EACH_OF(const struct hist_flight, f, HIST_FLIGHTS)
        {
            naive_flight(f);
        }
        for (enum hist_rule rule = (enum hist_rule)0; rule < HIST_N_RULES; rule++) {
            if (hist_breaches(h, rule) != n_naive[rule]) {
                fail_msg("round %zu: %s is broken %zu times, naively %zu: %s", round,
                         hist_rule_name(rule), hist_breaches(h, rule), (size_t)n_naive[rule],
                         hist_first_breach(h, rule));
            }
            n_broken += n_naive[rule];
        }
        end();
        hist_log_free(&all);
    }
    assert_true(n_broken > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_naive)};
    return cmocka_run_group_tests_name("history random", tests, NULL, NULL);
}
