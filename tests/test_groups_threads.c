/* Groups from eight threads: no load contradicts a clear of its group, no value is another group's, and a
 * group that nobody clears is fetched once; while the cache grows. To be run under the thread sanitizer,
 * too. */
/* locks: CUSTOM SPIN PTHREAD */
#define DLOAD_NAME  gl
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_GROUP 1
#include "dataloader.h"
#include "support.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { N_THREADS = 8, N_WRITERS = 2, N_GROUPS = 8, N_KEYS = 600, N_MANY = 16 };

/* What a blob holds. */
struct record {
    uint64_t group, key, version;
};

static struct shared {
    gl l;
    struct fake_env f;
    uint64_t seed;
    size_t n_bad, n_loads, n_clears; /* atomic */
    size_t n_turns;
    uint64_t source[N_GROUPS][N_KEYS];  /* the version in the source of truth; atomic */
    uint64_t cleared[N_GROUPS][N_KEYS]; /* no load that begins now may see an older one; atomic */
    size_t n_fetched[N_KEYS];           /* of group 0; atomic */
} s;

static void bad(bool is_bad)
{
    if (is_bad) {
        __atomic_add_fetch(&s.n_bad, 1, __ATOMIC_RELAXED);
    }
}

static dload_blob record_make(uint64_t group, uint64_t key)
{
    struct record r = {group, key, __atomic_load_n(&s.source[group][key], __ATOMIC_ACQUIRE)};
    dload_blob blob = {NULL, 0};
    bad(dload_blob_make(&s.f.env, &r, sizeof r, &blob) != DLOAD_OK);
    return blob;
}

static void record_judge(dload_blob *blob, uint64_t group, uint64_t key, uint64_t least)
{
    struct record r;
    bad(blob->len != sizeof r);
    memcpy(&r, blob->ptr, sizeof r);
    bad(r.group != group || r.key != key || r.version < least);
    dload_blob_release(blob);
}

static dload_status fetch(gl_batch *b)
{
    bad(b->group >= N_GROUPS);
    for (size_t i = 0; i < b->n; i++) {
        dload_blob blob = record_make(b->group, b->keys[i]);
        if (b->group == 0) {
            __atomic_add_fetch(&s.n_fetched[b->keys[i]], 1, __ATOMIC_RELAXED);
        }
        if (b->keys[i] % 64 == 0) {
            sleep_ms(1); /* time for a clear between the read and the store */
        }
        dload_status st = gl_batch_move(b, i, &blob);
        bad(st != DLOAD_OK && st != DLOAD_EBUSY); /* an extra key that was asked for, too */
        if (b->keys[i] % 8 == 0 && b->group != 0) {
            uint64_t extra = (b->keys[i] + 1) % N_KEYS;
            blob = record_make(b->group, extra);
            st = gl_batch_put(b, extra, &blob);
            bad(st != DLOAD_OK && st != DLOAD_ECANCELED && st != DLOAD_EBUSY);
            dload_blob_release(&blob);
        }
    }
    return DLOAD_OK;
}

/* ---- loads against clears ---- */

static void raise_to(uint64_t *p, uint64_t v)
{
    uint64_t seen = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (seen < v &&
           !__atomic_compare_exchange_n(p, &seen, v, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
    }
}

/* Group 0 is never cleared. */
static void write_group(uint64_t *state)
{
    uint64_t group = 1 + rng_below(state, N_GROUPS - 1), first = rng_below(state, N_KEYS);
    uint64_t n = rng_below(state, 4) == 0 ? 1 : N_KEYS, versions[N_KEYS];
    for (uint64_t i = 0; i < n; i++) {
        uint64_t key = (first + i) % N_KEYS;
        versions[key] = __atomic_add_fetch(&s.source[group][key], 1, __ATOMIC_ACQ_REL);
    }
    bad((n == 1 ? gl_clear_in(&s.l, first, group) : gl_clear_group(&s.l, group)) != DLOAD_OK);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t key = (first + i) % N_KEYS;
        raise_to(&s.cleared[group][key], versions[key]);
    }
    __atomic_add_fetch(&s.n_clears, 1, __ATOMIC_RELAXED);
}

static void read_many(uint64_t *state)
{
    dload_call call = {.group = rng_below(state, N_GROUPS)};
    uint64_t keys[N_MANY], least[N_MANY];
    dload_blob out[N_MANY];
    dload_status st[N_MANY];
    for (size_t i = 0; i < N_MANY; i++) {
        keys[i] = rng_below(state, N_KEYS);
        least[i] = __atomic_load_n(&s.cleared[call.group][keys[i]], __ATOMIC_ACQUIRE);
    }
    bad(gl_load_many_with(&s.l, keys, N_MANY, &call, out, st) != DLOAD_OK);
    for (size_t i = 0; i < N_MANY; i++) {
        bad(st[i] != DLOAD_OK);
        if (st[i] >= 0) {
            record_judge(&out[i], call.group, keys[i], least[i]);
        }
    }
}

static void read_one(uint64_t *state)
{
    uint64_t group = rng_below(state, N_GROUPS), key = rng_below(state, N_KEYS);
    uint64_t least = __atomic_load_n(&s.cleared[group][key], __ATOMIC_ACQUIRE);
    dload_call call = {.group = group};
    dload_state there;
    dload_blob out;
    dload_token token = gl_token(&s.l);
    switch (group == 0 ? 9 : rng_below(state, 12)) {
    case 0: /* a value read outside, kept only if nothing was cleared */
        out = record_make(group, key);
        dload_status st = gl_put_if_in(&s.l, key, group, &out, token);
        bad(st != DLOAD_OK && st != DLOAD_ECANCELED);
        dload_blob_release(&out);
        break;
    case 1:
        if (gl_peek_in(&s.l, key, group, &there, &out) == DLOAD_OK) {
            record_judge(&out, group, key, least);
        }
        break;
    default:
        st = gl_load_with(&s.l, key, &call, &out);
        bad(st != DLOAD_OK);
        if (st >= 0) {
            record_judge(&out, group, key, least);
        }
    }
    __atomic_add_fetch(&s.n_loads, 1, __ATOMIC_RELAXED);
}

static void read_or_write(void *ctx, size_t i)
{
    (void)ctx;
    uint64_t state = s.seed * 31 + i;
    for (size_t n = 0; n < s.n_turns; n++) {
        if (i < N_WRITERS) {
            write_group(&state);
            sleep_ms(n % 4 == 0);
        } else if (rng_below(&state, 4) == 0) {
            read_many(&state);
        } else {
            read_one(&state);
        }
    }
}

static void test_groups_history(void **state)
{
    (void)state;
    uint64_t seed = test_seed("groups history");
    static const size_t capacities[] = {DLOAD_UNBOUNDED, DLOAD_UNBOUNDED, 500, DLOAD_NO_CACHE};
    for (size_t k = 0; k < COUNT(capacities); k++) {
        memset(&s, 0, sizeof s);
        fake_env_init_real(&s.f);
        s.seed = rng(&seed);
        s.n_turns = scaled(1000);
        gl_config cfg = gl_config_default();
        cfg.fetch = fetch;
        cfg.env = &s.f.env;
        cfg.capacity = capacities[k];
        cfg.shards = 2;
        cfg.max_batch = 8;
        must_ok(gl_init(&s.l, &cfg));
        run_threads(N_THREADS, read_or_write, NULL);
        equal(s.n_bad, 0);
        assert_true(s.n_clears > 0 && s.n_loads > 0);
        for (size_t key = 0; key < N_KEYS && k < 2; key++) {
            assert_true(s.n_fetched[key] <= 1); /* what was said of others was not said of it */
        }
        must_ok(gl_close(&s.l, DLOAD_DRAIN, 0));
        must_ok(gl_destroy(&s.l));
        fake_env_check(&s.f);
    }
}

/* ---- a cache alone: each thread has groups of its own ---- */

static void keep_group(gl_cache *c, uint64_t group, uint64_t *state)
{
    static const size_t n_keys = N_KEYS;
    bool here[N_KEYS];
    memset(here, 0, sizeof here);
    for (size_t n = 0; n < s.n_turns; n++) {
        uint64_t key = rng_below(state, n_keys);
        uint64_t op = rng_below(state, 200);
        dload_blob blob;
        if (op < 100) {
            struct record r = {group, key, 0};
            bad(dload_blob_make(&s.f.env, &r, sizeof r, &blob) != DLOAD_OK);
            bad(gl_cache_set_in(c, key, group, &blob, 0) != DLOAD_OK);
            dload_blob_release(&blob);
            here[key] = true;
        } else if (op < 110) {
            bad(gl_cache_delete_in(c, key, group) != DLOAD_OK);
            here[key] = false;
        } else if (op < 112) {
            bad(gl_cache_clear_group(c, group) != DLOAD_OK);
            memset(here, 0, sizeof here);
        } else {
            dload_status st = gl_cache_get_in(c, key, group, &blob);
            bad(st != (here[key] ? DLOAD_OK : DLOAD_MISSING));
            if (st >= 0) {
                record_judge(&blob, group, key, 0);
            }
        }
    }
    bad(gl_cache_clear_group(c, group) != DLOAD_OK);
}

static void keep_groups(void *ctx, size_t i)
{
    uint64_t state = s.seed + i * 7919;
    for (uint64_t turn = 0; turn < 6; turn++) {
        keep_group(ctx, turn << 20 | i, &state);
    }
}

static void test_groups_caches(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    fake_env_init_real(&s.f);
    s.seed = test_seed("groups caches");
    s.n_turns = scaled(3000);
    for (size_t round = 0; round < scaled(10); round++) {
        gl_cache c;
        gl_cache_config cfg = {.env = &s.f.env, .capacity = DLOAD_UNBOUNDED, .shards = 2};
        must_ok(gl_cache_init(&c, &cfg));
        run_threads(N_THREADS, keep_groups, &c);
        equal(s.n_bad, 0);
        equal(gl_cache_len(&c), 0);
        must_ok(gl_cache_destroy(&c));
        fake_env_check(&s.f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"no load contradicts a clear of its group", test_groups_history, NULL, NULL, NULL},
        {"a clear of a group while others grow", test_groups_caches, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests_name("groups, threads " TEST_STRING(TEST_LOCK), tests, NULL,
                                       NULL);
}
