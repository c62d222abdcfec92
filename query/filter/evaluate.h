// Whether a point passes a filter: the meaning of filters, what everything faster must agree with.
//
// Threads: free functions without shared state.
#pragma once

#include "base/point_id.h"
#include "base/value.h"
#include "query/filter/filter.h"

namespace tessera::query {

// `payload`: an object, or null for a point without one.
// Cost: O(conditions x values of their paths x log constants); no allocation.
bool Matches(const Filter& filter, const base::PointId& id, const base::Value& payload);

}  // namespace tessera::query
