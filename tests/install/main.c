/* A program of somebody else's, against an installed dataloader.h. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define DLOAD_NAME  squares
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#include <dataloader.h>

static dload_status fetch(squares_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t square = b->keys[i] * b->keys[i];
        squares_batch_set(b, i, &square);
    }
    return DLOAD_OK;
}

int main(void)
{
    squares l;
    squares_config config = squares_config_default();
    uint64_t out = 0;
    config.fetch = fetch;
    if (squares_init(&l, &config) != DLOAD_OK || squares_load(&l, 12, &out) != DLOAD_OK)
        return 1;
    squares_close(&l, DLOAD_DRAIN, 0);
    squares_destroy(&l);
    puts(DLOAD_VERSION_STRING);
    return out == 144 ? 0 : 2;
}
