// The highest value that a reading of memory had over a time: the kernel keeps no peak of a
// process's anonymous memory, so a thread reads it a hundred times a second.
//
// Threads: any.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

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
  std::mutex mu_;
  std::condition_variable stop_;
  bool stopping_ = false;  // guarded by mu_
  uint64_t peak_ = 0;      // guarded by mu_
  std::thread thread_;
};

}  // namespace tessera::bench
