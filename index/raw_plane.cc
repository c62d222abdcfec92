#include "index/raw_plane.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/coding/crc32c.h"

namespace tessera::index {
namespace {

void StoreId(const base::PointId& id, std::byte* record) {
  RawIdKind kind = RawIdKind::kNumber;
  size_t length = sizeof(uint64_t);
  std::byte* out = record + 24;
  if (const uint64_t* number = id.number()) {
    base::StoreU64(out, *number);
  } else if (const base::Uuid* uuid = id.uuid()) {
    kind = RawIdKind::kUuid;
    length = uuid->bytes.size();
    std::memcpy(out, uuid->bytes.data(), length);
  } else {
    const std::string& text = *id.string();
    TESSERA_CHECK(text.size() <= base::kPointIdStringBytesMax);
    if (text.size() <= kRawInlineIdBytes) {
      kind = RawIdKind::kString;
      length = text.size();
      std::memcpy(out, text.data(), length);
    } else {
      kind = RawIdKind::kLongString;
      length = kRawInlineIdBytes;
      std::memcpy(out, text.data(), sizeof(uint64_t));
      base::StoreU64(out + 8, RawLongIdHash(text));
    }
  }
  record[4] = static_cast<std::byte>(kind);
  record[5] = static_cast<std::byte>(length);
}

bool AllZero(const std::byte* begin, const std::byte* end) {
  return std::all_of(begin, end, [](std::byte b) { return b == std::byte{0}; });
}

// Null when the header is as EncodeRawRecord writes it.
const char* HeaderFault(const std::byte* record) {
  const size_t length = RawIdLength(record);
  const auto* id = record + 24;
  if (base::LoadU16(record + 6) != 0) return "reserved bytes that are not zero";
  switch (RawKind(record)) {
    case RawIdKind::kNumber:
      if (length != 8 || !AllZero(id + 8, id + 16)) return "a bad number id";
      return nullptr;
    case RawIdKind::kUuid:
    case RawIdKind::kLongString:
      return length == 16 ? nullptr : "a bad id length";
    case RawIdKind::kString:
      if (length > kRawInlineIdBytes || !AllZero(id + length, id + 16)) return "a bad string id";
      return nullptr;
  }
  return "an unknown kind of id";
}

}  // namespace

void EncodeRawRecord(const base::VectorFieldSchema& field, const RawRow& row, std::byte* record) {
  const size_t bytes = RawRecordBytes(field);
  std::memset(record, 0, bytes);
  base::StoreU64(record + 8, row.row.value);
  base::StoreU64(record + 16, row.version);
  StoreId(*row.id, record);
  std::memcpy(record + kRawHeaderBytes, row.vector, field.dim * base::ElementBytes(field.type));
  base::StoreU32(record, base::Crc32c(std::span(record + 4, bytes - 4)));
}

void RawUnitShape::StoreRecord(const std::byte* record, size_t row, std::byte* unit) const {
  std::memcpy(unit + row * kRawHeaderBytes, record, kRawHeaderBytes);
  std::memcpy(unit + vectors_at_ + row * vector_bytes_, RawVector(record), vector_bytes_);
}

void RawUnitShape::LoadRecord(const std::byte* unit, size_t row, std::byte* record) const {
  std::memcpy(record, Header(unit, row), kRawHeaderBytes);
  std::memcpy(record + kRawHeaderBytes, Vector(unit, row), vector_bytes_);
}

void EncodeRawPlane(const base::VectorFieldSchema& field, std::span<const RawRow> rows,
                    std::byte* plane) {
  std::memset(plane, 0, RawPlaneBytes(field, rows.size()));
  const RawUnitShape shape(field);
  const size_t per_unit = RawRowsPerUnit(field);
  std::vector<std::byte> record(RawRecordBytes(field));
  for (size_t slot = 0; slot < rows.size(); ++slot) {
    EncodeRawRecord(field, rows[slot], record.data());
    shape.StoreRecord(record.data(), slot % per_unit,
                      plane + slot / per_unit * RawUnitStride(field));
  }
}

absl::Status ValidateRawUnit(const base::VectorFieldSchema& field, size_t unit_rows,
                             std::span<const std::byte> unit) {
  if (unit_rows > RawRowsPerUnit(field) || unit.size() != RawUnitBytes(field, unit_rows)) {
    return absl::DataLossError(absl::StrCat("raw unit of ", unit_rows, " rows has ", unit.size(),
                                            " bytes, must have ", RawUnitBytes(field, unit_rows)));
  }
  const RawUnitShape shape(field);
  for (size_t row = 0; row < unit_rows; ++row) {
    const std::byte* header = shape.Header(unit.data(), row);
    const uint32_t stored = base::LoadU32(header);
    const uint32_t actual =
        base::ExtendCrc32c(base::Crc32c(std::span(header + 4, kRawHeaderBytes - 4)),
                           {shape.Vector(unit.data(), row), RawVectorBytes(field)});
    if (stored != actual) {
      return absl::DataLossError(absl::StrCat("raw record ", row, " of its unit has checksum ",
                                              actual, ", stored is ", stored));
    }
    if (const char* fault = HeaderFault(header)) {
      return absl::DataLossError(absl::StrCat("raw record ", row, " of its unit has ", fault));
    }
  }
  if (!AllZero(shape.Header(unit.data(), unit_rows), shape.Vector(unit.data(), 0)) ||
      !AllZero(shape.Vector(unit.data(), unit_rows), unit.data() + unit.size())) {
    return absl::DataLossError("raw unit has bytes beside its records that are not zero");
  }
  return absl::OkStatus();
}

base::PointId RawPointId(const std::byte* header) {
  const uint8_t* id = RawIdBytes(header);
  switch (RawKind(header)) {
    case RawIdKind::kNumber:
      return base::PointId(base::LoadU64(header + 24));
    case RawIdKind::kUuid: {
      base::Uuid uuid;
      std::copy_n(id, uuid.bytes.size(), uuid.bytes.begin());
      return base::PointId(uuid);
    }
    case RawIdKind::kString:
      return base::PointId(std::string(id, id + RawIdLength(header)));
    case RawIdKind::kLongString:
      break;
  }
  TESSERA_FATAL("the raw plane does not hold the text of a long string id");
}

uint64_t RawLongIdHash(std::string_view text) {
  return uint64_t{base::Crc32c(text)} << 32 | base::Crc32c(text.substr(8));
}

}  // namespace tessera::index
