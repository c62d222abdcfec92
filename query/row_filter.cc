#include "query/row_filter.h"

#include <algorithm>

namespace tessera::query {

void IndexMatches::Load(uint64_t first_block, uint32_t count, uint64_t* out) const {
  const uint64_t end = first_block + count;
  auto range = std::partition_point(ranges.begin(), ranges.end(), [&](const MatchWords& words) {
    return words.end_block <= first_block;
  });
  uint64_t block = first_block;
  for (; range != ranges.end() && range->begin_block < end; ++range) {
    for (; block < range->begin_block; ++block) *out++ = 0;
    const uint64_t stop = std::min<uint64_t>(end, range->end_block);
    out = std::copy(range->words.get() + (block - range->begin_block),
                    range->words.get() + (stop - range->begin_block), out);
    block = stop;
  }
  for (; block < end; ++block) *out++ = 0;
}

}  // namespace tessera::query
