// An edit of an index version: which parts leave, and which rows get new parts in which lists.
//
// Whoever maintains an index decides on an edit and has it applied: absorbing rows
// (version/build/absorb_policy.h) is one way to decide, splitting and merging lists are others.
//
// Threads: free functions; ApplyEdit uses up to options.threads threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "query/live_bitmap.h"
#include "version/build/index_builder.h"
#include "version/build/record_spool.h"
#include "version/build/row_partition.h"
#include "version/context.h"
#include "version/index_version.h"

namespace tessera::version {

// Rows with the lists they go to.
struct EditRows {
  const RecordSpool* records = nullptr;
  AssignmentSpool* lists = nullptr;
  // Whether the rows ascend. The locations of those that do not are sorted in memory, 16 bytes
  // each, so whoever makes the edit bounds them.
  bool ascending = false;
};

struct VersionEdit {
  std::vector<bool> dropped;                 // per part of the current view: it leaves
  std::vector<EditRows> rows;                // of the new parts; at most one of them ascending
  std::vector<uint32_t> list_rows;           // rows that each list gets of all of `rows`
  std::map<std::string, uint64_t> counters;  // set in the new record, beside its own
};

// Builds the version that has the parts of `current` that stay, and new ones with the edit's rows.
// Heads and codec stay. Positions of parts that stay do not change, those of new parts begin after
// all others, so dead bits and row locations of `current` stay right. The calibration stays until
// the rows have grown by a quarter since it was measured.
//
// Pre:    the spools are finished; every live row of a dropped part that is to stay is in `rows`.
// Errors: as BuildIndex; kResourceExhausted also when the positions are used up.
absl::StatusOr<BuiltIndex> ApplyEdit(Context& context,
                                     const std::shared_ptr<const IndexVersion>& current,
                                     const query::LiveBitmap& live, const VersionEdit& edit,
                                     uint64_t generation, const BuildOptions& options);

}  // namespace tessera::version
