#include "storage/rocks_disk.h"

#include <mutex>

namespace tessera::storage {

absl::Status RocksDisk::Change(absl::FunctionRef<absl::Status()> change) {
  const std::shared_lock<std::shared_mutex> changing(changing_mu_);
  if (fenced_) {
    return absl::AbortedError("the row store has been opened anew after an error");
  }
  return change();
}

void RocksDisk::Fence() {
  const std::unique_lock<std::shared_mutex> changing(changing_mu_);
  fenced_ = true;
}

void RocksDisk::DirectorySynced(bool ok) {
  Manifest expected = Manifest::kRenamed;
  manifest_.compare_exchange_strong(expected, ok ? Manifest::kKnown : Manifest::kUnknown);
}

}  // namespace tessera::storage
