#include "api/search_near.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "api/formats/element_convert.h"
#include "base/status_macros.h"

namespace tessera::api {

absl::StatusOr<db::SearchResult> SearchNearPoint(db::Collection& collection,
                                                 const base::PointId& id,
                                                 const db::SearchParams& params) {
  TESSERA_ASSIGN_OR_RETURN(const base::VectorFieldSchema* field,
                           FindField(collection.schema(), params.field));
  if (params.limit == 0 || params.limit > base::kLimitMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("limit is ", params.limit, ", must be 1 .. ", base::kLimitMax));
  }
  TESSERA_ASSIGN_OR_RETURN(std::vector<db::StoredPoint> points,
                           collection.Get({&id, 1}, {.payload = false, .vectors = true}));
  if (points.empty()) {
    return absl::NotFoundError(
        absl::StrCat("collection ", collection.schema().name, " has no point ", id.ToString()));
  }
  const std::vector<db::FieldVector>& vectors = points.front().vectors;
  const auto stored = std::find_if(vectors.begin(), vectors.end(),
                                   [&](const auto& one) { return one.field == params.field; });
  if (stored == vectors.end()) {
    return absl::InternalError(absl::StrCat("point ", id.ToString(), " has lost its vector"));
  }
  // One more, since the point finds itself; not beyond the engine's limit.
  db::SearchParams wider = params;
  wider.limit = std::min(params.limit + 1, base::kLimitMax);
  TESSERA_ASSIGN_OR_RETURN(db::SearchResult result,
                           collection.Search(ToFloats(stored->bytes, field->type), wider));
  std::erase_if(result.hits, [&](const db::Hit& hit) { return hit.id == id; });
  if (result.hits.size() > params.limit) result.hits.resize(params.limit);
  return result;
}

}  // namespace tessera::api
