// The fine plane of a part on disk: the codec's records in units of a few rows, the piece that is
// read and checked by itself.
//
// Unit: the records of its rows, then u32 crc32c of them. Units lie at a stride of FineUnitStride,
// a multiple of 512, with zeros between; the last is cut after its checksum.
//
// Threads: free functions without shared state.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"

#include "storage/extent_store.h"

namespace tessera::version {

// Part of the format.
inline constexpr size_t kFineUnitGoalBytes = 4096;
inline constexpr size_t kFineChecksumBytes = 4;

// Of all these, pre: record_bytes >= 1.
constexpr uint32_t FineRowsPerUnit(size_t record_bytes) {
  return static_cast<uint32_t>(
      std::max<size_t>(1, (kFineUnitGoalBytes - kFineChecksumBytes) / record_bytes));
}
constexpr uint32_t FineUnitCount(size_t record_bytes, uint32_t rows) {
  return (rows + FineRowsPerUnit(record_bytes) - 1) / FineRowsPerUnit(record_bytes);
}
// Rows of one unit of a plane of `rows` rows. Pre: unit < FineUnitCount(record_bytes, rows).
constexpr uint32_t FineUnitRows(size_t record_bytes, uint32_t rows, uint32_t unit) {
  return std::min(FineRowsPerUnit(record_bytes), rows - unit * FineRowsPerUnit(record_bytes));
}
constexpr size_t FineUnitBytes(size_t record_bytes, uint32_t unit_rows) {
  return unit_rows * record_bytes + kFineChecksumBytes;
}
constexpr size_t FineUnitStride(size_t record_bytes) {
  return (FineUnitBytes(record_bytes, FineRowsPerUnit(record_bytes)) + storage::kPlaneAlignment -
          1) /
         storage::kPlaneAlignment * storage::kPlaneAlignment;
}
// Pre: rows >= 1.
constexpr size_t FinePlaneBytes(size_t record_bytes, uint32_t rows) {
  const uint32_t last = FineUnitCount(record_bytes, rows) - 1;
  return last * FineUnitStride(record_bytes) +
         FineUnitBytes(record_bytes, FineUnitRows(record_bytes, rows, last));
}

// Writes a whole plane [FinePlaneBytes(record_bytes, rows)] from the codec's records
// [rows * record_bytes].
void WriteFinePlane(size_t record_bytes, uint32_t rows, const std::byte* records, std::byte* plane);

// Checks size and checksum of one unit. Errors: kDataLoss.
absl::Status CheckFineUnit(size_t record_bytes, uint32_t unit_rows,
                           std::span<const std::byte> unit);

}  // namespace tessera::version
