#include "version/location_table.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "storage/epoch.h"

namespace tessera::version {
namespace {

constexpr size_t kUnitHeaderBytes = 8;
constexpr size_t kPairBytes = 16;
static_assert(kUnitHeaderBytes + kLocationsPerUnit * kPairBytes <= kLocationUnitBytes);
constexpr size_t kUnitsPerExtent = 64;
// Units fetched together.
constexpr size_t kUnitsPerPortion = 64;
constexpr size_t kChecksumBytes = 4;

RowLocation PairAt(const std::byte* unit, uint32_t index) {
  const std::byte* at = unit + kUnitHeaderBytes + index * kPairBytes;
  return {.row = {base::LoadU64(at)}, .position = base::LoadU64(at + 8)};
}
uint32_t CountOf(const std::byte* unit) {
  return base::LoadU32(unit + 4);
}

absl::Status CheckUnit(const LocationSegment& segment, uint32_t number,
                       std::span<const std::byte> unit) {
  const auto wrong = [&](const char* what) {
    return absl::DataLossError(absl::StrCat("location unit ", number, ": ", what));
  };
  if (unit.size() != kLocationUnitBytes) return wrong("not 4096 bytes");
  if (base::LoadU32(unit.data()) != base::Crc32c(unit.subspan(4))) return wrong("wrong checksum");
  const uint32_t count = CountOf(unit.data());
  if (count == 0 || count > kLocationsPerUnit) return wrong("row count out of range");
  if (PairAt(unit.data(), 0).row.value != segment.first_rows[number]) {
    return wrong("does not begin with its first row");
  }
  for (uint32_t i = 1; i < count; ++i) {
    if (PairAt(unit.data(), i).row <= PairAt(unit.data(), i - 1).row) {
      return wrong("rows out of order");
    }
  }
  const bool last = number + 1 == segment.first_rows.size();
  if (!last && PairAt(unit.data(), count - 1).row.value >= segment.first_rows[number + 1]) {
    return wrong("runs into the next unit");
  }
  return absl::OkStatus();
}

std::optional<uint64_t> PositionIn(const std::byte* unit, base::RowId row) {
  uint32_t begin = 0;
  uint32_t end = CountOf(unit);
  while (begin < end) {
    const uint32_t middle = (begin + end) / 2;
    if (PairAt(unit, middle).row < row) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  if (begin == CountOf(unit)) return std::nullopt;
  const RowLocation found = PairAt(unit, begin);
  return found.row == row ? std::optional(found.position) : std::nullopt;
}

}  // namespace

absl::Status LocationSegmentWriter::Add(const RowLocation& location) {
  TESSERA_CHECK(segment_.rows == 0 || location.row.value > last_row_);
  if (unit_rows_ == kLocationsPerUnit) CloseUnit();
  if (unit_rows_ == 0) {
    if (buffer_.size() == kUnitsPerExtent * kLocationUnitBytes) {
      TESSERA_RETURN_IF_ERROR(WriteExtent());
    }
    buffer_.resize(buffer_.size() + kLocationUnitBytes);
    segment_.first_rows.push_back(location.row.value);
  }
  std::byte* pair = buffer_.data() + buffer_.size() - kLocationUnitBytes + kUnitHeaderBytes +
                    unit_rows_ * kPairBytes;
  base::StoreU64(pair, location.row.value);
  base::StoreU64(pair + 8, location.position);
  ++unit_rows_;
  ++segment_.rows;
  last_row_ = location.row.value;
  return absl::OkStatus();
}

void LocationSegmentWriter::CloseUnit() {
  const std::span<std::byte> unit = std::span(buffer_).last(kLocationUnitBytes);
  base::StoreU32(unit.data() + 4, unit_rows_);
  base::StoreU32(unit.data(), base::Crc32c(unit.subspan(4)));
  unit_rows_ = 0;
}

absl::Status LocationSegmentWriter::WriteExtent() {
  TESSERA_ASSIGN_OR_RETURN(const storage::ExtentRef ref,
                           writer_.Append(buffer_, storage::kListAlignment));
  const auto units = static_cast<uint32_t>(buffer_.size() / kLocationUnitBytes);
  buffer_.clear();
  if (!segment_.runs.empty()) {
    LocationRun& last = segment_.runs.back();
    if (last.file == ref.file &&
        last.offset + uint64_t{last.units} * kLocationUnitBytes == ref.offset) {
      last.units += units;
      return absl::OkStatus();
    }
  }
  segment_.runs.push_back({.file = ref.file, .offset = ref.offset, .units = units});
  return absl::OkStatus();
}

absl::StatusOr<LocationSegment> LocationSegmentWriter::Finish() {
  TESSERA_CHECK(segment_.rows > 0);
  CloseUnit();
  TESSERA_RETURN_IF_ERROR(WriteExtent());
  return std::move(segment_);
}

std::string EncodeLocationDirectory(std::span<const LocationSegment> segments) {
  std::string out;
  base::PutVarint64(&out, segments.size());
  for (const LocationSegment& segment : segments) {
    base::PutVarint64(&out, segment.rows);
    base::PutVarint64(&out, segment.first_rows.size());
    base::PutVarint64(&out, segment.runs.size());
    for (const LocationRun& run : segment.runs) {
      base::PutU32(&out, run.file);
      base::PutU64(&out, run.offset);
      base::PutU32(&out, run.units);
    }
    uint64_t before = 0;
    for (const uint64_t row : segment.first_rows) {
      base::PutVarint64(&out, row - before);
      before = row;
    }
  }
  base::PutU32(&out, base::Crc32c(std::string_view(out)));
  return out;
}

namespace {

absl::Status DecodeSegment(base::Decoder* in, LocationSegment* segment) {
  const auto wrong = [](const char* what) {
    return absl::DataLossError(absl::StrCat("location directory: ", what));
  };
  uint64_t units = 0;
  uint64_t runs = 0;
  TESSERA_RETURN_IF_ERROR(in->Varint64(&segment->rows));
  TESSERA_RETURN_IF_ERROR(in->Varint64(&units));
  TESSERA_RETURN_IF_ERROR(in->Varint64(&runs));
  // Every unit and every run takes bytes of its own, so counts are bounded by what is left.
  if (units == 0 || units > in->remaining() || runs == 0 || runs > in->remaining()) {
    return wrong("a count is out of range");
  }
  if (segment->rows < units || segment->rows > units * kLocationsPerUnit) {
    return wrong("rows do not fit the units");
  }
  uint64_t run_units = 0;
  for (uint64_t i = 0; i < runs; ++i) {
    LocationRun run;
    TESSERA_RETURN_IF_ERROR(in->U32(&run.file));
    TESSERA_RETURN_IF_ERROR(in->U64(&run.offset));
    TESSERA_RETURN_IF_ERROR(in->U32(&run.units));
    if (run.file == 0 || run.units == 0 || run.offset % storage::kPlaneAlignment != 0 ||
        run.offset > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / 2) {
      return wrong("a run is out of range");
    }
    run_units += run.units;
    segment->runs.push_back(run);
  }
  if (run_units != units || units > std::numeric_limits<uint32_t>::max()) {
    return wrong("the runs do not hold the units");
  }
  segment->first_rows.reserve(units);
  uint64_t row = 0;
  for (uint64_t i = 0; i < units; ++i) {
    uint64_t delta = 0;
    TESSERA_RETURN_IF_ERROR(in->Varint64(&delta));
    if ((i > 0 && delta == 0) || row + delta < row) return wrong("first rows out of order");
    row += delta;
    segment->first_rows.push_back(row);
  }
  return absl::OkStatus();
}

std::vector<storage::UnitRun> RunsOf(const LocationSegment& segment) {
  std::vector<storage::UnitRun> runs;
  for (const LocationRun& run : segment.runs) {
    runs.push_back({.file = run.file,
                    .offset = run.offset,
                    .bytes = kLocationUnitBytes,
                    .stride = kLocationUnitBytes,
                    .count = run.units});
  }
  return runs;
}

}  // namespace

absl::StatusOr<std::vector<LocationSegment>> DecodeLocationDirectory(std::string_view bytes) {
  if (bytes.size() < kChecksumBytes) {
    return absl::DataLossError(absl::StrCat("location directory of ", bytes.size(), " bytes"));
  }
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  base::Decoder checksum(bytes.substr(body.size()));
  uint32_t crc = 0;
  TESSERA_RETURN_IF_ERROR(checksum.U32(&crc));
  if (crc != base::Crc32c(body)) {
    return absl::DataLossError("location directory: wrong checksum");
  }
  base::Decoder in(body);
  uint64_t count = 0;
  TESSERA_RETURN_IF_ERROR(in.Varint64(&count));
  if (count > in.remaining()) {
    return absl::DataLossError(
        absl::StrCat("location directory: ", count, " segments in ", in.remaining(), " bytes"));
  }
  std::vector<LocationSegment> segments(count);
  for (LocationSegment& segment : segments) TESSERA_RETURN_IF_ERROR(DecodeSegment(&in, &segment));
  TESSERA_RETURN_IF_ERROR(in.ExpectEnd());
  return segments;
}

LocationTable::Loaded::Loaded(storage::PageCache& cache, LocationSegment of)
    : segment(std::move(of)),
      table(cache, storage::Priority::kRaw, RunsOf(segment),
            [this](uint32_t unit, std::span<const std::byte> bytes) {
              return CheckUnit(segment, unit, bytes);
            }) {}

uint64_t LocationTable::Loaded::memory_bytes() const {
  return sizeof(*this) + segment.runs.capacity() * sizeof(LocationRun) +
         segment.first_rows.capacity() * sizeof(uint64_t) + table.memory_bytes();
}

LocationTable::LocationTable(storage::PageCache& cache, std::vector<LocationSegment> segments,
                             const LocationTable* base)
    : cache_(&cache) {
  for (LocationSegment& segment : segments) {
    std::shared_ptr<Loaded> same;
    for (size_t i = 0; base != nullptr && same == nullptr && i < base->segments_.size(); ++i) {
      if (base->segments_[i]->segment == segment) same = base->segments_[i];
    }
    if (same == nullptr) same = std::make_shared<Loaded>(cache, std::move(segment));
    segments_.push_back(std::move(same));
  }
}

absl::Status LocationTable::Charge(base::MemoryBudget& budget, std::string_view component) {
  for (const std::shared_ptr<Loaded>& loaded : segments_) {
    if (loaded->memory.bytes() > 0) continue;
    TESSERA_ASSIGN_OR_RETURN(loaded->memory, budget.Reserve(component, loaded->memory_bytes()));
  }
  return absl::OkStatus();
}

bool LocationTable::Shares(size_t number, const LocationTable& other) const {
  return std::find(other.segments_.begin(), other.segments_.end(), segments_[number]) !=
         other.segments_.end();
}

absl::StatusOr<std::vector<std::optional<uint64_t>>> LocationTable::Find(
    std::span<const base::RowId> rows) const {
  TESSERA_DCHECK(std::is_sorted(rows.begin(), rows.end()));
  std::vector<std::optional<uint64_t>> positions(rows.size());
  for (size_t segment = 0; segment < segments_.size(); ++segment) {
    TESSERA_RETURN_IF_ERROR(FindInSegment(segment, rows, &positions));
  }
  return positions;
}

absl::Status LocationTable::FindInSegment(size_t segment, std::span<const base::RowId> rows,
                                          std::vector<std::optional<uint64_t>>* positions) const {
  const std::vector<uint64_t>& first_rows = segments_[segment]->segment.first_rows;
  std::vector<Lookup> lookups;
  for (size_t i = 0; i < rows.size(); ++i) {
    if ((*positions)[i].has_value()) continue;
    const auto after = std::upper_bound(first_rows.begin(), first_rows.end(), rows[i].value);
    if (after == first_rows.begin()) continue;
    lookups.push_back({.unit = static_cast<uint32_t>(after - first_rows.begin() - 1),
                       .index = static_cast<uint32_t>(i)});
  }
  storage::CacheGuard guard;
  std::vector<storage::FetchRequest> requests;
  std::vector<size_t> first_lookup;  // of each request
  for (size_t begin = 0; begin < lookups.size();) {
    requests.clear();
    first_lookup.clear();
    size_t end = begin;
    for (; end < lookups.size(); ++end) {
      if (requests.empty() || requests.back().unit != lookups[end].unit) {
        if (requests.size() == kUnitsPerPortion) break;
        requests.push_back({.table = &segments_[segment]->table, .unit = lookups[end].unit});
        first_lookup.push_back(end);
      }
    }
    first_lookup.push_back(end);
    TESSERA_RETURN_IF_ERROR(
        cache_->Fetch(guard, requests, [&](size_t request, const std::byte* unit) {
          for (size_t i = first_lookup[request]; i < first_lookup[request + 1]; ++i) {
            (*positions)[lookups[i].index] = PositionIn(unit, rows[lookups[i].index]);
          }
        }));
    begin = end;
    if (begin < lookups.size()) guard.Refresh();
  }
  return absl::OkStatus();
}

std::set<uint32_t> LocationTable::files() const {
  std::set<uint32_t> files;
  for (const std::shared_ptr<Loaded>& loaded : segments_) {
    for (const LocationRun& run : loaded->segment.runs) files.insert(run.file);
  }
  return files;
}

uint64_t LocationTable::memory_bytes() const {
  uint64_t bytes = 0;
  for (const std::shared_ptr<Loaded>& loaded : segments_) bytes += loaded->memory_bytes();
  return bytes;
}

absl::Status LocationReader::Fill() {
  storage::FrameTable& table = table_.segments_[segment_]->table;
  loaded_.clear();
  at_ = 0;
  const auto end = static_cast<uint32_t>(
      std::min<uint64_t>(table.unit_count(), uint64_t{next_unit_} + kUnitsPerPortion));
  std::vector<storage::FetchRequest> requests;
  for (uint32_t unit = next_unit_; unit < end; ++unit) {
    requests.push_back({.table = &table, .unit = unit});
  }
  next_unit_ = end;
  storage::CacheGuard guard;
  std::vector<const std::byte*> units(requests.size());
  TESSERA_RETURN_IF_ERROR(table_.cache_->Fetch(
      guard, requests, [&](size_t request, const std::byte* unit) { units[request] = unit; }));
  for (const std::byte* unit : units) {
    for (uint32_t i = 0; i < CountOf(unit); ++i) loaded_.push_back(PairAt(unit, i));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<RowLocation>> LocationReader::Next() {
  if (at_ == loaded_.size()) {
    if (next_unit_ == table_.segments_[segment_]->table.unit_count()) return std::nullopt;
    TESSERA_RETURN_IF_ERROR(Fill());
  }
  return loaded_[at_++];
}

}  // namespace tessera::version
