/* GLib's GHashTable: maps pointers, so each entry is a node of key and value behind one. */
#include "hit.h"

#include <glib.h>
#include <stdlib.h>

const char hit_name[] = "GLib";

#if HIT_TEXT
/* xxHash where it is installed: it is three times as fast as g_str_hash, which goes byte by byte. */
#if __has_include(<xxhash.h>)
#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wundef"
#include <xxhash.h>
#pragma GCC diagnostic pop
#define HASH_NOTE "XXH3"
#else
#define HASH_NOTE "g_str_hash"
#endif
const char hit_note[] =
    "GHashTable used as a set of nodes with room for 64 bytes of key, " HASH_NOTE
    ", default load; an erased node is used again for the new key";
#else
const char hit_note[] =
    "GHashTable used as a set of nodes, one multiply and fold as hash (g_int64_hash only folds), "
    "default load; an erased node is used again for the new key";
#endif

typedef struct node {
#if HIT_TEXT
    const char *key; /* text, or that of who looks it up */
    size_t n;
    hit_value value;
    char text[65];
#else
    uint64_t key;
    hit_value value;
#endif
} node;

typedef struct hit_table {
    GHashTable *map;
} hit_table;

#if HIT_TEXT
static guint hash_key(gconstpointer key)
{
    const node *n = key;
#if __has_include(<xxhash.h>)
    return (guint)XXH3_64bits(n->key, n->n);
#else
    return g_str_hash(n->key);
#endif
}

static gboolean equal_keys(gconstpointer a, gconstpointer b)
{
    const node *x = a;
    const node *y = b;
    return x->n == y->n && memcmp(x->key, y->key, x->n) == 0;
}

static inline void set_key(node *n, hit_key key)
{
    memcpy(n->text, key.bytes, key.n + 1);
    n->key = n->text;
    n->n = key.n;
}

static inline node *find_node(hit_table *t, hit_key key)
{
    node asked;
    asked.key = key.bytes;
    asked.n = key.n;
    return g_hash_table_lookup(t->map, &asked);
}
#else
static guint hash_key(gconstpointer key)
{
    uint64_t x = *(const uint64_t *)key * UINT64_C(0x9e3779b97f4a7c15);
    return (guint)(x >> 32);
}

#define equal_keys g_int64_equal

static inline void set_key(node *n, hit_key key)
{
    n->key = key;
}

static inline node *find_node(hit_table *t, hit_key key)
{
    return g_hash_table_lookup(t->map, &key);
}
#endif

void *hit_create(size_t capacity)
{
    (void)capacity;
    hit_table *t = calloc(1, sizeof *t);
    if (t != NULL) {
        t->map = g_hash_table_new(hash_key, equal_keys);
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

static inline void hit_put(hit_table *t, hit_key key, const hit_value *v)
{
    node *n = malloc(sizeof *n);
    if (n == NULL) {
        abort();
    }
    set_key(n, key);
    n->value = *v;
    g_hash_table_add(t->map, n);
}

static inline const hit_value *hit_find(hit_table *t, hit_key key, hit_value *room)
{
    (void)room;
    node *n = find_node(t, key);
    return n == NULL ? NULL : &n->value;
}

#define HIT_OWN_REPLACE
void hit_replace(void *table, const hit_key *oldest, const hit_key *keys, size_t n)
{
    hit_table *t = table;
    for (size_t i = 0; i < n; i++) {
        node *old = find_node(t, oldest[i]);
        g_hash_table_remove(t->map, old);
        set_key(old, keys[i]);
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
