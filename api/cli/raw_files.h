// The points of a collection as raw files: a file of vectors for each field, in the format of its
// element type (fbin, f16bin, u8bin, i8bin), one of ids and one of payloads, row by row as ingest
// joins them.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/cli/output_file.h"
#include "base/schema.h"
#include "db/database.h"

namespace tessera::api {

struct RawFileOptions {
  // FIELD=FILE, or FILE alone: of the only field, or the default one.
  std::vector<std::string> vectors;
  std::string ids;      // "": none
  std::string payload;  // "": none
};

class RawFiles {
 public:
  // Errors: UsageError for a field that is not there or comes twice, or a name whose ending says
  // another format; those of OutputFile.
  static absl::StatusOr<std::unique_ptr<RawFiles>> Create(const base::CollectionSchema& schema,
                                                          const RawFileOptions& options);

  // Pre: `point` has its payload and vectors.
  // Errors: kInvalidArgument for an id that a line cannot hold; kOutOfRange after 2^32 - 1 rows.
  absl::Status Add(const db::StoredPoint& point);

  // All files appear.
  absl::Status Commit();

 private:
  struct Column {
    std::string field;
    std::unique_ptr<OutputFile> file;
  };

  RawFiles() = default;
  absl::Status AddColumn(const base::CollectionSchema& schema, const std::string& text);

  std::vector<Column> columns_;
  std::unique_ptr<OutputFile> ids_;
  std::unique_ptr<OutputFile> payload_;
  uint32_t rows_ = 0;
};

}  // namespace tessera::api
