// Ids out of a file, one a line: numbers, UUIDs and strings as base::PointId::Parse reads them.
//
// Threads: one reader from one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/formats/byte_source.h"
#include "api/formats/line_reader.h"
#include "base/point_id.h"

namespace tessera::api {

class IdLines {
 public:
  // "-" is stdin. Errors: those of OpenByteSource; kInvalidArgument for a file of another kind.
  static absl::StatusOr<IdLines> Open(const std::string& path);

  static absl::StatusOr<IdLines> New(std::unique_ptr<ByteSource> source);

  // Puts the next id into `*id`; false at the end. `*row_status` is why a line is no id.
  // Errors: those of LineReader.
  absl::StatusOr<bool> Next(base::PointId* id, absl::Status* row_status);

  // Puts at most `ids_max` ids into `*ids`; none at the end.
  // Errors: as Next; kInvalidArgument naming the line that is no id.
  absl::Status NextBatch(size_t ids_max, std::vector<base::PointId>* ids);

  uint64_t line_number() const { return lines_->line_number(); }
  const std::string& name() const { return lines_->name(); }

 private:
  explicit IdLines(std::unique_ptr<LineReader> lines) : lines_(std::move(lines)) {}

  std::unique_ptr<LineReader> lines_;
  std::string line_;
};

}  // namespace tessera::api
