/* DLOAD_XXHASH: byte strings are hashed by XXH3, beside keys that have a hash of their own. */
#define DLOAD_XXHASH 1
#define DLOAD_NAME   by_name
#define DLOAD_KEY    DLOAD_STRING
#define DLOAD_VALUE  int
#include "dataloader.h"

#define DLOAD_NAME  by_number
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#include "dataloader.h"

static dload_status fetch(by_name_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        int n = (int)b->keys[i].len;
        (void)by_name_batch_set(b, i, &n);
    }
    return DLOAD_OK;
}

int main(void)
{
    by_name l;
    by_name_config config = by_name_config_default();
    config.fetch = fetch;
    if (by_name_init(&l, &config) != DLOAD_OK)
        return 1;
    int n = 0;
    int bad = by_name_load(&l, dload_str_from("four"), &n) != DLOAD_OK || n != 4;
    bad = bad || by_name_load(&l, dload_str_from("four"), &n) != DLOAD_OK || n != 4;
    (void)by_name_close(&l, DLOAD_DRAIN, 0);
    return by_name_destroy(&l) != DLOAD_OK || bad;
}
