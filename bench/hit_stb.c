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
const char hit_note[] = "hmgetp_null/hmdel/hmput, its own hash, default load, pairs in one array";

typedef struct hit_table {
    struct pair {
        uint64_t key;
        hit_value value;
    } * pairs;
} hit_table;

void *hit_create(size_t capacity)
{
    (void)capacity;
    return calloc(1, sizeof(hit_table));
}

void hit_destroy(void *table)
{
    hit_table *t = table;
    hmfree(t->pairs);
    free(t);
}

static inline void hit_put(hit_table *t, uint64_t key, const hit_value *v)
{
    hmput(t->pairs, key, *v);
}

static inline void hit_drop(hit_table *t, uint64_t key)
{
    (void)hmdel(t->pairs, key);
}

static inline const hit_value *hit_find(hit_table *t, uint64_t key, hit_value *room)
{
    (void)room;
    struct pair *p = hmgetp_null(t->pairs, key);
    return p == NULL ? NULL : &p->value;
}

size_t hit_own_bytes(void *table)
{
    (void)table;
    return 0;
}

#include "hit_loops.h"
