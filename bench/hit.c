/* The part of `make bench-hit` that every contender shares: keys, churn, rounds.
 *
 * Key number i is bench_mix(i), or i itself with order=1 (sequential). The table is filled with
 * keys 0 .. capacity-1 and then churned: each step brings key number i and, in a map, erases number
 * i - capacity, so that cache and map hold the same number of entries; a cache with one shard whose
 * entries were never read evicts the oldest too, and holds the very same keys.
 */
#include "hit.h"

enum { CHUNK = 4096 };

static struct {
    void *table;
    size_t capacity;
    bool sequential;
    uint64_t next; /* number of the next key to insert */
    size_t heap_before_bytes;
    uint64_t *hits; /* n_list live keys in random order, with repetition */
    uint64_t *misses;
    size_t n_list;
    uint64_t list_sum; /* of the values that one pass over hits must find */
    uint64_t *oldest;  /* arguments of one measured replacement round */
    uint64_t *fresh;
    size_t n_replace;
} s;

static uint64_t key_number(uint64_t i)
{
    return s.sequential ? i : bench_mix(i);
}

/* Replaces n entries, unmeasured. */
static void churn(uint64_t n)
{
    uint64_t oldest[CHUNK];
    uint64_t fresh[CHUNK];
    while (n > 0) {
        size_t step = n < CHUNK ? (size_t)n : (size_t)CHUNK;
        for (size_t i = 0; i < step; i++) {
            oldest[i] = key_number(s.next - s.capacity + i);
            fresh[i] = key_number(s.next + i);
        }
        hit_replace(s.table, oldest, fresh, step);
        s.next += step;
        n -= step;
    }
}

static void drop(const bench_args *args, bench_reply *reply)
{
    (void)args;
    (void)reply;
    if (s.table != NULL) {
        hit_destroy(s.table);
    }
    s.table = NULL;
    bench_pages_free(s.hits, s.n_list * sizeof *s.hits);
    bench_pages_free(s.misses, s.n_list * sizeof *s.misses);
    bench_pages_free(s.oldest, s.n_replace * sizeof *s.oldest);
    bench_pages_free(s.fresh, s.n_replace * sizeof *s.fresh);
    s.hits = s.misses = s.oldest = s.fresh = NULL;
    s.n_list = s.n_replace = 0;
}

/* capacity, churn (times the capacity), order, list, replace: fills the table and churns it. */
static void setup(const bench_args *args, bench_reply *reply)
{
    drop(args, reply);
    s.capacity = (size_t)bench_arg(args, "capacity", 1000);
    s.sequential = bench_arg(args, "order", 0) != 0;
    s.n_list = (size_t)bench_arg(args, "list", 1 << 18);
    s.n_replace = (size_t)bench_arg(args, "replace", 100000);
    s.hits = bench_pages(s.n_list * sizeof *s.hits);
    s.misses = bench_pages(s.n_list * sizeof *s.misses);
    s.oldest = bench_pages(s.n_replace * sizeof *s.oldest);
    s.fresh = bench_pages(s.n_replace * sizeof *s.fresh);
    s.heap_before_bytes = bench_heap_bytes();
    s.table = hit_create(s.capacity);
    if (s.table == NULL) {
        bench_fail(reply, "the table could not be made");
        return;
    }
    uint64_t keys[CHUNK];
    for (s.next = 0; s.next < s.capacity;) {
        size_t step = s.capacity - s.next < CHUNK ? (size_t)(s.capacity - s.next) : (size_t)CHUNK;
        for (size_t i = 0; i < step; i++) {
            keys[i] = key_number(s.next + i);
        }
        hit_insert(s.table, keys, step);
        s.next += step;
    }
    churn(bench_arg(args, "churn", 20) * s.capacity);
    bench_put(reply, "n_inserted", s.next);
}

/* One measured round of replacements in the full table. The checksum counts what must be there
 * afterwards: half the capacity of the newest keys (less than all, because a cache with several
 * shards evicts per shard). */
static void replace(const bench_args *args, bench_reply *reply)
{
    (void)args;
    churn(s.n_replace / 16); /* warms caches and predictors up after another process ran */
    for (size_t i = 0; i < s.n_replace; i++) {
        s.oldest[i] = key_number(s.next - s.capacity + i);
        s.fresh[i] = key_number(s.next + i);
    }
    bench_start(reply);
    hit_replace(s.table, s.oldest, s.fresh, s.n_replace);
    s.next += s.n_replace;
    bench_pause(reply);
    size_t n_newest = s.n_replace < s.capacity / 2 ? s.n_replace : s.capacity / 2;
    uint64_t sum = 0;
    size_t n_found = hit_get(s.table, s.fresh + s.n_replace - n_newest, n_newest, &sum);
    bench_put_measured(reply, s.n_replace, n_found);
    bench_put(reply, "next", s.next);
    if (n_found != n_newest) {
        bench_fail(reply, "%zu of the newest %zu keys are there", n_found, n_newest);
    }
}

/* until: finds the live keys and lays out the order in which rounds ask for them, after bringing
 * the table to the key number that every contender has come to (repeated rounds take them apart). */
static void list(const bench_args *args, bench_reply *reply)
{
    uint64_t until = bench_arg(args, "until", s.next);
    churn(until > s.next ? until - s.next : 0);
    /* Newest first: with several shards a few older keys outlive newer ones of a fuller shard. */
    uint64_t *live = bench_pages(s.capacity * sizeof *live);
    size_t n_live = 0;
    for (uint64_t i = s.next; i > 0 && n_live < s.capacity && s.next - i < 4 * s.capacity; i--) {
        uint64_t key = key_number(i - 1);
        uint64_t sum = 0;
        if (hit_get(s.table, &key, 1, &sum) == 1) {
            live[n_live++] = key;
        }
    }
    if (n_live == 0) {
        bench_fail(reply, "no live key after the churn");
        bench_pages_free(live, s.capacity * sizeof *live);
        return;
    }
    s.list_sum = 0;
    uint64_t fingerprint = 0;
    for (size_t i = 0; i < s.n_list; i++) {
        s.hits[i] = live[bench_mix(i + UINT64_C(0x10000000000)) % n_live];
        s.misses[i] = key_number(UINT64_C(0x20000000000) + i);
        hit_value v = hit_value_of(s.hits[i]);
        s.list_sum += hit_sum(&v);
        fingerprint = bench_mix(fingerprint ^ s.hits[i]);
    }
    bench_pages_free(live, s.capacity * sizeof *live);
    bench_put(reply, "n_live", n_live);
    bench_put(reply, "fingerprint", fingerprint);
}

typedef size_t get_function(void *table, const uint64_t *keys, size_t n, uint64_t *sum);

/* Measures passes over keys; every look-up must find (or miss) and every value must be right. */
static void measure_get(const bench_args *args, bench_reply *reply, get_function *get,
                        const uint64_t *keys, bool present)
{
    uint64_t passes = bench_arg(args, "passes", 1);
    uint64_t sum = 0;
    uint64_t n_found = 0;
    get(s.table, keys, s.n_list < 1 << 18 ? s.n_list : 1 << 18, &sum); /* warm-up */
    sum = 0;
    bench_start(reply);
    for (uint64_t p = 0; p < passes; p++) {
        n_found += get(s.table, keys, s.n_list, &sum);
    }
    bench_stop(reply, passes * s.n_list, sum);
    if (n_found != (present ? passes * s.n_list : 0)) {
        bench_fail(reply, "found %llu of %llu keys that are %s", (unsigned long long)n_found,
                   (unsigned long long)(passes * s.n_list), present ? "there" : "not there");
    } else if (sum != (present ? passes * s.list_sum : 0)) {
        bench_fail(reply, "a value was not its key's");
    }
}

static void hit(const bench_args *args, bench_reply *reply)
{
    measure_get(args, reply, hit_get, s.hits, true);
}

static void miss(const bench_args *args, bench_reply *reply)
{
    measure_get(args, reply, hit_get, s.misses, false);
}

static void hit_many(const bench_args *args, bench_reply *reply)
{
    measure_get(args, reply, hit_get_many, s.hits, true);
}

/* Bytes of the table: by its own account when it keeps one, and as malloc sees them. */
static void bytes(const bench_args *args, bench_reply *reply)
{
    (void)args;
    bench_put(reply, "own_bytes", hit_own_bytes(s.table));
    bench_put(reply, "heap_bytes", bench_heap_bytes() - s.heap_before_bytes);
    bench_put(reply, "payload_bytes", s.capacity * (sizeof(uint64_t) + sizeof(hit_value)));
    bench_put(reply, "capacity", s.capacity);
}

int main(void)
{
    static const bench_command commands[] = {
        {"setup", setup}, {"replace", replace},   {"list", list},   {"hit", hit},
        {"miss", miss},   {"hit_many", hit_many}, {"bytes", bytes}, {"drop", drop},
    };
    return bench_serve(hit_name, hit_note, commands, sizeof commands / sizeof commands[0]);
}
