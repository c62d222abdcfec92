// A filter by the numbers of a test index's rows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "index/raw_plane.h"
#include "query/row_filter.h"
#include "tests/query/index_fixture.h"

namespace tessera::query {

using Pass = std::function<bool(size_t number)>;

class NumberFilter : public RowFilter {
 public:
  NumberFilter(const TestIndex& index, const Pass& pass) : passes_(index.rows().size()) {
    const IndexView& view = index.view();
    const uint64_t blocks = view.positions / index::kBlockRows;
    auto words = std::make_unique<uint64_t[]>(blocks);
    matches_.list_matches.resize(view.list_count());
    std::vector<uint32_t> list_of_block(blocks);
    for (const ListPart& part : view.parts) {
      for (uint64_t i = 0; i < index::BlockCount(part.rows); ++i) {
        list_of_block[part.first_block + i] = part.list;
      }
    }
    for (size_t number = 0; number < passes_.size(); ++number) {
      passes_[number] = pass(number);
      if (!passes_[number]) continue;
      const uint64_t position = index.position(number);
      words[position / 64] |= uint64_t{1} << (position % 64);
      ++matches_.rows;
      ++matches_.list_matches[list_of_block[position / 64]];
    }
    for (const uint32_t count : matches_.list_matches) matches_.lists_eligible += count > 0 ? 1 : 0;
    const std::shared_ptr<const uint64_t[]> shared(std::move(words));
    matches_.ranges.push_back({.begin_block = 0,
                               .end_block = static_cast<uint32_t>(blocks),
                               .words = {shared, shared.get()}});
  }

  const IndexMatches* index() const override { return &matches_; }
  bool MatchesFresh(const FreshRowRef&) const override { return true; }
  bool passes(size_t number) const { return passes_[number]; }

 private:
  std::vector<bool> passes_;
  IndexMatches matches_;
};

}  // namespace tessera::query
