#include "version/build/location_edit.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"

namespace tessera::version {
namespace {

// Segments of the location table before the newer ones are merged.
constexpr size_t kSegmentsMax = 8;

std::vector<RowSource> SourcesOf(const VersionEdit& edit) {
  std::vector<RowSource> sources;
  for (const EditRows& rows : edit.rows) {
    sources.push_back({.records = rows.records, .lists = rows.lists});
  }
  return sources;
}

// Rows that ascend are written as they come; the others are sorted in memory and put between them.
absl::StatusOr<std::optional<LocationSegment>> WriteNewSegment(const VersionEdit& edit,
                                                               const PartPlan& plan,
                                                               storage::ExtentWriter& writer) {
  if (plan.parts().empty()) return std::nullopt;
  const std::vector<RowSource> sources = SourcesOf(edit);
  std::vector<RowLocation> moved;
  TESSERA_RETURN_IF_ERROR(ForEachLocation(sources, plan, [&](size_t source, RowLocation location) {
    if (!edit.rows[source].ascending) moved.push_back(location);
    return absl::OkStatus();
  }));
  std::sort(moved.begin(), moved.end(),
            [](const RowLocation& a, const RowLocation& b) { return a.row < b.row; });

  LocationSegmentWriter segment(writer);
  size_t next = 0;
  const auto add_moved_before = [&](const RowLocation* end) {
    for (; next < moved.size() && (end == nullptr || moved[next].row < end->row); ++next) {
      if (absl::Status status = segment.Add(moved[next]); !status.ok()) return status;
    }
    return absl::OkStatus();
  };
  TESSERA_RETURN_IF_ERROR(ForEachLocation(sources, plan, [&](size_t source, RowLocation location) {
    if (!edit.rows[source].ascending) return absl::OkStatus();
    if (absl::Status status = add_moved_before(&location); !status.ok()) return status;
    return segment.Add(location);
  }));
  TESSERA_RETURN_IF_ERROR(add_moved_before(nullptr));
  TESSERA_ASSIGN_OR_RETURN(LocationSegment written, segment.Finish());
  return written;
}

// The first `count` segments of the current version as one.
absl::StatusOr<std::optional<LocationSegment>> MergeSegments(const IndexVersion& current,
                                                             const VersionEdit& edit, size_t count,
                                                             storage::ExtentWriter& writer) {
  const auto stale = [&](uint64_t position) {
    const std::optional<PartPlace> place = current.FindPlace(position);
    return !place.has_value() || edit.dropped[place->part];
  };
  // What an older segment says of a row must stay hidden behind a newer entry, even a stale one.
  const bool all = count == current.locations.segment_count();
  std::vector<LocationReader> readers;
  std::vector<std::optional<RowLocation>> heads;
  for (size_t i = 0; i < count; ++i) {
    readers.emplace_back(current.locations, i);
    TESSERA_ASSIGN_OR_RETURN(heads.emplace_back(), readers[i].Next());
  }
  LocationSegmentWriter segment(writer);
  uint64_t rows = 0;
  while (true) {
    std::optional<RowLocation> first;  // of equal rows the newest one
    for (const std::optional<RowLocation>& head : heads) {
      if (head.has_value() && (!first.has_value() || head->row < first->row)) first = head;
    }
    if (!first.has_value()) break;
    for (size_t i = 0; i < count; ++i) {
      if (!heads[i].has_value() || heads[i]->row != first->row) continue;
      TESSERA_ASSIGN_OR_RETURN(heads[i], readers[i].Next());
    }
    if (all && stale(first->position)) continue;
    TESSERA_RETURN_IF_ERROR(segment.Add(*first));
    ++rows;
  }
  if (rows == 0) return std::nullopt;
  TESSERA_ASSIGN_OR_RETURN(LocationSegment merged, segment.Finish());
  return merged;
}

}  // namespace

// When the segments are many, the newest ones become one: as many as it takes until the next older
// segment is twice as large as those together.
absl::StatusOr<std::vector<LocationSegment>> WriteLocations(const IndexVersion& current,
                                                            const VersionEdit& edit,
                                                            const PartPlan& plan,
                                                            storage::ExtentWriter& writer) {
  TESSERA_ASSIGN_OR_RETURN(std::optional<LocationSegment> added,
                           WriteNewSegment(edit, plan, writer));
  std::vector<LocationSegment> segments;
  if (added.has_value()) segments.push_back(*std::move(added));
  const LocationTable& old = current.locations;
  size_t count = 0;
  if (old.segment_count() >= kSegmentsMax) {
    uint64_t rows = 0;
    while (count < old.segment_count() && (count < 2 || old.segment(count).rows < 2 * rows)) {
      rows += old.segment(count++).rows;
    }
    TESSERA_ASSIGN_OR_RETURN(std::optional<LocationSegment> merged,
                             MergeSegments(current, edit, count, writer));
    if (merged.has_value()) segments.push_back(*std::move(merged));
  }
  for (; count < old.segment_count(); ++count) segments.push_back(old.segment(count));
  return segments;
}

}  // namespace tessera::version
