#include "version/index_version.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "index/codecs/codec.h"
#include "index/heads/head_index.h"

namespace tessera::version {

std::optional<PartPlace> IndexVersion::FindPlace(uint64_t position) const {
  const uint64_t block = position / index::kBlockRows;
  const auto after = std::upper_bound(
      parts_by_block.begin(), parts_by_block.end(), block,
      [&](uint64_t wanted, uint32_t part) { return wanted < view->parts[part].first_block; });
  if (after == parts_by_block.begin()) return std::nullopt;
  const uint32_t number = *std::prev(after);
  const query::ListPart& part = view->parts[number];
  const uint64_t slot = position - uint64_t{part.first_block} * index::kBlockRows;
  if (slot >= part.rows) return std::nullopt;
  return PartPlace{.part = number, .slot = static_cast<uint32_t>(slot)};
}

absl::StatusOr<PartPlace> IndexVersion::PlaceOf(uint64_t position) const {
  const std::optional<PartPlace> place = FindPlace(position);
  if (!place.has_value())
    return absl::DataLossError(absl::StrCat("index version: no part has position ", position));
  return *place;
}

absl::StatusOr<std::vector<std::optional<uint64_t>>> IndexVersion::Locate(
    std::span<const base::RowId> rows) const {
  TESSERA_ASSIGN_OR_RETURN(std::vector<std::optional<uint64_t>> positions, locations.Find(rows));
  for (std::optional<uint64_t>& position : positions) {
    if (position.has_value() && !FindPlace(*position).has_value()) position.reset();
  }
  return positions;
}

std::set<uint32_t> IndexVersion::files() const {
  std::set<uint32_t> files = storage::ReferencedFiles(record);
  files.merge(locations.files());
  files.merge(columns.files());
  return files;
}

void IndexVersion::AdoptFrames() const {
  if (adoption != nullptr) adoption->Run();
}

uint64_t IndexVersion::own_bytes() const {
  return sizeof(*this) + sizeof(query::IndexView) + view->part_begin.capacity() * sizeof(uint32_t) +
         view->parts.capacity() * sizeof(query::ListPart) +
         record.list_rows.size() * (sizeof(PartHome) + 3 * sizeof(uint32_t) +
                                    record.planes.size() * sizeof(storage::ExtentRef));
}

uint64_t IndexVersion::memory_bytes() const {
  uint64_t bytes = own_bytes() + view->heads->memory_bytes() + view->codec->memory_bytes() +
                   locations.memory_bytes() + columns.memory_bytes();
  for (const std::shared_ptr<query::PlaneSet>& set : view->plane_sets) {
    bytes += set->memory.bytes();
  }
  return bytes;
}

query::LiveBitmap CarryLive(const query::LiveBitmap& live, const IndexVersion& next) {
  query::LiveBitmap carried(next.view->positions);
  if (live.dead_count() == 0) return carried;
  std::vector<uint64_t> dead;
  for (const query::ListPart& part : next.view->parts) {
    const uint64_t first = uint64_t{part.first_block} * index::kBlockRows;
    if (first >= live.bits()) continue;
    for (uint32_t row = 0; row < part.rows; row += index::kBlockRows) {
      uint64_t word = ~live.Block(part.first_block + row / index::kBlockRows);
      if (part.rows - row < index::kBlockRows) word &= (uint64_t{1} << (part.rows - row)) - 1;
      for (; word != 0; word &= word - 1) {
        dead.push_back(first + row + static_cast<uint64_t>(std::countr_zero(word)));
      }
    }
  }
  return carried.WithCleared(dead);
}

}  // namespace tessera::version
