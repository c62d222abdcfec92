// The bytes of an input: a file or stdin, gunzipped on the way when they begin like gzip.
//
// Threads: one source from one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::api {

// As many first bytes of an input can be looked at: a row of the largest dimension and more.
inline constexpr size_t kBeginBytes = size_t{68} << 10;

class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Fills `out` and returns its size; less only at the end of the input.
  //
  // Errors: kInvalidArgument for a truncated or damaged gzip stream, naming input and position;
  //         kDataLoss or kInternal with errno when the input cannot be read; kCancelled when a
  //         signal has ended the waiting for it.
  virtual absl::StatusOr<size_t> Read(std::span<std::byte> out) = 0;

  // The first bytes of the input, kBeginBytes or all there are, without taking them: the next Read
  // gives them again. Before the first Read only. Errors: as Read.
  virtual absl::StatusOr<std::string_view> Begin() = 0;

  // For messages: the path, or "stdin".
  virtual const std::string& name() const = 0;

  // Bytes that Read will give in all; none for gzip, pipes and stdin.
  virtual std::optional<uint64_t> size() const = 0;
};

// Whether an input with these first bytes is gzip and not a number of rows that looks like it.
bool BeginsAsGzip(std::string_view begin);

// Opens `path`; "-" is stdin. gzip is told by its first bytes; a name that promises it has to be
// right.
//
// Errors: kNotFound, kPermissionDenied, kInvalidArgument (a directory; "x.gz" that is no gzip),
//         kInternal.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path);

// The same for bytes in memory, `name` in messages.
absl::StatusOr<std::unique_ptr<ByteSource>> NewMemorySource(std::string name, std::string bytes);

}  // namespace tessera::api
