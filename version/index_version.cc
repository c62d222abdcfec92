#include "version/index_version.h"

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "index/codec.h"
#include "index/head_index.h"
#include "index/raw_plane.h"
#include "version/fine_plane.h"

namespace tessera::version {
namespace {

using storage::BlobKind;
using storage::ExtentRef;
using storage::PlaneKind;

constexpr std::string_view kMemoryComponent = "index";
constexpr size_t kHomeBytes = 8;
constexpr size_t kChecksumBytes = 4;

template <typename... Parts>
absl::Status Wrong(const Parts&... what) {
  return absl::DataLossError(absl::StrCat("index version: ", what...));
}

// Opens one version step by step. What is damaged is found here, before anything relies on it.
class Opener {
 public:
  Opener(Context& context, const base::VectorFieldSchema& field, storage::VersionRecord record)
      : context_(context), field_(field), version_(std::make_shared<IndexVersion>()) {
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
  absl::StatusOr<std::string> Blob(BlobKind kind, std::string_view name) const;
  absl::Status ReadModel();
  absl::Status ReadParts();
  absl::Status CheckEntry(size_t entry) const;
  absl::Status CheckPlanes() const;
  absl::Status CheckPositions();
  void OrderParts();
  void MakeTables();
  absl::Status CheckFiles() const;
  absl::Status ChargeMemory();

  Context& context_;
  const base::VectorFieldSchema field_;
  std::shared_ptr<IndexVersion> version_;
  std::shared_ptr<OwnedView> owned_ = std::make_shared<OwnedView>();
};

absl::StatusOr<uint64_t> Opener::Counter(std::string_view name) const {
  const auto found = version_->record.counters.find(std::string(name));
  if (found == version_->record.counters.end()) {
    return Wrong("counter \"", base::Sv(name), "\" is missing");
  }
  return found->second;
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

absl::Status Opener::ReadModel() {
  query::IndexView& view = owned_->view;
  TESSERA_ASSIGN_OR_RETURN(const std::string heads, Blob(BlobKind::kHeadIndex, "heads"));
  TESSERA_ASSIGN_OR_RETURN(const std::string codec, Blob(BlobKind::kCodec, "codec parameters"));
  TESSERA_ASSIGN_OR_RETURN(
      owned_->memory,
      context_.budget->Reserve(kMemoryComponent, 3 * heads.size() + 2 * codec.size()));
  TESSERA_ASSIGN_OR_RETURN(view.heads, index::HeadIndex::Deserialize(heads));
  TESSERA_ASSIGN_OR_RETURN(view.codec, index::DeserializeCodec(codec));
  TESSERA_ASSIGN_OR_RETURN(const uint64_t lists, Counter(kListsCounter));
  if (view.heads->head_count() != lists || lists == 0) {
    return Wrong(view.heads->head_count(), " heads, ", lists, " lists");
  }
  if (view.heads->dim() != field_.dim || view.codec->dim() != field_.dim ||
      view.heads->metric() != field_.metric || view.codec->metric() != field_.metric) {
    return Wrong("heads of dimension ", view.heads->dim(), " and codec of dimension ",
                 view.codec->dim(), " do not fit the field, which has dimension ", field_.dim,
                 " and metric ", base::Sv(base::ToString(field_.metric)));
  }
  view.calibration = query::Calibration::Default(static_cast<uint32_t>(lists));
  if (version_->record.blobs.contains(BlobKind::kCalibration)) {
    TESSERA_ASSIGN_OR_RETURN(const std::string bytes, Blob(BlobKind::kCalibration, "calibration"));
    TESSERA_ASSIGN_OR_RETURN(view.calibration, query::Calibration::Deserialize(bytes));
    if (view.calibration.lists() != lists) {
      return Wrong("a calibration of ", view.calibration.lists(), " lists for ", lists);
    }
  }
  return absl::OkStatus();
}

absl::Status Opener::ReadParts() {
  const size_t count = version_->record.list_rows.size();
  TESSERA_ASSIGN_OR_RETURN(const std::string homes, Blob(BlobKind::kParts, "part homes"));
  TESSERA_ASSIGN_OR_RETURN(version_->homes, DecodePartHomes(homes, count));
  TESSERA_RETURN_IF_ERROR(CheckPlanes());
  for (size_t entry = 0; entry < count; ++entry) TESSERA_RETURN_IF_ERROR(CheckEntry(entry));
  OrderParts();
  return CheckPositions();
}

// That the planes there are those the codec needs.
absl::Status Opener::CheckPlanes() const {
  const storage::VersionRecord& record = version_->record;
  const bool needs_fine = owned_->view.codec->FineRecordBytes() > 0;
  const size_t expected = needs_fine ? 3 : 2;
  if (record.planes.size() != expected || !record.planes.contains(PlaneKind::kCodes) ||
      !record.planes.contains(PlaneKind::kRaw) ||
      record.planes.contains(PlaneKind::kFine) != needs_fine) {
    return Wrong(record.planes.size(), " planes that are not those of the codec");
  }
  for (const auto& [kind, extents] : record.planes) {
    if (extents.size() != record.list_rows.size()) {
      return Wrong("plane ", static_cast<int>(kind), " has ", extents.size(), " extents for ",
                   record.list_rows.size(), " parts");
    }
  }
  return absl::OkStatus();
}

absl::Status Opener::CheckEntry(size_t entry) const {
  const storage::VersionRecord& record = version_->record;
  const index::Codec& codec = *owned_->view.codec;
  const uint32_t rows = record.list_rows[entry];
  const PartHome& home = version_->homes[entry];
  if (rows == 0 || rows > index::kListRowsMax) {
    return Wrong("part ", entry, " has ", rows, " rows, must be 1 .. ", index::kListRowsMax);
  }
  if (home.list >= owned_->view.heads->head_count()) {
    return Wrong("part ", entry, " is of list ", home.list, ", there are ",
                 owned_->view.heads->head_count());
  }
  const auto check = [&](PlaneKind kind, size_t bytes) {
    const ExtentRef& ref = record.planes.at(kind)[entry];
    if (ref.bytes == bytes) return absl::OkStatus();
    return Wrong("plane ", static_cast<int>(kind), " of part ", entry, " with ", rows, " rows has ",
                 ref.bytes, " bytes, must be ", bytes);
  };
  TESSERA_RETURN_IF_ERROR(check(PlaneKind::kCodes, codec.CodePlaneBytes(rows)));
  TESSERA_RETURN_IF_ERROR(check(PlaneKind::kRaw, index::RawPlaneBytes(field_, rows)));
  if (const size_t fine = codec.FineRecordBytes(); fine > 0) {
    TESSERA_RETURN_IF_ERROR(check(PlaneKind::kFine, FinePlaneBytes(fine, rows)));
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
                          .first_block = home.first_block,
                          .fine_unit = 0,
                          .raw_unit = 0};
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

// The runs of a plane of units: full ones, and the last one when it is shorter.
// NOLINTNEXTLINE(readability-function-size): plain numbers of one plane
void AddRuns(const ExtentRef& ref, uint64_t stride, uint64_t full_bytes, uint64_t units,
             uint64_t last_bytes, std::vector<storage::UnitRun>* runs) {
  const bool short_last = last_bytes != full_bytes;
  const uint64_t full = short_last ? units - 1 : units;
  if (full > 0) {
    runs->push_back({.file = ref.file,
                     .offset = ref.offset,
                     .bytes = static_cast<uint32_t>(full_bytes),
                     .stride = static_cast<uint32_t>(stride),
                     .count = static_cast<uint32_t>(full)});
  }
  if (short_last) {
    runs->push_back({.file = ref.file,
                     .offset = ref.offset + full * stride,
                     .bytes = static_cast<uint32_t>(last_bytes),
                     .stride = 0,
                     .count = 1});
  }
}

// The part that has `unit` of a table, whose parts begin at first_unit(part), ascending.
template <typename FirstUnit>
const query::ListPart& PartOfUnit(const query::IndexView& view, uint32_t unit,
                                  FirstUnit first_unit) {
  const auto after = std::upper_bound(
      view.parts.begin(), view.parts.end(), unit,
      [&](uint32_t wanted, const query::ListPart& part) { return wanted < first_unit(part); });
  return *std::prev(after);
}

void Opener::MakeTables() {
  query::IndexView& view = owned_->view;
  const storage::VersionRecord& record = version_->record;
  const index::Codec& codec = *view.codec;
  const size_t fine_bytes = codec.FineRecordBytes();
  view.raw_rows_per_unit = index::RawRowsPerUnit(field_);
  view.fine_rows_per_unit = fine_bytes > 0 ? FineRowsPerUnit(fine_bytes) : 1;

  std::vector<storage::ByteRange> code_ranges;
  std::vector<storage::UnitRun> fine_runs;
  std::vector<storage::UnitRun> raw_runs;
  auto checksums = std::make_shared<std::vector<uint32_t>>();
  uint32_t fine_unit = 0;
  uint32_t raw_unit = 0;
  uint64_t plane_bytes = 0;
  for (uint32_t number = 0; number < view.parts.size(); ++number) {
    query::ListPart& part = view.parts[number];
    const uint32_t entry = version_->entry_of_part[number];
    const ExtentRef& codes = record.planes.at(PlaneKind::kCodes)[entry];
    code_ranges.push_back({.file = codes.file, .offset = codes.offset, .bytes = codes.bytes});
    checksums->push_back(codes.crc);
    part.raw_unit = raw_unit;
    const uint32_t raw_units = view.raw_units(part);
    AddRuns(record.planes.at(PlaneKind::kRaw)[entry], index::RawUnitStride(field_),
            index::RawUnitStride(field_), raw_units,
            index::RawUnitBytes(field_, index::RawUnitRows(field_, part.rows, raw_units - 1)),
            &raw_runs);
    raw_unit += raw_units;
    plane_bytes += codes.bytes;
    if (fine_bytes == 0) continue;
    part.fine_unit = fine_unit;
    const uint32_t fine_units = view.fine_units(part);
    const ExtentRef& fine = record.planes.at(PlaneKind::kFine)[entry];
    AddRuns(fine, FineUnitStride(fine_bytes), FineUnitBytes(fine_bytes, view.fine_rows_per_unit),
            fine_units,
            FineUnitBytes(fine_bytes, FineUnitRows(fine_bytes, part.rows, fine_units - 1)),
            &fine_runs);
    fine_unit += fine_units;
    plane_bytes += fine.bytes;
  }

  // The tables live in the view, so what their verifiers see lives as long as they do.
  const query::IndexView* seen = &view;
  view.codes = std::make_unique<storage::FrameTable>(
      *context_.cache, storage::Priority::kCodes, code_ranges,
      [seen, checksums = std::move(checksums)](uint32_t unit, std::span<const std::byte> bytes) {
        if (base::Crc32c(bytes) != (*checksums)[unit]) {
          return absl::DataLossError("code plane: wrong checksum");
        }
        return seen->codec->ValidateCodePlane(bytes, seen->parts[unit].rows);
      });
  view.raw = std::make_unique<storage::FrameTable>(
      *context_.cache, storage::Priority::kRaw, raw_runs,
      [seen](uint32_t unit, std::span<const std::byte> bytes) {
        const query::ListPart& part =
            PartOfUnit(*seen, unit, [](const query::ListPart& p) { return p.raw_unit; });
        return index::ValidateRawUnit(
            seen->field, index::RawUnitRows(seen->field, part.rows, unit - part.raw_unit), bytes);
      });
  if (fine_bytes == 0) return;
  view.fine = std::make_unique<storage::FrameTable>(
      *context_.cache, storage::Priority::kFine, fine_runs,
      [seen, fine_bytes](uint32_t unit, std::span<const std::byte> bytes) {
        const query::ListPart& part =
            PartOfUnit(*seen, unit, [](const query::ListPart& p) { return p.fine_unit; });
        const uint32_t rows = FineUnitRows(fine_bytes, part.rows, unit - part.fine_unit);
        TESSERA_RETURN_IF_ERROR(CheckFineUnit(fine_bytes, rows, bytes));
        return seen->codec->ValidateFinePlane(bytes.first(rows * fine_bytes), rows);
      });
  view.fetch_fine = plane_bytes <= context_.cache->stats().capacity_bytes;
}

// That every file is there and long enough for what is to be in it.
absl::Status Opener::CheckFiles() const {
  std::map<uint32_t, uint64_t> ends;
  const auto add = [&](uint32_t file, uint64_t end) { ends[file] = std::max(ends[file], end); };
  for (const auto& [kind, extents] : version_->record.planes) {
    for (const ExtentRef& ref : extents) add(ref.file, ref.offset + ref.bytes);
  }
  for (const LocationSegment& segment : version_->locations.segments()) {
    for (const LocationRun& run : segment.runs) {
      add(run.file, run.offset + uint64_t{run.units} * kLocationUnitBytes);
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

absl::Status Opener::ChargeMemory() {
  IndexVersion& version = *version_;
  const uint64_t locations = version.locations.memory_bytes();
  TESSERA_RETURN_IF_ERROR(owned_->memory.Resize(version.memory_bytes() - locations));
  TESSERA_ASSIGN_OR_RETURN(version.locations_memory,
                           context_.budget->Reserve(kMemoryComponent, locations));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const IndexVersion>> Opener::Open() {
  TESSERA_RETURN_IF_ERROR(ReadModel());
  TESSERA_RETURN_IF_ERROR(ReadParts());
  TESSERA_ASSIGN_OR_RETURN(const std::string directory,
                           Blob(BlobKind::kLocations, "row locations"));
  TESSERA_ASSIGN_OR_RETURN(std::vector<LocationSegment> segments,
                           DecodeLocationDirectory(directory));
  version_->locations = LocationTable(*context_.cache, std::move(segments));
  TESSERA_RETURN_IF_ERROR(CheckFiles());
  MakeTables();
  version_->view = {owned_, &owned_->view};
  if (const absl::Status status = query::Validate(*version_->view); !status.ok()) {
    return Wrong(status.message());
  }
  TESSERA_RETURN_IF_ERROR(ChargeMemory());
  return std::shared_ptr<const IndexVersion>(std::move(version_));
}

}  // namespace

std::string EncodePartHomes(std::span<const PartHome> homes) {
  std::string out;
  out.reserve(homes.size() * kHomeBytes + kChecksumBytes);
  for (const PartHome& home : homes) {
    base::PutU32(&out, home.list);
    base::PutU32(&out, home.first_block);
  }
  base::PutU32(&out, base::Crc32c(std::string_view(out)));
  return out;
}

absl::StatusOr<std::vector<PartHome>> DecodePartHomes(std::string_view bytes, size_t count) {
  if (bytes.size() != count * kHomeBytes + kChecksumBytes) {
    return Wrong("part homes of ", bytes.size(), " bytes for ", count, " parts");
  }
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  base::Decoder checksum(bytes.substr(body.size()));
  uint32_t crc = 0;
  TESSERA_RETURN_IF_ERROR(checksum.U32(&crc));
  if (crc != base::Crc32c(body)) return Wrong("part homes have a wrong checksum");
  base::Decoder in(body);
  std::vector<PartHome> homes(count);
  for (PartHome& home : homes) {
    TESSERA_RETURN_IF_ERROR(in.U32(&home.list));
    TESSERA_RETURN_IF_ERROR(in.U32(&home.first_block));
  }
  return homes;
}

std::optional<PartPlace> IndexVersion::FindPlace(uint64_t position) const {
  const uint64_t block = position / index::kBlockRows;
  const auto after = std::upper_bound(
      parts_by_block.begin(), parts_by_block.end(), block,
      [&](uint64_t wanted, uint32_t part) { return wanted < view->parts[part].first_block; });
  if (after == parts_by_block.begin()) return std::nullopt;
  const uint32_t number = *std::prev(after);
  const query::ListPart& part = view->parts[number];
  const uint64_t slot = position - uint64_t{part.first_block} * index::kBlockRows;
  if (slot >= part.rows) return std::nullopt;
  return PartPlace{.part = number, .slot = static_cast<uint32_t>(slot)};
}

absl::StatusOr<PartPlace> IndexVersion::PlaceOf(uint64_t position) const {
  const std::optional<PartPlace> place = FindPlace(position);
  if (!place.has_value()) return Wrong("no part has position ", position);
  return *place;
}

absl::StatusOr<std::vector<std::optional<uint64_t>>> IndexVersion::Locate(
    std::span<const base::RowId> rows) const {
  TESSERA_ASSIGN_OR_RETURN(std::vector<std::optional<uint64_t>> positions, locations.Find(rows));
  for (std::optional<uint64_t>& position : positions) {
    if (position.has_value() && !FindPlace(*position).has_value()) position.reset();
  }
  return positions;
}

std::set<uint32_t> IndexVersion::files() const {
  std::set<uint32_t> files = storage::ReferencedFiles(record);
  files.merge(locations.files());
  return files;
}

uint64_t IndexVersion::memory_bytes() const {
  uint64_t bytes = sizeof(*this) + sizeof(query::IndexView) + view->heads->memory_bytes() +
                   view->codec->memory_bytes() + locations.memory_bytes() +
                   view->codes->memory_bytes() + view->raw->memory_bytes();
  if (view->fine != nullptr) bytes += view->fine->memory_bytes();
  bytes += view->part_begin.capacity() * sizeof(uint32_t) +
           view->parts.capacity() * sizeof(query::ListPart);
  const size_t part_bytes = sizeof(PartHome) + 4 * sizeof(uint32_t);
  bytes += record.list_rows.size() * (part_bytes + record.planes.size() * sizeof(ExtentRef));
  return bytes;
}

absl::StatusOr<std::shared_ptr<const IndexVersion>> OpenIndexVersion(
    Context& context, const base::VectorFieldSchema& field, storage::VersionRecord record) {
  return Opener(context, field, std::move(record)).Open();
}

query::LiveBitmap CarryLive(const query::LiveBitmap& live, const IndexVersion& next) {
  query::LiveBitmap carried(next.view->positions);
  if (live.dead_count() == 0) return carried;
  std::vector<uint64_t> dead;
  for (const query::ListPart& part : next.view->parts) {
    const uint64_t first = uint64_t{part.first_block} * index::kBlockRows;
    if (first >= live.bits()) continue;
    for (uint32_t row = 0; row < part.rows; row += index::kBlockRows) {
      uint64_t word = ~live.Block(part.first_block + row / index::kBlockRows);
      if (part.rows - row < index::kBlockRows) word &= (uint64_t{1} << (part.rows - row)) - 1;
      for (; word != 0; word &= word - 1) {
        dead.push_back(first + row + static_cast<uint64_t>(std::countr_zero(word)));
      }
    }
  }
  return carried.WithCleared(dead);
}

}  // namespace tessera::version
