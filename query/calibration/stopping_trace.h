// Measures theta, see planning/stopping_rule.h, from true neighbours and the places of their lists.
//
// Queries are followed over the check points of the rule, with the k-th best of the neighbours in
// the lists so far as T. No list is read. A theta is measured for the recall that a fixed number of
// lists gives the same queries, so that margins for errors are those of that number.
//
// Threads: const member functions concurrently.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "query/calibration/calibration_sample.h"
#include "query/index_view.h"

namespace tessera::query {

class StoppingTrace {
 public:
  // Of queries with neighbours; more than `k` tell T before all of the k are found.
  // Cost: ranking all lists for each query, on several threads.
  StoppingTrace(const SearchView& view, std::span<const CalibrationQuery> queries, size_t k,
                uint32_t thread_count);

  // The least theta that finds as many of the k nearest as the first `nprobe` lists do.
  float ThetaFor(uint32_t nprobe) const;

 private:
  struct Check {
    float reached;  // the largest s up to here
    uint32_t found;  // of the k nearest
  };
  struct Query {
    std::vector<Check> checks;          // the last one has found all that can be
    std::vector<uint32_t> list_places;  // of the k nearest, ascending
  };

  static Query Follow(const SearchView& view, const CalibrationQuery& query, size_t k);
  double Recall(float theta) const;

  std::vector<Query> queries_;
};

}  // namespace tessera::query
