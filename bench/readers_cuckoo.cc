/* libcuckoo. */
#include "readers.h"

#include <memory>

#include <libcuckoo/cuckoohash_map.hh>

const char readers_name[] = "libcuckoo";
const char readers_note[] =
    "libcuckoo::cuckoohash_map, hash: a multiply and folds, made for the capacity and grown by "
    "itself; "
    "value copied out under the locks of its two buckets; any thread writes";

struct hash_key {
    size_t operator()(uint64_t key) const
    {
        return readers_hash(key);
    }
};

using table_type = libcuckoo::cuckoohash_map<uint64_t, readers_value, hash_key>;
static std::unique_ptr<table_type> table;

bool readers_create(size_t capacity)
{
    table.reset(new table_type(capacity)); /* by default it has room for 262,144 */
    return true;
}

void readers_destroy(void)
{
    table.reset();
}

uint64_t readers_load_pct(void)
{
    return static_cast<uint64_t>(100 * table->load_factor());
}

static inline bool find(uint64_t key, readers_value *out)
{
    return table->find(key, *out);
}

static inline void update(uint64_t key, const readers_value *value)
{
    table->insert_or_assign(key, *value);
}

static inline void erase(uint64_t key)
{
    table->erase(key);
}

#include "readers_cxx.h"
