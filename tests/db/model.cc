#include "tests/db/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/float16.h"

namespace tessera::inline test {
namespace {

std::vector<double> Decode(const base::VectorFieldSchema& field, const std::string& bytes) {
  std::vector<double> out(field.dim);
  for (size_t i = 0; i < field.dim; ++i) {
    const char* at = bytes.data() + i * base::ElementBytes(field.type);
    switch (field.type) {
      case base::ElementType::kF32: {
        float value;
        std::memcpy(&value, at, sizeof(value));
        out[i] = value;
        break;
      }
      case base::ElementType::kF16: {
        uint16_t value;
        std::memcpy(&value, at, sizeof(value));
        out[i] = base::F16ToF32(value);
        break;
      }
      case base::ElementType::kI8:
        out[i] = static_cast<signed char>(*at);
        break;
      case base::ElementType::kU8:
        out[i] = static_cast<unsigned char>(*at);
        break;
    }
  }
  return out;
}

std::string Encode(const base::VectorFieldSchema& field, const std::vector<float>& values) {
  std::string bytes(field.dim * base::ElementBytes(field.type), '\0');
  for (size_t i = 0; i < field.dim; ++i) {
    char* at = bytes.data() + i * base::ElementBytes(field.type);
    switch (field.type) {
      case base::ElementType::kF32:
        std::memcpy(at, &values[i], sizeof(float));
        break;
      case base::ElementType::kF16: {
        const uint16_t half = base::F32ToF16(values[i]);
        std::memcpy(at, &half, sizeof(half));
        break;
      }
      case base::ElementType::kI8:
        *at = static_cast<char>(std::clamp(std::lround(values[i] * 20), -127L, 127L));
        break;
      case base::ElementType::kU8:
        *at = static_cast<char>(std::clamp(std::lround(values[i] * 20 + 128), 0L, 255L));
        break;
    }
  }
  return bytes;
}

double Distance(base::Metric metric, const std::vector<double>& row, std::span<const float> query) {
  double dot = 0;
  double l2 = 0;
  double row2 = 0;
  double query2 = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    dot += row[i] * query[i];
    l2 += (row[i] - query[i]) * (row[i] - query[i]);
    row2 += row[i] * row[i];
    query2 += static_cast<double>(query[i]) * query[i];
  }
  if (metric == base::Metric::kL2) return l2;
  if (metric == base::Metric::kInnerProduct) return -dot;
  return row2 == 0 || query2 == 0 ? 0 : -dot / std::sqrt(row2 * query2);
}

// f32 arithmetic may differ from the oracle's by this much.
bool Near(double a, double b) {
  return std::abs(a - b) <= 1e-4 * (1 + std::abs(a));
}

std::string CheckPoint(const db::StoredPoint& stored, const Model& model) {
  const auto it = model.points().find(stored.id);
  if (it == model.points().end()) return absl::StrCat("id ", stored.id.ToString(), " is extra");
  for (size_t i = 0; i < it->second.vectors.size(); ++i) {
    if (stored.vectors.size() <= i || stored.vectors[i].bytes != it->second.vectors[i]) {
      return absl::StrCat("id ", stored.id.ToString(), " has another vector ", i);
    }
  }
  if (!(stored.payload == it->second.payload)) {
    return absl::StrCat("id ", stored.id.ToString(), " has payload ", stored.payload.ToJson(),
                        ", not ", it->second.payload.ToJson());
  }
  return "";
}

std::string CheckScroll(db::Collection& collection, const Model& model) {
  std::optional<base::PointId> offset;
  auto expected = model.points().begin();
  while (true) {
    const auto page = collection.Scroll(offset, 97, {.payload = true, .vectors = true});
    if (!page.ok()) return absl::StrCat("scroll: ", page.status().ToString());
    for (const db::StoredPoint& point : page->points) {
      if (expected == model.points().end() || expected->first != point.id) {
        return absl::StrCat("scroll has id ", point.id.ToString(), " out of place");
      }
      ++expected;
      if (std::string wrong = CheckPoint(point, model); !wrong.empty()) return wrong;
    }
    if (!page->next_offset.has_value()) break;
    offset = page->next_offset;
  }
  if (expected != model.points().end()) {
    return absl::StrCat("scroll lacks id ", expected->first.ToString());
  }
  return "";
}

std::string CheckExactSearch(db::Collection& collection, const Model& model, PointMaker& maker,
                             size_t field) {
  const std::vector<float> query = maker.Query(field);
  db::SearchParams params;
  params.field = model.schema().vectors[field].name;
  params.limit = 20;
  params.exact = true;
  const auto result = collection.Search(query, params);
  if (!result.ok()) return absl::StrCat("exact search: ", result.status().ToString());
  const std::vector<ModelHit> expected = model.Search(field, query);
  const size_t count = std::min<size_t>(params.limit, expected.size());
  if (result->hits.size() != count) {
    return absl::StrCat("exact search has ", result->hits.size(), " hits, not ", count);
  }
  std::set<base::PointId> seen;
  for (size_t i = 0; i < count; ++i) {
    const db::Hit& hit = result->hits[i];
    if (!seen.insert(hit.id).second) return absl::StrCat("id ", hit.id.ToString(), " is hit twice");
    const auto it = model.points().find(hit.id);
    if (it == model.points().end()) {
      return absl::StrCat("exact search has the extra id ", hit.id.ToString());
    }
    const double distance =
        Distance(model.schema().vectors[field].metric,
                 Decode(model.schema().vectors[field], it->second.vectors[field]), query);
    if (!Near(hit.distance, distance) || !Near(hit.distance, expected[i].distance)) {
      return absl::StrCat("exact search hit ", i, " is at ", hit.distance, ", not at ",
                          expected[i].distance);
    }
  }
  return "";
}

// A filter that some points pass: counted, and searched with in every field.
std::string CheckFilter(db::Collection& collection, const Model& model, PointMaker& maker) {
  const auto bound = static_cast<int64_t>(maker.rng()() % 1100);
  const db::FilterText filter{.expression = absl::StrCat("n < ", bound, " AND NOT (tag = 'ttt')")};
  const auto passes = [&](const base::Value& payload) {
    if (payload.object() == nullptr) return false;
    const auto n = payload.object()->find("n");
    const auto tag = payload.object()->find("tag");
    const bool below = n != payload.object()->end() && n->second.integer() != nullptr &&
                       *n->second.integer() < bound;
    const bool tagged = tag != payload.object()->end() && tag->second.string() != nullptr &&
                        *tag->second.string() == "ttt";
    return below && !tagged;
  };
  size_t expected = 0;
  for (const auto& [id, point] : model.points()) expected += passes(point.payload) ? 1 : 0;
  const auto count = collection.CountWhere({.filter = filter});
  if (!count.ok()) return absl::StrCat("count where: ", count.status().ToString());
  if (count->count != expected) {
    return absl::StrCat("of ", filter.expression, " there are ", count->count, ", not ", expected);
  }
  for (size_t field = 0; field < model.schema().vectors.size(); ++field) {
    const std::vector<float> query = maker.Query(field);
    const auto found = collection.Search(
        query, {.field = model.schema().vectors[field].name, .limit = 20, .filter = filter});
    if (!found.ok()) return absl::StrCat("filtered search: ", found.status().ToString());
    if (found->hits.size() != std::min<size_t>(20, expected)) {
      return absl::StrCat("a search of ", expected, " matches has ", found->hits.size(), " hits");
    }
    for (const db::Hit& hit : found->hits) {
      const auto it = model.points().find(hit.id);
      if (it == model.points().end() || !passes(it->second.payload)) {
        return absl::StrCat("a filtered search has the extra id ", hit.id.ToString());
      }
    }
  }
  return "";
}

}  // namespace

void Model::Upsert(std::span<const db::Point> points) {
  for (const db::Point& point : points) {
    ModelPoint& stored = points_[point.id];
    stored.vectors.clear();
    for (const base::VectorFieldSchema& field : schema_.vectors) {
      for (const db::FieldVector& vector : point.vectors) {
        if (vector.field == field.name) stored.vectors.push_back(vector.bytes);
      }
    }
    stored.payload = point.payload;
  }
}

std::vector<ModelHit> Model::Search(size_t field, std::span<const float> query) const {
  std::vector<ModelHit> hits;
  for (const auto& [id, point] : points_) {
    hits.push_back({id, Distance(schema_.vectors[field].metric,
                                 Decode(schema_.vectors[field], point.vectors[field]), query)});
  }
  std::stable_sort(hits.begin(), hits.end(),
                   [](const ModelHit& a, const ModelHit& b) { return a.distance < b.distance; });
  return hits;
}

PointMaker::PointMaker(base::CollectionSchema schema, uint64_t seed, size_t cluster_count)
    : schema_(std::move(schema)), rng_(seed) {
  std::normal_distribution<float> normal;
  for (const base::VectorFieldSchema& field : schema_.vectors) {
    auto& centres = centres_.emplace_back(cluster_count);
    for (std::vector<float>& centre : centres) {
      for (uint32_t i = 0; i < field.dim; ++i) centre.push_back(normal(rng_));
    }
  }
}

std::vector<float> PointMaker::Vector(size_t field) {
  std::normal_distribution<float> normal(0, 0.4F);
  std::vector<float> out = centres_[field][rng_() % centres_[field].size()];
  for (float& value : out) value += normal(rng_);
  return out;
}

db::Point PointMaker::Make(base::PointId id) {
  db::Point point{.id = std::move(id), .vectors = {}, .payload = {}};
  // Any order of fields is accepted.
  for (size_t i = schema_.vectors.size(); i-- > 0;) {
    point.vectors.push_back({schema_.vectors[i].name, Encode(schema_.vectors[i], Vector(i))});
  }
  if (rng_() % 4 != 0) {
    point.payload =
        base::Value(base::Value::Object{{"n", base::Value(static_cast<int64_t>(rng_() % 1000))},
                                        {"tag", base::Value(std::string(rng_() % 30, 't'))}});
  }
  return point;
}

std::vector<float> PointMaker::Query(size_t field) {
  const base::VectorFieldSchema& schema = schema_.vectors[field];
  const std::vector<double> row = Decode(schema, Encode(schema, Vector(field)));
  return {row.begin(), row.end()};
}

std::string Difference(db::Collection& collection, const Model& model, PointMaker& maker) {
  const auto count = collection.Count();
  if (!count.ok()) return absl::StrCat("count: ", count.status().ToString());
  if (*count != model.points().size()) {
    return absl::StrCat("count is ", *count, ", not ", model.points().size());
  }
  if (std::string wrong = CheckScroll(collection, model); !wrong.empty()) return wrong;
  std::vector<base::PointId> ids;
  for (const auto& [id, point] : model.points()) {
    if (maker.rng()() % 8 == 0) ids.push_back(id);
  }
  std::shuffle(ids.begin(), ids.end(), maker.rng());
  const auto stored = collection.Get(ids, {.payload = true, .vectors = true});
  if (!stored.ok()) return absl::StrCat("get: ", stored.status().ToString());
  if (stored->size() != ids.size()) return "get lacks points";
  for (size_t i = 0; i < ids.size(); ++i) {
    if ((*stored)[i].id != ids[i]) return "get answers in another order";
    if (std::string wrong = CheckPoint((*stored)[i], model); !wrong.empty()) return wrong;
  }
  for (size_t field = 0; field < model.schema().vectors.size(); ++field) {
    if (std::string wrong = CheckExactSearch(collection, model, maker, field); !wrong.empty()) {
      return wrong;
    }
  }
  return CheckFilter(collection, model, maker);
}

double MeasureRecall(db::Collection& collection, const Model& model, PointMaker& maker,
                     const db::SearchParams& params, size_t query_count) {
  size_t field = 0;
  while (model.schema().vectors[field].name != params.field) ++field;
  size_t found = 0;
  size_t wanted = 0;
  for (size_t i = 0; i < query_count; ++i) {
    const std::vector<float> query = maker.Query(field);
    const auto result = collection.Search(query, params);
    TESSERA_CHECK(result.ok());
    const std::vector<ModelHit> expected = model.Search(field, query);
    const size_t limit = std::min<size_t>(params.limit, expected.size());
    if (limit == 0) continue;
    // Whatever is as near as the last true one counts.
    const double last = expected[limit - 1].distance;
    for (const db::Hit& hit : result->hits) {
      if (hit.distance <= last + 1e-5 * (1 + std::abs(last))) ++found;
    }
    wanted += limit;
  }
  return wanted == 0 ? 1 : static_cast<double>(found) / static_cast<double>(wanted);
}

}  // namespace tessera::inline test
