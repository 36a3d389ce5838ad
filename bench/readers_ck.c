/* Concurrency Kit's ck_ht. One writer at a time: a spin lock of the kit keeps writers apart. Keys are kept in
 * the table itself (direct mode); a value is a node that is never freed, guarded by a ck_sequence of its
 * own, which costs a reader two loads and no fence here: cheaper than a section of ck_epoch. */
#include "readers.h"

#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#include <ck_ht.h>
#include <ck_sequence.h>
#include <ck_spinlock.h>
#pragma GCC diagnostic pop

const char readers_name[] = "ck_ht";
const char readers_note[] = "Concurrency Kit's ck_ht, direct keys, hash: a multiply and folds, "
                            "load at most 0.5 (its own), ck_ht_gc "
                            "after the churn; value in a node beside the table, copied out under "
                            "the node's ck_sequence and checked "
                            "against its key; one writer at a time, by a spin lock";

typedef struct node {
    ck_sequence_t sequence;
    uint64_t key;
    readers_value value;
} node;

static ck_ht_t table;
static ck_spinlock_t write_lock = CK_SPINLOCK_INITIALIZER;
static node *nodes;
static size_t n_nodes; /* in use */

static void *allocate(size_t bytes)
{
    return malloc(bytes);
}

static void *reallocate(void *p, size_t old, size_t bytes, bool defer)
{
    (void)old;
    (void)defer;
    return realloc(p, bytes);
}

/* It grows while it is filled, when nobody reads. */
static void release(void *p, size_t bytes, bool defer)
{
    (void)bytes;
    (void)defer;
    free(p);
}

static struct ck_malloc memory = {.malloc = allocate, .realloc = reallocate, .free = release};

static void hash_key(ck_ht_hash_t *h, const void *key, size_t length, uint64_t seed)
{
    uint64_t k;
    (void)length;
    (void)seed;
    memcpy(&k, key, sizeof k);
    h->value = readers_hash(k);
}

bool readers_create(size_t capacity)
{
    nodes = aligned_alloc(64, (capacity * sizeof *nodes + 63) / 64 * 64);
    n_nodes = 0;
    return nodes != NULL && ck_ht_init(&table, CK_HT_MODE_DIRECT | CK_HT_WORKLOAD_DELETE, hash_key,
                                       &memory, 8, UINT64_C(6602834));
}

void readers_destroy(void)
{
    ck_ht_destroy(&table);
    free(nodes);
}

uint64_t readers_load_pct(void)
{
    return 0;
}

void readers_enter(void)
{
}

void readers_leave(void)
{
}

static inline ck_ht_hash_t start(uint64_t key, ck_ht_entry_t *entry)
{
    ck_ht_hash_t h = {readers_hash(key)};
    ck_ht_entry_key_set_direct(entry, key);
    return h;
}

static inline node *find_node(uint64_t key)
{
    ck_ht_entry_t entry;
    ck_ht_hash_t h = start(key, &entry);
    return ck_ht_get_spmc(&table, h, &entry) ? (node *)ck_ht_entry_value_direct(&entry) : NULL;
}

static inline bool find(uint64_t key, readers_value *out)
{
    for (;;) {
        node *n = find_node(key);
        if (n == NULL) {
            return false;
        }
        unsigned version;
        uint64_t key_there;
        do {
            version = ck_sequence_read_begin(&n->sequence);
            key_there = __atomic_load_n(&n->key, __ATOMIC_RELAXED);
            for (int i = 0; i < 4; i++) {
                out->w[i] = __atomic_load_n(&n->value.w[i], __ATOMIC_RELAXED);
            }
        } while (ck_sequence_read_retry(&n->sequence, version));
        if (key_there == key) {
            return true;
        }
    }
}

/* With the write lock held. */
static inline void fill_node(node *n, uint64_t key, const readers_value *value)
{
    ck_sequence_write_begin(&n->sequence);
    __atomic_store_n(&n->key, key, __ATOMIC_RELAXED);
    for (int i = 0; i < 4; i++) {
        __atomic_store_n(&n->value.w[i], value->w[i], __ATOMIC_RELAXED);
    }
    ck_sequence_write_end(&n->sequence);
}

static inline void update(uint64_t key, const readers_value *value)
{
    ck_spinlock_lock(&write_lock);
    node *n = find_node(key);
    if (n != NULL) {
        fill_node(n, key, value);
    }
    ck_spinlock_unlock(&write_lock);
}

static inline void quiet(void)
{
}

void readers_put(uint64_t oldest, uint64_t key)
{
    ck_ht_entry_t entry;
    node *n;
    if (oldest == 0) {
        n = &nodes[n_nodes++];
        ck_sequence_init(&n->sequence);
    } else {
        ck_ht_hash_t h = start(oldest, &entry);
        if (!ck_ht_remove_spmc(&table, h, &entry)) {
            return;
        }
        n = (node *)ck_ht_entry_value_direct(&entry);
    }
    readers_value v = readers_value_of(key, key);
    fill_node(n, key, &v);
    ck_ht_hash_t h = {readers_hash(key)};
    ck_ht_entry_set_direct(&entry, h, key, (uintptr_t)n);
    ck_ht_put_spmc(&table, h, &entry);
}

void readers_settle(void)
{
    ck_ht_gc(&table, 0, 1);
}

#include "readers_loop.h"
