/* The measured loops, compiled inside each contender so that its operations can be inlined.
 *
 * The includer has defined `hit_table` and, as static inline functions:
 *   void hit_put(hit_table *, uint64_t key, const hit_value *)
 *   void hit_drop(hit_table *, uint64_t key)                        nothing for a cache
 *   const hit_value *hit_find(hit_table *, uint64_t key, hit_value *room)
 *       a pointer into the table, or to room filled with a copy, or NULL
 * A contender that recycles the erased node of a key defines HIT_OWN_REPLACE and hit_replace.
 */
#ifndef BENCH_HIT_LOOPS_H
#define BENCH_HIT_LOOPS_H

void hit_insert(void *table, const uint64_t *keys, size_t n)
{
    hit_table *t = (hit_table *)table;
    for (size_t i = 0; i < n; i++) {
        hit_value v = hit_value_of(keys[i]);
        hit_put(t, keys[i], &v);
    }
}

#ifndef HIT_OWN_REPLACE
void hit_replace(void *table, const uint64_t *oldest, const uint64_t *keys, size_t n)
{
    hit_table *t = (hit_table *)table;
    for (size_t i = 0; i < n; i++) {
        hit_value v = hit_value_of(keys[i]);
        hit_drop(t, oldest[i]);
        hit_put(t, keys[i], &v);
    }
}
#endif

size_t hit_get(void *table, const uint64_t *keys, size_t n, uint64_t *sum)
{
    hit_table *t = (hit_table *)table;
    uint64_t total = 0;
    size_t n_found = 0;
    for (size_t i = 0; i < n; i++) {
        hit_value room;
        const hit_value *v = hit_find(t, keys[i], &room);
        if (v != NULL) {
            total += hit_sum(v);
            n_found++;
        }
    }
    *sum += total;
    return n_found;
}

#ifndef HIT_OWN_GET_MANY
size_t hit_get_many(void *table, const uint64_t *keys, size_t n, uint64_t *sum)
{
    (void)table;
    (void)keys;
    (void)n;
    (void)sum;
    return 0;
}
#endif

#endif /* BENCH_HIT_LOOPS_H */
