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

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::api {

class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Fills `out` and returns its size; less only at the end of the input.
  //
  // Errors: kInvalidArgument for a truncated or damaged gzip stream, naming input and position;
  //         kDataLoss or kInternal with errno when the input cannot be read; kCancelled when a
  //         signal has ended the waiting for it.
  virtual absl::StatusOr<size_t> Read(std::span<std::byte> out) = 0;

  // For messages: the path, or "stdin".
  virtual const std::string& name() const = 0;

  // Bytes that Read will give in all; none for gzip, pipes and stdin.
  virtual std::optional<uint64_t> size() const = 0;
};

// Opens `path`; "-" is stdin. gzip is told by its magic bytes; a name that promises it has to be
// right.
//
// Errors: kNotFound, kPermissionDenied, kInvalidArgument (a directory; "x.gz" that is no gzip),
//         kInternal.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path);

}  // namespace tessera::api
