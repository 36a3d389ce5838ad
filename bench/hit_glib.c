/* GLib's GHashTable: maps pointers, so each entry is a node of key and value behind one. */
#include "hit.h"

#include <glib.h>
#include <stdlib.h>

const char hit_name[] = "GLib";
const char hit_note[] =
    "GHashTable used as a set of nodes, one multiply and fold as hash (g_int64_hash only folds), "
    "default load; an erased node is used again for the new key";

typedef struct node {
    uint64_t key;
    hit_value value;
} node;

typedef struct hit_table {
    GHashTable *map;
} hit_table;

static guint hash_key(gconstpointer key)
{
    uint64_t x = *(const uint64_t *)key * UINT64_C(0x9e3779b97f4a7c15);
    return (guint)(x >> 32);
}

void *hit_create(size_t capacity)
{
    (void)capacity;
    hit_table *t = calloc(1, sizeof *t);
    if (t != NULL) {
        t->map = g_hash_table_new(hash_key, g_int64_equal);
    }
    return t;
}

void hit_destroy(void *table)
{
    hit_table *t = table;
    GHashTableIter it;
    gpointer n = NULL;
    g_hash_table_iter_init(&it, t->map);
    while (g_hash_table_iter_next(&it, &n, NULL)) {
        free(n);
    }
    g_hash_table_destroy(t->map);
    free(t);
}

static inline void hit_put(hit_table *t, uint64_t key, const hit_value *v)
{
    node *n = malloc(sizeof *n);
    if (n == NULL) {
        abort();
    }
    n->key = key;
    n->value = *v;
    g_hash_table_add(t->map, n);
}

static inline const hit_value *hit_find(hit_table *t, uint64_t key, hit_value *room)
{
    (void)room;
    node *n = g_hash_table_lookup(t->map, &key);
    return n == NULL ? NULL : &n->value;
}

#define HIT_OWN_REPLACE
void hit_replace(void *table, const uint64_t *oldest, const uint64_t *keys, size_t n)
{
    hit_table *t = table;
    for (size_t i = 0; i < n; i++) {
        node *old = g_hash_table_lookup(t->map, &oldest[i]);
        g_hash_table_remove(t->map, old);
        old->key = keys[i];
        old->value = hit_value_of(keys[i]);
        g_hash_table_add(t->map, old);
    }
}

size_t hit_own_bytes(void *table)
{
    (void)table;
    return 0;
}

#include "hit_loops.h"
