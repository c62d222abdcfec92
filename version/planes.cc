#include "version/planes.h"

#include <cstring>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/strings.h"
#include "index/raw_plane.h"
#include "version/fine_plane.h"

namespace tessera::version {
namespace {

using storage::ExtentRef;
using storage::PlaneKind;

Plane CodePlane(const index::Codec& codec) {
  return {
      .kind = PlaneKind::kCodes,
      .name = "codes",
      .priority = storage::Priority::kCodes,
      .table = &query::PlaneSet::codes,
      .first_unit = &query::ListPart::code_unit,
      .unit_bytes = [&codec](uint32_t rows) { return codec.CodePlaneBytes(rows); },
      .validate =
          [&codec](uint32_t rows, std::span<const std::byte> unit) {
            return codec.ValidateCodePlane(unit, rows);
          },
      .write = [](const EncodedPart& part,
                  std::byte* plane) { std::memcpy(plane, part.codes.data(), part.codes.size()); }};
}

Plane FinePlane(const index::Codec& codec) {
  const size_t record_bytes = codec.FineRecordBytes();
  return {.kind = PlaneKind::kFine,
          .name = "fine",
          .priority = storage::Priority::kFine,
          .table = &query::PlaneSet::fine,
          .first_unit = &query::ListPart::fine_unit,
          .rows_per_unit = FineRowsPerUnit(record_bytes),
          .unit_stride = FineUnitStride(record_bytes),
          .unit_bytes = [record_bytes](uint32_t rows) { return FineUnitBytes(record_bytes, rows); },
          .validate =
              [&codec, record_bytes](uint32_t rows, std::span<const std::byte> unit) {
                const absl::Status status = CheckFineUnit(record_bytes, rows, unit);
                return status.ok() ? codec.ValidateFinePlane(unit.first(rows * record_bytes), rows)
                                   : status;
              },
          .write =
              [record_bytes](const EncodedPart& part, std::byte* plane) {
                WriteFinePlane(record_bytes, part.rows, part.fine.data(), plane);
              }};
}

void WriteRawPlane(const base::VectorFieldSchema& field, const EncodedPart& part,
                   std::byte* plane) {
  const index::RawUnitShape shape(field);
  const uint32_t per_unit = index::RawRowsPerUnit(field);
  for (uint32_t begin = 0; begin < part.rows; begin += per_unit) {
    const uint32_t count = std::min(per_unit, part.rows - begin);
    std::memset(plane, 0, index::RawUnitBytes(field, count));
    for (uint32_t i = 0; i < count; ++i) shape.StoreRecord(part.record(begin + i), i, plane);
    plane += index::RawUnitStride(field);
  }
}

Plane RawPlane(const base::VectorFieldSchema& field) {
  return {.kind = PlaneKind::kRaw,
          .name = "raw",
          .priority = storage::Priority::kRaw,
          .table = &query::PlaneSet::raw,
          .first_unit = &query::ListPart::raw_unit,
          .rows_per_unit = index::RawRowsPerUnit(field),
          .unit_stride = index::RawUnitStride(field),
          .unit_bytes = [field](uint32_t rows) { return index::RawUnitBytes(field, rows); },
          .validate =
              [field](uint32_t rows, std::span<const std::byte> unit) {
                return index::ValidateRawUnit(field, rows, unit);
              },
          .write = [field](const EncodedPart& part,
                           std::byte* plane) { WriteRawPlane(field, part, plane); }};
}

absl::Status Wrong(std::string_view what) {
  return absl::DataLossError(absl::StrCat("index version: ", base::Sv(what)));
}

}  // namespace

void Plane::AppendRuns(const ExtentRef& ref, uint32_t rows,
                       std::vector<storage::UnitRun>* runs) const {
  TESSERA_CHECK(ref.offset % storage::kPlaneAlignment == 0);
  const uint32_t count = units(rows);
  const auto full_bytes = static_cast<uint32_t>(unit_bytes(unit_rows(rows, 0)));
  const auto last_bytes = static_cast<uint32_t>(unit_bytes(unit_rows(rows, count - 1)));
  const uint32_t full = last_bytes == full_bytes ? count : count - 1;
  if (full > 0) {
    runs->push_back({.file = ref.file,
                     .offset = ref.offset,
                     .bytes = full_bytes,
                     .stride = static_cast<uint32_t>(unit_stride),
                     .count = full});
  }
  if (full < count) {
    runs->push_back({.file = ref.file,
                     .offset = ref.offset + full * unit_stride,
                     .bytes = last_bytes,
                     .stride = 0,
                     .count = 1});
  }
}

std::vector<Plane> PlanesOf(const base::VectorFieldSchema& field, const index::Codec& codec) {
  std::vector<Plane> planes = {CodePlane(codec)};
  if (codec.FineRecordBytes() > 0) planes.push_back(FinePlane(codec));
  planes.push_back(RawPlane(field));
  return planes;
}

absl::Status CheckPlanes(std::span<const Plane> planes, const storage::VersionRecord& record) {
  if (record.planes.size() != planes.size()) {
    return Wrong(absl::StrCat(record.planes.size(), " planes, the codec has ", planes.size()));
  }
  for (const Plane& plane : planes) {
    const auto found = record.planes.find(plane.kind);
    if (found == record.planes.end()) {
      return Wrong(absl::StrCat("the ", base::Sv(plane.name), " plane is missing"));
    }
    const std::vector<ExtentRef>& extents = found->second;
    if (extents.size() != record.list_rows.size()) {
      return Wrong(absl::StrCat("the ", base::Sv(plane.name), " plane has ", extents.size(),
                                " extents for ", record.list_rows.size(), " parts"));
    }
    for (size_t entry = 0; entry < extents.size(); ++entry) {
      const ExtentRef& ref = extents[entry];
      const uint64_t bytes = plane.bytes(record.list_rows[entry]);
      if (ref.bytes == bytes && ref.offset % storage::kPlaneAlignment == 0) continue;
      return Wrong(absl::StrCat("the ", base::Sv(plane.name), " plane of part ", entry, " with ",
                                record.list_rows[entry], " rows has ", ref.bytes, " bytes at ",
                                ref.offset, ", must be ", bytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace tessera::version
