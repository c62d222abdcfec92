#include "api/formats/line_reader.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace tessera::api {

absl::StatusOr<bool> LineReader::NextRaw(std::string* line) {
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
    if (line->size() + count > line_bytes_max_) {
      return absl::InvalidArgumentError(absl::StrCat(
          name(), ": line ", raw_lines_ + 1, " is longer than ", line_bytes_max_, " bytes"));
    }
    line->append(from, count);
    begin_ += count;
    if (newline != nullptr) {
      ++begin_;
      break;
    }
  }
  if (!any) return false;
  ++raw_lines_;
  if (!line->empty() && line->back() == '\r') line->pop_back();
  if (raw_lines_ == 1 && line->starts_with("\xEF\xBB\xBF")) line->erase(0, 3);
  return true;
}

absl::StatusOr<bool> LineReader::Next(std::string* line) {
  if (!has_held_) {
    for (;; ++held_empty_) {
      TESSERA_ASSIGN_OR_RETURN(const bool more, NextRaw(line));
      if (!more) return false;
      if (!line->empty()) break;
    }
    if (held_empty_ > 0) {
      held_.swap(*line);
      has_held_ = true;
    }
  }
  ++line_number_;
  if (!has_held_) return true;
  if (held_empty_ > 0) {
    --held_empty_;
    line->clear();
    return true;
  }
  line->swap(held_);
  has_held_ = false;
  return true;
}

absl::Status EmptyLineError() {
  return absl::InvalidArgumentError("the line is empty");
}

absl::Status CheckJsonLine(std::string_view line) {
  if (line.empty()) return EmptyLineError();
  if (static_cast<size_t>(std::count(line.begin(), line.end(), ',')) <= kJsonCommasMax) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("has over ", kJsonCommasMax, " commas, more than a point can have"));
}

}  // namespace tessera::api
