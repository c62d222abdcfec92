// tessera.v1.Search over a database. Threads: any.
#pragma once

#include <tessera/v1/search.pb.h>

#include "api/services/context.h"

namespace tessera::api {

// Hits of a whole batch: keeps its reply to tens of megabytes.
inline constexpr uint64_t kBatchHitsMax = 1'000'000;

struct SearchMethods {
  explicit SearchMethods(ServiceContext& context);

  const Method search;
  const Method search_batch;
};

}  // namespace tessera::api
