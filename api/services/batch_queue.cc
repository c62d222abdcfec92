#include "api/services/batch_queue.h"

#include <chrono>
#include <utility>

#include "base/check.h"

namespace tessera::api {
namespace {

// The engine raises a flag when a collection closes; it cannot wake who waits for a client.
constexpr std::chrono::milliseconds kLookInterval{10};

}  // namespace

void BatchQueue::Put(std::vector<db::Point> points, CallMemory::Lease lease) {
  base::MutexLock lock(&mu_);
  TESSERA_CHECK(!next_.has_value());
  next_.emplace(Batch{.points = std::move(points), .lease = std::move(lease)});
  changed_.Signal();
}

void BatchQueue::End(absl::Status status) {
  base::MutexLock lock(&mu_);
  if (end_.ok()) end_ = std::move(status);
  changed_.Signal();
}

absl::Status BatchQueue::Take(const std::atomic<bool>& cancelled, std::vector<db::Point>* points) {
  taken_ = {};
  bool ended = false;
  {
    base::MutexLock lock(&mu_);
    while (end_.ok() && !next_.has_value()) {
      if (cancelled.load()) return absl::CancelledError("the ingest was cancelled");
      changed_.WaitUntil(&mu_, std::chrono::steady_clock::now() + kLookInterval);
    }
    if (!end_.ok()) return end_;
    *points = std::move(next_->points);
    taken_ = std::move(next_->lease);
    ended = points->empty();
    if (!ended) next_.reset();
  }
  if (!ended) wanted_();
  return absl::OkStatus();
}

}  // namespace tessera::api
