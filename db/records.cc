#include "db/records.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/status_macros.h"

namespace tessera::db {

std::string CollectionKey(std::string_view name) {
  std::string key(kCollectionKeyPrefix);
  key.append(name);
  return key;
}

std::string ReservedRowsKey(uint32_t uid) {
  std::string key = "r";
  base::PutBigEndian32(&key, uid);
  return key;
}

std::string AbsorbedEndKey(uint32_t uid) {
  std::string key = "e";
  base::PutBigEndian32(&key, uid);
  return key;
}

std::string DroppedKey(uint32_t uid) {
  std::string key(kDroppedKeyPrefix);
  base::PutBigEndian32(&key, uid);
  return key;
}

std::string UidKey(uint32_t uid) {
  std::string key;
  base::PutBigEndian32(&key, uid);
  return key;
}

std::string RowKey(uint32_t uid, base::RowId row) {
  std::string key = UidKey(uid);
  base::PutBigEndian64(&key, row.value);
  return key;
}

std::string IdKey(uint32_t uid, const base::PointId& id) {
  std::string key = UidKey(uid);
  id.EncodeKey(&key);
  return key;
}

std::string FieldKey(uint32_t uid, uint8_t field) {
  std::string key = UidKey(uid);
  base::PutU8(&key, field);
  return key;
}

std::string FreshKey(uint32_t uid, uint8_t field, base::RowId row) {
  std::string key = FieldKey(uid, field);
  base::PutBigEndian64(&key, row.value);
  return key;
}

absl::StatusOr<base::RowId> RowOfKey(std::string_view key) {
  if (key.size() < 8) {
    return absl::DataLossError(
        absl::StrCat("a row key has ", key.size(), " bytes, at least 8 are needed"));
  }
  return base::RowId{base::DecodeBigEndian64(key.substr(key.size() - 8))};
}

std::string EncodeCollectionRecord(const CollectionRecord& record) {
  std::string out;
  base::PutU32(&out, record.uid);
  base::PutBytes(&out, base::EncodeSchema(record.schema));
  return out;
}

absl::StatusOr<CollectionRecord> DecodeCollectionRecord(std::string_view bytes) {
  base::Decoder decoder(bytes);
  CollectionRecord record;
  std::string_view schema;
  TESSERA_RETURN_IF_ERROR(decoder.U32(&record.uid));
  TESSERA_RETURN_IF_ERROR(decoder.Bytes(&schema));
  TESSERA_RETURN_IF_ERROR(decoder.ExpectEnd());
  TESSERA_ASSIGN_OR_RETURN(record.schema, base::DecodeSchema(schema));
  return record;
}

std::string EncodePointRecord(const PointRecord& record) {
  std::string out;
  std::string id;
  record.id.EncodeKey(&id);
  base::PutU64(&out, record.version);
  base::PutBytes(&out, id);
  base::PutBytes(&out, record.payload_json);
  return out;
}

absl::StatusOr<PointRecord> DecodePointRecord(std::string_view bytes) {
  base::Decoder decoder(bytes);
  PointRecord record;
  std::string_view id;
  std::string_view payload;
  TESSERA_RETURN_IF_ERROR(decoder.U64(&record.version));
  TESSERA_RETURN_IF_ERROR(decoder.Bytes(&id));
  TESSERA_RETURN_IF_ERROR(decoder.Bytes(&payload));
  TESSERA_RETURN_IF_ERROR(decoder.ExpectEnd());
  TESSERA_ASSIGN_OR_RETURN(record.id, base::PointId::DecodeKey(id));
  record.payload_json = std::string(payload);
  return record;
}

std::string EncodeRow(base::RowId row) {
  std::string out;
  base::PutU64(&out, row.value);
  return out;
}

absl::StatusOr<base::RowId> DecodeRow(std::string_view bytes) {
  base::Decoder decoder(bytes);
  base::RowId row;
  TESSERA_RETURN_IF_ERROR(decoder.U64(&row.value));
  TESSERA_RETURN_IF_ERROR(decoder.ExpectEnd());
  return row;
}

}  // namespace tessera::db
