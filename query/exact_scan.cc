#include "query/exact_scan.h"

#include <algorithm>
#include <vector>

#include "base/status_macros.h"
#include "index/raw_plane.h"

namespace tessera::query {
namespace {

// Units in memory at once for one scan.
constexpr size_t kPortionUnits = 128;
// Matches between two looks at the clock.
constexpr size_t kPortionMatches = 2048;

struct Scratch {
  std::vector<RawUnit> portion;  // without their bytes
  std::vector<RawUnit> missing;
  std::vector<storage::FetchRequest> requests;
};

void Offer(const ExactTarget& target, const std::byte* header, const std::byte* vector) {
  const float dissimilarity = Ordered((*target.distance)(vector));
  if (dissimilarity <= target.hits->threshold()) target.hits->Push(ToHit(header, dissimilarity));
}

storage::FetchRequest RequestFor(const IndexView& index, const RawUnit& unit) {
  const ListPart& part = index.parts[unit.part];
  return {.table = &*part.planes->raw,
          .unit = part.raw_unit + unit.first_slot / index.raw_rows_per_unit};
}

absl::Status VisitPortion(const SearchContext& context, Scratch* scratch,
                          absl::FunctionRef<void(const RawUnit& unit)> visit) {
  TESSERA_RETURN_IF_ERROR(context.CheckStop());
  const IndexView& index = *context.view.index;
  scratch->requests.clear();
  scratch->missing.clear();
  for (RawUnit& unit : scratch->portion) {
    const storage::FetchRequest request = RequestFor(index, unit);
    unit.bytes = request.table->Peek(request.unit);
    if (unit.bytes != nullptr) {
      visit(unit);
    } else {
      scratch->requests.push_back(request);
      scratch->missing.push_back(unit);
    }
  }
  scratch->portion.clear();
  storage::FetchStats fetched;
  absl::Status status;
  if (!scratch->requests.empty()) {
    status = index.cache->Fetch(
        context.guard, scratch->requests,
        [&](size_t request, const std::byte* bytes) {
          scratch->missing[request].bytes = bytes;
          visit(scratch->missing[request]);
        },
        &fetched);
  }
  context.stats.bytes_read += fetched.bytes_read;
  context.guard.Refresh();
  return status;
}

}  // namespace

absl::Status VisitRawUnits(const SearchContext& context, uint32_t begin, uint32_t end,
                           absl::FunctionRef<void(const RawUnit& unit)> visit) {
  const IndexView& index = *context.view.index;
  Scratch scratch;
  for (uint32_t part = begin; part < end; ++part) {
    const uint32_t part_rows = index.parts[part].rows;
    if (context.eligible.CountIn(index.parts[part]) == 0) continue;
    for (uint32_t slot = 0; slot < part_rows; slot += index.raw_rows_per_unit) {
      const uint32_t rows = std::min(index.raw_rows_per_unit, part_rows - slot);
      scratch.portion.push_back({.part = part, .first_slot = slot, .rows = rows});
      if (scratch.portion.size() < kPortionUnits) continue;
      TESSERA_RETURN_IF_ERROR(VisitPortion(context, &scratch, visit));
    }
  }
  return scratch.portion.empty() ? absl::OkStatus() : VisitPortion(context, &scratch, visit);
}

absl::Status ExactScanParts(const SearchContext& context, uint32_t begin, uint32_t end,
                            std::span<const ExactTarget> targets) {
  const IndexView& index = *context.view.index;
  const index::RawUnitShape shape(index.field);
  return VisitRawUnits(context, begin, end, [&](const RawUnit& unit) {
    const ListPart& part = index.parts[unit.part];
    for (uint32_t row = 0; row < unit.rows; ++row) {
      if (!context.eligible.Has(part, unit.first_slot + row)) continue;
      const std::byte* header = shape.Header(unit.bytes, row);
      const std::byte* vector = shape.Vector(unit.bytes, row);
      for (const ExactTarget& target : targets) Offer(target, header, vector);
      context.stats.reranked += targets.size();
    }
  });
}

absl::Status ExactScanMatches(const SearchContext& context, RawReader* raw) {
  const IndexView& index = *context.view.index;
  std::vector<uint64_t> mask;
  std::vector<RowPlace> places;
  const auto compare = [&] {
    TESSERA_RETURN_IF_ERROR(context.CheckStop());
    TESSERA_RETURN_IF_ERROR(raw->CompareAll(places, RawReader::kRowsAheadScattered));
    places.clear();
    context.guard.Refresh();
    return absl::OkStatus();
  };
  for (uint32_t list = 0; list < index.list_count(); ++list) {
    if (!context.eligible.MayHave(list)) continue;
    for (uint32_t number = index.part_begin[list]; number < index.part_begin[list + 1]; ++number) {
      const ListPart& part = index.parts[number];
      mask.resize(index::BlockCount(part.rows));
      if (context.eligible.MaskOf(part, mask.data()) == 0) continue;
      ForEachRow(mask, part.rows, [&](uint32_t slot) { places.push_back({number, slot}); });
      if (places.size() >= kPortionMatches) TESSERA_RETURN_IF_ERROR(compare());
    }
  }
  return compare();
}

void ExactScanFresh(const SearchContext& context, std::span<const ExactTarget> targets,
                    absl::FunctionRef<void(float dissimilarity)> note) {
  context.eligible.ForEachFresh([&](const FreshRowRef& row) {
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
