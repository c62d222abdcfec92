#include "bench/memory_sampler.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tessera::bench {
namespace {

constexpr std::chrono::milliseconds kPeriod{10};

}  // namespace

MemorySampler::MemorySampler(std::function<uint64_t()> read)
    : read_(std::move(read)), thread_([this] { Loop(); }) {}

MemorySampler::~MemorySampler() {
  {
    base::MutexLock lock(&mu_);
    stopping_ = true;
    stop_.SignalAll();
  }
  thread_.join();
}

void MemorySampler::Loop() {
  base::MutexLock lock(&mu_);
  do {
    peak_ = std::max(peak_, read_());
    stop_.WaitUntil(&mu_, std::chrono::steady_clock::now() + kPeriod);
  } while (!stopping_);
}

uint64_t MemorySampler::peak() {
  base::MutexLock lock(&mu_);
  peak_ = std::max(peak_, read_());
  return peak_;
}

}  // namespace tessera::bench
