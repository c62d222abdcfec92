// The version record of one (collection, vector field): which lists its index version has, where
// their planes are, and where the version's blobs (heads, codec, calibration ...) are. One record
// is one value of the row store's manifest table; replacing it publishes a version.
//
// Byte layout: storage/FORMAT.md, "Version record".
//
// Threads: value types and free functions.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "storage/extent_store.h"

namespace tessera::storage {

inline constexpr uint16_t kVersionRecordFormat = 1;
inline constexpr uint32_t kListsMax = 1 << 26;
inline constexpr uint32_t kPartRowsMax = 1 << 24;

// Values are on disk: never renumber.
enum class PlaneKind : uint8_t {
  kCodes = 1,  // 1-bit codes with their factors
  kFine = 2,   // finer code bits, one record per row
  kRaw = 3,    // raw vectors with id and row version
};

// Values are on disk: never renumber.
enum class BlobKind : uint8_t {
  kHeads = 1,
  kHeadIndex = 2,
  kCodec = 3,
  kCalibration = 4,
  kStatistics = 5,
  kParts = 6,      // which rows each published part has
  kLocations = 7,  // row -> list and slot
  kColumns = 8,    // where the columns of its rows are
};

struct VersionRecord {
  uint64_t generation = 0;  // grows with every published version of the field
  // Rows per list; the number of lists is its size.
  std::vector<uint32_t> list_rows;
  // Per plane one extent for each list, bytes == 0 where the list has none.
  std::map<PlaneKind, std::vector<ExtentRef>> planes;
  std::map<BlobKind, ExtentRef> blobs;
  // Small numbers that go with the version, by name ("rows_absorbed", "next_file" ...); names of
  // 1 .. 255 bytes.
  std::map<std::string, uint64_t> counters;

  friend bool operator==(const VersionRecord&, const VersionRecord&) = default;
};

// The files the record names.
std::set<uint32_t> ReferencedFiles(const VersionRecord& record);

// The same with the end of the last extent that the record has in each.
std::map<uint32_t, uint64_t> ReferencedFileEnds(const VersionRecord& record);

// Pre:  sizes within the limits above, every plane has list_rows.size() extents.
// Cost: about 10-20 bytes per list and plane.
std::string EncodeVersionRecord(const VersionRecord& record);

// Errors: kDataLoss for any damage; kUnimplemented for a newer format.
// Cost:   O(bytes); takes no more memory than a small multiple of `bytes`.
absl::StatusOr<VersionRecord> DecodeVersionRecord(std::string_view bytes);

}  // namespace tessera::storage
