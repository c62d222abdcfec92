// One point after the other out of input files, and what the ways to read them share.
//
// Threads: one reader from one thread at a time; free functions without shared state.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/formats/byte_source.h"
#include "api/inputs/point_source.h"
#include "base/point_id.h"
#include "base/schema.h"
#include "base/types.h"
#include "base/value.h"
#include "db/database.h"

namespace tessera::api {

struct PointRow {
  absl::Status status;  // kInvalidArgument naming input, line and row: it is bad, `point` of no use
  db::Point point;
  size_t payload_bytes = 0;  // as JSON
};

class PointRows {
 public:
  virtual ~PointRows() = default;

  // Puts the next row, good or bad, into `*row`, an empty one; false at the end.
  //
  // Errors: what is wrong with an input as a whole.
  virtual absl::StatusOr<bool> Next(PointRow* row) = 0;

  // Rows in all, where an input tells.
  virtual std::optional<uint64_t> rows() const = 0;
};

// Vectors, payload and ids of `options` joined by row.
absl::StatusOr<std::unique_ptr<PointRows>> OpenJoinedRows(const base::CollectionSchema& schema,
                                                          const PointSourceOptions& options);

// The JSON lines of options.points_path, each a whole point.
absl::StatusOr<std::unique_ptr<PointRows>> OpenPointLines(const base::CollectionSchema& schema,
                                                          const PointSourceOptions& options);

// The same for lines out of `source`.
absl::StatusOr<std::unique_ptr<PointRows>> NewPointLines(const base::CollectionSchema& schema,
                                                         const PointSourceOptions& options,
                                                         std::unique_ptr<ByteSource> source);

// "the default vector", or the field's name.
std::string FieldLabel(const base::VectorFieldSchema& field);

// `elements` of type `from` in the element type of `field`: integer types take whole numbers only,
// f16 the nearest value.
// Errors: kInvalidArgument: not finite, a squared length over f32, or a value the type cannot hold.
absl::StatusOr<db::FieldVector> MakeFieldVector(std::string_view elements, base::ElementType from,
                                                const base::VectorFieldSchema& field);

// The id that a JSON value tells: a number, or a text. `is_large` says that the text was a number
// over int64. JSON tells numbers from texts, so a text that reads as a number is refused and not
// taken for it: a file that has 7 and "7" would lose one of the two.
// Errors: kInvalidArgument naming `key`.
absl::StatusOr<base::PointId> IdOfJson(const std::string& key, const base::Value& value,
                                       bool is_large);

// The size of `payload` as JSON. Errors: kInvalidArgument when it is over db::kPayloadBytesMax.
absl::StatusOr<size_t> CheckedPayloadBytes(const base::Value& payload);

}  // namespace tessera::api
