/* A loader hears that keys changed: what a channel says of a key ends what is cached and what is on its way, and
 * while it says nothing, nothing is cached. */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_STORE 1
#include "test_loader.h"

static struct fake_env f;
static struct recorder r;
static tl l;
static dload_sink sink;

static int begin(void **state)
{
    (void)state;
    tl_config cfg = tl_config_default();
    fake_env_init(&f);
    memset(&r, 0, sizeof r);
    cfg.env = &f.env;
    cfg.fetch = rec_fetch;
    cfg.ctx = &r;
    must_ok(tl_init(&l, &cfg));
    must_ok(tl_sink(&l, &sink));
    return 0;
}

static int end(void **state)
{
    (void)state;
    must_ok(tl_close(&l, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&l));
    fake_env_check(&f);
    return 0;
}

static void key(const char *text)
{
    sink.key(sink.ctx, text, strlen(text));
}

static uint64_t load(uint64_t k)
{
    uint64_t value = 0;
    must_ok(tl_load(&l, k, &value));
    return value;
}

static size_t n_entries(void)
{
    dload_stats stats = {0};
    must_ok(tl_stats(&l, &stats));
    return (size_t)stats.entries;
}

/* ---- one thread ---- */

static void test_begins_deaf(void **state)
{
    (void)state;
    equal(load(1), 10);
    equal(load(1), 10);
    text_must(&r.calls, "B(1) B(1)");
    equal(n_entries(), 0);
    sink.up(sink.ctx);
    equal(load(1), 10);
    equal(load(1), 10);
    text_must(&r.calls, "B(1)");
    equal(n_entries(), 1);
}

/* A loader that cached before it had a sink does not keep what nobody will say has changed. */
static void test_what_was_cached_before_goes(void **state)
{
    tl other;
    dload_sink heard;
    tl_config cfg = tl_config_default();
    uint64_t value = 0;
    (void)state;
    cfg.env = &f.env;
    cfg.fetch = rec_fetch;
    cfg.ctx = &r;
    must_ok(tl_init(&other, &cfg));
    must_ok(tl_load(&other, 7, &value));
    must_ok(tl_load(&other, 7, &value));
    text_must(&r.calls, "B(7)");
    must_ok(tl_sink(&other, &heard));
    must_ok(tl_load(&other, 7, &value));
    text_must(&r.calls, "B(7)");
    must_ok(tl_close(&other, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&other));
    must(tl_sink(&l, NULL), DLOAD_EINVAL);
    must(tl_sink(NULL, &heard), DLOAD_EINVAL);
}

static void test_a_key_changes(void **state)
{
    (void)state;
    sink.up(sink.ctx);
    (void)load(1);
    (void)load(2);
    text_clear(&r.calls);
    r.version = 1;
    key("tl:1");
    equal(load(1), 11);
    equal(load(2), 20);
    text_must(&r.calls, "B(1)");
}

/* Keys of other names, and what is no key of this loader at all. */
static void test_what_is_not_ours(void **state)
{
    static const char *const texts[] = {
        "",      "t",      "tl",    "tl:",   "tl1",    "t:1",     "ttl:1",
        "tl:01", "tl:+1",  "tl:-1", "tl:1 ", "tl: 1",  "tl:1x",   "tl:x",
        "tl::1", "tl:1:1", "Tl:1",  "tl;1",  "tl:0x1", "other:1", "tl:18446744073709551617"};
    (void)state;
    sink.up(sink.ctx);
    (void)load(1);
    text_clear(&r.calls);
    for (size_t i = 0; i < COUNT(texts); i++) {
        key(texts[i]);
    }
    sink.key(sink.ctx, "tl:1\0", 5);
    sink.key(sink.ctx, NULL, 0);
    equal(load(1), 10);
    text_must(&r.calls, "");
    key("tl:18446744073709551615"); /* absent is no error */
    sink.key(sink.ctx, "tl:1xyz", 4);
    equal(load(1), 10);
    text_must(&r.calls, "B(1)");
}

static void test_everything_changes(void **state)
{
    (void)state;
    sink.up(sink.ctx);
    (void)load(1);
    (void)load(2);
    sink.all(sink.ctx);
    equal(n_entries(), 0);
    text_clear(&r.calls);
    (void)load(1);
    (void)load(1);
    text_must(&r.calls, "B(1)"); /* it hears still */
    sink.down(sink.ctx);
    sink.all(sink.ctx);
    (void)load(1);
    (void)load(1);
    text_must(&r.calls, "B(1) B(1)"); /* ... and here it does not */
}

static void test_goes_down_and_up(void **state)
{
    (void)state;
    sink.up(sink.ctx);
    (void)load(1);
    sink.down(sink.ctx);
    equal(n_entries(), 0);
    text_clear(&r.calls);
    (void)load(1);
    (void)load(1);
    text_must(&r.calls, "B(1) B(1)");
    sink.up(sink.ctx);
    sink.up(sink.ctx);
    (void)load(1);
    (void)load(1);
    text_must(&r.calls, "B(1)");
}

static dload_status put_status;

static void put_9(struct recorder *rec, tl_batch *b)
{
    uint64_t value = 90;
    (void)rec;
    must(tl_batch_put(b, 9, &value), put_status);
}

/* Nothing else gets in either, while nothing is heard. */
static void test_brings_nothing_while_down(void **state)
{
    uint64_t value = 5;
    (void)state;
    must(tl_prime(&l, 1, &value, 0), DLOAD_ECANCELED);
    must(tl_prime(&l, 1, &value, DLOAD_OVERWRITE | DLOAD_PIN), DLOAD_ECANCELED);
    must(tl_prime_error(&l, 1, DLOAD_EFETCH, DLOAD_SECOND), DLOAD_ECANCELED);
    must(tl_cache_set(&l.cache, 1, &value, 0), DLOAD_ECANCELED);
    dload_token token = tl_token(&l);
    must(tl_put_if(&l, 1, &value, token), DLOAD_ECANCELED);
    r.act = put_9;
    put_status = DLOAD_ECANCELED;
    (void)load(1);
    equal(n_entries(), 0);
    sink.up(sink.ctx);
    must(tl_put_if(&l, 1, &value, token), DLOAD_ECANCELED); /* read while it was down */
    equal(n_entries(), 0);
    must_ok(tl_prime(&l, 1, &value, 0));
    put_status = DLOAD_OK;
    (void)load(2);
    equal(n_entries(), 3);
    r.act = NULL;
}

/* ---- what is on its way ---- */

static void (*meanwhile)(void);

static void act_once(struct recorder *rec, tl_batch *b)
{
    (void)b;
    rec->act = NULL;
    meanwhile();
}

/* What is heard while a batch runs: who waits has its value, and it is cached nowhere. */
static void cached_nowhere(void (*what)(void))
{
    meanwhile = what;
    r.act = act_once;
    equal(load(3), 30);
    r.version++;
    text_clear(&r.calls);
    equal(load(3), 30 + r.version);
    text_must(&r.calls, "B(3)");
    r.version = 0;
    sink.up(sink.ctx);
}

static void key_3(void)
{
    key("tl:3");
}

static void all(void)
{
    sink.all(sink.ctx);
}

static void down(void)
{
    sink.down(sink.ctx);
}

static void down_and_up(void)
{
    sink.down(sink.ctx);
    sink.up(sink.ctx);
}

static void up(void)
{
    sink.up(sink.ctx);
}

static void test_is_heard_while_a_batch_runs(void **state)
{
    (void)state;
    sink.up(sink.ctx);
    cached_nowhere(key_3);
    cached_nowhere(all);
    cached_nowhere(down);
    cached_nowhere(down_and_up);
    sink.down(sink.ctx);
    cached_nowhere(up); /* asked for while nobody listened */
    sink.down(sink.ctx);
    cached_nowhere(down_and_up);
}

static void key_4(void)
{
    key("tl:4");
}

/* Other keys of the batch are cached. */
static void test_another_key_is_heard_of(void **state)
{
    uint64_t keys[] = {3, 4}, values[2];
    dload_status statuses[2];
    (void)state;
    sink.up(sink.ctx);
    meanwhile = key_4;
    r.act = act_once;
    must_ok(tl_load_many(&l, keys, 2, values, statuses));
    equal(values[1], 40);
    text_clear(&r.calls);
    (void)load(3);
    (void)load(4);
    text_must(&r.calls, "B(4)");
}

/* A key that waits to be sent is fetched after the change: it is sent once, and cached. */
static void test_a_queued_key_stays(void **state)
{
    tl_waiter w;
    (void)state;
    sink.up(sink.ctx);
    memset(&w, 0, sizeof w);
    must(tl_start(&l, 5, &w), DLOAD_PENDING);
    key("tl:5");
    must_ok(tl_dispatch(&l, NULL));
    must_ok(w.status);
    equal(w.value, 50);
    (void)load(5);
    text_must(&r.calls, "B(5)");
}

/* While it is down a key is still fetched once for all who want it. */
static void test_joins_while_down(void **state)
{
    tl_waiter first, second;
    (void)state;
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    r.result = DLOAD_PENDING;
    must(tl_start(&l, 6, &first), DLOAD_PENDING);
    must_ok(tl_dispatch(&l, NULL));
    must(tl_start(&l, 6, &second), DLOAD_PENDING);
    must_ok(tl_dispatch(&l, NULL));
    text_must(&r.calls, "B(6)");
    uint64_t value = 60;
    must_ok(tl_batch_set(r.pending[0], 0, &value));
    must_ok(tl_batch_done(r.pending[0], DLOAD_OK));
    must_ok(first.status);
    must_ok(second.status);
    r.result = DLOAD_OK;
    equal(n_entries(), 0);
}

/* Going down 70,000 times: entries carry the number of the last clear in 16 bits. */
static void test_goes_down_often(void **state)
{
    (void)state;
    for (size_t i = 0; i < 70000; i++) {
        sink.up(sink.ctx);
        if (i % 1000 == 0) {
            (void)load(i);
            equal(n_entries(), 1);
        }
        sink.down(sink.ctx);
        if (i % 1000 == 0) {
            equal(n_entries(), 0);
        }
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(begins_deaf),
        CASE(what_was_cached_before_goes),
        CASE(a_key_changes),
        CASE(what_is_not_ours),
        CASE(everything_changes),
        CASE(goes_down_and_up),
        CASE(brings_nothing_while_down),
        CASE(is_heard_while_a_batch_runs),
        CASE(another_key_is_heard_of),
        CASE(a_queued_key_stays),
        CASE(joins_while_down),
        CASE(goes_down_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
