// Keys and values of the row store: what is written where for a collection.
//
//   kCatalog    "v"                          format version of the data directory (u32)
//               "u"                          next collection uid (u32)
//               "c" + name                   CollectionRecord
//               "d" + uid                    nothing; a dropped collection, still to be removed
//               "e" + uid                    row (u64): rows below are in lists or dead; none: 0
//               "r" + uid                    row (u64): no row from there on was given out
//   kPoints     uid, row                     PointRecord
//   kIds        uid, PointId key             row (u64)
//   kFresh      uid, field, row              version (u64) + vector bytes, until absorbed
//   kLocations  uid, row                     tombstone of a dead row that lists still hold
//   kManifest   uid, field                   storage::VersionRecord of the field's index version
//
// uid and row are big-endian, so that a collection's keys are adjacent and rows ascend; field is
// the position of the vector field in the schema (u8).
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "base/point_id.h"
#include "base/schema.h"
#include "base/types.h"

namespace tessera::db {

// Of the whole data directory; another one is refused at open. 1 had no columns.
inline constexpr uint32_t kDirectoryFormatVersion = 2;

inline constexpr std::string_view kFormatVersionKey = "v";
inline constexpr std::string_view kNextUidKey = "u";
inline constexpr std::string_view kCollectionKeyPrefix = "c";
inline constexpr std::string_view kDroppedKeyPrefix = "d";

struct CollectionRecord {
  uint32_t uid = 0;
  base::CollectionSchema schema;
};

struct PointRecord {
  base::PointId id;
  uint64_t version = 0;
  std::string payload_json;  // empty: no payload
};

std::string CollectionKey(std::string_view name);
std::string ReservedRowsKey(uint32_t uid);
std::string AbsorbedEndKey(uint32_t uid);
std::string DroppedKey(uint32_t uid);
std::string UidKey(uint32_t uid);  // prefix of all keys of a collection
std::string RowKey(uint32_t uid, base::RowId row);
std::string IdKey(uint32_t uid, const base::PointId& id);
std::string FieldKey(uint32_t uid, uint8_t field);  // prefix of a field's fresh rows; manifest key
std::string FreshKey(uint32_t uid, uint8_t field, base::RowId row);

// The row in the last 8 bytes of a key that ends with one. Errors: kDataLoss if it is shorter.
absl::StatusOr<base::RowId> RowOfKey(std::string_view key);

std::string EncodeCollectionRecord(const CollectionRecord& record);
absl::StatusOr<CollectionRecord> DecodeCollectionRecord(std::string_view bytes);
std::string EncodePointRecord(const PointRecord& record);
absl::StatusOr<PointRecord> DecodePointRecord(std::string_view bytes);
std::string EncodeRow(base::RowId row);
absl::StatusOr<base::RowId> DecodeRow(std::string_view bytes);

}  // namespace tessera::db
