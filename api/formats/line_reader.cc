#include "api/formats/line_reader.h"

#include <cstring>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace tessera::api {

absl::StatusOr<bool> LineReader::Next(std::string* line) {
  constexpr size_t kReadBytes = size_t{64} << 10;
  line->clear();
  bool any = false;
  for (;;) {
    if (begin_ == end_) {
      buffer_.resize(kReadBytes);
      TESSERA_ASSIGN_OR_RETURN(end_, source_->Read(buffer_));
      begin_ = 0;
      if (end_ == 0) break;
    }
    any = true;
    const char* from = reinterpret_cast<const char*>(buffer_.data()) + begin_;
    const size_t left = end_ - begin_;
    const void* newline = std::memchr(from, '\n', left);
    const size_t count =
        newline == nullptr ? left : static_cast<size_t>(static_cast<const char*>(newline) - from);
    if (line->size() + count > kLineBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(name(), ": line ", line_number_ + 1,
                                                     " is longer than ", kLineBytesMax, " bytes"));
    }
    line->append(from, count);
    begin_ += count;
    if (newline != nullptr) {
      ++begin_;
      break;
    }
  }
  if (!any) return false;
  ++line_number_;
  if (!line->empty() && line->back() == '\r') line->pop_back();
  return true;
}

}  // namespace tessera::api
