// Writes one column set.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "query/columns/chunk_builder.h"
#include "storage/extent_store.h"
#include "version/columns/column_directory.h"

namespace tessera::version {

class ColumnWriter {
 public:
  explicit ColumnWriter(storage::ExtentWriter& writer) : writer_(writer) {}

  // Pre:    positions strictly ascending; `fields` is a valid field record.
  // Errors: those of the ExtentWriter.
  absl::Status Add(uint64_t position, std::string_view id_key, std::string_view fields);
  // Nothing if no row was added.
  absl::StatusOr<std::optional<ColumnSet>> Finish();

 private:
  absl::Status WriteChunk();

  storage::ExtentWriter& writer_;
  query::ChunkBuilder builder_;
  ColumnSet set_;
  std::unordered_map<std::string, uint32_t> path_numbers_;
  std::vector<std::byte> extent_;
};

}  // namespace tessera::version
