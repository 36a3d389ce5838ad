/* Histories written by hand: records in a few words, and the verdict that they must get. */
#ifndef DLOAD_TESTS_HISTORY_WRITTEN_H
#define DLOAD_TESTS_HISTORY_WRITTEN_H

#define DLOAD_NAME  unused_loader /* support.h wants the header's types */
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"
#include "support.h"
#include "history/checker.c"

/* The keys, and what the loader was told: see hist_setup. */
enum { N_KEYS = 4, N_GROUPS = 2, LIMIT = 1000, LATE = 100, TTL = 500 };

static struct hist *h;
static struct hist_log records; /* of this window */

static inline void begin(bool never_evicts)
{
    struct hist_setup setup = {.n_keys = N_KEYS,
                               .n_groups = N_GROUPS,
                               .run_limit_ns = LIMIT,
                               .late_ns = LATE,
                               .never_evicts = never_evicts};
    h = hist_new(&setup);
    assert_non_null(h);
}

static inline void end(void)
{
    hist_free(h);
    hist_log_free(&records);
}

/* The window ends here: what was written down since the last one is checked. */
static inline void check(void)
{
    (void)hist_check(h, &records, 1);
    hist_log_clear(&records);
}

/* Exactly this rule is broken, so often; HIST_N_RULES: none. */
static inline void verdict_must(enum hist_rule want, size_t n, const char *file, int line)
{
    check();
    for (enum hist_rule rule = (enum hist_rule)0; rule < HIST_N_RULES; rule++) {
        size_t allowed = rule == want ? n : 0;
        if (hist_breaches(h, rule) != allowed) {
            print_error("%s:%d: %s is broken %zu times, not %zu: %s\n", file, line,
                        hist_rule_name(rule), hist_breaches(h, rule), allowed,
                        hist_first_breach(h, rule));
            _fail(file, line);
        }
    }
    end();
}

#define accepted()          verdict_must(HIST_N_RULES, 0, __FILE__, __LINE__)
#define rejected(rule)      verdict_must(HIST_RULE_##rule, 1, __FILE__, __LINE__)
#define rejected_n(rule, n) verdict_must(HIST_RULE_##rule, (n), __FILE__, __LINE__)

/* ---- records, in a few words ---- */

static inline struct hist_value fetched(uint32_t key, uint32_t version, uint32_t origin,
                                        uint64_t sent)
{
    return hist_value_of(key, version, HIST_FETCHED, origin, sent);
}

static inline void reads(uint32_t key, uint64_t from, uint64_t to, struct hist_value v)
{
    struct hist_read r = {.key = key, .start = from, .end = to, .outcome = HIST_VALUE, .value = v};
    (void)hist_add(&records, HIST_READS, &r);
}

static inline void fails(uint32_t key, uint64_t from, uint64_t to, enum hist_outcome outcome,
                         uint32_t origin)
{
    struct hist_read r = {.key = key, .start = from, .end = to, .outcome = (uint8_t)outcome};
    r.value.origin = origin;
    (void)hist_add(&records, HIST_READS, &r);
}

static inline void times_out(uint32_t key, uint64_t from, uint64_t to, uint64_t deadline)
{
    struct hist_read r = {.key = key, .start = from, .end = to, .outcome = HIST_TIMEOUT};
    r.deadline = deadline;
    (void)hist_add(&records, HIST_READS, &r);
}

static inline void requests(uint32_t key, uint32_t n_called, bool cancelled)
{
    struct hist_request q = {.key = key, .n_called = n_called, .cancelled = cancelled};
    (void)hist_add(&records, HIST_REQUESTS, &q);
}

static inline void clears(uint32_t key, uint64_t from, uint64_t to)
{
    struct hist_span s = {.key = key, .start = from, .end = to};
    (void)hist_add(&records, HIST_CLEARS, &s);
}

static inline void asks_fresh(uint32_t key, uint64_t from, uint64_t to)
{
    struct hist_span s = {.key = key, .start = from, .end = to};
    (void)hist_add(&records, HIST_FRESH, &s);
}

static inline void writes(uint32_t key, uint32_t version, uint64_t from, uint64_t to)
{
    struct hist_write w = {.key = key, .version = version, .start = from, .end = to};
    (void)hist_add(&records, HIST_WRITES, &w);
}

static inline void primes(uint32_t key, uint32_t origin, uint64_t from, uint64_t to,
                          bool overwrites)
{
    struct hist_bring b = {.key = key, .origin = origin, .start = from, .end = to};
    b.kind = HIST_PRIMED;
    b.outcome = HIST_VALUE;
    b.replaces = overwrites;
    (void)hist_add(&records, HIST_BRINGS, &b);
}

static inline void puts_if(uint32_t key, uint32_t origin, uint64_t token, uint64_t from,
                           uint64_t to, enum hist_outcome outcome)
{
    struct hist_bring b = {.key = key, .origin = origin, .start = from, .end = to};
    b.token_start = token - 1;
    b.token_end = token;
    b.kind = HIST_PUT_IF;
    b.outcome = (uint8_t)outcome;
    b.replaces = true;
    (void)hist_add(&records, HIST_BRINGS, &b);
}

static inline void flies(uint32_t key, uint32_t origin, uint64_t sent, uint64_t to,
                         enum hist_outcome outcome)
{
    struct hist_flight f = {.key = key, .origin = origin, .sent = sent, .end = to, .gone = to + 1};
    f.outcome = (uint8_t)outcome;
    (void)hist_add(&records, HIST_FLIGHTS, &f);
}

static inline void loses(uint32_t origin, uint64_t sent, uint64_t found)
{
    struct hist_lost l = {
        .from = found, .sent = sent, .found = found, .origin = origin, .given_up = true};
    (void)hist_add(&records, HIST_LOST, &l);
}

#endif /* DLOAD_TESTS_HISTORY_WRITTEN_H */
