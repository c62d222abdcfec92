// A data directory with its collections: the whole engine as one object, what the server, the
// command line and the benchmarks are built on.
//
// Threads: every call from any thread. Searches never wait for writers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/deadline.h"
#include "base/files/file_system.h"
#include "base/point_id.h"
#include "base/schema.h"
#include "base/types.h"
#include "base/value.h"

namespace tessera::db {

inline constexpr size_t kPayloadBytesMax = 1 << 20;
inline constexpr size_t kBatchPointsMax = 100'000;
// What the merged payloads of one SetPayload may have together: they are one write.
inline constexpr uint64_t kMergedBytesMax = uint64_t{8} << 20;
inline constexpr double kDefaultRecall = 0.95;
inline constexpr uint64_t kMemoryLimitFloor = uint64_t{128} << 20;

// When a write is answered. Both are visible to every later read (read-your-writes).
enum class Ack {
  kWal,     // after the log is synced: survives kill -9 and power loss
  kMemory,  // after it is applied: survives kill -9 at best
};

// One vector of a point, in the element type of its field: dim * ElementBytes bytes, little-endian.
struct FieldVector {
  std::string field;  // "" is the default field
  std::string bytes;
};

struct Point {
  base::PointId id;
  std::vector<FieldVector> vectors;  // each field of the schema exactly once
  base::Value payload;               // an object or null
  // Instead of `payload` (then null): an object as base::CanonicalJson writes it. A payload of many
  // small values takes a tenth of the memory as text.
  std::string payload_json = {};
};

struct StoredPoint {
  base::PointId id;
  uint64_t version = 0;  // grows with every upsert of the point
  std::vector<FieldVector> vectors;
  base::Value payload;
  std::string payload_json = {};  // with.payload_as_text; "" is null
};

// Which parts of a point a read returns.
struct Projection {
  bool payload = false;
  bool vectors = false;
  // Payloads are returned as they are stored, JSON text in `payload_json`; `payload` stays null.
  bool payload_as_text = false;
  // What the returned payloads and vectors may have together, one point always. A page of Scroll
  // ends there, Get and Search answer kOutOfRange; nothing beyond it is read.
  uint64_t bytes_max = UINT64_MAX;
};

// A filter as clients write it: an expression (query/filter/parser.h has the grammar) and the
// values of its $names.
struct FilterText {
  std::string expression;
  std::map<std::string, base::Value, std::less<>> parameters = {};
  // A path that no point has is an error instead of a warning.
  bool strict = false;
};

// How the rows that pass a filter are found.
enum class SearchPlan {
  kAuto,   // the planner's choice
  kExact,  // every match is compared on raw vectors
  kProbe,  // the nearest lists that have matches, as many as the recall target takes
};

struct SearchParams {
  std::string field = {};    // vector field searched; "" is the default field
  uint32_t limit = 10;       // 1 .. base::kLimitMax
  bool exact = false;        // scan every row on raw vectors
  double recall_target = 0;  // 0: the default 0.95; else (0, 1)
  uint32_t nprobe = 0;       // 0: from recall_target; else lists to visit
  double oversampling = 0;   // 0: from recall_target; else rerank depth as a factor of limit, >= 1
  std::optional<float> score_threshold = std::nullopt;  // only hits at least this good
  std::optional<FilterText> filter = std::nullopt;
  SearchPlan plan = SearchPlan::kAuto;  // not read with `exact`
  bool explain = false;
  Projection with = {};
  base::Deadline deadline = base::Deadline::Never();
  const std::atomic<bool>* cancelled = nullptr;  // polled between stages
};

// score: larger is better: -distance for l2, the inner product for ip, the cosine for cosine.
// distance: squared L2 for l2; minus the inner product for ip; minus the cosine for cosine;
// smaller is better.
struct Hit {
  base::PointId id;
  float score = 0;
  float distance = 0;
  uint64_t version = 0;
  base::Value payload;               // with.payload
  std::string payload_json = {};     // with.payload and with.payload_as_text
  std::vector<FieldVector> vectors;  // with.vectors
};

struct SearchStats {
  double estimated_recall = 0;
  uint64_t lists_probed = 0;
  uint64_t codes_scanned = 0;
  uint64_t survivors = 0;   // rows the first plane let through
  uint64_t reranked = 0;    // rows compared on raw vectors
  uint64_t bytes_read = 0;  // from disk
};

// A way that was thought of, with what it was expected to cost.
struct PlanPrice {
  SearchPlan plan = SearchPlan::kAuto;
  double microseconds = 0;
  bool chosen = false;
};

struct StageTime {
  std::string stage;  // "filter", "heads", "scan", "rerank" ...
  double microseconds = 0;
};

// What a search, a count or a change by filter did, and why.
struct Explain {
  std::string filter;  // its normal form; "" without one
  SearchPlan plan = SearchPlan::kAuto;
  std::vector<PlanPrice> prices;
  uint64_t estimated_rows = 0;  // that match, as was thought before
  uint64_t matching_rows = 0;   // that match, dead ones in lists included
  uint64_t lists = 0;
  uint64_t lists_eligible = 0;  // that have matches
  uint64_t lists_probed = 0;
  uint64_t blocks = 0;         // of 64 rows, in the probed lists
  uint64_t blocks_masked = 0;  // of these, passed over without a look at their codes
  uint64_t codes_scanned = 0;
  uint64_t survivors = 0;
  uint64_t reranked = 0;
  uint64_t fresh_rows = 0;  // evaluated beside the lists
  uint64_t bytes_read = 0;
  bool filter_cached = false;  // what matches was known from an earlier call
  double estimated_recall = 0;
  std::vector<StageTime> stages;  // in order
};

// Of more equally far points than there is room for, which are returned is not defined: another
// limit may bring others. An exact search returns those of the smallest ids. A cosine is in [-1,
// 1]; that of a point with a copy of itself may be a rounding error below 1.
struct SearchResult {
  std::vector<Hit> hits;  // best first, ties to the smaller id
  SearchStats stats;
  std::vector<std::string> warnings;  // of the filter
  std::optional<Explain> explain;     // if asked for
  double seconds = 0;                 // that the search took, of a batch: this query alone
};

// Takes the result of one query of a batch; an error ends the batch.
using BatchSink = std::function<absl::Status(size_t query, SearchResult result)>;

struct FieldStats {
  base::VectorFieldSchema schema;
  uint64_t lists = 0;
  uint64_t absorbed_rows = 0;
  uint64_t fresh_rows = 0;
  uint64_t memory_bytes = 0;  // heads and list map
  uint64_t disk_bytes = 0;    // extents
  uint32_t default_nprobe = 0;
};

struct CollectionStats {
  base::CollectionSchema schema;
  uint64_t points = 0;
  std::vector<FieldStats> fields;
};

struct ScrollPage {
  std::vector<StoredPoint> points;           // ascending ids
  std::optional<base::PointId> next_offset;  // first id of the next page
  std::vector<std::string> warnings = {};    // of the filter
};

// When a call that may take long is to end: kDeadlineExceeded, kCancelled.
struct StopCondition {
  base::Deadline deadline = base::Deadline::Never();
  const std::atomic<bool>* cancelled = nullptr;  // polled now and then

  absl::Status Check() const;
};

struct ScrollParams {
  std::optional<base::PointId> offset = std::nullopt;  // the first id
  uint32_t limit = 100;                                // 1 .. base::kLimitMax
  std::optional<FilterText> filter = std::nullopt;
  Projection with = {};
  StopCondition stop = {};
};

struct CountParams {
  std::optional<FilterText> filter = std::nullopt;
  bool explain = false;
  StopCondition stop = {};
};

struct CountResult {
  uint64_t count = 0;
  std::vector<std::string> warnings;
  std::optional<Explain> explain;
};

struct FacetParams {
  std::string path;     // as in a filter: names with dots between them, quoted where they must be
  uint32_t limit = 10;  // values returned; 1 .. base::kLimitMax
  std::optional<FilterText> filter = std::nullopt;
  StopCondition stop = {};
};

struct FacetValue {
  base::Value value;   // boolean, number or string
  uint64_t count = 0;  // points that have it
};

struct FacetResult {
  std::vector<FacetValue> values;  // most points first, ties by value
  uint64_t distinct = 0;           // values in all
  uint64_t points = 0;             // that pass the filter
  std::vector<std::string> warnings;
};

struct ChangeResult {
  uint64_t points = 0;  // that were deleted or changed
  std::vector<std::string> warnings;
};

// Rows for a bulk load, pulled in batches: fills `*batch` (cleared before) with the next points,
// leaves it empty at the end. An error aborts the load.
using PointSource = std::function<absl::Status(std::vector<Point>* batch)>;

struct BulkLoadProgress {
  std::string_view phase;  // "read", "train", "assign", "write", "publish"
  uint64_t done = 0;
  uint64_t total = 0;  // 0: not known
};

struct BulkLoadOptions {
  int threads = 0;  // 0: one per core
  std::function<void(const BulkLoadProgress&)> progress;
  // Raised by the caller it ends the load with kCancelled, and nothing is kept. The collection
  // raises it too, when it closes or is dropped. Outlives the load.
  std::atomic<bool>* cancelled = nullptr;
};

struct UpsertOutcome {
  uint64_t version = 0;   // of the last point, the highest of the batch
  uint64_t replaced = 0;  // points that took the place of one with the same id
};

struct BulkLoadOutcome {
  uint64_t rows = 0;  // all that the source gave
  // Of these, rows that took the place of an earlier one with the same id, of the source or the
  // collection: the collection has rows - replaced points more.
  uint64_t replaced = 0;
};

class Collection {
 public:
  virtual ~Collection() = default;

  virtual const base::CollectionSchema& schema() const = 0;

  // Writes all points or none; later writes of an id replace it whole.
  //
  // Errors: kInvalidArgument: wrong dimension, missing or unknown field, NaN or infinity, an id
  //         twice in the batch, payload not an object or over kPayloadBytesMax, batch over
  //         kBatchPointsMax or of more bytes than fresh rows may ever take; kResourceExhausted:
  //         memory or disk. A write that finds the memory full waits until rows of whichever
  //         collection has most are absorbed.
  virtual absl::StatusOr<UpsertOutcome> Upsert(std::vector<Point> points, Ack ack) = 0;

  // Deletes what is there and returns how many were.
  virtual absl::StatusOr<uint64_t> Delete(std::span<const base::PointId> ids, Ack ack) = 0;

  // Merges `payload` (an object) into each point's payload, key by key; a null removes the key.
  // Versions stay. Returns how many points that were; an id given twice is one.
  // Errors: kNotFound naming the first absent id; kResourceExhausted when the merged payloads have
  // more than kMergedBytesMax together; nothing is then applied.
  virtual absl::StatusOr<uint64_t> SetPayload(std::span<const base::PointId> ids,
                                              const base::Value& payload, Ack ack) = 0;

  // In the order of `ids`; absent ids are left out.
  virtual absl::StatusOr<std::vector<StoredPoint>> Get(std::span<const base::PointId> ids,
                                                       Projection with) = 0;

  // The points with id >= offset that pass the filter, ascending, at most `limit`.
  // Errors: kInvalidArgument (limit, filter).
  virtual absl::StatusOr<ScrollPage> ScrollWhere(const ScrollParams& params) = 0;
  // Of all points.
  absl::StatusOr<ScrollPage> Scroll(const std::optional<base::PointId>& offset, uint32_t limit,
                                    Projection with) {
    return ScrollWhere({.offset = offset, .limit = limit, .with = with});
  }

  // All points; those that pass the filter. Exact. Errors: kInvalidArgument (filter).
  virtual absl::StatusOr<uint64_t> Count() = 0;
  virtual absl::StatusOr<CountResult> CountWhere(const CountParams& params) = 0;

  // The values that a path has in the points that pass the filter, with the number of points that
  // have them; a point with a list counts for each of its values.
  // Errors: kInvalidArgument (path, limit, filter).
  virtual absl::StatusOr<FacetResult> Facet(const FacetParams& params) = 0;

  // Delete and SetPayload of the points that pass the filter, as they are when it begins. Changed
  // in portions, each as one write: on an error those before are changed.
  // Errors: as Delete and SetPayload; kInvalidArgument (filter).
  virtual absl::StatusOr<ChangeResult> DeleteWhere(const FilterText& filter, Ack ack) = 0;
  virtual absl::StatusOr<ChangeResult> SetPayloadWhere(const FilterText& filter,
                                                       const base::Value& payload, Ack ack) = 0;

  // `query`: dim finite floats. Errors: kInvalidArgument, kDeadlineExceeded, kCancelled.
  virtual absl::StatusOr<SearchResult> Search(std::span<const float> query,
                                              const SearchParams& params) = 0;

  // Searches for each of `queries` [count x dim] on one state of the collection, several at a time
  // on the engine's threads, and hands query i's result to `sink` as it is there: in any order,
  // from several threads at once. Results are those of Search. Ends early when a search or the sink
  // fails. Errors: of the first query that failed, naming it: as Search; those of `sink`.
  virtual absl::Status SearchBatch(std::span<const float> queries, const SearchParams& params,
                                   const BatchSink& sink) = 0;

  // Loads points in external-memory passes straight into extents: all become visible at the end,
  // or none. Peak memory stays within the limit whatever the input's size. Other writes to this
  // collection are refused (kUnavailable) meanwhile; reads go on. Of an id that comes more than
  // once, also in one batch, the last point stays.
  // Errors: those of `source`; as Upsert; kCancelled. Nothing has changed then.
  virtual absl::StatusOr<BulkLoadOutcome> BulkLoad(const PointSource& source,
                                                   const BulkLoadOptions& options) = 0;

  // Absorbs every fresh row into lists now instead of in the background.
  virtual absl::Status Absorb() = 0;

  virtual absl::StatusOr<CollectionStats> Stats() = 0;
};

struct DatabaseOptions {
  uint64_t memory_limit = 0;  // bytes for the whole process; 0: half of the machine's memory
  int threads = 0;            // background and load threads; 0: one per core
  bool create_if_missing = true;
  bool background_absorb = true;
  // Nothing is written to the directory, which may be one that cannot be written to: every change
  // is kFailedPrecondition. A lock is taken if one can be had, together with others that only read.
  bool read_only = false;
  absl::Duration tend_every = absl::Seconds(10);  // looks after collections nobody writes to
  base::FileSystem* fs = nullptr;                 // null: the machine's own
};

struct MemoryUsage {
  uint64_t limit_bytes = 0;
  uint64_t used_bytes = 0;
  std::vector<std::pair<std::string, uint64_t>> components;
};

class Database {
 public:
  // Errors: kNotFound (create_if_missing off and no directory, or an empty one);
  //         kFailedPrecondition (locked by another process; a directory that holds something else:
  //         it stays untouched); kUnimplemented (written by a newer version); kInvalidArgument
  //         (memory limit below kMemoryLimitFloor); kDataLoss (damage that recovery must not hide:
  //         the message names what is damaged or missing; nothing that may be needed was removed);
  //         kPermissionDenied (the directory cannot be written to, see read_only).
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path,
                                                        const DatabaseOptions& options);
  virtual ~Database() = default;

  // Errors: kInvalidArgument, kAlreadyExists.
  virtual absl::Status CreateCollection(const base::CollectionSchema& schema) = 0;
  // Errors: kNotFound. Running searches finish on what they see; a load of it ends with kNotFound.
  // The name is free when it returns; the rows are removed in the background.
  virtual absl::Status DropCollection(std::string_view name) = 0;
  virtual std::vector<base::CollectionSchema> ListCollections() = 0;
  // Errors: kNotFound naming the collection. The pointer stays valid after a drop; its calls then
  // answer kNotFound.
  virtual absl::StatusOr<std::shared_ptr<Collection>> GetCollection(std::string_view name) = 0;

  virtual MemoryUsage Memory() const = 0;

  // Stops background work and makes everything durable. Also done by the destructor.
  virtual absl::Status Close() = 0;
};

}  // namespace tessera::db
