#include "bench/recall.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace tessera::bench {
namespace {

constexpr double kTieTolerance = 1e-6;

// Hits among the first `k` answers of one query; `wanted` real truth entries, the last at `limit`.
absl::StatusOr<uint32_t> CountHits(const GroundTruth& truth, uint32_t query, double limit,
                                   std::span<const uint64_t> answers,
                                   const DistanceLookup& lookup) {
  const size_t first = size_t{query} * truth.k;
  const std::span<const uint32_t> ids(&truth.ids[first], truth.k);
  const double last_known = truth.distances[first + truth.k - 1];
  absl::flat_hash_set<uint64_t> seen;
  uint32_t hits = 0;
  for (const uint64_t id : answers) {
    if (!seen.insert(id).second) continue;
    const auto found = std::find(ids.begin(), ids.end(), id);
    double distance = 0;
    if (found != ids.end()) {
      distance = truth.distances[first + static_cast<size_t>(found - ids.begin())];
    } else if (last_known > limit) {
      continue;  // every row as near as `limit` is in the truth
    } else {
      TESSERA_ASSIGN_OR_RETURN(distance, lookup(query, id));
    }
    if (distance <= limit) ++hits;
  }
  return hits;
}

}  // namespace

absl::StatusOr<double> RecallAtK(const GroundTruth& truth, uint32_t k,
                                 const std::vector<std::vector<uint64_t>>& answers,
                                 const DistanceLookup& lookup) {
  if (k == 0 || k > truth.k || answers.empty() || answers.size() > truth.queries) {
    return absl::InvalidArgumentError(absl::StrCat("recall@", k, " of ", answers.size(),
                                                   " answers: the truth has ", truth.queries,
                                                   " queries with ", truth.k, " neighbours"));
  }
  double sum = 0;
  size_t judged = 0;
  for (uint32_t query = 0; query < answers.size(); ++query) {
    const float* distances = &truth.distances[size_t{query} * truth.k];
    uint32_t wanted = k;
    while (wanted > 0 && distances[wanted - 1] == std::numeric_limits<float>::infinity()) {
      --wanted;
    }
    if (wanted == 0) continue;
    const double kth = distances[wanted - 1];
    const double limit = kth + kTieTolerance * std::abs(kth);
    const std::span<const uint64_t> given(answers[query].data(),
                                          std::min<size_t>(k, answers[query].size()));
    TESSERA_ASSIGN_OR_RETURN(const uint32_t hits, CountHits(truth, query, limit, given, lookup));
    sum += static_cast<double>(std::min(hits, wanted)) / wanted;
    ++judged;
  }
  return judged == 0 ? 1.0 : sum / static_cast<double>(judged);
}

}  // namespace tessera::bench
