// Splits an input into lines and counts them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "api/formats/byte_source.h"

namespace tessera::api {

// A payload of kPayloadBytesMax with every byte escaped as \u00XX still fits.
inline constexpr size_t kLineBytesMax = size_t{8} << 20;

class LineReader {
 public:
  explicit LineReader(std::unique_ptr<ByteSource> source) : source_(std::move(source)) {}

  // Puts the next line without its end ("\n" or "\r\n") into `*line`; false at the end of the
  // input. A last line without an end counts; an empty rest after the last end does not.
  //
  // Errors: what the source answers; kInvalidArgument for a line over kLineBytesMax.
  absl::StatusOr<bool> Next(std::string* line);

  // Of the line last given, from 1.
  uint64_t line_number() const { return line_number_; }
  const std::string& name() const { return source_->name(); }

 private:
  std::unique_ptr<ByteSource> source_;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t line_number_ = 0;
};

}  // namespace tessera::api
