// Tessera behind gRPC: a server process of its own (`tessera serve`), loaded by the streaming
// Ingest and asked one Search call at a time, over the loopback device.
//
// Points as of tessera_engine.h.
#pragma once

#include <memory>

#include "bench/engines/engine.h"

namespace tessera::bench {

std::unique_ptr<Engine> NewTesseraGrpcEngine(const EngineOptions& options);

}  // namespace tessera::bench
