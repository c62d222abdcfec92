#include "query/filter/evaluate.h"

#include <algorithm>
#include <optional>

#include "query/filter/field_value.h"

namespace tessera::query {
namespace {

const base::Value* Find(const base::Value& payload, const FieldPath& path) {
  const base::Value* at = &payload;
  for (const std::string& name : path) {
    if (at->object() == nullptr) return nullptr;
    const auto found = at->object()->find(name);
    if (found == at->object()->end()) return nullptr;
    at = &found->second;
  }
  return at;
}

// Whether the test holds for the value at the path, or for one of the list there.
template <typename Test>
bool AnyValue(const base::Value& payload, const FieldPath& path, const Test& test) {
  const base::Value* at = Find(payload, path);
  if (at == nullptr) return false;
  const auto holds = [&](const base::Value& value) {
    const std::optional<FieldValue> field = ToFieldValue(value);
    return field.has_value() && test(*field);
  };
  if (at->list() == nullptr) return holds(*at);
  return std::any_of(at->list()->begin(), at->list()->end(), holds);
}

class Evaluator {
 public:
  Evaluator(const base::PointId& id, const base::Value& payload) : id_(id), payload_(payload) {}

  bool operator()(const Filter& filter) const { return std::visit(*this, filter.node); }

  bool operator()(const AtLeast& node) const {
    uint32_t held = 0;
    for (size_t i = 0; i < node.filters.size() && held < node.least; ++i) {
      if (held + (node.filters.size() - i) < node.least) return false;
      if ((*this)(node.filters[i])) ++held;
    }
    return held >= node.least;
  }
  bool operator()(const Not& node) const { return !(*this)(node.filter[0]); }
  bool operator()(const In& node) const {
    if (!node.all) {
      return AnyValue(payload_, node.path,
                      [&](const FieldValue& value) { return IsOneOf(value, node.constants); });
    }
    return std::all_of(node.constants.begin(), node.constants.end(), [&](const Constant& constant) {
      return AnyValue(payload_, node.path, [&](const FieldValue& value) {
        const auto order = Order(value, constant);
        return order.has_value() && *order == 0;
      });
    });
  }
  bool operator()(const Range& node) const {
    return AnyValue(payload_, node.path,
                    [&](const FieldValue& value) { return Within(value, node); });
  }
  bool operator()(const Exists& node) const { return Find(payload_, node.path) != nullptr; }
  bool operator()(const IsNull& node) const {
    return AnyValue(payload_, node.path, [](const FieldValue& value) { return value.kind == FieldKind::kNull; });
  }
  bool operator()(const Prefix& node) const {
    return AnyValue(payload_, node.path, [&](const FieldValue& value) {
      return value.kind == FieldKind::kString && value.text.starts_with(node.prefix);
    });
  }
  bool operator()(const GeoBox& node) const { return AnyGeo(node); }
  bool operator()(const GeoRadius& node) const { return AnyGeo(node); }
  bool operator()(const HasId& node) const {
    return std::binary_search(node.ids.begin(), node.ids.end(), id_);
  }

 private:
  template <typename Shape>
  bool AnyGeo(const Shape& shape) const {
    return AnyValue(payload_, shape.path, [&](const FieldValue& value) {
      return Within(value, shape);
    });
  }

  const base::PointId& id_;
  const base::Value& payload_;
};

}  // namespace

bool Matches(const Filter& filter, const base::PointId& id, const base::Value& payload) {
  return Evaluator(id, payload)(filter);
}

}  // namespace tessera::query
