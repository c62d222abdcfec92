// The columns of a version that is being built: a set of the new parts' rows, and of an edited
// version those of the current one, which become fewer when they are many.
//
// Threads: free functions, one build each.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "storage/extent_store.h"
#include "version/build/row_partition.h"
#include "version/columns/column_directory.h"
#include "version/columns/field_source.h"
#include "version/context.h"
#include "version/index_version.h"

namespace tessera::version {

struct ColumnBuild {
  Context* context = nullptr;
  FieldSource* fields = nullptr;
  uint64_t memory_bytes = 0;  // of sorting
  BuildPace pace = {};
};

// Writes the set of all rows that `plan` has a place for: reads what filters can ask of them in the
// order of the rows, and sorts that by position.
// Errors: kDataLoss, those of the writer and of scratch files; kCancelled.
// Memory: build.memory_bytes and a chunk.
absl::StatusOr<std::vector<ColumnSet>> WriteColumns(const ColumnBuild& build,
                                                    std::span<const RowSource> sources,
                                                    const PartPlan& plan,
                                                    storage::ExtentWriter& writer);

// The sets of the edited version: those of `current` and `added`. When they are many the newest
// ones become one, without the rows whose parts are gone. `stays` says whether a position of
// `current` is of a part that stays.
absl::StatusOr<std::vector<ColumnSet>> EditColumns(const ColumnBuild& build,
                                                   const IndexVersion& current,
                                                   const std::function<bool(uint64_t)>& stays,
                                                   std::vector<ColumnSet> added,
                                                   storage::ExtentWriter& writer);

}  // namespace tessera::version
