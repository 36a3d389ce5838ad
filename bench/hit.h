/* What a table has to offer to take part in `make bench-hit`: one object file per contender. */
#ifndef BENCH_HIT_H
#define BENCH_HIT_H

#include "harness.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hit_value {
    uint64_t w[4];
} hit_value;

extern const char hit_name[]; /* as in the table of results */
extern const char hit_note[]; /* its hash, load and what else a reader must know */

/* A table for capacity entries: a cache of that size, or a map that grows as it likes. */
void *hit_create(size_t capacity);
void hit_destroy(void *table);

/* Inserts n keys that are new. */
void hit_insert(void *table, const uint64_t *keys, size_t n);

/* One cache replacement each: a map erases oldest[i] and inserts keys[i]; a cache that is full
 * only has to insert keys[i], because it evicts by itself. */
void hit_replace(void *table, const uint64_t *oldest, const uint64_t *keys, size_t n);

/* Looks n keys up; returns how many are there, and adds every word of their values to *sum. */
size_t hit_get(void *table, const uint64_t *keys, size_t n, uint64_t *sum);

/* The same through a call for many keys; 0 keys found for a contender that has none. */
size_t hit_get_many(void *table, const uint64_t *keys, size_t n, uint64_t *sum);

/* Bytes by the table's own account, or 0: then what malloc handed out is taken. */
size_t hit_own_bytes(void *table);

static inline hit_value hit_value_of(uint64_t key)
{
    hit_value v = {{key, ~key, key ^ UINT64_C(0x5555555555555555), key + 1}};
    return v;
}

static inline uint64_t hit_sum(const hit_value *v)
{
    return v->w[0] + v->w[1] + v->w[2] + v->w[3];
}

#ifdef __cplusplus
}
#endif

#endif /* BENCH_HIT_H */
