#include "db/build_memory.h"

namespace tessera::db {
namespace {

constexpr uint64_t kBuildBytesMin = uint64_t{8} << 20;

}  // namespace

absl::StatusOr<base::MemoryReservation> ReserveBuildMemory(Engine& engine) {
  uint64_t bytes = engine.plan.build_bytes_max;
  while (true) {
    absl::StatusOr<base::MemoryReservation> memory = engine.budget->Reserve("index build", bytes);
    if (memory.ok() || bytes / 2 < kBuildBytesMin) return memory;
    bytes /= 2;
  }
}

}  // namespace tessera::db
