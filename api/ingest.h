// Loading many points into a collection: by bulk load or by upserts, with progress.
//
// The rule of kAuto: points into an empty collection are held back until there are kBulkPointsMin
// or kBulkBytesMin of them; then they and all that follow are one bulk load. A source that ends
// before that is one upsert: a bulk load's fixed cost would not pay. Either way all of the source
// becomes visible at once or, after an error, nothing. A collection that holds points gets one
// upsert for each batch of the source.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "db/database.h"

namespace tessera::api {

inline constexpr uint64_t kBulkPointsMin = 2'000;
inline constexpr uint64_t kBulkBytesMin = uint64_t{4} << 20;  // of memory

enum class IngestMode {
  kAuto,  // bulk when much is loaded into an empty collection, else upserts
  kBulk,  // all visible at the end, or nothing
  // Batch by batch; what was stored before an error stays. When the collection has no room for more
  // rows outside its lists, they are absorbed first.
  kUpsert,
};

struct IngestProgress {
  uint64_t received = 0;   // points taken from the source
  uint64_t stored = 0;     // of these durable and visible
  std::string_view phase;  // of the bulk load, or "upsert"
  uint64_t phase_done = 0;
  uint64_t phase_total = 0;  // 0: not known
  bool bulk = false;
};

struct IngestOptions {
  IngestMode mode = IngestMode::kAuto;
  db::Ack ack = db::Ack::kWal;  // of upserts
  int threads = 0;              // of a bulk load; 0: one per core
  // Never called by two threads at once.
  std::function<void(const IngestProgress&)> progress;
  // Raised it ends the ingest with kCancelled: before the next batch of upserts, in any step of a
  // bulk load, of which then nothing is kept. Outlives the ingest.
  std::atomic<bool>* cancelled = nullptr;
};

struct IngestSummary {
  uint64_t stored = 0;  // all points of the source
  // Of these, points that took the place of an earlier one with the same id, of the source or the
  // collection: the collection has stored - replaced points more.
  uint64_t replaced = 0;
  bool bulk = false;
};

// The points that kAuto holds back.
class HeldPoints {
 public:
  void Add(std::vector<db::Point> points);
  // Whether there are so many that a bulk load pays.
  bool PayForBulk() const { return points_.size() >= kBulkPointsMin || bytes_ >= kBulkBytesMin; }
  const std::vector<db::Point>& points() const { return points_; }
  uint64_t bytes() const { return bytes_; }  // that they take in memory; an estimate
  std::vector<db::Point> Take();

 private:
  std::vector<db::Point> points_;
  uint64_t bytes_ = 0;
};

// One batch of kUpsert: of an id that comes more than once the last point stays.
absl::StatusOr<IngestSummary> UpsertBatch(db::Collection& collection, std::vector<db::Point> batch,
                                          db::Ack ack);

// Takes every batch of `source`. Of an id that comes more than once, also in one batch, the last
// point stays. Errors: what the source and the collection answer; before an error
// of upserts, `progress` has told how many points are stored.
absl::StatusOr<IngestSummary> IngestPoints(db::Collection& collection,
                                           const db::PointSource& source,
                                           const IngestOptions& options);

}  // namespace tessera::api
