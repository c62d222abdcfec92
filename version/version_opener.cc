// Opens an index version step by step. What is damaged is found here, before anything relies on it.
#include <algorithm>
#include <atomic>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "index/codecs/codec.h"
#include "index/heads/head_index.h"
#include "version/index_version.h"
#include "version/set_sharing.h"

namespace tessera::version {
namespace {

using storage::BlobKind;
using storage::ExtentRef;

constexpr std::string_view kMemoryComponent = "index";

template <typename... Parts>
absl::Status Wrong(const Parts&... what) {
  return absl::DataLossError(absl::StrCat("index version: ", what...));
}

// A value that stays charged as long as anybody has it.
template <typename T>
std::shared_ptr<const T> Charged(std::unique_ptr<T> value, base::MemoryReservation memory) {
  struct Held {
    base::MemoryReservation memory;
    std::unique_ptr<T> value;
  };
  auto held = std::make_shared<Held>(std::move(memory), std::move(value));
  const T* seen = held->value.get();
  return std::shared_ptr<const T>(std::move(held), seen);
}

class Opener {
 public:
  Opener(Context& context, const base::VectorFieldSchema& field, storage::VersionRecord record,
         const OpenOptions& options)
      : context_(context),
        field_(field),
        base_(options.base.get()),
        regroup_(options.regroup),
        version_(std::make_shared<IndexVersion>()) {
    static std::atomic<uint64_t> next_serial{1};
    version_->serial = next_serial.fetch_add(1, std::memory_order_relaxed);
    version_->record = std::move(record);
    owned_->view.field = field;
    owned_->view.cache = context.cache;
  }

  absl::StatusOr<std::shared_ptr<const IndexVersion>> Open();

 private:
  // A view and the charge for it; searches hold the view alone.
  struct OwnedView {
    base::MemoryReservation memory;
    query::IndexView view;
  };

  absl::StatusOr<uint64_t> Counter(std::string_view name) const;
  bool SameBlob(BlobKind kind) const;
  absl::StatusOr<std::string> Blob(BlobKind kind, std::string_view name) const;
  absl::Status ReadHeads();
  absl::Status ReadCodec();
  absl::Status ReadCalibration();
  absl::Status ReadParts();
  absl::Status CheckEntry(size_t entry) const;
  absl::Status CheckPositions();
  void OrderParts();
  absl::Status MakeTables();
  absl::Status ReadLocations();
  absl::Status ReadColumns();
  absl::Status CheckFiles() const;

  Context& context_;
  const base::VectorFieldSchema field_;
  const IndexVersion* const base_;  // may be null
  const bool regroup_;
  std::shared_ptr<IndexVersion> version_;
  std::shared_ptr<OwnedView> owned_ = std::make_shared<OwnedView>();
  std::vector<Plane> planes_;
  std::vector<uint32_t> base_parts_;  // as FindBaseParts
};

absl::StatusOr<uint64_t> Opener::Counter(std::string_view name) const {
  const auto found = version_->record.counters.find(std::string(name));
  if (found == version_->record.counters.end()) {
    return Wrong("counter \"", base::Sv(name), "\" is missing");
  }
  return found->second;
}

bool Opener::SameBlob(BlobKind kind) const {
  if (base_ == nullptr) return false;
  const auto found = version_->record.blobs.find(kind);
  const auto before = base_->record.blobs.find(kind);
  return found != version_->record.blobs.end() && before != base_->record.blobs.end() &&
         found->second == before->second;
}

absl::StatusOr<std::string> Opener::Blob(BlobKind kind, std::string_view name) const {
  const auto found = version_->record.blobs.find(kind);
  if (found == version_->record.blobs.end() || found->second.bytes == 0) {
    return Wrong("the ", base::Sv(name), " are missing");
  }
  absl::StatusOr<std::string> bytes = context_.extents->Read(found->second);
  if (!bytes.ok()) {
    return absl::Status(bytes.status().code(), absl::StrCat("index version: ", base::Sv(name), ": ",
                                                            bytes.status().message()));
  }
  return bytes;
}

absl::Status Opener::ReadHeads() {
  query::IndexView& view = owned_->view;
  TESSERA_ASSIGN_OR_RETURN(const uint64_t lists, Counter(kListsCounter));
  if (SameBlob(BlobKind::kHeadIndex)) {
    view.heads = base_->view->heads;
  } else {
    TESSERA_ASSIGN_OR_RETURN(const std::string bytes, Blob(BlobKind::kHeadIndex, "heads"));
    TESSERA_ASSIGN_OR_RETURN(base::MemoryReservation memory,
                             context_.budget->Reserve(kMemoryComponent, 3 * bytes.size()));
    TESSERA_ASSIGN_OR_RETURN(auto heads, index::HeadIndex::Deserialize(bytes));
    TESSERA_RETURN_IF_ERROR(memory.Resize(heads->memory_bytes()));
    view.heads = Charged(std::move(heads), std::move(memory));
  }
  if (view.heads->head_count() != lists || lists == 0) {
    return Wrong(view.heads->head_count(), " heads, ", lists, " lists");
  }
  if (view.heads->dim() == field_.dim && view.heads->metric() == field_.metric) {
    return absl::OkStatus();
  }
  return Wrong("heads of dimension ", view.heads->dim(),
               " do not fit the field, which has dimension ", field_.dim, " and metric ",
               base::Sv(base::ToString(field_.metric)));
}

absl::Status Opener::ReadCodec() {
  query::IndexView& view = owned_->view;
  if (SameBlob(BlobKind::kCodec)) {
    view.codec = base_->view->codec;
  } else {
    TESSERA_ASSIGN_OR_RETURN(const std::string bytes, Blob(BlobKind::kCodec, "codec parameters"));
    TESSERA_ASSIGN_OR_RETURN(base::MemoryReservation memory,
                             context_.budget->Reserve(kMemoryComponent, 2 * bytes.size()));
    TESSERA_ASSIGN_OR_RETURN(auto codec, index::DeserializeCodec(bytes));
    TESSERA_RETURN_IF_ERROR(memory.Resize(codec->memory_bytes()));
    view.codec = Charged(std::move(codec), std::move(memory));
  }
  view.fine_plane = view.codec->FineRecordBytes() > 0;
  planes_ = PlanesOf(field_, *view.codec);
  if (view.codec->dim() == field_.dim && view.codec->metric() == field_.metric) {
    return absl::OkStatus();
  }
  return Wrong("a codec of dimension ", view.codec->dim(), " does not fit the field, which has ",
               "dimension ", field_.dim, " and metric ", base::Sv(base::ToString(field_.metric)));
}

absl::Status Opener::ReadCalibration() {
  query::IndexView& view = owned_->view;
  const auto lists = static_cast<uint32_t>(view.heads->head_count());
  view.calibration = query::Calibration::Default(lists);
  if (!version_->record.blobs.contains(BlobKind::kCalibration)) return absl::OkStatus();
  if (SameBlob(BlobKind::kCalibration)) {
    view.calibration = base_->view->calibration;
  } else {
    TESSERA_ASSIGN_OR_RETURN(const std::string bytes, Blob(BlobKind::kCalibration, "calibration"));
    TESSERA_ASSIGN_OR_RETURN(view.calibration, query::Calibration::Deserialize(bytes));
  }
  if (view.calibration.lists() == lists) return absl::OkStatus();
  return Wrong("a calibration of ", view.calibration.lists(), " lists for ", lists);
}

absl::Status Opener::ReadParts() {
  const size_t count = version_->record.list_rows.size();
  TESSERA_ASSIGN_OR_RETURN(const std::string homes, Blob(BlobKind::kParts, "part homes"));
  TESSERA_ASSIGN_OR_RETURN(version_->homes, DecodePartHomes(homes, count));
  for (size_t entry = 0; entry < count; ++entry) TESSERA_RETURN_IF_ERROR(CheckEntry(entry));
  TESSERA_RETURN_IF_ERROR(CheckPlanes(planes_, version_->record));
  OrderParts();
  return CheckPositions();
}

absl::Status Opener::CheckEntry(size_t entry) const {
  const uint32_t rows = version_->record.list_rows[entry];
  const PartHome& home = version_->homes[entry];
  if (rows == 0 || rows > index::kListRowsMax) {
    return Wrong("part ", entry, " has ", rows, " rows, must be 1 .. ", index::kListRowsMax);
  }
  if (home.list >= owned_->view.heads->head_count()) {
    return Wrong("part ", entry, " is of list ", home.list, ", there are ",
                 owned_->view.heads->head_count());
  }
  return absl::OkStatus();
}

// Numbers the parts by list, those of a list in the order they were published.
void Opener::OrderParts() {
  IndexVersion& version = *version_;
  query::IndexView& view = owned_->view;
  const size_t count = version.homes.size();
  view.part_begin.assign(view.heads->head_count() + 1, 0);
  for (const PartHome& home : version.homes) ++view.part_begin[home.list + 1];
  std::partial_sum(view.part_begin.begin(), view.part_begin.end(), view.part_begin.begin());
  std::vector<uint32_t> next(view.part_begin.begin(), view.part_begin.end() - 1);
  view.parts.resize(count);
  version.entry_of_part.resize(count);
  view.rows = 0;
  for (uint32_t entry = 0; entry < count; ++entry) {
    const PartHome& home = version.homes[entry];
    const uint32_t number = next[home.list]++;
    view.parts[number] = {.list = home.list,
                          .rows = version.record.list_rows[entry],
                          .first_block = home.first_block};
    version.entry_of_part[number] = entry;
    view.rows += version.record.list_rows[entry];
  }
  version.parts_by_block.resize(count);
  std::iota(version.parts_by_block.begin(), version.parts_by_block.end(), 0U);
  std::sort(version.parts_by_block.begin(), version.parts_by_block.end(),
            [&](uint32_t a, uint32_t b) {
              return view.parts[a].first_block < view.parts[b].first_block;
            });
}

absl::Status Opener::CheckPositions() {
  query::IndexView& view = owned_->view;
  TESSERA_ASSIGN_OR_RETURN(view.positions, Counter(kPositionsCounter));
  TESSERA_ASSIGN_OR_RETURN(const uint64_t rows, Counter(kRowsCounter));
  TESSERA_RETURN_IF_ERROR(Counter(kBuiltRowsCounter).status());
  if (rows != view.rows) return Wrong(view.rows, " rows in parts, ", rows, " in all");
  uint64_t end = 0;  // in blocks, of the part before
  for (const uint32_t number : version_->parts_by_block) {
    const query::ListPart& part = view.parts[number];
    if (part.first_block < end) {
      return Wrong("part ", number, " begins at block ", part.first_block,
                   ", which another part has");
    }
    end = part.first_block + index::BlockCount(part.rows);
    if (uint64_t{part.first_block} * index::kBlockRows + part.rows > view.positions) {
      return Wrong("part ", number, " is beyond position ", view.positions);
    }
  }
  return absl::OkStatus();
}

absl::Status Opener::MakeTables() {
  query::IndexView& view = owned_->view;
  for (const Plane& plane : planes_) {
    if (plane.kind == storage::PlaneKind::kRaw) view.raw_rows_per_unit = plane.rows_per_unit;
    if (plane.kind == storage::PlaneKind::kFine) view.fine_rows_per_unit = plane.rows_per_unit;
  }
  const IndexVersion* base = SameBlob(BlobKind::kCodec) ? base_ : nullptr;
  base_parts_ = FindBaseParts(base, *version_, view, planes_);
  return MakePlaneSets(context_, {.base = base, .base_parts = base_parts_, .regroup = regroup_},
                       planes_, version_.get(), &view);
}

absl::Status Opener::ReadLocations() {
  TESSERA_ASSIGN_OR_RETURN(const std::string directory,
                           Blob(BlobKind::kLocations, "row locations"));
  TESSERA_ASSIGN_OR_RETURN(std::vector<LocationSegment> segments,
                           DecodeLocationDirectory(directory));
  version_->locations = LocationTable(*context_.cache, std::move(segments),
                                      base_ == nullptr ? nullptr : &base_->locations);
  return version_->locations.Charge(*context_.budget, kMemoryComponent);
}

absl::Status Opener::ReadColumns() {
  if (!version_->record.blobs.contains(BlobKind::kColumns)) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const std::string directory, Blob(BlobKind::kColumns, "columns"));
  TESSERA_ASSIGN_OR_RETURN(std::vector<ColumnSet> sets, DecodeColumnDirectory(directory));
  const uint64_t blocks = owned_->view.positions / index::kBlockRows;
  if (!sets.empty() && sets.back().chunks.back().end_block() > blocks) {
    return Wrong("columns of blocks up to ", sets.back().chunks.back().end_block(), " of ", blocks);
  }
  version_->columns = ColumnTable(*context_.cache, std::move(sets),
                                  base_ == nullptr ? nullptr : &base_->columns);
  return version_->columns.Charge(*context_.budget, kMemoryComponent);
}

// That every file is there and long enough for what is to be in it. What the base has was checked
// when that was opened.
absl::Status Opener::CheckFiles() const {
  std::map<uint32_t, uint64_t> ends;
  const auto add = [&](uint32_t file, uint64_t end) { ends[file] = std::max(ends[file], end); };
  for (uint32_t number = 0; number < owned_->view.parts.size(); ++number) {
    if (base_parts_[number] != kNewPart) continue;
    for (const auto& [kind, extents] : version_->record.planes) {
      const ExtentRef& ref = extents[version_->entry_of_part[number]];
      add(ref.file, ref.offset + ref.bytes);
    }
  }
  for (size_t i = 0; i < version_->locations.segment_count(); ++i) {
    if (base_ != nullptr && version_->locations.Shares(i, base_->locations)) continue;
    for (const LocationRun& run : version_->locations.segment(i).runs) {
      add(run.file, run.offset + uint64_t{run.units} * kLocationUnitBytes);
    }
  }
  for (size_t i = 0; i < version_->columns.sets().size(); ++i) {
    if (base_ != nullptr && version_->columns.Shares(i, base_->columns)) continue;
    const ColumnSet& set = version_->columns.sets()[i]->set;
    for (const ColumnChunk& chunk : set.chunks) {
      uint64_t end = chunk.offset;
      for (uint32_t unit = 0; unit < chunk.units; ++unit) {
        end += ColumnUnitStride(set.units[chunk.first_unit + unit].bytes);
      }
      add(chunk.file, end);
    }
  }
  for (const auto& [file, end] : ends) {
    const auto opened = context_.extents->OpenFile(file);
    if (absl::IsNotFound(opened.status())) return Wrong("extent file ", file, " is missing");
    TESSERA_RETURN_IF_ERROR(opened.status());
    TESSERA_ASSIGN_OR_RETURN(const uint64_t bytes, (*opened)->Size());
    if (bytes < end) return Wrong("extent file ", file, " has ", bytes, " bytes of ", end);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const IndexVersion>> Opener::Open() {
  TESSERA_RETURN_IF_ERROR(ReadHeads());
  TESSERA_RETURN_IF_ERROR(ReadCodec());
  TESSERA_RETURN_IF_ERROR(ReadCalibration());
  TESSERA_RETURN_IF_ERROR(ReadParts());
  TESSERA_RETURN_IF_ERROR(MakeTables());
  TESSERA_RETURN_IF_ERROR(ReadLocations());
  TESSERA_RETURN_IF_ERROR(ReadColumns());
  TESSERA_RETURN_IF_ERROR(CheckFiles());
  query::IndexView& view = owned_->view;
  uint64_t scanned_bytes = 0;
  for (const query::ListPart& part : view.parts) {
    for (const Plane& plane : planes_) {
      if (plane.priority != storage::Priority::kRaw) scanned_bytes += plane.bytes(part.rows);
    }
  }
  view.fetch_fine = scanned_bytes <= context_.cache->stats().capacity_bytes;
  version_->view = {owned_, &view};
  if (const absl::Status status = query::Validate(view); !status.ok()) {
    return Wrong(status.message());
  }
  TESSERA_ASSIGN_OR_RETURN(owned_->memory,
                           context_.budget->Reserve(kMemoryComponent, version_->own_bytes()));
  return std::shared_ptr<const IndexVersion>(std::move(version_));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const IndexVersion>> OpenIndexVersion(
    Context& context, const base::VectorFieldSchema& field, storage::VersionRecord record,
    const OpenOptions& options) {
  return Opener(context, field, std::move(record), options).Open();
}

}  // namespace tessera::version
