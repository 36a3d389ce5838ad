/* stb_ds.h's hash map. */
#include "hit.h"

#include <stdlib.h>

/* Its macros convert between signed and unsigned as they like: not ours to mend. */
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wsign-compare"
#define STB_DS_IMPLEMENTATION
#include <stb/stb_ds.h>

const char hit_name[] = "stb_ds";

#if HIT_TEXT
const char hit_note[] =
    "shgetp_null/shdel/shput, its own hash, copies keys with strdup, default load, "
    "pairs in one array";
typedef struct pair {
    char *key;
    hit_value value;
} pair;
#define as_key(k) ((char *)(uintptr_t)(k).bytes)
#define map_get   shgetp_null
#define map_put   shput
#define map_del   shdel
#define map_free  shfree
#else
const char hit_note[] = "hmgetp_null/hmdel/hmput, its own hash, default load, pairs in one array";
typedef struct pair {
    uint64_t key;
    hit_value value;
} pair;
#define as_key(k) (k)
#define map_get   hmgetp_null
#define map_put   hmput
#define map_del   hmdel
#define map_free  hmfree
#endif

typedef struct hit_table {
    pair *pairs;
} hit_table;

void *hit_create(size_t capacity)
{
    (void)capacity;
    hit_table *t = calloc(1, sizeof *t);
#if HIT_TEXT
    if (t != NULL) {
        sh_new_strdup(t->pairs);
    }
#endif
    return t;
}

void hit_destroy(void *table)
{
    hit_table *t = table;
    map_free(t->pairs);
    free(t);
}

static inline void hit_put(hit_table *t, hit_key key, const hit_value *v)
{
    map_put(t->pairs, as_key(key), *v);
}

static inline void hit_drop(hit_table *t, hit_key key)
{
    (void)map_del(t->pairs, as_key(key));
}

static inline const hit_value *hit_find(hit_table *t, hit_key key, hit_value *room)
{
    (void)room;
    pair *p = map_get(t->pairs, as_key(key));
    return p == NULL ? NULL : &p->value;
}

size_t hit_own_bytes(void *table)
{
    (void)table;
    return 0;
}

#include "hit_loops.h"
