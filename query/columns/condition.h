// One condition over one unit, rows as bits.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>

#include "query/columns/unit.h"
#include "query/filter/filter.h"

namespace tessera::query {

// Sets in `out` the candidates that the condition holds for. Pre: a unit of its path.
void MarkCondition(const UnitView& unit, const Filter& condition, const uint64_t* candidates,
                   uint64_t* out);

// The same of ids. Pre: a unit of ids.
void MarkIds(const UnitView& unit, const HasId& condition, const uint64_t* candidates,
             uint64_t* out);

}  // namespace tessera::query
