#include "query/calibration/calibration_sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <tuple>

#include "base/coding/coding.h"
#include "base/float16.h"
#include "base/status_macros.h"
#include "index/distance.h"
#include "index/parallel_for.h"
#include "index/raw_plane.h"
#include "query/exact_scan.h"
#include "storage/epoch.h"

namespace tessera::query {
namespace {

// Parts scanned by one task of the exact scan.
constexpr uint32_t kPartsPerTask = 16;

float ElementAt(base::ElementType type, const std::byte* elements, size_t i) {
  switch (type) {
    case base::ElementType::kF32:
      return base::LoadF32(elements + 4 * i);
    case base::ElementType::kF16:
      return base::F16ToF32(base::LoadU16(elements + 2 * i));
    case base::ElementType::kI8:
      return static_cast<float>(static_cast<int8_t>(elements[i]));
    case base::ElementType::kU8:
      break;
  }
  return static_cast<float>(std::to_integer<uint8_t>(elements[i]));
}

// Distinct eligible rows in random order.
std::vector<RowPlace> DrawPlaces(const IndexView& index, const Eligibility& eligible, size_t count,
                                 uint64_t seed) {
  std::vector<uint64_t> first_row;  // of each part, in one numbering of all rows
  uint64_t rows = 0;
  for (const ListPart& part : index.parts) {
    first_row.push_back(rows);
    rows += part.rows;
  }
  std::mt19937_64 rng(seed);
  std::set<uint64_t> drawn;
  std::vector<RowPlace> places;
  // Rows that are not eligible are drawn in vain.
  for (size_t tries = 0; places.size() < count && tries < 8 * count + 64; ++tries) {
    const uint64_t number = rng() % rows;
    const auto after = std::upper_bound(first_row.begin(), first_row.end(), number);
    const auto part = static_cast<uint32_t>(after - first_row.begin() - 1);
    const auto slot = static_cast<uint32_t>(number - first_row[part]);
    if (!eligible.Has(index.parts[part], slot) || !drawn.insert(number).second) continue;
    places.push_back({part, slot});
  }
  return places;
}

bool Closer(const Neighbour& a, const Neighbour& b) {
  return std::tie(a.dissimilarity, a.place.part, a.place.slot) <
         std::tie(b.dissimilarity, b.place.part, b.place.slot);
}

// The nearest `count` of the rows one thread has seen, for one query.
class Nearest {
 public:
  explicit Nearest(size_t count) : count_(count) {}

  float threshold() const {
    return heap_.size() < count_ ? std::numeric_limits<float>::infinity()
                                 : heap_.front().dissimilarity;
  }
  void Push(const Neighbour& neighbour) {
    if (heap_.size() == count_) {
      if (!Closer(neighbour, heap_.front())) return;
      std::pop_heap(heap_.begin(), heap_.end(), Closer);
      heap_.pop_back();
    }
    heap_.push_back(neighbour);
    std::push_heap(heap_.begin(), heap_.end(), Closer);
  }
  const std::vector<Neighbour>& found() const { return heap_; }

 private:
  size_t count_;
  std::vector<Neighbour> heap_;
};

// Compares the rows of a unit with all queries. Queries are longer than units: they take turns
// outside.
void CompareUnit(const IndexView& index, const Eligibility& eligible, const RawUnit& unit,
                 std::span<const CalibrationQuery> queries,
                 const std::vector<index::RowDistance>& distances, std::vector<Nearest>* nearest) {
  const index::RawUnitShape shape(index.field);
  const ListPart& part = index.parts[unit.part];
  for (size_t i = 0; i < queries.size(); ++i) {
    Nearest& best = (*nearest)[i];
    for (uint32_t row = 0; row < unit.rows; ++row) {
      const float dissimilarity = Ordered(distances[i](shape.Vector(unit.bytes, row)));
      if (dissimilarity > best.threshold() ||
          queries[i].MadeOf(index::RawRowId(shape.Header(unit.bytes, row))) ||
          !eligible.Has(part, unit.first_slot + row)) {
        continue;
      }
      best.Push({dissimilarity, {unit.part, unit.first_slot + row}});
    }
  }
}

}  // namespace

absl::Status DrawQueries(const SearchView& view, const SearchRequest& request, size_t count,
                         uint64_t seed, std::vector<CalibrationQuery>* queries) {
  const IndexView& index = *view.index;
  const size_t rows_each = index.field.metric == base::Metric::kInnerProduct ? 2 : 1;
  const Eligibility eligible(view);
  const std::vector<RowPlace> places = DrawPlaces(index, eligible, count * rows_each, seed);
  std::vector<PendingRow> pending;
  for (uint32_t i = 0; i < places.size(); ++i) {
    const ListPart& part = index.parts[places[i].part];
    pending.push_back({.table = &*part.planes->raw,
                       .unit = part.raw_unit + places[i].slot / index.raw_rows_per_unit,
                       .tag = i});
  }
  queries->assign(places.size() / rows_each, {});
  for (CalibrationQuery& query : *queries) query.vector.resize(index.field.dim);

  const index::RawUnitShape shape(index.field);
  storage::CacheGuard guard;
  SearchStats stats;
  const index::RowDistance unused;
  const SearchSpace no_space;
  const SearchContext context{view, request, unused, guard, stats, eligible, no_space};
  std::vector<storage::FetchRequest> requests;
  TESSERA_RETURN_IF_ERROR(
      FetchRows(context, &pending, &requests, [&](uint32_t tag, const std::byte* unit) {
        if (tag / rows_each >= queries->size()) return;
        const uint32_t row = places[tag].slot % index.raw_rows_per_unit;
        const base::RowId source = index::RawRowId(shape.Header(unit, row));
        CalibrationQuery& query = (*queries)[tag / rows_each];
        if (tag % rows_each == 0) query.sources[0] = source;
        if (tag % rows_each == rows_each - 1) query.sources[1] = source;
        for (size_t i = 0; i < query.vector.size(); ++i) {
          query.vector[i] += ElementAt(index.field.type, shape.Vector(unit, row), i);
        }
      }));
  // The sum of two rows of enormous components may be none.
  std::erase_if(*queries, [](const CalibrationQuery& query) {
    return std::any_of(query.vector.begin(), query.vector.end(),
                       [](float x) { return !std::isfinite(x); });
  });
  return absl::OkStatus();
}

absl::Status FindNeighbours(const SearchView& view, const SearchRequest& request, size_t count,
                            uint32_t thread_count, std::span<CalibrationQuery> queries) {
  std::vector<index::RowDistance> distances(queries.size());
  for (size_t i = 0; i < queries.size(); ++i) {
    distances[i].Prepare(view.field.metric, view.field.type, queries[i].vector);
  }
  const Eligibility eligible(view);
  const SearchSpace no_space;
  const uint32_t workers = index::EffectiveThreads(thread_count);
  std::vector<std::vector<Nearest>> nearest(workers,
                                            std::vector<Nearest>(queries.size(), Nearest(count)));
  std::vector<absl::Status> statuses(workers);
  const auto parts = static_cast<uint32_t>(view.index->parts.size());
  index::ParallelFor(
      (parts + kPartsPerTask - 1) / kPartsPerTask, thread_count, [&](size_t task, uint32_t worker) {
        if (!statuses[worker].ok()) return;
        storage::CacheGuard guard;
        SearchStats stats;
        const SearchContext context{view, request, distances[0], guard, stats, eligible, no_space};
        const auto begin = static_cast<uint32_t>(task * kPartsPerTask);
        const uint32_t end = std::min(parts, begin + kPartsPerTask);
        statuses[worker] = VisitRawUnits(context, begin, end, [&](const RawUnit& unit) {
          CompareUnit(*view.index, eligible, unit, queries, distances, &nearest[worker]);
        });
      });
  for (const absl::Status& status : statuses) TESSERA_RETURN_IF_ERROR(status);

  for (size_t i = 0; i < queries.size(); ++i) {
    std::vector<Neighbour>& neighbours = queries[i].neighbours;
    neighbours.clear();
    for (const auto& of_worker : nearest) {
      const std::vector<Neighbour>& found = of_worker[i].found();
      neighbours.insert(neighbours.end(), found.begin(), found.end());
    }
    std::sort(neighbours.begin(), neighbours.end(), Closer);
    if (neighbours.size() > count) neighbours.resize(count);
  }
  return absl::OkStatus();
}

}  // namespace tessera::query
