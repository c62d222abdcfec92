#include "query/search_space.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "index/search_space.h"

namespace tessera::query {

void SearchSpace::Prepare(base::Metric metric, float unit, std::span<const float> query,
                          std::vector<float>* out) {
  out->assign(query.begin(), query.end());
  cosine_ = metric == base::Metric::kCosine;
  plain_ = true;
  factor_ = 1;
  if (cosine_) {
    double norm2 = 0;
    for (const float x : query) norm2 += double{x} * x;
    if (norm2 == 0) return;
    const double scale = 1.0 / std::sqrt(norm2);
    for (float& x : *out) x = static_cast<float>(x * scale);
    return;
  }
  double scale = unit;
  if (metric == base::Metric::kInnerProduct) scale = index::UnitFor(metric, query);
  float largest = 0;
  for (const float x : query) largest = std::max(largest, std::abs(x));
  plain_ = scale == 1 && unit == 1;
  factor_ = scale * unit;
  if (largest * scale > index::kSearchComponentMost) scale = index::kSearchComponentMost / largest;
  if (scale == 1) return;
  for (float& x : *out) x = static_cast<float>(x * scale);
}

float SearchSpace::Scaled(float dissimilarity) const {
  constexpr double kMost = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(dissimilarity * factor_, -kMost, kMost));
}

}  // namespace tessera::query
