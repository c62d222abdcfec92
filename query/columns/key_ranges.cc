#include "query/columns/key_ranges.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "query/columns/keys.h"
#include "query/filter/numbers.h"

namespace tessera::query {
namespace {

constexpr std::array<double, 10> kPowers = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
constexpr int64_t kDecimalMost = int64_t{1} << 53;

Number NumberOf(const Constant& constant) {
  const int64_t* integer = std::get_if<int64_t>(&constant);
  return integer != nullptr ? Number(*integer) : Number(std::get<double>(constant));
}

std::optional<uint64_t> NextInt(int64_t value) {
  if (value == std::numeric_limits<int64_t>::max()) return std::nullopt;
  return KeyOfInt(value + 1);
}

// Each: the least key whose value is at least (above, if `above`) the constant; none if none is.

std::optional<uint64_t> FirstInt(const Number& constant, bool above) {
  if (const int64_t* integer = std::get_if<int64_t>(&constant)) {
    return above ? NextInt(*integer) : KeyOfInt(*integer);
  }
  const double number = std::get<double>(constant);
  if (number >= 0x1p63) return std::nullopt;
  if (number < -0x1p63) return 0;
  const double whole = std::floor(number);
  const auto integer = static_cast<int64_t>(whole);
  return above || whole != number ? NextInt(integer) : KeyOfInt(integer);
}

bool Reaches(const Number& value, const Number& constant, bool above) {
  const auto order = CompareNumbers(value, constant);
  return above ? order > 0 : order >= 0;
}

// Starts where rounding puts it and corrects by the division that reading a value does.
std::optional<uint64_t> FirstDecimal(const Number& constant, uint8_t scale, bool above) {
  const double power = kPowers[scale];
  const int64_t* integer = std::get_if<int64_t>(&constant);
  const double about = (integer != nullptr ? static_cast<double>(*integer)
                                           : std::get<double>(constant)) *
                       power;
  constexpr auto kMost = static_cast<double>(kDecimalMost);
  auto k = static_cast<int64_t>(std::ceil(std::clamp(about, -kMost, kMost)));
  const auto reaches = [&](int64_t at) {
    return Reaches(Number(static_cast<double>(at) / power), constant, above);
  };
  while (k < kDecimalMost && !reaches(k)) ++k;
  if (!reaches(k)) return std::nullopt;
  while (k > -kDecimalMost && reaches(k - 1)) --k;
  return KeyOfInt(k);
}

std::optional<uint64_t> FirstDouble(const Number& constant, bool above) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const int64_t* integer = std::get_if<int64_t>(&constant);
  uint64_t key = KeyOfDouble(integer != nullptr ? static_cast<double>(*integer)
                                                : std::get<double>(constant));
  const uint64_t most = KeyOfDouble(kInfinity);
  const uint64_t least = KeyOfDouble(-kInfinity);
  const auto reaches = [&](uint64_t at) {
    return Reaches(Number(DoubleOfKey(at)), constant, above);
  };
  while (key < most && !reaches(key)) ++key;
  if (!reaches(key)) return std::nullopt;
  while (key > least && reaches(key - 1)) --key;
  return key;
}

std::optional<uint64_t> First(const Section& section, const Constant& constant, bool above) {
  if (const Datetime* datetime = std::get_if<Datetime>(&constant)) {
    return FirstInt(Number(datetime->micros), above);
  }
  switch (section.kind) {
    case SectionKind::kDecimals:
      return FirstDecimal(NumberOf(constant), section.scale, above);
    case SectionKind::kDoubles:
      return FirstDouble(NumberOf(constant), above);
    default:
      return FirstInt(NumberOf(constant), above);
  }
}

// From `low` to before `end`; all above if there is no end.
std::optional<KeyRange> Between(std::optional<uint64_t> low, std::optional<uint64_t> end) {
  if (!low.has_value() || (end.has_value() && *end <= *low)) return std::nullopt;
  return KeyRange{*low, end.has_value() ? *end - 1 : std::numeric_limits<uint64_t>::max()};
}

std::optional<KeyRange> EqualTo(const Section& section, const Constant& constant) {
  return Between(First(section, constant, false), First(section, constant, true));
}

void Append(const KeyRange& range, KeyRanges* ranges) {
  if (!ranges->empty() && ranges->back().high >= range.low - (range.low == 0 ? 0 : 1)) {
    ranges->back().high = std::max(ranges->back().high, range.high);
  } else {
    ranges->push_back(range);
  }
}

}  // namespace

std::optional<KeyRange> RangeOfNumbers(const Section& section, const Range& range) {
  std::optional<uint64_t> low = 0;
  std::optional<uint64_t> end;
  if (range.low.has_value()) low = First(section, range.low->constant, !range.low->inclusive);
  if (range.high.has_value()) end = First(section, range.high->constant, range.high->inclusive);
  return Between(low, end);
}

std::optional<KeyRange> RangeOfStrings(const StringDictionary& dictionary, const Range& range) {
  const auto border = [&](const Constant& constant, bool above) -> uint64_t {
    const std::string& text = std::get<std::string>(constant);
    return above ? dictionary.UpperBound(text) : dictionary.LowerBound(text);
  };
  return Between(
      range.low.has_value() ? border(range.low->constant, !range.low->inclusive) : 0,
      range.high.has_value() ? border(range.high->constant, range.high->inclusive)
                             : dictionary.count());
}

std::optional<KeyRange> RangeOfPrefix(const StringDictionary& dictionary,
                                      std::string_view prefix) {
  std::string behind(prefix);
  while (!behind.empty() && static_cast<uint8_t>(behind.back()) == 0xFF) behind.pop_back();
  if (!behind.empty()) behind.back() = static_cast<char>(behind.back() + 1);
  return Between(dictionary.LowerBound(prefix),
                 behind.empty() ? dictionary.count() : dictionary.LowerBound(behind));
}

KeyRanges KeysOfNumbers(const Section& section, uint64_t least, uint64_t most,
                        const std::vector<Constant>& constants) {
  const ConstantType type = section.kind == SectionKind::kDatetimes ? ConstantType::kDatetime
                                                                    : ConstantType::kNumber;
  KeyRanges ranges;
  auto at = std::partition_point(
      constants.begin(), constants.end(), [&](const Constant& constant) {
        if (TypeOf(constant) != type) return TypeOf(constant) < type;
        const std::optional<uint64_t> key = First(section, constant, false);
        return key.has_value() && *key < least;
      });
  for (; at != constants.end() && TypeOf(*at) == type; ++at) {
    const std::optional<KeyRange> range = EqualTo(section, *at);
    if (!range.has_value()) continue;
    if (range->low > most) break;
    Append(*range, &ranges);
  }
  return ranges;
}

KeyRanges KeysOfStrings(const StringDictionary& dictionary,
                        const std::vector<Constant>& constants) {
  const auto first = std::partition_point(
      constants.begin(), constants.end(),
      [](const Constant& constant) { return TypeOf(constant) < ConstantType::kString; });
  const auto last = std::partition_point(
      first, constants.end(),
      [](const Constant& constant) { return TypeOf(constant) <= ConstantType::kString; });
  KeyRanges ranges;
  if (last - first <= 4) {
    for (auto at = first; at != last; ++at) {
      const std::string& text = std::get<std::string>(*at);
      const uint64_t code = dictionary.LowerBound(text);
      if (code < dictionary.UpperBound(text)) Append({code, code}, &ranges);
    }
    return ranges;
  }
  auto at = first;
  dictionary.ForEach([&](uint32_t code, std::string_view text) {
    at = std::partition_point(
        at, last, [&](const Constant& constant) { return std::get<std::string>(constant) < text; });
    if (at == last) return false;
    if (std::get<std::string>(*at) == text) Append({code, code}, &ranges);
    return true;
  });
  return ranges;
}

}  // namespace tessera::query
