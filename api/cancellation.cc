#include "api/cancellation.h"

#include <chrono>

namespace tessera::api {
namespace {

constexpr std::chrono::milliseconds kPollInterval{5};
// A server between two requests should not wake its watcher for each: it dozes off after this many
// rounds without a call.
constexpr int kIdleRoundsMax = 100;
// What calls have to answer by themselves once the server stops.
constexpr std::chrono::milliseconds kStopPatience{500};

}  // namespace

CancellationWatch::Call::Call(CancellationWatch& watch, grpc::ServerContext& context,
                              OnStop on_stop)
    : watch_(watch), context_(context), on_stop_(on_stop) {
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
    ended_ = true;
    wake_.notify_one();
  }
  thread_.join();
}

void CancellationWatch::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  int idle_rounds = 0;
  while (!ended_) {
    if (idle_rounds >= kIdleRoundsMax) {
      asleep_ = true;
      wake_.wait(lock, [this] { return ended_ || !calls_.empty(); });
      asleep_ = false;
      idle_rounds = 0;
    }
    wake_.wait_for(lock, kPollInterval, [this] { return ended_; });
    idle_rounds = calls_.empty() ? idle_rounds + 1 : 0;
    for (Call* call : calls_) Look(call);
  }
}

void CancellationWatch::Look(Call* call) {
  if (call->context_.IsCancelled()) call->cancelled_.store(true, std::memory_order_relaxed);
  if (!stopped_at_.has_value() || call->on_stop_ != OnStop::kCancel) return;
  call->stopped_.store(true, std::memory_order_relaxed);
  call->cancelled_.store(true, std::memory_order_relaxed);
  if (std::chrono::steady_clock::now() - *stopped_at_ > kStopPatience) call->context_.TryCancel();
}

void CancellationWatch::Stop() {
  const std::lock_guard<std::mutex> lock(mu_);
  if (!stopped_at_.has_value()) stopped_at_ = std::chrono::steady_clock::now();
}

}  // namespace tessera::api
