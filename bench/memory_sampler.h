// The highest value that a reading of memory had over a time: the kernel keeps no peak of a
// process's anonymous memory, so a thread reads it a hundred times a second.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"

namespace tessera::bench {

class MemorySampler {
 public:
  // `read` is called by a thread of the sampler's own until it is destroyed.
  explicit MemorySampler(std::function<uint64_t()> read);
  MemorySampler(const MemorySampler&) = delete;
  MemorySampler& operator=(const MemorySampler&) = delete;
  ~MemorySampler();

  uint64_t peak();  // reads once more

 private:
  const std::function<uint64_t()> read_;
  void Loop();

  base::Mutex mu_;
  base::CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t peak_ ABSL_GUARDED_BY(mu_) = 0;
  std::thread thread_;
};

}  // namespace tessera::bench
