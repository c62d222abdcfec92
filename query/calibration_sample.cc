#include "query/calibration_sample.h"

#include <algorithm>
#include <random>
#include <set>

#include "base/coding.h"
#include "base/float16.h"
#include "base/status_macros.h"
#include "index/distance.h"
#include "index/parallel_for.h"
#include "index/raw_plane.h"
#include "query/exact_scan.h"
#include "query/search_context.h"
#include "query/top_hits.h"
#include "storage/epoch.h"

namespace tessera::query {
namespace {

// Parts scanned by one task of the exact scan.
constexpr uint32_t kPartsPerTask = 16;

void ToFloats(base::ElementType type, const std::byte* elements, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    switch (type) {
      case base::ElementType::kF32:
        out[i] = base::LoadF32(elements + 4 * i);
        break;
      case base::ElementType::kF16:
        out[i] = base::F16ToF32(base::LoadU16(elements + 2 * i));
        break;
      case base::ElementType::kI8:
        out[i] = static_cast<float>(static_cast<int8_t>(elements[i]));
        break;
      case base::ElementType::kU8:
        out[i] = static_cast<float>(std::to_integer<uint8_t>(elements[i]));
        break;
    }
  }
}

// Distinct live rows as places, by part and slot.
std::vector<RowPlace> DrawPlaces(const SearchView& view, size_t count, uint64_t seed) {
  const IndexView& index = *view.index;
  std::vector<uint64_t> first_row;  // of each part, in one numbering of all rows
  uint64_t rows = 0;
  for (const ListPart& part : index.parts) {
    first_row.push_back(rows);
    rows += part.rows;
  }
  std::mt19937_64 rng(seed);
  std::set<uint64_t> drawn;
  std::vector<RowPlace> places;
  // Dead rows are drawn in vain.
  for (size_t tries = 0; places.size() < count && tries < 8 * count + 64; ++tries) {
    const uint64_t number = rng() % rows;
    const auto after = std::upper_bound(first_row.begin(), first_row.end(), number);
    const auto part = static_cast<uint32_t>(after - first_row.begin() - 1);
    const auto slot = static_cast<uint32_t>(number - first_row[part]);
    const uint64_t position = uint64_t{index.parts[part].first_block} * 64 + slot;
    if (!view.live.IsLive(position) || !drawn.insert(number).second) continue;
    places.push_back({part, slot});
  }
  std::sort(places.begin(), places.end(), [](const RowPlace& a, const RowPlace& b) {
    return a.part != b.part ? a.part < b.part : a.slot < b.slot;
  });
  return places;
}

}  // namespace

void RemoveRow(base::RowId row, size_t size_max, std::vector<Hit>* hits) {
  std::erase_if(*hits, [&](const Hit& hit) { return hit.row == row; });
  if (hits->size() > size_max) hits->resize(size_max);
}

absl::Status DrawSample(const SearchView& view, const SearchRequest& request, size_t count,
                        uint64_t seed, CalibrationSample* sample) {
  const IndexView& index = *view.index;
  const std::vector<RowPlace> places = DrawPlaces(view, count, seed);
  std::vector<PendingRow> pending;
  for (uint32_t i = 0; i < places.size(); ++i) {
    const uint32_t first = index.parts[places[i].part].raw_unit;
    pending.push_back({.unit = first + places[i].slot / index.raw_rows_per_unit, .tag = i});
  }
  sample->dim = index.field.dim;
  sample->rows.resize(places.size());
  sample->vectors.resize(places.size() * sample->dim);

  const size_t record_bytes = index::RawRecordBytes(index.field);
  storage::CacheGuard guard;
  SearchStats stats;
  const index::RowDistance unused;
  const SearchContext context{view, request, unused, guard, stats};
  std::vector<storage::FetchRequest> requests;
  return FetchRows(context, index.raw.get(), &pending, &requests,
                   [&](uint32_t tag, const std::byte* unit) {
                     const uint32_t row = places[tag].slot % index.raw_rows_per_unit;
                     const std::byte* record = unit + row * record_bytes;
                     sample->rows[tag] = index::RawRowId(record);
                     ToFloats(index.field.type, index::RawVector(record),
                              {&sample->vectors[tag * sample->dim], sample->dim});
                   });
}

absl::Status FindTruth(const SearchView& view, const SearchRequest& request, size_t k,
                       uint32_t thread_count, CalibrationSample* sample) {
  const size_t count = sample->size();
  std::vector<index::RowDistance> distances(count);
  for (size_t i = 0; i < count; ++i) {
    distances[i].Prepare(view.field.metric, view.field.type, sample->vector(i));
  }
  const uint32_t workers = index::EffectiveThreads(thread_count);
  std::vector<std::vector<TopHits>> hits(workers, std::vector<TopHits>(count));
  std::vector<std::vector<ExactTarget>> targets(workers);
  for (uint32_t worker = 0; worker < workers; ++worker) {
    for (size_t i = 0; i < count; ++i) {
      hits[worker][i].Reset(k + 1);
      targets[worker].push_back({&distances[i], &hits[worker][i]});
    }
  }
  std::vector<absl::Status> statuses(workers);
  const auto parts = static_cast<uint32_t>(view.index->parts.size());
  index::ParallelFor((parts + kPartsPerTask - 1) / kPartsPerTask, thread_count,
                     [&](size_t task, uint32_t worker) {
                       if (!statuses[worker].ok()) return;
                       storage::CacheGuard guard;
                       SearchStats stats;
                       const SearchContext context{view, request, distances[0], guard, stats};
                       const auto begin = static_cast<uint32_t>(task * kPartsPerTask);
                       const uint32_t end = std::min(parts, begin + kPartsPerTask);
                       statuses[worker] = ExactScanParts(context, begin, end, targets[worker]);
                     });
  for (const absl::Status& status : statuses) TESSERA_RETURN_IF_ERROR(status);

  sample->truth.assign(count, {});
  for (size_t i = 0; i < count; ++i) {
    std::vector<Hit>& truth = sample->truth[i];
    for (auto& of_worker : hits) of_worker[i].TakeSorted(&truth);
    std::sort(truth.begin(), truth.end());
    RemoveRow(sample->rows[i], k, &truth);
  }
  return absl::OkStatus();
}

}  // namespace tessera::query
