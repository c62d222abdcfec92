#include "api/cli/scroller.h"

#include <algorithm>

#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr size_t kPageBytes = size_t{4} << 20;
// Points of a megabyte can follow small ones, so that a page is never trusted to stay as small.
constexpr size_t kPagePointsMax = 256;

size_t BytesOf(const db::StoredPoint& point) {
  size_t bytes = sizeof(db::StoredPoint);
  for (const db::FieldVector& vector : point.vectors) bytes += vector.bytes.size();
  if (!point.payload.is_null()) bytes += point.payload.ToJson().size();
  return bytes;
}

}  // namespace

absl::StatusOr<std::vector<db::StoredPoint>> Scroller::Next(uint64_t points_max) {
  // A server may answer a page without points although more follow.
  while (!ended_) {
    const auto limit = static_cast<uint32_t>(std::min<uint64_t>(points_max, page_points_));
    TESSERA_ASSIGN_OR_RETURN(db::ScrollPage page, client_.Scroll(collection_, next_, limit, with_));
    next_ = std::move(page.next_offset);
    ended_ = !next_.has_value();
    if (page.points.empty()) continue;
    size_t bytes = 0;
    for (const db::StoredPoint& point : page.points) bytes += BytesOf(point);
    const size_t fit = kPageBytes / (bytes / page.points.size() + 1);
    page_points_ = std::clamp<size_t>(fit, 1, kPagePointsMax);
    return std::move(page.points);
  }
  return std::vector<db::StoredPoint>();
}

}  // namespace tessera::api
