// What a FakeCollection does with filters: reads them, and evaluates them on every payload.
#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"

#include "base/strings.h"
#include "query/filter/evaluate.h"
#include "query/filter/filter.h"
#include "query/filter/normalize.h"
#include "query/filter/parser.h"
#include "tests/api/fake_database.h"

namespace tessera::api {
namespace {

void AddPaths(const query::Filter& filter, std::set<query::FieldPath>* paths) {
  std::visit(
      [&](const auto& node) {
        if constexpr (requires { node.path; }) paths->insert(node.path);
        if constexpr (requires { node.filters; }) {
          for (const query::Filter& one : node.filters) AddPaths(one, paths);
        }
        if constexpr (requires { node.filter; }) {
          for (const query::Filter& one : node.filter) AddPaths(one, paths);
        }
      },
      filter.node);
}

const base::Value* Find(const base::Value& payload, const query::FieldPath& path) {
  const base::Value* at = &payload;
  for (const std::string& name : path) {
    if (at->object() == nullptr || !at->object()->contains(name)) return nullptr;
    at = &at->object()->find(name)->second;
  }
  return at;
}

}  // namespace

bool FakeCollection::HasPath(const query::FieldPath& path) const {
  return std::any_of(points_.begin(), points_.end(),
                     [&](const auto& one) { return Find(one.second.payload, path) != nullptr; });
}

absl::StatusOr<query::Filter> FakeCollection::Read(const std::optional<db::FilterText>& filter,
                                                   std::vector<std::string>* warnings) {
  if (!filter.has_value()) return query::True();
  last_filter_ = *filter;
  absl::StatusOr<query::Filter> parsed = query::ParseFilter(filter->expression, filter->parameters);
  if (!parsed.ok()) return parsed;
  std::set<query::FieldPath> paths;
  AddPaths(*parsed, &paths);
  for (const query::FieldPath& path : paths) {
    if (HasPath(path)) continue;
    const std::string why =
        absl::StrCat("filter: no point has the path ", base::Sv(query::ToString(path)));
    if (filter->strict) return absl::InvalidArgumentError(why);
    warnings->push_back(why);
  }
  return parsed;
}

std::vector<base::PointId> FakeCollection::Matching(const query::Filter& filter) const {
  std::vector<base::PointId> ids;
  for (const auto& [id, point] : points_) {
    if (query::Matches(filter, id, point.payload)) ids.push_back(id);
  }
  return ids;
}

db::Explain FakeCollection::ExplainOf(const query::Filter& filter, db::SearchPlan plan) const {
  const uint64_t matching = Matching(filter).size();
  const bool probe = plan == db::SearchPlan::kProbe;
  return {.filter = query::IsTrue(filter) ? "" : query::ToString(query::Normalize(filter)),
          .plan = probe ? db::SearchPlan::kProbe : db::SearchPlan::kExact,
          .prices = {{db::SearchPlan::kExact, 20, !probe}, {db::SearchPlan::kProbe, 45.5, probe}},
          .estimated_rows = matching + 1,
          .matching_rows = matching,
          .lists = 3,
          .lists_eligible = 2,
          .lists_probed = 1,
          .blocks = 8,
          .blocks_masked = 7,
          .codes_scanned = 64,
          .survivors = 9,
          .reranked = 5,
          .fresh_rows = 4,
          .bytes_read = 4096,
          .filter_cached = true,
          .estimated_recall = 0.975,
          .stages = {{"filter", 1.5}, {"scan", 12}}};
}

absl::StatusOr<db::CountResult> FakeCollection::CountWhere(const db::CountParams& params) {
  if (dropped_) return absl::NotFoundError("was dropped");
  base::MutexLock lock(&mu_);
  db::CountResult result;
  const absl::StatusOr<query::Filter> filter = Read(params.filter, &result.warnings);
  if (!filter.ok()) return filter.status();
  result.count = Matching(*filter).size();
  if (params.explain) result.explain = ExplainOf(*filter, db::SearchPlan::kAuto);
  return result;
}

absl::StatusOr<db::FacetResult> FakeCollection::Facet(const db::FacetParams& params) {
  base::MutexLock lock(&mu_);
  db::FacetResult result;
  // The path is read as a filter has it.
  const absl::StatusOr<query::Filter> exists =
      query::ParseFilter(absl::StrCat("EXISTS(", params.path, ")"));
  if (!exists.ok()) return exists.status();
  const query::FieldPath path = std::get<query::Exists>(exists->node).path;
  const absl::StatusOr<query::Filter> filter = Read(params.filter, &result.warnings);
  if (!filter.ok()) return filter.status();
  if (!HasPath(path)) {
    result.warnings.push_back(
        absl::StrCat("facet: no point has the path ", base::Sv(query::ToString(path))));
  }
  std::map<std::string, db::FacetValue> counts;
  for (const base::PointId& id : Matching(*filter)) {
    ++result.points;
    const base::Value* at = Find(points_[id].payload, path);
    if (at == nullptr) continue;
    std::map<std::string, base::Value> values;
    const base::Value::List one = {*at};
    for (const base::Value& value : at->list() == nullptr ? one : *at->list()) {
      if (!value.is_null() && value.object() == nullptr) values.emplace(value.ToJson(), value);
    }
    for (const auto& [text, value] : values) {
      counts[text].value = value;
      ++counts[text].count;
    }
  }
  for (auto& [text, value] : counts) result.values.push_back(value);
  std::stable_sort(result.values.begin(), result.values.end(),
                   [](const auto& a, const auto& b) { return a.count > b.count; });
  result.distinct = result.values.size();
  if (result.values.size() > params.limit) result.values.resize(params.limit);
  return result;
}

absl::StatusOr<db::ChangeResult> FakeCollection::DeleteWhere(const db::FilterText& filter,
                                                             db::Ack ack) {
  base::MutexLock lock(&mu_);
  db::ChangeResult result;
  const absl::StatusOr<query::Filter> parsed = Read(filter, &result.warnings);
  if (!parsed.ok()) return parsed.status();
  last_ack_ = ack;
  for (const base::PointId& id : Matching(*parsed)) result.points += points_.erase(id);
  return result;
}

absl::StatusOr<db::ChangeResult> FakeCollection::SetPayloadWhere(const db::FilterText& filter,
                                                                 const base::Value& payload,
                                                                 db::Ack ack) {
  base::MutexLock lock(&mu_);
  db::ChangeResult result;
  const absl::StatusOr<query::Filter> parsed = Read(filter, &result.warnings);
  if (!parsed.ok()) return parsed.status();
  last_ack_ = ack;
  const std::vector<base::PointId> ids = Matching(*parsed);
  if (absl::Status status = Merge(ids, payload); !status.ok()) return status;
  result.points = ids.size();
  return result;
}

db::FilterText FakeCollection::last_filter() const {
  base::MutexLock lock(&mu_);
  return last_filter_;
}

}  // namespace tessera::api
