// Which plane sets a version takes over from the one it is opened with, and which it makes.
//
// Threads: free functions.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "query/index_view.h"
#include "version/context.h"
#include "version/index_version.h"
#include "version/planes.h"

namespace tessera::version {

inline constexpr uint32_t kNewPart = std::numeric_limits<uint32_t>::max();

// Per part of `view` the part of `base` that is the same rows in the same extents, or kNewPart.
// Pre: `version` has its record and its parts in order; base is null or has the same codec.
std::vector<uint32_t> FindBaseParts(const IndexVersion* base, const IndexVersion& version,
                                    const query::IndexView& view, std::span<const Plane> planes);

struct SetSharing {
  const IndexVersion* base = nullptr;
  std::span<const uint32_t> base_parts;  // from FindBaseParts
  bool regroup = true;                   // OpenOptions::regroup
};

// Gives every part of `view` its plane set and units, and the version what it is to adopt.
// Errors: kResourceExhausted when the budget has no room.
absl::Status MakePlaneSets(Context& context, const SetSharing& sharing,
                           std::span<const Plane> planes, IndexVersion* version,
                           query::IndexView* view);

}  // namespace tessera::version
