#include "version/index_builder.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"
#include "index/codec.h"
#include "index/parallel_for.h"
#include "index/raw_plane.h"
#include "query/calibrator.h"
#include "version/index_training.h"
#include "version/live_records.h"
#include "version/location_table.h"
#include "version/part_writer.h"
#include "version/row_partition.h"

namespace tessera::version {
namespace {

using storage::BlobKind;
using storage::ExtentWriter;

// Rows of one part. Lists aim at 256 rows; longer parts only make the units of work coarser.
constexpr uint32_t kPartRowsMax = 2048;
constexpr uint32_t kPartRowsMin = 256;
// Threads that the part size leaves memory for.
constexpr uint64_t kEncodeThreads = 8;
// Segments of the location table before the newer ones are merged.
constexpr size_t kLocationSegmentsMax = 8;
// Growth of the rows since the calibration was measured that makes it stale.
constexpr double kCalibrationGrowth = 1.25;
// A list's new rows are misfits when their mean squared distance to the head is this many times
// that of its first rows. So many of them, as a share of the rows the index was built with and of
// those appended, are borne: in few dimensions chance makes some.
constexpr double kMisfitSpread = 1.3;
constexpr double kMisfitBuiltShare = 0.02;
constexpr double kMisfitAppendedShare = 0.15;
constexpr double kMisfitRowsLeast = 256;
constexpr uint64_t kBatchBytesMin = 64 << 10;
constexpr uint64_t kBatchBytesMax = 16 << 20;

TrainingOptions ForTraining(const Context& context, const BuildOptions& options) {
  const int threads = options.threads > 0 ? options.threads : context.threads;
  return {.thread_count = static_cast<uint32_t>(std::max(threads, 1)),
          .memory_bytes = options.memory_bytes,
          .seed = options.seed,
          .progress = options.progress,
          .cancelled = options.cancelled};
}

// Everything a build writes. Files of a build that fails are removed with their writers.
class VersionBuild {
 public:
  VersionBuild(Context& context, const base::VectorFieldSchema& field, const BuildOptions& options)
      : context_(context), field_(field), training_(ForTraining(context, options)) {}

  const TrainingOptions& training() const { return training_; }
  storage::VersionRecord& record() { return built_.record; }
  ExtentWriter& NewWriter() { return *built_.writers.emplace_back(context_.extents->NewWriter()); }

  uint32_t PartRowsMax() const;
  absl::Status WriteBlob(ExtentWriter& writer, BlobKind kind, std::string_view bytes);
  absl::Status WriteParts(std::span<const RowSource> sources, const PartPlan& plan,
                          const index::HeadIndex& heads, const index::Codec& codec,
                          const PlaneWriters& writers);
  absl::Status Finish();
  // Measures the calibration of what was built; `current_live` is null for a full build.
  absl::Status Calibrate(const query::LiveBitmap* current_live);
  BuiltIndex Take() { return std::move(built_); }

 private:
  uint64_t EncodeBytes() const { return training_.memory_bytes / 5; }
  uint64_t EncodeRowBytes() const;
  uint32_t EncodeThreads() const;

  Context& context_;
  const base::VectorFieldSchema& field_;
  const TrainingOptions training_;
  BuiltIndex built_;
  size_t finished_ = 0;
};

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
       .cancelled = training_.cancelled});
  return ForEachGroup(
      context_, sources, plan,
      {.group_bytes = training_.memory_bytes / 5 * 2,
       .buffer_bytes = training_.memory_bytes / 8,
       .cancelled = training_.cancelled},
      [&](const RowGroup& group) { return writer.Write(plan, group, &built_.record); });
}

absl::Status VersionBuild::Finish() {
  for (; finished_ < built_.writers.size(); ++finished_) {
    TESSERA_RETURN_IF_ERROR(built_.writers[finished_]->Finish());
  }
  return absl::OkStatus();
}

absl::Status VersionBuild::Calibrate(const query::LiveBitmap* current_live) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const IndexVersion> version,
                           OpenIndexVersion(context_, field_, built_.record));
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
  options.cancelled = training_.cancelled;
  TESSERA_ASSIGN_OR_RETURN(const query::Calibration calibration, query::Calibrate(view, options));
  if (training_.progress) training_.progress("calibrate", rows, rows);
  TESSERA_RETURN_IF_ERROR(WriteBlob(NewWriter(), BlobKind::kCalibration, calibration.Serialize()));
  return Finish();
}

void SetCounters(const std::vector<PartHome>& homes, size_t lists, uint64_t end_block,
                 storage::VersionRecord* record) {
  TESSERA_CHECK(homes.size() == record->list_rows.size());
  uint64_t rows = 0;
  for (const uint32_t part_rows : record->list_rows) rows += part_rows;
  record->counters[std::string(kRowsCounter)] = rows;
  record->counters[std::string(kPositionsCounter)] = end_block * index::kBlockRows;
  record->counters[std::string(kListsCounter)] = lists;
}

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
  ExtentWriter& blobs = build.NewWriter();
  const RowSource source{.records = &records, .lists = &lists};
  LocationSegmentWriter locations(blobs);
  TESSERA_RETURN_IF_ERROR(ForEachLocation(
      {&source, 1}, plan, [&](size_t, RowLocation location) { return locations.Add(location); }));
  TESSERA_ASSIGN_OR_RETURN(const LocationSegment segment, locations.Finish());
  TESSERA_RETURN_IF_ERROR(
      build.WriteBlob(blobs, BlobKind::kLocations, EncodeLocationDirectory({&segment, 1})));
  TESSERA_RETURN_IF_ERROR(build.WriteBlob(blobs, BlobKind::kHeadIndex, model.heads->Serialize()));
  TESSERA_RETURN_IF_ERROR(build.WriteBlob(blobs, BlobKind::kCodec, model.codec->Serialize()));
  std::vector<PartHome> homes;
  for (const PlannedPart& part : plan.parts()) homes.push_back({part.list, part.first_block});
  TESSERA_RETURN_IF_ERROR(build.WriteBlob(blobs, BlobKind::kParts, EncodePartHomes(homes)));

  const PlaneWriters writers{
      .codes = &build.NewWriter(), .fine = &build.NewWriter(), .raw = &build.NewWriter()};
  TESSERA_RETURN_IF_ERROR(
      build.WriteParts({&source, 1}, plan, *model.heads, *model.codec, writers));
  SetCounters(homes, model.heads->head_count(), plan.end_block(), &record);
  record.counters[std::string(kBuiltRowsCounter)] = records.record_count();
  model = {};
  TESSERA_RETURN_IF_ERROR(build.Finish());
  TESSERA_RETURN_IF_ERROR(build.Calibrate(nullptr));
  return build.Take();
}

namespace {

// The steps of AppendToIndex.
class Append {
 public:
  Append(Context& context, const IndexVersion& current, const query::LiveBitmap& live,
         const RecordSpool& records, const BuildOptions& options)
      : context_(context),
        current_(current),
        live_(live),
        records_(records),
        field_(current.view->field),
        build_(context, field_, options),
        memory_bytes_(options.memory_bytes) {}

  absl::StatusOr<BuiltIndex> Run(uint64_t generation);

 private:
  absl::StatusOr<uint64_t> CountMisfits() const;
  absl::Status ChooseTails();
  absl::Status ReadTails();
  absl::StatusOr<std::optional<LocationSegment>> WriteNewLocations(const PartPlan& plan,
                                                                   ExtentWriter& writer);
  bool IsStale(uint64_t position) const;
  absl::StatusOr<std::vector<LocationSegment>> MergeOldSegments(ExtentWriter& writer) const;
  absl::StatusOr<std::optional<LocationSegment>> MergeSegments(size_t count,
                                                               ExtentWriter& writer) const;
  std::vector<PartHome> KeepEntries();

  std::vector<RowSource> Sources() {
    return {{.records = &records_, .lists = &*lists_},
            {.records = tails_.get(), .lists = &*tail_lists_}};
  }

  Context& context_;
  const IndexVersion& current_;
  const query::LiveBitmap& live_;
  const RecordSpool& records_;
  const base::VectorFieldSchema& field_;
  VersionBuild build_;
  const uint64_t memory_bytes_;

  Assignment assignment_;
  std::optional<AssignmentSpool> lists_;
  std::vector<bool> dropped_;         // parts of the view that the new version does not have
  std::vector<uint32_t> tail_parts_;  // those whose live rows are written anew
  std::unique_ptr<RecordSpool> tails_;
  std::optional<AssignmentSpool> tail_lists_;
};

// Decides which parts leave the version: those without live rows, and small newest parts of lists
// that get rows, as far as the locations of their rows fit the memory.
absl::Status Append::ChooseTails() {
  const query::IndexView& view = *current_.view;
  const uint64_t tail_rows_max = memory_bytes_ / 8 / sizeof(RowLocation);
  uint64_t tail_rows = 0;
  dropped_.assign(view.parts.size(), false);
  for (uint32_t list = 0; list < view.list_count(); ++list) {
    for (uint32_t part = view.part_begin[list]; part < view.part_begin[list + 1]; ++part) {
      const uint32_t live = live_.CountLive(view.parts[part].first_block, view.parts[part].rows);
      const bool newest = part + 1 == view.part_begin[list + 1];
      const bool tail = newest && live <= kTailRowsMax && assignment_.list_rows[list] > 0 &&
                        tail_rows + live <= tail_rows_max;
      dropped_[part] = live == 0 || tail;
      if (live == 0 || !tail) continue;
      tail_rows += live;
      tail_parts_.push_back(part);
    }
  }
  return absl::OkStatus();
}

absl::Status Append::ReadTails() {
  const size_t record_bytes = index::RawRecordBytes(field_);
  TESSERA_ASSIGN_OR_RETURN(tails_, RecordSpool::Create(*context_.fs, context_.ScratchFile("tails"),
                                                       record_bytes, kBatchBytesMin));
  TESSERA_ASSIGN_OR_RETURN(tail_lists_, AssignmentSpool::Create(context_));
  TESSERA_RETURN_IF_ERROR(ReadLiveRecordsOf(
      context_, current_, live_, tail_parts_,
      [&](uint32_t part, uint32_t, std::span<const std::byte> record) {
        const uint32_t list = current_.view->parts[part].list;
        ++assignment_.list_rows[list];
        if (absl::Status status = tails_->Append(record); !status.ok()) return status;
        return tail_lists_->Append({.row = index::RawRowId(record.data()), .list = list});
      }));
  TESSERA_RETURN_IF_ERROR(tails_->FinishWriting());
  return tail_lists_->FinishWriting();
}

// New rows come in order of their ids; those of the tails do not and are sorted in memory.
absl::StatusOr<std::optional<LocationSegment>> Append::WriteNewLocations(const PartPlan& plan,
                                                                         ExtentWriter& writer) {
  if (plan.parts().empty()) return std::nullopt;
  const std::vector<RowSource> sources = Sources();
  std::vector<RowLocation> moved;
  moved.reserve(tails_->record_count());
  TESSERA_RETURN_IF_ERROR(ForEachLocation(sources, plan, [&](size_t source, RowLocation location) {
    if (source == 1) moved.push_back(location);
    return absl::OkStatus();
  }));
  std::sort(moved.begin(), moved.end(),
            [](const RowLocation& a, const RowLocation& b) { return a.row < b.row; });

  LocationSegmentWriter segment(writer);
  size_t next = 0;
  const auto add_moved_before = [&](const RowLocation* end) {
    for (; next < moved.size() && (end == nullptr || moved[next].row < end->row); ++next) {
      if (absl::Status status = segment.Add(moved[next]); !status.ok()) return status;
    }
    return absl::OkStatus();
  };
  TESSERA_RETURN_IF_ERROR(ForEachLocation(sources, plan, [&](size_t source, RowLocation location) {
    if (source == 1) return absl::OkStatus();
    if (absl::Status status = add_moved_before(&location); !status.ok()) return status;
    return segment.Add(location);
  }));
  TESSERA_RETURN_IF_ERROR(add_moved_before(nullptr));
  TESSERA_ASSIGN_OR_RETURN(LocationSegment written, segment.Finish());
  return written;
}

bool Append::IsStale(uint64_t position) const {
  const std::optional<PartPlace> place = current_.FindPlace(position);
  return !place.has_value() || dropped_[place->part];
}

// The segments of the current version, newest first; when they are many, the newest ones become
// one: as many as it takes until the next older segment is twice as large as those together.
absl::StatusOr<std::vector<LocationSegment>> Append::MergeOldSegments(ExtentWriter& writer) const {
  const std::vector<LocationSegment>& old = current_.locations.segments();
  if (old.size() < kLocationSegmentsMax) return old;
  size_t count = 1;
  uint64_t rows = old[0].rows;
  while (count < old.size() && (count < 2 || old[count].rows < 2 * rows)) rows += old[count++].rows;
  TESSERA_ASSIGN_OR_RETURN(std::optional<LocationSegment> merged, MergeSegments(count, writer));
  std::vector<LocationSegment> segments;
  if (merged.has_value()) segments.push_back(*std::move(merged));
  segments.insert(segments.end(), old.begin() + static_cast<ptrdiff_t>(count), old.end());
  return segments;
}

absl::StatusOr<std::optional<LocationSegment>> Append::MergeSegments(size_t count,
                                                                     ExtentWriter& writer) const {
  // What an older segment says of a row must stay hidden behind a newer entry, even a stale one.
  const bool all = count == current_.locations.segments().size();
  std::vector<LocationReader> readers;
  std::vector<std::optional<RowLocation>> heads;
  for (size_t i = 0; i < count; ++i) {
    readers.emplace_back(current_.locations, i);
    TESSERA_ASSIGN_OR_RETURN(heads.emplace_back(), readers[i].Next());
  }
  LocationSegmentWriter segment(writer);
  uint64_t rows = 0;
  while (true) {
    std::optional<RowLocation> first;  // of equal rows the newest one
    for (const std::optional<RowLocation>& head : heads) {
      if (head.has_value() && (!first.has_value() || head->row < first->row)) first = head;
    }
    if (!first.has_value()) break;
    for (size_t i = 0; i < count; ++i) {
      if (!heads[i].has_value() || heads[i]->row != first->row) continue;
      TESSERA_ASSIGN_OR_RETURN(heads[i], readers[i].Next());
    }
    if (all && IsStale(first->position)) continue;
    TESSERA_RETURN_IF_ERROR(segment.Add(*first));
    ++rows;
  }
  if (rows == 0) return std::nullopt;
  TESSERA_ASSIGN_OR_RETURN(LocationSegment merged, segment.Finish());
  return merged;
}

// Copies the entries of the parts that stay into the new record; returns their homes.
std::vector<PartHome> Append::KeepEntries() {
  const storage::VersionRecord& old = current_.record;
  storage::VersionRecord& record = build_.record();
  std::vector<bool> dropped_entries(old.list_rows.size());
  for (size_t part = 0; part < dropped_.size(); ++part) {
    dropped_entries[current_.entry_of_part[part]] = dropped_[part];
  }
  std::vector<PartHome> homes;
  for (const auto& [kind, extents] : old.planes) record.planes[kind];
  for (size_t entry = 0; entry < old.list_rows.size(); ++entry) {
    if (dropped_entries[entry]) continue;
    record.list_rows.push_back(old.list_rows[entry]);
    for (const auto& [kind, extents] : old.planes) record.planes[kind].push_back(extents[entry]);
    homes.push_back(current_.homes[entry]);
  }
  return homes;
}

// Of all appends since the build, this one included.
absl::StatusOr<uint64_t> Append::CountMisfits() const {
  const auto counter = [this](std::string_view name) -> uint64_t {
    const auto it = current_.record.counters.find(std::string(name));
    return it == current_.record.counters.end() ? 0 : it->second;
  };
  uint64_t misfits = counter(kMisfitRowsCounter);
  for (uint32_t list = 0; list < assignment_.list_rows.size(); ++list) {
    const uint32_t rows = assignment_.list_rows[list];
    const double usual = static_cast<double>(rows) * current_.view->heads->spread(list);
    if (assignment_.list_distance2[list] > kMisfitSpread * usual) misfits += rows;
  }
  const uint64_t built = counter(kBuiltRowsCounter);
  const uint64_t rows = current_.view->rows + records_.record_count();
  const double borne = kMisfitRowsLeast + kMisfitBuiltShare * static_cast<double>(built) +
                       kMisfitAppendedShare * static_cast<double>(rows - std::min(built, rows));
  if (static_cast<double>(misfits) <= borne) return misfits;
  return absl::FailedPreconditionError(absl::StrCat(
      misfits, " rows are far from the heads of an index that was built with ", built, " rows"));
}

absl::StatusOr<BuiltIndex> Append::Run(uint64_t generation) {
  const query::IndexView& view = *current_.view;
  TESSERA_CHECK(records_.record_bytes() == index::RawRecordBytes(field_));
  TESSERA_CHECK(live_.bits() == view.positions);
  TESSERA_ASSIGN_OR_RETURN(lists_, AssignmentSpool::Create(context_));
  TESSERA_ASSIGN_OR_RETURN(assignment_, AssignRows({.field = field_, .records = records_},
                                                   *view.heads, build_.training(), &*lists_));
  TESSERA_ASSIGN_OR_RETURN(const uint64_t misfits, CountMisfits());
  TESSERA_RETURN_IF_ERROR(ChooseTails());
  TESSERA_RETURN_IF_ERROR(ReadTails());
  TESSERA_ASSIGN_OR_RETURN(const PartPlan plan,
                           PartPlan::Create(assignment_.list_rows, build_.PartRowsMax(),
                                            index::BlockCount(view.positions)));

  storage::VersionRecord& record = build_.record();
  record.generation = generation;
  record.counters = current_.record.counters;
  record.counters[std::string(kMisfitRowsCounter)] = misfits;
  record.blobs = current_.record.blobs;
  std::vector<PartHome> homes = KeepEntries();
  ExtentWriter& writer = build_.NewWriter();
  TESSERA_ASSIGN_OR_RETURN(const std::optional<LocationSegment> added,
                           WriteNewLocations(plan, writer));
  TESSERA_ASSIGN_OR_RETURN(std::vector<LocationSegment> segments, MergeOldSegments(writer));
  if (added.has_value()) segments.insert(segments.begin(), *added);
  TESSERA_RETURN_IF_ERROR(
      build_.WriteBlob(writer, BlobKind::kLocations, EncodeLocationDirectory(segments)));
  TESSERA_RETURN_IF_ERROR(build_.WriteParts(Sources(), plan, *view.heads, *view.codec,
                                            {.codes = &writer, .fine = &writer, .raw = &writer}));
  for (const PlannedPart& part : plan.parts()) homes.push_back({part.list, part.first_block});
  TESSERA_RETURN_IF_ERROR(build_.WriteBlob(writer, BlobKind::kParts, EncodePartHomes(homes)));
  SetCounters(homes, view.heads->head_count(), plan.end_block(), &record);
  TESSERA_RETURN_IF_ERROR(build_.Finish());

  const double rows = static_cast<double>(record.counters[std::string(kRowsCounter)]);
  if (rows > kCalibrationGrowth * static_cast<double>(view.calibration.rows())) {
    TESSERA_RETURN_IF_ERROR(build_.Calibrate(&live_));
  }
  return build_.Take();
}

}  // namespace

// NOLINTNEXTLINE(readability-function-size): one caller
absl::StatusOr<BuiltIndex> AppendToIndex(Context& context,
                                         const std::shared_ptr<const IndexVersion>& current,
                                         const query::LiveBitmap& live, const RecordSpool& records,
                                         uint64_t generation, const BuildOptions& options) {
  return Append(context, *current, live, records, options).Run(generation);
}

absl::StatusOr<BuiltIndex> RecalibrateIndex(Context& context, const IndexVersion& current,
                                            const query::LiveBitmap& live, uint64_t generation,
                                            const BuildOptions& options) {
  VersionBuild build(context, current.view->field, options);
  build.record() = current.record;
  build.record().generation = generation;
  TESSERA_RETURN_IF_ERROR(build.Calibrate(&live));
  return build.Take();
}

}  // namespace tessera::version
