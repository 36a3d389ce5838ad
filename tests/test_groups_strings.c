/* The model of groups, with string keys and blobs. */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_NAME  gl
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_GROUP 1
#include "dataloader.h"
#include "test_groups_model.h"

/* The first one is empty, each is the beginning of the next. */
static dload_str key_of(size_t i)
{
    static const char text[] = "0123456789abcdef0123456789abcdef";
    return (dload_str){text, 6 * i};
}

static size_t index_of(dload_str key)
{
    return key.len / 6;
}

static dload_blob value_make(uint64_t number)
{
    dload_blob blob = {NULL, 0};
    must_ok(dload_blob_make(&m.f.env, &number, sizeof number, &blob));
    return blob;
}

static uint64_t value_end(dload_blob *v)
{
    uint64_t number = 0;
    assert_int_equal(v->len, sizeof number);
    memcpy(&number, v->ptr, sizeof number);
    dload_blob_release(v);
    return number;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_model_unbounded),
        cmocka_unit_test(test_groups_model_evicting),
    };
    return cmocka_run_group_tests_name("groups, strings " TEST_STRING(TEST_LOCK), tests, NULL,
                                       NULL);
}
