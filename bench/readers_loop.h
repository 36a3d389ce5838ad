/* The measured loop, compiled inside each contender so that its operations can be inlined.
 *
 * The includer has defined, as static inline functions:
 *   bool find(uint64_t key, readers_value *out)
 *   void update(uint64_t key, const readers_value *value)     the key is there
 *   void quiet(void)                                          called every 128 operations
 */
#ifndef BENCH_READERS_LOOP_H
#define BENCH_READERS_LOOP_H

enum { READERS_STRIDE = 128 };

static inline void readers_loop(const uint64_t *keys, const uint8_t *writes, size_t n,
                                uint64_t stamp, readers_result *result)
{
    readers_result r = {0, 0, 0};
    for (size_t i = 0; i < n;) {
        size_t end = n - i < READERS_STRIDE ? n : i + READERS_STRIDE;
        for (; i < end; i++) {
            readers_value v;
            if (writes != NULL && writes[i] != 0) {
                v = readers_value_of(keys[i], stamp + i);
                update(keys[i], &v);
            } else if (find(keys[i], &v)) {
                r.n_found++;
                r.sum += v.w[0] ^ v.w[1];
                r.torn |= ((v.w[0] + keys[i]) ^ v.w[2]) | ~(v.w[0] ^ v.w[3]);
            }
        }
        quiet();
    }
    result->n_found += r.n_found;
    result->sum += r.sum;
    result->torn |= r.torn;
}

/* Without writes no branch asks for them. */
void readers_work(const uint64_t *keys, const uint8_t *writes, size_t n, uint64_t stamp,
                  readers_result *result)
{
    if (writes == NULL) {
        readers_loop(keys, NULL, n, stamp, result);
    } else {
        readers_loop(keys, writes, n, stamp, result);
    }
}

#endif /* BENCH_READERS_LOOP_H */
