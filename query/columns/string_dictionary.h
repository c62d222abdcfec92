// Sorted strings, each once, without what they share with the string before.
//
//   per 16 strings: u32 offset of the first behind these offsets
//   strings: varint shared with the one before (0 for the first of 16) | varint length | bytes
//
// Threads: immutable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "query/columns/unit.h"

namespace tessera::query {

class StringDictionary {
 public:
  // Views the section.
  explicit StringDictionary(const Section& section)
      : count_(section.count), bytes_(section.bytes) {}

  uint32_t count() const { return count_; }
  absl::Status Validate() const;
  // How many strings are below `text`; how many at most `text`. Cost: O(log count + 16).
  uint32_t LowerBound(std::string_view text) const { return Below(text, false); }
  uint32_t UpperBound(std::string_view text) const { return Below(text, true); }
  // In order, until the visitor says false. The text is valid during the call. False at damage.
  bool ForEach(absl::FunctionRef<bool(uint32_t code, std::string_view text)> visit) const {
    return ForEachFrom(0, visit);
  }

 private:
  uint32_t Below(std::string_view text, bool or_equal) const;
  bool ForEachFrom(uint32_t group,
                   absl::FunctionRef<bool(uint32_t code, std::string_view text)> visit) const;

  uint32_t count_;
  std::string_view bytes_;
};

// Pre: ascending, each once.
std::string EncodeStrings(const std::vector<std::string_view>& strings);

}  // namespace tessera::query
