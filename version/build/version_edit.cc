#include "version/build/version_edit.h"

#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "version/build/location_edit.h"
#include "version/build/version_build.h"
#include "version/planes.h"

namespace tessera::version {
namespace {

using storage::BlobKind;

// Growth of the rows since the calibration was measured that makes it stale.
constexpr double kCalibrationGrowth = 1.25;

void CheckEdit(const IndexVersion& current, const VersionEdit& edit) {
  TESSERA_CHECK(edit.dropped.size() == current.view->parts.size());
  TESSERA_CHECK(edit.list_rows.size() == current.view->list_count());
  uint64_t rows = 0;
  size_t ascending = 0;
  for (const EditRows& source : edit.rows) {
    TESSERA_CHECK(source.records->record_count() == source.lists->count());
    rows += source.records->record_count();
    ascending += source.ascending ? 1 : 0;
  }
  TESSERA_CHECK(ascending <= 1);
  TESSERA_CHECK(rows == std::accumulate(edit.list_rows.begin(), edit.list_rows.end(), uint64_t{0}));
}

// Copies the entries of the parts that stay into the new record; returns their homes.
std::vector<PartHome> KeepEntries(const IndexVersion& current, const VersionEdit& edit,
                                  storage::VersionRecord* record) {
  const storage::VersionRecord& old = current.record;
  std::vector<bool> dropped_entries(old.list_rows.size());
  for (size_t part = 0; part < edit.dropped.size(); ++part) {
    dropped_entries[current.entry_of_part[part]] = edit.dropped[part];
  }
  std::vector<PartHome> homes;
  for (const auto& [kind, extents] : old.planes) record->planes[kind];
  for (size_t entry = 0; entry < old.list_rows.size(); ++entry) {
    if (dropped_entries[entry]) continue;
    record->list_rows.push_back(old.list_rows[entry]);
    for (const auto& [kind, extents] : old.planes) record->planes[kind].push_back(extents[entry]);
    homes.push_back(current.homes[entry]);
  }
  return homes;
}

}  // namespace

// Positions are not renumbered. Packing them would keep the live bitmap small, but then every dead
// bit and every location of every row would change with each publish; a rebuild packs them.
// NOLINTNEXTLINE(readability-function-size): one caller
absl::StatusOr<BuiltIndex> ApplyEdit(Context& context,
                                     const std::shared_ptr<const IndexVersion>& current,
                                     const query::LiveBitmap& live, const VersionEdit& edit,
                                     uint64_t generation, const BuildOptions& options) {
  CheckEdit(*current, edit);
  const query::IndexView& view = *current->view;
  VersionBuild build(context, view.field, options);
  TESSERA_ASSIGN_OR_RETURN(
      const PartPlan plan,
      PartPlan::Create(edit.list_rows, build.PartRowsMax(), index::BlockCount(view.positions)));
  storage::VersionRecord& record = build.record();
  record.generation = generation;
  record.counters = current->record.counters;
  for (const auto& [name, value] : edit.counters) record.counters[name] = value;
  record.blobs = current->record.blobs;
  std::vector<PartHome> homes = KeepEntries(*current, edit, &record);

  storage::ExtentWriter& writer = build.NewWriter();
  TESSERA_ASSIGN_OR_RETURN(const std::vector<LocationSegment> segments,
                           WriteLocations(*current, edit, plan, writer));
  TESSERA_RETURN_IF_ERROR(
      build.WriteBlob(writer, BlobKind::kLocations, EncodeLocationDirectory(segments)));
  std::vector<RowSource> sources;
  for (const EditRows& rows : edit.rows) {
    sources.push_back({.records = rows.records, .lists = rows.lists});
  }
  TESSERA_RETURN_IF_ERROR(build.WriteColumns(sources, plan, current.get(), edit.dropped, writer));
  const PlaneWriters writers(PlanesOf(view.field, *view.codec).size(), &writer);
  TESSERA_RETURN_IF_ERROR(build.WriteParts(sources, plan, *view.heads, *view.codec, writers));
  for (const PlannedPart& part : plan.parts()) homes.push_back({part.list, part.first_block});
  TESSERA_RETURN_IF_ERROR(build.WriteBlob(writer, BlobKind::kParts, EncodePartHomes(homes)));
  build.SetCounters(homes, view.heads->head_count(), plan.end_block());
  TESSERA_RETURN_IF_ERROR(build.Finish());

  const double rows = static_cast<double>(record.counters[std::string(kRowsCounter)]);
  if (rows > kCalibrationGrowth * static_cast<double>(view.calibration.rows())) {
    TESSERA_RETURN_IF_ERROR(build.Calibrate(current, &live));
  }
  BuiltIndex built = build.Take();
  if (built.base == nullptr) built.base = current;
  return built;
}

}  // namespace tessera::version
