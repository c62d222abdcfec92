#include "api/ingest.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"

#include "base/mutex.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

// Tells one listener what the source's thread and the load's threads do.
class Reporter {
 public:
  Reporter(const IngestOptions& options, bool bulk) : listener_(options.progress) {
    progress_.bulk = bulk;
    if (!bulk) progress_.phase = "upsert";
  }

  void Received(uint64_t points) {
    base::MutexLock lock(&mu_);
    progress_.received += points;
    Tell();
  }

  void Stored(uint64_t points) {
    base::MutexLock lock(&mu_);
    progress_.stored += points;
    Tell();
  }

  void Phase(const db::BulkLoadProgress& phase) {
    base::MutexLock lock(&mu_);
    progress_.phase = phase.phase;
    progress_.phase_done = phase.done;
    progress_.phase_total = phase.total;
    Tell();
  }

 private:
  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (listener_ != nullptr) listener_(progress_);
  }

  const std::function<void(const IngestProgress&)>& listener_;
  base::Mutex mu_;
  IngestProgress progress_ ABSL_GUARDED_BY(mu_);
};

absl::StatusOr<IngestSummary> BulkIngest(db::Collection& collection, const db::PointSource& source,
                                         const IngestOptions& options) {
  Reporter reporter(options, true);
  const db::PointSource counted = [&](std::vector<db::Point>* batch) {
    absl::Status status = source(batch);
    if (status.ok() && !batch->empty()) reporter.Received(batch->size());
    return status;
  };
  const db::BulkLoadOptions load = {
      .threads = options.threads,
      .progress = [&](const db::BulkLoadProgress& phase) { reporter.Phase(phase); },
      .cancelled = options.cancelled};
  TESSERA_ASSIGN_OR_RETURN(const db::BulkLoadOutcome loaded, collection.BulkLoad(counted, load));
  reporter.Stored(loaded.rows);
  return IngestSummary{.stored = loaded.rows, .replaced = loaded.replaced, .bulk = true};
}

// An ingest that is faster than the absorption of what it writes waits for it instead of failing.
absl::StatusOr<db::UpsertOutcome> UpsertWithRoom(db::Collection& collection,
                                                 const std::vector<db::Point>& batch, db::Ack ack) {
  absl::StatusOr<db::UpsertOutcome> outcome = collection.Upsert(batch, ack);
  if (!absl::IsResourceExhausted(outcome.status())) return outcome;
  if (!collection.Absorb().ok()) return outcome;
  return collection.Upsert(batch, ack);
}

// Leaves the last of the points with the same id, which an upsert would refuse.
void KeepLast(std::vector<db::Point>* batch) {
  absl::flat_hash_set<base::PointId> ids;
  ids.reserve(batch->size());
  const auto first = std::remove_if(batch->rbegin(), batch->rend(), [&](const db::Point& point) {
    return !ids.insert(point.id).second;
  });
  batch->erase(batch->begin(), first.base());
}

// What a parsed payload takes: a Value of many small numbers has little text and much memory.
uint64_t ValueBytes(const base::Value& value) {
  constexpr uint64_t kMemberBytes = 96;  // node of a map and its key's heap block
  uint64_t bytes = sizeof(base::Value);
  if (const std::string* text = value.string()) bytes += text->size();
  if (const base::Value::List* list = value.list()) {
    for (const base::Value& element : *list) bytes += ValueBytes(element);
  }
  if (const base::Value::Object* object = value.object()) {
    for (const auto& [key, member] : *object) {
      bytes += kMemberBytes + key.size() + ValueBytes(member);
    }
  }
  return bytes;
}

}  // namespace

absl::StatusOr<IngestSummary> UpsertBatch(db::Collection& collection, std::vector<db::Point> batch,
                                          db::Ack ack) {
  const uint64_t count = batch.size();
  KeepLast(&batch);
  TESSERA_ASSIGN_OR_RETURN(const db::UpsertOutcome outcome, UpsertWithRoom(collection, batch, ack));
  return IngestSummary{.stored = count, .replaced = count - batch.size() + outcome.replaced};
}

void HeldPoints::Add(std::vector<db::Point> points) {
  constexpr uint64_t kPointBytes = 256;
  for (db::Point& point : points) {
    bytes_ += kPointBytes + point.payload_json.size() + ValueBytes(point.payload);
    for (const db::FieldVector& vector : point.vectors) bytes_ += vector.bytes.size();
    points_.push_back(std::move(point));
  }
}

std::vector<db::Point> HeldPoints::Take() {
  bytes_ = 0;
  return std::exchange(points_, {});
}

namespace {

absl::StatusOr<IngestSummary> UpsertIngest(db::Collection& collection,
                                           const db::PointSource& source,
                                           const IngestOptions& options) {
  Reporter reporter(options, false);
  IngestSummary summary;
  std::vector<db::Point> batch;
  for (;;) {
    batch.clear();
    TESSERA_RETURN_IF_ERROR(source(&batch));
    const uint64_t count = batch.size();
    if (count == 0) return summary;
    reporter.Received(count);
    TESSERA_ASSIGN_OR_RETURN(const IngestSummary stored,
                             UpsertBatch(collection, std::move(batch), options.ack));
    summary.stored += stored.stored;
    summary.replaced += stored.replaced;
    reporter.Stored(count);
  }
}

absl::StatusOr<IngestSummary> AutoIngest(db::Collection& collection, const db::PointSource& source,
                                         const IngestOptions& options) {
  TESSERA_ASSIGN_OR_RETURN(const uint64_t stored, collection.Count());
  if (stored > 0) return UpsertIngest(collection, source, options);
  HeldPoints held;
  std::vector<db::Point> batch;
  bool ended = false;
  while (!ended && !held.PayForBulk()) {
    batch.clear();
    TESSERA_RETURN_IF_ERROR(source(&batch));
    ended = batch.empty();
    held.Add(std::move(batch));
  }
  // The held points first, then the rest of the source; it is not asked again after its end.
  const db::PointSource all = [&](std::vector<db::Point>* out) -> absl::Status {
    if (!held.points().empty()) {
      *out = held.Take();
      return absl::OkStatus();
    }
    out->clear();
    return ended ? absl::OkStatus() : source(out);
  };
  return ended ? UpsertIngest(collection, all, options) : BulkIngest(collection, all, options);
}

}  // namespace

absl::StatusOr<IngestSummary> IngestPoints(db::Collection& collection,
                                           const db::PointSource& source,
                                           const IngestOptions& options) {
  const db::PointSource live = [&](std::vector<db::Point>* batch) {
    if (options.cancelled != nullptr && options.cancelled->load()) {
      return absl::CancelledError("the ingest was cancelled");
    }
    return source(batch);
  };
  switch (options.mode) {
    case IngestMode::kBulk:
      return BulkIngest(collection, live, options);
    case IngestMode::kUpsert:
      return UpsertIngest(collection, live, options);
    case IngestMode::kAuto:
      break;
  }
  return AutoIngest(collection, live, options);
}

}  // namespace tessera::api
