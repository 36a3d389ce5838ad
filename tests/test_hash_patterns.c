/* Integer keys as programs make them: in the table they search hardly longer, and over the shards they
 * spread hardly worse, than random numbers. Everything is counted, nothing timed or drawn by chance. */
/* locks: NONE */
#define DLOAD_NAME  pi
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#include "dataloader.h"
#define DLOAD_NAME  pd
#define DLOAD_KEY   double
#define DLOAD_VALUE uint64_t
#include "dataloader.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

enum { N = 5000, N_SHARDS = 64 };

/* What a table that is as full as tables get is like with N keys in it. */
struct measure {
    double hit, miss; /* groups looked at, on average */
    double tags;      /* slots compared in vain, a miss */
    double off;       /* keys in the fullest of 64 shards: standard deviations over the mean */
    uint32_t longest; /* groups looked at by the worst hit or miss */
};

static uint64_t hashes[2 * N];
static dload_i_group *groups;
static uint32_t n_groups;
static struct measure at_random; /* the worst of 40 sets of random numbers */

/* Newton's square root. */
static double root(double x)
{
    double r = x > 1 ? x : 1;
    for (int i = 0; i < 60; i++) {
        r = (r + x / r) / 2;
    }
    return r;
}

static double fullest_shard(void)
{
    uint64_t count[N_SHARDS], most = 0;
    memset(count, 0, sizeof count);
    for (size_t i = 0; i < N; i++) {
        uint64_t c = ++count[hashes[i] >> 11 & (N_SHARDS - 1)];
        most = c > most ? c : most;
    }
    double mean = (double)N / N_SHARDS;
    return ((double)most - mean) / root(mean);
}

/* Puts the first N hashes into the table; the groups that finding each takes. */
static uint64_t fill(uint32_t *longest)
{
    uint64_t all = 0, n_long = 0;
    memset(groups, 0, n_groups * sizeof *groups);
    for (size_t i = 0; i < N; i++) {
        uint32_t slot = dload_i_take_slot(groups, n_groups, hashes[i], UINT32_MAX, &n_long);
        assert_true(slot != DLOAD_I_NO_SLOT);
        dload_i_group_shut(&groups[slot / DLOAD_I_GROUP_SLOTS]);
        uint32_t home = dload_i_home(hashes[i], n_groups);
        uint32_t looked = (slot / DLOAD_I_GROUP_SLOTS + n_groups - home) % n_groups + 1;
        all += looked;
        *longest = looked > *longest ? looked : *longest;
    }
    equal(n_long, 0);
    return all;
}

/* The groups that a search in vain looks at; *tags counts the slots that it compares. */
static uint32_t search(uint64_t hash, uint64_t *tags)
{
    uint32_t at = dload_i_home(hash, n_groups), looked = 1;
    for (;; looked++) {
        for (dload_i_match m = dload_i_find_tag(&groups[at], dload_i_tag(hash));
             dload_i_match_any(m); m = dload_i_match_rest(m)) {
            ++*tags;
        }
        if (looked == n_groups || groups[at].over[dload_i_class(hash)] == 0) {
            return looked;
        }
        at = dload_i_next_group(at, n_groups);
    }
}

/* The first half of the hashes is in the table, the second is looked for in vain. */
static struct measure measure(void)
{
    struct measure m = {0, 0, 0, fullest_shard(), 0};
    uint64_t hit = fill(&m.longest), miss = 0, tags = 0;
    for (size_t i = N; i < COUNT(hashes); i++) {
        uint32_t looked = search(hashes[i], &tags);
        miss += looked;
        m.longest = looked > m.longest ? looked : m.longest;
    }
    m.hit = (double)hit / N;
    m.miss = (double)miss / N;
    m.tags = (double)tags / N;
    return m;
}

static void keep_worst(struct measure *worst, struct measure m)
{
    worst->hit = m.hit > worst->hit ? m.hit : worst->hit;
    worst->miss = m.miss > worst->miss ? m.miss : worst->miss;
    worst->tags = m.tags > worst->tags ? m.tags : worst->tags;
    worst->off = m.off > worst->off ? m.off : worst->off;
    worst->longest = m.longest > worst->longest ? m.longest : worst->longest;
}

static void show(const char *what, struct measure m)
{
    print_message("%-28s groups a hit %.3f, a miss %.3f, longest %u; %.2f slots in vain; "
                  "fullest shard +%.1f sd\n",
                  what, m.hit, m.miss, m.longest, m.tags, m.off);
}

static int setup(void **state)
{
    (void)state;
    n_groups = dload_i_groups_for(N);
    groups = aligned_alloc(64, n_groups * sizeof *groups);
    assert_non_null(groups);
    uint64_t seed = 1;
    for (int round = 0; round < 40; round++) {
        for (size_t i = 0; i < COUNT(hashes); i++) {
            hashes[i] = rng(&seed);
        }
        keep_worst(&at_random, measure());
    }
    show("random, worst of 40", at_random);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(groups);
    return 0;
}

/* ---- the patterns ---- */

static uint64_t in_order(uint64_t i)
{
    return i;
}

static uint64_t negative(uint64_t i)
{
    return UINT64_MAX - i;
}

/* Runs of a hundred, anywhere. */
static uint64_t clustered(uint64_t i)
{
    uint64_t seed = i / 100;
    return (rng(&seed) >> 20) + i % 100;
}

static uint64_t pointers(uint64_t i)
{
    return UINT64_C(0x00007f5500001010) + i * 16;
}

/* Blocks of 16 to 192 bytes, one after the other. */
static uint64_t heap(uint64_t i)
{
    static uint64_t at;
    uint64_t seed = i;
    at = i == 0 ? UINT64_C(0x000055d0c0de02a0) : at + 16 * (1 + rng(&seed) % 12);
    return at;
}

static uint64_t high_half(uint64_t i)
{
    return i << 32;
}

static uint64_t high_bits(uint64_t i)
{
    return i << 50;
}

static uint64_t both_halves(uint64_t i)
{
    return i << 32 | i;
}

static uint64_t grid(uint64_t i)
{
    return (i / 100) << 32 | i % 100;
}

static uint64_t small_grid(uint64_t i)
{
    return (i / 256) << 16 | i % 256;
}

static uint64_t squares(uint64_t i)
{
    return i * i;
}

static uint64_t reversed(uint64_t i)
{
    uint64_t r = 0;
    for (int bit = 0; bit < 64; bit++) {
        r |= (i >> bit & 1) << (63 - bit);
    }
    return r;
}

/* Numbers in eighths, in the bits of a double. */
static uint64_t eighths(uint64_t i)
{
    double number = (double)i / 8;
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* Is m what random numbers are like, or hardly worse? */
static bool behaves(struct measure m)
{
    return m.hit <= at_random.hit + 0.04 && m.miss <= at_random.miss + 0.1 &&
           m.longest <= 2 * at_random.longest && m.tags <= at_random.tags + 0.4 &&
           m.off <= at_random.off + 2;
}

static void test_hash_patterns_named(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t (*key)(uint64_t i);
    } patterns[] = {
        {"in order", in_order},     {"downwards", negative},       {"clustered", clustered},
        {"pointers", pointers},     {"heap blocks", heap},         {"high half", high_half},
        {"high bits", high_bits},   {"equal halves", both_halves}, {"grid", grid},
        {"small grid", small_grid}, {"squares", squares},          {"reversed", reversed},
        {"doubles' bits", eighths},
    };
    for (size_t p = 0; p <= COUNT(patterns); p++) {
        const char *name = p < COUNT(patterns) ? patterns[p].name : "doubles";
        for (uint64_t i = 0; i < COUNT(hashes); i++) {
            hashes[i] =
                p < COUNT(patterns) ? pi_i_hash(patterns[p].key(i)) : pd_i_hash((double)i / 8);
        }
        struct measure m = measure();
        show(name, m);
        if (!behaves(m)) {
            fail_msg("%s: see above", name);
        }
    }
}

/* Strides from a list behave but for a few, and the worst of them does no harm. */
static void must_stride(const char *what, uint64_t (*stride)(uint64_t), uint64_t n,
                        uint64_t n_worse)
{
    struct measure worst = {0, 0, 0, 0, 0};
    uint64_t worse = 0;
    for (uint64_t k = 0; k < n; k++) {
        for (uint64_t i = 0; i < COUNT(hashes); i++) {
            hashes[i] = pi_i_hash(i * stride(k));
        }
        struct measure m = measure();
        worse += !behaves(m);
        keep_worst(&worst, m);
    }
    show(what, worst);
    print_message("    %llu of %llu strides are worse than random numbers\n",
                  (unsigned long long)worse, (unsigned long long)n);
    if (worse > n_worse || worst.hit > 1.08 || worst.miss > 1.25 || worst.longest > 16 ||
        worst.tags > 1 || worst.off > 8) {
        fail_msg("%s: see above", what);
    }
}

static uint64_t power(uint64_t k)
{
    return UINT64_C(1) << k;
}

static uint64_t odd(uint64_t k)
{
    return 2 * k + 1;
}

/* An odd number of 2^n: records of pages, fields of records. */
static uint64_t record(uint64_t k)
{
    return (2 * (k / 36) + 1) << k % 36;
}

static void test_hash_patterns_strides(void **state)
{
    (void)state;
    must_stride("worst of powers of two", power, 50, 0);
    must_stride("worst of odd strides", odd, 1000, 2);
    must_stride("worst of odd << n", record, 1800, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_patterns_named),
        cmocka_unit_test(test_hash_patterns_strides),
    };
    return cmocka_run_group_tests_name("hash patterns " TEST_STRING(TEST_LOCK), tests, setup,
                                       teardown);
}
