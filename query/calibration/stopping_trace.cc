#include "query/calibration/stopping_trace.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "index/heads/head_index.h"
#include "index/parallel_for.h"
#include "query/planning/stopping_rule.h"
#include "query/search_space.h"

namespace tessera::query {
namespace {

constexpr float kThetaMin = 0.1F;
constexpr int kHalvings = 30;

}  // namespace

StoppingTrace::StoppingTrace(const SearchView& view, std::span<const CalibrationQuery> queries,
                             size_t k, uint32_t thread_count)
    : queries_(queries.size()) {
  index::ParallelFor(queries.size(), thread_count, [&](size_t i, uint32_t) {
    if (!queries[i].neighbours.empty()) queries_[i] = Follow(view, queries[i], k);
  });
  std::erase_if(queries_, [](const Query& query) { return query.list_places.empty(); });
}

StoppingTrace::Query StoppingTrace::Follow(const SearchView& view, const CalibrationQuery& query,
                                           size_t k) {
  const IndexView& index = *view.index;
  SearchSpace space;
  std::vector<float> vector;
  space.Prepare(view.field.metric, index.heads->unit(), query.vector, &vector);
  index::HeadCursor cursor;
  std::vector<index::HeadHit> order;
  index.heads->Nearest(vector.data(), index.list_count(), &cursor, &order);
  StoppingRule rule;
  rule.Begin(*index.heads, vector);
  std::vector<uint32_t> place_of(index.list_count(), static_cast<uint32_t>(order.size()));
  for (uint32_t i = 0; i < order.size(); ++i) {
    const uint64_t rows = index.RowsOf(order[i].list);
    place_of[order[i].list] = i;
    rule.AddPlace(order[i], rows, rows);
  }
  // By place of their lists, each with its rank.
  struct Found {
    uint32_t place;
    uint32_t rank;
  };
  std::vector<Found> found;
  for (uint32_t rank = 0; rank < query.neighbours.size(); ++rank) {
    found.push_back({place_of[index.parts[query.neighbours[rank].place.part].list], rank});
  }
  k = std::min(k, found.size());
  Query result;
  for (size_t rank = 0; rank < k; ++rank) result.list_places.push_back(found[rank].place);
  std::sort(result.list_places.begin(), result.list_places.end());
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.place < b.place; });

  std::vector<uint32_t> ranks;  // of what the lists so far hold, ascending
  size_t next = 0;
  float reached = -std::numeric_limits<float>::infinity();
  for (size_t passed = 2; passed <= order.size(); passed = StoppingRule::NextCheck(passed)) {
    for (; next < found.size() && found[next].place < passed; ++next) {
      ranks.insert(std::upper_bound(ranks.begin(), ranks.end(), found[next].rank),
                   found[next].rank);
    }
    const auto of_nearest = static_cast<uint32_t>(
        std::lower_bound(ranks.begin(), ranks.end(), static_cast<uint32_t>(k)) - ranks.begin());
    // With fewer than k of the neighbours found, T is further out than any of them.
    if (ranks.size() >= k) {
      const float kth = space.Of(query.neighbours[ranks[k - 1]].dissimilarity);
      const double value = rule.At(passed, kth, std::numeric_limits<double>::infinity());
      reached = std::max(reached, static_cast<float>(value));
    }
    result.checks.push_back({reached, of_nearest});
    if (of_nearest == k) break;
  }
  return result;
}

double StoppingTrace::Recall(float theta) const {
  double sum = 0;
  for (const Query& query : queries_) {
    const auto stop =
        std::partition_point(query.checks.begin(), query.checks.end(),
                             [theta](const Check& check) { return check.reached < theta; });
    // Beyond the last check there is nothing left to find.
    const double found = stop == query.checks.end() ? static_cast<double>(query.list_places.size())
                                                    : stop->found;
    sum += found / static_cast<double>(query.list_places.size());
  }
  return sum / static_cast<double>(queries_.size());
}

float StoppingTrace::ThetaFor(uint32_t nprobe) const {
  if (queries_.empty()) return kThetaMin;
  double wanted = 0;
  for (const Query& query : queries_) {
    const auto within = std::lower_bound(query.list_places.begin(), query.list_places.end(), nprobe);
    wanted += static_cast<double>(within - query.list_places.begin()) /
              static_cast<double>(query.list_places.size());
  }
  wanted /= static_cast<double>(queries_.size());
  float low = kThetaMin;
  float high = kThetaMin;
  for (const Query& query : queries_) {
    for (const Check& check : query.checks) {
      if (std::isfinite(check.reached)) high = std::max(high, check.reached + 0.01F);
    }
  }
  if (Recall(low) >= wanted) return low;
  for (int i = 0; i < kHalvings; ++i) {
    const float middle = 0.5F * (low + high);
    (Recall(middle) >= wanted - 1e-9 ? high : low) = middle;
  }
  return high;
}

}  // namespace tessera::query
