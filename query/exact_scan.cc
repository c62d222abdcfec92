#include "query/exact_scan.h"

#include <algorithm>
#include <vector>

#include "base/status_macros.h"
#include "index/raw_plane.h"

namespace tessera::query {
namespace {

// Units in memory at once for one scan.
constexpr size_t kPortionUnits = 128;

struct UnitPlace {
  const ListPart* part;
  uint32_t unit;  // within the part
};

void Offer(const ExactTarget& target, const std::byte* record) {
  const float dissimilarity = Ordered((*target.distance)(index::RawVector(record)));
  if (dissimilarity <= target.hits->threshold()) target.hits->Push(ToHit(record, dissimilarity));
}

void ScanUnit(const SearchContext& context, const UnitPlace& place, const std::byte* unit,
              std::span<const ExactTarget> targets) {
  const IndexView& index = *context.view.index;
  const size_t record_bytes = index::RawRecordBytes(index.field);
  const uint32_t first = place.unit * index.raw_rows_per_unit;
  const uint32_t end = std::min(place.part->rows, first + index.raw_rows_per_unit);
  const uint64_t position = uint64_t{place.part->first_block} * 64;
  for (uint32_t slot = first; slot < end; ++slot) {
    if (!context.view.live.IsLive(position + slot)) continue;
    const std::byte* record = unit + (slot - first) * record_bytes;
    for (const ExactTarget& target : targets) Offer(target, record);
    context.stats.reranked += targets.size();
  }
}

absl::Status ScanPortion(const SearchContext& context, std::span<const UnitPlace> places,
                         std::span<const ExactTarget> targets,
                         std::vector<storage::FetchRequest>* requests,
                         std::vector<UnitPlace>* missing) {
  TESSERA_RETURN_IF_ERROR(context.CheckStop());
  const IndexView& index = *context.view.index;
  requests->clear();
  missing->clear();
  for (const UnitPlace& place : places) {
    const uint32_t unit = place.part->raw_unit + place.unit;
    if (const std::byte* data = index.raw->Peek(unit)) {
      ScanUnit(context, place, data, targets);
    } else {
      requests->push_back({.table = index.raw.get(), .unit = unit});
      missing->push_back(place);
    }
  }
  storage::FetchStats fetched;
  absl::Status status;
  if (!requests->empty()) {
    status = index.cache->Fetch(
        context.guard, *requests,
        [&](size_t request, const std::byte* data) {
          ScanUnit(context, (*missing)[request], data, targets);
        },
        &fetched);
  }
  context.stats.bytes_read += fetched.bytes_read;
  context.guard.Refresh();
  return status;
}

}  // namespace

absl::Status ExactScanParts(const SearchContext& context, uint32_t begin, uint32_t end,
                            std::span<const ExactTarget> targets) {
  const IndexView& index = *context.view.index;
  std::vector<UnitPlace> places;
  std::vector<UnitPlace> missing;
  std::vector<storage::FetchRequest> requests;
  for (uint32_t number = begin; number < end; ++number) {
    const ListPart& part = index.parts[number];
    for (uint32_t unit = 0; unit < index.raw_units(part); ++unit) {
      places.push_back({&part, unit});
      if (places.size() < kPortionUnits) continue;
      TESSERA_RETURN_IF_ERROR(ScanPortion(context, places, targets, &requests, &missing));
      places.clear();
    }
  }
  if (places.empty()) return absl::OkStatus();
  return ScanPortion(context, places, targets, &requests, &missing);
}

void ExactScanFresh(const SearchContext& context, std::span<const ExactTarget> targets,
                    absl::FunctionRef<void(float dissimilarity)> note) {
  context.view.fresh.ForEach([&](const FreshRowRef& row) {
    for (size_t i = 0; i < targets.size(); ++i) {
      const float dissimilarity = Ordered((*targets[i].distance)(row.vector.data()));
      if (i == 0) note(dissimilarity);
      if (dissimilarity > targets[i].hits->threshold()) continue;
      targets[i].hits->Push({.dissimilarity = dissimilarity,
                             .id = HitId::FromPointId(*row.id),
                             .row = row.row,
                             .version = row.version});
    }
    context.stats.reranked += targets.size();
  });
}

}  // namespace tessera::query
