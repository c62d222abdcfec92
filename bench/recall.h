// recall@k of returned ids against exact truth, with ties judged by distance.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "bench/ground_truth.h"

namespace tessera::bench {

// The exact distance of row `id` to query `query`; asked only for ids that tie with the last truth
// entry and so may be missing from it.
using DistanceLookup = std::function<absl::StatusOr<double>(uint32_t query, uint64_t id)>;

// Share of the k nearest that the answers hold, averaged over the queries.
//
// An answer counts when its exact distance is not beyond the k-th true distance (within the
// rounding of f32, relative 1e-6), whichever of several tied rows it is; the same id counts once.
// Where truth itself has fewer than k answers (padding), it is measured against those.
//
// Shapes: answers [queries][<= k]; queries at most truth.queries.
// Errors: kInvalidArgument when k is 0 or beyond truth.k, or there are more answers than queries.
absl::StatusOr<double> RecallAtK(const GroundTruth& truth, uint32_t k,
                                 const std::vector<std::vector<uint64_t>>& answers,
                                 const DistanceLookup& lookup);

}  // namespace tessera::bench
