#include "index/parallel_for.h"

#include <algorithm>

#include <omp.h>

namespace tessera::index {
namespace {

// While it lives, libraries that the calling thread enters do not start threads of their own.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { omp_set_num_threads(before_); }

 private:
  const int before_;
};

}  // namespace

uint32_t EffectiveThreads(uint32_t thread_count) {
  if (thread_count != 0) return thread_count;
  return static_cast<uint32_t>(std::max(omp_get_num_procs(), 1));
}

void ParallelFor(size_t count, uint32_t thread_count,
                 const std::function<void(size_t index, uint32_t worker)>& body) {
  const size_t threads = std::min<size_t>(EffectiveThreads(thread_count), count);
  if (threads <= 1 || omp_in_parallel() != 0) {
    const OneThread one_thread;
    for (size_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(threads)) default(none) \
    shared(count, body)
  for (size_t i = 0; i < count; ++i) body(i, static_cast<uint32_t>(omp_get_thread_num()));
}

}  // namespace tessera::index
