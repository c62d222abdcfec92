// Raw records -> rows in search space (index/search_space.h), but for its unit: that is 1 here.
//
// Threads: free functions without shared state.
#pragma once

#include <cstddef>
#include <span>

#include "base/schema.h"

namespace tessera::version {

// Writes the vector of one raw record (index/raw_plane.h) to row [dim].
void ToSearchRow(const base::VectorFieldSchema& field, const std::byte* record,
                 std::span<float> row);

}  // namespace tessera::version
