/* boost::unordered_flat_map (1.81 or later). */
#include "hit.h"

#include <boost/unordered/unordered_flat_map.hpp>

#include <functional>
#include <string>
#include <string_view>

const char hit_name[] = "boost";

#if HIT_TEXT
const char hit_note[] = "boost::unordered_flat_map<std::string, ...>, boost::hash and its default "
                        "post-mixing, looked up by string_view, default load (0.875)";
struct view_hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const
    {
        return boost::hash<std::string_view>()(s);
    }
};
#define HIT_MAP boost::unordered_flat_map<std::string, hit_value, view_hash, std::equal_to<>>
#else
const char hit_note[] =
    "boost::unordered_flat_map, boost::hash and its default post-mixing, default load (0.875)";
#define HIT_MAP boost::unordered_flat_map<uint64_t, hit_value>
#endif
#include "hit_cxx.h"
