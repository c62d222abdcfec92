// Reads points of a read view: from the row store, and vectors of absorbed rows from the lists.
//
// Threads: one at a time; any number of readers of one view.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/schema.h"
#include "base/types.h"
#include "db/database.h"
#include "db/engine.h"
#include "db/read_view.h"
#include "db/records.h"

namespace tessera::db {

class PointReader {
 public:
  PointReader(Engine& engine, const CollectionRecord& collection, const ReadView& view)
      : engine_(engine), collection_(collection), view_(view) {}

  // Rows of the ids, in their order.
  absl::StatusOr<std::vector<std::optional<base::RowId>>> FindRows(
      std::span<const base::PointId> ids) const;

  // The points of live rows, in the order of `rows`: those of them, from the front, that have no
  // more than with.bytes_max together; of any rows at least one. Without with.payload the payload
  // stays null. Memory: what is returned and a few records.
  absl::StatusOr<std::vector<StoredPoint>> Read(std::span<const base::RowId> rows,
                                                Projection with) const;

 private:
  absl::StatusOr<std::vector<PointRecord>> ReadRecords(std::span<const base::RowId> rows) const;
  absl::Status ReadVectors(std::span<const base::RowId> rows,
                           std::vector<StoredPoint>* points) const;
  absl::Status ReadFreshVectors(size_t field, std::span<const base::RowId> rows,
                                std::vector<StoredPoint>* points) const;
  absl::Status ReadListVectors(size_t field, std::span<const base::RowId> rows,
                               std::vector<StoredPoint>* points) const;

  Engine& engine_;
  const CollectionRecord& collection_;
  const ReadView& view_;
};

}  // namespace tessera::db
