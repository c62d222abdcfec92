// The points of a view that pass a filter, by ascending id.
//
// Few points are collected from their lists and sorted by id. Of many, the ids of the collection
// are gone through, and each row is asked whether it passes: a portion of ids costs one pass of the
// location table.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/point_id.h"
#include "db/engine.h"
#include "db/filters/filtering.h"
#include "db/read_view.h"
#include "db/records.h"
#include "db/writer_state.h"

namespace tessera::db {

class MatchingPoints {
 public:
  // All outlive it; `filter` was bound to the view's first vector field; null: all points.
  MatchingPoints(Engine& engine, const CollectionRecord& collection, const ReadView& view,
                 const BoundFilter* filter, const StopCondition& stop = {});

  // To the first id >= `offset`. To be called once, first.
  absl::Status Seek(const std::optional<base::PointId>& offset);
  // Nothing at the end. Errors: as StopCondition; kDataLoss.
  absl::StatusOr<std::optional<OldRow>> Next();

 private:
  absl::Status Fill();
  bool AreFew() const;
  absl::Status Collect(const std::optional<base::PointId>& offset);

  Engine& engine_;
  const CollectionRecord& collection_;
  const ReadView& view_;
  const BoundFilter* const filter_;
  const StopCondition stop_;
  const std::string prefix_;
  std::unique_ptr<storage::RowIterator> ids_;  // null: they are few, all in portion_
  std::unordered_set<uint64_t> fresh_;         // rows that pass
  std::vector<OldRow> portion_;                // that pass, ascending ids
  size_t next_ = 0;
  size_t portion_ids_ = 0;
};

}  // namespace tessera::db
