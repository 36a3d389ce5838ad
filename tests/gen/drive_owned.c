/* Runs the loaders of specs/owned.ini: references are taken and given back, so that none is left, and
 * every copy is a caller's own. Two titles weigh as much as fits: the third displaces one. */
#include <stdio.h>

#include "pages.h"
#include "titles.h"

static page *sample; /* one reference of ours */

static dload_status fetch(pages_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        (void)pages_batch_set(b, i, &sample);
    return DLOAD_OK;
}

static dload_status fetch_title(titles_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        char text[] = "title";
        char *title = text;
        text[0] = (char)('A' + (int)b->keys[i]);
        (void)titles_batch_set(b, i, &title);
    }
    return DLOAD_OK;
}

static void gone(void *ctx, titles_removed *r)
{
    (void)ctx;
    printf("%ld %s left: %d\n", r->key, r->value, (int)r->reason);
}

static int run_titles(void)
{
    titles l;
    titles_config config = titles_config_preset();
    config.fetch = fetch_title;
    config.on_remove = gone;
    if (titles_init(&l, &config) != DLOAD_OK)
        return 2;
    for (int round = 0; round < 2; round++) {
        char *title = NULL;
        printf("%s", dload_status_name(titles_load(&l, 3, &title)));
        printf(" %s\n", title);
        title[0] = '?'; /* ours: the cached one stays as it is */
        title_free(&title);
    }
    for (long key = 4; key < 6; key++) {
        char *title = NULL;
        if (titles_load(&l, key, &title) == DLOAD_OK)
            title_free(&title);
    }
    printf("%d\n", (int)titles_cache_weight(&l.cache));
    (void)titles_close(&l, DLOAD_DRAIN, 0);
    return titles_destroy(&l) == DLOAD_OK ? 0 : 3;
}

static int run_pages(void)
{
    sample = (page *)malloc(sizeof *sample);
    if (sample == NULL)
        return 2;
    sample->n_refs = 1;
    sample->number = 12;
    pages l;
    pages_config config = pages_config_default();
    config.fetch = fetch;
    if (pages_init(&l, &config) != DLOAD_OK)
        return 3;
    for (int round = 0; round < 2; round++) {
        page *p = NULL;
        printf("%s", dload_status_name(pages_load(&l, 7, &p)));
        printf(" %d\n", p->number);
        page_unref(&p);
    }
    printf("%d references while cached\n", sample->n_refs);
    (void)pages_close(&l, DLOAD_DRAIN, 0);
    (void)pages_destroy(&l);
    printf("%d reference left\n", sample->n_refs);
    page_unref(&sample);
    return 0;
}

int main(void)
{
    int failed = run_pages();
    return failed != 0 ? failed : run_titles();
}
