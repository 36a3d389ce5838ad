/* The part of `make bench-hit` and `make bench-many` that every contender shares: keys, churn, rounds.
 *
 * Key number i is bench_mix(i), or i itself with order=1 (sequential), or a string made of i. The table is
 * filled with keys 0 .. capacity-1 and then churned: each step brings key number i and, in a map, erases
 * number i - capacity, so that cache and map hold the same number of entries; a cache with one shard whose
 * entries were never read evicts the oldest too, and holds the very same keys.
 */
#include "hit.h"

#include "sheet.h"
#include "zipf.h"

enum { CHUNK = 4096, WARM_UP = 1 << 18 };

static struct {
    void *table;
    size_t capacity;
    bool sequential;
    uint64_t next; /* number of the next key to insert */
    size_t heap_before_bytes;
    sheet chunk[2]; /* CHUNK keys to erase, and as many to insert */
    sheet hits;     /* live keys in random order, with repetition */
    sheet misses;
    size_t n_list;
    uint64_t list_sum; /* of the values that one pass over hits must find */
    sheet oldest;      /* arguments of one measured replacement round */
    sheet fresh;
    size_t n_replace;
    uint64_t *live; /* numbers of the live keys, shuffled */
    size_t n_live;
    sheet mixed; /* of the latest kind of mix */
    uint8_t *writes;
    size_t n_mixed;
    size_t mixed_found;
    uint64_t mixed_sum;
    uint64_t mixed_kind; /* what mixed was laid out for, 0 = nothing */
    sheet ring;          /* of replay */
    size_t ring_at;
} s;

static void put_key(sheet *keys, size_t at, uint64_t number)
{
    sheet_put(keys, at, number, s.sequential);
}

/* Replaces n entries, unmeasured. */
static void churn(uint64_t n)
{
    while (n > 0) {
        size_t step = n < CHUNK ? (size_t)n : (size_t)CHUNK;
        for (size_t i = 0; i < step; i++) {
            put_key(&s.chunk[0], i, s.next - s.capacity + i);
            put_key(&s.chunk[1], i, s.next + i);
        }
        hit_replace(s.table, s.chunk[0].key, s.chunk[1].key, step);
        s.next += step;
        n -= step;
    }
}

static void drop_mixed(void)
{
    sheet_close(&s.mixed);
    bench_pages_free(s.writes, s.n_mixed);
    s.writes = NULL;
    s.n_mixed = 0;
    s.mixed_kind = 0;
}

static void drop(const bench_args *args, bench_reply *reply)
{
    (void)args;
    (void)reply;
    if (s.table != NULL) {
        hit_destroy(s.table);
    }
    s.table = NULL;
    sheet *const all[] = {&s.chunk[0], &s.chunk[1], &s.hits, &s.misses,
                          &s.oldest,   &s.fresh,    &s.ring};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        sheet_close(all[i]);
    }
    bench_pages_free(s.live, s.capacity * sizeof *s.live);
    s.live = NULL;
    s.n_list = s.n_replace = s.n_live = 0;
    drop_mixed();
}

/* capacity, churn (times the capacity), order, list, replace: fills the table and churns it. */
static void setup(const bench_args *args, bench_reply *reply)
{
    drop(args, reply);
    s.capacity = (size_t)bench_arg(args, "capacity", 1000);
    s.sequential = bench_arg(args, "order", 0) != 0;
    s.n_list = (size_t)bench_arg(args, "list", 1 << 18);
    s.n_replace = (size_t)bench_arg(args, "replace", 100000);
    sheet_open(&s.chunk[0], CHUNK);
    sheet_open(&s.chunk[1], CHUNK);
    sheet_open(&s.hits, s.n_list);
    sheet_open(&s.misses, s.n_list);
    sheet_open(&s.oldest, s.n_replace);
    sheet_open(&s.fresh, s.n_replace);
    s.live = bench_pages(s.capacity * sizeof *s.live);
    s.heap_before_bytes = bench_heap_bytes();
    s.table = hit_create(s.capacity);
    if (s.table == NULL) {
        bench_fail(reply, "the table could not be made");
        return;
    }
    for (s.next = 0; s.next < s.capacity;) {
        size_t step = s.capacity - s.next < CHUNK ? (size_t)(s.capacity - s.next) : (size_t)CHUNK;
        for (size_t i = 0; i < step; i++) {
            put_key(&s.chunk[0], i, s.next + i);
        }
        hit_insert(s.table, s.chunk[0].key, step);
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
        put_key(&s.oldest, i, s.next - s.capacity + i);
        put_key(&s.fresh, i, s.next + i);
    }
    bench_start(reply);
    hit_replace(s.table, s.oldest.key, s.fresh.key, s.n_replace);
    s.next += s.n_replace;
    bench_pause(reply);
    size_t n_newest = s.n_replace < s.capacity / 2 ? s.n_replace : s.capacity / 2;
    uint64_t sum = 0;
    size_t n_found = hit_get(s.table, s.fresh.key + s.n_replace - n_newest, n_newest, &sum);
    bench_put_measured(reply, s.n_replace, n_found);
    bench_put(reply, "next", s.next);
    if (n_found != n_newest) {
        bench_fail(reply, "%zu of the newest %zu keys are there", n_found, n_newest);
    }
}

/* Finds the live keys, newest first: with several shards a few older keys outlive newer ones of a fuller
 * shard. Then shuffles them. */
static void find_live(void)
{
    s.n_live = 0;
    for (uint64_t i = s.next; i > 0 && s.n_live < s.capacity && s.next - i < 4 * s.capacity; i--) {
        uint64_t sum = 0;
        put_key(&s.chunk[0], 0, i - 1);
        if (hit_get(s.table, s.chunk[0].key, 1, &sum) == 1) {
            s.live[s.n_live++] = i - 1;
        }
    }
    for (size_t i = s.n_live; i > 1; i--) {
        size_t other = (size_t)(bench_mix(i + UINT64_C(0x30000000000)) % i);
        uint64_t kept = s.live[i - 1];
        s.live[i - 1] = s.live[other];
        s.live[other] = kept;
    }
}

/* until: finds the live keys and lays out the order in which rounds ask for them, after bringing
 * the table to the key number that every contender has come to (repeated rounds take them apart). */
static void list(const bench_args *args, bench_reply *reply)
{
    uint64_t until = bench_arg(args, "until", s.next);
    churn(until > s.next ? until - s.next : 0);
    find_live();
    if (s.n_live == 0) {
        bench_fail(reply, "no live key after the churn");
        return;
    }
    s.list_sum = 0;
    uint64_t fingerprint = 0;
    for (size_t i = 0; i < s.n_list; i++) {
        put_key(&s.hits, i, s.live[bench_mix(i + UINT64_C(0x10000000000)) % s.n_live]);
        put_key(&s.misses, i, UINT64_C(0x20000000000) + i);
        hit_value v = hit_value_of(s.hits.key[i]);
        s.list_sum += hit_sum(&v);
        fingerprint = bench_mix(fingerprint ^ hit_id(s.hits.key[i]));
    }
    bench_put(reply, "n_live", s.n_live);
    bench_put(reply, "fingerprint", fingerprint);
}

static size_t get_many(void *table, const hit_key *keys, size_t n, size_t batch, uint64_t *sum)
{
    return batch == 0 ? hit_get(table, keys, n, sum) : hit_get_many(table, keys, n, batch, sum);
}

/* Measures passes over a list; every look-up must find (or miss) and every value must be right. batch: how
 * many keys a call asks for, 0 = single look-ups, 1 = each key known only after the value before it. */
static void measure_get(const bench_args *args, bench_reply *reply, size_t batch, const sheet *keys,
                        bool present)
{
    uint64_t passes = bench_arg(args, "passes", 1);
    uint64_t sum = 0;
    uint64_t n_found = 0;
    get_many(s.table, keys->key, s.n_list < WARM_UP ? s.n_list : WARM_UP, batch == 1 ? 0 : batch,
             &sum);
    sum = 0;
    bench_start(reply);
    for (uint64_t p = 0; p < passes; p++) {
        n_found += batch == 1 ? hit_chain(s.table, keys->key, s.n_list, &sum)
                              : get_many(s.table, keys->key, s.n_list, batch, &sum);
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
    measure_get(args, reply, 0, &s.hits, true);
}

static void miss(const bench_args *args, bench_reply *reply)
{
    measure_get(args, reply, 0, &s.misses, false);
}

static void hit_in_a_chain(const bench_args *args, bench_reply *reply)
{
    measure_get(args, reply, 1, &s.hits, true);
}

/* batch: how many keys a call asks for. */
static void hit_many(const bench_args *args, bench_reply *reply)
{
    measure_get(args, reply, (size_t)bench_arg(args, "batch", 100), &s.hits, true);
}

/* Lays out n_mixed operations: hit_pct of the keys are there, chosen alike or, with zipf_pct, with that
 * hundredth as the exponent; write_pct of the operations write. */
static void lay_out(uint64_t hit_pct, uint64_t zipf_pct, uint64_t write_pct)
{
    zipf by_rank = {NULL, 0};
    if (zipf_pct != 0) {
        zipf_open(&by_rank, s.n_live, (double)zipf_pct / 100);
    }
    s.mixed_found = 0;
    s.mixed_sum = 0;
    for (size_t i = 0; i < s.n_mixed; i++) {
        uint64_t dice = bench_mix(i + UINT64_C(0x40000000000));
        s.writes[i] = dice % 100 < write_pct;
        dice = bench_mix(dice);
        bool there = dice % 100 < hit_pct;
        dice = bench_mix(dice);
        uint64_t rank = zipf_pct != 0 ? zipf_rank(&by_rank, dice) : dice % s.n_live;
        put_key(&s.mixed, i, there ? s.live[rank] : UINT64_C(0x50000000000) + i);
        if (there && !s.writes[i]) {
            hit_value v = hit_value_of(s.mixed.key[i]);
            s.mixed_sum += hit_sum(&v);
            s.mixed_found++;
        }
    }
    if (zipf_pct != 0) {
        zipf_close(&by_rank);
    }
}

/* n, passes; hit_pct, zipf_pct, write_pct: see lay_out. */
static void mix(const bench_args *args, bench_reply *reply)
{
    uint64_t passes = bench_arg(args, "passes", 1);
    uint64_t hit_pct = bench_arg(args, "hit_pct", 100);
    uint64_t zipf_pct = bench_arg(args, "zipf_pct", 0);
    uint64_t write_pct = bench_arg(args, "write_pct", 0);
    uint64_t kind = 1 + hit_pct + 1000 * write_pct + 1000000 * zipf_pct;
    if (kind != s.mixed_kind) {
        drop_mixed();
        s.n_mixed = (size_t)bench_arg(args, "n", 1 << 18);
        s.writes = bench_pages(s.n_mixed);
        sheet_open(&s.mixed, s.n_mixed);
        lay_out(hit_pct, zipf_pct, write_pct);
        s.mixed_kind = kind;
    }
    uint64_t sum = 0;
    uint64_t n_found = 0;
    /* Without writes by the loop that all hits are measured with. */
    bool plain = write_pct == 0;
    for (uint64_t p = 0; p <= passes; p++) {
        size_t n = p == 0 ? s.n_mixed / 8 : s.n_mixed; /* first some to warm up */
        n_found += plain ? hit_get(s.table, s.mixed.key, n, &sum)
                         : hit_mix(s.table, s.mixed.key, s.writes, n, &sum);
        if (p == 0) {
            sum = n_found = 0;
            bench_start(reply);
        }
    }
    bench_stop(reply, passes * s.n_mixed, sum);
    if (n_found != passes * s.mixed_found || sum != passes * s.mixed_sum) {
        bench_fail(reply, "found %llu keys, where %llu are there, or a value was not its key's",
                   (unsigned long long)n_found, (unsigned long long)(passes * s.mixed_found));
    }
}

/* n, universe (times the capacity), first: n requests for random ones of so many keys; what is not there
 * is put in. For keys that are numbers. Answers in n_found how many were there. The table's content is
 * another one after it, so it comes last. */
static void replay(const bench_args *args, bench_reply *reply)
{
    size_t n = (size_t)bench_arg(args, "n", 1 << 20);
    uint64_t universe = bench_arg(args, "universe", 10) * s.capacity;
    uint64_t first = bench_arg(args, "first", 0);
    sheet requests;
    sheet_open(&requests, n);
    if (s.ring.n == 0) {
        sheet_open(&s.ring, s.capacity);
        s.ring_at = 0;
        for (size_t i = 0; i < s.capacity; i++) {
            put_key(&s.ring, i, s.next - s.capacity + i);
        }
    }
    for (size_t i = 0; i < n; i++) {
        put_key(&requests, i, UINT64_C(0x60000000000) + bench_mix(first + i) % universe);
    }
    uint64_t sum = 0;
    bench_start(reply);
    size_t n_found = hit_replay(s.table, requests.key, n, s.ring.key, s.capacity, &s.ring_at, &sum);
    bench_stop(reply, n, sum);
    bench_put(reply, "n_found", n_found);
    if (sum != 0) {
        bench_fail(reply, "a value was not its key's");
    }
    sheet_close(&requests);
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
        {"setup", setup},          {"replace", replace}, {"list", list}, {"hit", hit},
        {"chain", hit_in_a_chain}, {"miss", miss},       {"mix", mix},   {"hit_many", hit_many},
        {"replay", replay},        {"bytes", bytes},     {"drop", drop},
    };
    return bench_serve(hit_name, hit_note, commands, sizeof commands / sizeof commands[0]);
}
