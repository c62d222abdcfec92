#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "storage/extent_store.h"
#include "storage/page_cache.h"
#include "storage/read_batch.h"
#include "tests/fuzz/stored.h"
#include "tests/fuzz/targets.h"
#include "tests/support/fault_fs.h"
#include "tests/support/fs_image.h"
#include "version/fine_plane.h"
#include "version/index_version.h"
#include "version/location_table.h"

namespace tessera::fuzz {
namespace {

using version::LocationSegment;
using version::LocationTable;

absl::StatusOr<std::string> RewriteDirectory(std::string_view input) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<LocationSegment> segments,
                           version::DecodeLocationDirectory(input));
  for (const LocationSegment& segment : segments) {
    uint64_t units = 0;
    for (const version::LocationRun& run : segment.runs) units += run.units;
    TESSERA_CHECK(units == segment.first_rows.size() && units > 0);
  }
  std::string bytes = version::EncodeLocationDirectory(segments);
  TESSERA_CHECK(bytes == input);
  return bytes;
}

std::vector<Sample> Directories() {
  const std::vector<LocationSegment> segments = {
      {.rows = 3, .runs = {{.file = 7, .offset = 4096, .units = 1}}, .first_rows = {900}},
      {.rows = 600,
       .runs = {{.file = 1, .offset = 8192, .units = 2},
                {.file = UINT32_MAX, .offset = uint64_t{1} << 40, .units = 1}},
       .first_rows = {0, 255, uint64_t{1} << 50}}};
  return {{"two_segments", version::EncodeLocationDirectory(segments)},
          {"none", version::EncodeLocationDirectory({})}};
}

constexpr char kUnitFile[] = "/extents/0000000001.extents";

// Extents and a cache to read a unit of locations through.
class UnitReader {
 public:
  UnitReader() {
    absl::StatusOr<std::unique_ptr<storage::ExtentStore>> extents =
        storage::ExtentStore::Open(fs_, "/extents", 1);
    TESSERA_CHECK(extents.ok());
    extents_ = *std::move(extents);
    const std::unique_ptr<storage::ExtentWriter> writer = extents_->NewWriter();
    version::LocationSegmentWriter segment(*writer);
    for (uint64_t i = 0; i < 60; ++i) {
      TESSERA_CHECK(segment.Add({.row = {100 + 3 * i}, .position = 64 * i + 5}).ok());
    }
    absl::StatusOr<LocationSegment> written = segment.Finish();
    TESSERA_CHECK(written.ok() && writer->Finish().ok());
    segment_ = *std::move(written);
    file_ = Capture(fs_).at(kUnitFile);
    auto cache = storage::PageCache::Create(*extents_, reads_, budget_,
                                            {.capacity_bytes = uint64_t{1} << 20});
    TESSERA_CHECK(cache.ok());
    cache_ = *std::move(cache);
  }

  std::string unit() const {
    return file_.substr(segment_.runs[0].offset, version::kLocationUnitBytes);
  }

  // Puts `unit` in its place and asks for all its rows and some that it has not. A table is new to
  // the cache, whatever was read through another one.
  absl::Status Read(std::string_view unit) {
    std::string file = file_.substr(0, segment_.runs[0].offset);
    PutFile(fs_, kUnitFile, file.append(unit));
    const LocationTable table(*cache_, {segment_});
    std::vector<base::RowId> rows;
    for (uint64_t row = 90; row < 300; ++row) rows.push_back({row});
    TESSERA_ASSIGN_OR_RETURN(const auto positions, table.Find(rows));
    TESSERA_CHECK(positions.size() == rows.size() && !positions[0].has_value());
    version::LocationReader reader(table, 0);
    uint64_t before = 0;
    for (;;) {
      const auto next = reader.Next();
      TESSERA_CHECK(next.ok());
      if (!next->has_value()) return absl::OkStatus();
      TESSERA_CHECK((*next)->row.value > before);
      before = (*next)->row.value;
    }
  }

 private:
  FaultFs fs_{1};
  std::unique_ptr<storage::ExtentStore> extents_;
  storage::PreadPool reads_{0};
  base::MemoryBudget budget_{0};
  std::unique_ptr<storage::PageCache> cache_;
  LocationSegment segment_;
  std::string file_;
};

absl::Status RunUnit(std::string_view input) {
  static UnitReader* const reader = new UnitReader;
  CheckedStored(reader->Read(ResealedInFront(input))).IgnoreError();
  return CheckedStored(reader->Read(input));
}

std::vector<Sample> Units() {
  return {{"sixty_rows", UnitReader().unit()}};
}

absl::StatusOr<std::string> RewriteHomes(std::string_view input) {
  const size_t count = input.size() / 8;
  TESSERA_CHECK(!version::DecodePartHomes(input, count + 1).ok());
  TESSERA_ASSIGN_OR_RETURN(const auto homes, version::DecodePartHomes(input, count));
  std::string bytes = version::EncodePartHomes(homes);
  TESSERA_CHECK(homes.size() == count && bytes == input);
  return bytes;
}

std::vector<Sample> Homes() {
  const std::vector<version::PartHome> homes = {{.list = 0, .first_block = 0},
                                                {.list = 500, .first_block = 3},
                                                {.list = 7, .first_block = 2}};
  return {{"three", version::EncodePartHomes(homes)}, {"none", version::EncodePartHomes({})}};
}

constexpr size_t kFineBytes = 20;
constexpr uint32_t kFineRows = 6;

absl::Status RunFineUnit(std::string_view input) {
  const auto check = [](std::string_view unit) {
    return CheckedStored(
        version::CheckFineUnit(kFineBytes, kFineRows, std::as_bytes(std::span(unit))));
  };
  check(Resealed(input)).IgnoreError();
  return check(input);
}

std::vector<Sample> FineUnits() {
  std::string records;
  for (size_t i = 0; i < kFineBytes * kFineRows; ++i) records += static_cast<char>(i);
  std::string plane(version::FinePlaneBytes(kFineBytes, kFineRows), '\0');
  version::WriteFinePlane(kFineBytes, kFineRows, std::as_bytes(std::span(records)).data(),
                          std::as_writable_bytes(std::span(plane)).data());
  return {{"six_rows", plane}};
}

}  // namespace

std::vector<Target> VersionTargets() {
  return {
      {.name = "location_directory",
       .run = RunSealed<RewriteDirectory>,
       .rewrite = RewriteDirectory,
       .samples = Directories},
      {.name = "location_unit", .run = RunUnit, .samples = Units},
      {.name = "part_homes",
       .run = RunSealed<RewriteHomes>,
       .rewrite = RewriteHomes,
       .samples = Homes},
      {.name = "fine_unit", .run = RunFineUnit, .samples = FineUnits},
  };
}

}  // namespace tessera::fuzz
