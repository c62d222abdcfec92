// FAISS as the inverted-file peer: IVF with PQ of 4 bits in fast-scan layout, refined on f32 rows.
// Debian's library is a build for any x86-64, a weak opponent: its description says so.
//
// Points: {"nprobe": n, "k_factor": f}: lists visited; rows refined as a factor of k.
#pragma once

#include <memory>

#include "bench/engines/engine.h"

namespace tessera::bench {

std::unique_ptr<Engine> NewFaissEngine(const EngineOptions& options);

}  // namespace tessera::bench
