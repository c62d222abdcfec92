#include "index/parallel_for.h"

#include <algorithm>

#include <omp.h>

namespace tessera::index {

uint32_t EffectiveThreads(uint32_t thread_count) {
  if (thread_count != 0) return thread_count;
  return static_cast<uint32_t>(std::max(omp_get_num_procs(), 1));
}

void ParallelFor(size_t count, uint32_t thread_count,
                 const std::function<void(size_t index, uint32_t worker)>& body) {
  const size_t threads = std::min<size_t>(EffectiveThreads(thread_count), count);
  if (threads <= 1 || omp_in_parallel() != 0) {
    for (size_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(threads)) default(none) \
    shared(count, body)
  for (size_t i = 0; i < count; ++i) body(i, static_cast<uint32_t>(omp_get_thread_num()));
}

}  // namespace tessera::index
