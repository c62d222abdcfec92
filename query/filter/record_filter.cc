#include "query/filter/record_filter.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"

namespace tessera::query {
namespace {

const FieldPath* PathOfCondition(const Filter& filter) {
  return std::visit(
      [](const auto& node) -> const FieldPath* {
        if constexpr (requires { node.path; }) return &node.path;
        return nullptr;
      },
      filter.node);
}

void CollectPaths(const Filter& filter, std::vector<std::string>* paths) {
  if (const auto* some = std::get_if<AtLeast>(&filter.node)) {
    for (const Filter& part : some->filters) CollectPaths(part, paths);
  } else if (const auto* negated = std::get_if<Not>(&filter.node)) {
    CollectPaths(negated->filter[0], paths);
  } else if (const FieldPath* path = PathOfCondition(filter)) {
    paths->push_back(PathKey(*path));
  }
}

uint32_t AddNode(const Filter& filter, FilterTree* tree) {
  FilterTree::Node node{.filter = &filter};
  if (const auto* some = std::get_if<AtLeast>(&filter.node)) {
    for (const Filter& part : some->filters) node.children.push_back(AddNode(part, tree));
  } else if (const auto* negated = std::get_if<Not>(&filter.node)) {
    node.children.push_back(AddNode(negated->filter[0], tree));
  } else if (const FieldPath* path = PathOfCondition(filter)) {
    const auto found = std::lower_bound(tree->paths.begin(), tree->paths.end(), PathKey(*path));
    node.path = static_cast<uint32_t>(found - tree->paths.begin());
  }
  tree->nodes.push_back(std::move(node));
  return static_cast<uint32_t>(tree->nodes.size() - 1);
}

template <typename Test>
bool AnyOf(std::string_view values, const Test& test) {
  FieldValueReader reader(values);
  FieldValue value;
  while (reader.Next(&value)) {
    if (test(value)) return true;
  }
  return false;
}

struct Condition {
  std::string_view values;

  bool operator()(const In& node) const {
    if (!node.all) {
      return AnyOf(values, [&](const FieldValue& v) { return IsOneOf(v, node.constants); });
    }
    return std::all_of(node.constants.begin(), node.constants.end(), [&](const Constant& constant) {
      return AnyOf(values, [&](const FieldValue& v) {
        const auto order = Order(v, constant);
        return order.has_value() && *order == 0;
      });
    });
  }
  bool operator()(const Exists&) const { return values.data() != nullptr; }
  bool operator()(const IsNull&) const {
    return AnyOf(values, [](const FieldValue& v) { return v.kind == FieldKind::kNull; });
  }
  bool operator()(const Prefix& node) const {
    return AnyOf(values, [&](const FieldValue& v) {
      return v.kind == FieldKind::kString && v.text.starts_with(node.prefix);
    });
  }
  bool operator()(const Range& node) const { return Inside(node); }
  bool operator()(const GeoBox& node) const { return Inside(node); }
  bool operator()(const GeoRadius& node) const { return Inside(node); }
  template <typename Other>
  bool operator()(const Other&) const {
    return false;
  }

  template <typename Bounds>
  bool Inside(const Bounds& bounds) const {
    return AnyOf(values, [&](const FieldValue& v) { return Within(v, bounds); });
  }
};

}  // namespace

FilterTree::FilterTree(Filter from) : filter(std::make_unique<const Filter>(std::move(from))) {
  CollectPaths(*filter, &paths);
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  AddNode(*filter, this);
}

bool HoldsForValues(const Filter& condition, std::string_view values) {
  return std::visit(Condition{values}, condition.node);
}

bool RecordFilter::Matches(const base::PointId& id, std::string_view record) const {
  absl::InlinedVector<std::string_view, 16> values(tree_.paths.size());
  FieldRecordReader reader(record);
  std::string_view key;
  std::string_view found;
  size_t path = 0;
  while (path < values.size() && reader.Next(&key, &found)) {
    while (path < values.size() && tree_.paths[path] < key) ++path;
    if (path < values.size() && tree_.paths[path] == key) values[path++] = found;
  }
  return Holds(static_cast<uint32_t>(tree_.nodes.size() - 1), id, values.data());
}

bool RecordFilter::Holds(uint32_t at, const base::PointId& id,
                         const std::string_view* values) const {
  const FilterTree::Node& node = tree_.nodes[at];
  if (const auto* some = std::get_if<AtLeast>(&node.filter->node)) {
    uint32_t held = 0;
    for (size_t i = 0; i < node.children.size() && held < some->least; ++i) {
      if (held + (node.children.size() - i) < some->least) return false;
      if (Holds(node.children[i], id, values)) ++held;
    }
    return held >= some->least;
  }
  if (std::holds_alternative<Not>(node.filter->node)) return !Holds(node.children[0], id, values);
  if (const auto* has = std::get_if<HasId>(&node.filter->node)) {
    return std::binary_search(has->ids.begin(), has->ids.end(), id);
  }
  return HoldsForValues(*node.filter, values[node.path]);
}

bool MatchesRecord(const Filter& filter, const base::PointId& id, std::string_view record) {
  return RecordFilter(filter).Matches(id, record);
}

}  // namespace tessera::query
