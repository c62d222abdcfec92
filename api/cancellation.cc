#include "api/cancellation.h"

#include <chrono>

namespace tessera::api {
namespace {

constexpr std::chrono::milliseconds kPollInterval{5};
// A server between two requests should not wake its watcher for each: it dozes off after this many
// rounds without a call.
constexpr int kIdleRoundsMax = 100;

}  // namespace

CancellationWatch::Call::Call(CancellationWatch& watch, grpc::ServerContext& context)
    : watch_(watch), context_(context) {
  const std::lock_guard<std::mutex> lock(watch_.mu_);
  place_ = watch_.calls_.insert(watch_.calls_.end(), this);
  if (watch_.asleep_) watch_.wake_.notify_one();
}

CancellationWatch::Call::~Call() {
  const std::lock_guard<std::mutex> lock(watch_.mu_);
  watch_.calls_.erase(place_);
}

CancellationWatch::CancellationWatch() : thread_([this] { Run(); }) {}

CancellationWatch::~CancellationWatch() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
    wake_.notify_one();
  }
  thread_.join();
}

void CancellationWatch::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  int idle_rounds = 0;
  while (!stopped_) {
    if (idle_rounds >= kIdleRoundsMax) {
      asleep_ = true;
      wake_.wait(lock, [this] { return stopped_ || !calls_.empty(); });
      asleep_ = false;
      idle_rounds = 0;
    }
    wake_.wait_for(lock, kPollInterval, [this] { return stopped_; });
    idle_rounds = calls_.empty() ? idle_rounds + 1 : 0;
    for (Call* call : calls_) {
      if (call->context_.IsCancelled()) call->cancelled_.store(true, std::memory_order_relaxed);
    }
  }
}

}  // namespace tessera::api
