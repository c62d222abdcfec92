// Whether text is UTF-8, also text that comes in pieces.
//
// Threads: one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace tessera::base {

// Whole text at once. Cost: O(text), at the speed of memory.
bool IsUtf8(std::string_view text);

class Utf8Checker {
 public:
  // False as soon as the pieces so far cannot begin UTF-8 text; further pieces are then ignored.
  bool Add(std::string_view piece);
  // Whether all pieces together are UTF-8.
  bool Finish() const { return valid_ && held_ == 0; }

 private:
  bool valid_ = true;
  std::array<char, 4> cut_{};  // a character whose end has not come yet
  size_t held_ = 0;            // of its bytes
};

}  // namespace tessera::base
