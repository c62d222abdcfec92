// One ingest as a machine that messages drive: it begins, takes batches, finishes. Between messages
// it holds no thread. Upserts run where a message is handled; a bulk load has a thread of its own
// from its first batch on.
//
// A client that is silent for ingest_idle_timeout, that cancels or goes away, a drop of the
// collection and the stop of the server end it at once; of a bulk load then nothing is kept.
//
// Threads: one message at a time; End and OnCancel from any.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <tessera/v1/ingest.pb.h>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/call_memory.h"
#include "api/ingest.h"
#include "api/services/batch_queue.h"
#include "api/services/context.h"
#include "api/services/ingest_streams.h"
#include "base/mutex.h"
#include "db/database.h"

namespace tessera::api {

// The session's way to its client. Calls do not wait; after Finish there are none.
class IngestPort {
 public:
  virtual ~IngestPort() = default;
  virtual void ReadNext() = 0;
  // Sends it, or a later one in its place.
  virtual void Send(const v1::IngestResponse& response) = 0;
  virtual void Finish(const absl::Status& status) = 0;
};

class IngestSession final : public OpenIngest,
                            public std::enable_shared_from_this<IngestSession> {
 public:
  // `port` lives until it has finished.
  IngestSession(ServiceContext& context, IngestPort& port) : context_(context), port_(port) {}

  // Runs `step`, of taking a message, unless the ingest has ended; an error ends it. The port stays
  // until all steps have ended.
  void Step(const std::function<absl::Status()>& step) ABSL_LOCKS_EXCLUDED(mu_);
  // A step that goes on later, in another function: from BeginWait until EndWait has run `step`.
  void BeginWait() ABSL_LOCKS_EXCLUDED(mu_);
  void EndWait(const std::function<absl::Status()>& step) ABSL_LOCKS_EXCLUDED(mu_);
  // For a wait for memory, which the end of the ingest ends.
  uint64_t NewWaiter();

  // Of the messages' thread: whose calls run in turn with others, "" before it has begun; and whose
  // share of memory the next message is of, "" unless it may wait for an absorption.
  std::string_view collection_name() const;
  std::string_view memory_share() const;

  // Within a step: the next message, with the memory that it and its points take. Asks for the one
  // after it when its time comes. Blocks for as long as an upsert takes.
  absl::Status OnMessage(const v1::IngestRequest& request, CallMemory::Lease lease);
  // The client has said all.
  void OnHalfClose();
  void OnCancel();
  void End(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  enum class Stage { kBegin, kHold, kUpsert, kLoad, kFinished };

  absl::Status Begin(const v1::IngestBegin& begin);
  absl::Status TakeBatch(const v1::IngestBatch& batch, CallMemory::Lease lease);
  absl::Status TakeFinish(const v1::IngestFinish& finish);
  absl::Status Store(std::vector<db::Point> points);
  // Reads on once the held points are paid for; `lease` is of the last of them.
  absl::Status PayForHeld(CallMemory::Lease lease);
  absl::Status StartLoad();
  void Load();
  absl::Status WhyCancelled() const;
  void Tell(const IngestProgress& progress) ABSL_LOCKS_EXCLUDED(tell_mu_);
  void Done(const IngestSummary& summary) ABSL_LOCKS_EXCLUDED(tell_mu_);
  // Ends a step.
  void Leave() ABSL_LOCKS_EXCLUDED(mu_);
  void Conclude() ABSL_LOCKS_EXCLUDED(mu_);

  ServiceContext& context_;
  IngestPort& port_;
  std::atomic<bool> cancelled_{false};
  std::atomic<uint64_t> waiter_{0};

  // Of the messages' thread.
  Stage stage_ = Stage::kBegin;
  std::shared_ptr<db::Collection> collection_;
  IngestOptions options_;
  uint64_t received_ = 0;
  HeldPoints held_;
  CallMemory::Lease held_lease_;
  IngestSummary summary_;  // of upserts
  std::unique_ptr<BatchQueue> queue_;

  base::Mutex tell_mu_;
  v1::IngestResponse last_ ABSL_GUARDED_BY(tell_mu_);
  std::optional<double> told_at_ ABSL_GUARDED_BY(tell_mu_);
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();

  base::Mutex mu_ ABSL_ACQUIRED_BEFORE(tell_mu_);
  int steps_ ABSL_GUARDED_BY(mu_) = 0;  // that run: a message's, a load
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  BatchQueue* ending_queue_ ABSL_GUARDED_BY(mu_) = nullptr;  // what End has to end
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace tessera::api
