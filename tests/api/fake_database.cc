#include "tests/api/fake_database.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <new>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/float16.h"
#include "base/strings.h"
#include "query/batch.h"
#include "query/filter/evaluate.h"

namespace tessera::api {
namespace {

double Element(const std::string& bytes, base::ElementType type, size_t i) {
  switch (type) {
    case base::ElementType::kF32: {
      float value;
      std::memcpy(&value, bytes.data() + 4 * i, sizeof(value));
      return value;
    }
    case base::ElementType::kF16: {
      uint16_t bits;
      std::memcpy(&bits, bytes.data() + 2 * i, sizeof(bits));
      return base::F16ToF32(bits);
    }
    case base::ElementType::kI8:
      return static_cast<int8_t>(bytes[i]);
    case base::ElementType::kU8:
      return static_cast<uint8_t>(bytes[i]);
  }
  TESSERA_FATAL("unknown element type");
}

double Distance(std::span<const float> query, const std::string& bytes,
                const base::VectorFieldSchema& field) {
  double l2 = 0;
  double dot = 0;
  double query_norm = 0;
  double row_norm = 0;
  for (size_t i = 0; i < query.size(); ++i) {
    const double q = query[i];
    const double x = Element(bytes, field.type, i);
    l2 += (q - x) * (q - x);
    dot += q * x;
    query_norm += q * q;
    row_norm += x * x;
  }
  if (field.metric == base::Metric::kL2) return l2;
  if (field.metric == base::Metric::kInnerProduct) return -dot;
  return query_norm == 0 || row_norm == 0 ? 0 : -dot / std::sqrt(query_norm * row_norm);
}

const std::string& BytesOf(const db::StoredPoint& point, const std::string& field) {
  for (const db::FieldVector& vector : point.vectors) {
    if (vector.field == field) return vector.bytes;
  }
  TESSERA_FATAL("a stored point lacks a field");
}

}  // namespace

absl::Status FakeCollection::CheckVectors(const db::Point& point) const {
  for (const db::FieldVector& vector : point.vectors) {
    const auto field = std::find_if(schema_.vectors.begin(), schema_.vectors.end(),
                                    [&](const auto& one) { return one.name == vector.field; });
    if (field == schema_.vectors.end()) {
      return absl::InvalidArgumentError(absl::StrCat("no vector field \"", vector.field, "\""));
    }
    const size_t want = field->dim * base::ElementBytes(field->type);
    if (vector.bytes.size() != want) {
      return absl::InvalidArgumentError(absl::StrCat(
          "vector \"", vector.field, "\" has ", vector.bytes.size(), " bytes, must have ", want));
    }
    for (size_t i = 0; i < field->dim; ++i) {
      if (std::isfinite(Element(vector.bytes, field->type, i))) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("vector \"", vector.field, "\" has component ", i, " = ",
                       Element(vector.bytes, field->type, i), ", must be finite"));
    }
  }
  return absl::OkStatus();
}

absl::Status FakeCollection::Check(const std::vector<db::Point>& points, bool ids_once) const {
  std::set<base::PointId> ids;
  for (const db::Point& point : points) {
    const std::string id = point.id.ToString();
    if (!ids.insert(point.id).second && ids_once) {
      return absl::InvalidArgumentError(absl::StrCat("id ", id, " is twice in the batch"));
    }
    if (point.vectors.size() != schema_.vectors.size()) {
      return absl::InvalidArgumentError(absl::StrCat("point ", id, " has ", point.vectors.size(),
                                                     " vectors, must have ",
                                                     schema_.vectors.size()));
    }
    if (absl::Status status = CheckVectors(point); !status.ok()) return status;
    const size_t bytes =
        point.payload.is_null() ? point.payload_json.size() : point.payload.ToJson().size();
    if (bytes > db::kPayloadBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("payload of point ", id, " has ", bytes,
                                                     " bytes, at most ", db::kPayloadBytesMax));
    }
  }
  return absl::OkStatus();
}

uint64_t FakeCollection::Apply(std::vector<db::Point> points, Points* into) {
  ++version_;
  const size_t expected = into->size() + points.size();
  for (db::Point& point : points) {
    const base::PointId id = point.id;
    db::StoredPoint& stored = (*into)[id];
    stored = {.id = id,
              .version = version_,
              .vectors = std::move(point.vectors),
              .payload = std::move(point.payload),
              .payload_json = {}};
    if (!point.payload_json.empty()) stored.payload = base::ParseJson(point.payload_json).value();
  }
  return expected - into->size();
}

absl::StatusOr<db::UpsertOutcome> FakeCollection::Upsert(std::vector<db::Point> points,
                                                         db::Ack ack) {
  if (absl::Status status = Check(points, true); !status.ok()) return status;
  ++upserts_waiting;
  while (upsert_gate_closed) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  base::MutexLock lock(&mu_);
  if (upserts_until_full == 0) return absl::ResourceExhaustedError("no room for fresh rows");
  if (upserts_until_full > 0) --upserts_until_full;
  ++upserts;
  last_ack_ = ack;
  const uint64_t replaced = Apply(std::move(points), &points_);
  return db::UpsertOutcome{.version = version_, .replaced = replaced};
}

absl::StatusOr<uint64_t> FakeCollection::Delete(std::span<const base::PointId> ids, db::Ack ack) {
  base::MutexLock lock(&mu_);
  last_ack_ = ack;
  uint64_t deleted = 0;
  for (const base::PointId& id : ids) deleted += points_.erase(id);
  return deleted;
}

absl::Status FakeCollection::Merge(std::span<const base::PointId> ids, const base::Value& payload) {
  if (ids.size() * payload.ToJson().size() > merged_bytes_max) {
    return absl::ResourceExhaustedError("the merged payloads are too long");
  }
  for (const base::PointId& id : ids) {
    base::Value& old = points_[id].payload;
    if (old.object() == nullptr) old = base::Value(base::Value::Object());
    for (const auto& [key, value] : *payload.object()) {
      if (value.is_null()) {
        old.object()->erase(key);
      } else {
        (*old.object())[key] = value;
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> FakeCollection::SetPayload(std::span<const base::PointId> ids,
                                                    const base::Value& payload, db::Ack ack) {
  base::MutexLock lock(&mu_);
  last_ack_ = ack;
  for (const base::PointId& id : ids) {
    if (!points_.contains(id)) return absl::NotFoundError(absl::StrCat("no id ", id.ToString()));
  }
  if (absl::Status status = Merge(ids, payload); !status.ok()) return status;
  return std::set<base::PointId>(ids.begin(), ids.end()).size();
}

db::StoredPoint FakeCollection::Project(const db::StoredPoint& point, db::Projection with) const {
  db::StoredPoint out = point;
  if (with.payload && with.payload_as_text && !out.payload.is_null()) {
    out.payload_json = out.payload.ToJson();
  }
  if (!with.payload || with.payload_as_text) out.payload = base::Value();
  if (!with.vectors) out.vectors.clear();
  return out;
}

uint64_t FakeCollection::ShownBytes(const db::StoredPoint& point) {
  uint64_t bytes = point.payload_json.size();
  for (const db::FieldVector& vector : point.vectors) bytes += vector.bytes.size();
  return bytes;
}

absl::StatusOr<std::vector<db::StoredPoint>> FakeCollection::Get(std::span<const base::PointId> ids,
                                                                 db::Projection with) {
  base::MutexLock lock(&mu_);
  std::vector<db::StoredPoint> points;
  uint64_t bytes = 0;
  for (const base::PointId& id : ids) {
    const auto found = points_.find(id);
    if (found == points_.end()) continue;
    points.push_back(Project(found->second, with));
    bytes += ShownBytes(points.back());
    bytes_shown_max = std::max(bytes_shown_max.load(), bytes);
    if (bytes > with.bytes_max && points.size() > 1) return absl::OutOfRangeError("too much");
  }
  return points;
}

absl::StatusOr<db::ScrollPage> FakeCollection::ScrollWhere(const db::ScrollParams& params) {
  if (params.limit == 0 || params.limit > base::kLimitMax) {
    return absl::InvalidArgumentError("limit must be 1 .. 10000");
  }
  base::MutexLock lock(&mu_);
  db::ScrollPage page;
  const absl::StatusOr<query::Filter> filter = Read(params.filter, &page.warnings);
  if (!filter.ok()) return filter.status();
  auto at = params.offset.has_value() ? points_.lower_bound(*params.offset) : points_.begin();
  uint64_t bytes = 0;
  for (; at != points_.end() && page.points.size() < params.limit; ++at) {
    if (!query::Matches(*filter, at->first, at->second.payload)) continue;
    db::StoredPoint point = Project(at->second, params.with);
    bytes += ShownBytes(point);
    bytes_scrolled_max = std::max(bytes_scrolled_max.load(), bytes);
    if (bytes > params.with.bytes_max && !page.points.empty()) break;
    page.points.push_back(std::move(point));
  }
  if (at != points_.end()) page.next_offset = at->first;
  return page;
}

absl::StatusOr<uint64_t> FakeCollection::Count() {
  if (dropped_) return absl::NotFoundError("was dropped");
  base::MutexLock lock(&mu_);
  return points_.size();
}

absl::Status FakeCollection::WaitAtGate(const db::SearchParams& params) {
  ++searches_waiting;
  while (search_gate_closed) {
    if (params.cancelled != nullptr && params.cancelled->load()) {
      ++searches_cancelled;
      return absl::CancelledError("cancelled");
    }
    if (params.deadline.Passed()) {
      ++searches_late;
      return absl::DeadlineExceededError("too late");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return absl::OkStatus();
}

absl::StatusOr<db::SearchResult> FakeCollection::Search(std::span<const float> query,
                                                        const db::SearchParams& params) {
  if (absl::Status status = WaitAtGate(params); !status.ok()) return status;
  base::MutexLock lock(&mu_);
  last_params_ = params;
  if (params.limit == 0 || params.limit > base::kLimitMax) {
    return absl::InvalidArgumentError("limit must be 1 .. 10000");
  }
  const auto field = std::find_if(schema_.vectors.begin(), schema_.vectors.end(),
                                  [&](const auto& one) { return one.name == params.field; });
  if (field == schema_.vectors.end() || query.size() != field->dim) {
    return absl::InvalidArgumentError("wrong field or dimension");
  }
  db::SearchResult result;
  const absl::StatusOr<query::Filter> filter = Read(params.filter, &result.warnings);
  if (!filter.ok()) return filter.status();
  for (const auto& [id, point] : points_) {
    if (!query::Matches(*filter, id, point.payload)) continue;
    const double distance = Distance(query, BytesOf(point, field->name), *field);
    db::StoredPoint shown = Project(point, params.with);
    result.hits.push_back({.id = id,
                           .score = static_cast<float>(-distance),
                           .distance = static_cast<float>(distance),
                           .version = point.version,
                           .payload = std::move(shown.payload),
                           .payload_json = std::move(shown.payload_json),
                           .vectors = std::move(shown.vectors)});
  }
  std::stable_sort(result.hits.begin(), result.hits.end(),
                   [](const auto& a, const auto& b) { return a.distance < b.distance; });
  if (params.score_threshold.has_value()) {
    std::erase_if(result.hits,
                  [&](const auto& hit) { return hit.score < *params.score_threshold; });
  }
  if (result.hits.size() > params.limit) result.hits.resize(params.limit);
  uint64_t bytes = 0;
  for (size_t i = 0; i < result.hits.size(); ++i) {
    bytes += result.hits[i].payload_json.size();
    for (const db::FieldVector& vector : result.hits[i].vectors) bytes += vector.bytes.size();
    if (bytes > params.with.bytes_max && i > 0) return absl::OutOfRangeError("too much");
  }
  result.stats.estimated_recall = 1;
  result.stats.reranked = points_.size();
  if (params.explain) result.explain = ExplainOf(*filter, params.plan);
  return result;
}

absl::Status FakeCollection::SearchBatch(std::span<const float> queries,
                                         const db::SearchParams& params,
                                         const db::BatchSink& sink) {
  const auto field = std::find_if(schema_.vectors.begin(), schema_.vectors.end(),
                                  [&](const auto& one) { return one.name == params.field; });
  if (field == schema_.vectors.end()) return absl::InvalidArgumentError("wrong field");
  return query::RunBatch(helpers_, queries.size() / field->dim, false, [&](size_t i) -> absl::Status {
    absl::StatusOr<db::SearchResult> result =
        Search(queries.subspan(i * field->dim, field->dim), params);
    return result.ok() ? sink(i, *std::move(result)) : result.status();
  });
}

void FakeCollection::Drop() {
  dropped_ = true;
  base::MutexLock lock(&load_mu_);
  if (load_cancelled_ != nullptr) load_cancelled_->store(true);
}

absl::Status FakeCollection::TakeAll(const db::PointSource& source,
                                     const db::BulkLoadOptions& options,
                                     std::vector<db::Point>* all) const {
  std::vector<db::Point> batch;
  for (;;) {
    batch.clear();
    if (absl::Status status = source(&batch); !status.ok()) return status;
    if (batch.empty()) return absl::OkStatus();
    if (absl::Status status = Check(batch, false); !status.ok()) return status;
    for (db::Point& point : batch) all->push_back(std::move(point));
    if (options.progress != nullptr) options.progress({"read", all->size(), 0});
  }
}

absl::Status FakeCollection::WaitAtLoadGate(const db::BulkLoadOptions& options) {
  if (load_gate_closed) ++loads_waiting;
  while (load_gate_closed) {
    if (options.cancelled != nullptr && options.cancelled->load()) {
      return absl::CancelledError("the bulk load was cancelled");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return absl::OkStatus();
}

absl::StatusOr<db::BulkLoadOutcome> FakeCollection::BulkLoad(const db::PointSource& source,
                                                             const db::BulkLoadOptions& options) {
  ++bulk_loads;
  if (source_throws) throw std::bad_alloc();
  std::vector<db::Point> all;
  {
    base::MutexLock lock(&load_mu_);
    load_cancelled_ = options.cancelled;
  }
  absl::Status status = TakeAll(source, options, &all);
  if (status.ok()) status = WaitAtLoadGate(options);
  {
    base::MutexLock lock(&load_mu_);
    load_cancelled_ = nullptr;
  }
  if (!status.ok()) {
    ++bulk_loads_failed;
    return status;
  }
  const uint64_t rows = all.size();
  if (options.progress != nullptr) options.progress({"publish", rows, rows});
  base::MutexLock lock(&mu_);
  const uint64_t replaced = Apply(std::move(all), &points_);
  return db::BulkLoadOutcome{.rows = rows, .replaced = replaced};
}

absl::Status FakeCollection::Absorb() {
  ++absorbs;
  if (upserts_until_full == 0) upserts_until_full = room_after_absorb.load();
  return absl::OkStatus();
}

absl::StatusOr<db::CollectionStats> FakeCollection::Stats() {
  base::MutexLock lock(&mu_);
  db::CollectionStats stats{.schema = schema_, .points = points_.size(), .fields = {}};
  for (const base::VectorFieldSchema& field : schema_.vectors) {
    stats.fields.push_back({.schema = field,
                            .lists = 3,
                            .absorbed_rows = points_.size(),
                            .fresh_rows = 0,
                            .memory_bytes = 1000,
                            .disk_bytes = 2000,
                            .default_nprobe = 2});
  }
  return stats;
}

db::SearchParams FakeCollection::last_params() const {
  base::MutexLock lock(&mu_);
  return last_params_;
}

db::Ack FakeCollection::last_ack() const {
  base::MutexLock lock(&mu_);
  return last_ack_;
}

absl::Status FakeDatabase::CreateCollection(const base::CollectionSchema& schema) {
  if (absl::Status status = base::Validate(schema); !status.ok()) return status;
  base::MutexLock lock(&state_->mu);
  if (!state_->collections.emplace(schema.name, std::make_shared<FakeCollection>(schema)).second) {
    return absl::AlreadyExistsError(absl::StrCat("collection ", schema.name, " exists"));
  }
  return absl::OkStatus();
}

absl::Status FakeDatabase::DropCollection(std::string_view name) {
  base::MutexLock lock(&state_->mu);
  const auto found = state_->collections.find(name);
  if (found == state_->collections.end()) {
    return absl::NotFoundError(absl::StrCat("no collection ", base::Sv(name)));
  }
  found->second->Drop();
  state_->collections.erase(found);
  return absl::OkStatus();
}

std::vector<base::CollectionSchema> FakeDatabase::ListCollections() {
  base::MutexLock lock(&state_->mu);
  std::vector<base::CollectionSchema> schemas;
  for (const auto& [name, collection] : state_->collections) {
    schemas.push_back(collection->schema());
  }
  return schemas;
}

absl::StatusOr<std::shared_ptr<db::Collection>> FakeDatabase::GetCollection(std::string_view name) {
  base::MutexLock lock(&state_->mu);
  const auto found = state_->collections.find(name);
  if (found == state_->collections.end()) {
    return absl::NotFoundError(absl::StrCat("no collection ", base::Sv(name)));
  }
  return std::shared_ptr<db::Collection>(found->second);
}

db::MemoryUsage FakeDatabase::Memory() const {
  return {.limit_bytes = 1 << 30, .used_bytes = 1 << 20, .components = {{"fake", 1 << 20}}};
}

std::shared_ptr<FakeCollection> FakeDatabase::collection(std::string_view name) {
  base::MutexLock lock(&state_->mu);
  const auto found = state_->collections.find(name);
  TESSERA_CHECK(found != state_->collections.end());
  return found->second;
}

}  // namespace tessera::api
