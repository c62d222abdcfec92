// A filter made ready to be asked of many field records.
//
// Threads: immutable; concurrent calls allowed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/point_id.h"
#include "query/filter/field_record.h"
#include "query/filter/filter.h"

namespace tessera::query {

// The tree with the keys of its paths.
struct FilterTree {
  explicit FilterTree(Filter from);

  struct Node {
    const Filter* filter = nullptr;
    uint32_t path = 0;               // of a condition on one: index into `paths`
    std::vector<uint32_t> children = {};  // of AtLeast and Not: indices into `nodes`
  };

  std::unique_ptr<const Filter> filter;
  std::vector<std::string> paths;  // keys, ascending, each once
  std::vector<Node> nodes;         // children before parents; the last is the root
};

// A condition on a path, asked of the values of that path's entry; null `data()`: no entry.
bool HoldsForValues(const Filter& condition, std::string_view values);

class RecordFilter {
 public:
  explicit RecordFilter(Filter filter) : tree_(std::move(filter)) {}

  // What Matches says of the payload that the record is of. Damaged records: what was read before.
  // Cost: O(record + conditions); no allocation with up to 16 paths.
  bool Matches(const base::PointId& id, std::string_view record) const;

 private:
  bool Holds(uint32_t node, const base::PointId& id, const std::string_view* values) const;

  FilterTree tree_;
};

// The same once.
bool MatchesRecord(const Filter& filter, const base::PointId& id, std::string_view record);

}  // namespace tessera::query
