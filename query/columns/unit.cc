#include "query/columns/unit.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "query/columns/string_dictionary.h"
#include "query/columns/words.h"
#include "query/filter/field_record.h"

namespace tessera::query {
namespace {

constexpr size_t kHeaderBytes = 16;
constexpr size_t kSectionBytes = 24;
constexpr uint8_t kVersion = 1;
constexpr uint32_t kBitmap = uint32_t{1} << 31;

size_t Aligned(size_t bytes) {
  return (bytes + 7) & ~size_t{7};
}

absl::Status Damaged(const char* what) {
  return absl::DataLossError(absl::StrCat("column unit: ", what));
}

uint32_t Load32(std::string_view bytes, size_t at) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

uint16_t Load16(std::string_view bytes, size_t at) {
  uint16_t value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

bool HasKeys(SectionKind kind) {
  return kind >= SectionKind::kInts && kind <= SectionKind::kNumbers;
}

bool SizeFits(const Section& s, uint32_t rows) {
  if (s.inverted() && !HasKeys(s.kind)) return false;  // of the others no one looks at the flag
  const size_t words = size_t{8} * WordCount(rows);
  const size_t presence = s.all_rows() ? 0 : words;
  switch (s.kind) {
    case SectionKind::kExists:
    case SectionKind::kNull:
    case SectionKind::kFalse:
    case SectionKind::kTrue:
      return s.bytes.size() == presence;
    case SectionKind::kInts:
    case SectionKind::kDecimals:
    case SectionKind::kDoubles:
    case SectionKind::kCodes:
    case SectionKind::kDatetimes:
    case SectionKind::kNumbers:
      if (s.scale > 9) return false;
      if (s.inverted()) return s.bytes.size() >= size_t{12} * s.count;
      return s.width <= 64 && s.bytes.size() == presence + s.width * words;
    case SectionKind::kStrings:
      return true;
    case SectionKind::kGeos:
      return s.bytes.size() == Aligned(size_t{2} * s.count) + size_t{16} * s.count;
    case SectionKind::kBlocks:
      return s.count <= kChunkBlocksMax && s.bytes.size() == size_t{8} * s.count;
    case SectionKind::kRecords:
      return s.bytes.size() >= size_t{6} * s.count + 2;
  }
  return false;
}

absl::Status ValidateInverted(const Section& s, uint32_t rows) {
  const size_t lists = s.bytes.size() - size_t{12} * s.count;
  uint32_t begin = 0;
  for (uint32_t i = 0; i < s.count; ++i) {
    if (i > 0 && LoadWord(s.bytes.data() + 8 * (i - 1)) >= LoadWord(s.bytes.data() + 8 * i)) {
      return Damaged("keys do not ascend");
    }
    const uint32_t end = Load32(s.bytes, size_t{8} * s.count + size_t{4} * i);
    const uint32_t bytes = (end & ~kBitmap) - begin;
    if ((end & ~kBitmap) < begin || (end & ~kBitmap) > lists || bytes % 2 != 0) {
      return Damaged("rows of a key are not in it");
    }
    if ((end & kBitmap) != 0 && bytes != size_t{8} * WordCount(rows)) {
      return Damaged("a bitmap has another size");
    }
    begin = end & ~kBitmap;
  }
  return absl::OkStatus();
}

absl::Status ValidateRows(const Section& s, uint32_t rows) {
  for (uint32_t i = 0; i < s.count; ++i) {
    const uint16_t row = Load16(s.bytes, size_t{2} * i);
    if (row >= rows) return Damaged("a row is out of range");
    if (i > 0 && Load16(s.bytes, size_t{2} * (i - 1)) > row) return Damaged("rows do not ascend");
  }
  return absl::OkStatus();
}

}  // namespace

const Section* UnitView::Find(SectionKind wanted, bool inverted) const {
  for (const Section& section : sections) {
    if (section.kind == wanted && section.inverted() == inverted) return &section;
  }
  return nullptr;
}

absl::StatusOr<UnitView> ParseUnit(std::string_view unit) {
  if (unit.size() < kHeaderBytes) return Damaged("truncated");
  if (static_cast<uint8_t>(unit[4]) != kVersion) {
    return absl::UnimplementedError(
        absl::StrCat("column unit: format version ", static_cast<int>(unit[4]), ", known is 1"));
  }
  UnitView view;
  view.kind = static_cast<UnitKind>(unit[5]);
  if (view.kind < UnitKind::kRows || view.kind > UnitKind::kRest) return Damaged("unknown kind");
  const uint16_t sections = Load16(unit, 6);
  view.rows = Load32(unit, 8);
  if (view.rows == 0 || view.rows > kChunkRowsMax) return Damaged("number of rows");
  const uint32_t key_bytes = Load32(unit, 12);
  const size_t table = kHeaderBytes + Aligned(key_bytes);
  if (table + sections * kSectionBytes > unit.size()) return Damaged("truncated");
  view.key = unit.substr(kHeaderBytes, key_bytes);
  for (uint16_t i = 0; i < sections; ++i) {
    const std::string_view at = unit.substr(table + i * kSectionBytes, kSectionBytes);
    const size_t offset = Load32(at, 8);
    const size_t bytes = Load32(at, 12);
    if (offset > unit.size() || bytes > unit.size() - offset) return Damaged("a section is cut");
    const Section section{.kind = static_cast<SectionKind>(at[0]),
                          .width = static_cast<uint8_t>(at[1]),
                          .scale = static_cast<uint8_t>(at[2]),
                          .flags = static_cast<uint8_t>(at[3]),
                          .count = Load32(at, 4),
                          .base = LoadWord(at.data() + 16),
                          .bytes = unit.substr(offset, bytes)};
    if (!SizeFits(section, view.rows)) return Damaged("a section has a wrong size");
    view.sections.push_back(section);
  }
  return view;
}

absl::Status ValidateUnit(std::string_view unit) {
  if (unit.size() < kHeaderBytes) return Damaged("truncated");
  if (base::Crc32c(unit.substr(4)) != Load32(unit, 0)) return Damaged("checksum does not match");
  TESSERA_ASSIGN_OR_RETURN(const UnitView view, ParseUnit(unit));
  for (const Section& section : view.sections) {
    if (section.inverted()) TESSERA_RETURN_IF_ERROR(ValidateInverted(section, view.rows));
    if (section.kind == SectionKind::kStrings) {
      TESSERA_RETURN_IF_ERROR(StringDictionary(section).Validate());
    }
    if (section.kind == SectionKind::kGeos || section.kind == SectionKind::kRecords) {
      TESSERA_RETURN_IF_ERROR(ValidateRows(section, view.rows));
    }
  }
  return absl::OkStatus();
}

std::string EncodeUnit(UnitKind kind, uint32_t rows, std::string_view key,
                       const std::vector<Section>& sections) {
  std::string unit;
  size_t offset = kHeaderBytes + Aligned(key.size()) + sections.size() * kSectionBytes;
  base::PutU32(&unit, 0);
  base::PutU8(&unit, kVersion);
  base::PutU8(&unit, static_cast<uint8_t>(kind));
  base::PutU16(&unit, static_cast<uint16_t>(sections.size()));
  base::PutU32(&unit, rows);
  base::PutU32(&unit, static_cast<uint32_t>(key.size()));
  unit.append(key);
  unit.resize(Aligned(unit.size()));
  for (const Section& section : sections) {
    base::PutU8(&unit, static_cast<uint8_t>(section.kind));
    base::PutU8(&unit, section.width);
    base::PutU8(&unit, section.scale);
    base::PutU8(&unit, section.flags);
    base::PutU32(&unit, section.count);
    base::PutU32(&unit, static_cast<uint32_t>(offset));
    base::PutU32(&unit, static_cast<uint32_t>(section.bytes.size()));
    base::PutU64(&unit, section.base);
    offset += Aligned(section.bytes.size());
  }
  for (const Section& section : sections) {
    unit.append(section.bytes);
    unit.resize(Aligned(unit.size()));
  }
  const uint32_t crc = base::Crc32c(std::string_view(unit).substr(4));
  std::memcpy(unit.data(), &crc, sizeof(crc));
  return unit;
}

uint64_t InvertedView::key(uint32_t i) const {
  return LoadWord(section_.bytes.data() + size_t{8} * i);
}

uint32_t InvertedView::LowerBound(uint64_t wanted) const {
  uint32_t low = 0;
  uint32_t high = count();
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (key(middle) < wanted) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

void InvertedView::Mark(uint32_t i, uint64_t* words) const {
  const size_t ends = size_t{8} * count();
  const size_t lists = ends + size_t{4} * count();
  const uint32_t begin = i == 0 ? 0 : Load32(section_.bytes, ends + 4 * (i - 1)) & ~kBitmap;
  const uint32_t coded = Load32(section_.bytes, ends + size_t{4} * i);
  const uint32_t end = coded & ~kBitmap;
  if (end < begin || end > section_.bytes.size() - lists) return;
  const char* at = section_.bytes.data() + lists + begin;
  if ((coded & kBitmap) != 0) {
    const uint32_t most = std::min(WordCount(rows_), (end - begin) / 8);
    for (uint32_t w = 0; w < most; ++w) words[w] |= LoadWord(at + 8 * w);
    return;
  }
  for (; at + 2 <= section_.bytes.data() + lists + end; at += 2) {
    uint16_t row;
    std::memcpy(&row, at, sizeof(row));
    if (row < rows_) words[row / 64] |= uint64_t{1} << (row % 64);
  }
}

}  // namespace tessera::query
