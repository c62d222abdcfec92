#include "api/inputs/id_lines.h"

#include "absl/strings/str_cat.h"

#include "api/formats/file_kind.h"
#include "base/status_macros.h"

namespace tessera::api {

absl::StatusOr<IdLines> IdLines::Open(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenByteSource(path));
  return New(std::move(source));
}

absl::StatusOr<IdLines> IdLines::New(std::unique_ptr<ByteSource> source) {
  TESSERA_RETURN_IF_ERROR(RefuseForeignKind(*source));
  return IdLines(std::make_unique<LineReader>(std::move(source)));
}

absl::StatusOr<bool> IdLines::Next(base::PointId* id, absl::Status* row_status) {
  TESSERA_ASSIGN_OR_RETURN(const bool more, lines_->Next(&line_));
  if (!more) return false;
  absl::StatusOr<base::PointId> parsed =
      line_.empty() ? EmptyLineError() : base::PointId::Parse(line_);
  *row_status = parsed.status();
  if (parsed.ok()) *id = *std::move(parsed);
  return true;
}

absl::Status IdLines::NextBatch(size_t ids_max, std::vector<base::PointId>* ids) {
  ids->clear();
  absl::Status row_status;
  while (ids->size() < ids_max) {
    base::PointId id;
    TESSERA_ASSIGN_OR_RETURN(const bool more, Next(&id, &row_status));
    if (!more) break;
    if (!row_status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name(), ": line ", line_number(), ": ", row_status.message()));
    }
    ids->push_back(std::move(id));
  }
  return absl::OkStatus();
}

}  // namespace tessera::api
