#include "api/rpc/wire_scan.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>

#include "absl/strings/str_cat.h"

#include "base/mutex.h"
#include "base/status_details.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "base/utf8.h"

namespace tessera::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::io::CodedInputStream;

// An arena does not take back what a growing array leaves behind: all its sizes together are twice
// the last one, which may be twice what is used.
constexpr uint64_t kArrayGrowth = 3;
constexpr uint64_t kStringBytes = 64;    // the object, its place for destruction, its heap block
constexpr uint64_t kMapEntryBytes = 96;  // node and share of the table
constexpr uint64_t kUnknownBytes = 64;
constexpr uint64_t kCollectionBytesMax = 255;
constexpr int kNestingMax = 90;       // messages in each other; the parser's own bound is 100
constexpr int kFieldNumbersMax = 16;  // messages with more are told apart by number only

enum class Kind : uint8_t { kUnknown, kVarint, kFixed32, kFixed64, kText, kBytes, kMessage };

// A message type as a table by field number.
struct Shape {
  struct Field {
    Kind kind = Kind::kUnknown;
    bool repeated = false;
    const FieldDescriptor* descriptor = nullptr;
    const Shape* message = nullptr;
  };

  const Field& field(uint32_t number) const {
    static const Field unknown;
    return number < fields.size() ? fields[number] : unknown;
  }

  const Descriptor* type = nullptr;
  uint64_t object_bytes = 0;
  std::vector<Field> fields;
};

Kind KindOf(const FieldDescriptor& field) {
  switch (field.type()) {
    case FieldDescriptor::TYPE_MESSAGE:
      return Kind::kMessage;
    case FieldDescriptor::TYPE_STRING:
      return Kind::kText;
    case FieldDescriptor::TYPE_BYTES:
      return Kind::kBytes;
    case FieldDescriptor::TYPE_FLOAT:
    case FieldDescriptor::TYPE_FIXED32:
    case FieldDescriptor::TYPE_SFIXED32:
      return Kind::kFixed32;
    case FieldDescriptor::TYPE_DOUBLE:
    case FieldDescriptor::TYPE_FIXED64:
    case FieldDescriptor::TYPE_SFIXED64:
      return Kind::kFixed64;
    default:
      return Kind::kVarint;
  }
}

// Shapes live as long as the process; there are as many as message types.
class Shapes {
 public:
  const Shape& Of(const Descriptor* type) {
    base::MutexLock lock(&mu_);
    return OfLocked(type);
  }

 private:
  const Shape& OfLocked(const Descriptor* type) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::unique_ptr<Shape>& shape = shapes_[type];
    if (shape != nullptr) return *shape;
    shape = std::make_unique<Shape>();
    Shape& made = *shape;  // `shape` moves when the table grows
    made.type = type;
    // The entry of a map has no object of its own that could be asked.
    made.object_bytes = type->options().map_entry()
                            ? kMapEntryBytes + kStringBytes
                            : google::protobuf::MessageFactory::generated_factory()
                                      ->GetPrototype(type)
                                      ->SpaceUsedLong() +
                                  16;
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor* field = type->field(i);
      const auto number = static_cast<size_t>(field->number());
      if (number >= made.fields.size()) made.fields.resize(number + 1);
      const Shape* message =
          field->message_type() == nullptr ? nullptr : &OfLocked(field->message_type());
      made.fields[number] = {.kind = KindOf(*field),
                             .repeated = field->is_repeated(),
                             .descriptor = field,
                             .message = message};
    }
    return made;
  }

  base::Mutex mu_;
  std::unordered_map<const Descriptor*, std::unique_ptr<Shape>> shapes_ ABSL_GUARDED_BY(mu_);
};

const Shape& ShapeOf(const Descriptor* type) {
  static Shapes* const shapes = new Shapes;
  return shapes->Of(type);
}

class Scan {
 public:
  Scan(const Shape& shape, CodedInputStream* in) : root_(shape), in_(*in) {}

  absl::StatusOr<WireCost> Run() {
    TESSERA_RETURN_IF_ERROR(Message(root_));
    return cost_;
  }

 private:
  absl::Status Malformed() const {
    return absl::InvalidArgumentError(absl::StrCat("the request is no valid ",
                                                   root_.type->full_name(), ": damaged at byte ",
                                                   in_.CurrentPosition()));
  }

  absl::Status Message(const Shape& shape) {
    // The stack would end at what a megabyte of brackets can nest.
    if (nesting_ == kNestingMax) {
      return base::BlameField(absl::InvalidArgumentError(absl::StrCat(
                                  "has over ", kNestingMax, " messages nested in each other")),
                              "");
    }
    ++nesting_;
    absl::Status status = Fields(shape);
    --nesting_;
    return status;
  }

  absl::Status Fields(const Shape& shape) {
    cost_.parsed_bytes += shape.object_bytes;
    std::array<uint32_t, kFieldNumbersMax> seen{};  // elements of repeated fields
    for (;;) {
      const uint32_t tag = in_.ReadTag();
      if (tag == 0) break;
      const uint32_t number = tag >> 3;
      const Shape::Field& field = shape.field(number);
      uint32_t* const count = &seen[number % kFieldNumbersMax];
      if (number == 0) return Malformed();
      if (absl::Status status = Field(field, tag & 7, count); !status.ok()) {
        const std::optional<std::string> inner = base::BlamedField(status);
        if (!inner.has_value()) return status;
        return Within(field, *count, *inner, status);
      }
      cost_.rows = std::max<uint64_t>(cost_.rows, field.repeated ? *count : 0);
    }
    return in_.ConsumedEntireMessage() && in_.BytesUntilLimit() == 0 ? absl::OkStatus()
                                                                      : Malformed();
  }

  // The error of an inner field under its whole name.
  static absl::Status Within(const Shape::Field& field, uint32_t count, const std::string& inner,
                             const absl::Status& status) {
    std::string name(field.descriptor->name());
    if (field.repeated && !field.descriptor->is_map()) absl::StrAppend(&name, "[", count, "]");
    if (!inner.empty()) absl::StrAppend(&name, ".", inner);
    return base::BlameField(status, name);
  }

  absl::Status Field(const Shape::Field& field, uint32_t wire_type, uint32_t* count) {
    switch (wire_type) {
      case 0: {
        uint64_t value = 0;
        if (!in_.ReadVarint64(&value)) return Malformed();
        return Scalar(field, Kind::kVarint, count);
      }
      case 1:
        return in_.Skip(8) ? Scalar(field, Kind::kFixed64, count) : Malformed();
      case 5:
        return in_.Skip(4) ? Scalar(field, Kind::kFixed32, count) : Malformed();
      case 2:
        return Block(field, count);
      default:
        return Malformed();
    }
  }

  absl::Status Scalar(const Shape::Field& field, Kind kind, uint32_t* count) {
    if (field.kind != kind) {
      cost_.parsed_bytes += kUnknownBytes;
    } else if (field.repeated) {
      cost_.parsed_bytes += kArrayGrowth * (kind == Kind::kFixed32 ? 4 : 8);
      ++*count;
    }
    return absl::OkStatus();
  }

  absl::Status Block(const Shape::Field& field, uint32_t* count) {
    int length = 0;
    if (!in_.ReadVarintSizeAsInt(&length) || length < 0) return Malformed();
    const auto bytes = static_cast<uint64_t>(length);
    switch (field.kind) {
      case Kind::kMessage: {
        if (length > in_.BytesUntilLimit()) return Malformed();
        const auto limit = in_.PushLimit(length);
        TESSERA_RETURN_IF_ERROR(Message(*field.message));
        in_.PopLimit(limit);
        cost_.parsed_bytes += field.repeated ? kArrayGrowth * sizeof(void*) : 0;
        ++*count;
        return absl::OkStatus();
      }
      case Kind::kText:
      case Kind::kBytes: {
        const bool text = field.kind == Kind::kText;
        const bool collection = &field == &root_.field(1) && bytes <= kCollectionBytesMax;
        TESSERA_RETURN_IF_ERROR(text ? Text(length, collection ? &cost_.collection : nullptr)
                                     : SkipBytes(length));
        cost_.parsed_bytes += kStringBytes + bytes + (field.repeated ? 3 * sizeof(void*) : 0);
        cost_.content_bytes += bytes;
        cost_.text_bytes_max = std::max(cost_.text_bytes_max, text ? bytes : 0);
        ++*count;
        return absl::OkStatus();
      }
      case Kind::kVarint:
        return field.repeated ? PackedVarints(length, count) : Unknown(length);
      case Kind::kFixed32:
      case Kind::kFixed64: {
        const uint64_t size = field.kind == Kind::kFixed32 ? 4 : 8;
        if (!field.repeated) return Unknown(length);
        if (bytes % size != 0) return Malformed();
        cost_.parsed_bytes += kArrayGrowth * bytes;
        cost_.content_bytes += bytes;
        return SkipBytes(length);
      }
      case Kind::kUnknown:
        break;
    }
    return Unknown(length);
  }

  absl::Status Unknown(int length) {
    cost_.parsed_bytes += kUnknownBytes + static_cast<uint64_t>(length);
    return SkipBytes(length);
  }

  absl::Status SkipBytes(int length) {
    return length <= in_.BytesUntilLimit() && in_.Skip(length) ? absl::OkStatus() : Malformed();
  }

  // Puts the text into `*kept`, unless that is null.
  absl::Status Text(int length, std::string* kept) {
    if (kept != nullptr) kept->clear();
    if (length > in_.BytesUntilLimit()) return Malformed();
    base::Utf8Checker checker;
    while (length > 0) {
      const void* data = nullptr;
      int size = 0;
      if (!in_.GetDirectBufferPointer(&data, &size)) return Malformed();
      size = std::min(size, length);
      const std::string_view piece(static_cast<const char*>(data), static_cast<size_t>(size));
      checker.Add(piece);
      if (kept != nullptr) kept->append(piece);
      in_.Skip(size);
      length -= size;
    }
    if (checker.Finish()) return absl::OkStatus();
    return base::BlameField(absl::InvalidArgumentError("is not UTF-8"), "");
  }

  absl::Status PackedVarints(int length, uint32_t* count) {
    if (length > in_.BytesUntilLimit()) return Malformed();
    const auto limit = in_.PushLimit(length);
    uint64_t elements = 0;
    while (in_.BytesUntilLimit() > 0) {
      uint64_t value = 0;
      if (!in_.ReadVarint64(&value)) return Malformed();
      ++elements;
    }
    in_.PopLimit(limit);
    cost_.parsed_bytes += kArrayGrowth * 8 * elements;
    cost_.content_bytes += 8 * elements;
    *count += static_cast<uint32_t>(elements);
    return absl::OkStatus();
  }

  const Shape& root_;
  CodedInputStream& in_;
  int nesting_ = 0;
  WireCost cost_;
};

}  // namespace

absl::StatusOr<WireCost> ScanWire(const Descriptor* type, int bytes,
                                  google::protobuf::io::ZeroCopyInputStream* wire) {
  CodedInputStream in(wire);
  in.PushLimit(bytes);
  absl::StatusOr<WireCost> cost = Scan(ShapeOf(type), &in).Run();
  if (cost.ok()) return cost;
  const std::optional<std::string> field = base::BlamedField(cost.status());
  if (!field.has_value()) return cost;
  return base::InvalidField(*field, base::StdSv(cost.status().message()));
}

}  // namespace tessera::api
