// Readers of payload files: one row is the payload of one point, joined to vectors by position.
//
//   CSV    RFC 4180 with a header row that gives the keys. An unquoted cell that reads as an int64
//          is an integer, as a finite double a double, empty is null, anything else a string. A
//          quoted cell is always a string. Line ends inside quotes come out as "\n".
//   JSONL  one object (or null) a line.
//
// Whole numbers beyond int64, which a payload does not hold, are kept as text in both. A byte order
// mark before the first row and empty lines behind the last one are skipped; an empty line between
// rows is a bad row (in CSV with a single column: an empty cell).
//
// Threads: one reader from one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/formats/byte_source.h"
#include "base/value.h"

namespace tessera::api {

enum class PayloadFormat { kCsv, kJsonl };

struct PayloadRow {
  uint64_t line = 0;    // where it begins, from 1
  absl::Status status;  // kInvalidArgument for a bad row; the reader can go on behind it
  base::Value payload;  // an object or null
  // JSONL: keys of `payload` whose text was written as a number, of 2^63 .. 2^64 - 1.
  std::set<std::string, std::less<>> large_keys;
};

class PayloadReader {
 public:
  virtual ~PayloadReader() = default;

  // Puts the next row, good or bad, into `*row`; false at the end.
  //
  // Errors: kInvalidArgument where no next row can be told (a quote never closed, a line too long);
  //         what the source answers.
  virtual absl::StatusOr<bool> Next(PayloadRow* row) = 0;

  // Whether the file itself tells a number from a text (JSONL), or the reader infers it (CSV).
  virtual bool tells_types() const = 0;

  virtual const std::string& name() const = 0;
};

// "csv", "jsonl". Errors: kInvalidArgument with the list.
absl::StatusOr<PayloadFormat> ParsePayloadFormat(std::string_view text);

// By the ending .csv, .jsonl or .ndjson, ".gz" aside. Errors: kInvalidArgument.
absl::StatusOr<PayloadFormat> DetectPayloadFormat(std::string_view path);

// Errors: kInvalidArgument for a file of another kind (Parquet, UTF-16, one JSON array, ...),
// naming it; for CSV also when the header row is missing or has an empty or repeated key.
absl::StatusOr<std::unique_ptr<PayloadReader>> NewPayloadReader(std::unique_ptr<ByteSource> source,
                                                                PayloadFormat format);

// Opens `path` ("-": stdin) as `format`, or as what its name says.
absl::StatusOr<std::unique_ptr<PayloadReader>> OpenPayloadFile(const std::string& path,
                                                               std::optional<PayloadFormat> format);

}  // namespace tessera::api
