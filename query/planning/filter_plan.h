// The ways to search under a filter, and what they cost.
//
// Threads: free functions.
#pragma once

#include <cstdint>

#include "query/index_view.h"
#include "query/row_filter.h"

namespace tessera::query {

enum class FilterPlan : uint8_t {
  kAuto,   // the cheaper one
  kExact,  // compare every match
  kProbe,  // search the nearest lists with matches
};

// Times are of one query on one core with everything in memory, in microseconds; they are meant to
// be compared with each other.
struct PlanPrices {
  FilterPlan chosen = FilterPlan::kAuto;  // kAuto: no filter, so nothing to choose
  double exact_us = 0;
  double probe_us = 0;
  uint64_t matches = 0;         // of the filter in lists, dead rows among them
  uint32_t lists_eligible = 0;  // with a match
  uint32_t lists_planned = 0;   // that kProbe would probe
};

// Matches in a block of 64 rows, over the lists that are probed, up to which looking at the codes
// costs more than it saves.
double SparseRowsPerBlock(const IndexView& index);

// `nprobe`: lists with matches to be probed. Pre: the matches are of the index.
// Cost: under 0.1 us.
PlanPrices PriceFilterPlans(const IndexView& index, const IndexMatches& matches, uint32_t limit,
                            uint32_t nprobe);

}  // namespace tessera::query
