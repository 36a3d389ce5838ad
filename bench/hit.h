/* What a table has to offer to take part in `make bench-hit` and `make bench-many`: one object file per
 * contender and kind of entry. HIT_WORDS words are a value (4 or 1); HIT_TEXT makes keys strings. */
#ifndef BENCH_HIT_H
#define BENCH_HIT_H

#include "harness.h"

#include <string.h>

#ifndef HIT_WORDS
#define HIT_WORDS 4
#endif
#ifndef HIT_TEXT
#define HIT_TEXT 0
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hit_value {
    uint64_t w[HIT_WORDS];
} hit_value;

#if HIT_TEXT
/* 8 to 64 bytes, the first eight of which no other key has; a NUL follows, for those who want one. */
typedef struct hit_key {
    const char *bytes;
    size_t n;
} hit_key;
#else
typedef uint64_t hit_key;
#endif

extern const char hit_name[]; /* as in the table of results */
extern const char hit_note[]; /* its hash, load and what else a reader must know */

/* A table for capacity entries: a cache of that size, or a map that grows as it likes. */
void *hit_create(size_t capacity);
void hit_destroy(void *table);

/* Inserts n keys that are new. */
void hit_insert(void *table, const hit_key *keys, size_t n);

/* One cache replacement each: a map erases oldest[i] and inserts keys[i]; a cache that is full
 * only has to insert keys[i], because it evicts by itself. */
void hit_replace(void *table, const hit_key *oldest, const hit_key *keys, size_t n);

/* Looks n keys up; returns how many are there, and adds every word of their values to *sum. */
size_t hit_get(void *table, const hit_key *keys, size_t n, uint64_t *sum);

/* The same with each key known only when the value before it is: the processor cannot look two up at a
 * time. All keys but the last have to be there; returns how many were before the first that was not. */
size_t hit_chain(void *table, const hit_key *keys, size_t n, uint64_t *sum);

/* The same as hit_get through a call for many keys, batch of them at a time; 0 keys found for a
 * contender that has no such call. */
size_t hit_get_many(void *table, const hit_key *keys, size_t n, size_t batch, uint64_t *sum);

/* Looks keys up, and gives those with writes[i] != 0, which are there, their value anew. */
size_t hit_mix(void *table, const hit_key *keys, const uint8_t *writes, size_t n, uint64_t *sum);

/* A cache at work: a key that is not there is put in, in a map in place of ring[*at], the oldest of its
 * n_ring keys. Returns how many were there. *sum grows by the difference between what was found and
 * what the keys say: 0. */
size_t hit_replay(void *table, const hit_key *keys, size_t n, hit_key *ring, size_t n_ring,
                  size_t *at, uint64_t *sum);

/* Bytes by the table's own account, or 0: then what malloc handed out is taken. */
size_t hit_own_bytes(void *table);

/* The number that a key's value is made of. */
static inline uint64_t hit_id(hit_key key)
{
#if HIT_TEXT
    uint64_t id;
    memcpy(&id, key.bytes, sizeof id);
    return id;
#else
    return key;
#endif
}

/* The key, known once zero (which is 0) is. */
static inline hit_key hit_after(hit_key key, uint64_t zero)
{
#if HIT_TEXT
    key.bytes += zero;
    return key;
#else
    return key + zero;
#endif
}

static inline hit_value hit_value_of(hit_key key)
{
    uint64_t id = hit_id(key);
#if HIT_WORDS == 4
    hit_value v = {{id, ~id, id ^ UINT64_C(0x5555555555555555), id + 1}};
#else
    hit_value v = {{id}};
#endif
    return v;
}

static inline uint64_t hit_sum(const hit_value *v)
{
#if HIT_WORDS == 4
    return v->w[0] + v->w[1] + v->w[2] + v->w[3];
#else
    return v->w[0];
#endif
}

#ifdef __cplusplus
}
#endif

#endif /* BENCH_HIT_H */
