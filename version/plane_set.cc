#include "version/plane_set.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"

namespace tessera::version {
namespace {

constexpr std::string_view kMemoryComponent = "index";

// What the verifiers of a set need to know; it lives as long as they do.
struct SetShape {
  std::shared_ptr<const index::Codec> codec;
  std::vector<Plane> planes;
  std::vector<uint32_t> rows;                     // of each part
  std::vector<std::vector<uint32_t>> first_unit;  // of each plane and part, ascending
  std::vector<std::vector<uint32_t>> crcs;        // of planes that are one unit per part

  uint64_t memory_bytes() const {
    return sizeof(*this) + rows.capacity() * sizeof(uint32_t) * (2 + 2 * planes.size());
  }
};

absl::Status Verify(const SetShape& shape, size_t plane, uint32_t unit,
                    std::span<const std::byte> bytes) {
  const std::vector<uint32_t>& first = shape.first_unit[plane];
  const auto after = std::upper_bound(first.begin(), first.end(), unit);
  const auto part = static_cast<size_t>(after - first.begin()) - 1;
  const Plane& p = shape.planes[plane];
  if (p.one_unit() && base::Crc32c(bytes) != shape.crcs[plane][part]) {
    return absl::DataLossError("wrong checksum of a plane");
  }
  return p.validate(p.unit_rows(shape.rows[part], unit - first[part]), bytes);
}

void MakeTable(Context& context, const std::shared_ptr<SetShape>& shape, size_t plane,
               const storage::VersionRecord& record, std::span<const SetPart> parts,
               query::PlaneSet* set) {
  const Plane& p = shape->planes[plane];
  const std::vector<storage::ExtentRef>& extents = record.planes.at(p.kind);
  std::vector<storage::ByteRange> ranges;
  std::vector<storage::UnitRun> runs;
  std::vector<uint32_t>& first_unit = shape->first_unit[plane];
  uint32_t unit = 0;
  for (const SetPart& part : parts) {
    const storage::ExtentRef& ref = extents[part.entry];
    const uint32_t rows = record.list_rows[part.entry];
    part.part->*p.first_unit = unit;
    first_unit.push_back(unit);
    unit += p.units(rows);
    if (p.one_unit()) {
      shape->crcs[plane].push_back(ref.crc);
      ranges.push_back({.file = ref.file, .offset = ref.offset, .bytes = ref.bytes});
    } else {
      p.AppendRuns(ref, rows, &runs);
    }
  }
  auto verify = [shape, plane](uint32_t number, std::span<const std::byte> bytes) {
    return Verify(*shape, plane, number, bytes);
  };
  std::optional<storage::FrameTable>& table = set->*p.table;
  if (p.one_unit()) {
    table.emplace(*context.cache, p.priority, ranges, std::move(verify));
  } else {
    table.emplace(*context.cache, p.priority, runs, std::move(verify));
  }
  TESSERA_CHECK(table->unit_count() == unit);
}

}  // namespace

absl::StatusOr<std::shared_ptr<query::PlaneSet>> MakePlaneSet(
    Context& context, const base::VectorFieldSchema& field,
    std::shared_ptr<const index::Codec> codec, const storage::VersionRecord& record,
    std::span<const SetPart> parts) {
  auto shape = std::make_shared<SetShape>();
  shape->planes = PlanesOf(field, *codec);
  shape->codec = std::move(codec);
  shape->first_unit.resize(shape->planes.size());
  shape->crcs.resize(shape->planes.size());
  auto set = std::make_shared<query::PlaneSet>();
  for (const SetPart& part : parts) {
    shape->rows.push_back(record.list_rows[part.entry]);
    part.part->planes = set.get();
  }
  uint64_t bytes = sizeof(query::PlaneSet);
  for (size_t plane = 0; plane < shape->planes.size(); ++plane) {
    MakeTable(context, shape, plane, record, parts, set.get());
    bytes += (set.get()->*shape->planes[plane].table)->memory_bytes();
  }
  TESSERA_ASSIGN_OR_RETURN(
      set->memory, context.budget->Reserve(kMemoryComponent, bytes + shape->memory_bytes()));
  return set;
}

void FrameAdoption::Add(std::shared_ptr<query::PlaneSet> from, const query::ListPart& before,
                        const query::ListPart& after, std::span<const Plane> planes) {
  TESSERA_CHECK(before.planes == from.get() && before.rows == after.rows);
  base::MutexLock lock(&mu_);
  for (const Plane& plane : planes) {
    moves_.push_back({.from = &*(before.planes->*plane.table),
                      .from_unit = before.*plane.first_unit,
                      .to = &*(after.planes->*plane.table),
                      .to_unit = after.*plane.first_unit,
                      .count = plane.units(after.rows)});
  }
  from_.insert(std::move(from));
}

void FrameAdoption::Run() {
  base::MutexLock lock(&mu_);
  for (const storage::FrameMove& move : moves_) cache_.Adopt(move);
  moves_ = {};
  from_.clear();
}

std::vector<bool> ChooseRegrouped(std::span<const SetUse> uses, uint64_t new_units) {
  std::vector<bool> chosen(uses.size());
  std::vector<size_t> kept;
  uint64_t sum = new_units;
  for (size_t i = 0; i < uses.size(); ++i) {
    TESSERA_CHECK(uses[i].live_units <= uses[i].total_units);
    chosen[i] = 2 * uses[i].live_units <= uses[i].total_units;
    if (chosen[i]) {
      sum += uses[i].live_units;
    } else {
      kept.push_back(i);
    }
  }
  std::sort(kept.begin(), kept.end(),
            [&](size_t a, size_t b) { return uses[a].live_units < uses[b].live_units; });
  for (size_t i = 0; i < kept.size(); ++i) {
    const uint64_t units = uses[kept[i]].live_units;
    if (units > 2 * sum && kept.size() - i < kPlaneSetsMax) break;
    chosen[kept[i]] = true;
    sum += units;
  }
  return chosen;
}

}  // namespace tessera::version
