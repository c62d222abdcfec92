#include "tests/fuzz/allocation_limit.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace tessera::fuzz {
namespace {

std::atomic<bool> g_too_large{false};

}  // namespace

void ResetAllocationLimit() {
  g_too_large = false;
}

bool AllocationWasTooLarge() {
  return g_too_large;
}

}  // namespace tessera::fuzz

// NOLINTBEGIN(misc-definitions-in-headers,cppcoreguidelines-no-malloc)
void* operator new(size_t size) {
  if (size > tessera::fuzz::kAllocationMax) tessera::fuzz::g_too_large = true;
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
// What is not replaced would be a sanitiser's, whose memory the deletes below may not free.
void* operator new(size_t size, const std::nothrow_t& /*tag*/) noexcept {
  if (size > tessera::fuzz::kAllocationMax) tessera::fuzz::g_too_large = true;
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}
// NOLINTEND(misc-definitions-in-headers,cppcoreguidelines-no-malloc)
