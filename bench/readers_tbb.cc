/* TBB's concurrent_hash_map. */
#include "readers.h"

#include <memory>

#include <tbb/concurrent_hash_map.h>

const char readers_name[] = "TBB";
const char readers_note[] =
    "tbb::concurrent_hash_map, hash: a multiply and folds, default load; value copied "
    "out under a const_accessor; any thread writes, under an accessor";

struct compare {
    static size_t hash(uint64_t key)
    {
        return readers_hash(key);
    }
    static bool equal(uint64_t a, uint64_t b)
    {
        return a == b;
    }
};

using table_type = tbb::concurrent_hash_map<uint64_t, readers_value, compare>;
static std::unique_ptr<table_type> table;

bool readers_create(size_t capacity)
{
    (void)capacity;
    table.reset(new table_type());
    return true;
}

void readers_destroy(void)
{
    table.reset();
}

uint64_t readers_load_pct(void)
{
    return 100 * table->size() / table->bucket_count();
}

static inline bool find(uint64_t key, readers_value *out)
{
    table_type::const_accessor at;
    if (!table->find(at, key)) {
        return false;
    }
    *out = at->second;
    return true;
}

static inline void update(uint64_t key, const readers_value *value)
{
    table_type::accessor at;
    table->insert(at, key);
    at->second = *value;
}

static inline void erase(uint64_t key)
{
    table->erase(key);
}

#include "readers_cxx.h"
