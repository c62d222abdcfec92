// The queries of a search, read from a file in portions: what a file says of itself, or what a
// small gzip file unpacks to, must not decide how much memory a search takes.
//
// Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/cli/search_run.h"
#include "api/formats/vector_reader.h"

namespace tessera::api {

// Of one command: each has a time to keep, and answers.
inline constexpr uint64_t kQueriesMax = 1'000'000;

class QueryFile {
 public:
  // Errors: those of OpenVectorFile; kInvalidArgument when it says that it has over kQueriesMax.
  static absl::StatusOr<QueryFile> Open(const std::string& path, VectorFormat format);

  uint32_t dim() const { return reader_->dim(); }

  // Puts the next rows, 1 .. `rows_max` and a few megabytes at most, into `*queries`; none at the
  // end.
  // Errors: kInvalidArgument for a component that is NaN or infinite, naming its row, and after
  // kQueriesMax rows; those of VectorReader.
  absl::Status Next(size_t rows_max, QuerySet* queries);

  uint64_t rows_read() const { return rows_read_; }

  // The number of queries in a file that can be read twice, after a look at all of them apart from
  // Next, so that a damaged one is known before the first search; nothing for stdin and pipes.
  // Errors: as Open and Next.
  absl::StatusOr<std::optional<uint64_t>> CheckAll() const;

 private:
  QueryFile(std::string path, VectorFormat format, std::unique_ptr<VectorReader> reader);
  absl::Status TooMany(uint64_t rows) const;

  std::string path_;
  VectorFormat format_;
  std::unique_ptr<VectorReader> reader_;
  uint64_t rows_read_ = 0;
};

}  // namespace tessera::api
