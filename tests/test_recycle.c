/* A batch that is ended while its answers are still being handed out: it comes back only after that. */
/* locks: NONE SPIN PTHREAD */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static size_t n_live;

static bool text_copy(char **to, char *const *from)
{
    size_t n = strlen(*from) + 1;
    *to = malloc(n);
    if (*to == NULL)
        return false;
    memcpy(*to, *from, n);
    n_live++;
    return true;
}

static void text_free(char **text)
{
    /* what is released twice, or never, shows in the count, also without a sanitizer */
    n_live--;
    free(*text);
}

#define DLOAD_NAME                 rc
#define DLOAD_KEY                  uint64_t
#define DLOAD_VALUE                char *
#define DLOAD_VALUE_COPY(to, from) text_copy((to), (from))
#define DLOAD_VALUE_FREE(text)     text_free(text)
#define DLOAD_LOCK                 TEST_LOCK
#include "dataloader.h"
#include "support.h"

static rc loader;
static rc_batch *first;
static size_t n_fetches;
static bool first_seen_again;
static rc_waiter second;

/* The first call answers at once and stays pending; later ones are ordinary. */
static dload_status fetch(rc_batch *b)
{
    char text[] = "value";
    char *value = text;
    if (n_fetches++ == 0) {
        first = b;
        assert_int_equal(rc_batch_set(b, 0, &value), DLOAD_OK);
        return DLOAD_PENDING;
    }
    first_seen_again = first_seen_again || b == first;
    for (size_t i = 0; i < b->n; i++)
        assert_int_equal(rc_batch_set(b, i, &value), DLOAD_OK);
    return DLOAD_OK;
}

/* The answer of the first batch: ends it, and asks for more while it is being handed out. */
static void end_and_ask(rc_waiter *w)
{
    assert_int_equal(w->status, DLOAD_OK);
    assert_int_equal(rc_batch_done(first, DLOAD_OK), DLOAD_OK);
    assert_int_equal(rc_start(&loader, 2, &second), DLOAD_PENDING);
    assert_int_equal(rc_dispatch(&loader, NULL), DLOAD_OK);
}

static void test_recycle_in_callback(void **state)
{
    (void)state;
    rc_waiter w;
    rc_config cfg = rc_config_default();
    cfg.fetch = fetch;
    cfg.capacity = DLOAD_NO_CACHE;
    memset(&w, 0, sizeof w);
    memset(&second, 0, sizeof second);
    assert_int_equal(rc_init(&loader, &cfg), DLOAD_OK);
    w.done = end_and_ask;
    assert_int_equal(rc_start(&loader, 1, &w), DLOAD_PENDING);
    assert_int_equal(rc_dispatch(&loader, NULL), DLOAD_OK);
    assert_int_equal(second.status, DLOAD_OK);
    assert_false(first_seen_again); /* it was not free yet */
    assert_string_equal(w.value, "value");
    assert_string_equal(second.value, "value");
    text_free(&w.value);
    text_free(&second.value);
    assert_int_equal(n_live, 0);
    assert_int_equal(rc_close(&loader, DLOAD_DRAIN, 0), DLOAD_OK);
    assert_int_equal(rc_destroy(&loader), DLOAD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recycle_in_callback)};
    return cmocka_run_group_tests_name("recycle " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
