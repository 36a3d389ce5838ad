/* Values with a number, so that a test knows how many owners each has. */
#ifndef DLOAD_TESTS_THINGS_H
#define DLOAD_TESTS_THINGS_H

#include <stdint.h>

struct thing {
    uint32_t id;
    uint32_t weight;
};
enum { MAX_THINGS = 40000 };
static int32_t n_owners[MAX_THINGS];

static inline void thing_ref(struct thing *t)
{
    n_owners[t->id]++;
}

static inline void thing_unref(struct thing *t)
{
    n_owners[t->id]--;
}

#endif /* DLOAD_TESTS_THINGS_H */
