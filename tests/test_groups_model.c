/* The model of groups, with integer keys and values that are copied and freed. */
/* locks: NONE SPIN PTHREAD */
#include <stdint.h>
#include <stdlib.h>

/* A value that knows its own address. */
struct piece {
    uint64_t number;
    struct piece *self;
};

static size_t n_pieces; /* out */

static struct piece *piece_make(uint64_t number)
{
    struct piece *p = malloc(sizeof *p);
    if (p) {
        *p = (struct piece){number, p};
        n_pieces++;
    }
    return p;
}

static void piece_free(struct piece *p)
{
    if (p->self != p) {
        abort(); /* freed twice, or never made */
    }
    p->self = NULL;
    n_pieces--;
    free(p);
}

#define DLOAD_NAME                 gl
#define DLOAD_KEY                  uint64_t
#define DLOAD_VALUE                struct piece *
#define DLOAD_VALUE_COPY(to, from) ((*(to) = piece_make((*(from))->number)) != NULL)
#define DLOAD_VALUE_FREE(v)        piece_free(*(v))
#define DLOAD_LOCK                 TEST_LOCK
#define DLOAD_GROUP                1
#ifdef TEST_HASH
#define DLOAD_HASH TEST_HASH
#endif
#include "dataloader.h"
#include "test_groups_model.h"

static uint64_t key_of(size_t i)
{
    return i;
}

static size_t index_of(uint64_t key)
{
    return (size_t)key;
}

static struct piece *value_make(uint64_t number)
{
    struct piece *p = piece_make(number);
    assert_non_null(p);
    return p;
}

static uint64_t value_end(struct piece **v)
{
    uint64_t number = (*v)->number;
    piece_free(*v);
    return number;
}

static void test_groups_model_pieces(void **state)
{
    (void)state;
    equal(n_pieces, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_model_unbounded),
        cmocka_unit_test(test_groups_model_evicting),
        {"every value was freed", test_groups_model_pieces, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests_name("groups, model " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
