#include "query/columns/path_encoder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include "absl/container/flat_hash_map.h"

#include "base/coding/coding.h"
#include "query/columns/keys.h"
#include "query/columns/string_dictionary.h"
#include "query/columns/words.h"
#include "query/filter/datetime.h"

namespace tessera::query {
namespace {

constexpr std::array<double, 10> kPowers = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

void AppendWords(const std::vector<uint64_t>& words, std::string* out) {
  const size_t at = out->size();
  out->resize(at + words.size() * 8);
  std::memcpy(out->data() + at, words.data(), words.size() * 8);
}

template <typename Rows, typename RowOf>
std::vector<uint64_t> WordsOf(const Rows& rows, uint32_t count, const RowOf& row_of) {
  std::vector<uint64_t> words(WordCount(count));
  for (const auto& each : rows) {
    const uint16_t row = row_of(each);
    words[row / 64] |= uint64_t{1} << (row % 64);
  }
  return words;
}

// A section of what is appended to `kept`.
void Keep(Section section, std::string bytes, std::vector<std::string>* kept,
          std::vector<Section>* sections) {
  kept->push_back(std::move(bytes));
  section.bytes = kept->back();
  sections->push_back(section);
}

void EncodeSet(SectionKind kind, const std::vector<uint16_t>& set, uint32_t rows,
               std::vector<std::string>* kept, std::vector<Section>* sections) {
  if (set.empty()) return;
  std::string bytes;
  const bool all = set.size() == rows;
  if (!all) AppendWords(WordsOf(set, rows, [](uint16_t row) { return row; }), &bytes);
  Keep({.kind = kind, .flags = all ? kSectionAllRows : uint8_t{0}}, std::move(bytes), kept,
       sections);
}

void EncodeColumn(Section section, uint32_t rows, const RowKeys& keys,
                  std::vector<std::string>* kept, std::vector<Section>* sections) {
  const auto [least, most] = std::minmax_element(
      keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  section.base = least->second;
  section.width = static_cast<uint8_t>(std::bit_width(most->second - least->second));
  section.flags = keys.size() == rows ? kSectionAllRows : uint8_t{0};
  section.count = static_cast<uint32_t>(keys.size());
  std::string bytes;
  if (keys.size() != rows) {
    AppendWords(WordsOf(keys, rows, [](const auto& key) { return key.first; }), &bytes);
  }
  const size_t words = WordCount(rows);
  const size_t begin = bytes.size();
  bytes.resize(begin + section.width * words * 8);
  auto at = keys.begin();
  for (size_t word = 0; word < words && section.width > 0; ++word) {
    std::array<uint64_t, 64> block{};
    for (; at != keys.end() && at->first < (word + 1) * 64; ++at) {
      block[at->first % 64] = at->second - section.base;
    }
    Transpose64(block.data());
    for (unsigned bit = 0; bit < section.width; ++bit) {
      const size_t slice = section.width - 1U - bit;
      std::memcpy(bytes.data() + begin + (slice * words + word) * 8, &block[bit], 8);
    }
  }
  Keep(section, std::move(bytes), kept, sections);
}

// By key, then row. Pre: by row. Places in a dictionary, and small numbers, are counted: sorting them
// by comparison was a tenth of the time of building a chunk.
void SortByKey(RowKeys* keys) {
  const auto [least, most] = std::minmax_element(
      keys->begin(), keys->end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const uint64_t base = least->second;
  const uint64_t span = most->second - base;
  if (span >= 2 * keys->size()) {
    std::sort(keys->begin(), keys->end(), [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second < b.second : a.first < b.first;
    });
    return;
  }
  std::vector<uint32_t> places(span + 2);
  for (const auto& [row, key] : *keys) ++places[key - base + 1];
  for (size_t i = 1; i < places.size(); ++i) places[i] += places[i - 1];
  RowKeys sorted(keys->size());
  for (const auto& each : *keys) sorted[places[each.second - base]++] = each;
  *keys = std::move(sorted);
}

void EncodeInverted(Section section, uint32_t rows, RowKeys keys, std::vector<std::string>* kept,
                    std::vector<Section>* sections) {
  SortByKey(&keys);
  std::string distinct;
  std::string ends;
  std::string lists;
  for (size_t i = 0; i < keys.size();) {
    size_t end = i;
    while (end < keys.size() && keys[end].second == keys[i].second) ++end;
    base::PutU64(&distinct, keys[i].second);
    uint32_t flag = 0;
    if (end - i > rows / 16) {
      flag = uint32_t{1} << 31;
      std::vector<uint64_t> words(WordCount(rows));
      for (; i < end; ++i) words[keys[i].first / 64] |= uint64_t{1} << (keys[i].first % 64);
      AppendWords(words, &lists);
    }
    for (; i < end; ++i) base::PutU16(&lists, keys[i].first);
    base::PutU32(&ends, static_cast<uint32_t>(lists.size()) | flag);
    ++section.count;
  }
  section.flags = kSectionInverted;
  Keep(section, distinct + ends + lists, kept, sections);
}

// The least scale at which every number is a whole one and comes back bit for bit.
std::optional<uint8_t> DecimalScale(const std::vector<std::pair<uint16_t, int64_t>>& ints,
                                    const std::vector<std::pair<uint16_t, double>>& doubles) {
  size_t failed = 0;  // of the doubles; the next scale is likely to fail there too
  for (uint8_t scale = 1; scale < kPowers.size(); ++scale) {
    const auto fits = [&](double value) {
      const double scaled = std::nearbyint(value * kPowers[scale]);
      return std::abs(scaled) < 0x1p53 && scaled / kPowers[scale] == value;
    };
    if (!fits(doubles[failed].second)) continue;
    const auto bad = std::find_if_not(doubles.begin(), doubles.end(),
                                      [&](const auto& each) { return fits(each.second); });
    if (bad != doubles.end()) {
      failed = static_cast<size_t>(bad - doubles.begin());
      continue;
    }
    const double most = 0x1p52 / kPowers[scale];
    if (std::all_of(ints.begin(), ints.end(), [&](const auto& each) {
          return std::abs(static_cast<double>(each.second)) < most;
        })) {
      return scale;
    }
    return std::nullopt;
  }
  return std::nullopt;
}

// The places of distinct texts in ascending order. Eight bytes behind what all have in common
// decide most comparisons, as one number.
std::vector<uint32_t> OrderOf(const std::vector<std::string_view>& texts) {
  size_t common = texts[0].size();
  for (const std::string_view text : texts) {
    common = std::min(common, text.size());
    while (text.substr(0, common) != texts[0].substr(0, common)) --common;
  }
  std::vector<std::pair<uint64_t, uint32_t>> heads;
  heads.reserve(texts.size());
  for (uint32_t i = 0; i < texts.size(); ++i) {
    std::array<char, 8> bytes{};  // a text that ends sorts as if zeros followed, or is compared
    const std::string_view rest = texts[i].substr(common);
    std::memcpy(bytes.data(), rest.data(), std::min(rest.size(), bytes.size()));
    heads.emplace_back(base::DecodeBigEndian64({bytes.data(), bytes.size()}), i);
  }
  std::sort(heads.begin(), heads.end(), [&](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : texts[a.second] < texts[b.second];
  });
  std::vector<uint32_t> order;
  order.reserve(texts.size());
  for (const auto& [head, text] : heads) order.push_back(text);
  return order;
}

}  // namespace

void EncodeKeys(SectionKind kind, uint8_t scale, uint32_t rows, RowKeys keys,
                std::vector<std::string>* kept, std::vector<Section>* sections) {
  if (keys.empty()) return;
  RowKeys several;
  size_t out = 0;
  for (size_t i = 0; i < keys.size();) {
    size_t end = i + 1;
    while (end < keys.size() && keys[end].first == keys[i].first) ++end;
    if (end == i + 1) {
      keys[out++] = keys[i];
    } else {
      several.insert(several.end(), keys.begin() + static_cast<std::ptrdiff_t>(i),
                     keys.begin() + static_cast<std::ptrdiff_t>(end));
    }
    i = end;
  }
  keys.resize(out);
  const Section section{.kind = kind, .scale = scale};
  if (!keys.empty()) EncodeColumn(section, rows, keys, kept, sections);
  if (!several.empty()) EncodeInverted(section, rows, std::move(several), kept, sections);
}

void EncodeTexts(uint32_t rows, const std::vector<std::pair<uint16_t, std::string_view>>& texts,
                 std::vector<std::string>* kept, std::vector<Section>* sections) {
  if (texts.empty()) return;
  absl::flat_hash_map<std::string_view, uint32_t> codes;
  std::vector<std::string_view> distinct;
  std::vector<uint32_t> drawn;
  drawn.reserve(texts.size());
  for (const auto& [row, text] : texts) {
    const auto [at, added] = codes.try_emplace(text, static_cast<uint32_t>(distinct.size()));
    if (added) distinct.push_back(text);
    drawn.push_back(at->second);
  }
  const std::vector<uint32_t> order = OrderOf(distinct);
  std::vector<uint32_t> place(order.size());
  std::vector<std::string_view> sorted;
  sorted.reserve(order.size());
  for (uint32_t i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    sorted.push_back(distinct[order[i]]);
  }
  RowKeys keys;
  keys.reserve(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) keys.emplace_back(texts[i].first, place[drawn[i]]);
  EncodeKeys(SectionKind::kCodes, 0, rows, std::move(keys), kept, sections);
  Keep({.kind = SectionKind::kStrings, .count = static_cast<uint32_t>(sorted.size())},
       EncodeStrings(sorted), kept, sections);
}

void PathEncoder::AddValue(uint16_t row, const FieldValue& value) {
  switch (value.kind) {
    case FieldKind::kNull:
    case FieldKind::kFalse:
    case FieldKind::kTrue:
      simple_[static_cast<size_t>(value.kind)].push_back(row);
      break;
    case FieldKind::kInt:
      ints_.emplace_back(row, value.integer);
      break;
    case FieldKind::kDouble:
      doubles_.emplace_back(row, value.number);
      break;
    case FieldKind::kString:
      texts_.emplace_back(row, value.text);
      break;
    case FieldKind::kGeo:
      geos_.emplace_back(row, value);
      break;
  }
}

std::string PathEncoder::Finish(std::string_view key, uint32_t rows) const {
  std::vector<std::string> kept;
  kept.reserve(32);  // sections view them
  std::vector<Section> sections;
  EncodeSet(SectionKind::kExists, exists_, rows, &kept, &sections);
  EncodeSet(SectionKind::kNull, simple_[0], rows, &kept, &sections);
  EncodeSet(SectionKind::kFalse, simple_[1], rows, &kept, &sections);
  EncodeSet(SectionKind::kTrue, simple_[2], rows, &kept, &sections);
  const auto scale = doubles_.empty() ? std::nullopt : DecimalScale(ints_, doubles_);
  RowKeys keys;
  keys.reserve(ints_.size());
  for (const auto& [row, value] : ints_) {
    keys.emplace_back(row, KeyOfInt(scale.has_value()
                                        ? value * static_cast<int64_t>(kPowers[*scale])
                                        : value));
  }
  if (scale.has_value()) {
    RowKeys decimals;
    decimals.reserve(keys.size() + doubles_.size());
    for (const auto& [row, value] : doubles_) {
      decimals.emplace_back(
          row, KeyOfInt(static_cast<int64_t>(std::nearbyint(value * kPowers[*scale]))));
    }
    if (!keys.empty()) {
      const auto middle = static_cast<std::ptrdiff_t>(decimals.size());
      decimals.insert(decimals.end(), keys.begin(), keys.end());
      std::inplace_merge(decimals.begin(), decimals.begin() + middle, decimals.end());
    }
    EncodeKeys(SectionKind::kDecimals, *scale, rows, std::move(decimals), &kept, &sections);
  } else {
    EncodeKeys(SectionKind::kInts, 0, rows, std::move(keys), &kept, &sections);
    RowKeys doubles;
    doubles.reserve(doubles_.size());
    for (const auto& [row, value] : doubles_) doubles.emplace_back(row, KeyOfDouble(value));
    EncodeKeys(SectionKind::kDoubles, 0, rows, std::move(doubles), &kept, &sections);
  }
  EncodeTexts(rows, texts_, &kept, &sections);
  RowKeys datetimes;
  for (const auto& [row, text] : texts_) {
    if (text.size() < 10 || text[4] != '-') continue;
    const std::optional<Datetime> datetime = ParseDatetime(text);
    if (datetime.has_value()) datetimes.emplace_back(row, KeyOfInt(datetime->micros));
  }
  if (!std::is_sorted(datetimes.begin(), datetimes.end())) {
    std::sort(datetimes.begin(), datetimes.end());
  }
  datetimes.erase(std::unique(datetimes.begin(), datetimes.end()), datetimes.end());
  EncodeKeys(SectionKind::kDatetimes, 0, rows, std::move(datetimes), &kept, &sections);
  if (!geos_.empty()) {
    std::string bytes;
    for (const auto& [row, value] : geos_) base::PutU16(&bytes, row);
    bytes.resize((bytes.size() + 7) & ~size_t{7});
    for (const auto& [row, value] : geos_) {
      base::PutU64(&bytes, std::bit_cast<uint64_t>(value.number));
      base::PutU64(&bytes, std::bit_cast<uint64_t>(value.lon));
    }
    Keep({.kind = SectionKind::kGeos, .count = static_cast<uint32_t>(geos_.size())},
         std::move(bytes), &kept, &sections);
  }
  return EncodeUnit(UnitKind::kPath, rows, key, sections);
}

}  // namespace tessera::query
