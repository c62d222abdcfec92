#include "api/cli/scroller.h"

#include <algorithm>

#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr uint64_t kPageBytes = uint64_t{4} << 20;
// What a point takes beside payload and vectors is bounded by their number.
constexpr uint64_t kPagePointsMax = 4096;

}  // namespace

Scroller::Scroller(Client& client, std::string collection, std::optional<base::PointId> offset,
                   db::Projection with, std::optional<db::FilterText> filter)
    : client_(client),
      collection_(std::move(collection)),
      params_{.offset = std::move(offset), .filter = std::move(filter), .with = with} {
  params_.with.payload_as_text = true;
  params_.with.bytes_max = kPageBytes;
}

absl::StatusOr<std::vector<db::StoredPoint>> Scroller::Next(uint64_t points_max) {
  // A server may answer a page without points although more follow.
  while (!ended_) {
    params_.limit = static_cast<uint32_t>(std::min(points_max, kPagePointsMax));
    TESSERA_ASSIGN_OR_RETURN(db::ScrollPage page, client_.ScrollWhere(collection_, params_));
    params_.offset = std::move(page.next_offset);
    warnings_ = std::move(page.warnings);
    ended_ = !params_.offset.has_value();
    if (!page.points.empty()) return std::move(page.points);
  }
  return std::vector<db::StoredPoint>();
}

}  // namespace tessera::api
