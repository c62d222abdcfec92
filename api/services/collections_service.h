// tessera.v1.Collections over a database. Threads: any.
#pragma once

#include <tessera/v1/collections.pb.h>

#include "api/services/context.h"

namespace tessera::api {

struct CollectionsMethods {
  explicit CollectionsMethods(ServiceContext& context);

  const Method create;
  const Method drop;
  const Method list;
  const Method describe;
};

}  // namespace tessera::api
