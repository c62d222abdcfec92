// Points out of input files: vectors, payloads and ids joined by row.
//
// A row is bad when its payload or id cannot be read, its vector has a NaN or infinite component or
// one that the field's element type cannot hold. Integer types take whole numbers only; f16 takes
// the nearest value. What is wrong with an input as a whole (cut off, another dimension, more rows
// than another input) always ends the source.
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

#include "api/formats/line_reader.h"
#include "api/formats/payload_reader.h"
#include "api/formats/vector_reader.h"
#include "base/point_id.h"
#include "base/schema.h"
#include "db/database.h"

namespace tessera::api {

inline constexpr size_t kSourceBatchBytes = size_t{2} << 20;

// The file of one vector field; "-" is stdin.
struct VectorInput {
  std::string field;
  std::string path;
  std::optional<VectorFormat> format;  // by the file's name when missing
};

struct PointSourceOptions {
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

  // Fills `*batch` with at most batch_rows_max rows and about kSourceBatchBytes; empty at the end.
  absl::Status Next(std::vector<db::Point>* batch);

  // Rows in all, where an input tells.
  std::optional<uint64_t> rows() const { return rows_; }
  uint64_t rows_read() const { return next_row_; }
  uint64_t rows_skipped() const { return rows_skipped_; }

 private:
  struct Column {
    base::VectorFieldSchema field;
    std::string name;  // of the input
    std::unique_ptr<VectorReader> reader;
    std::string block;  // rows read and not yet used, as the file has them
    size_t block_begin = 0;
    bool ended = false;
  };

  FilePointSource(base::CollectionSchema schema, PointSourceOptions options);
  absl::Status OpenColumn(const VectorInput& input, const base::VectorFieldSchema& field);

  // One row of every input.
  struct Row {
    std::vector<std::string_view> vectors;
    PayloadRow payload;
    std::string id;
  };
  absl::StatusOr<bool> ReadRow(Row* row);
  absl::Status ReadVectors(Row* row, size_t* ended);
  // Errors: kInvalidArgument: the row is bad, and why.
  absl::Status MakePoint(Row* row, db::Point* point) const;
  absl::Status MakeVectors(const Row& row, db::Point* point) const;
  absl::StatusOr<base::PointId> MakeId(const Row& row) const;

  const base::CollectionSchema schema_;
  const PointSourceOptions options_;
  std::vector<Column> columns_;
  std::unique_ptr<PayloadReader> payload_;
  std::unique_ptr<LineReader> ids_;
  std::optional<uint64_t> rows_;
  uint64_t next_row_ = 0;
  uint64_t rows_skipped_ = 0;
};

}  // namespace tessera::api
