// Where a row of an index version is: RowId -> position, paged on disk. A position is
// 64 * first_block + slot of the row's part, see query/index_view.h.
//
// The table is a few segments, newest first, each the sorted (row, position) pairs of one build or
// of one or more appends. A row that was moved is in several segments; the newest one is right.
//
// A segment is a sequence of units of 4 KiB, in extents of many units:
//     0  u32  crc32c     of every byte after it
//     4  u32  count      1 .. 255
//     8  count x { u64 row, u64 position }, rows strictly ascending; then zeros
//
// The directory (a blob of the version record) has what is kept in memory, little-endian:
//     varint segments, per segment, newest first:
//       varint rows | varint units | varint runs | runs x { u32 file, u64 offset, u32 units } |
//       units x varint: the first row of each unit, less that of the unit before
//     u32 crc32c of everything before it
//
// Threads: a LocationTable is immutable and shared; a LocationSegmentWriter and a LocationReader
//          belong to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/memory_budget.h"
#include "base/types.h"
#include "storage/extent_store.h"
#include "storage/page_cache.h"

namespace tessera::version {

// Part of the format.
inline constexpr size_t kLocationUnitBytes = 4096;
inline constexpr uint32_t kLocationsPerUnit = 255;

struct RowLocation {
  base::RowId row;
  uint64_t position = 0;
  friend bool operator==(const RowLocation&, const RowLocation&) = default;
};

// `units` units that follow each other in a file.
struct LocationRun {
  uint32_t file = 0;
  uint64_t offset = 0;
  uint32_t units = 0;
  friend bool operator==(const LocationRun&, const LocationRun&) = default;
};

struct LocationSegment {
  uint64_t rows = 0;
  std::vector<LocationRun> runs;
  std::vector<uint64_t> first_rows;  // of each unit, strictly ascending
  friend bool operator==(const LocationSegment&, const LocationSegment&) = default;
};

// Writes one segment.
class LocationSegmentWriter {
 public:
  explicit LocationSegmentWriter(storage::ExtentWriter& writer) : writer_(writer) {}

  // Pre:    rows strictly ascending.
  // Errors: those of the ExtentWriter.
  absl::Status Add(const RowLocation& location);
  // Ends the segment. Pre: at least one row.
  absl::StatusOr<LocationSegment> Finish();

 private:
  void CloseUnit();
  absl::Status WriteExtent();

  storage::ExtentWriter& writer_;
  LocationSegment segment_;
  std::vector<std::byte> buffer_;  // whole units and the one being filled
  uint32_t unit_rows_ = 0;         // of the unit being filled
  uint64_t last_row_ = 0;
};

std::string EncodeLocationDirectory(std::span<const LocationSegment> segments);
// Errors: kDataLoss for any damage.
absl::StatusOr<std::vector<LocationSegment>> DecodeLocationDirectory(std::string_view bytes);

class LocationTable {
 public:
  LocationTable() = default;
  // Segments newest first. Those that `base` has as well are shared with it, and what of them is in
  // memory. `cache` outlives the table.
  LocationTable(storage::PageCache& cache, std::vector<LocationSegment> segments,
                const LocationTable* base = nullptr);

  // Charges the segments that no other table is charged for. Errors: kResourceExhausted.
  absl::Status Charge(base::MemoryBudget& budget, std::string_view component);

  // The position of each row, nothing for rows that no segment has. Rows that left the lists may
  // still be found, see IndexVersion::Locate.
  //
  // Pre:    rows ascending.
  // Errors: kDataLoss for a damaged unit; kResourceExhausted.
  // Cost:   one unit read per row and segment at most, less those in the page cache.
  absl::StatusOr<std::vector<std::optional<uint64_t>>> Find(
      std::span<const base::RowId> rows) const;

  size_t segment_count() const { return segments_.size(); }
  const LocationSegment& segment(size_t number) const { return segments_[number]->segment; }
  // Whether both have the very same segment, tables included.
  bool Shares(size_t number, const LocationTable& other) const;
  // Files the segments are in.
  std::set<uint32_t> files() const;
  // Heap bytes.
  uint64_t memory_bytes() const;

 private:
  friend class LocationReader;
  struct Lookup {
    uint32_t unit;
    uint32_t index;  // in the rows asked for
  };
  absl::Status FindInSegment(size_t segment, std::span<const base::RowId> rows,
                             std::vector<std::optional<uint64_t>>* positions) const;

  // A segment with its table, whose verifier refers to it.
  struct Loaded {
    Loaded(storage::PageCache& cache, LocationSegment of);
    uint64_t memory_bytes() const;

    const LocationSegment segment;
    storage::FrameTable table;
    base::MemoryReservation memory;
  };

  storage::PageCache* cache_ = nullptr;
  std::vector<std::shared_ptr<Loaded>> segments_;
};

// Reads one segment in the order of its rows.
class LocationReader {
 public:
  // Pre: `table` outlives the reader; segment < table.segment_count().
  LocationReader(const LocationTable& table, size_t segment) : table_(table), segment_(segment) {}

  // The next pair; nothing at the end. Errors: as LocationTable::Find.
  absl::StatusOr<std::optional<RowLocation>> Next();

 private:
  absl::Status Fill();

  const LocationTable& table_;
  const size_t segment_;
  uint32_t next_unit_ = 0;
  std::vector<RowLocation> loaded_;
  size_t at_ = 0;
};

}  // namespace tessera::version
