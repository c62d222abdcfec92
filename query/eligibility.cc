#include "query/eligibility.h"

#include "base/check.h"
#include "index/codecs/codec.h"

namespace tessera::query {

Eligibility::Eligibility(const SearchView& view) : view_(view) {
  if (view.index == nullptr) return;
  TESSERA_DCHECK(view.live.dead_count() <= view.index->rows);
  count_ = view.index->rows - view.live.dead_count();
  all_ = view.live.dead_count() == 0;
}

uint32_t Eligibility::MaskOf(const ListPart& part, uint64_t* mask) const {
  const auto blocks = static_cast<uint32_t>(index::BlockCount(part.rows));
  const bool any_dead = view_.live.LoadBlocks(part.first_block, blocks, mask);
  return any_dead ? view_.live.CountLive(part.first_block, part.rows) : part.rows;
}

uint32_t Eligibility::CountIn(const ListPart& part) const {
  return view_.live.CountLive(part.first_block, part.rows);
}

bool Eligibility::Has(const ListPart& part, uint32_t slot) const {
  return view_.live.IsLive(uint64_t{part.first_block} * index::kBlockRows + slot);
}

}  // namespace tessera::query
