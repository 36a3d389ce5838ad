/* Memory that runs out in the second level: the n-th allocation fails, for every n, once and for good. Loads work
 * or say DLOAD_ENOMEM; a clear is never lost; nothing leaks. */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_NAME  bl
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_GROUP 1
#define DLOAD_STORE 1
#include "dataloader.h"

#include "test_store.h"
#include <stdio.h>

enum { N = 20 };

static struct fake_env *env;       /* of the run */
static struct fake_env stores_env; /* whose memory does not run out */
static struct script_store script;
static int version;
static char names[N][600];

static dload_str name(size_t i)
{
    return (dload_str){names[i], i * 30}; /* the first is empty, the last long */
}

static dload_status fetch(bl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        char text[700];
        int n = snprintf(text, sizeof text, "%d %.*s", version, (int)b->keys[i].len,
                         b->keys[i].ptr != NULL ? b->keys[i].ptr : "");
        (void)bl_batch_set_bytes(b, i, text, (size_t)n);
    }
    return DLOAD_OK;
}

/* Loads all; what comes is of this version, or one of the versions since at_least. */
static void load_all(bl *l, uint64_t group, int at_least)
{
    dload_str keys[N];
    dload_blob out[N];
    dload_status st[N];
    dload_call call = {.group = group};
    for (size_t i = 0; i < N; i++) {
        keys[i] = name(i);
        st[i] = DLOAD_ENOMEM;
    }
    dload_status all = bl_load_many_with(l, keys, N, &call, out, st);
    assert_true(all == DLOAD_OK || (all == DLOAD_ENOMEM && env->n_failed));
    for (size_t i = 0; i < N; i++) {
        if (st[i] < 0) {
            assert_true(st[i] == DLOAD_ENOMEM && env->n_failed);
            continue;
        }
        assert_true(atoi((const char *)out[i].ptr) >= at_least);
        dload_blob_release(&out[i]);
    }
}

static void one_run(struct fake_env *f, const char *how)
{
    bl l;
    bl_config cfg = bl_config_default();
    env = f;
    version = 1;
    for (size_t i = 0; i < N; i++) {
        memset(names[i], 'a' + (int)(i % 26), sizeof names[i]);
        (void)snprintf(names[i], 8, "%zu", i);
        names[i][strlen(names[i])] = ':';
    }
    script_init(&script, &stores_env.env);
    cfg.fetch = fetch;
    cfg.env = &f->env;
    cfg.store = &script.store;
    cfg.max_batch = 16;
    cfg.shards = 1;
    must_ok(bl_init(&l, &cfg));
    load_all(&l, 1, 1);
    must_ok(bl_clear_all_local(&l));
    fake_env_arm(f);
    for (int round = 0; round < 2; round++) {
        load_all(&l, 1, version);
        (void)bl_clear_all_local(&l);
        load_all(&l, 2, version);
        version++;
        for (size_t i = 0; i < N && how[0] == 'k'; i++) {
            must_ok(bl_clear_in(&l, name(i), 1));
            must_ok(bl_clear_in(&l, name(i), 2));
        }
        if (how[0] == 'g') {
            must_ok(bl_clear_group(&l, 1));
            must_ok(bl_clear_group(&l, 2));
        }
        if (how[0] == 'a') {
            must_ok(bl_clear_all(&l));
        }
    }
    load_all(&l, 1, version);
    fake_env_disarm(f);
    load_all(&l, 1, version);
    load_all(&l, 2, version);
    must_ok(bl_clear_all_local(&l));
    load_all(&l, 1, version);
    must_ok(bl_close(&l, DLOAD_DRAIN, 0));
    must_ok(bl_destroy(&l));
    script_end(&script);
}

static void keys(struct fake_env *f)
{
    one_run(f, "keys");
}

static void groups(struct fake_env *f)
{
    one_run(f, "groups");
}

static void everything(struct fake_env *f)
{
    one_run(f, "all");
}

static void failing(void (*body)(struct fake_env *f), const char *what)
{
    fake_env_init(&stores_env);
    assert_true(fail_until_ok(what, body) > 20);
}

static void test_keys(void **state)
{
    (void)state;
    failing(keys, "keys");
}

static void test_groups(void **state)
{
    (void)state;
    failing(groups, "groups");
}

static void test_everything(void **state)
{
    (void)state;
    failing(everything, "everything");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
