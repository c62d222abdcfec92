// Compares rows exactly, on the raw plane, and keeps the best.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "index/raw_plane.h"
#include "query/search_context.h"
#include "query/top_hits.h"

namespace tessera::query {

class RawReader {
 public:
  // Begins a search. `hits` gets what is compared.
  void Begin(const SearchContext& context, TopHits* hits);

  // The row's vector, or null when it is not in memory; brings its bytes nearer.
  const std::byte* PeekVector(RowPlace place) const;

  // The dissimilarity of a row by its vector.
  float Distance(const std::byte* vector) const;

  // Compares all `places`, those in memory first, in order, then reads the others; offers them to
  // the hits.
  // `rows_ahead`: of the row being compared, whose bytes are asked for.
  absl::Status CompareAll(std::span<const RowPlace> places, size_t rows_ahead = kRowsAhead);

  static constexpr size_t kRowsAhead = 6;
  // For rows that come from everywhere, in numbers.
  static constexpr size_t kRowsAheadScattered = 24;

 private:
  // A row in memory.
  struct Row {
    const std::byte* header;
    const std::byte* vector;
  };

  std::optional<Row> Peek(RowPlace place) const;
  void Compare(const Row& row);
  const ListPart& PartOf(RowPlace place) const { return context_->view.index->parts[place.part]; }
  uint32_t UnitOf(const ListPart& part, RowPlace place) const {
    return part.raw_unit + divider_.unit(place.slot);
  }

  const SearchContext* context_ = nullptr;
  TopHits* hits_ = nullptr;
  UnitDivider divider_{1};
  index::RawUnitShape shape_;
  size_t prefetch_bytes_ = 0;

  std::vector<Row> rows_;
  std::vector<PendingRow> pending_;
  std::vector<storage::FetchRequest> requests_;
};

}  // namespace tessera::query
