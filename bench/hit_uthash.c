/* uthash: an intrusive chained table; one malloc per entry, as its users write it. */
#include "hit.h"

#include <stdlib.h>

#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#include <uthash.h>

const char hit_name[] = "uthash";

typedef struct node {
#if HIT_TEXT
    char key[64]; /* the longest, so that a node serves another key */
#else
    uint64_t key;
#endif
    hit_value value;
    UT_hash_handle hh;
} node;

typedef struct hit_table {
    node *head;
} hit_table;

void *hit_create(size_t capacity)
{
    (void)capacity;
    return calloc(1, sizeof(hit_table));
}

void hit_destroy(void *table)
{
    hit_table *t = table;
    node *n = NULL;
    node *next = NULL;
    HASH_ITER(hh, t->head, n, next)
    {
        HASH_DEL(t->head, n);
        free(n);
    }
    free(t);
}

#if HIT_TEXT
const char hit_note[] =
    "default hash (Jenkins), default load; a node has room for 64 bytes of key; an "
    "erased node is used again for the new key";

static inline node *find_node(hit_table *t, hit_key key)
{
    node *n = NULL;
    HASH_FIND(hh, t->head, key.bytes, key.n, n);
    return n;
}

static inline void add_node(hit_table *t, node *n, hit_key key, const hit_value *v)
{
    memcpy(n->key, key.bytes, key.n);
    n->value = *v;
    HASH_ADD_KEYPTR(hh, t->head, n->key, key.n, n);
}
#else
const char hit_note[] =
    "default hash (Jenkins), default load; an erased node is used again for the new key";

static inline node *find_node(hit_table *t, hit_key key)
{
    node *n = NULL;
    HASH_FIND(hh, t->head, &key, sizeof key, n);
    return n;
}

static inline void add_node(hit_table *t, node *n, hit_key key, const hit_value *v)
{
    n->key = key;
    n->value = *v;
    HASH_ADD(hh, t->head, key, sizeof n->key, n);
}
#endif

static inline void hit_put(hit_table *t, hit_key key, const hit_value *v)
{
    node *n = malloc(sizeof *n);
    if (n == NULL) {
        abort();
    }
    add_node(t, n, key, v);
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
        hit_value v = hit_value_of(keys[i]);
        node *old = find_node(t, oldest[i]);
        HASH_DEL(t->head, old);
        add_node(t, old, keys[i], &v);
    }
}

size_t hit_own_bytes(void *table)
{
    (void)table;
    return 0;
}

#include "hit_loops.h"
