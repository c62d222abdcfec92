#include "version/fine_plane.h"

#include <cstring>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"

namespace tessera::version {

void WriteFinePlane(size_t record_bytes, uint32_t rows, const std::byte* records,
                    std::byte* plane) {
  const size_t stride = FineUnitStride(record_bytes);
  const uint32_t units = FineUnitCount(record_bytes, rows);
  for (uint32_t unit = 0; unit < units; ++unit) {
    const size_t bytes = FineUnitRows(record_bytes, rows, unit) * record_bytes;
    std::byte* to = plane + unit * stride;
    std::memcpy(to, records, bytes);
    base::StoreU32(to + bytes, base::Crc32c(std::span(records, bytes)));
    if (unit + 1 < units) {
      std::memset(to + bytes + kFineChecksumBytes, 0, stride - bytes - kFineChecksumBytes);
    }
    records += bytes;
  }
}

absl::Status CheckFineUnit(size_t record_bytes, uint32_t unit_rows,
                           std::span<const std::byte> unit) {
  if (unit.size() != FineUnitBytes(record_bytes, unit_rows)) {
    return absl::DataLossError(absl::StrCat("fine unit of ", unit.size(), " bytes, ", unit_rows,
                                            " rows take ", FineUnitBytes(record_bytes, unit_rows)));
  }
  const auto records = unit.first(unit_rows * record_bytes);
  if (base::LoadU32(unit.data() + records.size()) != base::Crc32c(records)) {
    return absl::DataLossError(absl::StrCat("fine unit of ", unit_rows, " rows: wrong checksum"));
  }
  return absl::OkStatus();
}

}  // namespace tessera::version
