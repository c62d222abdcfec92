// The planes of a part, each described once: its key in the version record, how it is cut into
// units, how what is read is checked and how it is written. Opening, building and reading back go
// through this table, so a plane is added here, and where searches use it.
//
// Threads: free functions; a Plane is immutable.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "base/schema.h"
#include "index/codecs/codec.h"
#include "query/index_view.h"
#include "storage/extent_store.h"
#include "storage/manifest.h"
#include "storage/page_cache.h"

namespace tessera::version {

// What the planes of a part are made of.
struct EncodedPart {
  uint32_t rows = 0;
  std::span<const std::byte> codes;  // the codec's code plane
  std::span<const std::byte> fine;   // the codec's fine records, [rows * FineRecordBytes()]
  absl::FunctionRef<const std::byte*(uint32_t slot)> record;  // raw records (index/raw_plane.h)
};

struct Plane {
  static constexpr uint32_t kAllRows = std::numeric_limits<uint32_t>::max();

  storage::PlaneKind kind;
  std::string_view name;
  storage::Priority priority;
  // Where searches find it.
  std::optional<storage::FrameTable> query::PlaneSet::* table;
  uint32_t query::ListPart::* first_unit;

  uint32_t rows_per_unit = kAllRows;  // kAllRows: a part is one unit, checked by its extent's crc
  uint64_t unit_stride = 0;           // of units that follow each other
  std::function<size_t(uint32_t rows)> unit_bytes;  // of a unit of so many rows
  // Checks a unit as it was read. Errors: kDataLoss.
  std::function<absl::Status(uint32_t rows, std::span<const std::byte> unit)> validate;
  // Writes the whole plane [bytes(part.rows)], the zeros between units included.
  std::function<void(const EncodedPart& part, std::byte* plane)> write;

  // Of a part of `rows` rows. Pre: 1 <= rows; unit < units(rows).
  bool one_unit() const { return rows_per_unit == kAllRows; }
  uint32_t units(uint32_t rows) const { return (rows - 1) / rows_per_unit + 1; }
  uint32_t unit_rows(uint32_t rows, uint32_t unit) const {
    return std::min(rows_per_unit, rows - unit * rows_per_unit);
  }
  uint64_t bytes(uint32_t rows) const {
    const uint32_t last = units(rows) - 1;
    return last * unit_stride + unit_bytes(unit_rows(rows, last));
  }
  // Appends the runs of the part's units: full ones, and the last one when it is shorter.
  void AppendRuns(const storage::ExtentRef& ref, uint32_t rows,
                  std::vector<storage::UnitRun>* runs) const;
};

// The planes of the field's parts with this codec, in the order they are written: what the codec
// does not have is not among them. `codec` outlives them.
std::vector<Plane> PlanesOf(const base::VectorFieldSchema& field, const index::Codec& codec);

// That a record's planes are these, for all its parts, each of the size that its rows make it.
// Errors: kDataLoss naming what is not.
absl::Status CheckPlanes(std::span<const Plane> planes, const storage::VersionRecord& record);

}  // namespace tessera::version
