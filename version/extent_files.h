// Which extent files are in use, and the removal of the others.
//
// A file is in use while the published version of some field names it, while an index version that
// names it is held by a read view, or while its writer lives.
//
// Threads: every call from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "base/mutex.h"
#include "storage/extent_store.h"

namespace tessera::version {

class ExtentFiles {
 public:
  explicit ExtentFiles(storage::ExtentStore& store) : store_(store) {}

  // Keeps `files` from being removed while the result lives.
  std::shared_ptr<const void> Lease(const std::set<uint32_t>& files);

  // Runs `publish`, which makes a durable manifest name the files of `writers`, and destroys the
  // writers: before that nothing removes their files, afterwards a lease must hold them. A publish
  // that failed may yet be found done at the next open, so its files then stay until that.
  absl::Status Publish(std::vector<std::unique_ptr<storage::ExtentWriter>> writers,
                       absl::FunctionRef<absl::Status()> publish);

  // Removes the files nobody uses. Called after a publish or a drop.
  absl::Status RemoveUnused();

 private:
  struct State {
    base::Mutex mu;
    std::map<uint32_t, uint32_t> leases ABSL_GUARDED_BY(mu);  // file -> holders
  };

  storage::ExtentStore& store_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
  base::Mutex publish_mu_;  // taken before a lease's mutex
  std::vector<std::shared_ptr<const void>> undecided_ ABSL_GUARDED_BY(publish_mu_);
};

}  // namespace tessera::version
