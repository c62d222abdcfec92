// Which edit absorbs new rows into an index: every row goes to the list of its nearest head, and
// the small newest parts of those lists are written anew together with them.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "query/live_bitmap.h"
#include "version/build/index_training.h"
#include "version/build/record_spool.h"
#include "version/build/row_partition.h"
#include "version/build/version_edit.h"
#include "version/context.h"
#include "version/index_version.h"

namespace tessera::version {

class AbsorbPolicy {
 public:
  // All arguments outlive it, and it the edit.
  AbsorbPolicy(Context& context, const IndexVersion& current, const query::LiveBitmap& live,
               const RecordSpool& records)
      : context_(context), current_(current), live_(live), records_(records) {}

  // Errors: kDataLoss for damaged tails; kCancelled; those of the file system.
  absl::StatusOr<std::variant<VersionEdit, RowsUnlikeIndex>> Decide(const TrainingOptions& options);

 private:
  uint64_t CountMisfits() const;
  bool TooMany(uint64_t misfits) const;
  void ChooseTails(uint64_t memory_bytes);
  absl::Status ReadTails();

  Context& context_;
  const IndexVersion& current_;
  const query::LiveBitmap& live_;
  const RecordSpool& records_;

  Assignment assignment_;
  std::optional<AssignmentSpool> lists_;
  std::vector<bool> dropped_;         // parts of the view that the new version does not have
  std::vector<uint32_t> tail_parts_;  // those whose live rows are written anew
  std::unique_ptr<RecordSpool> tails_;
  std::optional<AssignmentSpool> tail_lists_;
};

}  // namespace tessera::version
