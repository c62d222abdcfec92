#include "api/on_cancel.h"

#include <chrono>
#include <utility>

namespace tessera::api {
namespace {

constexpr std::chrono::milliseconds kPollInterval{20};

}  // namespace

OnCancel::OnCancel(const std::atomic<bool>* flag, std::function<void()> action)
    : flag_(flag), action_(std::move(action)) {
  if (flag_ != nullptr) thread_ = std::thread([this] { Run(); });
}

OnCancel::~OnCancel() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    ended_ = true;
    wake_.notify_one();
  }
  thread_.join();
}

void OnCancel::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  while (!ended_) {
    if (flag_->load()) {
      lock.unlock();
      action_();
      return;
    }
    wake_.wait_for(lock, kPollInterval);
  }
}

}  // namespace tessera::api
