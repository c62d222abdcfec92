// Batches on their way from a stream to the thread of a bulk load, one at a time.
//
// Threads: one that puts, one that takes, any that ends it.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "api/call_memory.h"
#include "base/mutex.h"
#include "db/database.h"

namespace tessera::api {

class BatchQueue {
 public:
  // `wanted` is called, by who takes, whenever there is room for the next batch.
  explicit BatchQueue(std::function<void()> wanted) : wanted_(std::move(wanted)) {}

  // Pre: there is room. An empty batch is the end.
  void Put(std::vector<db::Point> points, CallMemory::Lease lease);
  // Every Take from now on answers `status`.
  void End(absl::Status status);

  // The next batch; waits for it, but not once `cancelled` is raised (kCancelled). The memory of the
  // batch before is given back.
  absl::Status Take(const std::atomic<bool>& cancelled, std::vector<db::Point>* points);

 private:
  struct Batch {
    std::vector<db::Point> points;
    CallMemory::Lease lease;
  };

  const std::function<void()> wanted_;
  CallMemory::Lease taken_;  // of the batch taken last; the taker's
  base::Mutex mu_;
  base::CondVar changed_;
  std::optional<Batch> next_ ABSL_GUARDED_BY(mu_);
  absl::Status end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tessera::api
