#include "tests/index/allocation_probe.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace {

thread_local size_t largest_allocation = 0;

}  // namespace

void* operator new(size_t bytes) {
  largest_allocation = std::max(largest_allocation, bytes);
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
// What is not replaced would be the sanitiser's, whose memory the deletes below may not free.
void* operator new(size_t bytes, const std::nothrow_t& /*tag*/) noexcept {
  largest_allocation = std::max(largest_allocation, bytes);
  return std::malloc(bytes == 0 ? 1 : bytes);
}
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t /*bytes*/) noexcept {
  std::free(memory);
}

namespace tessera::index {

size_t LargestAllocation() {
  return largest_allocation;
}
void ResetLargestAllocation() {
  largest_allocation = 0;
}

}  // namespace tessera::index
