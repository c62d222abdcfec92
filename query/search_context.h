// What the stages of one search share.
//
// Threads: one search, one thread.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "index/distance.h"
#include "query/eligibility.h"
#include "query/index_view.h"
#include "query/search_space.h"
#include "query/searcher.h"
#include "storage/epoch.h"
#include "storage/page_cache.h"

namespace tessera::query {

struct SearchContext {
  const SearchView& view;
  const SearchRequest& request;
  const index::RowDistance& distance;  // from the query to raw vectors
  storage::CacheGuard& guard;
  SearchStats& stats;
  const Eligibility& eligible;
  const SearchSpace& space;  // not read by exact scans

  // kCancelled or kDeadlineExceeded when the search should end.
  absl::Status CheckStop() const;
};

// A dissimilarity as one that has a place in an order: of a query with enormous components
// infinities of both signs may have added up to NaN.
inline float Ordered(float dissimilarity) {
  return dissimilarity == dissimilarity ? dissimilarity : std::numeric_limits<float>::infinity();
}

// A row by its place in the index: part number and slot.
struct RowPlace {
  uint32_t part = 0;
  uint32_t slot = 0;
};

// slot -> unit and row within it, for units of a fixed number of rows; a multiplication instead of
// a division. Exact for slots below index::kListRowsMax.
class UnitDivider {
 public:
  explicit UnitDivider(uint32_t rows_per_unit)
      : rows_(rows_per_unit < index::kListRowsMax ? rows_per_unit : index::kListRowsMax),
        inverse_((uint64_t{1} << 32) / rows_ + 1) {}

  uint32_t unit(uint32_t slot) const { return static_cast<uint32_t>((slot * inverse_) >> 32); }
  uint32_t row(uint32_t slot) const { return slot - unit(slot) * rows_; }

 private:
  uint32_t rows_;
  uint64_t inverse_;
};

// A row whose unit has to be read: `tag` is the caller's.
struct PendingRow {
  storage::FrameTable* table = nullptr;
  uint32_t unit = 0;
  uint32_t tag = 0;
};

// Calls `visit` with each slot below `rows` whose bit is set, ascending.
template <typename Visitor>
void ForEachRow(std::span<const uint64_t> mask, uint32_t rows, Visitor&& visit) {
  for (uint32_t block = 0; block < mask.size(); ++block) {
    for (uint64_t left = mask[block]; left != 0; left &= left - 1) {
      const auto slot = static_cast<uint32_t>(block * 64 + std::countr_zero(left));
      if (slot < rows) visit(slot);
    }
  }
}

// Reads the units of `rows` in portions, as they complete, and calls `use` for each row with its
// unit's bytes, which are valid during the call only. Reorders `rows`. All pointers from the
// context's guard are given up when there is more than one portion.
absl::Status FetchRows(const SearchContext& context, std::vector<PendingRow>* rows,
                       std::vector<storage::FetchRequest>* requests,
                       absl::FunctionRef<void(uint32_t tag, const std::byte* unit)> use);

}  // namespace tessera::query
