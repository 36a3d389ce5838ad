/* What the C++ tables have in common: find, update and erase come from the includer. */
#ifndef BENCH_READERS_CXX_H
#define BENCH_READERS_CXX_H

void readers_enter(void)
{
}

void readers_leave(void)
{
}

static inline void quiet(void)
{
}

void readers_put(uint64_t oldest, uint64_t key)
{
    if (oldest != 0) {
        erase(oldest);
    }
    readers_value v = readers_value_of(key, key);
    update(key, &v);
}

void readers_settle(void)
{
}

#include "readers_loop.h"

#endif /* BENCH_READERS_CXX_H */
