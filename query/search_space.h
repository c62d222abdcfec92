// One query in search space (index/search_space.h), and its dissimilarities there and as in
// replies.
//
// Threads: const member functions concurrently.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"

namespace tessera::query {

class SearchSpace {
 public:
  // Replaces `out` by the query for an index of that unit.
  //
  // Under inner product a query has a unit of its own, as only the order of the products counts.
  // Under L2 a query of components over index::kSearchComponentMost is shortened to it: its place
  // among the heads is nearly the same.
  // Pre: query finite, as it was sent.
  void Prepare(base::Metric metric, float unit, std::span<const float> query,
               std::vector<float>* out);

  // A reply's dissimilarity (squared L2, -inner product, -cosine) as a search-space one.
  float Of(float dissimilarity) const {
    if (cosine_) return 2.0F + 2.0F * dissimilarity;
    return plain_ ? dissimilarity : Scaled(dissimilarity);
  }

 private:
  float Scaled(float dissimilarity) const;

  bool cosine_ = false;
  bool plain_ = true;
  double factor_ = 1;
};

}  // namespace tessera::query
