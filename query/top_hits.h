// The best `limit` hits seen so far.
//
// Threads: one at a time. No allocation once its capacity has grown to the largest limit used.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "query/hit.h"

namespace tessera::query {

class TopHits {
 public:
  // Empties it. Pre: limit >= 1.
  void Reset(size_t limit) {
    limit_ = limit;
    heap_.clear();
  }

  // Rows farther than this cannot enter; one at exactly this distance may, by its id.
  float threshold() const {
    return heap_.size() < limit_ ? std::numeric_limits<float>::infinity()
                                 : heap_.front().dissimilarity;
  }

  void Push(const Hit& hit);

  size_t size() const { return heap_.size(); }

  // Sorts what is there, best first, and appends it to `out`; empty afterwards.
  void TakeSorted(std::vector<Hit>* out);

 private:
  size_t limit_ = 1;
  std::vector<Hit> heap_;  // max-heap: the worst hit in front
};

// The k smallest of a stream of numbers: only their largest is of interest.
class KthSmallest {
 public:
  void Reset(size_t k) {
    k_ = k;
    sorted_ = k <= kSortedMax;
    smallest_.assign(sorted_ ? k : 0, std::numeric_limits<float>::infinity());
  }
  // +infinity while fewer than k were seen.
  float value() const {
    return smallest_.size() < k_ ? std::numeric_limits<float>::infinity()
                                 : (sorted_ ? smallest_.back() : smallest_.front());
  }
  // Pre: not NaN.
  void Push(float number) {
    if (sorted_) {
      if (number < smallest_.back()) Insert(number);
    } else {
      PushToHeap(number);
    }
  }

 private:
  // Up to so many are kept in order: moving them all costs less than a heap's mispredicted
  // branches.
  static constexpr size_t kSortedMax = 32;

  void Insert(float number);
  void PushToHeap(float number);

  size_t k_ = 1;
  bool sorted_ = true;
  std::vector<float> smallest_;  // ascending, or a max-heap
};

}  // namespace tessera::query
