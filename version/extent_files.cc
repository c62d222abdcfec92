#include "version/extent_files.h"

#include <utility>

namespace tessera::version {

std::shared_ptr<const void> ExtentFiles::Lease(const std::set<uint32_t>& files) {
  {
    base::MutexLock lock(&state_->mu);
    for (const uint32_t file : files) ++state_->leases[file];
  }
  auto* held = new std::set<uint32_t>(files);
  return std::shared_ptr<const void>(held, [state = state_](const std::set<uint32_t>* done) {
    {
      base::MutexLock lock(&state->mu);
      for (const uint32_t file : *done) {
        const auto it = state->leases.find(file);
        if (--it->second == 0) state->leases.erase(it);
      }
    }
    delete done;
  });
}

absl::Status ExtentFiles::Publish(std::vector<std::unique_ptr<storage::ExtentWriter>> writers,
                                  absl::FunctionRef<absl::Status()> publish) {
  std::set<uint32_t> files;
  for (const auto& writer : writers) {
    for (const uint32_t file : writer->files()) files.insert(file);
  }
  absl::Status status = publish();
  base::MutexLock lock(&publish_mu_);
  // A write that failed may be found done at the next open: only then it is known.
  if (!status.ok()) undecided_.push_back(Lease(files));
  for (const auto& writer : writers) writer->Keep();
  writers.clear();
  return status;
}

absl::Status ExtentFiles::RemoveUnused() {
  base::MutexLock publish_lock(&publish_mu_);
  std::set<uint32_t> live;
  {
    base::MutexLock lock(&state_->mu);
    for (const auto& [file, holders] : state_->leases) live.insert(file);
  }
  return store_.RemoveUnreferenced(live);
}

}  // namespace tessera::version
