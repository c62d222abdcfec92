#include "query/filter/field_record.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/coding/coding.h"
#include "base/files/json_view.h"

namespace tessera::query {
namespace {

constexpr std::string_view kJoin("\0\1", 2);

void AppendName(std::string_view name, std::string* key) {
  for (size_t zero = 0; (zero = name.find('\0')) != name.npos; name.remove_prefix(zero + 1)) {
    key->append(name.substr(0, zero));
    key->append("\0\xFF", 2);
  }
  key->append(name);
}

// False at the end; never reads behind it. Longer forms than needed are damage.
bool TakeVarint(std::string_view* rest, uint64_t* value) {
  if (!rest->empty() && static_cast<uint8_t>((*rest)[0]) < 0x80) {
    *value = static_cast<uint8_t>((*rest)[0]);
    rest->remove_prefix(1);
    return true;
  }
  base::Decoder decoder(*rest);
  if (!decoder.Varint64(value).ok()) return false;
  rest->remove_prefix(rest->size() - decoder.remaining());
  return true;
}

bool TakeBytes(std::string_view* rest, std::string_view* bytes) {
  uint64_t size = 0;
  if (!TakeVarint(rest, &size) || size > rest->size()) return false;
  *bytes = rest->substr(0, size);
  rest->remove_prefix(size);
  return true;
}

bool TakeDouble(std::string_view* rest, double* value) {
  if (rest->size() < sizeof(double)) return false;
  std::memcpy(value, rest->data(), sizeof(double));
  rest->remove_prefix(sizeof(double));
  return true;
}

void PutDouble(double value, std::string* out) {
  base::PutU64(out, std::bit_cast<uint64_t>(value));
}

bool IsList(const base::Value& value) {
  return value.list() != nullptr;
}
bool IsList(const base::JsonView& value) {
  return value.kind() == base::JsonView::Kind::kList;
}
bool IsObject(const base::Value& value) {
  return value.object() != nullptr;
}
bool IsObject(const base::JsonView& value) {
  return value.kind() == base::JsonView::Kind::kObject;
}

// Of either kind of tree; both give the members of an object with ascending names.
template <typename Visit>
void ForEachMember(const base::Value& object, const Visit& visit) {
  for (const auto& [name, value] : *object.object()) visit(name, value);
}
template <typename Visit>
void ForEachMember(const base::JsonView& object, const Visit& visit) {
  object.ForEachMember(visit);
}
template <typename Visit>
void ForEachElement(const base::Value& list, const Visit& visit) {
  for (const base::Value& element : *list.list()) visit(element);
}
template <typename Visit>
void ForEachElement(const base::JsonView& list, const Visit& visit) {
  list.ForEachElement(visit);
}

class Walk {
 public:
  explicit Walk(std::string* record) : record_(record) {}

  // The order of names is the order of path keys, see PathKey.
  template <typename Node>
  void Object(const Node& object, size_t depth) {
    ForEachMember(object, [&](std::string_view name, const Node& value) {
      const size_t kept = key_.size();
      if (depth > 0) key_.append(kJoin);
      AppendName(name, &key_);
      Entry(value);
      if (depth + 1 < kFilterPathDepthMax && IsObject(value)) Object(value, depth + 1);
      key_.resize(kept);
    });
  }

 private:
  template <typename Node>
  void Entry(const Node& value) {
    values_.clear();
    if (IsList(value)) {
      List(value);
    } else if (const auto field = ToFieldValue(value); field.has_value()) {
      PutFieldValue(*field, &values_);
    }
    PutFieldEntry(key_, values_, record_);
  }

  template <typename Node>
  void List(const Node& list) {
    fields_.clear();
    ForEachElement(list, [&](const Node& element) {
      if (const auto field = ToFieldValue(element); field.has_value()) fields_.push_back(*field);
    });
    std::sort(fields_.begin(), fields_.end(),
              [](const FieldValue& a, const FieldValue& b) { return Compare(a, b) < 0; });
    for (size_t i = 0; i < fields_.size(); ++i) {
      if (i == 0 || Compare(fields_[i - 1], fields_[i]) != 0) PutFieldValue(fields_[i], &values_);
    }
  }

  std::string* record_;
  std::string key_;
  std::string values_;
  std::vector<FieldValue> fields_;
};

}  // namespace

std::string PathKey(const FieldPath& path) {
  std::string key;
  for (size_t i = 0; i < path.size(); ++i) {
    if (i > 0) key.append(kJoin);
    AppendName(path[i], &key);
  }
  return key;
}

FieldPath PathOf(std::string_view key) {
  FieldPath path(1);
  for (size_t i = 0; i < key.size(); ++i) {
    if (key[i] == '\0' && i + 1 < key.size()) {
      if (key[++i] == '\1') {
        path.emplace_back();
        continue;
      }
      path.back().push_back('\0');
      continue;
    }
    path.back().push_back(key[i]);
  }
  return path;
}

void EncodeFields(const base::Value& payload, std::string* record) {
  if (!IsObject(payload)) return;
  Walk(record).Object(payload, 0);
}

// Every row that is written or loaded comes by here: a Value, a tree of maps, would be most of the
// cost.
absl::Status EncodeFieldsOfJson(std::string_view json, std::string* record) {
  if (json.empty()) return absl::OkStatus();
  return base::VisitJson(json, [&](const base::JsonView& payload) {
    if (!IsObject(payload)) return;
    Walk(record).Object(payload, 0);
  });
}

void PutFieldValue(const FieldValue& value, std::string* out) {
  base::PutU8(out, static_cast<uint8_t>(value.kind));
  switch (value.kind) {
    case FieldKind::kInt:
      base::PutVarint64(out, (static_cast<uint64_t>(value.integer) << 1) ^
                                 static_cast<uint64_t>(value.integer >> 63));
      break;
    case FieldKind::kDouble:
      PutDouble(value.number, out);
      break;
    case FieldKind::kString:
      base::PutBytes(out, value.text);
      break;
    case FieldKind::kGeo:
      PutDouble(value.number, out);
      PutDouble(value.lon, out);
      break;
    default:
      break;
  }
}

void PutFieldEntry(std::string_view key, std::string_view values, std::string* out) {
  base::PutBytes(out, key);
  base::PutBytes(out, values);
}

bool FieldValueReader::Next(FieldValue* value) {
  if (rest_.empty()) return false;
  const auto kind = static_cast<uint8_t>(rest_[0]);
  rest_.remove_prefix(1);
  *value = {.kind = static_cast<FieldKind>(kind)};
  bool good = kind <= static_cast<uint8_t>(FieldKind::kGeo);
  switch (value->kind) {
    case FieldKind::kInt: {
      uint64_t zigzag = 0;
      good = TakeVarint(&rest_, &zigzag);
      value->integer = static_cast<int64_t>((zigzag >> 1) ^ (0 - (zigzag & 1)));
      break;
    }
    case FieldKind::kDouble:
      good = TakeDouble(&rest_, &value->number) && !std::isnan(value->number) &&
             NumberValue(value->number).kind == FieldKind::kDouble;
      break;
    case FieldKind::kString:
      good = TakeBytes(&rest_, &value->text) && value->text.size() <= kFilterStringBytesMax;
      break;
    case FieldKind::kGeo:
      good = TakeDouble(&rest_, &value->number) && TakeDouble(&rest_, &value->lon) &&
             std::abs(value->number) <= 90 && std::abs(value->lon) <= 180;
      break;
    default:
      break;
  }
  if (good) return true;
  damaged_ = true;
  rest_ = {};
  return false;
}

bool FieldRecordReader::Next(std::string_view* key, std::string_view* values) {
  if (rest_.empty()) return false;
  if (TakeBytes(&rest_, key) && TakeBytes(&rest_, values)) return true;
  damaged_ = true;
  rest_ = {};
  return false;
}

absl::Status ValidateRecord(std::string_view record) {
  FieldRecordReader reader(record);
  std::string_view last_key;
  std::string_view key;
  std::string_view values;
  bool good = true;
  for (bool first = true; good && reader.Next(&key, &values); first = false, last_key = key) {
    good = first || last_key < key;
    FieldValueReader each(values);
    FieldValue last;
    FieldValue value;
    for (bool begin = true; good && each.Next(&value); begin = false, last = value) {
      good = begin || Compare(last, value) < 0;
    }
    good = good && !each.damaged();
  }
  if (good && !reader.damaged()) return absl::OkStatus();
  return absl::DataLossError("field record is damaged");
}

}  // namespace tessera::query
