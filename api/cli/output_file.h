// A file that appears under its name when it is complete, and not before.
//
// Threads: one file from one thread at a time.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::api {

// A path that is something else than a regular file (a pipe, /dev/stdout) is written to as it is.
class OutputFile {
 public:
  // Errors: kNotFound, kPermissionDenied, kInvalidArgument: `path` cannot be written.
  static absl::StatusOr<std::unique_ptr<OutputFile>> Create(const std::string& path);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  // Leaves nothing behind unless committed.
  ~OutputFile();

  absl::Status Write(std::string_view bytes);
  // Over what was written at `offset`, a header that can be known only at the end.
  // Errors: kInvalidArgument where `path` is no regular file.
  absl::Status WriteAt(uint64_t offset, std::string_view bytes);
  // A special file cannot be written at an offset.
  bool is_regular() const { return written_path_ != path_; }
  absl::Status Commit();

 private:
  OutputFile(std::string path, std::string written_path);
  absl::Status Error(std::string_view what) const;

  const std::string path_;
  const std::string written_path_;  // path_ itself when it is no regular file
  std::FILE* file_ = nullptr;
};

}  // namespace tessera::api
