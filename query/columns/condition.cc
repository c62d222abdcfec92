#include "query/columns/condition.h"

#include <array>
#include <bit>
#include <limits>
#include <optional>

#include "query/columns/key_ranges.h"
#include "query/columns/slices.h"
#include "query/columns/words.h"
#include "query/filter/field_value.h"

namespace tessera::query {
namespace {

bool IsNumber(SectionKind kind) {
  return kind == SectionKind::kInts || kind == SectionKind::kDecimals ||
         kind == SectionKind::kDoubles;
}

class Marker {
 public:
  Marker(const UnitView& unit, const uint64_t* candidates, uint64_t* out)
      : unit_(unit), candidates_(candidates), out_(out) {}

  void operator()(const Exists&) const { Rows(SectionKind::kExists, out_); }
  void operator()(const IsNull&) const { Rows(SectionKind::kNull, out_); }
  void operator()(const In& node) const {
    if (!node.all) return OneOf(node.constants, candidates_, out_);
    const uint32_t words = WordCount(unit_.rows);
    std::array<uint64_t, kChunkRowsMax / 64> left;
    std::copy_n(candidates_, words, left.begin());
    for (const Constant& constant : node.constants) {
      std::array<uint64_t, kChunkRowsMax / 64> held{};
      OneOf({constant}, left.data(), held.data());
      left = held;
    }
    for (uint32_t i = 0; i < words; ++i) out_[i] |= left[i];
  }
  void operator()(const Range& node) const {
    const ConstantType type =
        TypeOf(node.low.has_value() ? node.low->constant : node.high->constant);
    if (type == ConstantType::kBool) {
      if (Within({.kind = FieldKind::kFalse}, node)) Rows(SectionKind::kFalse, out_);
      if (Within({.kind = FieldKind::kTrue}, node)) Rows(SectionKind::kTrue, out_);
      return;
    }
    const std::optional<StringDictionary> dictionary = Dictionary();
    for (const Section& section : unit_.sections) {
      if (type == ConstantType::kString) {
        if (section.kind != SectionKind::kCodes || !dictionary.has_value()) continue;
        Keys(section, RangeOfStrings(*dictionary, node));
      } else if (type == ConstantType::kNumber ? IsNumber(section.kind)
                                               : section.kind == SectionKind::kDatetimes) {
        Keys(section, RangeOfNumbers(section, node));
      }
    }
  }
  void operator()(const Prefix& node) const {
    const std::optional<StringDictionary> dictionary = Dictionary();
    if (!dictionary.has_value()) return;
    const std::optional<KeyRange> range = RangeOfPrefix(*dictionary, node.prefix);
    for (const Section& section : unit_.sections) {
      if (section.kind == SectionKind::kCodes) Keys(section, range);
    }
  }
  void operator()(const GeoBox& node) const { Geos(node); }
  void operator()(const GeoRadius& node) const { Geos(node); }
  template <typename Other>
  void operator()(const Other&) const {}

 private:
  void Rows(SectionKind kind, uint64_t* out) const { Rows(kind, candidates_, out); }
  void Rows(SectionKind kind, const uint64_t* candidates, uint64_t* out) const {
    if (const Section* section = unit_.Find(kind)) {
      MarkRows(*section, unit_.rows, candidates, out);
    }
  }
  void Keys(const Section& section, const std::optional<KeyRange>& range) const {
    if (range.has_value()) MarkKeys(section, unit_.rows, {*range}, candidates_, out_);
  }
  std::optional<StringDictionary> Dictionary() const {
    const Section* section = unit_.Find(SectionKind::kStrings);
    if (section == nullptr) return std::nullopt;
    return StringDictionary(*section);
  }

  void OneOf(const std::vector<Constant>& constants, const uint64_t* candidates,
             uint64_t* out) const {
    const std::optional<StringDictionary> dictionary = Dictionary();
    std::optional<KeyRanges> codes;
    for (const Section& section : unit_.sections) {
      KeyRanges ranges;
      if (section.kind == SectionKind::kFalse || section.kind == SectionKind::kTrue) {
        const bool truth = section.kind == SectionKind::kTrue;
        if (IsOneOf({.kind = truth ? FieldKind::kTrue : FieldKind::kFalse}, constants)) {
          MarkRows(section, unit_.rows, candidates, out);
        }
        continue;
      }
      if (section.kind == SectionKind::kCodes && dictionary.has_value()) {
        if (!codes.has_value()) codes = KeysOfStrings(*dictionary, constants);
        ranges = *codes;
      } else if (IsNumber(section.kind) || section.kind == SectionKind::kDatetimes) {
        constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
        const uint64_t span = LowBits(section.width);
        const bool bounded = !section.inverted() && span <= kMost - section.base;
        ranges = KeysOfNumbers(section, section.base, bounded ? section.base + span : kMost,
                               constants);
      }
      if (!ranges.empty()) MarkKeys(section, unit_.rows, ranges, candidates, out);
    }
  }

  template <typename Shape>
  void Geos(const Shape& shape) const {
    const Section* section = unit_.Find(SectionKind::kGeos);
    if (section == nullptr) return;
    const size_t points = section->bytes.size() - size_t{16} * section->count;
    for (uint32_t i = 0; i < section->count; ++i) {
      uint16_t row;
      std::memcpy(&row, section->bytes.data() + size_t{2} * i, sizeof(row));
      if (row >= unit_.rows || (candidates_[row / 64] >> (row % 64) & 1) == 0) continue;
      const char* at = section->bytes.data() + points + size_t{16} * i;
      const FieldValue value{.kind = FieldKind::kGeo,
                             .number = std::bit_cast<double>(LoadWord(at)),
                             .lon = std::bit_cast<double>(LoadWord(at + 8))};
      if (Within(value, shape)) out_[row / 64] |= uint64_t{1} << (row % 64);
    }
  }

  const UnitView& unit_;
  const uint64_t* candidates_;
  uint64_t* out_;
};

}  // namespace

void MarkCondition(const UnitView& unit, const Filter& condition, const uint64_t* candidates,
                   uint64_t* out) {
  std::visit(Marker(unit, candidates, out), condition.node);
}

void MarkIds(const UnitView& unit, const HasId& condition, const uint64_t* candidates,
             uint64_t* out) {
  KeyRanges numbers;
  std::vector<Constant> others;  // keys, whose order is that of the ids
  for (const base::PointId& id : condition.ids) {
    if (const uint64_t* number = id.number()) {
      numbers.push_back({*number, *number});
    } else {
      std::string key;
      id.EncodeKey(&key);
      others.emplace_back(std::move(key));
    }
  }
  const Section* strings = unit.Find(SectionKind::kStrings);
  const KeyRanges codes =
      strings == nullptr ? KeyRanges() : KeysOfStrings(StringDictionary(*strings), others);
  for (const Section& section : unit.sections) {
    if (section.kind == SectionKind::kNumbers) {
      MarkKeys(section, unit.rows, numbers, candidates, out);
    } else if (section.kind == SectionKind::kCodes) {
      MarkKeys(section, unit.rows, codes, candidates, out);
    }
  }
}

}  // namespace tessera::query
