// The raw plane of a list: the vectors as they were sent, with what a reply needs.
//
// Record of a row, little-endian, as it is handed about while an index is built:
//    0  u32     crc32c     of every byte after it
//    4  u8      id kind    RawIdKind
//    5  u8      id length  bytes of a string id (16 for a long one); 8 and 16 for the others
//    6  u16     zero
//    8  u64     row id
//   16  u64     version
//   24  u8[16]  id         number (u64 LE, then zeros), UUID, or string padded with zeros; of a
//                          string longer than 16 bytes its first 8 and RawLongIdHash (u64 LE)
//   40          vector     dim elements, then zeros up to a multiple of 4
//
// A plane keeps records in units of RawRowsPerUnit rows, the piece that is read and checked. A unit
// has the headers (the first 40 bytes) of its rows, then, from RawVectorsAt, a multiple of 64,
// their vectors: a comparison touches a vector alone, and as few cache lines as it can. Units lie
// at a stride of RawUnitStride, a multiple of 512, with zeros between; the last is cut after its
// last vector and padded to 512.
//
// Threads: free functions without shared state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"

#include "base/coding/coding.h"
#include "base/point_id.h"
#include "base/schema.h"
#include "base/types.h"

namespace tessera::index {

inline constexpr size_t kRawHeaderBytes = 40;
inline constexpr size_t kRawVectorsAlignment = 64;
inline constexpr size_t kRawUnitAlignment = 512;
inline constexpr size_t kRawUnitGoalBytes = 4096;
inline constexpr size_t kRawInlineIdBytes = 16;

// Values are on disk: never renumber.
enum class RawIdKind : uint8_t { kNumber = 0, kUuid = 1, kString = 2, kLongString = 3 };

constexpr size_t RawVectorBytes(const base::VectorFieldSchema& field) {
  return (field.dim * base::ElementBytes(field.type) + 3) / 4 * 4;
}
constexpr size_t RawRecordBytes(const base::VectorFieldSchema& field) {
  return kRawHeaderBytes + RawVectorBytes(field);
}
// Where the vectors of a unit begin that has room for `rows` headers.
constexpr size_t RawVectorsAfter(size_t rows) {
  return (rows * kRawHeaderBytes + kRawVectorsAlignment - 1) / kRawVectorsAlignment *
         kRawVectorsAlignment;
}
constexpr uint32_t RawRowsPerUnit(const base::VectorFieldSchema& field) {
  size_t rows = kRawUnitGoalBytes / RawRecordBytes(field);
  while (rows > 1 && RawVectorsAfter(rows) + rows * RawVectorBytes(field) > kRawUnitGoalBytes) {
    --rows;
  }
  return rows == 0 ? 1 : static_cast<uint32_t>(rows);
}
constexpr size_t RawVectorsAt(const base::VectorFieldSchema& field) {
  return RawVectorsAfter(RawRowsPerUnit(field));
}
constexpr size_t RawUnitCount(const base::VectorFieldSchema& field, size_t rows) {
  return (rows + RawRowsPerUnit(field) - 1) / RawRowsPerUnit(field);
}
// Rows of one unit of a plane of `rows` rows. Pre: unit < RawUnitCount(field, rows).
constexpr size_t RawUnitRows(const base::VectorFieldSchema& field, size_t rows, size_t unit) {
  const size_t left = rows - unit * RawRowsPerUnit(field);
  return left < RawRowsPerUnit(field) ? left : RawRowsPerUnit(field);
}
// Bytes a unit of `unit_rows` rows takes, padding included.
constexpr size_t RawUnitBytes(const base::VectorFieldSchema& field, size_t unit_rows) {
  const size_t bytes = RawVectorsAt(field) + unit_rows * RawVectorBytes(field);
  return (bytes + kRawUnitAlignment - 1) / kRawUnitAlignment * kRawUnitAlignment;
}
constexpr size_t RawUnitStride(const base::VectorFieldSchema& field) {
  return RawUnitBytes(field, RawRowsPerUnit(field));
}
constexpr size_t RawPlaneBytes(const base::VectorFieldSchema& field, size_t rows) {
  if (rows == 0) return 0;
  const size_t last = RawUnitCount(field, rows) - 1;
  return last * RawUnitStride(field) + RawUnitBytes(field, RawUnitRows(field, rows, last));
}

// Finds the rows of a unit.
class RawUnitShape {
 public:
  RawUnitShape() = default;
  explicit RawUnitShape(const base::VectorFieldSchema& field)
      : vectors_at_(RawVectorsAt(field)), vector_bytes_(RawVectorBytes(field)) {}

  const std::byte* Header(const std::byte* unit, size_t row) const {
    return unit + row * kRawHeaderBytes;
  }
  const std::byte* Vector(const std::byte* unit, size_t row) const {
    return unit + vectors_at_ + row * vector_bytes_;
  }
  // Puts a record where it belongs, and takes it from there.
  void StoreRecord(const std::byte* record, size_t row, std::byte* unit) const;
  void LoadRecord(const std::byte* unit, size_t row, std::byte* record) const;

 private:
  size_t vectors_at_ = 0;
  size_t vector_bytes_ = 0;
};

struct RawRow {
  base::RowId row;
  uint64_t version = 0;
  const base::PointId* id = nullptr;
  const std::byte* vector = nullptr;  // dim elements
};

// Writes the record of one row, [RawRecordBytes(field)].
// Pre: the id is at most base::kPointIdStringBytesMax bytes.
void EncodeRawRecord(const base::VectorFieldSchema& field, const RawRow& row, std::byte* record);

// Writes a whole plane, [RawPlaneBytes(field, rows.size())], the zeros between units included.
void EncodeRawPlane(const base::VectorFieldSchema& field, std::span<const RawRow> rows,
                    std::byte* plane);

// Checks one unit as it was read: its size, every row's checksum and header, and the zeros beside
// them. What passes may be given to the accessors below.
// Errors: kDataLoss naming the record and what is wrong.
absl::Status ValidateRawUnit(const base::VectorFieldSchema& field, size_t unit_rows,
                             std::span<const std::byte> unit);

// The vector of a record that is in one piece.
inline const std::byte* RawVector(const std::byte* record) {
  return record + kRawHeaderBytes;
}

// Accessors of a valid header.
inline base::RowId RawRowId(const std::byte* header) {
  return {base::LoadU64(header + 8)};
}
inline uint64_t RawVersion(const std::byte* header) {
  return base::LoadU64(header + 16);
}
inline RawIdKind RawKind(const std::byte* header) {
  return static_cast<RawIdKind>(header[4]);
}
inline size_t RawIdLength(const std::byte* header) {
  return std::to_integer<size_t>(header[5]);
}
// kRawInlineIdBytes bytes.
inline const uint8_t* RawIdBytes(const std::byte* header) {
  return reinterpret_cast<const uint8_t*>(header + 24);
}

// Pre: the id is not kLongString; that one is resolved in the row store.
base::PointId RawPointId(const std::byte* header);

// Tells long strings with a common beginning apart: CRC-32C of the whole, and of all after the
// first 8 bytes.
uint64_t RawLongIdHash(std::string_view text);

}  // namespace tessera::index
