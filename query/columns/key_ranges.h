// Constants of conditions -> ranges of the keys of a section.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "query/columns/string_dictionary.h"
#include "query/columns/unit.h"
#include "query/filter/filter.h"

namespace tessera::query {

struct KeyRange {
  uint64_t low = 0;
  uint64_t high = 0;  // inclusive
};
using KeyRanges = std::vector<KeyRange>;  // ascending, disjoint

// The keys of numbers (kInts, kDecimals, kDoubles) or datetimes within the bounds.
// Pre: constants of that type.
std::optional<KeyRange> RangeOfNumbers(const Section& section, const Range& range);
std::optional<KeyRange> RangeOfStrings(const StringDictionary& dictionary, const Range& range);
std::optional<KeyRange> RangeOfPrefix(const StringDictionary& dictionary, std::string_view prefix);

// The keys of those constants that are of the section's type, between `least` and `most`.
// Pre: ascending, as in In. Cost: O(constants within) and a logarithm of the others.
KeyRanges KeysOfNumbers(const Section& section, uint64_t least, uint64_t most,
                        const std::vector<Constant>& constants);
KeyRanges KeysOfStrings(const StringDictionary& dictionary, const std::vector<Constant>& constants);

}  // namespace tessera::query
