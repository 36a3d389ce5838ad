/* The C++ maps differ in their type and their words about themselves only: the including file has
 * defined HIT_MAP, hit_name and hit_note. With strings the key of the map is a std::string, and it is
 * looked up by a std::string_view, without making a string. */
#ifndef BENCH_HIT_CXX_H
#define BENCH_HIT_CXX_H

#include <new>
#include <string>
#include <string_view>

struct hit_table {
    HIT_MAP map;
};

#if HIT_TEXT
#ifndef HIT_VIEW
#define HIT_VIEW std::string_view
#endif
static inline HIT_VIEW hit_view(hit_key key)
{
    return HIT_VIEW(key.bytes, key.n);
}
static inline std::string hit_kept(hit_key key)
{
    return std::string(key.bytes, key.n);
}
#else
static inline hit_key hit_view(hit_key key)
{
    return key;
}
static inline hit_key hit_kept(hit_key key)
{
    return key;
}
#endif

void *hit_create(size_t capacity)
{
    (void)capacity;
    return new (std::nothrow) hit_table();
}

void hit_destroy(void *table)
{
    delete static_cast<hit_table *>(table);
}

static inline void hit_put(hit_table *t, hit_key key, const hit_value *v)
{
    t->map.emplace(hit_kept(key), *v);
}

static inline void hit_drop(hit_table *t, hit_key key)
{
    auto it = t->map.find(hit_view(key));
    if (it != t->map.end()) {
        t->map.erase(it);
    }
}

static inline const hit_value *hit_find(hit_table *t, hit_key key, hit_value *room)
{
    (void)room;
    auto it = t->map.find(hit_view(key));
    return it == t->map.end() ? nullptr : &it->second;
}

size_t hit_own_bytes(void *table)
{
    (void)table;
    return 0;
}

#ifdef HIT_NODES
/* The node of the erased key is used again for the new one. */
#define HIT_OWN_REPLACE
void hit_replace(void *table, const hit_key *oldest, const hit_key *keys, size_t n)
{
    hit_table *t = static_cast<hit_table *>(table);
    for (size_t i = 0; i < n; i++) {
        auto it = t->map.find(hit_view(oldest[i]));
        if (it == t->map.end()) {
            continue;
        }
        auto node = t->map.extract(it);
#if HIT_TEXT
        node.key().assign(keys[i].bytes, keys[i].n);
#else
        node.key() = keys[i];
#endif
        node.mapped() = hit_value_of(keys[i]);
        t->map.insert(std::move(node));
    }
}
#endif

#include "hit_loops.h"

#endif /* BENCH_HIT_CXX_H */
