// Search for the neighbours of a stored point.
#pragma once

#include "absl/status/statusor.h"

#include "base/point_id.h"
#include "db/database.h"

namespace tessera::api {

// Searches with the point's stored vector of `params.field` and leaves the point itself out.
//
// Errors: kNotFound when there is no such point; what Collection::Search answers.
absl::StatusOr<db::SearchResult> SearchNearPoint(db::Collection& collection,
                                                 const base::PointId& id,
                                                 const db::SearchParams& params);

}  // namespace tessera::api
