#include "bench/curve.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "bench/report/svg_plot.h"

namespace tessera::bench {

std::vector<ResultGroup> GroupResults(const std::vector<Result>& results) {
  std::vector<ResultGroup> groups;
  for (const Result& result : results) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const ResultGroup& other) {
      return std::tie(other.dataset, other.k, other.memory_limit) ==
             std::tie(result.dataset, result.k, result.memory_limit);
    });
    if (group == groups.end()) {
      groups.push_back({result.dataset, result.k, result.memory_limit, {}, {}});
      group = groups.end() - 1;
    }
    const auto same = [&](const Result& other) {
      return std::tie(other.engine, other.params, other.cache) ==
             std::tie(result.engine, result.params, result.cache);
    };
    const auto old = std::find_if(group->results.begin(), group->results.end(), same);
    if (old != group->results.end()) {
      *old = result;
    } else {
      group->results.push_back(result);
    }
    if (std::count(group->engines.begin(), group->engines.end(), result.engine) == 0) {
      group->engines.push_back(result.engine);
    }
  }
  return groups;
}

std::vector<Result> WarmResults(const ResultGroup& group, const std::string& engine) {
  std::vector<Result> warm;
  for (const Result& result : group.results) {
    if (result.engine == engine && result.cache == "warm") warm.push_back(result);
  }
  return warm;
}

std::vector<Result> ParetoFront(std::vector<Result> results, double Result::* qps) {
  std::sort(results.begin(), results.end(), [qps](const Result& a, const Result& b) {
    return a.recall > b.recall || (a.recall == b.recall && a.*qps > b.*qps);
  });
  std::vector<Result> front;
  for (Result& result : results) {
    if (result.*qps <= 0) continue;
    if (front.empty() || result.*qps > front.back().*qps) front.push_back(std::move(result));
  }
  std::reverse(front.begin(), front.end());
  return front;
}

std::optional<double> QpsAtRecall(const std::vector<Result>& front, double recall,
                                  double Result::* qps) {
  const auto above = std::find_if(front.begin(), front.end(),
                                  [&](const Result& result) { return result.recall >= recall; });
  if (above == front.end()) return std::nullopt;
  if (above == front.begin() || above->recall == recall) return (*above).*qps;
  const Result& below = *(above - 1);
  const double low = RecallScale(below.recall);
  const double high = RecallScale(above->recall);
  const double share = high > low ? (RecallScale(recall) - low) / (high - low) : 1;
  return std::exp((1 - share) * std::log(below.*qps) + share * std::log((*above).*qps));
}

std::optional<double> DefaultsAgainstSweep(const std::vector<Result>& results) {
  std::vector<Result> sweep;
  const Result* defaults = nullptr;
  for (const Result& result : results) {
    if (result.params.empty()) {
      defaults = &result;
    } else {
      sweep.push_back(result);
    }
  }
  if (defaults == nullptr) return std::nullopt;
  const std::optional<double> reached = QpsAtRecall(ParetoFront(sweep), defaults->recall);
  if (!reached.has_value()) return std::nullopt;
  return defaults->qps_1 / *reached;
}

}  // namespace tessera::bench
