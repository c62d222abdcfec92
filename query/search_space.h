// Queries as codecs and heads take them (index/codec.h, "search space").
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include "base/types.h"

namespace tessera::query {

// Replaces `out` by the query, of unit length under cosine; a zero query stays zero.
inline void ToSearchSpace(base::Metric metric, std::span<const float> query,
                          std::vector<float>* out) {
  out->assign(query.begin(), query.end());
  if (metric != base::Metric::kCosine) return;
  double norm2 = 0;
  for (const float x : query) norm2 += double{x} * x;
  if (norm2 == 0) return;
  const double scale = 1.0 / std::sqrt(norm2);
  for (float& x : *out) x = static_cast<float>(x * scale);
}

}  // namespace tessera::query
