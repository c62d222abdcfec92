#include "bench/engines/engines.h"

#include "bench/peers/faiss_engine.h"
#include "bench/peers/hnswlib_engine.h"
#if defined(TESSERA_BENCH_DATABASE)
#include "bench/engines/tessera_engine.h"
#include "bench/engines/tessera_grpc_engine.h"
#endif

namespace tessera::bench {
namespace {

struct Entry {
  const char* name;
  std::unique_ptr<Engine> (*create)(const EngineOptions&);
};

constexpr Entry kEngines[] = {
#if defined(TESSERA_BENCH_DATABASE)
    {"tessera", NewTesseraEngine},
    {"tessera_grpc", NewTesseraGrpcEngine},
#endif
    {"hnswlib", NewHnswlibEngine},
    {"faiss-ivfpqfs", NewFaissEngine},
};

}  // namespace

std::vector<std::string> EngineNames() {
  std::vector<std::string> names;
  for (const Entry& entry : kEngines) names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<Engine> NewEngine(std::string_view name, const EngineOptions& options) {
  for (const Entry& entry : kEngines) {
    if (name == entry.name) return entry.create(options);
  }
  return nullptr;
}

}  // namespace tessera::bench
