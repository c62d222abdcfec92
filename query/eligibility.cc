#include "query/eligibility.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "index/codecs/codec.h"

namespace tessera::query {
namespace {

// Blocks of a part that are masked at a time when only their number is asked for.
constexpr uint32_t kPortionBlocks = 64;

uint64_t RowsOfBlock(uint32_t rows, uint32_t block) {
  const uint64_t left = rows - block * index::kBlockRows;
  return left >= index::kBlockRows ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
}

}  // namespace

Eligibility::Eligibility(const SearchView& view, const RowFilter* filter)
    : view_(view), filter_(filter) {
  if (view.index == nullptr) return;
  TESSERA_DCHECK(view.live.dead_count() <= view.index->rows);
  if (filter != nullptr) matches_ = filter->index();
  TESSERA_DCHECK(filter == nullptr || matches_ != nullptr);
  const uint64_t live = view.index->rows - view.live.dead_count();
  count_ = matches_ == nullptr ? live : std::min(live, matches_->rows);
  all_ = view.live.dead_count() == 0 && matches_ == nullptr;
}

uint32_t Eligibility::MaskOf(const ListPart& part, uint64_t* mask) const {
  const auto blocks = static_cast<uint32_t>(index::BlockCount(part.rows));
  if (matches_ == nullptr) {
    const bool any_dead = view_.live.LoadBlocks(part.first_block, blocks, mask);
    return any_dead ? view_.live.CountLive(part.first_block, part.rows) : part.rows;
  }
  matches_->Load(part.first_block, blocks, mask);
  uint32_t rows = 0;
  for (uint32_t block = 0; block < blocks; ++block) {
    mask[block] &= view_.live.Block(uint64_t{part.first_block} + block);
    rows += static_cast<uint32_t>(std::popcount(mask[block] & RowsOfBlock(part.rows, block)));
  }
  return rows;
}

uint32_t Eligibility::CountIn(const ListPart& part) const {
  if (matches_ == nullptr) return view_.live.CountLive(part.first_block, part.rows);
  uint64_t words[kPortionBlocks];
  uint32_t rows = 0;
  const auto blocks = static_cast<uint32_t>(index::BlockCount(part.rows));
  for (uint32_t first = 0; first < blocks; first += kPortionBlocks) {
    const uint32_t count = std::min(kPortionBlocks, blocks - first);
    matches_->Load(uint64_t{part.first_block} + first, count, words);
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t live = view_.live.Block(uint64_t{part.first_block} + first + i);
      rows +=
          static_cast<uint32_t>(std::popcount(words[i] & live & RowsOfBlock(part.rows, first + i)));
    }
  }
  return rows;
}

bool Eligibility::Has(const ListPart& part, uint32_t slot) const {
  const uint64_t position = uint64_t{part.first_block} * index::kBlockRows + slot;
  if (!view_.live.IsLive(position)) return false;
  if (matches_ == nullptr) return true;
  uint64_t word = 0;
  matches_->Load(position / index::kBlockRows, 1, &word);
  return (word >> (position % index::kBlockRows) & 1) != 0;
}

}  // namespace tessera::query
