// How a long build shares the machine: it looks here between batches of rows and between lists.
#pragma once

#include <atomic>
#include <functional>

#include "absl/status/status.h"

namespace tessera::version {

struct BuildPace {
  const std::atomic<bool>* cancelled = nullptr;  // not reset once it is set
  // Called on the thread that builds, many times a second; may block, to pause the build or to let
  // others have the processor.
  std::function<void()> yield = {};

  // Errors: kCancelled.
  absl::Status Check() const {
    if (yield) yield();
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
      return absl::CancelledError("the index build was cancelled");
    }
    return absl::OkStatus();
  }
};

}  // namespace tessera::version
