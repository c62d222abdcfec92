#include "db/make_room.h"

#include <memory>

#include "base/status_macros.h"

namespace tessera::db {
namespace {

constexpr int kAttemptsMax = 64;

}  // namespace

absl::Status MakeRoom(CollectionCore& core, uint64_t bytes) {
  absl::Status room;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    TESSERA_RETURN_IF_ERROR(core.CheckWorking());
    {
      base::MutexLock lock(&core.write_mu);
      room = core.ReserveFresh(bytes);
      if (room.ok()) return absl::OkStatus();
    }
    const std::shared_ptr<FreshHolder> largest = core.engine.fresh->Largest();
    if (largest == nullptr) return room;
    const absl::Status absorbed = largest->AbsorbFresh();
    // It was dropped, or closes: then it holds nothing any more.
    if (absl::IsNotFound(absorbed) || absl::IsCancelled(absorbed)) continue;
    TESSERA_RETURN_IF_ERROR(absorbed);
  }
  return room;
}

}  // namespace tessera::db
