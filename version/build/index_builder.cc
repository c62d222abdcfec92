#include "version/build/index_builder.h"

#include <string>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "index/raw_plane.h"
#include "version/build/absorb_policy.h"
#include "version/build/index_training.h"
#include "version/build/row_partition.h"
#include "version/build/version_build.h"
#include "version/build/version_edit.h"
#include "version/location_table.h"
#include "version/part_homes.h"
#include "version/planes.h"

namespace tessera::version {
namespace {

absl::Status CheckRecords(const base::VectorFieldSchema& field, const RecordSpool& records) {
  TESSERA_CHECK(records.record_bytes() == index::RawRecordBytes(field));
  if (records.record_count() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("an index is to be built of no rows, must be at least 1");
}

}  // namespace

absl::StatusOr<BuiltIndex> BuildIndex(Context& context, const base::VectorFieldSchema& field,
                                      const RecordSpool& records, uint64_t generation,
                                      const BuildOptions& options) {
  TESSERA_RETURN_IF_ERROR(CheckRecords(field, records));
  VersionBuild build(context, field, options);
  const FieldRecords rows{.field = field, .records = records};
  TESSERA_ASSIGN_OR_RETURN(IndexModel model, TrainModel(rows, build.training()));
  TESSERA_ASSIGN_OR_RETURN(AssignmentSpool lists, AssignmentSpool::Create(context));
  TESSERA_ASSIGN_OR_RETURN(const Assignment assignment,
                           AssignRows(rows, *model.heads, build.training(), &lists));
  model.heads = WithSpreads(model, assignment, build.training());
  model.trained_heads = {};
  TESSERA_ASSIGN_OR_RETURN(const PartPlan plan,
                           PartPlan::Create(assignment.list_rows, build.PartRowsMax(), 0));

  storage::VersionRecord& record = build.record();
  record.generation = generation;
  storage::ExtentWriter& blobs = build.NewWriter();
  const RowSource source{.records = &records, .lists = &lists};
  LocationSegmentWriter locations(blobs);
  TESSERA_RETURN_IF_ERROR(ForEachLocation(
      {&source, 1}, plan, [&](size_t, RowLocation location) { return locations.Add(location); }));
  TESSERA_ASSIGN_OR_RETURN(const LocationSegment segment, locations.Finish());
  TESSERA_RETURN_IF_ERROR(build.WriteBlob(blobs, storage::BlobKind::kLocations,
                                          EncodeLocationDirectory({&segment, 1})));
  TESSERA_RETURN_IF_ERROR(
      build.WriteBlob(blobs, storage::BlobKind::kHeadIndex, model.heads->Serialize()));
  TESSERA_RETURN_IF_ERROR(
      build.WriteBlob(blobs, storage::BlobKind::kCodec, model.codec->Serialize()));
  std::vector<PartHome> homes;
  for (const PlannedPart& part : plan.parts()) homes.push_back({part.list, part.first_block});
  TESSERA_RETURN_IF_ERROR(
      build.WriteBlob(blobs, storage::BlobKind::kParts, EncodePartHomes(homes)));

  TESSERA_RETURN_IF_ERROR(build.WriteColumns({&source, 1}, plan, nullptr, {}, build.NewWriter()));
  PlaneWriters writers;
  for (size_t i = PlanesOf(field, *model.codec).size(); i > 0; --i) {
    writers.push_back(&build.NewWriter());
  }
  TESSERA_RETURN_IF_ERROR(
      build.WriteParts({&source, 1}, plan, *model.heads, *model.codec, writers));
  build.SetCounters(homes, model.heads->head_count(), plan.end_block());
  record.counters[std::string(kBuiltRowsCounter)] = records.record_count();
  model = {};
  TESSERA_RETURN_IF_ERROR(build.Finish());
  TESSERA_RETURN_IF_ERROR(build.Calibrate(nullptr, nullptr));
  return build.Take();
}

// NOLINTNEXTLINE(readability-function-size): one caller
absl::StatusOr<AppendOutcome> AppendToIndex(Context& context,
                                            const std::shared_ptr<const IndexVersion>& current,
                                            const query::LiveBitmap& live,
                                            const RecordSpool& records, uint64_t generation,
                                            const BuildOptions& options) {
  TESSERA_CHECK(records.record_bytes() == index::RawRecordBytes(current->view->field));
  TESSERA_CHECK(live.bits() == current->view->positions);
  AbsorbPolicy policy(context, *current, live, records);
  TESSERA_ASSIGN_OR_RETURN(const auto decided, policy.Decide(ForTraining(context, options)));
  if (const auto* unlike = std::get_if<RowsUnlikeIndex>(&decided)) return AppendOutcome(*unlike);
  TESSERA_ASSIGN_OR_RETURN(
      BuiltIndex built,
      ApplyEdit(context, current, live, std::get<VersionEdit>(decided), generation, options));
  return AppendOutcome(std::move(built));
}

absl::StatusOr<BuiltIndex> RecalibrateIndex(Context& context,
                                            const std::shared_ptr<const IndexVersion>& current,
                                            const query::LiveBitmap& live, uint64_t generation,
                                            const BuildOptions& options) {
  VersionBuild build(context, current->view->field, options);
  build.record() = current->record;
  build.record().generation = generation;
  TESSERA_RETURN_IF_ERROR(build.Calibrate(current, &live));
  return build.Take();
}

}  // namespace tessera::version
