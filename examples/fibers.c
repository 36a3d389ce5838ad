/* fibers -- straight-line code for one film, run for eight of them at once: every load looks like a
 * call, and yet each level of loads is one batch. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct film {
    char title[24];
    uint64_t director;
};
#define DLOAD_NAME  films
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct film
#include "dataloader.h"

struct person {
    char name[24];
    uint64_t town; /* of birth */
};
#define DLOAD_NAME  people
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct person
#include "dataloader.h"

struct town {
    char name[24];
};
#define DLOAD_NAME  towns
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct town
#include "dataloader.h"

#include "adapters/dataloader_fiber.h"

/* ---- the source: three tables; think of a database that is a round trip away ---- */

static const struct film film_table[] = {{"Metropolis", 0}, {"M", 0},        {"Vertigo", 1},
                                         {"Psycho", 1},     {"Ikiru", 2},    {"Ran", 2},
                                         {"Playtime", 3},   {"The Birds", 1}};
static const struct person person_table[] = {
    {"Fritz Lang", 0}, {"Alfred Hitchcock", 1}, {"Akira Kurosawa", 2}, {"Jacques Tati", 3}};
static const struct town town_table[] = {{"Vienna"}, {"London"}, {"Tokyo"}, {"Le Pecq"}};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static int n_fetches;

/* Prints what goes to the source, e.g. "fetch 2: 4 people (0 1 2 3)". */
static void print_batch(const char *what, const uint64_t *keys, size_t n)
{
    printf("fetch %d: %zu %s (", ++n_fetches, n, what);
    for (size_t i = 0; i < n; i++) {
        printf("%s%" PRIu64, i != 0 ? " " : "", keys[i]);
    }
    printf(")\n");
}

static dload_status fetch_films(films_batch *b)
{
    print_batch("films", b->keys, b->n);
    for (size_t i = 0; i < b->n; i++) {
        if (b->keys[i] < COUNT(film_table)) {
            films_batch_set(b, i, &film_table[b->keys[i]]);
        }
    }
    return DLOAD_OK; /* a key without an answer is DLOAD_MISSING */
}

static dload_status fetch_people(people_batch *b)
{
    print_batch("people", b->keys, b->n);
    for (size_t i = 0; i < b->n; i++) {
        if (b->keys[i] < COUNT(person_table)) {
            people_batch_set(b, i, &person_table[b->keys[i]]);
        }
    }
    return DLOAD_OK;
}

static dload_status fetch_towns(towns_batch *b)
{
    print_batch("towns", b->keys, b->n);
    for (size_t i = 0; i < b->n; i++) {
        if (b->keys[i] < COUNT(town_table)) {
            towns_batch_set(b, i, &town_table[b->keys[i]]);
        }
    }
    return DLOAD_OK;
}

/* ---- the task: code for one film ---- */

static films films_loader;
static people people_loader;
static towns towns_loader;

struct credit {
    uint64_t film;
    dload_status status;
    char line[96];
};

static void find_credit(void *arg)
{
    struct credit *c = arg;
    struct film film;
    struct person director;
    struct town town;
    c->status = films_load(&films_loader, c->film, &film);
    if (c->status >= 0) {
        c->status = people_load(&people_loader, film.director, &director);
    }
    if (c->status >= 0) {
        c->status = towns_load(&towns_loader, director.town, &town);
    }
    if (c->status >= 0) {
        snprintf(c->line, sizeof c->line, "%s: %s, born in %s", film.title, director.name,
                 town.name);
    }
}

/* ---- */

static dload_status open_loaders(dload_fiber_sched *s)
{
    films_config f = {.fetch = fetch_films};
    people_config p = {.fetch = fetch_people};
    towns_config t = {.fetch = fetch_towns};
    f.env = p.env = t.env = dload_fiber_env(s);                     /* loads park the task */
    f.registry = p.registry = t.registry = dload_fiber_registry(s); /* and go when all are parked */
    dload_status st = films_init(&films_loader, &f);
    if (st >= 0) {
        st = people_init(&people_loader, &p);
    }
    return st < 0 ? st : towns_init(&towns_loader, &t);
}

static dload_status close_loaders(void)
{
    dload_status st = films_destroy(&films_loader); /* no task is left, so nothing is queued */
    dload_status st_people = people_destroy(&people_loader);
    dload_status st_towns = towns_destroy(&towns_loader);
    return st < 0 ? st : st_people < 0 ? st_people : st_towns;
}

int main(void)
{
    struct credit credits[9]; /* the last one of a film that nobody knows */
    dload_fiber_sched s;
    dload_status st = dload_fiber_init(&s, NULL);
    if (st >= 0) {
        st = open_loaders(&s);
    }
    for (size_t i = 0; st >= 0 && i < COUNT(credits); i++) {
        credits[i].film = i;
        st = dload_fiber_spawn(&s, find_credit, &credits[i]);
    }
    if (st >= 0) {
        st = dload_fiber_run(&s);
    }
    for (size_t i = 0; st >= 0 && i < COUNT(credits); i++) {
        printf("%" PRIu64 ": %s\n", credits[i].film,
               credits[i].status >= 0 ? credits[i].line : dload_strerror(credits[i].status));
    }
    if (st < 0) {
        fprintf(stderr, "fibers: %s\n", dload_strerror(st));
        (void)dload_fiber_close(&s);
    }
    printf("%d fetches for %zu films\n", n_fetches, COUNT(credits));
    dload_status st_close = close_loaders();
    dload_status st_destroy = dload_fiber_destroy(&s);
    return st >= 0 && st_close >= 0 && st_destroy >= 0 ? 0 : 1;
}
