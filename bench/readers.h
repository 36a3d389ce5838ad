/* What a table shared by threads has to offer to take part in `make bench-readers`: one program each.
 *
 * uint64 -> 32 bytes. A look-up copies the value out, whole, as it was at one moment. A contender defines the
 * names below and then includes readers_loop.h, which has the measured loop.
 */
#ifndef BENCH_READERS_H
#define BENCH_READERS_H

#include "harness.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct readers_value {
    uint64_t w[4];
} readers_value;

typedef struct readers_result {
    uint64_t n_found;
    uint64_t sum;  /* of the keys, as the values say them */
    uint64_t torn; /* not 0 when a value was of two writes, or of another key */
} readers_result;

extern const char readers_name[];
extern const char
    readers_note[]; /* its hash, its load, what makes the copy safe, how many may write */

/* Makes the table, for capacity entries; false when it cannot. */
bool readers_create(size_t capacity);
void readers_destroy(void);
/* Entries by buckets or slots in percent, or 0 when the table does not tell. */
uint64_t readers_load_pct(void);

/* Around what a thread does with the table, the filling one included. */
void readers_enter(void);
void readers_leave(void);

/* Puts key in, and takes oldest out unless it is 0; a cache that is full evicts instead. No other
 * thread is there. */
void readers_put(uint64_t oldest, uint64_t key);

/* Called once after the churn, before anything is measured. */
void readers_settle(void);

/* Looks n keys up, or, with writes not NULL, gives those with writes[i] != 0 a new value instead. All are
 * there. stamp: a number that no other call has. */
void readers_work(const uint64_t *keys, const uint8_t *writes, size_t n, uint64_t stamp,
                  readers_result *result);

/* A number of many bits, none of which a key has by itself: what hashes of peers are made with. */
static inline uint64_t readers_hash(uint64_t key)
{
    key ^= key >> 32;
    key *= UINT64_C(0x9e3779b97f4a7c15);
    return key ^ (key >> 32);
}

static inline readers_value readers_value_of(uint64_t key, uint64_t version)
{
    readers_value v = {{version, version ^ key, version + key, ~version}};
    return v;
}

#ifdef __cplusplus
}
#endif

#endif /* BENCH_READERS_H */
