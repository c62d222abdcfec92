// What a search sees of a collection's vector field: an index version, the live rows in it, and the
// rows that are not in it yet.
//
// An index version has lists; the rows of a list are kept in one or more parts, one for each time
// rows were absorbed into it, which share the list's head. A part has its own planes:
//
//   plane   table                unit
//   codes   part.planes->codes   part.code_unit
//   fine    part.planes->fine    part.fine_unit + slot / fine_rows_per_unit  (none with some
//   codecs) raw     part.planes->raw     part.raw_unit + slot / raw_rows_per_unit
//
// Parts that were published together share a plane set, and versions that follow each other share
// the sets of the parts that stay, and with them what of those is in memory. One table for all
// parts of a version would save a pointer of each part, but every publish would begin with an empty
// cache.
//
// Threads: immutable once built; shared by every search.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "base/memory_budget.h"
#include "base/schema.h"
#include "index/codecs/codec.h"
#include "index/heads/head_index.h"
#include "query/calibration/calibration.h"
#include "query/fresh_view.h"
#include "query/live_bitmap.h"
#include "storage/page_cache.h"

namespace tessera::query {

// The planes of some parts. Made by the version layer, see version/plane_set.h.
struct PlaneSet {
  std::optional<storage::FrameTable> codes;
  std::optional<storage::FrameTable> fine;  // none when the codec has no fine plane
  std::optional<storage::FrameTable> raw;
  base::MemoryReservation memory;  // what the tables are charged
};

struct ListPart {
  uint32_t list = 0;
  uint32_t rows = 0;         // slots 0 .. rows - 1; 1 .. index::kListRowsMax
  uint32_t first_block = 0;  // slot s is position 64 * first_block + s of the live bitmap
  uint32_t code_unit = 0;    // in planes->codes
  uint32_t fine_unit = 0;    // first unit in planes->fine
  uint32_t raw_unit = 0;     // first unit in planes->raw
  PlaneSet* planes = nullptr;
};

struct IndexView {
  base::VectorFieldSchema field;
  std::shared_ptr<const index::HeadIndex> heads;
  std::shared_ptr<const index::Codec> codec;
  Calibration calibration = Calibration::Default(1);

  std::vector<uint32_t> part_begin;  // list -> parts [part_begin[list], part_begin[list + 1])
  std::vector<ListPart> parts;       // by list
  uint64_t rows = 0;                 // of all parts, dead ones included
  uint64_t positions = 0;            // bits of the live bitmap

  storage::PageCache* cache = nullptr;
  std::vector<std::shared_ptr<PlaneSet>> plane_sets;  // of the parts; a bounded number
  bool fine_plane = false;                            // whether the codec has one
  uint32_t fine_rows_per_unit = 1;
  uint32_t raw_rows_per_unit = 1;
  // Whether fine units that are not in memory are worth reading: the cache has room for most of the
  // plane. Otherwise the raw rows are read at once, which costs as many reads and decides.
  bool fetch_fine = true;

  uint32_t list_count() const { return static_cast<uint32_t>(part_begin.size()) - 1; }
  // Dead ones included.
  uint64_t RowsOf(uint32_t list) const {
    uint64_t count = 0;
    for (uint32_t i = part_begin[list]; i < part_begin[list + 1]; ++i) count += parts[i].rows;
    return count;
  }
  bool has_fine() const { return fine_plane; }
  uint32_t fine_units(const ListPart& part) const {
    return (part.rows + fine_rows_per_unit - 1) / fine_rows_per_unit;
  }
  uint32_t raw_units(const ListPart& part) const {
    return (part.rows + raw_rows_per_unit - 1) / raw_rows_per_unit;
  }
};

// Checks that the members fit together: shapes of heads and codec, parts in range of their tables
// and of the bitmap.
// Errors: kInternal naming what does not fit. Cost: O(parts).
absl::Status Validate(const IndexView& view);

// Everything one search sees, taken together; it keeps alive what it names.
struct SearchView {
  base::VectorFieldSchema field;
  std::shared_ptr<const IndexView> index;  // null: nothing was absorbed yet
  LiveBitmap live;                         // of index->positions bits
  FreshView fresh;
};

}  // namespace tessera::query
