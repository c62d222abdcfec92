#include "storage/manifest.h"

#include <limits>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"

namespace tessera::storage {
namespace {

constexpr uint32_t kMagic = 0x56534554;  // "TESV"
constexpr size_t kChecksumBytes = 4;
constexpr size_t kNameBytesMax = 255;

// The end of the extent before, per plane: extents of neighbouring lists mostly follow each other,
// so the offset is kept as the gap to it.
struct Position {
  uint32_t file = 0;
  uint64_t end = 0;
};

void PutExtent(std::string* out, const ExtentRef& ref, Position* position) {
  base::PutVarint64(out, ref.bytes);
  if (ref.bytes == 0) {
    return;
  }
  const bool near = ref.file == position->file && ref.offset >= position->end;
  base::PutVarint64(out, near ? 0 : ref.file);
  base::PutVarint64(out, near ? ref.offset - position->end : ref.offset);
  base::PutU32(out, ref.crc);
  *position = {.file = ref.file, .end = ref.offset + ref.bytes};
}

absl::Status Varint32(base::Decoder* in, const char* what, uint64_t max, uint32_t* value) {
  uint64_t wide = 0;
  TESSERA_RETURN_IF_ERROR(in->Varint64(&wide));
  if (wide > max) {
    return absl::DataLossError(
        absl::StrCat("version record: ", what, " is ", wide, ", at most ", max));
  }
  *value = static_cast<uint32_t>(wide);
  return absl::OkStatus();
}

absl::Status TakeExtent(base::Decoder* in, Position* position, ExtentRef* ref) {
  constexpr uint64_t kU32Max = std::numeric_limits<uint32_t>::max();
  *ref = {};
  TESSERA_RETURN_IF_ERROR(Varint32(in, "extent bytes", kU32Max, &ref->bytes));
  if (ref->bytes == 0) {
    return absl::OkStatus();
  }
  TESSERA_RETURN_IF_ERROR(Varint32(in, "file number", kU32Max, &ref->file));
  TESSERA_RETURN_IF_ERROR(in->Varint64(&ref->offset));
  TESSERA_RETURN_IF_ERROR(in->U32(&ref->crc));
  const bool near = ref->file == 0;
  const uint64_t start = near ? position->end : 0;
  if (near) {
    ref->file = position->file;
  }
  if (ref->file == 0 ||
      ref->offset > std::numeric_limits<int64_t>::max() - uint64_t{ref->bytes} - start) {
    return absl::DataLossError(
        absl::StrCat("version record: an extent at offset ", ref->offset, " of file ", ref->file));
  }
  ref->offset += start;
  *position = {.file = ref->file, .end = ref->offset + ref->bytes};
  return absl::OkStatus();
}

// Counts that precede items of at least `item_bytes_min` bytes, so that a damaged one is found
// before memory is taken for it.
absl::Status TakeCount(base::Decoder* in, const char* what, size_t item_bytes_min, uint64_t max,
                       uint32_t* count) {
  TESSERA_RETURN_IF_ERROR(Varint32(in, what, max, count));
  if (uint64_t{*count} * item_bytes_min > in->remaining()) {
    return absl::DataLossError(absl::StrCat("version record: ", what, " is ", *count, " with ",
                                            in->remaining(), " bytes left"));
  }
  return absl::OkStatus();
}

absl::Status OutOfOrder(const char* what) {
  return absl::DataLossError(absl::StrCat("version record: ", what, " out of order"));
}

absl::Status TakeLists(base::Decoder* in, VersionRecord* record) {
  uint32_t list_count = 0;
  TESSERA_RETURN_IF_ERROR(TakeCount(in, "list count", 1, kListsMax, &list_count));
  record->list_rows.resize(list_count);
  for (uint32_t& rows : record->list_rows) {
    TESSERA_RETURN_IF_ERROR(Varint32(in, "rows of a part", kPartRowsMax, &rows));
  }

  uint32_t plane_count = 0;
  TESSERA_RETURN_IF_ERROR(TakeCount(in, "plane count", 1, 255, &plane_count));
  uint8_t last_kind = 0;
  for (uint32_t i = 0; i < plane_count; ++i) {
    uint8_t kind = 0;
    TESSERA_RETURN_IF_ERROR(in->U8(&kind));
    if (kind <= last_kind) {
      return OutOfOrder("plane kinds");
    }
    last_kind = kind;
    if (list_count > in->remaining()) {
      return absl::DataLossError(absl::StrCat("version record: a plane of ", list_count,
                                              " lists in ", in->remaining(), " bytes"));
    }
    std::vector<ExtentRef>& extents = record->planes[static_cast<PlaneKind>(kind)];
    extents.resize(list_count);
    Position position;
    for (ExtentRef& ref : extents) {
      TESSERA_RETURN_IF_ERROR(TakeExtent(in, &position, &ref));
    }
  }
  return absl::OkStatus();
}

absl::Status TakeBlobs(base::Decoder* in, VersionRecord* record) {
  uint32_t blob_count = 0;
  TESSERA_RETURN_IF_ERROR(TakeCount(in, "blob count", 2, 255, &blob_count));
  uint8_t last_kind = 0;
  Position position;
  for (uint32_t i = 0; i < blob_count; ++i) {
    uint8_t kind = 0;
    TESSERA_RETURN_IF_ERROR(in->U8(&kind));
    if (kind <= last_kind) {
      return OutOfOrder("blob kinds");
    }
    last_kind = kind;
    TESSERA_RETURN_IF_ERROR(TakeExtent(in, &position, &record->blobs[static_cast<BlobKind>(kind)]));
  }
  return absl::OkStatus();
}

absl::Status TakeCounters(base::Decoder* in, VersionRecord* record) {
  uint32_t counter_count = 0;
  TESSERA_RETURN_IF_ERROR(TakeCount(in, "counter count", 3, kListsMax, &counter_count));
  std::string_view last;
  for (uint32_t i = 0; i < counter_count; ++i) {
    std::string_view name;
    uint64_t value = 0;
    TESSERA_RETURN_IF_ERROR(in->Bytes(&name));
    TESSERA_RETURN_IF_ERROR(in->Varint64(&value));
    if (name.size() > kNameBytesMax || name <= last) {
      return OutOfOrder("counter names");
    }
    last = name;
    record->counters.emplace(name, value);
  }
  return absl::OkStatus();
}

}  // namespace

std::map<uint32_t, uint64_t> ReferencedFileEnds(const VersionRecord& record) {
  std::map<uint32_t, uint64_t> ends;
  const auto add = [&ends](const ExtentRef& ref) {
    if (ref.bytes == 0) return;
    uint64_t& end = ends[ref.file];
    end = std::max(end, ref.offset + ref.bytes);
  };
  for (const auto& [kind, extents] : record.planes) {
    for (const ExtentRef& ref : extents) add(ref);
  }
  for (const auto& [kind, ref] : record.blobs) add(ref);
  return ends;
}

std::set<uint32_t> ReferencedFiles(const VersionRecord& record) {
  std::set<uint32_t> files;
  for (const auto& [file, end] : ReferencedFileEnds(record)) files.insert(file);
  return files;
}

std::string EncodeVersionRecord(const VersionRecord& record) {
  TESSERA_CHECK(record.list_rows.size() <= kListsMax);
  std::string out;
  base::PutU32(&out, kMagic);
  base::PutU16(&out, kVersionRecordFormat);
  base::PutVarint64(&out, record.generation);
  base::PutVarint64(&out, record.list_rows.size());
  for (const uint32_t rows : record.list_rows) {
    TESSERA_CHECK(rows <= kPartRowsMax);
    base::PutVarint64(&out, rows);
  }
  base::PutVarint64(&out, record.planes.size());
  for (const auto& [kind, extents] : record.planes) {
    TESSERA_CHECK(extents.size() == record.list_rows.size());
    base::PutU8(&out, static_cast<uint8_t>(kind));
    Position position;
    for (const ExtentRef& ref : extents) {
      PutExtent(&out, ref, &position);
    }
  }
  base::PutVarint64(&out, record.blobs.size());
  Position position;
  for (const auto& [kind, ref] : record.blobs) {
    base::PutU8(&out, static_cast<uint8_t>(kind));
    PutExtent(&out, ref, &position);
  }
  base::PutVarint64(&out, record.counters.size());
  for (const auto& [name, value] : record.counters) {
    TESSERA_CHECK(!name.empty() && name.size() <= kNameBytesMax);
    base::PutBytes(&out, name);
    base::PutVarint64(&out, value);
  }
  base::PutU32(&out, base::Crc32c(std::string_view(out)));
  return out;
}

absl::StatusOr<VersionRecord> DecodeVersionRecord(std::string_view bytes) {
  if (bytes.size() < kChecksumBytes) {
    return absl::DataLossError(absl::StrCat("version record of ", bytes.size(), " bytes"));
  }
  // The checksum comes first: it is the last 4 bytes in every format, so damage is told apart from
  // a newer format.
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  base::Decoder checksum(bytes.substr(body.size()));
  uint32_t crc = 0;
  TESSERA_RETURN_IF_ERROR(checksum.U32(&crc));
  if (crc != base::Crc32c(body)) {
    return absl::DataLossError(
        absl::StrCat("version record of ", bytes.size(), " bytes has a wrong checksum"));
  }

  base::Decoder in(body);
  uint32_t magic = 0;
  uint16_t format = 0;
  TESSERA_RETURN_IF_ERROR(in.U32(&magic));
  TESSERA_RETURN_IF_ERROR(in.U16(&format));
  if (magic != kMagic || format == 0) {
    return absl::DataLossError("not a version record");
  }
  if (format > kVersionRecordFormat) {
    return absl::UnimplementedError(absl::StrCat(
        "version record has format ", format, ", this program reads up to ", kVersionRecordFormat));
  }
  VersionRecord record;
  TESSERA_RETURN_IF_ERROR(in.Varint64(&record.generation));
  TESSERA_RETURN_IF_ERROR(TakeLists(&in, &record));
  TESSERA_RETURN_IF_ERROR(TakeBlobs(&in, &record));
  TESSERA_RETURN_IF_ERROR(TakeCounters(&in, &record));
  TESSERA_RETURN_IF_ERROR(in.ExpectEnd());
  return record;
}

}  // namespace tessera::storage
