#include "query/filter/normalize.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace tessera::query {
namespace {

enum class Junction : uint8_t { kAnd, kOr };

Filter Normal(const Filter& filter, bool negated);

// The conditions of a junction, found by their texts.
using Parts = std::map<std::string, Filter>;

Filter Complement(const Filter& part) {
  if (const Not* negation = std::get_if<Not>(&part.node)) return negation->filter[0];
  return Negation(part);
}

bool IsJunction(const Filter& filter, Junction junction) {
  const AtLeast* node = std::get_if<AtLeast>(&filter.node);
  if (node == nullptr || node->filters.size() < 2) return false;
  return node->least == (junction == Junction::kAnd ? node->filters.size() : 1);
}

// Which In of one path can be one: any-of in an OR, all-of in an AND. One constant is either.
bool Merges(const Filter& filter, Junction junction) {
  const In* in = std::get_if<In>(&filter.node);
  return in != nullptr && (in->constants.size() == 1 || in->all == (junction == Junction::kAnd));
}

void MergeSets(Junction junction, std::vector<Filter>* parts) {
  std::map<std::string, In> sets;
  std::vector<Filter> rest;
  for (Filter& part : *parts) {
    if (!Merges(part, junction)) {
      rest.push_back(std::move(part));
      continue;
    }
    In& in = std::get<In>(part.node);
    In& set = sets[ToString(in.path)];
    set.path = in.path;
    set.all = junction == Junction::kAnd;
    set.constants.insert(set.constants.end(), in.constants.begin(), in.constants.end());
  }
  for (auto& [path, set] : sets) {
    set.constants = Canonical(std::move(set.constants));
    if (set.constants.size() == 1) set.all = false;
    rest.push_back({std::move(set)});
  }
  *parts = std::move(rest);
}

void Flatten(Filter part, Junction junction, std::vector<Filter>* parts) {
  if (!IsJunction(part, junction)) {
    parts->push_back(std::move(part));
    return;
  }
  for (Filter& inner : std::get<AtLeast>(part.node).filters) parts->push_back(std::move(inner));
}

// `filters` are normal.
Filter Join(Junction junction, std::vector<Filter> filters) {
  const bool is_and = junction == Junction::kAnd;
  std::vector<Filter> parts;
  for (Filter& filter : filters) {
    if (is_and ? IsTrue(filter) : IsFalse(filter)) continue;
    if (is_and ? IsFalse(filter) : IsTrue(filter)) return is_and ? False() : True();
    Flatten(std::move(filter), junction, &parts);
  }
  MergeSets(junction, &parts);
  Parts sorted;
  for (Filter& part : parts) {
    std::string text = ToString(part);
    sorted.emplace(std::move(text), std::move(part));
  }
  for (const auto& [text, part] : sorted) {
    if (sorted.contains(ToString(Complement(part)))) return is_and ? False() : True();
  }
  if (sorted.empty()) return is_and ? True() : False();
  std::vector<Filter> out;
  for (auto& [text, part] : sorted) out.push_back(std::move(part));
  if (out.size() == 1) return std::move(out[0]);
  return is_and ? And(std::move(out)) : Or(std::move(out));
}

Filter NormalAtLeast(const AtLeast& node, bool negated) {
  const auto count = static_cast<uint32_t>(node.filters.size());
  if (node.least == 0) return negated ? False() : True();
  if (node.least > count) return negated ? True() : False();
  // At least l of n do not hold: at least n - l + 1 of them fail.
  uint32_t least = negated ? count - node.least + 1 : node.least;
  std::vector<Filter> open;  // neither true nor false
  for (const Filter& filter : node.filters) {
    Filter part = Normal(filter, negated);
    if (IsTrue(part)) {
      if (--least == 0) return True();
    } else if (!IsFalse(part)) {
      open.push_back(std::move(part));
    }
  }
  if (least > open.size()) return False();
  if (least == open.size()) return Join(Junction::kAnd, std::move(open));
  if (least == 1) return Join(Junction::kOr, std::move(open));
  // Equal parts count as often as they are there.
  std::stable_sort(open.begin(), open.end(),
                   [](const Filter& a, const Filter& b) { return ToString(a) < ToString(b); });
  return {AtLeast{.least = least, .filters = std::move(open)}};
}

Filter NormalIn(In in) {
  in.constants = Canonical(std::move(in.constants));
  if (in.constants.empty()) return in.all ? True() : False();
  if (in.constants.size() == 1) in.all = false;
  return {std::move(in)};
}

Filter Normal(const Filter& filter, bool negated) {
  if (const AtLeast* node = std::get_if<AtLeast>(&filter.node)) {
    return NormalAtLeast(*node, negated);
  }
  if (const Not* node = std::get_if<Not>(&filter.node)) return Normal(node->filter[0], !negated);
  Filter leaf = filter;
  if (In* in = std::get_if<In>(&leaf.node)) leaf = NormalIn(std::move(*in));
  if (HasId* ids = std::get_if<HasId>(&leaf.node)) {
    if (ids->ids.empty()) leaf = False();
  }
  if (!negated) return leaf;
  if (IsTrue(leaf)) return False();
  if (IsFalse(leaf)) return True();
  return Negation(std::move(leaf));
}

}  // namespace

Filter Normalize(const Filter& filter) {
  return Normal(filter, /*negated=*/false);
}

}  // namespace tessera::query
