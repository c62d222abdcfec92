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

void KthSmallest::Push(float number) {
  if (heap_.size() < k_) {
    heap_.push_back(number);
    std::push_heap(heap_.begin(), heap_.end());
    return;
  }
  if (number >= heap_.front()) return;
  std::pop_heap(heap_.begin(), heap_.end());
  heap_.back() = number;
  std::push_heap(heap_.begin(), heap_.end());
}

}  // namespace tessera::query
