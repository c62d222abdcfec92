// The points of a collection, page by page in the order of their ids, in bounded memory whatever
// their payloads: pages have as many points as fit into a few megabytes, and payloads stay text
// (StoredPoint::payload_json).
//
// Threads: one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "api/client.h"
#include "base/point_id.h"
#include "db/database.h"

namespace tessera::api {

class Scroller {
 public:
  // From the first point with id >= `offset` on; those that pass a filter.
  Scroller(Client& client, std::string collection, std::optional<base::PointId> offset,
           db::Projection with, std::optional<db::FilterText> filter = std::nullopt);

  // The next points, at most `points_max` (1 or more); empty at the end. Points written meanwhile
  // are among them or not; none comes twice.
  absl::StatusOr<std::vector<db::StoredPoint>> Next(uint64_t points_max);

  // Where more points are, the first id of them.
  const std::optional<base::PointId>& next_offset() const { return params_.offset; }

  // Of the filter, of the last page.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  Client& client_;
  const std::string collection_;
  db::ScrollParams params_;  // of the next page
  std::vector<std::string> warnings_;
  bool ended_ = false;
};

}  // namespace tessera::api
