/* The measured loops, compiled inside each contender so that its operations can be inlined.
 *
 * The includer has defined `hit_table` and, as static inline functions:
 *   void hit_put(hit_table *, hit_key key, const hit_value *)     a new key
 *   void hit_drop(hit_table *, hit_key key)                       nothing for a cache
 *   const hit_value *hit_find(hit_table *, hit_key key, hit_value *room)
 *       a pointer into the table, or to room filled with a copy, or NULL
 * A contender that recycles the erased node of a key defines HIT_OWN_REPLACE and hit_replace; one whose
 * hit_find copies, HIT_OWN_SET and hit_set (the key is there); one with a call for many keys,
 * HIT_OWN_GET_MANY and hit_get_many; one that evicts by itself, HIT_EVICTS.
 */
#ifndef BENCH_HIT_LOOPS_H
#define BENCH_HIT_LOOPS_H

void hit_insert(void *table, const hit_key *keys, size_t n)
{
    hit_table *t = (hit_table *)table;
    for (size_t i = 0; i < n; i++) {
        hit_value v = hit_value_of(keys[i]);
        hit_put(t, keys[i], &v);
    }
}

#ifndef HIT_OWN_REPLACE
void hit_replace(void *table, const hit_key *oldest, const hit_key *keys, size_t n)
{
    hit_table *t = (hit_table *)table;
    for (size_t i = 0; i < n; i++) {
        hit_value v = hit_value_of(keys[i]);
        hit_drop(t, oldest[i]);
        hit_put(t, keys[i], &v);
    }
}
#endif

#ifndef HIT_OWN_SET
static inline void hit_set(hit_table *t, hit_key key, const hit_value *v)
{
    hit_value room;
    hit_value *there = (hit_value *)(uintptr_t)hit_find(t, key, &room);
    if (there != NULL) {
        *there = *v;
    }
}
#endif

/* Is the key there? Adds what its value sums up to. */
static inline size_t hit_count(hit_table *t, hit_key key, uint64_t *total)
{
    hit_value room;
    const hit_value *v = hit_find(t, key, &room);
    if (v == NULL) {
        return 0;
    }
    *total += hit_sum(v);
    return 1;
}

size_t hit_get(void *table, const hit_key *keys, size_t n, uint64_t *sum)
{
    hit_table *t = (hit_table *)table;
    uint64_t total = 0;
    size_t n_found = 0;
    for (size_t i = 0; i < n; i++) {
        n_found += hit_count(t, keys[i], &total);
    }
    *sum += total;
    return n_found;
}

size_t hit_chain(void *table, const hit_key *keys, size_t n, uint64_t *sum)
{
    hit_table *t = (hit_table *)table;
    uint64_t total = 0;
    uint64_t zero = 0;
    for (size_t i = 0; i < n; i++) {
        hit_value room;
        hit_key key = hit_after(keys[i], zero);
        const hit_value *v = hit_find(t, key, &room);
        if (v == NULL) {
            *sum += total;
            return i;
        }
        total += hit_sum(v);
        zero = v->w[0] ^ hit_id(keys[i]); /* which the compiler does not know */
    }
    *sum += total;
    return n;
}

#ifndef HIT_OWN_GET_MANY
size_t hit_get_many(void *table, const hit_key *keys, size_t n, size_t batch, uint64_t *sum)
{
    (void)table;
    (void)keys;
    (void)n;
    (void)batch;
    (void)sum;
    return 0;
}
#endif

size_t hit_mix(void *table, const hit_key *keys, const uint8_t *writes, size_t n, uint64_t *sum)
{
    hit_table *t = (hit_table *)table;
    uint64_t total = 0;
    size_t n_found = 0;
    for (size_t i = 0; i < n; i++) {
        if (writes[i] != 0) {
            hit_value v = hit_value_of(keys[i]);
            hit_set(t, keys[i], &v);
            continue;
        }
        n_found += hit_count(t, keys[i], &total);
    }
    *sum += total;
    return n_found;
}

size_t hit_replay(void *table, const hit_key *keys, size_t n, hit_key *ring, size_t n_ring,
                  size_t *at, uint64_t *sum)
{
    hit_table *t = (hit_table *)table;
    uint64_t wrong = 0;
    size_t n_found = 0;
    for (size_t i = 0; i < n; i++) {
        hit_value room;
        hit_value due = hit_value_of(keys[i]);
        const hit_value *v = hit_find(t, keys[i], &room);
        if (v != NULL) {
            wrong += hit_sum(v) ^ hit_sum(&due);
            n_found++;
            continue;
        }
#ifdef HIT_EVICTS
        (void)ring;
        (void)n_ring;
        (void)at;
        hit_put(t, keys[i], &due);
#else
        hit_replace(t, &ring[*at], &keys[i], 1);
        ring[*at] = keys[i];
        *at = *at + 1 == n_ring ? 0 : *at + 1;
#endif
    }
    *sum += wrong;
    return n_found;
}

#endif /* BENCH_HIT_LOOPS_H */
