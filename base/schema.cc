#include "base/schema.h"

#include <set>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::base {
namespace {

// Layout, little-endian:
//   u8     version
//   bytes  name
//   varint vector field count, then for each: bytes name, u32 dim, u8 metric, u8 element type
//   u32    crc32c of every byte before it, in this and every later version
constexpr uint8_t kVersion = 1;
constexpr size_t kChecksumBytes = sizeof(uint32_t);

bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

absl::Status ValidateName(std::string_view name, std::string_view what) {
  if (name.empty() || name.size() > kCollectionNameBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        Sv(what), " name has ", name.size(), " bytes, must have 1 .. ", kCollectionNameBytesMax));
  }
  for (const char c : name) {
    if (IsNameByte(c) && name[0] != '.') continue;
    return absl::InvalidArgumentError(
        absl::StrCat(Sv(what), " name is \"", Sv(name),
                     "\", must be of letters, digits, '_', '-' and '.', not starting with '.'"));
  }
  return absl::OkStatus();
}

absl::Status ValidateField(const VectorFieldSchema& field) {
  if (!field.name.empty()) {
    TESSERA_RETURN_IF_ERROR(ValidateName(field.name, "vector field"));
  }
  if (field.dim == 0 || field.dim > kDimMax) {
    return absl::InvalidArgumentError(absl::StrCat("dim of vector field \"", field.name, "\" is ",
                                                   field.dim, ", must be 1 .. ", kDimMax));
  }
  if (field.metric < Metric::kL2 || field.metric > Metric::kCosine) {
    return absl::InvalidArgumentError(absl::StrCat("metric of vector field \"", field.name,
                                                   "\" is number ", static_cast<int>(field.metric),
                                                   ", must be 1 (l2), 2 (ip) or 3 (cosine)"));
  }
  if (field.type < ElementType::kF32 || field.type > ElementType::kU8) {
    return absl::InvalidArgumentError(absl::StrCat("element type of vector field \"", field.name,
                                                   "\" is number ", static_cast<int>(field.type),
                                                   ", must be 1 (f32), 2 (f16), 3 (i8) or 4 (u8)"));
  }
  return absl::OkStatus();
}

absl::Status DecodeField(Decoder* decoder, VectorFieldSchema* field) {
  std::string_view name;
  uint8_t metric = 0;
  uint8_t type = 0;
  TESSERA_RETURN_IF_ERROR(decoder->Bytes(&name));
  TESSERA_RETURN_IF_ERROR(decoder->U32(&field->dim));
  TESSERA_RETURN_IF_ERROR(decoder->U8(&metric));
  TESSERA_RETURN_IF_ERROR(decoder->U8(&type));
  field->name = std::string(name);
  field->metric = static_cast<Metric>(metric);
  field->type = static_cast<ElementType>(type);
  return absl::OkStatus();
}

}  // namespace

size_t VectorBytes(const CollectionSchema& schema) {
  size_t bytes = 0;
  for (const VectorFieldSchema& field : schema.vectors) bytes += VectorBytes(field);
  return bytes;
}

absl::Status Validate(const CollectionSchema& schema) {
  TESSERA_RETURN_IF_ERROR(ValidateName(schema.name, "collection"));
  if (schema.vectors.empty() || schema.vectors.size() > kVectorFieldsMax) {
    return absl::InvalidArgumentError(absl::StrCat("collection has ", schema.vectors.size(),
                                                   " vector fields, must have 1 .. ",
                                                   kVectorFieldsMax));
  }
  std::set<std::string_view> names;
  for (const VectorFieldSchema& field : schema.vectors) {
    TESSERA_RETURN_IF_ERROR(ValidateField(field));
    if (!names.insert(field.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("vector field \"", field.name, "\" is there twice"));
    }
  }
  return absl::OkStatus();
}

std::string EncodeSchema(const CollectionSchema& schema) {
  std::string bytes;
  PutU8(&bytes, kVersion);
  PutBytes(&bytes, schema.name);
  PutVarint64(&bytes, schema.vectors.size());
  for (const VectorFieldSchema& field : schema.vectors) {
    PutBytes(&bytes, field.name);
    PutU32(&bytes, field.dim);
    PutU8(&bytes, static_cast<uint8_t>(field.metric));
    PutU8(&bytes, static_cast<uint8_t>(field.type));
  }
  PutU32(&bytes, Crc32c(bytes));
  return bytes;
}

absl::StatusOr<CollectionSchema> DecodeSchema(std::string_view bytes) {
  if (bytes.size() <= kChecksumBytes) {
    return absl::DataLossError(absl::StrCat("schema has only ", bytes.size(), " bytes"));
  }
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  uint32_t checksum = 0;
  TESSERA_RETURN_IF_ERROR(Decoder(bytes.substr(body.size())).U32(&checksum));
  if (checksum != Crc32c(body)) return absl::DataLossError("schema has a wrong checksum");

  Decoder decoder(body);
  uint8_t version = 0;
  TESSERA_RETURN_IF_ERROR(decoder.U8(&version));
  if (version > kVersion) {
    return absl::UnimplementedError(
        absl::StrCat("schema has version ", version, ", this program reads up to ", kVersion));
  }
  if (version == 0) return absl::DataLossError("schema has version 0");
  CollectionSchema schema;
  std::string_view name;
  uint64_t field_count = 0;
  TESSERA_RETURN_IF_ERROR(decoder.Bytes(&name));
  TESSERA_RETURN_IF_ERROR(decoder.Varint64(&field_count));
  schema.name = std::string(name);
  if (field_count > kVectorFieldsMax) {
    return absl::DataLossError(absl::StrCat("schema has ", field_count, " vector fields"));
  }
  schema.vectors.resize(field_count);
  for (VectorFieldSchema& field : schema.vectors) {
    TESSERA_RETURN_IF_ERROR(DecodeField(&decoder, &field));
  }
  TESSERA_RETURN_IF_ERROR(decoder.ExpectEnd());
  if (const absl::Status status = Validate(schema); !status.ok()) {
    return absl::DataLossError(absl::StrCat("schema is not valid: ", status.message()));
  }
  return schema;
}

}  // namespace tessera::base
