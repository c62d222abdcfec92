#include "version/columns/column_writer.h"

#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace tessera::version {

absl::Status ColumnWriter::Add(uint64_t position, std::string_view id_key,
                               std::string_view fields) {
  if (!builder_.Takes(position)) TESSERA_RETURN_IF_ERROR(WriteChunk());
  builder_.Add(position, id_key, fields);
  return absl::OkStatus();
}

absl::Status ColumnWriter::WriteChunk() {
  query::EncodedChunk encoded = builder_.Finish();
  ColumnChunk chunk{.first_block = static_cast<uint32_t>(encoded.first_block),
                    .blocks = encoded.blocks,
                    .rows = encoded.rows,
                    .file = 0,
                    .offset = 0,
                    .first_unit = static_cast<uint32_t>(set_.units.size()),
                    .units = static_cast<uint32_t>(encoded.units.size())};
  TESSERA_CHECK(set_.chunks.empty() ||
                set_.chunks.back().end_block() <= chunk.first_block + uint64_t{1});
  TESSERA_CHECK(!encoded.units.empty() && encoded.units[0].kind == query::UnitKind::kRows);
  extent_.clear();
  for (const query::EncodedUnit& unit : encoded.units) {
    ColumnUnit entry{
        .kind = unit.kind, .path = 0, .bytes = static_cast<uint32_t>(unit.bytes.size())};
    if (unit.kind == query::UnitKind::kPath) {
      const auto [found, added] =
          path_numbers_.try_emplace(unit.key, static_cast<uint32_t>(set_.paths.size()));
      if (added) set_.paths.push_back(unit.key);
      entry.path = found->second;
    }
    set_.units.push_back(entry);
    const std::span<const std::byte> bytes = std::as_bytes(std::span(unit.bytes));
    const size_t begin = extent_.size();
    extent_.insert(extent_.end(), bytes.begin(), bytes.end());
    extent_.resize(begin + ColumnUnitStride(bytes.size()));
  }
  TESSERA_ASSIGN_OR_RETURN(const storage::ExtentRef ref,
                           writer_.Append(extent_, storage::kPlaneAlignment));
  chunk.file = ref.file;
  chunk.offset = ref.offset;
  set_.chunks.push_back(chunk);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<ColumnSet>> ColumnWriter::Finish() {
  if (!builder_.empty()) TESSERA_RETURN_IF_ERROR(WriteChunk());
  if (set_.chunks.empty()) return std::nullopt;
  return std::move(set_);
}

}  // namespace tessera::version
