/* Histories: what a loader was asked, what it answered, and the rules that no history may break.
 *
 * Nothing here knows the loader. Threads write what they do into logs of their own, without a lock;
 * once all is quiet (a window), hist_check takes the logs together and looks at every record. What later
 * windows need is kept: a few numbers for each key. So a history of any length fits into memory.
 *
 * Times are numbers from one clock that gives none twice and never goes back, in any thread, so that
 * "returned before it began" is exactly "end < start". Of a call we know when it began and when it
 * returned; somewhere between the two it took effect. A rule is broken only when it is broken wherever
 * that was: what the checker rejects is wrong, whatever the threads were doing.
 *
 * Every value carries where it is from: which fetch, prime or put_if brought it, and a moment (began)
 * that is not before its source was read. With F(r) = the latest start of a clear of r's key that had
 * returned when read r began:
 *
 *     a value that began before F(r) was read before a clear that r may rely on: OUTDATED.
 *
 * For a fetch, began is when its batch was sent (b->deadline_ns - run_limit_ns, taken by the loader in
 * the critical section that makes it a running batch), for a put_if when _token had returned, for
 * a prime, which promises nothing about its value, when it had returned. A writer changes the source
 * and then clears; so what was sent after the clear began has the new version, and the rule implies
 * that versions never go below that of the last write before F(r): STALE, checked by itself, because it
 * needs no word of the loader about when it sent something.
 */
#ifndef DLOAD_TESTS_HISTORY_H
#define DLOAD_TESTS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HIST_NEVER UINT64_MAX

/* As the key of a clear: all of them, or those of a group. Key k is of group k % n_groups. */
#define HIST_ALL          UINT32_MAX
#define HIST_GROUP(group) (HIST_ALL - 1 - (group))

/* ---- values ---- */

enum hist_kind { HIST_FETCHED = 1, HIST_PRIMED, HIST_PUT_IF };

/* What a source gives for a key. The check is over the other fields: half of one value and half of
 * another is no value. */
struct hist_value {
    uint32_t key, version;
    uint32_t
        origin; /* number of the batch, prime or put_if that brought it; each its own, from 1 */
    uint32_t kind;
    uint64_t began;
    uint64_t check;
};

struct hist_value hist_value_of(uint32_t key, uint32_t version, enum hist_kind kind,
                                uint32_t origin, uint64_t began);

/* ---- records ---- */

enum hist_outcome {
    HIST_VALUE = 1,
    HIST_ERROR,   /* the fetch function's: read.value.origin says which batch gave it */
    HIST_MISSING, /* no value */
    HIST_TIMEOUT,
    HIST_FULL,   /* no room in the queue */
    HIST_CIRCLE, /* a nested load that would have waited for itself */
    HIST_REFUSED /* put_if: cleared since the token; a flight's answer: its batch was given up */
};

/* An answer to somebody: a load, a key of a load_many, a request's callback, a peek. */
struct hist_read {
    uint64_t start, end;
    uint64_t deadline; /* 0 = none of its own */
    struct hist_value value;
    uint32_t key;
    uint8_t outcome;
    bool fresh;    /* asked with DLOAD_FRESH */
    bool nested;   /* asked by a fetch function */
    bool may_fail; /* the queue is small, and the caller does not wait for room */
};

/* A clear of a key, a group or everything, or a call with DLOAD_FRESH: it may have begun a second fetch. */
struct hist_span {
    uint64_t start, end;
    uint32_t key;
};

/* A new version in the source. A key's versions are 0 at first, and then 1, 2, 3 ... */
struct hist_write {
    uint64_t start, end;
    uint32_t key, version;
};

/* A prime or a put_if. */
struct hist_bring {
    uint64_t start, end;
    uint64_t token_start, token_end; /* of the _token call; put_if only */
    uint32_t key, origin;
    uint8_t kind;
    uint8_t outcome;
    bool replaces; /* it takes the place of what was there: OVERWRITE or put_if, caching on */
};

/* A put of an extra key that was refused as cleared since. */
struct hist_refusal {
    uint64_t from, end; /* since when; the call had returned */
};

/* A key in a batch. */
struct hist_flight {
    uint64_t sent;
    uint64_t end;  /* not yet answered then: the moment before the function returned or answered */
    uint64_t gone; /* by then it was delivered; HIST_NEVER = not known */
    uint32_t key, origin;
    uint8_t outcome;
};

/* Values that nobody may see who asks after from: of a batch that was found to be given up before they
 * were delivered, or refused by the loader. */
struct hist_lost {
    uint64_t from;
    uint64_t sent, found; /* with given_up: its batch was sent, and found to be given up */
    uint32_t origin;
    bool given_up;
};

/* A request that does not block, after the window's end. */
struct hist_request {
    uint64_t start;
    uint32_t key, n_called;
    bool cancelled; /* _cancel returned DLOAD_OK */
};

/* ---- logs ---- */

enum hist_what {
    HIST_READS,
    HIST_CLEARS,
    HIST_FRESH,
    HIST_WRITES,
    HIST_BRINGS,
    HIST_REFUSALS,
    HIST_FLIGHTS,
    HIST_LOST,
    HIST_REQUESTS,
    HIST_N_LISTS
};

struct hist_list {
    char *items;
    size_t n, cap;
};

/* One thread's. Zero is empty. */
struct hist_log {
    struct hist_list lists[HIST_N_LISTS];
};

/* Adds a copy of a record of the struct that belongs to what; which one is returned. */
size_t hist_add(struct hist_log *log, enum hist_what what, const void *record);
void *hist_at(struct hist_log *log, enum hist_what what, size_t i);

/* Empties, keeping the memory, and releases it. */
void hist_log_clear(struct hist_log *log);
void hist_log_free(struct hist_log *log);

/* ---- rules ---- */

#define HIST_RULES(X)                                                                              \
    X(VALUE, "a value is whole, and of the key that was asked for")                                \
    X(FUTURE, "no value is newer than the source when the read returned")                          \
    X(STALE, "what a returned clear forgot is not read again: version")                            \
    X(OUTDATED, "what a returned clear forgot is not read again: fetch, token or prime before it") \
    X(REPLACED, "what a returned prime or put_if replaced is not read again")                      \
    X(EXPIRED, "what was primed or put is not read past its TTL")                                  \
    X(NOT_FRESH, "DLOAD_FRESH gets what was sent after it was asked")                              \
    X(LOST, "what was refused, or answered by an abandoned batch, is not read")                    \
    X(TWICE, "a key stands in a batch once")                                                       \
    X(FLIGHT, "a key is fetched by one batch at a time")                                           \
    X(AGAIN, "what is cached is not fetched again")                                                \
    X(STATUS, "an error is one that a fetch of the key gave while the reader waited")              \
    X(EARLY, "nobody is timed out before the deadline")                                            \
    X(LATE, "nobody returns long after the deadline")                                              \
    X(PUT_IF, "put_if does not undo a clear")                                                      \
    X(REFUSED, "nothing is refused as cleared when nothing was")                                   \
    X(ABANDONED, "no batch is abandoned before its time")                                          \
    X(CALLED, "a request is called back once, a cancelled one never")                              \
    X(CALLS, "a call returns what its manual says")                                                \
    X(QUIET, "once quiet, nothing is on its way and the counters add up")

#define HIST_RULE_ENUM(name, text) HIST_RULE_##name,
enum hist_rule { HIST_RULES(HIST_RULE_ENUM) HIST_N_RULES };
#undef HIST_RULE_ENUM

const char *hist_rule_name(enum hist_rule rule);
const char *hist_rule_text(enum hist_rule rule);

/* ---- checking ---- */

/* What the loader was told. */
struct hist_setup {
    uint32_t n_keys;       /* keys are 0 .. n_keys - 1 */
    uint32_t n_groups;     /* 1 = no groups */
    uint64_t run_limit_ns; /* a batch may be abandoned after so long */
    uint64_t ttl_ns;       /* and the clock's resolution; 0 = entries do not expire */
    uint64_t late_ns;      /* how long after its deadline a call may return */
    bool never_evicts;     /* nothing leaves the cache by itself: AGAIN holds */
};

struct hist;

/* NULL when there is no memory. */
struct hist *hist_new(const struct hist_setup *setup);
void hist_free(struct hist *h);

/* Checks a window: everything that is in the logs has returned, and nothing that is not in them is
 * going on. Returns how many breaches there are so far. */
size_t hist_check(struct hist *h, struct hist_log *logs, size_t n_logs);

/* A breach that was found elsewhere, e.g. of QUIET; may be called by one thread at a time. */
void hist_breach(struct hist *h, enum hist_rule rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The breaches of a rule, the first of them in words, and what the checker saw at all. */
size_t hist_breaches(const struct hist *h, enum hist_rule rule);
const char *hist_first_breach(const struct hist *h, enum hist_rule rule);
size_t hist_seen(const struct hist *h, enum hist_what what);
uint64_t hist_latest_ns(const struct hist *h); /* the longest return after a deadline */

/* late_ns for the next window: some bounds depend on what else the machine did. */
void hist_allow_late(struct hist *h, uint64_t late_ns);

#endif /* DLOAD_TESTS_HISTORY_H */
