// The engines that can be measured, by name.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/engines/engine.h"

namespace tessera::bench {

// Those of this build, ours first.
std::vector<std::string> EngineNames();
// Null for a name that is not among them.
std::unique_ptr<Engine> NewEngine(std::string_view name, const EngineOptions& options);

}  // namespace tessera::bench
