#include "base/utf8.h"

#include <algorithm>
#include <cstdint>

// GCC 12 warns of dangling pointers in parts of simdjson that we do not use.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdangling-pointer"
#endif
#include <simdjson.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

namespace tessera::base {
namespace {

// Bytes of the character that begins with `lead`; 1 for what begins none.
size_t CharacterBytes(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  if (byte >= 0xF0) return 4;
  if (byte >= 0xE0) return 3;
  return byte >= 0xC0 ? 2 : 1;
}

// Bytes at the end of `text` that begin a character but do not end it.
size_t CutBytes(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const char byte = text[text.size() - back];
    if ((static_cast<uint8_t>(byte) & 0xC0U) == 0x80U) continue;
    return CharacterBytes(byte) > back ? back : 0;
  }
  return 0;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  return simdjson::validate_utf8(text.data(), text.size());
}

bool Utf8Checker::Add(std::string_view piece) {
  if (!valid_) return false;
  while (held_ > 0 && !piece.empty()) {
    cut_[held_++] = piece.front();
    piece.remove_prefix(1);
    if (held_ < CharacterBytes(cut_[0])) continue;
    valid_ = IsUtf8({cut_.data(), held_});
    held_ = 0;
  }
  const size_t cut = CutBytes(piece);
  if (!valid_ || !IsUtf8(piece.substr(0, piece.size() - cut))) return valid_ = false;
  if (cut > 0) {
    std::copy(piece.end() - static_cast<std::ptrdiff_t>(cut), piece.end(), cut_.begin());
    held_ = cut;
  }
  return true;
}

}  // namespace tessera::base
