/* std::unordered_map of the compiler's library, in C++20 so that strings are looked up by string_view. */
#include "hit.h"

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

const char hit_name[] = "std";

#if HIT_TEXT
const char hit_note[] =
    "std::unordered_map<std::string, ...>, std::hash, looked up by string_view, "
    "default load (1.0); the erased node is used again for the new key";
struct view_hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const
    {
        return std::hash<std::string_view>()(s);
    }
};
#define HIT_MAP std::unordered_map<std::string, hit_value, view_hash, std::equal_to<>>
#else
const char hit_note[] = "std::unordered_map, std::hash (in libstdc++ the number itself, modulo a "
                        "prime), default load (1.0); the erased node is used again for the new key";
#define HIT_MAP std::unordered_map<uint64_t, hit_value>
#endif
#define HIT_NODES
#include "hit_cxx.h"
