#include "api/inputs/point_source.h"

#include <utility>

#include "api/inputs/point_rows.h"
#include "base/status_macros.h"

namespace tessera::api {

FilePointSource::FilePointSource(std::unique_ptr<PointRows> rows, PointSourceOptions options)
    : source_(std::move(rows)), options_(std::move(options)) {}

FilePointSource::~FilePointSource() = default;

absl::StatusOr<std::unique_ptr<FilePointSource>> FilePointSource::Open(
    const base::CollectionSchema& schema, PointSourceOptions options) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<PointRows> rows, options.points_path.empty()
                                                                ? OpenJoinedRows(schema, options)
                                                                : OpenPointLines(schema, options));
  return std::unique_ptr<FilePointSource>(new FilePointSource(std::move(rows), std::move(options)));
}

std::optional<uint64_t> FilePointSource::rows() const {
  return source_->rows();
}

absl::Status FilePointSource::Next(std::vector<db::Point>* batch) {
  batch->clear();
  size_t bytes = 0;
  while (batch->size() < options_.batch_rows_max && bytes < kSourceBatchBytes) {
    PointRow row;
    TESSERA_ASSIGN_OR_RETURN(const bool more, source_->Next(&row));
    if (!more) break;
    ++rows_read_;
    if (!row.status.ok()) {
      if (!options_.skip_bad_rows) return row.status;
      ++rows_skipped_;
      if (options_.on_bad_row != nullptr) options_.on_bad_row(std::string(row.status.message()));
      continue;
    }
    for (const db::FieldVector& vector : row.point.vectors) bytes += vector.bytes.size();
    bytes += sizeof(db::Point) + row.payload_bytes;
    batch->push_back(std::move(row.point));
  }
  return absl::OkStatus();
}

}  // namespace tessera::api
