/* absl::flat_hash_map. */
#include "hit.h"

#include <absl/container/flat_hash_map.h>
#include <absl/strings/string_view.h>

#include <string>

const char hit_name[] = "absl";
const char hit_note[] = "absl::flat_hash_map, absl::Hash, default load (0.875)";

#if HIT_TEXT
#define HIT_MAP  absl::flat_hash_map<std::string, hit_value>
#define HIT_VIEW absl::string_view /* the library's own, whatever the standard says */
#else
#define HIT_MAP absl::flat_hash_map<uint64_t, hit_value>
#endif
#include "hit_cxx.h"
