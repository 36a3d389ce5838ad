/* A window's records, sorted by key and moment, and what is left of the windows before it. */
#include "history/log.c"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What is left of a key's earlier windows. */
struct past {
    uint64_t clear_start; /* the latest start of its clears */
    uint64_t bring_start; /* ... of what replaced it */
    uint64_t excuse_end;  /* the latest end of anything that lets it be fetched again */
    uint64_t sent;        /* its last fetch, */
    bool cached;          /* which gave a value that was kept */
    uint32_t version;     /* newest in the source */
    uint32_t floor;       /* ... that was written before any clear of it began */
};

/* ... and of clears of more than a key. */
struct past_wide {
    uint64_t start, end; /* the latest */
};

/* A flight in its key's order of sending. */
struct sorted_flight {
    struct hist_flight f;
    uint64_t end_most, gone_most; /* greatest of this one and those before it */
};

struct hist {
    struct hist_setup setup;
    struct past *past;
    struct past_wide *past_wides; /* by wide_of() */
    uint64_t *fate;               /* by origin: see fate_of() */
    size_t n_fate;
    struct index clears;       /* end -> start */
    struct index brings;       /* of those that replace: end -> start */
    struct index excuses;      /* start -> end; of clears, primes, put_ifs, DLOAD_FRESH */
    struct index written;      /* end -> version */
    struct index born;         /* version -> start of its write */
    struct index wides;        /* clears of groups and of everything, by wide_of(): end -> start */
    struct index wide_excuses; /* start -> end */
    struct index removals;     /* of any key, for refusals: start -> end; key 0 */
    struct sorted_flight *flights;
    uint32_t *first_flight; /* by key; one more than there are keys */
    size_t flights_cap;
    uint64_t latest_ns;
    size_t seen[HIST_N_LISTS];
    size_t n_breaches[HIST_N_RULES];
    size_t n_all_breaches;
    char first[HIST_N_RULES][256];
};

#define HIST_RULE_NAME(name, text) #name,
#define HIST_RULE_TEXT(name, text) text,
static const char *const rule_names[] = {HIST_RULES(HIST_RULE_NAME)};
static const char *const rule_texts[] = {HIST_RULES(HIST_RULE_TEXT)};

const char *hist_rule_name(enum hist_rule rule)
{
    return rule_names[rule];
}

const char *hist_rule_text(enum hist_rule rule)
{
    return rule_texts[rule];
}

/* ---- life ---- */

static bool indices_init(struct hist *h, uint32_t n_keys)
{
    return index_init(&h->clears, n_keys) && index_init(&h->brings, n_keys) &&
           index_init(&h->excuses, n_keys) && index_init(&h->written, n_keys) &&
           index_init(&h->born, n_keys) && index_init(&h->wides, 1 + h->setup.n_groups) &&
           index_init(&h->wide_excuses, 1 + h->setup.n_groups) && index_init(&h->removals, 1);
}

struct hist *hist_new(const struct hist_setup *setup)
{
    struct hist *h = calloc(1, sizeof *h);
    if (!h) {
        return NULL;
    }
    h->setup = *setup;
    h->past = calloc(setup->n_keys, sizeof *h->past);
    h->past_wides = calloc(1 + (size_t)setup->n_groups, sizeof *h->past_wides);
    h->first_flight = calloc((size_t)setup->n_keys + 1, sizeof *h->first_flight);
    if (!h->past || !h->past_wides || !h->first_flight || !indices_init(h, setup->n_keys)) {
        hist_free(h);
        return NULL;
    }
    return h;
}

void hist_free(struct hist *h)
{
    index_free(&h->clears);
    index_free(&h->brings);
    index_free(&h->excuses);
    index_free(&h->written);
    index_free(&h->born);
    index_free(&h->wides);
    index_free(&h->wide_excuses);
    index_free(&h->removals);
    free(h->flights);
    free(h->first_flight);
    free(h->fate);
    free(h->past);
    free(h->past_wides);
    free(h);
}

void hist_breach(struct hist *h, enum hist_rule rule, const char *format, ...)
{
    h->n_all_breaches++;
    if (h->n_breaches[rule]++ != 0) {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(h->first[rule], sizeof h->first[rule], format, args);
    va_end(args);
}

size_t hist_breaches(const struct hist *h, enum hist_rule rule)
{
    return h->n_breaches[rule];
}

const char *hist_first_breach(const struct hist *h, enum hist_rule rule)
{
    return h->first[rule];
}

size_t hist_seen(const struct hist *h, enum hist_what what)
{
    return h->seen[what];
}

uint64_t hist_latest_ns(const struct hist *h)
{
    return h->latest_ns;
}

void hist_allow_late(struct hist *h, uint64_t late_ns)
{
    h->setup.late_ns = late_ns;
}

/* ---- a window's records, sorted ---- */

#define EACH(type, name, logs, n_logs, what)                                  \
    for (size_t log_ = 0; log_ < (n_logs); log_++)                            \
        if ((logs)[log_].lists[what].n != 0)                                  \
            for (type *name = (type *)(void *)(logs)[log_].lists[what].items, \
                      *end_ = name + (logs)[log_].lists[what].n;              \
                 name != end_; name++)

/* Of what a fetch brought: from when on it is lost; of a prime or put_if: its end, HIST_NEVER when it was
 * refused. 0 = nothing is known. */
static uint64_t fate_of(const struct hist *h, uint32_t origin)
{
    return origin < h->n_fate ? h->fate[origin] : 0;
}

static void set_fate(struct hist *h, uint32_t origin, uint64_t moment)
{
    if (origin >= h->n_fate) {
        size_t n = (size_t)origin + 1 + h->n_fate;
        uint64_t *fate = realloc(h->fate, n * sizeof *fate);
        if (!fate) {
            abort();
        }
        memset(fate + h->n_fate, 0, (n - h->n_fate) * sizeof *fate);
        h->fate = fate;
        h->n_fate = n;
    }
    if (h->fate[origin] == 0 || moment < h->fate[origin]) {
        h->fate[origin] = moment;
    }
}

/* Where clears of a key's group are counted; those of everything are at 0. */
static uint32_t wide_of(const struct hist *h, uint32_t key)
{
    return 1 + key % h->setup.n_groups;
}

static void take_clears(struct hist *h, struct hist_log *logs, size_t n_logs)
{
    EACH(const struct hist_span, c, logs, n_logs, HIST_CLEARS)
    {
        index_add(&h->removals, 0, c->start, c->end);
        if (c->key > HIST_GROUP(h->setup.n_groups)) {
            index_add(&h->wides, HIST_ALL - c->key, c->end, c->start);
            index_add(&h->wide_excuses, HIST_ALL - c->key, c->start, c->end);
        } else {
            index_add(&h->clears, c->key, c->end, c->start);
            index_add(&h->excuses, c->key, c->start, c->end);
        }
    }
    EACH(const struct hist_span, f, logs, n_logs, HIST_FRESH)
    {
        index_add(&h->excuses, f->key, f->start, f->end);
    }
}

static void take_brings(struct hist *h, struct hist_log *logs, size_t n_logs)
{
    EACH(const struct hist_bring, b, logs, n_logs, HIST_BRINGS)
    {
        set_fate(h, b->origin, b->outcome == HIST_VALUE ? b->end : HIST_NEVER);
        if (b->outcome != HIST_VALUE) {
            continue;
        }
        index_add(&h->excuses, b->key, b->start, b->end);
        index_add(&h->removals, 0, b->start, b->end);
        if (b->replaces) {
            index_add(&h->brings, b->key, b->end, b->start);
        }
    }
    EACH(const struct hist_write, w, logs, n_logs, HIST_WRITES)
    {
        index_add(&h->written, w->key, w->end, w->version);
        index_add(&h->born, w->key, w->version, w->start);
    }
    EACH(const struct hist_lost, l, logs, n_logs, HIST_LOST)
    {
        set_fate(h, l->origin, l->from);
        if (l->given_up && l->found - l->sent <= h->setup.run_limit_ns) {
            hist_breach(h, HIST_RULE_ABANDONED,
                        "sent at %" PRIu64 ", found to be given up at %" PRIu64, l->sent, l->found);
        }
    }
}

static int flight_order(const void *a, const void *b)
{
    const struct sorted_flight *one = a, *two = b;
    return (one->f.sent > two->f.sent) - (one->f.sent < two->f.sent);
}

static void scatter_flights(struct hist *h, struct hist_log *logs, size_t n_logs)
{
    uint32_t n_keys = h->setup.n_keys, *first = h->first_flight;
    memset(first, 0, ((size_t)n_keys + 1) * sizeof *first);
    size_t n = 0;
    EACH(const struct hist_flight, f, logs, n_logs, HIST_FLIGHTS)
    {
        first[f->key + 1]++;
        n++;
    }
    if (n > h->flights_cap) {
        free(h->flights);
        h->flights_cap = n * 2;
        h->flights = malloc(h->flights_cap * sizeof *h->flights);
        if (!h->flights) {
            abort();
        }
    }
    for (uint32_t k = 0; k < n_keys; k++) {
        first[k + 1] += first[k];
    }
    EACH(const struct hist_flight, f, logs, n_logs, HIST_FLIGHTS)
    {
        h->flights[first[f->key]++] = (struct sorted_flight){*f, f->end, f->gone};
    }
    memmove(first + 1, first, n_keys * sizeof *first);
    first[0] = 0;
}

static void sort_flights(struct hist *h, struct hist_log *logs, size_t n_logs)
{
    scatter_flights(h, logs, n_logs);
    for (uint32_t k = 0; k < h->setup.n_keys; k++) {
        size_t n = h->first_flight[k + 1] - h->first_flight[k];
        struct sorted_flight *all = n ? h->flights + h->first_flight[k] : NULL;
        if (n > 1) {
            qsort(all, n, sizeof *all, flight_order);
        }
        for (size_t i = 1; i < n; i++) {
            if (all[i].end_most < all[i - 1].end_most) {
                all[i].end_most = all[i - 1].end_most;
            }
            if (all[i].gone_most < all[i - 1].gone_most) {
                all[i].gone_most = all[i - 1].gone_most;
            }
        }
    }
}

static void build_all(struct hist *h)
{
    index_build(&h->clears);
    index_build(&h->brings);
    index_build(&h->excuses);
    index_build(&h->written);
    index_build(&h->born);
    index_build(&h->wides);
    index_build(&h->wide_excuses);
    index_build(&h->removals);
}
