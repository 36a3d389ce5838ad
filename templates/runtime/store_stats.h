/* >>store_stats -- a store's counters: read at one time, and as Prometheus text. */
#include "backend.h"
#include "stats.h"

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_STORE_STATS_H)
#define DLOAD_I_STORE_STATS_H

DLOAD_I_LOCAL uint64_t dload_i_store_counter(const uint64_t *counter)
{
    return DLOAD_I_LOAD_RELAXED(counter);
}

/* Copies a store's counters, while others use it; each is exact, their sums are once it is quiet. */
DLOAD_I_UNUSED static void dload_store_counters(const dload_store *s, dload_store_stats *out)
{
    for (size_t i = 0; i < DLOAD_STORE_N_KINDS; i++) {
        out->ops[i] = dload_i_store_counter(&s->stats.ops[i]);
        out->keys[i] = dload_i_store_counter(&s->stats.keys[i]);
    }
    out->hits = dload_i_store_counter(&s->stats.hits);
    out->misses = dload_i_store_counter(&s->stats.misses);
    out->errors = dload_i_store_counter(&s->stats.errors);
    out->key_errors = dload_i_store_counter(&s->stats.key_errors);
    out->refused = dload_i_store_counter(&s->stats.refused);
    out->leases_lost = dload_i_store_counter(&s->stats.leases_lost);
    out->run_ns = dload_i_store_counter(&s->stats.run_ns);
}

/* One line: metric{store="label"} value, with kind="kind" when that is not NULL. */
DLOAD_I_LOCAL void dload_i_text_store(dload_i_text *t, const char *metric, const char *label,
                                      const char *kind, uint64_t value)
{
    dload_i_text_put(t, "dataloader_store_");
    dload_i_text_put(t, metric);
    dload_i_text_put(t, "{store=\"");
    dload_i_text_label(t, label);
    if (kind != NULL) {
        dload_i_text_put(t, "\",kind=\"");
        dload_i_text_put(t, kind);
    }
    dload_i_text_put(t, "\"} ");
    dload_i_text_u64(t, value);
    dload_i_text_put(t, "\n");
}

DLOAD_I_LOCAL void dload_i_text_store_type(dload_i_text *t, const char *metric, const char *type)
{
    dload_i_text_put(t, "# TYPE dataloader_store_");
    dload_i_text_put(t, metric);
    dload_i_text_put(t, type);
}

DLOAD_I_LOCAL void dload_i_text_store_kinds(dload_i_text *t, const char *metric, const char *label,
                                            const uint64_t *values)
{
    static const char *const kinds[DLOAD_STORE_N_KINDS] = {"get",   "set",  "delete", "clear",
                                                           "lease", "fill", "drop"};
    dload_i_text_store_type(t, metric, " counter\n");
    for (size_t i = 0; i < DLOAD_STORE_N_KINDS; i++)
        dload_i_text_store(t, metric, label, kinds[i], values[i]);
}

/* Writes a store's counters in Prometheus' text format, labelled store="label" (NULL = the store's name),
 * NUL-terminated; each tier of a tiered store has its own. breaker_open is 1 while requests are
 * refused. *n_bytes (may be NULL) is the length of the whole text. DLOAD_OK; DLOAD_ETOOBIG when it was
 * longer than cap_bytes - 1, and then it is cut. buf may be NULL when cap_bytes is 0. Any thread; allocates
 * nothing. */
DLOAD_I_UNUSED static dload_status dload_store_prometheus(const dload_store *s, const char *label,
                                                          char *buf, size_t cap_bytes,
                                                          size_t *n_bytes)
{
    dload_store_stats now;
    dload_i_text t;
    t.buf = buf;
    t.cap_bytes = cap_bytes;
    t.n_bytes = 0;
    if (label == NULL)
        label = s->name;
    dload_store_counters(s, &now);
    const struct {
        const char *metric;
        uint64_t value;
    } plain[] = {
        {"hits_total", now.hits},
        {"misses_total", now.misses},
        {"errors_total", now.errors},
        {"key_errors_total", now.key_errors},
        {"refused_total", now.refused},
        {"leases_lost_total", now.leases_lost},
        {"run_nanoseconds_total", now.run_ns},
    };
    dload_i_text_store_kinds(&t, "requests_total", label, now.ops);
    dload_i_text_store_kinds(&t, "keys_total", label, now.keys);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        dload_i_text_store_type(&t, plain[i].metric, " counter\n");
        dload_i_text_store(&t, plain[i].metric, label, NULL, plain[i].value);
    }
    const bool open = DLOAD_I_LOAD_RELAXED(&s->closed_until_ns) > dload_i_now(s->env);
    dload_i_text_store_type(&t, "breaker_open", " gauge\n");
    dload_i_text_store(&t, "breaker_open", label, NULL, open);
    if (cap_bytes != 0)
        buf[t.n_bytes < cap_bytes ? t.n_bytes : cap_bytes - 1] = '\0';
    if (n_bytes != NULL)
        *n_bytes = t.n_bytes;
    return t.n_bytes < cap_bytes ? DLOAD_OK : DLOAD_ETOOBIG;
}

#endif /* DLOAD_STORE */
