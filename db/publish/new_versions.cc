#include "db/publish/new_versions.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "storage/manifest.h"
#include "version/leased_version.h"

namespace tessera::db {
namespace {

using version::IndexVersion;

// Marks the status of rows that are to be built into a new index.
constexpr char kRowsUnlikePayload[] = "tessera.db/rows-unlike-index";

absl::StatusOr<version::BuiltIndex> Build(version::Context& context,
                                          const base::VectorFieldSchema& field,
                                          const std::shared_ptr<const IndexVersion>& current,
                                          const query::LiveBitmap& live, NextVersion how,
                                          const version::RecordSpool& spool,
                                          const version::BuildOptions& options) {
  const uint64_t generation = current == nullptr ? 1 : current->record.generation + 1;
  if (how == NextVersion::kRebuild || current == nullptr) {
    return version::BuildIndex(context, field, spool, generation, options);
  }
  if (how == NextVersion::kRecalibrate) {
    return version::RecalibrateIndex(context, current, live, generation, options);
  }
  if (spool.record_count() > 0) {
    TESSERA_ASSIGN_OR_RETURN(
        version::AppendOutcome outcome,
        version::AppendToIndex(context, current, live, spool, generation, options));
    if (const auto* unlike = std::get_if<version::RowsUnlikeIndex>(&outcome)) {
      absl::Status status = absl::FailedPreconditionError(
          absl::StrCat(unlike->rows, " rows are far from the heads of the index"));
      status.SetPayload(kRowsUnlikePayload, absl::Cord());
      return status;
    }
    return std::get<version::BuiltIndex>(std::move(outcome));
  }
  // All that was fresh has died: only the end of the absorbed rows moves.
  version::BuiltIndex same{.record = current->record, .writers = {}, .base = current};
  same.record.generation = generation;
  return same;
}

// A rebuild has no dead rows. What an append leaves out of the dead ones is not known yet: the
// number is then too high, and the next calibration a little later than it might be.
void CountDeadAtCalibration(const IndexVersion* current, const query::LiveBitmap& live,
                            storage::VersionRecord* record) {
  const auto kind = storage::BlobKind::kCalibration;
  if (current == nullptr) {
    record->counters[kDeadAtCalibrationCounter] = 0;
  } else if (record->blobs[kind] != current->record.blobs.at(kind)) {
    record->counters[kDeadAtCalibrationCounter] = live.dead_count();
  }
}

}  // namespace

bool AreRowsUnlike(const absl::Status& status) {
  return status.GetPayload(kRowsUnlikePayload).has_value();
}

uint64_t Counter(const storage::VersionRecord& record, std::string_view name) {
  const auto it = record.counters.find(std::string(name));
  return it == record.counters.end() ? 0 : it->second;
}

absl::Status AddVersion(version::Context& context, const base::VectorFieldSchema& field,
                        const std::shared_ptr<const IndexVersion>& current,
                        const query::LiveBitmap& live, NextVersion how,
                        const version::RecordSpool& spool, const version::BuildOptions& options,
                        NewVersions* versions) {
  const bool anew = how == NextVersion::kRebuild || current == nullptr;
  if (anew && spool.record_count() == 0) {
    versions->indexes.push_back(nullptr);
    versions->live.emplace_back();
    return absl::OkStatus();
  }
  TESSERA_ASSIGN_OR_RETURN(version::BuiltIndex built,
                           Build(context, field, current, live, how, spool, options));
  for (auto& writer : built.writers) versions->writers.push_back(std::move(writer));
  built.record.counters[version::kAbsorbedEndCounter] = versions->absorbed_end.value;
  CountDeadAtCalibration(anew ? nullptr : current.get(), live, &built.record);
  TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<const IndexVersion> version,
                           version::OpenLeasedVersion(context, field, std::move(built.record),
                                                      {.base = std::move(built.base)}));
  versions->live.push_back(anew ? query::LiveBitmap(version->view->positions)
                                : version::CarryLive(live, *version));
  versions->indexes.push_back(std::move(version));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint64_t>> FindPositions(const IndexVersion* index,
                                                    std::span<const base::RowId> rows) {
  std::vector<uint64_t> positions;
  if (index == nullptr || rows.empty()) return positions;
  std::vector<base::RowId> sorted(rows.begin(), rows.end());
  std::sort(sorted.begin(), sorted.end());
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<uint64_t>> found, index->Locate(sorted));
  for (const std::optional<uint64_t>& position : found) {
    if (position.has_value()) positions.push_back(*position);
  }
  return positions;
}

}  // namespace tessera::db
