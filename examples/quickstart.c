/* quickstart -- a loader in a few lines: a uint64_t key, a struct, and a fetch function that answers a
 * whole batch from a table. */
#include <stdio.h>

struct element {
    char symbol[4];
    char name[12];
};
#define DLOAD_NAME  elements /* the type, and the prefix of its functions */
#define DLOAD_KEY   uint64_t /* atomic number */
#define DLOAD_VALUE struct element
#include "dataloader.h"

static const struct element table[] = {{"H", "hydrogen"},   {"He", "helium"}, {"Li", "lithium"},
                                       {"Be", "beryllium"}, {"B", "boron"},   {"C", "carbon"},
                                       {"N", "nitrogen"},   {"O", "oxygen"}};

/* Gets the keys that were asked for together, each once; a key it leaves out is DLOAD_MISSING. */
static dload_status fetch_elements(elements_batch *b)
{
    printf("fetch:");
    for (size_t i = 0; i < b->n; i++) {
        printf(" %d", (int)b->keys[i]);
        if (b->keys[i] >= 1 && b->keys[i] <= sizeof table / sizeof *table) {
            elements_batch_set(b, i, &table[b->keys[i] - 1]);
        }
    }
    printf("\n");
    return DLOAD_OK;
}

int main(void)
{
    const uint64_t ethanol[] = {6, 1, 8, 1};            /* one of them twice */
    const uint64_t caffeine[] = {6, 1, 7, 8, 119};      /* three are cached, one does not exist */
    elements_config config = {.fetch = fetch_elements}; /* what is 0 has its default */
    elements l;
    struct element e[5];
    dload_status status[5];

    if (elements_init(&l, &config) != DLOAD_OK) {
        return 1;
    }
    elements_load_many(&l, ethanol, 4, e, NULL);
    printf("ethanol: %s, %s, %s\n", e[0].name, e[2].name, e[3].name);
    elements_load_many(&l, caffeine, 5, e, status);
    for (size_t i = 0; i < 5; i++) {
        printf("%d: %s\n", (int)caffeine[i],
               status[i] >= DLOAD_OK ? e[i].name : dload_strerror(status[i]));
    }
    elements_close(&l, DLOAD_DRAIN, 0);
    return elements_destroy(&l) == DLOAD_OK ? 0 : 1;
}
