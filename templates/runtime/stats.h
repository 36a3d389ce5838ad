/* >>stats -- what a loader counts, who may watch it, and its counters as Prometheus text. */
#ifndef DLOAD_I_STATS_H
#define DLOAD_I_STATS_H

#include "status.h"
#include "port.h"

/* Why a batch went. */
typedef enum dload_trigger {
    DLOAD_BY_SIZE = 0,     /* max_batch keys */
    DLOAD_BY_SETTLE = 1,   /* no new key for settle_ns */
    DLOAD_BY_AGE = 2,      /* the oldest key waited max_age_ns */
    DLOAD_BY_EXPLICIT = 3, /* _dispatch */
    DLOAD_BY_EXPECT = 4,   /* the last of the keys that _expect announced */
    DLOAD_BY_IDLE = 5,     /* its callers had nothing else to wait for */
    DLOAD_BY_CLOSE = 6,    /* _close(DLOAD_DRAIN) */
    DLOAD_N_TRIGGERS = 7
} dload_trigger;

/* Counters since _init. Once a loader is quiet, loads = hits + joins + misses. */
typedef struct dload_stats {
    uint64_t loads;           /* keys asked for */
    uint64_t hits;            /* answered from the cache, cached errors included */
    uint64_t joins;           /* found in a batch that somebody else had asked for */
    uint64_t misses;          /* put into a batch */
    uint64_t stale_hits;      /* hits of values past their TTL: DLOAD_STALE */
    uint64_t refreshes;       /* misses of keys that had a value all the same, old or soon to be */
    uint64_t served_on_error; /* requests that got an old value because the fetch failed */
    uint64_t batches;         /* calls of the fetch function, or batches that a store answered */
    uint64_t keys;            /* keys in them */
    uint64_t largest_batch;   /* keys in the largest */
    uint64_t fetch_errors;    /* keys that ended with an error other than MISSING */
    uint64_t stores;          /* answers cached */
    uint64_t store_skipped;   /* values delivered but not cached: no room, or no memory */
    uint64_t evictions;       /* entries removed to make room */
    uint64_t expired;         /* entries removed because their TTL passed */
    uint64_t cleared_in_flight; /* answers cached nowhere, because of a clear during the fetch */
    uint64_t abandoned;         /* batches given up at run_limit_ns or by _close */
    uint64_t late_answers;      /* answers to batches already given up */
    uint64_t timeouts;          /* blocking calls that left at their deadline */
    uint64_t cancelled;         /* requests withdrawn by _cancel */
    uint64_t by_trigger[DLOAD_N_TRIGGERS]; /* batches, by why they went */
    uint64_t entries;                      /* in the cache now */
    uint64_t pinned;                       /* of these, entries that the policy leaves alone */
    uint64_t weight;                       /* of all entries; 0 without DLOAD_WEIGHT */
    uint64_t
        long_probes; /* entries whose place was over 32 groups (1,024 slots) from where their keys' hashes
                           * want them; keys that nobody chose yield none: see DLOAD_HASH_SIP */
    /* With config.store, otherwise 0; batches and keys count what the store answered, too. */
    uint64_t store_hits;   /* keys that the store answered */
    uint64_t store_misses; /* keys that it was asked for and did not answer, whatever the reason */
    uint64_t
        store_bypassed; /* keys that it was not asked for: DLOAD_FRESH, or a clear it has not heard */
    uint64_t store_errors;  /* requests, or single keys of them, that failed */
    uint64_t store_refused; /* values that were damaged, too old, or of another layout */
    uint64_t store_writes;  /* answers stored */
    uint64_t store_deletes; /* clears acknowledged */
    uint64_t store_unsent;  /* clears not acknowledged yet */
    uint64_t leases_waited; /* keys that somebody else was fetching */
    uint64_t
        leases_lost; /* answers not stored, because their lease was over: expired, or cleared */
    /* With config.locks, otherwise 0. */
    uint64_t locks_taken;  /* named locks */
    uint64_t locks_missed; /* ... that were not to be had, or not in time: the batch went without */
    uint64_t locks_lost;   /* ... that were not ours any more when the function was through */
    uint64_t too_heavy;    /* values that were over a shard's share of config.max_weight */
} dload_stats;

/* Observers, each NULL or called with no lock held, from the thread that caused it; they may call any
 * function of any loader. */
typedef struct dload_hooks {
    void (*queued)(void *ctx); /* the open batch got its first key; a scheduler may _dispatch */
    void (*batch_start)(void *ctx, size_t n_keys, dload_trigger why);
    void (*batch_end)(void *ctx, size_t n_keys, dload_status status, uint64_t run_ns);
    void *ctx;
} dload_hooks;

/* ---- text ---- */

typedef struct dload_i_text {
    char *buf;
    size_t cap_bytes;
    size_t n_bytes;
} dload_i_text;

DLOAD_I_LOCAL void dload_i_text_put(dload_i_text *t, const char *s)
{
    for (; *s != '\0'; s++) {
        if (t->n_bytes + 1 < t->cap_bytes)
            t->buf[t->n_bytes] = *s;
        t->n_bytes++;
    }
}

DLOAD_I_LOCAL void dload_i_text_u64(dload_i_text *t, uint64_t v)
{
    char digits[21];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + (char)(v % 10));
        v /= 10;
    } while (v != 0);
    dload_i_text_put(t, digits + at);
}

/* A label value: backslash, quote and newline are escaped as the format asks. */
DLOAD_I_LOCAL void dload_i_text_label(dload_i_text *t, const char *s)
{
    for (; *s != '\0'; s++) {
        char one[3] = {*s, '\0', '\0'};
        if (*s == '\\' || *s == '"' || *s == '\n') {
            one[0] = '\\';
            one[1] = *s == '\n' ? 'n' : *s;
        }
        dload_i_text_put(t, one);
    }
}

DLOAD_I_LOCAL void dload_i_text_metric(dload_i_text *t, const char *metric, const char *type,
                                       const char *loader, uint64_t value)
{
    dload_i_text_put(t, "# TYPE dataloader_");
    dload_i_text_put(t, metric);
    dload_i_text_put(t, type);
    dload_i_text_put(t, "dataloader_");
    dload_i_text_put(t, metric);
    dload_i_text_put(t, "{loader=\"");
    dload_i_text_label(t, loader);
    dload_i_text_put(t, "\"} ");
    dload_i_text_u64(t, value);
    dload_i_text_put(t, "\n");
}

/* Writes the counters in Prometheus' text format, labelled loader="name", NUL-terminated.
 * *n_bytes (may be NULL) is the length of the whole text. DLOAD_OK; DLOAD_ETOOBIG when it was longer
 * than cap_bytes - 1, and then it is cut. buf may be NULL when cap_bytes is 0. */
DLOAD_I_LOCAL dload_status dload_stats_prometheus(const dload_stats *stats, const char *name,
                                                  char *buf, size_t cap_bytes, size_t *n_bytes)
{
    static const char *const triggers[DLOAD_N_TRIGGERS] = {"size",   "settle", "age",  "explicit",
                                                           "expect", "idle",   "close"};
    static const char counter[] = " counter\n";
    static const char gauge[] = " gauge\n";
    dload_i_text t;
    t.buf = buf;
    t.cap_bytes = cap_bytes;
    t.n_bytes = 0;
    dload_i_text_metric(&t, "loads_total", counter, name, stats->loads);
    dload_i_text_metric(&t, "hits_total", counter, name, stats->hits);
    dload_i_text_metric(&t, "joins_total", counter, name, stats->joins);
    dload_i_text_metric(&t, "misses_total", counter, name, stats->misses);
    dload_i_text_metric(&t, "stale_hits_total", counter, name, stats->stale_hits);
    dload_i_text_metric(&t, "refreshes_total", counter, name, stats->refreshes);
    dload_i_text_metric(&t, "served_on_error_total", counter, name, stats->served_on_error);
    dload_i_text_metric(&t, "keys_total", counter, name, stats->keys);
    dload_i_text_metric(&t, "largest_batch_keys", gauge, name, stats->largest_batch);
    dload_i_text_metric(&t, "fetch_errors_total", counter, name, stats->fetch_errors);
    dload_i_text_metric(&t, "stores_total", counter, name, stats->stores);
    dload_i_text_metric(&t, "stores_skipped_total", counter, name, stats->store_skipped);
    dload_i_text_metric(&t, "evictions_total", counter, name, stats->evictions);
    dload_i_text_metric(&t, "expired_total", counter, name, stats->expired);
    dload_i_text_metric(&t, "cleared_in_flight_total", counter, name, stats->cleared_in_flight);
    dload_i_text_metric(&t, "abandoned_total", counter, name, stats->abandoned);
    dload_i_text_metric(&t, "late_answers_total", counter, name, stats->late_answers);
    dload_i_text_metric(&t, "timeouts_total", counter, name, stats->timeouts);
    dload_i_text_metric(&t, "cancelled_total", counter, name, stats->cancelled);
    dload_i_text_metric(&t, "entries", gauge, name, stats->entries);
    dload_i_text_metric(&t, "pinned_entries", gauge, name, stats->pinned);
    dload_i_text_metric(&t, "weight", gauge, name, stats->weight);
    dload_i_text_metric(&t, "long_probes_total", counter, name, stats->long_probes);
    dload_i_text_metric(&t, "too_heavy_total", counter, name, stats->too_heavy);
    dload_i_text_metric(&t, "store_hits_total", counter, name, stats->store_hits);
    dload_i_text_metric(&t, "store_misses_total", counter, name, stats->store_misses);
    dload_i_text_metric(&t, "store_bypassed_total", counter, name, stats->store_bypassed);
    dload_i_text_metric(&t, "store_errors_total", counter, name, stats->store_errors);
    dload_i_text_metric(&t, "store_refused_total", counter, name, stats->store_refused);
    dload_i_text_metric(&t, "store_writes_total", counter, name, stats->store_writes);
    dload_i_text_metric(&t, "store_deletes_total", counter, name, stats->store_deletes);
    dload_i_text_metric(&t, "store_unsent", gauge, name, stats->store_unsent);
    dload_i_text_metric(&t, "leases_waited_total", counter, name, stats->leases_waited);
    dload_i_text_metric(&t, "leases_lost_total", counter, name, stats->leases_lost);
    dload_i_text_metric(&t, "locks_taken_total", counter, name, stats->locks_taken);
    dload_i_text_metric(&t, "locks_missed_total", counter, name, stats->locks_missed);
    dload_i_text_metric(&t, "locks_lost_total", counter, name, stats->locks_lost);
    dload_i_text_put(&t, "# TYPE dataloader_batches_total counter\n");
    for (size_t i = 0; i < DLOAD_N_TRIGGERS; i++) {
        dload_i_text_put(&t, "dataloader_batches_total{loader=\"");
        dload_i_text_label(&t, name);
        dload_i_text_put(&t, "\",trigger=\"");
        dload_i_text_put(&t, triggers[i]);
        dload_i_text_put(&t, "\"} ");
        dload_i_text_u64(&t, stats->by_trigger[i]);
        dload_i_text_put(&t, "\n");
    }
    if (cap_bytes != 0)
        buf[t.n_bytes < cap_bytes ? t.n_bytes : cap_bytes - 1] = '\0';
    if (n_bytes != NULL)
        *n_bytes = t.n_bytes;
    return t.n_bytes < cap_bytes ? DLOAD_OK : DLOAD_ETOOBIG;
}

#endif /* DLOAD_I_STATS_H */
