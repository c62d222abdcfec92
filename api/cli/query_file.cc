#include "api/cli/query_file.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/formats/element_convert.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr size_t kPortionBytes = size_t{8} << 20;

}  // namespace

QueryFile::QueryFile(std::string path, VectorFormat format, std::unique_ptr<VectorReader> reader)
    : path_(std::move(path)), format_(format), reader_(std::move(reader)) {}

absl::StatusOr<QueryFile> QueryFile::Open(const std::string& path, VectorFormat format) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<VectorReader> reader, OpenVectorFile(path, format));
  QueryFile file(path, format, std::move(reader));
  if (const std::optional<uint64_t> rows = file.reader_->rows();
      rows.has_value() && *rows > kQueriesMax) {
    return file.TooMany(*rows);
  }
  return file;
}

absl::Status QueryFile::TooMany(uint64_t rows) const {
  return absl::InvalidArgumentError(
      absl::StrCat(path_, ": has ", rows, reader_->rows().has_value() ? "" : " or more",
                   " queries, one search takes ", kQueriesMax, " at most; split the file"));
}

absl::Status QueryFile::Next(size_t rows_max, QuerySet* queries) {
  queries->dim = reader_->dim();
  queries->type = reader_->type();
  queries->rows.clear();
  const size_t fit = std::max<size_t>(1, kPortionBytes / queries->row_bytes());
  TESSERA_RETURN_IF_ERROR(reader_->Read(std::min(rows_max, fit), &queries->rows).status());
  if (rows_read_ + queries->count() > kQueriesMax) return TooMany(rows_read_ + queries->count());
  const size_t at = FirstNotFinite(queries->rows, queries->type);
  if (at < queries->rows.size() / base::ElementBytes(queries->type)) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": row ", rows_read_ + at / queries->dim,
                                                   ": component ", at % queries->dim,
                                                   " is NaN or infinite, must be finite"));
  }
  rows_read_ += queries->count();
  return absl::OkStatus();
}

absl::StatusOr<std::optional<uint64_t>> QueryFile::CheckAll() const {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path_, ignored)) return std::optional<uint64_t>();
  TESSERA_ASSIGN_OR_RETURN(QueryFile file, QueryFile::Open(path_, format_));
  QuerySet queries;
  do {
    TESSERA_RETURN_IF_ERROR(file.Next(kQueriesMax, &queries));
  } while (queries.count() > 0);
  return std::optional<uint64_t>(file.rows_read());
}

}  // namespace tessera::api
