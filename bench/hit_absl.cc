/* absl::flat_hash_map. */
#include "hit.h"

#include <absl/container/flat_hash_map.h>

const char hit_name[] = "absl";
const char hit_note[] = "absl::flat_hash_map, absl::Hash, default load (0.875)";

#define HIT_MAP absl::flat_hash_map<uint64_t, hit_value>
#include "hit_cxx.h"
