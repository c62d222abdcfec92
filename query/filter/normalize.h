// One form for filters that mean the same.
//
// Threads: free functions without shared state.
#pragma once

#include "query/filter/filter.h"

namespace tessera::query {

// A filter that matches the same points, in which
//   * NOT stands before conditions alone;
//   * AND and OR are flat, their parts in one order and each once; an OR of `=` and IN on one path
//     is one IN, an AND of CONTAINS ALL on one path one of those;
//   * TRUE and FALSE stand alone or not at all: contradictions (x AND NOT x, IN ()) and tautologies
//     are folded. x < 1 AND x > 2 is no contradiction: a list may have a value for each.
// So filters that users write apart are often equal, by ToString, after it. It is its own normal
// form: Normalize(Normalize(f)) = Normalize(f).
//
// Pre: Validate(filter). Cost: O(n log n) texts of n conditions.
Filter Normalize(const Filter& filter);

}  // namespace tessera::query
