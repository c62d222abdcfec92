#include "query/top_hits.h"

#include <algorithm>

namespace tessera::query {

void TopHits::Push(const Hit& hit) {
  if (heap_.size() < limit_) {
    heap_.push_back(hit);
    std::push_heap(heap_.begin(), heap_.end());
    return;
  }
  if (!(hit < heap_.front())) return;
  std::pop_heap(heap_.begin(), heap_.end());
  heap_.back() = hit;
  std::push_heap(heap_.begin(), heap_.end());
}

void TopHits::TakeSorted(std::vector<Hit>* out) {
  std::sort_heap(heap_.begin(), heap_.end());
  out->insert(out->end(), heap_.begin(), heap_.end());
  heap_.clear();
}

void KthSmallest::Insert(float number) {
  float* const at = smallest_.data();
  for (size_t i = k_ - 1; i > 0; --i) at[i] = std::max(at[i - 1], std::min(number, at[i]));
  at[0] = std::min(number, at[0]);
}

void KthSmallest::PushToHeap(float number) {
  if (smallest_.size() < k_) {
    smallest_.push_back(number);
    std::push_heap(smallest_.begin(), smallest_.end());
    return;
  }
  if (number >= smallest_.front()) return;
  std::pop_heap(smallest_.begin(), smallest_.end());
  smallest_.back() = number;
  std::push_heap(smallest_.begin(), smallest_.end());
}

}  // namespace tessera::query
