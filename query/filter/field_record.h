// Everything a filter can ask of a payload, in few bytes.
//
//   record = entries, path keys strictly ascending:
//              varint key length | key | varint bytes of the values | values, strictly ascending
//   value  = u8 FieldKind | int: zigzag varint; double: 8 bytes; string: varint length and bytes;
//            geo: 8 bytes latitude, 8 bytes longitude; others nothing
//
// Every key at any depth up to kFilterPathDepthMax is an entry. The values of a path are a set: the
// order of a list and how often it has a value cannot be asked for. So equal records are equal
// bytes, and columns give back the record they were made of.
//
// Threads: free functions without shared state; a reader belongs to one thread.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "base/value.h"
#include "query/filter/field_value.h"

namespace tessera::query {

// Names joined by 00 01, a 00 within a name being 00 FF. Its byte order is that of the names, and
// a path comes right before what is below it.
std::string PathKey(const FieldPath& path);
// The inverse; for other bytes some path.
FieldPath PathOf(std::string_view key);

// Appends the record of a payload; nothing for what is no object.
void EncodeFields(const base::Value& payload, std::string* record);
// The same of its text, "" for no payload. Errors: kInvalidArgument: not JSON.
absl::Status EncodeFieldsOfJson(std::string_view json, std::string* record);

// Appends one value, and one entry.
void PutFieldValue(const FieldValue& value, std::string* out);
void PutFieldEntry(std::string_view key, std::string_view values, std::string* out);

// The values of one entry.
class FieldValueReader {
 public:
  explicit FieldValueReader(std::string_view values) : rest_(values) {}
  // False at the end or at damage. The value views the bytes.
  bool Next(FieldValue* value);
  bool damaged() const { return damaged_; }

 private:
  std::string_view rest_;
  bool damaged_ = false;
};

// The entries of a record, any bytes.
class FieldRecordReader {
 public:
  explicit FieldRecordReader(std::string_view record) : rest_(record) {}
  // False at the end or at damage. The values are not looked at.
  bool Next(std::string_view* key, std::string_view* values);
  bool damaged() const { return damaged_; }

 private:
  std::string_view rest_;
  bool damaged_ = false;
};

// Errors: kDataLoss if EncodeFields does not write it.
absl::Status ValidateRecord(std::string_view record);

}  // namespace tessera::query
