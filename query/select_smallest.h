// Positions of the smallest of some numbers, in no order and not too exactly: what a first guess
// needs, for less than a partial sort costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera::query {

// Replaces `positions` by those of min(count, keys.size()) smallest keys, ascending; up to `slack`
// more may come along, all smaller than those left out. NaN keys are left out, so there may be
// fewer.
// Cost: about 10 passes of one vector comparison per 8 or 16 keys.
void SelectSmallest(std::span<const float> keys, size_t count, size_t slack,
                    std::vector<uint32_t>* positions);

}  // namespace tessera::query
