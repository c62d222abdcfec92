// Points out of input files, in batches: vectors, payloads and ids joined by row, or JSON lines
// that hold whole points.
//
// A row is bad when its payload or id cannot be read, its vector has a NaN or infinite component or
// one that the field's element type cannot hold. Integer types take whole numbers only; f16 takes
// the nearest value. What is wrong with an input as a whole (cut off, another dimension, more rows
// than another input) always ends the source.
//
// An id may come several times, in one batch as well: whoever stores the points keeps the last.
//
// Threads: one source from one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/formats/payload_reader.h"
#include "api/formats/vector_reader.h"
#include "base/schema.h"
#include "db/database.h"

namespace tessera::api {

class PointRows;

inline constexpr size_t kSourceBatchBytes = size_t{2} << 20;

// The file of one vector field; "-" is stdin.
struct VectorInput {
  std::string field;
  std::string path;
  std::optional<VectorFormat> format;  // by the file's name or first bytes when missing
};

struct PointSourceOptions {
  // JSON lines of whole points; "": the inputs below are joined by row. A line is an object with
  //   "id"        a number or a string; the key is `id_field` where given. Without: the row's
  //   number "vector"    the components; "embedding" as well; or "vectors": {"FIELD": [..], ..}
  //   "payload"   an object or null. Without it all other keys are the payload
  std::string points_path;
  std::string points_field;  // of "vector" and "embedding"

  std::vector<VectorInput> vectors;  // each field of the schema exactly once
  std::string payload_path;          // "": no payload
  std::optional<PayloadFormat> payload_format;
  std::string ids_path;        // one id a line; "": the row's number, from 0
  std::string id_field;        // key of the payload that holds the id; "": see ids_path
  bool skip_bad_rows = false;  // else the first one ends the source
  size_t batch_rows_max = 10'000;
  // Told of every bad row that is skipped, as "payload.csv: line 7: ...".
  std::function<void(const std::string&)> on_bad_row;
};

class FilePointSource {
 public:
  // Opens every input and compares what their headers say with the schema.
  //
  // Errors: kNotFound, kInvalidArgument and others, naming the input.
  static absl::StatusOr<std::unique_ptr<FilePointSource>> Open(const base::CollectionSchema& schema,
                                                               PointSourceOptions options);
  FilePointSource(const FilePointSource&) = delete;
  FilePointSource& operator=(const FilePointSource&) = delete;
  ~FilePointSource();

  // Fills `*batch` with at most batch_rows_max rows and about kSourceBatchBytes; empty at the end.
  absl::Status Next(std::vector<db::Point>* batch);

  // Rows in all, where an input tells.
  std::optional<uint64_t> rows() const;
  uint64_t rows_read() const { return rows_read_; }
  uint64_t rows_skipped() const { return rows_skipped_; }

 private:
  FilePointSource(std::unique_ptr<PointRows> rows, PointSourceOptions options);

  const std::unique_ptr<PointRows> source_;
  const PointSourceOptions options_;
  uint64_t rows_read_ = 0;
  uint64_t rows_skipped_ = 0;
};

}  // namespace tessera::api
