/* Values, logs, and the index that the checker asks: "of what was over by then, what was the latest?" */
#include "history/history.h"

#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

static uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t value_check(const struct hist_value *v)
{
    uint64_t what = (uint64_t)v->key << 32 | v->version;
    uint64_t where = (uint64_t)v->origin << 32 | v->kind;
    return mixed(mixed(mixed(what + 1) + where) + v->began);
}

struct hist_value hist_value_of(uint32_t key, uint32_t version, enum hist_kind kind,
                                uint32_t origin, uint64_t began)
{
    struct hist_value v = {.key = key, .version = version, .origin = origin, .began = began};
    v.kind = (uint32_t)kind;
    v.check = value_check(&v);
    return v;
}

static bool value_is_whole(const struct hist_value *v)
{
    return v->check == value_check(v) && v->kind >= HIST_FETCHED && v->kind <= HIST_PUT_IF;
}

/* ---- lists ---- */

/* A test that has no memory left has nothing to say. */
static void *list_add(struct hist_list *list, const void *item, size_t bytes)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64;
        char *items = realloc(list->items, cap * bytes);
        if (!items) {
            abort();
        }
        list->items = items;
        list->cap = cap;
    }
    return memcpy(list->items + list->n++ * bytes, item, bytes);
}

static const size_t record_bytes[HIST_N_LISTS] = {
    [HIST_READS] = sizeof(struct hist_read),       [HIST_CLEARS] = sizeof(struct hist_span),
    [HIST_FRESH] = sizeof(struct hist_span),       [HIST_WRITES] = sizeof(struct hist_write),
    [HIST_BRINGS] = sizeof(struct hist_bring),     [HIST_REFUSALS] = sizeof(struct hist_refusal),
    [HIST_FLIGHTS] = sizeof(struct hist_flight),   [HIST_LOST] = sizeof(struct hist_lost),
    [HIST_REQUESTS] = sizeof(struct hist_request),
};

size_t hist_add(struct hist_log *log, enum hist_what what, const void *record)
{
    (void)list_add(&log->lists[what], record, record_bytes[what]);
    return log->lists[what].n - 1;
}

void *hist_at(struct hist_log *log, enum hist_what what, size_t i)
{
    return log->lists[what].items + i * record_bytes[what];
}

void hist_log_clear(struct hist_log *log)
{
    for (size_t i = 0; i < HIST_N_LISTS; i++) {
        log->lists[i].n = 0;
    }
}

void hist_log_free(struct hist_log *log)
{
    for (size_t i = 0; i < HIST_N_LISTS; i++) {
        free(log->lists[i].items);
    }
    memset(log, 0, sizeof *log);
}

/* ---- the index ---- */

/* For each key, numbers with a moment: index_before() gives the greatest number of those whose moment
 * lies before another moment. Built once a window, O(n log n); asked in O(log n). */
struct mark {
    uint64_t at;
    uint64_t most; /* the greatest number of this mark and of those of its key before it */
    uint32_t key;
};

struct index {
    struct hist_list added;
    struct mark *marks; /* by key, then by moment */
    uint32_t *first;    /* of each key; one more than there are keys */
    uint32_t n_keys;
    size_t cap;
};

static bool index_init(struct index *x, uint32_t n_keys)
{
    x->n_keys = n_keys;
    x->first = calloc((size_t)n_keys + 1, sizeof *x->first);
    return x->first != NULL;
}

static void index_free(struct index *x)
{
    free(x->added.items);
    free(x->marks);
    free(x->first);
}

static void index_add(struct index *x, uint32_t key, uint64_t at, uint64_t number)
{
    struct mark m = {.at = at, .most = number, .key = key};
    (void)list_add(&x->added, &m, sizeof m);
}

static int mark_order(const void *a, const void *b)
{
    const struct mark *one = a, *two = b;
    return (one->at > two->at) - (one->at < two->at);
}

/* Takes what was added since the last time; what was there before is gone. */
static void index_build(struct index *x)
{
    const struct mark *added = (const struct mark *)(const void *)x->added.items;
    size_t n = x->added.n;
    if (n > x->cap) {
        free(x->marks);
        x->cap = x->added.cap;
        x->marks = malloc(x->cap * sizeof *x->marks);
        if (!x->marks) {
            abort();
        }
    }
    memset(x->first, 0, ((size_t)x->n_keys + 1) * sizeof *x->first);
    for (size_t i = 0; i < n; i++) {
        x->first[added[i].key + 1]++;
    }
    for (uint32_t k = 0; k < x->n_keys; k++) {
        x->first[k + 1] += x->first[k];
    }
    /* Each key's place moves on while its marks come in, and is set back afterwards. */
    for (size_t i = 0; i < n; i++) {
        x->marks[x->first[added[i].key]++] = added[i];
    }
    for (uint32_t k = x->n_keys; k > 0; k--) {
        x->first[k] = x->first[k - 1];
    }
    x->first[0] = 0;
    for (uint32_t k = 0; k < x->n_keys && n != 0; k++) {
        struct mark *m = x->marks + x->first[k];
        size_t count = x->first[k + 1] - x->first[k];
        if (count > 1) {
            qsort(m, count, sizeof *m, mark_order);
        }
        for (size_t i = 1; i < count; i++) {
            m[i].most = m[i].most < m[i - 1].most ? m[i - 1].most : m[i].most;
        }
    }
    x->added.n = 0;
}

/* 0 when there is none. */
static uint64_t index_before(const struct index *x, uint32_t key, uint64_t moment)
{
    uint32_t low = x->first[key], high = x->first[key + 1], start = low;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (x->marks[middle].at < moment) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == start ? 0 : x->marks[low - 1].most;
}

/* The greatest number of a key at all. */
static uint64_t index_most(const struct index *x, uint32_t key)
{
    return index_before(x, key, HIST_NEVER);
}
