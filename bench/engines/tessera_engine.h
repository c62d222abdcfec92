// Tessera in process: the database object in a directory under the work directory, loaded in bulk.
//
// Points: {} (defaults), {"recall_target": r}, {"nprobe": n}, {"nprobe": n, "oversampling": f}.
#pragma once

#include <memory>

#include "bench/engines/engine.h"

namespace tessera::bench {

std::unique_ptr<Engine> NewTesseraEngine(const EngineOptions& options);

}  // namespace tessera::bench
