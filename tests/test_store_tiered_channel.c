/* Two stores as one, where a channel tells what others change below. */
/* tsan */
#include "test_tiered.h"

static void test_channel(void **state)
{
    struct fixture *t = *state;
    dload_sink *sink = dload_tiered_sink(&t->t);
    below_set(t, STR("k"), "1", DLOAD_NEVER);
    below_set(t, STR("l"), "1", DLOAD_NEVER);
    store_get(&t->x, STR("k"), STR("1"));
    above_must(t, STR("k"), NULL); /* nobody has said that changes are heard */
    store_set(&t->x, STR("k"), STR("1"), DLOAD_NEVER);
    above_must(t, STR("k"), NULL);
    sink->up(sink->ctx);
    store_get(&t->x, STR("k"), STR("1"));
    store_get(&t->x, STR("l"), STR("1"));
    above_must(t, STR("k"), "1");
    below_set(t, STR("k"), "2", DLOAD_NEVER);
    below_set(t, STR("l"), "2", DLOAD_NEVER);
    store_get(&t->x, STR("k"), STR("1"));
    sink->key(sink->ctx, "k", 1);
    store_get(&t->x, STR("k"), STR("2"));
    store_get(&t->x, STR("l"), STR("1"));
    sink->all(sink->ctx);
    store_get(&t->x, STR("l"), STR("2"));
    store_get(&t->x, STR("k"), STR("2"));
    /* What changes while nothing is heard is not missed. */
    sink->down(sink->ctx);
    below_set(t, STR("k"), "3", DLOAD_NEVER);
    store_get(&t->x, STR("k"), STR("3"));
    above_must(t, STR("k"), "2");
    sink->up(sink->ctx);
    above_must(t, STR("k"), NULL);
    store_get(&t->x, STR("k"), STR("3"));
    above_must(t, STR("k"), "3");
}

/* A read that began before it was told is not put above, whatever is said. */
static void test_channel_and_reads(void **state)
{
    struct fixture *t = *state;
    dload_sink *sink = dload_tiered_sink(&t->t);
    sink->up(sink->ctx);
    for (int what = 0; what < 4; what++) {
        struct aside reader;
        store_clear(&t->x, STR(""));
        below_set(t, STR("k"), "old", DLOAD_NEVER);
        scripted_set(&t->lower.shuts_after, GETS);
        aside_start(&reader, t, DLOAD_STORE_GET, STR("k"), "");
        scripted_await(&t->lower, 1);
        below_set(t, STR("k"), "new", DLOAD_NEVER);
        if (what == 0)
            sink->key(sink->ctx, "k", 1);
        else if (what == 1)
            sink->all(sink->ctx);
        else
            sink->down(sink->ctx);
        if (what == 3)
            sink->up(sink->ctx);
        scripted_set(&t->lower.shuts_after, 0);
        aside_join(&reader);
        above_must(t, STR("k"), NULL);
        if (what == 2)
            sink->up(sink->ctx);
        store_get(&t->x, STR("k"), STR("new"));
    }
    sink->key(sink->ctx, "other", 5); /* of nobody */
    above_must(t, STR("k"), "new");
}

/* What the channel says and the upper tier does not do is not believed either. */
static void test_channel_and_failures(void **state)
{
    struct fixture *t = *state;
    dload_sink *sink = dload_tiered_sink(&t->t);
    sink->up(sink->ctx);
    for (int what = 0; what < 3; what++) {
        store_set(&t->x, STR("k"), STR("old"), DLOAD_NEVER);
        above_must(t, STR("k"), "old");
        scripted_set(&t->upper.fails, DELETES | CLEARS);
        below_set(t, STR("k"), "new", DLOAD_NEVER);
        if (what == 0) {
            sink->key(sink->ctx, "k", 1);
        } else if (what == 1) {
            sink->all(sink->ctx);
        } else {
            sink->down(sink->ctx);
            sink->up(sink->ctx);
        }
        store_get(&t->x, STR("k"), STR("new"));
        above_must(t, STR("k"), "old");
        scripted_set(&t->upper.fails, 0);
        store_get(&t->x, STR("k"), STR("new"));
        above_must(t, STR("k"), "new");
    }
}

#define OWN(body) cmocka_unit_test_setup_teardown(body, open_patient, close_tiers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWN(test_channel),
        OWN(test_channel_and_reads),
        OWN(test_channel_and_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
