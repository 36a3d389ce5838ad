/* warm_restart -- a cache that outlives its process: the first run fetches, saves and stops; the second one
 * restores and fetches nothing. Here both runs are in one program; the file is in the current folder, or where
 * the first argument says. */
#include <stdio.h>

struct city {
    char name[16];
    int inhabitants;
};
#define DLOAD_NAME     cities
#define DLOAD_KEY      DLOAD_STRING /* a code */
#define DLOAD_VALUE    struct city
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

static const struct {
    const char *code;
    struct city city;
} table[] = {{"BER", {"Berlin", 3700000}},
             {"LIS", {"Lisbon", 550000}},
             {"OSL", {"Oslo", 710000}},
             {"VIE", {"Vienna", 2000000}}};

static dload_status fetch_cities(cities_batch *b)
{
    printf("  fetch of %zu\n", b->n);
    for (size_t i = 0; i < b->n; i++) {
        for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
            dload_str code = dload_str_from(table[k].code);
            if (code.len == b->keys[i].len && memcmp(code.ptr, b->keys[i].ptr, code.len) == 0) {
                cities_batch_set(b, i, &table[k].city);
            }
        }
    }
    return DLOAD_OK;
}

/* One life of the service. When there is no file yet, or it is damaged, the cache is cold: that is all. */
static int run(const char *title, const char *path)
{
    cities l;
    cities_config config = {.fetch = fetch_cities, .ttl_ns = 3600 * DLOAD_SECOND};
    struct city c;
    size_t n = 0;

    printf("%s\n", title);
    if (cities_init(&l, &config) != DLOAD_OK) {
        return 1;
    }
    dload_status st = cities_restore_file(&l, path, NULL, &n);
    printf("  restored %zu (%s)\n", n, st == DLOAD_MISSING ? "no file yet" : dload_strerror(st));
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        if (cities_load(&l, dload_str_from(table[k].code), &c) != DLOAD_OK) {
            return 1;
        }
        printf("  %s: %s, %d\n", table[k].code, c.name, c.inhabitants);
    }
    st = cities_save_file(&l, path, NULL, &n); /* a service does this now and then, too */
    printf("  saved %zu (%s)\n", n, dload_strerror(st));
    cities_close(&l, DLOAD_DRAIN, 0);
    return st == DLOAD_OK && cities_destroy(&l) == DLOAD_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "warm_restart.cache";
    int bad = run("first start", path) | run("second start", path);
    return remove(path) == 0 ? bad : 1;
}
