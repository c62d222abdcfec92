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
    base::MutexLock lock(&mu_);
    ended_ = true;
    wake_.Signal();
  }
  thread_.join();
}

void OnCancel::Run() {
  for (;;) {
    {
      base::MutexLock lock(&mu_);
      if (ended_) return;
      if (!flag_->load()) {
        wake_.WaitUntil(&mu_, std::chrono::steady_clock::now() + kPollInterval);
        continue;
      }
    }
    action_();
    return;
  }
}

}  // namespace tessera::api
