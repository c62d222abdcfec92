#include "version/columns/column_directory.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "storage/extent_store.h"

namespace tessera::version {
namespace {

using query::UnitKind;

constexpr size_t kChecksumBytes = 4;

absl::Status Wrong(std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("column directory: ", absl::string_view(what.data(), what.size())));
}

void EncodeSet(const ColumnSet& set, std::string* out) {
  base::PutVarint64(out, set.paths.size());
  for (const std::string& path : set.paths) {
    base::PutBytes(out, path);
  }
  base::PutVarint64(out, set.chunks.size());
  uint64_t last_block = 0;
  for (const ColumnChunk& chunk : set.chunks) {
    base::PutVarint64(out, chunk.first_block - last_block);
    base::PutVarint64(out, chunk.blocks);
    base::PutVarint64(out, chunk.rows);
    base::PutU32(out, chunk.file);
    base::PutU64(out, chunk.offset);
    base::PutVarint64(out, chunk.units);
    for (uint32_t i = 0; i < chunk.units; ++i) {
      const ColumnUnit& unit = set.units[chunk.first_unit + i];
      out->push_back(static_cast<char>(unit.kind));
      if (unit.kind == UnitKind::kPath) base::PutVarint64(out, unit.path);
      base::PutVarint64(out, unit.bytes);
    }
    last_block = chunk.end_block() - 1;
  }
}

absl::Status DecodePaths(base::Decoder* in, ColumnSet* set) {
  uint64_t count = 0;
  TESSERA_RETURN_IF_ERROR(in->Varint64(&count));
  if (count > in->remaining()) return Wrong("too many paths");
  for (uint64_t i = 0; i < count; ++i) {
    std::string_view path;
    TESSERA_RETURN_IF_ERROR(in->Bytes(&path));
    set->paths.emplace_back(path);
  }
  return absl::OkStatus();
}

absl::Status DecodeUnits(base::Decoder* in, ColumnChunk* chunk, ColumnSet* set) {
  uint64_t count = 0;
  TESSERA_RETURN_IF_ERROR(in->Varint64(&count));
  if (count == 0 || count > in->remaining()) return Wrong("a number of units is out of range");
  chunk->first_unit = static_cast<uint32_t>(set->units.size());
  chunk->units = static_cast<uint32_t>(count);
  for (uint64_t i = 0; i < count; ++i) {
    uint8_t kind = 0;
    uint64_t path = 0;
    uint64_t bytes = 0;
    TESSERA_RETURN_IF_ERROR(in->U8(&kind));
    if (kind < static_cast<uint8_t>(UnitKind::kRows) ||
        kind > static_cast<uint8_t>(UnitKind::kRest)) {
      return Wrong("a unit of unknown kind");
    }
    if (kind == static_cast<uint8_t>(UnitKind::kPath)) {
      TESSERA_RETURN_IF_ERROR(in->Varint64(&path));
      if (path >= set->paths.size()) return Wrong("a unit of an unknown path");
    }
    // The unit of the rows is the first one and the only one of its kind: all others need it.
    if ((kind == static_cast<uint8_t>(UnitKind::kRows)) != (i == 0)) {
      return Wrong("the unit of the rows is not the first");
    }
    TESSERA_RETURN_IF_ERROR(in->Varint64(&bytes));
    if (bytes == 0 || bytes > std::numeric_limits<uint32_t>::max()) {
      return Wrong("a unit's size is out of range");
    }
    set->units.push_back({.kind = static_cast<UnitKind>(kind),
                          .path = static_cast<uint32_t>(path),
                          .bytes = static_cast<uint32_t>(bytes)});
  }
  return absl::OkStatus();
}

absl::Status DecodeSet(base::Decoder* in, uint64_t* end, ColumnSet* set) {
  TESSERA_RETURN_IF_ERROR(DecodePaths(in, set));
  uint64_t chunks = 0;
  TESSERA_RETURN_IF_ERROR(in->Varint64(&chunks));
  if (chunks == 0 || chunks > in->remaining()) return Wrong("a number of chunks is out of range");
  uint64_t last_block = 0;
  for (uint64_t i = 0; i < chunks; ++i) {
    ColumnChunk chunk;
    uint64_t gap = 0;
    uint64_t blocks = 0;
    uint64_t rows = 0;
    TESSERA_RETURN_IF_ERROR(in->Varint64(&gap));
    TESSERA_RETURN_IF_ERROR(in->Varint64(&blocks));
    TESSERA_RETURN_IF_ERROR(in->Varint64(&rows));
    TESSERA_RETURN_IF_ERROR(in->U32(&chunk.file));
    TESSERA_RETURN_IF_ERROR(in->U64(&chunk.offset));
    constexpr uint64_t kMax = std::numeric_limits<uint32_t>::max();
    if (gap > kMax || blocks == 0 || blocks > kMax || last_block + gap + blocks > kMax) {
      return Wrong("the blocks of a chunk are out of range");
    }
    if (last_block + gap < *end) return Wrong("sets overlap");
    if (rows == 0 || rows > query::kChunkRowsMax || rows > blocks * 64) {
      return Wrong("a chunk's rows are out of range");
    }
    if (chunk.file == 0 || chunk.offset % storage::kPlaneAlignment != 0 ||
        chunk.offset > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / 2) {
      return Wrong("the place of a chunk is out of range");
    }
    chunk.first_block = static_cast<uint32_t>(last_block + gap);
    chunk.blocks = static_cast<uint32_t>(blocks);
    chunk.rows = static_cast<uint32_t>(rows);
    TESSERA_RETURN_IF_ERROR(DecodeUnits(in, &chunk, set));
    last_block = chunk.end_block() - 1;
    set->chunks.push_back(chunk);
  }
  *end = last_block + 1;
  return absl::OkStatus();
}

}  // namespace

uint64_t ColumnSet::rows() const {
  uint64_t rows = 0;
  for (const ColumnChunk& chunk : chunks) rows += chunk.rows;
  return rows;
}

std::string EncodeColumnDirectory(std::span<const ColumnSet> sets) {
  std::string out;
  base::PutVarint64(&out, sets.size());
  for (const ColumnSet& set : sets) EncodeSet(set, &out);
  base::PutU32(&out, base::Crc32c(std::string_view(out)));
  return out;
}

absl::StatusOr<std::vector<ColumnSet>> DecodeColumnDirectory(std::string_view bytes) {
  if (bytes.size() < kChecksumBytes) return Wrong("too short");
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  base::Decoder checksum(bytes.substr(body.size()));
  uint32_t crc = 0;
  TESSERA_RETURN_IF_ERROR(checksum.U32(&crc));
  if (crc != base::Crc32c(body)) return Wrong("wrong checksum");
  base::Decoder in(body);
  uint64_t count = 0;
  TESSERA_RETURN_IF_ERROR(in.Varint64(&count));
  if (count > in.remaining()) return Wrong("too many sets");
  std::vector<ColumnSet> sets(count);
  uint64_t end = 0;
  for (ColumnSet& set : sets) TESSERA_RETURN_IF_ERROR(DecodeSet(&in, &end, &set));
  TESSERA_RETURN_IF_ERROR(in.ExpectEnd());
  return sets;
}

}  // namespace tessera::version
