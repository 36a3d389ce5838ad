/* The types that the specs in specs/ name: one of each sort that a value or key can be. */
#ifndef TESTS_GEN_TYPES_H
#define TESTS_GEN_TYPES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct quote {
    int64_t cents;
    char symbol[8];
};

typedef uint32_t user_id;
typedef enum colour { RED = 1, GREEN, BLUE } colour;

/* Referenced: the count says how many owners there are. */
typedef struct page {
    int n_refs;
    int number;
} page;

static inline void page_ref(page **p)
{
    (*p)->n_refs++;
}

static inline void page_unref(page **p)
{
    if (--(*p)->n_refs == 0)
        free(*p);
}

/* Copied: every owner has its own bytes. */
static inline bool title_copy(char **to, char *const *from)
{
    size_t n_bytes = strlen(*from) + 1;
    *to = (char *)malloc(n_bytes);
    if (*to == NULL)
        return false;
    memcpy(*to, *from, n_bytes);
    return true;
}

static inline void title_free(char **title)
{
    free(*title);
}

static inline uint32_t title_weight(char *const *title)
{
    return (uint32_t)strlen(*title);
}

#endif
