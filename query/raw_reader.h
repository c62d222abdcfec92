// Compares rows exactly, on the raw plane, and keeps the best.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "query/search_context.h"
#include "query/top_hits.h"

namespace tessera::query {

class RawReader {
 public:
  // Begins a search. `hits` gets what is compared.
  void Begin(const SearchContext& context, TopHits* hits);

  // The row's record, or null when it is not in memory; brings its bytes nearer.
  const std::byte* PeekRecord(RowPlace place) const;

  // The row's dissimilarity.
  float Distance(const std::byte* record) const;
  // Offers a row to the hits.
  void Offer(const std::byte* record, float dissimilarity);

  // Compares all `places`, those in memory first, in order; then reads the others.
  absl::Status CompareAll(std::span<const RowPlace> places);

 private:
  uint32_t UnitOf(RowPlace place) const {
    return context_->view.index->parts[place.part].raw_unit + divider_.unit(place.slot);
  }

  const SearchContext* context_ = nullptr;
  TopHits* hits_ = nullptr;
  UnitDivider divider_{1};
  size_t record_bytes_ = 0;
  size_t prefetch_bytes_ = 0;

  std::vector<const std::byte*> records_;
  std::vector<PendingRow> pending_;
  std::vector<storage::FetchRequest> requests_;
};

}  // namespace tessera::query
