/* The C++ maps differ in their type and their words about themselves only: the including file has
 * defined HIT_MAP, hit_name and hit_note. */
#ifndef BENCH_HIT_CXX_H
#define BENCH_HIT_CXX_H

#include <new>

struct hit_table {
    HIT_MAP map;
};

void *hit_create(size_t capacity)
{
    (void)capacity;
    return new (std::nothrow) hit_table();
}

void hit_destroy(void *table)
{
    delete static_cast<hit_table *>(table);
}

static inline void hit_put(hit_table *t, uint64_t key, const hit_value *v)
{
    t->map.emplace(key, *v);
}

static inline void hit_drop(hit_table *t, uint64_t key)
{
    t->map.erase(key);
}

static inline const hit_value *hit_find(hit_table *t, uint64_t key, hit_value *room)
{
    (void)room;
    auto it = t->map.find(key);
    return it == t->map.end() ? nullptr : &it->second;
}

size_t hit_own_bytes(void *table)
{
    (void)table;
    return 0;
}

#include "hit_loops.h"

#endif /* BENCH_HIT_CXX_H */
