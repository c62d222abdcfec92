// hnswlib as the graph peer: M = 16, ef_construction = 200, f32 rows. It is header code and this
// one source file is compiled for the machine's own instruction set.
//
// Points: {"ef": n}.
#pragma once

#include <memory>

#include "bench/engines/engine.h"

namespace tessera::bench {

std::unique_ptr<Engine> NewHnswlibEngine(const EngineOptions& options);

}  // namespace tessera::bench
