// Splits an input into lines and counts them. A byte order mark (UTF-8) before the first line and
// empty lines behind the last one are no part of them: editors and `cat` leave such behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/formats/byte_source.h"

namespace tessera::api {

// A payload of kPayloadBytesMax with every byte escaped as \u00XX still fits.
inline constexpr size_t kLineBytesMax = size_t{8} << 20;

class LineReader {
 public:
  explicit LineReader(std::unique_ptr<ByteSource> source, size_t line_bytes_max = kLineBytesMax)
      : source_(std::move(source)), line_bytes_max_(line_bytes_max) {}

  // Puts the next line without its end ("\n" or "\r\n") into `*line`; false at the end of the
  // input. A last line without an end counts; empty lines count where others follow.
  //
  // Errors: what the source answers; kInvalidArgument for a line over `line_bytes_max`.
  absl::StatusOr<bool> Next(std::string* line);

  // Of the line last given, from 1.
  uint64_t line_number() const { return line_number_; }
  const std::string& name() const { return source_->name(); }

 private:
  // The next line, empty or not.
  absl::StatusOr<bool> NextRaw(std::string* line);

  std::unique_ptr<ByteSource> source_;
  const size_t line_bytes_max_;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t raw_lines_ = 0;
  uint64_t line_number_ = 0;
  // Empty lines read and not yet given, then a line that follows them: without it they are nothing.
  uint64_t held_empty_ = 0;
  std::string held_;
  bool has_held_ = false;
};

// What an empty line is where each line is a row.
absl::Status EmptyLineError();

// More commas than a payload and the vectors of a point can have together.
inline constexpr size_t kJsonCommasMax = 1'500'000;

// kInvalidArgument for a line that should not be parsed as JSON: empty, or with so many commas that
// its values would take a hundred times its bytes.
absl::Status CheckJsonLine(std::string_view line);

}  // namespace tessera::api
