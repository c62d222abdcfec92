// The values of a path in the points of a view, with the points that have each.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "db/database.h"
#include "db/engine.h"
#include "db/filters/filtering.h"
#include "db/read_view.h"
#include "query/filter/filter.h"

namespace tessera::db {

class FacetCounter {
 public:
  // Distinct values that are counted at most.
  static constexpr size_t kValuesMax = 1'000'000;

  // All outlive it; `filter` was bound to the same field; null: all points.
  FacetCounter(Engine& engine, const FieldView& view, const BoundFilter* filter,
               const StopCondition& stop)
      : engine_(engine), view_(view), filter_(filter), stop_(stop) {}

  // Errors: kResourceExhausted when there are more than kValuesMax values, or no memory for them;
  //         kDataLoss.
  absl::Status Count(const query::FieldPath& path);
  // Those of most points, once.
  FacetResult Take(uint32_t limit);

 private:
  absl::Status CountLists(std::string_view key);
  absl::Status CountFresh(std::string_view key);
  absl::Status Add(std::string_view value, uint64_t points);

  Engine& engine_;
  const FieldView& view_;
  const BoundFilter* const filter_;
  const StopCondition stop_;
  base::MemoryReservation memory_;
  uint64_t bytes_ = 0;
  std::map<std::string, uint64_t, std::less<>> counts_;  // by the value's bytes in a record
  uint64_t points_ = 0;
};

}  // namespace tessera::db
