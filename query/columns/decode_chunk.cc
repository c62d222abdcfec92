#include "query/columns/decode_chunk.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "query/columns/keys.h"
#include "query/columns/rest_view.h"
#include "query/columns/slices.h"
#include "query/columns/string_dictionary.h"
#include "query/columns/unit.h"
#include "query/columns/words.h"
#include "query/filter/field_record.h"

namespace tessera::query {
namespace {

constexpr std::array<double, 10> kPowers = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

using Words = std::array<uint64_t, kChunkRowsMax / 64>;
using RowValue = std::pair<uint16_t, FieldValue>;

absl::Status Damaged() {
  return absl::DataLossError("column unit: its values are damaged");
}

void ForEachBit(const uint64_t* words, uint32_t rows,
                absl::FunctionRef<void(uint16_t row)> visit) {
  for (uint32_t word = 0; word < WordCount(rows); ++word) {
    for (uint64_t left = words[word] & ValidBits(rows, word); left != 0; left &= left - 1) {
      visit(static_cast<uint16_t>(word * 64 + static_cast<unsigned>(std::countr_zero(left))));
    }
  }
}

Words RowsOf(const Section& section, uint32_t rows) {
  Words all;
  all.fill(~uint64_t{0});
  Words words{};
  MarkRows(section, rows, all.data(), words.data());
  return words;
}

void ForEachKey(const Section& section, uint32_t rows,
                absl::FunctionRef<void(uint16_t row, uint64_t key)> visit) {
  if (section.inverted()) {
    const InvertedView view(section, rows);
    for (uint32_t i = 0; i < view.count(); ++i) {
      Words marked{};
      view.Mark(i, marked.data());
      ForEachBit(marked.data(), rows, [&](uint16_t row) { visit(row, view.key(i)); });
    }
    return;
  }
  for (uint32_t word = 0; word < WordCount(rows); ++word) {
    std::array<uint64_t, 64> keys;
    for (uint64_t left = LoadKeys(section, rows, word, keys.data()); left != 0; left &= left - 1) {
      const auto bit = static_cast<unsigned>(std::countr_zero(left));
      visit(static_cast<uint16_t>(word * 64 + bit), keys[bit]);
    }
  }
}

// The values of a path with their rows, in no order.
class Values {
 public:
  absl::Status Read(const UnitView& unit) {
    if (const Section* strings = unit.Find(SectionKind::kStrings)) {
      if (!StringDictionary(*strings).ForEach([&](uint32_t, std::string_view text) {
            texts_.emplace_back(text);
            return true;
          })) {
        return Damaged();
      }
    }
    for (const Section& section : unit.sections) {
      TESSERA_RETURN_IF_ERROR(ReadSection(section, unit.rows));
    }
    return absl::OkStatus();
  }

  std::vector<RowValue>& values() { return values_; }

 private:
  absl::Status ReadSection(const Section& section, uint32_t rows) {
    bool good = true;
    const auto add = [&](uint16_t row, const FieldValue& value) {
      values_.emplace_back(row, value);
    };
    switch (section.kind) {
      case SectionKind::kNull:
      case SectionKind::kFalse:
      case SectionKind::kTrue: {
        const FieldKind kind = section.kind == SectionKind::kNull    ? FieldKind::kNull
                               : section.kind == SectionKind::kFalse ? FieldKind::kFalse
                                                                     : FieldKind::kTrue;
        const Words words = RowsOf(section, rows);
        ForEachBit(words.data(), rows, [&](uint16_t row) { add(row, {.kind = kind}); });
        break;
      }
      case SectionKind::kInts:
        ForEachKey(section, rows, [&](uint16_t row, uint64_t key) {
          add(row, {.kind = FieldKind::kInt, .integer = IntOfKey(key)});
        });
        break;
      case SectionKind::kDecimals:
        ForEachKey(section, rows, [&](uint16_t row, uint64_t key) {
          add(row, NumberValue(static_cast<double>(IntOfKey(key)) / kPowers[section.scale]));
        });
        break;
      case SectionKind::kDoubles:
        ForEachKey(section, rows, [&](uint16_t row, uint64_t key) {
          add(row, {.kind = FieldKind::kDouble, .number = DoubleOfKey(key)});
        });
        break;
      case SectionKind::kCodes:
        ForEachKey(section, rows, [&](uint16_t row, uint64_t code) {
          good = good && code < texts_.size();
          if (good) add(row, {.kind = FieldKind::kString, .text = texts_[code]});
        });
        break;
      case SectionKind::kGeos:
        for (uint32_t i = 0; i < section.count; ++i) {
          uint16_t row;
          std::memcpy(&row, section.bytes.data() + size_t{2} * i, sizeof(row));
          const char* at =
              section.bytes.data() + section.bytes.size() - size_t{16} * (section.count - i);
          good = good && row < rows;
          add(row, {.kind = FieldKind::kGeo,
                    .number = std::bit_cast<double>(LoadWord(at)),
                    .lon = std::bit_cast<double>(LoadWord(at + 8))});
        }
        break;
      default:
        break;
    }
    return good ? absl::OkStatus() : Damaged();
  }

  std::vector<std::string> texts_;
  std::vector<RowValue> values_;
};

bool RowThenValue(const RowValue& a, const RowValue& b) {
  return a.first != b.first ? a.first < b.first : Compare(a.second, b.second) < 0;
}

// Entries of each row, by path key: later units and the rest are merged into these.
using Entries = std::vector<std::vector<std::pair<std::string, std::string>>>;

absl::Status ReadPath(const UnitView& unit, Entries* entries) {
  Values read;
  TESSERA_RETURN_IF_ERROR(read.Read(unit));
  std::sort(read.values().begin(), read.values().end(), RowThenValue);
  const Section* exists = unit.Find(SectionKind::kExists);
  if (exists == nullptr) return Damaged();
  const Words words = RowsOf(*exists, unit.rows);
  auto at = read.values().begin();
  ForEachBit(words.data(), unit.rows, [&](uint16_t row) {
    std::string values;
    for (; at != read.values().end() && at->first == row; ++at) PutFieldValue(at->second, &values);
    (*entries)[row].emplace_back(unit.key, std::move(values));
  });
  return at == read.values().end() ? absl::OkStatus() : Damaged();
}

absl::Status ReadRest(const UnitView& unit, Entries* entries) {
  const RestView view(unit);
  for (uint32_t i = 0; i < view.count(); ++i) {
    if (view.row(i) >= unit.rows) return Damaged();
    FieldRecordReader reader(view.record(i));
    std::string_view key;
    std::string_view values;
    while (reader.Next(&key, &values)) (*entries)[view.row(i)].emplace_back(key, values);
    if (reader.damaged()) return Damaged();
  }
  return absl::OkStatus();
}

absl::Status ReadIds(const UnitView& unit, std::vector<std::string>* ids) {
  std::vector<std::string> texts;
  if (const Section* strings = unit.Find(SectionKind::kStrings)) {
    if (!StringDictionary(*strings).ForEach([&](uint32_t, std::string_view text) {
          texts.emplace_back(text);
          return true;
        })) {
      return Damaged();
    }
  }
  bool good = true;
  for (const Section& section : unit.sections) {
    if (section.kind != SectionKind::kNumbers && section.kind != SectionKind::kCodes) continue;
    ForEachKey(section, unit.rows, [&](uint16_t row, uint64_t key) {
      if (section.kind == SectionKind::kNumbers) {
        base::PutU8(&(*ids)[row], 1);
        base::PutBigEndian64(&(*ids)[row], key);
      } else if (key < texts.size()) {
        (*ids)[row] = texts[key];
      } else {
        good = false;
      }
    });
  }
  return good ? absl::OkStatus() : Damaged();
}

}  // namespace

absl::Status DecodeChunk(const std::vector<std::string_view>& units, RowVisitor visit) {
  std::vector<UnitView> views;
  const Section* blocks = nullptr;
  views.reserve(units.size());
  for (const std::string_view unit : units) {
    TESSERA_ASSIGN_OR_RETURN(UnitView view, ParseUnit(unit));
    views.push_back(std::move(view));
    if (views.back().rows != views.front().rows) return Damaged();
    if (views.back().kind == UnitKind::kRows) blocks = views.back().Find(SectionKind::kBlocks);
  }
  if (blocks == nullptr) return Damaged();
  const uint32_t rows = views.front().rows;
  Entries entries(rows);
  std::vector<std::string> ids(rows);
  for (const UnitView& view : views) {
    if (view.kind == UnitKind::kPath) TESSERA_RETURN_IF_ERROR(ReadPath(view, &entries));
    if (view.kind == UnitKind::kRest) TESSERA_RETURN_IF_ERROR(ReadRest(view, &entries));
    if (view.kind == UnitKind::kIds) TESSERA_RETURN_IF_ERROR(ReadIds(view, &ids));
  }
  uint32_t row = 0;
  std::string record;
  for (uint32_t block = 0; block < blocks->count; ++block) {
    uint64_t left = LoadWord(blocks->bytes.data() + size_t{8} * block);
    for (; left != 0; left &= left - 1, ++row) {
      if (row >= rows) return Damaged();
      std::sort(entries[row].begin(), entries[row].end());
      record.clear();
      for (const auto& [key, values] : entries[row]) PutFieldEntry(key, values, &record);
      TESSERA_RETURN_IF_ERROR(visit((blocks->base + block) * 64 +
                                        static_cast<unsigned>(std::countr_zero(left)),
                                    ids[row], record));
    }
  }
  return row == rows ? absl::OkStatus() : Damaged();
}

absl::Status ForEachValue(std::string_view rows_unit, std::string_view path_unit,
                          const uint64_t* words,
                          absl::FunctionRef<void(const FieldValue& value, uint32_t rows)> visit) {
  TESSERA_ASSIGN_OR_RETURN(const UnitView rows, ParseUnit(rows_unit));
  TESSERA_ASSIGN_OR_RETURN(const UnitView path, ParseUnit(path_unit));
  const Section* blocks = rows.Find(SectionKind::kBlocks);
  if (blocks == nullptr || rows.rows != path.rows) return Damaged();
  Words dense{};
  GatherRows(*blocks, words, rows.rows, dense.data());
  Values read;
  TESSERA_RETURN_IF_ERROR(read.Read(path));
  std::vector<RowValue>& values = read.values();
  std::erase_if(values, [&](const RowValue& value) {
    return (dense[value.first / 64] >> (value.first % 64) & 1) == 0;
  });
  std::sort(values.begin(), values.end(), [](const RowValue& a, const RowValue& b) {
    return Compare(a.second, b.second) < 0;
  });
  for (size_t i = 0; i < values.size();) {
    size_t end = i;
    while (end < values.size() && Compare(values[end].second, values[i].second) == 0) ++end;
    visit(values[i].second, static_cast<uint32_t>(end - i));
    i = end;
  }
  return absl::OkStatus();
}

}  // namespace tessera::query
