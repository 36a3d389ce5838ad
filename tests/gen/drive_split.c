/* Uses the loaders of specs/split.ini from one translation unit while users.c and tags.c define
 * them; drive_split_other.c uses the same loader object from another one. */
#include <stdio.h>

#include "users.h"
#include "tags.h"
#include "drive_split.h"

static dload_status fetch(users_batch *b)
{
    printf("fetch");
    for (size_t i = 0; i < b->n; i++) {
        struct quote q;
        memset(&q, 0, sizeof q);
        q.cents = (int64_t)b->keys[i] + 1;
        printf(" %u", (unsigned)b->keys[i]);
        (void)users_batch_set(b, i, &q);
    }
    printf("\n");
    return DLOAD_OK;
}

static dload_status fetch_tag(tags_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        double length = (double)b->keys[i].len;
        (void)tags_batch_set(b, i, &length);
    }
    return DLOAD_OK;
}

int main(void)
{
    users l;
    users_config config = users_config_preset();
    config.fetch = fetch;
    if (config.capacity != DLOAD_UNBOUNDED || users_init(&l, &config) != DLOAD_OK)
        return 2;
    struct quote q;
    uint64_t key = 5;
    printf("%s", dload_status_name(users_load(&l, key, &q)));
    printf(" %d\n", (int)q.cents);
    printf("%s", dload_status_name(users_load(&l, UINT64_C(6), &q)));
    printf(" %d\n", (int)q.cents);
    printf("other %d\n", other_load(&l, 6));
    (void)users_close(&l, DLOAD_DRAIN, 0);
    if (users_destroy(&l) != DLOAD_OK)
        return 3;

    tags t;
    tags_config tag_config = tags_config_default();
    tag_config.fetch = fetch_tag;
    if (tags_init(&t, &tag_config) != DLOAD_OK)
        return 4;
    double length = 0;
    printf("%s", dload_status_name(tags_load(&t, dload_str_from("blue"), &length)));
    printf(" %d\n", (int)length);
    (void)tags_close(&t, DLOAD_DRAIN, 0);
    return tags_destroy(&t) == DLOAD_OK ? 0 : 5;
}
