#include "version/build/version_build.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "base/status_macros.h"
#include "index/parallel_for.h"
#include "query/calibration/calibrator.h"
#include "version/columns/column_edit.h"

namespace tessera::version {
namespace {

using storage::BlobKind;
using storage::ExtentWriter;

// Rows of one part. Lists aim at 256 rows; longer parts only make the units of work coarser.
constexpr uint32_t kPartRowsMax = 2048;
constexpr uint32_t kPartRowsMin = 256;
// Threads that the part size leaves memory for.
constexpr uint64_t kEncodeThreads = 8;
constexpr uint64_t kBatchBytesMin = 64 << 10;
constexpr uint64_t kBatchBytesMax = 16 << 20;

}  // namespace

TrainingOptions ForTraining(const Context& context, const BuildOptions& options) {
  const int threads = options.threads > 0 ? options.threads : context.threads;
  return {.thread_count = static_cast<uint32_t>(std::max(threads, 1)),
          .memory_bytes = options.memory_bytes,
          .seed = options.seed,
          .progress = options.progress,
          .pace = {.cancelled = options.cancelled, .yield = options.yield}};
}

// Each thread that encodes has the rows of a part as f32, and the codec about as much again. The
// number of threads must not change what is built, so it follows from the part size, not the other
// way round.
uint64_t VersionBuild::EncodeRowBytes() const {
  return 2 * uint64_t{field_.dim} * sizeof(float);
}

uint32_t VersionBuild::PartRowsMax() const {
  const uint64_t fit = EncodeBytes() / kEncodeThreads / EncodeRowBytes();
  return static_cast<uint32_t>(std::clamp<uint64_t>(fit / index::kBlockRows * index::kBlockRows,
                                                    kPartRowsMin, kPartRowsMax));
}

uint32_t VersionBuild::EncodeThreads() const {
  const uint64_t fit = EncodeBytes() / (PartRowsMax() * EncodeRowBytes());
  return static_cast<uint32_t>(std::clamp<uint64_t>(fit, 1, training_.thread_count));
}

absl::Status VersionBuild::WriteBlob(ExtentWriter& writer, BlobKind kind, std::string_view bytes) {
  TESSERA_ASSIGN_OR_RETURN(built_.record.blobs[kind], writer.Append(std::as_bytes(std::span(bytes)),
                                                                    storage::kPlaneAlignment));
  return absl::OkStatus();
}

absl::Status VersionBuild::WriteParts(std::span<const RowSource> sources, const PartPlan& plan,
                                      const index::HeadIndex& heads, const index::Codec& codec,
                                      const PlaneWriters& writers) {
  uint64_t total = 0;
  for (const PlannedPart& part : plan.parts()) total += part.rows;
  uint64_t done = 0;
  const auto report = [&](uint64_t rows) {
    done += rows;
    if (training_.progress) training_.progress("write", done, total);
  };
  report(0);
  PartWriter writer(
      field_, heads, codec, writers,
      {.thread_count = EncodeThreads(),
       .batch_bytes = std::clamp(training_.memory_bytes / 16, kBatchBytesMin, kBatchBytesMax),
       .written = report,
       .pace = training_.pace});
  return ForEachGroup(
      context_, sources, plan,
      {.group_bytes = training_.memory_bytes / 5 * 2,
       .buffer_bytes = training_.memory_bytes / 8,
       .pace = training_.pace},
      [&](const RowGroup& group) { return writer.Write(plan, group, &built_.record); });
}

absl::Status VersionBuild::WriteColumns(std::span<const RowSource> sources, const PartPlan& plan,
                                        const IndexVersion* current,
                                        const std::vector<bool>& dropped, ExtentWriter& writer) {
  const ColumnBuild build{.context = &context_,
                          .fields = fields_,
                          .memory_bytes = training_.memory_bytes / 4,
                          .pace = training_.pace};
  std::vector<ColumnSet> sets;
  if (fields_ != nullptr) {
    TESSERA_ASSIGN_OR_RETURN(sets, version::WriteColumns(build, sources, plan, writer));
  }
  if (current != nullptr) {
    const auto stays = [&](uint64_t position) {
      const std::optional<PartPlace> place = current->FindPlace(position);
      return place.has_value() && !dropped[place->part];
    };
    TESSERA_ASSIGN_OR_RETURN(sets, EditColumns(build, *current, stays, std::move(sets), writer));
  }
  if (fields_ == nullptr && sets.empty()) return absl::OkStatus();
  return WriteBlob(writer, BlobKind::kColumns, EncodeColumnDirectory(sets));
}

absl::Status VersionBuild::Finish() {
  for (; finished_ < built_.writers.size(); ++finished_) {
    TESSERA_RETURN_IF_ERROR(built_.writers[finished_]->Finish());
  }
  return absl::OkStatus();
}

absl::Status VersionBuild::Calibrate(const std::shared_ptr<const IndexVersion>& current,
                                     const query::LiveBitmap* current_live) {
  // Its sets are those of the version to come, so what is read here need not be read again.
  TESSERA_ASSIGN_OR_RETURN(
      built_.base, OpenIndexVersion(context_, field_, built_.record, {current, /*regroup=*/false}));
  const std::shared_ptr<const IndexVersion>& version = built_.base;
  const uint64_t rows = version->view->rows;
  if (training_.progress) training_.progress("calibrate", 0, rows);
  const query::SearchView view{.field = field_,
                               .index = version->view,
                               .live = current_live == nullptr
                                           ? query::LiveBitmap(version->view->positions)
                                           : CarryLive(*current_live, *version),
                               .fresh = {}};
  query::CalibratorOptions options;
  options.thread_count = training_.thread_count;
  options.seed = training_.seed;
  options.cancelled = training_.pace.cancelled;
  TESSERA_ASSIGN_OR_RETURN(const query::Calibration calibration, query::Calibrate(view, options));
  if (training_.progress) training_.progress("calibrate", rows, rows);
  TESSERA_RETURN_IF_ERROR(WriteBlob(NewWriter(), BlobKind::kCalibration, calibration.Serialize()));
  return Finish();
}

void VersionBuild::SetCounters(std::span<const PartHome> homes, size_t lists, uint64_t end_block) {
  storage::VersionRecord& record = built_.record;
  TESSERA_CHECK(homes.size() == record.list_rows.size());
  for (const auto& [kind, extents] : record.planes) TESSERA_CHECK(extents.size() == homes.size());
  uint64_t rows = 0;
  for (size_t i = 0; i < homes.size(); ++i) {
    TESSERA_CHECK(homes[i].list < lists);
    TESSERA_CHECK(homes[i].first_block + index::BlockCount(record.list_rows[i]) <= end_block);
    rows += record.list_rows[i];
  }
  record.counters[std::string(kRowsCounter)] = rows;
  record.counters[std::string(kPositionsCounter)] = end_block * index::kBlockRows;
  record.counters[std::string(kListsCounter)] = lists;
}

}  // namespace tessera::version
