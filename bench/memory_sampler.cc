#include "bench/memory_sampler.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tessera::bench {
namespace {

constexpr std::chrono::milliseconds kPeriod{10};

}  // namespace

MemorySampler::MemorySampler(std::function<uint64_t()> read)
    : read_(std::move(read)), thread_([this] {
        std::unique_lock<std::mutex> lock(mu_);
        do {
          peak_ = std::max(peak_, read_());
        } while (!stop_.wait_for(lock, kPeriod, [this] { return stopping_; }));
      }) {}

MemorySampler::~MemorySampler() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

uint64_t MemorySampler::peak() {
  const std::lock_guard<std::mutex> lock(mu_);
  peak_ = std::max(peak_, read_());
  return peak_;
}

}  // namespace tessera::bench
