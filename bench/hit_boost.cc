/* boost::unordered_flat_map (1.81 or later). */
#include "hit.h"

#include <boost/unordered/unordered_flat_map.hpp>

const char hit_name[] = "boost";
const char hit_note[] =
    "boost::unordered_flat_map, boost::hash and its default post-mixing, default load (0.875)";

#define HIT_MAP boost::unordered_flat_map<uint64_t, hit_value>
#include "hit_cxx.h"
