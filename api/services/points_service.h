// tessera.v1.Points over a database. Threads: any.
#pragma once

#include <tessera/v1/points.pb.h>

#include "api/services/context.h"

namespace tessera::api {

struct PointsMethods {
  explicit PointsMethods(ServiceContext& context);

  const Method upsert;
  const Method remove;
  const Method get;
  const Method set_payload;
  const Method scroll;
  const Method count;
  const Method facet;
};

// What a message of points takes: parsed, in the engine's form, and in the engine's write. Of
// an upsert, and of a batch of an ingest.
uint64_t PointsMemoryBytes(const WireCost& cost);

}  // namespace tessera::api
